//! A matcher at the beginning of a text.

use std::sync::{Arc, Mutex, PoisonError};

use crate::constraint::Matcher;

/// What holds the outputs of a request to a form beyond its constraint: each of them is held by a copy of one matcher.
///
/// Chats with tools are guided: thoughts are free, and a call follows the schema of its tool.
#[derive(Clone, Debug)]
pub struct Guide(Arc<Mutex<Box<dyn Matcher>>>);

impl Guide {
    /// A guide by this matcher, which is at the beginning of a text.
    pub fn new(matcher: Box<dyn Matcher>) -> Self {
        Self(Arc::new(Mutex::new(matcher)))
    }

    /// A matcher for one output.
    pub fn matcher(&self) -> Box<dyn Matcher> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).boxed_clone()
    }
}

impl PartialEq for Guide {
    /// Whether both are the same one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
