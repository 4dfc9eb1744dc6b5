//! Our part of tokenizing against llama.cpp's own, over vocabularies made up here and over real ones where they are at
//! hand, and long runs of one character on every pre-tokenizer.
//!
//! Real vocabularies are looked for in `$LLAMA_CONCURRENT_VOCAB_DIR`.

use std::path::{Path, PathBuf};

use llama_concurrent_gguf::{Header, PRE_TOKENIZERS, Value};
use llama_concurrent_gguf_synth::metadata as vocabulary_file;
use llama_concurrent_types::{ErrorKind, Token};

use super::{
    effort::{Effort, STACK_BASE, STACK_PER_CHARACTER, WITHOUT_RECURSION},
    text::{RawTokenizer, TokenizeOptions, on_stack},
};
use crate::Model;

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

/// Special tokens that overlap each other and white space in every way.
const SPECIAL: &[(&str, i32)] = &[
    ("<s>", CONTROL),
    ("</s>", CONTROL),
    ("<mask>", CONTROL),
    ("<a><b>", CONTROL),
    ("b><c>", CONTROL),
    ("<a>", USER_DEFINED),
    ("><", CONTROL),
    ("<?>", UNKNOWN),
    ("<unk>", CONTROL),
    ("<|endoftext|>", CONTROL),
    ("  ", USER_DEFINED),
    ("   ", USER_DEFINED),
    (" \n", USER_DEFINED),
    ("\n\n", CONTROL),
    ("s> ", USER_DEFINED),
    ("é", USER_DEFINED),
    ("ab", USER_DEFINED),
    ("ba", CONTROL),
];

/// What random texts are made of.
const PIECES: &[&str] = &[
    "<s>", "</s>", "<mask>", "<a>", "<b>", "<c>", "><", "<?>", "<", ">", "a", "b", "s", " ", "  ", "   ", "\n", "\n\n",
    "\t", "é", "ab", "ba", "hello", " world", "42", "中", "😀", "'s", "!",
];

/// The vocabulary of the demo model with the special tokens above, and with some metadata replaced.
fn byte_level(replaced: &[(&str, Value)]) -> Model {
    let demo = Header::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf")).expect("the demo");
    let list = |key: &str| demo.get(key).and_then(Value::as_array).expect("a vocabulary");
    let (old, merges) = (list("tokenizer.ggml.tokens"), list("tokenizer.ggml.merges"));
    let mut tokens: Vec<Vec<u8>> = (0..old.len()).map(|i| old.bytes_at(i).unwrap().to_vec()).collect();
    // The demo's own control tokens are at the end, and none of the texts here has them.
    let mut types = vec![NORMAL; tokens.len()];
    for &(text, kind) in SPECIAL {
        match tokens.iter().position(|token| token == text.as_bytes()) {
            Some(present) => types[present] = kind,
            None => {
                tokens.push(text.into());
                types.push(kind);
            }
        }
    }
    let id = |text: &str| Value::U32(tokens.iter().position(|token| token == text.as_bytes()).unwrap() as u32);
    let mut metadata = vec![
        ("general.architecture", Value::String("llama".into())),
        ("tokenizer.ggml.model", Value::String("gpt2".into())),
        ("tokenizer.ggml.bos_token_id", id("<s>")),
        ("tokenizer.ggml.eos_token_id", id("</s>")),
        ("tokenizer.ggml.add_bos_token", Value::Bool(true)),
        ("tokenizer.ggml.tokens", vocabulary_file::strings(&tokens)),
        ("tokenizer.ggml.token_type", vocabulary_file::numbers(types)),
        ("tokenizer.ggml.merges", vocabulary_file::strings((0..merges.len()).map(|i| merges.bytes_at(i).unwrap()))),
    ];
    replace(&mut metadata, replaced);
    load(metadata)
}

/// A vocabulary of single characters for a tokenizer that is not byte-level BPE.
fn of_characters(kind: &str, replaced: &[(&str, Value)]) -> Model {
    let mut tokens: Vec<(String, i32)> = vec![("<?>".into(), UNKNOWN)];
    tokens.extend(SPECIAL.iter().filter(|(text, _)| *text != "<?>").map(|&(text, kind)| (text.into(), kind)));
    match kind {
        "llama" | "plamo2" => tokens.extend((0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), BYTE))),
        "bert" => tokens.extend(["[UNK]", "[SEP]"].map(|text| (text.into(), CONTROL))),
        _ => {}
    }
    let letters = "▁abcdehlorsw!'<>?中".chars().map(String::from);
    let words = ["▁hello", "▁world", "▁a", "▁b", "he", "hello"].map(String::from);
    for text in letters.chain(words) {
        if !tokens.iter().any(|(present, _)| *present == text) {
            tokens.push((text, NORMAL));
        }
    }
    let id = |text: &str| Value::U32(tokens.iter().position(|(token, _)| token == text).unwrap() as u32);
    let scores = tokens.iter().map(|_| -1);
    let mut metadata = vec![
        ("general.architecture", Value::String("llama".into())),
        ("tokenizer.ggml.model", Value::String(kind.into())),
        ("tokenizer.ggml.bos_token_id", id("<s>")),
        ("tokenizer.ggml.eos_token_id", id("</s>")),
        ("tokenizer.ggml.seperator_token_id", id("</s>")),
        ("tokenizer.ggml.unknown_token_id", Value::U32(0)),
        ("tokenizer.ggml.tokens", vocabulary_file::strings(tokens.iter().map(|(text, _)| text))),
        ("tokenizer.ggml.token_type", vocabulary_file::numbers(tokens.iter().map(|&(_, kind)| kind))),
        ("tokenizer.ggml.scores", vocabulary_file::numbers(scores)),
    ];
    replace(&mut metadata, replaced);
    load(metadata)
}

fn replace<'k>(metadata: &mut Vec<(&'k str, Value)>, replaced: &[(&'k str, Value)]) {
    for (key, value) in replaced {
        metadata.retain(|(present, _)| present != key);
        metadata.push((key, value.clone()));
    }
}

fn load(metadata: Vec<(&str, Value)>) -> Model {
    let file = tempfile::NamedTempFile::new().unwrap();
    let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    std::fs::write(file.path(), vocabulary_file::file(metadata)).unwrap();
    Model::load_vocabulary(file.path()).unwrap()
}

/// A small generator of equal numbers each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }
}

fn ours(model: &Model, text: &str, add_special: bool, parse_special: bool) -> Vec<Token> {
    let options = TokenizeOptions { begin: add_special, end: add_special, parse_special, ..TokenizeOptions::default() };
    model.tokenize(text, &options).unwrap()
}

/// Random texts of these pieces, tokenized in all four ways.
fn compare(model: &Model, name: &str, pieces: &[String], cases: usize) {
    let mut numbers = Numbers(cases as u64);
    for _ in 0..cases {
        let n = numbers.below(12);
        let text: String = (0..n).map(|_| &*pieces[numbers.below(pieces.len())]).collect();
        for (add_special, parse_special) in [(false, false), (false, true), (true, false), (true, true)] {
            let expected = model.tokenize_by_llama_cpp(&text, add_special, parse_special);
            let got = ours(model, &text, add_special, parse_special);
            assert_eq!(got, expected, "{name}: {text:?}, add {add_special}, parse {parse_special}");
        }
    }
}

fn pieces() -> Vec<String> {
    PIECES.iter().map(|&piece| piece.to_owned()).collect()
}

#[test]
fn special_tokens_are_cut_out_as_llama_cpp_does() {
    let pre = |name: &str| ("tokenizer.ggml.pre", Value::String(name.into()));
    let name = |name: &str| ("general.name", Value::String(name.into()));
    let yes = |key: &'static str| (key, Value::Bool(true));
    let models = [
        ("plain", byte_level(&[pre("gpt-2")])),
        ("strips on the right", byte_level(&[pre("qwen2"), name("A Phi-3 of sorts")])),
        ("strips on the left", byte_level(&[pre("jina-v2-de"), yes("tokenizer.ggml.add_eos_token")])),
        ("escapes spaces", byte_level(&[pre("gemma4")])),
        ("expressions", byte_level(&[pre("deepseek-v3"), name("phi3")])),
        ("no begin", byte_level(&[pre("gpt-2"), ("tokenizer.ggml.add_bos_token", Value::Bool(false))])),
        ("SentencePiece", of_characters("llama", &[yes("tokenizer.ggml.add_eos_token")])),
        (
            "without a space before",
            of_characters("llama", &[name("phi-3"), ("tokenizer.ggml.add_space_prefix", Value::Bool(false))]),
        ),
        ("WordPiece", of_characters("bert", &[])),
        ("unigrams", of_characters("t5", &[yes("tokenizer.ggml.add_bos_token")])),
    ];
    for (name, model) in &models {
        compare(model, name, &pieces(), 1500);
    }
}

/// Every token of a real vocabulary that is looked for, and ordinary text.
fn real_pieces(model: &Model) -> Vec<String> {
    let special = model.special_tokens();
    let step = special.len().div_ceil(60);
    let special = special.iter().step_by(step).map(|special| String::from_utf8_lossy(&special.text).into_owned());
    pieces().into_iter().chain(special).collect()
}

#[test]
fn real_vocabularies_are_tokenized_as_by_llama_cpp() {
    let dir = std::env::var_os("LLAMA_CONCURRENT_VOCAB_DIR").map(PathBuf::from);
    let files = dir.and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    let files: Vec<_> =
        files.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "gguf")).collect();
    if files.is_empty() {
        eprintln!("skipped: no vocabularies in $LLAMA_CONCURRENT_VOCAB_DIR");
    }
    for path in files {
        let model = Model::load_vocabulary(&path).unwrap();
        compare(&model, &path.display().to_string(), &real_pieces(&model), 1500);
        eprintln!("equal: {}", path.display());
    }
}

/// What a run is made of.
const RUNS: &[&str] = &[
    "a",
    "A",
    "!",
    "1",
    " ",
    "\n",
    "\t",
    "é",
    "中",
    "가",
    "😀",
    "\u{301}",
    "aB",
    "\n/",
    "'s",
    "1a",
    "a ",
    "<sentinel:1",
];

/// Half of the stack that is reckoned with suffices on every pre-tokenizer, so that other compilers may take twice as much.
#[test]
fn long_runs_fit_onto_half_of_their_stack() {
    for pre in PRE_TOKENIZERS.iter().filter(|pre| !WITHOUT_RECURSION.contains(pre)) {
        let model = byte_level(&[("tokenizer.ggml.pre", Value::String((*pre).into()))]);
        for run in RUNS {
            for (before, behind) in [("", ""), (" ", "中")] {
                let text = format!("{before}{}{behind}", run.repeat(2000));
                let effort = Effort::of("gpt2", Some(pre));
                if effort.check(&text).is_err() {
                    continue;
                }
                let stack = STACK_BASE / 2 + effort.reach(&text) * STACK_PER_CHARACTER / 2;
                on_stack(stack, || model.append(text.as_bytes(), &mut Vec::new())).unwrap().unwrap();
            }
        }
    }
}

/// From a thread as small as those of some languages, and of musl.
fn on_a_small_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    on_stack(128 << 10, work).unwrap()
}

#[test]
fn long_runs_have_an_answer_or_an_error_on_every_pre_tokenizer() {
    for pre in PRE_TOKENIZERS.iter().copied().chain([""]) {
        let model = byte_level(&[("tokenizer.ggml.pre", Value::String(pre.into()))]);
        for run in RUNS {
            for n in [90, 6508] {
                let text = run.repeat(n);
                let got = on_a_small_thread(|| model.tokenize(&text, &TokenizeOptions::default()));
                assert!(got.is_ok(), "{pre}, {run:?} x {n}: {got:?}");
            }
        }
        // The longest takes a second for each where there is no limit, so not all are tried.
        for (run, n) in [("a", 100_000), ("1", 100_000), (" ", 100_000), ("!中", 500_000)] {
            if WITHOUT_RECURSION.contains(&pre) && n > 100_000 {
                continue;
            }
            let text = format!("{}中", run.repeat(n));
            match on_a_small_thread(|| model.tokenize(&text, &TokenizeOptions::default())) {
                Ok(tokens) => assert!(n == 100_000 && tokens.len() > 1, "{pre}, {run:?}"),
                Err(error) => assert_eq!(*error.kind(), ErrorKind::InvalidRequest, "{pre}, {run:?}: {error}"),
            }
        }
    }
}

#[test]
fn long_runs_have_an_answer_with_every_other_tokenizer() {
    for kind in ["llama", "bert", "t5"] {
        let model = of_characters(kind, &[]);
        for run in RUNS {
            let text = run.repeat(20_000);
            let got = on_a_small_thread(|| model.tokenize(&text, &TokenizeOptions::default()));
            assert!(got.is_ok(), "{kind}, {run:?}: {got:?}");
        }
    }
}

#[test]
fn what_is_quoted_is_text() {
    let model = byte_level(&[("tokenizer.ggml.pre", Value::String("gpt-2".into()))]);
    let text = "<s>hi </s> you</s>";
    let tokens = |plain: &[std::ops::Range<usize>]| {
        let options = TokenizeOptions { parse_special: true, plain, ..TokenizeOptions::default() };
        model.tokenize(text, &options).unwrap()
    };
    let special = |tokens: &[Token]| {
        let of = |&token: &Token| model.table().special_token("</s>") == Some(token);
        tokens.iter().filter(|token| of(token)).count()
    };
    assert_eq!(special(&tokens(&[])), 2);
    let quoted = tokens(&[3..14]);
    assert_eq!(special(&quoted), 1);
    let mut expected = vec![model.table().special_token("<s>").unwrap()];
    model.append(b"hi </s> you", &mut expected).unwrap();
    expected.push(model.table().special_token("</s>").unwrap());
    assert_eq!(quoted, expected);
}
