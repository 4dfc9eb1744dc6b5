//! Reading a header of unknown honesty: every length is compared with what is left of the file before memory is
//! taken for it.

use std::io::{self, Read};

use super::error::Problem;
use super::value::{Array, Value, ValueType};

/// No header may be longer. The longest that are known (262144 tokens with merges and a Hugging Face tokenizer inside)
/// stay below 64 MiB; the limit is there so that a wild length in a huge file cannot fill the memory.
pub(super) const MAX_HEADER_BYTES: u64 = 256 << 20;

/// Reads forward, and knows where it is and what it is reading.
pub(super) struct Reader<R> {
    inner: R,
    position: u64,
    file_len: u64,
    place: String,
}

impl<R: Read> Reader<R> {
    pub fn new(inner: R, file_len: u64) -> Self {
        Reader { inner, position: 0, file_len, place: "the first 24 bytes".to_owned() }
    }

    /// Bytes read so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes between here and the end of the file.
    pub fn remaining(&self) -> u64 {
        self.file_len.saturating_sub(self.position)
    }

    /// Says what comes next, for the error that it may give.
    pub fn enter(&mut self, place: impl Into<String>) {
        self.place = place.into();
    }

    /// What is being read.
    pub fn place(&self) -> &str {
        &self.place
    }

    pub fn u8(&mut self) -> Result<u8, Problem> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    pub fn u32(&mut self) -> Result<u32, Problem> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Problem> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// A string of at most `longest` bytes.
    pub fn string(&mut self, longest: u64) -> Result<String, Problem> {
        let bytes = self.string_bytes(longest)?;
        String::from_utf8(bytes).map_err(|_| self.damaged("holds a string that is not UTF-8".to_owned()))
    }

    /// As above, with an escape sequence for each byte of a string that is not UTF-8.
    pub fn key(&mut self, longest: u64) -> Result<String, Problem> {
        let bytes = self.string_bytes(longest)?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| error.as_bytes().escape_ascii().to_string()))
    }

    fn string_bytes(&mut self, longest: u64) -> Result<Vec<u8>, Problem> {
        let len = self.u64()?;
        if len > longest {
            return Err(self.damaged(format!("holds a string of {len} bytes where {longest} are the most")));
        }
        self.vec(len)
    }

    /// A text: llama.cpp does not mind which bytes it is of.
    fn text(&mut self) -> Result<String, Problem> {
        let bytes = self.string_bytes(MAX_HEADER_BYTES)?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// The value of a metadata entry, its type included.
    pub fn value(&mut self) -> Result<Value, Problem> {
        let value_type = self.value_type()?;
        Ok(match value_type {
            ValueType::U8 => Value::U8(self.u8()?),
            ValueType::I8 => Value::I8(i8::from_le_bytes(self.bytes()?)),
            ValueType::U16 => Value::U16(u16::from_le_bytes(self.bytes()?)),
            ValueType::I16 => Value::I16(i16::from_le_bytes(self.bytes()?)),
            ValueType::U32 => Value::U32(self.u32()?),
            ValueType::I32 => Value::I32(i32::from_le_bytes(self.bytes()?)),
            ValueType::F32 => Value::F32(f32::from_le_bytes(self.bytes()?)),
            ValueType::Bool => Value::Bool(self.u8()? != 0),
            ValueType::String => Value::String(self.text()?),
            ValueType::Array => Value::Array(self.array()?),
            ValueType::U64 => Value::U64(self.u64()?),
            ValueType::I64 => Value::I64(i64::from_le_bytes(self.bytes()?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(self.bytes()?)),
        })
    }

    fn value_type(&mut self) -> Result<ValueType, Problem> {
        let id = self.u32()?;
        ValueType::from_id(id).ok_or_else(|| self.damaged(format!("is of type {id}, and GGUF has types 0 to 12")))
    }

    fn array(&mut self) -> Result<Array, Problem> {
        let element = self.value_type()?;
        let len = self.u64()?;
        match (element, element.size()) {
            (ValueType::String, _) => self.strings(len),
            (_, Some(size)) => {
                let bytes = len.saturating_mul(size as u64);
                Ok(Array::numbers(element, self.vec(bytes)?))
            }
            (_, None) => Err(Problem::unsupported(format!(
                "{} is an array of arrays, which llama.cpp does not read",
                self.place
            ))),
        }
    }

    fn strings(&mut self, len: u64) -> Result<Array, Problem> {
        // Each string has at least its own length in front: 8 bytes.
        self.require(len.saturating_mul(8))?;
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(len as usize);
        for _ in 0..len {
            let string_len = self.u64()?;
            self.require(string_len)?;
            let start = bytes.len();
            bytes.resize(start + string_len as usize, 0);
            self.fill(&mut bytes[start..])?;
            ends.push(bytes.len() as u32);
        }
        Ok(Array::strings(bytes, ends))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut bytes = [0; N];
        self.require(N as u64)?;
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn vec(&mut self, len: u64) -> Result<Vec<u8>, Problem> {
        self.require(len)?;
        let mut bytes = vec![0; len as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Problem> {
        self.inner.read_exact(buffer).map_err(|error| match error.kind() {
            // The file was longer a moment ago: somebody is still writing it.
            io::ErrorKind::UnexpectedEof => self.cut_short(buffer.len() as u64),
            _ => Problem::read(error),
        })?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    /// `len` more bytes exist and a header may be so long. Holds for every allocation made here.
    fn require(&self, len: u64) -> Result<(), Problem> {
        if len > MAX_HEADER_BYTES {
            return Err(self.damaged(format!("claims {len} bytes, more than any header has")));
        }
        if len > self.remaining() {
            return Err(self.cut_short(len));
        }
        if self.position + len > MAX_HEADER_BYTES {
            return Err(self.damaged(format!("lies beyond {} MiB, where no header reaches", MAX_HEADER_BYTES >> 20)));
        }
        Ok(())
    }

    fn cut_short(&self, len: u64) -> Problem {
        Problem::truncated(format!(
            "the file is cut short inside its header: {} needs {len} more bytes at byte {}, and the file ends at byte \
             {}; download or copy it again",
            self.place, self.position, self.file_len
        ))
    }

    /// The contents at this place cannot be right.
    pub fn damaged(&self, what: String) -> Problem {
        Problem::invalid(format!(
            "the header is damaged near byte {}: {} {what}; download or copy the file again",
            self.position, self.place
        ))
    }
}
