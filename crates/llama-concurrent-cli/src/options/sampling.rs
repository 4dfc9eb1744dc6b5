//! Sampling options: one for each parameter of the engine's table.

use std::{
    marker::PhantomData,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};
use llama_concurrent::{
    Constraint, SamplingParams,
    parameters::{Field, Kind},
};
use llama_concurrent_server::ServerConfig;

use super::table::{argument, given, id};
use crate::failure::Failure;

/// The command that has the options.
pub trait Asks {
    /// The help heading.
    const HEADING: &'static str;
    /// The defaults.
    fn defaults() -> SamplingParams;
    /// The default seed; `None` draws one.
    fn seed() -> Option<u32> {
        Some(Self::defaults().seed)
    }
    /// Whether it has an option for this parameter.
    fn has(_: &Field<SamplingParams>) -> bool {
        true
    }
}

/// One answer to each prompt: `run`.
pub struct Run;

impl Asks for Run {
    const HEADING: &'static str = "Sampling";

    fn defaults() -> SamplingParams {
        SamplingParams::default().max_tokens(128)
    }
}

/// A conversation, which shows only text.
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

/// The defaults of requests. Log probabilities and the treatment of special tokens are set per request.
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
    /// Constrain the output to this JSON schema: a file, or the schema itself
    #[arg(long, value_name = "FILE|JSON", group = "constraint")]
    json_schema: Option<String>,

    /// Constrain the output to this regular expression, which must match it as a whole
    #[arg(long, value_name = "REGEX", group = "constraint", allow_hyphen_values = true)]
    regex: Option<String>,

    /// Constrain the output to the grammar in this file: GBNF with a rule 'root', or llguidance's variant of Lark with 'start'
    #[arg(long, value_name = "FILE", group = "constraint")]
    grammar_file: Option<PathBuf>,
}

impl<C> SamplingOptions<C> {
    /// The parameters, with a random seed if none is set.
    pub fn params(&self) -> Result<SamplingParams, Failure> {
        let seed = self.seed.unwrap_or_else(|| fastrand::u32(..));
        Ok(self.params.clone().seed(seed).constraint(self.form.constraint()?))
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
            Self { grammar_file: Some(path), .. } => Some(Constraint::Grammar(read(path)?)),
            Self { json_schema: None, regex: None, grammar_file: None } => None,
        })
    }
}

fn fields<C: Asks>() -> impl Iterator<Item = &'static Field<SamplingParams>> {
    // Those without a name are set for the whole engine by an option of the same name.
    let is_option = |field: &&Field<SamplingParams>| !field.traits.flags.is_empty() && field.kind != Kind::Constraint;
    SamplingParams::FIELDS.iter().filter(|field| C::has(field)).filter(is_option)
}

fn has_form<C: Asks>() -> bool {
    SamplingParams::FIELDS.iter().any(|field| C::has(field) && field.kind == Kind::Constraint)
}

impl<C: Asks> Args for SamplingOptions<C> {
    fn augment_args(command: Command) -> Command {
        let defaults = C::defaults();
        let command =
            command.next_help_heading(C::HEADING).args(fields::<C>().map(|field| option(field, &defaults, C::seed())));
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
            let number = |matches: &ArgMatches| {
                matches.get_one::<i64>(&id(field)).and_then(|&number| u32::try_from(number).ok())
            };
            match field.name {
                "seed" => seed = number(matches),
                "max_tokens" => params.max_tokens = number(matches),
                _ => {
                    if let Some(value) = given(field, matches) {
                        (field.set)(&mut params, value);
                    }
                }
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

/// The option of a parameter, with special values on the command line.
fn option(field: &'static Field<SamplingParams>, defaults: &SamplingParams, seed: Option<u32>) -> Arg {
    let argument = argument(field, SamplingParams::FIELDS, &(field.get)(defaults));
    let or_less = |argument: Arg, words: &str, default: Option<u32>| {
        let help = format!("{}; -1 {words}", field.summary());
        let parser = value_parser!(i64).range(-1..1 << 32);
        argument.help(help).value_parser(parser).default_value(default.map_or(-1, i64::from).to_string())
    };
    match field.name {
        "seed" => or_less(argument.short('s'), "draws one", seed),
        "max_tokens" => or_less(argument.short('n'), "goes on until the slot is full", defaults.max_tokens),
        _ => argument,
    }
}

#[cfg(test)]
mod tests {
    use llama_concurrent::parameters::Value;

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
                    kind => unreachable!("{kind:?}"),
                };
                let options = parse::<Run>(&[&[flag.as_str()], &words[..]].concat()).unwrap();
                assert_eq!((field.get)(&options.params().unwrap()), wanted, "{flag}");
            }
        }
        assert_eq!(parse::<Run>(&["-n", "-1"]).unwrap().params().unwrap().max_tokens, None);
    }
}
