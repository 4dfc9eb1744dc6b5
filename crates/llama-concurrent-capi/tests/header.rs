//! `include/llama_concurrent.h` is made from this crate's sources, and committed. `UPDATE=1` writes it anew.

use std::{fs, path::Path};

/// In the order in which a reader wants them.
const SOURCES: [&str; 14] = [
    "status",
    "types",
    "boundary",
    "chat",
    "event",
    "engine_params",
    "infer_params",
    "queue",
    "engine",
    "infer",
    "tokenize",
    "stats",
    "log",
    "version",
];

fn generate() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is right");
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(root.join("src").join(format!("{source}.rs")));
    }
    let mut header = Vec::new();
    builder.generate().expect("the sources can be read").write(&mut header);
    let header = String::from_utf8(header).expect("headers are text");
    shorten_comments(&plain_enums(&header.replace("@VERSION@", env!("CARGO_PKG_VERSION"))))
}

/// Enums as numbers with names, in every language: any number is a value then, also one of a later version, which in C++
/// would be undefined for an enum.
fn plain_enums(header: &str) -> String {
    let mut plain = String::new();
    let mut lines = header.lines().peekable();
    while let Some(line) = lines.next() {
        match line.strip_prefix("enum ") {
            Some(name) if lines.peek().is_some_and(|next| next.starts_with("#if")) => {
                // The type of the enum in C++, then its body, then the type in C.
                lines.by_ref().find(|line| line.trim() == "{").expect("a body");
                plain.push_str(&format!("typedef int32_t {name};\nenum {{\n"));
                for line in lines.by_ref().take_while(|line| *line != "};") {
                    plain.push_str(&format!("{line}\n"));
                }
                plain.push_str("};\n");
                let end = lines.by_ref().find(|line| *line == "#endif // __cplusplus");
                assert!(end.is_some(), "the typedef of {name} ends");
            }
            _ => plain.push_str(&format!("{}\n", line.replace("(enum llama_", "(llama_"))),
        }
    }
    plain
}

/// Comments of one line on one line: the header is half as long, and easier to read.
fn shorten_comments(header: &str) -> String {
    let lines: Vec<&str> = header.lines().collect();
    let mut short = String::new();
    let mut at = 0;
    while at < lines.len() {
        let comment = match lines[at..] {
            [open, text, close, ..] if open.trim() == "/**" && close.trim() == "*/" => {
                text.trim_start().strip_prefix("* ").map(|text| open.replace("/**", &format!("/** {text} */")))
            }
            _ => None,
        };
        at += if comment.is_some() { 3 } else { 1 };
        let line = comment.unwrap_or_else(|| lines[at - 1].to_owned());
        // No two empty lines in a row.
        if !line.is_empty() || !short.ends_with("\n\n") {
            short.push_str(&line);
            short.push('\n');
        }
    }
    short
}

#[test]
fn the_committed_header_is_the_one_of_these_sources() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include/llama_concurrent.h");
    let made = generate();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &made).expect("the header can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = made.lines().zip(committed.lines()).position(|(made, committed)| made != committed);
    assert!(
        made == committed,
        "include/llama_concurrent.h is not up to date (line {}); run with UPDATE=1 and commit it",
        differs.map_or(committed.lines().count(), |line| line) + 1
    );
}
