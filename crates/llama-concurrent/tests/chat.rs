//! Chats with tools, from messages to the events of an answer.

use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use llama_concurrent::{
    Chat, ChatEvent, ChatMessage, ChatOptions, Constraint, Engine, EngineConfig, ErrorKind, FinishReason, Reply,
    ReplyEvent, SamplingParams, Tool, ToolChoice,
};
use serde_json::{Value, json};

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf")
}

fn engine(template: Option<&str>) -> Engine {
    let mut config = EngineConfig::default().slots(2).n_ctx(1024).threads(1);
    config.chat_template = template.map(str::to_owned);
    Engine::load(model(), config).expect("the model loads")
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 10},
            "units": {"enum": ["C", "F"]},
            "days": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 31}, "minItems": 1, "maxItems": 3},
        },
        "required": ["city", "units", "days"],
    })
}

fn chat() -> Chat {
    Chat::new([ChatMessage::user("How warm is it in Oslo?")])
        .tools([Tool::new("weather", schema())])
        .tool_choice(ToolChoice::Required)
        .parallel_tool_calls(false)
}

fn wild(seed: u32) -> SamplingParams {
    SamplingParams::default().temperature(1.3).top_k(0u32).top_p(1.0).min_p(0.0).seed(seed).max_tokens(400)
}

/// A template in the form of a family: its opening words tell which.
const FAMILIES: [(&str, &str); 4] = [
    ("hermes", "{{ '<tool_call>' }}"),
    ("glm", "{{ '<tool_call>' }}{{ '<arg_key>' }}"),
    ("qwen-coder", "{{ '<function=' }}{{ '<parameter=' }}"),
    ("mistral", "{{ '[TOOL_CALLS]' }}{{ '[ARGS]' }}"),
];

fn template(signs: &str) -> String {
    format!(
        "{{% if false %}}{signs}{{% endif %}}{{% for t in tools %}}{{{{ t.function.name }}}}{{% endfor %}}\
         {{% for m in messages %}}[{{{{ m.role }}}}]{{{{ m.content }}}}{{% for c in m.tool_calls %}}\
         {{{{ c.function.name }}}}{{{{ c.function.arguments }}}}{{% endfor %}}{{% endfor %}}[assistant]"
    )
}

#[test]
fn a_call_in_the_form_of_each_family_is_valid_and_streams_as_it_is_read_whole() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (name, signs) in FAMILIES {
        let engine = engine(Some(&template(signs)));
        let form = engine.prepare_chat(&chat()).unwrap().form;
        assert_eq!(form.call_form(), Some(name));
        for seed in 0..4 {
            let whole = engine.chat(&chat(), wild(seed)).unwrap().wait().unwrap();
            assert_eq!(whole.completion.finish.reason, FinishReason::Stop, "{name}: {}", whole.completion.text);
            let [call] = &whole.reply.calls[..] else { panic!("{name}: {}", whole.completion.text) };
            assert_eq!((call.name.as_str(), call.complete), ("weather", true));
            let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
            assert!(validator.is_valid(&arguments), "{name}: {arguments}");
            assert_eq!(call.id.as_deref().map(str::len), Some(9));
            let mut streamed = Reply::default();
            for event in engine.chat(&chat(), wild(seed)).unwrap() {
                match event {
                    ChatEvent::Reply(piece) => streamed.add(piece),
                    ChatEvent::Finished(finish) => assert_eq!(finish.reason, FinishReason::Stop),
                    _ => {}
                }
            }
            let plain = |reply: &Reply| (reply.content.clone(), reply.calls[0].arguments.clone());
            assert_eq!(plain(&streamed), plain(&whole.reply), "{name}");
        }
    }
}

#[test]
fn an_answer_with_a_call_goes_back_into_the_history() {
    let engine = engine(None);
    let first = engine.chat(&chat(), wild(7)).unwrap().wait().unwrap();
    let message: ChatMessage = serde_json::from_value(first.reply.to_message()).unwrap();
    let id = first.reply.calls[0].id.clone().unwrap();
    let mut next = chat().tool_choice(ToolChoice::None);
    next.messages.extend([message, ChatMessage::tool(id, "7 degrees")]);
    let prompt = engine.prepare_chat(&next).unwrap().prompt;
    let text = prompt.text().unwrap();
    assert!(text.contains("<tool_call>\n{\"name\": \"weather\"") && text.contains("7 degrees"), "{text}");
    let last = engine.chat(&next, SamplingParams::default().max_tokens(8)).unwrap().wait().unwrap();
    assert!(last.reply.calls.is_empty() && !last.reply.content.is_empty());
}

#[test]
fn a_model_that_may_call_is_held_only_once_it_does() {
    // Its own markup, which a model of stories will not write by itself: so the answer is as without tools.
    let engine = engine(None);
    let plain = chat().tools([]).tool_choice(ToolChoice::Auto);
    let params = SamplingParams::default().max_tokens(24);
    let without = engine.chat(&plain, params.clone()).unwrap().wait().unwrap();
    let silent = chat().tool_choice(ToolChoice::None);
    let with = engine.chat(&silent, params.clone()).unwrap().wait().unwrap();
    assert_eq!(without.reply.content, with.reply.content);
    // Begun by the caller, the call is the model's to finish.
    let mut begun = chat().tool_choice(ToolChoice::Auto);
    begun.messages.push(ChatMessage::assistant("I look.\n"));
    let either = engine.chat(&begun, params).unwrap().wait().unwrap();
    assert!(either.reply.calls.iter().all(|call| call.name == "weather"));
}

#[test]
fn thoughts_have_a_budget_and_a_form_is_for_the_answer() {
    let source = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]<think>\n";
    let engine = engine(Some(source));
    let thinking = Chat::new([ChatMessage::user("Yes or no?")]).thinking_budget(6);
    let form = Constraint::Regex("(yes|no)".into());
    for seed in 0..3 {
        let done = engine.chat(&thinking, wild(seed).constraint(form.clone())).unwrap().wait().unwrap();
        assert!(["yes", "no"].contains(&done.reply.content.trim()), "{:?}", done.reply);
        assert!(!done.reply.reasoning.is_empty() && !done.reply.reasoning.contains("</think>"), "{:?}", done.reply);
        assert!(done.completion.text.contains("</think>"));
    }
    let generation = engine.chat(&thinking, SamplingParams::default().max_tokens(30).ignore_eos(true)).unwrap();
    let events: Vec<ChatEvent> = futures_executor::block_on(generation.collect());
    let kinds: Vec<u8> = events
        .iter()
        .filter_map(|event| match event {
            ChatEvent::Reply(ReplyEvent::Reasoning(_)) => Some(0),
            ChatEvent::Reply(ReplyEvent::Content(_)) => Some(1),
            ChatEvent::Finished(_) => Some(2),
            _ => None,
        })
        .collect();
    assert!(kinds.is_sorted() && kinds.contains(&0) && kinds.contains(&1) && kinds.ends_with(&[2]), "{kinds:?}");
}

#[test]
fn what_cannot_be_held_to_is_refused_before_it_starts() {
    let engine = engine(None);
    let refused = |chat: &Chat| engine.chat(chat, SamplingParams::default()).map(drop).unwrap_err();
    for (chat, part) in [
        (chat().tools([]), "no tools"),
        (chat().tool_choice(ToolChoice::Function("other".into())), "'other'"),
        (Chat::new([]), "no messages"),
    ] {
        let error = refused(&chat);
        assert_eq!(*error.kind(), ErrorKind::InvalidRequest, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn templates_know_the_day_unless_told_another() {
    let engine = engine(Some("{{ date_string }}: {{ messages[0].content }}"));
    let messages = [ChatMessage::user("Hello")];
    let prompt = |options: &ChatOptions| engine.chat_prompt(&messages, options).unwrap().text().unwrap().to_owned();
    let before = llama_concurrent_template::today();
    let now = prompt(&ChatOptions::default());
    // The day may end meanwhile.
    let days = [before, llama_concurrent_template::today()];
    assert!(days.iter().any(|day| now == format!("{day}: Hello")), "{now}, {days:?}");
    let mut told = ChatOptions::default();
    told.extra.insert("date_string".into(), "26 Jul 2024".into());
    assert_eq!(prompt(&told), "26 Jul 2024: Hello");
}

#[test]
fn a_name_that_no_template_has_is_refused() {
    let mut config = EngineConfig::default();
    config.chat_template = Some("command-x".into());
    let error = Engine::load(model(), config).expect_err("there is none of that name");
    assert_eq!(error.kind(), &ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("command-x") && error.to_string().contains("chatml"), "{error}");
}
