//! Holding answers to their form.

use llama_concurrent_types::{Guide, Result, SamplingParams};

use super::Inner;
use crate::chat::ReplyForm;

impl Inner {
    pub(super) fn guide(&self, _form: &ReplyForm, _params: &SamplingParams) -> Result<Option<Guide>> {
        Ok(None)
    }
}
