//! Tells the module which instructions it was compiled for; the package looks for that in the file before it loads it. And
//! how it is linked.

use std::{collections::BTreeSet, env};

/// Instruction sets that ggml has code for, by the names of both compilers and systems. Others are never in the way: what
/// has these, has them.
const KNOWN: &[&str] = &[
    "avx",
    "avx2",
    "f16c",
    "fma",
    "bmi2",
    "avx512f",
    "avx512bw",
    "avx512cd",
    "avx512dq",
    "avx512vl",
    "avx512vnni",
    "avx512vbmi",
    "avx512bf16",
    "avxvnni",
    "dotprod",
    "i8mm",
    "sve",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let known: BTreeSet<_> = features.split(',').filter(|feature| KNOWN.contains(feature)).collect();
    let known: Vec<_> = known.into_iter().collect();
    println!("cargo:rustc-env=BUILT_FOR={}", known.join(" "));
    // Of other crates nothing is exported: llguidance has C functions of its own.
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    }
}
