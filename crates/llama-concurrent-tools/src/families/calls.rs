//! Which template shows which form of calls.

use super::Row;
use super::json::{
    APERTUS, APRIEL, COHERE, COMMAND_R_PLUS, DEEPSEEK_R1, DEEPSEEK_V31, FIREFUNCTION, FUNCTIONARY_31, GIGACHAT,
    GIGACHAT_31, GRANITE, HERMES, KIMI_K2, LLAMA_3, MINIMAX_M1, MISTRAL, MISTRAL_ID, MISTRAL_LIST, NEMOTRON, SOLAR,
};
use super::markup::{
    DSML_3, DSML_4, GEMMA, GLM, HUNYUAN, KIMI_K3, LFM, LING, LLAMA_4, MINICPM, MINIMAX_M2, MINIMAX_M3, QWEN_CODER, SEED,
};
use crate::format::{CallForm, Shape, Written};

pub(super) const CALLS: &[Row<CallForm>] = &[
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
pub(super) const NUMBERED: &str = "/0|[1-9][0-9]{0,2}/";
