//! How the shared library is linked: under a name that programs of other versions do not ask for, never unloaded, and
//! without destructors at exit.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/exit.cpp");
    cc::Build::new().cpp(true).std("c++17").file("src/exit.cpp").compile("llama_concurrent_exit");

    let major = std::env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo sets it");
    let arguments = match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("macos") => vec![format!("-install_name,@rpath/libllama_concurrent.{major}.dylib")],
        _ => vec![
            format!("-soname,libllama_concurrent.so.{major}"),
            // Its threads may outlive a `dlclose`; the code that they run must, too.
            "-z,nodelete".into(),
            // Of other crates nothing is exported: llguidance has C functions of its own.
            "--exclude-libs,ALL".into(),
            // See `src/exit.cpp`.
            "--wrap=__cxa_atexit".into(),
        ],
    };
    for argument in arguments {
        println!("cargo:rustc-cdylib-link-arg=-Wl,{argument}");
    }
}
