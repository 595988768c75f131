//! Quotas: how much a user and a namespace may keep, and what uploads under way have reserved of that. Knows limits, what the
//! view counts, and reservations; refuses to know how octets come in.
//!
//! What counts are the octets of all versions that are not purged, as people add them up: each version in full, also where
//! its files are shared, and also while it is deleted and can be restored. A version counts for the user who published it and
//! for the namespace of its model. What the daemon itself or its operator publishes counts for no user.
//!
//! An upload reserves what it announces, or what has come of it, so that many at once can't each be let in by what is left
//! for one. Reservations are this daemon's and in memory; those of resumable uploads follow from their records, also after a
//! start. Several daemons don't know each other's: what they let in together may be as often too much as there are daemons, all
//! of it staged and refused in the end. The last word is the decision on the writing thread, which asks what is committed and nothing else: so whatever
//! becomes of reservations, a quota is never exceeded.
//!
//! A reservation is let go of on the writing thread, when the version is decided and not yet seen in the view. For that moment
//! too little is counted, which lets somebody in who is refused at the end; the other order would refuse somebody for whom
//! there is room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::api::Page;
use common::api::quota::{NO_NAMESPACE, QuotaExcess, QuotaInfo, QuotaKind, QuotaLimits};
use common::audit::{Action, INTEGER_MAX, Target};
use common::name::{ModelName, UserName};
use common::role::Permission;
use serde_json::Value;

use crate::clock;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::cursor;
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::settings::QuotaSettings;
use crate::registry::{Inner, Registry};
use crate::store::Records;
use crate::store::records::{Account, QuotaRecord, UsageRecord, Write};

/// An upload of no known length reserves so many octets more than have come, where there is room.
const STEP_OCTETS: u64 = 1 << 20;
/// How much of a form may be texts, more or less: a form that is larger than what is left by more is refused at once.
const FORM_TEXT_OCTETS: u64 = 1 << 20;
/// What ids of users begin with; other actors have no quota of their own.
const USER_ID: &str = "usr_";
/// The name of the list in cursors.
const LIST: &str = "quotas";

/// What uploads under way have reserved.
pub(crate) struct Quotas {
    defaults: QuotaSettings,
    /// Held for a look or a change, never over I/O.
    reserved: Mutex<HashMap<Account, u64>>,
}

impl Quotas {
    pub(crate) fn new(defaults: QuotaSettings) -> Self {
        Self { defaults, reserved: Mutex::default() }
    }

    fn reserved(&self) -> MutexGuard<'_, HashMap<Account, u64>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is reserved of an account's.
    fn reserved_of(&self, account: &Account) -> u64 {
        self.reserved().get(account).copied().unwrap_or(0)
    }

    fn give_back(&self, account: &Account, octets: u64) {
        let mut reserved = self.reserved();
        if let Some(sum) = reserved.get_mut(account) {
            *sum = sum.saturating_sub(octets);
            if *sum == 0 {
                reserved.remove(account);
            }
        }
    }

    /// The limits that hold, and the record where they were set.
    fn limits(
        &self,
        records: &dyn Records,
        account: &Account,
    ) -> Result<(QuotaLimits, Option<QuotaRecord>), RegistryError> {
        let own = records.quota(account)?;
        let limits = match (&own, account) {
            (Some(own), _) => own.limits(),
            (None, Account::User(_)) => QuotaLimits { bytes: self.defaults.user_bytes, ..QuotaLimits::default() },
            (None, Account::Namespace(_)) => {
                QuotaLimits { bytes: self.defaults.namespace_bytes, ..QuotaLimits::default() }
            }
        };
        Ok((limits, own))
    }
}

/// The account of whoever publishes; none where no quota is asked for.
fn account_of(actor_id: &str) -> Option<Account> {
    actor_id.starts_with(USER_ID).then(|| Account::User(actor_id.to_owned()))
}

/// What one upload has reserved; given back when this is dropped, however the upload ends.
pub(crate) struct Claim {
    quotas: Arc<Quotas>,
    /// The user's name, for the words of a refusal.
    user: String,
    /// Whether a refusal tells what is kept in a namespace.
    tells: AtomicBool,
    state: Mutex<ClaimState>,
}

#[derive(Default)]
struct ClaimState {
    /// Each account with what is reserved of it for this upload.
    accounts: Vec<(Account, u64)>,
    /// The version is decided: nothing is to be reserved any more.
    settled: bool,
}

impl Claim {
    /// Of an upload of this actor's, for a model of this name where that is known; nothing is reserved yet.
    pub(crate) fn new(quotas: &Arc<Quotas>, actor_id: &str, actor: &str, name: Option<&ModelName>) -> Arc<Self> {
        let accounts = account_of(actor_id).into_iter().chain(name.map(Account::of_model));
        let accounts = accounts.map(|account| (account, 0)).collect();
        let state = Mutex::new(ClaimState { accounts, settled: false });
        Arc::new(Self { quotas: Arc::clone(quotas), user: actor.to_owned(), tells: AtomicBool::new(false), state })
    }

    /// Says who asks from now on: what is kept in a namespace is told to who sees all models, for it tells of all there are.
    pub(crate) fn asked_by(&self, caller: &Caller) {
        self.tells.store(caller.sees(None), Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, ClaimState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which model it is for. What is reserved of another namespace is given back.
    pub(crate) fn about(&self, name: &ModelName) {
        let namespace = Account::of_model(name);
        let mut state = self.state();
        let is_other = |account: &Account| account.kind() == QuotaKind::Namespace && *account != namespace;
        for (account, octets) in state.accounts.extract_if(.., |(account, _octets)| is_other(account)) {
            self.quotas.give_back(&account, octets);
        }
        if !state.accounts.iter().any(|(account, _octets)| *account == namespace) {
            state.accounts.push((namespace, 0));
        }
    }

    /// Whether so many octets are not reserved yet of all accounts.
    pub(crate) fn lacks(&self, octets: u64) -> bool {
        let state = self.state();
        !state.settled && state.accounts.iter().any(|(_account, held)| *held < octets)
    }

    /// Reserves without asking: for what was promised before a start, or is taken up again.
    pub(crate) fn force(&self, octets: u64) {
        let mut state = self.state();
        state.settled = false;
        let mut reserved = self.quotas.reserved();
        for (account, held) in &mut state.accounts {
            let sum = reserved.entry(account.clone()).or_default();
            *sum = sum.saturating_sub(*held).saturating_add(octets);
            *held = octets;
        }
        reserved.retain(|_account, octets| *octets > 0);
    }

    /// Gives all back, for what was reserved is now kept.
    pub(crate) fn settle(&self) {
        let mut state = self.state();
        state.settled = true;
        for (account, held) in &mut state.accounts {
            self.quotas.give_back(account, std::mem::take(held));
        }
    }

    /// What is reserved of an account.
    fn held(&self, account: &Account) -> u64 {
        let state = self.state();
        state.accounts.iter().find(|(one, _octets)| one == account).map_or(0, |(_account, octets)| *octets)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.settle();
    }
}

/// How much more there is to be reserved.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// All of it, neither more nor less, or it is refused.
    Exactly(u64),
    /// All of it, and no less than there is already, or it is refused.
    AtLeast(u64),
    /// As much of it as there is room for; refused where it can't be enough.
    AtMost(u64),
}

impl Inner {
    /// Reserves room for so many octets of an upload; before the first one, `begins` asks for room for a version, too.
    ///
    /// # Errors
    /// `QuotaExceeded`; then nothing more is reserved than was.
    pub(crate) async fn cover(&self, claim: &Claim, octets: u64, begins: bool) -> Result<(), RegistryError> {
        self.reserve(claim, &|_account| Wanted::AtLeast(octets), begins).await
    }

    /// The same for a form, of whose length texts are a part that is not known.
    pub(crate) async fn cover_form(&self, claim: &Claim, octets: u64) -> Result<(), RegistryError> {
        self.reserve(claim, &|_account| Wanted::AtMost(octets), true).await
    }

    /// The same for what comes without a length: some more is reserved than has come, where there is room.
    pub(crate) async fn cover_growth(&self, claim: &Claim, octets: u64) -> Result<(), RegistryError> {
        if !claim.lacks(octets) {
            return Ok(());
        }
        let ahead = octets.saturating_add(STEP_OCTETS);
        match self.cover(claim, ahead, false).await {
            Err(RegistryError::QuotaExceeded(_)) => self.cover(claim, octets, false).await,
            covered => covered,
        }
    }

    /// Reserves exactly what a version will take, but for what `others` have reserved for it: resumable uploads that become
    /// files of it.
    pub(crate) async fn cover_whole(
        &self,
        claim: &Claim,
        octets: u64,
        others: &[Arc<Claim>],
    ) -> Result<(), RegistryError> {
        let rest = |account: &Account| {
            let reserved = others.iter().fold(0_u64, |sum, other| sum.saturating_add(other.held(account)));
            Wanted::Exactly(octets.saturating_sub(reserved))
        };
        self.reserve(claim, &rest, true).await
    }

    async fn reserve(
        &self,
        claim: &Claim,
        wanted: &(dyn Fn(&Account) -> Wanted + Sync),
        begins: bool,
    ) -> Result<(), RegistryError> {
        let quotas = &claim.quotas;
        let accounts: Vec<Account> = claim.state().accounts.iter().map(|(account, _held)| account.clone()).collect();
        let known = self.read(|view| {
            let mut known = Vec::new();
            for account in accounts {
                let (limits, _own) = quotas.limits(view, &account)?;
                let used = view.usage(&account)?;
                known.push((account, limits, used));
            }
            Ok(known)
        });
        let known = known.await?;
        let mut state = claim.state();
        if state.settled {
            return Ok(());
        }
        let mut reserved = quotas.reserved();
        // First all are asked, then all are changed.
        let mut changes = Vec::new();
        for (account, limits, used) in known {
            let Some(at) = state.accounts.iter().position(|(one, _held)| *one == account) else { continue };
            let held = state.accounts[at].1;
            let sum = reserved.get(&account).copied().unwrap_or(0);
            let excess = |of: &str, limit, used, reserved, needed| {
                let name = shown(&account, &claim.user);
                let (kind, of) = (account.kind(), of.to_owned());
                let tells = kind == QuotaKind::User || claim.tells.load(Ordering::Relaxed);
                let (used, reserved) = (tells.then_some(used), tells.then_some(reserved));
                RegistryError::QuotaExceeded(Box::new(QuotaExcess {
                    kind: kind.into(),
                    name,
                    of,
                    limit,
                    used,
                    reserved,
                    needed,
                }))
            };
            if begins && let Some(limit) = limits.versions.filter(|limit| used.versions >= *limit) {
                return Err(excess("versions", limit, used.versions, 0, 1));
            }
            let others = sum.saturating_sub(held);
            let room = limits.bytes.map_or(u64::MAX, |limit| limit.saturating_sub(used.bytes).saturating_sub(others));
            let (octets, least) = match wanted(&account) {
                Wanted::Exactly(octets) => (octets, octets),
                Wanted::AtLeast(octets) => (octets.max(held), octets),
                Wanted::AtMost(octets) => (octets.min(room), octets.saturating_sub(FORM_TEXT_OCTETS)),
            };
            if least > room {
                let limit = limits.bytes.unwrap_or(u64::MAX);
                return Err(excess("bytes", limit, used.bytes, others, least));
            }
            changes.push((at, account, octets, others));
        }
        for (at, account, octets, others) in changes {
            state.accounts[at].1 = octets;
            reserved.insert(account, others.saturating_add(octets));
        }
        reserved.retain(|_account, octets| *octets > 0);
        Ok(())
    }

    /// The last word, on the writing thread: whether a new version may be kept, by what is committed. `by` is who publishes, by
    /// id and name, and whether they see all models.
    pub(crate) fn check_quotas(
        &self,
        records: &dyn Records,
        by: (&str, &str, bool),
        name: &ModelName,
        octets: u64,
        is_new_model: bool,
    ) -> Result<(), RegistryError> {
        let (id, user, sees_all) = by;
        for account in account_of(id).into_iter().chain([Account::of_model(name)]) {
            let (limits, _own) = self.quotas.limits(records, &account)?;
            let used = records.usage(&account)?;
            let more = UsageRecord { bytes: octets, versions: 1, models: u64::from(is_new_model) };
            for (of, limit, used, needed) in [
                ("bytes", limits.bytes, used.bytes, more.bytes),
                ("versions", limits.versions, used.versions, more.versions),
                ("models", limits.models, used.models, more.models),
            ] {
                if let Some(limit) = limit.filter(|limit| needed > 0 && used.saturating_add(needed) > *limit) {
                    let (kind, name, of) = (account.kind(), shown(&account, user), of.to_owned());
                    let tells = kind == QuotaKind::User || sees_all;
                    let (used, reserved) = (tells.then_some(used), tells.then_some(0));
                    let excess = QuotaExcess { kind: kind.into(), name, of, limit, used, reserved, needed };
                    return Err(RegistryError::QuotaExceeded(Box::new(excess)));
                }
            }
        }
        Ok(())
    }

    fn quota_info(&self, records: &dyn Records, account: &Account) -> Result<QuotaInfo, RegistryError> {
        let (limits, own) = self.quotas.limits(records, account)?;
        let name = match account {
            Account::User(id) => records.user_by_id(id)?.map_or_else(|| id.clone(), |user| user.name.to_string()),
            Account::Namespace(namespace) => namespace.clone(),
        };
        Ok(QuotaInfo {
            kind: account.kind().into(),
            name,
            limits,
            is_own: own.is_some(),
            set_by: own.as_ref().map(|own| own.by.clone()),
            set_at: own.as_ref().map(|own| clock::rfc3339(own.at_ms)),
            used: records.usage(account)?.shown(),
            reserved_bytes: self.quotas.reserved_of(account),
        })
    }
}

/// An account as a refusal names it.
fn shown(account: &Account, user: &str) -> String {
    match account {
        Account::User(_) => user.to_owned(),
        Account::Namespace(namespace) => namespace.clone(),
    }
}

/// What a path names.
fn resolve(records: &dyn Records, kind: QuotaKind, name: &str) -> Result<Account, RegistryError> {
    match kind {
        QuotaKind::User => {
            let missing = || RegistryError::not_found("such user");
            let name: UserName = name.parse().map_err(|_none: common::name::NameError| missing())?;
            Ok(Account::User(records.user(&name)?.ok_or_else(missing)?.id))
        }
        QuotaKind::Namespace if name == NO_NAMESPACE => Ok(Account::Namespace(String::new())),
        QuotaKind::Namespace => {
            let of_name: Result<ModelName, _> = format!("{name}/x").parse();
            of_name
                .map(|of_name| Account::of_model(&of_name))
                .map_err(|_none| RegistryError::not_found("such namespace, for no model's name can begin so"))
        }
    }
}

fn target(kind: QuotaKind, name: &str) -> Target {
    Target::new(kind.as_str(), name)
}

/// What is wrong with limits.
fn check(kind: QuotaKind, limits: &QuotaLimits) -> Result<(), RegistryError> {
    let mut refused = Vec::new();
    for (of, limit) in [("bytes", limits.bytes), ("versions", limits.versions), ("models", limits.models)] {
        if limit.is_some_and(|limit| limit > INTEGER_MAX) {
            refused.push((format!("body.{of}"), format!("is more than {INTEGER_MAX}")));
        }
    }
    if kind == QuotaKind::User && limits.models.is_some() {
        refused.push(("body.models".to_owned(), "is of namespaces only: a model may get another owner".to_owned()));
    }
    if refused.is_empty() { Ok(()) } else { Err(RegistryError::Invalid(refused)) }
}

impl Registry {
    /// Accounts of which something is kept or set: namespaces by name, then users in the order of their creation.
    ///
    /// # Errors
    /// What `require` says; `Invalid` for the cursor.
    pub async fn list_quotas(&self, caller: &Caller, cursor: Option<&str>, limit: usize) -> Outcome<Page<QuotaInfo>> {
        let inner = &self.inner;
        let note = Note::event(Action::QuotaRead, Target::new("quota", "*"));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let after = cursor::read::<(QuotaKind, String)>(LIST, cursor);
        let after = match after {
            Ok(after) => after.map(|((kind, key), _total)| Account::new(kind, key)),
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        let work = Arc::clone(inner);
        let page = inner.scan_for(caller, move |view| {
            let mut accounts = view.accounts(after.as_ref(), limit.saturating_add(1))?;
            let more = accounts.len() > limit;
            accounts.truncate(limit);
            let last = accounts.last().filter(|_last| more);
            let next_cursor = last.map(|last| cursor::write(LIST, (last.kind(), last.key()), None)).transpose()?;
            let items = accounts.iter().map(|account| work.quota_info(view, account)).collect::<Result<_, _>>()?;
            Ok(Page { items, total: None, next_cursor, prev_cursor: None })
        });
        let page = page.await;
        inner.told(caller, note, page).await
    }

    /// One quota, and what is used of it.
    ///
    /// # Errors
    /// What `require` says; `NotFound`.
    pub async fn quota(&self, caller: &Caller, kind: QuotaKind, name: &str) -> Outcome<QuotaInfo> {
        let inner = &self.inner;
        let note = Note::event(Action::QuotaRead, target(kind, name));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let found = inner.read(|view| inner.quota_info(view, &resolve(view, kind, name)?)).await;
        inner.told(caller, note, found).await
    }

    /// The caller's own.
    ///
    /// # Errors
    /// `Unauthenticated`, `PasswordChangeRequired`; `NotFound`: the caller is no user.
    pub async fn own_quota(&self, caller: &Caller) -> Outcome<QuotaInfo> {
        let inner = &self.inner;
        let note = Note::event(Action::QuotaRead, target(QuotaKind::User, &caller.actor.id));
        if let Err(error) = caller.require_signed_in() {
            return Err(inner.refuse(caller, note, error).await);
        }
        let found = match account_of(&caller.actor.id) {
            Some(account) => inner.read(|view| inner.quota_info(view, &account)).await,
            None => Err(RegistryError::not_found("quota of one who is no user")),
        };
        inner.told(caller, note, found).await
    }

    /// Sets how much may be kept; none: the defaults hold again. What is kept already stays, however much it is.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Invalid`.
    pub async fn set_quota(
        &self,
        caller: &Caller,
        kind: QuotaKind,
        name: &str,
        limits: Option<QuotaLimits>,
    ) -> Outcome<QuotaInfo> {
        let inner = &self.inner;
        let note = Note::change(Action::QuotaSet, target(kind, name));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let (work, by, name) = (Arc::clone(inner), caller.actor.name.clone(), name.to_owned());
        inner
            .commit(caller, note, move |records, moment, note| {
                let account = resolve(records, kind, &name)?;
                if let Some(limits) = &limits {
                    check(kind, limits)?;
                }
                let before = work.quotas.limits(records, &account)?;
                say_limits(note, "before_", &before.0);
                let mut info = work.quota_info(records, &account)?;
                let write = match limits {
                    Some(limits) => {
                        say_limits(note, "", &limits);
                        info = QuotaInfo {
                            limits,
                            is_own: true,
                            set_by: Some(by.clone()),
                            set_at: Some(clock::rfc3339(moment.at_ms)),
                            ..info
                        };
                        let QuotaLimits { bytes, versions, models } = limits;
                        Write::PutQuota(QuotaRecord {
                            account,
                            bytes,
                            versions,
                            models,
                            by,
                            at_ms: moment.at_ms,
                            index: moment.index,
                        })
                    }
                    None => {
                        note.say("default", true);
                        let (default, kind) = (work.settings().quotas, account.kind());
                        let bytes = match kind {
                            QuotaKind::User => default.user_bytes,
                            QuotaKind::Namespace => default.namespace_bytes,
                        };
                        let limits = QuotaLimits { bytes, ..QuotaLimits::default() };
                        info = QuotaInfo { limits, is_own: false, set_by: None, set_at: None, ..info };
                        Write::DeleteQuota(account)
                    }
                };
                Ok((info, vec![write]))
            })
            .await
    }
}

fn say_limits(note: &mut Note, prefix: &str, limits: &QuotaLimits) {
    for (of, limit) in [("bytes", limits.bytes), ("versions", limits.versions), ("models", limits.models)] {
        note.say(&format!("{prefix}{of}"), limit.map_or(Value::Null, Value::from));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Arc;

    use common::name::ModelName;

    use super::{Claim, Quotas};
    use crate::registry::settings::QuotaSettings;
    use crate::store::records::Account;

    /// What is reserved is given back exactly once, however claims are forced, moved, settled and dropped.
    #[test]
    fn nothing_is_left_over() {
        let quotas = Arc::new(Quotas::new(QuotaSettings::default()));
        let (user, team) = (Account::User("usr_a".into()), Account::Namespace("team".into()));
        let of = |account: &Account| quotas.reserved_of(account);
        let name: ModelName = "Team/m".parse().unwrap();
        let claim = Claim::new(&quotas, "usr_a", "a", Some(&name));
        claim.force(7);
        let other = Claim::new(&quotas, "usr_a", "a", None);
        other.force(5);
        assert_eq!((of(&user), of(&team)), (12, 7));
        claim.force(3);
        assert_eq!((of(&user), of(&team)), (8, 3));
        claim.about(&"other/m".parse().unwrap());
        assert_eq!((of(&user), of(&team)), (8, 0));
        assert!(claim.lacks(3), "nothing is reserved of the new namespace");
        claim.settle();
        claim.settle();
        assert!(!claim.lacks(3), "it is decided");
        claim.force(2);
        drop(other);
        assert_eq!(of(&user), 2);
        drop(claim);
        assert!(quotas.reserved().is_empty());
        let house = Claim::new(&quotas, "system", "system", None);
        house.force(9);
        assert!(quotas.reserved().is_empty(), "the daemon itself has no quota");
    }
}
