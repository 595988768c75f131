//! `/login /token/refresh /logout /me /me/password /me/totp…`: parse, ask the registry, render.
//! What a password must be, whether a code is right and when a session ends is the registry's.

use std::time::Duration;

use common::api::{ConfirmTotp, DisableTotp, EnrolTotp, Login, OwnPassword, RecoveryCodes, TotpSecret};
use http::StatusCode;

use crate::config::secret::Secret;
use crate::http::problem::{Protocol, Refused};
use crate::http::{Answer, Call, body, respond};

/// Octets that a name, a password and a code may be.
const LOGIN_BYTES_MAX: usize = 16 * 1024;
/// How long they may take to come. Short: whoever sends them is nobody yet, and many could begin to.
const LOGIN_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// `POST /login`
pub(crate) async fn login(mut call: Call) -> Answer {
    let body = tokio::time::timeout(LOGIN_BODY_TIMEOUT, body::form_or_json(&mut call, LOGIN_BYTES_MAX)).await;
    let Login { username, password, otp } = match body {
        Ok(login) => login?,
        Err(_elapsed) => return Err(Protocol::RequestTimeout { idle_s: LOGIN_BODY_TIMEOUT.as_secs() }.into()),
    };
    // Not before: heads alone shall keep nobody from signing in. The operator of the machine needs none.
    let is_operator = call.caller.is_operator();
    let flight = || call.shared.flights.sign_in(&call.caller, &call.shared.limits.get());
    let _flight = if is_operator { None } else { Some(flight().map_err(Refused::from)?) };
    let (password, otp) = (Secret::new(password), otp.map(Secret::new));
    let done = call.shared.registry.login(&call.caller, &username, password, otp).await?;
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

/// `POST /me/totp`
pub(crate) async fn enrol_totp(mut call: Call) -> Answer {
    let EnrolTotp { password } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let done = call.shared.registry.enrol_totp(&call.caller, Secret::new(password)).await?;
    let (secret, uri) = (&done.value.secret, &done.value.uri);
    // No cache may keep it: nothing that is answered to a token may be.
    let told = TotpSecret { secret: secret.expose().to_owned(), uri: uri.expose().to_owned() };
    Ok(respond::logged(respond::json(StatusCode::OK, &told), done.logged.as_ref()))
}

/// `POST /me/totp/confirm`
pub(crate) async fn confirm_totp(mut call: Call) -> Answer {
    let ConfirmTotp { code } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let done = call.shared.registry.confirm_totp(&call.caller, Secret::new(code)).await?;
    let logged = done.logged;
    let told = RecoveryCodes { recovery_codes: done.value };
    Ok(respond::logged(respond::json(StatusCode::OK, &told), logged.as_ref()))
}

/// `POST /me/totp/disable`
pub(crate) async fn disable_totp(mut call: Call) -> Answer {
    let DisableTotp { password, code } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let (password, code) = (Secret::new(password), Secret::new(code));
    let done = call.shared.registry.disable_totp(&call.caller, password, code).await?;
    Ok(respond::logged(respond::no_content(), done.logged.as_ref()))
}
