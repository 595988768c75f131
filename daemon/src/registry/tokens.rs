//! API tokens: making, listing, rotating, revoking them, and from the text of one to an actor. Knows that a token is worth
//! what its record and its user are at the moment of each request; refuses to know headers.
//!
//! | what | to a user's API tokens |
//! |---|---|
//! | another role | they follow at once: never more than the role allows |
//! | disabled | void at once; enabled again, they are good again |
//! | removed, or all sessions revoked by an admin | gone for good |
//! | another password, given or chosen | nothing: they have nothing of the password, and programs go on |
//!
//! A token can't do what a stolen one would be used for. Without `user.manage` written in its scope it neither makes, lists,
//! rotates nor revokes tokens, its own user's included, and manages no users; with it, it manages those of others, as an
//! admin does. Own password, session and tokens take a session always. The tokens of a person are made by that person alone,
//! for who has one acts in that name; admins list and revoke them, and make those of service accounts.

pub(crate) mod uses;

use std::sync::Arc;

use common::api::{ApiToken, ApiTokenState, MyApiToken, NewApiToken, Page, RotateApiToken};
use common::audit::{Action, Target};
use common::grant::{Effect, Grant};
use common::known::Known;
use common::name::UserName;
use common::pattern::NamePattern;
use common::role::{Permission, Role};
use common::token::{SECRET_OCTETS, TokenId, TokenText};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::clock::{self, DAY_MS, SECOND_MS, rfc3339};
use crate::registry::access::{Actor, Caller, Scope, ShownToken, kind_of};
use crate::registry::commit::Note;
use crate::registry::cursor::{self, Seek};
use crate::registry::delete::Gone;
use crate::registry::error::{Failure, Outcome, RegistryError};
use crate::registry::fetch::{Tagged, bounded, list_id};
use crate::registry::grants;
use crate::registry::login;
use crate::registry::resolve::UNTOLD;
use crate::registry::text::{self, Refused};
use crate::registry::{Inner, Registry};
use crate::store::records::{ApiTokenRecord, TokenSecretRecord, UserRecord, Write};
use crate::store::{Moment, Records, View};

/// API tokens of one user, those that are over included; they make room for new ones.
pub const TOKENS_PER_USER_MAX: usize = 50;
/// Characters of a label.
pub const LABEL_CHARS_MAX: usize = 64;
/// Patterns of names in a scope.
pub const NAMES_MAX: usize = 32;
/// Life of a token for which none is asked for, where no shorter one is the longest.
pub const LIFE_DEFAULT_MS: i64 = 90 * DAY_MS;
/// How long an old secret may be accepted beside the one that follows it.
pub const OVERLAP_MAX_MS: i64 = 7 * DAY_MS;

/// Whose tokens are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// The caller's.
    Own,
    /// This user's.
    Of(UserName),
    /// Everybody's.
    All,
}

/// A token with its secret, for whoever asked for it.
pub struct Made {
    /// What it is, and its entity tag.
    pub info: Tagged<ApiToken>,
    /// Its text. It is not kept.
    pub text: TokenText,
}

impl Registry {
    /// API tokens, the oldest first.
    ///
    /// # Errors
    /// What `require` says; `SessionOnly`; `NotFound` for the user; `Invalid` for the cursor.
    pub async fn list_tokens(
        &self,
        caller: &Caller,
        whose: Whose,
        limit: usize,
        seek: Seek,
    ) -> Outcome<Page<ApiToken>> {
        let inner = &self.inner;
        let note = Note::event(Action::UserRead, Target::new("token", "*"));
        let manages = inner.permit_tokens(caller, &note).await?;
        // The operator of the machine has none.
        let whose = if whose == Whose::Own && caller.require_token().is_err() { Whose::All } else { whose };
        if let Err(error) = whose.permit(caller, manages) {
            return Err(inner.refuse(caller, note, error).await);
        }
        let (work, id) = (Arc::clone(inner), caller.actor.id.clone());
        let page = inner.scan_for(caller, move |view| page(&work, view, &whose, &id, bounded(limit), &seek)).await;
        inner.told(caller, note, page).await
    }

    /// An API token.
    ///
    /// # Errors
    /// What `require` says; `SessionOnly`; `NotFound`, also where it is somebody else's.
    pub async fn token(&self, caller: &Caller, id: &TokenId) -> Outcome<Tagged<ApiToken>> {
        let inner = &self.inner;
        let note = Note::event(Action::UserRead, token_target(id));
        let manages = inner.permit_tokens(caller, &note).await?;
        let found = inner
            .read(|view| {
                let (token, user) = existing(view, caller, manages, id)?;
                Ok(Tagged { value: inner.shown(&token, &user, clock::now_ms()), revision: token.revision })
            })
            .await;
        inner.told(caller, note, found).await
    }

    /// Makes an API token. Its text is in the answer and nowhere else, so there is no first answer to be given again: this
    /// takes no Idempotency-Key.
    ///
    /// # Errors
    /// What `require` says; `SessionOnly`; `Invalid`; `NotFound` for the user; `Conflict` where it is another person's, where
    /// the label is taken or there are too many.
    pub async fn create_token(&self, caller: &Caller, new: NewApiToken) -> Outcome<Made> {
        let inner = &self.inner;
        let note = Note::change(Action::TokenCreate, Target::new("token", UNTOLD));
        let manages = inner.permit_tokens(caller, &note).await?;
        let prepared = new.checked(inner).and_then(|plan| {
            plan.whose.permit(caller, manages)?;
            let id = TokenId::new(clock::now_ms().unsigned_abs(), u32::from_be_bytes(*random::<4>()?));
            Ok((plan, TokenText::new(id, &*random::<SECRET_OCTETS>()?)))
        });
        let (plan, text) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        let (who, work, hash, id) = (caller.clone(), Arc::clone(inner), text.hash(), text.id().clone());
        let done = inner
            .commit(caller, note, move |records, moment, note| {
                let user = plan.whose.user(records, &who)?;
                say_user(note, &user);
                note.say("label", plan.label.as_str());
                check_may_make(records, &who, &user)?;
                plan.check_permissions(&user, &grants::of(records, &user.id)?)?;
                let mut writes = make_room(records, &user, &plan.label, moment)?;
                if records.api_token(&id)?.is_some() {
                    return Err(RegistryError::internal("a new token's id is taken"));
                }
                let token = ApiTokenRecord {
                    id,
                    user_id: user.id.clone(),
                    label: plan.label,
                    secrets: vec![secret(hash, moment)],
                    permissions: plan.permissions.map(|list| list.iter().map(|one| one.as_str().to_owned()).collect()),
                    names: plan.names,
                    created_at_ms: moment.at_ms,
                    created_by: who.actor.name,
                    expires_at_ms: plan.life_ms.map(|life_ms| moment.at_ms.saturating_add(life_ms)),
                    last_used_at_ms: None,
                    revision: moment.index,
                };
                note.target = token_target(&token.id);
                say_scope(note, &token);
                let value = work.shown(&token, &user, moment.at_ms);
                writes.push(Write::PutApiToken(token));
                Ok((Tagged { value, revision: moment.index }, writes))
            })
            .await?;
        Ok(done.map(|info| Made { info, text }))
    }

    /// Gives an API token another secret. The old one ends at once, or after the overlap. It takes no Idempotency-Key either.
    ///
    /// # Errors
    /// What `require` says; `SessionOnly`; `Invalid`; `NotFound`; `Conflict` where it is another person's or is over;
    /// `PreconditionFailed`.
    pub async fn rotate_token(&self, caller: &Caller, id: &TokenId, asked: RotateApiToken) -> Outcome<Made> {
        let inner = &self.inner;
        let note = Note::change(Action::TokenRotate, token_target(id));
        let manages = inner.permit_tokens(caller, &note).await?;
        let prepared = checked_rotation(inner, asked)
            .and_then(|plan| Ok((plan, TokenText::new(id.clone(), &*random::<SECRET_OCTETS>()?))));
        let ((overlap_ms, life), text) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        let (who, work, hash, id) = (caller.clone(), Arc::clone(inner), text.hash(), id.clone());
        let done = inner
            .commit(caller, note, move |records, moment, note| {
                let (mut token, user) = existing(records, &who, manages, &id)?;
                say_user(note, &user);
                note.say("label", token.label.as_str());
                who.check_if_match(token.revision)?;
                check_may_make(records, &who, &user)?;
                if is_over(&token, moment.at_ms) {
                    return Err(RegistryError::Conflict("the token has expired; make another".to_owned()));
                }
                let life_ms = match life {
                    Some(life_ms) => life_ms,
                    None => work.as_before(&token),
                };
                let until_ms = moment.at_ms.saturating_add(overlap_ms);
                let until_ms = token.expires_at_ms.map_or(until_ms, |at_ms| at_ms.min(until_ms));
                // Of two old ones the elder makes way: there is one overlap at a time.
                token.secrets.truncate(usize::from(overlap_ms > 0));
                token.secrets.iter_mut().for_each(|old| old.until_ms = Some(until_ms));
                token.secrets.insert(0, secret(hash, moment));
                token.expires_at_ms = life_ms.map(|life_ms| moment.at_ms.saturating_add(life_ms));
                token.revision = moment.index;
                note.say("overlap_s", overlap_ms / SECOND_MS);
                say_scope(note, &token);
                let value = work.shown(&token, &user, moment.at_ms);
                Ok((Tagged { value, revision: moment.index }, vec![Write::PutApiToken(token)]))
            })
            .await?;
        Ok(done.map(|info| Made { info, text }))
    }

    /// Ends an API token, for good and at once.
    ///
    /// # Errors
    /// What `require` says; `SessionOnly`; `NotFound`; `PreconditionFailed`.
    pub async fn revoke_token(&self, caller: &Caller, id: &TokenId) -> Outcome<Gone> {
        let inner = &self.inner;
        let note = Note::change(Action::TokenRevoke, token_target(id));
        let manages = inner.permit_tokens(caller, &note).await?;
        let (who, id) = (caller.clone(), id.clone());
        // On a full disk, too, a token that got out must be revoked.
        inner
            .commit(caller, note.urgent(), move |records, _moment, note| {
                let (token, user) = existing(records, &who, manages, &id)?;
                say_user(note, &user);
                note.say("label", token.label.as_str());
                who.check_if_match(token.revision)?;
                let gone = Gone { id: id.to_string(), version: None, purged: true, restorable_until_ms: None };
                Ok((gone, vec![Write::DeleteApiToken { id }]))
            })
            .await
    }

    /// The text of an API token to its actor. No hashing of passwords, and no write: that it was used is noted in memory.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub(super) async fn authenticate_token(&self, text: &str) -> Result<Actor, RegistryError> {
        let inner = &self.inner;
        let now_ms = clock::now_ms();
        let text: TokenText =
            text.parse().map_err(|_no_token: common::token::TokenError| RegistryError::Unauthenticated)?;
        let hash = text.hash();
        let actor = match inner.token_actors.get(&hash) {
            Some(actor) => actor,
            None => {
                let work = |records: &dyn Records| {
                    let token = records.api_token(text.id())?.ok_or(RegistryError::Unauthenticated)?;
                    let shown = token.secrets.iter().find(|secret| bool::from(secret.hash.ct_eq(&hash)));
                    let index = shown.ok_or(RegistryError::Unauthenticated)?.index;
                    actor_at(records, token, index, now_ms).map(Arc::new)
                };
                let (actor, basis) = inner.read_noted(work).await?;
                if let Some(basis) = basis {
                    inner.token_actors.keep(hash, Arc::clone(&actor), basis);
                }
                actor
            }
        };
        // Its end comes without a change of the records.
        if actor.token_expires_at_ms.is_some_and(|end_ms| end_ms <= now_ms) {
            return Err(RegistryError::Unauthenticated);
        }
        inner.token_uses.note(text.id(), now_ms);
        Ok(Actor::clone(&actor))
    }
}

/// The actor of an API token and one of its secrets, as everything is now.
///
/// # Errors
/// `Unauthenticated`: it is gone, over or void.
pub(super) fn actor_of(records: &dyn Records, shown: &ShownToken, now_ms: i64) -> Result<Actor, RegistryError> {
    let token = records.api_token(&shown.id)?.ok_or(RegistryError::Unauthenticated)?;
    actor_at(records, token, shown.secret, now_ms)
}

fn actor_at(records: &dyn Records, token: ApiTokenRecord, secret: u64, now_ms: i64) -> Result<Actor, RegistryError> {
    let until_ms = token.secrets.iter().find(|one| one.index == secret).ok_or(RegistryError::Unauthenticated)?.until_ms;
    let ends_at_ms = [token.expires_at_ms, until_ms].into_iter().flatten().min();
    let user = records.user_by_id(&token.user_id)?.ok_or(RegistryError::Unauthenticated)?;
    if user.disabled || ends_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
        return Err(RegistryError::Unauthenticated);
    }
    Ok(Actor {
        grants: grants::granted(records, &user.id)?,
        kind: kind_of(&user),
        name: user.name.to_string(),
        role: Some(user.role),
        id: user.id,
        sid: None,
        // These are asked of those who sign in: a token has nothing of the password.
        must_change_password: false,
        must_enrol: false,
        token_expires_at_ms: ends_at_ms,
        session_expires_at_ms: None,
        person: None,
        scope: Some(Arc::new(Scope { permissions: Some(scope_permissions(&token)), names: token.names })),
        api_token: Some(ShownToken { id: token.id, secret }),
    })
}

/// What a token allows, of whatever its user may. Managing users is in no scope in which it isn't written; where the token is
/// for some names only, neither is what has no name, such as the log.
fn scope_permissions(token: &ApiTokenRecord) -> Vec<Permission> {
    let is_in = |permission: &Permission| match &token.permissions {
        Some(list) => list.iter().any(|name| name == permission.as_str()),
        None if token.names.is_some() => permission.is_of_models(),
        None => *permission != Permission::UserManage,
    };
    Role::Admin.permissions().iter().copied().filter(is_in).collect()
}

/// Refuses where a token was revoked or its user disabled. That it has expired meanwhile is no reason.
///
/// # Errors
/// `Unauthenticated`.
pub(super) fn check_not_revoked(records: &dyn Records, shown: &ShownToken) -> Result<(), RegistryError> {
    let token = records.api_token(&shown.id)?.ok_or(RegistryError::Unauthenticated)?;
    let user = records.user_by_id(&token.user_id)?.ok_or(RegistryError::Unauthenticated)?;
    let holds = token.secrets.iter().any(|secret| secret.index == shown.secret) && !user.disabled;
    if holds { Ok(()) } else { Err(RegistryError::Unauthenticated) }
}

/// What a token's user is told of it.
pub(super) fn mine(records: &dyn Records, shown: &ShownToken) -> Result<MyApiToken, RegistryError> {
    let token = records.api_token(&shown.id)?.ok_or(RegistryError::Unauthenticated)?;
    Ok(MyApiToken { id: token.id.to_string(), label: token.label, names: token.names })
}

impl Inner {
    /// The check of everything that is done with tokens: whether the caller manages those of others. Who doesn't may deal
    /// with the own ones, in a session.
    async fn permit_tokens(self: &Arc<Self>, caller: &Caller, note: &Note) -> Result<bool, Failure> {
        let checked = match caller.require(Permission::UserManage) {
            Ok(()) => Ok(true),
            Err(_not_an_admin) => {
                caller.require_signed_in().and_then(|_role| caller.require_session()).map(|_session| false)
            }
        };
        match checked {
            Ok(manages) => Ok(manages),
            Err(error) => Err(self.refuse(caller, note.clone(), error).await),
        }
    }

    fn shown(&self, token: &ApiTokenRecord, user: &UserRecord, now_ms: i64) -> ApiToken {
        let used_ms = token.last_used_at_ms.max(self.token_uses.last(&token.id));
        let old = token.secrets.get(1).and_then(|old| old.until_ms).filter(|until_ms| now_ms < *until_ms);
        let made_ms = token.secrets.first().map(|secret| secret.made_at_ms);
        ApiToken {
            id: token.id.to_string(),
            label: token.label.clone(),
            user: user.name.clone(),
            state: match (is_over(token, now_ms), user.disabled) {
                (true, _) => ApiTokenState::Expired,
                (false, true) => ApiTokenState::Disabled,
                (false, false) => ApiTokenState::Live,
            }
            .into(),
            permissions: token.permissions.as_ref().map(|list| {
                let known = Role::Admin.permissions().iter().copied();
                known.filter(|may| list.iter().any(|name| name == may.as_str())).map(Known::from).collect()
            }),
            names: token.names.clone(),
            created_at: rfc3339(token.created_at_ms),
            created_by: token.created_by.clone(),
            rotated_at: made_ms.filter(|at_ms| *at_ms != token.created_at_ms).map(rfc3339),
            old_secret_until: old.map(rfc3339),
            expires_at: token.expires_at_ms.map(rfc3339),
            last_used_at: used_ms.map(rfc3339),
        }
    }

    /// The longest life of a token, in milliseconds; none: it may be for ever.
    fn life_max_ms(&self) -> Option<i64> {
        self.settings().api_token_ttl_max.map(|ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))
    }

    /// What is asked for of a token's life, in milliseconds: none where nothing is, and none within where it is to be for ever.
    fn checked_life(&self, expires_in: Option<u64>, never: bool, refused: &mut Refused) -> Option<Option<i64>> {
        let max_ms = self.life_max_ms();
        let life_ms = expires_in.map(|s| i64::try_from(s).unwrap_or(i64::MAX).saturating_mul(SECOND_MS));
        match (life_ms, never) {
            (Some(_), true) => refused.push(("body.never_expires".into(), "`expires_in` says when it ends".into())),
            (Some(life_ms), false) if life_ms <= 0 || max_ms.is_some_and(|max_ms| max_ms < life_ms) => {
                let most = max_ms.map_or_else(String::new, |max_ms| format!(", and at most {}", max_ms / SECOND_MS));
                refused.push(("body.expires_in".into(), format!("must be at least 1{most} (MREG_API_TOKEN_DAYS_MAX)")));
            }
            (None, true) if max_ms.is_some() => {
                let why = "tokens that never expire are not allowed here (MREG_API_TOKEN_DAYS_MAX)";
                refused.push(("body.never_expires".into(), why.into()));
            }
            (None, false) | (Some(_), false) | (None, true) => {}
        }
        if never { Some(None) } else { life_ms.map(Some) }
    }

    /// As long as a token had when it got the secret it has, if that is allowed still.
    fn as_before(&self, token: &ApiTokenRecord) -> Option<i64> {
        let made_ms = token.secrets.first().map_or(token.created_at_ms, |secret| secret.made_at_ms);
        let before_ms = token.expires_at_ms.map(|at_ms| at_ms.saturating_sub(made_ms));
        match (before_ms, self.life_max_ms()) {
            (Some(before_ms), Some(max_ms)) => Some(before_ms.min(max_ms)),
            (before_ms, max_ms) => before_ms.or(max_ms),
        }
    }
}

impl Whose {
    /// Whether a caller may ask for them.
    fn permit(&self, caller: &Caller, manages: bool) -> Result<(), RegistryError> {
        match self {
            // The operator of the machine is no user.
            Self::Own if caller.require_token().is_err() => {
                Err(RegistryError::invalid("body.user", "say whose; the operator of the machine has no tokens"))
            }
            Self::Own => Ok(()),
            Self::Of(name) if name.as_str() == caller.actor.name => Ok(()),
            Self::Of(_) | Self::All if manages => Ok(()),
            Self::Of(_) | Self::All => Err(RegistryError::Forbidden { permission: Permission::UserManage }),
        }
    }

    /// The user, where it is one.
    fn user(&self, records: &dyn Records, caller: &Caller) -> Result<UserRecord, RegistryError> {
        match self {
            Self::Of(name) => records.user(name)?.ok_or_else(|| RegistryError::not_found(format!("user `{name}`"))),
            Self::Own | Self::All => records.user_by_id(&caller.actor.id)?.ok_or(RegistryError::Unauthenticated),
        }
    }
}

/// A token that is to be made, as far as that can be said before the log's turn.
struct Plan {
    whose: Whose,
    label: String,
    permissions: Option<Vec<Permission>>,
    names: Option<Vec<NamePattern>>,
    /// None: for ever.
    life_ms: Option<i64>,
}

trait Checked {
    fn checked(self, inner: &Inner) -> Result<Plan, RegistryError>;
}

impl Checked for NewApiToken {
    fn checked(self, inner: &Inner) -> Result<Plan, RegistryError> {
        let Self { label, user, permissions, names, expires_in, never_expires } = self;
        let mut refused = Refused::new();
        let label = label.trim().to_owned();
        text::check_label("body.label", &label, LABEL_CHARS_MAX, &mut refused);
        let whose = match user.map(|user| user.parse::<UserName>()) {
            None => Whose::Own,
            Some(Ok(name)) => Whose::Of(name),
            Some(Err(error)) => {
                refused.push(("body.user".into(), error.to_string()));
                Whose::Own
            }
        };
        if permissions.as_ref().is_some_and(Vec::is_empty) {
            refused.push(("body.permissions".into(), "name at least one, or leave it out".into()));
        }
        if names.as_ref().is_some_and(|names| !(1..=NAMES_MAX).contains(&names.len())) {
            refused
                .push(("body.names".into(), format!("must be 1 to {NAMES_MAX} patterns; leave it out for all models")));
        }
        let life = inner.checked_life(expires_in, never_expires, &mut refused);
        if !refused.is_empty() {
            return Err(RegistryError::Invalid(refused));
        }
        let default_ms = inner.life_max_ms().map_or(LIFE_DEFAULT_MS, |max_ms| max_ms.min(LIFE_DEFAULT_MS));
        Ok(Plan { whose, label, permissions, names, life_ms: life.unwrap_or(Some(default_ms)) })
    }
}

impl Plan {
    fn check_permissions(&self, user: &UserRecord, grants: &[Grant]) -> Result<(), RegistryError> {
        let has = |permission: Permission| {
            let granted = |grant: &Grant| matches!(grant.effect, Effect::Role(role) if role.allows(permission));
            user.role.allows(permission) || (permission.is_of_models() && grants.iter().any(granted))
        };
        match self.permissions.iter().flatten().find(|permission| !has(**permission)) {
            None => Ok(()),
            Some(permission) => {
                let why = format!(
                    "`{permission}` is not among what `{}` may, who is {}, nor in any grant of theirs",
                    user.name, user.role
                );
                Err(RegistryError::invalid("body.permissions", why))
            }
        }
    }
}

/// Overlap in milliseconds, and the life that is asked for.
fn checked_rotation(inner: &Inner, asked: RotateApiToken) -> Result<(i64, Option<Option<i64>>), RegistryError> {
    let mut refused = Refused::new();
    let overlap_ms = i64::try_from(asked.overlap.unwrap_or(0)).unwrap_or(i64::MAX).saturating_mul(SECOND_MS);
    if overlap_ms > OVERLAP_MAX_MS {
        refused.push(("body.overlap".into(), format!("must be at most {}", OVERLAP_MAX_MS / SECOND_MS)));
    }
    let life = inner.checked_life(asked.expires_in, asked.never_expires, &mut refused);
    if refused.is_empty() { Ok((overlap_ms, life)) } else { Err(RegistryError::Invalid(refused)) }
}

/// Who may come to know a token's secret: in a session the user, and who manages users where it is a service account. What
/// was checked before the log's turn is checked again, so that no token outlives the revocation that it came along with.
fn check_may_make(records: &dyn Records, who: &Caller, user: &UserRecord) -> Result<(), RegistryError> {
    let now_ms = clock::now_ms();
    if who.require_token().is_ok() {
        let now = Caller { actor: login::actor_now(records, &who.actor, now_ms)?, request: None };
        if user.id != who.actor.id {
            now.require(Permission::UserManage)?;
        }
    }
    if user.disabled {
        return Err(RegistryError::Conflict(format!("`{}` is disabled; enable the account first", user.name)));
    }
    if user.is_service() || (user.id == who.actor.id && who.actor.sid.is_some()) {
        return Ok(());
    }
    if user.id == who.actor.id {
        return Err(RegistryError::SessionOnly);
    }
    Err(RegistryError::Conflict(format!(
        "`{}` is a person: only they can make tokens that act in their name; for a program, make a service account",
        user.name
    )))
}

/// A token that is there and the caller's to see, and its user.
fn existing(
    records: &dyn Records,
    caller: &Caller,
    manages: bool,
    id: &TokenId,
) -> Result<(ApiTokenRecord, UserRecord), RegistryError> {
    let missing = || RegistryError::not_found(format!("token `{id}`"));
    let token =
        records.api_token(id)?.filter(|token| manages || token.user_id == caller.actor.id).ok_or_else(missing)?;
    let user = records.user_by_id(&token.user_id)?.ok_or_else(missing)?;
    Ok((token, user))
}

/// Ends what is over where that makes room for one more, or for its label.
fn make_room(
    records: &dyn Records,
    user: &UserRecord,
    label: &str,
    moment: Moment,
) -> Result<Vec<Write>, RegistryError> {
    let (over, live): (Vec<_>, Vec<_>) =
        records.api_tokens_of(&user.id)?.into_iter().partition(|token| is_over(token, moment.at_ms));
    if live.iter().any(|token| token.label == label) {
        return Err(RegistryError::Conflict(format!(
            "`{}` has a token with the label `{label}` already; revoke or rotate it, or take another label",
            user.name
        )));
    }
    if live.len() >= TOKENS_PER_USER_MAX {
        return Err(RegistryError::Conflict(format!(
            "`{}` has {TOKENS_PER_USER_MAX} tokens, the most one may have; revoke one that is not used",
            user.name
        )));
    }
    let is_full = over.len() + live.len() >= TOKENS_PER_USER_MAX;
    let ended = over.into_iter().filter(|token| is_full || token.label == label);
    Ok(ended.map(|token| Write::DeleteApiToken { id: token.id }).collect())
}

fn is_over(token: &ApiTokenRecord, now_ms: i64) -> bool {
    token.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms)
}

fn secret(hash: [u8; 32], moment: Moment) -> TokenSecretRecord {
    TokenSecretRecord { hash, index: moment.index, made_at_ms: moment.at_ms, until_ms: None }
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, RegistryError> {
    let mut octets = Zeroizing::new([0; N]);
    getrandom::fill(&mut *octets).map_err(|error| RegistryError::Internal(error.into()))?;
    Ok(octets)
}

fn token_target(id: &TokenId) -> Target {
    Target::new("token", id.as_str())
}

fn say_user(note: &mut Note, user: &UserRecord) {
    note.say("user", user.name.as_str());
    note.say("user_id", user.id.as_str());
}

/// What a token may do and until when, for its entry. Of its secret there is nothing to say.
fn say_scope(note: &mut Note, token: &ApiTokenRecord) {
    if let Some(permissions) = &token.permissions {
        note.say("permissions", permissions.clone());
    }
    if let Some(names) = &token.names {
        note.say("names", names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>());
    }
    note.say("expires_at", token.expires_at_ms.map_or_else(|| "never".to_owned(), rfc3339));
}

/// A page of a list. One user's are few; of everybody's, a page's rows are read.
fn page(
    inner: &Inner,
    view: &dyn View,
    whose: &Whose,
    own_id: &str,
    limit: usize,
    seek: &Seek,
) -> Result<Page<ApiToken>, RegistryError> {
    let user = match whose {
        Whose::All => None,
        Whose::Own => view.user_by_id(own_id)?,
        Whose::Of(name) => Some(view.user(name)?.ok_or_else(|| RegistryError::not_found(format!("user `{name}`")))?),
    };
    let of = list_id("tokens", &user.as_ref().map(|user| &user.id));
    let sought = cursor::seek::<TokenId>(&of, seek)?;
    let from = sought.from.as_ref();
    // One more than asked tells whether there is another page.
    let (mut tokens, total) = match &user {
        None if sought.backward => (view.api_tokens_back(from, limit + 1)?, view.api_token_count()?),
        None => (view.api_tokens(from, limit + 1)?, view.api_token_count()?),
        Some(user) => {
            let mut all = view.api_tokens_of(&user.id)?;
            let total = all.len() as u64;
            if sought.backward {
                all.reverse();
            }
            let is_behind = |token: &ApiTokenRecord| {
                from.is_none_or(|from| if sought.backward { token.id < *from } else { token.id > *from })
            };
            (all.into_iter().filter(is_behind).take(limit + 1).collect(), total)
        }
    };
    let more = tokens.len() > limit;
    tokens.truncate(limit);
    let on = tokens.last().filter(|_| more).map(|token| token.id.clone());
    if sought.backward {
        tokens.reverse();
    }
    let ends = tokens.first().zip(tokens.last()).map(|(first, last)| (&first.id, &last.id));
    let (next_cursor, prev_cursor) = sought.ends(&of, ends, on.as_ref(), Some(total))?;
    let now_ms = clock::now_ms();
    let mut items = Vec::with_capacity(tokens.len());
    for token in &tokens {
        // A token goes with its user, in one commit.
        if let Some(user) = view.user_by_id(&token.user_id)? {
            items.push(inner.shown(token, &user, now_ms));
        }
    }
    Ok(Page { items, total: Some(total), next_cursor, prev_cursor })
}
