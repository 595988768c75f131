//! `/retention…`: parse, ask the registry, render. What a rule selects, and when it is carried out, is the registry's.

use common::api::retention::{RetentionPreview, RetentionRule, RetentionRuleChanged, RetentionRuleInfo};
use http::StatusCode;
use serde::Deserialize;

use crate::http::params::Limit;
use crate::http::{Answer, Call, body, changed, respond};
use crate::registry::error::Done;
use crate::registry::fetch::Tagged;

/// What previews take.
#[derive(Deserialize)]
struct Paging {
    #[serde(default)]
    limit: Limit,
    cursor: Option<String>,
}

/// `GET /retention`
pub(crate) async fn list(call: &Call) -> Answer {
    let done = call.shared.registry.retention_rules(&call.caller).await?;
    Ok(respond::logged(respond::page(&call.head.uri, &done.value), done.logged.as_ref()))
}

/// `GET /retention/{rule}`
pub(crate) async fn show(call: &Call, rule: &str) -> Answer {
    let done = call.shared.registry.retention_rule(&call.caller, rule).await?;
    let mut response = respond::json(StatusCode::OK, &done.value.value);
    // What a run came to is no part of what the tag stands for, so a copy is never taken for current.
    response.headers_mut().insert(http::header::ETAG, respond::etag(done.value.revision));
    Ok(respond::logged(response, done.logged.as_ref()))
}

/// `PUT /retention/{rule}`
pub(crate) async fn set(mut call: Call, name: &str) -> Answer {
    let rule: RetentionRule = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    changed(call.shared.registry.set_retention_rule(&call.caller, name, rule).await?)
}

/// `DELETE /retention/{rule}`
pub(crate) async fn delete(call: &Call, rule: &str) -> Answer {
    changed::gone(call.shared.registry.delete_retention_rule(&call.caller, rule).await?)
}

/// `POST /retention/{rule}/run`
pub(crate) async fn run(call: &Call, rule: &str) -> Answer {
    let done = call.shared.registry.request_retention(&call.caller, rule).await?;
    changed::tagged(StatusCode::ACCEPTED, done, |rule, receipt| RetentionRuleChanged { rule, receipt })
}

/// `GET /retention/{rule}/preview`
pub(crate) async fn preview(call: &Call, rule: &str) -> Answer {
    let Paging { limit, cursor } = body::query(call)?;
    let registry = &call.shared.registry;
    let done = registry.preview_retention(&call.caller, Err(rule), cursor.as_deref(), limit.0).await?;
    Ok(previewed(call, &done))
}

/// `POST /retention/preview`
pub(crate) async fn preview_unsaved(mut call: Call) -> Answer {
    let Paging { limit, cursor } = body::query(&call)?;
    let rule: RetentionRule = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let registry = &call.shared.registry;
    let done = registry.preview_retention(&call.caller, Ok(rule), cursor.as_deref(), limit.0).await?;
    Ok(previewed(&call, &done))
}

fn previewed(call: &Call, done: &Done<RetentionPreview>) -> http::Response<crate::http::Body> {
    let response = respond::json(StatusCode::OK, &done.value);
    let response = respond::linked(&call.head.uri, response, done.value.next_cursor.as_deref());
    respond::logged(response, done.logged.as_ref())
}

fn changed(done: Done<Tagged<RetentionRuleInfo>>) -> Answer {
    changed::tagged(StatusCode::OK, done, |rule, receipt| RetentionRuleChanged { rule, receipt })
}
