//! Texts as vectors, and documents in the order in which they answer a query.

use llama_concurrent_types::{
    Completion, EmbedOptions, Embedding, Error, ErrorKind, Pooling, Priority, Prompt, Request, Result, Token,
};

use crate::engine::Engine;

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
        self.submit(Request::new(text).embed(options.clone()))?.wait()?.into_embedding()
    }

    /// Embeds any number of texts, in the batch class, and returns their vectors in the order of the texts. `progress` is called
    /// on this thread with the number of finished texts and the number of all; a panic in it cancels the rest.
    ///
    /// A text that cannot be embedded has its error in its place and does not disturb the others.
    pub fn embed_batch<P: Into<Prompt>>(
        &self,
        texts: impl IntoIterator<Item = P>,
        options: &EmbedOptions,
        progress: impl FnMut(usize, usize),
    ) -> Vec<Result<Embedding>> {
        let request = |text| Request::new(text).embed(options.clone()).priority(Priority::Batch);
        let results = self.run_all(texts.into_iter().map(request).collect(), progress);
        results.into_iter().map(|result| result.and_then(Completion::into_embedding)).collect()
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
        let options = EmbedOptions::default().pooling(Pooling::Rank);
        let request = |tokens| Request::new(Prompt::Tokens(tokens)).embed(options.clone()).priority(Priority::Batch);
        let prompts = self.rank_prompts(query, documents)?.into_iter();
        let requests = prompts.map(|prompt| prompt.map(request)).collect();
        let rank = |completion: Completion| completion.into_embedding().and_then(Rank::of);
        Ok(self.run_each(requests, |_, _| ()).into_iter().map(|done| done.and_then(rank)).collect())
    }

    /// For each document the tokens of the prompt for which the model's rank head says how well it answers a query: by the template that its file
    /// has for that, or else the two one after the other, as its vocabulary joins texts. Special tokens that are written in
    /// them are plain text. They are for requests whose [`embed`](Request::embed) has [`Pooling::Rank`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if the model has no rank head. A document that is too long, or that the tokenizer
    /// refuses, has its error in its place.
    pub fn rank_prompts<D: AsRef<str>>(
        &self,
        query: &str,
        documents: impl IntoIterator<Item = D>,
    ) -> Result<Vec<Result<Vec<Token>>>> {
        self.check_rank_head()?;
        Ok(documents.into_iter().map(|document| self.rank_tokens(query, document.as_ref())).collect())
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
