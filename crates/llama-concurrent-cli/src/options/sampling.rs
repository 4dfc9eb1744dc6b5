//! How the next token is chosen: an option for each parameter of the engine's table.

use std::{
    marker::PhantomData,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, builder::TypedValueParser, value_parser};
use llama_concurrent::{
    Constraint, SamplingParams, Token,
    parameters::{Field, Kind, Value},
};
use llama_concurrent_server::ServerConfig;

use crate::failure::Failure;

/// The command whose options these are.
pub trait Asks {
    /// What the help says above them.
    const HEADING: &'static str;
    /// What holds where nothing is given.
    fn defaults() -> SamplingParams;
    /// The seed where none is given; `None` draws one.
    fn seed() -> Option<u32> {
        Some(Self::defaults().seed)
    }
    /// Whether it has an option for this.
    fn has(_: &Field<SamplingParams>) -> bool {
        true
    }
}

/// One answer to each prompt: `run`.
pub struct Run;

impl Asks for Run {
    const HEADING: &'static str = "Sampling";

    fn defaults() -> SamplingParams {
        SamplingParams { max_tokens: Some(128), ..SamplingParams::default() }
    }
}

/// A conversation, of which nobody sees more than the text.
pub struct Chat;

impl Asks for Chat {
    const HEADING: &'static str = "Sampling";

    fn defaults() -> SamplingParams {
        SamplingParams::default()
    }

    fn has(field: &Field<SamplingParams>) -> bool {
        field.name != "logprobs"
    }
}

/// What holds where a request says nothing. Each says for itself which log probabilities it wants, and in which form its text.
pub struct Serve;

impl Asks for Serve {
    const HEADING: &'static str = "Defaults of requests";

    fn defaults() -> SamplingParams {
        ServerConfig::default().defaults
    }

    fn seed() -> Option<u32> {
        ServerConfig::default().seed
    }

    fn has(field: &Field<SamplingParams>) -> bool {
        field.name != "logprobs" && field.kind != Kind::Constraint
    }
}

/// The options, as they were given.
pub struct SamplingOptions<C> {
    params: SamplingParams,
    /// `None` draws one.
    pub seed: Option<u32>,
    form: Form,
    command: PhantomData<C>,
}

/// The form of the output.
#[derive(Args, Default)]
#[command(next_help_heading = "Sampling")]
struct Form {
    /// Write JSON that is valid under this JSON schema: a file, or the schema itself
    #[arg(long, value_name = "FILE|JSON", group = "constraint")]
    json_schema: Option<String>,

    /// Write a text that this regular expression matches as a whole
    #[arg(long, value_name = "REGEX", group = "constraint", allow_hyphen_values = true)]
    regex: Option<String>,

    /// Write a text of the grammar in this file: llama.cpp's GBNF with a rule 'root', or llguidance's form of Lark with 'start'
    #[arg(long, value_name = "FILE", group = "constraint")]
    grammar_file: Option<PathBuf>,
}

impl<C> SamplingOptions<C> {
    /// The parameters; a seed is drawn where none is set.
    pub fn params(&self) -> Result<SamplingParams, Failure> {
        let seed = self.seed.unwrap_or_else(|| fastrand::u32(..));
        Ok(SamplingParams { seed, constraint: self.form.constraint()?, ..self.params.clone() })
    }
}

impl Form {
    fn constraint(&self) -> Result<Option<Constraint>, Failure> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|e| Failure::BadInput(format!("cannot read {}: {e}", path.display())))
        };
        Ok(match self {
            Self { json_schema: Some(text), .. } if text.trim_start().starts_with('{') => {
                Some(Constraint::JsonSchema(text.clone()))
            }
            Self { json_schema: Some(path), .. } => Some(Constraint::JsonSchema(read(Path::new(path))?)),
            Self { regex: Some(regex), .. } => Some(Constraint::Regex(regex.clone())),
            Self { grammar_file: Some(path), .. } => Some(Constraint::Lark(read(path)?)),
            Self { json_schema: None, regex: None, grammar_file: None } => None,
        })
    }
}

fn fields<C: Asks>() -> impl Iterator<Item = &'static Field<SamplingParams>> {
    SamplingParams::FIELDS.iter().filter(|field| C::has(field) && field.kind != Kind::Constraint)
}

fn has_form<C: Asks>() -> bool {
    SamplingParams::FIELDS.iter().any(|field| C::has(field) && field.kind == Kind::Constraint)
}

impl<C: Asks> Args for SamplingOptions<C> {
    fn augment_args(command: Command) -> Command {
        let defaults = C::defaults();
        let command = command.next_help_heading(C::HEADING).args(fields::<C>().map(|field| {
            if field.name == "seed" {
                let seed = C::seed().map_or(-1, i64::from);
                return argument(field, seed.to_string())
                    .short('s')
                    .value_parser(value_parser!(i64).range(-1..1 << 32));
            }
            argument(field, written(&(field.get)(&defaults)))
        }));
        if has_form::<C>() { Form::augment_args(command) } else { command }
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<C: Asks> FromArgMatches for SamplingOptions<C> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut params = C::defaults();
        let mut seed = None;
        for field in fields::<C>() {
            if field.name == "seed" {
                seed = matches.get_one::<i64>(field.name).and_then(|&seed| u32::try_from(seed).ok());
            } else if let Some(value) = given(field, matches) {
                (field.set)(&mut params, value);
            }
        }
        let form = if has_form::<C>() { Form::from_arg_matches(matches)? } else { Form::default() };
        Ok(Self { params, seed, form, command: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The option of a parameter.
fn argument(field: &'static Field<SamplingParams>, default: String) -> Arg {
    let (name, aliases) = field.traits.flags.split_first().expect("every parameter has an option");
    let argument = Arg::new(field.name).long(*name).aliases(aliases).help(help(field));
    if field.kind == Kind::Flag {
        return argument.action(ArgAction::SetTrue);
    }
    let argument = argument.value_name(field.traits.placeholder);
    match field.kind {
        Kind::Texts => argument.action(ArgAction::Append).allow_hyphen_values(true),
        Kind::Tokens => argument.action(ArgAction::Append).value_parser(value_parser!(Token)),
        Kind::Biases => argument.action(ArgAction::Append).value_parser(bias),
        Kind::Number => argument.allow_negative_numbers(true).value_parser(value_parser!(f32)).default_value(default),
        Kind::Count => argument.allow_negative_numbers(true).value_parser(count()).default_value(default),
        Kind::OptionalCount if field.name == "max_tokens" => {
            let parser = value_parser!(i64).range(-1..1 << 32);
            argument.short('n').allow_negative_numbers(true).value_parser(parser).default_value(default)
        }
        Kind::OptionalCount => argument.value_parser(count()),
        Kind::Flag | Kind::Constraint => unreachable!("above"),
    }
}

fn count() -> impl TypedValueParser<Value = u64> {
    value_parser!(u64).range(..1 << 32)
}

/// `29871+1.5`, `29871-1.5` or, for never, `29871-inf`, as llama.cpp writes it.
fn bias(text: &str) -> Result<(Token, f32), String> {
    let is_sign = |c| c == '+' || c == '-';
    let parts = text.find(is_sign).map(|at| text.split_at(at));
    let read = parts.and_then(|(token, bias)| Some((token.parse().ok()?, bias.parse().ok()?)));
    read.ok_or_else(|| "must be a token's id and a number with its sign, such as 29871-1.5 or 29871-inf".to_owned())
}

/// The first sentence about a parameter, which names others by their options.
fn help(field: &Field<SamplingParams>) -> String {
    let mut words = field.summary().to_owned();
    for other in SamplingParams::FIELDS {
        if let Some(flag) = other.traits.flags.first() {
            words = words.replace(&format!("`{}`", other.name), &format!("--{flag}"));
        }
    }
    match field.kind {
        Kind::Count if field.name == "seed" => words + "; -1 draws one",
        Kind::OptionalCount if field.name == "max_tokens" => words + "; -1 goes on until the slot is full",
        Kind::Texts | Kind::Tokens | Kind::Biases => words + "; may be given several times",
        _ => words,
    }
}

/// A default as it would be given.
fn written(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Count(number) => number.to_string(),
        Value::OptionalCount(number) => number.map_or("-1".to_owned(), |number| number.to_string()),
        Value::Flag(_) | Value::Texts(_) | Value::Tokens(_) | Value::Biases(_) | Value::Constraint(_) => String::new(),
    }
}

/// What was given, or the option's default.
fn given(field: &Field<SamplingParams>, matches: &ArgMatches) -> Option<Value> {
    let name = field.name;
    Some(match field.kind {
        Kind::Number => Value::Number(*matches.get_one(name)?),
        Kind::Count => Value::Count(*matches.get_one(name)?),
        Kind::OptionalCount if name == "max_tokens" => {
            Value::OptionalCount(u64::try_from(*matches.get_one::<i64>(name)?).ok())
        }
        Kind::OptionalCount => Value::OptionalCount(Some(*matches.get_one(name)?)),
        Kind::Flag => Value::Flag(matches.get_flag(name)),
        Kind::Texts => Value::Texts(matches.get_many(name)?.cloned().collect()),
        Kind::Tokens => Value::Tokens(matches.get_many(name)?.copied().collect()),
        Kind::Biases => Value::Biases(matches.get_many(name)?.copied().collect()),
        Kind::Constraint => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<C: Asks>(words: &[&str]) -> Result<SamplingOptions<C>, clap::Error> {
        let command = SamplingOptions::<C>::augment_args(Command::new("x"));
        let matches = command.try_get_matches_from([&["x"], words].concat())?;
        SamplingOptions::from_arg_matches(&matches)
    }

    #[test]
    fn without_options_the_defaults_hold() {
        assert_eq!(parse::<Run>(&[]).unwrap().params().unwrap(), Run::defaults());
        assert_eq!(parse::<Chat>(&[]).unwrap().params().unwrap(), Chat::defaults());
        let serve = parse::<Serve>(&[]).unwrap();
        assert_eq!((serve.params, serve.seed), (Serve::defaults(), None));
    }

    #[test]
    fn every_parameter_has_an_option_in_run_under_all_its_names() {
        for field in fields::<Run>() {
            for flag in field.traits.flags {
                let flag = format!("--{flag}");
                let (words, wanted) = match field.kind {
                    Kind::Number => (vec!["0.25"], Value::Number(0.25)),
                    Kind::Count => (vec!["1"], Value::Count(1)),
                    Kind::OptionalCount => (vec!["3"], Value::OptionalCount(Some(3))),
                    Kind::Flag => (vec![], Value::Flag(true)),
                    Kind::Texts => (vec!["-x"], Value::Texts(vec!["-x".into()])),
                    Kind::Tokens => (vec!["7"], Value::Tokens(vec![7])),
                    Kind::Biases => (vec!["7-0.5"], Value::Biases(vec![(7, -0.5)])),
                    Kind::Constraint => unreachable!("its options are written by hand"),
                };
                let options = parse::<Run>(&[&[flag.as_str()], &words[..]].concat()).unwrap();
                assert_eq!((field.get)(&options.params().unwrap()), wanted, "{flag}");
            }
        }
        assert_eq!(parse::<Run>(&["-n", "-1"]).unwrap().params().unwrap().max_tokens, None);
    }

    #[test]
    fn biases_are_read_as_llama_cpp_writes_them() {
        assert_eq!(bias("29871+1.5"), Ok((29871, 1.5)));
        assert_eq!(bias("5-inf"), Ok((5, f32::NEG_INFINITY)));
        for bad in ["5", "+1", "5+", "5+x", "x-1"] {
            assert!(bias(bad).is_err(), "{bad}");
        }
    }
}
