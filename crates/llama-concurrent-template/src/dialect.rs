//! The Jinja dialect of chat templates: what transformers adds to Jinja, and the limits of ours.

use jiff::Zoned;
use jiff::fmt::strtime::{BrokenDownTime, Config};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Rest;
use minijinja::{Environment, Error, ErrorKind, Value};

use crate::{filters, limits, predicates, printer, python};

/// The message of a template that called `raise_exception`, as the source of the engine's error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub(super) String);

/// An environment without templates.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(whitespace_as_in_transformers());
    environment.set_fuel(Some(limits::STEPS));
    // Errors then name the expression that is undefined; that costs next to nothing until a rendering fails.
    environment.set_debug(true);
    environment.set_unknown_method_callback(python::call_method);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.to_vec()));
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
    environment.set_formatter(|out, _, value| Ok(out.write_str(&printer::text_of(value))?));
    filters::add_to(&mut environment);
    predicates::add_to(&mut environment);
    environment
}

fn whitespace_as_in_transformers() -> SyntaxConfig {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(false)
        .build()
        .expect("the default delimiters are valid")
}

fn raise_exception(message: &Value) -> Result<Value, Error> {
    let raised = Raised(message.to_string());
    Err(Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(raised))
}

/// Variables that some templates cannot do without, and transformers does not have.
pub(super) fn further_variables(tools: Option<&serde_json::Value>) -> impl Iterator<Item = (String, String)> {
    let now = Zoned::now();
    let functions = tools.map(ToString::to_string).unwrap_or_default();
    [("datetime".to_owned(), format_time(&now, "%b %d %Y").unwrap_or_default()), ("functions".to_owned(), functions)]
        .into_iter()
}

/// Today's date as templates write it, such as "26 Jul 2024".
pub fn today() -> String {
    format_time(&Zoned::now(), "%d %b %Y").unwrap_or_default()
}

fn strftime_now(format: &str) -> Result<String, Error> {
    format_time(&Zoned::now(), format)
}

/// `strftime` as Python's: local time, English names, and unknown directives printed as they are.
pub(super) fn format_time(time: &Zoned, format: &str) -> Result<String, Error> {
    BrokenDownTime::from(time)
        .to_string_with_config(&Config::new().lenient(true), format)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, "strftime_now").with_source(error))
}
