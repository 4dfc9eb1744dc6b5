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
    assert!(done.err.contains("/nonsense is not a command"), "{}", done.err);
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
    assert!(done.err.contains("64 tokens is full; dropped the oldest"), "{}", done.err);
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
fn a_model_without_a_template_chats_in_chatml_and_says_so() {
    let files = Files::new();
    let model = files.changed_model("tokenizer.chat_template", "tokenizer.chat_templete");
    let done = chat(&["-m", &model, "--max-tokens", "5", "--log", "warn"], "Who are you?\n");
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("no chat template") && done.err.contains("ChatML"), "{}", done.err);
}

#[test]
fn another_template_can_be_given() {
    let files = Files::new();
    let loses = "{% for m in messages %}{{ m.role }}{{ mode }}{% endfor %}";
    let file =
        files.write("template.jinja", b"{% for m in messages %}{{ raise_exception('mode ' + mode) }}{% endfor %}");
    let kwargs = "{\"mode\": \"M\"}";
    for (args, expected) in [
        (&["--chat-template", loses][..], &["does not show the text"][..]),
        (&["--chat-template-file", &file, "--chat-template-kwargs", kwargs], &["mode M"]),
        (&["--chat-template", "a\n{% if"], &["chat_template", "line 2"]),
        (&["--chat-template", "chatml", "--chat-template-file", &file], &["cannot be used with"]),
        (&["--chat-template-file", "/nowhere"], &["cannot be read"]),
        (&["--chat-template-kwargs", "[]"], &["not a JSON object"]),
    ] {
        chat(args, "Who are you?\n").refused(expected);
    }
    chat(&["--chat-template", "chatml", "--max-tokens", "5", "--parse-special"], "Who are you?\n").well();
}
