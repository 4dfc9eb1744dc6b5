//! Parts of Lark grammars that others write: JSON as a constraint of its own has it, and texts as a schema has them.

use llguidance::{
    derivre::{RegexAst, RegexBuilder},
    regex_to_lark,
};
use serde_json::{Value, json};

use super::{compile::with_options, json_schema};

/// A comment. A grammar that begins with it holds numbers to as many digits as JSON schemas do, wherever they do not stand
/// between quotation marks. For grammars whose texts are JSON and little else.
pub const BOUNDED_DIGITS: &str = "# bounded digits\n";

/// Steps to find out whether a text is possible.
const FUEL: u64 = 10_000;

/// A schema as JSON-schema constraints rewrite it, without references to itself by `#`, so that every part of it means the
/// same anywhere beside its `$defs`.
///
/// # Errors
/// In words: a keyword that cannot be kept, a reference to nothing, or a schema that no value satisfies.
pub fn rewritten(schema: &Value) -> Result<Value, String> {
    json_schema::rewrite_with_names(schema)
}

/// The expression for JSON that is valid under a schema that [`rewritten`] gave, or under a part of one with the `$defs` that
/// it refers to. White space is bounded as elsewhere.
///
/// `escapes` are the letters that may follow a backslash in strings, if not all of them may.
pub fn json(schema: Value, escapes: Option<&str>) -> String {
    let mut schema = match schema {
        Value::Object(_) => schema,
        other => json!({"allOf": [other]}),
    };
    if let (Some(escapes), Value::Object(map)) = (escapes, &mut schema) {
        let options = map.entry("x-guidance").or_insert_with(|| json!({}));
        if let Value::Object(options) = options {
            options.insert("json_allowed_escapes".into(), escapes.into());
        }
    }
    format!("%json {}", with_options(schema))
}

/// The regular expression for whole texts in which a JSON schema's `pattern` is found, if the places of its anchors can be
/// told. It can stand between Lark's slashes.
pub fn pattern(pattern: &str) -> Option<String> {
    let alternatives = alternatives(pattern)?;
    let whole: Vec<String> = alternatives.iter().map(|alternative| searched(alternative)).collect::<Option<_>>()?;
    Some(whole.join("|"))
}

/// Whether a text matches all of these regular expressions and none of those. What would take too long to find out is taken
/// to be possible.
pub fn is_possible(all: &[String], none: &[String]) -> bool {
    let mut parts = vec![RegexAst::Regex("(?s:.*)".into())];
    parts.extend(all.iter().cloned().map(RegexAst::Regex));
    parts.extend(none.iter().map(|one| RegexAst::Not(Box::new(RegexAst::Regex(one.clone())))));
    let mut builder = RegexBuilder::new();
    let regex = builder.mk(&RegexAst::And(parts)).and_then(|both| builder.to_regex_limited(both, FUEL));
    regex.map_or(true, |mut regex| !regex.always_empty())
}

/// One alternative as an expression that matches a text as a whole.
fn searched(alternative: &str) -> Option<String> {
    let (begins, rest) = match alternative.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, alternative),
    };
    let (ends, inner) = match rest.strip_suffix('$') {
        Some(inner) if !is_escaped_at_end(inner) => (true, inner),
        _ => (false, rest),
    };
    let mut places = Places::new(inner);
    if places.any(|(_, c, _)| matches!(c, '^' | '$')) {
        return None;
    }
    let anything = "(?s:.*)";
    let (before, behind) = (if begins { "" } else { anything }, if ends { "" } else { anything });
    Some(format!("{before}(?:{}){behind}", regex_to_lark(inner, "dw")))
}

/// Whether an odd number of backslashes is at the end.
fn is_escaped_at_end(text: &str) -> bool {
    (text.len() - text.trim_end_matches('\\').len()) % 2 == 1
}

/// Parts between the bars that are in no group.
fn alternatives(pattern: &str) -> Option<Vec<&str>> {
    let (mut all, mut from) = (Vec::new(), 0);
    let mut places = Places::new(pattern);
    for (at, c, depth) in places.by_ref() {
        if c == '|' && depth == 0 {
            all.push(&pattern[from..at]);
            from = at + 1;
        }
    }
    all.push(&pattern[from..]);
    (places.depth == 0).then_some(all)
}

/// Characters of an expression that are neither escaped nor in a class, with the groups that are open there.
struct Places<'a> {
    chars: std::str::CharIndices<'a>,
    depth: usize,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Self { chars: text.char_indices(), depth: 0 }
    }
}

impl Iterator for Places<'_> {
    type Item = (usize, char, usize);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (at, c) = self.chars.next()?;
            match c {
                '\\' => drop(self.chars.next()),
                '[' => {
                    // A bracket at the beginning of a class belongs to it.
                    let mut is_first = true;
                    loop {
                        match self.chars.next()?.1 {
                            '^' if is_first => continue,
                            ']' if !is_first => break,
                            '\\' => drop(self.chars.next()),
                            _ => {}
                        }
                        is_first = false;
                    }
                }
                '(' => self.depth += 1,
                ')' => self.depth = self.depth.saturating_sub(1),
                _ => return Some((at, c, self.depth)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        for (written, expected) in [
            ("^[a-z]{2,4}$", Some("(?:[a-z]{2,4})")),
            ("x/y", Some(r"(?s:.*)(?:x\/y)(?s:.*)")),
            ("^a|b$", Some("(?:a)(?s:.*)|(?s:.*)(?:b)")),
            (r"^\$[^$|]+\$", Some(r"(?:\$[^$|]+\$)(?s:.*)")),
            (r"^(a|b)\d$", Some("(?:(a|b)[0-9])")),
            ("(^a)", None),
            (r"a\$", Some(r"(?s:.*)(?:a\$)(?s:.*)")),
        ] {
            assert_eq!(pattern(written).as_deref(), expected, "{written}");
        }
    }

    #[test]
    fn contradictions_are_found() {
        let all = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
        assert!(is_possible(&all(&["[a-z]+", "(?s:.{3,})"]), &all(&["abc"])));
        assert!(!is_possible(&all(&["[a-z]+", "[0-9]*"]), &[]));
        assert!(!is_possible(&all(&["a{3}"]), &all(&["b", "a*"])));
        assert!(is_possible(&all(&["("]), &[]), "not read at all");
    }
}
