//! Broken files: each gives an error of the right kind, none a panic or a large allocation.

use super::*;
use llama_concurrent_gguf::TensorInfo;

fn header_len(plan: &FilePlan) -> usize {
    plan.encode_header().len()
}

#[test]
fn a_file_cut_at_any_byte_is_truncated() {
    let bytes = encode(&tiny_model());
    parse(&bytes).expect("the whole file is sound");
    for len in 0..bytes.len() {
        assert_refused(parse(&bytes[..len]), GgufErrorKind::Truncated, "again");
    }
}

#[test]
fn the_error_says_where_the_file_was_cut() {
    let bytes = encode(&tiny_model());
    let needed = format!("it needs {} bytes, and has {}", bytes.len(), bytes.len() - 1);
    assert_refused(parse(&bytes[..bytes.len() - 1]), GgufErrorKind::Truncated, &needed);
    assert_refused(parse(&bytes[..100]), GgufErrorKind::Truncated, "the value of 'general.name'");
    let name = b"blk.1.attn_q.weight";
    let behind_name = bytes.windows(name.len()).position(|window| window == name).unwrap() + name.len();
    assert_refused(parse(&bytes[..behind_name + 9]), GgufErrorKind::Truncated, "blk.1.attn_q.weight");
}

#[test]
fn padding_behind_the_last_tensor_may_be_missing() {
    let mut plan = tiny_model();
    plan.tensors.push(TensorPlan { name: "odd".to_owned(), dims: vec![3], tensor_type: TensorType::F32 });
    let bytes = encode(&plan);
    parse(&bytes[..bytes.len() - 20]).expect("12 of 32 bytes are the tensor");
    assert_refused(parse(&bytes[..bytes.len() - 21]), GgufErrorKind::Truncated, "cut short");
}

#[test]
fn bytes_behind_the_data_are_no_damage() {
    let mut bytes = encode(&tiny_model());
    bytes.extend([0; 1000]);
    parse(&bytes).unwrap().check_model().unwrap();
}

/// Any outcome is right except a panic; what passes the first check must survive the second.
#[test]
fn random_damage_never_panics() {
    let plan = tiny_model();
    let (sound, header_len) = (encode(&plan), header_len(&plan));
    let mut accepted = 0;
    for seed in 0..6000_u64 {
        let mut random = Lcg(seed);
        let mut bytes = sound.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(header_len);
            bytes[at] = match random.below(4) {
                0 => 0xFF,
                1 => bytes[at] ^ 1 << random.below(8),
                2 => bytes[at].wrapping_add(1),
                _ => random.below(256) as u8,
            };
        }
        if let Ok(header) = parse(&bytes) {
            let _ = header.check_model().map(|summary| summary.to_string());
            accepted += 1;
        }
    }
    assert!(accepted > 100, "{accepted} files got as far as the second check");
}

#[test]
fn random_bytes_behind_the_magic_never_panic() {
    for seed in 0..2000 {
        let mut random = Lcg(seed);
        let mut bytes = encode(&tiny_model())[..24].to_vec();
        bytes.extend((0..500).map(|_| [0, 0, 0, 1, 8, 9, random.below(256) as u8][random.below(7)]));
        assert!(parse(&bytes).is_err());
    }
}

/// In a file of 32 TiB every length up to that is possible, and none may be believed.
#[test]
fn wild_lengths_in_a_huge_file_are_refused_before_memory_is_taken() {
    const HUGE: u64 = 32 << 40;
    let with_length = |prefix: &[u8], length: u64| {
        let mut bytes = encode(&tiny_model())[..8].to_vec();
        bytes.extend(1_u64.to_le_bytes()); // tensors
        bytes.extend(1_u64.to_le_bytes()); // metadata
        bytes.extend(prefix);
        bytes.extend(length.to_le_bytes());
        bytes
    };
    let key_and = |type_ids: &[u32]| {
        let mut prefix = 1_u64.to_le_bytes().to_vec();
        prefix.push(b'k');
        type_ids.iter().for_each(|id| prefix.extend(id.to_le_bytes()));
        prefix
    };
    for length in [1 << 28 | 1, 1 << 40, u64::MAX / 8, u64::MAX - 7, u64::MAX] {
        for prefix in [vec![], key_and(&[8]), key_and(&[9, 0]), key_and(&[9, 8]), key_and(&[9, 12])] {
            let result = parse_as(&with_length(&prefix, length), HUGE);
            assert_refused(result, GgufErrorKind::Invalid, "damaged");
        }
    }
    for (at, what) in [(8, "tensors"), (16, "metadata entries")] {
        let mut bytes = encode(&tiny_model());
        bytes[at..at + 8].copy_from_slice(&(1_u64 << 40).to_le_bytes());
        assert_refused(parse_as(&bytes, HUGE), GgufErrorKind::Invalid, what);
    }
}

#[test]
fn versions_and_byte_orders() {
    let version = |bytes: [u8; 4]| {
        let mut file = encode(&tiny_model());
        file[4..8].copy_from_slice(&bytes);
        parse(&file)
    };
    assert_eq!(version([2, 0, 0, 0]).unwrap().version(), 2);
    assert_refused(version([0, 0, 0, 0]), GgufErrorKind::Invalid, "version 0");
    assert_refused(version([1, 0, 0, 0]), GgufErrorKind::Unsupported, "version 1");
    assert_refused(version([4, 0, 0, 0]), GgufErrorKind::Unsupported, "version 4");
    assert_refused(version([0, 0, 0, 3]), GgufErrorKind::Unsupported, "big-endian");
}

#[test]
fn other_kinds_of_files_are_named() {
    for (start, words) in [
        (&b"ggjt and so on"[..], "starts with 'ggjt'"),
        (b"tjgg\x03\0\0\0", "August 2023"),
        (b"PK\x03\x04\0\0", "zip"),
        (b"<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\x80\x10\0\0\0\0\0\0{\"__metadata__\":", "safetensors"),
        (b"\x1f\x8b\x08\0", "compressed"),
        (&[0; 40], "unfinished download"),
        (b"X", "starts with 'X'"),
    ] {
        assert_refused(parse(start), GgufErrorKind::NotGguf, words);
    }
    assert_refused(parse(b""), GgufErrorKind::Truncated, "empty");
}

#[test]
fn duplicates_are_refused() {
    let mut plan = tiny_model();
    plan.metadata.push(("general.name".to_owned(), Value::U8(1)));
    assert_refused(parse(&encode(&plan)), GgufErrorKind::Invalid, "'general.name' is there twice");

    let mut plan = tiny_model();
    plan.tensors[4].name = "token_embd.weight".to_owned();
    assert_refused(parse(&encode(&plan)), GgufErrorKind::Invalid, "'token_embd.weight' is there twice");
}

#[test]
fn alignment_must_be_a_power_of_two_of_the_right_type() {
    for (value, words) in [
        (Value::U32(0), "is 0 of type u32"),
        (Value::U32(48), "is 48"),
        (Value::U64(32), "of type u64"),
        (Value::String("32".to_owned()), "of type str"),
    ] {
        let plan = tiny_model_with(&[("general.alignment", value)], &[]);
        assert_refused(parse(&encode(&plan)), GgufErrorKind::Invalid, words);
    }
}

/// The description of one tensor, with each field given freely, in a file that is otherwise empty.
fn one_tensor(name: &[u8], dims: &[u64], type_id: u32, offset: u64) -> Result<Vec<TensorInfo>, GgufError> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend((name.len() as u64).to_le_bytes());
    bytes.extend(name);
    bytes.extend((dims.len() as u32).to_le_bytes());
    dims.iter().for_each(|dim| bytes.extend(dim.to_le_bytes()));
    bytes.extend(type_id.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32) + 4096, 0);
    parse(&bytes).map(|header| header.tensors().to_vec())
}

#[test]
fn impossible_tensors_are_refused() {
    use GgufErrorKind::{Invalid, Truncated, Unsupported};
    let tensors = one_tensor(b"t", &[256, 4], 2, 0).unwrap();
    assert_eq!((tensors[0].elements(), tensors[0].bytes()), (1024, 576));
    assert_eq!(one_tensor(b"scalar", &[], 0, 0).unwrap()[0].bytes(), 4);

    assert_refused(one_tensor(b"", &[32], 0, 0), Invalid, "name");
    assert_refused(one_tensor(b"a\0b", &[32], 0, 0), Invalid, "zero byte");
    assert_refused(one_tensor(b"\xFF\xFE", &[32], 0, 0), Invalid, "UTF-8");
    assert_refused(one_tensor(&[b'x'; 64], &[32], 0, 0), Invalid, "64 bytes where 63");
    assert_refused(one_tensor(b"t", &[1, 1, 1, 1, 1], 0, 0), Invalid, "5 dimensions");
    assert_refused(one_tensor(b"t", &[32, 0], 0, 0), Invalid, "without any element");
    assert_refused(one_tensor(b"t", &[33, 32], 2, 0), Invalid, "rows of 33");
    assert_refused(one_tensor(b"t", &[1 << 32, 1 << 32], 0, 0), Invalid, "more than can be counted");
    assert_refused(one_tensor(b"t", &[1 << 62], 0, 0), Invalid, "more than can be counted");
    assert_refused(one_tensor(b"t", &[1 << 60], 0, 0), Truncated, "cut short");
    assert_refused(one_tensor(b"t", &[32], 43, 0), Unsupported, "type 43");
    assert_refused(one_tensor(b"t", &[32], u32::MAX, 0), Unsupported, "unknown");
    assert_refused(one_tensor(b"t", &[32], 31, 0), Unsupported, "removed");
    assert_refused(one_tensor(b"t", &[32], 0, 32), Invalid, "starts at 32");
    assert_refused(one_tensor(b"t", &[32], 0, 7), Invalid, "alignment");
    assert_refused(one_tensor(b"t", &[32], 0, u64::MAX - 31), Invalid, "starts at");
}

#[test]
fn tensors_must_follow_each_other() {
    let sound = encode(&tiny_model());
    // The offset is the last field of a tensor's description; that of the second tensor is the size of the first, 96
    // with padding.
    let name = b"blk.0.attn_norm.weight";
    let start = sound.windows(name.len()).position(|window| window == name).unwrap();
    let at = start + name.len() + 4 + 8 + 4;
    assert_eq!(sound[at..at + 8], 96_u64.to_le_bytes());
    for (offset, words) in [(64_u64, "inside or before 'token_embd.weight'"), (128, "ends at 96"), (100, "alignment")] {
        let mut bytes = sound.clone();
        bytes[at..at + 8].copy_from_slice(&offset.to_le_bytes());
        assert_refused(parse(&bytes), GgufErrorKind::Invalid, words);
    }
}

/// Knuth's linear congruential generator; good enough to choose bytes.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}
