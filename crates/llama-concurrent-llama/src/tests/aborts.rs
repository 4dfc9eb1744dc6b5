//! Files that were not checked, given to llama.cpp as they are: where it would abort, there is an error.

use llama_concurrent_gguf::Value;
use llama_concurrent_gguf_synth::Parts;

use super::*;

fn load(change: impl FnOnce(&mut Parts)) -> Result<LlamaBackend> {
    let mut parts = Parts::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf")).unwrap();
    change(&mut parts);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("unchecked.gguf");
    std::fs::write(&path, parts.encode()).unwrap();
    let config = EngineConfig::default().kernels(false);
    let model = Arc::new(Model::load(&path, &config, None)?);
    LlamaBackend::new(model, None, SHAPE, &config, &WorkerPlan::anywhere(1))
}

#[test]
fn an_abort_while_loading_is_an_error() {
    for _ in 0..3 {
        let error =
            load(|parts| parts.set("llama.block_count", Value::U32(513))).err().expect("513 layers are too many");
        assert_eq!(*error.kind(), llama_concurrent_types::ErrorKind::ModelInvalid, "{error}");
        assert!(error.to_string().contains("LLAMA_MAX_LAYERS"), "{error}");
    }
    load(|_| ()).expect("and the next one loads");
}

#[test]
fn an_abort_while_a_graph_is_built_is_an_error() {
    // The heads of keys and values do not divide those of queries, which a product asserts.
    let error = load(|parts| {
        let heads = |parts: &Parts, key: &str| match parts.get(key) {
            Some(&Value::U32(heads)) => heads,
            other => panic!("{other:?}"),
        };
        let (n_head, n_head_kv) =
            (heads(parts, "llama.attention.head_count"), heads(parts, "llama.attention.head_count_kv"));
        let more = n_head - 1;
        assert!(n_head_kv > 1 && n_head % more != 0, "{n_head} and {n_head_kv}");
        parts.set("llama.attention.head_count_kv", Value::U32(more));
        for tensor in
            parts.tensors.iter_mut().filter(|t| t.name.ends_with("attn_k.weight") || t.name.ends_with("attn_v.weight"))
        {
            let row = tensor.data.len() / tensor.dims[1] as usize;
            tensor.dims[1] = tensor.dims[1] / u64::from(n_head_kv) * u64::from(more);
            tensor.data.resize(row * tensor.dims[1] as usize, 0);
        }
    });
    let error = error.err().expect("no such heads");
    assert_eq!(*error.kind(), llama_concurrent_types::ErrorKind::ModelInvalid, "{error}");
    assert!(error.to_string().contains("cannot run this model"), "{error}");
}
