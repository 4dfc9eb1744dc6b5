//! What chat templates use of Python, and the template engine and its compatibility crate lack.

use minijinja::value::{Kwargs, Tuple, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Calls `method` of `value` as Python would.
pub(super) fn call_method(state: &mut State, value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return unknown_method_callback(state, value, method, arguments);
    };
    match method {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            Ok(text.strip_prefix(prefix).unwrap_or(text).into())
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            Ok(text.strip_suffix(suffix).unwrap_or(text).into())
        }
        "partition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            Ok(match text.split_once(separator) {
                Some((before, after)) => triple(before, separator, after),
                None => triple(text, "", ""),
            })
        }
        "rpartition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            Ok(match text.rsplit_once(separator) {
                Some((before, after)) => triple(before, separator, after),
                None => triple("", "", text),
            })
        }
        "split" => {
            let (separator, limit) = split_arguments(arguments)?;
            let arguments = [separator.into(), limit.into()];
            unknown_method_callback(state, value, method, &arguments)
        }
        "rsplit" => match split_arguments(arguments)? {
            (Some(separator), Some(limit)) if limit >= 0 => {
                let parts = text.rsplitn((limit as usize).saturating_add(1), &*separator);
                let parts: Vec<&str> = parts.collect();
                Ok(Value::from_iter(parts.into_iter().rev()))
            }
            (None, Some(limit)) if limit >= 0 => {
                Err(Error::new(ErrorKind::InvalidOperation, "rsplit with maxsplit wants a separator"))
            }
            // Without a limit, the direction makes no difference.
            (separator, _) => unknown_method_callback(state, value, "split", &[separator.into()]),
        },
        _ => unknown_method_callback(state, value, method, arguments),
    }
}

/// `value is sequence`: whatever Python can index and measure. That includes strings and dicts, and the engine's lazy
/// slices and sums of lists.
pub(super) fn is_sequence(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::String | ValueKind::Map | ValueKind::Seq | ValueKind::Iterable | ValueKind::Undefined
    )
}

fn triple(before: &str, separator: &str, after: &str) -> Value {
    Tuple::from([before, separator, after].map(Value::from)).into()
}

/// The arguments `sep` and `maxsplit`, by position or by name.
fn split_arguments(arguments: &[Value]) -> Result<(Option<String>, Option<i64>), Error> {
    let (separator, limit, named): (Option<String>, Option<i64>, Kwargs) = from_args(arguments)?;
    let separator = match separator {
        Some(separator) => Some(separator),
        None => named.get("sep")?,
    };
    let limit = match limit {
        Some(limit) => Some(limit),
        None => named.get("maxsplit")?,
    };
    named.assert_all_used()?;
    Ok((separator, limit))
}
