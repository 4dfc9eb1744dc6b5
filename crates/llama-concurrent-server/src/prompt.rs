//! Parses prompts in all formats of the APIs, and tokenizes them.

use llama_concurrent::{Engine, Prompt, Token};
use serde_json::Value;

use crate::{
    error::{ApiError, ApiResult},
    fields::{Fields, integer, wrong},
    work::Job,
};

/// One prompt: any mixture of text and tokens.
#[derive(Debug, PartialEq)]
pub(crate) struct PromptInput(Vec<Piece>);

#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    Tokens(Vec<Token>),
    /// The output of a chat template.
    Chat(Prompt),
}

impl From<String> for PromptInput {
    fn from(text: String) -> Self {
        Self(vec![Piece::Text(text)])
    }
}

impl From<Vec<Token>> for PromptInput {
    fn from(tokens: Vec<Token>) -> Self {
        Self(vec![Piece::Tokens(tokens)])
    }
}

impl From<Prompt> for PromptInput {
    fn from(prompt: Prompt) -> Self {
        Self(vec![Piece::Chat(prompt)])
    }
}

/// The prompts of a field: one as a string, as tokens or as a mixture of both, or a list of such; and whether it was a
/// list, which llama-server answers with a list.
pub(crate) fn read(path: &str, value: &Value) -> ApiResult<(Vec<PromptInput>, bool)> {
    let prompts = match value {
        Value::Array(list) if !list.iter().any(Value::is_number) => {
            let each = list.iter().enumerate().map(|(index, value)| one(&format!("{path}[{index}]"), value));
            (each.collect::<ApiResult<Vec<_>>>()?, true)
        }
        other => (vec![one(path, other)?], false),
    };
    if prompts.0.is_empty() { Err(ApiError::field(path, "must not be an empty list")) } else { Ok(prompts) }
}

/// Like [`read`], for one prompt.
fn one(path: &str, value: &Value) -> ApiResult<PromptInput> {
    match value {
        Value::String(text) => Ok(text.clone().into()),
        Value::Array(list) => {
            let mut pieces = Vec::new();
            for (index, value) in list.iter().enumerate() {
                match value {
                    Value::String(text) => pieces.push(Piece::Text(text.clone())),
                    Value::Number(_) => {
                        let token = token(path, index, value)?;
                        match pieces.last_mut() {
                            Some(Piece::Tokens(tokens)) => tokens.push(token),
                            _ => pieces.push(Piece::Tokens(vec![token])),
                        }
                    }
                    other => return Err(wrong(&format!("{path}[{index}]"), "a token or a string", other)),
                }
            }
            Ok(PromptInput(pieces))
        }
        // As in llama-server's embeddings: `content` of a chat message, whose parts are one text.
        Value::Object(object) if !object.contains_key("prompt_string") && object.contains_key("content") => {
            let path = format!("{path}.content");
            let Value::Array(parts) = &object["content"] else {
                return Err(wrong(&path, "a list of parts", &object["content"]));
            };
            let mut text = String::new();
            for (index, part) in parts.iter().enumerate() {
                let part = Fields::at(format!("{path}[{index}]"), part)?;
                match part.required_text("type")? {
                    "text" => text.push_str(part.required_text("text")?),
                    other => {
                        let must = format!("is '{other}', but this server reads only 'text'");
                        return Err(ApiError::field(part.path("type"), must));
                    }
                }
            }
            Ok(text.into())
        }
        Value::Object(object) => match object.get("prompt_string") {
            Some(Value::String(text)) if !object.contains_key("multimodal_data") => Ok(text.clone().into()),
            Some(Value::String(_)) => {
                Err(ApiError::field(format!("{path}.multimodal_data"), "cannot be used: this server reads text only"))
            }
            Some(other) => Err(wrong(&format!("{path}.prompt_string"), "a string", other)),
            None => Err(ApiError::field(format!("{path}.prompt_string"), "is required in a prompt that is an object")),
        },
        other => Err(wrong(path, "a string, a list of tokens and strings, or a list of such", other)),
    }
}

/// The token at an index of a list. There may be millions, so the path is only formatted for an error.
fn token(path: &str, index: usize, value: &Value) -> ApiResult<Token> {
    match value.as_u64().and_then(|token| Token::try_from(token).ok()) {
        Some(token) => Ok(token),
        None => integer(&format!("{path}[{index}]"), value, 0..=i64::from(Token::MAX)).map(|token| token as Token),
    }
}

/// Token ids of a field.
pub(crate) fn tokens(path: &str, list: &[Value]) -> ApiResult<Vec<Token>> {
    list.iter().enumerate().map(|(index, value)| token(path, index, value)).collect()
}

/// What the prompts are used for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Use {
    Continue,
    /// Includes the tokens that the vocabulary asks for after a text.
    Embed,
}

/// Tokenizes prompts. BOS is added to a prompt that begins with text, if the vocabulary asks for it.
pub(crate) fn tokenize(engine: &Engine, prompts: &[PromptInput], to: Use, job: &Job) -> ApiResult<Vec<Vec<Token>>> {
    prompts.iter().map(|prompt| prompt.tokenize(engine, to, job)).collect()
}

impl PromptInput {
    /// The prompt if it is one text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.0[..] {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The prompt as it would be written, with the special tokens among its tokens.
    pub(crate) fn written(&self, engine: &Engine) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Tokens(tokens) => engine.detokenize_with(tokens, true),
            Piece::Chat(prompt) => prompt.text().unwrap_or_default().to_owned(),
        };
        self.0.iter().map(text).collect()
    }

    fn tokenize(&self, engine: &Engine, to: Use, job: &Job) -> ApiResult<Vec<Token>> {
        let go_on = || job.goes_on();
        if let [Piece::Text(text)] = &self.0[..] {
            let text = Prompt::Text(text.clone());
            return Ok(match to {
                Use::Continue => engine.tokenize_prompt(&text, go_on)?,
                Use::Embed => engine.tokenize_to_embed(&text, go_on)?,
            });
        }
        let mut all = Vec::new();
        for (index, piece) in self.0.iter().enumerate() {
            job.check()?;
            match piece {
                Piece::Text(text) if index == 0 => all.extend(engine.tokenize_prompt(&text.clone().into(), go_on)?),
                Piece::Text(text) => all.extend(engine.tokenize_while(text, false, true, go_on)?),
                Piece::Tokens(tokens) => all.extend(tokens),
                Piece::Chat(prompt) => all.extend(engine.tokenize_prompt(prompt, go_on)?),
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shape(value: Value) -> (Vec<PromptInput>, bool) {
        read("prompt", &value).unwrap()
    }

    #[test]
    fn every_shape_is_read() {
        let text = |text: &str| PromptInput(vec![Piece::Text(text.into())]);
        let mixed = PromptInput(vec![Piece::Tokens(vec![1, 2]), Piece::Text("a".into()), Piece::Tokens(vec![3])]);
        assert_eq!(shape(json!("a")), (vec![text("a")], false));
        assert_eq!(shape(json!(["a", "b"])), (vec![text("a"), text("b")], true));
        assert_eq!(shape(json!([1, 2])), (vec![PromptInput(vec![Piece::Tokens(vec![1, 2])])], false));
        assert_eq!(shape(json!([1, 2, "a", 3])).0, vec![mixed]);
        assert_eq!(shape(json!([[1], "a", {"prompt_string": "b"}])).0.len(), 3);
    }

    #[test]
    fn what_is_none_is_refused_by_its_place() {
        let bad = [
            (json!({}), "prompt.prompt_string"),
            (json!([]), "prompt"),
            (json!([1, -2]), "prompt[1]"),
            (json!([1, 4e10]), "prompt[1]"),
            (json!([1, true]), "prompt[1]"),
            (json!([["a"], [1, {}]]), "prompt[1][1]"),
            (json!([true]), "prompt[0]"),
            (json!(7), "prompt"),
        ];
        for (value, param) in bad {
            assert_eq!(read("prompt", &value).unwrap_err().json()["error"]["param"], param, "{value}");
        }
    }
}
