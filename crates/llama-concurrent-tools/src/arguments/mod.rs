//! Arguments of a call, in each notation, as JSON.

mod elements;
mod json;
mod literal;
mod parameters;
mod value;

use serde_json::Value;

use self::elements::Elements;
use self::json::{Json, Quoted};
use self::literal::Literal;
use self::parameters::ParameterList;
use crate::format::{CallForm, Notation, Shape};
use crate::head::ArgumentsKind;
use crate::markers::Markers;

/// What became of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fed {
    /// Its bytes that were read.
    pub(crate) used: usize,
    /// Whether the arguments ended, and then whether they are well-formed.
    pub(crate) end: Option<bool>,
}

impl Fed {
    fn more(used: usize) -> Self {
        Self { used, end: None }
    }

    fn end(used: usize, complete: bool) -> Self {
        Self { used, end: Some(complete) }
    }
}

/// What surrounds a text of arguments.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    /// The schema of the arguments; null where there is none.
    pub(crate) schema: &'a Value,
    /// What closes the call.
    pub(crate) closers: &'a Markers,
    /// No more text comes.
    pub(crate) is_last: bool,
}

/// Reads arguments.
#[derive(Debug)]
pub(crate) enum Arguments {
    Json(Json),
    Quoted(Quoted),
    Missing,
    Literal(Literal),
    Parameters(ParameterList),
    Elements(Elements),
}

impl Arguments {
    pub(crate) fn new(form: &CallForm, kind: ArgumentsKind) -> Self {
        match (kind, form.shape) {
            (ArgumentsKind::Quoted, _) => Self::Quoted(Quoted::default()),
            (ArgumentsKind::Missing, _) => Self::Missing,
            (ArgumentsKind::Python, _) => Self::Literal(Literal::python_call()),
            (ArgumentsKind::Notation, Shape::Tagged { notation: Notation::Gemma, .. }) => {
                Self::Literal(Literal::gemma())
            }
            (ArgumentsKind::Notation, Shape::Tagged { notation: Notation::Parameters(form), .. }) => {
                Self::Parameters(ParameterList::new(form))
            }
            (ArgumentsKind::Notation, Shape::Tagged { notation: Notation::Elements(prefix), .. }) => {
                Self::Elements(Elements::new(prefix))
            }
            (ArgumentsKind::Json | ArgumentsKind::Notation, _) => Self::Json(Json::default()),
        }
    }

    /// Reads as much of `text` as can be, and writes JSON.
    pub(crate) fn feed(&mut self, text: &str, around: Around<'_>, out: &mut String) -> Fed {
        match self {
            Self::Json(json) => json.feed(text, around, out),
            Self::Quoted(quoted) => quoted.feed(text, around, out),
            Self::Missing => {
                out.push_str("{}");
                Fed::end(0, true)
            }
            Self::Literal(literal) => literal.feed(text, around, out),
            Self::Parameters(parameters) => parameters.feed(text, around, out),
            Self::Elements(elements) => elements.feed(text, around, out),
        }
    }
}
