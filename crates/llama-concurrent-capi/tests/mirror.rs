//! The file of the ctypes module that mirrors `include/llama_concurrent.h`. `UPDATE=1` writes it anew, from the header.

use std::{fmt::Write, fs, path::Path};

const HEADER: &str = include_str!("../../../include/llama_concurrent.h");

const HEAD: &str = r#""""Numbers, structs and functions of `include/llama_concurrent.h`, from which a test writes this file."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_bool, c_char_p, c_double, c_float, c_int, c_int32, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any
"#;

/// One declaration of the header.
enum Item<'a> {
    Enum { name: &'a str, body: &'a str },
    Struct { name: &'a str, body: &'a str },
    Callback { name: &'a str, result: &'a str, arguments: &'a str },
    Function { name: &'a str, result: &'a str, arguments: &'a str },
}

/// The header without comments, what is for the preprocessor, and the functions with a body at its end.
fn declarations() -> String {
    let (before, _) = HEADER.split_once("static inline").expect("the header ends with functions that have a body");
    let mut text = String::new();
    let mut rest = before;
    while let Some((code, comment)) = rest.split_once("/*") {
        text.push_str(code);
        rest = comment.split_once("*/").expect("comments end").1;
    }
    text.push_str(rest);
    let is_code = |line: &&str| !line.starts_with('#') && !line.starts_with("extern") && !line.starts_with("}  //");
    let lines: Vec<&str> = text.lines().filter(is_code).map(str::trim).collect();
    lines.join(" ")
}

/// The statements of a text: what stands before each semicolon that is not inside braces.
fn statements(text: &str) -> Vec<&str> {
    let (mut depth, mut from) = (0, 0);
    let mut found = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth == 0 => {
                found.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    found
}

fn items(text: &str) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let mut last = "";
    for statement in statements(text) {
        let body =
            || statement.split_once('{').and_then(|(_, body)| body.rsplit_once('}')).map(|(body, _)| body.trim());
        if let (true, Some(body)) = (statement.starts_with("enum"), body()) {
            items.push(Item::Enum { name: last, body });
        } else if let (Some(rest), Some(body)) = (statement.strip_prefix("typedef struct "), body()) {
            items.push(Item::Struct { name: rest.split_whitespace().next().expect("a name"), body });
        } else if let Some((result, rest)) = statement.strip_prefix("typedef ").and_then(|rest| rest.split_once("(*")) {
            let (name, arguments) = rest.split_once(")(").expect("arguments");
            items.push(Item::Callback { name, result: result.trim(), arguments: arguments.trim_end_matches(')') });
        } else if let Some(name) = statement.strip_prefix("typedef int32_t ") {
            last = name;
        } else if let (false, Some((before, arguments))) = (statement.starts_with("typedef"), statement.split_once('('))
        {
            let (_, name) = before.rsplit_once([' ', '*']).expect("a result");
            let result = &before[..before.len() - name.len()];
            items.push(Item::Function { name, result: result.trim(), arguments: arguments.trim_end_matches(')') });
        }
    }
    items
}

/// `llama_infer_params` as `CInferParams`.
fn class(name: &str) -> String {
    let words = name.strip_prefix("llama_").expect("our names").split('_');
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    format!("C{}", words.map(capital).collect::<String>())
}

/// The type of ctypes for one of C, and the name behind it.
fn typed(declaration: &str) -> (String, &str) {
    let declaration = declaration.trim();
    let from = declaration.rfind([' ', '*']).map_or(0, |at| at + 1);
    let (c_type, name) = declaration.split_at(from);
    (ctype(c_type), name)
}

fn ctype(c_type: &str) -> String {
    let stars = c_type.matches('*').count();
    let words = c_type.replace('*', " ");
    let base = words.split_whitespace().rfind(|word| !["const", "struct"].contains(word)).expect("a type");
    let (base, stars) = match (base, stars) {
        ("void", 0) => return "None".to_owned(),
        ("void", stars) => ("c_void_p".to_owned(), stars - 1),
        ("char", stars) => ("c_char_p".to_owned(), stars - 1),
        // Handles.
        ("llama_engine" | "llama_infer_queue", stars) => ("c_void_p".to_owned(), stars - 1),
        ("int", stars) => ("c_int".to_owned(), stars),
        ("llama_infer_id", stars) => ("c_uint64".to_owned(), stars),
        ("bool" | "float" | "double", stars) => (format!("c_{base}"), stars),
        (base, stars) => match base.strip_suffix("_t") {
            Some(number) if !base.starts_with("llama") => (format!("c_{}", number.replace("size", "size_t")), stars),
            _ => (class(base), stars),
        },
    };
    (0..stars).fold(base, |inner, _| format!("POINTER({inner})"))
}

fn types(arguments: &str) -> Vec<String> {
    if arguments == "void" {
        return Vec::new();
    }
    arguments.split(',').map(|argument| typed(argument).0).collect()
}

/// A list in Python that is long enough for lines of its own.
fn listed(out: &mut String, open: &str, elements: &[String], close: &str) {
    let _ = writeln!(out, "{open}");
    elements.iter().for_each(|element| _ = writeln!(out, "        {element},"));
    let _ = writeln!(out, "{close}");
}

fn mirror() -> String {
    let declarations = declarations();
    let items = items(&declarations);
    let mut out = format!("{HEAD}\nENUMS: dict[str, dict[str, int]] = {{\n");
    let mut enums = Vec::new();
    for item in &items {
        if let Item::Enum { name, body } = item {
            enums.push(*name);
            let prefix = name.to_uppercase() + "_";
            let numbers = body.split(',').filter_map(|entry| {
                let (key, number) = entry.split_once(" = ")?;
                let key = key.trim().strip_prefix(&prefix).expect("the prefix").to_lowercase();
                Some(format!("\"{}\": {number}", key.replace("round_robin", "round-robin")))
            });
            let numbers: Vec<String> = numbers.collect();
            let line = format!("    \"{name}\": {{{}}},\n", numbers.join(", "));
            if line.len() <= 121 {
                out += &line;
            } else {
                listed(&mut out, &format!("    \"{name}\": {{"), &numbers, "    },");
            }
        }
    }
    out += "}\n\"\"\"Numbers by their names.\"\"\"\n";
    let known = |line: String| enums.iter().fold(line, |line, name| line.replace(&class(name), "c_int32"));
    for item in &items {
        match item {
            Item::Struct { name, body } => {
                let lines: Vec<&str> = body.split(';').map(str::trim).filter(|line| !line.is_empty()).collect();
                let fields = lines.iter().enumerate().map(|(i, line)| {
                    let (line, many) = match line.split_once('[') {
                        Some((line, many)) => (line, format!(" * {}", many.trim_end_matches(']'))),
                        None => (*line, String::new()),
                    };
                    let (mut ctype, name) = typed(line);
                    // A text that may contain NUL is read with its length.
                    if lines.get(i + 1).is_some_and(|next| next.ends_with(&format!(" {name}_length"))) {
                        ctype = "c_void_p".to_owned();
                    }
                    known(format!("(\"{name}\", {ctype}{many})"))
                });
                let fields: Vec<String> = fields.collect();
                let _ = write!(out, "\n\nclass {}(ctypes.Structure):\n", class(name));
                listed(&mut out, "    _fields_ = [", &fields, "    ]");
            }
            Item::Callback { name, result, arguments } => {
                let arguments = types(arguments).join(", ");
                let line = format!("\n\n{} = ctypes.CFUNCTYPE({}, {arguments})\n", class(name), ctype(result));
                out += &known(line);
            }
            Item::Enum { .. } | Item::Function { .. } => {}
        }
    }
    out += "\n\nFUNCTIONS: dict[str, tuple[Any, list[Any]]] = {\n";
    for item in &items {
        if let Item::Function { name, result, arguments } = item {
            let arguments: Vec<String> = types(arguments).into_iter().map(known).collect();
            let result = known(ctype(result));
            let line = format!("    \"{name}\": ({result}, [{}]),\n", arguments.join(", "));
            if line.len() <= 121 {
                out += &line;
            } else {
                let _ = writeln!(out, "    \"{name}\": (\n        {result},\n        [");
                arguments.iter().for_each(|one| _ = writeln!(out, "            {one},"));
                out += "        ],\n    ),\n";
            }
        }
    }
    out + "}\n\"\"\"Result and arguments of each function.\"\"\"\n"
}

#[test]
fn the_ctypes_module_mirrors_the_header() {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bindings/python-ctypes/llama_concurrent_ctypes");
    let (path, made) = (module.join("_header.py"), mirror());
    if fs::read_to_string(&path).unwrap_or_default() != made {
        assert!(std::env::var_os("UPDATE").is_some(), "{} is old; run this test with UPDATE=1", path.display());
        fs::write(&path, made).expect("the file can be written");
    }
}
