//! `/completion`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use llama_concurrent::{Delta, Engine, Finish, FinishReason, Token};
use serde_json::{Value, json};

use crate::{
    answer,
    app::App,
    body::JsonBody,
    clients::Client,
    error::{ApiResult, json_response},
    fields::Fields,
    logprobs::{self, Scored},
    params::{Wish, settings},
    prompt,
    running::{Running, collect_all},
    sse::{self, Format},
    start::start,
};

pub(crate) async fn completion(
    State(app): State<Arc<App>>,
    client: Client,
    JsonBody(body): JsonBody,
) -> ApiResult<Response> {
    let fields = Fields::body(&body)?;
    let wish = Wish::read(&fields, &app.config, &app.engine)?;
    let wanted = fields.texts("response_fields")?.unwrap_or_default();
    let (prompts, is_list) = prompt::read("prompt", fields.required("prompt")?)?;
    let all = start(&app, client, prompts, &wish).await?;
    let count = all.len();
    let answers = Answers { engine: app.engine.clone(), model: app.config.model_name.clone(), wish, wanted };
    if answers.wish.stream {
        let keep_alive = app.config.limits.keep_alive;
        return Ok(sse::respond(all, Chunks { answers, parts: vec![Part::default(); count] }, keep_alive));
    }
    let outcomes = collect_all(all).await?;
    let mut results: Vec<Value> = outcomes
        .into_iter()
        .enumerate()
        .map(|(index, outcome)| {
            let part = Part {
                n: outcome.tokens.len(),
                newline: outcome.text.contains('\n'),
                scored: outcome.logprobs,
                ..Part::default()
            };
            let tokens = if answers.wish.return_tokens { outcome.tokens } else { Vec::new() };
            answers.last(index, &outcome.running, outcome.text, tokens, &part, &outcome.finish)
        })
        .collect();
    let single = !is_list && results.len() == 1;
    let result = if single { results.remove(0) } else { Value::Array(results) };
    Ok(json_response(StatusCode::OK, &result))
}

/// How answers of one request are written.
struct Answers {
    engine: Engine,
    model: String,
    wish: Wish,
    /// `response_fields`: only these, and nested ones by their path.
    wanted: Vec<String>,
}

/// What a generation came to so far.
#[derive(Clone, Default)]
struct Part {
    n: usize,
    newline: bool,
    /// Tokens whose text is not complete yet.
    pending: Vec<Token>,
    scored: Vec<Scored>,
}

impl Answers {
    fn probabilities(&self, scored: &[Scored]) -> Value {
        scored.iter().map(|one| logprobs::entry(&self.engine, one)).collect()
    }

    /// The whole answer, or the last event of a stream.
    fn last(
        &self,
        index: usize,
        running: &Running,
        text: String,
        tokens: Vec<Token>,
        part: &Part,
        finish: &Finish,
    ) -> Value {
        let (live, timings) = (&running.live, &finish.timings);
        let silent = self.wish.silent;
        let stop_type = match (finish.reason, finish.stop) {
            (FinishReason::Stop, Some(_)) => "word",
            (FinishReason::Stop, None) => "eos",
            _ => "limit",
        };
        let stopping_word = finish.stop.and_then(|stop| live.params.stop.get(stop));
        let mut generation = settings(&live.params, self.wish.stream);
        generation["n_ctx"] = self.engine.n_ctx().into();
        generation["model"] = self.model.as_str().into();
        let mut answer = json!({
            "index": index,
            "content": if silent { String::new() } else { text },
            "tokens": if silent { Vec::new() } else { tokens },
            "id_slot": live.slot(),
            "stop": true,
            "model": self.model,
            "tokens_predicted": if silent { 0 } else { timings.n_output_tokens },
            "tokens_evaluated": timings.n_prompt_tokens,
            "generation_settings": generation,
            "prompt": self.engine.detokenize(&running.prompt),
            "has_new_line": part.newline,
            "truncated": finish.reason == FinishReason::Length
                && timings.n_prompt_tokens + timings.n_output_tokens >= self.engine.n_ctx(),
            "stop_type": stop_type,
            "stopping_word": stopping_word.map_or("", String::as_str),
            "tokens_cached": timings.n_cached_tokens,
            "timings": answer::timings(timings),
        });
        if !silent && !part.scored.is_empty() {
            answer["completion_probabilities"] = self.probabilities(&part.scored);
        }
        if self.wanted.is_empty() { answer } else { pick(&answer, &self.wanted) }
    }
}

/// Only the wanted fields; `a/b` is `b` of `a`, under that name. What is not there is left out.
fn pick(answer: &Value, wanted: &[String]) -> Value {
    let found = wanted.iter().filter_map(|path| {
        let value = path.split('/').try_fold(answer, |value, name| value.get(name))?;
        let name = path.rsplit('/').next().unwrap_or(path);
        Some((name.to_owned(), value.clone()))
    });
    Value::Object(found.collect())
}

struct Chunks {
    answers: Answers,
    parts: Vec<Part>,
}

impl Format for Chunks {
    fn delta(&mut self, index: usize, running: &Running, delta: Delta, out: &mut Vec<u8>) {
        let part = &mut self.parts[index];
        part.n += usize::from(delta.token.is_some());
        part.pending.extend(delta.token);
        part.scored.extend(delta.token.zip(delta.logprobs.map(|found| *found)));
        part.newline |= delta.text.contains('\n');
        if delta.text.is_empty() || self.answers.wish.silent {
            return;
        }
        let (live, tokens, scored) =
            (&running.live, std::mem::take(&mut part.pending), std::mem::take(&mut part.scored));
        let mut write = |text: &str| out.extend_from_slice(text.as_bytes());
        write("data: {\"index\":");
        write(&index.to_string());
        write(",\"content\":");
        sse::json(out, &delta.text);
        out.extend_from_slice(b",\"tokens\":");
        sse::json(out, &tokens);
        out.extend_from_slice(b",\"stop\":false");
        let counts =
            [("id_slot", live.slot()), ("tokens_predicted", part.n as i64), ("tokens_evaluated", live.n_prompt as i64)];
        for (name, count) in counts {
            out.extend_from_slice(format!(",\"{name}\":{count}").as_bytes());
        }
        if !scored.is_empty() {
            out.extend_from_slice(b",\"completion_probabilities\":");
            sse::json(out, &self.answers.probabilities(&scored));
        }
        if self.answers.wish.timings_per_token {
            let elapsed = answer::millis(live.since.elapsed());
            out.extend_from_slice(b",\"timings\":");
            sse::json(out, &json!({"predicted_n": part.n, "prompt_n": live.n_prompt, "elapsed_ms": elapsed}));
        }
        out.extend_from_slice(b"}\n\n");
    }

    fn end(&mut self, index: usize, running: &Running, finish: &Finish, out: &mut Vec<u8>) {
        let part = std::mem::take(&mut self.parts[index]);
        let tokens = part.pending.clone();
        sse::data(out, &self.answers.last(index, running, String::new(), tokens, &part, finish));
    }
}
