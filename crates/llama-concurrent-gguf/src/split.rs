//! Models in several files. llama.cpp is given the first and finds the others by name.

use std::collections::HashSet;
use std::path::PathBuf;

use super::error::{GgufError, GgufErrorKind, Problem};
use super::header::{Header, wrong_type};
use super::value::Value;

/// In how many files the model is; an error if this is another than the first.
pub(super) fn number_of_files(header: &Header) -> Result<u16, Problem> {
    let count = u16_at(header, "split.count")?.unwrap_or(0).max(1);
    match u16_at(header, "split.no")?.unwrap_or(0) {
        0 => Ok(count),
        // llama.cpp looks at the number in models of several files only.
        _ if count == 1 => Ok(count),
        number => Err(not_the_first(header, number, count)),
    }
}

impl Header {
    /// The files of the other parts, if the model is in several of which this is the first.
    pub fn other_parts(&self) -> Vec<PathBuf> {
        let count = number_of_files(self).unwrap_or(1);
        (1..count).filter_map(|part| part_path(self, 0, part, count)).collect()
    }
}

/// The other parts of the model in `count` files whose first part is `first`, in order; none for a model in one file.
pub(super) fn read_other_parts(first: &Header, count: u16) -> Result<Vec<Header>, GgufError> {
    let parts = (1..count).map(|part| read_part(first, part, count)).collect::<Result<Vec<_>, _>>()?;
    if count > 1 {
        check_total(first, &parts).map_err(|problem| problem.at(first.path()))?;
    }
    Ok(parts)
}

fn read_part(first: &Header, part: u16, count: u16) -> Result<Header, GgufError> {
    let path = part_path(first, 0, part, count).ok_or_else(|| {
        Problem::invalid(format!(
            "this is part 1 of {count} of a model, and llama.cpp finds the others by name only; rename it so that it \
             ends in '{}', and the others alike",
            suffix(0, count)
        ))
        .at(first.path())
    })?;
    let header = Header::read(&path).map_err(|error| match error.kind() {
        GgufErrorKind::NotFound => Problem::not_found(format!(
            "part {} of {count} of the model is missing; put all parts into one directory and give the first, {}",
            part + 1,
            first.path().display()
        ))
        .at(&path),
        _ => error,
    })?;
    let number = u16_at(&header, "split.no").map_err(|problem| problem.at(&path))?;
    if number != Some(part) {
        let found = number.map_or("no part of a model".to_owned(), |n| format!("part {}", n + 1));
        return Err(Problem::invalid(format!(
            "by its name this is part {} of {count} of a model, by its contents {found}; the parts were mixed up",
            part + 1
        ))
        .at(&path));
    }
    Ok(header)
}

fn check_total(first: &Header, others: &[Header]) -> Result<(), Problem> {
    let mut names = HashSet::new();
    for tensor in first.tensors().iter().chain(others.iter().flat_map(|part| part.tensors())) {
        if !names.insert(tensor.name()) {
            return Err(Problem::invalid(format!(
                "the tensor '{}' is in two parts of the model; the parts were mixed up",
                tensor.name()
            )));
        }
    }
    match first.get("split.tensors.count") {
        Some(&Value::I32(total)) if usize::try_from(total) == Ok(names.len()) => Ok(()),
        Some(&Value::I32(total)) => Err(Problem::invalid(format!(
            "the model has {total} tensors, and its {} parts hold {}; the parts are of different models or versions",
            others.len() + 1,
            names.len()
        ))),
        Some(other) => Err(wrong_type("split.tensors.count", other, "i32")),
        None => Err(Problem::invalid("'split.tensors.count' is missing; the model was split wrongly")),
    }
}

fn not_the_first(header: &Header, number: u16, count: u16) -> Problem {
    let advice = match part_path(header, number, 0, count) {
        Some(path) => format!("give the first, {}", path.display()),
        None => "give the first".to_owned(),
    };
    Problem::unsupported(format!("this is part {} of {count} of a model; {advice}", u32::from(number) + 1))
}

/// The path of part `wanted`, given the file of part `number`, by llama.cpp's pattern.
fn part_path(header: &Header, number: u16, wanted: u16, count: u16) -> Option<PathBuf> {
    let name = header.path().file_name()?.to_str()?;
    let stem = name.strip_suffix(&suffix(number, count)).filter(|stem| !stem.is_empty())?;
    Some(header.path().with_file_name(format!("{stem}{}", suffix(wanted, count))))
}

/// `SPLIT_PATH_FORMAT` in llama.cpp.
fn suffix(number: u16, count: u16) -> String {
    format!("-{:05}-of-{count:05}.gguf", u32::from(number) + 1)
}

fn u16_at(header: &Header, key: &str) -> Result<Option<u16>, Problem> {
    match header.get(key) {
        None => Ok(None),
        Some(&Value::U16(value)) => Ok(Some(value)),
        Some(other) => Err(wrong_type(key, other, "u16")),
    }
}
