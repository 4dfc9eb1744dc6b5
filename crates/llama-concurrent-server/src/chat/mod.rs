//! Chats, for all routes that answer one: the fields of a request in OpenAI's form become a prompt and the form of its
//! answer. The routes of other APIs write their requests in this form first.

pub(crate) mod history;
mod messages;
pub(crate) mod parts;
pub(crate) mod reply;
mod tools;

use llama_concurrent::{Chat, Prompt, Thoughts};

use crate::{
    app::App,
    error::{ApiError, ApiResult},
    fields::Fields,
    params::RequestOptions,
    prompt,
    start::{self, Ready},
    work::Job,
};

/// A chat, ready to be answered.
pub(crate) fn prepare(app: &App, fields: &Fields<'_>, job: &Job) -> ApiResult<Ready> {
    let options = RequestOptions::read(fields, app, job)?;
    let chat = read(app, fields, job)?;
    let prepared = app.engine.prepare_chat(&chat)?;
    let ready = start::prepare(app, &[prepared.prompt.into()], options, job)?;
    Ok(ready.with_reply(prepared.form))
}

/// How many tokens the prompt of a chat has, also of one that is too long for a slot; not of one that would fill four.
pub(crate) fn count(app: &App, fields: &Fields<'_>, job: &Job) -> ApiResult<usize> {
    let prompt = render(app, fields, job)?;
    let tokens = prompt::tokenize(&app.engine, &[prompt.into()], prompt::Use::Continue, job)?;
    Ok(tokens.iter().map(Vec::len).sum())
}

/// The prompt of a chat.
pub(crate) fn render(app: &App, fields: &Fields<'_>, job: &Job) -> ApiResult<Prompt> {
    let chat = read(app, fields, job)?;
    Ok(app.engine.prepare_chat(&chat)?.prompt)
}

fn read(app: &App, fields: &Fields<'_>, job: &Job) -> ApiResult<Chat> {
    let messages = messages::read(fields, job)?;
    let mut options = messages::options(app, fields)?;
    let (tools, choice, list) = tools::read(fields)?;
    options.tools = list;
    let mut chat = Chat::new(messages).options(options).tools(tools).tool_choice(choice);
    chat.parallel_tool_calls = fields.boolean("parallel_tool_calls")?.unwrap_or(true);
    chat.thoughts = thoughts(app, fields)?;
    chat.thinking_budget = thinking_budget(app, fields)?;
    job.check()?;
    Ok(chat)
}

/// Where thoughts go: apart, unless `reasoning_format` or the server says otherwise.
fn thoughts(app: &App, fields: &Fields<'_>) -> ApiResult<Thoughts> {
    match fields.text("reasoning_format")? {
        None => Ok(app.config.thoughts),
        Some("auto" | "deepseek") => Ok(Thoughts::Apart),
        Some("none" | "deepseek-legacy") => Ok(Thoughts::InContent),
        Some(other) => {
            let must = format!("must be \"auto\", \"deepseek\", \"deepseek-legacy\" or \"none\", but is \"{other}\"");
            Err(ApiError::field(fields.path("reasoning_format"), must))
        }
    }
}

/// -1 is no limit.
fn thinking_budget(app: &App, fields: &Fields<'_>) -> ApiResult<Option<u32>> {
    let names = ["reasoning_budget_tokens", "thinking_budget_tokens"];
    match fields.integer(&names, -1..=i64::from(u32::MAX))? {
        None | Some(-1) => Ok(app.config.thinking_budget),
        Some(tokens) => Ok(u32::try_from(tokens).ok()),
    }
}
