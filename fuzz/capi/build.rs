//! What the library runs at the end of the process. Nothing is wrapped here, as where it is linked statically.

fn main() {
    const SOURCE: &str = "../../crates/llama-concurrent-capi/src/exit.cpp";
    println!("cargo:rerun-if-changed={SOURCE}");
    cc::Build::new().cpp(true).std("c++17").file(SOURCE).compile("llama_concurrent_exit");
}
