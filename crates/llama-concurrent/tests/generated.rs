//! What stands in files and comes from the tables of parameters: the C struct and what reads it, the Python class, tables of
//! the documentation. `UPDATE=1` writes it anew, between the lines that say `begin` and `end`.

use std::{fmt::Write, fs, path::PathBuf};

use llama_concurrent::{
    SamplingParams,
    parameters::{Field, Kind, Value},
};

const WIDTH: usize = 120;

fn fields() -> impl Iterator<Item = &'static Field<SamplingParams>> {
    SamplingParams::FIELDS.iter().filter(|field| field.kind != Kind::Constraint)
}

/// Compares what stands between the marks of a name in a file with what should, or writes it.
fn stands(path: &str, name: &str, wanted: &str) {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let after = |mark: &str, from: usize| {
        let found = text[from..].find(mark).unwrap_or_else(|| panic!("{} has no '{mark}'", path.display()));
        from + found
    };
    let begin = after(&format!("{name}: begin"), 0);
    let from = after("\n", begin) + 1;
    let end = after(&format!("{name}: end"), from);
    let to = text[..end].rfind('\n').expect("a line before") + 1;
    if text[from..to] == *wanted {
        return;
    }
    assert!(std::env::var_os("UPDATE").is_some(), "{} is old ({name}); run this test with UPDATE=1", path.display());
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
        Value::Count(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Texts(texts) => texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", "),
        _ => String::new(),
    }
}

/// How C says that an optional count is not there: 0, unless that is one.
fn none_in_c(field: &Field<SamplingParams>) -> &'static str {
    if field.traits.range.contains(0.0) { "-1" } else { "0" }
}

fn c_field(field: &Field<SamplingParams>) -> String {
    let (name, default) = (field.name, written(&field.default()));
    let (c_type, doc) = match field.kind {
        Kind::Number => ("f32", format!("{} Default: {}.", field.doc, default.trim_end_matches(".0"))),
        Kind::Count => ("u32", format!("{} Default: {default}.", field.doc)),
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
        Kind::Constraint => unreachable!("by hand"),
    };
    format!("{}    pub {name}: {c_type},\n", wrapped(&doc, "    /// "))
}

fn c_default(field: &Field<SamplingParams>) -> String {
    let name = field.name;
    let value = match field.kind {
        Kind::Number | Kind::Count => format!("sampling.{name}"),
        Kind::Flag => format!("sampling.{name}.into()"),
        Kind::OptionalCount if none_in_c(field) == "0" => format!("sampling.{name}.unwrap_or(0)"),
        Kind::OptionalCount => format!("sampling.{name}.map_or(-1, |n| n as i32)"),
        _ => return format!("            {name}: std::ptr::null(),\n            n_{name}: 0,\n"),
    };
    format!("            {name}: {value},\n")
}

fn c_reader(field: &Field<SamplingParams>) -> String {
    let name = field.name;
    let value = match field.kind {
        Kind::Number | Kind::Count => format!("self.{name}"),
        Kind::Flag => format!("self.{name} != 0"),
        Kind::OptionalCount if none_in_c(field) == "0" => format!("(self.{name} > 0).then_some(self.{name})"),
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

fn python_field(field: &Field<SamplingParams>) -> String {
    let default = written(&field.default());
    let (hint, default) = match field.kind {
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
        Kind::Constraint => unreachable!("by hand"),
    };
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

/// A keyword of the ctypes module, where None stands for the default.
fn ctypes_field(field: &Field<SamplingParams>) -> String {
    let hint = match field.kind {
        Kind::Number => "float",
        Kind::Count | Kind::OptionalCount => "int",
        Kind::Flag => "bool",
        Kind::Texts => "str | Sequence[str]",
        Kind::Tokens => "Sequence[int]",
        Kind::Biases => "Mapping[int, float]",
        Kind::Constraint => unreachable!("by hand"),
    };
    let default = match field.default() {
        Value::Flag(false) => " Default: False.".to_owned(),
        value if written(&value).is_empty() => String::new(),
        value => format!(" Default: {}.", written(&value)),
    };
    let doc = field.doc.replace("Unset:", "None:");
    format!("    {}: {hint} | None\n{}", field.name, wrapped(&format!("\"\"\"{doc}{default}\"\"\""), "    "))
}

#[test]
fn the_keywords_of_the_ctypes_module_are_the_parameters() {
    let all: String = fields().map(ctypes_field).collect();
    stands("bindings/python-ctypes/llama_concurrent_ctypes.py", "parameters", &all);
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
