//! The dialect piece by piece, the errors and the limits. Whole templates: `tests/families`.
//!
//! What the tables expect is what Python's Jinja2 prints with the settings of transformers.

use jiff::civil::date;
use serde_json::json;

use super::dialect::format_time;
use super::*;

const MESSAGES: [(&str, &str); 3] = [("system", "s"), ("user", "é <b>"), ("assistant", " a\n")];

fn messages() -> Vec<ChatMessage> {
    MESSAGES.iter().map(|&(role, content)| ChatMessage::new(role, content)).collect()
}

/// Messages as they are, the last of the assistant too.
fn whole() -> ChatOptions {
    ChatOptions { continue_final_message: Continuation::Never, ..ChatOptions::default() }
}

fn render(template: &str) -> Result<String, ChatError> {
    let options = ChatOptions {
        extra: json!({
            "d": {"b": 1, "a": [1, 2.5, null, true], "z": {"k": "<&'é😀\n\u{7f}\u{1}\""}},
            "floats": [1.0, 1e16, 1e-5, 0.1, 1e22, -0.0, 5e-324],
            "s": " a,b,,c ",
        })
        .as_object()
        .cloned()
        .unwrap_or_default(),
        ..whole()
    };
    ChatTemplate::compile(template, "<s>", "</s>")?.render_as_it_is(&messages(), &options)
}

#[track_caller]
fn expect_all(table: &[(&str, &str)]) {
    for (template, prompt) in table {
        assert_eq!(render(template).as_deref(), Ok(*prompt), "{template}");
    }
}

#[test]
fn json_is_written_as_python_writes_it() {
    expect_all(&[
        ("{{ d | tojson }}", "{\"b\": 1, \"a\": [1, 2.5, null, true], \"z\": {\"k\": \"<&'é😀\\n\u{7f}\\u0001\\\"\"}}"),
        ("{{ d.z | tojson(ensure_ascii=true) }}", "{\"k\": \"<&'\\u00e9\\ud83d\\ude00\\n\\u007f\\u0001\\\"\"}"),
        ("{{ ['é'] | tojson(true) }}", "[\"\\u00e9\"]"),
        (
            "{{ {'x': [1], 'e': [], 'm': {}} | tojson(indent=2) }}",
            "{\n  \"x\": [\n    1\n  ],\n  \"e\": [],\n  \"m\": {}\n}",
        ),
        ("{{ [1, 2] | tojson(indent=0) }}", "[\n1,\n2\n]"),
        ("{{ [1] | tojson(indent='\t') }}", "[\n\t1\n]"),
        ("{{ d.a | tojson(separators=(',', ':')) }}", "[1,2.5,null,true]"),
        ("{{ {'b': {'d': 1, 'c': 2}, 'a': 0} | tojson(sort_keys=true) }}", "{\"a\": 0, \"b\": {\"c\": 2, \"d\": 1}}"),
        ("{{ floats | tojson }}", "[1.0, 1e+16, 1e-05, 0.1, 1e+22, -0.0, 5e-324]"),
        ("{{ messages[0] | tojson }}", "{\"role\": \"system\", \"content\": \"s\"}"),
        ("{{ none | tojson }}{{ 'a' | tojson }}", "null\"a\""),
    ]);
}

#[test]
fn wrong_use_of_tojson_is_an_error() {
    for template in ["{{ nowhere | tojson }}", "{{ 1 | tojson(separators=[',']) }}", "{{ 1 | tojson(nowhere=1) }}"] {
        assert!(matches!(render(template), Err(ChatError::Render { .. })));
    }
}

#[test]
fn python_methods_work() {
    expect_all(&[
        ("{{ s.strip() }}|{{ s.lstrip() }}|{{ s.rstrip() }}", "a,b,,c|a,b,,c | a,b,,c"),
        ("{{ s.split(',') }}{{ s.split(',', maxsplit=1)[1] }}", "[' a', 'b', '', 'c ']b,,c "),
        ("{{ 'a b  c'.split(none, 1) }}", "['a', 'b  c']"),
        ("{{ s.rsplit(',', 1) }}{{ s.rsplit(sep=',') | length }}", "[' a,b,', 'c ']4"),
        ("{{ 'xay'.removeprefix('x').removesuffix('y') }}{{ 'b'.removeprefix('x') }}", "ab"),
        (
            "{{ 'a:b:c'.partition(':') }}{{ 'a:b:c'.rpartition(':')[0] }}{{ 'a'.rpartition(':')[2] }}",
            "('a', ':', 'b:c')a:ba",
        ),
        ("{{ 'ab'.startswith('a') }}{{ 'ab'.endswith(('x', 'b')) }}", "TrueTrue"),
        ("{{ 'ab'.upper() }}{{ 'a b'.title() }}{{ 'aba'.replace('a', 'c', 1) }}{{ 'aba'.find('b') }}", "ABA Bcba1"),
        (
            "{% for k, v in d.items() %}{{ k }}{% endfor %}{{ d.get('b') }}{{ d.get('q', 'no') }}{{ 'z' in d }}",
            "baz1noTrue",
        ),
        ("{{ d.keys() | list }}", "['b', 'a', 'z']"),
    ]);
}

#[test]
fn values_print_as_in_python() {
    expect_all(&[
        ("{{ true }} {{ none }} {{ 1.0 }}", "True None 1.0"),
        ("{{ d.a }}{{ {'k': 'v'} }}", "[1, 2.5, None, True]{'k': 'v'}"),
        ("{{ '<b>' }}{{ messages[1].content }}", "<b>é <b>"),
    ]);
}

#[test]
fn lists_slices_and_loops_work() {
    expect_all(&[
        (
            "{{ messages[0]['role'] }}{{ messages[-1].role }}{{ messages[1:] | length }}{{ messages[::-1][0].role }}",
            "systemassistant2assistant",
        ),
        (
            "{{ messages[1:] is sequence }}{{ ([1] + [2]) is sequence }}{{ 'a' is sequence }}{{ d is sequence }}{{ 1 is sequence }}",
            "TrueTrueTrueTrueFalse",
        ),
        (
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + loop.index %}{% endfor %}{{ ns.n }}",
            "6",
        ),
        (
            "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% break %}{% endfor %}",
            "user",
        ),
        ("{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list }}", "['é <b>']"),
    ]);
}

#[test]
fn undefined_is_lenient_until_looked_into() {
    expect_all(&[
        ("[{{ nowhere }}{{ messages[9] }}{{ messages[0].tool_calls }}{{ 'x' if nowhere }}]", "[]"),
        ("{{ nowhere is defined }}{{ nowhere | default('d') }}", "Falsed"),
        ("{% for x in nowhere %}x{% else %}none{% endfor %}", "none"),
        (
            "{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}{{ bos_token }}{{ eos_token }}",
            "TrueTrueTrue<s></s>",
        ),
    ]);
    let error = render("\n{{ nowhere.deeper }}").unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
    assert!(error.contains("`nowhere` is undefined"), "{error}");
}

#[test]
fn whitespace_follows_transformers() {
    expect_all(&[
        ("a\n  {% if true %}\n    b\n  {% endif %}\nc\n", "a\n    b\nc"),
        ("a\n{{ 1 }}\n{# c #}\nb\n\n", "a\n1\nb\n"),
        ("a\r\n{% if true %}\r\nb\r\n{% endif %}\r\n", "a\nb\n"),
        (" {%+ if true %}b{% endif +%}\nc", " b\nc"),
    ]);
}

#[test]
fn generation_blocks_print_their_content() {
    expect_all(&[(
        "{% for m in messages %}{% generation %}{% set x = loop.index %}{{ x }}{%- endgeneration %}{{ x }}{% endfor %}",
        "123",
    )]);
}

#[test]
fn extra_variables_replace_tokens_but_not_messages() {
    let template = "{{ bos_token }}{{ mode }}{{ messages | length }}{{ add_generation_prompt }}";
    let template = ChatTemplate::compile(template, "<s>", "").unwrap();
    let mut options = whole();
    for (name, value) in [
        ("bos_token", json!("B")),
        ("mode", json!("M")),
        ("messages", json!("none of these")),
        ("add_generation_prompt", json!("nor this")),
    ] {
        options.extra.insert(name.into(), value);
    }
    assert_eq!(template.render_as_it_is(&messages(), &options), Ok("BM3True".to_owned()));
}

#[test]
fn times_are_formatted_as_in_python() {
    let time = date(2024, 7, 6).at(9, 5, 0, 0).in_tz("UTC").unwrap();
    for (format, text) in [
        ("%d %b %Y", "06 Jul 2024"),
        ("%B %-d, %Y %H:%M", "July 6, 2024 09:05"),
        ("%A %j %y %I %p %%", "Saturday 188 24 09 AM %"),
        ("%Y-%m-%d é", "2024-07-06 é"),
    ] {
        assert_eq!(format_time(&time, format).unwrap(), text);
    }
    expect_all(&[("{{ strftime_now('%Y') | length }}", "4")]);
}

#[test]
fn a_template_can_refuse_messages_even_from_a_macro() {
    for template in [
        "{{ raise_exception('no ' + messages[0].role) }}",
        "{% macro m() %}{{ raise_exception('no system') }}{% endmacro %}{{ m() }}",
    ] {
        let error = render(template).unwrap_err();
        let message = "no system".to_owned();
        assert_eq!(error, ChatError::Raised { message });
        assert_eq!(error.to_string(), "the chat template refuses these messages: no system");
    }
}

#[test]
fn a_model_without_template_is_told_apart() {
    assert_eq!(render(" \n").unwrap_err(), ChatError::NoTemplate);
}

#[test]
fn syntax_errors_name_their_line() {
    for (template, line, what) in [
        ("a\n{% if true %}\n", 2, "end of input"),
        ("{{ 1 + }}", 1, "unexpected"),
        ("\n\n{% nonsense %}", 3, "nonsense"),
    ] {
        let error = render(template).unwrap_err();
        let ChatError::Syntax { line: found, message } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(*found, line, "{error}");
        assert!(message.contains(what), "{error}");
    }
}

#[test]
fn what_a_template_cannot_find_is_an_error_with_its_line() {
    for template in ["\n{{ s | nowhere }}", "\n{{ nowhere() }}", "\n{{ s.nowhere() }}", "\n{% include 'nowhere' %}"] {
        let error = render(template).unwrap_err();
        assert!(matches!(error, ChatError::Render { line: Some(2), .. }));
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
}

#[test]
fn endless_work_and_endless_recursion_end() {
    for template in [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(x) %}{% if x %}{% for y in x %}{{ m([y]) }}{% endfor %}{% endif %}{% endmacro %}{{ m([1]) }}",
    ] {
        assert!(matches!(render(template), Err(ChatError::Render { .. })));
    }
}

#[test]
fn a_panic_of_the_engine_is_an_error_and_harms_nothing() {
    let template = "{% for m in messages[::-1] %}{{ m.role }},{% endfor %}";
    let template = ChatTemplate::compile(template, "", "").unwrap();
    let options = whole();
    let error = template.render_as_it_is(&[], &options).unwrap_err();
    assert!(matches!(error, ChatError::Render { line: None, .. }));
    assert_eq!(template.render_as_it_is(&messages(), &options).as_deref(), Ok("assistant,user,system,"));
}

#[test]
fn a_template_is_shared_among_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<ChatTemplate>();
    shared::<ChatError>();
}

#[test]
fn messages_have_the_usual_json() {
    let message = ChatMessage::user("hi");
    let json = json!({"role": "user", "content": "hi"});
    assert_eq!(serde_json::to_value(&message).unwrap(), json);
    assert_eq!(serde_json::from_value::<ChatMessage>(json).unwrap(), message);
}

/// A template comes with a file from anywhere.
#[test]
fn hostile_sources_are_errors_or_texts_and_never_end_the_process() {
    // As much as the bounds of a source let through.
    let fill = |bytes: usize, unit: &str| unit.repeat(bytes / unit.len());
    let nested = |open: &str, middle: &str, close: &str| {
        let n = 8_100 / (open.len() + close.len());
        format!("{{{{ {}{middle}{} }}}}", open.repeat(n), close.repeat(n))
    };
    let statements = |open: &str, close: &str| {
        let n = 262_000 / (open.len() + close.len());
        format!("{}x{}", open.repeat(n), close.repeat(n))
    };
    let sources = [
        nested("(", "1", ")"),
        nested("[", "1", "]"),
        nested("{1:", "1", "}"),
        nested("(", "", ""),
        nested("not ", "1", ""),
        nested("-", "1", ""),
        nested("1+", "1", ""),
        nested("1~", "1", ""),
        nested("2**", "1", ""),
        nested("1 and ", "1", ""),
        nested("1 or ", "1", ""),
        nested("1<", "1", ""),
        nested("1 in ", "1", ""),
        nested("1 if 1 else ", "1", ""),
        nested("1,", "1", ""),
        nested("", "a", ".a"),
        nested("", "a", "[0]"),
        nested("", "a", "()"),
        nested("", "a", "|string"),
        nested("", "a", " is defined"),
        nested("range(", "1", ")"),
        statements("{% if 1 %}", "{% endif %}"),
        statements("{% for x in [1] %}", "{% endfor %}"),
        statements("{% macro a() %}", "{% endmacro %}"),
        statements("{% set a %}", "{% endset %}"),
        statements("{% filter upper %}", "{% endfilter %}"),
        format!("{{% if 0 %}}{}{{% endif %}}", fill(262_000, "{%elif 1%}")),
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".into(),
        "{% macro m() %}{% set x = caller() %}{% endmacro %}{% call m() %}{% call m() %}{{ m() }}{% endcall %}{% endcall %}".into(),
        "{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}{% endfor %}{% endfor %}{% endfor %}".into(),
        "{{ 'a' * 9999999999 }}".into(),
        "{{ [1] * 9999999999 }}".into(),
        "{{ 'a'.replace('', 'a' * 100000) * 100000 }}".into(),
        "{{ range(9999999999) | list }}".into(),
        "{{ 9 ** 9 ** 9 ** 9 }}".into(),
        "{{ '%999999999d' | format(1) }}".into(),
        "{{ '%(a)-999999999d' % {'a': 1} }}".into(),
        "{{ '%.999999999f' % 1.5 }}".into(),
        "{{ '%*d' % (999999999, 1) }}".into(),
        "{{ '{:é>999999999}'.format(1) }}{{ '{:0999999999.2f}'.format(1) }}".into(),
        "{{ 'a'.expandtabs(999999999) }}{{ 'a'.zfill(999999999) }}{{ '\t'.expandtabs(999999999) }}".into(),
        "{{ 'a b' | wordwrap(1, wrapstring='b' * 99999999) }}{{ [1] | batch(999999999, 0) }}{{ [1] | slice(999999999) }}".into(),
        "{{ 'a' | indent(9999999999) }}{{ 'a' | center(9999999999) }}".into(),
        "{{ 'a'.ljust(9999999999) }}".into(),
        "{{ {'a': 1} | tojson(indent=9999999999) }}".into(),
    ];
    // A value as deep as the steps allow, and all that walks through it.
    let deep = |operation: &str| {
        let deeper = format!("{}ns.x{}", "[".repeat(60), "]".repeat(60));
        let nest = |name: &str| {
            format!("{{% for i in range(700) %}}{{% set {name} = {} %}}{{% endfor %}}", deeper.replace("ns.x", name))
        };
        format!("{{% set ns = namespace(x=[1], y=[1]) %}}{}{}{operation}", nest("ns.x"), nest("ns.y"))
    };
    let walks = [
        "",
        "{{ ns.x }}",
        "{{ ns.x | tojson }}",
        "{{ ns.x == ns.y }}",
        "{{ [ns.x, ns.y] | sort }}",
        "{{ [ns.x, ns.y] | unique }}",
        "{{ ns.x in [ns.y] }}",
        "{{ ns.x ~ 'a' }}",
        "{{ ns.x | string }}",
        "{{ ns.x | pprint }}",
        "{{ {ns.x: 1} }}",
        "{{ ns.x < ns.y }}",
        "{{ [ns.x, ns.y] | max }}",
        "{{ ns.x | tojson(indent=1) }}",
        "{{ '%r' % ns.x }}",
        "{{ '%s' % ns.x }}",
        "{{ ns.x | sum }}",
        "{{ ns.x | join }}",
        "{{ ns.x | list }}",
        "{{ {1: ns.x} | dictsort }}",
        "{{ {1: ns.x} | items }}",
        "{{ raise_exception(ns.x) }}",
        "{{ ns.x.a }}",
        "{{ 'a'[ns.x] }}",
        "{{ ns.x() }}",
        "{{ ns.x | nowhere }}",
        "{{ ns.x + 1 }}",
    ];
    for source in sources.into_iter().chain(walks.map(deep)) {
        let shown: String = source.chars().take(60).collect();
        println!("{shown}");
        let messages = [ChatMessage::user("Hi")];
        let made = ChatTemplate::compile(&source, "<s>", "</s>");
        let made = made.map(|template| template.render(&messages, &ChatOptions::default()).map(|text| text.len()));
        println!("  {made:.200?}");
    }
}
