//! Whole answers of the Messages API, and what they have in common with streams.

use llama_concurrent::{Finish, FinishReason, ReplyForm, Timings, ToolCall};
use serde_json::{Value, json};

use crate::{
    active_generation::FinishedGeneration,
    answer,
    chat::parts::{self, Part},
    params::RequestOptions,
};

pub(super) fn whole(model: &str, form: &ReplyForm, outcome: &FinishedGeneration, options: &RequestOptions) -> Value {
    let text = if options.silent { "" } else { &outcome.text };
    message(model, &parts::read(form, text), &outcome.finish, options)
}

fn message(model: &str, parts: &[Part], finish: &Finish, options: &RequestOptions) -> Value {
    let has_call = parts.iter().any(|part| matches!(part, Part::Call(call) if call.complete));
    let (reason, sequence) = stop(finish, &options.params.stop, has_call);
    json!({
        "id": answer::typed_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": parts.iter().map(block).collect::<Value>(),
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": usage(&finish.timings, options.silent),
    })
}

fn block(part: &Part) -> Value {
    match part {
        // Nothing is signed, and clients want a signature.
        Part::Thought(text) => json!({"type": "thinking", "thinking": text, "signature": ""}),
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Call(call) => json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input(call)}),
    }
}

/// The arguments of a call that broke off are none.
fn input(call: &ToolCall) -> Value {
    serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}))
}

/// Why an answer ended, and by which of the stop sequences. Calls that are complete are to be answered, whatever came behind
/// them.
pub(super) fn stop<'a>(finish: &Finish, sequences: &'a [String], has_call: bool) -> (&'static str, Option<&'a str>) {
    match (finish.reason, finish.stop) {
        (FinishReason::Length, _) => ("max_tokens", None),
        (_, _) if has_call => ("tool_use", None),
        (_, Some(index)) => ("stop_sequence", sequences.get(index).map(String::as_str)),
        (_, None) => ("end_turn", None),
    }
}

/// Tokens of the prompt that came from a cache are counted apart.
pub(super) fn usage(timings: &Timings, silent: bool) -> Value {
    json!({
        "input_tokens": timings.n_prompt_tokens.saturating_sub(timings.n_cached_tokens),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": timings.n_cached_tokens,
        "output_tokens": if silent { 0 } else { timings.n_output_tokens },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(reason: FinishReason, stop: Option<usize>) -> Finish {
        let mut finish = Finish::new(reason, Timings::default());
        finish.stop = stop;
        finish
    }

    #[test]
    fn the_reason_of_an_end_is_anthropics() {
        let sequences = ["a".to_owned(), "b".to_owned()];
        for (reason, stop, has_call, expected) in [
            (FinishReason::Stop, None, false, ("end_turn", None)),
            (FinishReason::Stop, None, true, ("tool_use", None)),
            (FinishReason::Stop, Some(1), false, ("stop_sequence", Some("b"))),
            (FinishReason::Stop, Some(1), true, ("tool_use", None)),
            (FinishReason::Stop, Some(9), false, ("stop_sequence", None)),
            (FinishReason::Length, None, true, ("max_tokens", None)),
        ] {
            assert_eq!(super::stop(&finish(reason, stop), &sequences, has_call), expected);
        }
    }

    #[test]
    fn blocks_come_in_the_order_of_the_model() {
        let mut parts = Vec::new();
        for piece in parts::tests::pieces() {
            parts::add(&mut parts, piece);
        }
        let blocks: Value = parts.iter().map(block).collect();
        assert_eq!(
            blocks,
            json!([
                {"type": "thinking", "thinking": "Let me see.", "signature": ""},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "abc123xyz", "name": "weather", "input": {"city": "Oslo"}},
                {"type": "tool_use", "id": "def456uvw", "name": "time", "input": {}},
            ])
        );
    }

    #[test]
    fn what_came_from_a_cache_is_counted_apart() {
        let mut timings = Timings::default();
        (timings.n_prompt_tokens, timings.n_cached_tokens, timings.n_output_tokens) = (9, 4, 2);
        let usage = super::usage(&timings, false);
        assert_eq!((&usage["input_tokens"], &usage["cache_read_input_tokens"]), (&json!(5), &json!(4)));
        assert_eq!(super::usage(&timings, true)["output_tokens"], 0);
    }
}
