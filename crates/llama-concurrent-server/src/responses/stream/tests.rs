use std::sync::Arc;

use llama_concurrent::{Finish, FinishReason, Timings};
use serde_json::Value;

use super::*;
use crate::{chat::parts::tests::pieces, responses::store::Store};

/// Bodies of events, whose names and numbers are right.
fn written(out: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(out.to_vec()).unwrap();
    let each = text.split_terminator("\n\n").enumerate().map(|(number, event)| {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(
            (&data["type"], &data["sequence_number"]),
            (&json!(name.strip_prefix("event: ").unwrap()), &json!(number))
        );
        data
    });
    each.collect()
}

fn stream(pieces: Vec<ReplyEvent>, reason: FinishReason) -> (Vec<Value>, Arc<Store>) {
    let store = Arc::new(Store::new(9, 1 << 20));
    let (mut events, mut out) = (Events::new(Answer::of_test(store.clone())), Vec::new());
    ReplyFormat::open(&mut events, 1, &mut out);
    pieces.into_iter().for_each(|piece| events.piece(0, piece, &mut out));
    let finish = Finish::new(reason, Timings::default());
    events.end(0, Ended { finish: &finish, has_calls: true }, &mut out);
    (written(&out), store)
}

#[test]
fn items_begin_grow_and_end_one_after_the_other() {
    let (written, store) = stream(pieces(), FinishReason::Stop);
    assert_eq!(
        (&written[0]["type"], &written[1]["type"]),
        (&json!("response.created"), &json!("response.in_progress"))
    );
    assert_eq!(
        (&written[0]["response"]["status"], &written[0]["response"]["output"]),
        (&json!("in_progress"), &json!([]))
    );
    let of_item = |index: usize| {
        let of = move |event: &&Value| event["output_index"] == index;
        written
            .iter()
            .filter(of)
            .map(|event| event["type"].as_str().unwrap().trim_start_matches("response."))
            .collect::<Vec<_>>()
    };
    let around = |inner: &[&'static str]| {
        let all = [&["output_item.added"], inner, &["output_item.done"]].concat();
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let text = |kind: &str| {
        let deltas = vec![format!("{kind}.delta"), format!("{kind}.delta"), format!("{kind}.done")];
        let before = ["output_item.added", "content_part.added"].map(str::to_owned).to_vec();
        [before, deltas, ["content_part.done", "output_item.done"].map(str::to_owned).to_vec()].concat()
    };
    assert_eq!(of_item(0), text("reasoning_text"));
    assert_eq!(of_item(1), text("output_text"));
    let arguments = ["function_call_arguments.delta", "function_call_arguments.delta", "function_call_arguments.done"];
    assert_eq!(of_item(2), around(&arguments));
    assert_eq!(of_item(3), around(&arguments[1..]));
    let indices: Vec<u64> = written.iter().filter_map(|event| event["output_index"].as_u64()).collect();
    assert!(indices.is_sorted(), "one item at a time: {indices:?}");

    let end = written.last().unwrap();
    assert_eq!(end["type"], "response.completed");
    let done =
        written.iter().filter(|event| event["type"] == "response.output_item.done").map(|event| event["item"].clone());
    let output: Value = done.collect();
    assert_eq!(end["response"]["output"], output, "items are as they ended");
    for (index, event) in written.iter().filter(|event| event["type"] == "response.output_item.added").enumerate() {
        assert_eq!(event["item"]["id"], output[index]["id"]);
        assert_eq!(event["item"]["status"], "in_progress");
    }
    assert_eq!(output[0]["content"], json!([{"type": "reasoning_text", "text": "Let me see."}]));
    assert_eq!(
        output[1]["content"],
        json!([{"type": "output_text", "text": "I look.", "annotations": [], "logprobs": []}])
    );
    let call = &output[2];
    assert_eq!(
        (&call["call_id"], &call["name"], &call["status"]),
        (&json!("abc123xyz"), &json!("weather"), &json!("completed"))
    );
    assert_eq!((&call["arguments"], &output[3]["status"]), (&json!("{\"city\": \"Oslo\"}"), &json!("incomplete")));
    assert_eq!(end["response"]["metadata"], json!({"a": "b"}));

    let kept = store.get("resp_1", None).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept.object).unwrap(), end["response"]);
    let conversation: Value = serde_json::from_str(&kept.conversation).unwrap();
    assert_eq!((&conversation[0]["texts"], &conversation[1]["thought"]), (&json!(["Hi"]), &json!("Let me see.")));
    let item = store.item(output[1]["id"].as_str().unwrap(), None).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&item).unwrap(), output[1]);
}

#[test]
fn what_was_cut_is_incomplete() {
    let (written, _) = stream(vec![ReplyEvent::Content("It".into())], FinishReason::Length);
    let end = written.last().unwrap();
    assert_eq!((&end["type"], &end["response"]["status"]), (&json!("response.incomplete"), &json!("incomplete")));
    assert_eq!(end["response"]["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(
        (&end["response"]["output"][0]["status"], &end["response"]["completed_at"]),
        (&json!("incomplete"), &Value::Null)
    );
}

#[test]
fn an_answer_of_nothing_is_an_empty_message() {
    let (written, _) = stream(Vec::new(), FinishReason::Stop);
    let names: Vec<&str> = written.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        names[2..],
        [
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
}

#[test]
fn a_failure_is_a_response_that_failed() {
    let store = Arc::new(Store::new(9, 1 << 20));
    let (mut events, mut out) = (Events::new(Answer::of_test(store.clone())), Vec::new());
    events.fail(0, &ApiError::timeout("too slow"), &mut out);
    let failed = &written(&out)[0]["response"];
    assert_eq!(failed["error"], json!({"code": "server_error", "message": "too slow"}));
    assert!(failed["status"] == "failed" && store.get("resp_1", None).is_none());
}
