//! Small expressions over values that are none, undefined, empty or plain print what Python's Jinja2 prints.
//!
//! The rows are written by `scripts/chat-templates/reference.py expressions`: the expression and what Python prints, null
//! where Python refuses it. What Python refuses may be an error here or not: a template that renders in Python never gets there.

use llama_concurrent_template::{ChatOptions, ChatTemplate};
use serde_json::json;

/// What the template engine leaves no way to change: its operators on values that have none, a fixed number of arguments for
/// macros, lists for the views of a dict, no `lipsum`, no `self` and no `current` of a cycler. And it panics on a reversed empty list.
const EXCEPTIONS: &[&str] = &[
    "{% set c = cycler(\"a\", \"b\") %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}",
    "{{ none[1:] }}",
    "{{ none[:-1] }}",
    "{{ {}[1:] }}",
    "{{ {}[:-1] }}",
    "{{ false[1:] }}",
    "{{ false[:-1] }}",
    "{{ 0[1:] }}",
    "{{ 0[:-1] }}",
    "{{ 1.5[1:] }}",
    "{{ 1.5[:-1] }}",
    "{{ true[1:] }}",
    "{{ true[:-1] }}",
    "{{ -false }}",
    "{{ -true }}",
    "{{ true > 0 }}",
    "{{ {}.items() }}",
    "{{ {}.keys() }}",
    "{{ {}.values() }}",
    "{{ m.items() }}",
    "{{ m.keys() }}",
    "{{ m.values() }}",
    "{{ 1.5 | filesizeformat }}",
    "{% macro f(x) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, z=3) }}",
    "{% macro f(x) %}{{ x }}{{ kwargs }}{% endmacro %}{{ f(1) }}",
    "{% macro f(x) %}{{ x }}{% for v in varargs %}[{{ v }}]{% endfor %}{% endmacro %}{{ f(1, \"a\", \"b\") }}",
    "{{ loop is defined }}{{ self is defined }}{{ lipsum is defined }}{{ cycler is defined }}{{ joiner is defined }}\
     {{ range is defined }}{{ dict is defined }}{{ namespace is defined }}",
    "{{ [1, 2, 3][1:] }}{{ [1, 2, 3][::-1] }}{{ [1, 2, 3][:2] }}{{ (1, 2, 3)[1:] }}{{ [][::-1] }}{{ \"\"[::-1] }}",
];

#[test]
fn expressions_print_what_python_prints() {
    let rows: Vec<(String, Option<String>)> = serde_json::from_str(include_str!("data/expressions.json")).unwrap();
    assert!(rows.len() > 2000);
    let mut options = ChatOptions::default();
    options.extra.insert("m".into(), json!({"a": 1}));
    let mut wrong = Vec::new();
    for (source, expected) in &rows {
        let Some(expected) = expected else { continue };
        let rendered = ChatTemplate::compile(source, "", "").and_then(|template| template.render(&[], &options));
        let is_exception = EXCEPTIONS.contains(&source.as_str());
        if (rendered.as_ref().ok() == Some(expected)) == is_exception {
            wrong.push(format!("{source}\n   Python: {expected:?}\n   here:   {rendered:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
