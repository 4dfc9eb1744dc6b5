//! Tests (`is ...`) where the engine's own differ from Python's, on none and undefined above all.

use std::cmp::Ordering;

use minijinja::value::ValueKind;
use minijinja::{Environment, State, Value, tests};

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", is_iterable);
    environment.add_test("callable", is_callable);
    environment.add_test("filter", |state: &State, name: &Value| {
        name.as_str().is_some_and(|name| tests::is_filter(state, name))
    });
    environment
        .add_test("test", |state: &State, name: &Value| name.as_str().is_some_and(|name| tests::is_test(state, name)));
    environment.add_test("lower", |value: &Value| cased(value, char::is_lowercase, char::is_uppercase));
    environment.add_test("upper", |value: &Value| cased(value, char::is_uppercase, char::is_lowercase));
    for (names, holds) in [
        (["lt", "lessthan", "<"], Ordering::is_lt as fn(Ordering) -> bool),
        (["le", "le", "<="], Ordering::is_le),
        (["gt", "greaterthan", ">"], Ordering::is_gt),
        (["ge", "ge", ">="], Ordering::is_ge),
    ] {
        for name in names {
            environment.add_test(name, move |value: &Value, other: &Value| holds(number(value).cmp(&number(other))));
        }
    }
}

/// Whatever Python can index and measure. That includes strings and dicts, and the engine's lazy slices and sums of lists.
fn is_sequence(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::String | ValueKind::Map | ValueKind::Seq | ValueKind::Iterable | ValueKind::Undefined
    )
}

/// Whatever Python can loop over; none is not among it.
fn is_iterable(value: &Value) -> bool {
    is_sequence(value) || (value.kind() == ValueKind::Plain && value.try_iter().is_ok())
}

/// Functions and macros. Python's undefined can be called too, as far as this test knows.
fn is_callable(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Undefined => true,
        ValueKind::Plain => value.try_iter().is_err(),
        _ => value.as_object().is_some_and(|object| object.type_name().ends_with("Macro")),
    }
}

fn cased(value: &Value, wanted: fn(char) -> bool, other: fn(char) -> bool) -> bool {
    let text = crate::printer::text_of(value);
    text.chars().any(wanted) && !text.chars().any(other)
}

/// Truth values count as numbers in comparisons.
fn number(value: &Value) -> Value {
    if value.kind() == ValueKind::Bool { i64::from(value.is_true()).into() } else { value.clone() }
}
