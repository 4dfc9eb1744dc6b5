//! The common parts of JSON reports, and the check for failed requests.

use serde_json::{Value, json};

use super::this_machine;
use crate::{runs::Run, setting::Setting};

/// A JSON report: the setting, and the results under a name.
pub(super) fn document(setting: &Setting, name: &str, figures: Value) -> Value {
    let load = &setting.load;
    let mut document = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "workload": setting.workload.as_str(),
        "model": setting.model,
        "load": {
            "users": load.users, "requests": load.requests, "rate": load.rate, "seed": load.seed, "scale": load.scale,
        },
        "slo": setting.slo,
        "machine": this_machine::describe(),
        "system_info": llama_concurrent::system_info(),
    });
    document[name] = figures;
    document
}

/// An error if requests of these runs failed.
pub(super) fn verdict<'a>(runs: impl Iterator<Item = &'a Run> + Clone) -> Result<(), String> {
    let failed: usize = runs.clone().map(|run| run.summary.failed).sum();
    match runs.clone().find_map(|run| run.summary.failure.as_deref()) {
        Some(why) => Err(format!("{failed} requests failed; the first: {why}")),
        None => Ok(()),
    }
}
