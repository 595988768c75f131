//! `/models/{id}/aliases…`: parse, ask the registry, render. Which aliases are protected is the registry's.

use common::api::{AliasChanged, AliasSet};
use http::StatusCode;

use crate::http::params::{self, Onward};
use crate::http::{Answer, Call, body, changed, respond};
use crate::registry::alias::AliasMoved;
use crate::registry::error::Done;

/// `PUT /models/{id}/aliases/{alias}`
pub(crate) async fn set(mut call: Call, model: &str, alias: &str) -> Answer {
    let (model, alias) = (params::model(model)?, params::wanted("path.alias", alias)?);
    let AliasSet { version } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    moved(call.shared.registry.set_alias(&call.caller, &model, &alias, version).await?)
}

/// `DELETE /models/{id}/aliases/{alias}`
pub(crate) async fn clear(call: &Call, model: &str, alias: &str) -> Answer {
    let (model, alias) = (params::model(model)?, params::alias(alias)?);
    moved(call.shared.registry.clear_alias(&call.caller, &model, &alias).await?)
}

/// `GET /models/{id}/aliases/{alias}/history`
pub(crate) async fn history(call: &Call, model: &str, alias: &str) -> Answer {
    let Onward { limit, cursor } = body::query(call)?;
    let (model, alias) = (params::model(model)?, params::alias(alias)?);
    let done = call.shared.registry.alias_history(&call.caller, &model, &alias, limit.0, cursor.as_deref()).await?;
    Ok(respond::logged(respond::page(&call.head.uri, &done.value), done.logged.as_ref()))
}

fn moved(done: Done<AliasMoved>) -> Answer {
    changed::plain(StatusCode::OK, done, |AliasMoved { id, alias, version, previous }, receipt| AliasChanged {
        id,
        alias,
        version,
        previous,
        receipt,
    })
}
