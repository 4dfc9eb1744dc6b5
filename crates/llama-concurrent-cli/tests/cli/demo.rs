//! `demo` where nobody watches.

use crate::call;

/// Of the texts, in the order of their lines.
fn numbers(out: &str) -> Vec<u32> {
    out.lines().filter_map(|line| line.split_once(" (")?.0.parse().ok()).collect()
}

#[test]
fn texts_are_lines_and_strategies_are_a_table() {
    let out = call(&["demo", "--threads", "1", "--max-tokens", "6"]).well().out;
    assert_eq!(numbers(&out), [1, 2, 3, 4, 5, 6, 7, 8]);
    for word in ["sequential", "round-robin", "batched", "16 requests", "1 thread", "p99"] {
        assert!(out.contains(word), "'{word}' is missing in: {out}");
    }
    assert!(!out.contains('\u{1b}'), "no terminal, no escape sequences");
}

#[test]
fn a_slow_reader_gets_everything() {
    let args = ["demo", "--threads", "1", "--max-tokens", "6", "--slots", "3", "--no-table", "--read-speed", "40"];
    let out = call(&args).well().out;
    assert_eq!(numbers(&out), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(!out.contains("sequential"), "{out}");
}

#[test]
fn impossible_wishes_are_refused() {
    call(&["demo", "--slots", "0"]).refused(&["slots is 0"]);
    call(&["demo", "--max-tokens", "0"]).refused(&["max_tokens is 0"]);
}
