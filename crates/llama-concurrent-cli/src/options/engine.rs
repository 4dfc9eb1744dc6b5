//! Which model, and how the engine is set up for it.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use llama_concurrent::{EngineConfig, KvType, PackCache, Strategy};

use super::{PlacementOptions, whole};

#[derive(Args)]
#[command(next_help_heading = "Engine")]
pub struct EngineOptions {
    /// GGUF file of the model [default: LLAMA_CONCURRENT_MODEL, else the demo model]
    #[arg(short, long, value_name = "FILE")]
    pub model: Option<PathBuf>,

    /// How requests share the machine: one after the other, one token each in turn, or decoded together
    #[arg(long, value_name = "NAME", default_value_t = Strategy::Auto, value_parser = strategies())]
    pub strategy: Strategy,

    /// Requests that run at once [default: 16 for each worker, fewer where their KV would not fit in memory]
    #[arg(long, alias = "parallel", value_name = "N", allow_negative_numbers = true, value_parser = whole::<usize>)]
    pub slots: Option<usize>,

    /// Tokens of prompt and output that one slot holds [default: as trained, at most 2048]
    #[arg(long, value_name = "TOKENS", allow_negative_numbers = true, value_parser = whole::<usize>)]
    pub n_ctx: Option<usize>,

    /// Element type of the KV cache; q8_0 takes about half the memory
    #[arg(long, alias = "cache-type-k", value_name = "TYPE", default_value_t = KvType::default(), value_parser = kv_types())]
    pub kv_type: KvType,

    /// Compute threads [default: the physical cores that this process may use]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<usize>)]
    pub threads: Option<usize>,

    /// Prefill time between two tokens of a running text at most: smaller is smoother, with later first tokens
    #[arg(long, value_name = "MS", default_value_t = default_max_stall(), allow_negative_numbers = true,
        value_parser = whole::<u64>)]
    pub max_stall_ms: u64,

    /// The same tokens whoever else is running; slower where the kernels do not compute the whole model
    #[arg(long)]
    pub reproducible: bool,

    /// Read the model into memory instead of mapping the file
    #[arg(long)]
    pub no_mmap: bool,

    /// No flash attention: prompts beside running texts are computed faster, many short texts slower
    #[arg(long)]
    pub no_flash_attn: bool,

    /// Keep KV of all tokens in layers with a sliding window too: more memory, and beginnings of prompts stay shared
    #[arg(long)]
    pub swa_full: bool,

    /// Kernels of this program where the CPU has what they need, or only those of ggml
    #[arg(long, value_name = "WHICH", default_value = "auto", value_parser = ["auto", "off"])]
    pub kernels: String,

    /// Keep weights as the kernels pack them, beside the model or in this folder: later starts map them [default: pack
    /// with each start]
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, require_equals = true)]
    pub pack_cache: Option<Option<PathBuf>>,

    /// Do not repack weights for this CPU: less memory, slower from about four requests at once
    #[arg(long)]
    pub no_repack: bool,

    /// Render chats with this template instead of the model's own: Jinja source, or a name such as chatml
    #[arg(long, value_name = "TEMPLATE", allow_hyphen_values = true, conflicts_with = "chat_template_file")]
    pub chat_template: Option<String>,

    /// Render chats with the template in this file
    #[arg(long, value_name = "FILE", value_parser = content)]
    pub chat_template_file: Option<String>,

    /// Variables of the chat template, as JSON, such as '{"enable_thinking": false}'
    #[arg(long, value_name = "JSON", value_parser = object)]
    pub chat_template_kwargs: Option<serde_json::Map<String, serde_json::Value>>,

    #[command(flatten)]
    pub placement: PlacementOptions,
}

impl EngineOptions {
    pub fn config(&self) -> EngineConfig {
        self.placement.apply(EngineConfig {
            strategy: self.strategy,
            slots: self.slots,
            n_ctx: self.n_ctx,
            type_k: self.kv_type,
            type_v: self.kv_type,
            threads: self.threads,
            max_stall: Duration::from_millis(self.max_stall_ms),
            reproducible: self.reproducible,
            mmap: !self.no_mmap,
            repack: !self.no_repack,
            kernels: self.kernels != "off",
            pack_cache: self.pack_cache.clone().map(|folder| match folder {
                Some(folder) => PackCache::Folder(folder),
                None => PackCache::BesideModel,
            }),
            flash_attn: !self.no_flash_attn,
            swa_full: self.swa_full,
            chat_template: self.chat_template_file.clone().or_else(|| self.chat_template.clone()),
            chat_template_kwargs: self.chat_template_kwargs.clone().unwrap_or_default(),
            ..EngineConfig::default()
        })
    }
}

/// What a file holds.
fn content(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("it cannot be read: {error}"))
}

fn object(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("it is no JSON object: {error}"))
}

fn strategies() -> impl TypedValueParser<Value = Strategy> {
    PossibleValuesParser::new(Strategy::ALL.map(Strategy::as_str)).try_map(|name| name.parse::<Strategy>())
}

fn kv_types() -> impl TypedValueParser<Value = KvType> {
    PossibleValuesParser::new(KvType::ALL.map(KvType::as_str)).try_map(|name| name.parse::<KvType>())
}

fn default_max_stall() -> u64 {
    EngineConfig::default().max_stall.as_millis() as u64
}
