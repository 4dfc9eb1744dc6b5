//! What is wrong is said in one sentence, with exit code 2, and never by an abort.

use crate::{Files, call, call_with, command, demo_model, run};

#[test]
fn a_model_that_is_none_is_refused() {
    let files = Files::new();
    let directory = files.path("");
    let missing = files.path("missing.gguf");
    let empty = files.write("empty.gguf", b"");
    let text = files.write("text.gguf", b"Once upon a time there was a file that was no model.");
    let page = files.write("page.gguf", b"<!DOCTYPE html><html></html>");
    let foreign = files.changed_model("llama", "bogus");
    for (model, expected) in [
        (&missing, ["missing.gguf", "No such file"]),
        (&directory, ["directory", "gguf"]),
        (&empty, ["empty.gguf", "empty"]),
        (&text, ["text.gguf", "no GGUF"]),
        (&page, ["page.gguf", "web page"]),
        (&foreign, ["changed.gguf", "bogus"]),
    ] {
        run(&["-m", model, "-p", "A fox"]).refused(&expected);
        call(&["inspect", model]).refused(&expected);
        call(&["chat", "-m", model]).refused(&expected);
        call(&["demo", "-m", model]).refused(&expected);
    }
}

#[test]
fn a_model_cut_anywhere_is_refused() {
    let model = std::fs::read(demo_model()).expect("the demo model");
    let files = Files::new();
    // Ten places over the file, most of which lie in the weights, and ten in its header.
    let ends = (1..=10).flat_map(|i| [model.len() * i / 10 - 1, 4000 * i / 10 + 7 * i]);
    for end in ends {
        let cut = files.write("cut.gguf", &model[..end]);
        run(&["-m", &cut, "-p", "A fox"]).refused(&["cut.gguf"]);
        call(&["inspect", &cut]).refused(&["cut.gguf"]);
    }
}

#[test]
fn a_prompt_that_does_not_fit_is_refused_with_both_numbers() {
    let done = run(&["-p", &"a fox ".repeat(300), "--n-ctx", "64", "--max-tokens", "10"]);
    let done = done.refused(&["max_tokens 10", " 64 tokens"]);
    let numbers: Vec<usize> = done.err.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    assert!(numbers.iter().any(|&n| n >= 300), "the prompt's length is missing in: {}", done.err);
}

#[test]
fn an_empty_prompt_is_refused() {
    run(&["-p", ""]).refused(&["empty"]);
}

#[test]
fn flags_out_of_range_are_refused() {
    for (args, expected) in [
        (["--slots", "0"], ["slots is 0", "1 or more"]),
        (["--slots", "-1"], ["'-1'", "--slots"]),
        (["--slots", "many"], ["'many'", "--slots"]),
        (["--threads", "-1"], ["--threads", "must be a whole number, 0 or more"]),
        (["--threads", "99999999999999999999"], ["--threads", "too large a number"]),
        (["--threads", "0"], ["threads is 0", "leave it out"]),
        (["--slots", "1000"], ["1000", "256"]),
        (["--threads", "0"], ["threads", "at least 1"]),
        (["--n-ctx", "1"], ["n_ctx is 1", "16"]),
        (["--strategy", "turbo"], ["'turbo'", "round-robin"]),
        (["--priority", "urgent"], ["'urgent'", "batch"]),
        (["--max-tokens", "0"], ["max_tokens is 0", "at least 1"]),
        (["--temp", "-1"], ["temperature is -1", "greedy"]),
        (["--temp", "NaN"], ["temperature is NaN", "greedy"]),
        (["--top-p", "0"], ["top_p is 0", "above 0"]),
        (["--min-p", "2"], ["min_p is 2", "between 0"]),
        (["--repetition-penalty", "0"], ["repetition_penalty is 0", "positive"]),
        (["--stop", ""], ["stop string", "empty"]),
        (["--log", "loud"], ["'loud'", "debug"]),
    ] {
        call(&[&["run", "-p", "A fox"], &args[..]].concat()).refused(&expected);
    }
    run(&["-p", "A fox", "--strategy", "sequential", "--slots", "2"]).refused(&["sequential", "slots is 2"]);
    run(&["-p", "A fox", "--strategy", "batched", "--reproducible", "--kernels", "off"])
        .refused(&["reproducible", "round-robin"]);
    run(&[]).refused(&["--prompt", "--prompts-file"]);
    run(&["-p", "A fox", "--prompts-file", "x"]).refused(&["--prompt", "--prompts-file"]);
}

#[test]
fn too_many_threads_are_lowered_with_a_warning() {
    let done = call(&["run", "-p", "A fox", "--max-tokens", "2", "--threads", "9999"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(done.err.matches("warning: ").count(), 1, "{}", done.err);
    assert!(done.err.starts_with("warning: 9999 threads"), "{}", done.err);
}

#[test]
fn prompts_that_are_no_text_are_refused_by_line() {
    let files = Files::new();
    let nul = files.write("nul.txt", b"A fox\n\nA bo\0at\n");
    let latin = files.write("latin.txt", b"A fox\nA b\xE4r\n");
    let json = files.write("bad.jsonl", b"\"A fox\"\n{\"text\": \"A boat\"}\n");
    let blank = files.write("blank.txt", b"\n  \n");
    for (file, expected) in [
        (&nul, ["nul.txt, line 3", "NUL"]),
        (&latin, ["latin.txt, line 2", "UTF-8"]),
        (&json, ["bad.jsonl, line 2", "'prompt'"]),
        (&blank, ["blank.txt", "no prompt"]),
        (&files.path("missing.txt"), ["missing.txt", "cannot open"]),
        (&files.path(""), ["directory", "prompts"]),
    ] {
        let done = run(&["--prompts-file", file, "--json"]).refused(&expected);
        assert_eq!(done.out, "", "nothing runs if the file is bad");
    }
    let args = ["run", "--prompts-file", "-"];
    call_with(&args, b"A fox\nA b\xFF\n").refused(&["stdin, line 2", "UTF-8"]);
    call_with(&args, b"").refused(&["stdin: it has no prompts"]);
}

#[cfg(unix)]
#[test]
fn arguments_that_are_no_text_are_refused() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let args = [OsStr::new("run"), OsStr::new("-p"), OsStr::from_bytes(b"A b\xE4r")];
    let output = command(&args).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("UTF-8"));
}
