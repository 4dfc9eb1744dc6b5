//! Sound files whose contents llama.cpp would refuse or abort on.

use super::*;
use GgufErrorKind::{Invalid, Unsupported};

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn numbers(values: &[i32]) -> Value {
    Value::Array(Array::from_i32(values.iter().copied()))
}

fn texts(values: &[&str]) -> Value {
    Value::Array(Array::from_strings(values))
}

#[test]
fn a_sound_model_is_described() {
    let summary = check(&tiny_model()).unwrap();
    assert_eq!((summary.architecture.as_str(), summary.name.as_deref()), ("llama", Some("tiny")));
    assert_eq!((summary.n_layer, summary.n_embd, summary.n_ctx_train), (2, 32, 64));
    assert_eq!((summary.n_head, summary.n_head_kv, summary.head_dim_k, summary.head_dim_v), (4, 2, 8, 8));
    assert_eq!((summary.n_vocab, summary.has_chat_template), (4, false));
    assert_eq!(summary.parameters, 32 * 4 + 2 * (32 + 32 * 32));
    assert_eq!(summary.tensor_bytes, 4 * 18 + 2 * (32 * 4 + 32 * 32 * 2));
    // Two layers, two heads of eight for keys and as many for values.
    assert_eq!(summary.kv_bytes_per_token(2.0, 1.0), 32.0 * 2.0 + 32.0);

    let shown = summary.to_string();
    for line in ["tiny", "F16, 4.3 KiB in 1 file", "llama, 2 layers", "4 tokens (gpt2)", "64 tokens in training"] {
        assert!(shown.contains(line), "'{line}' is not in:\n{shown}");
    }
}

#[test]
fn architectures() {
    let with = |name: &str| check(&tiny_model_with(&[("general.architecture", text(name))], &[]));
    assert_refused(with("clip"), Unsupported, "image or audio part");
    assert_refused(with("bert"), Invalid, "'bert.block_count' is missing");
    assert_refused(with("llama-embed"), Unsupported, "attends to whole texts");
    assert_refused(with("t5"), Unsupported, "encoder");
    assert_refused(with("eagle3"), Unsupported, "draft");
    assert_refused(with("what\u{1b}ever"), Unsupported, "'what\\u{1b}ever' is unknown");
    assert_refused(with("qwen2"), Invalid, "'qwen2.block_count' is missing");
    assert_refused(
        check(&tiny_model_with(&[], &["general.architecture"])),
        Invalid,
        "'general.architecture' is missing",
    );
}

#[test]
fn models_that_attend_to_whole_texts_are_encoders() {
    let causal =
        |whether| tiny_model_with(&[("llama.attention.causal", llama_concurrent_gguf::Value::Bool(whether))], &[]);
    assert!(!check(&causal(true)).expect("a model").is_encoder);
    assert_refused(check(&causal(false)), Unsupported, "'llama.attention.causal' is false");
    let decisions = tiny_model_with(&[("llama.decision.block_count", llama_concurrent_gguf::Value::U32(1))], &[]);
    assert_refused(check(&decisions), Unsupported, "scores decisions");
}

#[test]
fn what_a_file_calls_itself_explains_a_refusal_and_is_none() {
    let called = |kind: &str, removed: &[&str]| check(&tiny_model_with(&[("general.type", text(kind))], removed));
    assert_refused(called("adapter", &["tokenizer.ggml.model"]), Unsupported, "LoRA adapter");
    assert_refused(called("vocab", &["tokenizer.ggml.model"]), Unsupported, "'general.type' is 'vocab'");
    assert_refused(called("model", &["tokenizer.ggml.model"]), Unsupported, "no vocabulary");
    called("merge", &[]).expect("llama.cpp does not look at it");
}

#[test]
fn what_the_graphs_of_llama_cpp_get_wrong() {
    let faults = |name: &str| check(&tiny_model_with(&[("general.architecture", text(name))], &[])).map(|m| m.faults);
    assert_eq!(faults("llama").unwrap(), llama_concurrent_gguf::GraphFaults::default());
    let of = llama_concurrent_gguf::graph_faults;
    assert!(of("plamo2").one_sequence.is_some_and(|why| why.contains("context of its own")));
    assert!(of("cogvlm").needs_all_logits && of("cogvlm").one_sequence.is_none());
}

#[test]
fn vocabulary_files_are_no_models_but_vocabularies() {
    let mut plan = tiny_model();
    plan.tensors.clear();
    let header = parse(&encode(&plan)).unwrap();
    assert_refused(header.check_model(), Unsupported, "a vocabulary but no weights");
    let vocabulary = header.check_vocabulary().unwrap();
    assert_eq!((vocabulary.tokenizer.as_str(), vocabulary.n_tokens), ("gpt2", 4));
}

/// Each line: what is changed, and what the error must say.
#[test]
fn sizes_that_llama_cpp_would_abort_on() {
    let u32s = |pairs: &[(&'static str, u32)]| -> Vec<(&'static str, Value)> {
        pairs.iter().map(|&(key, value)| (key, Value::U32(value))).collect()
    };
    let cases: &[(&[(&'static str, u32)], &str)] = &[
        (&[("llama.block_count", 0)], "'llama.block_count' is 0"),
        (&[("llama.block_count", 513)], "512 layers at most"),
        (&[("llama.block_count", 3)], "'blk.2.attn_norm.weight' is missing"),
        (&[("llama.nextn_predict_layers", 2)], "leaves none"),
        (&[("llama.embedding_length", 0)], "'llama.embedding_length' is 0"),
        (&[("llama.embedding_length", 64), ("llama.rope.dimension_count", 16)], "'token_embd.weight' has the shape"),
        (&[("llama.attention.head_count", 0)], "attention needs heads"),
        (&[("llama.attention.head_count_kv", 0)], "attention needs heads"),
        (&[("llama.attention.head_count", 5), ("llama.attention.head_count_kv", 5)], "does not divide among 5 heads"),
        (&[("llama.attention.head_count_kv", 3)], "do not divide them evenly"),
        (&[("llama.attention.head_count_kv", 8)], "do not divide them evenly"),
        (&[("llama.attention.key_length", 0)], "'llama.attention.key_length' is 0"),
        (&[("llama.attention.key_length", 16)], "aborts where they differ"),
        (&[("llama.rope.dimension_count", 4)], "heads are 8 wide"),
        (&[("llama.expert_count", 8)], "uses none"),
        (&[("llama.expert_used_count", 2)], "0 experts, of which a token uses 2"),
        (&[("llama.expert_count", 4), ("llama.expert_used_count", 5)], "uses 5"),
        (&[("llama.expert_count", 2000), ("llama.expert_used_count", 5)], "1024 at most"),
        (&[("llama.expert_count", 4), ("llama.expert_used_count", 2), ("llama.expert_group_count", 4)], "4 groups"),
        (&[("llama.expert_count", 8), ("llama.expert_used_count", 2), ("llama.expert_group_count", 3)], "3 groups"),
        (&[("llama.expert_count", 8), ("llama.expert_used_count", 2), ("llama.expert_group_count", 2)], "uses 0"),
        (&[("llama.expert_group_count", 1)], "0 experts in 1 groups"),
    ];
    for (changes, words) in cases {
        assert_refused(check(&tiny_model_with(&u32s(changes), &[])), Invalid, words);
    }
    for key in ["block_count", "context_length", "embedding_length", "attention.head_count"] {
        let key = format!("llama.{key}");
        assert_refused(check(&tiny_model_with(&[], &[&key])), Invalid, &format!("'{key}' is missing"));
    }
}

#[test]
fn no_more_is_turned_than_a_head_is_wide() {
    let mut plan = tiny_model();
    for (key, value) in &mut plan.metadata {
        *key = key.replace("llama.", "gemma3.");
        match key.as_str() {
            "general.architecture" => *value = text("gemma3"),
            "gemma3.rope.dimension_count" => *value = Value::U32(16),
            _ => {}
        }
    }
    assert_refused(check(&plan), Invalid, "'gemma3.rope.dimension_count' is 16, and heads are 8 wide");
    plan.metadata.push(("gemma3.attention.key_length_swa".to_owned(), Value::U32(16)));
    check(&plan).expect("the heads of the other layers are wider");
}

#[test]
fn settings_of_the_wrong_type_or_length() {
    let refused = |key: &str, value: Value, words: &str| {
        assert_refused(check(&tiny_model_with(&[(key, value)], &[])), Invalid, words);
    };
    refused("llama.block_count", Value::U64(2), "is of type u64, and llama.cpp reads u32");
    refused("llama.embedding_length", text("32"), "is of type str");
    refused("llama.attention.head_count", numbers(&[4]), "has 1 entries, and the model has 2 layers");
    refused("llama.attention.head_count_kv", numbers(&[2, -2]), "negative");
    refused("llama.feed_forward_length", texts(&["64", "64"]), "is of type arr[str]");
    refused("llama.rope.freq_base", Value::F32(f32::NAN), "is NaN");
    refused("llama.attention.layer_norm_rms_epsilon", Value::F32(-1.0), "is -1");
    refused("llama.attention.layer_norm_rms_epsilon", Value::F64(1e-5), "reads f32");
    refused("split.count", Value::U32(2), "reads u16");
    let plan = tiny_model_with(&[("llama.rope.scaling.type", text("magic"))], &[]);
    assert_refused(check(&plan), Unsupported, "none, linear, yarn and longrope");
}

#[test]
fn layers_may_differ() {
    let per_layer = tiny_model_with(&[("llama.attention.head_count_kv", numbers(&[4, 1]))], &[]);
    let summary = check(&per_layer).unwrap();
    assert_eq!((summary.n_head_kv, summary.kv_bytes_per_token(1.0, 0.0)), (4, 8.0 * 5.0));
}

#[test]
fn tensors_that_llama_cpp_would_abort_on() {
    let changed = |index: usize, change: &dyn Fn(&mut TensorPlan)| {
        let mut plan = tiny_model();
        change(&mut plan.tensors[index]);
        check(&plan)
    };
    assert_refused(changed(0, &|t| t.name = "other".to_owned()), Invalid, "'token_embd.weight' is missing");
    assert_refused(changed(0, &|t| t.dims[1] = 5), Invalid, "the 4 tokens of the vocabulary");
    assert_refused(changed(1, &|t| t.tensor_type = TensorType::F16), Unsupported, "aborts unless it is F32");
    assert_refused(changed(2, &|t| t.tensor_type = TensorType::from_id(24).unwrap()), Unsupported, "of type I8");
    for name in ["blk.0.ssm_dt_norm", "blk.0.attn_q_norm.weight", "blk.0.ssm_d.weight", "blk.0.ssm_conv1d.weight"] {
        let renamed = |t: &mut TensorPlan| t.name = name.to_owned();
        assert_refused(changed(2, &renamed), Unsupported, "aborts unless it is F32");
    }
    assert_refused(changed(2, &|t| t.dims = vec![32]), Unsupported, "aborts unless it is F32");
    assert_refused(changed(3, &|t| t.name = "blk.9.attn_norm.weight".to_owned()), Invalid, "'blk.1.attn_norm.weight'");
}

#[test]
fn tensors_that_are_not_aligned_are_not_mapped() {
    let mut plan = tiny_model_with(&[("general.alignment", Value::U32(16))], &[]);
    // All sizes multiples of 32, so that the offsets are right for both alignments.
    plan.tensors[0].tensor_type = TensorType::F16;
    let mut offsets = [0, 16].map(|wanted| {
        (0..32).find_map(|len| {
            plan.metadata[1].1 = Value::String("x".repeat(len));
            parse(&encode(&plan)).ok().filter(|header| header.data_offset() % 32 == wanted)
        })
    });
    let [even, odd] = offsets.each_mut().map(|header| header.take().expect("one length of the name gives this offset"));
    assert!(even.check_model().is_ok_and(|model| model.can_be_mapped && model.warnings.is_empty()));
    let read = odd.check_model().expect("it can be read");
    assert!(!read.can_be_mapped && read.warnings[0].contains("no multiple of 32"), "{:?}", read.warnings);
}

#[test]
fn vocabularies_that_llama_cpp_would_refuse_or_abort_on() {
    let with = |changes: &[(&str, Value)]| check(&tiny_model_with(changes, &[]));
    let without = |key: &str| check(&tiny_model_with(&[], &[key]));
    assert_refused(without("tokenizer.ggml.model"), Unsupported, "no vocabulary");
    assert_refused(without("tokenizer.ggml.tokens"), Invalid, "'tokenizer.ggml.tokens' is missing");
    assert_refused(without("tokenizer.ggml.merges"), Invalid, "'tokenizer.ggml.merges' is missing");
    assert_refused(with(&[("tokenizer.ggml.model", text("none"))]), Unsupported, "without a vocabulary");
    assert_refused(with(&[("tokenizer.ggml.model", text("new"))]), Unsupported, "the tokenizer 'new' is unknown");
    assert_refused(with(&[("tokenizer.ggml.pre", text("new"))]), Unsupported, "the pre-tokenizer 'new' is unknown");
    assert_refused(with(&[("tokenizer.ggml.tokens", texts(&[]))]), Invalid, "empty");
    assert_refused(with(&[("tokenizer.ggml.tokens", numbers(&[1]))]), Invalid, "arr[i32]");
    assert_refused(with(&[("tokenizer.ggml.token_type", numbers(&[1, 1]))]), Invalid, "2 entries for 4 tokens");
    assert_refused(with(&[("tokenizer.ggml.scores", texts(&["1"; 4]))]), Invalid, "arr[str]");
    assert_refused(with(&[("tokenizer.ggml.eot_token_id", Value::I32(1))]), Invalid, "reads u32");
    assert_refused(with(&[("tokenizer.ggml.add_bos_token", Value::Bool(true))]), Invalid, "does not say which");
    with(&[("tokenizer.ggml.token_type", numbers(&[1; 5]))]).expect("longer attributes do no harm");
    with(&[("tokenizer.ggml.add_eos_token", Value::Bool(true))]).expect("there is an eos id");
}

#[test]
fn duplicate_tokens_as_llama_cpp_sees_them() {
    let with = |tokens: &[&str]| check(&tiny_model_with(&[("tokenizer.ggml.tokens", texts(tokens))], &[]));
    assert_refused(with(&["a", "b", "ab", "b"]), Invalid, "the token 'b' twice, as 1 and 3");
    assert_refused(with(&["a", "b", "x\0y", "x\0z"]), Invalid, "the token 'x' twice");
    assert_refused(with(&["[EMPTY_3]", "b", "c", ""]), Invalid, "twice, as 0 and 3");
    with(&["a", "b", "", ""]).expect("empty tokens are told apart by their number");
}

/// The tiny model with another tokenizer.
fn with_tokens(tokenizer: &str, tokens: &[String], changes: &[(&str, Value)]) -> FilePlan {
    let mut plan = tiny_model_with(
        &[
            ("tokenizer.ggml.model", text(tokenizer)),
            ("tokenizer.ggml.tokens", Value::Array(Array::from_strings(tokens))),
        ],
        &["tokenizer.ggml.token_type", "tokenizer.ggml.eos_token_id"],
    );
    plan.metadata.extend(changes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    plan.tensors[0].dims[1] = tokens.len() as u64;
    plan
}

fn words(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("w{n}")).collect()
}

#[track_caller]
fn assert_warns(plan: &FilePlan, words: &str) {
    let warnings = check(plan).expect("llama.cpp goes on, so do we").warnings;
    match words {
        "" => assert!(warnings.is_empty(), "{warnings:?}"),
        words => assert!(warnings.len() == 1 && warnings[0].contains(words), "'{words}' is not in: {warnings:?}"),
    }
}

#[test]
fn a_byte_without_a_token_is_a_matter_of_the_texts_that_need_it() {
    let mut tokens: Vec<String> = (0..=u8::MAX).map(|byte| format!("<0x{byte:02X}>")).collect();
    assert_warns(&with_tokens("llama", &tokens, &[]), "");
    tokens[0x41] = "A".to_owned();
    assert_warns(&with_tokens("llama", &tokens, &[]), "");
    tokens[0x41] = "AA".to_owned();
    assert_warns(&with_tokens("llama", &tokens, &[]), "no token for the byte 0x41");
}

#[test]
fn special_tokens_outside_of_the_vocabulary_are_ignored() {
    let keys = ["seperator", "padding", "mask", "unknown", "eot", "eom", "fim_pre", "suffix", "bos", "eos"];
    for key in keys.map(|key| format!("tokenizer.ggml.{key}_token_id")) {
        for id in [4, 5, u32::MAX] {
            let plan = tiny_model_with(&[(&key, Value::U32(id))], &[]);
            assert_warns(
                &plan,
                &format!("'{key}' is {id}, and the vocabulary has 4 tokens; as in llama.cpp, it is ignored"),
            );
        }
        assert_warns(&tiny_model_with(&[(&key, Value::U32(3))], &[]), "");
    }
    let falcon = |id: u32| with_tokens("gpt2", &words(12), &[("tokenizer.ggml.eos_token_id", Value::U32(id))]);
    assert_warns(&falcon(12), "token 11 is taken for it");
    assert_warns(&falcon(0), "");
}

#[test]
fn a_token_that_is_added_must_be_one() {
    let adds = |tokenizer: &str, count: usize, which: &str, id: Option<u32>| {
        let mut changes = vec![(format!("tokenizer.ggml.add_{which}_token"), Value::Bool(true))];
        changes.extend(id.map(|id| (format!("tokenizer.ggml.{which}_token_id"), Value::U32(id))));
        let changes: Vec<_> = changes.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        with_tokens(tokenizer, &words(count), &changes)
    };
    // llama.cpp asserts on these when the first text comes.
    for (tokenizer, count, which) in
        [("gpt2", 4, "bos"), ("gpt2", 11, "eos"), ("t5", 300, "bos"), ("gemma4", 300, "eos")]
    {
        assert_refused(check(&adds(tokenizer, count, which, None)), Invalid, "does not say which");
        assert_refused(check(&adds(tokenizer, count, which, Some(u32::MAX))), Invalid, "does not say which");
    }
    // Always, whatever the file says.
    assert_refused(check(&with_tokens("gemma4", &words(300), &[])), Invalid, "'tokenizer.ggml.bos_token_id'");
    assert_refused(check(&with_tokens("bert", &words(50), &[])), Invalid, "'tokenizer.ggml.bos_token_id'");
    assert_warns(&adds("gpt2", 4, "bos", Some(3)), "");
    assert_warns(&adds("rwkv", 4, "bos", None), "");
    // Without an id llama.cpp takes that of Falcon, which is an ordinary word elsewhere.
    assert_warns(&adds("gpt2", 12, "bos", None), "as in llama.cpp, it is 11, 'w11'");
    assert_warns(&adds("t5", 300, "eos", None), "it is 1, 'w1'");
}

#[test]
fn a_list_of_templates_is_none() {
    let plan = tiny_model_with(&[("tokenizer.chat_template", texts(&["{{ messages }}"]))], &[]);
    assert_warns(&plan, "'tokenizer.chat_template' is a list");
    assert!(!check(&plan).unwrap().has_chat_template);
}

#[test]
fn texts_and_keys_need_not_be_utf8() {
    let mut bytes = encode(&tiny_model_with(&[("general.author", text("Zoe")), ("other.key", Value::U32(1))], &[]));
    let at = |bytes: &[u8], word: &[u8]| bytes.windows(word.len()).position(|window| window == word).unwrap();
    let (name, key) = (at(&bytes, b"Zoe"), at(&bytes, b"other.key"));
    bytes[name + 2] = 0xEB;
    bytes[key] = 0xFF;
    let header = parse(&bytes).unwrap();
    assert_eq!(header.get("general.author"), Some(&text("Zo\u{fffd}")));
    assert_eq!(header.get("\\xffther.key"), Some(&Value::U32(1)));
    header.check_model().unwrap();
}

#[test]
fn what_is_odd_and_harmless_is_no_reason_to_refuse() {
    assert_warns(&tiny_model_with(&[("llama.context_length", Value::U32(0))], &[]), "nothing says how long");
    // Layers may differ in how many experts they use.
    let mut plan =
        tiny_model_with(&[("llama.expert_count", Value::U32(4)), ("llama.expert_used_count", numbers(&[1, 2]))], &[]);
    plan.tensors[2].name = "blk.0.ffn_up_exps.weight".to_owned();
    plan.tensors[2].dims.push(4);
    let model = check(&plan).unwrap();
    assert_eq!((model.work.n_expert_used, model.n_expert), (2, 4));
    // A key that the architecture does not have is nobody's business.
    assert_warns(&tiny_model_with(&[("llama.num_loops", text("many"))], &[]), "");
}

#[test]
fn matrices_are_those_that_rows_are_multiplied_with() {
    let tensor =
        |name: &str, dims: &[u64], tensor_type| TensorPlan { name: name.to_owned(), dims: dims.to_vec(), tensor_type };
    let mut plan = tiny_model();
    plan.tensors.extend([
        tensor("blk.0.attn_q_norm.weight", &[32, 32], TensorType::F32),
        tensor("blk.0.ssm_a", &[32, 32], TensorType::F32),
        tensor("blk.0.ssm_dt.weight", &[32, 64], TensorType::F32),
        tensor("blk.1.ssm_dt.weight", &[32, 64], TensorType::F32),
        tensor("blk.0.ffn_up_exps.weight", &[32, 64, 8], TensorType::Q4_0),
        tensor("blk.0.shortconv.conv.weight", &[4, 32], TensorType::F32),
        tensor("position_embd.weight", &[32, 64], TensorType::F32),
    ]);
    let seen = |plan: &FilePlan| -> Vec<(String, u64, u64)> {
        check(plan)
            .unwrap()
            .matrices
            .iter()
            .map(|group| (group.first.clone(), group.count, group.products(3)))
            .collect()
    };
    let group = |name: &str, count, products| (name.to_owned(), count, products);
    let others = [
        group("blk.0.attn_q.weight", 2, 2 * 32 * 32),
        group("blk.0.ssm_dt.weight", 2, 2 * 32 * 64),
        group("blk.0.ffn_up_exps.weight", 1, 3 * 32 * 64),
    ];
    assert_eq!(seen(&plan), [&[group("token_embd.weight", 1, 32 * 4)][..], &others].concat());
    plan.tensors.push(tensor("output.weight", &[32, 4], TensorType::F16));
    let [embeddings_are_looked_up @ .., output] = &seen(&plan)[..] else { unreachable!() };
    assert_eq!((embeddings_are_looked_up, output), (&others[..], &group("output.weight", 1, 32 * 4)));
}

/// The tiny model as one of another architecture.
fn model_of(name: &str) -> FilePlan {
    let mut plan = tiny_model_with(&[("general.architecture", text(name))], &[]);
    for (key, _) in &mut plan.metadata {
        if let Some(rest) = key.strip_prefix("llama.") {
            *key = format!("{name}.{rest}");
        }
    }
    plan
}

#[test]
fn a_sliding_window_is_found_as_the_architecture_writes_it() {
    // Pattern and window of the file, and the share of the cache with a window of two layers.
    let with = |name: &str, more: &[(&str, Value)]| {
        let mut plan = model_of(name);
        plan.metadata.extend(more.iter().map(|(key, value)| (format!("{name}.{key}"), value.clone())));
        check(&plan).unwrap().sliding_window.map(|window| (window.tokens, window.share))
    };
    let tokens = ("attention.sliding_window", Value::U32(16));
    let pattern = |layers: &[bool]| {
        let layers = layers.iter().map(|&layer| u8::from(layer)).collect();
        (
            "attention.sliding_window_pattern",
            Value::Array(Array::numbers(llama_concurrent_gguf::ValueType::Bool, layers)),
        )
    };
    assert_eq!(with("llama", std::slice::from_ref(&tokens)), None, "a window that llama.cpp does not read");
    assert_eq!(with("gemma2", &[]), Some((4096, 0.5)));
    assert_eq!(with("gemma3", &[]), None);
    assert_eq!(with("gemma3", std::slice::from_ref(&tokens)), Some((16, 1.0)));
    assert_eq!(with("gemma3", &[tokens.clone(), pattern(&[true, false])]), Some((16, 0.5)));
    assert_eq!(with("mimo2", &[tokens.clone(), pattern(&[false, true])]), Some((16, 0.5)));
    assert_eq!(with("mimo2", &[tokens.clone(), pattern(&[false, false])]), None);
    let every_second = ("attention.sliding_window_pattern", Value::U32(2));
    assert_eq!(with("laguna", &[tokens, every_second]), Some((16, 0.5)));

    let window = llama_concurrent_gguf::SlidingWindow { tokens: 1024, share: 0.75 };
    assert_eq!(window.mean_tokens(8192, 512), 1536.0 * 0.75 + 8192.0 * 0.25);
    assert_eq!(window.mean_tokens(1000, 512), 1000.0);
}

#[test]
fn heads_that_llama_cpp_reads_beyond_are_refused() {
    let of = |name: &str, head_size: u32| {
        let mut plan = model_of(name);
        plan.metadata.push((format!("{name}.wkv.head_size"), Value::U32(head_size)));
        check(&plan)
    };
    for name in ["rwkv7", "arwkv7"] {
        for wrong in [0, 16, 96] {
            assert_refused(of(name, wrong), Invalid, "a multiple of 64");
        }
        of(name, 64).unwrap();
    }
    of("rwkv6", 16).unwrap();
}

#[test]
fn rotation_over_no_dimensions_is_refused() {
    let with = |dims| check(&tiny_model_with(&[("llama.rope.dimension_count", Value::U32(dims))], &[]));
    assert!(with(8).is_ok());
    assert_refused(with(0), Invalid, "'llama.rope.dimension_count' is 0");
}
