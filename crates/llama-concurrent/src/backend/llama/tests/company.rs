//! Models whose graph in llama.cpp is wrong for several sequences, or for rows whose logits nobody asked for: through the engine
//! they give what they give for one row at a time.

use std::path::{Path, PathBuf};

use super::*;
use crate::{Engine, Prompt, Request, request::Completion};

const N_PROMPTS: usize = 8;
const N_OUTPUT: u32 = 6;

/// Files of other architectures, where somebody has some.
const FOLDER: &str = "LLAMA_CONCURRENT_TEST_MODELS";

fn prompts(n_vocab: usize) -> Vec<Vec<Token>> {
    let token = |prompt: usize, i: usize| ((17 + 31 * prompt + 7 * i * (prompt + 1)) % (n_vocab - 300) + 280) as Token;
    (0..N_PROMPTS).map(|prompt| (0..5 + 3 * prompt).map(|i| token(prompt, i)).collect()).collect()
}

fn likeliest(logits: &[f32]) -> Token {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0) as Token
}

/// The tokens that follow and the logits that they were chosen from, by calls of one row in a context of one sequence.
fn row_by_row(path: &Path, prompts: &[Vec<Token>]) -> Vec<Vec<(Token, Vec<f32>)>> {
    let config = EngineConfig { kernels: false, ..EngineConfig::default() };
    let model = Arc::new(Model::load(path, &config, None).unwrap());
    let shape = PoolShape { contexts: 1, slots: 1, n_ctx: 128, n_batch: 16 };
    let mut backend = LlamaBackend::new(model, shape, &config, &WorkerPlan::anywhere(1)).unwrap();
    let one = |prompt: &Vec<Token>| {
        backend.contexts[0].truncate(0, 0);
        let (mut tokens, mut steps) = (prompt.clone(), Vec::new());
        for pos in 0..prompt.len() + N_OUTPUT as usize - 1 {
            let logits = logits_after(&mut backend, 0, tokens[pos], pos);
            if pos + 1 >= prompt.len() {
                tokens.push(likeliest(&logits));
                steps.push((likeliest(&logits), logits));
            }
        }
        steps
    };
    prompts.iter().map(one).collect()
}

/// Sums are taken in another order in company, so a near tie may fall otherwise, and what follows is another text.
fn assert_same(what: &str, got: &Completion, expected: &[(Token, Vec<f32>)]) {
    for (step, ((&token, logprobs), (wanted, logits))) in got.tokens.iter().zip(&got.logprobs).zip(expected).enumerate()
    {
        let off = (logprobs.logprob - TokenLogprobs::of(logits, token, 0).logprob).abs();
        assert!(off < 0.05, "{what}: token {step}, {token}, has a log probability that is {off} off");
        if token != *wanted {
            let lost = logits[*wanted as usize] - logits[token as usize];
            assert!(lost < 0.1, "{what}: token {step} is {token} and not {wanted}, which is {lost} likelier");
            return;
        }
    }
}

fn together(engine: &Engine, prompts: &[Vec<Token>]) -> Vec<Completion> {
    let params = SamplingParams {
        max_tokens: Some(N_OUTPUT),
        temperature: 0.0,
        ignore_eos: true,
        logprobs: Some(1),
        ..SamplingParams::default()
    };
    let submit = |prompt: &Vec<Token>| {
        engine.submit(Request::new(Prompt::Tokens(prompt.clone())).with_params(params.clone())).unwrap()
    };
    let running: Vec<_> = prompts.iter().map(submit).collect();
    running.into_iter().map(|generation| generation.wait().unwrap()).collect()
}

fn assert_right_in_company(path: &Path) {
    let config = EngineConfig {
        kernels: false,
        slots: Some(N_PROMPTS),
        n_ctx: Some(128),
        threads: Some(1),
        ..EngineConfig::default()
    };
    let engine = Engine::load(path, config).unwrap();
    let prompts = prompts(engine.token_table().len());
    let expected = row_by_row(path, &prompts);
    // The second time prefixes may be found, or slots taken over.
    for round in 0..2 {
        for (n, (got, expected)) in together(&engine, &prompts).iter().zip(&expected).enumerate() {
            let name = path.file_name().unwrap().display();
            assert_eq!(got.tokens.len(), expected.len());
            assert_same(&format!("{name}, prompt {n}, round {round}"), got, expected);
        }
    }
}

#[test]
fn other_architectures_are_right_in_company() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        eprintln!("skipped: {FOLDER} names no folder with models");
        return;
    };
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let models = files.filter(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    models.for_each(|path| assert_right_in_company(&path));
}
