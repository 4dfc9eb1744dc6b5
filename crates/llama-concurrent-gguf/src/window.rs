//! Layers with a sliding window, as the models in `src/models/` of the pinned llama.cpp find them.

use super::error::Problem;
use super::header::Header;
use super::value::Value;

/// Layers that attend to the last tokens only, and whose KV cache holds little more than those.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlidingWindow {
    /// Tokens that such a layer attends to.
    pub tokens: u32,
    /// The share of a token's keys and values that lies in such layers, 0 to 1.
    pub share: f64,
}

/// How many tokens llama.cpp rounds the cache of a window up to.
const PADDING: usize = 256;

impl SlidingWindow {
    /// Tokens of a slot of `n_ctx` whose keys and values are kept, in the mean of all layers; those with the window also
    /// hold the `n_batch` tokens of one call.
    pub fn mean_tokens(&self, n_ctx: usize, n_batch: usize) -> f64 {
        let windowed = (self.tokens as usize).saturating_add(n_batch).min(n_ctx).next_multiple_of(PADDING).min(n_ctx);
        windowed as f64 * self.share + n_ctx as f64 * (1.0 - self.share)
    }
}

/// An architecture whose files need not say which layers these are.
struct Default {
    name: &'static str,
    /// Of so many layers in a row all but one have the window.
    period: u32,
    /// Whether the one is the first of them and not the last.
    dense_first: bool,
    /// Tokens of the window where the file does not say.
    tokens: u32,
}

const fn of(name: &'static str, period: u32, dense_first: bool, tokens: u32) -> Default {
    Default { name, period, dense_first, tokens }
}

const DEFAULTS: [Default; 16] = [
    of("afmoe", 4, false, 0),
    of("cohere2", 4, false, 0),
    of("cohere2moe", 4, true, 0),
    of("exaone-moe", 4, false, 128),
    of("exaone4", 4, false, 0),
    of("gemma2", 2, false, 4096),
    of("gemma3", 6, false, 0),
    of("gemma3n", 5, false, 0),
    of("gpt-oss", 2, false, 0),
    of("laguna", 4, true, 0),
    of("llama4", 4, false, 8192),
    of("mellum", 4, false, 0),
    of("muse-glimmer", 4, false, 0),
    of("olmo2", 4, false, 0),
    of("plamo3", 8, false, 0),
    of("smallthinker", 4, true, 0),
];

/// The window of a model whose layers have so many heads of keys and values.
pub(super) fn find(header: &Header, name: &str, heads_kv: &[u32]) -> Result<Option<SlidingWindow>, Problem> {
    let default = DEFAULTS.iter().find(|default| default.name == name);
    let given = header.u32(&format!("{name}.attention.sliding_window"))?;
    let Some(tokens) = given.or(default.map(|default| default.tokens)).filter(|&tokens| tokens > 0) else {
        return Ok(None);
    };
    let period = |period: u32| -> Vec<bool> {
        let dense = if default.is_some_and(|default| default.dense_first) { 0 } else { period.saturating_sub(1) };
        (0..heads_kv.len() as u32).map(|layer| period == 0 || layer % period != dense).collect()
    };
    let windowed = match (header.get(&format!("{name}.attention.sliding_window_pattern")), default) {
        (Some(Value::Array(pattern)), _) => {
            let is_set = |layer| pattern.bytes_at(layer).is_some_and(|bytes| bytes.iter().any(|&byte| byte != 0));
            (0..heads_kv.len()).map(is_set).collect()
        }
        (Some(Value::U32(given)), Some(_)) => period(*given),
        (_, Some(default)) => period(default.period),
        // Files of other architectures carry a window that llama.cpp does not read.
        (_, None) => return Ok(None),
    };
    let sum = |wanted: &dyn Fn(usize) -> bool| -> u64 {
        (0..heads_kv.len()).filter(|&layer| wanted(layer)).map(|layer| u64::from(heads_kv[layer])).sum()
    };
    let (inside, all) = (sum(&|layer| windowed[layer]), sum(&|_| true));
    Ok((inside > 0).then(|| SlidingWindow { tokens, share: inside as f64 / all as f64 }))
}
