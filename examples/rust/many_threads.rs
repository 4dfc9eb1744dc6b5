//! Four threads share one engine; each prints its text when it is complete.
//!
//! `cargo run --release --example many_threads [MODEL]`

use llama_concurrent::{Engine, EngineConfig, Error, SamplingParams};

const PROMPTS: [&str; 4] =
    ["Once upon a time there was a fox", "There was a small boat", "In the garden", "One cold morning"];

fn main() -> Result<(), Error> {
    let model = std::env::args().nth(1).unwrap_or_else(|| "models/demo.gguf".into());
    let engine = Engine::load(model, EngineConfig::default())?;
    let params = SamplingParams::default().max_tokens(60);

    std::thread::scope(|scope| {
        for prompt in PROMPTS {
            let (engine, params) = (engine.clone(), params.clone());
            scope.spawn(move || match engine.generate(prompt, params) {
                Ok(done) => println!("{prompt}{}\n", done.text),
                Err(error) => eprintln!("{prompt}: {error}"),
            });
        }
    });

    let totals = engine.stats().totals;
    println!("{} tokens, {:.0} tok/s in decode calls", totals.output_tokens, totals.decode.rate());
    Ok(())
}
