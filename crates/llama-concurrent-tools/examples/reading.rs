//! What reading answers takes: `cargo run --release -p llama-concurrent-tools --example reading [KIB]`.
//!
//! An answer of so many KiB (64 by default) streams in pieces of four characters, as text and as the arguments of a call, in the
//! forms of some families; then a mebibyte of hostile text, whole and byte by byte.

use std::time::Instant;

use llama_concurrent_tools::{Format, Parser, ParserOptions, Tool};
use serde_json::json;

/// A name, the signs of its template, and what stands around a text within the arguments of a call.
const FAMILIES: [(&str, &str, &str, &str); 4] = [
    (
        "hermes",
        "<think><tool_call>",
        "<tool_call>\n{\"name\": \"write\", \"arguments\": {\"text\": \"",
        "\"}}\n</tool_call>",
    ),
    (
        "qwen-coder",
        "<tool_call><function=<parameter=",
        "<tool_call>\n<function=write>\n<parameter=text>\n",
        "\n</parameter>\n</function>\n</tool_call>",
    ),
    (
        "glm",
        "<think><tool_call><arg_key>",
        "<tool_call>write\n<arg_key>text</arg_key>\n<arg_value>",
        "</arg_value>\n</tool_call>",
    ),
    (
        "harmony",
        "<|channel|>",
        "<|channel|>commentary to=functions.write <|constrain|>json<|message|>{\"text\": \"",
        "\"}",
    ),
];

fn parser(signs: &str) -> Parser {
    let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
    Parser::new(&Format::detect(signs), &[Tool::new("write", schema)], ParserOptions::default())
}

/// Seconds, and how many pieces of an answer came of it.
fn read<'a>(mut parser: Parser, pieces: impl Iterator<Item = &'a str>) -> (f64, usize) {
    let start = Instant::now();
    let count: usize = pieces.map(|piece| parser.push(piece).len()).sum();
    let count = count + parser.finish().len();
    (start.elapsed().as_secs_f64(), count)
}

/// A text in pieces of about so many bytes.
fn pieces(text: &str, bytes: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = (bytes.min(rest.len())..).find(|&at| rest.is_char_boundary(at))?;
        let (piece, behind) = rest.split_at(end);
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

fn main() {
    let kib: usize = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(64);
    let words = "the quick brown fox, 3 < 4 and more ";
    let text = words.repeat((kib << 10) / words.len());
    println!("{:12}{:>22}{:>22}", "", "text, us per piece", "arguments, us per piece");
    for (name, signs, before, behind) in FAMILIES {
        let per_piece = |text: &str| {
            let mut times: Vec<f64> = (0..9).map(|_| read(parser(signs), pieces(text, 4)).0).collect();
            times.sort_by(f64::total_cmp);
            times[4] * 1e6 / (text.len() as f64 / 4.0)
        };
        let called = format!("{before}{text}{behind}");
        println!("{name:12}{:>22.3}{:>22.3}", per_piece(&text), per_piece(&called));
    }
    println!("\n{:36}{:>14}{:>14}", "a mebibyte of", "whole, s", "by bytes, s");
    for unit in [
        "<",
        "<tool_call>",
        "<tool_call>{\"name\": \"write\", ",
        "{\"a\":",
        "[",
        "<think>",
        "\n",
        "</",
        "[TOOL_CALLS]",
        "<|channel|>",
    ] {
        let hostile = unit.repeat((1 << 20) / unit.len());
        let (mut whole, mut single) = (0.0_f64, 0.0_f64);
        for (_, signs, before, _) in FAMILIES {
            let within = format!("{before}{hostile}");
            for text in [&hostile, &within] {
                whole = whole.max(read(parser(signs), std::iter::once(text.as_str())).0);
                single = single.max(read(parser(signs), pieces(text, 1)).0);
            }
        }
        println!("{unit:36}{whole:>14.3}{single:>14.3}", unit = format!("{unit:?}"));
    }
}
