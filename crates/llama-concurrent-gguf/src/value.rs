//! Metadata values as the file holds them. Arrays stay in their encoded form: a vocabulary has some hundred thousand
//! strings, and most of them are only ever counted, compared or copied to another file.

use std::borrow::Cow;
use std::fmt;

/// The type of a metadata value, or of the elements of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl ValueType {
    const BY_ID: [ValueType; 13] = [
        ValueType::U8,
        ValueType::I8,
        ValueType::U16,
        ValueType::I16,
        ValueType::U32,
        ValueType::I32,
        ValueType::F32,
        ValueType::Bool,
        ValueType::String,
        ValueType::Array,
        ValueType::U64,
        ValueType::I64,
        ValueType::F64,
    ];

    pub(super) fn from_id(id: u32) -> Option<ValueType> {
        Self::BY_ID.get(id as usize).copied()
    }

    /// The number in `enum gguf_type`.
    pub fn id(self) -> u32 {
        self as u32
    }

    /// Bytes of one element in the file; `None` where they vary.
    pub(super) fn size(self) -> Option<usize> {
        match self {
            ValueType::U8 | ValueType::I8 | ValueType::Bool => Some(1),
            ValueType::U16 | ValueType::I16 => Some(2),
            ValueType::U32 | ValueType::I32 | ValueType::F32 => Some(4),
            ValueType::U64 | ValueType::I64 | ValueType::F64 => Some(8),
            ValueType::String | ValueType::Array => None,
        }
    }
}

impl fmt::Display for ValueType {
    /// The name that llama.cpp's own messages use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValueType::U8 => "u8",
            ValueType::I8 => "i8",
            ValueType::U16 => "u16",
            ValueType::I16 => "i16",
            ValueType::U32 => "u32",
            ValueType::I32 => "i32",
            ValueType::F32 => "f32",
            ValueType::Bool => "bool",
            ValueType::String => "str",
            ValueType::Array => "arr",
            ValueType::U64 => "u64",
            ValueType::I64 => "i64",
            ValueType::F64 => "f64",
        })
    }
}

/// One metadata value.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value {
    /// The type of the value.
    pub fn value_type(&self) -> ValueType {
        match self {
            Value::U8(_) => ValueType::U8,
            Value::I8(_) => ValueType::I8,
            Value::U16(_) => ValueType::U16,
            Value::I16(_) => ValueType::I16,
            Value::U32(_) => ValueType::U32,
            Value::I32(_) => ValueType::I32,
            Value::F32(_) => ValueType::F32,
            Value::Bool(_) => ValueType::Bool,
            Value::String(_) => ValueType::String,
            Value::Array(_) => ValueType::Array,
            Value::U64(_) => ValueType::U64,
            Value::I64(_) => ValueType::I64,
            Value::F64(_) => ValueType::F64,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The array.
    pub fn as_array(&self) -> Option<&Array> {
        match self {
            Value::Array(array) => Some(array),
            _ => None,
        }
    }

    /// `"str"`, or `"arr[u32]"` for an array.
    pub(super) fn describe_type(&self) -> String {
        match self {
            Value::Array(array) => format!("arr[{}]", array.element),
            other => other.value_type().to_string(),
        }
    }
}

impl fmt::Display for Value {
    /// One line for a listing: long texts are cut, arrays show their type and length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 60;
        match self {
            Value::U8(v) => write!(f, "{v}"),
            Value::I8(v) => write!(f, "{v}"),
            Value::U16(v) => write!(f, "{v}"),
            Value::I16(v) => write!(f, "{v}"),
            Value::U32(v) => write!(f, "{v}"),
            Value::I32(v) => write!(f, "{v}"),
            Value::F32(v) => write!(f, "{v}"),
            Value::Bool(v) => write!(f, "{v}"),
            Value::U64(v) => write!(f, "{v}"),
            Value::I64(v) => write!(f, "{v}"),
            Value::F64(v) => write!(f, "{v}"),
            Value::String(text) => match text.char_indices().nth(LONGEST) {
                Some((end, _)) => write!(f, "{:?}...", &text[..end]),
                None => write!(f, "{text:?}"),
            },
            Value::Array(array) => write!(f, "[{}; {}]", array.element, array.len()),
        }
    }
}

/// An array of metadata values, all of one type. Arrays of arrays do not exist: llama.cpp reads none.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    element: ValueType,
    /// The elements, little-endian, end to end; of strings the bytes alone.
    bytes: Vec<u8>,
    /// Where each string ends in `bytes`; empty for numbers.
    ends: Vec<u32>,
}

impl Array {
    /// An array of numbers or booleans from their bytes, little-endian and end to end.
    pub fn numbers(element: ValueType, bytes: Vec<u8>) -> Array {
        debug_assert!(element.size().is_some_and(|size| bytes.len().is_multiple_of(size)));
        Array { element, bytes, ends: Vec::new() }
    }

    pub(super) fn strings(bytes: Vec<u8>, ends: Vec<u32>) -> Array {
        Array { element: ValueType::String, bytes, ends }
    }

    /// An array of texts.
    ///
    /// # Panics
    ///
    /// If they have 4 GiB or more together.
    pub fn from_strings<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Array {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for string in strings {
            bytes.extend_from_slice(string.as_ref());
            ends.push(u32::try_from(bytes.len()).expect("a vocabulary is far smaller than 4 GiB"));
        }
        Array::strings(bytes, ends)
    }

    /// An array of numbers.
    pub fn from_i32(values: impl IntoIterator<Item = i32>) -> Array {
        Array::numbers(ValueType::I32, values.into_iter().flat_map(i32::to_le_bytes).collect())
    }

    /// The type of the elements.
    pub fn element_type(&self) -> ValueType {
        self.element
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match self.element.size() {
            Some(size) => self.bytes.len() / size,
            None => self.ends.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of element `index`: of a string its text, of a number its little-endian form.
    pub fn bytes_at(&self, index: usize) -> Option<&[u8]> {
        match self.element.size() {
            Some(size) => self.bytes.chunks_exact(size).nth(index),
            None => {
                let end = *self.ends.get(index)? as usize;
                let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
                self.bytes.get(start..end)
            }
        }
    }

    /// The text of string `index`, with a replacement character for what is no UTF-8.
    pub fn text_at(&self, index: usize) -> Option<Cow<'_, str>> {
        match self.element {
            ValueType::String => self.bytes_at(index).map(String::from_utf8_lossy),
            _ => None,
        }
    }

    /// All elements as bytes, in order.
    pub fn iter_bytes(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.bytes_at(index).expect("the index is below the length"))
    }

    /// Element `index` of an array of u32, i32 or bool, as llama.cpp reads its per-layer settings. A negative number
    /// is none.
    pub(super) fn u32_at(&self, index: usize) -> Option<u32> {
        let bytes = self.bytes_at(index)?;
        match self.element {
            ValueType::U32 => Some(u32::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::I32 => u32::try_from(i32::from_le_bytes(bytes.try_into().ok()?)).ok(),
            ValueType::Bool => Some(u32::from(bytes[0] != 0)),
            _ => None,
        }
    }
}
