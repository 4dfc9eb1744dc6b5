//! The C side of the target `pointers`.

use std::{env, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=fuzz_targets/pointers.c");
    println!("cargo:rerun-if-changed=../include/llama_concurrent.h");
    if env::var_os("CARGO_FEATURE_ENGINE").is_none() {
        return;
    }
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    cc::Build::new()
        .file("fuzz_targets/pointers.c")
        .include(root.join("include"))
        .define("MODEL", format!("\"{}\"", root.join("models/demo.gguf").display()).as_str())
        .warnings(true)
        .extra_warnings(true)
        .compile("pointers");
}
