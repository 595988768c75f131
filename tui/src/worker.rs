//! Performs requests with `common::client` on a runtime of its own thread; every outcome comes back as an event. Knows
//! nothing of the state, and nothing of the terminal.

mod changes;
pub(crate) mod check;
pub(crate) mod entries;
pub mod files;
pub(crate) mod jobs;
pub(crate) mod log;
pub mod session;
mod tail;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use common::api::TotpSecret;
use common::client::{Client, ClientError, Reply};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::action::{Answer, Call, FilePurpose, Job, Report, RequestId};
use crate::event::EventKind;
use crate::lanes::Sender;
use crate::secret::Secret;
use crate::trust::Kept;
use crate::worker::changes::Seed;
use crate::worker::jobs::Teller;
use crate::worker::session::Cache;

/// Requests at once.
const REQUESTS_MAX: usize = 4;
/// Steps of an alias's history that are read.
const HISTORY_ROWS: u32 = 20;
/// How long leaving waits for the session to be ended.
const LOGOUT_TIMEOUT: Duration = Duration::from_millis(500);
/// The thread's name: a panic in it is a request's failure, not the console's.
pub const THREAD_NAME: &str = "requests";

enum Order {
    Ask(RequestId, Call),
    Job(RequestId, Box<Job>),
    Cancel(RequestId),
    Pause(RequestId, bool),
    Remember(bool),
    Intend(bool),
    Lock,
    Logout,
    TailOpen(u64, Option<u64>),
    TailClose,
    SavePin(Box<Kept>, bool),
    WriteFile { purpose: FilePurpose, name: String, stamp: String, text: String },
    BringFile { from: String, name: String },
    ListNames(String),
    Leave { logout: bool },
}

/// The way to the requests' thread.
pub struct Worker {
    orders: UnboundedSender<Order>,
    thread: std::thread::JoinHandle<()>,
}

impl Worker {
    /// Starts the thread. Replies go to `events`; tokens that are to be kept go to `cache`.
    ///
    /// # Errors
    /// What the system says where no thread can be started.
    pub fn start(
        client: Client,
        events: Sender,
        cache: Option<Cache>,
        folder: Option<PathBuf>,
    ) -> std::io::Result<Self> {
        let (orders, inbox) = unbounded_channel();
        let seed = Arc::new(Seed::new()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let thread = std::thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, serve(Arc::new(client), seed, inbox, events, cache, folder));
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { orders, thread })
    }

    /// Performs a request.
    pub fn ask(&self, id: RequestId, call: Call) {
        self.send(Order::Ask(id, call));
    }

    /// Begins a job. It takes none of the places that requests share.
    pub fn job(&self, id: RequestId, job: Box<Job>) {
        self.send(Order::Job(id, job));
    }

    /// Gives a request or a job up.
    pub fn cancel(&self, id: RequestId) {
        self.send(Order::Cancel(id));
    }

    /// Has a job stand still, or go on.
    pub fn pause(&self, id: RequestId, on: bool) {
        self.send(Order::Pause(id, on));
    }

    /// Keeps the token of this session, and each that follows it, in a file; or removes what is kept.
    pub fn remember(&self, on: bool) {
        self.send(Order::Remember(on));
    }

    /// Keeps the next session that is signed in to, or not; what is kept stays as it is until then.
    pub fn intend(&self, on: bool) {
        self.send(Order::Intend(on));
    }

    /// Forgets the token.
    pub fn lock(&self) {
        self.send(Order::Lock);
    }

    /// Ends the session at the daemon, and removes what is kept of it.
    pub fn logout(&self) {
        self.send(Order::Logout);
    }

    /// Like [`Self::leave`], but nobody waits for it.
    pub fn leave_alone(self, logout: bool) {
        self.send(Order::Leave { logout });
    }

    /// Opens the stream of the log in place of the one there is.
    pub fn tail_open(&self, epoch: u64, after: Option<u64>) {
        self.send(Order::TailOpen(epoch, after));
    }

    /// Closes it.
    pub fn tail_close(&self) {
        self.send(Order::TailClose);
    }

    /// Keeps what is believed of the log.
    pub fn save_pin(&self, kept: Box<Kept>, force: bool) {
        self.send(Order::SavePin(kept, force));
    }

    /// Writes a file; evidence is named after that time.
    pub fn write_file(&self, purpose: FilePurpose, name: String, stamp: String, text: String) {
        self.send(Order::WriteFile { purpose, name, stamp, text });
    }

    /// Brings a file that was kept to where the console was started.
    pub fn bring_file(&self, from: String, name: String) {
        self.send(Order::BringFile { from, name });
    }

    /// Looks which local files have names that begin so.
    pub fn list_names(&self, typed: String) {
        self.send(Order::ListNames(typed));
    }

    /// Ends the thread; with `logout`, ends the session at the daemon first, which takes half a second at most.
    pub fn leave(self, logout: bool) {
        self.send(Order::Leave { logout });
        drop(self.thread.join());
    }

    fn send(&self, order: Order) {
        // The thread ends only when it is told to; after that nobody asks.
        drop(self.orders.send(order));
    }
}

async fn serve(
    client: Arc<Client>,
    seed: Arc<Seed>,
    mut inbox: UnboundedReceiver<Order>,
    events: Sender,
    cache: Option<Cache>,
    folder: Option<PathBuf>,
) {
    let keeper = Arc::new(session::Keeper::new(cache, &client));
    let mut stream: Option<JoinHandle<()>> = None;
    let places = Arc::new(tokio::sync::Semaphore::new(REQUESTS_MAX));
    let mut running: BTreeMap<RequestId, JoinHandle<()>> = BTreeMap::new();
    let mut pauses: BTreeMap<RequestId, watch::Sender<bool>> = BTreeMap::new();
    let date = Rc::new(Cell::new(0));
    while let Some(order) = inbox.recv().await {
        running.retain(|_, task| !task.is_finished());
        pauses.retain(|id, _| running.contains_key(id));
        match order {
            Order::Ask(id, call) => {
                let (client, events, places) = (client.clone(), events.clone(), places.clone());
                let (keeper, seed, date) = (keeper.clone(), seed.clone(), date.clone());
                let task = tokio::task::spawn_local(async move {
                    let _place = places.acquire().await;
                    let asked = client.clone();
                    let work = tokio::task::spawn_local(async move { perform(&asked, &keeper, &seed, call).await });
                    let _abort = AbortOnDrop(work.abort_handle());
                    let result = work.await.unwrap_or_else(|panic| {
                        Err(ClientError::Protocol(format!("the console itself failed in this request: {panic}")))
                    });
                    // What the daemon's clock says comes before what is dated by it.
                    if let Some(now) = client.date().filter(|now| date.replace(*now) != *now) {
                        hand_over(&events, EventKind::Date(now)).await;
                    }
                    report(&events, id, result).await;
                });
                running.insert(id, task);
            }
            Order::Job(id, job) => {
                let (pause, paused) = watch::channel(false);
                pauses.insert(id, pause);
                let work = run_job(client.clone(), events.clone(), folder.clone(), paused, id, job);
                running.insert(id, tokio::task::spawn_local(work));
            }
            Order::Pause(id, on) => {
                if let Some(pause) = pauses.get(&id) {
                    pause.send_replace(on);
                }
            }
            Order::Cancel(id) => {
                if let Some(task) = running.remove(&id) {
                    task.abort();
                }
            }
            Order::Remember(on) => {
                if let Err(why) = keeper.remember(on, &client) {
                    tell(&events, why).await;
                }
            }
            Order::Intend(on) => keeper.intend(on),
            Order::Lock => client.set_token(None),
            Order::Logout => {
                if client.has_api_token() {
                    client.set_token(None);
                } else if client.has_token() {
                    drop(tokio::time::timeout(LOGOUT_TIMEOUT, client.logout()).await);
                }
                keeper.forget();
            }
            Order::TailOpen(epoch, after) => {
                if let Some(old) = stream.take() {
                    old.abort();
                }
                let follow = tail::follow(client.clone(), epoch, after, events.clone());
                stream = Some(tokio::task::spawn_local(follow));
            }
            Order::TailClose => {
                if let Some(old) = stream.take() {
                    old.abort();
                }
            }
            Order::SavePin(kept, force) => {
                let why = match &folder {
                    Some(folder) => files::save_kept(folder, &kept, force).err().map(|error| error.to_string()),
                    None => Some("there is no state folder: set XDG_STATE_HOME or HOME".to_owned()),
                };
                if let Some(why) = why {
                    let result = Err(format!("what is pinned of the log can't be kept: {why}"));
                    hand_over(&events, EventKind::Written { purpose: FilePurpose::Evidence, result }).await;
                }
            }
            Order::WriteFile { purpose, name, stamp, text } => {
                let result = match (purpose, &folder) {
                    (FilePurpose::Evidence, Some(folder)) => {
                        files::write_evidence(folder, client.address(), &name, &stamp, &text)
                    }
                    (FilePurpose::Evidence, None) => {
                        Err("the evidence can't be kept: there is no state folder".to_owned())
                    }
                    (FilePurpose::Export, _) => files::write_new(std::path::Path::new("."), &name, &text)
                        .map_err(|error| format!("{name} can't be written here: {error}")),
                };
                hand_over(&events, EventKind::Written { purpose, result }).await;
            }
            Order::BringFile { from, name } => {
                let result = files::bring(std::path::Path::new("."), &from, &name);
                hand_over(&events, EventKind::Written { purpose: FilePurpose::Export, result }).await;
            }
            Order::ListNames(typed) => {
                let events = events.clone();
                // A folder may be on a disk that is slow, or away: nothing else waits for it.
                tokio::task::spawn_local(async move {
                    let asked = typed.clone();
                    let found = tokio::task::spawn_blocking(move || files::names_beginning(&asked)).await;
                    hand_over(&events, EventKind::Names { typed, names: found.unwrap_or_default() }).await;
                });
            }
            Order::Leave { logout } => {
                if let Some(stream) = stream.take() {
                    stream.abort();
                }
                for task in running.into_values() {
                    task.abort();
                }
                // An API token is no session that could be ended; it is revoked where it was made.
                if logout && client.has_token() && !client.has_api_token() {
                    drop(tokio::time::timeout(LOGOUT_TIMEOUT, client.logout()).await);
                }
                return;
            }
        }
    }
}

async fn run_job(
    client: Arc<Client>,
    events: Sender,
    folder: Option<PathBuf>,
    paused: watch::Receiver<bool>,
    id: RequestId,
    job: Box<Job>,
) {
    let told = events.clone();
    let found = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let kept = std::rc::Rc::clone(&found);
    // How far it is may be left out where the loop is busy; what it found and how it ends is not.
    let tell = Teller::new(move |report| match report {
        report @ (Report::Checked(_) | Report::Refused(_)) => kept.borrow_mut().push(report),
        report => drop(told.try_send(EventKind::Job { id, report })),
    });
    let work =
        tokio::task::spawn_local(async move { jobs::perform(&client, folder.as_deref(), paused, *job, tell).await });
    let _abort = AbortOnDrop(work.abort_handle());
    let outcome = work.await.unwrap_or_else(|panic| Err(format!("the console itself failed in this job: {panic}")));
    let found = found.take();
    for report in found {
        hand_over(&events, EventKind::Job { id, report }).await;
    }
    hand_over(&events, EventKind::Job { id, report: Report::Over(outcome) }).await;
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Hands a reply over. The loop may be busy and its queue full: the reply waits here, not on the input.
async fn report(events: &Sender, id: RequestId, result: Result<Answer, ClientError>) {
    hand_over(events, EventKind::Reply { id, result: Box::new(result) }).await;
}

/// Tells a sentence that belongs to no request.
async fn tell(events: &Sender, why: String) {
    hand_over(events, EventKind::Said(why)).await;
}

async fn hand_over(events: &Sender, mut event: EventKind) {
    while let Err(std::sync::mpsc::TrySendError::Full(back)) = events.try_send(event) {
        event = back;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn perform(client: &Client, keeper: &session::Keeper, seed: &Seed, call: Call) -> Result<Answer, ClientError> {
    Ok(match call {
        Call::Reach => Answer::Reached(client.reach().await?),
        Call::Login { username, password, otp } => {
            let session = client.login(&username, password.expose(), otp.as_ref().map(Secret::expose)).await?;
            keeper.keep(&session.body, client);
            Answer::Session(session)
        }
        Call::Refresh => {
            let session = client.refresh().await?;
            keeper.keep(&session.body, client);
            Answer::Session(session)
        }
        Call::ChangePassword { old, new } => {
            client.change_password(old.expose(), new.expose()).await?;
            Answer::PasswordChanged
        }
        Call::EnrolTotp { password } => {
            let TotpSecret { secret, uri } = client.enrol_totp(password.expose()).await?.body;
            Answer::TotpSecret(Secret::new(secret), Secret::new(uri))
        }
        Call::ConfirmTotp { code } => {
            let codes = client.confirm_totp(code.expose()).await?.body.recovery_codes;
            Answer::RecoveryCodes(codes.into_iter().map(Secret::new).collect())
        }
        Call::Change { change, if_match, key } => {
            Answer::Changed(boxed(changes::perform(client, seed, &change, if_match, key).await?))
        }
        other => read(client, other).await?,
    })
}

/// Performs a call that only reads.
///
/// # Errors
/// As the call; [`ClientError::Protocol`] for one that does more than read.
pub(crate) async fn read(client: &Client, call: Call) -> Result<Answer, ClientError> {
    Ok(match call {
        Call::Reach
        | Call::Login { .. }
        | Call::Refresh
        | Call::ChangePassword { .. }
        | Call::EnrolTotp { .. }
        | Call::ConfirmTotp { .. }
        | Call::Change { .. } => {
            return Err(ClientError::Protocol(format!("{} does not only read", call.name())));
        }
        Call::Me => Answer::Me(client.me().await?),
        Call::Models(query) => Answer::Models(client.models(&query).await?),
        Call::Count { sweep, query } => Answer::Counted(client.count_models(sweep, &query).await?),
        Call::Model(reference) => Answer::Model(boxed(client.model(&reference).await?)),
        Call::Versions { reference, page } => Answer::Versions(client.version_page(&reference, &page).await?),
        Call::Users(query) => Answer::Users(client.user_page(&query).await?),
        Call::User(name) => Answer::User(boxed(client.user(&name).await?)),
        Call::Tokens(query) => Answer::Tokens(client.tokens(&query).await?),
        Call::Audit(query) => Answer::Audit(client.audit_as(&query).await?),
        Call::Log(call) => Answer::Log(log::perform(client, call).await?),
        Call::Position(time) => Answer::Position(client.audit_position(&time).await?),
        Call::Acknowledge(said) => Answer::Acknowledged(changes::acknowledge(client, &said).await?),
        Call::Status => Answer::Status(boxed(client.status().await?)),
        Call::Ready => Answer::Ready(client.ready().await?),
        Call::Ingest(query) => Answer::Ingest(boxed(client.ingest(&query).await?)),
        Call::Quarantine(query) => Answer::Quarantine(client.held(&query).await?),
        Call::Review { reference, version } => Answer::Review(boxed(client.review(&reference, version).await?)),
        Call::Excerpt { reference, version, place } => {
            Answer::Excerpt(boxed(client.excerpt(&reference, version, &place).await?))
        }
        Call::Version { reference, version } => Answer::Version(boxed(client.version_info(&reference, version).await?)),
        Call::Look(object) => Answer::Look(changes::look(client, &object).await?),
        Call::Text { reference, version, path, octets_max } => {
            let mut download = client.download(&reference, version, &path).await?;
            let mut octets = Vec::new();
            while let Some(chunk) = download.chunk().await? {
                octets.extend_from_slice(&chunk);
                if octets.len() as u64 > octets_max {
                    return Err(ClientError::Protocol(format!("more than the {octets_max} octets that were promised")));
                }
            }
            Answer::Text(octets)
        }
        Call::History { reference, alias } => {
            Answer::History(client.alias_history(&reference, &alias, HISTORY_ROWS).await?)
        }
    })
}

fn boxed<T>(reply: Reply<T>) -> Reply<Box<T>> {
    reply.map(Box::new)
}
