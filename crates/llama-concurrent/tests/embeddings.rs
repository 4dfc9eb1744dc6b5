//! Embeddings of texts, beside generations.

use std::{path::PathBuf, sync::mpsc, time::Duration};

use llama_concurrent::{
    Completion, EmbedOptions, Embedding, Engine, EngineConfig, ErrorKind, FinishReason, Pooling, Prompt, Request,
    SamplingParams,
};

fn engine(config: EngineConfig) -> Engine {
    let config = config.n_ctx(512).threads(1);
    let model = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf");
    Engine::load(model, config).expect("the demo model loads")
}

fn small() -> EngineConfig {
    EngineConfig::default().slots(4)
}

fn raw(pooling: Pooling) -> EmbedOptions {
    EmbedOptions::default().pooling(pooling).normalize(false)
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f32>().sqrt()
}

fn length(a: &[f32]) -> f32 {
    a.iter().map(|x| x * x).sum::<f32>().sqrt()
}

/// In a model that looks back only, the vector of a token is that of the last one of the text up to it.
#[test]
fn pooling_does_what_it_says() {
    let engine = engine(small());
    let tokens = engine.tokenize("The old fisherman mended his net by the harbour.").unwrap();
    let embed = |n: usize, pooling| engine.embed(tokens[..n].to_vec(), &raw(pooling)).unwrap().values;
    let each: Vec<Vec<f32>> = (1..=tokens.len()).map(|n| embed(n, Pooling::Last)).collect();
    let mean: Vec<f32> =
        (0..each[0].len()).map(|i| each.iter().map(|v| v[i]).sum::<f32>() / tokens.len() as f32).collect();
    let scale = length(&mean);
    assert!(distance(&embed(tokens.len(), Pooling::Mean), &mean) < 1e-3 * scale);
    assert!(distance(&embed(tokens.len(), Pooling::Cls), &each[0]) < 1e-3 * length(&each[0]));
    assert!(distance(&each[3], &each[4]) > 0.01 * scale);

    let usual = engine.embed(tokens.clone(), &EmbedOptions::default()).unwrap();
    assert_eq!(usual.n_prompt_tokens, tokens.len());
    assert!((length(&usual.values) - 1.0).abs() < 1e-5);
    let scaled: Vec<f32> = mean.iter().map(|x| x / scale).collect();
    assert!(distance(&usual.values, &scaled) < 1e-3, "the mean, where the file does not say");
}

#[test]
fn they_are_the_same_beside_generations_and_leave_those_as_they_are() {
    let engine = engine(small().reproducible(true));
    let texts: Vec<String> =
        (0..12).map(|i| format!("Text {i}. {}", "A long walk in the hills. ".repeat(i * 3))).collect();
    let options = EmbedOptions::default();
    let alone: Vec<Embedding> = texts.iter().map(|text| engine.embed(text, &options).unwrap()).collect();
    let params = SamplingParams::default().max_tokens(300).ignore_eos(true);
    let expected = engine.generate("Once upon a time", params.clone()).unwrap().tokens;

    let running: Vec<_> =
        (0..4).map(|_| engine.submit(Request::new("Once upon a time").params(params.clone())).unwrap()).collect();
    std::thread::scope(|scope| {
        for (text, alone) in texts.iter().zip(&alone) {
            let (engine, options) = (engine.clone(), &options);
            scope.spawn(move || {
                let again = engine.embed(text, options).unwrap();
                // Beside others a text is computed in more parts. ggml's attention takes another way from 64 tokens on, and
                // where a CPU adds in half precision, as ARM's do, the two are up to 0.007 apart.
                let same = if cfg!(target_arch = "aarch64") { 0.02 } else { 1e-3 };
                assert!(distance(&again.values, &alone.values) < same, "{text}");
                assert_eq!(again.n_prompt_tokens, alone.n_prompt_tokens);
            });
        }
    });
    for generation in running {
        assert_eq!(generation.wait().unwrap().tokens, expected);
    }
    assert!(distance(&alone[0].values, &alone[5].values) > 0.1, "what is the same must be far closer than others");
    assert!(engine.drain_within(Duration::from_secs(60)));
}

#[test]
fn limits_are_those_of_requests() {
    let engine = engine(EngineConfig::default().max_queued_requests(3).slots(1));
    let options = EmbedOptions::default();
    let refused = |text: Prompt| engine.embed(text, &options).unwrap_err();
    assert_eq!(*refused(Prompt::Tokens(vec![])).kind(), ErrorKind::InvalidRequest);
    assert_eq!(*refused(Prompt::Tokens(vec![1 << 20])).kind(), ErrorKind::InvalidRequest);
    assert!(matches!(refused(Prompt::Tokens(vec![300; 513])).kind(), ErrorKind::PromptTooLong { n_prompt: 513, .. }));
    assert_eq!(engine.embed(vec![300; 512], &options).unwrap().n_prompt_tokens, 512);

    // Everything that may wait waits for a request which holds the worker in its sink.
    let (sender, results) = mpsc::channel();
    let (entered, is_in) = mpsc::channel();
    let (release, go_on) = mpsc::channel::<()>();
    let sink = move |_| {
        let _ = entered.send(());
        let _ = go_on.recv();
        llama_concurrent::Flow::Continue
    };
    let one = SamplingParams::default().max_tokens(1);
    engine.submit_to(&Request::new("A fox").params(one), Box::new(sink)).unwrap();
    is_in.recv().unwrap();
    let embed = || {
        let sender = sender.clone();
        let request = Request::new("A fox").embed(options.clone());
        engine.submit_then(&request, move |result| sender.send(result.and_then(Completion::into_embedding)).unwrap())
    };
    (0..3).for_each(|_| drop(embed().unwrap()));
    assert!(matches!(embed().unwrap_err().kind(), ErrorKind::Overloaded { .. }));
    drop(release);
    for _ in 0..3 {
        assert!(results.recv().unwrap().is_ok());
    }
    engine.shutdown();
    assert_eq!(*embed().unwrap_err().kind(), ErrorKind::ShuttingDown);
}

#[test]
fn texts_are_cancelled_and_too_late_as_requests_are() {
    let engine = engine(small());
    let long = || Request::new(vec![300; 500]).embed(EmbedOptions::default());
    let too_late = engine.submit(long().timeout(Duration::from_nanos(1))).unwrap().wait().unwrap();
    assert_eq!(too_late.finish.reason, FinishReason::Deadline);
    assert!(matches!(too_late.into_embedding().unwrap_err().kind(), ErrorKind::Overloaded { .. }));

    let others: Vec<_> = (0..8).map(|_| engine.submit(long()).unwrap()).collect();
    let cancelled = engine.submit(long()).unwrap();
    cancelled.cancel();
    let cancelled = cancelled.wait().unwrap();
    assert_eq!(cancelled.finish.reason, FinishReason::Cancelled);
    assert!(cancelled.into_embedding().is_err());
    for other in others {
        let completion = other.wait().unwrap();
        assert_eq!((completion.finish.timings.n_prompt_tokens, completion.finish.timings.n_output_tokens), (500, 0));
        assert!(completion.into_embedding().is_ok());
    }
}

#[test]
fn a_shutdown_answers_those_who_wait() {
    let engine = engine(small());
    let (sender, results) = mpsc::channel();
    for _ in 0..4 {
        let sender = sender.clone();
        let request = Request::new(vec![300; 500]).embed(EmbedOptions::default());
        let done = move |result: llama_concurrent::Result<Completion>| {
            sender.send(result.and_then(Completion::into_embedding)).unwrap();
        };
        engine.submit_then(&request, done).unwrap();
    }
    engine.shutdown();
    for _ in 0..4 {
        // Ready before, or told so.
        let result = results.recv().unwrap();
        assert!(result.is_ok() || *result.unwrap_err().kind() == ErrorKind::ShuttingDown);
    }
}
