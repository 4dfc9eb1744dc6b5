//! The tables: which forms there are, and by what a chat template shows that its model was trained on one.
//!
//! Thoughts and calls are found apart from each other, since families combine them freely. In each list the first row
//! whose signs are in the template counts, so what is more particular stands before what is more general.

use crate::format::{CallForm, ChannelKind, Channels, Format, Notation, Parameters, Shape, ThoughtForm, Written};

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

const CHANNELS: &[Row<Channels>] = &[
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

const THOUGHTS: &[Row<ThoughtForm>] = &[
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

const THINK: ThoughtForm = thoughts("think", &["<think>"], &["</think>"], "\n</think>\n\n");

const fn thoughts(
    name: &'static str,
    open: &'static [&'static str],
    close: &'static [&'static str],
    closing: &'static str,
) -> ThoughtForm {
    ThoughtForm { name, open, close, prompted: &[], is_anywhere: false, closing }
}

const CALLS: &[Row<CallForm>] = &[
    (&["DSML", "function_calls"], &[], &DSML_3),
    (&["DSML"], &[], &DSML_4),
    (&["<|tool_calls_section_begin|>"], &[], &KIMI_K2),
    (&["<|open|>", "<|close|>", "<|end_of_msg|>"], &[], &KIMI_K3),
    (&["<｜tool▁calls▁begin｜>", "```json"], &[], &DEEPSEEK_R1),
    (&["<｜tool▁calls▁begin｜>"], &[], &DEEPSEEK_V31),
    (&["<|tool_call>call:"], &[], &GEMMA),
    (&["]<]minimax[>["], &[], &MINIMAX_M3),
    (&["<minimax:tool_call>"], &[], &MINIMAX_M2),
    (&["'<tool_sep{}>'"], &[], &HUNYUAN),
    (&["<seed:tool_call>"], &[], &SEED),
    (&["<function name=\"", "<param name=\""], &[], &MINICPM),
    (&["<function=", "<parameter="], &[], &QWEN_CODER),
    (&["<function=", "</function>"], &[], &FUNCTIONARY_31),
    (&["<arg_key>", "<role>ASSISTANT</role>"], &[], &LING),
    (&["<arg_key>", "<tool_call>"], &[], &GLM),
    (&["<|tool_call:begin|>"], &[], &SOLAR),
    (&["<|START_ACTION|>"], &[], &COHERE),
    (&["<|tools_prefix|>"], &[], &APERTUS),
    (&["<|tool_call_start|>"], &[], &LFM),
    (&["<|tool_list_start|>"], &[], &LFM),
    (&["List of tools: ["], &[], &LFM),
    (&["<TOOLCALL>"], &[], &NEMOTRON),
    (&["[TOOL_CALLS]", "[CALL_ID]"], &[], &MISTRAL_ID),
    (&["[TOOL_CALLS]", "[ARGS]"], &[], &MISTRAL),
    (&["[TOOL_CALLS]"], &[], &MISTRAL_LIST),
    (&["<tool_calls>", "<beginning_of_sentence>"], &[], &MINIMAX_M1),
    (&["<tool_calls>"], &[], &APRIEL),
    (&["<tool_call>"], &[], &HERMES),
    (&["<|tool_call|>"], &[], &GRANITE),
    (&["<|function_call|>"], &[], &GIGACHAT_31),
    (&["<|role_sep|>", "<|message_sep|>"], &[], &GIGACHAT),
    (&["functools["], &[], &FIREFUNCTION),
    (&["Action:", "```json", "tool_name"], &[], &COMMAND_R_PLUS),
    (&["[func_name1(params_name1"], &[], &LLAMA_4),
    (&["<|python_tag|>"], &[], &LLAMA_3),
    (&["{\"name\": function name, \"parameters\""], &[], &LLAMA_3),
];

const JSON: Shape = Shape::Object { name: "name", arguments: &["arguments", "parameters"], id: "id" };

/// What most rows have.
pub(crate) const PLAIN: CallForm = CallForm {
    name: "",
    section: &[],
    section_close: &[],
    open: &[],
    close: &[],
    shape: JSON,
    is_bare: false,
    ends_thought: false,
    written: Written { before: "", call: "", between: "", after: "" },
    ids: "/[a-zA-Z0-9]{9}/",
};

/// Calls are numbered.
const NUMBERED: &str = "/0|[1-9][0-9]{0,2}/";

const HERMES: CallForm = CallForm {
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

const APRIEL: CallForm = CallForm {
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

const MINIMAX_M1: CallForm = CallForm {
    name: "minimax-m1",
    written: Written {
        before: "<tool_calls>\n",
        call: "{\"name\": {name}, \"arguments\": {arguments}}\n",
        between: "",
        after: "</tool_calls>",
    },
    ..APRIEL
};

const NEMOTRON: CallForm = CallForm {
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

const MISTRAL_LIST: CallForm = CallForm {
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

const GRANITE: CallForm = CallForm {
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

const FIREFUNCTION: CallForm = CallForm {
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

const COHERE: CallForm = CallForm {
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

const COMMAND_R_PLUS: CallForm = CallForm {
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

const GIGACHAT: CallForm = CallForm {
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

const GIGACHAT_31: CallForm = CallForm {
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

const LLAMA_3: CallForm = CallForm {
    name: "llama-3",
    section: &["<|python_tag|>"],
    is_bare: true,
    written: Written { before: "", call: "{\"name\": {name}, \"parameters\": {arguments}}", between: "; ", after: "" },
    ..PLAIN
};

const APERTUS: CallForm = CallForm {
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

const MISTRAL: CallForm = CallForm {
    name: "mistral",
    open: &["[TOOL_CALLS]"],
    shape: Shape::Tagged { heads: &["{name}[CALL_ID]{id}[ARGS]", "{name}[ARGS]"], notation: Notation::Json },
    written: Written { before: "", call: "[TOOL_CALLS]{name}[ARGS]{arguments}", between: "", after: "" },
    ..PLAIN
};

const MISTRAL_ID: CallForm = CallForm {
    name: "mistral-id",
    written: Written { before: "", call: "[TOOL_CALLS]{name}[CALL_ID]{id}[ARGS]{arguments}", between: "", after: "" },
    ..MISTRAL
};

const KIMI_K2: CallForm = CallForm {
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

const DEEPSEEK_R1: CallForm = CallForm {
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

const DEEPSEEK_V31: CallForm = CallForm {
    name: "deepseek-v3.1",
    written: Written {
        before: "<｜tool▁calls▁begin｜>",
        call: "<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜>",
        between: "",
        after: "<｜tool▁calls▁end｜>",
    },
    ..DEEPSEEK_R1
};

const SOLAR: CallForm = CallForm {
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

const FUNCTIONARY_31: CallForm = CallForm {
    name: "functionary-v3.1",
    open: &["<function="],
    close: &["</function>"],
    shape: Shape::Tagged { heads: &["{name}>"], notation: Notation::Json },
    written: Written { before: "", call: "<function={name}>{arguments}</function>", between: "", after: "" },
    ..PLAIN
};

const GEMMA: CallForm = CallForm {
    name: "gemma",
    open: &["<|tool_call>"],
    close: &["<tool_call|>"],
    shape: Shape::Tagged { heads: &["call:{name}"], notation: Notation::Gemma },
    written: Written { before: "", call: "<|tool_call>call:{name}{arguments}<tool_call|>", between: "", after: "" },
    ..PLAIN
};

const LFM: CallForm = CallForm {
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

const LLAMA_4: CallForm = CallForm {
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

const QWEN_CODER: CallForm = CallForm {
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

const SEED: CallForm = CallForm {
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

const MINIMAX_M2: CallForm = CallForm {
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

const MINIMAX_M3: CallForm = CallForm {
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

const DSML_3: CallForm = CallForm {
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

const DSML_4: CallForm = CallForm {
    name: "dsml-v4",
    section: &["<｜DSML｜tool_calls>"],
    section_close: &["</｜DSML｜tool_calls>"],
    written: Written { before: "<｜DSML｜tool_calls>\n", after: "</｜DSML｜tool_calls>", ..DSML_3.written },
    ..DSML_3
};

const MINICPM: CallForm = CallForm {
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
const ATEM: CallForm = CallForm {
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

const GLM: CallForm = CallForm {
    name: "glm",
    open: &["<tool_call>"],
    close: &["</tool_call>"],
    shape: Shape::Tagged { heads: &["{name}"], notation: Notation::Parameters(&ARG_PAIRS) },
    written: Written { before: "", call: "<tool_call>{name}{arguments}</tool_call>", between: "\n", after: "" },
    ..PLAIN
};

const LING: CallForm = CallForm { name: "ling", ends_thought: true, ..GLM };

const HUNYUAN: CallForm = CallForm {
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

const KIMI_K3: CallForm = CallForm {
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
