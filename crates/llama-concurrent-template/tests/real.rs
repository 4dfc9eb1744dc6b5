//! Real templates times conversations, against what transformers and llama-server make of them.
//!
//! Wants a folder with `*.jinja`, `expected.json` and `llama_server.json`, which `scripts/chat-templates` make; without
//! `LLAMA_CONCURRENT_TEMPLATES` it says so and does nothing.

use std::{collections::BTreeMap, fs, path::PathBuf};

use llama_concurrent_template::{ChatMessage, ChatOptions, ChatTemplate, Continuation};
use serde_json::Value;

/// What is neither as in transformers nor as in llama-server, with the reason: template, conversation.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("CohereForAI-c4ai-command-r-plus-tool_use", "calls", UNDESCRIBED),
    ("CohereForAI-c4ai-command-r-plus-tool_use", "tools", UNDESCRIBED),
    (
        "CohereForAI-c4ai-command-r-plus-tool_use",
        "prefill",
        "transformers refuses a chat without tools; llama-server puts instructions in front of what is continued, which the \
         template puts behind the last message",
    ),
    ("fireworks-ai-llama-3-firefunction-v2", "calls", "llama-server does not show the tools, which are shown here"),
    ("fireworks-ai-llama-3-firefunction-v2", "tools", "llama-server does not show the tools, which are shown here"),
    ("llama-cpp-rwkv-world", "calls", LOST),
    ("llama-cpp-rwkv-world", "result", LOST),
    ("microsoft-Phi-3.5-mini-instruct", "calls", LOST),
    ("microsoft-Phi-3.5-mini-instruct", "result", LOST),
    (
        "mistralai-Ministral-3-14B-Reasoning-2512",
        "null",
        "the template refuses a message of the assistant with nothing in it; llama-server changes its source",
    ),
];

const UNDESCRIBED: &str =
    "the template reads the description of a parameter that has none: an error here and in transformers";
const LOST: &str = "the template knows no tools and leaves out the result; here that is an error";

fn rendered(template: &Result<ChatTemplate, String>, conversation: &Value) -> Result<String, String> {
    let template = template.as_ref().map_err(Clone::clone)?;
    let messages: Vec<ChatMessage> = serde_json::from_value(conversation["messages"].clone()).unwrap();
    let continues = conversation["continue_final_message"].as_bool() == Some(true);
    let options = ChatOptions {
        add_generation_prompt: conversation["add_generation_prompt"].as_bool().unwrap_or(true),
        continue_final_message: if continues { Continuation::Last } else { Continuation::Never },
        tools: conversation.get("tools").cloned(),
        extra: conversation.get("extra").and_then(Value::as_object).cloned().unwrap_or_default(),
        ..ChatOptions::default()
    };
    template.render(&messages, &options).map_err(|error| error.to_string())
}

/// A conversation that ends with a user's message, with a thousand messages before that.
fn long_conversation(short: &Value) -> Value {
    let mut long = short.clone();
    let messages = long["messages"].as_array_mut().unwrap();
    let turn = messages[messages.len() - 3..messages.len() - 1].to_vec();
    let last = messages.pop();
    messages.extend(std::iter::repeat_n(turn, 500).flatten().chain(last));
    long
}

/// The day is another one in each.
fn without_dates(text: &str) -> String {
    const MONTHS: &str = "(January|February|March|April|May|June|July|August|September|October|November|December|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Oct|Nov|Dec)";
    let pattern = format!(r"\d{{1,2}} {MONTHS} \d{{4}}|{MONTHS} \d{{1,2}},? \d{{4}}|\d{{4}}-\d\d-\d\d");
    regex::Regex::new(&pattern).unwrap().replace_all(text, "DATE").into_owned()
}

#[test]
fn real_templates_render_as_in_transformers_or_llama_server() {
    let Some(folder) = std::env::var_os("LLAMA_CONCURRENT_TEMPLATES").map(PathBuf::from) else {
        println!("SKIPPED: LLAMA_CONCURRENT_TEMPLATES names no folder; scripts/chat-templates/reference.py makes one");
        return;
    };
    let read = |name: &str| -> Value { serde_json::from_str(&fs::read_to_string(folder.join(name)).unwrap()).unwrap() };
    let (transformers, server) = (read("expected.json"), read("llama_server.json"));
    let conversations: Value = serde_json::from_str(include_str!("data/conversations.json")).unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut table: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut unexplained = Vec::new();
    for (name, expected) in transformers.as_object().unwrap() {
        let source = fs::read_to_string(folder.join(format!("{name}.jinja"))).unwrap();
        let template = ChatTemplate::compile(&source, "<s>", "</s>").map_err(|error| error.to_string());
        let long = rendered(&template, &long_conversation(&conversations["turns"]));
        if let Err(error) = long {
            assert!(rendered(&template, &conversations["turns"]).is_err(), "{name}: 1,000 messages: {error}");
        }
        for (conversation, input) in conversations.as_object().unwrap() {
            let ours = rendered(&template, input).map(|text| without_dates(&text));
            let (ours, reference) = (ours.as_ref(), &expected[conversation]);
            let is = |value: &Value| ours.ok().zip(value["text"].as_str()).is_some_and(|(a, b)| *a == without_dates(b));
            let llama = &server[name][conversation];
            let kind = if is(&reference["transformers"]) {
                "as transformers"
            } else if is(&reference["objects"]) {
                "as transformers, given arguments as objects"
            } else if is(llama) {
                "as llama-server"
            } else if is(&reference["adapted"]) {
                "as transformers, given messages that are adapted as in llama-server"
            } else if ours.is_err() && reference["adapted"]["text"].is_null() && llama["text"].is_null() {
                "refused, as in transformers and llama-server"
            } else if EXCEPTIONS.iter().any(|(t, c, _)| t == name && c == conversation) {
                "exception"
            } else {
                unexplained.push(format!(
                    "== {name} x {conversation}\nhere:         {ours:?}\ntransformers: {}\nobjects:      {}\nllama-server: {llama}",
                    reference["transformers"], reference["objects"]
                ));
                "unexplained"
            };
            *counts.entry(kind).or_default() += 1;
            *table.entry(conversation.clone()).or_default().entry(kind).or_default() += 1;
        }
    }
    for (conversation, row) in &table {
        println!("{conversation}: {row:?}");
    }
    println!("{counts:?}");
    assert!(unexplained.is_empty(), "{}\n{} unexplained", unexplained.join("\n"), unexplained.len());
}
