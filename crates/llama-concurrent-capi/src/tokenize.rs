//! Tokenizing and detokenizing.

use std::ffi::c_char;

use crate::{
    boundary::boundary,
    engine_state::ENGINES,
    pointers::{self},
    status::llama_infer_status as Status,
    types::{Failure, c_bool, llama_engine},
};

/// Tokenizes a text.
///
/// With `add_special`, the special tokens that the model's vocabulary asks for are added, such as BOS. With `parse_special`,
/// special tokens written out in the text are parsed as special tokens. With `add_special`, the result is the prompt of
/// `llama_infer_async` with the same `parse_special`, followed by the tokens that some models expect at the end of a
/// complete text.
///
/// The tokens are written to `tokens` if they fit into `capacity` elements. `*n_tokens` is always set to their number.
/// `n_tokens` may be NULL. `tokens` may be NULL if `capacity` is 0.
///
/// Returns `BUFFER_TOO_SMALL` if the tokens do not fit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_engine_tokenize(
    engine: *mut llama_engine,
    text: *const c_char,
    add_special: c_bool,
    parse_special: c_bool,
    tokens: *mut i32,
    capacity: usize,
    n_tokens: *mut usize,
) -> Status {
    // SAFETY: the pointers are what the header asks for.
    boundary(|| unsafe {
        let engine = ENGINES.get(engine)?;
        let text = pointers::text(text, "text")?;
        let found = engine.engine.tokenize_with(text, add_special != 0, parse_special != 0)?;
        pointers::fill(&found, tokens, capacity, n_tokens, "tokens")
    })
}

/// Counts the tokens of a text as a prompt of `llama_infer_async` with `parse_special`. `n_tokens` must not be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_engine_count_tokens(
    engine: *mut llama_engine,
    text: *const c_char,
    n_tokens: *mut usize,
) -> Status {
    // SAFETY: the pointers are what the header asks for.
    boundary(|| unsafe {
        pointers::required(n_tokens, "n_tokens")?;
        let engine = ENGINES.get(engine)?;
        let found = engine.engine.tokenize(pointers::text(text, "text")?)?;
        pointers::write(n_tokens, found.len(), "n_tokens")
    })
}

/// Converts tokens to text as it appears in an output: special tokens are omitted, incomplete UTF-8 sequences become
/// U+FFFD, and NUL becomes U+2400.
///
/// The buffer is filled as by `llama_engine_chat_prompt`. Returns `INVALID_REQUEST` if a token is not in the vocabulary, and
/// `BUFFER_TOO_SMALL` if the text and its NUL do not fit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_engine_detokenize(
    engine: *mut llama_engine,
    tokens: *const i32,
    n_tokens: usize,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Status {
    // SAFETY: the caller's promise is the same.
    unsafe { llama_engine_detokenize_with(engine, tokens, n_tokens, false.into(), buffer, capacity, length) }
}

/// Like `llama_engine_detokenize`. With `special`, special tokens are written out, such as `<|im_end|>`, so that a tokenized
/// prompt is converted back to its text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_engine_detokenize_with(
    engine: *mut llama_engine,
    tokens: *const i32,
    n_tokens: usize,
    special: c_bool,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Status {
    // SAFETY: the pointers are what the header asks for.
    boundary(|| unsafe {
        let engine = ENGINES.get(engine)?;
        let tokens = pointers::slice(tokens, n_tokens, "tokens")?;
        let n_vocab = engine.engine.token_table().len();
        if let Some(token) = tokens.iter().find(|&&token| usize::try_from(token).map_or(true, |t| t >= n_vocab)) {
            return Err(Failure::new(
                Status::InvalidRequest,
                format!("token {token} is not in the vocabulary of {n_vocab} tokens"),
            ));
        }
        pointers::fill_text(&engine.engine.detokenize_with(tokens, special != 0), buffer, capacity, length, "buffer")
    })
}
