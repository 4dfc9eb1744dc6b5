//! Answers to chats, streamed: thoughts, content and calls instead of text.

use llama_concurrent::{Delta, Finish, ReplyEvent, ReplyForm, ReplyReader};

use crate::{
    active_generation::ActiveGeneration,
    error::ApiError,
    progress::PromptProgress,
    sse::{self, Format},
};

/// How the pieces of answers are written.
pub(crate) trait ReplyFormat: Send + Unpin + 'static {
    /// As in [`Format`].
    const CONTENT_TYPE: &'static str = sse::CONTENT_TYPE;
    /// As in [`Format`].
    const KEEP_ALIVE: &'static [u8] = sse::COMMENT;
    /// Before the first event.
    fn open(&mut self, _count: usize, _out: &mut Vec<u8>) {}
    /// As in [`Format`].
    fn wants_progress(&self) -> bool {
        false
    }
    /// As in [`Format`].
    fn progress(&mut self, _index: usize, _progress: &PromptProgress, _out: &mut Vec<u8>) {}
    /// A token came, before what it brings.
    fn running(&mut self, _index: usize, _running: &ActiveGeneration) {}
    /// A token came; its text may come later, or be none of an answer.
    fn token(&mut self, _index: usize, _delta: &mut Delta) {}
    /// An answer grew.
    fn piece(&mut self, index: usize, piece: ReplyEvent, out: &mut Vec<u8>);
    /// An answer has ended normally.
    fn end(&mut self, index: usize, ended: Ended<'_>, out: &mut Vec<u8>);
    /// An answer has failed.
    fn fail(&mut self, _index: usize, error: &ApiError, out: &mut Vec<u8>) {
        sse::data(out, &error.json());
    }
    /// After the last event.
    fn close(&mut self, _out: &mut Vec<u8>) {}
}

/// The end of an answer.
pub(crate) struct Ended<'a> {
    pub(crate) finish: &'a Finish,
    /// Whether it has calls of tools.
    pub(crate) has_calls: bool,
}

/// Reads the generations of a stream as answers.
pub(crate) struct Replies<F> {
    form: ReplyForm,
    readers: Vec<ReplyReader>,
    /// Nothing but the end is told.
    silent: bool,
    format: F,
}

impl<F: ReplyFormat> Replies<F> {
    pub(crate) fn new(form: ReplyForm, silent: bool, format: F) -> Self {
        Self { form, readers: Vec::new(), silent, format }
    }

    fn pieces(&mut self, index: usize, pieces: Vec<ReplyEvent>, out: &mut Vec<u8>) {
        if !self.silent {
            pieces.into_iter().for_each(|piece| self.format.piece(index, piece, out));
        }
    }
}

impl<F: ReplyFormat> Format for Replies<F> {
    const CONTENT_TYPE: &'static str = F::CONTENT_TYPE;
    const KEEP_ALIVE: &'static [u8] = F::KEEP_ALIVE;

    fn open(&mut self, count: usize, out: &mut Vec<u8>) {
        self.readers.resize_with(count, || self.form.reader());
        self.format.open(count, out);
    }

    fn wants_progress(&self) -> bool {
        self.format.wants_progress()
    }

    fn progress(&mut self, index: usize, progress: &PromptProgress, out: &mut Vec<u8>) {
        self.format.progress(index, progress, out);
    }

    fn delta(&mut self, index: usize, running: &ActiveGeneration, mut delta: Delta, out: &mut Vec<u8>) {
        self.format.running(index, running);
        if !self.silent {
            self.format.token(index, &mut delta);
        }
        let pieces = self.readers[index].push(&delta.text);
        self.pieces(index, pieces, out);
    }

    fn end(&mut self, index: usize, _: &ActiveGeneration, finish: &Finish, out: &mut Vec<u8>) {
        let pieces = self.readers[index].finish();
        self.pieces(index, pieces, out);
        let has_calls = self.readers[index].has_calls() && !self.silent;
        self.format.end(index, Ended { finish, has_calls }, out);
    }

    fn fail(&mut self, index: usize, error: &ApiError, out: &mut Vec<u8>) {
        self.format.fail(index, error, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.format.close(out);
    }
}
