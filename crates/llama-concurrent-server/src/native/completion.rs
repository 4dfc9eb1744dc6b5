//! `/completion`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use llama_concurrent::{Delta, Engine, Finish, FinishReason, SamplingParams, Token};
use serde_json::{Value, json};

use crate::{
    active_generation::{self, ActiveGeneration, collect_all},
    answer,
    app::App,
    body::Body,
    clients::Client,
    error::{ApiError, ApiResult, json_text},
    fields::Fields,
    guard::Peer,
    logprobs::{Entries, Probabilities, Scored},
    params::{RequestOptions, settings},
    progress::PromptProgress,
    prompt,
    sse::{self, Format},
    start::{Ready, prepare, start},
};

/// The maximum number of response fields that a client may select.
const MOST_WANTED: usize = 256;

pub(crate) async fn completion(
    State(app): State<Arc<App>>,
    client: Client,
    peer: Peer,
    body: Body,
) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        let options = RequestOptions::read(fields, app, job)?;
        let wanted = wanted(fields)?;
        let (prompts, is_list) = prompt::read("prompt", fields.required("prompt")?)?;
        Ok((prepare(app, &prompts, options, job)?, wanted, is_list))
    });
    let (ready, wanted, is_list) = read.await?;
    respond(&app, client, &peer, ready, wanted, is_list).await
}

/// Names of `response_fields`.
pub(super) fn wanted(fields: &Fields<'_>) -> ApiResult<Vec<String>> {
    let wanted = fields.texts("response_fields")?.unwrap_or_default();
    if wanted.len() > MOST_WANTED {
        return Err(ApiError::field("response_fields", format!("has more than {MOST_WANTED} entries")));
    }
    Ok(wanted)
}

/// Generates; a list of prompts is answered with a list.
pub(super) async fn respond(
    app: &Arc<App>,
    client: Client,
    peer: &Peer,
    ready: Ready,
    wanted: Vec<String>,
    is_list: bool,
) -> ApiResult<Response> {
    let all = start(app, client, &ready).await?;
    let count = all.len();
    let (engine, model) = (app.engine.clone(), app.config.model_name.clone());
    let answers = Answers { engine, model, options: ready.options, wanted };
    if answers.options.stream {
        let keep_alive = app.config.limits.keep_alive;
        return Ok(sse::respond(all, Chunks { answers, parts: vec![Progress::default(); count] }, keep_alive, peer));
    }
    let outcomes = collect_all(all).await?;
    let load = active_generation::load(&outcomes);
    let single = !is_list && outcomes.len() == 1;
    let write = move |_: &_| {
        let mut out = Vec::new();
        for (index, outcome) in outcomes.into_iter().enumerate() {
            out.push(if index == 0 { b'[' } else { b',' });
            let part = Progress {
                n: outcome.tokens.len(),
                newline: outcome.text.contains('\n'),
                scored: outcome.logprobs,
                ..Progress::default()
            };
            let tokens = if answers.options.return_tokens { outcome.tokens } else { Vec::new() };
            answers.last(&mut out, index, &outcome.running, outcome.text, tokens, &part, &outcome.finish);
        }
        if single {
            out.remove(0);
        } else {
            out.push(b']');
        }
        Ok(out)
    };
    Ok(json_text(app.lanes.run(load, write).await?))
}

/// How the responses of one request are written.
struct Answers {
    engine: Engine,
    model: String,
    options: RequestOptions,
    /// `response_fields`: only these, and nested ones by their path.
    wanted: Vec<String>,
}

/// The progress of a generation.
#[derive(Clone, Default)]
struct Progress {
    n: usize,
    newline: bool,
    /// Tokens whose text is incomplete.
    pending: Vec<Token>,
    scored: Vec<Scored>,
}

impl Answers {
    /// Writes the whole response, or the last event of a stream.
    #[allow(clippy::too_many_arguments)]
    fn last(
        &self,
        out: &mut Vec<u8>,
        index: usize,
        running: &ActiveGeneration,
        text: String,
        tokens: Vec<Token>,
        part: &Progress,
        finish: &Finish,
    ) {
        let (in_flight, timings) = (&running.in_flight, &finish.timings);
        let silent = self.options.silent;
        let stop_type = match (finish.reason, finish.stop) {
            (FinishReason::Stop, Some(_)) => "word",
            (FinishReason::Stop, None) => "eos",
            _ => "limit",
        };
        let stopping_word = finish.stop.and_then(|stop| in_flight.params.stop.get(stop));
        let mut generation = settings(&in_flight.params, self.options.stream);
        generation["logit_bias"] = biases(&self.engine, &in_flight.params);
        generation["n_ctx"] = self.engine.n_ctx().into();
        generation["model"] = self.model.as_str().into();
        let answer = json!({
            "index": index,
            "content": if silent { String::new() } else { text },
            "tokens": if silent { Vec::new() } else { tokens },
            "id_slot": in_flight.slot(),
            "stop": true,
            "model": self.model,
            "tokens_predicted": if silent { 0 } else { timings.n_output_tokens },
            "tokens_evaluated": timings.n_prompt_tokens,
            "generation_settings": generation,
            "prompt": self.engine.detokenize_with(&running.prompt, true),
            "has_new_line": part.newline,
            "truncated": finish.reason == FinishReason::Length
                && timings.n_prompt_tokens + timings.n_output_tokens >= self.engine.n_ctx(),
            "stop_type": stop_type,
            "stopping_word": stopping_word.map_or("", String::as_str),
            "tokens_cached": timings.n_cached_tokens,
            "timings": answer::timings(timings),
        });
        let is_wanted = self.wanted.is_empty() || self.wanted.iter().any(|name| name == PROBABILITIES);
        let scored = (is_wanted && !silent && !part.scored.is_empty()).then_some(&part.scored);
        sse::json(out, &if self.wanted.is_empty() { answer } else { pick(&answer, &self.wanted) });
        if let Some(scored) = scored {
            // After the last field of the object, if it has one.
            out.pop();
            if out.last() != Some(&b'{') {
                out.push(b',');
            }
            out.extend_from_slice(format!("\"{PROBABILITIES}\":").as_bytes());
            self.scores(scored, out);
            out.push(b'}');
        }
    }
}

const PROBABILITIES: &str = "completion_probabilities";

/// Selects fields; `a/b` is `b` of `a`, under its path as in llama-server. Missing fields are omitted.
fn pick(answer: &Value, wanted: &[String]) -> Value {
    let found = wanted.iter().filter_map(|path| {
        let value = path.split('/').try_fold(answer, |value, name| value.get(name))?;
        Some((path.clone(), value.clone()))
    });
    Value::Object(found.collect())
}

impl Answers {
    /// Log probabilities, or probabilities where those of the draw are asked for.
    fn scores(&self, scored: &[Scored], out: &mut Vec<u8>) {
        match self.options.params.post_sampling_probs {
            true => sse::json(out, &Probabilities(&self.engine, scored)),
            false => sse::json(out, &Entries(&self.engine, scored)),
        }
    }
}

fn biases(engine: &Engine, params: &SamplingParams) -> Value {
    let ends: &[Token] = if params.ignore_eos { engine.token_table().end_of_generation() } else { &[] };
    let ends = ends.iter().map(|token| (*token, f32::NEG_INFINITY));
    // JSON has no infinity: the bias of a forbidden token is null.
    let all = params.logit_bias.iter().copied().chain(ends);
    all.map(|(token, bias)| json!({"token": token, "bias": bias})).collect()
}

struct Chunks {
    answers: Answers,
    parts: Vec<Progress>,
}

impl Format for Chunks {
    fn wants_progress(&self) -> bool {
        self.answers.options.return_progress
    }

    fn progress(&mut self, index: usize, progress: &PromptProgress, out: &mut Vec<u8>) {
        let mut event = json!({
            "index": index,
            "content": "",
            "tokens": [],
            "stop": false,
            "id_slot": -1,
            "tokens_predicted": 0,
            "tokens_evaluated": progress.total,
            "prompt_progress": progress,
        });
        if self.answers.options.timings_per_token {
            event["timings"] = answer::timings(&progress.timings());
        }
        sse::data(out, &event);
    }

    fn delta(&mut self, index: usize, running: &ActiveGeneration, delta: Delta, out: &mut Vec<u8>) {
        let part = &mut self.parts[index];
        part.n += usize::from(delta.token.is_some());
        part.pending.extend(delta.token);
        part.scored.extend(delta.token.zip(delta.logprobs.map(|found| *found)));
        part.newline |= delta.text.contains('\n');
        if delta.text.is_empty() || self.answers.options.silent {
            return;
        }
        let (in_flight, tokens, scored) =
            (&running.in_flight, std::mem::take(&mut part.pending), std::mem::take(&mut part.scored));
        let mut write = |text: &str| out.extend_from_slice(text.as_bytes());
        write("data: {\"index\":");
        write(&index.to_string());
        write(",\"content\":");
        sse::json(out, &delta.text);
        out.extend_from_slice(b",\"tokens\":");
        sse::json(out, &tokens);
        out.extend_from_slice(b",\"stop\":false");
        let counts = [
            ("id_slot", in_flight.slot()),
            ("tokens_predicted", part.n as i64),
            ("tokens_evaluated", in_flight.n_prompt as i64),
        ];
        for (name, count) in counts {
            out.extend_from_slice(format!(",\"{name}\":{count}").as_bytes());
        }
        if !scored.is_empty() {
            out.extend_from_slice(b",\"completion_probabilities\":");
            self.answers.scores(&scored, out);
        }
        if self.answers.options.timings_per_token {
            out.extend_from_slice(b",\"timings\":");
            sse::json(out, &answer::timings(&running.timings()));
        }
        out.extend_from_slice(b"}\n\n");
    }

    fn end(&mut self, index: usize, running: &ActiveGeneration, finish: &Finish, out: &mut Vec<u8>) {
        let part = std::mem::take(&mut self.parts[index]);
        let tokens = part.pending.clone();
        out.extend_from_slice(b"data: ");
        self.answers.last(out, index, running, String::new(), tokens, &part, finish);
        out.extend_from_slice(b"\n\n");
    }
}
