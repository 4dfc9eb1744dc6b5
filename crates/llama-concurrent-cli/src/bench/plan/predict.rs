//! The table of predictions.

use std::{
    io::{self, Write, stdout},
    time::Duration,
};

use llama_concurrent::Strategy;
use llama_concurrent_bench::{
    Load, Summary,
    sim::{MachineSpec, ReplayedLoad, WorkerLayout},
};
use serde_json::{Value, json};

use super::{Planner, calibrate};
use crate::{
    bench::{machine, report},
    failure::Failure,
    format::{bytes, count, rate, short_millis},
};

/// The numbers of users to predict.
const USERS: [u32; 4] = [20, 50, 100, 200];
/// llama.cpp's maximum number of sequences in a context.
const MAX_SLOTS: usize = 256;

struct Prediction {
    machine: MachineSpec,
    users: usize,
    placement: WorkerLayout,
    strategy: Strategy,
    kv_bytes: f64,
    summary: Summary,
}

pub fn predict(planner: &Planner<'_>) -> Result<(), Failure> {
    let args = planner.args;
    let mut predictions = Vec::new();
    for users in planner.users(&USERS) {
        let load = planner.replayed_load(&Load { users, ..args.load() });
        for machine in &args.sim.machines() {
            for &placement in WorkerLayout::of(machine) {
                for strategy in planner.strategies()? {
                    predictions.push(one(planner, &load, (*machine, users, placement, strategy)));
                }
            }
        }
    }
    print(planner, &predictions)?;
    if let Some(file) = &args.json {
        report::write_json(&document(planner, &predictions), file)?;
    }
    let failed = predictions.iter().find_map(|prediction| prediction.summary.failure.as_deref());
    failed.map_or(Ok(()), |why| Err(Failure::Failed(format!("requests would be refused; the first: {why}"))))
}

fn one(
    planner: &Planner<'_>,
    load: &ReplayedLoad,
    (machine, users, placement, strategy): (MachineSpec, usize, WorkerLayout, Strategy),
) -> Prediction {
    let workers = if placement == WorkerLayout::Together { 1 } else { machine.nodes };
    let config = planner.config(strategy, users.min(MAX_SLOTS * workers));
    let slots = config.slots.unwrap_or(workers);
    Prediction {
        machine,
        users,
        placement,
        strategy,
        kv_bytes: planner.model().kv_bytes((slots * config.n_ctx.unwrap_or(0)) as f64),
        summary: planner.predict(load, &config, &machine, placement),
    }
}

fn print(planner: &Planner<'_>, predictions: &[Prediction]) -> io::Result<()> {
    let mut out = stdout().lock();
    let load = planner.args.load();
    writeln!(out, "{}", planner.setting.about())?;
    match load.rate {
        Some(per_second) => {
            writeln!(out, "{} requests of each user, {per_second} arrivals per second.", load.requests)?
        }
        None => writeln!(out, "All users at once, {} requests each.", load.requests)?,
    }
    writeln!(out, "{}. Predicted, not measured:", planner.setting.model)?;
    for machine in &planner.args.sim.machines() {
        let (nodes, cores) = (machine.nodes, machine.cores);
        let bandwidth = rate(machine.bandwidth(&planner.calibration));
        let said = machine.bandwidth.is_some();
        let hint =
            if said { String::new() } else { format!(" (assumed; if known, say it: --sim {nodes}x{cores}@GB/s)") };
        let (of_nodes, of_cores) = (count(nodes, "node"), count(cores, "core"));
        writeln!(out, "\n{of_nodes} of {of_cores}, {bandwidth} GB/s each{hint}:\n")?;
        let rows = predictions.iter().filter(|prediction| prediction.machine == *machine).map(row).collect();
        writeln!(out, "{}", report::markdown(COLUMNS, rows))?;
    }
    writeln!(out, "\nTimes in ms. KV is the memory of all slots, of which each user has one, but for sequential.")?;
    for line in calibrate::lines(&planner.calibration) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

const COLUMNS: [&str; 9] =
    ["users", "placement", "strategy", "tok/s", "first token p50", "p95", "between tokens p50", "p99", "KV"];

fn row(prediction: &Prediction) -> Vec<String> {
    let ms = |ms: f64| short_millis(Duration::from_secs_f64(ms / 1e3));
    let summary = &prediction.summary;
    vec![
        prediction.users.to_string(),
        prediction.placement.as_str().into(),
        prediction.strategy.as_str().into(),
        rate(summary.tokens_per_s),
        ms(summary.ttft_ms.p50),
        ms(summary.ttft_ms.p95),
        ms(summary.itl_ms.p50),
        ms(summary.itl_ms.p99),
        bytes(prediction.kv_bytes),
    ]
}

fn document(planner: &Planner<'_>, predictions: &[Prediction]) -> Value {
    let one = |prediction: &Prediction| {
        json!({
            "machine": prediction.machine.to_string(),
            "users": prediction.users,
            "placement": prediction.placement.as_str(),
            "strategy": prediction.strategy.as_str(),
            "kv_bytes": prediction.kv_bytes,
            "summary": prediction.summary,
        })
    };
    let load = planner.args.load();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "workload": planner.setting.workload.as_str(),
        "model": planner.setting.model,
        "load": { "requests": load.requests, "rate": load.rate, "seed": load.seed, "scale": load.scale },
        "calibrated_on": machine::describe(),
        "calibration": planner.calibration,
        "predictions": predictions.iter().map(one).collect::<Vec<_>>(),
    })
}
