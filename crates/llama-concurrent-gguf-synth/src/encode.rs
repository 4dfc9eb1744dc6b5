//! A header as bytes, the mirror of what reads it.

use llama_concurrent_gguf::{Array, DEFAULT_ALIGNMENT, MAGIC, TensorType, Value, ValueType};

const VERSION: u32 = 3;

/// A file to be written: its metadata, and its tensors in order.
#[derive(Debug, Clone)]
pub struct FilePlan {
    /// The metadata in order.
    pub metadata: Vec<(String, Value)>,
    /// The tensors in order.
    pub tensors: Vec<TensorPlan>,
}

/// A tensor to be written. Its shape must fit its type, and its bytes in 63 bits.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct TensorPlan {
    pub name: String,
    pub dims: Vec<u64>,
    pub tensor_type: TensorType,
}

impl TensorPlan {
    /// Bytes of its data.
    pub fn bytes(&self) -> u64 {
        self.tensor_type.size_of(&self.dims).expect("planned tensors are of sane size").1
    }

    /// Bytes of zeros behind the tensor, up to the next one.
    pub fn padding(&self) -> u64 {
        self.bytes().next_multiple_of(DEFAULT_ALIGNMENT) - self.bytes()
    }
}

impl FilePlan {
    /// The header with the padding behind it: the first tensor starts where it ends, and each tensor is followed by its
    /// [`TensorPlan::padding`].
    pub fn encode_header(&self) -> Vec<u8> {
        let tensors = self.tensors.iter().map(|tensor| {
            (tensor.name.as_str(), &tensor.dims[..], tensor.tensor_type, tensor.bytes() + tensor.padding())
        });
        encode_header(&self.metadata, tensors)
    }

    /// The size of the data section in bytes.
    pub fn data_len(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.bytes() + tensor.padding()).sum()
    }
}

/// A header with padding behind it. Of each tensor name, shape, type, and the bytes that it and its padding take.
pub(super) fn encode_header<'t>(
    metadata: &[(String, Value)],
    tensors: impl ExactSizeIterator<Item = (&'t str, &'t [u64], TensorType, u64)>,
) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        put_string(&mut out, key.as_bytes());
        put_value(&mut out, value);
    }
    let mut offset = 0;
    for (name, dims, tensor_type, room) in tensors {
        put_string(&mut out, name.as_bytes());
        out.extend((dims.len() as u32).to_le_bytes());
        dims.iter().for_each(|dim| out.extend(dim.to_le_bytes()));
        out.extend(tensor_type.id().to_le_bytes());
        out.extend(u64::to_le_bytes(offset));
        offset += room;
    }
    out.resize(out.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
    out
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    out.extend(value.value_type().id().to_le_bytes());
    match value {
        Value::U8(v) => out.push(*v),
        Value::I8(v) => out.extend(v.to_le_bytes()),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::F32(v) => out.extend(v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::String(v) => put_string(out, v.as_bytes()),
        Value::Array(array) => put_array(out, array),
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    out.extend(array.element_type().id().to_le_bytes());
    out.extend((array.len() as u64).to_le_bytes());
    for element in array.iter_bytes() {
        match array.element_type() {
            ValueType::String => put_string(out, element),
            _ => out.extend(element),
        }
    }
}
