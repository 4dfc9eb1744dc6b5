//! Any JSON schema, regular expression or grammar, and a text under it: the first byte of the input says which it is, and what
//! comes behind a record separator (0x1E) chooses the tokens.

#![no_main]

use std::{panic, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use llama_concurrent_constraint::Compiler;
use llama_concurrent_types::{Allowed, Constraint, ErrorKind, Matcher, Token, TokenTable};

/// Tokens of more than one byte.
const LONGER: [&str; 6] = ["000", "123", "\": ", "\", \"", "}}", "the "];
const N_TOKENS: Token = 256 + LONGER.len() as Token;

/// Tokens of single bytes, and a few longer ones.
static COMPILER: LazyLock<Compiler> = LazyLock::new(|| {
    let mut words: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte]).collect();
    words.extend(LONGER.map(|word| word.as_bytes().to_vec()));
    Compiler::new(&TokenTable::new(words, vec![])).expect("a vocabulary")
});

fuzz_target!(
    // The fuzzer's hook ends the process at each panic, also at those of llguidance, which become errors.
    init: panic::set_hook(Box::new(|panic| eprintln!("{panic}"))),
    |input: &str| {
        let (source, choices) = input.split_once('\u{1e}').unwrap_or((input, "some choices"));
        let Some(kind) = source.chars().next() else { return };
        let text = source[kind.len_utf8()..].to_owned();
        let constraint = match kind {
            'j' => Constraint::JsonSchema(text),
            'r' => Constraint::Regex(text),
            'g' => Constraint::Grammar(text),
            _ => return,
        };
        let mut grammar = match COMPILER.compile(&constraint) {
            Ok(grammar) => grammar,
            Err(error) => {
                assert_eq!(*error.kind(), ErrorKind::InvalidRequest, "{error}");
                // It is the user's fault, or what he wrote is too much; that it is ours should not be said of anything.
                assert!(!error.to_string().contains("has a defect"), "{error}");
                return;
            }
        };
        for choice in choices.bytes().cycle().take(40) {
            let Ok(allowed) = grammar.allowed() else { return };
            let Allowed::Tokens { mask, .. } = allowed else { return };
            let wanted = usize::from(choice);
            let tokens: Vec<Token> = (0..N_TOKENS).filter(|&token| mask.allows(token)).collect();
            assert!(!tokens.is_empty(), "nothing may follow, and the text is not complete");
            match grammar.accept(tokens[wanted % tokens.len()]) {
                Ok(true) | Err(_) => return,
                Ok(false) => {}
            }
        }
    }
);
