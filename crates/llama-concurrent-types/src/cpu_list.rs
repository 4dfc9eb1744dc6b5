//! Linux's way to write a set of numbers, such as `0-3,8`.

use std::fmt::Write;

use crate::{Error, ErrorKind, Result};

/// More CPUs or nodes than any machine has.
const MOST: usize = 1 << 16;

/// Reads a list of CPUs or nodes such as `0-3,8`, ascending and without repetition.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] if it is not one.
pub fn parse_list(list: &str) -> Result<Vec<usize>> {
    let refuse =
        || Error::new(ErrorKind::InvalidConfig, format!("'{list}' is not a list of numbers; write it as in 0-3,8"));
    let mut numbers = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|&n| n < MOST);
        let (Some(first), Some(last)) = (number(first), number(last)) else { return Err(refuse()) };
        if first > last {
            return Err(refuse());
        }
        numbers.extend(first..=last);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// Writes numbers as [`parse_list`] reads them.
pub fn format_list(numbers: &[usize]) -> String {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut text = String::new();
    for run in sorted.chunk_by(|a, b| a + 1 == *b) {
        let (first, last) = (run[0], run[run.len() - 1]);
        let comma = if text.is_empty() { "" } else { "," };
        let _ = match first == last {
            true => write!(text, "{comma}{first}"),
            false => write!(text, "{comma}{first}-{last}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        for (text, numbers, again) in
            [("0-2,8\n", vec![0, 1, 2, 8], "0-2,8"), ("5, 3-4 ,4", vec![3, 4, 5], "3-5"), ("7", vec![7], "7")]
        {
            assert_eq!(parse_list(text).unwrap(), numbers);
            assert_eq!(format_list(&numbers), again);
        }
        assert_eq!(format_list(&[]), "");
        for bad in ["", "x", "3-1", "1-", "-1", "1,,2", "99999999"] {
            assert!(parse_list(bad).unwrap_err().to_string().contains("0-3,8"), "{bad}");
        }
    }
}
