//! A file's header, read without trusting it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use super::error::{GgufError, Problem};
use super::layout;
use super::reader::{MAX_HEADER_BYTES, Reader};
use super::tensor::{TensorInfo, TensorType};
use super::value::{Value, ValueType};

/// What every file begins with.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// What a file has that does not name its alignment.
pub const DEFAULT_ALIGNMENT: u64 = 32;

/// Far beyond any model (a few hundred entries, some thousand tensors), and small enough to hold in memory.
const MAX_METADATA: u64 = 1 << 16;
const MAX_TENSORS: u64 = 1 << 17;
/// `GGML_MAX_NAME` less the closing zero.
const MAX_TENSOR_NAME_BYTES: u64 = 63;
/// `GGML_MAX_DIMS`.
const MAX_DIMS: u32 = 4;

/// The header of a GGUF file: what it says about the model, and where its tensors lie.
///
/// Holds the metadata in memory (some MiB for a large vocabulary) and none of the weights.
#[derive(Debug)]
pub struct Header {
    path: PathBuf,
    version: u32,
    alignment: u64,
    data_offset: u64,
    file_len: u64,
    metadata: Vec<(String, Value)>,
    by_key: HashMap<String, usize>,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
}

impl Header {
    /// Reads and checks the header of the file at `path`, and that the file is long enough for the weights that it
    /// announces. Reads nothing of the weights.
    ///
    /// # Errors
    ///
    /// Each kind of [`GgufErrorKind`](super::GgufErrorKind): the file is missing, unreadable, no GGUF, cut short
    /// anywhere, of another version or byte order, or its contents contradict themselves. No input makes it panic,
    /// wait, or take more than a few hundred MiB.
    pub fn read(path: &Path) -> Result<Header, GgufError> {
        let found = fs::metadata(path).map_err(|e| GgufError::io(path, "open", e))?;
        if found.is_dir() {
            return Err(directory(path).at(path));
        }
        // Opening a named pipe would wait for a writer.
        if !found.is_file() {
            return Err(Problem::not_gguf("this is a device or a pipe, and a model must be a regular file").at(path));
        }
        let file = File::open(path).map_err(|e| GgufError::io(path, "open", e))?;
        let len = file.metadata().map_err(|e| GgufError::io(path, "read", e))?.len();
        Header::parse(BufReader::with_capacity(256 << 10, file), len, path)
    }

    /// Reads a header of a file of `file_len` bytes from its start. `path` goes into messages, and is where other parts of
    /// the model are looked for.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn parse(source: impl Read, file_len: u64, path: &Path) -> Result<Header, GgufError> {
        Header::parse_at(source, file_len, path).map_err(|problem| problem.at(path))
    }

    fn parse_at(mut source: impl Read, file_len: u64, path: &Path) -> Result<Header, Problem> {
        let mut first = Vec::new();
        source.by_ref().take(16).read_to_end(&mut first).map_err(Problem::read)?;
        check_magic(&first)?;
        let mut reader = Reader::new(Cursor::new(first).chain(source), file_len);

        reader.u32()?; // the magic
        let version = read_version(&mut reader)?;
        let tensor_count = read_count(&mut reader, "tensors", MAX_TENSORS)?;
        let metadata_count = read_count(&mut reader, "metadata entries", MAX_METADATA)?;
        let (metadata, by_key) = read_metadata(&mut reader, metadata_count)?;
        let alignment = match by_key.get("general.alignment").map(|&i| &metadata[i].1) {
            None => DEFAULT_ALIGNMENT,
            Some(&Value::U32(alignment)) if alignment.is_power_of_two() => u64::from(alignment),
            Some(other) => {
                return Err(Problem::invalid(format!(
                    "general.alignment is {other} of type {}; it must be a power of two of type u32",
                    other.describe_type()
                )));
            }
        };
        let (tensors, by_name) = read_tensors(&mut reader, tensor_count)?;

        let mut data_offset = reader.position();
        if !tensors.is_empty() {
            data_offset = data_offset.next_multiple_of(alignment);
            layout::check(&tensors, alignment, data_offset, file_len)?;
        }
        Ok(Header {
            path: path.to_owned(),
            version,
            alignment,
            data_offset,
            file_len,
            metadata,
            by_key,
            tensors,
            by_name,
        })
    }

    /// The file that was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Every tensor starts at a multiple of so many bytes, counted from the data section.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Bytes from the start of the file to its data section.
    pub fn data_offset(&self) -> u64 {
        self.data_offset
    }

    /// The size of the file in bytes.
    pub fn file_len(&self) -> u64 {
        self.file_len
    }

    /// The metadata in the order of the file.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.metadata.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The metadata value under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.by_key.get(key).map(|&index| &self.metadata[index].1)
    }

    /// The tensors in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|&index| &self.tensors[index])
    }
}

fn read_version<R: Read>(reader: &mut Reader<R>) -> Result<u32, Problem> {
    let version = reader.u32()?;
    match version {
        2 | 3 => Ok(version),
        0 => Err(reader.damaged("give version 0 of the format".to_owned())),
        // The low half is zero where a small number was written in the other byte order.
        _ if version & 0xFFFF == 0 => Err(Problem::unsupported(
            "the file is big-endian GGUF, and this machine reads little-endian; get the ordinary (little-endian) file",
        )),
        1 => Err(Problem::unsupported(
            "the file is GGUF version 1 of August 2023, which llama.cpp no longer reads; get a newer file of the model",
        )),
        _ => Err(Problem::unsupported(format!(
            "the file is GGUF version {version}, and this build reads 2 and 3; update this program"
        ))),
    }
}

fn read_count<R: Read>(reader: &mut Reader<R>, what: &str, most: u64) -> Result<u64, Problem> {
    let count = reader.u64()?;
    if count > most {
        return Err(reader.damaged(format!("promise {count} {what}, and {most} are the most")));
    }
    Ok(count)
}

type Indexed<T> = (Vec<T>, HashMap<String, usize>);

fn read_metadata<R: Read>(reader: &mut Reader<R>, count: u64) -> Result<Indexed<(String, Value)>, Problem> {
    let (mut metadata, mut by_key) = (Vec::new(), HashMap::new());
    for index in 0..count {
        reader.enter(format!("the key of metadata entry {} of {count}", index + 1));
        let key = reader.key(MAX_HEADER_BYTES)?;
        if key.is_empty() || key.contains('\0') {
            return Err(reader.damaged("is empty or holds a zero byte".to_owned()));
        }
        if by_key.insert(key.clone(), metadata.len()).is_some() {
            return Err(Problem::invalid(format!(
                "the metadata key '{key}' is there twice; the file was written wrongly: get another copy of the model"
            )));
        }
        reader.enter(format!("the value of '{key}'"));
        let value = reader.value()?;
        metadata.push((key, value));
    }
    Ok((metadata, by_key))
}

fn read_tensors<R: Read>(reader: &mut Reader<R>, count: u64) -> Result<Indexed<TensorInfo>, Problem> {
    let (mut tensors, mut by_name) = (Vec::new(), HashMap::new());
    for index in 0..count {
        reader.enter(format!("the description of tensor {} of {count}", index + 1));
        let tensor = read_tensor(reader)?;
        if by_name.insert(tensor.name.clone(), tensors.len()).is_some() {
            return Err(Problem::invalid(format!(
                "the tensor '{}' is there twice; the file was written wrongly: get another copy of the model",
                tensor.name
            )));
        }
        tensors.push(tensor);
    }
    Ok((tensors, by_name))
}

fn read_tensor<R: Read>(reader: &mut Reader<R>) -> Result<TensorInfo, Problem> {
    let name = reader.string(MAX_TENSOR_NAME_BYTES)?;
    if name.is_empty() || name.contains('\0') {
        return Err(reader.damaged("has a name that is empty or holds a zero byte".to_owned()));
    }
    reader.enter(format!("{} ('{name}')", reader.place()));
    let n_dims = reader.u32()?;
    if n_dims > MAX_DIMS {
        return Err(reader.damaged(format!("has {n_dims} dimensions, and ggml knows {MAX_DIMS}")));
    }
    let dims = (0..n_dims).map(|_| reader.u64()).collect::<Result<Vec<_>, _>>()?;
    let type_id = reader.u32()?;
    let offset = reader.u64()?;

    let tensor_type = TensorType::from_id(type_id).ok_or_else(|| unknown_type(&name, type_id))?;
    if dims.contains(&0) {
        return Err(reader.damaged(format!("has the shape {dims:?}, without any element")));
    }
    let row = dims.first().copied().unwrap_or(1);
    if !row.is_multiple_of(tensor_type.block_len()) {
        return Err(reader.damaged(format!(
            "has rows of {row} elements, and {} stores blocks of {}",
            tensor_type.name(),
            tensor_type.block_len()
        )));
    }
    let (elements, bytes) = tensor_type
        .size_of(&dims)
        .ok_or_else(|| reader.damaged(format!("has the shape {dims:?}, more than can be counted")))?;
    Ok(TensorInfo { name, dims, tensor_type, offset, elements, bytes })
}

fn unknown_type(name: &str, id: u32) -> Problem {
    if TensorType::was_removed(id) {
        return Problem::unsupported(format!(
            "the tensor '{name}' is of ggml type {id}, which llama.cpp has removed; get a newer file of the model \
             (Q4_0 instead of Q4_0_4_4, Q4_0_4_8 or Q4_0_8_8)"
        ));
    }
    Problem::unsupported(format!(
        "the tensor '{name}' is of ggml type {id}, unknown to this build; the file is damaged or newer than this \
         program: get another quantisation of the model, or update"
    ))
}

fn check_magic(first: &[u8]) -> Result<(), Problem> {
    if first.is_empty() {
        return Err(Problem::truncated("the file is empty (0 bytes); download or copy it again"));
    }
    let compared = first.len().min(MAGIC.len());
    if first[..compared] == MAGIC[..compared] {
        return Ok(());
    }
    let found = first[..compared].escape_ascii();
    let looks_like = match first {
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' ', b'h', b't', ..] => {
            "; it is a Git LFS pointer: run 'git lfs pull' to get the model itself"
        }
        [b'<', ..] => "; it looks like a web page: the download link led to a page instead of the file",
        [b'P', b'K', 3, 4, ..] => {
            "; it looks like a zip archive or a PyTorch file: convert it with llama.cpp's convert_hf_to_gguf.py"
        }
        [_, _, _, _, _, _, 0, 0, b'{', ..] => {
            "; it looks like safetensors: convert it with llama.cpp's convert_hf_to_gguf.py"
        }
        [b'l', b'm', b'g', b'g', ..] | [b't', b'j', b'g', b'g', ..] | [b'f', b'm', b'g', b'g', ..] => {
            "; it is a GGML file from before August 2023: get a GGUF file of the model"
        }
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0xfd, b'7', b'z', ..] => {
            "; it is compressed: unpack it first"
        }
        _ if first.iter().all(|&byte| byte == 0) => "; it starts with zeros, as an unfinished download does",
        _ => "",
    };
    Err(Problem::not_gguf(format!("this is no GGUF file: it starts with '{found}' instead of 'GGUF'{looks_like}")))
}

/// People name the directory that they downloaded into; say what is in it.
fn directory(path: &Path) -> Problem {
    const NAMED: usize = 3;
    let mut models: Vec<String> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .take(1000)
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "gguf"))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    models.sort();
    let advice = match models.len() {
        0 => "there is no .gguf file in it".to_owned(),
        1..=NAMED => format!("give the file in it: {}", models.join(", ")),
        more => format!("give a file in it: {}, ... ({more} in all)", models[..NAMED].join(", ")),
    };
    Problem::not_gguf(format!("this is a directory; {advice}"))
}

/// Typed access for the checks, as strict about types as llama.cpp: its loader throws where a number has another width.
impl Header {
    pub(super) fn u32(&self, key: &str) -> Result<Option<u32>, Problem> {
        match self.get(key) {
            None => Ok(None),
            Some(&Value::U32(value)) => Ok(Some(value)),
            Some(other) => Err(wrong_type(key, other, "u32")),
        }
    }

    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>, Problem> {
        match self.get(key) {
            None => Ok(None),
            Some(&Value::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(wrong_type(key, other, "bool")),
        }
    }

    pub(super) fn str(&self, key: &str) -> Result<Option<&str>, Problem> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(key, other, "str")),
        }
    }

    /// One number per layer: an array of `n_layer` entries, or a single number that holds for all.
    pub(super) fn per_layer(&self, key: &str, n_layer: u32) -> Result<Option<Vec<u32>>, Problem> {
        let array = match self.get(key) {
            None => return Ok(None),
            Some(&Value::U32(value)) => return Ok(Some(vec![value; n_layer as usize])),
            Some(Value::Array(array))
                if matches!(array.element_type(), ValueType::U32 | ValueType::I32 | ValueType::Bool) =>
            {
                array
            }
            Some(other) => return Err(wrong_type(key, other, "u32 or arr[u32]")),
        };
        if array.len() != n_layer as usize {
            return Err(Problem::invalid(format!(
                "'{key}' has {} entries, and the model has {n_layer} layers; the file was written wrongly",
                array.len()
            )));
        }
        let values: Option<Vec<u32>> = (0..array.len()).map(|index| array.u32_at(index)).collect();
        values.map(Some).ok_or_else(|| Problem::invalid(format!("'{key}' holds a negative number")))
    }
}

pub(super) fn wrong_type(key: &str, found: &Value, expected: &str) -> Problem {
    Problem::invalid(format!(
        "'{key}' is of type {}, and llama.cpp reads {expected}; the file was written wrongly or is damaged",
        found.describe_type()
    ))
}
