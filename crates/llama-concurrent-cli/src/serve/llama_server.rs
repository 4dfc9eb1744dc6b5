//! Compatibility with llama-server's command line.

use std::ffi::OsString;

use clap::{ArgAction, Args};

use crate::console;

/// Short names, most of more than one letter, which would be read as several flags.
const SHORT: &[(&str, &str)] = &[
    ("-e", "--escape"),
    ("-np", "--parallel"),
    ("-ub", "--ubatch-size"),
    ("-ngl", "--gpu-layers"),
    ("-cb", "--cont-batching"),
    ("-nocb", "--no-cont-batching"),
    ("-fa", "--flash-attn"),
    ("-ctk", "--kv-type"),
    ("-ctv", "--cache-type-v"),
    ("-to", "--timeout"),
    ("-tb", "--threads-batch"),
    ("-nr", "--no-repack"),
    ("-sp", "--special"),
    ("-rea", "--reasoning"),
    ("-sps", "--slot-prompt-similarity"),
    ("-cram", "--cache-ram"),
    ("-kvu", "--kv-unified"),
    ("-no-kvu", "--no-kv-unified"),
    ("-kvo", "--kv-offload"),
    ("-nkvo", "--no-kv-offload"),
    ("-cms", "--checkpoint-min-step"),
    ("-ctxcp", "--ctx-checkpoints"),
    ("-dt", "--defrag-thold"),
    ("-fit", "--fit"),
    ("-fitt", "--fit-target"),
    ("-fitc", "--fit-ctx"),
    ("-cmoe", "--cpu-moe"),
    ("-ncmoe", "--n-cpu-moe"),
    ("-ncffn", "--n-cpu-ffn"),
    ("-sm", "--split-mode"),
    ("-ts", "--tensor-split"),
    ("-mg", "--main-gpu"),
    ("-dev", "--device"),
    ("-bs", "--backend-sampling"),
    ("-hf", "--hf-repo"),
    ("-hfr", "--hf-repo"),
    ("-hff", "--hf-file"),
    ("-hft", "--hf-token"),
    ("-mu", "--model-url"),
    ("-dr", "--docker-repo"),
    ("-mm", "--mmproj"),
    ("-mmu", "--mmproj-url"),
    ("-mmdev", "--mmproj-device"),
    ("-ot", "--override-tensor"),
    ("-lm", "--load-mode"),
    ("-lzm", "--lazy-mode"),
    ("-lv", "--log-verbosity"),
    ("-jf", "--json-schema-file"),
    ("-lcs", "--lookup-cache-static"),
    ("-lcd", "--lookup-cache-dynamic"),
    ("-cl", "--cache-list"),
    ("-ag", "--agent"),
    ("-no-ag", "--no-agent"),
    ("-md", "--model-draft"),
    ("-hfd", "--hf-repo-draft"),
    ("-ngld", "--gpu-layers-draft"),
    ("-ctkd", "--cache-type-k-draft"),
    ("-ctvd", "--cache-type-v-draft"),
    ("-Cr", "--cpu-range"),
    ("-Cb", "--cpu-mask-batch"),
    ("-Crb", "--cpu-range-batch"),
    ("-Cd", "--cpu-mask-draft"),
    ("-Crd", "--cpu-range-draft"),
    ("-Cbd", "--cpu-mask-batch-draft"),
    ("-td", "--threads-draft"),
    ("-tbd", "--threads-batch-draft"),
    ("-otd", "--override-tensor-draft"),
    ("-devd", "--device-draft"),
    ("-cmoed", "--cpu-moe-draft"),
    ("-ncmoed", "--n-cpu-moe-draft"),
    ("-hfrd", "--hf-repo-draft"),
];

/// What guesses come from there, by how the name begins, and the same here.
const SPEC_TYPES: &[(&str, &str)] = &[("none", "off"), ("draft", "draft"), ("ngram", "lookup")];

/// Options whose value may be anything, also what looks like an option.
const TAKE_ANYTHING: &[&str] = &["--api-key", "--stop", "--dry-sequence-breaker", "--chat-template"];

/// The arguments of the process, with llama-server's short names after `serve` expanded.
pub fn long_names(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let (mut of_serve, mut is_value, mut is_over, mut is_spec_type) = (false, false, false, false);
    let mut all: Vec<(OsString, bool)> = args
        .map(|arg| {
            of_serve |= arg == "serve";
            is_over |= of_serve && arg == "--";
            if is_over || std::mem::take(&mut is_value) {
                return (arg, true);
            }
            if std::mem::take(&mut is_spec_type) {
                let known = |name: &str| SPEC_TYPES.iter().find(|(theirs, _)| name.starts_with(theirs));
                let ours = arg.to_str().and_then(known).map(|(_, ours)| OsString::from(ours));
                return (ours.unwrap_or(arg), true);
            }
            if of_serve && arg == "--spec-type" {
                is_spec_type = true;
                return (OsString::from("--speculation"), false);
            }
            let long = SHORT.iter().find(|(short, _)| of_serve && arg == *short).map(|(_, long)| OsString::from(long));
            // llama-server reads `--ctx_size` as `--ctx-size`.
            let dashed = || {
                let text = arg.to_str().filter(|text| of_serve && text.starts_with("--"))?;
                let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
                let name = name.replace('_', "-");
                Some(value.map_or_else(|| name.clone(), |value| format!("{name}={value}")).into())
            };
            let arg = long.or_else(dashed).unwrap_or(arg);
            is_value = of_serve && TAKE_ANYTHING.iter().any(|name| arg == *name);
            (arg, false)
        })
        .collect();
    // There `--slots` shows the slots, as is so here in any case; with a number it says how many there are.
    let mut at = all.iter().position(|(arg, _)| arg == "serve").unwrap_or(all.len());
    while at < all.len() {
        let next = all.get(at + 1).and_then(|(next, _)| next.to_str());
        if all[at].0 == "--slots" && !all[at].1 && next.is_none_or(|next| next.parse::<usize>().is_err()) {
            all.remove(at);
        } else {
            at += 1;
        }
    }
    all.into_iter().map(|(arg, _)| arg).collect()
}

/// Options that are always on here, or have no effect without a GPU.
#[derive(Args)]
pub struct Ignored {
    /// These are always so, or make no difference here.
    #[arg(long, hide = true, action = ArgAction::Count, aliases = ["backend-sampling", "cache-idle-slots",
        "cache-prompt", "embedding", "embeddings", "escape", "jinja", "log-prefix", "log-timestamps",
        "metrics", "mmap", "no-agent", "no-cache-idle-slots", "no-context-shift", "no-escape", "no-kv-unified",
        "no-log-jsonl", "no-log-prefix", "no-log-timestamps", "no-mmproj", "no-mmproj-auto", "no-models-autoload",
        "no-perf", "no-skip-chat-parsing", "no-ui-mcp-proxy", "no-warmup", "no-webui-mcp-proxy", "offline", "perf",
        "props", "reasoning-preserve", "repack", "rerank", "reranking", "ui", "warmup", "webui"])]
    cont_batching: u8,
    /// As these, with a value.
    #[arg(long, hide = true, value_name = "N", allow_hyphen_values = true, aliases = ["cache-ram", "cache-reuse",
        "checkpoint-min-step", "ctx-checkpoints", "defrag-thold", "keep", "spec-draft-n-min", "spec-draft-p-min", "spec-draft-p-split", "kv-unified-per-slot", "log-colors",
        "slot-prompt-similarity", "swa-checkpoints"])]
    threads_http: Vec<String>,
    /// Of no effect without a GPU.
    #[arg(long, hide = true, action = ArgAction::Count, aliases = ["cpu-moe", "kv-offload", "no-host", "no-kv-offload",
        "no-mmproj-offload", "no-op-offload", "op-offload"])]
    mmproj_offload: u8,
    /// As these, with a value.
    #[arg(long, hide = true, value_name = "N", allow_hyphen_values = true, aliases = ["device", "fit", "fit-ctx",
        "fit-target", "main-gpu", "n-cpu-ffn", "split-mode", "tensor-split"])]
    n_cpu_moe: Vec<String>,
    #[arg(long, hide = true)]
    log_disable: bool,
    #[arg(long, hide = true, value_name = "TYPE")]
    numa: Option<String>,
    #[arg(long, hide = true)]
    mlock: bool,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "on", value_parser = ["on", "off", "auto"])]
    flash_attn: Option<String>,
    #[arg(long, hide = true)]
    cache_type_v: Option<String>,
    #[arg(long, hide = true)]
    threads_batch: Option<usize>,
    #[arg(long, alias = "n-gpu-layers", hide = true)]
    gpu_layers: Option<String>,
}

impl Ignored {
    /// Warnings for those that have no effect here.
    pub fn diagnostic(&self) {
        let without = [
            (
                self.gpu_layers.as_ref().is_some_and(|layers| layers != "0"),
                "--gpu-layers: this server computes on CPU only",
            ),
            (!self.n_cpu_moe.is_empty(), "options about GPUs: this server computes on CPU only"),
            (self.mlock, "--mlock: the model is mapped and not locked"),
            (self.numa.is_some(), "--numa: --placement decides, and `llama-concurrent topology` shows how"),
            (self.cache_type_v.is_some(), "--cache-type-v: K and V have the type of --kv-type"),
            (self.threads_batch.is_some(), "--threads-batch: --threads holds for prompts too"),
            (self.flash_attn.as_deref() == Some("off"), "--flash-attn off: use --no-flash-attn"),
        ];
        without.iter().filter(|(given, _)| *given).for_each(|(_, option)| {
            console::diagnostic("warning", &format!("ignored {option}"));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_arguments_of_serve_are_written_out() {
        let long = |args: &[&str]| long_names(args.iter().map(OsString::from));
        assert_eq!(
            long(&["x", "serve", "--spec-type", "ngram-mod", "-md", "a.gguf", "--spec-type", "draft-simple"]),
            ["x", "serve", "--speculation", "lookup", "--model-draft", "a.gguf", "--speculation", "draft"]
        );
        assert_eq!(
            long(&["x", "serve", "-np", "4", "-ub", "8"]),
            ["x", "serve", "--parallel", "4", "--ubatch-size", "8"]
        );
        assert_eq!(long(&["x", "run", "-np"]), ["x", "run", "-np"]);
    }
}
