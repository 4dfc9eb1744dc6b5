//! Calls whose arguments have a notation of their own.

use super::calls::{NUMBERED, PLAIN};
use crate::format::{CallForm, Notation, Parameters, Shape, Written};

pub(super) const GEMMA: CallForm = CallForm {
    name: "gemma",
    open: &["<|tool_call>"],
    close: &["<tool_call|>"],
    shape: Shape::Tagged { heads: &["call:{name}"], notation: Notation::Gemma },
    written: Written { before: "", call: "<|tool_call>call:{name}{arguments}<tool_call|>", between: "", after: "" },
    ..PLAIN
};

pub(super) const LFM: CallForm = CallForm {
    name: "lfm",
    section: &["<|tool_call_start|>"],
    section_close: &["<|tool_call_end|>"],
    shape: Shape::Python,
    written: Written {
        before: "<|tool_call_start|>[",
        call: "{name}{arguments}",
        between: ", ",
        after: "]<|tool_call_end|>",
    },
    ..PLAIN
};

pub(super) const LLAMA_4: CallForm = CallForm {
    name: "llama-4",
    section: &["<|python_start|>"],
    section_close: &["<|python_end|>"],
    shape: Shape::Python,
    is_bare: true,
    written: Written { before: "[", call: "{name}{arguments}", between: ", ", after: "]" },
    ..PLAIN
};

/// Where nothing else is said of parameters.
const PARAMETERS: Parameters = Parameters {
    open: "",
    key_end: ">",
    attributes_end: "",
    value_open: "",
    close: "</parameter>",
    on_lines: false,
    has_cdata: false,
    text_attributes: None,
    between: "\n",
};

pub(super) const QWEN_CODER: CallForm = CallForm {
    name: "qwen-coder",
    section: &["<tool_call>"],
    section_close: &["</tool_call>"],
    open: &["<function="],
    close: &["</function>"],
    shape: Shape::Tagged {
        heads: &["{name}>"],
        notation: Notation::Parameters(&Parameters { open: "<parameter=", on_lines: true, ..PARAMETERS }),
    },
    ends_thought: true,
    written: Written {
        before: "",
        call: "<tool_call>\n<function={name}>{arguments}</function>\n</tool_call>",
        between: "\n",
        after: "",
    },
    ..PLAIN
};

pub(super) const SEED: CallForm = CallForm {
    name: "seed",
    section: &["<seed:tool_call>"],
    section_close: &["</seed:tool_call>"],
    shape: Shape::Tagged {
        heads: &["{name}>"],
        notation: Notation::Parameters(&Parameters { open: "<parameter=", ..PARAMETERS }),
    },
    ends_thought: false,
    written: Written {
        before: "",
        call: "<seed:tool_call>\n<function={name}>{arguments}</function>\n</seed:tool_call>",
        between: "\n",
        after: "",
    },
    ..QWEN_CODER
};

const INVOKE: Parameters = Parameters { open: "<parameter name=\"", key_end: "\">", ..PARAMETERS };

pub(super) const MINIMAX_M2: CallForm = CallForm {
    name: "minimax-m2",
    section: &["<minimax:tool_call>"],
    section_close: &["</minimax:tool_call>"],
    open: &["<invoke name=\""],
    close: &["</invoke>"],
    shape: Shape::Tagged { heads: &["{name}\">"], notation: Notation::Parameters(&INVOKE) },
    written: Written {
        before: "<minimax:tool_call>\n",
        call: "<invoke name=\"{name}\">{arguments}</invoke>\n",
        between: "",
        after: "</minimax:tool_call>",
    },
    ..PLAIN
};

pub(super) const MINIMAX_M3: CallForm = CallForm {
    name: "minimax-m3",
    section: &["]<]minimax[>[<tool_call>"],
    section_close: &["]<]minimax[>[</tool_call>"],
    open: &["]<]minimax[>[<invoke name=\""],
    close: &["]<]minimax[>[</invoke>"],
    shape: Shape::Tagged { heads: &["{name}\">"], notation: Notation::Elements("]<]minimax[>[") },
    written: Written {
        before: "]<]minimax[>[<tool_call>\n",
        call: "]<]minimax[>[<invoke name=\"{name}\">{arguments}]<]minimax[>[</invoke>\n",
        between: "",
        after: "]<]minimax[>[</tool_call>",
    },
    ..PLAIN
};

const DSML_PARAMETERS: Parameters = Parameters {
    open: "<｜DSML｜parameter name=\"",
    key_end: "\"",
    attributes_end: ">",
    close: "</｜DSML｜parameter>",
    text_attributes: Some((" string=\"true\"", " string=\"false\"")),
    ..PARAMETERS
};

pub(super) const DSML_3: CallForm = CallForm {
    name: "dsml-v3.2",
    section: &["<｜DSML｜function_calls>"],
    section_close: &["</｜DSML｜function_calls>"],
    open: &["<｜DSML｜invoke name=\""],
    close: &["</｜DSML｜invoke>"],
    shape: Shape::Tagged { heads: &["{name}\">"], notation: Notation::Parameters(&DSML_PARAMETERS) },
    ends_thought: true,
    written: Written {
        before: "<｜DSML｜function_calls>\n",
        call: "<｜DSML｜invoke name=\"{name}\">{arguments}</｜DSML｜invoke>\n",
        between: "",
        after: "</｜DSML｜function_calls>",
    },
    ..PLAIN
};

pub(super) const DSML_4: CallForm = CallForm {
    name: "dsml-v4",
    section: &["<｜DSML｜tool_calls>"],
    section_close: &["</｜DSML｜tool_calls>"],
    written: Written { before: "<｜DSML｜tool_calls>\n", after: "</｜DSML｜tool_calls>", ..DSML_3.written },
    ..DSML_3
};

pub(super) const MINICPM: CallForm = CallForm {
    name: "minicpm",
    open: &["<function name=\""],
    close: &["</function>"],
    shape: Shape::Tagged {
        heads: &["{name}\">"],
        notation: Notation::Parameters(&Parameters {
            open: "<param name=\"",
            key_end: "\">",
            close: "</param>",
            has_cdata: true,
            between: "",
            ..PARAMETERS
        }),
    },
    written: Written { before: "", call: "<function name=\"{name}\">{arguments}</function>", between: "\n", after: "" },
    ..PLAIN
};

/// Calls of muse, within its channels.
pub(super) const ATEM: CallForm = CallForm {
    name: "muse",
    section: &["<atem:function_calls>"],
    section_close: &["</atem:function_calls>"],
    open: &["<atem:invoke name=\""],
    close: &["</atem:invoke>"],
    shape: Shape::Tagged {
        heads: &["{name}\">"],
        notation: Notation::Parameters(&Parameters {
            open: "<atem:parameter name=\"",
            key_end: "\">",
            close: "</atem:parameter>",
            ..PARAMETERS
        }),
    },
    written: Written {
        before: "",
        call: "<atem:function_calls>\n<atem:invoke name=\"{name}\">{arguments}</atem:invoke>\n</atem:function_calls>",
        between: "",
        after: "",
    },
    ..PLAIN
};

const ARG_PAIRS: Parameters = Parameters {
    open: "<arg_key>",
    key_end: "</arg_key>",
    value_open: "<arg_value>",
    close: "</arg_value>",
    ..PARAMETERS
};

pub(super) const GLM: CallForm = CallForm {
    name: "glm",
    open: &["<tool_call>"],
    close: &["</tool_call>"],
    shape: Shape::Tagged { heads: &["{name}"], notation: Notation::Parameters(&ARG_PAIRS) },
    written: Written { before: "", call: "<tool_call>{name}{arguments}</tool_call>", between: "\n", after: "" },
    ..PLAIN
};

pub(super) const LING: CallForm = CallForm { name: "ling", ends_thought: true, ..GLM };

pub(super) const HUNYUAN: CallForm = CallForm {
    name: "hunyuan",
    section: &["<tool_calls:opensource>"],
    section_close: &["</tool_calls:opensource>"],
    open: &["<tool_call:opensource>"],
    close: &["</tool_call:opensource>"],
    shape: Shape::Tagged {
        heads: &["{name}<tool_sep:opensource>"],
        notation: Notation::Parameters(&Parameters {
            open: "<arg_key:opensource>",
            key_end: "</arg_key:opensource>",
            value_open: "<arg_value:opensource>",
            close: "</arg_value:opensource>",
            ..PARAMETERS
        }),
    },
    written: Written {
        before: "<tool_calls:opensource>\n",
        call: "<tool_call:opensource>{name}<tool_sep:opensource>{arguments}</tool_call:opensource>\n",
        between: "",
        after: "</tool_calls:opensource>",
    },
    ..PLAIN
};

pub(super) const KIMI_K3: CallForm = CallForm {
    ids: NUMBERED,
    name: "kimi-k3",
    section: &["<|open|>tools<|sep|>"],
    section_close: &["<|close|>tools<|sep|>"],
    open: &["<|open|>call tool=\""],
    close: &["<|close|>call<|sep|>"],
    shape: Shape::Tagged {
        heads: &["{name}\"{*}<|sep|>"],
        notation: Notation::Parameters(&Parameters {
            open: "<|open|>argument key=\"",
            key_end: "\"",
            attributes_end: "<|sep|>",
            close: "<|close|>argument<|sep|>",
            text_attributes: Some((" type=\"string\"", " type=\"{type}\"")),
            between: "",
            ..PARAMETERS
        }),
    },
    written: Written {
        before: "<|open|>tools<|sep|>",
        call: "<|open|>call tool=\"{name}\" index=\"{id}\"<|sep|>{arguments}<|close|>call<|sep|>",
        between: "",
        after: "<|close|>tools<|sep|>",
    },
    ..PLAIN
};
