//! Which of several answers a model finds likeliest: `cargo run --release --example score [MODEL [TEXT ANSWER...]]`.

use std::error::Error;

use llama_concurrent::{Engine, EngineConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().unwrap_or_else(|| "models/demo.gguf".into());
    let text = arguments.next().unwrap_or_else(|| "The fox was hungry, so it ate".into());
    let mut answers: Vec<String> = arguments.collect();
    if answers.is_empty() {
        answers = [" some cheese.", " the moon.", " quickly."].map(String::from).to_vec();
    }

    let engine = Engine::load(model, EngineConfig::default())?;
    let scores = engine.score(text, answers.clone());
    for (answer, score) in answers.iter().zip(scores) {
        let score = score?;
        println!("{:9.3} {} {answer}", score.logprob, if score.is_greedy { "likeliest" } else { "         " });
    }
    Ok(())
}
