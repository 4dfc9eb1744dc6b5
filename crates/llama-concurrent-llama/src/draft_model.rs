//! A smaller model that guesses what a larger one will write.

use std::sync::Arc;

use llama_concurrent_scheduler::{CallError, DraftCall, DraftPart, Drafted, Row, Sampled, SeqKey};
use llama_concurrent_types::{
    EngineConfig, Error, ErrorKind, MemoryStats, PoolShape, Result, TokenLogprobs, TokenTable,
};

use super::{
    context::{Context, Output},
    model::Model,
    sampler::{Candidates, Sampler},
    threadpool::Threads,
};

/// Vocabularies of models of one family are padded to different sizes.
const MOST_PADDING: usize = 1024;

/// A draft model with a KV stream for each slot of the pool.
pub(super) struct DraftModel {
    context: Context,
    /// Tokens of the vocabulary of the model that it drafts for.
    n_vocab: usize,
    logits: Vec<f32>,
    candidates: Candidates,
}

impl DraftModel {
    pub(super) fn new(
        model: Arc<Model>,
        n_vocab: usize,
        pool: PoolShape,
        config: &EngineConfig,
        threads: &Threads,
    ) -> Result<Self> {
        let slots = pool.contexts * pool.slots;
        let shape = PoolShape { contexts: 1, slots, n_batch: pool.n_batch.max(slots), ..pool };
        let context = Context::new(model, shape, config, threads, Output::Logits)?;
        Ok(Self { context, n_vocab, logits: Vec::new(), candidates: Candidates::new() })
    }

    pub(super) fn memory(&self) -> MemoryStats {
        self.context.memory()
    }

    /// Reads the tokens of each part and guesses on. `sampler` gives a copy of the sampler of a sequence.
    pub(super) fn draft(
        &mut self,
        call: &DraftCall,
        sampler: impl Fn(SeqKey) -> Option<Sampler>,
        threads: &Threads,
    ) -> Result<Vec<Vec<Drafted>>, CallError> {
        let mut writers = Vec::with_capacity(call.parts.len());
        for part in &call.parts {
            self.context.truncate(part.seat, part.keep);
            let sampler = (part.n > 0).then(|| sampler(part.key)).flatten();
            writers.push(Writer { part, sampler, likely: 1.0, guesses: Vec::new() });
        }
        // Texts of one length are read in one call; llama.cpp would split others.
        let is_even = call.parts.windows(2).all(|pair| pair[0].tokens.len() == pair[1].tokens.len());
        if is_even {
            self.read(&mut writers, threads)?;
        } else {
            for writer in &mut writers {
                self.read(std::slice::from_mut(writer), threads)?;
            }
        }
        loop {
            let mut going_on: Vec<&mut Writer> = writers.iter_mut().filter(|writer| writer.goes_on()).collect();
            let rows: Vec<Row> = going_on.iter().filter_map(|writer| writer.next_row()).collect();
            if rows.is_empty() {
                break;
            }
            self.context.decode(&rows, threads)?;
            for (index, writer) in going_on.iter_mut().enumerate() {
                self.guess(index, writer)?;
            }
        }
        Ok(writers.into_iter().map(|writer| writer.guesses).collect())
    }

    /// Computes the tokens of some parts, and guesses what follows.
    fn read(&mut self, writers: &mut [Writer<'_>], threads: &Threads) -> Result<(), CallError> {
        let of = |writer: &Writer<'_>| {
            let &DraftPart { key, seat, keep, ref tokens, .. } = writer.part;
            let last = tokens.len() - 1;
            let wanted = writer.sampler.is_some();
            let row = move |(i, &token): (usize, &_)| Row {
                seq: seat,
                token,
                pos: keep + i,
                sample: (wanted && i == last).then_some(key),
                score: None,
            };
            tokens.iter().enumerate().map(row).collect::<Vec<Row>>()
        };
        let rows: Vec<Row> = writers.iter().flat_map(of).collect();
        for chunk in rows.chunks(self.context.n_batch()) {
            self.context.decode(chunk, threads)?;
            for (index, row) in chunk.iter().enumerate().filter(|(_, row)| row.sample.is_some()) {
                if let Some(writer) = writers.iter_mut().find(|writer| writer.part.seat == row.seq) {
                    self.guess(index, writer)?;
                }
            }
        }
        Ok(())
    }

    /// Chooses behind a row of the last call as the sampler of the sequence would.
    fn guess(&mut self, index: usize, writer: &mut Writer<'_>) -> Result<(), CallError> {
        let found = self.context.logits(index).ok_or_else(|| CallError { message: "gave no logits".into() })?;
        self.logits.clear();
        self.logits.extend(found.iter().take(self.n_vocab));
        self.logits.resize(self.n_vocab, f32::NEG_INFINITY);
        let Some(sampler) = &mut writer.sampler else { return Ok(()) };
        match sampler.sample(&mut self.logits, &mut self.candidates) {
            Sampled::Token { token, last, .. } => {
                // Among those that bias and constraint leave.
                let chance = TokenLogprobs::of(&self.logits, token, 0).logprob.exp();
                writer.likely *= f64::from(chance);
                writer.guesses.push(Drafted { token, chance });
                if last {
                    writer.sampler = None;
                }
            }
            // What it cannot go on with, the sequence will find out by itself.
            Sampled::Complete | Sampled::Impossible(_) => writer.sampler = None,
        }
        Ok(())
    }
}

/// A sequence while guesses are made for it.
struct Writer<'a> {
    part: &'a DraftPart,
    /// `None`: nothing more is guessed.
    sampler: Option<Sampler>,
    /// How likely all guesses so far are right, by the draft model.
    likely: f64,
    guesses: Vec<Drafted>,
}

impl Writer<'_> {
    fn goes_on(&self) -> bool {
        let n = self.guesses.len();
        self.sampler.is_some() && n > 0 && n < self.part.n && self.likely >= self.part.least
    }

    /// The row of its last guess.
    fn next_row(&self) -> Option<Row> {
        let &DraftPart { key, seat, keep, ref tokens, .. } = self.part;
        let last = self.guesses.last()?;
        let pos = keep + tokens.len() + self.guesses.len() - 1;
        Some(Row { seq: seat, token: last.token, pos, sample: Some(key), score: None })
    }
}

/// Whether a model can draft for one with this vocabulary.
///
/// # Errors
/// Why it cannot.
pub fn check_draft_model(model: &Model, table: &TokenTable) -> Result<()> {
    let refuse =
        |why: String| Err(Error::new(ErrorKind::InvalidConfig, format!("the draft model cannot be used: {why}")));
    if model.is_encoder() || !model.has_plain_kv() {
        return refuse("it generates nothing, or its state cannot be cut; use a model with a plain KV cache".into());
    }
    let own = model.table();
    if own.len().abs_diff(table.len()) > MOST_PADDING {
        return refuse(format!(
            "its vocabulary has {} tokens, that of the model has {}; use a smaller model of the same family",
            own.len(),
            table.len()
        ));
    }
    let same = own.len().min(table.len());
    let differs = (0..same as i32).find(|&token| own.text(token, true) != table.text(token, true));
    match differs {
        Some(token) => refuse(format!(
            "token {token} is {:?} in its vocabulary, and {:?} in that of the model; use a smaller model of the same family",
            String::from_utf8_lossy(own.text(token, true)),
            String::from_utf8_lossy(table.text(token, true))
        )),
        None => Ok(()),
    }
}
