//! `run`: shapes, order and exit codes.

use llama_concurrent::{EngineStats, FigureKind};
use serde_json::Value;

use crate::{Files, call_with, run, spawn};

const KEYS: [&str; 11] = [
    "index",
    "text",
    "tokens",
    "finish_reason",
    "n_prompt_tokens",
    "n_cached_tokens",
    "n_output_tokens",
    "queue_ms",
    "ttft_ms",
    "e2e_ms",
    "itl_ms",
];
/// What the statistics have besides the figures of the engine.
const STATS: [&str; 6] =
    ["total_output_tokens", "wall_ms", "decode_tok_s", "prefill_tok_s", "peak_rss_bytes", "per_worker"];

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} in {value}"))
}

#[test]
fn json_lines_have_a_fixed_shape_and_the_order_of_the_prompts() {
    // The longer the prompt, the later it is done; with two slots the last ones wait.
    let prompts = ["A fox and a boat and a house and a hill", "A fox and a boat", "A fox"];
    let args: Vec<_> = prompts.iter().flat_map(|prompt| ["-p", prompt]).collect();
    let done = run(&[&args[..], &["--json", "--stats", "--slots", "2", "--max-tokens", "9", "--ignore-eos"]].concat());
    let lines = done.well().json();
    let (stats, lines) = lines.split_last().expect("a line of stats");
    assert_eq!(lines.len(), prompts.len());
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(keys(line), KEYS);
        assert_eq!(line["index"], index);
        assert_eq!(line["finish_reason"], "length");
        assert_eq!(line["n_output_tokens"], 9);
        assert_eq!(line["tokens"].as_array().expect("ids").len(), 9);
        assert!(line["tokens"][0].is_i64() && !line["text"].as_str().expect("text").is_empty());
        assert_eq!(keys(&line["itl_ms"]), ["p50", "p95", "p99", "max"]);
        assert!(number(&line["itl_ms"], "p50") <= number(&line["itl_ms"], "max"));
        assert!(number(line, "queue_ms") <= number(line, "ttft_ms"));
        assert!(number(line, "ttft_ms") <= number(line, "e2e_ms"));
    }
    let lengths: Vec<_> = lines.iter().map(|line| number(line, "n_prompt_tokens")).collect();
    assert!(lengths.is_sorted_by(|a, b| a > b), "{lengths:?}");

    assert_eq!(keys(stats), ["stats"]);
    let stats = &stats["stats"];
    let figures = EngineStats::FIGURES.iter().map(|figure| match figure.kind {
        FigureKind::Time => format!("{}_ms", figure.name),
        _ => figure.name.to_owned(),
    });
    assert_eq!(keys(stats), figures.chain(STATS.map(str::to_owned)).collect::<Vec<_>>());
    assert_eq!(stats["strategy"], "batched");
    assert_eq!((&stats["slots"], &stats["threads"], &stats["contexts"]), (&2.into(), &1.into(), &1.into()));
    assert_eq!(stats["total_output_tokens"], 27);
    assert!(stats["cpus"].as_array().is_some_and(|cpus| !cpus.is_empty()));
    for key in ["wall_ms", "decode_tok_s", "prefill_tok_s", "peak_rss_bytes", "model_bytes", "kv_bytes"] {
        assert!(number(stats, key) > 0.0, "{key} in {stats}");
    }
}

#[test]
fn the_output_has_the_form_that_was_asked_for() {
    let files = Files::new();
    let schema = r#"{"type": "object", "properties": {"n": {"enum": [7, 8]}}, "required": ["n"], "additionalProperties": false}"#;
    let (in_a_file, grammar) =
        (files.write("n.json", schema.as_bytes()), files.write("g.lark", b"start: \"a\" | \"b\""));
    let text = |args: &[&str]| {
        let lines = run(&[&["-p", "A fox", "--json"], args].concat()).well().json();
        assert_eq!(lines[0]["finish_reason"], "stop");
        lines[0]["text"].as_str().expect("text").to_owned()
    };
    for schema in [schema, &in_a_file] {
        let value: Value = serde_json::from_str(&text(&["--json-schema", schema])).expect("JSON");
        assert!([7, 8].contains(&value["n"].as_i64().expect("a number")), "{value}");
    }
    assert!(["left", "right"].contains(&text(&["--regex", "(left|right)"]).as_str()));
    assert!(["a", "b"].contains(&text(&["--grammar-file", &grammar]).as_str()));

    run(&["-p", "A fox", "--regex", "("]).refused(&["regular expression", "unclosed"]);
    run(&["-p", "A fox", "--json-schema", "{"]).refused(&["not JSON"]);
    run(&["-p", "A fox", "--json-schema", &files.path("missing.json")]).refused(&["cannot read", "missing.json"]);
    run(&["-p", "A fox", "--regex", "a", "--grammar-file", &grammar]).refused(&["--regex", "--grammar-file"]);
}

#[test]
fn one_token_has_no_gaps() {
    let lines = run(&["-p", "A fox", "--json", "--max-tokens", "1"]).well().json();
    assert!(lines[0]["itl_ms"]["p50"].is_null() && lines[0]["itl_ms"]["max"].is_null());
    assert!(number(&lines[0], "ttft_ms") > 0.0);
}

#[test]
fn a_refused_request_has_its_error_in_its_line_and_disturbs_no_other() {
    let long = "a fox ".repeat(200);
    let args = ["-p", "A fox", "-p", &long, "-p", "", "-p", "A boat"];
    let done = run(&[&args[..], &["--json", "--n-ctx", "64", "--max-tokens", "5"]].concat());
    assert_eq!(done.code, Some(2));
    let lines = done.json();
    assert_eq!(lines.len(), 4);
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["index"], index);
        match index {
            1 | 2 => {
                assert_eq!(keys(line), ["index", "error", "finish_reason"]);
                assert_eq!(line["finish_reason"], "error");
            }
            _ => assert_eq!(keys(line), KEYS),
        }
    }
    assert!(lines[1]["error"].as_str().is_some_and(|error| error.contains("64")), "{}", lines[1]);
    assert!(lines[2]["error"].as_str().is_some_and(|error| error.contains("empty")), "{}", lines[2]);
    assert!(done.err.contains("error: prompt 2: ") && done.err.contains("error: prompt 3: "), "{}", done.err);
}

#[test]
fn one_prompt_gives_its_bare_text() {
    let text = run(&["-p", "A fox", "--max-tokens", "8", "--ignore-eos"]).well().out;
    let json = run(&["-p", "A fox", "--max-tokens", "8", "--ignore-eos", "--json"]).well().json();
    assert_eq!(text, format!("{}\n", json[0]["text"].as_str().expect("text")));
}

#[test]
fn several_prompts_stand_above_their_texts_in_order() {
    let args =
        ["-p", "A fox", "-p", "A boat\nand a hill", "-p", "A house", "--max-tokens", "4", "--ignore-eos", "--stats"];
    let out = run(&args).well().out;
    let titles: Vec<_> = out.lines().filter(|line| line.starts_with("── ")).collect();
    assert_eq!(titles, ["── 1/3 ── A fox", "── 2/3 ── A boat and a hill", "── 3/3 ── A house"]);
    for word in ["batched", "16 slots", "12 tokens", "tok/s", "KV"] {
        assert!(out.contains(word), "'{word}' is missing in: {out}");
    }
}

#[test]
fn strategies_are_pools() {
    for (strategy, slots, contexts) in [("sequential", "1", 1), ("round-robin", "3", 3), ("batched", "3", 1)] {
        let args = ["-p", "A fox", "--max-tokens", "2", "--json", "--stats", "--strategy", strategy, "--slots", slots];
        let lines = run(&args).well().json();
        assert_eq!(lines[1]["stats"]["strategy"], strategy);
        assert_eq!(lines[1]["stats"]["contexts"], contexts);
        assert_eq!(lines[1]["stats"]["slots"].to_string(), slots);
    }
}

#[test]
fn request_i_draws_with_seed_plus_i() {
    let args = ["--json", "--reproducible", "--temp", "1.5", "--top-k", "0", "--top-p", "1", "--min-p", "0"];
    let tokens = |prompts: &[&str], seed| {
        let lines = run(&[&args[..], prompts, &["--seed", seed, "--max-tokens", "12", "--ignore-eos"]].concat());
        lines.well().json().iter().map(|line| line["tokens"].clone()).collect::<Vec<_>>()
    };
    let both = tokens(&["-p", "A fox", "-p", "A fox"], "5");
    assert_eq!(both, [tokens(&["-p", "A fox"], "5"), tokens(&["-p", "A fox"], "6")].concat());
    assert_ne!(both[0], both[1]);
}

#[test]
fn prompts_come_from_stdin() {
    let args = ["run", "--threads", "1", "--prompts-file", "-", "--json", "--max-tokens", "2"];
    let lines = call_with(&args, "A fox\n\n  \nA bär\r\nA boat".as_bytes()).well().json();
    assert_eq!(lines.len(), 3);
}

#[test]
fn prompts_come_from_files_of_lines_and_of_json() {
    let files = Files::new();
    let plain = files.write("prompts.txt", b"\"A fox\"\nA boat\n");
    let json = files.write("prompts.jsonl", b"\"A fox\"\n\n{\"id\": 1, \"prompt\": \"A boat\\nA house\"}\n");
    let lengths = |file: &str| -> Vec<f64> {
        let lines = run(&["--prompts-file", file, "--json", "--max-tokens", "1"]).well().json();
        lines.iter().map(|line| number(line, "n_prompt_tokens")).collect()
    };
    let (plain, json) = (lengths(&plain), lengths(&json));
    assert_eq!((plain.len(), json.len()), (2, 2));
    assert!(plain[0] > json[0], "quotation marks belong to a plain line only: {plain:?} {json:?}");
    assert!(plain[1] < json[1], "an escaped line break belongs to the prompt: {plain:?} {json:?}");
}

#[test]
fn stop_strings_and_deadlines_end_a_text() {
    let text = run(&["-p", "A fox", "--max-tokens", "8", "--ignore-eos"]).well().out;
    let stop = text.chars().nth(3).expect("some text").to_string();
    let lines = run(&["-p", "A fox", "--max-tokens", "8", "--ignore-eos", "--json", "--stop", &stop]).well().json();
    assert_eq!(lines[0]["finish_reason"], "stop");
    assert!(!lines[0]["text"].as_str().expect("text").contains(&stop));

    let late = run(&["-p", "A fox", "--json", "--ignore-eos", "--timeout-ms", "0"]);
    assert_eq!((late.code, &late.json()[0]["finish_reason"]), (Some(0), &"deadline".into()));
    assert!(late.err.starts_with("warning: "), "{}", late.err);
}

#[test]
fn tokens_end_a_text_and_samplers_are_named_as_in_llama_cpp() {
    let args = ["-p", "A fox", "--max-tokens", "8", "--ignore-eos", "--json"];
    let free = run(&args).well().json();
    let third = free[0]["tokens"][2].to_string();
    let stopped = run(&[&args[..], &["--stop-token-id", &third]].concat()).well().json();
    assert_eq!(stopped[0]["finish_reason"], "stop");
    assert!(stopped[0]["n_output_tokens"].as_u64() < Some(3), "{stopped:?}");
    let later = run(&[&args[..], &["--stop-token-id", &third, "--min-tokens", "7"]].concat()).well().json();
    assert!(later[0]["n_output_tokens"].as_u64() >= Some(7), "{later:?}");
    let samplers = [
        "--typical-p",
        "0.9",
        "--top-n-sigma",
        "1",
        "--xtc-probability",
        "0.1",
        "--xtc-threshold",
        "0.2",
        "--dynatemp-range",
        "0.1",
        "--dynatemp-exp",
        "1",
        "--mirostat-lr",
        "0.1",
        "--mirostat-ent",
        "5",
    ];
    run(&[&args[..], &samplers].concat()).well();
    let refused = run(&[&args[..], &["--mirostat", "3"]].concat());
    assert!(refused.code == Some(2) && refused.err.contains("mirostat"), "{}", refused.err);
}

#[test]
fn biases_repetitions_targets_and_log_probabilities_are_options_too() {
    let args = ["-p", "A fox", "--max-tokens", "8", "--ignore-eos", "--json"];
    let tokens = |more: &[&str]| {
        let lines = run(&[&args[..], more].concat()).well().json();
        lines[0]["tokens"].as_array().expect("tokens").clone()
    };
    let bias = format!("{}+100", tokens(&[])[0]);
    let always = tokens(&["--logit-bias", &bias]);
    assert!(always.iter().all(|token| *token == always[0]), "{always:?}");
    let dry = tokens(&["--logit-bias", &bias, "--dry-multiplier", "1000", "--dry-sequence-breaker", "#"]);
    assert!(dry.iter().any(|token| *token != dry[0]), "{dry:?}");
    let draws = ["--temp", "1", "--top-k", "0", "--top-p", "1", "--min-p", "0", "--seed", "1"];
    assert_ne!(tokens(&draws), tokens(&[&draws[..], &["--adaptive-target", "0.1"]].concat()));
    run(&["-p", "A fox", "--dry-base", "0.5"]).refused(&["dry_base is 0.5"]);

    let lines = run(&[&args[..], &["--logprobs", "2"]].concat()).well().json();
    let told = lines[0]["logprobs"].as_array().expect("log probabilities");
    assert_eq!(told.len(), 8);
    assert_eq!((&told[0]["token"], told[0]["top"].as_array().map(Vec::len)), (&lines[0]["tokens"][0], Some(2)));
    assert!(number(&told[0], "logprob") <= 0.0);
    run(&["-p", "A fox", "--logprobs", "2"]).refused(&["--json"]);
}

#[test]
fn a_closed_output_is_a_quiet_end() {
    for args in [
        &["run", "--threads", "1", "-p", "A fox", "--json"][..],
        &["run", "--threads", "1", "-p", "A fox", "-p", "A boat"],
        &["inspect", "--metadata", crate::demo_model().to_str().expect("a path in UTF-8")],
        &["run", "--help"],
    ] {
        let mut child = spawn(args);
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("the program can be waited for");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), err.as_ref()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn special_tokens_are_written_where_one_asks_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let grammar = dir.path().join("special.lark");
    std::fs::write(&grammar, "start: <|user|> \"hi\"").unwrap();
    let args = ["-p", "A fox", "--grammar-file", grammar.to_str().unwrap()];
    assert_eq!(run(&args).well().out.trim(), "hi");
    assert_eq!(run(&[&args[..], &["--special"]].concat()).well().out.trim(), "<|user|>hi");
    assert_eq!(run(&[&args[..], &["--stop", "<|user|>"]].concat()).well().out.trim(), "");
}

#[test]
fn drafts_are_counted() {
    let prompt = "Once upon a time there was a fox named Tom. Tom liked to play in the garden. One day Tom the fox found a red \
                  ball. Tom liked to play with the red ball. One day Tom the fox";
    let of = |speculation: &str| {
        let done = run(&[
            "-p",
            prompt,
            "--json",
            "--stats",
            "--max-tokens",
            "80",
            "--ignore-eos",
            "--speculation",
            speculation,
        ]);
        let lines = done.well().json();
        (lines[0]["text"].clone(), lines.last().expect("a line of stats")["stats"].clone())
    };
    let (plain, off) = of("off");
    assert_eq!((number(&off, "drafted_tokens"), &off["speculation"]), (0.0, &Value::from("off")));
    let (drafted, lookup) = of("lookup");
    assert!(number(&lookup, "drafted_tokens") >= number(&lookup, "accepted_tokens"));
    assert!(number(&lookup, "drafted_tokens") > 0.0);
    if lookup["kernels"] != "off" {
        assert_eq!(plain, drafted);
    }
    let table = run(&["-p", prompt, "--stats", "--max-tokens", "80", "--ignore-eos", "--speculation", "lookup"]);
    assert!(table.well().out.contains("tokens per call"));
    let none = run(&["-p", prompt, "--speculation", "draft"]);
    assert!(none.err.contains("draft_model"), "{}", none.err);
}
