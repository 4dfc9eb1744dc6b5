//! Streams of several generations merged in one task, and one of them cancelled on the way.
//!
//! `cargo run --release --example async_streams [MODEL]`

use futures_util::StreamExt;
use llama_concurrent::{Engine, EngineConfig, Error, Event, Request, SamplingParams};

fn main() -> Result<(), Error> {
    let model = std::env::args().nth(1).unwrap_or_else(|| "models/demo.gguf".into());
    let engine = Engine::load(model, EngineConfig::default())?;
    // Any executor will do; nothing in the engine needs a particular one.
    futures_executor::block_on(merge(&engine))
}

async fn merge(engine: &Engine) -> Result<(), Error> {
    let params = SamplingParams::default().max_tokens(40).ignore_eos(true);
    let mut texts = vec![String::new(); 3];
    let mut streams = futures_util::stream::SelectAll::new();
    for (index, prompt) in ["A bird", "A river", "A lamp"].into_iter().enumerate() {
        let generation = engine.submit(Request::new(prompt).params(params.clone()))?;
        let id = generation.id();
        streams.push(generation.map(move |event| (index, id, event)));
    }
    while let Some((index, id, event)) = streams.next().await {
        match event {
            Event::Delta(delta) => {
                texts[index].push_str(&delta.text);
                if index == 2 && delta.index == 9 {
                    engine.cancel(id);
                }
            }
            Event::Finished(finish) => {
                println!(
                    "{index}: {} after {} tokens: {}",
                    finish.reason.as_str(),
                    finish.timings.n_output_tokens,
                    texts[index]
                );
            }
            _ => {}
        }
    }
    Ok(())
}
