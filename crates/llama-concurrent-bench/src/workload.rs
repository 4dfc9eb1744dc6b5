//! The named workloads. Each file defines one: who asks what, how long, and why these lengths.
//!
//! Lengths are in tokens. Prompt lengths follow log-normal distributions, as those of published chat traces do: most are
//! short, and a few are many times longer. The figures here are our own round ones, chosen to resemble such traces; they are
//! cut off on both sides so that every request fits into a slot.

mod agents;
mod chat;
mod mixed_stall;
mod offline;
mod rag;
mod shared_prefix;
mod strategies;

use std::{fmt, str::FromStr, time::Duration};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp, LogNormal};

use crate::{
    corpus::Writer,
    script::{RequestSpec, Script, Turn},
};

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Short questions and answers of 64 to 256 tokens.
    Chat,
    /// Prompts of 600 to 1500 tokens that share a system prompt.
    Rag,
    /// Steady streams, and long prompts that arrive beside them.
    MixedStall,
    /// All at once, with one long beginning in common.
    SharedPrefix,
    /// Hundreds of prompts where only the throughput counts.
    Offline,
    /// Several turns each, whose prompt grows, with pauses between them.
    Agents,
    /// Short prompts and answers of 64 tokens, for a sweep over numbers of users.
    Strategies,
}

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 7] = [
        Workload::Chat,
        Workload::Rag,
        Workload::MixedStall,
        Workload::SharedPrefix,
        Workload::Offline,
        Workload::Agents,
        Workload::Strategies,
    ];

    /// As on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Workload::Chat => "chat",
            Workload::Rag => "rag",
            Workload::MixedStall => "mixed-stall",
            Workload::SharedPrefix => "shared-prefix",
            Workload::Offline => "offline",
            Workload::Agents => "agents",
            Workload::Strategies => "strategies",
        }
    }

    /// What it is, in a sentence.
    pub fn about(self) -> &'static str {
        match self {
            Workload::Chat => chat::ABOUT,
            Workload::Rag => rag::ABOUT,
            Workload::MixedStall => mixed_stall::ABOUT,
            Workload::SharedPrefix => shared_prefix::ABOUT,
            Workload::Offline => offline::ABOUT,
            Workload::Agents => agents::ABOUT,
            Workload::Strategies => strategies::ABOUT,
        }
    }

    /// Tokens that a slot must hold for every request of it, with lengths times `scale`.
    pub fn n_ctx(self, scale: f64) -> usize {
        let n_ctx = match self {
            Workload::Chat => chat::N_CTX,
            Workload::Rag => rag::N_CTX,
            Workload::MixedStall => mixed_stall::N_CTX,
            Workload::SharedPrefix => shared_prefix::N_CTX,
            Workload::Offline => offline::N_CTX,
            Workload::Agents => agents::N_CTX,
            Workload::Strategies => strategies::N_CTX,
        };
        // A passage ends with a whole sentence, however short it was to be.
        let sentences = if scale < 1.0 { SENTENCES } else { 0 };
        (n_ctx as f64 * scale).ceil() as usize + sentences
    }

    /// Writes the scripts of a load; `count` counts tokens as the model does.
    pub fn scripts(self, load: &Load, count: &dyn Fn(&str) -> usize) -> Vec<Script> {
        let author = Author { load, count };
        let mut scripts = match self {
            Workload::Chat => chat::scripts(&author),
            Workload::Rag => rag::scripts(&author),
            Workload::MixedStall => mixed_stall::scripts(&author),
            Workload::SharedPrefix => shared_prefix::scripts(&author),
            Workload::Offline => offline::scripts(&author),
            Workload::Agents => agents::scripts(&author),
            Workload::Strategies => strategies::scripts(&author),
        };
        if let Some(rate) = load.rate {
            arrive(&mut scripts, rate, load.seed);
        }
        scripts
    }
}

/// Tokens of a few sentences.
const SENTENCES: usize = 160;

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Workload::ALL.into_iter().find(|workload| workload.as_str() == name).ok_or_else(|| {
            let names = Workload::ALL.map(Workload::as_str).join(", ");
            format!("there is no workload {name:?}; there are {names}")
        })
    }
}

/// How much of a workload.
#[derive(Clone, Debug)]
pub struct Load {
    /// Users at once.
    pub users: usize,
    /// Requests of each user, one after the other; in an open loop each comes by itself.
    pub requests: usize,
    /// Open loop: users arrive at random at this average rate per second, independently of earlier ones.
    pub rate: Option<f64>,
    /// Decides all texts, lengths and times.
    pub seed: u64,
    /// Times the lengths of prompts and answers; 1 is what the workloads describe. For small models and quick looks.
    pub scale: f64,
}

impl Load {
    /// The load of a repeat, counted from 0: as much, of other texts.
    pub fn repeated(&self, repeat: usize) -> Self {
        Self { seed: self.seed.wrapping_add(repeat as u64), ..self.clone() }
    }
}

impl Default for Load {
    fn default() -> Self {
        Self { users: 8, requests: 4, rate: None, seed: 1, scale: 1.0 }
    }
}

/// Spreads users over time as a Poisson process does; each request of a user becomes an arrival of its own where it does
/// not build on the one before.
fn arrive(scripts: &mut Vec<Script>, rate: f64, seed: u64) {
    let alone = |script: &Script| script.turns.iter().all(|turn| turn.think == Duration::ZERO);
    let mut arrivals = Vec::new();
    for script in scripts.drain(..) {
        if alone(&script) {
            // Arrivals do not wait.
            let one = |turn| Script { turns: vec![turn], background: false, ..script.clone() };
            arrivals.extend(script.turns.clone().into_iter().map(one));
        } else {
            arrivals.push(script);
        }
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x0041_5252_4956_4531);
    let mut now = 0.0;
    for script in &mut arrivals {
        if let Ok(gap) = Exp::new(rate) {
            now += gap.sample(&mut random);
        }
        script.arrival = Duration::from_secs_f64(now);
    }
    *scripts = arrivals;
}

/// What the workloads write with.
struct Author<'a> {
    load: &'a Load,
    count: &'a dyn Fn(&str) -> usize,
}

impl Author<'_> {
    /// A writer for one request of one user.
    fn writer(&self, user: usize, request: usize) -> Writer {
        let mix = |value: u64| value.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        Writer::new(mix(mix(mix(self.load.seed) ^ user as u64) ^ request as u64))
    }

    fn passage(&self, writer: &mut Writer, tokens: usize) -> String {
        let scaled = (tokens as f64 * self.load.scale).round() as usize;
        writer.passage(scaled.max(1), self.count)
    }

    /// The first words of a text, at most `tokens` tokens of them, at least one word.
    fn cut(&self, text: String, tokens: usize) -> String {
        let limit = ((tokens as f64 * self.load.scale).round() as usize).max(1);
        let ends = text.match_indices(' ').map(|(end, _)| end);
        let end = ends.enumerate().take_while(|(i, end)| *i == 0 || (self.count)(&text[..*end]) <= limit).last();
        end.map_or(text.clone(), |(_, end)| text[..end].to_owned())
    }

    /// A turn at once after the answer before it.
    fn turn(&self, prompt: String, max_tokens: usize) -> Turn {
        let max_tokens = ((max_tokens as f64 * self.load.scale).round() as u32).max(1);
        Turn { think: Duration::ZERO, request: RequestSpec { prompt, max_tokens, batch: false } }
    }

    /// A script for each user, whose turns do not build on each other.
    fn users(&self, kind: &'static str, turn: impl Fn(&mut Writer) -> Turn) -> Vec<Script> {
        let script = |user| {
            let turns = (0..self.load.requests).map(|request| turn(&mut self.writer(user, request))).collect();
            Script { kind, arrival: Duration::ZERO, turns, background: false }
        };
        (0..self.load.users).map(script).collect()
    }
}

/// A length around `median`, half of them within a factor of about `exp(0.67 sigma)`, cut off at the ends of `range`.
fn log_normal(writer: &mut Writer, median: f64, sigma: f64, range: std::ops::RangeInclusive<usize>) -> usize {
    let drawn = LogNormal::new(median.ln(), sigma).map_or(median, |lengths| lengths.sample(writer.random()));
    (drawn.round() as usize).clamp(*range.start(), *range.end())
}

/// A length from a range, each as likely as the others.
fn uniform(writer: &mut Writer, range: std::ops::RangeInclusive<usize>) -> usize {
    writer.random().random_range(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> usize {
        text.split_whitespace().count()
    }

    #[test]
    fn a_seed_is_a_load() {
        for workload in Workload::ALL {
            let load = Load::default();
            let scripts = workload.scripts(&load, &words);
            assert_eq!(scripts, workload.scripts(&load, &words), "{workload}");
            assert_ne!(scripts, workload.scripts(&Load { seed: 2, ..load }, &words), "{workload}");
            assert_eq!(workload.as_str().parse::<Workload>(), Ok(workload));
        }
        assert!("caht".parse::<Workload>().unwrap_err().contains("mixed-stall"));
    }

    #[test]
    fn every_request_fits_into_a_slot() {
        // Words have one to three tokens each with most tokenizers.
        let tokens = |text: &str| words(text) * 2;
        for (workload, scale) in Workload::ALL.into_iter().flat_map(|workload| [(workload, 1.0), (workload, 0.1)]) {
            let load = Load { users: 20, requests: 10, scale, ..Load::default() };
            for turn in workload.scripts(&load, &tokens).iter().flat_map(|script| &script.turns) {
                let tokens = tokens(&turn.request.prompt) + turn.request.max_tokens as usize;
                assert!(tokens <= workload.n_ctx(scale), "{workload}, {scale}: {tokens}");
            }
        }
    }

    #[test]
    fn open_loops_arrive_at_their_rate() {
        let load = Load { users: 500, requests: 2, rate: Some(4.0), ..Load::default() };
        let scripts = Workload::Chat.scripts(&load, &words);
        assert_eq!(scripts.len(), 1000);
        let last = scripts.last().expect("some").arrival.as_secs_f64();
        assert!((220.0..280.0).contains(&last), "{last}");
        assert!(scripts.windows(2).all(|pair| pair[0].arrival <= pair[1].arrival));
    }
}
