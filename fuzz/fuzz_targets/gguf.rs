//! Any file, read as a model: an error or a summary. A second `GGUF` in the input begins the second part of a model in two files.

#![no_main]

use std::{fs, path::PathBuf, process, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use llama_concurrent_gguf::Header;
use llama_concurrent_gguf_synth::Parts;

static PATHS: LazyLock<[PathBuf; 2]> = LazyLock::new(|| {
    // In memory, where there is such a folder.
    let folder = ["/dev/shm", "/tmp"].map(PathBuf::from).into_iter().find(|folder| folder.is_dir()).unwrap_or_default();
    let folder = folder.join(format!("llama-concurrent-fuzz-{}", process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    [1, 2].map(|part| folder.join(format!("model-{part:05}-of-00002.gguf")))
});

fuzz_target!(|data: &[u8]| {
    let second = (1..data.len()).find(|&at| data[at..].starts_with(b"GGUF")).unwrap_or(data.len());
    let [first, other] = &*PATHS;
    fs::write(first, &data[..second]).expect("a file");
    fs::write(other, &data[second..]).expect("a file");
    match Header::read(first) {
        Ok(header) => check(&header),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(parts) = Parts::read(first) {
        // What was read is written so that it reads the same.
        let metadata = format!("{:?}", parts.metadata);
        fs::write(first, parts.encode()).expect("a file");
        if let Ok(again) = Parts::read(first) {
            assert_eq!(metadata, format!("{:?}", again.metadata));
        }
    }
});

fn check(header: &Header) {
    match header.check_model() {
        Ok(summary) => assert!(!summary.to_string().is_empty()),
        Err(error) => assert!(!error.message().is_empty()),
    }
    for (key, value) in header.metadata() {
        assert!(header.get(key).is_some());
        assert!(!value.to_string().contains('\0'));
    }
    for tensor in header.tensors() {
        let end = header.data_offset() + tensor.offset() + tensor.bytes();
        assert!(end <= header.file_len(), "{} ends beyond the file", tensor.name());
    }
    header.other_parts();
}
