//! Prompts for rank heads.

use std::ops::Range;

use llama_concurrent_types::{Result, Token};
use llama_cpp_sys_2 as sys;

use crate::{model::Model, tokenizer::TokenizeOptions};

impl Model {
    /// The prompt for which the rank head says how well a document answers a query, as llama-server writes it. Texts that cannot
    /// fit into `room` tokens are refused.
    pub fn rank_prompt(&self, query: &str, document: &str, room: usize) -> Result<Vec<Token>> {
        let options = TokenizeOptions { room: Some(room), ..TokenizeOptions::default() };
        if let Some(template) = self.chat_template(Some(c"rerank")) {
            let (text, plain) = fill_in(&template, query, document);
            return self.tokenize(&text, &TokenizeOptions { parse_special: true, plain: &plain, ..options });
        }
        let tokens_of = |text: &str| self.tokenize(text, &options);
        // SAFETY: the vocabulary is alive.
        let (bos, eos, sep, adds_bos, adds_eos, adds_sep) = unsafe {
            let vocab = self.vocab();
            let (bos, eos, sep) =
                (sys::llama_vocab_bos(vocab), sys::llama_vocab_eos(vocab), sys::llama_vocab_sep(vocab));
            let adds = |whether: bool, token: Token| whether && token >= 0;
            let eos = if eos < 0 { sep } else { eos };
            let adds_bos = adds(sys::llama_vocab_get_add_bos(vocab), bos);
            let adds_eos = adds(sys::llama_vocab_get_add_eos(vocab), eos);
            (bos, eos, sep, adds_bos, adds_eos, adds(sys::llama_vocab_get_add_sep(vocab), sep))
        };
        let mut tokens = Vec::from_iter(adds_bos.then_some(bos));
        tokens.extend(tokens_of(query)?);
        tokens.extend(adds_eos.then_some(eos));
        tokens.extend(adds_sep.then_some(sep));
        tokens.extend(tokens_of(document)?);
        tokens.extend(adds_eos.then_some(eos));
        Ok(tokens)
    }
}

/// A template with `{query}` and `{document}` filled in, and where that is.
fn fill_in(template: &str, query: &str, document: &str) -> (String, Vec<Range<usize>>) {
    let (mut filled, mut plain) = (String::new(), Vec::new());
    let mut rest = template;
    loop {
        let found = [("{query}", query), ("{document}", document)]
            .into_iter()
            .filter_map(|(name, text)| Some((rest.find(name)?, name, text)))
            .min_by_key(|&(at, ..)| at);
        let Some((at, name, text)) = found else { break };
        filled.push_str(&rest[..at]);
        let start = filled.len();
        filled.push_str(text);
        plain.push(start..filled.len());
        rest = &rest[at + name.len()..];
    }
    filled.push_str(rest);
    (filled, plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_plain_and_not_filled_in_again() {
        let (text, plain) = fill_in("<q>{query}</q> {document} {query}", "a{document}", "{query}");
        assert_eq!(text, "<q>a{document}</q> {query} a{document}");
        let parts: Vec<&str> = plain.into_iter().map(|range| &text[range]).collect();
        assert_eq!(parts, ["a{document}", "{query}", "a{document}"]);
        assert_eq!(fill_in("none", "a", "b"), ("none".to_owned(), Vec::new()));
    }
}
