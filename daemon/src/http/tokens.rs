//! `/tokens…`: parse, ask the registry, render. Whose tokens are whose to deal with is the registry's.

use common::api::{ApiTokenMade, NewApiToken, RotateApiToken};
use http::StatusCode;
use serde::Deserialize;

use crate::http::params::{self, Limit};
use crate::http::problem::Refused;
use crate::http::{Answer, Call, body, changed, respond};
use crate::registry::cursor::Seek;
use crate::registry::delete::Gone;
use crate::registry::error::Done;
use crate::registry::tokens::{Made, Whose};

/// What `GET /tokens` takes.
#[derive(Deserialize)]
struct Listing {
    user: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    limit: Limit,
    cursor: Option<String>,
    before: Option<String>,
}

/// `GET /tokens`
pub(crate) async fn list(call: &Call) -> Answer {
    let Listing { user, all, limit, cursor, before } = body::query(call)?;
    let whose = match (user, all) {
        (None, false) => Whose::Own,
        (None, true) => Whose::All,
        (Some(name), false) => Whose::Of(params::wanted("query.user", &name)?),
        (Some(_), true) => {
            let problem = "`user` names one; leave one of the two out".to_owned();
            return Err(Refused::invalid(vec![("query.all".to_owned(), problem)]));
        }
    };
    let seek = Seek::of(cursor, before)?;
    let done = call.shared.registry.list_tokens(&call.caller, whose, limit.0, seek).await?;
    Ok(respond::logged(respond::page(&call.head.uri, &done.value), done.logged.as_ref()))
}

/// `GET /tokens/{token}`
pub(crate) async fn show(call: &Call, id: &str) -> Answer {
    let done = call.shared.registry.token(&call.caller, &params::token(id)?).await?;
    let response = respond::json(StatusCode::OK, &done.value.value);
    let response = respond::tagged(&call.head, response, respond::etag(done.value.revision));
    Ok(respond::logged(response, done.logged.as_ref()))
}

/// `POST /tokens`
pub(crate) async fn create(mut call: Call) -> Answer {
    let new: NewApiToken = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let done = call.shared.registry.create_token(&call.caller, new).await?;
    let location = format!("/tokens/{}", done.value.text.id());
    let mut response = made(StatusCode::CREATED, done)?;
    changed::location(&mut response, &location);
    Ok(response)
}

/// `POST /tokens/{token}/rotate`
pub(crate) async fn rotate(mut call: Call, id: &str) -> Answer {
    let id = params::token(id)?;
    let asked: RotateApiToken = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    made(StatusCode::OK, call.shared.registry.rotate_token(&call.caller, &id, asked).await?)
}

/// `DELETE /tokens/{token}`
pub(crate) async fn revoke(call: &Call, id: &str) -> Answer {
    let done = call.shared.registry.revoke_token(&call.caller, &params::token(id)?).await?;
    // There is no other end of a token than the one for good, so nothing is called a purge.
    changed::gone(done.map(|gone| Gone { purged: false, ..gone }))
}

/// The only answer that has a secret. No cache may keep it: nothing that is answered to a token may be.
fn made(status: StatusCode, done: Done<Made>) -> Answer {
    let mut text = None;
    let done = done.map(|made| {
        text = Some(made.text);
        made.info
    });
    changed::tagged(status, done, |info, receipt| ApiTokenMade {
        token: text.map(|text| text.expose().to_owned()).unwrap_or_default(),
        info,
        receipt,
    })
}
