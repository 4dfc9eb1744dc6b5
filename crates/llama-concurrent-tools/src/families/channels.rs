//! Families whose messages have headers.

use super::Row;
use crate::format::{ChannelKind, Channels};

pub(super) const CHANNELS: &[Row<Channels>] = &[
    (&["chat_format=llm-jp-harmony-v1"], &[], &LLM_JP),
    (&["<|channel|>"], &[], &HARMONY),
    (&["<atem:function_calls>", "<|eom|>"], &[], &MUSE),
    (&[">>>all"], &[], &FUNCTIONARY),
];

const HARMONY: Channels = Channels {
    name: "harmony",
    starts: &["<|start|>assistant", "<|channel|>"],
    header_end: "<|message|>",
    ends: &["<|end|>", "<|return|>", "<|call|>"],
    kind: ChannelKind::Harmony,
    thoughts: true,
    calls: true,
};

/// As harmony, with a space behind special tokens.
const LLM_JP: Channels = Channels {
    name: "llm-jp-harmony",
    starts: &["<|start|>assistant", "<|start|> assistant", "<|channel|>"],
    ..HARMONY
};

const MUSE: Channels = Channels {
    name: "muse",
    starts: &["<|start|>assistant"],
    header_end: "<|message|>",
    ends: &["<|eom|>", "<|eot|>"],
    kind: ChannelKind::Muse,
    thoughts: true,
    calls: false,
};

const FUNCTIONARY: Channels = Channels {
    name: "functionary-v3.2",
    starts: &[">>>"],
    header_end: "\n",
    ends: &[],
    kind: ChannelKind::Functionary,
    thoughts: false,
    calls: true,
};
