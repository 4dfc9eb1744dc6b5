//! How thoughts are written.

use super::Row;
use crate::format::ThoughtForm;

pub(super) const THOUGHTS: &[Row<ThoughtForm>] = &[
    (&["<seed:think>"], &[], &thoughts("seed", &["<seed:think>"], &["</seed:think>"], "</seed:think>")),
    (&["<mm:think>"], &[], &thoughts("minimax-m3", &["<mm:think>"], &["</mm:think>"], "</mm:think>")),
    (
        &["'<think{}>'"],
        &[],
        &thoughts("hunyuan", &["<think:opensource>"], &["</think:opensource>"], "</think:opensource>"),
    ),
    (
        &["<|channel>", "thought"],
        &[],
        &ThoughtForm {
            is_anywhere: true,
            ..thoughts("gemma", &["<|channel>thought"], &["<channel|>"], "\n<channel|>")
        },
    ),
    (&["[THINK]"], &[], &thoughts("mistral", &["[THINK]"], &["[/THINK]"], "[/THINK]")),
    (
        &["<|START_THINKING|>"],
        &[],
        &thoughts("cohere", &["<|START_THINKING|>"], &["<|END_THINKING|>"], "<|END_THINKING|>"),
    ),
    (
        &["[BEGIN FINAL RESPONSE]", "Here are my reasoning steps:"],
        &[],
        &ThoughtForm {
            prompted: &["Here are my reasoning steps:"],
            ..thoughts("apriel", &[], &["[BEGIN FINAL RESPONSE]"], "\n[BEGIN FINAL RESPONSE]\n")
        },
    ),
    (
        &["<|begin|>assistant<|think|>"],
        &[],
        &thoughts("solar", &["<|think|>"], &["<|end|>"], "<|end|><|begin|>assistant"),
    ),
    (
        &["<|open|>", "<|close|>", "<|end_of_msg|>"],
        &[],
        // An answer ends a thought that was not closed.
        &thoughts(
            "kimi-k3",
            &["<|open|>think<|sep|>"],
            &["<|close|>think<|sep|>", "<|open|>response<|sep|>"],
            "<|close|>think<|sep|>",
        ),
    ),
    (
        &["<|inner_prefix|>"],
        &[],
        &thoughts("apertus", &["<|inner_prefix|>"], &["<|inner_suffix|>"], "<|inner_suffix|>"),
    ),
    (&["<think>"], &[], &THINK),
    // Some of these models think, though their templates do not show it.
    (&["<|tool_calls_section_begin|>"], &[], &THINK),
];

pub(super) const THINK: ThoughtForm = thoughts("think", &["<think>"], &["</think>"], "\n</think>\n\n");

const fn thoughts(
    name: &'static str,
    open: &'static [&'static str],
    close: &'static [&'static str],
    closing: &'static str,
) -> ThoughtForm {
    ThoughtForm { name, open, close, prompted: &[], is_anywhere: false, closing }
}
