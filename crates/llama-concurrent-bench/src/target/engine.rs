//! An engine in this process.

use std::sync::{Arc, Mutex, PoisonError};

use llama_concurrent::{Engine, ErrorKind, Event, Finish, FinishReason, Flow, Priority, Request, SamplingParams};

use super::{Observer, Target};
use crate::{record::Outcome, script::RequestSpec};

/// An engine in this process. Times are taken on its own thread, as its callbacks see them.
pub struct EngineTarget {
    name: String,
    engine: Engine,
}

impl EngineTarget {
    /// An engine under a name for reports.
    pub fn new(name: impl Into<String>, engine: Engine) -> Self {
        Self { name: name.into(), engine }
    }
}

impl Target for EngineTarget {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&self, request: &RequestSpec, observer: Observer) {
        let params = SamplingParams::default().max_tokens(request.max_tokens).ignore_eos(true);
        let priority = if request.batch { Priority::Batch } else { Priority::Interactive };
        let submitted = Request::new(request.prompt.as_str()).params(params).priority(priority);
        // Shared, because a refused request drops its sink, and the refusal must still be recorded.
        let observer = Arc::new(Mutex::new(Some(observer)));
        let shared = observer.clone();
        let sink = move |event: Event| {
            let mut observer = shared.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Event::Delta(delta) if delta.token.is_some() => {
                    if let Some(observer) = observer.as_mut() {
                        observer.piece();
                    }
                }
                Event::Finished(finish) => {
                    if let Some(observer) = observer.take() {
                        end(observer, &finish);
                    }
                }
                _ => {}
            }
            Flow::Continue
        };
        if let Err(error) = self.engine.submit_to(&submitted, Box::new(sink))
            && let Some(observer) = observer.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            observer.end(match error.kind() {
                ErrorKind::Overloaded { .. } => Outcome::Overloaded,
                _ => Outcome::Failed(error.to_string()),
            });
        }
    }
}

fn end(mut observer: Observer, finish: &Finish) {
    let timings = &finish.timings;
    observer.tokens(timings.n_prompt_tokens, timings.n_cached_tokens, timings.n_output_tokens);
    observer.drafts(timings.n_drafted_tokens, timings.n_accepted_tokens);
    observer.queue(timings.queue);
    observer.end(match (finish.reason, &finish.error) {
        (FinishReason::Stop | FinishReason::Length, _) => Outcome::Done,
        (_, Some(error)) => Outcome::Failed(error.to_string()),
        (reason, None) => Outcome::Failed(reason.as_str().to_owned()),
    });
}
