//! What stands in files and comes from the tables of parameters: the C struct and what reads it, the Python class, tables of
//! the documentation. `UPDATE=1` writes it anew, between the lines that say `begin` and `end`.

use std::{fmt::Write, fs, path::PathBuf};

use llama_concurrent::{
    EngineConfig, EngineStats, ErrorKind, Figure, FigureKind, SamplingParams,
    parameters::{Field, Kind, LAST_C_PART, Value},
};

const WIDTH: usize = 120;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn text_of(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

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
    let text = text_of(path);
    let after = |mark: &str, from: usize| {
        let found = text[from..].find(mark).unwrap_or_else(|| panic!("{path} has no '{mark}'"));
        from + found
    };
    let from = after("\n", after(first, 0)) + 1;
    let to = text[..after(last, from)].rfind('\n').expect("a line before") + 1;
    if text[from..to] == *wanted {
        return;
    }
    assert!(std::env::var_os("UPDATE").is_some(), "{path} is old ({first}); run this test with UPDATE=1");
    fs::write(root().join(path), format!("{}{wanted}{}", &text[..from], &text[to..])).expect("the file can be written");
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

/// A member of a C struct.
struct Member {
    name: String,
    c_type: &'static str,
    doc: String,
}

impl Member {
    fn new(name: impl Into<String>, c_type: &'static str, doc: impl Into<String>) -> Self {
        Self { name: name.into(), c_type, doc: doc.into() }
    }

    fn bytes(&self) -> usize {
        match self.c_type {
            "c_bool" => 1,
            "f32" | "i32" | "u32" => 4,
            _ => 8,
        }
    }

    fn written(&self) -> String {
        format!("{}    pub {}: {},\n", wrapped(&self.doc, "    /// "), self.name, self.c_type)
    }
}

fn c_members<P: Default>(field: &Field<P>) -> Vec<Member> {
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
        Kind::OptionalList => {
            ("*const c_char", field.doc.replace("Unset:", "A list such as \"0-7,16\"; NULL (default):"))
        }
        Kind::Object => ("*const c_char", format!("{} A JSON object; NULL (default): none.", field.doc)),
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
                format!("NULL (default): {default}. For none, pass any other pointer and a number of 0.")
            };
            let number = Member::new(format!("n_{name}"), "usize", format!("Number of elements in `{name}`."));
            return vec![Member::new(name, c_type, format!("{} {null}", field.doc)), number];
        }
        Kind::Constraint | Kind::ByHand => unreachable!("left out"),
    };
    vec![Member::new(name, c_type, doc)]
}

/// The members that a struct of C has in each release.
fn released(of: &str) -> Vec<Vec<String>> {
    let releases =
        fs::read_dir(root().join("crates/llama-concurrent-capi/tests/abi")).expect("the headers of the releases");
    let members = releases.map(|release| {
        let header =
            fs::read_to_string(release.expect("a release").path().join("llama_concurrent.h")).expect("a header");
        let (_, body) = header.split_once(&format!("typedef struct {of} {{")).expect("the struct");
        let (body, _) = body.split_once(&format!("}} {of};")).expect("its end");
        let declarations = body.lines().filter_map(|line| line.trim().strip_suffix(';'));
        declarations.filter_map(|line| Some(line.split('[').next()?.rsplit([' ', '*']).next()?.to_owned())).collect()
    });
    members.collect()
}

/// Writes the part at the end of a struct of C, and returns the values of the members that fill it up to a multiple of eight
/// bytes: at its end and where a release ended, since padding would be taken for the first member of a later version.
fn last_part_stands(path: &str, of: &str, name: &str, members: &[Member]) -> String {
    let releases = released(of);
    let has = |release: &[String], member: &Member| release.contains(&member.name);
    let (mut fields, mut fill, mut bytes, mut last) = (String::new(), String::new(), 0_usize, String::new());
    for (at, member) in members.iter().enumerate() {
        fields += &member.written();
        last = format!("{}: {}", member.name, member.c_type);
        bytes = bytes.next_multiple_of(member.bytes()) + member.bytes();
        let next = members.get(at + 1);
        let adds = |release: &Vec<String>| next.is_some_and(|next| has(release, next));
        let is_end_of = |release: &Vec<String>| has(release, member) && !adds(release);
        assert!(
            releases.iter().all(|release| has(release, member) || !adds(release)),
            "{of} grows at its end only: move {} to the end of its table",
            member.name
        );
        let missing = bytes.next_multiple_of(8) - bytes;
        if missing > 0 && (next.is_none() || releases.iter().any(is_end_of)) {
            last = format!("reserved_{}: [c_bool; {missing}]", member.name);
            let _ = writeln!(fields, "    /// Unused.\n    pub {last},");
            let _ = writeln!(fill, "            reserved_{}: [0; {missing}],", member.name);
            bytes += missing;
        }
    }
    stands(path, name, &fields);
    stands(path, "last member", &format!("crate::assert_no_tail_padding!({of}, {last});\n"));
    fill
}

/// The enum of C with these names.
fn c_enum(names: &[&str]) -> &'static str {
    match names {
        ["auto", "sequential", ..] => "llama_engine_strategy",
        ["f16", ..] => "llama_engine_kv_type",
        ["auto", "node", ..] => "llama_engine_placement",
        ["auto", "always", ..] => "llama_engine_replicate",
        ["auto", "active", ..] => "llama_engine_wait_policy",
        ["auto", "off", ..] => "llama_speculation",
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
                [format!("self.{name}"), format!("self.n_{name}"), format!("\"{name}\""), format!("params.{name}")];
            let call = format!("{reader}({})?;", arguments.join(", "));
            return match "            params. = ".len() + name.len() + call.len() {
                0..=WIDTH => format!("            params.{name} = {call}\n"),
                _ if "                ".len() + call.len() <= WIDTH => {
                    format!("            params.{name} =\n                {call}\n")
                }
                _ => {
                    let lines: String = arguments.iter().map(|one| format!("                {one},\n")).collect();
                    format!("            params.{name} = {reader}(\n{lines}            )?;\n")
                }
            };
        }
    };
    format!("            params.{name} = {value};\n")
}

/// Compares or writes a struct of C, its defaults and its readers.
fn struct_stands<P: Default>(file: &str, of: &str, fields: &[&Field<P>]) {
    let path = format!("crates/llama-concurrent-capi/src/{file}.rs");
    let members =
        |part: usize| fields.iter().filter(move |field| field.traits.c_part == part).flat_map(|field| c_members(field));
    let mut parts: Vec<usize> = fields.iter().map(|field| field.traits.c_part).collect();
    assert!(parts.is_sorted(), "the table has the order of the C struct: {parts:?}");
    parts.dedup();
    for part in parts.into_iter().filter(|&part| part != LAST_C_PART) {
        stands(&path, &format!("parameters {part}"), &members(part).map(|member| member.written()).collect::<String>());
    }
    let fill = last_part_stands(&path, of, "last parameters", &members(LAST_C_PART).collect::<Vec<_>>());
    stands(&path, "defaults", &(fields.iter().map(|field| c_default(field)).collect::<String>() + &fill));
    stands(&path, "readers", &fields.iter().map(|field| c_reader(field)).collect::<String>());
}

#[test]
fn the_c_structs_have_the_parameters_and_the_configuration() {
    struct_stands("infer_params", "llama_infer_params", &fields().collect::<Vec<_>>());
    struct_stands("engine_params", "llama_engine_params", &config_fields().collect::<Vec<_>>());
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

/// A sentence with more at its end.
fn extended(sentence: &str, more: &str) -> String {
    format!("{}{more}.", sentence.trim_end_matches('.'))
}

fn c_figure(figure: &Figure) -> (Member, String) {
    let (name, doc) = (figure.name, figure.doc);
    let count = format!("told(\"{name}\").count()");
    let text = format!("text(&told(\"{name}\").text())");
    let (member, value) = match figure.kind {
        FigureKind::Strategy => (
            Member::new(name, "i32", format!("{doc} One of `llama_engine_strategy`.")),
            "llama_engine_strategy::of(now.strategy) as i32".to_owned(),
        ),
        FigureKind::Number => (Member::new(name, "u32", doc), format!("{count} as u32")),
        FigureKind::Size => (Member::new(name, "u64", doc), count),
        FigureKind::Time => (
            Member::new(format!("{name}_ms"), "f64", extended(doc, ", in milliseconds")),
            format!("told(\"{name}\").real()"),
        ),
        FigureKind::Share | FigureKind::OptionalShare => {
            (Member::new(name, "f64", doc.replace("Unset:", "-1:")), format!("told(\"{name}\").real()"))
        }
        FigureKind::Text => {
            (Member::new(name, "*const c_char", format!("{doc} The text lives as long as the library.")), text)
        }
        FigureKind::Cpus => {
            let doc = extended(doc, ", as a list such as \"0-3,8\"");
            (Member::new(name, "*const c_char", format!("{doc} The text lives as long as the library.")), text)
        }
    };
    let value = format!("            {}: {value},\n", member.name);
    (member, value)
}

#[test]
fn the_statistics_have_the_figures() {
    const PATH: &str = "crates/llama-concurrent-capi/src/stats.rs";
    let (members, values): (Vec<Member>, String) = EngineStats::FIGURES.iter().map(c_figure).unzip();
    let fill = last_part_stands(PATH, "llama_engine_stats", "figures", &members);
    stands(PATH, "values", &(values + &fill));
    let python = EngineStats::FIGURES.iter().map(|figure| {
        let (name, hint) = match figure.kind {
            FigureKind::Strategy | FigureKind::Text => (figure.name.to_owned(), "str"),
            FigureKind::Number | FigureKind::Size => (figure.name.to_owned(), "int"),
            FigureKind::Time => (format!("{}_time", figure.name), "float"),
            FigureKind::Share => (figure.name.to_owned(), "float"),
            FigureKind::OptionalShare => (figure.name.to_owned(), "float | None"),
            FigureKind::Cpus => (figure.name.to_owned(), "list[int]"),
        };
        let doc = match figure.kind {
            FigureKind::Time => extended(figure.doc, ", in seconds"),
            _ => figure.doc.replace("Unset:", "None:"),
        };
        let doc = format!("\"\"\"{doc}\"\"\"");
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
        let _ = writeln!(
            rows,
            "| {} | `--{}` | {default} | {doc} |",
            names.join(" "),
            field.traits.flags.first().unwrap_or(&field.name)
        );
    }
    stands("docs/server.md", "parameters", &rows);
}

#[test]
fn the_statuses_of_c_have_the_kinds_of_errors() {
    const PATH: &str = "crates/llama-concurrent-capi/src/status.rs";
    let variants = |is_later: bool| {
        let kinds = ErrorKind::ALL.iter().filter(move |kind| (kind.c_status > 21) == is_later);
        kinds.map(|kind| {
            let numbers = if kind.has_numbers { " `llama_infer_last_error_detail` has the numbers." } else { "" };
            let doc = wrapped(&format!("{}{numbers}", kind.doc), "    /// ");
            format!("{doc}    {} = {},\n", kind.name, kind.c_status)
        })
    };
    stands(PATH, "kinds of errors", &variants(false).collect::<String>());
    stands(PATH, "later kinds of errors", &variants(true).collect::<String>());
    let names = ErrorKind::ALL.iter().map(|kind| format!("        (Status::{}, c{:?}),\n", kind.name, kind.c_name));
    stands(PATH, "names of kinds", &names.collect::<String>());
}

#[test]
fn each_kind_of_error_has_an_exception_in_both_python_packages() {
    let classes = text_of("bindings/python/python/llama_concurrent/_errors.py");
    let packages = [
        "bindings/python/python/llama_concurrent/__init__.py",
        "bindings/python-ctypes/llama_concurrent_ctypes/__init__.py",
    ];
    for kind in ErrorKind::ALL {
        let name = kind.python;
        assert!(classes.contains(&format!("\nclass {name}(")), "_errors.py has no class {name}");
        for package in packages {
            let text = text_of(package);
            let is_passed_on = text.contains(&format!("    {name},\n")) && text.contains(&format!("    \"{name}\",\n"));
            assert!(is_passed_on, "{package} does not import {name}, or not list it in __all__");
        }
    }
}
