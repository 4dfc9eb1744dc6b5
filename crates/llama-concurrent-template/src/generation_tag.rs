//! `{% generation %}` blocks.
//!
//! In transformers these mark the text that a model is trained to produce; for a prompt only their content counts. The
//! template engine has no such tag and none can be added to it, so the tags are renamed before it sees them.

use std::borrow::Cow;

/// Renames `generation` tags to `with` tags: a block that prints its content and keeps its variables to itself, as the
/// original does. Line numbers stay as they are. Text, comments, strings and raw blocks are left alone.
pub(super) fn as_plain_blocks(source: &str) -> Cow<'_, str> {
    let mut renamed = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(opening) = source[at..].find('{').map(|offset| at + offset) {
        let inside = opening + 2;
        let Some(delimiter) = source.get(opening..inside) else {
            at = opening + 1;
            continue;
        };
        at = match delimiter {
            "{#" => after(source, inside, "#}"),
            "{{" => after_code(source, inside, "}}"),
            "{%" => {
                let (start, name) = tag_name(source, inside);
                let plain = match name {
                    "generation" => Some("with"),
                    "endgeneration" => Some("endwith"),
                    _ => None,
                };
                if let Some(plain) = plain {
                    renamed.push_str(&source[copied..start]);
                    renamed.push_str(plain);
                    copied = start + name.len();
                }
                let after_tag = after_code(source, start + name.len(), "%}");
                match name {
                    "raw" => end_of_raw(source, after_tag),
                    _ => after_tag,
                }
            }
            _ => opening + 1,
        };
    }
    if copied == 0 {
        return Cow::Borrowed(source);
    }
    renamed.push_str(&source[copied..]);
    Cow::Owned(renamed)
}

/// The first word of a tag and where it starts; empty if the tag has none.
fn tag_name(source: &str, inside: usize) -> (usize, &str) {
    let tag = &source[inside..];
    let trimmed = tag.strip_prefix(['-', '+']).unwrap_or(tag).trim_start();
    let len = trimmed.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(trimmed.len());
    (source.len() - trimmed.len(), &trimmed[..len])
}

/// The position after the next `delimiter`, or the end.
fn after(source: &str, from: usize, delimiter: &str) -> usize {
    source[from..].find(delimiter).map_or(source.len(), |offset| from + offset + delimiter.len())
}

/// As [`after`], but a delimiter within a string literal does not count.
fn after_code(source: &str, from: usize, delimiter: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (offset, character) in source[from..].char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if matches!(character, '"' | '\'') => quote = Some(character),
            None if source[from + offset..].starts_with(delimiter) => {
                return from + offset + delimiter.len();
            }
            None => {}
        }
    }
    source.len()
}

/// The position of the tag that ends a raw block, or the end.
fn end_of_raw(source: &str, from: usize) -> usize {
    source[from..]
        .match_indices("{%")
        .map(|(offset, _)| from + offset)
        .find(|&opening| tag_name(source, opening + 2).1 == "endraw")
        .unwrap_or(source.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_renamed_with_any_whitespace_control() {
        assert_eq!(
            as_plain_blocks("a{% generation %}b{%- endgeneration -%}c\n{%+generation\n%}{%endgeneration%}"),
            "a{% with %}b{%- endwith -%}c\n{%+with\n%}{%endwith%}"
        );
    }

    #[test]
    fn everything_else_is_left_alone() {
        for source in [
            "",
            "{",
            "é{",
            "{é{%",
            "generation {# {% generation %} #} { % generation %}",
            "{{ '{% generation %}' }}{% set x = \"\\\"{% generation %}\" %}",
            "{% if add_generation_prompt %}{% set generation = 1 %}{% generation_x %}",
            "{% raw %}{% generation %}{% endgeneration %}{%- endraw %}",
            "{% raw %}{% generation %}",
            "{% if '",
            "{#",
            "{{ {'a': {'b': 1}} }}",
        ] {
            assert!(matches!(as_plain_blocks(source), Cow::Borrowed(same) if same == source));
        }
    }

    #[test]
    fn a_tag_after_a_raw_block_is_renamed() {
        assert_eq!(
            as_plain_blocks("{% raw %}{% generation %}{% endraw %}{% generation %}"),
            "{% raw %}{% generation %}{% endraw %}{% with %}"
        );
    }
}
