//! A progress bar of finished requests, for many prompts on a terminal.

use std::{
    cell::Cell,
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use llama_concurrent::Engine;
use llama_concurrent_bench::numbers::rate;

use crate::console;

/// With more prompts than this there is a bar, and texts appear whole instead of growing.
const FEW: usize = 4;
const REDRAW: Duration = Duration::from_millis(100);

pub struct Bar<'a> {
    bar: Option<ProgressBar>,
    engine: &'a Engine,
    start: Instant,
    drawn: Cell<Instant>,
}

impl<'a> Bar<'a> {
    /// A bar for `total` requests to `engine`, which has no others.
    pub fn new(total: usize, engine: &'a Engine) -> Self {
        let template = "{pos}/{len} {wide_bar:.cyan/dim} {msg} {elapsed}";
        let is_shown = total > FEW && stderr().is_terminal();
        let bar = is_shown.then(|| console::progress_bar(total as u64, template));
        let start = Instant::now();
        Self { bar, engine, start, drawn: start.into() }
    }

    pub fn is_shown(&self) -> bool {
        self.bar.is_some()
    }

    /// Redraws it, at a limited rate.
    pub fn update(&self) {
        if let Some(bar) = self.bar.as_ref().filter(|_| self.drawn.get().elapsed() > REDRAW) {
            let totals = self.engine.stats().totals;
            let seconds = self.start.elapsed().as_secs_f64();
            bar.set_message(format!("{} tok/s", rate(totals.output_tokens as f64 / seconds)));
            bar.set_position(totals.requests.finished());
            self.drawn.set(Instant::now());
        }
    }

    /// Prints something above the bar.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
