//! Compatibility with llama-server's command line.

use std::ffi::OsString;

use clap::{ArgAction, Args};

use crate::console;

/// Short names of more than one letter, which would be read as several flags.
const SHORT: [(&str, &str); 10] = [
    ("-np", "--parallel"),
    ("-ub", "--ubatch-size"),
    ("-ngl", "--gpu-layers"),
    ("-cb", "--cont-batching"),
    ("-fa", "--flash-attn"),
    ("-ctk", "--kv-type"),
    ("-ctv", "--cache-type-v"),
    ("-to", "--timeout"),
    ("-tb", "--threads-batch"),
    ("-nr", "--no-repack"),
];

/// The arguments of the process, with llama-server's short names after `serve` expanded.
pub fn long_names(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut of_serve = false;
    args.map(|arg| {
        of_serve |= arg == "serve";
        let long = SHORT.iter().find(|(short, _)| of_serve && arg == *short).map(|(_, long)| OsString::from(long));
        long.unwrap_or(arg)
    })
    .collect()
}

/// Options that are always on here, or have no effect without a GPU.
#[derive(Args)]
pub struct Ignored {
    /// These are always so, or make no difference here.
    #[arg(long, hide = true, action = ArgAction::Count, aliases = ["cache-prompt", "embedding", "embeddings", "jinja",
        "metrics", "mmap", "no-context-shift", "no-kv-unified", "no-perf", "no-warmup", "offline", "perf", "props",
        "repack", "ui", "warmup", "webui"])]
    cont_batching: u8,
    #[arg(long, hide = true, value_name = "N", aliases = ["cache-ram", "cache-reuse", "keep"])]
    threads_http: Vec<i64>,
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
            long(&["x", "serve", "-np", "4", "-ub", "8"]),
            ["x", "serve", "--parallel", "4", "--ubatch-size", "8"]
        );
        assert_eq!(long(&["x", "run", "-np"]), ["x", "run", "-np"]);
    }
}
