//! Broken model files by the thousand: never an abort, never a hang, and no memory that stays.
//!
//! The work is done in child processes of this one, so that an abort is counted and not the end of the run. By hand, longer:
//! `LLAMA_CONCURRENT_HOSTILE_HEADERS=100000 LLAMA_CONCURRENT_HOSTILE_MODELS=2000 cargo test --release -p llama-concurrent
//! --test hostile_files -- --nocapture`. `LLAMA_CONCURRENT_HOSTILE_SEED` chooses other ones,
//! `LLAMA_CONCURRENT_TEST_MODELS` names a folder with small models to break beside the made ones, and
//! `LLAMA_CONCURRENT_HOSTILE_KEEP` one for the files that end a process.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use fastrand::Rng;
use llama_concurrent::{ChatMessage, ChatOptions, EmbedOptions, Engine, EngineConfig, Pooling, SamplingParams};
use llama_concurrent_gguf::{Array, Header, TensorType, Value, ValueType};
use llama_concurrent_gguf_synth::{
    Parts, Shape, SynthOptions, TensorPart, WeightType, encoder_architectures, write, write_architecture,
};
use llama_concurrent_llama::tensors_of;

const TASK: &str = "LLAMA_CONCURRENT_HOSTILE_TASK";
/// A case takes milliseconds; on a busy machine, a second.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of the cases of one child, so many come first, after which memory must stay as it is.
const WARM_UP: u64 = 4;

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn mutated_headers_end_no_process() {
    let count = number("LLAMA_CONCURRENT_HOSTILE_HEADERS", 3000);
    let outcome = run_all("headers", count);
    println!("headers: {outcome:?}");
    assert!(outcome.aborts.is_empty() && outcome.hangs.is_empty(), "{outcome:?}");
    assert!(outcome.grown < 64 << 20, "{outcome:?}");
    assert!(
        outcome.refused > count / 4 && outcome.fine > 0,
        "the mutations are neither all harmless nor all fatal: {outcome:?}"
    );
}

#[test]
fn broken_models_end_no_process() {
    let count = number("LLAMA_CONCURRENT_HOSTILE_MODELS", 60);
    let outcome = run_all("models", count);
    println!("models: {outcome:?}");
    assert!(outcome.aborts.is_empty() && outcome.hangs.is_empty(), "{outcome:?}");
    assert!(outcome.grown < 128 << 20, "{outcome:?}");
    assert!(outcome.refused > count / 10 && outcome.fine > 0, "{outcome:?}");
}

#[derive(Debug, Default)]
struct Outcome {
    fine: u64,
    refused: u64,
    /// Of those, what llama.cpp or ggml found.
    late: u64,
    /// The numbers of the cases that ended their process, and how.
    aborts: Vec<(u64, String)>,
    hangs: Vec<u64>,
    /// Bytes that a child has grown by, after its first cases.
    grown: u64,
}

/// Lets children work through cases `0..count`, each from where the last one ended.
fn run_all(task: &str, count: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let mut next = 0;
    while next < count && outcome.aborts.len() + outcome.hangs.len() < 200 {
        next = run_one(task, next, count, &mut outcome);
    }
    outcome
}

fn run_one(task: &str, first: u64, count: u64, outcome: &mut Outcome) -> u64 {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads", "1"])
        .env(TASK, format!("{task} {first} {count}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (lines, inbox) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    let words = std::thread::spawn(move || {
        let lines = BufReader::new(stderr).lines().map_while(Result::ok);
        lines.filter(|line| line.contains("panicked") || line.contains("ASSERT") || line.contains("Error")).last()
    });
    let (mut done, mut warm) = (first, None);
    loop {
        let line = match inbox.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill().unwrap();
                child.wait().unwrap();
                outcome.hangs.push(done);
                return done + 1;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        };
        // The test harness writes lines of its own, and the beginning of one of ours.
        let Some((_, line)) = line.split_once("case ") else { continue };
        let mut words = line.split(' ');
        let mut word = || words.next().expect("four words");
        let (index, what, memory) = (word().parse::<u64>().unwrap(), word(), word().parse::<u64>().unwrap());
        match what {
            "fine" => outcome.fine += 1,
            "late" => (outcome.refused, outcome.late) = (outcome.refused + 1, outcome.late + 1),
            _ => outcome.refused += 1,
        }
        done = index + 1;
        if index - first >= (count - first) / WARM_UP {
            outcome.grown = outcome.grown.max(memory.saturating_sub(*warm.get_or_insert(memory)));
        }
    }
    let status = child.wait().unwrap();
    if status.success() {
        return count.max(done);
    }
    let words = words.join().unwrap().unwrap_or_default();
    outcome.aborts.push((done, format!("{status} {words}")));
    done + 1
}

#[test]
fn child() {
    let Ok(task) = env::var(TASK) else { return };
    let words: Vec<&str> = task.split(' ').collect();
    let range = words[1].parse::<u64>().unwrap()..words[2].parse::<u64>().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let seeds = Seeds::new(folder.path());
    for index in range {
        let seed = number("LLAMA_CONCURRENT_HOSTILE_SEED", 1) << 32 | index;
        let random = &mut Rng::with_seed(seed);
        let what = match words[0] {
            "headers" => seeds.header(random),
            _ => seeds.model(random, index),
        };
        println!("case {index} {what} {}", resident_bytes());
    }
}

fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// Whole files to begin with.
struct Seeds {
    folder: PathBuf,
    whole: Vec<Parts>,
    /// As bytes, and how many of them are header.
    bytes: Vec<(Vec<u8>, usize)>,
}

impl Seeds {
    fn new(folder: &Path) -> Self {
        let demo = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo.gguf"));
        let mut paths = vec![demo.to_owned()];
        let small = |shape: Shape| Shape { n_embd: 64, n_ff: 128, n_head: 4, n_head_kv: 2, n_vocab: 800, ..shape };
        for (n, (shape, weight_type)) in [
            (small(Shape::SMOLLM_135M), WeightType::Q4_0),
            (small(Shape::QWEN2_5_0_5B), WeightType::Q8_0),
            (small(Shape::TINYLLAMA_1_1B), WeightType::F16),
        ]
        .into_iter()
        .enumerate()
        {
            let path = folder.join(format!("seed-{n}.gguf"));
            write(&SynthOptions { weight_type, n_layer: Some(2), ..SynthOptions::new(shape) }, &path, &mut |_, _| ())
                .unwrap();
            paths.push(path);
        }
        for encoder in encoder_architectures() {
            let path = folder.join(format!("seed-{encoder}.gguf"));
            write_architecture(encoder, 1, &path, tensors_of).unwrap();
            paths.push(path);
        }
        if let Some(more) = env::var_os("LLAMA_CONCURRENT_TEST_MODELS") {
            let files = fs::read_dir(more).unwrap().map(|entry| entry.unwrap().path());
            paths.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "gguf")));
            paths.sort();
        }
        let whole: Vec<Parts> = paths.iter().map(|path| Parts::read(path).unwrap()).collect();
        let bytes = whole.iter().map(|parts| (parts.encode(), parts.header().len())).collect();
        Seeds { folder: folder.to_owned(), whole, bytes }
    }

    /// Some bytes of a header changed, of one file or of a part of a model in two; read and judged.
    fn header(&self, random: &mut Rng) -> &'static str {
        let (bytes, header) = choose(&self.bytes, random);
        let is_split = random.u32(0..8) < 1;
        let (mut bytes, header, path) = if is_split {
            let (first, second) = split(choose(&self.whole, random).clone());
            let (mut first, mut second) = (first.encode(), second.encode());
            let changed = if random.bool() { &mut first } else { &mut second };
            let len = changed.len().min(4096);
            mutate(changed, len, random);
            fs::write(self.folder.join("m-00002-of-00002.gguf"), &second).unwrap();
            let len = first.len();
            (first, len, self.folder.join("m-00001-of-00002.gguf"))
        } else {
            (bytes.clone(), *header, self.folder.join("mutated.gguf"))
        };
        if !is_split {
            mutate(&mut bytes, header, random);
        }
        fs::write(&path, &bytes).unwrap();
        match Header::read(&path).and_then(|header| header.check_model()) {
            Ok(model) => {
                let _ = model.to_string();
                "fine"
            }
            Err(error) => {
                let _ = error.to_string();
                "refused"
            }
        }
    }

    /// A well-formed file that says or holds something else than it should; loaded, and used if it loads.
    fn model(&self, random: &mut Rng, index: u64) -> &'static str {
        let mut parts = choose(&self.whole, random).clone();
        for _ in 0..1 + random.usize(0..3) {
            break_something(&mut parts, random);
        }
        let path = self.folder.join("broken.gguf");
        if random.u32(0..10) < 1 {
            let (first, second) = split(parts.clone());
            let path = self.folder.join("b-00001-of-00002.gguf");
            fs::write(&path, first.encode()).unwrap();
            fs::write(self.folder.join("b-00002-of-00002.gguf"), second.encode()).unwrap();
            return use_model(&path, random);
        }
        let bytes = parts.encode();
        if let Some(folder) = env::var_os("LLAMA_CONCURRENT_HOSTILE_KEEP").map(PathBuf::from) {
            // Removed when the case is over: what stays has ended the process.
            let kept = folder.join(format!("{index}.gguf"));
            fs::write(&kept, &bytes).unwrap();
            let what = use_model(&kept, random);
            fs::remove_file(kept).unwrap();
            return what;
        }
        fs::write(&path, bytes).unwrap();
        use_model(&path, random)
    }
}

/// Loads as anybody would, and asks for a little of everything.
fn use_model(path: &Path, random: &mut Rng) -> &'static str {
    let is_sound = Header::read(path).and_then(|header| header.check_model()).is_ok();
    let config = EngineConfig::default()
        .slots(1 + random.usize(0..3))
        .n_ctx(64)
        .threads(1)
        .kernels(random.bool())
        .mmap(random.bool());
    let engine = match Engine::load(path, config) {
        Ok(engine) => engine,
        Err(error) => {
            let _ = error.to_string();
            return if is_sound { "late" } else { "refused" };
        }
    };
    let params = SamplingParams::default().max_tokens(4);
    for text in ["A fox", "\u{e9}\u{4e2d}\u{1f98a} <|end|>\n\n\u{0}x", "  "] {
        let tokens = engine.tokenize(text);
        let _ = tokens.map(|tokens| engine.detokenize_with(&tokens, true));
    }
    let prompts: Vec<Vec<i32>> =
        (0..3).map(|n| (0..5 + n).map(|i| (i * 7 + n) % engine.token_table().len() as i32).collect()).collect();
    let running: Vec<_> = prompts
        .into_iter()
        .filter_map(|prompt| {
            let request = llama_concurrent::Request::new(llama_concurrent::Prompt::Tokens(prompt));
            engine.submit(request.params(params.clone())).ok()
        })
        .collect();
    running.into_iter().for_each(|generation| drop(generation.wait()));
    let texts = || (1..20).map(|n| (0..n * 3).map(|i| (i * 7 + n) % 500).collect::<Vec<i32>>());
    for pooling in [Pooling::Mean, Pooling::None, Pooling::Rank] {
        drop(engine.embed_batch(texts(), &EmbedOptions::default().pooling(pooling), |_, _| ()));
    }
    let _ = engine.rerank("A fox", ["eats mice", "", "\u{e9}\u{4e2d}\u{1f98a} <|end|>\n\n\u{0}x"]);
    if let Ok(prompt) = engine.chat_prompt(&[ChatMessage::new("user", "Hello")], &ChatOptions::default()) {
        let _ = engine.generate(prompt, params);
    }
    "fine"
}

fn split(mut first: Parts) -> (Parts, Parts) {
    let n_tensors = first.tensors.len() as i32;
    let mut second = Parts { tensors: first.tensors.split_off(first.tensors.len() / 2), ..Parts::default() };
    for (number, part) in [&mut first, &mut second].into_iter().enumerate() {
        part.set("split.no", Value::U16(number as u16));
        part.set("split.count", Value::U16(2));
        part.set("split.tensors.count", Value::I32(n_tensors));
    }
    (first, second)
}

/// Numbers that break things.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    3,
    7,
    0x7F,
    0xFF,
    0xFFFF,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    0x1_0000_0000,
    i64::MAX as u64,
    u64::MAX - 31,
    u64::MAX,
];

fn mutate(bytes: &mut Vec<u8>, header: usize, random: &mut Rng) {
    for _ in 0..1 + random.usize(0..4) {
        // Half of them where sizes and counts are.
        let reach = if random.bool() { header.min(bytes.len()) } else { header.min(bytes.len()).min(2048) };
        if reach < 16 {
            return;
        }
        let at = random.usize(0..reach - 8);
        match random.usize(0..8) {
            0 => bytes[at] ^= 1 << random.u32(0..8),
            1 => bytes[at] = random.u8(..),
            2 => bytes[at..at + 8].copy_from_slice(&choose(&EDGES, random).to_le_bytes()),
            3 => bytes[at..at + 4].copy_from_slice(&(*choose(&EDGES, random) as u32).to_le_bytes()),
            4 => bytes.truncate(at),
            5 => drop(bytes.drain(at..at + 1 + random.usize(0..8))),
            6 => {
                let piece: Vec<u8> = bytes[at..at + random.usize(1..9)].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let from = random.usize(0..reach - 8);
                bytes.copy_within(from..from + 8, at);
            }
        }
    }
}

fn choose<'a, T>(all: &'a [T], random: &mut Rng) -> &'a T {
    &all[random.usize(0..all.len())]
}

fn break_something(parts: &mut Parts, random: &mut Rng) {
    match random.usize(0..12) {
        0..5 => break_value(parts, random),
        5 => drop(parts.metadata.remove(random.usize(0..parts.metadata.len()))),
        6 => break_vocabulary(parts, random),
        7 => break_shape(parts, random),
        8 => retype(parts, random),
        9 => drop(parts.tensors.remove(random.usize(0..parts.tensors.len()))),
        10 => {
            let (a, b) = (random.usize(0..parts.tensors.len()), random.usize(0..parts.tensors.len()));
            let name = parts.tensors[a].name.clone();
            parts.tensors[a].name = std::mem::replace(&mut parts.tensors[b].name, name);
        }
        _ => {
            // Weights of no number that is one.
            let tensor = random.usize(0..parts.tensors.len());
            let data = &mut parts.tensors[tensor].data;
            let at = random.usize(0..=data.len() / 2);
            random.fill(&mut data[at..]);
        }
    }
}

fn break_value(parts: &mut Parts, random: &mut Rng) {
    let added = [
        "expert_count",
        "expert_used_count",
        "expert_group_count",
        "attention.sliding_window",
        "attention.key_length",
        "attention.value_length",
        "attention.head_count_kv",
        "rope.dimension_count",
        "rope.scaling.factor",
        "rope.scaling.type",
        "rope.freq_base",
        "nextn_predict_layers",
        "leading_dense_block_count",
        "embedding_length_out",
        "attention.causal",
        "pooling_type",
        "dense_2_feat_in",
        "dense_3_feat_out",
        "decision.block_count",
        "classifier.output_labels",
        "logit_scale",
        "vocab_size",
    ];
    let architecture = parts.get("general.architecture").and_then(Value::as_str).unwrap_or("llama").to_owned();
    let key = if random.u32(0..3) < 1 {
        format!("{architecture}.{}", choose(&added, random))
    } else {
        choose(&parts.metadata, random).0.clone()
    };
    let number = match random.usize(0..3) {
        0 => *choose(&EDGES, random),
        1 => random.u64(0..70),
        _ => 1 << random.u32(0..20),
    };
    let float = *choose(&[0.0, -1.0, 1e-30, 1e30, f32::NAN, f32::INFINITY, 0.5, 10_000.0], random);
    let text = *choose(
        &["", "none", "yarn", "gpt2", "llama", "bert", "t5", "rwkv", "gemma4", "plamo2", "qwen2", "x\u{0}y"],
        random,
    );
    let value = match parts.get(&key) {
        // Mostly of the type that it has.
        Some(Value::U32(_)) if random.u32(0..5) < 4 => Value::U32(number as u32),
        Some(Value::F32(_)) if random.u32(0..5) < 4 => Value::F32(float),
        Some(Value::String(_)) if random.u32(0..5) < 4 => Value::String(text.to_owned()),
        Some(Value::Bool(old)) => Value::Bool(!old),
        _ => match random.usize(0..8) {
            0..4 => Value::U32(number as u32),
            4 => Value::F32(float),
            5 => Value::String(text.to_owned()),
            6 => Value::U64(number),
            _ => Value::Array(Array::from_i32((0..random.usize(0..4)).map(|_| number as i32))),
        },
    };
    parts.set(&key, value);
}

fn break_vocabulary(parts: &mut Parts, random: &mut Rng) {
    let texts = |parts: &Parts, key: &str| -> Vec<Vec<u8>> {
        let array = parts.get(key).and_then(Value::as_array).filter(|array| array.element_type() == ValueType::String);
        array.map_or(Vec::new(), |array| {
            (0..array.len()).filter_map(|i| array.bytes_at(i)).map(<[u8]>::to_vec).collect()
        })
    };
    let key = *choose(&["tokenizer.ggml.tokens", "tokenizer.ggml.merges"], random);
    let mut tokens = texts(parts, key);
    if tokens.is_empty() {
        return;
    }
    match random.usize(0..6) {
        0 => {
            for _ in 0..1 + random.usize(0..50) {
                let index = random.usize(0..tokens.len());
                let odd: [&[u8]; 8] = [b"", b" ", b"\n", b"\xFF\xFE", b"a b", b"x\0y", "\u{2581}".as_bytes(), b"</s>"];
                tokens[index] = choose(&odd, random).to_vec();
            }
        }
        1 => tokens.truncate(random.usize(0..tokens.len())),
        2 => tokens.swap(0, random.usize(0..2)),
        3 => tokens.iter_mut().for_each(|token| token.truncate(2)),
        4 => {
            let types = (0..tokens.len()).map(|_| random.i32(-1..8)).collect::<Vec<i32>>();
            parts.set("tokenizer.ggml.token_type", Value::Array(Array::from_i32(types)));
            let model = choose(&["gpt2", "llama", "bert", "rwkv", "t5", "plamo2"], random);
            return parts.set("tokenizer.ggml.model", Value::String((*model).to_owned()));
        }
        _ => tokens.push(b"one more".to_vec()),
    }
    parts.set(key, Value::Array(Array::from_strings(tokens)));
}

/// Another shape, with as much data as it needs.
fn break_shape(parts: &mut Parts, random: &mut Rng) {
    let index = random.usize(0..parts.tensors.len());
    let tensor = &mut parts.tensors[index];
    match random.usize(0..4) {
        0 => tensor.dims.reverse(),
        1 => tensor.dims.push(random.u64(1..3)),
        2 => {
            let dim = random.usize(0..tensor.dims.len());
            tensor.dims[dim] = [1, 32, 64, 96, 128, 160][random.usize(0..6)];
        }
        _ => drop(tensor.dims.pop()),
    }
    fit(tensor);
}

/// Another type, with as much data as it needs.
fn retype(parts: &mut Parts, random: &mut Rng) {
    let index = random.usize(0..parts.tensors.len());
    let kinds: Vec<TensorType> = (0..42).filter_map(TensorType::from_id).collect();
    parts.tensors[index].tensor_type = *choose(&kinds, random);
    fit(&mut parts.tensors[index]);
}

fn fit(tensor: &mut TensorPart) {
    let kind = tensor.tensor_type;
    let elements: u64 = tensor.dims.iter().product();
    tensor.data.resize((elements / kind.block_len() * kind.block_bytes()).min(64 << 20) as usize, 0);
}
