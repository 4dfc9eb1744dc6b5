//! How likely the model finds what stands in a prompt.

use llama_concurrent::{
    Completion, Engine, EngineConfig, ErrorKind, Prompt, Request, SamplingParams, Score, Strategy, Token,
};

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
fn continuations_are_compared() {
    let engine = engine(EngineConfig::default().strategy(Strategy::Batched).slots(4));
    let text = "Once upon a time there was a small fox who";
    let likely = engine.generate(text, greedy(6)).unwrap();
    let many: Vec<String> =
        std::iter::once(likely.text.clone()).chain((0..20).map(|n| format!(" {n} moons"))).collect();
    let scores: Vec<Score> = engine.score(text, many).into_iter().map(Result::unwrap).collect();
    assert!(scores[0].is_greedy && scores[1..].iter().all(|score| !score.is_greedy));
    assert!(scores[1..].iter().all(|score| score.logprob < scores[0].logprob), "{scores:?}");
    let of_tokens = |tokens: &[llama_concurrent::PromptToken]| -> f64 {
        tokens.iter().filter_map(|one| one.logprobs.as_ref()).map(|found| f64::from(found.logprob)).sum()
    };
    assert!(scores.iter().all(|score| (of_tokens(&score.tokens) - score.logprob).abs() < 1e-9));
    let generated: f64 = likely.logprobs.iter().map(|found| f64::from(found.logprob)).sum();
    assert!((generated - scores[0].logprob).abs() < 1e-2, "{generated} {:?}", scores[0]);

    // The same as tokens, and each error in its place.
    let tokens = engine.tokenize(text).unwrap();
    let more: Vec<Prompt> = vec![likely.tokens.clone().into(), Vec::new().into(), "".into(), likely.tokens.into()];
    let results = engine.score(Prompt::Tokens(tokens), more);
    assert!((results[0].as_ref().unwrap().logprob - scores[0].logprob).abs() < 1e-2);
    assert!(results[1].as_ref().is_err_and(|error| error.to_string().contains("empty")));
    assert!(results[2].is_err() && results[3].is_ok());
    // Behind nothing but the token that begins a text, and with the boundary inside of a word.
    assert!(engine.score("", ["Once"])[0].as_ref().unwrap().logprob < 0.0);
    let split = engine.score("Once upon a ti", ["me"])[0].clone().unwrap();
    let whole: String =
        split.tokens.iter().flat_map(|one| engine.token_bytes(one.token, true).to_vec()).map(char::from).collect();
    assert!(whole.ends_with("me") && whole.len() >= 2, "{whole}");
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
