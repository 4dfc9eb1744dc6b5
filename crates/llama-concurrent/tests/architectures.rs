//! Every architecture that generates text, as a tiny model with random weights: right beside others as alone, as in plain
//! llama.cpp, and whatever is reused, moved, copied or cancelled.
//!
//! What is compared is the distribution of the first token, in log probabilities of all tokens. Tokens alone would hide a
//! wrong distribution with the right maximum, and show rounding where two tokens are equally likely.

#![allow(missing_docs)]

mod plain;

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use llama_concurrent::{Engine, EngineConfig, Event, Prompt, Request, SamplingParams, Speculation, Strategy, Token};
use llama_concurrent_gguf::Header;
use llama_concurrent_gguf_synth as synth;
use llama_concurrent_llama::tensors_of;

/// Log probabilities of all tokens, by token.
type Distribution = Vec<f32>;

const N_VOCAB: usize = 512;
/// Who computes attention, our kernels or ggml, is settled for the whole process by the first model in memory. Tests that run as
/// threads of one process take turns where ggml has to; whether there was one before is inside.
static ATTENTION: RwLock<bool> = RwLock::new(false);
/// What single precision may make of another order of adding up, in models of few layers and large activations.
const ROUNDING: f32 = 0.02;
/// Where more comes of it, and how much: about one and a half times what was measured.
const MORE_ROUNDING: [(&str, f32); 2] = [("gemma3n", 0.034), ("gemma4", 0.115)];

fn rounding(name: &str) -> f32 {
    MORE_ROUNDING.iter().find(|(other, _)| *other == name).map_or(ROUNDING, |&(_, bound)| bound)
}

struct Model {
    name: &'static str,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Model {
    fn tiny(name: &'static str) -> Self {
        let (folder, path) = plain::tiny(name);
        Self { name, path, _folder: folder }
    }

    fn load(&self, config: EngineConfig) -> Engine {
        let config = config.n_ctx(256).threads(1).pin(false);
        Engine::load(&self.path, config).expect("it loads")
    }

    fn has_window(&self) -> bool {
        let summary = Header::read(&self.path).and_then(|header| header.check_model()).expect("a sound file");
        summary.sliding_window.is_some()
    }

    fn assert_close(&self, what: &str, found: &Distribution, wanted: &Distribution) {
        let worst = difference(found, wanted);
        assert!(worst <= rounding(self.name), "{}: {what} differs by {worst}", self.name);
    }
}

fn slots(n: usize) -> EngineConfig {
    EngineConfig::default().slots(n)
}

/// Some tokens, none of them special.
fn text(seed: usize, len: usize) -> Vec<Token> {
    let mut state = seed as u64 * 0x9e37_79b9 + 12345;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % (N_VOCAB as u64 - 4)
    };
    (0..len).map(|_| next() as Token).collect()
}

/// The largest difference among tokens that matter.
fn difference(a: &Distribution, b: &Distribution) -> f32 {
    assert_eq!((a.len(), b.len()), (N_VOCAB, N_VOCAB), "a distribution of all tokens");
    let matters = |(x, y): &(&f32, &f32)| x.max(**y) > -12.0;
    a.iter().zip(b).filter(matters).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

/// What came of a request: the distribution of its first token, its tokens, and how much of its prompt was reused.
#[derive(Debug, PartialEq)]
struct Answer {
    first: Distribution,
    tokens: Vec<Token>,
    cached: usize,
}

fn request(prompt: &[Token], n: u32, reuse: bool) -> Request {
    let params = SamplingParams::default().max_tokens(n).temperature(0.0).ignore_eos(true).logprobs(N_VOCAB as u32);
    let mut request = Request::new(Prompt::Tokens(prompt.to_vec())).params(params);
    request.prefix_reuse = reuse;
    request
}

/// Reads an answer, of which only so many tokens are wanted; then it is dropped.
fn read(generation: llama_concurrent::Generation, wanted: usize) -> Answer {
    let mut answer = Answer { first: Vec::new(), tokens: Vec::new(), cached: 0 };
    for event in generation {
        match event {
            Event::Delta(delta) => {
                if let (true, Some(found)) = (answer.first.is_empty(), &delta.logprobs) {
                    answer.first = vec![f32::NEG_INFINITY; N_VOCAB];
                    found.top.iter().for_each(|top| answer.first[top.token as usize] = top.logprob);
                }
                answer.tokens.extend(delta.token);
                if answer.tokens.len() == wanted {
                    return answer;
                }
            }
            Event::Finished(finish) => {
                assert!(finish.error.is_none(), "{:?}", finish.error);
                answer.cached = finish.timings.n_cached_tokens;
            }
            _ => {}
        }
    }
    answer
}

fn ask(engine: &Engine, prompt: &[Token], n: u32, reuse: bool) -> Answer {
    read(engine.submit(request(prompt, n, reuse)).expect("it is taken"), usize::MAX)
}

/// All at once.
fn ask_all(engine: &Engine, prompts: &[Vec<Token>], n: u32) -> Vec<Answer> {
    let all: Vec<_> =
        prompts.iter().map(|prompt| engine.submit(request(prompt, n, false)).expect("it is taken")).collect();
    all.into_iter().map(|generation| read(generation, usize::MAX)).collect()
}

fn prompts() -> Vec<Vec<Token>> {
    (0..8).map(|i| text(100 + i, 24 + i * 9 % 40)).collect()
}

/// As plain llama.cpp, one text at a time: equal without our kernels, and within rounding with them, alone and together.
fn as_plain_llama(model: &Model) {
    let mut is_used = ATTENTION.write().unwrap_or_else(PoisonError::into_inner);
    let load_without_kernels = || model.load(slots(1).kernels(false).repack(false));
    // The first one sees llama.cpp as it is before any kernels are installed; for all others they are switched off again.
    if std::mem::replace(&mut *is_used, true) {
        drop(load_without_kernels());
    }
    let mut reference = plain::Plain::load(&model.path);
    let wanted: Vec<Distribution> = prompts().iter().map(|prompt| reference.first(prompt)).collect();
    let without_kernels = load_without_kernels();
    for (prompt, wanted) in prompts().iter().zip(&wanted) {
        let found = ask(&without_kernels, prompt, 1, false);
        // Not zero: on processors with arithmetic in half precision, ggml's attention rounds by how the cache is laid out.
        let worst = difference(&found.first, wanted);
        assert!(worst < 5e-4, "{}: without kernels, alone differs from llama.cpp by {worst}", model.name);
    }
    drop(without_kernels);
    drop(is_used);
    let _shared = ATTENTION.read().unwrap_or_else(PoisonError::into_inner);
    let engine = model.load(slots(8));
    for (prompt, wanted) in prompts().iter().zip(&wanted) {
        model.assert_close("alone, from llama.cpp,", &ask(&engine, prompt, 1, false).first, wanted);
    }
    for (answer, wanted) in ask_all(&engine, &prompts(), 12).iter().zip(&wanted) {
        model.assert_close("together, from llama.cpp,", &answer.first, wanted);
        assert_eq!(answer.tokens.len(), 12);
    }
}

/// A long text, a short one and a long one; the short one ends, and the last moves into its slot. What it left behind there is
/// reused or not, but never wrongly.
fn moved_slots(model: &Model, config: EngineConfig) {
    for round in 0..2 {
        let engine = model.load(config.clone().slots(3));
        let moving = text(3 * round + 2, 60);
        let long = engine.submit(request(&text(3 * round, 50), 30, true)).expect("it is taken");
        let short = engine.submit(request(&text(3 * round + 1, 20), 3, true)).expect("it is taken");
        let last = engine.submit(request(&moving, 20 + round as u32, true)).expect("it is taken");
        let readers = [long, short].map(|generation| std::thread::spawn(|| read(generation, usize::MAX)));
        read(last, usize::MAX);
        for reader in readers {
            reader.join().expect("it is read");
        }
        for shared in [44, 58, 60] {
            let prompt = [&moving[..shared], &text(500 + round, 9)].concat();
            let reused = ask(&engine, &prompt, 1, true);
            let anew = ask(&engine, &prompt, 1, false);
            assert_eq!(anew.cached, 0);
            model.assert_close("reused after a move", &reused.first, &anew.first);
        }
    }
}

/// Ten callers on four slots, with beginnings in common, some of whom leave in the middle.
fn crowd(model: &Model, config: EngineConfig) {
    let engine = model.load(config.slots(4));
    let prompt = |i: usize| [text(i % 3, 30 + (i * 13) % 40), text(100 + i % 7, 10 + i % 20)].concat();
    let (next, answers) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= 30 {
                        return;
                    }
                    let generation = engine.submit(request(&prompt(i), 4 + (i as u32 * 7) % 25, true));
                    let wanted = if i % 5 == 4 { 3 } else { usize::MAX };
                    let answer = read(generation.expect("it is taken"), wanted);
                    answers.lock().expect("no reader panics").push((i, answer));
                }
            });
        }
    });
    let answers = answers.into_inner().expect("no reader panics");
    assert_eq!(answers.len(), 30);
    let reused: usize = answers.iter().map(|(_, answer)| answer.cached).sum();
    assert!(reused > 0 || !(model.has_window() || model.name == "llama"), "nothing was reused, so nothing was tested");
    for (i, answer) in answers {
        model.assert_close("in a crowd", &answer.first, &ask(&engine, &prompt(i), 1, false).first);
    }
}

/// Reproducible results, to the last bit: in the default strategy, and if `batched` is taken, there too.
fn reproducible(model: &Model) {
    for strategy in [Strategy::Auto, Strategy::Batched] {
        let config = slots(4).reproducible(true).strategy(strategy).n_ctx(256).threads(1);
        let engine = match Engine::load(&model.path, config) {
            Ok(engine) => engine,
            Err(error) if strategy == Strategy::Batched => {
                assert!(error.to_string().contains("reproducible"), "{error}");
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let prompts = &prompts()[..4];
        for (prompt, together) in prompts.iter().zip(ask_all(&engine, prompts, 8)) {
            assert_eq!(ask(&engine, prompt, 8, false), together, "{}: {strategy:?} reproducibly", model.name);
        }
    }
}

/// With drafts the text is the same: to the last bit where a row's results depend on no other row, and everywhere without harm.
fn drafted(model: &Model, swa_full: bool) {
    let load = |speculation, reproducible| {
        let config = slots(2).reproducible(reproducible).swa_full(swa_full).n_ctx(256).threads(1);
        Engine::load(&model.path, config.speculation(speculation)).expect("it loads")
    };
    // What repeats itself is drafted; some texts are longer than a window.
    let repeating = |i: usize| text(i, 9).repeat(3 + 5 * i);
    let prompts: Vec<Vec<Token>> = (0..3).map(repeating).collect();
    for reproducible in [true, false] {
        let (off, lookup) = (load(Speculation::Off, reproducible), load(Speculation::Lookup, reproducible));
        let (wanted, found) = (ask_all(&off, &prompts, 24), ask_all(&lookup, &prompts, 24));
        if reproducible {
            assert_eq!(found, wanted, "{}: drafts change nothing", model.name);
        }
        assert!(found.iter().all(|answer| answer.tokens.len() == 24), "{}", model.name);
        assert_eq!(lookup.stats().totals.requests.failed, 0);
    }
}

fn check(name: &'static str) {
    let model = Model::tiny(name);
    as_plain_llama(&model);
    let _shared = ATTENTION.read().unwrap_or_else(PoisonError::into_inner);
    let windows: &[bool] = if model.has_window() { &[false, true] } else { &[false] };
    for &swa_full in windows {
        let config = EngineConfig::default().swa_full(swa_full);
        moved_slots(&model, config.clone());
        crowd(&model, config);
        drafted(&model, swa_full);
    }
    reproducible(&model);
}

macro_rules! architectures {
    ($($test:ident: $name:literal,)*) => {
        const TESTED: &[&str] = &[$($name),*];

        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*
    };
}

#[test]
fn all_are_tested() {
    assert_eq!(TESTED, synth::architectures());
}

#[test]
fn the_same_seed_gives_the_same_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |seed, name: &str| -> Vec<u8> {
        let path: &Path = &folder.path().join(name);
        synth::write_architecture("gemma3", seed, path, tensors_of).expect("a tiny model");
        std::fs::read(path).expect("it is there")
    };
    let (first, again, other) = (write(1, "a"), write(1, "b"), write(2, "c"));
    assert!(first == again && first != other);
    let error =
        synth::write_architecture("nonsense", 1, &folder.path().join("d"), tensors_of).expect_err("there is none");
    assert!(error.to_string().contains("'nonsense'"), "{error}");
}

architectures! {
    afmoe: "afmoe",
    apertus: "apertus",
    arcee: "arcee",
    arctic: "arctic",
    baichuan: "baichuan",
    bailingmoe: "bailingmoe",
    bailingmoe2: "bailingmoe2",
    bailingmoe3: "bailingmoe3",
    bitnet: "bitnet",
    bloom: "bloom",
    chatglm: "chatglm",
    codeshell: "codeshell",
    cogvlm: "cogvlm",
    cohere2: "cohere2",
    cohere2moe: "cohere2moe",
    command_r: "command-r",
    dbrx: "dbrx",
    deci: "deci",
    deepseek: "deepseek",
    deepseek2: "deepseek2",
    deepseek32: "deepseek32",
    deepseek4: "deepseek4",
    dots1: "dots1",
    dots3note: "dots3note",
    ernie4_5: "ernie4_5",
    ernie4_5_moe: "ernie4_5-moe",
    exaone: "exaone",
    exaone_moe: "exaone-moe",
    exaone4: "exaone4",
    falcon: "falcon",
    falcon_h1: "falcon-h1",
    gemma: "gemma",
    gemma2: "gemma2",
    gemma3: "gemma3",
    gemma3n: "gemma3n",
    gemma4: "gemma4",
    glm_dsa: "glm-dsa",
    glm4: "glm4",
    glm4moe: "glm4moe",
    glm5_next: "glm5-next",
    gpt_oss: "gpt-oss",
    gpt2: "gpt2",
    gptneox: "gptneox",
    granite: "granite",
    granite_swa: "granite_swa",
    granitehybrid: "granitehybrid",
    granitemoe: "granitemoe",
    grok: "grok",
    grovemoe: "grovemoe",
    hrm_text: "hrm_text",
    hunyuan_dense: "hunyuan-dense",
    hunyuan_moe: "hunyuan-moe",
    hunyuan_vl: "hunyuan_vl",
    hy_v3: "hy_v3",
    hy_v4: "hy_v4",
    internlm2: "internlm2",
    jais: "jais",
    jais2: "jais2",
    jamba: "jamba",
    kimi_k3: "kimi-k3",
    kimi_linear: "kimi-linear",
    laguna: "laguna",
    lfm2: "lfm2",
    lfm2moe: "lfm2moe",
    llama: "llama",
    llama4: "llama4",
    maincoder: "maincoder",
    mamba: "mamba",
    mamba2: "mamba2",
    maple: "maple",
    mellum: "mellum",
    mimo2: "mimo2",
    minicpm: "minicpm",
    minicpm3: "minicpm3",
    minimax_01: "minimax-01",
    minimax_m2: "minimax-m2",
    minimax_m3: "minimax-m3",
    mistral3: "mistral3",
    mistral4: "mistral4",
    mpt: "mpt",
    muse_glimmer: "muse-glimmer",
    nanbeige: "nanbeige",
    nemotron: "nemotron",
    nemotron_h: "nemotron_h",
    nemotron_h_moe: "nemotron_h_moe",
    olmo: "olmo",
    olmo2: "olmo2",
    olmoe: "olmoe",
    openelm: "openelm",
    orion: "orion",
    paddleocr: "paddleocr",
    pangu_embedded: "pangu-embedded",
    phi2: "phi2",
    phi3: "phi3",
    phimoe: "phimoe",
    plamo: "plamo",
    plamo2: "plamo2",
    plamo3: "plamo3",
    qwen: "qwen",
    qwen2: "qwen2",
    qwen2moe: "qwen2moe",
    qwen2vl: "qwen2vl",
    qwen3: "qwen3",
    qwen35: "qwen35",
    qwen35moe: "qwen35moe",
    qwen3moe: "qwen3moe",
    qwen3next: "qwen3next",
    qwen3vl: "qwen3vl",
    qwen3vlmoe: "qwen3vlmoe",
    qwen4exp: "qwen4exp",
    refact: "refact",
    rwkv6: "rwkv6",
    rwkv7: "rwkv7",
    seed_oss: "seed_oss",
    smallthinker: "smallthinker",
    smollm3: "smollm3",
    spark2_5: "spark2_5",
    stablelm: "stablelm",
    starcoder: "starcoder",
    starcoder2: "starcoder2",
    step35: "step35",
    talkie: "talkie",
    xverse: "xverse",
}
