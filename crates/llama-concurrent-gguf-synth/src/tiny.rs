//! Tiny models of every architecture, with random weights.

use std::fs;
use std::path::Path;

use llama_concurrent_gguf::{GgufError, GgufErrorKind, TensorType};

use crate::architecture::{self, NOT_SYNTHESIZED};
use crate::encode::{FilePlan, TensorPlan};
use crate::unfinished::Unfinished;
use crate::weights;

/// Writes a tiny model of an architecture (see [`architectures`](crate::architectures) and [`encoder_architectures`](crate::encoder_architectures)) with random weights to `out`: a few
/// layers, with sliding windows of 16 tokens and few experts where the architecture has such. Weights are F32, of a deviation
/// at which the next token depends on the whole text. The same name and seed give the same file.
///
/// `tensors_of` says which tensors, names and dimensions, the model has whose metadata are in a file; llama.cpp knows.
///
/// # Errors
/// [`Unsupported`](GgufErrorKind::Unsupported) where there is no such model; what `tensors_of` says, and what writing a file
/// may end in.
pub fn write_architecture<E: From<GgufError>>(
    name: &str,
    seed: u64,
    out: &Path,
    tensors_of: impl FnOnce(&Path) -> Result<Vec<(String, Vec<u64>)>, E>,
) -> Result<(), E> {
    write(name, &[], 0, out)?;
    // What is there so far is no model.
    let tensors = tensors_of(out).inspect_err(|_| _ = fs::remove_file(out))?;
    Ok(write(name, &tensors, seed, out)?)
}

fn write(name: &str, tensors: &[(String, Vec<u64>)], seed: u64, out: &Path) -> Result<(), GgufError> {
    let metadata = architecture::metadata(name).ok_or_else(|| {
        let why = NOT_SYNTHESIZED.iter().find(|(without, _)| *without == name).map(|(_, why)| format!(": {why}"));
        let message = format!("there is no synthetic model of the architecture '{name}'{}", why.unwrap_or_default());
        GgufError::new(GgufErrorKind::Unsupported, out, message)
    })?;
    let of = |(name, dims): &(String, Vec<u64>)| TensorPlan {
        name: name.clone(),
        dims: dims.clone(),
        tensor_type: TensorType::F32,
    };
    let plan = FilePlan { metadata, tensors: tensors.iter().map(of).collect() };
    let header = plan.encode_header();
    let mut unfinished = Unfinished::create(out, header.len() as u64 + plan.data_len())?;
    unfinished.append(&header)?;
    for (index, tensor) in plan.tensors.iter().enumerate() {
        let mut data = weights::tiny(seed, index, &tensor.name, &tensor.dims);
        data.resize(data.len() + tensor.padding() as usize, 0);
        unfinished.append(&data)?;
    }
    unfinished.finish()
}
