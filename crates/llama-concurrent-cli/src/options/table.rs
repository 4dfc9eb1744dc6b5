//! Options that come from the engine's tables of parameters.

use clap::{
    Arg, ArgAction, ArgMatches,
    builder::{PossibleValuesParser, TypedValueParser},
    value_parser,
};
use llama_concurrent::{
    Token,
    parameters::{Field, Kind, Value},
};
use llama_concurrent_topology::parse_list;

use super::whole;

/// The option of a parameter. If it is on by default, the option turns it off.
pub fn argument<P: Default>(field: &'static Field<P>, all: &[Field<P>], default: &Value) -> Arg {
    let (name, aliases) = field.traits.flags.split_first().expect("the parameter has an option");
    let argument = Arg::new(id(field)).long(*name).aliases(aliases).help(help(field, all));
    let default = written(default);
    let number = |argument: Arg| argument.allow_negative_numbers(true);
    match field.kind {
        Kind::Flag => return argument.action(ArgAction::SetTrue),
        Kind::Texts => argument.action(ArgAction::Append).allow_hyphen_values(true),
        Kind::Tokens => argument.action(ArgAction::Append).value_parser(value_parser!(Token)),
        Kind::Biases => argument.action(ArgAction::Append).value_parser(bias),
        Kind::Number => number(argument).value_parser(value_parser!(f32)).default_value(default),
        Kind::Count | Kind::Millis => number(argument).value_parser(count).default_value(default),
        Kind::OptionalCount => number(argument).value_parser(count),
        Kind::Choice(names) => {
            let known = move |name: String| names.iter().copied().find(|known| *known == name);
            let parser = PossibleValuesParser::new(names).map(move |name| known(name).expect("a possible value"));
            argument.value_parser(parser).default_value(default)
        }
        Kind::OptionalText => argument.allow_hyphen_values(true),
        Kind::OptionalList => argument.value_parser(list),
        Kind::Object => argument.value_parser(object),
        Kind::Constraint | Kind::ByHand => unreachable!("its options are written by hand"),
    }
    .value_name(field.traits.placeholder)
}

/// The clap id of a flag, as clap's derive makes it.
pub fn id<P: 'static>(field: &Field<P>) -> String {
    field.traits.flags[0].replace('-', "_")
}

/// The given value, or the option's default, if any.
pub fn given<P: Default>(field: &Field<P>, matches: &ArgMatches) -> Option<Value> {
    let name = &id(field);
    Some(match field.kind {
        Kind::Number => Value::Number(*matches.get_one(name)?),
        Kind::Count => Value::Count(*matches.get_one(name)?),
        Kind::Millis => Value::Millis(*matches.get_one(name)?),
        Kind::OptionalCount => Value::OptionalCount(Some(*matches.get_one(name)?)),
        Kind::Flag => Value::Flag(matches.get_flag(name) != is_on(field)),
        Kind::Texts => Value::Texts(matches.get_many(name)?.cloned().collect()),
        Kind::Tokens => Value::Tokens(matches.get_many(name)?.copied().collect()),
        Kind::Biases => Value::Biases(matches.get_many(name)?.copied().collect()),
        Kind::Choice(_) => Value::Choice(matches.get_one::<&'static str>(name)?),
        Kind::OptionalText => Value::OptionalText(Some(matches.get_one::<String>(name)?.clone())),
        Kind::OptionalList => Value::OptionalList(Some(matches.get_one::<List>(name)?.0.clone())),
        Kind::Object => Value::Object(matches.get_one::<Object>(name)?.clone()),
        Kind::Constraint | Kind::ByHand => return None,
    })
}

fn is_on<P: Default>(field: &Field<P>) -> bool {
    field.default() == Value::Flag(true)
}

/// The first sentence of a parameter's description, with other parameters replaced by their options.
fn help<P: Default>(field: &Field<P>, all: &[Field<P>]) -> String {
    let mut words = field.summary().to_owned();
    for other in all {
        if let Some(flag) = other.traits.flags.first() {
            words = words.replace(&format!("`{}`", other.name), &format!("--{flag}"));
        }
    }
    match field.kind {
        Kind::Flag if is_on(field) => format!("Turn off this default: {}{}", words[..1].to_lowercase(), &words[1..]),
        Kind::Texts | Kind::Tokens | Kind::Biases => words + "; may be given several times",
        _ => match field.unset() {
            Some(unset) => format!("{words} [default: {unset}]"),
            None => words,
        },
    }
}

/// A default as written on the command line.
fn written(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Count(number) | Value::Millis(number) => number.to_string(),
        Value::Choice(name) => (*name).to_owned(),
        _ => String::new(),
    }
}

/// Numbers in one argument.
#[derive(Clone)]
struct List(Vec<usize>);

fn list(text: &str) -> Result<List, llama_concurrent::Error> {
    parse_list(text).map(List)
}

type Object = serde_json::Map<String, serde_json::Value>;

fn object(text: &str) -> Result<Object, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
}

/// A whole number of 32 bits.
fn count(text: &str) -> Result<u64, String> {
    whole::<u32>(text).map(u64::from)
}

/// `29871+1.5`, `29871-1.5` or, to forbid the token, `29871-inf`, as in llama.cpp.
fn bias(text: &str) -> Result<(Token, f32), String> {
    let is_sign = |c| c == '+' || c == '-';
    let parts = text.find(is_sign).map(|at| text.split_at(at));
    let read = parts.and_then(|(token, bias)| Some((token.parse().ok()?, bias.parse().ok()?)));
    read.ok_or_else(|| "must be a token's id and a number with its sign, such as 29871-1.5 or 29871-inf".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_are_read_as_llama_cpp_writes_them() {
        assert_eq!(bias("29871+1.5"), Ok((29871, 1.5)));
        assert_eq!(bias("5-inf"), Ok((5, f32::NEG_INFINITY)));
        for bad in ["5", "+1", "5+", "5+x", "x-1"] {
            assert!(bias(bad).is_err(), "{bad}");
        }
    }
}
