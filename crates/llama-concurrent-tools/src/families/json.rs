//! Calls whose arguments are JSON.

use super::calls::{NUMBERED, PLAIN};
use crate::format::{CallForm, Notation, Shape, Written};

pub(crate) const HERMES: CallForm = CallForm {
    name: "hermes",
    open: &["<tool_call>"],
    close: &["</tool_call>"],
    written: Written {
        before: "",
        call: "<tool_call>\n{\"name\": {name}, \"arguments\": {arguments}}\n</tool_call>",
        between: "\n",
        after: "",
    },
    ..PLAIN
};

pub(super) const APRIEL: CallForm = CallForm {
    name: "apriel",
    section: &["<tool_calls>"],
    section_close: &["</tool_calls>"],
    written: Written {
        before: "<tool_calls>[",
        call: "{\"name\": {name}, \"arguments\": {arguments}}",
        between: ", ",
        after: "]</tool_calls>",
    },
    ..PLAIN
};

pub(super) const MINIMAX_M1: CallForm = CallForm {
    name: "minimax-m1",
    written: Written {
        before: "<tool_calls>\n",
        call: "{\"name\": {name}, \"arguments\": {arguments}}\n",
        between: "",
        after: "</tool_calls>",
    },
    ..APRIEL
};

pub(super) const NEMOTRON: CallForm = CallForm {
    name: "nemotron-v2",
    section: &["<TOOLCALL>"],
    section_close: &["</TOOLCALL>"],
    written: Written {
        before: "<TOOLCALL>[",
        call: "{\"name\": {name}, \"arguments\": {arguments}}",
        between: ", ",
        after: "]</TOOLCALL>",
    },
    ..PLAIN
};

pub(super) const MISTRAL_LIST: CallForm = CallForm {
    name: "mistral-list",
    section: &["[TOOL_CALLS]"],
    written: Written {
        before: "[TOOL_CALLS][",
        call: "{\"name\": {name}, \"arguments\": {arguments}, \"id\": \"{id}\"}",
        between: ", ",
        after: "]",
    },
    ..PLAIN
};

pub(super) const GRANITE: CallForm = CallForm {
    name: "granite",
    section: &["<|tool_call|>"],
    section_close: &["<|/tool_call|>"],
    written: Written {
        before: "<|tool_call|>[",
        call: "{\"name\": {name}, \"arguments\": {arguments}}",
        between: ", ",
        after: "]",
    },
    ..PLAIN
};

pub(super) const FIREFUNCTION: CallForm = CallForm {
    name: "firefunction",
    section: &["functools"],
    written: Written {
        before: " functools[",
        call: "{\"name\": {name}, \"arguments\": {arguments}}",
        between: ", ",
        after: "]",
    },
    ..PLAIN
};

pub(super) const COHERE: CallForm = CallForm {
    ids: NUMBERED,
    name: "cohere",
    section: &["<|START_ACTION|>"],
    section_close: &["<|END_ACTION|>"],
    shape: Shape::Object { name: "tool_name", arguments: &["parameters"], id: "tool_call_id" },
    written: Written {
        before: "<|START_ACTION|>[\n",
        call: "    {\"tool_call_id\": \"{id}\", \"tool_name\": {name}, \"parameters\": {arguments}}",
        between: ",\n",
        after: "\n]<|END_ACTION|>",
    },
    ..PLAIN
};

pub(super) const COMMAND_R_PLUS: CallForm = CallForm {
    name: "command-r-plus",
    section: &["Action:\n```json\n", "Action: ```json\n"],
    section_close: &["```"],
    shape: Shape::Object { name: "tool_name", arguments: &["parameters"], id: "tool_call_id" },
    written: Written {
        before: "Action:\n```json\n[\n",
        call: "    {\"tool_name\": {name}, \"parameters\": {arguments}}",
        between: ",\n",
        after: "\n]\n```",
    },
    ..PLAIN
};

pub(super) const GIGACHAT: CallForm = CallForm {
    name: "gigachat",
    open: &["<|message_sep|>\n\nfunction call<|role_sep|>\n"],
    written: Written {
        before: "<|message_sep|>\n\nfunction call<|role_sep|>\n",
        call: "{\"name\": {name}, \"arguments\": {arguments}}",
        between: "<|message_sep|>\n\nfunction call<|role_sep|>\n",
        after: "",
    },
    ..PLAIN
};

pub(super) const GIGACHAT_31: CallForm = CallForm {
    name: "gigachat-3.1",
    open: &["<|function_call|>"],
    written: Written {
        before: "",
        call: "<|function_call|>{\"name\": {name}, \"arguments\": {arguments}}",
        between: "",
        after: "",
    },
    ..PLAIN
};

pub(super) const LLAMA_3: CallForm = CallForm {
    name: "llama-3",
    section: &["<|python_tag|>"],
    is_bare: true,
    written: Written { before: "", call: "{\"name\": {name}, \"parameters\": {arguments}}", between: "; ", after: "" },
    ..PLAIN
};

pub(super) const APERTUS: CallForm = CallForm {
    name: "apertus",
    section: &["<|tools_prefix|>"],
    section_close: &["<|tools_suffix|>"],
    shape: Shape::NameAsKey,
    written: Written {
        before: "<|tools_prefix|>[",
        call: "{{name}: {arguments}}",
        between: ", ",
        after: "]<|tools_suffix|>",
    },
    ..PLAIN
};

pub(super) const MISTRAL: CallForm = CallForm {
    name: "mistral",
    open: &["[TOOL_CALLS]"],
    shape: Shape::Tagged { heads: &["{name}[CALL_ID]{id}[ARGS]", "{name}[ARGS]"], notation: Notation::Json },
    written: Written { before: "", call: "[TOOL_CALLS]{name}[ARGS]{arguments}", between: "", after: "" },
    ..PLAIN
};

pub(super) const MISTRAL_ID: CallForm = CallForm {
    name: "mistral-id",
    written: Written { before: "", call: "[TOOL_CALLS]{name}[CALL_ID]{id}[ARGS]{arguments}", between: "", after: "" },
    ..MISTRAL
};

pub(super) const KIMI_K2: CallForm = CallForm {
    ids: NUMBERED,
    name: "kimi-k2",
    section: &["<|tool_calls_section_begin|>"],
    section_close: &["<|tool_calls_section_end|>"],
    open: &["<|tool_call_begin|>"],
    close: &["<|tool_call_end|>"],
    shape: Shape::Tagged { heads: &["{kimi}<|tool_call_argument_begin|>"], notation: Notation::Json },
    ends_thought: true,
    written: Written {
        before: "<|tool_calls_section_begin|>",
        call: "<|tool_call_begin|>functions.{name}:{id}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>",
        between: "",
        after: "<|tool_calls_section_end|>",
    },
    ..PLAIN
};

pub(super) const DEEPSEEK_R1: CallForm = CallForm {
    name: "deepseek-r1",
    section: &["<｜tool▁calls▁begin｜>", "<｜tool_calls_begin｜>", "<｜tool calls begin｜>"],
    section_close: &["<｜tool▁calls▁end｜>", "```"],
    open: &["<｜tool▁call▁begin｜>"],
    close: &["<｜tool▁call▁end｜>"],
    shape: Shape::Tagged {
        heads: &["function<｜tool▁sep｜>{name}\n```json\n", "{name}<｜tool▁sep｜>"],
        notation: Notation::Json,
    },
    written: Written {
        before: "<｜tool▁calls▁begin｜>",
        call: "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{arguments}\n```<｜tool▁call▁end｜>",
        between: "\n",
        after: "<｜tool▁calls▁end｜>",
    },
    ..PLAIN
};

pub(super) const DEEPSEEK_V31: CallForm = CallForm {
    name: "deepseek-v3.1",
    written: Written {
        before: "<｜tool▁calls▁begin｜>",
        call: "<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜>",
        between: "",
        after: "<｜tool▁calls▁end｜>",
    },
    ..DEEPSEEK_R1
};

pub(super) const SOLAR: CallForm = CallForm {
    ids: "/[a-z0-9]{10}/",
    name: "solar",
    section: &["<|tool_calls|>"],
    section_close: &["<|calls|>"],
    open: &["<|tool_call:begin|>"],
    close: &["<|tool_call:end|>"],
    shape: Shape::Tagged { heads: &["{id}<|tool_call:name|>{name}<|tool_call:args|>"], notation: Notation::Json },
    written: Written {
        before: "<|tool_calls|>",
        call: "<|tool_call:begin|>{id}<|tool_call:name|>{name}<|tool_call:args|>{arguments}<|tool_call:end|>",
        between: "",
        after: "",
    },
    ..PLAIN
};

pub(super) const FUNCTIONARY_31: CallForm = CallForm {
    name: "functionary-v3.1",
    open: &["<function="],
    close: &["</function>"],
    shape: Shape::Tagged { heads: &["{name}>"], notation: Notation::Json },
    written: Written { before: "", call: "<function={name}>{arguments}</function>", between: "", after: "" },
    ..PLAIN
};
