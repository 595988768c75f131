//! The one way into the store: a decision becomes an entry and its change in one commit. Knows how refusals, receipts and
//! idempotency keys go together with commits; refuses to know any rule of the domain.
//!
//! A decision runs on the store's writing thread, against the state after everything before it. If it refuses, the entry
//! says so and nothing changes. The commit runs in a task of its own: a caller that goes away can't stop it halfway, and
//! what must follow it (removing released blobs) follows.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use common::audit::{
    Action, Actor as LogActor, Outcome as EntryOutcome, Receipt, RequestInfo, Target, USER_AGENT_LEN_MAX,
};
use common::digest::Digest;
use common::role::Permission;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::Instrument as _;

use crate::registry::Inner;
use crate::registry::access::{Actor, Caller, RequestMeta};
use crate::registry::error::{Done, Failure, Logged, Outcome, RegistryError};
use crate::registry::idempotency::Once;
use crate::registry::resolve;
use crate::registry::settings::ClientIp;
use crate::store::basis::Basis;
use crate::store::records::Write;
use crate::store::{Decide, Decision, Draft, Moment, PublishedCheckpoint, Records, StoreError, Urgency, View};
use crate::traces;

/// What an entry says of an operation. Decisions fill in what they find out; a refusal keeps what was known by then.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    /// What is done or tried.
    pub(crate) action: Action,
    /// On what. Named as the caller named it, it gets its stable id when the entry is made.
    pub(crate) target: Target,
    /// Who is named as the actor, where that isn't the caller: the user that signs in.
    pub(crate) actor: Option<LogActor>,
    /// The status of the answer, where it doesn't follow from the outcome.
    pub(crate) status: Option<u16>,
    /// How it ended, where that isn't the decision's to say.
    pub(crate) outcome: Option<EntryOutcome>,
    /// Whether the work turned out to be done already.
    pub(crate) unchanged: bool,
    /// Blobs whose count of references was found to be wrong: they are looked up in the log itself.
    pub(crate) miscounted: Vec<Digest>,
    /// Whether the caller gets a receipt.
    receipt: bool,
    /// Whether it is let through on a full disk.
    urgency: Urgency,
    data: BTreeMap<String, Value>,
}

impl Note {
    /// Of a change, for which there is a receipt.
    pub(crate) fn change(action: Action, target: Target) -> Self {
        Self {
            action,
            target,
            actor: None,
            status: None,
            outcome: None,
            unchanged: false,
            miscounted: Vec::new(),
            receipt: true,
            urgency: Urgency::Ordinary,
            data: BTreeMap::new(),
        }
    }

    /// The same of something that helps to end a full disk. To be said after the permission check: a refusal is ordinary.
    pub(crate) fn urgent(self) -> Self {
        Self { urgency: Urgency::Urgent, ..self }
    }

    /// The same, as urgent as said.
    pub(crate) fn with_urgency(self, urgency: Urgency) -> Self {
        Self { urgency, ..self }
    }

    /// Of a reading, a refusal, an event.
    pub(crate) fn event(action: Action, target: Target) -> Self {
        Self { receipt: false, ..Self::change(action, target) }
    }

    /// Adds a fact. Never a secret, never a float.
    pub(crate) fn say(&mut self, key: &str, value: impl Into<Value>) {
        self.data.insert(key.to_owned(), value.into());
    }

    /// The same, as part of building it.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.say(key, value);
        self
    }
}

/// What a decision comes to: the answer and the change.
pub(crate) type Decided<T> = Result<(T, Vec<Write>), RegistryError>;

/// What travels back from the writing thread.
struct Verdict<T> {
    result: Result<T, RegistryError>,
    /// Index of the entry whose receipt the caller gets; none for the entry of this very command.
    replay_of: Option<u64>,
    receipt: bool,
    /// Whether a blob may have lost its last reference.
    releases: bool,
    /// Blobs whose count of references is wrong.
    miscounted: Vec<Digest>,
}

impl Inner {
    /// Commits what `decide` comes to.
    pub(crate) async fn commit<T, D>(self: &Arc<Self>, caller: &Caller, note: Note, decide: D) -> Outcome<T>
    where
        T: Send + 'static,
        D: FnOnce(&dyn Records, Moment, &mut Note) -> Decided<T> + Send + 'static,
    {
        self.run(caller, note, move |records, moment, note| {
            decide(records, moment, note).map(|(value, writes)| (value, writes, None))
        })
        .await
    }

    /// The same for a request that may come with an Idempotency-Key: the first success is kept with the commit, and the
    /// same request within 24 hours gets it again. Refusals are not kept: what was refused may be tried again.
    pub(crate) async fn commit_once<T, D>(
        self: &Arc<Self>,
        caller: &Caller,
        note: Note,
        once: Option<Once>,
        decide: D,
    ) -> Outcome<T>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        D: FnOnce(&dyn Records, Moment, &mut Note) -> Decided<T> + Send + 'static,
    {
        self.commit_first(caller, note, once, |_records| Ok(None), decide).await
    }

    /// The same of what is done once whatever key it comes with: `find` tells whether it was done, and by which entry.
    pub(crate) async fn commit_first<T, F, D>(
        self: &Arc<Self>,
        caller: &Caller,
        note: Note,
        once: Option<Once>,
        find: F,
        decide: D,
    ) -> Outcome<T>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnOnce(&dyn Records) -> Result<Option<(T, u64)>, RegistryError> + Send + 'static,
        D: FnOnce(&dyn Records, Moment, &mut Note) -> Decided<T> + Send + 'static,
    {
        self.run(caller, note, move |records, moment, note| {
            let of_key = once.as_ref().map(|once| once.recall(records, moment)).transpose()?.flatten();
            let first = if of_key.is_some() { of_key } else { find(records)? };
            if let Some((value, index)) = first {
                note.say("replay_of", index);
                return Ok((value, Vec::new(), Some(index)));
            }
            let (value, mut writes) = decide(records, moment, note)?;
            if let Some(once) = once {
                writes.push(once.remember(&value, moment)?);
            }
            Ok((value, writes, None))
        })
        .await
    }

    /// Records a refusal or failure. The failure carries its entry, unless the limiter took it: then it is the limiter's.
    pub(crate) async fn refuse(self: &Arc<Self>, caller: &Caller, note: Note, error: RegistryError) -> Failure {
        // An entry for each would be more work than was refused; they are counted.
        if matches!(error, RegistryError::Overloaded(_)) {
            return error.into();
        }
        if let Err(limited) = self.limit_anonymous(caller) {
            return limited.into();
        }
        self.record_error(caller, note, error).await
    }

    /// The permission check of an operation, with the entry of its refusal.
    pub(crate) async fn permit(
        self: &Arc<Self>,
        caller: &Caller,
        permission: Permission,
        note: &Note,
    ) -> Result<(), Failure> {
        match caller.require(permission) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.refuse(caller, note.clone(), error).await),
        }
    }

    /// Writes the entry of a failure.
    pub(crate) async fn record_error(self: &Arc<Self>, caller: &Caller, note: Note, error: RegistryError) -> Failure {
        match self.commit::<(), _>(caller, note, move |_records, _moment, _note| Err(error)).await {
            Err(failure) => failure,
            Ok(_never) => RegistryError::internal("a refusal was committed as a success").into(),
        }
    }

    /// Writes the entry of something that happened and changes nothing.
    pub(crate) async fn record(self: &Arc<Self>, caller: &Caller, note: Note) -> Outcome<()> {
        self.commit(caller, note, |_records, _moment, _note| Ok(((), Vec::new()))).await
    }

    /// The same for a reading, in the caller's own task: if it goes away before its turn, nobody is told anything either.
    pub(crate) async fn record_reading(&self, caller: &Caller, note: Note) -> Outcome<()> {
        let command = self.command(caller, note, |_records, _moment, _note| Ok(((), Vec::new(), None)), Arc::default());
        let committed = self.store.commit(command).instrument(traces::step!("commit")).await?;
        let logged = Some(Logged { index: committed.index, leaf_hash: committed.leaf_hash });
        Ok(Done { value: (), logged, receipt: None, replayed: false })
    }

    async fn run<T, D>(self: &Arc<Self>, caller: &Caller, note: Note, decide: D) -> Outcome<T>
    where
        T: Send + 'static,
        D: FnOnce(&dyn Records, Moment, &mut Note) -> Result<(T, Vec<Write>, Option<u64>), RegistryError>
            + Send
            + 'static,
    {
        let slot: Arc<Mutex<Option<Verdict<T>>>> = Arc::default();
        let urgency = note.urgency;
        let command = self.command(caller, note, decide, Arc::clone(&slot));
        let inner = Arc::clone(self);
        let task = self.tasks.spawn(async move {
            let committed = inner.store.commit_as(urgency, command).await?;
            let mut verdict: Option<Verdict<T>> = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(verdict) = &mut verdict {
                if verdict.releases {
                    inner.settle_later(committed.released.to_vec());
                }
                inner.look_up_later(std::mem::take(&mut verdict.miscounted));
            }
            Ok::<_, StoreError>((committed, verdict))
        });
        // From its place in the queue until it is durable.
        let (committed, verdict) =
            task.instrument(traces::step!("commit")).await.map_err(|error| RegistryError::Internal(error.into()))??;
        let logged = Some(Logged { index: committed.index, leaf_hash: committed.leaf_hash });
        let failure = |error| Failure { error, logged };
        let verdict = verdict.ok_or_else(|| failure(RegistryError::internal("a decision left no verdict")))?;
        let value = verdict.result.map_err(failure)?;
        let receipt = if verdict.receipt {
            let index = verdict.replay_of.unwrap_or(committed.index);
            Some(self.receipt(index, &committed.checkpoint).await.map_err(failure)?)
        } else {
            None
        };
        Ok(Done { value, logged, receipt, replayed: verdict.replay_of.is_some() })
    }

    /// The store's command for a decision.
    fn command<T, D>(&self, caller: &Caller, note: Note, decide: D, slot: Arc<Mutex<Option<Verdict<T>>>>) -> Decide
    where
        T: Send + 'static,
        D: FnOnce(&dyn Records, Moment, &mut Note) -> Result<(T, Vec<Write>, Option<u64>), RegistryError>
            + Send
            + 'static,
    {
        let actor = log_actor(&caller.actor);
        let request = caller.request.clone();
        let client_ip = self.settings().client_ip;
        // Whoever works on the machine has no account of ours: the entry says which user of the machine it was.
        let operator = caller.actor.person.as_ref().and_then(|person| serde_json::to_value(person).ok());
        Box::new(move |records, moment| {
            let mut note = note;
            if let Some(operator) = operator {
                note.say("operator", operator);
            }
            let (result, writes, replay_of) = match decide(records, moment, &mut note) {
                Ok((value, writes, replay_of)) => (Ok(value), writes, replay_of),
                Err(error) => {
                    note.say("reason", error.as_str());
                    (Err(error), Vec::new(), None)
                }
            };
            if let Some(name) = resolve::settle(records, &mut note.target)? {
                note.data.entry("name".to_owned()).or_insert_with(|| name.into());
            }
            let outcome = note.outcome.unwrap_or(match &result {
                Ok(_) => EntryOutcome::Ok,
                Err(error) => error.outcome(),
            });
            let status = |request: &RequestMeta| match (&result, note.status) {
                (_, Some(status)) => status,
                (Ok(_), None) if note.unchanged => request.unchanged_status,
                (Ok(_), None) => request.ok_status,
                (Err(error), None) => (request.status_of)(error),
            };
            let request = request.map(|request| request_info(&request, status(&request), client_ip));
            let verdict = Verdict {
                result,
                replay_of,
                receipt: note.receipt,
                releases: writes.iter().any(|write| matches!(write, Write::SetBlob { refs: 0, .. })),
                miscounted: note.miscounted,
            };
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
            let draft = Draft {
                action: note.action,
                outcome,
                actor: note.actor.unwrap_or(actor),
                target: note.target,
                request,
                data: note.data,
            };
            Ok(Decision { draft, writes })
        })
    }

    /// The receipt of an entry.
    pub(crate) async fn receipt(&self, index: u64, checkpoint: &PublishedCheckpoint) -> Result<Receipt, RegistryError> {
        self.read(|view| Ok(view.receipt(index, checkpoint)?)).await
    }

    /// A few point reads.
    pub(crate) async fn read<T: Send>(
        &self,
        work: impl FnOnce(&dyn View) -> Result<T, RegistryError> + Send,
    ) -> Result<T, RegistryError> {
        let mut result = None;
        self.store.read(Box::new(|view| result = Some(work(view)))).await;
        result.unwrap_or_else(|| Err(RegistryError::internal("the store did not run a read")))
    }

    /// The same, with what the result was made from.
    ///
    /// # Errors
    /// What `work` says.
    pub(crate) async fn read_noted<T: Send>(
        &self,
        work: impl FnOnce(&dyn Records) -> Result<T, RegistryError> + Send,
    ) -> Result<(T, Option<Basis>), RegistryError> {
        let mut result = None;
        let basis = self.store.read_noted(Box::new(|records| result = Some(work(records)))).await;
        match result {
            Some(result) => Ok((result?, basis)),
            None => Err(RegistryError::internal("the store did not run a read")),
        }
    }

    /// The same for a caller: when it is their turn. The operator of the machine has it at once.
    ///
    /// # Errors
    /// `Overloaded`, and what `work` says.
    pub(crate) async fn scan_for<T: Send + 'static>(
        &self,
        caller: &Caller,
        work: impl FnOnce(&dyn View) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let turn = if caller.is_operator() { None } else { Some(self.turns.take(caller).await?) };
        self.scan(move |view| {
            let _turn = turn;
            work(view)
        })
        .await
    }

    /// The same for what goes on with an answer that was begun.
    ///
    /// # Errors
    /// What `work` says.
    pub(crate) async fn scan_on<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn View) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let turn = self.turns.go_on().await?;
        self.scan(move |view| {
            let _turn = turn;
            work(view)
        })
        .await
    }

    /// Reads that may take long, off the async threads.
    pub(crate) async fn scan<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn View) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let slot: Arc<Mutex<Option<Result<T, RegistryError>>>> = Arc::default();
        let filled = Arc::clone(&slot);
        let fill = move |view: &dyn View| {
            let result = work(view);
            *filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        };
        self.store.scan(Box::new(fill)).await;
        let result = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.unwrap_or_else(|| Err(RegistryError::internal("the store did not run a scan")))
    }
}

/// The actor as an entry names it.
pub(crate) fn log_actor(actor: &Actor) -> LogActor {
    LogActor {
        id: actor.id.clone(),
        name: Some(actor.name.clone()),
        kind: actor.kind,
        role: actor.role.map(|role| role.as_str().to_owned()),
        cred: actor.sid.clone().or_else(|| actor.api_token.as_ref().map(|token| token.id.credential())),
    }
}

fn request_info(request: &RequestMeta, status: u16, client_ip: ClientIp) -> RequestInfo {
    RequestInfo {
        id: request.id.to_string(),
        method: request.method.to_owned(),
        route: request.route.to_owned(),
        status,
        ip: request.ip.and_then(|ip| logged_ip(ip, client_ip)),
        ua: request.ua.as_deref().map(|ua| cut(ua, USER_AGENT_LEN_MAX).to_owned()),
    }
}

/// A client's address as far as it is recorded. IPv4 in IPv6 is IPv4.
pub(super) fn logged_ip(ip: IpAddr, policy: ClientIp) -> Option<String> {
    let ip = ip.to_canonical();
    match (policy, ip) {
        (ClientIp::None, _) => None,
        (ClientIp::Full, ip) => Some(ip.to_string()),
        (ClientIp::Truncated, IpAddr::V4(ip)) => {
            let [a, b, c, _] = ip.octets();
            Some(format!("{a}.{b}.{c}.0/24"))
        }
        (ClientIp::Truncated, IpAddr::V6(ip)) => {
            let [a, b, c, ..] = ip.segments();
            Some(format!("{}/48", std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)))
        }
    }
}

/// At most so many octets of a text, cut between characters.
pub(crate) fn cut(text: &str, octets_max: usize) -> &str {
    &text[..text.floor_char_boundary(octets_max)]
}

#[cfg(test)]
mod tests {
    use super::{cut, logged_ip};
    use crate::registry::settings::ClientIp;

    /// Addresses are truncated as the settings say.
    #[test]
    fn addresses() {
        let shown = |ip: &str, policy| logged_ip(ip.parse().expect("an address"), policy);
        assert_eq!(shown("::ffff:192.0.2.77", ClientIp::Full).as_deref(), Some("192.0.2.77"));
        assert_eq!(shown("192.0.2.77", ClientIp::Truncated).as_deref(), Some("192.0.2.0/24"));
        assert_eq!(shown("2001:db8:1:2::3", ClientIp::Truncated).as_deref(), Some("2001:db8:1::/48"));
        assert_eq!(shown("192.0.2.77", ClientIp::None), None);
    }

    /// Texts are cut between characters.
    #[test]
    fn cutting() {
        assert_eq!(cut("äb", 2), "ä");
        assert_eq!(cut("äb", 1), "");
        assert_eq!(cut("äb", 9), "äb");
    }
}
