//! `/login /token/refresh /logout /me /me/password`: parse, ask the registry, render.
//! What a password must be and when a session ends is the registry's.

use common::api::{Login, OwnPassword};
use http::StatusCode;

use crate::config::secret::Secret;
use crate::http::{Answer, Call, body, respond};

/// `POST /login`
pub(crate) async fn login(mut call: Call) -> Answer {
    let Login { username, password } = body::form_or_json(&mut call, body::JSON_BYTES_MAX).await?;
    let done = call.shared.registry.login(&call.caller, &username, Secret::new(password)).await?;
    Ok(respond::logged(respond::json(StatusCode::OK, &done.value), done.logged.as_ref()))
}

/// `POST /token/refresh`
pub(crate) async fn refresh(call: &Call) -> Answer {
    let done = call.shared.registry.refresh(&call.caller).await?;
    Ok(respond::logged(respond::json(StatusCode::OK, &done.value), done.logged.as_ref()))
}

/// `POST /logout`
pub(crate) async fn logout(call: &Call) -> Answer {
    let done = call.shared.registry.logout(&call.caller).await?;
    Ok(respond::logged(respond::no_content(), done.logged.as_ref()))
}

/// `GET /me`
pub(crate) async fn me(call: &Call) -> Answer {
    let done = call.shared.registry.me(&call.caller).await?;
    Ok(respond::logged(respond::json(StatusCode::OK, &done.value), done.logged.as_ref()))
}

/// `POST /me/password`
pub(crate) async fn change_own_password(mut call: Call) -> Answer {
    let OwnPassword { old_password, new_password } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let (old, new) = (Secret::new(old_password), Secret::new(new_password));
    let done = call.shared.registry.change_own_password(&call.caller, old, new).await?;
    Ok(respond::logged(respond::no_content(), done.logged.as_ref()))
}
