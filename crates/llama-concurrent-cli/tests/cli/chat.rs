//! `chat` as a script uses it: one message per line.

use crate::{Done, Files, call_with};

fn chat(args: &[&str], input: &str) -> Done {
    call_with(&[&["chat", "--threads", "1"], args].concat(), input.as_bytes())
}

#[test]
fn each_line_is_answered() {
    let out = chat(&["--max-tokens", "20"], "Who are you?\n\nWhat is an otter?\n").well().out;
    let answers: Vec<_> = out.lines().filter(|line| !line.is_empty()).collect();
    assert!(answers.len() >= 2, "{out}");
}

#[test]
fn commands_are_no_messages() {
    let done = chat(&["--max-tokens", "5"], "/help\n/nonsense\n/reset\n/quit\nWho are you?\n");
    assert_eq!(done.code, Some(0));
    assert!(done.out.contains("/reset") && done.out.lines().count() == 4, "only the help: {}", done.out);
    assert!(done.err.contains("/nonsense is no command"), "{}", done.err);
}

#[test]
fn a_reset_forgets_what_was_said() {
    let args = ["--max-tokens", "20", "--reproducible"];
    let once = chat(&args, "Who are you?\n").well().out;
    let done = chat(&args, "Who are you?\n/reset\nWho are you?\n");
    assert_eq!(done.out, format!("{once}{once}"));
}

#[test]
fn a_full_context_forgets_the_oldest_turns() {
    let done = chat(&["--n-ctx", "64"], &"What is an otter?\n".repeat(8));
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("64 tokens is full; forgot the oldest"), "{}", done.err);
    assert!(!done.err.contains("error"), "{}", done.err);
}

#[test]
fn a_message_that_never_fits_ends_a_script() {
    let long = "What is an otter? ".repeat(100);
    chat(&["--n-ctx", "64"], &long).refused(&["64 tokens of a slot"]);
}

#[test]
fn what_is_no_text_is_refused_by_line() {
    call_with(&["chat", "--threads", "1"], b"\n\xFF\n").refused(&["stdin, line 2", "UTF-8"]);
}

#[test]
fn a_model_without_a_template_cannot_chat() {
    let files = Files::new();
    let model = files.changed_model("tokenizer.chat_template", "tokenizer.chat_templete");
    chat(&["-m", &model], "Who are you?\n").refused(&["chat template"]);
}
