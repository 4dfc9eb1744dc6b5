//! `{% set _ = list.append(item) %}` and `{% set first = list.pop(0) %}`: some templates change a list in place, which the
//! template engine cannot.
//!
//! The tag is rewritten to ones that set the list anew, `{% set list = list + [item] %}` and
//! `{% set first = list[0] %}{% set list = list[1:] %}`.

use std::borrow::Cow;

use crate::percent::{after_bracket, skip_space};

pub(super) fn as_sums(source: &str) -> Cow<'_, str> {
    let mut calls: Vec<(usize, &str)> = source.match_indices(".append(").chain(source.match_indices(".pop(")).collect();
    calls.sort_unstable();
    let mut rewritten = String::new();
    let mut copied = 0;
    for (at, call) in calls {
        let Some(tag) = source.get(copied..at).and_then(|before| before.rfind("{%")).map(|offset| copied + offset)
        else {
            continue;
        };
        let Some((name, list)) = assigned(source, tag, at) else { continue };
        let opening = at + call.len() - 1;
        let end = after_bracket(source, opening);
        let close = skip_space(source, end);
        if !source[close..].starts_with("%}") && !source[close..].starts_with("-%}") || end < opening + 2 {
            continue;
        }
        let argument = &source[opening + 1..end - 1];
        let marker = if source[tag + 2..].starts_with(['-', '+']) { &source[tag + 2..tag + 3] } else { "" };
        let tags = match (call, argument.trim()) {
            (".append(", _) => format!("{{%{marker} set {list} = {list} + [{argument}] "),
            (_, "0") => format!("{{%{marker} set {name} = {list}[0] %}}{{% set {list} = {list}[1:] "),
            (_, "" | "-1") => format!("{{%{marker} set {name} = {list}[-1] %}}{{% set {list} = {list}[:-1] "),
            _ => continue,
        };
        rewritten.push_str(&source[copied..tag]);
        rewritten.push_str(&tags);
        copied = close;
    }
    if copied == 0 {
        return Cow::Borrowed(source);
    }
    rewritten.push_str(&source[copied..]);
    Cow::Owned(rewritten)
}

/// Name and list of a tag `set name = list`, up to the call.
fn assigned(source: &str, tag: usize, call: usize) -> Option<(&str, &str)> {
    let inside = source.get(tag + 2..call)?.trim_start_matches(['-', '+']).trim_start();
    let (name, list) = inside.strip_prefix("set")?.split_once('=')?;
    let (name, list) = (name.trim(), list.trim_start());
    let is_path = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    (is_path(name) && is_path(list)).then_some((name, list))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_changes_is_set_anew() {
        for (source, expected) in [
            ("{%- set _ = ns.ids.append(a ~ (b)) -%}x", "{%- set ns.ids = ns.ids + [a ~ (b)] -%}x"),
            ("{%- set a = ns.ids.pop(0) -%}", "{%- set a = ns.ids[0] %}{% set ns.ids = ns.ids[1:] -%}"),
            ("{% set x = y.append(')') %}{% set x=y.append(2)%}", "{% set y = y + [')'] %}{% set y = y + [2] %}"),
        ] {
            assert_eq!(as_sums(source), expected);
        }
        for source in [
            "",
            "a.append(b)",
            "{{ a.append(b) }}",
            "{% set x = a.append(b) + 1 %}",
            "{% if a.append(b) %}",
            "{% set x = a.append(",
        ] {
            assert_eq!(as_sums(source), source);
        }
    }
}
