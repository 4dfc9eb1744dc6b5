//! Files of metadata alone, as vocabularies come, for tests of what reads them.

use llama_concurrent_gguf::{Array, Value};

use crate::encode::FilePlan;

/// The bytes of a file.
pub fn file(metadata: Vec<(String, Value)>) -> Vec<u8> {
    FilePlan { metadata, tensors: Vec::new() }.encode_header()
}

/// A list of strings.
pub fn strings<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Value {
    Value::Array(Array::from_strings(strings))
}

/// A list of numbers.
pub fn numbers(values: impl IntoIterator<Item = i32>) -> Value {
    Value::Array(Array::from_i32(values))
}
