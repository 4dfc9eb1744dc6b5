//! The texts of a file: plain lines, or JSON lines.

use std::path::Path;

use serde_json::Value;

use crate::{failure::Failure, prompt_lines};

/// Reads all texts of `path`; blank lines are ignored. In JSON lines, objects have them in `field`.
pub fn read(path: &Path, field: &str) -> Result<Vec<String>, Failure> {
    let is_json = path.extension().is_some_and(|extension| extension == "jsonl");
    let mut lines = prompt_lines::read(path)?;
    let mut prompts = Vec::new();
    while let Some(line) = lines.next() {
        let (number, line) = line?;
        if line.trim().is_empty() {
            continue;
        }
        let prompt = if is_json { parse(&line, field).map_err(|what| lines.error(number, what))? } else { line };
        prompts.push(prompt);
    }
    if prompts.is_empty() {
        return Err(Failure::BadInput(format!("{}: it has no {field}s; write one per line", lines.source())));
    }
    Ok(prompts)
}

fn parse(line: &str, field: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
    let prompt = match value {
        Value::String(prompt) => prompt,
        Value::Object(mut fields) => match fields.remove(field) {
            Some(Value::String(prompt)) => prompt,
            Some(_) => return Err(format!("'{field}' is not a string")),
            None => return Err(format!("the object has no '{field}'")),
        },
        _ => return Err(format!(r#"write a JSON string or an object such as {{"{field}": "A fox"}}"#)),
    };
    if prompt.contains('\0') {
        return Err(format!(r"the {field} holds a NUL (\u0000), which is no text"));
    }
    Ok(prompt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_are_strings_or_objects() {
        assert_eq!(parse(r#""a\nb""#, "prompt").unwrap(), "a\nb");
        assert_eq!(parse(r#"{"id": 7, "prompt": "a"}"#, "prompt").unwrap(), "a");
        for (line, expected) in [
            ("a fox", "not JSON"),
            ("7", "a JSON string or an object"),
            (r#"{"text": "a"}"#, "no 'prompt'"),
            (r#"{"prompt": 7}"#, "not a string"),
            (r#""a\u0000b""#, "NUL"),
        ] {
            let error = parse(line, "prompt").unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
