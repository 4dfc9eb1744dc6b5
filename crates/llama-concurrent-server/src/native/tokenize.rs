//! `/tokenize`, `/detokenize` and `/apply-template` of llama-server, with vLLM's names of the first two beside its own, and
//! vLLM's `/tokenizer_info`.

use std::{convert::Infallible, sync::Arc};

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use llama_concurrent::{Engine, Token};
use serde_json::{Value, json};
use tokio::task::yield_now;

use crate::{
    app::App,
    body::Body as Request,
    chat,
    error::{ApiResult, json_text},
    fields::wrong,
    prompt, sse,
};

pub(crate) async fn tokenize(State(app): State<Arc<App>>, body: Request) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        let is_vllm = fields.get("content").is_none() && fields.get("prompt").is_some();
        let name = if is_vllm { "prompt" } else { "content" };
        let text = match fields.get(name) {
            Some(Value::String(text)) => text.as_str(),
            Some(other) => return Err(wrong(name, "a string", other)),
            None => "",
        };
        // vLLM adds special tokens unless told otherwise.
        let add_special = fields.boolean("add_special")?.or(fields.boolean("add_special_tokens")?);
        let add_special = add_special.unwrap_or(is_vllm);
        let parse_special = fields.boolean("parse_special")?.unwrap_or(true);
        let with_pieces = fields.boolean("with_pieces")?.unwrap_or(false);
        let tokens = app.engine.tokenize_while(text, add_special, parse_special, || job.goes_on())?;
        Ok(Tokens { engine: app.engine.clone(), tokens, with_pieces, counted: is_vllm, written: 0 })
    });
    // While the client keeps reading, hyper takes more than a megabyte before it yields.
    let parts = stream::iter(read.await?).then(|part| async {
        yield_now().await;
        Ok::<_, Infallible>(part)
    });
    Ok(json_text(Body::from_stream(parts)))
}

/// A response with tokens, in chunks: as a whole it may be many times as long as the text.
struct Tokens {
    engine: Engine,
    tokens: Vec<Token>,
    with_pieces: bool,
    /// Whether their number follows.
    counted: bool,
    written: usize,
}

/// Tokens per chunk of some ten thousand bytes.
const AT_ONCE: usize = 1024;

impl Iterator for Tokens {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.written > self.tokens.len() {
            return None;
        }
        let mut out = Vec::new();
        if self.written == 0 {
            out.extend_from_slice(b"{\"tokens\":[");
        }
        let next = self.tokens.len().min(self.written + AT_ONCE);
        for &token in &self.tokens[self.written..next] {
            self.write(token, &mut out);
        }
        self.written = next;
        if next == self.tokens.len() {
            if out.last() == Some(&b',') {
                out.pop();
            }
            out.push(b']');
            if self.counted {
                let (count, most) = (self.tokens.len(), self.engine.n_ctx());
                out.extend_from_slice(format!(",\"count\":{count},\"max_model_len\":{most}").as_bytes());
            }
            out.push(b'}');
            self.written += 1;
        }
        Some(out.into())
    }
}

impl Tokens {
    /// Writes a token followed by a comma.
    fn write(&self, token: Token, out: &mut Vec<u8>) {
        if !self.with_pieces {
            out.extend_from_slice(format!("{token},").as_bytes());
            return;
        }
        out.extend_from_slice(format!("{{\"id\":{token},\"piece\":").as_bytes());
        let piece = self.engine.token_bytes(token, true);
        match std::str::from_utf8(piece) {
            Ok(text) => sse::json(out, &text),
            // A part of a character.
            Err(_) => sse::json(out, &piece),
        }
        out.extend_from_slice(b"},");
    }
}

pub(crate) async fn detokenize(State(app): State<Arc<App>>, body: Request) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        let tokens = prompt::tokens("tokens", fields.list("tokens")?.map_or(&[][..], Vec::as_slice))?;
        job.check()?;
        let text = json!(app.engine.detokenize_with(&tokens, true));
        Ok(format!("{{\"content\":{text},\"prompt\":{text}}}"))
    });
    Ok(json_text(read.await?))
}

pub(crate) async fn tokenizer_info(State(app): State<Arc<App>>) -> Response {
    let (bos, eos) = app.engine.bos_and_eos_text();
    let text = |text: String| if text.is_empty() { Value::Null } else { text.into() };
    let info = json!({
        "bos_token": text(bos),
        "eos_token": text(eos),
        "model_max_length": app.engine.n_ctx(),
        "chat_template": app.engine.chat_template(),
    });
    json_text(info.to_string())
}

pub(crate) async fn apply_template(State(app): State<Arc<App>>, body: Request) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        let prompt = chat::render(app, fields, job)?;
        Ok(json!({ "prompt": prompt.text() }).to_string())
    });
    Ok(json_text(read.await?))
}
