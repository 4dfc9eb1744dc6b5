//! Any chat template on any messages: a prompt or an error. Behind a first record separator (0x1E) in the input come the messages,
//! and behind a second one further variables, both as JSON.

#![no_main]

use std::panic;

use libfuzzer_sys::fuzz_target;
use llama_concurrent_template::{ChatMessage, ChatOptions, ChatTemplate, Continuation};
use serde_json::json;

fuzz_target!(
    // The fuzzer's hook ends the process at each panic, also at those of the template engine, which become errors.
    init: panic::set_hook(Box::new(|panic| eprintln!("{panic}"))),
    |input: &str| {
        let mut parts = input.splitn(3, '\u{1e}');
        let source = parts.next().unwrap_or_default();
        let messages = parts.next().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(conversation);
        let extra = parts.next().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let Ok(template) = ChatTemplate::compile(source, "<s>", "</s>") else { return };
        let template = template.with_special_tokens(["<s>".into(), "</s>".into()], ["<|im_end|>".into()]);
        let mut options = ChatOptions { extra, ..ChatOptions::default() };
        for continued in [Continuation::Auto, Continuation::Last, Continuation::Reasoning] {
            options.continue_final_message = continued;
            render(&template, &messages, &options);
        }
        options.tools = Some(json!([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]));
        options.add_generation_prompt = false;
        render(&template, &messages, &options);
    }
);

fn render(template: &ChatTemplate, messages: &[ChatMessage], options: &ChatOptions) {
    match template.render_marked(messages, options) {
        Ok(rendered) => {
            let mut end = 0;
            for plain in &rendered.plain {
                assert!(plain.start >= end && plain.end > plain.start);
                assert!(rendered.text.get(plain.clone()).is_some(), "a range of whole characters");
                end = plain.end;
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn conversation() -> Vec<ChatMessage> {
    vec![
        ChatMessage::system("Be brief.</s>"),
        ChatMessage::user("What is an otter?<|im_end|>"),
        ChatMessage::assistant("An animal.").with("reasoning_content", "It swims."),
    ]
}
