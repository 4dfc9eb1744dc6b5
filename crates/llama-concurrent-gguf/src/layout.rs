//! Whether the tensors lie in the file as llama.cpp expects them: one after the other in the order of their
//! descriptions, each start aligned, the last one complete.

use super::error::Problem;
use super::tensor::TensorInfo;

/// Checks offsets and the length of the file. The padding behind the last tensor may be missing: it holds nothing.
pub(super) fn check(tensors: &[TensorInfo], alignment: u64, data_offset: u64, file_len: u64) -> Result<(), Problem> {
    let mut data_end = 0;
    for (index, tensor) in tensors.iter().enumerate() {
        let expected = data_end_aligned(data_end, alignment, tensor)?;
        check_start(tensor, expected, alignment, index.checked_sub(1).map(|before| &tensors[before]))?;
        data_end = expected.checked_add(tensor.bytes).ok_or_else(|| uncountable(tensor))?;
    }
    let needed = data_offset.checked_add(data_end).ok_or_else(|| uncountable(tensors.last().unwrap_or(&tensors[0])))?;
    if needed > file_len {
        return Err(Problem::truncated(format!(
            "the file is cut short: it needs {needed} bytes, and has {file_len} ({:.1} % of it); download or copy it \
             again",
            file_len as f64 * 100.0 / needed as f64
        )));
    }
    Ok(())
}

fn data_end_aligned(data_end: u64, alignment: u64, tensor: &TensorInfo) -> Result<u64, Problem> {
    data_end.checked_next_multiple_of(alignment).ok_or_else(|| uncountable(tensor))
}

fn check_start(tensor: &TensorInfo, expected: u64, alignment: u64, before: Option<&TensorInfo>) -> Result<(), Problem> {
    let TensorInfo { name, offset, .. } = tensor;
    if *offset == expected {
        return Ok(());
    }
    let wrong = if !offset.is_multiple_of(alignment) {
        format!("starts at {offset}, no multiple of the alignment of {alignment} bytes")
    } else if *offset < expected {
        match before {
            Some(before) => format!("starts at {offset}, inside or before '{}', which ends at {expected}", before.name),
            None => format!("starts at {offset} instead of 0"),
        }
    } else {
        format!("starts at {offset}, and the tensor before it ends at {expected}")
    };
    Err(Problem::invalid(format!(
        "the tensor '{name}' {wrong}; llama.cpp reads tensors that follow each other without gaps: the file is damaged \
         or was written wrongly, get another copy of the model"
    )))
}

fn uncountable(tensor: &TensorInfo) -> Problem {
    Problem::invalid(format!(
        "the tensor '{}' ends beyond what 64 bits can count; the file is damaged: download or copy it again",
        tensor.name
    ))
}
