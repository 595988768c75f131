//! Signing in: password to token, token to actor, sessions. Knows that a token is worth what its session and user are at
//! the moment of each request; refuses to know headers.
//!
//! A token names a session; the session record carries the user's epoch at its beginning. A user whose epoch has moved on
//! (role, state or password changed, sessions revoked) has no valid session left, on every daemon, from the next request.

use std::sync::Arc;

use common::api::{Me, Token, UserKind};
use common::audit::{Action, ActorKind, Target};
use common::grant::GrantTold;
use common::known::Known;
use common::name::UserName;
use common::role::Permission;

use crate::auth::password;
use crate::clock::{self, SECOND_MS};
use crate::config::secret::Secret;
use crate::registry::access::{Actor, Caller, kind_of};
use crate::registry::commit::{Note, log_actor};
use crate::registry::error::{Done, Failure, Outcome, RegistryError};
use crate::registry::grants::{self, Granted};
use crate::registry::resolve::UNTOLD;
use crate::registry::settings::TotpRequired;
use crate::registry::throttle::Attempt;
use crate::registry::tokens;
use crate::registry::totp::{self, Shown};
use crate::registry::users::end_sessions;
use crate::registry::{Inner, Registry};
use crate::store::records::{SessionRecord, UserRecord, Write};
use crate::store::{Moment, Records};

/// Live sessions of one user; the oldest end when there are more.
const SESSIONS_MAX: usize = 100;
/// Octets of randomness in a session's id.
const SID_OCTETS: usize = 16;

impl Registry {
    /// Password to token, with a code where the user has a second factor. The caller is anonymous; the entry of a success names
    /// the user. A wrong password, an unknown user and a disabled one are answered alike, after the same work. That a code is
    /// missing or wrong is told only to those who know the password.
    ///
    /// # Errors
    /// `BadCredentials`, `SecondFactorRequired`; `TooManyRequests` for locked users and networks, and where too many are being
    /// hashed.
    pub async fn login(
        &self,
        caller: &Caller,
        username: &str,
        password: Secret,
        otp: Option<Secret>,
    ) -> Outcome<Token> {
        let inner = &self.inner;
        // What was typed is not in the entry, unless it is a user's name: people type passwords there.
        let mut note = Note::event(Action::AuthLogin, Target::new("user", UNTOLD));
        let attempt = Attempt::new(username, caller.ip());
        let name = username.parse::<UserName>().ok();
        let looked_up = match name {
            Some(name) => inner.read(|view| Ok(view.user(&name)?)).await,
            None => Ok(None),
        };
        let user = match looked_up {
            Ok(user) => user,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        if let Some(user) = &user {
            note.target.id.clone_from(&user.id);
            note.say("name", user.name.as_str());
        }
        // A service account has nothing to check a password against, and takes as long as nobody.
        let hash = user.as_ref().filter(|user| !user.is_service()).map(|user| user.password_hash.clone());
        match inner.check_password(&attempt, hash, password).await {
            Checked::Right => {}
            Checked::Wrong { locked } => return Err(inner.wrong_password(caller, note, locked).await),
            // Counted by the limiter, and summed up in one entry a minute.
            Checked::Limited(error) => return Err(error.into()),
            Checked::Failed(error) => return Err(inner.refuse(caller, note, error).await),
        }
        let Some(user) = user.filter(|user| !user.disabled) else {
            return Err(inner.wrong_password(caller, note, false).await);
        };
        let shown = match inner.check_factor(&attempt, &user.id, otp.as_ref()).await {
            Ok(shown) => shown,
            Err(unfit) => return Err(inner.wrong_factor(caller, note, unfit).await),
        };
        inner.sign_in(caller, note, &attempt, user, shown).await
    }

    /// Token to actor: signature, session, user, on every request; an API token is known by how it begins. No entry for
    /// success; a refusal is the face's to hand to `record_failure` on routes that are recorded.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub async fn authenticate(&self, bearer: &str) -> Result<Actor, RegistryError> {
        if bearer.starts_with(common::token::PREFIX) {
            return self.authenticate_token(bearer).await;
        }
        let inner = &self.inner;
        let now_ms = clock::now_ms();
        let claims = inner.tokens.verify(bearer, now_ms).ok_or(RegistryError::Unauthenticated)?;
        let required = inner.settings().totp.required;
        let known = inner.signed_in.get(&claims.sid).filter(|known| known.required == required);
        let known = match known {
            Some(known) => known,
            None => {
                let work = |records: &dyn Records| {
                    let (session, user) = live_session(records, &claims.sid, now_ms)?;
                    let mut actor = actor_of(&user, &session, grants::granted(records, &user.id)?);
                    actor.must_enrol = totp::is_owed(records, &user, required)?;
                    Ok(Arc::new(SignedIn { actor, required }))
                };
                let (known, basis) = inner.read_noted(work).await?;
                if let Some(basis) = basis {
                    inner.signed_in.keep(claims.sid.clone(), Arc::clone(&known), basis);
                }
                known
            }
        };
        // The session's end comes without a change of the records.
        if known.actor.id != claims.sub || known.actor.session_expires_at_ms.is_none_or(|end_ms| now_ms >= end_ms) {
            return Err(RegistryError::Unauthenticated);
        }
        Ok(Actor { token_expires_at_ms: Some(claims.exp.saturating_mul(SECOND_MS)), ..known.actor.clone() })
    }

    /// A fresh token for the caller's session. The session's end stays where it is.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub async fn refresh(&self, caller: &Caller) -> Outcome<Token> {
        let inner = &self.inner;
        let note = Note::event(Action::AuthRefresh, Target::new("user", &caller.actor.id));
        let sid = match caller.require_session() {
            Ok(sid) => sid.to_owned(),
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        let done = inner
            .commit(caller, note, move |records, moment, _note| {
                live_session(records, &sid, moment.at_ms).map(|found| (found, Vec::new()))
            })
            .await?;
        inner.token(done).await
    }

    /// Ends the caller's session.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub async fn logout(&self, caller: &Caller) -> Outcome<()> {
        let inner = &self.inner;
        let note = Note::event(Action::AuthLogout, Target::new("user", &caller.actor.id));
        match caller.require_session() {
            Ok(sid) => {
                let sid = sid.to_owned();
                inner
                    .commit(caller, note.urgent(), move |_records, _moment, _note| {
                        Ok(((), vec![Write::DeleteSession { sid }]))
                    })
                    .await
            }
            Err(error) => Err(inner.refuse(caller, note, error).await),
        }
    }

    /// Who the caller is. Allowed while the password must be changed.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub async fn me(&self, caller: &Caller) -> Outcome<Me> {
        let actor = &caller.actor;
        let signed_in = caller.require_token().ok().and(actor.role).zip(actor.name.parse::<UserName>().ok());
        let (role, username) = match signed_in {
            Some(signed_in) => signed_in,
            None => {
                let note = Note::event(Action::UserRead, Target::new("user", &actor.id));
                return Err(self.inner.refuse(caller, note, RegistryError::Unauthenticated).await);
            }
        };
        let api_token = match &actor.api_token {
            Some(shown) => Some(self.inner.read(|view| tokens::mine(view, shown)).await?),
            None => None,
        };
        let factor = self.inner.read(|view| Ok(view.second_factor(&actor.id)?)).await?;
        let in_scope = |permission: &Permission| actor.scope.as_ref().is_none_or(|scope| scope.allows(*permission));
        Ok(Done::unlogged(Me {
            id: actor.id.clone(),
            username,
            kind: if actor.kind == ActorKind::Service { UserKind::Service } else { UserKind::Person }.into(),
            role: role.into(),
            permissions: role.permissions().iter().copied().filter(in_scope).map(Known::from).collect(),
            grants: actor.grants.as_deref().unwrap_or_default().iter().cloned().map(GrantTold::from).collect(),
            must_change_password: actor.must_change_password,
            totp: totp::is_on(factor.as_ref()),
            must_enrol_totp: actor.must_enrol,
            token_expires_at: actor.token_expires_at_ms.map(clock::rfc3339),
            session_expires_at: actor.session_expires_at_ms.map(clock::rfc3339),
            api_token,
            protected_aliases: self.inner.settings().protected_aliases.iter().cloned().collect(),
        }))
    }

    /// Changes the caller's password. Ends all their other sessions, and not this one: its token stays good.
    ///
    /// # Errors
    /// `Unauthenticated`, `BadCredentials` for the old password, `WeakPassword`, `TooManyRequests`.
    pub async fn change_own_password(&self, caller: &Caller, old: Secret, new: Secret) -> Outcome<()> {
        let inner = &self.inner;
        let note = Note::change(Action::UserPassword, Target::new("user", &caller.actor.id))
            .with("name", caller.actor.name.as_str());
        let sid = match caller.require_session() {
            Ok(sid) => sid.to_owned(),
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        let found = inner.read(|view| Ok(live_session(view, &sid, clock::now_ms())?.1)).await;
        let user = match found {
            Ok(user) => user,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        let attempt = Attempt::new(user.name.as_str(), caller.ip());
        match inner.check_password(&attempt, Some(user.password_hash.clone()), old.clone()).await {
            Checked::Right => {}
            Checked::Wrong { locked } => return Err(inner.wrong_password(caller, note, locked).await),
            Checked::Limited(error) => return Err(error.into()),
            Checked::Failed(error) => return Err(inner.refuse(caller, note, error).await),
        }
        let checked = if old == new {
            Err("the new password equals the old one".to_owned())
        } else {
            password::check_strength(user.name.as_str(), &new)
        };
        let hashed = match checked {
            Ok(()) => inner.hash(new).await,
            Err(why) => Err(RegistryError::WeakPassword(why)),
        };
        let hash = match hashed {
            Ok(hash) => hash,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        // On a full disk, too, a password that got out must be changed.
        let changed = inner
            .commit(caller, note.urgent(), move |records, moment, _note| {
                let (session, now) = live_session(records, &sid, moment.at_ms)?;
                if now.password_hash != user.password_hash {
                    // Somebody changed it between the check and now; the old one that was shown is not the old one.
                    return Err(RegistryError::BadCredentials);
                }
                let epoch = now.epoch.saturating_add(1);
                let mut writes = end_sessions(records, &now.id, Some(&sid))?;
                writes.push(Write::PutSession(SessionRecord { epoch, ..session }));
                writes.push(Write::PutUser(UserRecord {
                    password_hash: hash,
                    must_change_password: false,
                    epoch,
                    updated_at_ms: moment.at_ms,
                    revision: moment.index,
                    ..now
                }));
                Ok((totp::is_on(records.second_factor(&user.id)?.as_ref()), writes))
            })
            .await?;
        // Who has a second factor has not shown it here: what was guessed of it stays counted.
        if !changed.value {
            inner.throttle.succeeded(&attempt);
        }
        Ok(changed.map(|_has_factor| ()))
    }
}

/// What the check of a password comes to.
pub(super) enum Checked {
    /// It is the user's. Failures that were counted stay counted: whether there is more to show is the caller's to know.
    Right,
    /// It was counted.
    Wrong {
        /// Whether this one locked the user or the network.
        locked: bool,
    },
    /// Not checked at all.
    Limited(RegistryError),
    /// It could not be checked.
    Failed(RegistryError),
}

impl Inner {
    /// The user behind a token as they are now.
    ///
    /// # Errors
    /// `Unauthenticated`: session or API token are over.
    pub(crate) async fn actor_now(&self, actor: &Actor) -> Result<Actor, RegistryError> {
        self.read(|view| {
            let mut now = actor_now(view, actor, clock::now_ms())?;
            if now.sid.is_some() {
                let user = view.user_by_id(&now.id)?.ok_or(RegistryError::Unauthenticated)?;
                now.must_enrol = totp::is_owed(view, &user, self.settings().totp.required)?;
            }
            Ok(now)
        })
        .await
    }

    /// A caller as they are now, with the same request: session or token, role and grants may have changed since it came.
    ///
    /// # Errors
    /// `Unauthenticated`: session or API token are over; what the store says.
    pub(crate) async fn caller_now(&self, caller: &Caller) -> Result<Caller, RegistryError> {
        // The operator of this machine has no token.
        if caller.require_token().is_err() {
            return Ok(caller.clone());
        }
        self.store.refresh().await?;
        let now = self.actor_now(&caller.actor).await?;
        let actor = Actor { token_expires_at_ms: caller.actor.token_expires_at_ms, ..now };
        Ok(Caller { actor, request: caller.request.clone() })
    }

    /// Checks a password against a hash, or against nobody's. The limiter is asked twice: at once, so that a flood costs
    /// nothing, and when it is this attempt's turn, so that those that waited together are counted one after another.
    pub(super) async fn check_password(
        self: &Arc<Self>,
        attempt: &Attempt,
        hash: Option<String>,
        password: Secret,
    ) -> Checked {
        if let Err(limited) = self.throttle.check(attempt, clock::now_ms()) {
            return Checked::Limited(limited);
        }
        let place = match self.hashing_place().await {
            Ok(place) => place,
            Err(limited) => return Checked::Limited(limited),
        };
        if let Err(limited) = self.throttle.check(attempt, clock::now_ms()) {
            return Checked::Limited(limited);
        }
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.hash_of_nobody.clone());
        match place.run(move || password::verify(&password, &hash)).await {
            Ok(Ok(true)) if known => Checked::Right,
            Ok(Ok(_wrong)) => Checked::Wrong { locked: self.throttle.failed(attempt, clock::now_ms()) },
            Ok(Err(error)) => Checked::Failed(RegistryError::Internal(error.to_string().into())),
            Err(error) => Checked::Failed(error),
        }
    }

    /// The entry of a wrong password. It is not for the limiter of anonymous refusals: these attempts have their own.
    pub(super) async fn wrong_password(self: &Arc<Self>, caller: &Caller, mut note: Note, locked: bool) -> Failure {
        if locked {
            note.say("locked", true);
        }
        self.record_error(caller, note, RegistryError::BadCredentials).await
    }

    /// Begins a session for a user whose password was right, and whose second factor was, if there is one.
    async fn sign_in(
        self: &Arc<Self>,
        caller: &Caller,
        note: Note,
        attempt: &Attempt,
        user: UserRecord,
        shown: Option<Shown>,
    ) -> Outcome<Token> {
        let mut random = [0; SID_OCTETS];
        if let Err(error) = getrandom::fill(&mut random) {
            return Err(self.refuse(caller, note, RegistryError::Internal(error.into())).await);
        }
        let sid = hex::encode(random);
        let ttl_ms = i64::try_from(self.settings().session_ttl.as_millis()).unwrap_or(i64::MAX);
        let done = self
            .commit(caller, note.urgent(), move |records, moment, note| {
                // What was true when the password was looked up must be true still.
                let now = records.user_by_id(&user.id)?.ok_or(RegistryError::BadCredentials)?;
                if now.disabled || now.password_hash != user.password_hash {
                    return Err(RegistryError::BadCredentials);
                }
                let session = SessionRecord {
                    sid,
                    user_id: now.id.clone(),
                    epoch: now.epoch,
                    created_at_ms: moment.at_ms,
                    expires_at_ms: moment.at_ms.saturating_add(ttl_ms),
                };
                note.actor = Some(log_actor(&actor_of(&now, &session, None)));
                let mut writes = drop_sessions(records, &now, moment)?;
                // Two that show the same code at once come here one after the other: the second is refused.
                writes.extend(totp::spend(records, &now.id, shown, moment, note)?);
                writes.push(Write::PutSession(session.clone()));
                let user = UserRecord { last_login_at_ms: Some(moment.at_ms), ..now };
                writes.push(Write::PutUser(user.clone()));
                Ok(((session, user), writes))
            })
            .await
            .map_err(|failure| self.counted(attempt, failure))?;
        self.throttle.succeeded(attempt);
        self.token(done).await
    }

    /// A token for a session. It ends with the session, if that is sooner.
    async fn token(&self, done: Done<(SessionRecord, UserRecord)>) -> Outcome<Token> {
        let (session, user) = &done.value;
        let required = self.settings().totp.required;
        let owed = self.read(|view| totp::is_owed(view, user, required)).await;
        let must_enrol_totp = owed.map_err(|error| Failure { error, logged: done.logged })?;
        let now_ms = clock::now_ms();
        let ttl_ms = i64::try_from(self.settings().token_ttl.as_millis()).unwrap_or(i64::MAX);
        let expires_at_ms = now_ms.saturating_add(ttl_ms).min(session.expires_at_ms);
        let jti = uuid::Uuid::new_v4().to_string();
        let signed = self.tokens.sign(&user.id, &session.sid, &jti, now_ms, expires_at_ms);
        let access_token =
            signed.map_err(|error| Failure { error: RegistryError::Internal(error.into()), logged: done.logged })?;
        let token = Token {
            access_token,
            token_type: "bearer".to_owned(),
            expires_in: u64::try_from((expires_at_ms - now_ms) / SECOND_MS).unwrap_or(0),
            role: user.role.into(),
            username: user.name.clone(),
            must_change_password: user.must_change_password,
            must_enrol_totp,
        };
        Ok(done.map(|_session_and_user| token))
    }
}

/// The user behind a token as they are at a moment, but for the second factor they owe: that is as `actor` says.
///
/// # Errors
/// `Unauthenticated`: session or API token are over.
pub(super) fn actor_now(records: &dyn Records, actor: &Actor, now_ms: i64) -> Result<Actor, RegistryError> {
    if let Some(shown) = &actor.api_token {
        return tokens::actor_of(records, shown, now_ms);
    }
    let sid = actor.sid.as_deref().ok_or(RegistryError::Unauthenticated)?;
    let (session, user) = live_session(records, sid, now_ms)?;
    let must_enrol = actor.must_enrol;
    Ok(Actor { must_enrol, ..actor_of(&user, &session, grants::granted(records, &user.id)?) })
}

/// A session that is good at a moment, and its user.
pub(super) fn live_session(
    records: &dyn Records,
    sid: &str,
    now_ms: i64,
) -> Result<(SessionRecord, UserRecord), RegistryError> {
    let session = records.session(sid)?.ok_or(RegistryError::Unauthenticated)?;
    let user = records.user_by_id(&session.user_id)?.ok_or(RegistryError::Unauthenticated)?;
    if now_ms < session.expires_at_ms && session.epoch == user.epoch && !user.disabled {
        Ok((session, user))
    } else {
        Err(RegistryError::Unauthenticated)
    }
}

/// Whose a session is.
pub(super) struct SignedIn {
    actor: Actor,
    /// Who must have a second factor, when it was made.
    required: TotpRequired,
}

/// What they owe of a second factor is for who knows what is required to say.
fn actor_of(user: &UserRecord, session: &SessionRecord, grants: Granted) -> Actor {
    Actor {
        id: user.id.clone(),
        name: user.name.to_string(),
        kind: kind_of(user),
        role: Some(user.role),
        sid: Some(session.sid.clone()),
        must_change_password: user.must_change_password,
        must_enrol: false,
        token_expires_at_ms: None,
        session_expires_at_ms: Some(session.expires_at_ms),
        person: None,
        grants,
        scope: None,
        api_token: None,
    }
}

/// Ends a user's sessions that are over, and the oldest ones above the limit, to make room for one more.
fn drop_sessions(records: &dyn Records, user: &UserRecord, moment: Moment) -> Result<Vec<Write>, RegistryError> {
    let (mut live, over): (Vec<SessionRecord>, Vec<SessionRecord>) = records
        .sessions_of(&user.id)?
        .into_iter()
        .partition(|session| session.epoch == user.epoch && session.expires_at_ms > moment.at_ms);
    live.sort_by_key(|session| session.created_at_ms);
    let too_many = (live.len() + 1).saturating_sub(SESSIONS_MAX);
    let ended = over.into_iter().chain(live.into_iter().take(too_many));
    Ok(ended.map(|session| Write::DeleteSession { sid: session.sid }).collect())
}
