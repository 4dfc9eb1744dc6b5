//! Tokens and text.

use std::ffi::c_char;

use crate::{
    boundary::boundary,
    engine_state::ENGINES,
    pointers::{self},
    status::llama_infer_status as Status,
    types::{Failure, c_bool, llama_engine},
};

/// The tokens of a text.
///
/// `add_special` adds BOS and the like where the model wants them; `parse_special` reads special tokens that are written
/// out in the text. With `add_special`, the tokens are those of `llama_infer_async` with the same `parse_special`, and
/// behind them what some models want at the end of a text that is complete.
/// They are written to `tokens` if `capacity` of them suffice; their number goes to `*n_tokens` in any case.
/// `BUFFER_TOO_SMALL` otherwise. `n_tokens` may be NULL, and so may `tokens` if `capacity` is 0.
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

/// The number of tokens that a text has as a prompt of `llama_infer_async`, with `parse_special`.
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

/// The text of tokens, as a reader of an answer sees it: special tokens have none; incomplete characters become U+FFFD, and NUL
/// becomes U+2400.
///
/// Written as `llama_engine_chat_prompt` does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_engine_detokenize(
    engine: *mut llama_engine,
    tokens: *const i32,
    n_tokens: usize,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Status {
    // SAFETY: as here.
    unsafe { llama_engine_detokenize_with(engine, tokens, n_tokens, false.into(), buffer, capacity, length) }
}

/// As `llama_engine_detokenize`; with `special`, special tokens are written out, such as `<|im_end|>`: then a prompt
/// comes back as it was written.
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
