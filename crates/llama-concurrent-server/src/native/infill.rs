//! `/infill`: the text between two others.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};

use super::completion::{respond, wanted};
use crate::{
    app::App,
    body::Body,
    clients::Client,
    error::{ApiError, ApiResult},
    fields::Fields,
    guard::Peer,
    infill::{self, Gap, OtherFile},
    params::RequestOptions,
    start::prepare,
};

const FOLLOWED: [&str; 3] = ["input_prefix", "input_suffix", "input_extra"];

pub(crate) async fn infill(State(app): State<Arc<App>>, client: Client, peer: Peer, body: Body) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        let options = RequestOptions::read_beside(&FOLLOWED, fields, app, job)?;
        let wanted = wanted(fields)?;
        let text = |name| fields.text(name).map(Option::unwrap_or_default);
        fields.required("input_prefix")?;
        fields.required("input_suffix")?;
        let (before, begun, behind) = (text("input_prefix")?, text("prompt")?, text("input_suffix")?);
        let others = others(fields)?;
        let gap = Gap { before: [before, begun], behind, others, max_tokens: options.params.max_tokens };
        let Some(prompt) = infill::prompt(app, &gap, job)? else {
            return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, "not_supported_error", infill::UNSUPPORTED));
        };
        Ok((prepare(app, &[prompt], options, job)?, wanted))
    });
    let (ready, wanted) = read.await?;
    respond(&app, client, &peer, ready, wanted, false).await
}

/// `input_extra`.
fn others<'a>(fields: &Fields<'a>) -> ApiResult<Vec<OtherFile<'a>>> {
    let list = fields.list("input_extra")?.map_or(&[][..], Vec::as_slice);
    let path = fields.path("input_extra");
    let each = list.iter().enumerate().map(|(index, value)| {
        let file = Fields::at(format!("{path}[{index}]"), value)?;
        file.required("text")?;
        Ok(OtherFile { name: file.text("filename")?, text: file.text("text")?.unwrap_or_default() })
    });
    each.collect()
}
