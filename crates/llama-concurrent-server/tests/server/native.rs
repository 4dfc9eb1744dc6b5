//! llama-server's routes and request shapes.

use llama_concurrent::{Request, SamplingParams, parameters::Kind};
use llama_concurrent_server::ServerConfig;
use serde_json::{Value, json};

use super::{engine_config, start, start_with};

#[test]
fn every_shape_of_a_prompt_works() {
    let server = start();
    let one = |prompt: Value| {
        let body =
            json!({"prompt": prompt, "n_predict": 3, "temperature": 0, "ignore_eos": true, "cache_prompt": true});
        let (status, answer) = server.post("/completion", &body);
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let text = one(json!("A fox"));
    let tokens = server.engine.tokenize("A fox").unwrap();
    assert_eq!(one(json!(tokens))["content"], text["content"]);
    assert_eq!(one(json!({"prompt_string": "A fox"}))["content"], text["content"]);
    let mixed = one(json!(["A", tokens[1], "x"]));
    assert!(mixed["tokens_evaluated"].as_u64().unwrap() >= 3);
    let several = one(json!(["A fox", [tokens[0], "x"], tokens]));
    assert_eq!(several.as_array().map(Vec::len), Some(3));
    assert_eq!(several[0]["content"], text["content"]);
    assert_eq!(several[2]["index"], 2);
}

#[test]
fn an_answer_has_what_clients_read() {
    let server = start();
    let body =
        json!({"prompt": "A fox", "n_predict": 5, "ignore_eos": true, "return_tokens": true, "seed": 7, "n_probs": 2});
    let (_, answer) = server.post("/completions", &body);
    assert_eq!(answer["tokens"].as_array().map(Vec::len), Some(5));
    assert_eq!(
        (&answer["stop"], &answer["stop_type"], &answer["truncated"]),
        (&json!(true), &json!("limit"), &json!(false))
    );
    assert_eq!(answer["tokens_predicted"], 5);
    assert_eq!(answer["generation_settings"]["seed"], 7);
    assert_eq!(answer["timings"]["predicted_n"], 5);
    assert_eq!(answer["completion_probabilities"][4]["top_logprobs"].as_array().map(Vec::len), Some(2));
    assert_eq!(answer["prompt"], "<|bos|>A fox", "with the special tokens that it really has");

    let picked = json!({"prompt": "A fox", "n_predict": 1, "response_fields": ["content", "generation_settings/n_predict", "no"]});
    let (_, answer) = server.post("/completion", &picked);
    assert_eq!(
        answer.as_object().map(|answer| answer.keys().map(String::as_str).collect()),
        Some(vec!["content", "generation_settings/n_predict"])
    );

    let (_, silent) = server.post("/completion", &json!({"prompt": "A fox", "n_predict": 0}));
    assert_eq!((&silent["content"], &silent["tokens_predicted"]), (&json!(""), &json!(0)));
}

#[test]
fn a_stream_has_content_and_stop() {
    let server = start();
    let body = json!({"prompt": "A fox", "n_predict": 6, "ignore_eos": true, "temperature": 0, "stream": true});
    let events = server.stream("/completion", &body);
    let (last, parts) = events.split_last().unwrap();
    assert!(parts.iter().all(|part| part["stop"] == false && part["content"].is_string()));
    assert_eq!((&last["stop"], &last["timings"]["predicted_n"]), (&json!(true), &json!(6)));
    let tokens: usize = events.iter().map(|part| part["tokens"].as_array().unwrap().len()).sum();
    assert_eq!(tokens, 6, "every token once, also those of which no text came");
}

#[test]
fn a_prompt_that_leaves_less_room_than_wished_is_cut_at_the_end() {
    let server = start();
    let n_ctx = server.engine.n_ctx();
    let prompt = vec![5; n_ctx - 4];
    let (status, answer) = server.post("/completion", &json!({"prompt": prompt, "n_predict": 100, "ignore_eos": true}));
    assert_eq!((status, &answer["truncated"], &answer["stop_type"]), (200, &json!(true), &json!("limit")), "{answer}");
    let (status, error) = server.post("/completion", &json!({"prompt": vec![5; n_ctx]}));
    assert_eq!((status, &error["error"]["type"]), (400, &json!("exceed_context_size_error")));
    assert_eq!((&error["error"]["n_prompt_tokens"], &error["error"]["n_ctx"]), (&json!(n_ctx), &json!(n_ctx)));
}

#[test]
fn probabilities_may_be_those_of_the_draw() {
    let server = start();
    let ask = |fields: Value| {
        let mut body = json!({"prompt": "Once upon a", "n_predict": 4, "ignore_eos": true, "n_probs": 5, "seed": 3,
            "post_sampling_probs": true});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        server.post("/completion", &body).1["completion_probabilities"].as_array().unwrap().clone()
    };
    for one in ask(json!({"temperature": 1.5, "top_k": 3, "top_p": 1, "min_p": 0})) {
        let top = one["top_probs"].as_array().unwrap();
        let sum: f64 = top.iter().map(|other| other["prob"].as_f64().unwrap()).sum();
        assert!(top.len() == 3 && (sum - 1.0).abs() < 1e-3, "what was cut is impossible: {one}");
        assert!(top.iter().any(|other| (&other["id"], &other["prob"]) == (&one["id"], &one["prob"])), "{one}");
        assert!(one.get("logprob").is_none() && one.get("top_logprobs").is_none(), "{one}");
    }
    for one in ask(json!({"temperature": 0})) {
        assert_eq!((&one["prob"], one["top_probs"].as_array().map(Vec::len)), (&json!(1.0), Some(1)), "{one}");
    }
    let streamed = json!({"prompt": "A", "n_predict": 1, "n_probs": 1, "post_sampling_probs": true, "stream": true});
    let events = server.stream("/completion", &streamed);
    assert!(events.iter().any(|event| event["completion_probabilities"][0]["prob"].is_number()), "{events:?}");
}

#[test]
fn text_and_tokens_turn_into_each_other() {
    let server = start();
    let (_, answer) = server.post("/tokenize", &json!({"content": "A small fox", "with_pieces": true}));
    let pieces: String =
        answer["tokens"].as_array().unwrap().iter().map(|one| one["piece"].as_str().unwrap()).collect();
    assert_eq!(pieces, "A small fox");
    let (_, plain) = server.post("/tokenize", &json!({"content": "A small fox"}));
    let (_, info) = server.get("/tokenizer_info");
    assert_eq!((&info["bos_token"], &info["eos_token"]), (&json!("<|bos|>"), &json!("<|end|>")));
    let (_, of_vllm) = server.post("/tokenize", &json!({"prompt": "A small fox", "add_special_tokens": false}));
    assert_eq!(
        (&of_vllm["tokens"], &of_vllm["count"]),
        (&plain["tokens"], &json!(plain["tokens"].as_array().unwrap().len()))
    );
    let (_, with_bos) = server.post("/tokenize", &json!({"prompt": "A small fox"}));
    assert_eq!(with_bos["tokens"].as_array().unwrap()[1..], plain["tokens"].as_array().unwrap()[..]);
    let (_, back) = server.post("/detokenize", &plain);
    assert_eq!(back["prompt"], back["content"]);
    assert_eq!(back["content"], "A small fox");
    let (_, part) = server.post("/tokenize", &json!({"content": "\u{1f98a}", "with_pieces": true}));
    assert!(
        part["tokens"].as_array().unwrap().iter().any(|one| one["piece"].is_array()),
        "bytes where it is no text: {part}"
    );
    let (_, prompt) =
        server.post("/apply-template", &json!({"messages": [{"role": "user", "content": "Hello there"}]}));
    assert!(prompt["prompt"].as_str().is_some_and(|prompt| prompt.contains("Hello there")));
}

#[test]
fn special_tokens_are_text_where_one_asks_for_them() {
    let server = start();
    let user = server.engine.tokenize_with("<|user|>", false, true).unwrap()[0];
    let prompt = "<|user|>Hello<|end|>";
    let (_, tokens) = server.post("/tokenize", &json!({"content": prompt}));
    let (_, back) = server.post("/detokenize", &tokens);
    assert_eq!(back["content"], prompt);
    let (_, pieces) = server.post("/tokenize", &json!({"content": prompt, "with_pieces": true}));
    assert_eq!(pieces["tokens"][0], json!({"id": user, "piece": "<|user|>"}));
    assert_eq!(server.post("/tokenize", &json!({"content": "", "with_pieces": true})).1, json!({"tokens": []}));

    let answer = |more: Value| {
        let mut body = json!({"prompt": prompt, "n_predict": 2, "temperature": 0, "return_tokens": true});
        body["logit_bias"] = json!([[user, 1000]]);
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, answer) = server.post("/completion", &body);
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let hidden = answer(json!({}));
    assert_eq!((&hidden["content"], &hidden["tokens"]), (&json!(""), &json!([user, user])));
    assert!(hidden["prompt"].as_str().unwrap().ends_with(prompt), "{hidden}");
    for shown in [json!({"special": true}), json!({"skip_special_tokens": false})] {
        let shown = answer(shown);
        assert_eq!(
            (&shown["content"], &shown["generation_settings"]["special"]),
            (&json!("<|user|><|user|>"), &json!(true))
        );
    }
    for special in [false, true] {
        let stopped = answer(json!({"stop": ["no", "<|user|>"], "special": special}));
        assert_eq!((&stopped["content"], &stopped["stop_type"]), (&json!(""), &json!("word")));
        assert_eq!((&stopped["stopping_word"], &stopped["tokens"]), (&json!("<|user|>"), &json!([])));
    }
    let (status, error) =
        server.post("/completion", &json!({"prompt": "a", "special": true, "skip_special_tokens": true}));
    assert_eq!((status, &error["error"]["param"]), (400, &json!("skip_special_tokens")));
}

#[test]
fn what_belongs_to_tokens_ends_where_the_text_does() {
    let server = start();
    let body =
        json!({"prompt": "Once upon a time", "max_tokens": 24, "temperature": 0, "ignore_eos": true, "logprobs": 1});
    let (_, whole) = server.post("/v1/completions", &body);
    let text = whole["choices"][0]["text"].as_str().unwrap().to_owned();
    // In the middle of a word, and so of a token or between two.
    let stop = &text[text.len() / 2..text.len() / 2 + 5];
    let mut stopping = body.clone();
    stopping["stop"] = json!(stop);
    let expected = &text[..text.find(stop).unwrap()];
    let check = |text: &str, logprobs: &[Value]| {
        assert_eq!(text, expected);
        let list =
            |name: &str| logprobs.iter().flat_map(|one| one[name].as_array().unwrap().clone()).collect::<Vec<_>>();
        let of_tokens: String = list("tokens").iter().map(|token| token.as_str().unwrap().to_owned()).collect();
        assert!(of_tokens.starts_with(expected) && of_tokens.len() < text.len() + 12, "{of_tokens:?}");
        assert!(list("text_offset").iter().all(|at| at.as_u64().unwrap() < text.chars().count() as u64));
        assert_eq!(list("tokens").len(), list("token_logprobs").len());
    };
    let (_, answer) = server.post("/v1/completions", &stopping);
    let choice = &answer["choices"][0];
    check(choice["text"].as_str().unwrap(), std::slice::from_ref(&choice["logprobs"]));
    stopping["stream"] = json!(true);
    let events = server.stream("/v1/completions", &stopping);
    let choices: Vec<&Value> = events.iter().map(|event| &event["choices"][0]).collect();
    let streamed: String = choices.iter().filter_map(|choice| choice["text"].as_str()).collect();
    let logprobs: Vec<Value> =
        choices.iter().map(|choice| choice["logprobs"].clone()).filter(|one| !one.is_null()).collect();
    check(&streamed, &logprobs);
}

#[test]
fn long_runs_of_a_character_never_end_the_server() {
    let server = start();
    for run in ["a", "!", "1", " ", "\n", "é", "中", "\u{1f98a}"] {
        for n in [6508, 100_000] {
            let text = run.repeat(n);
            assert_eq!(server.post("/tokenize", &json!({"content": text})).0, 200);
            for (route, body) in [
                ("/completion", json!({"prompt": text, "n_predict": 1})),
                ("/v1/embeddings", json!({"input": text})),
                ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": text}], "max_tokens": 1})),
            ] {
                let status = server.post(route, &body).0;
                assert!(matches!(status, 200 | 400), "{route} {run:?} x {n}: {status}");
            }
        }
    }
    assert_eq!(server.get("/health").0, 200);
}

#[test]
fn a_busy_slot_is_shown_and_a_free_one_again() {
    let server = start();
    let (_, props) = server.get("/props");
    assert_eq!(props["total_slots"], 2);
    let share = props["kernels_share"].as_f64().expect("a number");
    assert_eq!(share == 0.0, props["kernels"] == "off", "{props}");
    assert!(props["products"].as_str().is_some_and(|products| products.contains(" % (")), "{props}");
    assert_eq!(props["pack_cache"], "off");
    let (_, Value::String(metrics)) = server.get("/metrics") else { panic!("text is expected") };
    let line = metrics.lines().find_map(|line| line.strip_prefix("llama_concurrent:kernels_share_ratio "));
    assert_eq!(line.and_then(|value| value.parse().ok()), Some(share));
    let first = server.hold_a_slot();
    let (_, slots) = server.get("/slots");
    let busy: Vec<&Value> = slots.as_array().unwrap().iter().filter(|slot| slot["is_processing"] == true).collect();
    assert_eq!(busy.len(), 1, "{slots}");
    assert_eq!(busy[0]["state"], "decode");
    assert_eq!(server.get("/slots?fail_on_no_slot=1").0, 200, "one is free");
    let second = server.hold_a_slot();
    assert_eq!(server.get("/slots?fail_on_no_slot=1").0, 503);
    drop((first, second));
    server.until_idle();
    let (_, slots) = server.get("/slots");
    assert!(slots.as_array().unwrap().iter().all(|slot| slot["is_processing"] == false), "{slots}");
}

/// Also after one has moved to where another one ended.
#[test]
fn slots_are_those_of_the_engine() {
    let server = start_with(engine_config(4), ServerConfig::default());
    let mut unread = vec![server.hold_a_slot(), server.hold_a_slot(), server.hold_a_slot()];
    let ids: Vec<u64> = unread.iter().map(|one| one.id()).collect();
    let seated = || server.engine.slots().iter().map(|slot| slot.request).collect::<Vec<_>>();
    let shown = || {
        let (_, slots) = server.get("/slots");
        let id = |slot: &Value| slot["id_task"].as_u64().filter(|_| slot["is_processing"] == true);
        slots.as_array().unwrap().iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(shown(), seated());
    let middle = seated().iter().position(|&id| id == Some(ids[1])).unwrap();
    drop(unread.remove(1));
    server.until("the gap is closed", |_| {
        let seated = seated();
        !seated.contains(&Some(ids[1])) && seated[middle].is_some()
    });
    assert_eq!(shown(), seated());
    let (_, answer) = server.post("/completion", &json!({"prompt": "A boat", "n_predict": 3, "ignore_eos": true}));
    let free = |slot: &u64| seated()[*slot as usize].is_none();
    assert!(answer["id_slot"].as_u64().as_ref().is_some_and(free), "{answer}");
}

#[test]
fn grammars_of_llama_cpp_are_held_to() {
    let server = start();
    let grammar = "root ::= \"<\" [0-9]{2} tail? # two digits\ntail ::= \"+\" tail | \">\"";
    let body = json!({"prompt": "A fox", "n_predict": 12, "grammar": grammar});
    let (status, answer) = server.post("/completion", &body);
    assert_eq!(status, 200, "{answer}");
    let text = answer["content"].as_str().unwrap();
    let digits = text.trim_end_matches('>').trim_end_matches('+').strip_prefix('<');
    assert!(digits.is_some_and(|digits| digits.len() == 2 && digits.parse::<u8>().is_ok()), "{text}");
    let (status, error) = server.post("/completion", &json!({"prompt": "A fox", "grammar": "root ::= tail"}));
    assert_eq!(status, 400);
    assert!(error["error"]["message"].as_str().unwrap().contains("there is no rule 'tail'"), "{error}");
}

#[test]
fn every_parameter_is_read_under_each_of_its_names_and_told() {
    let server = start();
    for field in SamplingParams::FIELDS {
        let value = match field.kind {
            Kind::Number if field.traits.range.contains(1.0) => json!(1.0),
            Kind::Number => json!(0.5),
            Kind::Count => json!(1),
            Kind::Flag => json!(true),
            Kind::Texts => json!(["x"]),
            Kind::Tokens => json!([5]),
            // In forms of their own, which other tests have.
            _ => continue,
        };
        for &name in field.traits.http {
            let (status, answer) = server.post("/completion", &json!({"prompt": "A fox", "n_predict": 1, name: value}));
            assert_eq!(status, 200, "{name}: {answer}");
            assert_eq!(answer["generation_settings"][field.traits.http[0]], value, "{name}");
            if field.traits.range.most < 1e9 {
                let beyond = field.traits.range.most + 1.0;
                let beyond = if field.kind == Kind::Count { json!(beyond as i64) } else { json!(beyond) };
                let (status, answer) = server.post("/completion", &json!({"prompt": "A fox", name: beyond}));
                assert_eq!((status, &answer["error"]["param"]), (400, &json!(name)), "{answer}");
            }
        }
    }
}

#[test]
fn repetitions_are_broken_and_targets_change_what_is_drawn() {
    let server = start();
    let tokens = |more: Value| {
        let mut body = json!({"prompt": "A fox", "n_predict": 8, "ignore_eos": true, "return_tokens": true,
            "temperature": 0, "seed": 1});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, answer) = server.post("/completion", &body);
        assert_eq!(status, 200, "{answer}");
        answer["tokens"].as_array().expect("tokens").clone()
    };
    let first = tokens(json!({}))[0].clone();
    let bias = json!([[first, 100.0]]);
    assert!(tokens(json!({"logit_bias": bias})).iter().all(|token| *token == first));
    let dry = tokens(json!({"logit_bias": bias, "dry_multiplier": 1000, "dry_sequence_breakers": ["#"]}));
    assert!(dry.iter().any(|token| *token != first), "{dry:?}");
    let draws =
        |target: f32| tokens(json!({"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "adaptive_target": target}));
    assert_ne!(draws(-1.0), draws(0.1));
}

/// Every figure that the dashboard asks for is there.
#[test]
fn the_dashboard_shows_figures_that_exist() {
    let server = start_with(engine_config(1).stream_buffer(4), ServerConfig::default());
    server.post("/completion", &json!({"prompt": "A fox", "n_predict": 2, "ignore_eos": true}));
    // Figures with labels come into being with their first value: a refusal needs a slot that somebody holds.
    let params = SamplingParams::default().ignore_eos(true).max_tokens(200);
    let unread = server.engine.submit(Request::new("The sea").params(params)).unwrap();
    server.until("the slot is held", |_| server.engine.slots()[0].request.is_some());
    assert_eq!(server.get("/slots?fail_on_no_slot=1").0, 503);
    drop(unread);
    let (_, Value::String(text)) = server.get("/metrics") else { panic!("text is expected") };
    let names: Vec<&str> = text.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let dashboard = include_str!("../../../../docs/grafana-dashboard.json");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == ':' || c == '_';
    let asked: Vec<&str> = dashboard
        .split(|c| !is_name(c))
        .filter(|word| word.starts_with("llama_concurrent:") || word.starts_with("llamacpp:"))
        .collect();
    assert!(asked.len() > 5, "{asked:?}");
    for name in asked {
        assert!(names.contains(&name), "{name} is not in {text}");
    }
}

#[test]
fn figures_count_what_happened() {
    let server = start();
    server.post("/completion", &json!({"prompt": "A fox", "n_predict": 5, "ignore_eos": true}));
    server.post("/completion", &json!({"prompt": 7}));
    let (status, Value::String(text)) = server.get("/metrics") else { panic!("text is expected") };
    assert_eq!(status, 200);
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is missing in {text}")).parse::<f64>().unwrap()
    };
    assert_eq!(value("llamacpp:tokens_predicted_total"), 5.0);
    assert_eq!(value("llama_concurrent:generation_tokens_total"), 5.0);
    assert_eq!(value("llama_concurrent:time_to_first_token_seconds_count"), 1.0);
    assert_eq!(value("llama_concurrent:inter_token_latency_seconds_count"), 4.0);
    assert_eq!(value("llama_concurrent:http_responses_total{status=\"400\"}"), 1.0);
    assert_eq!(value("llama_concurrent:slots"), 2.0);
    assert!(!text.contains("# EOF") && text.contains("# TYPE llamacpp:tokens_predicted_total counter\n"), "{text}");
    assert_eq!(value("llamacpp:n_tokens_max"), 8.0);
    // Who accepts OpenMetrics gets that.
    let asked = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
        accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n";
    let (_, head, text) = server.exchange(asked);
    assert!(head.contains("application/openmetrics-text"), "{head}");
    assert_eq!(text.matches("# EOF").count(), 1);
    assert!(text.contains("# TYPE llamacpp:tokens_predicted counter\n"), "{text}");
}

#[test]
fn drafts_are_told_in_the_timings_and_change_nothing() {
    let server = start();
    let prompt = "Once upon a time there was a fox named Tom. Tom liked to play in the garden. One day Tom the fox found a red \
                  ball. Tom liked to play with the red ball. One day Tom the fox";
    let ask = |extra: Value| {
        let mut body = json!({"prompt": prompt, "n_predict": 80, "temperature": 0, "ignore_eos": true});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        server.post("/completion", &body)
    };
    let (_, plain) = ask(json!({"speculation": "off"}));
    assert!(plain["timings"].get("draft_n").is_none(), "{plain}");
    let (_, drafted) = ask(json!({"speculation": "lookup", "speculative.n_max": 4}));
    let count = |name: &str| drafted["timings"][name].as_u64().unwrap();
    assert!(count("draft_n") > 0 && count("draft_n_accepted") <= count("draft_n"), "{drafted}");
    assert_eq!(drafted["timings"]["predicted_n"], 80);
    assert_eq!(drafted["generation_settings"]["speculation"], "lookup");
    if server.engine.stats().kernels != "off" {
        assert_eq!(drafted["content"], plain["content"]);
    }
    let (_, Value::String(metrics)) = server.get("/metrics") else { panic!("text is expected") };
    let told = metrics.lines().filter(|line| line.starts_with("llamacpp:spec_decode_num_draft_tokens"));
    let told: Vec<f64> = told.filter_map(|line| line.split(' ').next_back()?.parse().ok()).collect();
    assert_eq!(told, [count("draft_n") as f64]);
    for (extra, expected) in [
        (json!({"speculation": "draft"}), "draft model"),
        (json!({"speculation": "often"}), "auto, off, lookup, draft"),
        (json!({"speculative.n_max": -1}), "speculative.n_max"),
    ] {
        let (status, answer) = ask(extra);
        assert_eq!(status, 400, "{answer}");
        assert!(answer.to_string().contains(expected), "{answer}");
    }
}
