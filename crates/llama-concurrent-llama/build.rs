//! Compiles the C++ files against the headers of the llama.cpp that the sys crate built.

use std::{env, fs, path::PathBuf};

const SOURCES: [&str; 3] = ["src/guard.cpp", "src/shim.cpp", "src/swap.cpp"];

fn main() {
    println!("cargo:rerun-if-changed=src/guard.h");
    SOURCES.iter().for_each(|source| println!("cargo:rerun-if-changed={source}"));
    // The sys crate says where its build is; its cmake cache says where the sources are.
    let root = PathBuf::from(env::var("DEP_LLAMA_ROOT").expect("llama-cpp-sys-2 sets DEP_LLAMA_ROOT"));
    let cache = root.join("build/CMakeCache.txt");
    let cache = fs::read_to_string(&cache).unwrap_or_else(|e| panic!("cannot read {}: {e}", cache.display()));
    let source = cache
        .lines()
        .find_map(|line| line.strip_prefix("CMAKE_HOME_DIRECTORY:INTERNAL="))
        .expect("CMakeCache.txt names its source directory");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .files(SOURCES)
        .include(root.join("include"))
        .include(PathBuf::from(source).join("src"))
        .compile("llama_concurrent_shim");
}
