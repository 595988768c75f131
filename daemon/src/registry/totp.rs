//! Second factors: setting one up, confirming it, giving it up, taking it away, and asking for it at a sign-in. Knows that a
//! code works once and that each wrong one is counted; refuses to know how codes are made (`auth/totp.rs`).
//!
//! A secret is shown to its user and kept nowhere: it follows from the daemon's key, the user and the index of the entry that
//! made it. Until a code was shown it is not asked for, so that nobody is locked out by a picture that was never read.

use std::sync::Arc;

use common::api::User;
use common::audit::{Action, Target};
use common::name::UserName;
use common::role::Permission;
use serde_json::json;

use crate::auth::totp::{self, Typed};
use crate::clock::{self, SECOND_MS};
use crate::config::secret::Secret;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Failure, Outcome, RegistryError};
use crate::registry::fetch::Tagged;
use crate::registry::login::{Checked, live_session};
use crate::registry::settings::TotpRequired;
use crate::registry::throttle::Attempt;
use crate::registry::users::{Changed, Ends, end_sessions, user_target};
use crate::registry::{Inner, Registry};
use crate::store::records::{SecondFactorRecord, SessionRecord, UserRecord, Write};
use crate::store::{Moment, Records};

/// What was shown of a second factor, and was right when it was looked at. It is spent with the commit that it is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The code of a time step.
    Step {
        /// Of which of the user's secrets.
        generation: u64,
        /// Which.
        step: u64,
    },
    /// The recovery code with this hash.
    Recovery([u8; 32]),
}

/// Why a second factor was not accepted.
pub(super) enum Unfit {
    /// Nothing was shown. It was counted; `locked` says whether this one locked the user or the network.
    Missing {
        /// Whether it did.
        locked: bool,
    },
    /// What was shown is no code of now, or was used. Counted as well.
    Wrong {
        /// Whether it did.
        locked: bool,
    },
    /// It was not looked at.
    Limited(RegistryError),
    /// It could not be checked.
    Failed(RegistryError),
}

/// A secret that was made, for the user whose it is. There is no other occasion to see it.
pub struct Enrolment {
    /// In base32.
    pub secret: Secret,
    /// As `otpauth://`, the secret in it.
    pub uri: Secret,
}

/// Whether a second factor is asked for.
pub(crate) fn is_on(factor: Option<&SecondFactorRecord>) -> bool {
    factor.is_some_and(|factor| factor.confirmed)
}

/// Whether a user must have a second factor and has none.
pub(super) fn is_owed(records: &dyn Records, user: &UserRecord, required: TotpRequired) -> Result<bool, RegistryError> {
    Ok(required.of(user.role) && !user.is_service() && !is_on(records.second_factor(&user.id)?.as_ref()))
}

/// What a sign-in writes of the user's second factor, if there is one: what was shown is not accepted again.
///
/// # Errors
/// `SecondFactorRequired`: it was not shown, or was used in the meantime.
pub(super) fn spend(
    records: &dyn Records,
    user_id: &str,
    shown: Option<Shown>,
    moment: Moment,
    note: &mut Note,
) -> Result<Option<Write>, RegistryError> {
    let Some(mut factor) = records.second_factor(user_id)?.filter(|factor| factor.confirmed) else {
        return Ok(None);
    };
    match shown {
        Some(Shown::Step { generation, step }) if generation == factor.generation && step > factor.last_step => {
            note.say("second_factor", "code");
            factor.last_step = step;
        }
        Some(Shown::Recovery(hash)) if factor.recovery.contains(&hash) => {
            factor.recovery.retain(|kept| *kept != hash);
            note.say("second_factor", "recovery code");
            note.say("recovery_codes_left", factor.recovery.len());
        }
        Some(_used) => {
            note.say("second_factor", "used");
            return Err(RegistryError::SecondFactorRequired);
        }
        None => {
            note.say("second_factor", "missing");
            return Err(RegistryError::SecondFactorRequired);
        }
    }
    factor.revision = moment.index;
    Ok(Some(Write::PutSecondFactor(factor)))
}

impl Registry {
    /// Makes a secret for the caller's second factor, in place of one that was not confirmed.
    ///
    /// # Errors
    /// `Unauthenticated`, `SessionOnly`; `BadCredentials`, `TooManyRequests`; `Conflict` where there is a second factor, or
    /// the daemons have no key in common.
    pub async fn enrol_totp(&self, caller: &Caller, password: Secret) -> Outcome<Enrolment> {
        let inner = &self.inner;
        let note = own_note(caller, Action::UserTotpEnrol);
        let (sid, user, factor) = inner.own_factor(caller, &note).await?;
        let allowed = if is_on(factor.as_ref()) { Err(is_there()) } else { inner.check_factor_key() };
        if let Err(error) = allowed {
            return Err(inner.refuse(caller, note, error).await);
        }
        let attempt = Attempt::new(user.name.as_str(), caller.ip());
        inner.check_own_password(caller, &note, &attempt, &user, password).await?;
        let key = inner.factor_key.id();
        let done = inner
            .commit(caller, note, move |records, moment, _note| {
                let (_session, now) = still(records, &sid, &user, moment)?;
                if is_on(records.second_factor(&now.id)?.as_ref()) {
                    return Err(is_there());
                }
                let factor = SecondFactorRecord {
                    user: now.id.clone(),
                    generation: moment.index,
                    key,
                    confirmed: false,
                    last_step: 0,
                    recovery: Vec::new(),
                    made_at_ms: moment.at_ms,
                    revision: moment.index,
                };
                Ok(((now, moment.index), vec![Write::PutSecondFactor(factor)]))
            })
            .await?;
        Ok(done.map(|(user, generation)| {
            let secret = inner.factor_key.secret(&user.id, generation);
            Enrolment { secret: Secret::new(secret.shown()), uri: Secret::new(secret.uri(user.name.as_str())) }
        }))
    }

    /// Turns the caller's second factor on, by a code of the secret that was made for it, and ends all their other sessions.
    /// Returns the recovery codes, which are shown this once.
    ///
    /// # Errors
    /// `Unauthenticated`, `SessionOnly`; `Invalid` for the code, `TooManyRequests`; `Conflict` where nothing is to be confirmed.
    pub async fn confirm_totp(&self, caller: &Caller, code: Secret) -> Outcome<Vec<String>> {
        let inner = &self.inner;
        let mut note = own_note(caller, Action::UserTotpEnable);
        let (sid, user, factor) = inner.own_factor(caller, &note).await?;
        let factor = match factor {
            Some(factor) if !factor.confirmed => factor,
            Some(_confirmed) => return Err(inner.refuse(caller, note, is_there()).await),
            None => return Err(inner.refuse(caller, note, nothing_made()).await),
        };
        // Who guessed it would get the recovery codes: counted like every guess.
        let attempt = Attempt::new(user.name.as_str(), caller.ip());
        if let Err(limited) = inner.throttle.check(&attempt, clock::now_ms()) {
            return Err(limited.into());
        }
        let shown = Typed::read(code.expose()).and_then(|typed| inner.good(&factor, typed));
        let Some(Shown::Step { generation, step }) = shown else {
            if inner.throttle.failed(&attempt, clock::now_ms()) {
                note.say("locked", true);
            }
            let why =
                "is not the present code of the secret that was made last; is the clock of the authenticator right?";
            return Err(inner.refuse(caller, note, RegistryError::invalid("body.code", why)).await);
        };
        let (codes, recovery) = match totp::recovery_codes() {
            Ok(made) => made,
            Err(error) => return Err(inner.refuse(caller, note, RegistryError::Internal(error.into())).await),
        };
        let done = inner
            .commit(caller, note, move |records, moment, _note| {
                let (session, now) = still(records, &sid, &user, moment)?;
                let factor = records.second_factor(&now.id)?.filter(|factor| factor.generation == generation);
                let factor = factor.filter(|factor| !factor.confirmed).ok_or_else(nothing_made)?;
                let mut writes = leave_only(records, session, now, moment)?;
                writes.push(Write::PutSecondFactor(SecondFactorRecord {
                    confirmed: true,
                    last_step: step,
                    recovery,
                    revision: moment.index,
                    ..factor
                }));
                Ok(((), writes))
            })
            .await?;
        inner.throttle.succeeded(&attempt);
        Ok(done.map(|()| codes))
    }

    /// Gives the caller's second factor up, and ends all their other sessions.
    ///
    /// # Errors
    /// `Unauthenticated`, `SessionOnly`; `BadCredentials`, `SecondFactorRequired`, `TooManyRequests`; `Conflict` where there is
    /// none.
    pub async fn disable_totp(&self, caller: &Caller, password: Secret, code: Secret) -> Outcome<()> {
        let inner = &self.inner;
        let note = own_note(caller, Action::UserTotpDisable);
        let (sid, user, factor) = inner.own_factor(caller, &note).await?;
        if !is_on(factor.as_ref()) {
            return Err(inner.refuse(caller, note, none_there(&user.name)).await);
        }
        let attempt = Attempt::new(user.name.as_str(), caller.ip());
        inner.check_own_password(caller, &note, &attempt, &user, password).await?;
        let shown = match inner.check_factor(&attempt, &user.id, Some(&code)).await {
            Ok(shown) => shown,
            Err(unfit) => return Err(inner.wrong_factor(caller, note, unfit).await),
        };
        let done = inner
            .commit(caller, note, move |records, moment, note| {
                let (session, now) = still(records, &sid, &user, moment)?;
                let spent = spend(records, &now.id, shown, moment, note)?;
                if spent.is_none() {
                    return Err(none_there(&now.name));
                }
                let id = now.id.clone();
                let mut writes = leave_only(records, session, now, moment)?;
                writes.push(Write::DeleteSecondFactor { user: id });
                Ok(((), writes))
            })
            .await;
        match done {
            Ok(done) => {
                inner.throttle.succeeded(&attempt);
                Ok(done)
            }
            Err(failure) => Err(inner.counted(&attempt, failure)),
        }
    }

    /// Takes a user's second factor away, confirmed or not, and ends the user's sessions.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict` where there is none, `IdempotencyKeyReused`.
    pub async fn reset_totp(&self, caller: &Caller, name: &UserName) -> Outcome<Tagged<User>> {
        let inner = &self.inner;
        let note = Note::change(Action::UserTotpReset, user_target(name));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let body = json!({"username": name});
        self.change_user(caller, note, name, Some(body), |records, user, _note| {
            match records.second_factor(&user.id)? {
                Some(_factor) => Ok(Changed { ends: Ends::Sessions, grants: None, resets_factor: true }),
                None => Err(none_there(&user.name)),
            }
        })
        .await
    }
}

impl Inner {
    /// Checks what was shown of a user's second factor; none where the user has none. What is wrong has been counted.
    pub(super) async fn check_factor(
        &self,
        attempt: &Attempt,
        user_id: &str,
        otp: Option<&Secret>,
    ) -> Result<Option<Shown>, Unfit> {
        let factor = match self.read(|view| Ok(view.second_factor(user_id)?)).await {
            Ok(factor) => factor,
            Err(error) => return Err(Unfit::Failed(error)),
        };
        let Some(factor) = factor.filter(|factor| factor.confirmed) else { return Ok(None) };
        // Those whose passwords were checked at the same time come here one by one.
        self.throttle.check(attempt, clock::now_ms()).map_err(Unfit::Limited)?;
        let Some(otp) = otp.filter(|otp| !otp.expose().is_empty()) else {
            return Err(Unfit::Missing { locked: self.throttle.failed(attempt, clock::now_ms()) });
        };
        match Typed::read(otp.expose()).and_then(|typed| self.good(&factor, typed)) {
            Some(shown) => Ok(Some(shown)),
            None => Err(Unfit::Wrong { locked: self.throttle.failed(attempt, clock::now_ms()) }),
        }
    }

    /// The entry of a second factor that was not accepted.
    pub(super) async fn wrong_factor(self: &Arc<Self>, caller: &Caller, mut note: Note, unfit: Unfit) -> Failure {
        let (what, locked) = match unfit {
            Unfit::Missing { locked } => ("missing", locked),
            Unfit::Wrong { locked } => ("wrong", locked),
            // Counted by the limiter, and summed up in one entry a minute.
            Unfit::Limited(error) => return error.into(),
            Unfit::Failed(error) => return self.refuse(caller, note, error).await,
        };
        note.say("second_factor", what);
        if locked {
            note.say("locked", true);
        }
        self.record_error(caller, note, RegistryError::SecondFactorRequired).await
    }

    /// Counts a code that was used by somebody else between the check and the commit, like any wrong one.
    pub(super) fn counted(&self, attempt: &Attempt, failure: Failure) -> Failure {
        if matches!(failure.error, RegistryError::SecondFactorRequired) {
            self.throttle.failed(attempt, clock::now_ms());
        }
        failure
    }

    /// What was typed, where it is good for this factor now.
    fn good(&self, factor: &SecondFactorRecord, typed: Typed) -> Option<Shown> {
        match typed {
            Typed::Recovery(hash) => factor.recovery.contains(&hash).then_some(Shown::Recovery(hash)),
            Typed::Code(_) if factor.key != self.factor_key.id() => {
                tracing::warn!(
                    user = factor.user,
                    "the secret of a second factor was made with another key than this daemon has, so no code is right: give \
                     the daemon that MREG_TOTP_KEY (or totp.key), or take the factor away with mregd user reset-totp"
                );
                None
            }
            Typed::Code(code) => {
                let now_s = u64::try_from(clock::now_ms() / SECOND_MS).unwrap_or(0);
                let step = self.factor_key.secret(&factor.user, factor.generation).step_of(code, now_s)?;
                (step > factor.last_step).then_some(Shown::Step { generation: factor.generation, step })
            }
        }
    }

    /// Several daemons ask for codes, and a key of this one's own would leave the others without the secret.
    fn check_factor_key(&self) -> Result<(), RegistryError> {
        if self.store.is_shared() && self.settings().totp.is_own_key {
            let why = "several daemons ask for codes, and need one key for that: the operator sets MREG_TOTP_KEY, the same on \
                       all of them, and then this works";
            return Err(RegistryError::Conflict(why.to_owned()));
        }
        Ok(())
    }

    /// The caller's session, user and second factor.
    async fn own_factor(
        self: &Arc<Self>,
        caller: &Caller,
        note: &Note,
    ) -> Result<(String, UserRecord, Option<SecondFactorRecord>), Failure> {
        let sid = match caller.require_session() {
            Ok(sid) => sid.to_owned(),
            Err(error) => return Err(self.refuse(caller, note.clone(), error).await),
        };
        let found = self
            .read(|view| {
                let (_session, user) = live_session(view, &sid, clock::now_ms())?;
                let factor = view.second_factor(&user.id)?;
                Ok((user, factor))
            })
            .await;
        match found {
            Ok((user, factor)) => Ok((sid, user, factor)),
            Err(error) => Err(self.refuse(caller, note.clone(), error).await),
        }
    }

    /// Asks for the caller's password again.
    async fn check_own_password(
        self: &Arc<Self>,
        caller: &Caller,
        note: &Note,
        attempt: &Attempt,
        user: &UserRecord,
        password: Secret,
    ) -> Result<(), Failure> {
        match self.check_password(attempt, Some(user.password_hash.clone()), password).await {
            Checked::Right => Ok(()),
            Checked::Wrong { locked } => Err(self.wrong_password(caller, note.clone(), locked).await),
            Checked::Limited(error) => Err(error.into()),
            Checked::Failed(error) => Err(self.refuse(caller, note.clone(), error).await),
        }
    }
}

fn own_note(caller: &Caller, action: Action) -> Note {
    Note::change(action, Target::new("user", &caller.actor.id)).with("name", caller.actor.name.as_str())
}

/// The caller's session and user, as they were when the password was looked at.
fn still(
    records: &dyn Records,
    sid: &str,
    user: &UserRecord,
    moment: Moment,
) -> Result<(SessionRecord, UserRecord), RegistryError> {
    let (session, now) = live_session(records, sid, moment.at_ms)?;
    if now.password_hash == user.password_hash { Ok((session, now)) } else { Err(RegistryError::BadCredentials) }
}

/// The writes that end all sessions of a user but this one.
fn leave_only(
    records: &dyn Records,
    session: SessionRecord,
    user: UserRecord,
    moment: Moment,
) -> Result<Vec<Write>, RegistryError> {
    let epoch = user.epoch.saturating_add(1);
    let mut writes = end_sessions(records, &user.id, Some(&session.sid))?;
    writes.push(Write::PutSession(SessionRecord { epoch, ..session }));
    let user = UserRecord { epoch, updated_at_ms: moment.at_ms, revision: moment.index, ..user };
    writes.push(Write::PutUser(user));
    Ok(writes)
}

fn is_there() -> RegistryError {
    RegistryError::Conflict("you have a second factor already; give it up first: POST /me/totp/disable".to_owned())
}

fn nothing_made() -> RegistryError {
    RegistryError::Conflict("there is no secret to confirm; ask for one first: POST /me/totp".to_owned())
}

fn none_there(name: &UserName) -> RegistryError {
    RegistryError::Conflict(format!("`{name}` has no second factor"))
}
