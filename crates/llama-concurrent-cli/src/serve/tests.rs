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
