//! Tool calls and thoughts, read from what a model writes, and grammars that make it write them well.
//!
//! Each family of models writes them in a form of its own, which its chat template shows. [`Format::detect`] finds the
//! form, [`Parser`] reads it while the text streams, and [`Steering`] is the grammar of it for given tools. The forms are
//! rows of two tables (`families`); the code knows shapes, not models.
//!
//! Nothing here has a clock, a thread or a model. Texts are what the model wrote with its special tokens written out.

mod arguments;
mod chars;
mod event;
mod families;
mod format;
mod head;
mod markers;
mod parser;
mod schema;
mod steering;
mod tool;

pub use event::{Event, Message, ToolCall};
pub use format::{Format, Start};
pub use parser::{Parser, ParserOptions, Thoughts, UnknownTools};
pub use steering::{Steering, SteeringError, SteeringOptions};
pub use tool::{Tool, ToolChoice, ToolError};
