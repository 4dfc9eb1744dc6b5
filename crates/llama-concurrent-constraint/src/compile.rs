//! From the text of a constraint to a grammar over the tokens of a model, on the caller's thread.

use std::sync::Arc;

use llama_concurrent_types::{Error, ErrorKind, Result, Token, TokenTable};
use llguidance::{
    Logger, Matcher, ParserFactory,
    api::{GrammarInit, TopLevelGrammar},
    toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie},
};
use serde_json::{Value, json};

use super::{
    Constraint, Grammar, budget,
    digits::{Digits, Numeric},
    gbnf, json_schema,
    lark::BOUNDED_DIGITS,
    message::first_words,
    recent::Recent,
};

/// The longest text of a constraint, in bytes; llguidance's own limits are on what becomes of it.
const MAX_BYTES: usize = 1 << 18;
/// Stack to compile with. llguidance follows references by recursion, and a text of the greatest length can hold a chain of
/// 30,000. Only what is used of it takes memory.
const STACK_BYTES: usize = 1 << 28;
/// Symbols of a grammar at most. llguidance numbers them with 16 bits, and ends in a failed assertion beyond.
const MAX_SYMBOLS: usize = 60_000;
/// Fuel for terminals that are combined by "and" and "not": looking for a text that they match can take steps that llguidance
/// hardly counts. With 100,000 the worst ends within milliseconds, with 200,000 not within minutes.
const BOOLEAN_FUEL: u64 = 100_000;
/// White space between two tokens of JSON, as llama.cpp's own grammars have it: models that may write more of it get lost.
const WHITE_SPACE: &str = r" |\n{1,2}[ \t]{0,20}";

/// Compiles constraints for one model.
pub struct Compiler {
    factory: ParserFactory,
    numeric: Arc<Numeric>,
    end: Token,
    pub(super) recent: Recent,
}

impl Compiler {
    /// For a model with these tokens. Grammars can name a special token by its text.
    pub fn new(table: &TokenTable) -> Result<Self> {
        let n_vocab = table.len() as Token;
        let word = |token: Token| match table.piece(token) {
            [] => marked(table.text(token, true)),
            // The marker's byte is in no text.
            piece if piece.contains(&TokTrie::SPECIAL_TOKEN_MARKER) => Vec::new(),
            piece => piece.to_vec(),
        };
        // The end has an id of its own: models have several tokens that end a text, or none.
        let mut words: Vec<Vec<u8>> = (0..n_vocab).map(word).collect();
        words.push(Vec::new());
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, n_vocab as u32), &words);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&environment).map_err(|e| {
            Error::new(ErrorKind::Internal, format!("the vocabulary cannot be used with grammars: {e}"))
        })?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.verbose_errors = false;
        limits.max_grammar_size = MAX_SYMBOLS;
        let numeric = Arc::new(Numeric::new(environment, n_vocab));
        Ok(Self { factory, numeric, end: n_vocab, recent: Recent::default() })
    }

    /// A grammar at its beginning; a copy, if the same was asked for lately.
    pub fn compile(&self, constraint: &Constraint) -> Result<Grammar> {
        if let Some(grammar) = self.recent.find(constraint) {
            return Ok(grammar);
        }
        let grammar = self.compile_anew(constraint)?;
        self.recent.keep(&grammar);
        Ok(grammar)
    }

    /// The bytes of a token.
    #[cfg(test)]
    pub(super) fn bytes(&self, token: Token) -> &[u8] {
        self.factory.tok_env().tok_trie().token(token as u32)
    }

    fn compile_anew(&self, constraint: &Constraint) -> Result<Grammar> {
        let refuse = |why: String| {
            Error::new(ErrorKind::InvalidRequest, format!("the {} cannot be used: {why}", constraint.name()))
        };
        let matcher = std::thread::scope(|scope| {
            let compile = || {
                let grammar = top_level(constraint)?;
                let mut limits = self.factory.limits().clone();
                if matches!(constraint, Constraint::Grammar(text) if text.contains(['&', '~'])) {
                    limits.initial_lexer_fuel = BOOLEAN_FUEL;
                }
                let (init, abilities) = (GrammarInit::Serialized(grammar), InferenceCapabilities::default());
                let parser = self.factory.create_parser_from_init_ext(init, Logger::new(0, 0), abilities, limits);
                let parser = parser.map_err(|e| first_words(&format!("{e:#}")))?;
                looked_ahead(Matcher::new(Ok(parser)))
            };
            let thread = std::thread::Builder::new().name("llama-constraint".into()).stack_size(STACK_BYTES);
            match thread.spawn_scoped(scope, compile).map(|thread| thread.join()) {
                Ok(Ok(matcher)) => matcher.map_err(refuse),
                Ok(Err(_)) => Err(refuse("llguidance has a defect with it".into())),
                Err(e) => Err(Error::new(ErrorKind::OutOfMemory, format!("cannot start a thread: {e}"))),
            }
        })?;
        let is_json = match constraint {
            Constraint::JsonObject | Constraint::JsonSchema(_) => true,
            Constraint::Grammar(text) => text.starts_with(BOUNDED_DIGITS),
            _ => false,
        };
        let digits = is_json.then(|| Digits::new(self.numeric.clone()));
        Ok(Grammar { source: constraint.clone(), matcher, end: self.end, digits })
    }
}

/// With what the first mask learns of the vocabulary, which all copies then have.
///
/// # Errors
/// In words, where nothing can begin: no text is of this form, or it is too complex.
fn looked_ahead(mut matcher: Matcher) -> Result<Matcher, String> {
    let nothing = "no text of this vocabulary is of that form";
    if matcher.is_stopped() {
        return match matcher.is_accepting() {
            Ok(true) => Ok(matcher),
            _ => Err(nothing.into()),
        };
    }
    let mut ahead = matcher.deep_clone();
    match ahead.compute_mask() {
        Ok(mask) if mask.is_zero() => Err(nothing.into()),
        Ok(_) => Ok(ahead),
        Err(e) => Err(match first_words(&e.to_string()).as_str() {
            "NoExtensionBias" => nothing.into(),
            words => words.to_owned(),
        }),
    }
}

fn marked(text: &[u8]) -> Vec<u8> {
    if text.is_empty() { Vec::new() } else { [&[TokTrie::SPECIAL_TOKEN_MARKER], text].concat() }
}

fn top_level(constraint: &Constraint) -> Result<TopLevelGrammar, String> {
    let (Constraint::JsonSchema(text) | Constraint::Regex(text) | Constraint::Grammar(text)) = constraint else {
        return Ok(TopLevelGrammar::from_json_schema(with_options(json!({"type": "object"}))));
    };
    if text.len() > MAX_BYTES {
        return Err(format!("it has {} bytes; at most {MAX_BYTES} are taken", text.len()));
    }
    match constraint {
        Constraint::Regex(regex) => Ok(TopLevelGrammar::from_regex(regex)),
        Constraint::Grammar(grammar) if gbnf::is_gbnf(grammar) => {
            Ok(TopLevelGrammar::from_lark(gbnf::to_lark(grammar)?))
        }
        Constraint::Grammar(grammar) => {
            budget::check_within(grammar)?;
            Ok(TopLevelGrammar::from_lark(grammar.clone()))
        }
        _ => {
            let schema = serde_json::from_str(text).map_err(|e| format!("it is not JSON: {e}"))?;
            let schema = json_schema::rewrite(&schema)?;
            budget::check(&schema)?;
            Ok(TopLevelGrammar::from_json_schema(with_options(schema)))
        }
    }
}

/// Adds the bound on white space, and `oneOf` as `anyOf` where it is not plain that the options exclude each other, unless
/// the schema has its own wishes.
pub(super) fn with_options(mut schema: Value) -> Value {
    if let Value::Object(schema) = &mut schema {
        let options = schema.entry("x-guidance").or_insert_with(|| json!({}));
        if let Value::Object(options) = options {
            options.entry("coerce_one_of").or_insert(true.into());
            if !options.contains_key("whitespace_flexible") {
                options.entry("whitespace_pattern").or_insert_with(|| WHITE_SPACE.into());
            }
        }
    }
    schema
}
