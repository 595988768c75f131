//! Users: creating, changing, removing them. Knows that there is always an admin that can sign in; refuses to know how a
//! password is checked.
//!
//! What changes a user's rights raises the user's epoch and ends the sessions, so that it holds from the next request on. API
//! tokens are another matter (`tokens.rs`): they go by what the user is at the moment of each request, so only a revocation
//! and a removal end them.

pub mod listing;

use std::sync::Arc;

use common::api::{Page, RoleGiven, User, UserInfo, UserKind, UserPatch};
use common::audit::{Action, ActorKind, Outcome as EntryOutcome, Target};
use common::grant::{Grant, GrantTold};
use common::name::UserName;
use common::role::{Permission, Role};
use serde_json::{Value, json};

use crate::auth::password;
use crate::clock;
use crate::config::secret::Secret;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::delete::Gone;
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::fetch::Tagged;
use crate::registry::grants;
use crate::registry::resolve::UNTOLD;
use crate::registry::throttle::Failed;
use crate::registry::totp;
use crate::registry::users::listing::UserListing;
use crate::registry::{Inner, Registry, Seeded, render};
use crate::store::records::{Account as QuotaAccount, NO_PASSWORD, UserRecord, Write};
use crate::store::{EntryQuery, Moment, Records, View};

/// Octets of randomness in a user's id.
const ID_RANDOM_OCTETS: usize = 10;
/// Entries about a user that are read at once, and how often, to find who gave them their role.
const ENTRIES_PAGE: usize = 100;
const ENTRIES_PAGES_MAX: usize = 20;

/// What an account is made for.
#[derive(Debug)]
pub enum Account {
    /// Somebody, who signs in.
    Person {
        /// The first password.
        password: Secret,
        /// Whether it must be changed at the first sign-in.
        must_change_password: bool,
    },
    /// A program, which has no password and can't sign in.
    Service,
}

/// What of a user's a change ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// Nothing.
    Nothing,
    /// The sessions.
    Sessions,
    /// API tokens, too.
    All,
}

/// What changes with a user's record.
pub(super) struct Changed {
    /// What of the user's ends.
    pub(super) ends: Ends,
    /// The user's new grants, where they are others.
    pub(super) grants: Option<Vec<Grant>>,
    /// Whether the second factor is taken away.
    pub(super) resets_factor: bool,
}

impl From<Ends> for Changed {
    fn from(ends: Ends) -> Self {
        Self { ends, grants: None, resets_factor: false }
    }
}

pub(super) fn user_target(name: &UserName) -> Target {
    Target::new("user", name.as_str())
}

fn missing(name: &UserName) -> RegistryError {
    RegistryError::not_found(format!("user `{name}`"))
}

impl Registry {
    /// Creates a user. With open registration anyone may, but then only as a viewer.
    ///
    /// # Errors
    /// What `require` says; `Invalid`, `WeakPassword`, `Conflict`, `TooManyRequests`, `IdempotencyKeyReused`.
    pub async fn register(
        &self,
        caller: &Caller,
        username: &str,
        password: Secret,
        role: Option<Role>,
    ) -> Outcome<Tagged<User>> {
        let account = Account::Person { password, must_change_password: false };
        self.register_with(caller, username, account, role).await
    }

    /// The same of any account.
    ///
    /// # Errors
    /// Those of [`Registry::register`].
    pub async fn register_with(
        &self,
        caller: &Caller,
        username: &str,
        account: Account,
        role: Option<Role>,
    ) -> Outcome<Tagged<User>> {
        let inner = &self.inner;
        let role = role.unwrap_or(Role::Viewer);
        let mut note = Note::change(Action::UserCreate, Target::new("user", UNTOLD)).with("role", role.as_str());
        let is_service = matches!(account, Account::Service);
        if is_service {
            note.say("kind", UserKind::Service.as_str());
        }
        let open = inner.settings().open_registration && role == Role::Viewer && !is_service;
        if let Err(error) = caller.require(Permission::UserManage)
            && !open
        {
            return Err(inner.refuse(caller, note, error).await);
        }
        // Each costs a hash, so anonymous ones are limited like their refusals.
        if let Err(limited) = inner.limit_anonymous(caller) {
            return Err(limited.into());
        }
        let prepared = inner.prepare_user(username, &account).await;
        let (name, hash) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        let (body, must_change_password) = match &account {
            Account::Person { password, must_change_password } => (
                json!({
                    "username": name,
                    "password": inner.fingerprints.of_secret(password),
                    "role": role,
                    "must_change_password": must_change_password,
                }),
                // Whoever works on the machine itself hands the password on to somebody.
                *must_change_password || caller.actor.kind == ActorKind::System,
            ),
            Account::Service => (json!({"username": name, "role": role, "kind": "service"}), false),
        };
        let once = inner.fingerprints.once(caller, &body);
        let id = match new_user_id() {
            Ok(id) => id,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        inner
            .commit_once(caller, note, once, move |records, moment, note| {
                if records.user(&name)?.is_some() {
                    note.target = user_target(&name);
                    return Err(RegistryError::Conflict(format!("there is a user `{name}` already")));
                }
                let user = UserRecord { must_change_password, ..new_user(id, name, role, hash, moment) };
                note.target.id.clone_from(&user.id);
                note.say("name", user.name.as_str());
                let value = render::user(&user, &[], &[], Failed::default(), moment.at_ms);
                Ok((Tagged { value, revision: moment.index }, vec![Write::PutUser(user)]))
            })
            .await
    }

    /// Creates the first admin, if there is no user yet. Without a password one is made, which must be changed at the first
    /// sign-in.
    ///
    /// # Errors
    /// `WeakPassword`, `AuditUnavailable`, `Internal`.
    pub async fn seed_admin(&self, name: &UserName, password: Option<Secret>) -> Result<Seeded, RegistryError> {
        let inner = &self.inner;
        if inner.read(|view| Ok(view.counters()?.users)).await? > 0 {
            return Ok(Seeded::AlreadyThere);
        }
        let (password, generated) = match password {
            Some(password) => (password, None),
            None => {
                let made = Secret::generate().map_err(|error| RegistryError::Internal(error.into()))?;
                (made.clone(), Some(made))
            }
        };
        password::check_strength(name.as_str(), &password).map_err(RegistryError::WeakPassword)?;
        let hash = inner.hash(password).await?;
        let id = new_user_id()?;
        let note = Note::change(Action::UserCreate, user_target(name)).with("role", Role::Admin.as_str());
        let must_change_password = generated.is_some();
        let name = name.clone();
        let seeded = inner
            .commit(&Caller::system(), note, move |records, moment, note| {
                if records.counters()?.users > 0 {
                    return Err(RegistryError::Conflict("there are users already".into()));
                }
                let user = UserRecord { must_change_password, ..new_user(id, name, Role::Admin, hash, moment) };
                note.target.id.clone_from(&user.id);
                note.say("name", user.name.as_str());
                Ok(((), vec![Write::PutUser(user)]))
            })
            .await;
        match seeded {
            Ok(_done) => Ok(Seeded::Created { generated_password: generated }),
            Err(failure) if matches!(failure.error, RegistryError::Conflict(_)) => Ok(Seeded::AlreadyThere),
            Err(failure) => Err(failure.error),
        }
    }

    /// Users. Sign-ins that failed of late are told with them.
    ///
    /// # Errors
    /// What `require` says; `Invalid` for the cursor.
    pub async fn list_users(&self, caller: &Caller, listing: UserListing) -> Outcome<Page<User>> {
        let inner = &self.inner;
        let note = Note::event(Action::UserList, Target::new("user", "*"));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let work = Arc::clone(inner);
        let page = inner.scan_for(caller, move |view| listing::page(&work, view, &listing)).await;
        inner.told(caller, note, page).await
    }

    /// A user.
    ///
    /// # Errors
    /// What `require` says; `NotFound`.
    pub async fn user(&self, caller: &Caller, name: &UserName) -> Outcome<Tagged<UserInfo>> {
        let inner = &self.inner;
        let mut note = Note::event(Action::UserRead, user_target(name));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let (name, work) = (name.clone(), Arc::clone(inner));
        // Who gave them their role is looked for in the log, which may take a while.
        let found = inner
            .scan_for(caller, move |view| {
                let user = view.user(&name)?.ok_or_else(|| missing(&name))?;
                let (now_ms, sessions) = (clock::now_ms(), view.sessions_of(&user.id)?);
                let failed = work.throttle.failures(now_ms).of(user.name.as_str());
                let value = UserInfo {
                    live_sessions: render::sessions(&user, &sessions, now_ms),
                    role_given: role_given(view, &user)?,
                    user: User {
                        grants: grants::told(view, &user.id)?,
                        totp: totp::is_on(view.second_factor(&user.id)?.as_ref()),
                        ..render::user(&user, &sessions, &view.api_tokens_of(&user.id)?, failed, now_ms)
                    },
                };
                Ok(Tagged { value, revision: user.revision })
            })
            .await;
        if let Ok(found) = &found {
            note.target.id.clone_from(&found.value.user.id);
        }
        inner.told(caller, note, found).await
    }

    /// Changes a user's role, state or grants; but for grants alone, the user's sessions end.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict` for the last admin, `Invalid` for grants, `PreconditionFailed`.
    pub async fn patch_user(&self, caller: &Caller, name: &UserName, patch: UserPatch) -> Outcome<Tagged<User>> {
        let inner = &self.inner;
        let note = Note::change(Action::UserUpdate, user_target(name));
        inner.permit(caller, Permission::UserManage, &note).await?;
        self.change_user(caller, note, name, None, move |records, user, note| {
            let before = user.clone();
            user.role = patch.role.unwrap_or(user.role);
            user.disabled = patch.disabled.unwrap_or(user.disabled);
            if user.role != before.role {
                note.say("role_before", before.role.as_str());
                note.say("role", user.role.as_str());
            }
            if user.disabled != before.disabled {
                note.say("disabled", user.disabled);
            }
            note.action = patch_action(&before, user);
            check_last_admin(records, &before, Some(user))?;
            let grants = match patch.grants {
                Some(grants) => grants::replace(records, &user.id, grants, note)?,
                None => None,
            };
            if grants.is_some() && note.action == Action::UserUpdate {
                note.action = Action::UserGrants;
            }
            // Grants are asked about on every request: sessions need not end for them.
            let changed = user.role != before.role || user.disabled != before.disabled;
            Ok(Changed { ends: if changed { Ends::Sessions } else { Ends::Nothing }, grants, resets_factor: false })
        })
        .await
    }

    /// Removes a user. What they published stays, under their name.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict` for the last admin, `PreconditionFailed`.
    pub async fn delete_user(&self, caller: &Caller, name: &UserName) -> Outcome<Gone> {
        let inner = &self.inner;
        let note = Note::change(Action::UserDelete, user_target(name));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let (name, who) = (name.clone(), caller.clone());
        inner
            .commit(caller, note, move |records, _moment, note| {
                let user = records.user(&name)?.ok_or_else(|| missing(&name))?;
                note.target.id.clone_from(&user.id);
                note.say("name", user.name.as_str());
                note.say("role", user.role.as_str());
                who.check_if_match(user.revision)?;
                check_last_admin(records, &user, None)?;
                let mut writes = end_sessions(records, &user.id, None)?;
                writes.extend(end_tokens(records, &user.id)?);
                if !records.grants(&user.id)?.is_empty() {
                    writes.push(grants::write(&user.id, &[]));
                }
                if records.second_factor(&user.id)?.is_some() {
                    writes.push(Write::DeleteSecondFactor { user: user.id.clone() });
                }
                let account = QuotaAccount::User(user.id.clone());
                if records.quota(&account)?.is_some() {
                    writes.push(Write::DeleteQuota(account));
                }
                writes.push(Write::DeleteUser { name });
                Ok((Gone { id: user.id, version: None, purged: true, restorable_until_ms: None }, writes))
            })
            .await
    }

    /// Ends all sessions of a user, and all API tokens for good: whoever asks for it wants nothing of theirs to be accepted
    /// any more.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `IdempotencyKeyReused`.
    pub async fn revoke_sessions(&self, caller: &Caller, name: &UserName) -> Outcome<Tagged<User>> {
        let inner = &self.inner;
        let note = Note::change(Action::UserRevokeSessions, user_target(name));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let body = json!({"username": name});
        self.change_user(caller, note, name, Some(body), |_records, _user, _note| Ok(Ends::All.into())).await
    }

    /// Sets another user's password; it must be changed at the next sign-in, and the sessions end. API tokens stay: they
    /// have nothing of the password.
    ///
    /// # Errors
    /// What `require` says; `WeakPassword`, `NotFound`, `Conflict` for a service account, `TooManyRequests`,
    /// `IdempotencyKeyReused`.
    pub async fn set_password(&self, caller: &Caller, name: &UserName, new: Secret) -> Outcome<Tagged<User>> {
        let inner = &self.inner;
        let note = Note::change(Action::UserPassword, user_target(name));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let body = json!({"username": name, "password": inner.fingerprints.of_secret(&new)});
        let hashed = match password::check_strength(name.as_str(), &new) {
            Ok(()) => inner.hash(new).await,
            Err(why) => Err(RegistryError::WeakPassword(why)),
        };
        let hash = match hashed {
            Ok(hash) => hash,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        let changed = self
            .change_user(caller, note, name, Some(body), move |_records, user, _note| {
                if user.is_service() {
                    let why = format!("`{}` is a service account, which has no password but API tokens", user.name);
                    return Err(RegistryError::Conflict(why));
                }
                user.password_hash = hash;
                user.must_change_password = true;
                Ok(Ends::Sessions.into())
            })
            .await?;
        // Who gave a new password means the user to come in with it.
        inner.throttle.forgive(name.as_str());
        Ok(changed)
    }

    /// Commits a change of a user. `change` says what else changes with the record. `once` describes the request, where
    /// it may come with an Idempotency-Key.
    pub(super) async fn change_user(
        &self,
        caller: &Caller,
        note: Note,
        name: &UserName,
        once: Option<serde_json::Value>,
        change: impl FnOnce(&dyn Records, &mut UserRecord, &mut Note) -> Result<Changed, RegistryError> + Send + 'static,
    ) -> Outcome<Tagged<User>> {
        let inner = &self.inner;
        let once = once.and_then(|body| inner.fingerprints.once(caller, &body));
        let (name, who) = (name.clone(), caller.clone());
        let failures = inner.throttle.failures(clock::now_ms());
        inner
            .commit_once(caller, note, once, move |records, moment, note| {
                let mut user = records.user(&name)?.ok_or_else(|| missing(&name))?;
                note.target.id.clone_from(&user.id);
                note.say("name", user.name.as_str());
                who.check_if_match(user.revision)?;
                let mut writes = Vec::new();
                let mut sessions = records.sessions_of(&user.id)?;
                let mut tokens = records.api_tokens_of(&user.id)?;
                let Changed { ends, grants, resets_factor } = change(records, &mut user, note)?;
                if ends != Ends::Nothing {
                    user.epoch = user.epoch.saturating_add(1);
                    writes = end_sessions(records, &user.id, None)?;
                    sessions.clear();
                }
                if ends == Ends::All && !tokens.is_empty() {
                    note.say("tokens", tokens.len());
                    writes.extend(end_tokens(records, &user.id)?);
                    tokens.clear();
                }
                user.updated_at_ms = moment.at_ms;
                user.revision = moment.index;
                let failed = failures.of(user.name.as_str());
                let grants = match grants {
                    Some(grants) => {
                        writes.push(grants::write(&user.id, &grants));
                        grants.into_iter().map(GrantTold::from).collect()
                    }
                    None => grants::told(records, &user.id)?,
                };
                if resets_factor {
                    writes.push(Write::DeleteSecondFactor { user: user.id.clone() });
                }
                let totp = !resets_factor && totp::is_on(records.second_factor(&user.id)?.as_ref());
                let value = User { grants, totp, ..render::user(&user, &sessions, &tokens, failed, moment.at_ms) };
                writes.push(Write::PutUser(user));
                Ok((Tagged { value, revision: moment.index }, writes))
            })
            .await
    }
}

impl Inner {
    /// Checks a new user's name and password, and hashes the password; a service account has none.
    async fn prepare_user(&self, username: &str, account: &Account) -> Result<(UserName, String), RegistryError> {
        let name: UserName = username
            .parse()
            .map_err(|error: common::name::NameError| RegistryError::invalid("body.username", error.to_string()))?;
        let Account::Person { password, must_change_password: _ } = account else {
            return Ok((name, NO_PASSWORD.to_owned()));
        };
        password::check_strength(name.as_str(), password).map_err(RegistryError::WeakPassword)?;
        Ok((name, self.hash(password.clone()).await?))
    }

    /// The PHC string of a password, made where hashing is done.
    pub(crate) async fn hash(&self, password: Secret) -> Result<String, RegistryError> {
        let place = self.hashing_place().await?;
        let hash = place.run(move || password::hash(&password)).await?;
        hash.map_err(|error| RegistryError::Internal(error.to_string().into()))
    }
}

/// Who gave a user the role they have: the newest entry about them that names a role.
fn role_given(view: &dyn View, user: &UserRecord) -> Result<Option<RoleGiven>, RegistryError> {
    let mut query = EntryQuery {
        target: Some(user.id.clone()),
        outcome: Some(EntryOutcome::Ok),
        limit: ENTRIES_PAGE,
        ..EntryQuery::default()
    };
    for _page in 0..ENTRIES_PAGES_MAX {
        let page = view.entries(&query)?;
        for found in &page.entries {
            // What a newer version wrote is passed over.
            let Ok(entry) = serde_json::from_slice::<Value>(&found.leaf) else { continue };
            let text = |path: &str| entry.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
            if text("/data/role") == user.role.as_str() && text("/action") != Action::UserDelete.as_str() {
                return Ok(Some(RoleGiven { by: text("/actor/name"), at: text("/ts"), log_index: found.index }));
            }
        }
        match page.next_before {
            Some(before) => query.before = Some(before),
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// The writes that end all sessions of a user, but one.
pub(crate) fn end_sessions(
    records: &dyn Records,
    user_id: &str,
    keep: Option<&str>,
) -> Result<Vec<Write>, RegistryError> {
    let sessions = records.sessions_of(user_id)?.into_iter().filter(|session| Some(session.sid.as_str()) != keep);
    Ok(sessions.map(|session| Write::DeleteSession { sid: session.sid }).collect())
}

/// The writes that end all API tokens of a user.
fn end_tokens(records: &dyn Records, user_id: &str) -> Result<Vec<Write>, RegistryError> {
    Ok(records.api_tokens_of(user_id)?.into_iter().map(|token| Write::DeleteApiToken { id: token.id }).collect())
}

/// Whether an admin that can sign in is left after a change (none: removal) of a user.
fn check_last_admin(
    records: &dyn Records,
    before: &UserRecord,
    after: Option<&UserRecord>,
) -> Result<(), RegistryError> {
    let counts = |user: &UserRecord| user.role == Role::Admin && !user.disabled && !user.is_service();
    if counts(before) && !after.is_some_and(counts) && records.counters()?.enabled_admins <= 1 {
        return Err(RegistryError::Conflict(format!(
            "`{}` is the last admin that can sign in; make somebody else an admin first",
            before.name
        )));
    }
    Ok(())
}

/// What a patch of a user is called: the gravest of what it does.
fn patch_action(before: &UserRecord, after: &UserRecord) -> Action {
    let gains = |from: Role, to: Role| to.permissions().iter().any(|permission| !from.allows(*permission));
    if after.disabled && !before.disabled {
        Action::UserDisable
    } else if gains(before.role, after.role) {
        Action::RoleGrant
    } else if after.role != before.role {
        Action::RoleRevoke
    } else if before.disabled && !after.disabled {
        Action::UserEnable
    } else {
        Action::UserUpdate
    }
}

fn new_user_id() -> Result<String, RegistryError> {
    let mut random = [0; ID_RANDOM_OCTETS];
    getrandom::fill(&mut random).map_err(|error| RegistryError::Internal(error.into()))?;
    let bits = random.iter().fold(0, |bits: u128, octet| bits << 8 | u128::from(*octet));
    let ulid = u128::from(clock::now_ms().unsigned_abs()) << 80 | bits;
    Ok(format!("usr_{}", common::name::ModelId::from_u128(ulid)))
}

fn new_user(id: String, name: UserName, role: Role, password_hash: String, moment: Moment) -> UserRecord {
    UserRecord {
        id,
        name,
        role,
        password_hash,
        disabled: false,
        must_change_password: false,
        epoch: 0,
        created_at_ms: moment.at_ms,
        updated_at_ms: moment.at_ms,
        last_login_at_ms: None,
        revision: moment.index,
    }
}

#[cfg(test)]
mod tests {
    use common::audit::Action;
    use common::role::Role;

    use super::patch_action;
    use crate::registry::tests::user_record;

    /// A patch is named after the gravest of what it does.
    #[test]
    fn actions() {
        let user = |role, disabled| {
            let mut user = user_record("alice", role);
            user.disabled = disabled;
            user
        };
        for (before, after, action) in [
            ((Role::Viewer, false), (Role::Admin, false), Action::RoleGrant),
            ((Role::Viewer, false), (Role::Auditor, false), Action::RoleGrant),
            ((Role::Contributor, false), (Role::Auditor, false), Action::RoleGrant),
            ((Role::Admin, false), (Role::Viewer, false), Action::RoleRevoke),
            ((Role::Viewer, false), (Role::Viewer, true), Action::UserDisable),
            ((Role::Viewer, false), (Role::Admin, true), Action::UserDisable),
            ((Role::Viewer, true), (Role::Viewer, false), Action::UserEnable),
            ((Role::Viewer, false), (Role::Viewer, false), Action::UserUpdate),
        ] {
            assert_eq!(patch_action(&user(before.0, before.1), &user(after.0, after.1)), action);
        }
    }
}
