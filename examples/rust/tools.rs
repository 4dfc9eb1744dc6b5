//! A model that calls a function of this program: `cargo run --release --example tools [MODEL]`.

use std::error::Error;

use llama_concurrent::{
    Chat, ChatEvent, ChatMessage, Engine, EngineConfig, FinishReason, Reply, ReplyEvent, SamplingParams, Tool,
    ToolChoice,
};
use serde_json::{Value, json};

fn weather(arguments: &Value) -> String {
    format!("It is 7 degrees in {}.", arguments["city"].as_str().unwrap_or("that city"))
}

fn main() -> Result<(), Box<dyn Error>> {
    let model = std::env::args().nth(1).unwrap_or_else(|| "models/demo.gguf".into());
    let engine = Engine::load(model, EngineConfig::default())?;
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let mut chat = Chat::new([ChatMessage::user("How warm is it in Oslo?")])
        .tools([Tool::new("weather", schema)])
        .tool_choice(ToolChoice::Required)
        .parallel_tool_calls(false);
    let params = SamplingParams::default().max_tokens(120);

    let mut reply = Reply::default();
    for event in engine.chat(&chat, params.clone())? {
        match event {
            ChatEvent::Reply(piece) => {
                if let ReplyEvent::CallStart { name, .. } = &piece {
                    println!("calls {name}");
                }
                reply.add(piece);
            }
            // A call that was cut off is nothing to run.
            ChatEvent::Finished(finish) if finish.reason != FinishReason::Stop => {
                println!("ended early: {:?}", finish.reason);
                return Ok(());
            }
            _ => {}
        }
    }

    chat.messages.push(serde_json::from_value(reply.to_message())?);
    for call in &reply.calls {
        let result = weather(&serde_json::from_str(&call.arguments)?);
        println!("{} -> {result}", call.arguments);
        chat.messages.push(ChatMessage::tool(call.id.clone().unwrap_or_default(), result));
    }
    let last = engine.chat(&chat.tool_choice(ToolChoice::None), params)?.wait()?;
    println!("{}", last.reply.content.trim());
    Ok(())
}
