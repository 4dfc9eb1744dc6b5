//! `inspect`: validates a model file, and prints its contents and memory needs.

use std::{
    io::{Write, stdout},
    path::PathBuf,
};

use clap::{Args, value_parser};
use comfy_table::{Table, presets};
use llama_concurrent::{EngineConfig, KvType};
use llama_concurrent_bench::numbers::{bytes, count};
use llama_concurrent_gguf::{Header, ModelSummary, TensorInfo, Value};
use llama_concurrent_llama::planned_products;
use llama_concurrent_types::{DEFAULT_N_CTX, DEFAULT_SLOTS, describe_products, share_of_kernels};
use serde_json::{Value as Json, json};

use crate::{console::print_json, failure::Failure, products::Products};

const EXAMPLES: &str = "\
Examples:
  llama-concurrent inspect model.gguf --slots 32 --n-ctx 4096
  llama-concurrent inspect model.gguf --metadata | less
  llama-concurrent inspect model.gguf --json | jq .model.kv_bytes_per_token

Nothing is loaded: only the file's header is read. Exit code 2 if the model could not be run.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct InspectArgs {
    /// GGUF file; the first one of a split model
    file: PathBuf,

    /// Print JSON instead of text
    #[arg(long)]
    json: bool,

    /// Print the metadata
    #[arg(long)]
    metadata: bool,

    /// Print the tensors
    #[arg(long)]
    tensors: bool,

    /// Estimate the memory for this many slots
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SLOTS as u64, value_parser = value_parser!(u64).range(1..))]
    slots: u64,

    /// Context length per slot for the estimate [default: as trained, at most 2048]
    #[arg(long, value_name = "TOKENS", value_parser = value_parser!(u64).range(1..))]
    n_ctx: Option<u64>,
}

pub fn inspect(args: &InspectArgs) -> Result<(), Failure> {
    let header = Header::read(&args.file)?;
    // A file that cannot run, such as a bare vocabulary, can still be inspected.
    let model = header.check_model();
    let estimate = model.as_ref().ok().map(|model| Estimate::new(args, model));
    if args.json {
        let error = model.as_ref().err().map(ToString::to_string);
        print_json(&json!({
            "file": args.file.display().to_string(),
            "version": header.version(),
            "file_bytes": header.file_len(),
            "error": error,
            "model": model.as_ref().ok().map(model_json),
            "memory": estimate.as_ref().map(Estimate::json),
            "metadata": args.metadata.then(|| metadata_json(&header)),
            "tensors": args.tensors.then(|| header.tensors().iter().map(tensor_json).collect::<Vec<_>>()),
        }))?;
    } else {
        print_text(args, &header, model.as_ref().ok(), estimate.as_ref())?;
    }
    model?;
    Ok(())
}

fn print_text(
    args: &InspectArgs,
    header: &Header,
    model: Option<&ModelSummary>,
    estimate: Option<&Estimate>,
) -> Result<(), Failure> {
    let mut out = stdout().lock();
    if let Some(model) = model {
        writeln!(out, "{model}")?;
        writeln!(
            out,
            "  kernels       {} of the products",
            describe_products(&planned_products(model, &EngineConfig::default()))
        )?;
    }
    writeln!(
        out,
        "  file          GGUF version {}, {}, {}, {} of metadata",
        header.version(),
        bytes(header.file_len() as f64),
        count(header.tensors().len(), "tensor"),
        count(header.metadata().len(), "line")
    )?;
    if let Some(estimate) = estimate {
        writeln!(out, "\n{estimate}")?;
    }
    if args.metadata {
        writeln!(out, "\n{}", metadata_table(header).trim_fmt())?;
    }
    if args.tensors {
        writeln!(out, "\n{}", tensor_table(header).trim_fmt())?;
    }
    Ok(())
}

/// The memory of a pool of this size.
struct Estimate {
    slots: u64,
    n_ctx: u64,
    weights: f64,
    kv: f64,
}

impl Estimate {
    fn new(args: &InspectArgs, model: &ModelSummary) -> Self {
        let n_ctx = args.n_ctx.unwrap_or(u64::from(model.n_ctx_train).min(DEFAULT_N_CTX as u64));
        let n_batch = EngineConfig::default().n_batch;
        let kv = model.kv_bytes_per_slot(kv_per_token(model), n_ctx as usize, n_batch) * args.slots as f64;
        Self { slots: args.slots, n_ctx, weights: model.tensor_bytes as f64, kv }
    }

    fn json(&self) -> Json {
        json!({
            "slots": self.slots,
            "n_ctx": self.n_ctx,
            "model_bytes": self.weights as u64,
            "repack_bytes_max": self.weights as u64,
            "kv_bytes": self.kv as u64,
        })
    }
}

impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "Memory for {} of {} tokens, besides compute buffers",
            count(self.slots as usize, "slot"),
            self.n_ctx
        )?;
        writeln!(f, "  weights       {}, mapped: shared, and given back under pressure", bytes(self.weights))?;
        writeln!(
            f,
            "  repacked      up to {}, depending on types and CPU; none with --no-repack",
            bytes(self.weights)
        )?;
        write!(f, "  KV cache      {} in f16", bytes(self.kv))
    }
}

fn kv_per_token(model: &ModelSummary) -> f64 {
    let f16 = KvType::F16.bytes_per_element();
    model.kv_bytes_per_token(f16, f16)
}

fn model_json(model: &ModelSummary) -> Json {
    let products = planned_products(model, &EngineConfig::default());
    json!({
        "name": model.name,
        "architecture": model.architecture,
        "file_type": model.file_type,
        "n_files": model.n_files,
        "parameters": model.parameters,
        "tensor_bytes": model.tensor_bytes,
        "n_layer": model.n_layer,
        "n_embd": model.n_embd,
        "n_head": model.n_head,
        "n_head_kv": model.n_head_kv,
        "n_expert": model.n_expert,
        "n_ctx_train": model.n_ctx_train,
        "n_vocab": model.n_vocab,
        "tokenizer": model.tokenizer,
        "has_chat_template": model.has_chat_template,
        "kv_bytes_per_token": kv_per_token(model),
        "sliding_window": model.sliding_window.map(|window| json!({"tokens": window.tokens, "kv_share": window.share})),
        "kernels_share": share_of_kernels(&products),
        "products": products.iter().map(Products::from).collect::<Vec<_>>(),
        "one_sequence": model.faults.one_sequence,
        "warnings": model.warnings,
    })
}

fn metadata_table(header: &Header) -> Table {
    let mut table = plain_table();
    for (key, value) in header.metadata() {
        table.add_row([key.escape_debug().to_string(), value.to_string()]);
    }
    table
}

fn metadata_json(header: &Header) -> Json {
    header.metadata().map(|(key, value)| (key.to_owned(), value_json(value))).collect()
}

/// Arrays, which are mostly vocabularies, are summarised.
fn value_json(value: &Value) -> Json {
    match value {
        Value::U8(v) => json!(v),
        Value::I8(v) => json!(v),
        Value::U16(v) => json!(v),
        Value::I16(v) => json!(v),
        Value::U32(v) => json!(v),
        Value::I32(v) => json!(v),
        Value::F32(v) => json!(v),
        Value::Bool(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::F64(v) => json!(v),
        Value::String(text) => json!(text),
        Value::Array(array) => json!({ "type": format!("arr[{}]", array.element_type()), "length": array.len() }),
    }
}

fn tensor_table(header: &Header) -> Table {
    let mut table = plain_table();
    for tensor in header.tensors() {
        let shape: Vec<String> = tensor.dims().iter().map(u64::to_string).collect();
        let name = tensor.name().escape_debug().to_string();
        table.add_row([name, shape.join(" x "), tensor.tensor_type().name().to_owned(), bytes(tensor.bytes() as f64)]);
    }
    table
}

fn tensor_json(tensor: &TensorInfo) -> Json {
    json!({
        "name": tensor.name(),
        "shape": tensor.dims(),
        "type": tensor.tensor_type().name(),
        "offset": tensor.offset(),
        "bytes": tensor.bytes(),
    })
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}
