use std::ffi::OsString;

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: ServeArgs,
}

fn parse(arguments: &str) -> Result<ServeArgs, clap::Error> {
    let arguments =
        long_names(["llama-concurrent", "serve"].into_iter().chain(arguments.split(' ')).map(OsString::from));
    Line::try_parse_from(&arguments[1..]).map(|line| line.args)
}

#[test]
fn command_lines_of_llama_server_are_understood() {
    let args = parse(
        "-m model.gguf -c 8192 -np 4 -t 2 -tb 2 -b 2048 -ub 256 -n 64 --temp 0.5 --repeat-last-n 32 \
         --presence-penalty -0.5 -s 7 -a name -ngl 99 -fa on -cb --jinja --metrics --props --warmup --cache-prompt \
         --threads-http 4 --no-perf --log-disable --no-ui --cors-origins https://a.example,https://b.example",
    );
    let args = args.unwrap_or_else(|error| panic!("{error}"));
    let config = args.engine_config().unwrap();
    assert_eq!((config.slots, config.n_ctx, config.threads, config.n_batch), (Some(4), Some(2048), Some(2), 256));
    let server = args.server_config(Path::new("model.gguf")).unwrap();
    assert_eq!((server.model_name.as_str(), server.seed, server.page), ("name", Some(7), false));
    assert_eq!(server.cors_origins, ["https://a.example", "https://b.example"]);
    let defaults = server.defaults;
    assert_eq!((defaults.max_tokens, defaults.temperature), (Some(64), 0.5));
    assert_eq!((defaults.penalty_last_n, defaults.presence_penalty), (32, -0.5));
}

#[test]
fn names_thoughts_and_vectors_are_set_as_there() {
    let args = parse(
        "-a first,second -rea off --reasoning-effort low --pooling last --no-prefill-assistant --spm-infill \
         --sse-ping-interval -1 -sps 0.5 -cram -1 --tags a,b -kvu -ctxcp 4 --chat-template-kwargs {\"thinking\":true}",
    );
    let args = args.unwrap_or_else(|error| panic!("{error}"));
    let server = args.server_config(Path::new("model.gguf")).unwrap();
    assert_eq!((server.model_name.as_str(), &server.aliases[..]), ("first", &["first".into(), "second".into()][..]));
    assert_eq!((server.pooling, server.prefill_assistant, server.spm_infill), (Some(Pooling::Last), false, true));
    assert!(server.limits.keep_alive > Duration::from_secs(86_400));
    assert_eq!(server.tags, ["a", "b"]);
    let variables = Value::Object(args.engine_config().unwrap().chat_template_kwargs);
    assert_eq!(
        variables,
        serde_json::json!({"thinking": true, "enable_thinking": false, "reasoning_effort": "low"}),
        "what is said by name counts"
    );
    let plain = parse("--prefill-assistant --reasoning auto").unwrap();
    let variables = Value::Object(plain.engine_config().unwrap().chat_template_kwargs);
    assert_eq!(variables, serde_json::json!({"enable_thinking": true}));
    assert!(plain.server_config(Path::new("m")).unwrap().prefill_assistant);
    for bad in ["--pooling max", "--reasoning maybe", "--sse-ping-interval -2"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn names_with_underscores_and_slots_without_a_number_are_taken() {
    let args = parse("--ctx_size 256 --slots --n_predict=7 --slots -v").unwrap_or_else(|error| panic!("{error}"));
    let server = args.server_config(Path::new("m")).unwrap();
    assert_eq!((server.defaults.max_tokens, server.verbose), (Some(7), true));
    let slots = |line: &str| parse(line).unwrap().engine_config().unwrap().slots;
    assert_eq!(slots("--ctx_size 256 --slots --parallel 3 --slots"), Some(3));
    assert_eq!(slots("--slots 3 --slots"), Some(3));
    assert!(parse("--what_is_this 3").is_err());
    let args = parse("--api-key --a_b --api-key --slots").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(args.server_config(Path::new("m")).unwrap().api_keys, ["--a_b", "--slots"]);
}

#[test]
fn an_option_that_is_not_here_says_what_is() {
    for (line, expected) in [
        ("--lora a.gguf", "merge"),
        ("-hf a/b", "downloads nothing"),
        ("--spec-ngram-mod-n-min 3", "--speculation"),
        ("--no-jinja", "--chat-template"),
        ("-lv 3", "--log info"),
        ("-td 3", "--draft-model"),
        ("--ssl-key-file x", "reverse proxy"),
    ] {
        let error = explained(parse(line).err().unwrap()).to_string();
        assert!(error.contains("is not an option here") && error.contains(expected), "{line}: {error}");
    }
    let other = explained(parse("--nonsense").err().unwrap()).to_string();
    assert!(other.contains("unexpected argument '--nonsense'"), "{other}");
}

/// llama-server's list of options, where its sources are at hand.
#[test]
fn every_option_of_llama_server_is_known() {
    let Some(path) = std::env::var_os("LLAMA_SERVER_README") else {
        eprintln!("skipped: LLAMA_SERVER_README names no file");
        return;
    };
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let names = rows.flat_map(|row| row.split([',', ' ']).filter(|name| name.starts_with('-')).map(str::to_owned));
    let unknown: Vec<String> = names
        // That is an option of the whole command.
        .filter(|name| name != "--version")
        .filter(|name| {
            let error =
                explained(parse(name).err().unwrap_or_else(|| clap::Error::new(clap::error::ErrorKind::DisplayHelp)));
            error.kind() == clap::error::ErrorKind::UnknownArgument && error.to_string().contains("unexpected")
        })
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn a_seed_is_never_cut() {
    assert_eq!(parse("-s -1").unwrap().server_config(Path::new("m")).unwrap().seed, None);
    for seed in ["-2", "4294967296"] {
        assert!(parse(&format!("--seed {seed}")).is_err_and(|error| error.to_string().contains(seed)));
    }
}

#[test]
fn comments_in_a_file_of_keys_are_no_keys() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let keys = |text: &str| {
        fs::write(file.path(), text).unwrap();
        parse(&format!("--api-key-file {}", file.path().display())).unwrap().server.keys()
    };
    assert_eq!(keys("# of Ada\nfirst\n\n  second \r\n#third\n").unwrap(), ["first", "second"]);
    assert!(keys("# none\n").is_err());
}
