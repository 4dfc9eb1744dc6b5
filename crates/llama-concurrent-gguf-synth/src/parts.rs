//! A file taken apart, to be changed and put together again: for tests, which need odd and broken ones.

use std::fs;
use std::path::Path;

use llama_concurrent_gguf::{DEFAULT_ALIGNMENT, GgufError, Header, TensorInfo, TensorType, Value};

use crate::encode::encode_header;

/// Metadata and tensors of a file.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// The metadata in order. Keys may be there twice, if the file shall be broken.
    pub metadata: Vec<(String, Value)>,
    /// The tensors in order.
    pub tensors: Vec<TensorPart>,
}

/// A tensor with its data, which need not be as long as its shape says.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct TensorPart {
    pub name: String,
    pub dims: Vec<u64>,
    pub tensor_type: TensorType,
    pub data: Vec<u8>,
}

impl Parts {
    /// Reads a whole file, its weights included.
    ///
    /// # Errors
    ///
    /// As [`Header::read`].
    pub fn read(path: &Path) -> Result<Parts, GgufError> {
        let header = Header::read(path)?;
        let bytes = fs::read(path).map_err(|error| GgufError::io(path, "read", error))?;
        let data = |offset: u64, len: u64| {
            let start = (header.data_offset() + offset) as usize;
            bytes.get(start..start + len as usize).unwrap_or_default().to_vec()
        };
        let tensor = |tensor: &TensorInfo| TensorPart {
            name: tensor.name().to_owned(),
            dims: tensor.dims().to_vec(),
            tensor_type: tensor.tensor_type(),
            data: data(tensor.offset(), tensor.bytes()),
        };
        Ok(Parts {
            metadata: header.metadata().map(|(key, value)| (key.to_owned(), value.clone())).collect(),
            tensors: header.tensors().iter().map(tensor).collect(),
        })
    }

    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.iter().find(|(present, _)| present == key).map(|(_, value)| value)
    }

    /// Replaces the value under a key, or adds it.
    pub fn set(&mut self, key: &str, value: Value) {
        match self.metadata.iter_mut().find(|(present, _)| present == key) {
            Some((_, present)) => *present = value,
            None => self.metadata.push((key.to_owned(), value)),
        }
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &str) {
        self.metadata.retain(|(present, _)| present != key);
    }

    /// The bytes of the header, with padding behind it. Each tensor is where those before it end by their data.
    pub fn header(&self) -> Vec<u8> {
        let tensors = self.tensors.iter().map(|tensor| {
            let room = (tensor.data.len() as u64).next_multiple_of(DEFAULT_ALIGNMENT);
            (tensor.name.as_str(), &tensor.dims[..], tensor.tensor_type, room)
        });
        encode_header(&self.metadata, tensors)
    }

    /// The bytes of the whole file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header();
        for tensor in &self.tensors {
            bytes.extend(&tensor.data);
            bytes.resize(bytes.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
        }
        bytes
    }
}
