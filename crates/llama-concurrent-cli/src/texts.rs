//! `embed`, `rerank` and `score`: what a model makes of texts without continuing them.

use std::{
    fs,
    io::{Write, stdout},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use clap::{ArgGroup, Args};
use llama_concurrent::{Completion, EmbedOptions, Embedding, Engine, Pooling, Rank, Request, Score};
use serde_json::{Value, json};

use crate::{
    console,
    failure::{Failure, is_bad_input},
    interrupt::Interrupts,
    model,
    options::EngineOptions,
    prompt_file,
};

/// With more texts than this there is a bar.
const FEW: usize = 16;

const EMBED_EXAMPLES: &str = "\
Examples:
  llama-concurrent embed -m encoder.gguf -p 'A fox' -p 'A boat'
  llama-concurrent embed -m encoder.gguf --texts-file texts.txt -o vectors.npy

Each text is one line, in the order of the texts: {index, embedding, n_prompt_tokens}, or {index, error}.
With --pooling none, embedding is a list of the vectors of all tokens. An .npy file has a row of floats for each text.";

#[derive(Args)]
#[command(after_help = EMBED_EXAMPLES, group(ArgGroup::new("input").required(true).args(["texts", "texts_file"])))]
pub struct EmbedArgs {
    /// Text; may be repeated
    #[arg(short = 'p', long = "text", value_name = "TEXT", allow_hyphen_values = true)]
    texts: Vec<String>,

    /// File of texts, one per line; '-' is stdin. In a .jsonl file each line is a JSON string or {"text": "..."}
    #[arg(long, value_name = "FILE")]
    texts_file: Option<PathBuf>,

    /// Write a file instead of printing: numbers for NumPy if its name ends in .npy, otherwise JSON lines
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// How the vectors of a text's tokens become one: mean, cls or last; none gives all of them [default: what the model's file says]
    #[arg(long, value_name = "HOW", value_parser = Pooling::of_vectors)]
    pooling: Option<Pooling>,

    /// Leave vectors as long as they are, instead of scaling them to length 1
    #[arg(long)]
    no_normalize: bool,

    #[command(flatten)]
    engine: EngineOptions,
}

const RERANK_EXAMPLES: &str = "\
Examples:
  llama-concurrent rerank -m reranker.gguf -q 'What does a fox eat?' --documents-file documents.txt --top-n 3

Each document is one line, the best first: {index, score, text}. What a score means is the model's own affair.
A document that cannot be ranked comes last, as {index, error}.";

#[derive(Args)]
#[command(after_help = RERANK_EXAMPLES, group(ArgGroup::new("input").required(true).args(["documents", "documents_file"])))]
pub struct RerankArgs {
    /// Query
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    query: String,

    /// Document; may be repeated
    #[arg(short, long = "document", value_name = "TEXT", allow_hyphen_values = true)]
    documents: Vec<String>,

    /// File of documents, one per line; '-' is stdin. In a .jsonl file each line is a JSON string or {"text": "..."}
    #[arg(long, value_name = "FILE")]
    documents_file: Option<PathBuf>,

    /// Print so many of the best
    #[arg(long, value_name = "N")]
    top_n: Option<usize>,

    #[command(flatten)]
    engine: EngineOptions,
}

const SCORE_EXAMPLES: &str = "\
Examples:
  llama-concurrent score -m model.gguf -p 'The sky is' --continuation ' blue.' --continuation ' green.'

Each continuation is one line, in their order: {index, logprob, is_greedy, tokens, logprobs}, or {index, error}.
logprob is the natural logarithm of its probability.";

#[derive(Args)]
#[command(after_help = SCORE_EXAMPLES, group(ArgGroup::new("input").required(true).args(["continuations", "continuations_file"])))]
pub struct ScoreArgs {
    /// Text before the continuations; it may be empty
    #[arg(short = 'p', long, value_name = "TEXT", allow_hyphen_values = true)]
    text: String,

    /// Continuation, with the space that it begins with; may be repeated
    #[arg(long = "continuation", value_name = "TEXT", allow_hyphen_values = true)]
    continuations: Vec<String>,

    /// File of continuations, one per line; '-' is stdin. In a .jsonl file each line is a JSON string or {"text": "..."}
    #[arg(long, value_name = "FILE")]
    continuations_file: Option<PathBuf>,

    #[command(flatten)]
    engine: EngineOptions,
}

pub fn embed(args: &EmbedArgs) -> Result<(), Failure> {
    let texts = texts(&args.texts, args.texts_file.as_deref())?;
    let is_npy = args.output.as_ref().is_some_and(|path| path.extension().is_some_and(|extension| extension == "npy"));
    if is_npy && args.pooling == Some(Pooling::None) {
        let message =
            "an .npy file has one vector for each text, but --pooling none gives several; print them, or pool them";
        return Err(Failure::BadInput(message.into()));
    }
    let engine = load(&args.engine)?;
    let options = EmbedOptions::default().pooling(args.pooling).normalize(!args.no_normalize);
    let requests = texts.into_iter().map(|text| Ok(Request::new(text).embed(options.clone())));
    let results = run(&engine, requests.collect())?.into_iter();
    let results: Vec<_> = results.map(|result| result.and_then(Completion::into_embedding)).collect();
    let failed = worst(&results);
    if is_npy {
        // Rows of a matrix have no place for errors.
        let vectors: Vec<Embedding> = results.into_iter().collect::<Result<_, _>>()?;
        return write(args.output.as_deref(), &npy(&vectors));
    }
    let line = |(index, result): (usize, &llama_concurrent::Result<Embedding>)| match result {
        Ok(one) if args.pooling == Some(Pooling::None) => {
            let vectors: Vec<&[f32]> = one.vectors().collect();
            json!({"index": index, "embedding": vectors, "n_prompt_tokens": one.n_prompt_tokens})
        }
        Ok(one) => json!({"index": index, "embedding": one.values, "n_prompt_tokens": one.n_prompt_tokens}),
        Err(error) => json!({"index": index, "error": error.to_string()}),
    };
    write(args.output.as_deref(), lines(results.iter().enumerate().map(line)).as_bytes())?;
    failed
}

pub fn rerank(args: &RerankArgs) -> Result<(), Failure> {
    let documents = texts(&args.documents, args.documents_file.as_deref())?;
    let engine = load(&args.engine)?;
    let options = EmbedOptions::default().pooling(Pooling::Rank);
    let prompts = engine.rank_prompts(&args.query, &documents)?.into_iter();
    let requests = prompts.map(|prompt| prompt.map(|tokens| Request::new(tokens).embed(options.clone())));
    let results = run(&engine, requests.collect())?.into_iter();
    let results: Vec<_> =
        results.map(|result| result.and_then(Completion::into_embedding).and_then(Rank::of)).collect();
    let score = |index: usize| results[index].as_ref().map_or(f32::NEG_INFINITY, |rank| rank.score);
    let mut order: Vec<usize> = (0..results.len()).collect();
    order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
    let line = |index: usize| match &results[index] {
        Ok(rank) => json!({"index": index, "score": rank.score, "text": documents[index]}),
        Err(error) => json!({"index": index, "error": error.to_string()}),
    };
    write(None, lines(order.into_iter().take(args.top_n.unwrap_or(usize::MAX)).map(line)).as_bytes())?;
    worst(&results)
}

pub fn score(args: &ScoreArgs) -> Result<(), Failure> {
    let continuations = texts(&args.continuations, args.continuations_file.as_deref())?;
    let engine = load(&args.engine)?;
    let results = run(&engine, engine.score_requests(args.text.as_str(), continuations)?)?;
    let line = |(index, result): (usize, &llama_concurrent::Result<Completion>)| match result {
        Ok(done) => {
            let score = Score::of(done.prompt.to_vec());
            let tokens: Vec<_> = score.tokens.iter().map(|one| one.token).collect();
            let each = score.tokens.iter().map(|one| one.logprobs.as_ref().map(|found| found.logprob));
            let each: Vec<_> = each.collect();
            let Score { logprob, is_greedy, .. } = score;
            json!({"index": index, "logprob": logprob, "is_greedy": is_greedy, "tokens": tokens, "logprobs": each})
        }
        Err(error) => json!({"index": index, "error": error.to_string()}),
    };
    write(None, lines(results.iter().enumerate().map(line)).as_bytes())?;
    worst(&results)
}

fn texts(given: &[String], file: Option<&Path>) -> Result<Vec<String>, Failure> {
    file.map_or_else(|| Ok(given.to_vec()), |path| prompt_file::read(path, "text"))
}

fn load(options: &EngineOptions) -> Result<Engine, Failure> {
    model::load(&model::locate(options.model.as_deref())?, options.config())
}

/// Runs the requests under a bar; one that could not be made keeps its error. Ctrl-C ends them.
fn run(
    engine: &Engine,
    requests: Vec<llama_concurrent::Result<Request>>,
) -> Result<Vec<llama_concurrent::Result<Completion>>, Failure> {
    let bar = (requests.len() > FEW)
        .then(|| console::progress_bar(requests.len() as u64, "{pos}/{len} {wide_bar:.cyan/dim} {elapsed} {eta}"));
    let interrupts = Interrupts::listen();
    let done = engine.try_run_all(requests, |done, _| {
        bar.iter().for_each(|bar| bar.set_position(done as u64));
        if interrupts.pressed() { ControlFlow::Break(Failure::Interrupted) } else { ControlFlow::Continue(()) }
    });
    bar.iter().for_each(|bar| bar.finish_and_clear());
    match done {
        ControlFlow::Continue(done) => Ok(done),
        ControlFlow::Break(failure) => Err(failure),
    }
}

/// The exit code: 2 if a text was refused as invalid, else 1 if one failed.
fn worst<T>(results: &[llama_concurrent::Result<T>]) -> Result<(), Failure> {
    let errors = || results.iter().filter_map(|result| result.as_ref().err());
    match (errors().any(|error| is_bad_input(error.kind())), errors().next()) {
        (true, _) => Err(Failure::Reported(2)),
        (false, Some(_)) => Err(Failure::Reported(1)),
        (false, None) => Ok(()),
    }
}

fn lines(values: impl Iterator<Item = Value>) -> String {
    values.map(|value| format!("{value}\n")).collect()
}

fn write(output: Option<&Path>, bytes: &[u8]) -> Result<(), Failure> {
    match output {
        None => Ok(stdout().lock().write_all(bytes)?),
        Some(path) => {
            fs::write(path, bytes).map_err(|error| Failure::Failed(format!("cannot write {}: {error}", path.display())))
        }
    }
}

/// NumPy's format, version 1.0: a matrix of little-endian floats.
fn npy(vectors: &[Embedding]) -> Vec<u8> {
    let width = vectors.first().map_or(0, |vector| vector.values.len());
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {width}), }}", vectors.len()).into_bytes();
    // What stands before the numbers is a multiple of 64 bytes, and ends with a line.
    header.resize((10 + header.len() + 1).next_multiple_of(64) - 11, b' ');
    header.push(b'\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header);
    file.extend(vectors.iter().flat_map(|vector| &vector.values).flat_map(|value| value.to_le_bytes()));
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npy_files_begin_as_numpy_wants_it() {
        let file = npy(&[Embedding::new(vec![1.0, 2.0, 3.0], 4), Embedding::new(vec![4.0, 5.0, 6.0], 4)]);
        assert_eq!(&file[..8], b"\x93NUMPY\x01\x00");
        let length = usize::from(u16::from_le_bytes([file[8], file[9]]));
        assert_eq!((10 + length) % 64, 0);
        let header = std::str::from_utf8(&file[10..10 + length]).unwrap();
        assert!(
            header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }") && header.ends_with('\n')
        );
        assert_eq!(file.len(), 10 + length + 24);
        assert_eq!(&file[10 + length..][..8], [1f32.to_le_bytes(), 2f32.to_le_bytes()].concat());
    }
}
