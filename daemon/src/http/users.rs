//! `/register /roles /users…`: parse, ask the registry, render. Who may do what to whom is the registry's.

use common::api::{NewPassword, Page, Register, RoleInfo, User, UserChanged, UserKind, UserPatch};
use common::known::Known;
use common::role::Role;
use http::StatusCode;
use serde::Deserialize;

use crate::config::secret::Secret;
use crate::http::params::{self, Limit, NOT_MAX};
use crate::http::problem::Refused;
use crate::http::{Answer, Call, body, changed, respond};
use crate::registry::cursor::Seek;
use crate::registry::delete::Gone;
use crate::registry::error::Done;
use crate::registry::fetch::Tagged;
use crate::registry::users::Account;
use crate::registry::users::listing::{UserListing, UserSort};

/// Longest search text, characters.
const TEXT_CHARS_MAX: usize = 64;

/// What `GET /users` takes.
#[derive(Deserialize)]
struct Listing {
    q: Option<String>,
    role: Option<Role>,
    state: Option<UserState>,
    #[serde(default)]
    not: Vec<String>,
    #[serde(default)]
    sort: Sort,
    #[serde(default)]
    limit: Limit,
    cursor: Option<String>,
    before: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum UserState {
    Active,
    Disabled,
}

#[derive(Deserialize, Default, Clone, Copy)]
enum Sort {
    #[default]
    #[serde(rename = "name")]
    NameUp,
    #[serde(rename = "-name")]
    NameDown,
    #[serde(rename = "role")]
    RoleUp,
    #[serde(rename = "-role")]
    RoleDown,
    #[serde(rename = "last_login_at")]
    LoginUp,
    #[serde(rename = "-last_login_at")]
    LoginDown,
    #[serde(rename = "created_at")]
    CreatedUp,
    #[serde(rename = "-created_at")]
    CreatedDown,
}

impl Sort {
    fn meant(self) -> (UserSort, bool) {
        match self {
            Self::NameUp => (UserSort::Name, false),
            Self::NameDown => (UserSort::Name, true),
            Self::RoleUp => (UserSort::Role, false),
            Self::RoleDown => (UserSort::Role, true),
            Self::LoginUp => (UserSort::LastLogin, false),
            Self::LoginDown => (UserSort::LastLogin, true),
            Self::CreatedUp => (UserSort::Created, false),
            Self::CreatedDown => (UserSort::Created, true),
        }
    }
}

/// `POST /register`
pub(crate) async fn register(mut call: Call) -> Answer {
    let Register { username, password, role, kind, must_change_password } =
        body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let registry = &call.shared.registry;
    let wrong = |problem: &str| Refused::invalid(vec![("body.password".to_owned(), problem.to_owned())]);
    let account = match (kind, password.map(Secret::new)) {
        (UserKind::Person, Some(password)) => Account::Person { password, must_change_password },
        (UserKind::Person, None) => {
            return Err(wrong("a person needs one; for a program, say `\"kind\": \"service\"`"));
        }
        (UserKind::Service, Some(_)) => return Err(wrong("a service account has none; leave it out")),
        (UserKind::Service, None) => Account::Service,
    };
    let done = registry.register_with(&call.caller, &username, account, role).await?;
    let location = format!("/users/{}", done.value.value.username);
    let mut response = user_changed(StatusCode::CREATED, done)?;
    changed::location(&mut response, &location);
    Ok(response)
}

/// `GET /roles`
pub(crate) fn roles() -> Answer {
    let may = |role: Role| role.permissions().iter().copied().map(Known::from).collect();
    let items: Vec<RoleInfo> =
        Role::ALL.iter().map(|role| RoleInfo { role: (*role).into(), permissions: may(*role) }).collect();
    let total = Some(items.len() as u64);
    Ok(respond::json(StatusCode::OK, &Page { items, total, next_cursor: None, prev_cursor: None }))
}

/// `GET /users`
pub(crate) async fn list(call: &Call) -> Answer {
    let Listing { q, role, state, not, sort, limit, cursor, before } = body::query(call)?;
    if q.as_ref().is_some_and(|text| !(1..=TEXT_CHARS_MAX).contains(&text.chars().count())) {
        let problem = format!("has not 1 to {TEXT_CHARS_MAX} characters");
        return Err(Refused::invalid(vec![("query.q".to_owned(), problem)]));
    }
    let not_roles = not_roles(&not)?;
    let (sort, down) = sort.meant();
    let disabled = state.map(|state| state == UserState::Disabled);
    let seek = Seek::of(cursor, before)?;
    let listing = UserListing { q, role, not_roles, disabled, sort, down, limit: limit.0, seek };
    let done = call.shared.registry.list_users(&call.caller, listing).await?;
    Ok(respond::logged(respond::page(&call.head.uri, &done.value), done.logged.as_ref()))
}

/// What users must not be, such as `role:viewer`.
fn not_roles(all: &[String]) -> Result<Vec<Role>, Refused> {
    let wrong = |problem: String| Refused::invalid(vec![("query.not".to_owned(), problem)]);
    if all.len() > NOT_MAX {
        return Err(wrong(format!("comes more than {NOT_MAX} times")));
    }
    let role = |text: &String| match text.split_once(':') {
        Some(("role", role)) => role.parse().map_err(|_unknown| wrong("names a role that there is not".to_owned())),
        Some(_) | None => Err(wrong("is not `role:` and a role".to_owned())),
    };
    all.iter().map(role).collect()
}

/// `GET /users/{name}`
pub(crate) async fn show(call: &Call, name: &str) -> Answer {
    let done = call.shared.registry.user(&call.caller, &params::user(name)?).await?;
    let response = respond::json(StatusCode::OK, &done.value.value);
    let response = respond::tagged(&call.head, response, respond::etag(done.value.revision));
    Ok(respond::logged(response, done.logged.as_ref()))
}

/// `PATCH /users/{name}`
pub(crate) async fn patch(mut call: Call, name: &str) -> Answer {
    let name = params::user(name)?;
    let patch: UserPatch = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    user_changed(StatusCode::OK, call.shared.registry.patch_user(&call.caller, &name, patch).await?)
}

/// `DELETE /users/{name}`
pub(crate) async fn delete(call: &Call, name: &str) -> Answer {
    let done = call.shared.registry.delete_user(&call.caller, &params::user(name)?).await?;
    // There is no other deletion of a user than the one for good, so nothing is called a purge.
    changed::gone(done.map(|gone| Gone { purged: false, ..gone }))
}

/// `POST /users/{name}/sessions/revoke`
pub(crate) async fn revoke_sessions(call: &Call, name: &str) -> Answer {
    let done = call.shared.registry.revoke_sessions(&call.caller, &params::user(name)?).await?;
    user_changed(StatusCode::OK, done)
}

/// `POST /users/{name}/password`
pub(crate) async fn set_password(mut call: Call, name: &str) -> Answer {
    let name = params::user(name)?;
    let NewPassword { password } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let done = call.shared.registry.set_password(&call.caller, &name, Secret::new(password)).await?;
    user_changed(StatusCode::OK, done)
}

/// `POST /users/{name}/totp/reset`
pub(crate) async fn reset_totp(call: &Call, name: &str) -> Answer {
    let done = call.shared.registry.reset_totp(&call.caller, &params::user(name)?).await?;
    user_changed(StatusCode::OK, done)
}

fn user_changed(status: StatusCode, done: Done<Tagged<User>>) -> Answer {
    changed::tagged(status, done, |user, receipt| UserChanged { user, receipt })
}
