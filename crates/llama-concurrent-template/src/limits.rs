//! What a template may take: a template comes with a file from anywhere, and must not end the process.
//!
//! The template engine calls itself for each operator of an expression, each branch of an `if`, and each level of a value that
//! is dropped or compared. So a source has bounds, a rendering has a number of steps, and both run on a stack that is enough
//! for the deepest nesting that these allow.

use std::thread;

use serde_json::Value as Json;

use crate::ChatError;

/// Bytes of a source. The longest template that we know of has 17,000.
const SOURCE: usize = 256 << 10;
/// Bytes of one expression or tag without its string literals. The longest that we know of has 300.
const TAG: usize = 8 << 10;
/// Enough to compile any source within these bounds: up to 1.3 KB for each branch of an `if`, which is 10 bytes at least.
const STACK_OF_COMPILING: usize = 64 << 20;

/// Steps of a rendering, however short the chat is; and those for each value in it, of which a message is at least one. The longest
/// templates take some hundreds for a message, and Gemma 4's five for each message before it. A million steps take 20 to 40 ms.
pub(crate) const STEPS: u64 = 100_000;
const STEPS_PER_VALUE: u64 = 5_000;
/// Steps of any rendering.
const MOST_STEPS: u64 = 5_000_000;
/// How often values are nested at most that are printed. Python gives up there too.
pub(crate) const DEEPEST: usize = 1000;
/// What one level of a nested value takes, when it is printed at the latest; a step adds one level at most.
const STACK_PER_STEP: usize = 512;
/// What a rendering takes otherwise.
const STACK: usize = 1 << 20;

/// Refuses sources that nest too deep.
pub(crate) fn check(source: &str) -> Result<(), ChatError> {
    if source.len() > SOURCE {
        let message = format!("it has {} bytes, and at most {SOURCE} are compiled", source.len());
        return Err(ChatError::Syntax { line: 1, message });
    }
    let mut rest = source;
    while let Some(opening) = rest.find('{') {
        let inside = &rest[opening + 1..];
        rest = inside;
        let close = match inside.as_bytes().first() {
            Some(b'#') => {
                rest = inside.split_once("#}").map_or("", |(_, rest)| rest);
                continue;
            }
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            _ => continue,
        };
        let code = &inside[1..];
        let (length, end) = code_until(code, close);
        if length > TAG {
            let line = 1 + source[..source.len() - code.len()].matches('\n').count();
            let message =
                format!("an expression or tag of {length} bytes; at most {TAG} are compiled, strings not counted");
            return Err(ChatError::Syntax { line, message });
        }
        rest = &code[end..];
    }
    Ok(())
}

/// How much code there is up to a delimiter, string literals not counted, and where that is.
fn code_until(code: &str, close: &str) -> (usize, usize) {
    let mut quote = None;
    let mut escaped = false;
    let mut length = 0;
    for (at, byte) in code.bytes().enumerate() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if byte == b'\\' => escaped = true,
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if code.as_bytes()[at..].starts_with(close.as_bytes()) => return (length, at + close.len()),
            None if byte == b'"' || byte == b'\'' => quote = Some(byte),
            None => length += 1,
        }
    }
    (length, code.len())
}

/// Steps for a rendering of these values.
pub(crate) fn steps<'a>(values: impl IntoIterator<Item = &'a Json>) -> u64 {
    let values: u64 = values.into_iter().map(count).sum();
    (STEPS + STEPS_PER_VALUE * values).min(MOST_STEPS)
}

fn count(value: &Json) -> u64 {
    1 + match value {
        Json::Array(items) => items.iter().map(count).sum(),
        Json::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// Runs work that compiles a template and renders it for [`STEPS`] steps.
pub(crate) fn compiling<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, ChatError> {
    on_stack(STACK_OF_COMPILING.max(stack_for(STEPS)), work).map_err(|_| no_stack(STACK_OF_COMPILING))
}

/// Runs work that renders for so many steps, or for fewer where there is no address space for their stack. The work is told
/// which.
pub(crate) fn rendering<T: Send>(mut steps: u64, work: impl FnOnce(u64) -> T + Send) -> Result<T, ChatError> {
    let mut work = Some(work);
    loop {
        let once = || work.take().map(|work| work(steps));
        match on_stack(stack_for(steps), once) {
            Ok(Some(result)) => return Ok(result),
            _ if steps <= STEPS => return Err(no_stack(stack_for(steps))),
            _ => steps = (steps / 2).max(STEPS),
        }
    }
}

fn stack_for(steps: u64) -> usize {
    STACK + usize::try_from(steps).unwrap_or(usize::MAX / STACK_PER_STEP / 2) * STACK_PER_STEP
}

fn on_stack<T: Send>(size: usize, work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("template".into()).stack_size(size).spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn no_stack(size: usize) -> ChatError {
    let message =
        format!("there is no room for its stack of {} MiB; raise the limit of address space or of threads", size >> 20);
    ChatError::Render { line: None, message }
}
