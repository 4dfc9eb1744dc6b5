//! What stands in files and comes from the tables of parameters: the C struct and what reads it, the Python class, tables of
//! the documentation. `UPDATE=1` writes it anew, between the lines that say `begin` and `end`.

use std::{fmt::Write, fs, path::PathBuf};

use llama_concurrent::{
    EngineConfig, EngineStats, Figure, FigureKind, SamplingParams,
    parameters::{Field, Kind, Value},
};

const WIDTH: usize = 120;

fn fields() -> impl Iterator<Item = &'static Field<SamplingParams>> {
    SamplingParams::FIELDS.iter().filter(|field| field.kind != Kind::Constraint)
}

fn config_fields() -> impl Iterator<Item = &'static Field<EngineConfig>> {
    EngineConfig::FIELDS.iter().filter(|field| field.kind != Kind::ByHand)
}

/// Compares what stands in a file between the lines that say `begin` and `end` with what should, or writes it.
fn stands(path: &str, name: &str, wanted: &str) {
    stands_between(path, &format!("{name}: begin"), &format!("{name}: end"), wanted);
}

/// As [`stands`], between the line that has `first` and the one after it that has `last`.
fn stands_between(path: &str, first: &str, last: &str, wanted: &str) {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let after = |mark: &str, from: usize| {
        let found = text[from..].find(mark).unwrap_or_else(|| panic!("{} has no '{mark}'", path.display()));
        from + found
    };
    let from = after("\n", after(first, 0)) + 1;
    let to = text[..after(last, from)].rfind('\n').expect("a line before") + 1;
    if text[from..to] == *wanted {
        return;
    }
    assert!(std::env::var_os("UPDATE").is_some(), "{} is old ({first}); run this test with UPDATE=1", path.display());
    fs::write(&path, format!("{}{wanted}{}", &text[..from], &text[to..])).expect("the file can be written");
}

/// Words in lines, each behind a prefix.
fn wrapped(words: &str, prefix: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in words.split_whitespace() {
        if !line.is_empty() && prefix.len() + line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(lines, "{prefix}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines + prefix + &line + "\n"
}

/// `0.95`, `40`, `false` or a list of strings, as Rust, C and Python write them but for the names of truth.
fn written(value: &Value) -> String {
    match value {
        Value::Number(number) => format!("{number:?}"),
        Value::Count(number) | Value::Millis(number) => number.to_string(),
        Value::Choice(name) => format!("{name:?}"),
        Value::Flag(flag) => flag.to_string(),
        Value::Texts(texts) => texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", "),
        _ => String::new(),
    }
}

/// How C says that an optional count is not there: 0, unless that is one.
fn none_in_c<P: Default>(field: &Field<P>) -> &'static str {
    if field.traits.range.contains(0.0) { "-1" } else { "0" }
}

fn c_field<P: Default>(field: &Field<P>) -> String {
    let (name, default) = (field.wire_name(), written(&field.default()));
    let (c_type, doc) = match field.kind {
        Kind::Number => ("f32", format!("{} Default: {}.", field.doc, default.trim_end_matches(".0"))),
        Kind::Count if field.traits.is_wide => ("u64", format!("{} Default: {default}.", field.doc)),
        Kind::Count | Kind::Millis => ("u32", format!("{} Default: {default}.", field.doc)),
        Kind::Choice(names) => {
            let default = default.trim_matches('"').to_uppercase();
            ("i32", format!("{} One of `{}`. Default: {default}.", field.doc, c_enum(names)))
        }
        Kind::OptionalText => ("*const c_char", field.doc.replace("Unset:", "NULL (default):")),
        Kind::OptionalList => ("*const c_char", field.doc.replace("Unset:", "Such as \"0-7,16\". NULL (default):")),
        Kind::Object => ("*const c_char", format!("{} A JSON object. NULL (default): none.", field.doc)),
        Kind::Flag => ("c_bool", format!("{} Default: {default}.", field.doc)),
        Kind::OptionalCount => {
            let none = none_in_c(field);
            let c_type = if none == "0" { "u32" } else { "i32" };
            (c_type, field.doc.replace("Unset:", &format!("{none} (default):")))
        }
        Kind::Texts | Kind::Tokens | Kind::Biases => {
            let c_type = match field.kind {
                Kind::Texts => "*const *const c_char",
                Kind::Tokens => "*const i32",
                _ => "*const llama_infer_logit_bias",
            };
            let null = if default.is_empty() {
                "NULL (default): none.".to_owned()
            } else {
                format!("NULL (default): {default}; for none, any other pointer and a number of 0.")
            };
            let doc = wrapped(&format!("{} {null}", field.doc), "    /// ");
            let number = format!("    /// Number of `{name}`.\n    pub n_{name}: usize,\n");
            return format!("{doc}    pub {name}: {c_type},\n{number}");
        }
        Kind::Constraint | Kind::ByHand => unreachable!("left out"),
    };
    format!("{}    pub {name}: {c_type},\n", wrapped(&doc, "    /// "))
}

/// The enum of C with these names.
fn c_enum(names: &[&str]) -> &'static str {
    match names {
        ["auto", "sequential", ..] => "llama_engine_strategy",
        ["f16", ..] => "llama_engine_kv_type",
        ["auto", "node", ..] => "llama_engine_placement",
        ["auto", "always", ..] => "llama_engine_replicate",
        ["auto", "active", ..] => "llama_engine_wait_policy",
        other => panic!("{other:?} have no enum yet"),
    }
}

fn c_default<P: Default>(field: &Field<P>) -> String {
    let (name, wire) = (field.name, field.wire_name());
    let value = match field.kind {
        Kind::Number | Kind::Count => format!("default.{name} as _"),
        Kind::Millis => format!("default.{name}.as_millis() as _"),
        Kind::Flag => format!("default.{name}.into()"),
        Kind::OptionalCount if none_in_c(field) == "0" => format!("default.{name}.map_or(0, |n| n as _)"),
        Kind::OptionalCount => format!("default.{name}.map_or(-1, |n| n as _)"),
        Kind::Choice(names) => format!("{}::of(default.{name}) as i32", c_enum(names)),
        Kind::OptionalText | Kind::OptionalList | Kind::Object => "std::ptr::null()".to_owned(),
        _ => return format!("            {name}: std::ptr::null(),\n            n_{name}: 0,\n"),
    };
    format!("            {wire}: {value},\n")
}

fn c_reader<P: Default>(field: &Field<P>) -> String {
    let (name, wire) = (field.name, field.wire_name());
    let value = match field.kind {
        Kind::Number | Kind::Count => format!("self.{name} as _"),
        Kind::Millis => format!("Duration::from_millis(self.{wire}.into())"),
        Kind::Flag => format!("self.{name} != 0"),
        Kind::OptionalCount if none_in_c(field) == "0" => format!("(self.{name} > 0).then_some(self.{name} as _)"),
        Kind::Choice(names) => format!("{}::read(self.{name}, \"{name}\")?", c_enum(names)),
        Kind::OptionalText => format!("pointers::optional_text(self.{name}, \"{name}\")?.map(str::to_owned)"),
        Kind::OptionalList => format!("list(self.{name}, \"{name}\")?"),
        Kind::Object => format!("object(self.{name}, \"{name}\")?"),
        Kind::OptionalCount => format!("count_or_none(self.{name}, \"{name}\")?"),
        kind => {
            let reader = match kind {
                Kind::Texts => "texts",
                Kind::Tokens => "tokens",
                _ => "biases",
            };
            let arguments =
                [format!("self.{name}"), format!("self.n_{name}"), format!("\"{name}\""), format!("default.{name}")];
            let line = format!("                {name}: {reader}({})?,\n", arguments.join(", "));
            if line.len() <= WIDTH {
                return line;
            }
            let arguments: String = arguments.iter().map(|one| format!("                    {one},\n")).collect();
            return format!("                {name}: {reader}(\n{arguments}                )?,\n");
        }
    };
    format!("                {name}: {value},\n")
}

#[test]
fn the_c_struct_has_the_parameters() {
    const PATH: &str = "crates/llama-concurrent-capi/src/infer_params.rs";
    let parts: Vec<usize> = fields().map(|field| field.traits.c_part).collect();
    assert!(parts[0] > 0 && parts.is_sorted(), "the table has the order of the C struct: {parts:?}");
    for part in 1..=*parts.last().expect("fields") {
        let fields: String = fields().filter(|field| field.traits.c_part == part).map(c_field).collect();
        stands(PATH, &format!("parameters {part}"), &fields);
    }
    stands(PATH, "defaults", &fields().map(c_default).collect::<String>());
    stands(PATH, "readers", &fields().map(c_reader).collect::<String>());
}

#[test]
fn the_c_struct_has_the_configuration() {
    const PATH: &str = "crates/llama-concurrent-capi/src/engine_params.rs";
    let parts: Vec<usize> = config_fields().map(|field| field.traits.c_part).collect();
    assert!(parts[0] > 0 && parts.is_sorted(), "the table has the order of the C struct: {parts:?}");
    for part in 1..=*parts.last().expect("fields") {
        let fields: String = config_fields().filter(|field| field.traits.c_part == part).map(c_field).collect();
        stands(PATH, &format!("parameters {part}"), &fields);
    }
    stands(PATH, "defaults", &config_fields().map(c_default).collect::<String>());
    stands(PATH, "readers", &config_fields().map(c_reader).collect::<String>());
}

/// `Literal["auto", "off"]`.
fn literal(names: &[&str]) -> String {
    format!("Literal[{}]", names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "))
}

/// The type and the default of a parameter in the Python package.
fn python_type<P: Default>(field: &Field<P>) -> (String, String) {
    let default = written(&field.default());
    let (hint, default) = match field.kind {
        Kind::Choice(names) => return (literal(names), default),
        // For a third way to compute.
        Kind::Flag if field.name == "kernels" => return (literal(&["auto", "off"]), "\"auto\"".to_owned()),
        Kind::Millis => ("int", default),
        Kind::OptionalText => ("str | None", "None".to_owned()),
        Kind::OptionalList => ("Collection[int] | None", "None".to_owned()),
        Kind::Object => ("Mapping[str, Any] | None", "None".to_owned()),
        Kind::Number => ("float", default),
        // Python draws one.
        Kind::Count if field.name == "seed" => ("int | None", default),
        Kind::Count => ("int", default),
        Kind::OptionalCount => ("int | None", "None".to_owned()),
        Kind::Flag => ("bool", if default == "true" { "True" } else { "False" }.to_owned()),
        Kind::Texts if default.is_empty() => ("str | Collection[str]", "()".to_owned()),
        Kind::Texts => ("str | Collection[str]", format!("({default},)")),
        Kind::Tokens => ("Collection[int]", "()".to_owned()),
        Kind::Biases => ("Mapping[int, float]", "field(default_factory=dict)".to_owned()),
        Kind::Constraint | Kind::ByHand => unreachable!("left out"),
    };
    (hint.to_owned(), default)
}

fn python_field(field: &Field<SamplingParams>) -> String {
    let (hint, default) = python_type(field);
    let mut doc = field.doc.replace("Unset:", "None:");
    if field.name == "seed" {
        doc.push_str(" None draws one for each request or list.");
    }
    let doc = wrapped(&format!("\"\"\"{doc}\"\"\""), "    ");
    format!("    {}: {hint} = {default}\n{doc}", field.name)
}

#[test]
fn the_python_class_has_the_parameters() {
    let all: String = fields().map(python_field).collect();
    stands("bindings/python/python/llama_concurrent/_types.py", "parameters", &all);
}

#[test]
fn the_python_engine_has_the_configuration() {
    const PATH: &str = "bindings/python/python/llama_concurrent/_base.py";
    let (mut keywords, mut words) = (String::new(), String::new());
    for field in config_fields() {
        let (hint, default) = python_type(field);
        let _ = writeln!(keywords, "        {}: {hint} = {default},", field.wire_name());
        let doc = match field.name {
            "kernels" => format!("\"auto\": {} \"off\" leaves all to ggml.", field.doc),
            _ => field.doc.replace("Unset:", "None:"),
        };
        // The first line stands further out than the others.
        words += &wrapped(&format!("{}: {doc}", field.wire_name()), &" ".repeat(16))[4..];
    }
    stands(PATH, "keywords", &keywords);
    stands_between(PATH, "the small model that comes with the package.", "            pack_cache: ", &words);
}

fn c_figure(figure: &Figure) -> (String, String) {
    let (name, doc) = (figure.name, figure.doc);
    let text = format!("{doc} Lives as long as the library.");
    let (name, c_type, doc, value) = match figure.kind {
        FigureKind::Strategy => (
            name.to_owned(),
            "i32",
            format!("{doc} One of `llama_engine_strategy`."),
            "llama_engine_strategy::of(now.strategy) as i32".to_owned(),
        ),
        FigureKind::Number => (name.to_owned(), "u32", doc.to_owned(), format!("told(\"{name}\").count() as u32")),
        FigureKind::Size => (name.to_owned(), "u64", doc.to_owned(), format!("told(\"{name}\").count()")),
        FigureKind::Time => {
            (format!("{name}_ms"), "f64", format!("{doc} In milliseconds."), format!("told(\"{name}\").real()"))
        }
        FigureKind::Share | FigureKind::OptionalShare => {
            (name.to_owned(), "f64", doc.replace("Unset:", "-1:"), format!("told(\"{name}\").real()"))
        }
        FigureKind::Text => (name.to_owned(), "*const c_char", text, format!("text(&told(\"{name}\").text())")),
        FigureKind::Cpus => {
            let doc = format!("{doc} Such as \"0-3,8\". Lives as long as the library.");
            (name.to_owned(), "*const c_char", doc, format!("text(&told(\"{name}\").text())"))
        }
    };
    (format!("{}    pub {name}: {c_type},\n", wrapped(&doc, "    /// ")), format!("            {name}: {value},\n"))
}

#[test]
fn the_statistics_have_the_figures() {
    const PATH: &str = "crates/llama-concurrent-capi/src/stats.rs";
    let (fields, values): (String, String) = EngineStats::FIGURES.iter().map(c_figure).unzip();
    stands(PATH, "figures", &fields);
    stands(PATH, "values", &values);
    let python = EngineStats::FIGURES.iter().map(|figure| {
        let (name, hint) = match figure.kind {
            FigureKind::Strategy | FigureKind::Text => (figure.name.to_owned(), "str"),
            FigureKind::Number | FigureKind::Size => (figure.name.to_owned(), "int"),
            FigureKind::Time => (format!("{}_time", figure.name), "float"),
            FigureKind::Share => (figure.name.to_owned(), "float"),
            FigureKind::OptionalShare => (figure.name.to_owned(), "float | None"),
            FigureKind::Cpus => (figure.name.to_owned(), "list[int]"),
        };
        let unit = if figure.kind == FigureKind::Time { " In seconds." } else { "" };
        let doc = format!("\"\"\"{}{unit}\"\"\"", figure.doc.replace("Unset:", "None:"));
        format!("    {name}: {hint}\n{}", wrapped(&doc, "    "))
    });
    stands("bindings/python/python/llama_concurrent/_types.py", "figures", &python.collect::<String>());
}

#[test]
fn the_documentation_of_the_server_has_the_parameters() {
    let mut rows = String::from("| field | option | default | what |\n|---|---|---|---|\n");
    for field in fields() {
        let names: Vec<String> = field.traits.http.iter().map(|name| format!("`{name}`")).collect();
        let default = match field.default() {
            Value::Texts(texts) if !texts.is_empty() => format!("`{}`", written(&Value::Texts(texts))),
            value => written(&value),
        };
        let doc = field.doc.replace('|', "\\|");
        let _ = writeln!(rows, "| {} | `--{}` | {default} | {doc} |", names.join(" "), field.traits.flags[0]);
    }
    stands("docs/server.md", "parameters", &rows);
}
