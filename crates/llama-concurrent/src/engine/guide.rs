//! Holding answers to their form.

use llama_concurrent_llama::TokenizeOptions;
use llama_concurrent_tools::{Steering, SteeringOptions};
use llama_concurrent_types::{Constraint, Error, ErrorKind, Guide, Matcher, Result, SamplingParams};

use super::Inner;
use crate::chat::ReplyForm;

impl Inner {
    pub(super) fn guide(&self, form: &ReplyForm, params: &SamplingParams) -> Result<Option<Guide>> {
        let chat = form.chat();
        let mut options = SteeringOptions::default();
        options.choice = chat.tool_choice.clone();
        options.parallel = chat.parallel_tool_calls;
        options.answer = params.constraint.clone();
        options.start = form.start();
        options.thinking_budget = chat.thinking_budget;
        let table = self.model.shared_table();
        let invalid = |why: String| Error::new(ErrorKind::InvalidRequest, why);
        let steering = Steering::new(form.format(), &chat.tools, &options, &table);
        let Some(steering) = steering.map_err(|error| invalid(error.to_string()))? else { return Ok(None) };
        let closing = match chat.thinking_budget.and_then(|_| form.format().thought_closing()) {
            Some(text) => {
                let options = TokenizeOptions { parse_special: true, ..TokenizeOptions::default() };
                self.model.tokenize(text, &options)?
            }
            None => Vec::new(),
        };
        let compile = |constraint: &Constraint| Ok(Box::new(self.compile(constraint)?) as Box<dyn Matcher>);
        Ok(Some(Guide::new(steering.matcher(compile, table, closing)?)))
    }
}
