//! The thread that follows the shared log: it answers how far the log is, all who ask by one question to the database, tells
//! the writing thread when others committed, says who this daemon is and whether it does the upkeep. Knows how far; refuses
//! to know what was committed.
//!
//! Who reads asks first: what was committed before the question came, by whatever daemon, is in the answer's size; once the
//! replica has come that far, reading it is as good as reading the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_postgres::{Client, Statement};

use super::connect::{Servers, answered, answered_within, connect, within};
use super::copy::LOCK_DAEMONS;
use super::schema::LOCK_CLASS;
use super::{Head, Peer, SharedError};
use crate::store::keys::KeyDir;
use crate::store::sequencer::{Request, Shown};
use crate::store::{Health, PublishedCheckpoint};

/// How long a request waits for the answer, and for the replica to come as far. The thread itself waits no longer: an answer that
/// comes later helps nobody, and another server may have become the primary.
pub(crate) const REFRESH_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the database is asked of the thread's own accord: what a lost notification may cost.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often this daemon says that it is there.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// A daemon that said nothing for so long is not counted: whatever it lacks, it finds out when it comes back.
const GONE_AFTER_S: f64 = 60.0;
/// After a failure nothing is tried for so long; who asks meanwhile gets the same answer.
const PAUSE: Duration = Duration::from_millis(200);
/// For saying goodbye: a stop doesn't wait for a database that is gone.
const BYE_TIMEOUT: Duration = Duration::from_secs(2);
/// The advisory lock of the daemon that does the upkeep.
const LOCK_UPKEEP: i32 = 1;

type Answer<T> = oneshot::Sender<Result<T, SharedError>>;

/// What can be asked.
enum Ask {
    /// How far the log is.
    Size(Answer<u64>),
    /// Who else follows it.
    Peers(Answer<Vec<Peer>>),
    /// Say goodbye and end.
    End,
}

/// What the thread works with.
pub(crate) struct Followed {
    /// The database, and what the writing thread knows of it.
    pub(crate) servers: Servers,
    /// The writing thread.
    pub(crate) requests: mpsc::Sender<Request>,
    /// What it shows.
    pub(crate) shown: Arc<Shown>,
    /// The keys that this daemon has.
    pub(crate) key_dir: KeyDir,
    /// This daemon.
    pub(crate) node: String,
}

/// Handle on the thread. What is asked is not bounded here: requests that wait are.
#[derive(Clone)]
pub(crate) struct Follower {
    asks: mpsc::UnboundedSender<Ask>,
    upkeeps: Arc<AtomicBool>,
    ended: watch::Receiver<bool>,
}

impl Follower {
    /// Starts the thread.
    pub(crate) fn start(followed: Followed) -> std::io::Result<Self> {
        let (asks, asked) = mpsc::unbounded_channel();
        let (end, ended) = watch::channel(false);
        let upkeeps = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = Thread { followed, session: None, failed: None, upkeeps: Arc::clone(&upkeeps), said_at: None };
        thread::Builder::new().name("mregd-follow".to_owned()).spawn(move || {
            runtime.block_on(thread.run(asked));
            end.send_replace(true);
        })?;
        Ok(Self { asks, upkeeps, ended })
    }

    /// How far the log is: at least as far as when this was called.
    ///
    /// # Errors
    /// [`SharedError`].
    pub(crate) async fn size(&self) -> Result<u64, SharedError> {
        self.ask(Ask::Size).await
    }

    /// Who else follows the log, as far as they said so lately.
    ///
    /// # Errors
    /// [`SharedError`].
    pub(crate) async fn peers(&self) -> Result<Vec<Peer>, SharedError> {
        self.ask(Ask::Peers).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(Answer<T>) -> Ask) -> Result<T, SharedError> {
        let stopped = || SharedError::Unreachable("the daemon is stopping".to_owned());
        let (reply, answer) = oneshot::channel();
        self.asks.send(ask(reply)).map_err(|_ended| stopped())?;
        answer.await.map_err(|_ended| stopped())?
    }

    /// Whether the upkeep that one daemon does for all is this one's.
    pub(crate) fn upkeeps(&self) -> bool {
        self.upkeeps.load(Ordering::Relaxed)
    }

    /// Ends the thread, and waits for it.
    pub(crate) async fn stop(&self) {
        if self.asks.send(Ask::End).is_ok() {
            // An error means that it has ended.
            let mut ended = self.ended.clone();
            let _ended = ended.wait_for(|ended| *ended).await;
        }
    }
}

struct Thread {
    followed: Followed,
    session: Option<Session>,
    /// The last failure, and when.
    failed: Option<(Instant, SharedError)>,
    upkeeps: Arc<AtomicBool>,
    said_at: Option<Instant>,
}

struct Session {
    client: Client,
    head: Statement,
    hints: mpsc::Receiver<()>,
}

impl Thread {
    async fn run(mut self, mut asked: mpsc::UnboundedReceiver<Ask>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sizes = Vec::new();
        loop {
            let hint = async {
                match &mut self.session {
                    Some(session) => session.hints.recv().await,
                    None => std::future::pending().await,
                }
            };
            let first = tokio::select! {
                biased;
                ask = asked.recv() => Some(ask.unwrap_or(Ask::End)),
                hint = hint => {
                    if hint.is_none() {
                        self.session = None;
                        self.upkeeps.store(false, Ordering::Relaxed);
                    }
                    None
                }
                _ = looks.tick() => None,
            };
            // All who have come by now are answered by what is asked from now on.
            let mut next = first;
            let mut peers = Vec::new();
            while let Some(ask) = next {
                match ask {
                    Ask::Size(reply) => sizes.push(reply),
                    Ask::Peers(reply) => peers.push(reply),
                    Ask::End => return self.leave().await,
                }
                next = asked.try_recv().ok();
            }
            let size = self.look().await;
            for reply in sizes.drain(..) {
                // Who asked may have gone.
                let _gone = reply.send(size.clone());
            }
            for reply in peers {
                let _gone = reply.send(self.peers().await);
            }
            if self.said_at.is_none_or(|said_at| said_at.elapsed() >= SAY_EVERY) && self.session.is_some() {
                self.say_hello().await;
            }
        }
    }

    /// Asks how far the log is, and tells what that means for this daemon.
    async fn look(&mut self) -> Result<u64, SharedError> {
        // Whoever asks meanwhile must not put off the next try.
        if let Some((at, error)) = &self.failed
            && at.elapsed() < PAUSE
        {
            return Err(error.clone());
        }
        let before = self.followed.shown.checkpoint.borrow().size;
        let looked = self.ask_head().await;
        let shown = &self.followed.shown;
        match &looked {
            Ok(head) => {
                if head.size != before {
                    // One that is shorter than what was published has lost entries: that is for the writing thread to see.
                    let size = if head.size < before { u64::MAX } else { head.size };
                    let (reply, _nobody_waits) = oneshot::channel();
                    // A full queue will look by itself.
                    let _full = self.followed.requests.try_send(Request::CatchUp(size, reply));
                }
                if self.failed.take().is_some() {
                    tracing::info!("the database answers again");
                    let _full = self.followed.requests.try_send(Request::Probe);
                }
            }
            Err(error) => {
                if self.failed.replace((Instant::now(), error.clone())).is_none() {
                    tracing::warn!(cause = %error, "requests are refused until the database answers");
                }
                self.upkeeps.store(false, Ordering::Relaxed);
                shown.set_health(Health::Refusing(error.to_string()));
            }
        }
        looked.map(|head| head.size)
    }

    async fn ask_head(&mut self) -> Result<Head, SharedError> {
        // A connection that was cut while nobody looked is made anew, once.
        loop {
            let is_new = self.session.is_none();
            if is_new {
                self.session = Some(Session::open(&self.followed.servers).await?);
                self.said_at = None;
                self.upkeeps.store(false, Ordering::Relaxed);
            }
            let Some(session) = &self.session else { continue };
            match answered_within(REFRESH_TIMEOUT, session.client.query_one(&session.head, &[])).await {
                Ok(row) => {
                    let head = super::writer::head(&row)?;
                    head.require_here()?;
                    return Ok(head);
                }
                Err(error) => {
                    // The locks went with the session; somebody else may have them.
                    self.session = None;
                    self.upkeeps.store(false, Ordering::Relaxed);
                    if is_new {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn peers(&mut self) -> Result<Vec<Peer>, SharedError> {
        let Some(session) = &self.session else {
            return Err(SharedError::Unreachable("there is no connection".to_owned()));
        };
        const PEERS: &str = "SELECT node, keys FROM mreg.daemon WHERE node <> $1 AND seen > now() - make_interval(secs => $2) \
                             ORDER BY node";
        let asked = async { session.client.query(PEERS, &[&self.followed.node, &GONE_AFTER_S]).await };
        let rows = answered_within(REFRESH_TIMEOUT, asked).await?;
        Ok(rows.iter().map(|row| Peer { node: row.get(0), keys: row.get(1) }).collect())
    }

    /// Says that this daemon is there, and asks for the upkeep. What fails is tried again, and costs nothing until then.
    async fn say_hello(&mut self) {
        let Some(session) = &self.session else { return };
        let keys: Vec<String> = match self.followed.key_dir.verifiers() {
            Ok(verifiers) => verifiers.iter().map(ToString::to_string).collect(),
            Err(error) => {
                tracing::warn!(error = crate::error_chain(&error), "the log's keys can't be read");
                Vec::new()
            }
        };
        const HELLO: &str = "INSERT INTO mreg.daemon (node, size, version, keys, seen) VALUES ($1, $2, $3, $4, now()) \
                             ON CONFLICT (node) DO UPDATE SET size = $2, version = $3, keys = $4, seen = now()";
        let size = i64::try_from(self.followed.shown.checkpoint.borrow().size).unwrap_or(i64::MAX);
        let version = env!("CARGO_PKG_VERSION");
        let hello = async { session.client.execute(HELLO, &[&self.followed.node, &size, &version, &keys]).await };
        let said = answered_within(REFRESH_TIMEOUT, hello).await;
        let upkeeps = if said.is_err() || self.upkeeps.load(Ordering::Relaxed) {
            Ok(true)
        } else {
            let lock = session.client.query_one("SELECT pg_try_advisory_lock($1, $2)", &[&LOCK_CLASS, &LOCK_UPKEEP]);
            answered_within(REFRESH_TIMEOUT, lock).await.map(|row| row.get(0))
        };
        match (said, upkeeps) {
            (Ok(_one), Ok(upkeeps)) => {
                if upkeeps && !self.upkeeps.swap(true, Ordering::Relaxed) {
                    tracing::info!("this daemon does the upkeep for all");
                }
                self.said_at = Some(Instant::now());
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::debug!(%error, "the database was not told that this daemon is there");
                self.session = None;
                self.upkeeps.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Says goodbye.
    async fn leave(self) {
        self.upkeeps.store(false, Ordering::Relaxed);
        let Some(session) = self.session else { return };
        let bye =
            async { session.client.execute("DELETE FROM mreg.daemon WHERE node = $1", &[&self.followed.node]).await };
        if !matches!(tokio::time::timeout(BYE_TIMEOUT, bye).await, Ok(Ok(_one))) {
            tracing::debug!("the database was not told that this daemon leaves");
        }
    }
}

impl Session {
    async fn open(servers: &Servers) -> Result<Self, SharedError> {
        let (hint, hints) = mpsc::channel(1);
        let client = connect(servers, Some(hint)).await?.client;
        within(REFRESH_TIMEOUT, Self::begin(client, hints)).await
    }

    async fn begin(client: Client, hints: mpsc::Receiver<()>) -> Result<Self, SharedError> {
        // What is said here is said again and again, so it is not worth waiting for a standby, which may be gone: then nobody
        // would follow any more.
        answered(client.batch_execute("SET synchronous_commit = off; LISTEN mreg")).await?;
        // Held together with all other daemons, so that nobody takes the log away under them.
        let lock = client.execute("SELECT pg_advisory_lock_shared($1, $2)", &[&LOCK_CLASS, &LOCK_DAEMONS]);
        answered(lock).await?;
        let head = answered(client.prepare(super::writer::HEAD)).await?;
        Ok(Self { client, head, hints })
    }
}

/// Waits until a replica has come as far as asked, or can't.
pub(crate) async fn reached(
    checkpoints: &mut watch::Receiver<Arc<PublishedCheckpoint>>,
    requests: &mpsc::Sender<Request>,
    size: u64,
) -> Result<(), SharedError> {
    if checkpoints.borrow().size >= size {
        return Ok(());
    }
    let stopped = || SharedError::Unreachable("the daemon is stopping".to_owned());
    let (reply, answer) = oneshot::channel();
    requests.send(Request::CatchUp(size, reply)).await.map_err(|_closed| stopped())?;
    tokio::select! {
        biased;
        reached = checkpoints.wait_for(|checkpoint| checkpoint.size >= size) => match reached {
            Ok(_there) => Ok(()),
            Err(_closed) => Err(stopped()),
        },
        caught_up = answer => caught_up.map_err(|_closed| stopped())?,
    }
}
