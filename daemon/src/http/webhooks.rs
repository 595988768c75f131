//! `/webhooks…`: parse, ask the registry, render. Which entries are events and how they are sent is not known here; secrets
//! pass through once, to whoever made them.

use common::api::{
    NewWebhook, Page, Webhook, WebhookAttempt, WebhookAttemptKind, WebhookChanged, WebhookPatch, WebhookReplay,
    WebhookRotate, WebhookSecret, WebhookTried,
};
use http::{StatusCode, header};

use crate::http::{Answer, Call, body, changed, params, respond};
use crate::registry::error::Done;
use crate::registry::fetch::Tagged;
use crate::registry::webhooks::Known;
use crate::store::records::WebhookRecord;

/// `GET /webhooks`
pub(crate) async fn list(call: &Call) -> Answer {
    let done = call.shared.registry.list_webhooks(&call.caller).await?;
    let items: Vec<Webhook> = done.value.iter().map(|known| show(call, known)).collect();
    let total = Some(items.len() as u64);
    let page = Page { items, total, next_cursor: None, prev_cursor: None };
    Ok(respond::logged(respond::json(StatusCode::OK, &page), done.logged.as_ref()))
}

/// `POST /webhooks`
pub(crate) async fn create(mut call: Call) -> Answer {
    let new: NewWebhook = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let done = call.shared.registry.create_webhook(&call.caller, new).await?;
    let location = format!("/webhooks/{}", done.value.value.id);
    let mut response = with_secret(&call, StatusCode::CREATED, done)?;
    changed::location(&mut response, &location);
    Ok(response)
}

/// `GET /webhooks/{hook}`
pub(crate) async fn one(call: &Call, hook: &str) -> Answer {
    let done = call.shared.registry.webhook(&call.caller, params::webhook(hook)?).await?;
    let response = respond::json(StatusCode::OK, &show(call, &done.value));
    // How far it has come changes without the tag: it is no part of what a change is made for.
    let mut response = response;
    response.headers_mut().insert(header::ETAG, respond::etag(done.value.hook.revision));
    Ok(respond::logged(response, done.logged.as_ref()))
}

/// `PATCH /webhooks/{hook}`
pub(crate) async fn patch(mut call: Call, hook: &str) -> Answer {
    let hook = params::webhook(hook)?;
    let patch: WebhookPatch = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let done = call.shared.registry.patch_webhook(&call.caller, hook, patch).await?;
    as_it_is(&call, done).await
}

/// `DELETE /webhooks/{hook}`
pub(crate) async fn delete(call: &Call, hook: &str) -> Answer {
    changed::gone(call.shared.registry.delete_webhook(&call.caller, params::webhook(hook)?).await?)
}

/// `POST /webhooks/{hook}/rotate-secret`
pub(crate) async fn rotate(mut call: Call, hook: &str) -> Answer {
    let hook = params::webhook(hook)?;
    let WebhookRotate { overlap_seconds } = body::json_or_default(&mut call, body::JSON_BYTES_MAX).await?;
    let done = call.shared.registry.rotate_webhook_secret(&call.caller, hook, overlap_seconds).await?;
    with_secret(&call, StatusCode::OK, done)
}

/// `POST /webhooks/{hook}/replay`
pub(crate) async fn replay(mut call: Call, hook: &str) -> Answer {
    let hook = params::webhook(hook)?;
    let WebhookReplay { from } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let done = call.shared.registry.replay_webhook(&call.caller, hook, from).await?;
    as_it_is(&call, done).await
}

/// `GET /webhooks/{hook}/deliveries`
pub(crate) async fn deliveries(call: &Call, hook: &str) -> Answer {
    let hook = params::webhook(hook)?;
    let done = call.shared.registry.webhook(&call.caller, hook).await?;
    let items: Vec<WebhookAttempt> = call.shared.webhooks.attempts(hook);
    let total = Some(items.len() as u64);
    let page = Page { items, total, next_cursor: None, prev_cursor: None };
    Ok(respond::logged(respond::json(StatusCode::OK, &page), done.logged.as_ref()))
}

/// `POST /webhooks/{hook}/test`
pub(crate) async fn test(call: &Call, hook: &str) -> Answer {
    let hook = params::webhook(hook)?;
    let shared = &call.shared;
    let place = shared.webhooks.place()?;
    let done = shared.registry.test_webhook(&call.caller, hook).await?;
    let (record, message) = &done.value;
    let kind = WebhookAttemptKind::Test;
    let attempt = shared.webhooks.try_now(place, &shared.registry, record, message, kind).await?;
    tried(done.map(|_sent| attempt))
}

/// `POST /webhooks/{hook}/deliveries/{delivery}/replay`
pub(crate) async fn redeliver(call: &Call, hook: &str, delivery: &str) -> Answer {
    let hook = params::webhook(hook)?;
    let shared = &call.shared;
    let place = shared.webhooks.place()?;
    let done = shared.registry.replay_webhook_delivery(&call.caller, hook, delivery).await?;
    let (record, message) = &done.value;
    let kind = WebhookAttemptKind::Replay;
    let attempt = shared.webhooks.try_now(place, &shared.registry, record, message, kind).await?;
    tried(done.map(|_sent| attempt))
}

fn tried(done: Done<WebhookAttempt>) -> Answer {
    changed::plain(StatusCode::OK, done, |attempt, receipt| WebhookTried { attempt, receipt })
}

fn show(call: &Call, known: &Known) -> Webhook {
    call.shared.webhooks.show(&call.shared.registry, known)
}

/// After a change, with how far it has come.
async fn as_it_is(call: &Call, done: Done<Tagged<WebhookRecord>>) -> Answer {
    let hook = done.value.value.id;
    // Its place in the log is no part of the change. Where somebody deleted it since, what was changed says what it was.
    let known = call.shared.registry.webhooks_now().await?.into_iter().find(|known| known.hook.id == hook);
    let next = known.map_or(done.value.value.from, |known| known.next);
    changed::tagged(StatusCode::OK, done, |hook, receipt| {
        let webhook = show(call, &Known { hook, next });
        WebhookChanged { webhook, receipt }
    })
}

/// After a change that made a secret.
fn with_secret(call: &Call, status: StatusCode, done: Done<Tagged<WebhookRecord>>) -> Answer {
    let secret = call.shared.registry.webhook_secret(&done.value.value)?;
    changed::tagged(status, done, |hook, receipt| {
        let next = hook.from;
        let webhook = show(call, &Known { hook, next });
        WebhookSecret { webhook, secret, receipt }
    })
}
