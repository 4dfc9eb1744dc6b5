//! Paths, values and files in several parts.

use super::*;
use llama_concurrent_gguf::ValueType;

#[test]
fn paths_that_are_no_model_files() {
    let dir = TestDir::new();
    assert_refused(Header::read(&dir.path("none.gguf")), GgufErrorKind::NotFound, "check the spelling");
    assert_refused(Header::read(&dir.0), GgufErrorKind::NotGguf, "no .gguf file in it");
    dir.file("a.gguf", b"");
    assert_refused(Header::read(&dir.0), GgufErrorKind::NotGguf, "give the file in it: a.gguf");
    assert_refused(Header::read(&dir.path("a.gguf")), GgufErrorKind::Truncated, "empty");
    if cfg!(unix) {
        assert_refused(Header::read(Path::new("/dev/zero")), GgufErrorKind::NotGguf, "device");
    }
}

#[test]
fn every_type_of_value_is_read_as_it_was_written() {
    let texts = Value::Array(Array::from_strings(["", "Grüße", "x"]));
    let values = [
        Value::U8(200),
        Value::I8(-100),
        Value::U16(60000),
        Value::I16(-30000),
        Value::U32(4_000_000_000),
        Value::I32(-2_000_000_000),
        Value::F32(0.5),
        Value::Bool(true),
        Value::String("Grüße\n".to_owned()),
        Value::Array(Array::from_i32([1, -1])),
        Value::Array(Array::numbers(ValueType::F64, 2.5_f64.to_le_bytes().to_vec())),
        Value::Array(Array::numbers(ValueType::Bool, vec![])),
        texts.clone(),
        Value::U64(u64::MAX),
        Value::I64(i64::MIN),
        Value::F64(-0.25),
    ];
    let metadata: Vec<_> = values.into_iter().enumerate().map(|(n, value)| (format!("key.{n}"), value)).collect();
    let header = parse(&encode(&FilePlan { metadata: metadata.clone(), tensors: vec![] })).unwrap();
    for (key, value) in &metadata {
        assert_eq!(header.get(key), Some(value));
    }
    let keys: Vec<&str> = header.metadata().map(|(key, _)| key).collect();
    assert_eq!(keys, metadata.iter().map(|(key, _)| key).collect::<Vec<_>>());

    let array = texts.as_array().unwrap();
    let read: Vec<_> = (0..4).map(|index| array.text_at(index)).collect();
    assert_eq!(read, [Some("".into()), Some("Grüße".into()), Some("x".into()), None]);
    assert_eq!((array.len(), texts.to_string().as_str()), (3, "[str; 3]"));
}

/// The tiny model in two files, the second layer in the second.
fn two_parts(change: impl FnOnce(&mut FilePlan, &mut FilePlan)) -> (TestDir, PathBuf) {
    let mut first = tiny_model();
    let split = |number: u16| {
        [
            ("split.no".to_owned(), Value::U16(number)),
            ("split.count".to_owned(), Value::U16(2)),
            ("split.tensors.count".to_owned(), Value::I32(5)),
        ]
    };
    first.metadata.extend(split(0));
    let mut second = FilePlan { metadata: split(1).into(), tensors: first.tensors.split_off(3) };
    change(&mut first, &mut second);
    let dir = TestDir::new();
    let path = dir.file("m-00001-of-00002.gguf", &encode(&first));
    dir.file("m-00002-of-00002.gguf", &encode(&second));
    (dir, path)
}

fn check_file(path: &Path) -> Result<ModelSummary, GgufError> {
    Header::read(path)?.check_model()
}

#[test]
fn a_model_in_parts_is_checked_as_a_whole() {
    let (_dir, path) = two_parts(|_, _| ());
    let summary = check_file(&path).unwrap();
    let whole = check(&tiny_model()).unwrap();
    assert_eq!((summary.n_files, summary.parameters), (2, whole.parameters));

    // As llama-gguf-split --no-tensor-first-split writes it.
    let (_dir, path) = two_parts(|first, second| second.tensors.splice(..0, first.tensors.drain(..)).for_each(drop));
    assert_eq!(check_file(&path).unwrap().parameters, whole.parameters);
}

#[test]
fn parts_that_do_not_belong_together() {
    use GgufErrorKind::{Invalid, NotFound, Truncated, Unsupported};
    let (dir, path) = two_parts(|_, _| ());
    let second = dir.path("m-00002-of-00002.gguf");
    let bytes = fs::read(&second).unwrap();

    assert_refused(check_file(&second), Unsupported, "part 2 of 2 of a model; give the first, ");
    fs::write(&second, &bytes[..bytes.len() - 1]).unwrap();
    assert_refused(check_file(&path), Truncated, "m-00002-of-00002.gguf: the file is cut short");
    fs::remove_file(&second).unwrap();
    assert_refused(check_file(&path), NotFound, "part 2 of 2 of the model is missing");
    let renamed = dir.file("model.gguf", &fs::read(&path).unwrap());
    assert_refused(check_file(&renamed), Invalid, "rename it so that it ends in '-00001-of-00002.gguf'");

    let (_dir, path) = two_parts(|_, second| second.metadata[0].1 = Value::U16(0));
    assert_refused(check_file(&path), Invalid, "by its contents part 1");
    let (_dir, path) = two_parts(|_, second| second.tensors[0].name = "token_embd.weight".to_owned());
    assert_refused(check_file(&path), Invalid, "in two parts");
    let (_dir, path) = two_parts(|_, second| second.tensors.truncate(1));
    assert_refused(check_file(&path), Invalid, "has 5 tensors, and its 2 parts hold 4");
}
