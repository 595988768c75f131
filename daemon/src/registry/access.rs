//! Who calls, with what request, and [`Caller::require`]: the one authorisation check, first line of every public
//! operation, for every face. Knows roles by the table in `common`; refuses to know how a caller was recognised.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use common::audit::ActorKind;
use common::pattern::NamePattern;
use common::role::{Permission, Role};
use common::token::TokenId;
use serde::Serialize;

use crate::registry::error::RegistryError;
use crate::registry::grants::{Granted, Reach};
use crate::store::records::UserRecord;

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Stable id: `usr_…`, or the name of an actor of the system itself.
    pub id: String,
    /// The user's name.
    pub name: String,
    /// What kind of actor.
    pub kind: ActorKind,
    /// The role; none for anonymous callers, who are allowed nothing.
    pub role: Option<Role>,
    /// The session the token belongs to.
    pub sid: Option<String>,
    /// Whether the password must be changed before anything else.
    pub must_change_password: bool,
    /// Whether a second factor must be set up before anything else.
    pub must_enrol: bool,
    /// When the token expires, milliseconds since the epoch.
    pub token_expires_at_ms: Option<i64>,
    /// When the session ends, milliseconds since the epoch.
    pub session_expires_at_ms: Option<i64>,
    /// The operator of this machine, as a user of it: named in every entry.
    pub person: Option<Person>,
    /// What the user may do with models by their names, beside the role.
    pub grants: Granted,
    /// What the token shown allows at most, where it was made for less than its user may do.
    pub scope: Option<Arc<Scope>>,
    /// The API token that was shown. Who showed one has no session.
    pub api_token: Option<ShownToken>,
}

/// An API token, as it was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownToken {
    /// Its id.
    pub id: TokenId,
    /// Which of its secrets: the index of the entry that made it.
    pub secret: u64,
}

/// The most that a token allows. It only ever narrows what its user may do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// These permissions; none for all that the user has.
    pub permissions: Option<Vec<Permission>>,
    /// On models whose names fit one of these; none for all.
    pub names: Option<Vec<NamePattern>>,
}

impl Scope {
    /// Whether a permission is within it.
    pub fn allows(&self, permission: Permission) -> bool {
        self.permissions.as_ref().is_none_or(|permissions| permissions.contains(&permission))
    }
}

/// A user of this machine, as the kernel tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Person {
    /// The user the process runs as.
    pub uid: u32,
    /// That user's name, where `/etc/passwd` has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user who signed in to the machine, also behind `su` and `sudo`; none where the kernel doesn't know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_uid: Option<u32>,
    /// That user's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_user: Option<String>,
}

impl Actor {
    fn of_the_house(name: &str, kind: ActorKind, role: Option<Role>) -> Self {
        Self {
            id: name.to_owned(),
            name: name.to_owned(),
            kind,
            role,
            sid: None,
            must_change_password: false,
            must_enrol: false,
            token_expires_at_ms: None,
            session_expires_at_ms: None,
            person: None,
            grants: None,
            scope: None,
            api_token: None,
        }
    }

    /// Somebody who showed no valid token.
    pub fn anonymous() -> Self {
        Self::of_the_house("anonymous", ActorKind::Anonymous, None)
    }

    /// The daemon itself: upkeep and sub-commands.
    pub fn system() -> Self {
        Self::of_the_house("system", ActorKind::System, Some(Role::Admin))
    }

    /// The operator of this machine, at the control socket or at a sub-command while the daemon is stopped.
    pub fn operator(person: Person) -> Self {
        Self { name: "operator".to_owned(), person: Some(person), ..Self::system() }
    }

    /// The drop folder, where nobody in particular acts for a file.
    pub fn watcher(role: Role) -> Self {
        Self::of_the_house("watcher", ActorKind::System, Some(role))
    }

    /// A user in whose name a file of the drop folder is taken in: without a session, as the user's record is now.
    pub(crate) fn dropper(user: UserRecord, grants: Granted) -> Self {
        Self {
            kind: kind_of(&user),
            id: user.id,
            name: user.name.to_string(),
            role: Some(user.role),
            sid: None,
            must_change_password: user.must_change_password,
            // That is asked of those who sign in.
            must_enrol: false,
            token_expires_at_ms: None,
            session_expires_at_ms: None,
            person: None,
            grants,
            scope: None,
            api_token: None,
        }
    }
}

/// What kind of actor a user is.
pub(crate) fn kind_of(user: &UserRecord) -> ActorKind {
    if user.is_service() { ActorKind::Service } else { ActorKind::User }
}

/// Who calls, and with what request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// The request; none for what the daemon does of its own accord.
    pub request: Option<RequestMeta>,
}

/// What the registry needs to know of a request: what its entry says, and its conditions.
#[derive(Clone)]
pub struct RequestMeta {
    /// The request's id.
    pub id: Arc<str>,
    /// The method.
    pub method: &'static str,
    /// The route as a template, never the raw path.
    pub route: &'static str,
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// The client's User-Agent.
    pub ua: Option<String>,
    /// The status of success, for the entry.
    pub ok_status: u16,
    /// The status of an upload that found its bytes there already, for the entry.
    pub unchanged_status: u16,
    /// The status of a failure, for the entry: given by the face, for the registry knows no codes.
    pub status_of: fn(&RegistryError) -> u16,
    /// The Idempotency-Key of a POST, 1..255 visible ASCII characters.
    pub idempotency_key: Option<String>,
    /// The condition of a PATCH, PUT or DELETE.
    pub if_match: Option<IfMatch>,
}

/// `If-Match`: the revisions a change may be made upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: whatever is there.
    Any,
    /// One of these entity tags, without quotes; a tag is the revision in decimal digits.
    Tags(Vec<String>),
}

/// Without the function, whose address says nothing.
impl fmt::Debug for RequestMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestMeta")
            .field("id", &self.id)
            .field("method", &self.method)
            .field("route", &self.route)
            .field("ip", &self.ip)
            .finish_non_exhaustive()
    }
}

impl Caller {
    /// The daemon itself.
    pub fn system() -> Self {
        Self { actor: Actor::system(), request: None }
    }

    /// The drop folder, with the role it was given.
    pub fn watcher(role: Role) -> Self {
        Self { actor: Actor::watcher(role), request: None }
    }

    /// Refuses anonymous callers, and those that must change their password or set up a second factor first.
    ///
    /// # Errors
    /// `Unauthenticated`, `PasswordChangeRequired`, `EnrolmentRequired`.
    pub fn require_signed_in(&self) -> Result<Role, RegistryError> {
        let role = self.actor.role.ok_or(RegistryError::Unauthenticated)?;
        if self.actor.must_change_password {
            return Err(RegistryError::PasswordChangeRequired);
        }
        if self.actor.must_enrol {
            return Err(RegistryError::EnrolmentRequired);
        }
        Ok(role)
    }

    /// Refuses callers without a token, and nobody else: for what a user may do even while the password must be changed or a
    /// second factor set up.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub fn require_token(&self) -> Result<(), RegistryError> {
        let has_one = self.actor.sid.is_some() || self.actor.api_token.is_some();
        if has_one { Ok(()) } else { Err(RegistryError::Unauthenticated) }
    }

    /// Refuses callers without a session, and nobody else: for what a user may do even while the password must be
    /// changed, and what nobody may do with an API token. Returns the session's id.
    ///
    /// # Errors
    /// `Unauthenticated`, `SessionOnly`.
    pub fn require_session(&self) -> Result<&str, RegistryError> {
        self.require_token()?;
        self.actor.sid.as_deref().ok_or(RegistryError::SessionOnly)
    }

    /// The authorisation check. Default deny. Of what is about models it says whether it may be done with any; with which,
    /// [`Caller::require_on`] says.
    ///
    /// # Errors
    /// `Unauthenticated`, `PasswordChangeRequired`, `EnrolmentRequired`, `Forbidden`.
    pub fn require(&self, permission: Permission) -> Result<(), RegistryError> {
        self.require_signed_in()?;
        let reach = Reach::of(&self.actor);
        if reach.allows_somewhere(permission) { Ok(()) } else { Err(reach.refusal(permission)) }
    }

    /// Refuses everybody but the operator of this machine.
    ///
    /// # Errors
    /// `Unauthenticated`, `PasswordChangeRequired`, `EnrolmentRequired`, `OperatorOnly`.
    pub fn require_operator(&self) -> Result<(), RegistryError> {
        self.require_signed_in()?;
        if self.actor.person.is_some() { Ok(()) } else { Err(RegistryError::OperatorOnly) }
    }

    /// Whether it is the operator of this machine, at the control socket.
    pub fn is_operator(&self) -> bool {
        self.actor.person.is_some()
    }

    /// Whether the check would pass: for what is shown to some and not to others.
    pub fn may(&self, permission: Permission) -> bool {
        self.require(permission).is_ok()
    }

    /// Holds a record's revision against the request's `If-Match`.
    ///
    /// # Errors
    /// `PreconditionFailed`.
    pub(crate) fn check_if_match(&self, revision: u64) -> Result<(), RegistryError> {
        match self.request.as_ref().and_then(|request| request.if_match.as_ref()) {
            None | Some(IfMatch::Any) => Ok(()),
            Some(IfMatch::Tags(tags)) if tags.iter().any(|tag| *tag == revision.to_string()) => Ok(()),
            Some(IfMatch::Tags(_)) => Err(RegistryError::PreconditionFailed),
        }
    }

    /// The client's address.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.request.as_ref().and_then(|request| request.ip)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use common::audit::ActorKind;
    use common::role::{Permission, Role};

    use super::{Actor, Caller, Scope};
    use crate::registry::error::RegistryError;

    /// Every role against every permission; anonymous callers and unchanged passwords first.
    #[test]
    fn require() {
        let mut caller = Caller { actor: Actor::anonymous(), request: None };
        assert!(matches!(caller.require(Permission::ModelRead), Err(RegistryError::Unauthenticated)));
        caller.actor.kind = ActorKind::User;
        for role in Role::ALL {
            caller.actor.role = Some(role);
            for permission in Role::Admin.permissions() {
                assert_eq!(caller.require(*permission).is_ok(), role.allows(*permission), "{role} {permission}");
            }
        }
        caller.actor.scope = Some(Arc::new(Scope { permissions: Some(vec![Permission::ModelRead]), names: None }));
        assert!(caller.require(Permission::ModelRead).is_ok());
        assert!(matches!(caller.require(Permission::ModelWrite), Err(RegistryError::OutOfScope { .. })));
        caller.actor.must_enrol = true;
        assert!(matches!(caller.require(Permission::ModelRead), Err(RegistryError::EnrolmentRequired)));
        caller.actor.must_change_password = true;
        assert!(matches!(caller.require(Permission::ModelRead), Err(RegistryError::PasswordChangeRequired)));
    }
}
