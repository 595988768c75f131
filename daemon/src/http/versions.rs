//! `/models/{id}/versions…`, but for downloads: parse, ask the registry, render.
//! Which state may follow which is the registry's.

use common::api::{Reason, Release, Rescanned, VersionChanged, VersionInfo, VersionPatch};
use http::StatusCode;

use crate::http::models::Deletion;
use crate::http::params::{self, Paging};
use crate::http::{Answer, Call, body, changed, respond};
use crate::registry::error::Done;
use crate::registry::fetch::Tagged;

/// `GET /models/{id}/versions`
pub(crate) async fn list(call: &Call, model: &str) -> Answer {
    let paging: Paging = body::query(call)?;
    let limit = paging.limit;
    let model = params::model(model)?;
    let done = call.shared.registry.versions(&call.caller, &model, limit.0, paging.seek()?).await?;
    Ok(respond::logged(respond::page(&call.head.uri, &done.value), done.logged.as_ref()))
}

/// `GET /models/{id}/versions/{v}`
pub(crate) async fn show(call: &Call, model: &str, version: &str) -> Answer {
    let (model, version) = (params::model(model)?, params::version(version)?);
    let done = call.shared.registry.version(&call.caller, &model, version).await?;
    let response = respond::json(StatusCode::OK, &done.value.value);
    let response = respond::tagged(&call.head, response, respond::etag(done.value.revision));
    Ok(respond::logged(response, done.logged.as_ref()))
}

/// `GET /models/{id}/versions/{v}/card`
pub(crate) async fn card(call: &Call, model: &str, version: &str) -> Answer {
    let (model, version) = (params::model(model)?, params::version(version)?);
    let done = call.shared.registry.card(&call.caller, &model, version).await?;
    Ok(respond::logged(respond::json(StatusCode::OK, &done.value), done.logged.as_ref()))
}

/// `PATCH /models/{id}/versions/{v}`
pub(crate) async fn patch(mut call: Call, model: &str, version: &str) -> Answer {
    let (model, version) = (params::model(model)?, params::version(version)?);
    let patch: VersionPatch = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    version_changed(call.shared.registry.patch_version(&call.caller, &model, version, patch).await?)
}

/// `DELETE /models/{id}/versions/{v}`
pub(crate) async fn delete(call: &Call, model: &str, version: &str) -> Answer {
    let (model, version) = (params::model(model)?, params::version(version)?);
    let registry = &call.shared.registry;
    changed::gone(match body::query::<Deletion>(call)?.purge_reason()? {
        Some(reason) => registry.purge_version(&call.caller, &model, version, &reason).await?,
        None => registry.delete_version(&call.caller, &model, version).await?,
    })
}

/// `POST /models/{id}/versions/{v}/restore`
pub(crate) async fn restore(call: &Call, model: &str, version: &str) -> Answer {
    let (model, version) = (params::model(model)?, params::version(version)?);
    version_changed(call.shared.registry.restore_version(&call.caller, &model, version).await?)
}

/// `POST /models/{id}/versions/{v}/release`
pub(crate) async fn release(mut call: Call, model: &str, version: &str) -> Answer {
    let (model, version) = (params::model(model)?, params::version(version)?);
    let Release { reason, override_block } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    version_changed(call.shared.registry.release(&call.caller, &model, version, &reason, override_block).await?)
}

/// `POST /models/{id}/versions/{v}/block`
pub(crate) async fn block(mut call: Call, model: &str, version: &str) -> Answer {
    let (model, version) = (params::model(model)?, params::version(version)?);
    let Reason { reason } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    version_changed(call.shared.registry.block(&call.caller, &model, version, &reason).await?)
}

/// `POST /models/{id}/versions/{v}/rescan`
pub(crate) async fn rescan(call: &Call, model: &str, version: &str) -> Answer {
    let (model, version) = (params::model(model)?, params::version(version)?);
    let done = call.shared.registry.rescan(&call.caller, &model, version).await?;
    changed::tagged(StatusCode::OK, done, |anew, receipt| Rescanned {
        version: anew.version,
        verdict_before: anew.verdict_before,
        changed: anew.changed,
        receipt,
    })
}

/// `POST /models/{id}/versions/{v}/quarantine`
pub(crate) async fn quarantine(mut call: Call, model: &str, version: &str) -> Answer {
    let (model, version) = (params::model(model)?, params::version(version)?);
    let Reason { reason } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    version_changed(call.shared.registry.quarantine(&call.caller, &model, version, &reason).await?)
}

/// `POST /models/{id}/versions/{v}/deprecate`
pub(crate) async fn deprecate(mut call: Call, model: &str, version: &str) -> Answer {
    let (model, version) = (params::model(model)?, params::version(version)?);
    let Reason { reason } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    version_changed(call.shared.registry.deprecate(&call.caller, &model, version, &reason).await?)
}

fn version_changed(done: Done<Tagged<VersionInfo>>) -> Answer {
    changed::tagged(StatusCode::OK, done, |version, receipt| VersionChanged { version, receipt })
}
