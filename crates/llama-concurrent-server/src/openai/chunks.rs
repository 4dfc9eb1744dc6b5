//! Chunks of a streamed response. Their common parts are serialised once and copied.

use llama_concurrent::{Delta, Engine, Finish, PromptToken, ReplyEvent};
use serde::Serialize;
use serde_json::{Value, json};

use super::FINGERPRINT;
use crate::{
    active_generation::ActiveGeneration,
    answer::{self, Usage},
    app::App,
    chat::reply::{Ended, ReplyFormat},
    logprobs::{Entries, OfChat, OfText, Offset, Scored},
    params::RequestOptions,
    progress::PromptProgress,
    sse::{self, Format},
};

/// llama-server's name.
const PROGRESS: &str = "prompt_progress";

/// What chunks of both routes have.
struct Frame {
    /// An event up to its choices.
    head: Vec<u8>,
    /// Fields of the next event behind its choices.
    beside: Vec<u8>,
    /// The rest of an event.
    tail: &'static [u8],
    include_usage: bool,
    timings_per_token: bool,
    return_progress: bool,
    silent: bool,
    n: usize,
    usage: Usage,
    timings: Value,
}

impl Frame {
    fn new(prefix: &str, object: &str, app: &App, options: &RequestOptions) -> Self {
        let common = json!({
            "id": answer::id(prefix),
            "object": object,
            "created": answer::now(),
            "model": app.config.model_name,
            "system_fingerprint": FINGERPRINT,
        });
        let mut head = b"data: ".to_vec();
        sse::json(&mut head, &common);
        head.pop();
        head.extend_from_slice(b",\"choices\":[");
        Self {
            head,
            beside: Vec::new(),
            tail: if options.include_usage { b",\"usage\":null}\n\n" } else { b"}\n\n" },
            include_usage: options.include_usage,
            timings_per_token: options.timings_per_token,
            return_progress: options.return_progress,
            silent: options.silent,
            n: options.n,
            usage: Usage::default(),
            timings: Value::Null,
        }
    }

    /// Writes a chunk with one choice: `content` writes its fields behind the index, `logprobs` their value.
    fn choice(
        &mut self,
        out: &mut Vec<u8>,
        index: usize,
        content: impl FnOnce(&mut Vec<u8>),
        logprobs: impl FnOnce(&mut Vec<u8>),
        reason: Option<&str>,
    ) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":");
        sse::json(out, &index);
        out.push(b',');
        content(out);
        out.extend_from_slice(b",\"logprobs\":");
        logprobs(out);
        out.extend_from_slice(b",\"finish_reason\":");
        sse::json(out, &reason);
        out.extend_from_slice(b"}]");
        out.append(&mut self.beside);
        out.extend_from_slice(self.tail);
    }

    /// Gives the next chunk a field beside its choices.
    fn beside(&mut self, name: &str, value: &impl Serialize) {
        self.beside.extend_from_slice(format!(",\"{name}\":").as_bytes());
        sse::json(&mut self.beside, value);
    }

    /// More of a prompt is computed.
    fn progress(&mut self, progress: &PromptProgress) {
        // What a token left that had no text yet is of another choice.
        self.beside.clear();
        self.beside(PROGRESS, progress);
        if self.timings_per_token {
            self.beside("timings", &answer::timings(&progress.timings()));
        }
    }

    /// A token came.
    fn running(&mut self, running: &ActiveGeneration) {
        if self.timings_per_token && !self.silent {
            self.beside.clear();
            self.beside("timings", &answer::timings(&running.timings()));
        }
    }

    fn count(&mut self, index: usize, finish: &Finish) {
        self.usage.add(&finish.timings, index.is_multiple_of(self.n), self.silent);
        let timings = answer::timings(&finish.timings);
        self.beside.clear();
        if !self.include_usage {
            self.beside("timings", &timings);
        }
        if self.timings.is_null() {
            self.timings = timings;
        }
    }

    fn close(&self, out: &mut Vec<u8>) {
        if self.include_usage {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"],\"usage\":");
            sse::json(out, &self.usage.json());
            out.extend_from_slice(b",\"timings\":");
            sse::json(out, &self.timings);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

/// Chunks of `/v1/completions`.
pub(super) struct TextChunks {
    frame: Frame,
    special: bool,
    engine: Engine,
    /// For each prompt what its choices begin with, if anything.
    echo: Vec<String>,
    /// Whether that waits for the log probabilities of its tokens.
    score_prompt: bool,
    /// For each choice: tokens whose text is incomplete, and their offset in the output.
    scored: Vec<(Vec<Scored>, Offset)>,
}

impl TextChunks {
    pub(super) fn new(app: &App, options: &RequestOptions, echo: Vec<String>) -> Self {
        let frame = Frame::new("cmpl", "text_completion", app, options);
        let (special, score_prompt) = (options.params.special, options.score_prompt);
        Self { frame, special, engine: app.engine.clone(), echo, score_prompt, scored: Vec::new() }
    }

    fn choice(&mut self, out: &mut Vec<u8>, index: usize, text: &str, reason: Option<&str>) {
        self.choice_behind(&[], out, index, text, reason);
    }

    /// A chunk whose text begins with what these tokens of the prompt stand for.
    fn choice_behind(
        &mut self,
        prompt: &[PromptToken],
        out: &mut Vec<u8>,
        index: usize,
        text: &str,
        reason: Option<&str>,
    ) {
        let Self { frame, engine, scored, .. } = self;
        let content = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"\"text\":");
            sse::json(out, text);
        };
        let logprobs = |out: &mut Vec<u8>| match scored.get_mut(index) {
            Some((scored, offset)) if !scored.is_empty() || !prompt.is_empty() => {
                let scored = std::mem::take(scored);
                let logprobs = OfText { prompt, output: Entries(engine, &scored), start: std::mem::take(offset) };
                sse::json(out, &logprobs);
                *offset = logprobs.offsets().1;
            }
            _ => out.extend_from_slice(b"null"),
        };
        frame.choice(out, index, content, logprobs, reason);
    }
}

impl Format for TextChunks {
    fn open(&mut self, count: usize, out: &mut Vec<u8>) {
        let offset = Offset::start(self.special);
        self.scored.resize(count, (Vec::new(), offset));
        if self.score_prompt {
            return;
        }
        let echo = std::mem::take(&mut self.echo);
        for index in 0..count {
            if let Some(text) = echo.get(index / self.frame.n) {
                self.choice(out, index, text, None);
            }
        }
    }

    fn prompt(&mut self, index: usize, tokens: &[PromptToken], first: bool, out: &mut Vec<u8>) {
        self.frame.beside.clear();
        let echo = self.echo.get(index / self.frame.n).filter(|_| first).cloned();
        if let (Some(text), Some((_, offset))) = (&echo, self.scored.get_mut(index)) {
            *offset = Offset::of_prompt(self.special, &self.engine, tokens, text);
        }
        self.choice_behind(tokens, out, index, &echo.unwrap_or_default(), None);
    }

    fn wants_progress(&self) -> bool {
        self.frame.return_progress
    }

    fn progress(&mut self, index: usize, progress: &PromptProgress, out: &mut Vec<u8>) {
        self.frame.progress(progress);
        self.choice(out, index, "", None);
    }

    fn delta(&mut self, index: usize, running: &ActiveGeneration, delta: Delta, out: &mut Vec<u8>) {
        if self.frame.silent {
            return;
        }
        self.frame.running(running);
        if let (Some(token), Some(found)) = (delta.token, delta.logprobs) {
            self.scored[index].0.push((token, *found));
        }
        if !delta.text.is_empty() {
            self.choice(out, index, &delta.text, None);
        }
    }

    fn end(&mut self, index: usize, _: &ActiveGeneration, finish: &Finish, out: &mut Vec<u8>) {
        self.frame.count(index, finish);
        self.choice(out, index, "", Some(answer::finish_reason(finish, false)));
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.frame.close(out);
    }
}

/// Chunks of `/v1/chat/completions`.
pub(super) struct ChatChunks {
    frame: Frame,
    engine: Engine,
    /// For each choice: tokens that were in no chunk yet.
    scored: Vec<Vec<Scored>>,
}

impl ChatChunks {
    pub(super) fn new(app: &App, options: &RequestOptions) -> Self {
        let frame = Frame::new("chatcmpl", "chat.completion.chunk", app, options);
        Self { frame, engine: app.engine.clone(), scored: Vec::new() }
    }

    fn choice(&mut self, out: &mut Vec<u8>, index: usize, delta: &Value, reason: Option<&str>) {
        let Self { frame, engine, scored } = self;
        let content = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"\"delta\":");
            sse::json(out, delta);
        };
        let logprobs = |out: &mut Vec<u8>| match scored.get_mut(index) {
            Some(scored) if !scored.is_empty() => sse::json(out, &OfChat(Entries(engine, &std::mem::take(scored)))),
            _ => out.extend_from_slice(b"null"),
        };
        frame.choice(out, index, content, logprobs, reason);
    }
}

impl ReplyFormat for ChatChunks {
    fn open(&mut self, count: usize, out: &mut Vec<u8>) {
        self.scored.resize_with(count, Vec::new);
        (0..count).for_each(|index| self.choice(out, index, &json!({"role": "assistant", "content": null}), None));
    }

    fn wants_progress(&self) -> bool {
        self.frame.return_progress
    }

    fn progress(&mut self, index: usize, progress: &PromptProgress, out: &mut Vec<u8>) {
        self.frame.progress(progress);
        self.choice(out, index, &json!({}), None);
    }

    fn running(&mut self, _: usize, running: &ActiveGeneration) {
        self.frame.running(running);
    }

    fn token(&mut self, index: usize, delta: &mut Delta) {
        if let (Some(token), Some(found)) = (delta.token, delta.logprobs.take()) {
            self.scored[index].push((token, *found));
        }
    }

    fn piece(&mut self, index: usize, piece: ReplyEvent, out: &mut Vec<u8>) {
        let delta = match piece {
            ReplyEvent::Content(text) => json!({"content": text}),
            ReplyEvent::Reasoning(text) => json!({"reasoning_content": text}),
            ReplyEvent::CallStart { index, id, name } => {
                let function = json!({"name": name, "arguments": ""});
                json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]})
            }
            ReplyEvent::Arguments { index, json } => {
                json!({"tool_calls": [{"index": index, "function": {"arguments": json}}]})
            }
            _ => return,
        };
        self.choice(out, index, &delta, None);
    }

    fn end(&mut self, index: usize, ended: Ended<'_>, out: &mut Vec<u8>) {
        self.frame.count(index, ended.finish);
        let reason = answer::finish_reason(ended.finish, ended.has_calls);
        self.choice(out, index, &json!({}), Some(reason));
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.frame.close(out);
    }
}
