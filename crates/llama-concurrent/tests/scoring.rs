//! How likely the model finds what stands in a prompt.

use llama_concurrent::{Completion, Engine, EngineConfig, ErrorKind, Prompt, Request, SamplingParams, Strategy, Token};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo.gguf");

fn engine(config: EngineConfig) -> Engine {
    Engine::load(MODEL, config.n_ctx(512).threads(1)).unwrap()
}

fn greedy(n: u32) -> SamplingParams {
    SamplingParams::default().temperature(0.0).max_tokens(n).ignore_eos(true).logprobs(2)
}

fn score(engine: &Engine, tokens: &[Token], from: usize) -> Completion {
    let request = Request::new(Prompt::Tokens(tokens.to_vec())).params(greedy(1)).score_from(from);
    engine.submit(request).unwrap().wait().unwrap()
}

#[test]
fn a_prompt_is_scored_as_it_was_when_it_was_generated() {
    for config in [
        EngineConfig::default().strategy(Strategy::Batched).slots(4),
        EngineConfig::default().strategy(Strategy::RoundRobin).slots(2),
    ] {
        let engine = engine(config);
        let start = engine.tokenize("Once upon a time there was").unwrap();
        let request = Request::new(Prompt::Tokens(start.clone())).params(greedy(60)).prefix_reuse(false);
        let written = engine.submit(request).unwrap().wait().unwrap();
        assert!(written.prompt.is_empty(), "nobody asked");
        let whole = [start.as_slice(), &written.tokens].concat();
        // From the beginning, from the middle on top of what is there, and the last token alone.
        for from in [0, start.len(), whole.len() - 1] {
            let scored = score(&engine, &whole, from).prompt;
            let tokens: Vec<Token> = scored.iter().map(|one| one.token).collect();
            assert_eq!(tokens, whole[from..]);
            assert_eq!(scored.iter().position(|one| one.logprobs.is_none()), (from == 0).then_some(0));
            let of_output = &scored[start.len().max(from) - from..];
            let generated = &written.logprobs[written.logprobs.len() - of_output.len()..];
            for (one, then) in of_output.iter().zip(generated) {
                let now = one.logprobs.as_ref().unwrap();
                assert!((now.logprob - then.logprob).abs() < 1e-3, "{now:?}, {then:?}");
                assert_eq!(now.top[0].token, one.token, "what was chosen was the likeliest");
            }
        }
    }
}

#[test]
fn prompts_are_scored_beside_each_other_and_beside_streams() {
    let engine = engine(EngineConfig::default().strategy(Strategy::Batched).slots(4));
    let text = |n: usize| {
        engine.tokenize(&format!("{n} small foxes lived in a forest by the sea, and liked to sing.")).unwrap()
    };
    let alone: Vec<Completion> = (0..6).map(|n| score(&engine, &text(n), 0)).collect();
    let stream = engine.submit(Request::new("The old lighthouse keeper").params(greedy(200))).unwrap();
    let together: Vec<_> = (0..6)
        .map(|n| {
            let request = Request::new(Prompt::Tokens(text(n))).params(greedy(1)).score_from(0).prefix_reuse(false);
            engine.submit(request).unwrap()
        })
        .collect();
    for (alone, together) in alone.into_iter().zip(together) {
        let together = together.wait().unwrap();
        assert_eq!(alone.prompt.len(), together.prompt.len());
        for (a, b) in alone.prompt.iter().zip(&together.prompt) {
            assert_eq!(a.token, b.token);
            let of = |one: &Option<llama_concurrent::TokenLogprobs>| one.as_ref().map_or(0.0, |found| found.logprob);
            assert!((of(&a.logprobs) - of(&b.logprobs)).abs() < 1e-3, "{a:?}, {b:?}");
        }
    }
    drop(stream);
}

#[test]
fn what_cannot_be_scored_is_an_error() {
    let engine = engine(EngineConfig::default());
    let tokens = engine.tokenize("A fox").unwrap();
    let request = Request::new(Prompt::Tokens(tokens.clone())).params(greedy(1)).score_from(tokens.len());
    let error = engine.submit(request).err().expect("nothing stands there");
    assert_eq!(error.kind(), &ErrorKind::InvalidRequest);
    assert!(error.to_string().contains(&format!("score_from is {}", tokens.len())), "{error}");
}
