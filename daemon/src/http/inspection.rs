//! `GET /quarantine` and `GET /scan/rules`: parse, ask the registry, render. What a verdict is worth is not known here.

use http::StatusCode;
use serde::Deserialize;

use crate::http::params::Limit;
use crate::http::{Answer, Call, body, respond};

/// What `GET /quarantine` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    limit: Limit,
    cursor: Option<String>,
}

/// `GET /quarantine`
pub(crate) async fn quarantine(call: &Call) -> Answer {
    let Query { blocked, limit, cursor } = body::query(call)?;
    let done = call.shared.registry.quarantined(&call.caller, blocked, limit.0, cursor).await?;
    Ok(respond::logged(respond::page(&call.head.uri, &done.value), done.logged.as_ref()))
}

/// `GET /scan/rules`
pub(crate) async fn rules(call: &Call) -> Answer {
    Ok(respond::json(StatusCode::OK, &call.shared.registry.scan_rules(&call.caller)?))
}
