//! Templates in the manner of well-known model families, written to use the constructs that those use.
//!
//! The expected prompts are those of Python's Jinja2 with the settings of transformers.

mod templates;

use self::templates::*;
use llama_concurrent_template::{ChatError, ChatMessage, ChatOptions, ChatTemplate, Continuation};
use serde_json::json;

type Messages<'a> = &'a [(&'a str, &'a str)];

const HI: Messages = &[("user", "Hi")];
const SYSTEM: Messages = &[("system", "Be brief."), ("user", " Hi <b> & 'you' ")];
const LONG: Messages = &[
    ("system", "Be brief."),
    ("user", "What is 2+2?"),
    ("assistant", "<think>\neasy\n</think>\n\nIt is 4. "),
    ("user", "日本 😀?"),
];
const THREE: Messages =
    &[("user", "What is 2+2?"), ("assistant", "<think>\neasy\n</think>\n\nIt is 4. "), ("user", "日本 😀?")];
const ANSWERED: Messages = &[("user", "Hi"), ("assistant", "<think>why</think> Hello\n")];

fn render(template: &str, messages: Messages, options: ChatOptions) -> Result<String, ChatError> {
    let messages: Vec<ChatMessage> = messages.iter().map(|&(role, content)| ChatMessage::new(role, content)).collect();
    ChatTemplate::compile(template, "<s>", "</s>")?.render(&messages, &options)
}

#[track_caller]
fn expect(template: &str, messages: Messages, options: ChatOptions, prompt: &str) {
    assert_eq!(render(template, messages, options).as_deref(), Ok(prompt));
}

#[track_caller]
fn expect_refusal(template: &str, messages: Messages, message: &str) {
    let message = message.to_owned();
    assert_eq!(render(template, messages, ask()), Err(ChatError::Raised { message }));
}

/// The options that ask for an answer.
fn ask() -> ChatOptions {
    ChatOptions { continue_final_message: Continuation::Never, ..ChatOptions::default() }
}

/// The options for a finished conversation.
fn finished() -> ChatOptions {
    ChatOptions { add_generation_prompt: false, continue_final_message: Continuation::Never, ..ask() }
}

fn with_tools(mut options: ChatOptions) -> ChatOptions {
    options.tools = Some(json!([{"type": "function", "function": {
        "name": "get_weather",
        "description": "Weather of a <city> & it's wind",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "at": {"type": "number", "default": 1.0}},
            "required": ["city"],
        },
    }}]));
    options
}

fn with(name: &str, value: impl Into<serde_json::Value>, mut options: ChatOptions) -> ChatOptions {
    options.extra.insert(name.into(), value.into());
    options
}

#[test]
fn chatml() {
    expect(
        CHATML,
        HI,
        ask(),
        "<|im_start|>user\n\
         Hi<|im_end|>\n\
         <|im_start|>assistant\n",
    );
    expect(
        CHATML,
        LONG,
        ask(),
        "<|im_start|>system\n\
         Be brief.<|im_end|>\n\
         <|im_start|>user\n\
         What is 2+2?<|im_end|>\n\
         <|im_start|>assistant\n\
         <think>\n\
         easy\n\
         </think>\n\n\
         It is 4. <|im_end|>\n\
         <|im_start|>user\n\
         日本 😀?<|im_end|>\n\
         <|im_start|>assistant\n",
    );
    expect(
        CHATML,
        ANSWERED,
        finished(),
        "<|im_start|>user\n\
         Hi<|im_end|>\n\
         <|im_start|>assistant\n\
         <think>why</think> Hello\n\
         <|im_end|>\n",
    );
}

#[test]
fn llama2() {
    expect(
        LLAMA2,
        SYSTEM,
        ask(),
        "<s>[INST] <<SYS>>\n\
         Be brief.\n\
         <</SYS>>\n\n\
         Hi <b> & 'you' [/INST]",
    );
    expect(
        LLAMA2,
        LONG,
        ask(),
        "<s>[INST] <<SYS>>\n\
         Be brief.\n\
         <</SYS>>\n\n\
         What is 2+2? [/INST] <think>\n\
         easy\n\
         </think>\n\n\
         It is 4. </s><s>[INST] 日本 😀? [/INST]",
    );
    expect_refusal(LLAMA2, &[("user", "a"), ("user", "b")], "message 2 must be of role assistant");
}

#[test]
fn llama3() {
    expect(
        LLAMA3,
        SYSTEM,
        with("date_string", "01 Jan 2025", ask()),
        "<s><|start_header_id|>system<|end_header_id|>\n\n\
         Today: 01 Jan 2025\n\
         Be brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n\
         Hi <b> & 'you'<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    );
    expect(
        LLAMA3,
        THREE,
        with("date_string", "01 Jan 2025", finished()),
        "<s><|start_header_id|>system<|end_header_id|>\n\n\
         Today: 01 Jan 2025\n\
         <|eot_id|><|start_header_id|>user<|end_header_id|>\n\n\
         What is 2+2?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n\
         <think>\n\
         easy\n\
         </think>\n\n\
         It is 4.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n\
         日本 😀?<|eot_id|>",
    );
    expect(
        LLAMA3,
        HI,
        with_tools(with("date_string", "01 Jan 2025", ask())),
        "<s><|start_header_id|>system<|end_header_id|>\n\n\
         Today: 01 Jan 2025\n\
         {\n    \"type\": \"function\",\n    \"function\": {\n        \"name\": \"get_weather\",\n        \"description\": \"Weather of a <city> & it's wind\",\n        \"parameters\": {\n            \"type\": \"object\",\n            \"properties\": {\n                \"city\": {\n                    \"type\": \"string\"\n                },\n                \"at\": {\n                    \"type\": \"number\",\n                    \"default\": 1.0\n                }\n            },\n            \"required\": [\n                \"city\"\n            ]\n        }\n    }\n\
         }\n\
         <|eot_id|><|start_header_id|>user<|end_header_id|>\n\n\
         Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    );
}

#[test]
fn mistral() {
    expect(MISTRAL, HI, ask(), "<s>[INST] Hi[/INST]");
    expect(
        MISTRAL,
        LONG,
        ask(),
        "<s>[INST] What is 2+2?[/INST] <think>\n\
         easy\n\
         </think>\n\n\
         It is 4.</s>[INST] Be brief.\n\n\
         日本 😀?[/INST]",
    );
    expect(
        MISTRAL,
        LONG,
        with_tools(ask()),
        "<s>[INST] What is 2+2?[/INST] <think>\n\
         easy\n\
         </think>\n\n\
         It is 4.</s>[AVAILABLE_TOOLS] [{\"name\": \"get_weather\", \"description\": \"Weather of a <city> & it's wind\", \"parameters\": {\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}, \"at\": {\"type\": \"number\", \"default\": 1.0}}, \"required\": [\"city\"]}}][/AVAILABLE_TOOLS][INST] Be brief.\n\n\
         日本 😀?[/INST]",
    );
    expect_refusal(MISTRAL, &[("user", "a"), ("critic", "b")], "unknown role: \"critic\"");
}

#[test]
fn gemma() {
    expect(
        GEMMA,
        THREE,
        ask(),
        "<s><start_of_turn>user\n\
         What is 2+2?<end_of_turn>\n\
         <start_of_turn>model\n\
         <think>\n\
         easy\n\
         </think>\n\n\
         It is 4.<end_of_turn>\n\
         <start_of_turn>user\n\
         日本 😀?<end_of_turn>\n\
         <start_of_turn>model\n",
    );
    // The template refuses the role, so the message is put in front of the next one.
    expect(
        GEMMA,
        SYSTEM,
        ask(),
        "<s><start_of_turn>user\nBe brief.\n Hi <b> & 'you'<end_of_turn>\n<start_of_turn>model\n",
    );
    expect_refusal(GEMMA, &[("user", "a"), ("user", "b")], "two messages of role user in a row");
}

#[test]
fn phi3() {
    expect(
        PHI3,
        LONG,
        ask(),
        "<|system|>\n\
         Be brief.<|end|>\n\
         <|user|>\n\
         What is 2+2?<|end|>\n\
         <|assistant|>\n\
         <think>\n\
         easy\n\
         </think>\n\n\
         It is 4. <|end|>\n\
         <|user|>\n\
         日本 😀?<|end|>\n\
         <|assistant|>\n",
    );
    expect(
        PHI3,
        ANSWERED,
        finished(),
        "<|user|>\n\
         Hi<|end|>\n\
         <|assistant|>\n\
         <think>why</think> Hello\n\
         <|end|>\n\
         </s>",
    );
}

#[test]
fn qwen() {
    expect(
        QWEN,
        HI,
        ask(),
        "<|im_start|>system\n\
         Answer well.<|im_end|>\n\
         <|im_start|>user\n\
         Hi<|im_end|>\n\
         <|im_start|>assistant\n",
    );
    expect(
        QWEN,
        SYSTEM,
        ask(),
        "<|im_start|>system\n\
         Be brief.<|im_end|>\n\
         <|im_start|>user\n Hi <b> & 'you' <|im_end|>\n\
         <|im_start|>assistant\n",
    );
    expect(
        QWEN,
        LONG,
        with_tools(ask()),
        "<|im_start|>system\n\
         Be brief.\n\n\
         # Tools\n\n\
         {\"type\": \"function\", \"function\": {\"name\": \"get_weather\", \"description\": \"Weather of a <city> & it's wind\", \"parameters\": {\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}, \"at\": {\"type\": \"number\", \"default\": 1.0}}, \"required\": [\"city\"]}}}\n\n\
         Call one with {\"name\": ..., \"arguments\": ...}<|im_end|>\n\
         <|im_start|>user\n\
         What is 2+2?<|im_end|>\n\
         <|im_start|>assistant\n\
         <think>\n\
         easy\n\
         </think>\n\n\
         It is 4. <|im_end|>\n\
         <|im_start|>user\n\
         日本 😀?<|im_end|>\n\
         <|im_start|>assistant\n",
    );
    expect(
        QWEN,
        &[("user", "w?"), ("tool", "1"), ("tool", "2"), ("system", "now")],
        ask(),
        "<|im_start|>system\n\
         Answer well.<|im_end|>\n\
         <|im_start|>user\n\
         w?<|im_end|>\n\
         <|im_start|>user\n\
         <tool_response>1</tool_response>\n\
         <tool_response>2</tool_response><|im_end|>\n\
         <|im_start|>system\n\
         now<|im_end|>\n\
         <|im_start|>assistant\n",
    );
}

#[test]
fn deepseek() {
    expect(
        DEEPSEEK,
        LONG,
        ask(),
        "<s>Be brief.<｜User｜>What is 2+2?<｜Assistant｜>It is 4. <｜end▁of▁sentence｜><｜User｜>日本 😀?<｜Assistant｜><think>\n",
    );
    expect(
        DEEPSEEK,
        &[("system", "One."), ("system", "Two."), ("user", "Hi")],
        finished(),
        "<s>One.\n\n\
         Two.<｜User｜>Hi",
    );
}

#[test]
fn smollm() {
    expect(
        SMOLLM,
        HI,
        ask(),
        "<|im_start|>system\n\
         You are small and helpful.<|im_end|>\n\
         <|im_start|>user\n\
         Hi<|im_end|>\n\
         <|im_start|>assistant\n",
    );
    expect(
        SMOLLM,
        SYSTEM,
        finished(),
        "<|im_start|>system\n\
         Be brief.<|im_end|>\n\
         <|im_start|>user\n Hi <b> & 'you' <|im_end|>\n",
    );
}

#[test]
fn thinking() {
    expect(
        THINKING,
        LONG,
        ask(),
        "[gMASK]<sop><|system|>\n\
         Be brief.\n\
         <|user|>\n\
         What is 2+2?\n\
         <|assistant|>\n\
         It is 4.\n\
         <|user|>\n\
         日本 😀?\n\
         <|assistant|>\n",
    );
    expect(
        THINKING,
        ANSWERED,
        finished(),
        "[gMASK]<sop><|user|>\n\
         Hi\n\
         <|assistant|>\n\
         <think>why</think> Hello\n",
    );
    expect(
        THINKING,
        &[("user", "Hi"), ("assistant", "ok /nothink")],
        with("enable_thinking", false, ask()),
        "[gMASK]<sop><|user|>\n\
         Hi\n\
         <|assistant|>\n\
         ok\n\
         <|assistant|>\n\
         <think></think>",
    );
}
