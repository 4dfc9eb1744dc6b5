//! Fields that clients of llama-server, OpenAI and vLLM send and that this server does not implement. Each is either ignored
//! because it has no effect, or refused with an error unless its value means "off". No field that would change a response
//! is ignored silently.

use llama_concurrent::SamplingParams;
use serde_json::Value;

use crate::{
    error::{ApiError, ApiResult},
    fields::Fields,
};

/// How a field is handled.
enum Handling {
    /// No value would change a response here; the reason.
    Ignored(#[cfg_attr(not(test), allow(dead_code, reason = "for the documentation"))] &'static str),
    /// Status 400 unless it is off; what to do instead.
    Refused(Off, &'static str),
}

/// The values of a field that mean "off", besides null.
enum Off {
    /// Only its absence.
    Absent,
    /// `false`.
    False,
    /// 0 or less.
    NotPositive,
    /// Less than 0.
    Negative,
    /// An empty string, list or object.
    Empty,
    /// One of these numbers.
    Numbers(&'static [f64]),
    /// 1, or the value of another field.
    As(&'static str),
    /// One of these strings.
    Values(&'static [&'static str]),
}

use Handling::{Ignored, Refused};

/// Fields of the generating routes that are not in the table of parameters.
const GENERATING: &[(&str, Handling)] = &[
    // OpenAI
    ("model", Ignored("there is one model")),
    ("user", Ignored("it names the caller")),
    ("safety_identifier", Ignored("it names the caller")),
    ("metadata", Ignored("nothing is stored")),
    ("store", Ignored("nothing is stored")),
    ("service_tier", Ignored("there is one tier")),
    ("prompt_cache_key", Ignored("equal beginnings of prompts are found without it")),
    ("prompt_cache_retention", Ignored("the cache is a slot's, and as long as it")),
    ("prediction", Ignored("it only makes answers faster")),
    ("modalities", Refused(Off::Values(&["text"]), "this server answers with text only")),
    ("audio", Refused(Off::Absent, "this server answers with text only")),
    ("web_search_options", Refused(Off::Absent, "this server searches nothing")),
    ("verbosity", Refused(Off::Values(&["medium"]), "ask for it in the prompt")),
    ("best_of", Refused(Off::As("n"), "use 'n' and choose among the answers by their log probabilities")),
    ("echo", Refused(Off::False, "/v1/completions has it; elsewhere put the prompt in front yourself")),
    ("suffix", Refused(Off::Empty, "/v1/completions has it, and /infill has 'input_suffix'")),
    // vLLM
    ("use_beam_search", Refused(Off::False, "use 'n' with a 'temperature'")),
    ("length_penalty", Refused(Off::Numbers(&[0.0, 1.0]), "there is no beam search; use 'n'")),
    ("early_stopping", Refused(Off::False, "there is no beam search; use 'n'")),
    ("include_stop_str_in_output", Refused(Off::False, "add the stop string yourself where the reason is 'stop'")),
    ("prompt_logprobs", Refused(Off::Negative, "use 'echo' with 'logprobs' on /v1/completions")),
    ("prompt_embeds", Refused(Off::Empty, "give text or token ids")),
    ("truncate_prompt_tokens", Refused(Off::Absent, "shorten the prompt with /tokenize")),
    ("bad_words", Refused(Off::Empty, "forbid texts by 'logit_bias', as [[\"text\", false]]")),
    ("allowed_token_ids", Refused(Off::Empty, "use a 'grammar' or 'logit_bias'")),
    ("logits_processors", Refused(Off::Empty, "use 'logit_bias' or a 'grammar'")),
    ("return_token_ids", Refused(Off::False, "/completion has them, with 'return_tokens'")),
    ("return_tokens_as_token_ids", Refused(Off::False, "/completion has them, with 'return_tokens'")),
    (
        "guided_whitespace_pattern",
        Refused(Off::Absent, "write 'x-guidance': {'whitespace_pattern': ...} in the schema"),
    ),
    ("guided_decoding_backend", Ignored("there is one")),
    ("structural_tag", Refused(Off::Absent, "use a 'grammar'")),
    ("cache_salt", Refused(Off::Empty, "send 'cache_prompt': false to share no beginnings")),
    ("kv_transfer_params", Refused(Off::Empty, "KV caches stay in this process")),
    ("spaces_between_special_tokens", Ignored("texts are put together from the bytes of the tokens")),
    ("include_reasoning", Ignored("thoughts come apart, as 'reasoning_content'")),
    ("request_id", Ignored("the header x-request-id names a request")),
    ("enable_thinking", Refused(Off::Absent, "send 'chat_template_kwargs': {'enable_thinking': ...}")),
    ("thinking", Refused(Off::Absent, "send 'reasoning_effort', 'thinking_budget_tokens' or 'chat_template_kwargs'")),
    ("reasoning", Refused(Off::Absent, "send 'reasoning_effort', 'thinking_budget_tokens' or 'chat_template_kwargs'")),
    // llama-server
    ("min_keep", Refused(Off::Numbers(&[0.0, 1.0]), "raise 'top_p' or lower 'min_p'")),
    ("lora", Refused(Off::Empty, "merge the adapter into the model's file")),
    ("n_keep", Ignored("the context is never shifted")),
    ("n_discard", Ignored("the context is never shifted")),
    ("speculative.n_min", Ignored("what guesses are worth is learned")),
    ("speculative.p_min", Ignored("what guesses are worth is learned")),
    ("n_cache_reuse", Ignored("it only makes prompts faster")),
    ("id_slot", Ignored("an answer does not depend on its slot")),
    ("backend_sampling", Ignored("it says where, not what")),
    ("sse_ping_interval", Ignored("silence is broken every 15 s")),
    ("n_indent", Refused(Off::NotPositive, "use a 'grammar'")),
    ("t_max_predict_ms", Refused(Off::NotPositive, "use 'max_tokens', or the option --timeout of the server")),
    ("t_max_prompt_ms", Refused(Off::NotPositive, "shorten the prompt, or use the option --timeout of the server")),
    ("grammar_lazy", Refused(Off::False, "a grammar holds from the first token on")),
    ("grammar_triggers", Refused(Off::Empty, "a grammar holds from the first token on")),
    ("grammar_type", Ignored("the form of a grammar is seen from its first rule")),
    ("preserved_tokens", Ignored("the markup of the model is known from its template")),
    ("parse_tool_calls", Ignored("calls are read where a request has tools")),
    ("chat_format", Ignored("the form of answers is known from the template")),
    ("chat_parser", Ignored("the form of answers is known from the template")),
    ("generation_prompt", Ignored("the form of answers is known from the template")),
    ("reasoning_budget_message", Refused(Off::Empty, "a thought is closed as the model closes it")),
    ("reasoning_budget_start_tag", Ignored("the markup of the model is known from its template")),
    ("reasoning_budget_end_tag", Ignored("the markup of the model is known from its template")),
    ("reasoning_budget_end_tags", Ignored("the markup of the model is known from its template")),
    ("reasoning_control", Refused(Off::False, "an answer cannot be steered while it is written")),
    ("input_prefix", Refused(Off::Empty, "/infill has it")),
    ("input_suffix", Refused(Off::Empty, "/infill has it")),
    ("input_extra", Refused(Off::Empty, "/infill has it")),
    ("multimodal_data", Refused(Off::Empty, "this server reads text only")),
];

/// Fields of the Messages API that are not those of the other generating routes.
const MESSAGES: &[(&str, Handling)] = &[
    ("n", Refused(Off::Numbers(&[1.0]), "ask several times")),
    ("n_cmpl", Refused(Off::Numbers(&[1.0]), "ask several times")),
    ("container", Refused(Off::Absent, "this server runs no tools")),
    ("mcp_servers", Refused(Off::Empty, "this server calls no tools itself; give them as 'tools'")),
    ("cache_control", Ignored("equal beginnings of prompts are found without it")),
    ("context_management", Ignored("nothing is taken out of a conversation; one that is too long is a 400")),
    ("diagnostics", Ignored("'usage' says what came from the cache")),
    ("inference_geo", Ignored("this server is where it is")),
    ("speed", Ignored("there is one speed")),
    ("user_profile_id", Ignored("it names the caller")),
];

/// Fields of the Responses API that are not those of the other generating routes.
const RESPONSES: &[(&str, Handling)] = &[
    ("n", Refused(Off::Numbers(&[1.0]), "ask several times")),
    ("n_cmpl", Refused(Off::Numbers(&[1.0]), "ask several times")),
    ("background", Refused(Off::False, "a response is made while its client waits")),
    ("conversation", Refused(Off::Absent, "use 'previous_response_id'")),
    ("prompt", Refused(Off::Absent, "write it as 'instructions' and 'input'")),
    ("moderation", Refused(Off::Absent, "this server moderates nothing")),
    ("max_tool_calls", Ignored("it counts tools that OpenAI runs")),
    ("context_management", Ignored("nothing is taken out of a conversation; one that is too long is a 400")),
    ("truncation", Ignored("nothing is taken out of a conversation; one that is too long is a 400")),
    ("stream_options", Ignored("no event is padded")),
    ("prompt_cache_options", Ignored("equal beginnings of prompts are found without it")),
];

/// Fields of the routes for embeddings.
const EMBEDDING: &[(&str, Handling)] = &[
    ("model", Ignored("there is one model")),
    ("user", Ignored("it names the caller")),
    ("priority", Ignored("embeddings take their turn between the steps of generations")),
    ("truncate_prompt_tokens", Refused(Off::Absent, "shorten the text with /tokenize")),
    ("input_type", Refused(Off::Absent, "put the model's instruction in front of the text")),
];

impl Off {
    fn holds(&self, value: &Value, fields: &Fields<'_>) -> bool {
        let number = value.as_f64();
        match self {
            Off::Absent => false,
            Off::False => *value == Value::Bool(false),
            Off::NotPositive => number.is_some_and(|n| n <= 0.0),
            Off::Negative => number.is_some_and(|n| n < 0.0),
            Off::Empty => match value {
                Value::String(text) => text.is_empty(),
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            },
            Off::Numbers(numbers) => number.is_some_and(|n| numbers.contains(&n)),
            Off::As(other) => number == Some(1.0) || fields.get(other).is_some_and(|other| other == value),
            Off::Values(values) => match value {
                Value::String(word) => values.contains(&word.as_str()),
                Value::Array(list) => list.iter().all(|one| one.as_str().is_some_and(|word| values.contains(&word))),
                _ => false,
            },
        }
    }

    /// For the table in the documentation.
    #[cfg(test)]
    fn description(&self) -> String {
        match self {
            Off::Absent => "absent".into(),
            Off::False => "false".into(),
            Off::NotPositive => "0 or less".into(),
            Off::Negative => "less than 0".into(),
            Off::Empty => "empty".into(),
            Off::Numbers(numbers) => numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(" or "),
            Off::As(other) => format!("1 or equal to `{other}`"),
            Off::Values(values) => values.join(" or "),
        }
    }
}

/// Refuses unsupported fields in a generation request, but for those that its route follows.
pub(crate) fn check_generating(fields: &Fields<'_>, followed: &[&str]) -> ApiResult<()> {
    check(fields, GENERATING, followed)
}

/// Refuses unsupported fields in a request of the Messages API.
pub(crate) fn check_messages(fields: &Fields<'_>) -> ApiResult<()> {
    check(fields, MESSAGES, &[])
}

/// Refuses unsupported fields in a request of the Responses API.
pub(crate) fn check_responses(fields: &Fields<'_>) -> ApiResult<()> {
    check(fields, RESPONSES, &[])
}

/// Whether the table of parameters has a field, which is supported then.
fn is_parameter(name: &str) -> bool {
    SamplingParams::FIELDS.iter().any(|field| field.traits.http.contains(&name))
}

/// Refuses unsupported fields in an embedding request.
pub(crate) fn check_embedding(fields: &Fields<'_>) -> ApiResult<()> {
    check(fields, EMBEDDING, &[])
}

fn check(fields: &Fields<'_>, table: &[(&str, Handling)], followed: &[&str]) -> ApiResult<()> {
    for (name, fate) in table.iter().filter(|(name, _)| !followed.contains(name)) {
        let (Refused(off, instead), Some(value)) = (fate, fields.get(name)) else { continue };
        if !off.holds(value, fields) && !is_parameter(name) {
            return Err(ApiError::field(fields.path(name), format!("cannot be used: {instead}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_would_change_an_answer_is_refused_by_name() {
        let long = json!({"echo": true, "best_of": 3, "lora": [{"id": 0, "scale": 1}],
            "use_beam_search": true, "bad_words": ["x"], "t_max_predict_ms": 500,
            "prompt_logprobs": 0, "allowed_token_ids": [1], "modalities": ["audio"]});
        for (name, value) in long.as_object().unwrap() {
            let body = json!({ name.as_str(): value });
            let error = check_generating(&Fields::body(&body).unwrap(), &[]).unwrap_err().json();
            assert_eq!(error["error"]["param"], name.as_str(), "{error}");
        }
        let off = json!({"echo": false, "best_of": 1, "lora": [], "suffix": "",
            "use_beam_search": null, "t_max_predict_ms": -1, "modalities": ["text"],
            "n_keep": 5, "model": "any", "something": "unknown"});
        assert!(check_generating(&Fields::body(&off).unwrap(), &[]).is_ok());
        assert!(check_generating(&Fields::body(&json!({"echo": true})).unwrap(), &["echo"]).is_ok());
        let body = json!({"input_type": "query"});
        assert!(check_embedding(&Fields::body(&body).unwrap()).is_err());
    }

    #[test]
    fn the_table_stands_in_the_documentation() {
        stands_in_the_documentation(GENERATING, "fields");
    }

    #[test]
    fn the_tables_of_other_apis_stand_there_too() {
        stands_in_the_documentation(MESSAGES, "fields of messages");
        stands_in_the_documentation(RESPONSES, "fields of responses");
    }

    fn stands_in_the_documentation(table: &[(&str, Handling)], title: &str) {
        let mut rows = String::from("| field | handling |\n|---|---|\n");
        for (name, fate) in table.iter().filter(|(name, _)| !is_parameter(name)) {
            rows += &match fate {
                Ignored(why) => format!("| `{name}` | ignored: {why} |\n"),
                Refused(off, instead) => format!("| `{name}` | 400 unless {}: {instead} |\n", off.description()),
            };
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/server.md");
        let document = std::fs::read_to_string(path).unwrap();
        let (begin, end) = (format!("<!-- {title}: written by a test -->\n"), format!("<!-- end of {title} -->"));
        let from = document.find(&begin).expect("a place for the table") + begin.len();
        let to = from + document[from..].find(&end).expect("an end of the table");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, format!("{}{rows}{}", &document[..from], &document[to..])).unwrap();
        } else {
            assert!(document[from..to] == rows, "docs/server.md is old; run this test with UPDATE=1");
        }
    }

    #[test]
    fn no_field_stands_twice() {
        for table in [GENERATING, MESSAGES, RESPONSES, EMBEDDING] {
            let mut names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        }
    }
}
