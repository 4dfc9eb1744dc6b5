//! A disk that is full: the model is loaded all the same, and nothing stays behind. In a process of its own, since it
//! limits how large the files of the whole process may become.

#![allow(unsafe_code)] // It calls ggml itself.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod common;

use common::{Loaded, load, weights};
use llama_concurrent_kernels::cache::Model;
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::{SigHandler, Signal, signal},
};

#[test]
fn a_full_disk_is_told_in_words() {
    // SAFETY: no handler of our own; instead of the signal, writing then fails.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn).expect("ignored") };
    let folder = tempfile::tempdir().expect("a folder");
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).expect("a limit");
    setrlimit(Resource::RLIMIT_FSIZE, 100_000, hard).expect("a lower limit");
    let (path, files) = (folder.path().join("model.gguf.packed"), weights(1));
    let (outcome, warning, loaded) = load(&path, Model { identity: 1, stamp: None }, &files);
    let message = outcome.expect_err("there is no space");
    assert!(message.contains("free some space"), "{message}");
    assert_eq!((warning, loaded.products()), (None, Loaded::new(&files).products()));
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}
