//! Compiles the hook against the headers of the very llama.cpp that the sys crate built.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=src/shim.cpp");
    // The sys crate says where its build is; its cmake cache says where the sources are.
    let root = PathBuf::from(env::var("DEP_LLAMA_ROOT").expect("llama-cpp-sys-2 sets DEP_LLAMA_ROOT"));
    let cache = root.join("build/CMakeCache.txt");
    let cache = fs::read_to_string(&cache).unwrap_or_else(|e| panic!("cannot read {}: {e}", cache.display()));
    let source = cache
        .lines()
        .find_map(|line| line.strip_prefix("CMAKE_HOME_DIRECTORY:INTERNAL="))
        .map(PathBuf::from)
        .expect("CMakeCache.txt names its source directory");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        // Warnings in headers that are not ours are not ours to mend.
        .warnings(false)
        .file("src/shim.cpp")
        .include(source.join("ggml/include"))
        .include(source.join("ggml/src"))
        .include(source.join("ggml/src/ggml-cpu"))
        .compile("llama_concurrent_kernels_shim");
}
