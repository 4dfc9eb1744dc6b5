//! Options of llama-server that are not here.

use clap::{
    Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Options that would change what the server does, and that it has not: why, and what there is instead.
#[rustfmt::skip]
const NOT_HERE: &[(&[&str], &str)] = &[
    (&["hf-repo", "hf-file", "hf-token", "model-url", "docker-repo"],
        "this server downloads nothing; fetch the GGUF file and give it by --model"),
    (&["embd-gemma-default", "fim-qwen-1.5b-default", "fim-qwen-3b-default", "fim-qwen-7b-default",
        "fim-qwen-7b-spec", "fim-qwen-14b-spec", "fim-qwen-30b-default", "gpt-oss-20b-default", "gpt-oss-120b-default",
        "vision-gemma-4b-default", "vision-gemma-12b-default"],
        "this server downloads nothing; fetch the GGUF file and give it by --model"),
    (&["cache-list", "models-dir", "models-preset", "models-max", "models-autoload"],
        "this server has one model, the file of --model; start one server for each"),
    (&["lora", "lora-scaled", "lora-init-without-apply"],
        "adapters are not applied; merge them into the model's file (llama-export-lora)"),
    (&["control-vector", "control-vector-scaled", "control-vector-layer-range"], "control vectors are not applied"),
    (&["mmproj", "mmproj-url", "mmproj-auto", "mmproj-device", "image-min-tokens", "image-max-tokens",
        "mtmd-batch-max-tokens", "video-fps", "video-timestamp-interval", "video-ffmpeg-dir", "media-path"],
        "this server reads text only"),
    (&["draft", "draft-n", "draft-min", "draft-n-min", "draft-p-min", "draft-p-split", "lookup-cache-static",
        "lookup-cache-dynamic"],
        "use --speculation, --draft-model and --draft-max; what guesses are worth is learned while the server runs"),
    (&["rope-scaling", "rope-scale", "rope-freq-base", "rope-freq-scale", "yarn-orig-ctx", "yarn-ext-factor",
        "yarn-attn-factor", "yarn-beta-slow", "yarn-beta-fast", "override-kv"],
        "the model's file says how it is computed; change the file (gguf_set_metadata.py)"),
    (&["override-tensor"], "all tensors are in the memory of the CPU; --placement decides on which nodes"),
    (&["rpc"], "all is computed in this process"),
    (&["list-devices"], "this server computes on CPU only; `llama-concurrent topology` shows its cores and memory"),
    (&["C", "cpu-mask", "cpu-range", "cpu-mask-batch", "cpu-range-batch"], "use --cpus, such as --cpus 0-7"),
    (&["cpu-strict", "cpu-strict-batch"], "threads are pinned unless you say --no-pin"),
    (&["poll-batch"], "--poll and --wait-policy hold for prompts too"),
    (&["prio", "prio-batch"], "start the server with nice, or with chrt"),
    (&["load-mode", "lazy-mode"], "the file is mapped unless you say --no-mmap"),
    (&["check-tensors"], "`llama-concurrent inspect` checks a file"),
    (&["context-shift"], "a context is never shifted: an answer ends with 'length' when its slot is full; raise --n-ctx"),
    (&["no-cont-batching"], "requests are always batched; --strategy sequential computes one after the other"),
    (&["no-cache-prompt"], "send 'cache_prompt': false in requests"),
    (&["no-jinja"], "chat templates are always Jinja; --chat-template has built-in ones by name"),
    (&["skip-chat-parsing"], "--reasoning-format none leaves thoughts in the content, and 'tool_choice': \"none\" calls"),
    (&["no-reasoning-preserve"], "the chat template decides which thoughts of earlier messages it shows"),
    (&["reasoning-budget-message"], "a thought is closed as the model closes it"),
    (&["samplers", "sampler-seq", "sampling-seq"],
        "their order is fixed; turn some off by their own options, or send 'samplers' in requests"),
    (&["j", "grammar", "grammar-file", "json-schema", "json-schema-file"],
        "send 'grammar' or 'json_schema' in requests: as a default they would hold for every route"),
    (&["r", "reverse-prompt"], "use --stop"),
    (&["l"], "use --logit-bias"),
    (&["embd-normalize"], "send 'embd_normalize': -1 in requests for vectors of their own length"),
    (&["slot-save-path"], "slots are not written to files; equal beginnings of prompts are found while the server runs"),
    (&["sleep-idle-seconds"], "the model stays in memory; while nothing runs, its threads sleep"),
    (&["ssl-key-file", "ssl-cert-file"], "this server speaks HTTP only; put a reverse proxy in front of it, such as Caddy"),
    (&["api-prefix"], "let a reverse proxy take the prefix off"),
    (&["reuse-port"], "one process serves a port, with one model for all its clients"),
    (&["path", "ui-config", "webui-config", "ui-config-file", "webui-config-file"],
        "the page is built in; --no-webui turns it off, so that another server can have a page of its own"),
    (&["cors-methods", "cors-headers", "cors-credentials", "no-cors-credentials"],
        "origins of --cors-origin may use all methods and headers, without credentials"),
    (&["ui-mcp-proxy", "webui-mcp-proxy", "tools", "tools-runtime", "mcp-servers-config", "mcp-servers-json", "agent"],
        "this server runs no tools; it answers with calls, and its clients run them"),
    (&["log-verbose", "verbosity", "log-verbosity"], "use --log info, or debug or trace"),
    (&["log-file"], "messages go to stderr: append 2> FILE"),
    (&["log-jsonl"], "use --log-format json"),
    (&["log-prompts-dir"], "prompts are never written to files"),
    (&["completion-bash"], "there are no completions for shells"),
    (&["usage"], "use --help"),
];

/// An error with an option of llama-server that is not here, with what to do instead.
pub fn explained(error: Error) -> Error {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return error };
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    match reason(option.trim_start_matches('-')) {
        Some(why) => Error::raw(ErrorKind::UnknownArgument, format!("{option} is not an option here: {why}\n")),
        None => error,
    }
}

fn reason(name: &str) -> Option<&'static str> {
    // There are dozens of these.
    let drafts = name.starts_with("spec-") || name.starts_with("no-spec-") || name.ends_with("-draft");
    let name = if drafts { "draft" } else { name };
    NOT_HERE.iter().find(|(names, _)| names.contains(&name)).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice() {
        let mut names: Vec<&str> = NOT_HERE.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        let n = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), n);
        assert!(names.iter().all(|name| reason(name).is_some()) && reason("spec-ngram-mod-n-min").is_some());
    }
}
