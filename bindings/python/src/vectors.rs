//! Vectors of texts, ranks of documents, and scores of continuations.

use llama_concurrent::{Completion, EmbedOptions, Pooling, Priority, Prompt, Rank, Request, Score, Token};
use pyo3::{IntoPyObjectExt, prelude::*, types::PyBytes};

use crate::{
    convert::Asked,
    engine::{self, NativeEngine},
    errors,
};

/// A result, or the exception in its place.
fn place<'py, T: IntoPyObject<'py>>(py: Python<'py>, result: llama_concurrent::Result<T>) -> PyResult<Py<PyAny>> {
    match result {
        Ok(value) => value.into_py_any(py),
        Err(error) => Ok(errors::exception(&error).into_value(py).into_any()),
    }
}

/// For each text the bytes of its floats, the number of its vectors and of its tokens; or an exception.
#[pyfunction]
pub fn embed(
    py: Python<'_>,
    engine: &NativeEngine,
    texts: Vec<Asked>,
    pooling: Option<&str>,
    normalize: bool,
    tick: Option<Py<PyAny>>,
) -> PyResult<Vec<Py<PyAny>>> {
    let engine = engine.get(py)?;
    let pooling = pooling.map(Pooling::of_vectors).transpose().map_err(|error| errors::exception(&error))?;
    let options = EmbedOptions::default().pooling(pooling).normalize(normalize);
    let request = |text: Asked| Ok(Request::new(text.prompt()).embed(options.clone()).priority(Priority::Batch));
    let results = engine::run_all(py, &engine, texts.into_iter().map(request).collect(), tick.as_ref())?;
    let read = |completion: Completion| {
        let embedding = completion.into_embedding()?;
        let bytes: Vec<u8> = embedding.values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        Ok((PyBytes::new(py, &bytes), embedding.n_vectors, embedding.n_prompt_tokens))
    };
    results.into_iter().map(|result| place(py, result.and_then(read))).collect()
}

/// For each document its score and the number of tokens of query and document; or an exception.
#[pyfunction]
pub fn rank(
    py: Python<'_>,
    engine: &NativeEngine,
    query: &str,
    documents: Vec<String>,
    tick: Option<Py<PyAny>>,
) -> PyResult<Vec<Py<PyAny>>> {
    let engine = engine.get(py)?;
    let prompts = py.detach(|| engine.rank_prompts(query, documents)).map_err(|error| errors::exception(&error))?;
    let options = EmbedOptions::default().pooling(Pooling::Rank);
    let request = |prompt: llama_concurrent::Result<Vec<Token>>| {
        prompt.map(|tokens| Request::new(Prompt::Tokens(tokens)).embed(options.clone()).priority(Priority::Batch))
    };
    let results = engine::run_all(py, &engine, prompts.into_iter().map(request).collect(), tick.as_ref())?;
    let read = |completion: Completion| {
        let rank = Rank::of(completion.into_embedding()?)?;
        Ok((rank.score, rank.n_prompt_tokens))
    };
    results.into_iter().map(|result| place(py, result.and_then(read))).collect()
}

/// For each continuation its log probability, whether it is greedy, its tokens and their log probabilities; or an exception.
#[pyfunction]
pub fn score(
    py: Python<'_>,
    engine: &NativeEngine,
    text: Asked,
    continuations: Vec<Asked>,
    tick: Option<Py<PyAny>>,
) -> PyResult<Vec<Py<PyAny>>> {
    let engine = engine.get(py)?;
    let (text, continuations): (Prompt, Vec<Prompt>) =
        (text.prompt(), continuations.into_iter().map(Asked::prompt).collect());
    let requests = py.detach(|| engine.score_requests(text, continuations));
    let requests = requests.map_err(|error| errors::exception(&error))?;
    let results = engine::run_all(py, &engine, requests, tick.as_ref())?;
    let read = |completion: Completion| {
        let score = Score::of(completion.prompt.into());
        let tokens: Vec<Token> = score.tokens.iter().map(|one| one.token).collect();
        let each = score.tokens.iter().map(|one| one.logprobs.as_ref().map(|found| found.logprob));
        Ok((score.logprob, score.is_greedy, tokens, each.collect::<Vec<Option<f32>>>()))
    };
    results.into_iter().map(|result| place(py, result.and_then(read))).collect()
}
