//! Prompts whose answer is the middle of a text, for models with tokens that mark its parts.

use llama_concurrent::{FimTokens, Token};

use crate::{app::App, error::ApiResult, prompt::PromptInput, work::Job};

pub(crate) const UNSUPPORTED: &str =
    "this model cannot fill in: its vocabulary has no tokens for the parts of a text (fim_pre, fim_suf and fim_mid)";

/// What surrounds the text to be written.
pub(crate) struct Gap<'a> {
    /// The text before it, in two parts that are tokenized by themselves.
    pub(crate) before: [&'a str; 2],
    pub(crate) behind: &'a str,
    pub(crate) others: Vec<OtherFile<'a>>,
    /// The tokens that it may have.
    pub(crate) max_tokens: Option<u32>,
}

/// Another text that the model is shown.
pub(crate) struct OtherFile<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) text: &'a str,
}

/// The prompt for a gap, with as much of the texts as a slot holds; `None` where the model cannot fill in.
pub(crate) fn prompt(app: &App, gap: &Gap<'_>, job: &Job) -> ApiResult<Option<PromptInput>> {
    let engine = &app.engine;
    let Some(fim) = engine.fim_tokens() else { return Ok(None) };
    // What stands in the texts is text, also where it looks like a special token.
    let tokens = |text: &str| -> ApiResult<Vec<Token>> {
        job.check()?;
        Ok(engine.tokenize_while(text, false, false, || job.goes_on())?)
    };
    let mut parts = Parts { bos: engine.tokenize_prompt(&String::new().into(), || job.goes_on())?, ..Parts::default() };
    for text in gap.before {
        parts.before.extend(tokens(text)?);
    }
    parts.behind = tokens(gap.behind)?;
    // The names of the repository and of the file itself are not told; llama-server's stand for them.
    if let Some(repository) = fim.repository.filter(|_| fim.file.is_some()) {
        parts.others.push(repository);
        parts.others.extend(tokens("myproject\n")?);
    }
    for file in &gap.others {
        match fim.file {
            Some(mark) => {
                parts.others.push(mark);
                parts.others.extend(tokens(&format!("{}\n", file.name.unwrap_or("tmp")))?);
            }
            None => parts.others.extend(tokens("\n\n--- snippet ---\n\n")?),
        }
        parts.others.extend(tokens(file.text)?);
    }
    if let Some(mark) = fim.file {
        parts.others.push(mark);
        parts.others.extend(tokens("filename\n")?);
    }
    let n_ctx = engine.n_ctx();
    let most = app.config.limits.max_prompt_tokens.map_or(n_ctx, |most| most.min(n_ctx));
    // Where nothing is said of its length, a quarter of the slot is left for it.
    let output = gap.max_tokens.map_or(n_ctx / 4, |max| (max as usize).min(n_ctx / 2)).max(1);
    Ok(Some(parts.join(&fim, most.min(n_ctx - output), app.config.spm_infill).into()))
}

/// Tokens of the parts.
#[derive(Clone, Default)]
struct Parts {
    bos: Vec<Token>,
    others: Vec<Token>,
    before: Vec<Token>,
    behind: Vec<Token>,
}

impl Parts {
    /// Puts them together. Of what is too long, what is closest to the gap stays: three quarters of the room are for the text
    /// before it and one for the text behind it, if both want more; other files get what these leave. With `suffix_first`
    /// the text behind it comes first, as some models want it.
    fn join(self, fim: &FimTokens, room: usize, suffix_first: bool) -> Vec<Token> {
        let Self { bos, others, before, behind } = self;
        let room = room.saturating_sub(bos.len() + 3);
        let least_behind = behind.len().min(room / 4);
        let n_before = before.len().min(room - least_behind);
        let n_behind = behind.len().min(room - n_before);
        let n_others = others.len().min(room - n_before - n_behind);
        let last = |tokens: &[Token], n: usize| tokens[tokens.len() - n..].to_vec();
        let before = [vec![fim.prefix], last(&before, n_before)].concat();
        let behind = [vec![fim.suffix], behind[..n_behind].to_vec()].concat();
        let around = if suffix_first { [behind, before] } else { [before, behind] };
        [bos, last(&others, n_others), around.concat(), vec![fim.middle]].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closest_to_the_gap_stays() {
        let fim = FimTokens { prefix: -1, suffix: -2, middle: -3, repository: None, file: None };
        let parts = |others: i32, before: i32, behind: i32| Parts {
            bos: vec![0],
            others: (100..100 + others).collect(),
            before: (200..200 + before).collect(),
            behind: (300..300 + behind).collect(),
        };
        for (parts, room, suffix_first, expected) in [
            (parts(1, 2, 2), 99, false, vec![0, 100, -1, 200, 201, -2, 300, 301, -3]),
            (parts(1, 2, 2), 99, true, vec![0, 100, -2, 300, 301, -1, 200, 201, -3]),
            (parts(9, 9, 9), 12, false, vec![0, -1, 203, 204, 205, 206, 207, 208, -2, 300, 301, -3]),
            (parts(9, 1, 9), 12, false, vec![0, -1, 200, -2, 300, 301, 302, 303, 304, 305, 306, -3]),
            (parts(9, 9, 1), 12, false, vec![0, -1, 202, 203, 204, 205, 206, 207, 208, -2, 300, -3]),
            (parts(9, 2, 2), 10, false, vec![0, 107, 108, -1, 200, 201, -2, 300, 301, -3]),
            (parts(1, 1, 1), 2, false, vec![0, -1, -2, -3]),
            (parts(0, 0, 0), 99, false, vec![0, -1, -2, -3]),
        ] {
            assert_eq!(parts.join(&fim, room, suffix_first), expected, "{room}");
        }
    }
}
