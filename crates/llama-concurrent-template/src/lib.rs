//! Chat templates: messages become the prompt that the model was trained on.
//!
//! A model carries its template as Jinja source, written for the renderer of Hugging Face transformers. Guessing the
//! format from known names instead fails quietly, with a model that answers worse; so the model's own template is
//! rendered, in the same dialect (see [`ChatTemplate`]).

mod adapt;
mod builtin;
mod capabilities;
mod contents;
mod described;
mod dialect;
mod error;
mod filters;
mod generation_tag;
mod json;
mod limits;
mod lists;
mod message;
mod percent;
mod predicates;
mod printer;
mod python;
mod template;
#[cfg(test)]
mod tests;

pub use builtin::{CHATML, NAMES as BUILTIN_NAMES, builtin};
pub use capabilities::Capabilities;
pub use contents::Rendered;
pub use dialect::today;
pub use error::ChatError;
pub use message::{ChatMessage, ChatOptions, Continuation};
pub use template::ChatTemplate;
