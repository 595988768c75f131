//! What a caller may do with the models of a name: role, grants and token together, the one place where a name decides. The
//! rule for role and grants is [`common::grant::allowed`]. Refuses to know what is done.
//!
//! An operation asks twice. Its first line, [`Caller::require`], refuses whoever may do it with no model at all; once it is
//! known which model it is about, [`Caller::require_on`] decides, or for a model that is looked up the operation's `Sight`
//! (`resolve.rs`), so that no model is reached without being asked about. A model outside one's view is answered like one
//! that isn't there.
//!
//! Grants are asked about with the session on every request, so a change of them holds from the next one on, on every daemon; what
//! takes long asks again when it is committed (`as_now`).

use std::sync::Arc;

use common::grant::{self, Grant, GrantTold};
use common::name::{ModelName, ModelRef};
use common::role::{Permission, Role};
use serde_json::{Value, json};

use crate::registry::Inner;
use crate::registry::access::{Actor, Caller, Scope};
use crate::registry::commit::Note;
use crate::registry::error::{Failure, RegistryError};
use crate::registry::idempotency::Once;
use crate::registry::resolve::{self, Sight};
use crate::store::records::{GrantRecord, Write};
use crate::store::{NamesWanted, Records};

/// Grants as an actor has them; none where nothing was granted.
pub type Granted = Option<Arc<[Grant]>>;

/// How far an actor reaches among models.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Reach {
    role: Option<Role>,
    grants: Granted,
    scope: Option<Arc<Scope>>,
}

impl Reach {
    /// Of an actor.
    pub(crate) fn of(actor: &Actor) -> Self {
        Self { role: actor.role, grants: actor.grants.clone(), scope: actor.scope.clone() }
    }

    fn grants(&self) -> &[Grant] {
        self.grants.as_deref().unwrap_or_default()
    }

    fn is_in_scope(&self, name: &ModelName) -> bool {
        let names = self.scope.as_ref().and_then(|scope| scope.names.as_ref());
        names.is_none_or(|names| names.iter().any(|pattern| pattern.matches(name)))
    }

    /// Whether something may be done with the models of a name.
    pub(crate) fn allows(&self, permission: Permission, name: &ModelName) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.allows(permission))
            && self.is_in_scope(name)
            && grant::allowed(self.role, self.grants(), permission, name)
    }

    /// Whether such models are in view: whoever may do nothing with them is not told of them.
    pub(crate) fn sees(&self, name: &ModelName) -> bool {
        self.is_in_scope(name) && grant::allowed(self.role, self.grants(), Permission::ModelRead, name)
    }

    /// Whether all models are in view.
    pub(crate) fn sees_all(&self) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.names.is_none())
            && grant::allowed_everywhere(self.role, self.grants(), Permission::ModelRead)
    }

    /// Whether there may be a name where it is allowed.
    pub(crate) fn allows_somewhere(&self, permission: Permission) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.allows(permission))
            && grant::allowed_somewhere(self.role, self.grants(), permission)
    }

    /// Why something is allowed with no model: who has it, and shows a token that hasn't, is told so.
    pub(crate) fn refusal(&self, permission: Permission) -> RegistryError {
        if grant::allowed_somewhere(self.role, self.grants(), permission) {
            RegistryError::OutOfScope { permission }
        } else {
            RegistryError::Forbidden { permission }
        }
    }

    /// Why something is not allowed with the models of a name.
    pub(crate) fn refusal_on(&self, permission: Permission, name: &ModelName) -> RegistryError {
        if !grant::allowed(self.role, self.grants(), permission, name) {
            return RegistryError::ForbiddenOn { permission, name: name.clone() };
        }
        let names = self.scope.as_ref().and_then(|scope| scope.names.as_ref()).filter(|_| !self.is_in_scope(name));
        match names {
            Some(names) => {
                let names: Vec<String> = names.iter().map(|pattern| format!("`{pattern}`")).collect();
                RegistryError::OutOfNames { names: names.join(", "), name: name.clone() }
            }
            None => RegistryError::OutOfScope { permission },
        }
    }

    /// Whether it is allowed with every model, whatever its name.
    pub(crate) fn allows_everywhere(&self, permission: Permission) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.names.is_none() && scope.allows(permission))
            && grant::allowed_everywhere(self.role, self.grants(), permission)
    }

    /// Those names, for a list; none for all names.
    pub(crate) fn names(&self, permission: Permission) -> Option<NamesWanted> {
        if self.allows_everywhere(permission) {
            return None;
        }
        let scoped = || grant::beginnings(self.scope.as_ref()?.names.as_ref()?.iter());
        let within = grant::within(self.grants()).or_else(scoped);
        let this = self.clone();
        Some(NamesWanted { fits: Arc::new(move |name| this.allows(permission, name)), within })
    }
}

impl Caller {
    /// The authorisation check for what is done with the models of a name, there or not. Default deny.
    ///
    /// # Errors
    /// `Unauthenticated`, `PasswordChangeRequired`; `Forbidden` where it is allowed nowhere; `ForbiddenOn`.
    pub fn require_on(&self, permission: Permission, name: &ModelName) -> Result<(), RegistryError> {
        self.require(permission)?;
        let reach = Reach::of(&self.actor);
        if reach.allows(permission, name) { Ok(()) } else { Err(reach.refusal_on(permission, name)) }
    }

    /// The authorisation check for what is done with models by more than their names, so that it can reach any of them.
    ///
    /// # Errors
    /// `Unauthenticated`, `PasswordChangeRequired`; `Forbidden` where it is allowed nowhere; `ForbiddenForAll`.
    pub fn require_everywhere(&self, permission: Permission) -> Result<(), RegistryError> {
        self.require(permission)?;
        if Reach::of(&self.actor).allows_everywhere(permission) {
            Ok(())
        } else {
            Err(RegistryError::ForbiddenForAll { permission })
        }
    }

    /// Whether the check for one model would pass.
    pub fn may_on(&self, permission: Permission, name: &ModelName) -> bool {
        self.require_on(permission, name).is_ok()
    }

    /// Whether models of a name are in the caller's view; of a name that isn't known, whether all models are.
    pub fn sees(&self, name: Option<&ModelName>) -> bool {
        let reach = Reach::of(&self.actor);
        name.map_or_else(|| reach.sees_all(), |name| reach.sees(name))
    }
}

impl Inner {
    /// The check of an operation on models of a name, with the entry of its refusal; without a name, whether it may be done
    /// with any.
    pub(crate) async fn permit_on(
        self: &Arc<Self>,
        caller: &Caller,
        permission: Permission,
        name: Option<&ModelName>,
        note: &Note,
    ) -> Result<(), Failure> {
        let allowed = match name {
            Some(name) => caller.require_on(permission, name),
            None => caller.require(permission),
        };
        match allowed {
            Ok(()) => Ok(()),
            Err(error) => Err(self.refuse(caller, note.clone(), error).await),
        }
    }

    /// The check of an operation that can reach any model, with the entry of its refusal.
    pub(crate) async fn permit_everywhere(
        self: &Arc<Self>,
        caller: &Caller,
        permission: Permission,
        note: &Note,
    ) -> Result<(), Failure> {
        match caller.require_everywhere(permission) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.refuse(caller, note.clone(), error).await),
        }
    }
}

impl Once {
    /// The same, for what was done to a model: the first answer is not given again to somebody who may not do it any more.
    /// What has become of the model since is no reason.
    pub(crate) fn of_model(self, caller: &Caller, permission: Permission, reference: &ModelRef) -> Self {
        let (sight, reference) = (Sight::of(caller, permission), reference.clone());
        self.guarded(move |records| resolve::check_reach(records, &reference, &sight))
    }

    /// The same, for what was done under a name.
    pub(crate) fn under_name(self, caller: &Caller, permission: Permission, name: &ModelName) -> Self {
        let (who, name) = (caller.clone(), name.clone());
        self.guarded(move |_records| who.require_on(permission, &name))
    }
}

/// What was granted to a user.
pub(crate) fn of<R: Records + ?Sized>(records: &R, user_id: &str) -> Result<Vec<Grant>, RegistryError> {
    Ok(records.grants(user_id)?.into_iter().map(Grant::from).collect())
}

/// The same, as answers tell it.
pub(crate) fn told<R: Records + ?Sized>(records: &R, user_id: &str) -> Result<Vec<GrantTold>, RegistryError> {
    Ok(of(records, user_id)?.into_iter().map(GrantTold::from).collect())
}

/// The same, as an actor has it.
pub(crate) fn granted<R: Records + ?Sized>(records: &R, user_id: &str) -> Result<Granted, RegistryError> {
    let grants = of(records, user_id)?;
    Ok((!grants.is_empty()).then(|| grants.into()))
}

/// A caller with the role and what is granted now, on the writing thread: since the request began they may have been changed.
/// Another role ends sessions, but no API token.
pub(crate) fn as_now(records: &dyn Records, caller: &Caller) -> Result<Caller, RegistryError> {
    let actor = &caller.actor;
    let grants = granted(records, &actor.id)?;
    // Actors of the system have no record, and the role they act with.
    let role = records.user_by_id(&actor.id)?.map_or(actor.role, |user| Some(user.role));
    Ok(Caller { actor: Actor { role, grants, ..actor.clone() }, request: caller.request.clone() })
}

/// The grants that a user gets in place of those there are; none where they are the same. The entry says both.
///
/// # Errors
/// `Invalid`: too many, or one twice.
pub(crate) fn replace(
    records: &dyn Records,
    user_id: &str,
    grants: Vec<Grant>,
    note: &mut Note,
) -> Result<Option<Vec<Grant>>, RegistryError> {
    grant::check(&grants).map_err(|wrong| {
        let place = |(place, what)| (format!("body.grants[{place}]"), what);
        RegistryError::Invalid(wrong.into_iter().map(place).collect())
    })?;
    let before = of(records, user_id)?;
    if before == grants {
        return Ok(None);
    }
    note.say("grants_before", said(&before));
    note.say("grants", said(&grants));
    Ok(Some(grants))
}

/// The write that keeps a user's grants; none forgets them.
pub(crate) fn write(user_id: &str, grants: &[Grant]) -> Write {
    let grants = grants.iter().cloned().map(GrantRecord::from).collect();
    Write::PutGrants { user: user_id.to_owned(), grants }
}

/// Grants as an entry says them.
fn said(grants: &[Grant]) -> Value {
    grants.iter().map(|grant| json!(grant.to_string())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Arc;

    use common::audit::ActorKind;
    use common::grant::Grant;
    use common::name::ModelName;
    use common::role::{Permission, Role};

    use super::Reach;
    use crate::registry::access::{Actor, Caller, Scope};
    use crate::registry::error::RegistryError;

    fn caller(role: Role, grants: &[&str], scope: Option<Scope>) -> Caller {
        let grants: Vec<Grant> = grants.iter().map(|text| text.parse().unwrap()).collect();
        let actor = Actor {
            kind: ActorKind::User,
            role: Some(role),
            grants: Some(grants.into()),
            scope: scope.map(Arc::new),
            ..Actor::anonymous()
        };
        Caller { actor, request: None }
    }

    /// First whether it may be done at all, then with this model; and what is not about models hangs on no grant.
    #[test]
    fn two_questions() {
        let name = |name: &str| name.parse::<ModelName>().unwrap();
        let viewer = caller(Role::Viewer, &["team/*:admin"], None);
        assert!(viewer.require(Permission::ModelDelete).is_ok() && viewer.require(Permission::UserManage).is_err());
        assert!(viewer.require(Permission::AuditRead).is_err() && viewer.require(Permission::IngestManage).is_err());
        assert!(viewer.require_on(Permission::ModelDelete, &name("team/m")).is_ok());
        assert!(matches!(
            viewer.require_on(Permission::ModelDelete, &name("m")),
            Err(RegistryError::ForbiddenOn { permission: Permission::ModelDelete, .. })
        ));
        let auditor = caller(Role::Auditor, &["*:deny"], None);
        assert!(auditor.require(Permission::AuditRead).is_ok() && !auditor.sees(Some(&name("m"))));
        assert!(matches!(
            caller(Role::Viewer, &[], None).require_on(Permission::ModelWrite, &name("m")),
            Err(RegistryError::Forbidden { .. })
        ));
        let mut first = caller(Role::Admin, &[], None);
        first.actor.must_change_password = true;
        let refused = first.require_on(Permission::ModelRead, &name("m"));
        assert!(matches!(refused, Err(RegistryError::PasswordChangeRequired)));
    }

    /// A token only ever narrows: in what may be done, and to which models.
    #[test]
    fn with_a_token() {
        let name = |name: &str| name.parse::<ModelName>().unwrap();
        let scope = || Scope {
            permissions: Some(vec![Permission::ModelRead, Permission::ModelWrite]),
            names: Some(vec!["team/*".parse().unwrap()]),
        };
        let token = caller(Role::Viewer, &["team/*:admin", "other/*:admin", "team/x:deny"], Some(scope()));
        for (permission, model, is) in [
            (Permission::ModelWrite, "team/m", true),
            (Permission::ModelDelete, "team/m", false),
            (Permission::ModelWrite, "other/m", false),
            (Permission::ModelRead, "other/m", false),
            (Permission::ModelRead, "team/x", false),
        ] {
            assert_eq!(token.may_on(permission, &name(model)), is, "{permission} {model}");
        }
        let why = |permission, model: &str| token.require_on(permission, &name(model)).unwrap_err().to_string();
        assert!(
            why(Permission::ModelDelete, "team/m")
                .contains("scope of this API token lacks the permission `model.delete`")
        );
        assert!(why(Permission::ModelWrite, "other/m").contains("models named `team/*` alone, and `other/m` is none"));
        assert!(why(Permission::ModelWrite, "team/x").contains("neither your role nor a grant"));
        assert!(why(Permission::UserManage, "team/m").contains("your role doesn't have"));
        assert!(token.sees(Some(&name("team/m"))) && !token.sees(Some(&name("other/m"))) && !token.sees(None));
        let wanted = Reach::of(&token.actor).names(Permission::ModelRead).unwrap();
        assert_eq!(wanted.within, Some(vec!["team/".to_owned()]));
        let writes_only = Scope { permissions: Some(vec![Permission::ModelWrite]), names: None };
        let blind = caller(Role::Contributor, &[], Some(writes_only));
        assert!(blind.sees(Some(&name("m"))) && !blind.may_on(Permission::ModelRead, &name("m")));
    }

    /// What can reach any model takes somebody from whom none is kept.
    #[test]
    fn with_all_models() {
        let everywhere =
            |role, grants: &[&str], scope| caller(role, grants, scope).require_everywhere(Permission::ModelDelete);
        let scope = |permission, names: Option<&str>| {
            let names = names.map(|name| vec![name.parse().unwrap()]);
            Some(Scope { permissions: Some(vec![permission]), names })
        };
        assert!(everywhere(Role::Admin, &[], None).is_ok());
        assert!(everywhere(Role::Admin, &["team/*:viewer"], scope(Permission::ModelDelete, None)).is_ok());
        for (role, grants, scope) in [
            (Role::Viewer, &["team/*:admin"][..], None),
            (Role::Admin, &["team/*:none"], None),
            (Role::Admin, &["secret/*:deny"], None),
            (Role::Admin, &[], scope(Permission::ModelDelete, Some("team/*"))),
        ] {
            let refused = everywhere(role, grants, scope);
            let is_for_all =
                matches!(refused, Err(RegistryError::ForbiddenForAll { permission: Permission::ModelDelete }));
            assert!(is_for_all, "{role} {grants:?}: {refused:?}");
        }
        assert!(matches!(everywhere(Role::Contributor, &[], None), Err(RegistryError::Forbidden { .. })));
        let reads = scope(Permission::ModelRead, None);
        assert!(matches!(everywhere(Role::Admin, &[], reads), Err(RegistryError::OutOfScope { .. })));
    }

    /// Only who is narrowed pays for a look at each name.
    #[test]
    fn lists() {
        let wanted = |role, grants: &[&str], permission| Reach::of(&caller(role, grants, None).actor).names(permission);
        assert!(wanted(Role::Viewer, &[], Permission::ModelRead).is_none());
        assert!(wanted(Role::Viewer, &["team/*:contributor"], Permission::ModelRead).is_none());
        assert!(wanted(Role::Viewer, &["team/*:admin"], Permission::ModelDelete).is_some());
        let deny = wanted(Role::Viewer, &["s/*:deny"], Permission::ModelRead).unwrap();
        assert!(deny.within.is_none() && (deny.fits)(&"m".parse().unwrap()) && !(deny.fits)(&"S/m".parse().unwrap()));
        let only = wanted(Role::Viewer, &["*:none", "t/*:viewer"], Permission::ModelRead).unwrap();
        assert_eq!(only.within, Some(vec!["t/".to_owned()]));
    }
}
