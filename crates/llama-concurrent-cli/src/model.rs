//! The default model, and loading a model with a progress bar.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use llama_concurrent::{Engine, EngineConfig};

use crate::{console, failure::Failure};

const VARIABLE: &str = "LLAMA_CONCURRENT_MODEL";
const DEMO: &str = "models/demo.gguf";
/// From `target/<triple>/release/llama-concurrent` up to the repository.
const ANCESTORS: usize = 4;
/// A load that takes less shows no bar.
const PATIENCE: Duration = Duration::from_millis(200);

/// The model that `--model` names, else the one of the environment, else the demo model.
pub fn locate(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let from_environment = env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    match given.map(Path::to_owned).or(from_environment) {
        Some(path) => Ok(path),
        None => first_file(&demo_places()),
    }
}

/// Loads a model, with a progress bar if it takes long, and prints the engine's warnings.
pub fn load(path: &Path, config: EngineConfig) -> Result<Engine, Failure> {
    let engine = load_quietly(path, config)?;
    engine.warnings().iter().for_each(|warning| console::diagnostic("warning", warning));
    Ok(engine)
}

/// Like [`load`], for one of several engines with the same configuration.
pub fn load_quietly(path: &Path, config: EngineConfig) -> Result<Engine, Failure> {
    let start = Instant::now();
    let bar = console::progress_bar(100, "loading {wide_bar:.cyan/dim} {percent:>3} %");
    let shown = bar.clone();
    let progress = move |fraction: f32| {
        if start.elapsed() > PATIENCE {
            shown.set_position((fraction * 100.0) as u64);
        }
        true
    };
    let engine = Engine::load(path, config.progress(Arc::new(progress)));
    bar.finish_and_clear();
    Ok(engine?)
}

/// The paths where the demo model may be, in order.
fn demo_places() -> Vec<PathBuf> {
    let beside_program = env::current_exe().ok().into_iter().flat_map(|program| {
        program.ancestors().skip(1).take(ANCESTORS).map(|directory| directory.join(DEMO)).collect::<Vec<_>>()
    });
    let of_sources = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(|root| root.join(DEMO));
    let here = env::current_dir().unwrap_or_default().join(DEMO);
    let mut places: Vec<PathBuf> = Vec::new();
    for place in std::iter::once(here).chain(beside_program).chain(of_sources) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

fn first_file(places: &[PathBuf]) -> Result<PathBuf, Failure> {
    places.iter().find(|place| place.is_file()).cloned().ok_or_else(|| {
        let tried: String = places.iter().map(|place| format!("\n  {}", place.display())).collect();
        Failure::BadInput(format!(
            "there is no demo model; name a GGUF file with --model or {VARIABLE}. These paths were tried:{tried}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_demo_model_is_told_with_every_place() {
        let places = [PathBuf::from("/nowhere/a.gguf"), PathBuf::from("/nowhere/b.gguf")];
        let Err(Failure::BadInput(message)) = first_file(&places) else { panic!() };
        assert!(message.contains("/nowhere/a.gguf") && message.contains("/nowhere/b.gguf"), "{message}");
        assert!(message.contains("--model") && message.contains(VARIABLE), "{message}");
    }

    #[test]
    fn places_are_named_once() {
        let places = demo_places();
        assert!(places.iter().all(|place| place.ends_with(DEMO)));
        assert!((1..places.len()).all(|i| !places[i..].contains(&places[i - 1])));
    }
}
