//! `/quotas…` and `/me/quota`: parse, ask the registry, render. What counts, and what is over a quota, is the registry's.

use common::api::quota::{QuotaChanged, QuotaInfo, QuotaKind, QuotaLimits};
use http::StatusCode;
use serde::Deserialize;

use crate::http::params::Limit;
use crate::http::{Answer, Call, body, changed, respond};
use crate::registry::error::{Done, RegistryError};

/// What `GET /quotas` takes.
#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    limit: Limit,
    cursor: Option<String>,
}

/// `GET /quotas`
pub(crate) async fn list(call: &Call) -> Answer {
    let Listing { limit, cursor } = body::query(call)?;
    let done = call.shared.registry.list_quotas(&call.caller, cursor.as_deref(), limit.0).await?;
    Ok(respond::logged(respond::page(&call.head.uri, &done.value), done.logged.as_ref()))
}

/// `GET /quotas/{kind}/{account}`
pub(crate) async fn show(call: &Call, kind: &str, account: &str) -> Answer {
    told(call.shared.registry.quota(&call.caller, self::kind(kind)?, account).await?)
}

/// `GET /me/quota`
pub(crate) async fn own(call: &Call) -> Answer {
    told(call.shared.registry.own_quota(&call.caller).await?)
}

/// `PUT /quotas/{kind}/{account}`
pub(crate) async fn set(mut call: Call, kind: &str, account: &str) -> Answer {
    let kind = self::kind(kind)?;
    let limits: QuotaLimits = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    changed(call.shared.registry.set_quota(&call.caller, kind, account, Some(limits)).await?)
}

/// `DELETE /quotas/{kind}/{account}`
pub(crate) async fn clear(call: &Call, kind: &str, account: &str) -> Answer {
    changed(call.shared.registry.set_quota(&call.caller, self::kind(kind)?, account, None).await?)
}

fn told(done: Done<QuotaInfo>) -> Answer {
    Ok(respond::logged(respond::json(StatusCode::OK, &done.value), done.logged.as_ref()))
}

fn changed(done: Done<QuotaInfo>) -> Answer {
    changed::plain(StatusCode::OK, done, |quota, receipt| QuotaChanged { quota, receipt })
}

fn kind(segment: &str) -> Result<QuotaKind, RegistryError> {
    let kinds = [QuotaKind::User, QuotaKind::Namespace];
    let found = kinds.into_iter().find(|kind| kind.segment() == segment);
    found.ok_or_else(|| RegistryError::not_found("such kind of quota; there are users and namespaces"))
}
