//! Test: the lists of names against the llama.cpp that this crate is pinned to, where cargo has unpacked it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::check::{PRE_TOKENIZERS, all_names};
use crate::tensor::TensorType;

const CRATE: &str = "llama-cpp-sys-2-0.1.161";

/// The text of a source file of the pinned llama.cpp.
fn source(file: &str) -> Option<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")))?;
    let registries = fs::read_dir(home.join("registry/src")).ok()?;
    registries
        .flatten()
        .find_map(|registry| fs::read_to_string(registry.path().join(CRATE).join("llama.cpp").join(file)).ok())
}

/// What stands between quotes behind each `marker`.
fn quoted_behind<'s>(text: &'s str, marker: &'s str) -> BTreeSet<&'s str> {
    text.split(marker).skip(1).filter_map(|rest| rest.split('"').nth(1)).collect()
}

#[test]
fn every_architecture_is_classified() {
    let Some(text) = source("src/llama-arch.cpp") else {
        eprintln!("skipped: {CRATE} is not in cargo's registry");
        return;
    };
    let table = text.split("LLM_ARCH_NAMES").nth(1).and_then(|rest| rest.split("};").next()).unwrap();
    let mut pinned = quoted_behind(table, "{ LLM_ARCH_");
    pinned.remove("(unknown)");
    let ours: Vec<&str> = all_names().collect();
    let distinct: BTreeSet<&str> = ours.iter().copied().collect();
    assert_eq!(distinct.len(), ours.len(), "a name is in two lists");
    assert_eq!(distinct, pinned);
}

#[test]
fn every_pre_tokenizer_is_known() {
    let Some(text) = source("src/llama-vocab.cpp") else {
        eprintln!("skipped: {CRATE} is not in cargo's registry");
        return;
    };
    let pinned = quoted_behind(&text, "tokenizer_pre == ");
    assert_eq!(PRE_TOKENIZERS.iter().copied().collect::<BTreeSet<_>>(), pinned);
}

#[test]
fn tensor_types_have_the_numbers_of_ggml() {
    let Some(text) = source("ggml/include/ggml.h") else {
        eprintln!("skipped: {CRATE} is not in cargo's registry");
        return;
    };
    let table = text.split("enum ggml_type {").nth(1).and_then(|rest| rest.split("GGML_TYPE_COUNT").next()).unwrap();
    for line in table.lines().filter_map(|line| line.trim().strip_prefix("GGML_TYPE_")) {
        let (name, id) = line.split_once('=').expect("a name and a number");
        let id: u32 = id.trim().split(',').next().unwrap().trim().parse().expect("a number");
        let ours = TensorType::from_id(id).expect("each type of ggml is in our table");
        assert_eq!(ours.name(), name.trim());
    }
}
