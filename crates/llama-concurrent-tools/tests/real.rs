//! What llama.cpp's own tests expect of real templates, read by this crate: whole, and cut everywhere.
//!
//! Wants a folder with the real templates in `LLAMA_CONCURRENT_TEMPLATES`, and in it `calls.json`, which
//! `scripts/chat-templates/calls.py` makes. Without them it says so and does nothing.

use std::{collections::BTreeMap, fs, path::PathBuf};

use llama_concurrent_tools::{Format, Message, Parser, ParserOptions, Start, Thoughts, Tool};
use serde_json::Value;

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("LLAMA_CONCURRENT_TEMPLATES").map(PathBuf::from);
    if folder.as_ref().is_none_or(|folder| !folder.join("calls.json").exists()) {
        println!(
            "SKIPPED: LLAMA_CONCURRENT_TEMPLATES names no folder with calls.json; scripts/chat-templates/calls.py makes it"
        );
        return None;
    }
    folder
}

fn read<'a>(
    format: &Format,
    tools: &[Tool],
    options: &ParserOptions,
    pieces: impl Iterator<Item = &'a str>,
) -> Message {
    let mut parser = Parser::new(format, tools, options.clone());
    let mut message = Message::default();
    for piece in pieces {
        message.extend(parser.push(piece));
    }
    message.extend(parser.finish());
    message
}

fn as_json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.trim().into()))
}

/// Reasons for which a case is read otherwise than llama.cpp reads it: template, a part of the input, the reason.
const OTHERWISE: &[(&str, &str, &str)] = &[
    ("Qwen3.5-4B", "I'm\nthinking\n</think>", PROMPTED),
    ("NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "I'm\nthinking\n</think>", PROMPTED),
    ("Cohere2MoE", "I'm\nthinking<|END_THINKING|><|START_TEXT|>", PROMPTED),
    ("mistralai-Ministral-3-14B-Reasoning-2512", "```json", FENCE),
    ("meta-llama-Llama-3.1-8B-Instruct", "```json", FENCE),
    ("CohereForAI-c4ai-command-r7b-12-2024-tool_use", "\"special_function\", ", NO_ARGUMENTS),
    ("Cohere2MoE", "\"special_function\", ", NO_ARGUMENTS),
    (
        "MiniMax-M3",
        "<label>]<]minimax[>[<text>",
        "an object where the schema has a text or an object; llama.cpp reads its markup as a text",
    ),
    ("openai-gpt-oss-120b", "container.exec", BUILTIN),
    ("openai-gpt-oss-120b", "to=python", BUILTIN),
];

const PROMPTED: &str =
    "thoughts stay in the content, and the prompt opened one: llama.cpp repeats the prompt's opening";
const FENCE: &str = "an answer of a schema in a code fence, which our grammar does not let the model write";
const NO_ARGUMENTS: &str = "cut between the name and the arguments: here that is no call yet";
const BUILTIN: &str = "a message to a tool of the model's training: llama.cpp drops it, here it is content";

#[test]
fn what_llama_cpp_expects_is_read() {
    let Some(folder) = folder() else { return };
    let cases: Vec<Value> = serde_json::from_str(&fs::read_to_string(folder.join("calls.json")).unwrap()).unwrap();
    let mut table: BTreeMap<String, (usize, usize, String)> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut otherwise = Vec::new();
    for case in &cases {
        let text = |field: &str| case[field].as_str().unwrap_or_default();
        let name = text("template").rsplit('/').next().unwrap().trim_end_matches(".jinja");
        let source = fs::read_to_string(folder.join(format!("{name}.jinja"))).unwrap();
        let format = Format::detect(&source);
        let tools: Vec<Tool> = case["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| Tool::new(tool["name"].as_str().unwrap(), tool["parameters"].clone()))
            .collect();
        let mut options = ParserOptions::default();
        options.no_calls = case["tool_choice"] == 2;
        options.thoughts = if case["reasoning_format"] == 0 { Thoughts::InContent } else { Thoughts::Apart };
        // llama.cpp puts what was continued in front of what it expects; here it is the caller's.
        options.start = match case["continuation"].as_u64() {
            Some(2) => Start::Thought,
            Some(3) => Start::Content,
            _ => format.start_after(text("generation_prompt")),
        };
        let input = text("input");
        let whole = read(&format, &tools, &options, [input].into_iter());
        let expected = &case["expect"];
        let (content, reasoning) =
            (expected["content"].as_str().unwrap().trim(), expected["reasoning"].as_str().unwrap().trim());
        let is_text = |ours: &str, theirs: &str| match case["continuation"].as_u64() {
            Some(2 | 3) => theirs.ends_with(ours.trim()),
            _ => ours.trim() == theirs.trim_start_matches("Here are my reasoning steps:\n"),
        };
        let calls: Vec<(String, Value, String)> = expected["calls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| {
                (
                    call["name"].as_str().unwrap().to_owned(),
                    as_json(call["arguments"].as_str().unwrap()),
                    call["id"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        let ours: Vec<(String, Value, String)> = whole
            .calls
            .iter()
            .map(|call| (call.name.clone(), as_json(&call.arguments), call.id.clone().unwrap_or_default()))
            .collect();
        let is_same = is_text(&whole.content, content)
            && is_text(&whole.reasoning, reasoning)
            && calls.len() == ours.len()
            && calls
                .iter()
                .zip(&ours)
                .all(|(a, b)| a.0 == b.0 && (a.1 == b.1 || case["partial"] == true) && (a.2.is_empty() || a.2 == b.2));
        let why = OTHERWISE.iter().find(|(template, part, _)| *template == name && input.contains(part));
        let entry = table.entry(name.to_owned()).or_insert((
            0,
            0,
            format!("{:?} {:?}", format.thought_form(), format.call_form()),
        ));
        entry.0 += usize::from(is_same);
        entry.1 += 1;
        if !is_same {
            otherwise.extend(why);
        }
        if !is_same && why.is_none() {
            wrong.push(format!("{name} start {:?} {:?}\n  {input:?}\n  expected {content:?} {reasoning:?} {calls:?}\n  read     {:?} {:?} {ours:?}", options.start, case["json_schema"].as_str().map(|s| s.len()), whole.content, whole.reasoning));
        }
        // However it is cut.
        for (at, _) in input.char_indices() {
            let cut = read(&format, &tools, &options, [&input[..at], &input[at..]].into_iter());
            assert_eq!(cut, whole, "{name}: {input:?} at {at}");
        }
        let characters = input.char_indices().map(|(at, c)| &input[at..at + c.len_utf8()]);
        assert_eq!(read(&format, &tools, &options, characters), whole, "{name}: {input:?}");
    }
    for (name, (same, all, form)) in &table {
        println!("{same:3} of {all:3}  {name}  {form}");
    }
    println!("{} of {}", table.values().map(|row| row.0).sum::<usize>(), cases.len());
    let stale: Vec<_> = OTHERWISE.iter().filter(|row| !otherwise.contains(row)).collect();
    assert!(stale.is_empty(), "{stale:?} are read as llama.cpp reads them");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
