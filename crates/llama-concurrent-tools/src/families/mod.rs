//! The tables: which forms there are, and by what a chat template shows that its model was trained on one.
//!
//! Thoughts and calls are found apart from each other, since families combine them freely. In each list the first row
//! whose signs are in the template counts, so what is more particular stands before what is more general.

mod calls;
mod channels;
mod json;
mod markup;
mod thoughts;

use self::calls::CALLS;
pub(crate) use self::calls::PLAIN;
use self::channels::CHANNELS;
pub(crate) use self::json::HERMES;
use self::markup::ATEM;
#[cfg(test)]
use self::thoughts::THINK;
use self::thoughts::THOUGHTS;
use crate::format::{ChannelKind, Format};

/// A row: all of the first list, and none of the second, are in the template.
type Row<T> = (&'static [&'static str], &'static [&'static str], &'static T);

pub(crate) fn detect(template: &str) -> Format {
    fn first<T>(rows: &[Row<T>], template: &str) -> Option<&'static T> {
        let is_in = |sign: &&str| template.contains(*sign);
        rows.iter().find(|(all, none, _)| all.iter().all(is_in) && !none.iter().any(is_in)).map(|(_, _, form)| *form)
    }
    if let Some(channels) = first(CHANNELS, template) {
        let calls = (channels.kind == ChannelKind::Muse).then_some(&ATEM);
        return Format { thoughts: None, calls, channels: Some(channels), ignored: &[] };
    }
    let ignored = IGNORED.iter().find(|(sign, _)| template.contains(sign)).map_or(&[][..], |(_, ignored)| ignored);
    Format { thoughts: first(THOUGHTS, template), calls: first(CALLS, template), channels: None, ignored }
}

/// Every form of calls there is, by its name.
#[cfg(test)]
pub(crate) fn all() -> Vec<Format> {
    let plain = |calls| Format { thoughts: Some(&THINK), calls: Some(calls), channels: None, ignored: &[] };
    let mut all: Vec<Format> = CALLS.iter().map(|(_, _, form)| plain(*form)).collect();
    all.extend(CHANNELS.iter().map(|(_, _, channels)| {
        let calls = (channels.kind == ChannelKind::Muse).then_some(&ATEM);
        Format { thoughts: None, calls, channels: Some(channels), ignored: &[] }
    }));
    all.dedup_by_key(|format| format.call_form());
    all
}

/// Markup around answers: by a sign, what is to be left out.
const IGNORED: &[(&str, &[&str])] = &[
    ("<|START_TEXT|>", &["<|START_TEXT|>", "<|END_TEXT|>", "<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"]),
    (
        "<|START_OF_TURN_TOKEN|>",
        &["<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"],
    ),
    ("<|start_of_role|>", &["<response>", "</response>"]),
    (
        "<|end_of_msg|>",
        &["<|open|>response<|sep|>", "<|close|>response<|sep|>", "<|close|>message<|sep|>", "<|end_of_msg|>"],
    ),
    ("<|begin|>assistant", &["<|begin|>assistant", "<|content|>", "<|end|>", "<|flush|>"]),
    ("<role>ASSISTANT</role>", &["<|role_end|>"]),
    ("<|tool_call>call:", &["<channel|>", "<|channel>"]),
];
