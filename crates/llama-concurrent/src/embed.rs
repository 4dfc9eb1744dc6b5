//! Texts as vectors, and documents in the order in which they answer a query.

use crossbeam_channel::{bounded, unbounded};
use llama_concurrent_types::{EmbedOptions, Embedding, Error, ErrorKind, Pooling, Prompt, Result};

use crate::{engine::Engine, ticket::Ticket};

/// How well a document answers a query.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rank {
    /// What the model's rank head says: higher is better, and what it means is the model's own affair. Of a head with several
    /// labels, that of the first.
    pub score: f32,
    /// Tokens of query and document together, special ones included.
    pub n_prompt_tokens: usize,
}

impl Engine {
    /// Embeds a text and waits for its vector. A model that generates does so between the steps of its generations, in parts
    /// that keep to half of [`max_stall`](llama_concurrent_types::EngineConfig::max_stall); the first one creates a context of
    /// one slot for them. An encoder computes whole texts, those of all callers together.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), and what failed on the way.
    pub fn embed(&self, text: impl Into<Prompt>, options: &EmbedOptions) -> Result<Embedding> {
        let (sender, result) = bounded(1);
        self.embed_then(&text.into(), options, move |embedding| {
            let _ = sender.send(embedding);
        })?;
        result.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Embeds any number of texts and returns their vectors in the order of the texts. It waits for room where other callers
    /// take it. `progress` is called on this thread with the number of finished texts and the number of all; what still
    /// waits when it panics is cancelled.
    ///
    /// A text that cannot be embedded has its error in its place and does not disturb the others.
    pub fn embed_batch<P: Into<Prompt>>(
        &self,
        texts: impl IntoIterator<Item = P>,
        options: &EmbedOptions,
        progress: impl FnMut(usize, usize),
    ) -> Vec<Result<Embedding>> {
        self.embed_all(texts.into_iter().map(|text| Ok(text.into())).collect(), options, progress)
    }

    fn embed_all(
        &self,
        texts: Vec<Result<Prompt>>,
        options: &EmbedOptions,
        mut progress: impl FnMut(usize, usize),
    ) -> Vec<Result<Embedding>> {
        let total = texts.len();
        let mut results: Vec<Option<Result<Embedding>>> = texts.iter().map(|_| None).collect();
        let (sender, ended_ones) = unbounded();
        let mut tickets = CancelOnDrop(Vec::with_capacity(total));
        let mut done = 0;
        let mut take = |index: usize, result| {
            let place: &mut Option<_> = &mut results[index];
            *place = Some(result);
            done += 1;
            progress(done, total);
        };
        for (index, text) in texts.iter().enumerate() {
            let submit = || {
                let sender = sender.clone();
                self.embed_then(text.as_ref().map_err(Error::clone)?, options, move |result| {
                    let _ = sender.send((index, result));
                })
            };
            let collect = || {
                ended_ones.try_iter().for_each(|(index, result)| take(index, result));
                true
            };
            match self.submit_when_free(submit, collect) {
                Some(Ok(ticket)) => tickets.0.push(ticket),
                Some(Err(error)) => take(index, Err(error)),
                None => {}
            }
        }
        drop(sender);
        ended_ones.iter().for_each(|(index, result)| take(index, result));
        tickets.0.clear();
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(ended()))).collect()
    }

    /// How well each document answers a query, in the order of the documents, by a model with a rank head.
    ///
    /// A document that cannot be ranked has its error in its place and does not disturb the others.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if the model has no rank head.
    pub fn rerank<D: AsRef<str>>(
        &self,
        query: &str,
        documents: impl IntoIterator<Item = D>,
    ) -> Result<Vec<Result<Rank>>> {
        self.check_rank_head()?;
        let prompts = documents.into_iter().map(|document| self.rank_prompt(query, document.as_ref())).collect();
        let ranks = self.embed_all(prompts, &EmbedOptions::default().pooling(Pooling::Rank), |_, _| ());
        Ok(ranks.into_iter().map(|rank| rank.and_then(Rank::of)).collect())
    }
}

impl Rank {
    /// What was embedded with [`Pooling::Rank`].
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if there is no score.
    pub fn of(embedding: Embedding) -> Result<Self> {
        let no_score = || Error::new(ErrorKind::Internal, "the model's rank head gave no score");
        let score = *embedding.values.first().ok_or_else(no_score)?;
        Ok(Self { score, n_prompt_tokens: embedding.n_prompt_tokens })
    }
}

/// Cancels what is left if a progress callback panics.
struct CancelOnDrop(Vec<Ticket>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.iter().for_each(Ticket::cancel);
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::ShuttingDown, "the engine ended before the text was embedded")
}
