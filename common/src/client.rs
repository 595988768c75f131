//! The typed client of the REST interface: one method per call, typed answers, problem documents as errors. It knows
//! HTTP/1.1 over TLS, clear TCP or a socket of this machine, reuses connections, and bounds every wait and every body. It
//! keeps the bearer token, so that no caller needs to hold it. What to do about an error, and when to refresh a token, is
//! for the caller.

mod bulk;
mod change;
mod keep;
mod resumable;
mod sse;
mod tokens;
mod upload;
mod way;
mod webhooks;

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::BuildHasher;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::api::{
    AuditPosition, AuditRow, BuildInfo, ConfirmTotp, DisableTotp, EnrolTotp, IngestChanged, IngestItem, IngestPage,
    IngestResume, IngestState, IntakeChanged, Login, Me, ModelInfo, ModelRow, OwnPassword, Page, QuarantineItem, Ready,
    Reason, RecoveryCodes, State, Status, Token, TotpSecret, User, VersionInfo,
};
use crate::certificate::Certificate;
use crate::digest::Digest;
use crate::known::Known;
use crate::name::{ArtifactPath, ItemId, UserName, Version};
use crate::problem::{self, Problem, ProblemType};
use crate::role::Role;
use crate::tls::{TlsError, Trust};

use self::way::Way;

pub use self::bulk::{BulkLines, Sweep};
pub use self::change::VersionVerb;
pub use self::resumable::{NewUpload, Publishing};
pub use self::sse::{
    AuditStream, Bye, EVENT_OCTETS_MAX, Event, FIELD_OCTETS_MAX, LINE_OCTETS_MAX, LogEvent, Parser, SILENCE_MAX,
    SseError,
};
pub use self::tokens::TokenQuery;
pub use self::upload::UPLOAD_ANSWER_TIMEOUT;
pub use self::way::address_of;

/// Longest wait for a connection, the handshake of TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the head of an answer, and for the next octets of a download.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for a whole exchange, downloads excepted.
pub const WHOLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest JSON body that is read, in octets.
pub const JSON_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Octets that a connection buffers each way at most. Without a bound of its own a stream has buffers of several hundred
/// kibioctets, which the process does not give back.
const BUFFER_OCTETS_MAX: usize = 64 * 1024;
/// Idle connections that are kept.
const IDLE_MAX: usize = 4;
/// How long a connection may take to become idle after its answer was read.
const IDLE_WAIT: Duration = Duration::from_millis(50);
/// Most characters of a server's words in an error that is not a problem document.
const QUOTE_CHARS_MAX: usize = 120;

/// Why a call failed. Messages are safe to show after cleaning: parts of them come from the other side.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The address can't be used; nothing was sent.
    #[error("{0}")]
    Address(String),
    /// No connection, or it broke before the answer was complete.
    #[error("can't reach {address}: {cause}")]
    Offline {
        /// Host and port.
        address: String,
        /// What the system says.
        cause: String,
    },
    /// There is somebody, but no connection in TLS that can be trusted. Nothing was sent.
    #[error("{address} is not used: {problem}")]
    Tls {
        /// The daemon's address.
        address: String,
        /// Why.
        problem: TlsError,
    },
    /// A wait ended without an answer. Whether the request was carried out is not known.
    #[error("no answer from {address} within {seconds} s")]
    Timeout {
        /// Host and port.
        address: String,
        /// The limit that was reached.
        seconds: u64,
    },
    /// The answer is not one the interface knows.
    #[error("unexpected answer: {0}")]
    Protocol(String),
    /// The daemon refused, with a problem document.
    #[error("{}: {}", problem.title, problem.detail)]
    Problem {
        /// The document.
        problem: Box<Problem>,
        /// `Retry-After`, where it was a number of seconds.
        retry_after_seconds: Option<u64>,
    },
}

impl ClientError {
    /// The type of the problem, where it is one of the closed list.
    pub fn problem_type(&self) -> Option<ProblemType> {
        match self {
            Self::Problem { problem, .. } => ProblemType::from_slug(problem.kind.strip_prefix("/problems/")?),
            Self::Address(_) | Self::Offline { .. } | Self::Tls { .. } | Self::Timeout { .. } | Self::Protocol(_) => {
                None
            }
        }
    }

    /// The status the daemon answered with, where it answered with a problem document.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem { problem, .. } => Some(problem.status),
            Self::Address(_) | Self::Offline { .. } | Self::Tls { .. } | Self::Timeout { .. } | Self::Protocol(_) => {
                None
            }
        }
    }

    /// The status of an answer, whoever gave it: also of one without a problem document, such as a proxy's page.
    pub fn answered(&self) -> Option<u16> {
        match self {
            Self::Protocol(why) => why.strip_prefix("status ")?.get(..3)?.parse().ok(),
            Self::Problem { problem, .. } => Some(problem.status),
            Self::Address(_) | Self::Offline { .. } | Self::Tls { .. } | Self::Timeout { .. } => None,
        }
    }

    /// Whether signing in (again) is what would help.
    pub fn wants_sign_in(&self) -> bool {
        self.problem_type() == Some(ProblemType::Unauthenticated)
            || (self.status() == Some(401)
                && !matches!(
                    self.problem_type(),
                    Some(ProblemType::BadCredentials | ProblemType::SecondFactorRequired)
                ))
    }
}

/// An answer that is taken as it is, whether it is a success or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// `Retry-After`, where it was a number of seconds.
    pub retry_after_seconds: Option<u64>,
    /// The body.
    pub body: Bytes,
}

/// An answer and what its headers say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply<T> {
    /// The body.
    pub body: T,
    /// `X-Request-Id`, or the id that was sent where the answer has none.
    pub request_id: String,
    /// `Mregd-Log-Index`: the entry that recorded this request, where one did.
    pub log_index: Option<u64>,
    /// `ETag`: the state of the thing that is answered, to be given to a change of it.
    pub etag: Option<String>,
}

impl<T> Reply<T> {
    /// The answer with its body made into something else.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reply<U> {
        let Self { body, request_id, log_index, etag } = self;
        Reply { body: change(body), request_id, log_index, etag }
    }
}

/// What makes a change safe: it is refused (412) where the thing is not in the state it was made for, and a repetition
/// with the same key is answered like the first time. Each is sent only to the calls that know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// `If-Match`: an entity tag, as it was answered.
    pub if_match: Option<String>,
    /// `Idempotency-Key`: 1 to 255 visible ASCII characters.
    pub key: Option<String>,
}

/// A session, as signing in and refreshing answer it. The token itself stays in the [`Client`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Seconds until the token expires.
    pub expires_in_seconds: u64,
    /// The user's name.
    pub username: UserName,
    /// The user's role.
    pub role: Known<Role>,
    /// Whether nothing but [`Client::change_password`] is allowed until the password is changed.
    pub must_change_password: bool,
    /// Whether nothing but [`Client::enrol_totp`] is allowed until there is a second factor.
    pub must_enrol_totp: bool,
}

/// Which models, in what order (rest-api.md §4). Empty fields are not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelQuery {
    /// Words that must all be in name or description; several between double quotes are one.
    pub q: String,
    /// Tags that must all be there, as `key:value`.
    pub tags: Vec<String>,
    /// State of the row; without it all but deleted models.
    pub state: Option<State>,
    /// Format of the latest version.
    pub format: String,
    /// Models that have this alias.
    pub alias: String,
    /// Who published the latest version.
    pub uploader: String,
    /// What the inspection of the latest version came to.
    pub verdict: String,
    /// Parameters of the latest version, all of which must hold: `>1e9`, `<=7B`, `1e9..8e9`.
    pub params: Vec<String>,
    /// Element types that the latest version must all have.
    pub dtypes: Vec<String>,
    /// Changed at or after, RFC 3339.
    pub since: String,
    /// What they must not be, as `field:value`.
    pub not: Vec<String>,
    /// A rule that found something in a version, or a family of rules such as `pickle.*`.
    pub rule: String,
    /// The licence of a version.
    pub licence: String,
    /// Order: `name`, `updated_at`, `created_at`, each also with `-` in front.
    pub sort: String,
    /// Where to go on: `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Where to go back from: `prev_cursor` of the page after, or [`END`].
    pub before: Option<String>,
    /// Rows wanted, 1..1000; the daemon's default where none is given.
    pub limit: Option<u32>,
}

impl ModelQuery {
    /// A target with which models are wanted, and in what order; not with the page.
    fn wanted(&self, target: Target) -> Target {
        target
            .param("q", &self.q)
            .each("tag", &self.tags)
            .each("params", &self.params)
            .each("dtype", &self.dtypes)
            .each("not", &self.not)
            .param("verdict", &self.verdict)
            .param("since", &self.since)
            .param("state", self.state.map_or("", State::as_str))
            .param("format", &self.format)
            .param("alias", &self.alias)
            .param("uploader", &self.uploader)
            .param("rule", &self.rule)
            .param("license", &self.licence)
            .param("sort", &self.sort)
    }
}

/// As `before`: the last page.
pub const END: &str = "end";

/// Which page of a list. Empty: the first one, of the daemon's length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paging {
    /// Where to go on: `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Where to go back from: `prev_cursor` of the page after, or [`END`].
    pub before: Option<String>,
    /// Rows wanted, 1..1000.
    pub limit: Option<u32>,
}

/// Which users, in what order. Empty fields are not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserQuery {
    /// Words that must all be in the name; several between double quotes are one.
    pub q: String,
    /// With this role.
    pub role: Option<Role>,
    /// What they must not be, as `field:value`.
    pub not: Vec<String>,
    /// Disabled ones, or the others.
    pub disabled: Option<bool>,
    /// Order: `name`, `role`, `last_login_at`, `created_at`, each also with `-` in front.
    pub sort: String,
    /// Which page.
    pub page: Paging,
}

/// Which of what is held in quarantine, the longest held first. Empty fields are not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldQuery {
    /// Those that were blocked for good.
    pub blocked: bool,
    /// Words that must all be in the model's name; several between double quotes are one.
    pub q: String,
    /// A rule that found something, or a family of rules such as `pickle.*`.
    pub rule: String,
    /// What inspection came to.
    pub verdict: String,
    /// Who published it.
    pub sender: String,
    /// What they must not be, as `field:value`.
    pub not: Vec<String>,
    /// Which page.
    pub page: Paging,
}

/// Which entries, newest first (rest-api.md §5). Empty fields are not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Actor's name or id.
    pub actor: String,
    /// Action, or a prefix of it that ends in `.*`.
    pub action: String,
    /// Target's id or name.
    pub target: String,
    /// `ok`, `denied` or `error`.
    pub outcome: String,
    /// Client address.
    pub ip: String,
    /// At or after, RFC 3339.
    pub since: String,
    /// At or before, RFC 3339.
    pub until: String,
    /// What they must not be, as `field:value`.
    pub not: Vec<String>,
    /// Only indices below.
    pub before: Option<u64>,
    /// Only indices above.
    pub after: Option<u64>,
    /// Where to go on: `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Rows wanted, 1..1000; the daemon's default where none is given.
    pub limit: Option<u32>,
}

impl AuditQuery {
    fn target(&self) -> Target {
        Target::new(&["audit-logs"])
            .param("actor", &self.actor)
            .param("action", &self.action)
            .param("target", &self.target)
            .param("outcome", &self.outcome)
            .param("ip", &self.ip)
            .param("since", &self.since)
            .param("until", &self.until)
            .each("not", &self.not)
            .number("before", self.before)
            .number("after", self.after)
            .param("cursor", self.cursor.as_deref().unwrap_or_default())
            .number("limit", self.limit.map(u64::from))
    }
}

/// Which items of the drop folder, in the daemon's order. Empty fields are not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IngestQuery {
    /// In one of these states; empty: in any.
    pub states: Vec<IngestState>,
    /// Words that must all be in the path; several between double quotes are one.
    pub q: String,
    /// The order, such as `-state_since`; empty: as they are worked on.
    pub sort: String,
    /// Where to go on: `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Where to go back from: `prev_cursor` of the page after, or [`END`].
    pub before: Option<String>,
    /// Rows wanted, 1..1000; the daemon's default where none is given.
    pub limit: Option<u32>,
}

/// A path with its query, percent-encoded as it grows.
struct Target(String);

impl Target {
    fn new(segments: &[&str]) -> Self {
        let mut path = String::new();
        for segment in segments {
            path.push('/');
            encode(segment, &mut path);
        }
        Self(path)
    }

    fn each(self, name: &str, values: &[String]) -> Self {
        values.iter().fold(self, |target, value| target.param(name, value))
    }

    fn param(mut self, name: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.0.push(if self.0.contains('?') { '&' } else { '?' });
            self.0.push_str(name);
            self.0.push('=');
            encode(value, &mut self.0);
        }
        self
    }

    fn page(self, page: &Paging) -> Self {
        self.param("cursor", page.cursor.as_deref().unwrap_or_default())
            .param("before", page.before.as_deref().unwrap_or_default())
            .number("limit", page.limit.map(u64::from))
    }

    fn number(self, name: &str, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.param(name, &value.to_string()),
            None => self,
        }
    }
}

/// Everything but the unreserved characters of RFC 3986 §2.3 is encoded, slashes included.
fn encode(text: &str, into: &mut String) {
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(octet));
        } else {
            write!(into, "%{octet:02X}").expect("writing to a String can't fail");
        }
    }
}

/// A client of one daemon. Calls may run at once; each takes a connection of its own.
pub struct Client {
    way: Way,
    /// `Date` of the newest answer, seconds since the epoch; 0 before the first.
    date: AtomicI64,
    user_agent: String,
    token: Mutex<Option<Zeroizing<String>>>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    ids: (RandomState, AtomicU64),
    read_only: AtomicBool,
}

impl Client {
    /// A client for `https://host[:port]`, `http://host[:port]` or `unix:/path`, which trusts the authorities of this
    /// machine. Clear HTTP is for this machine only: unless `allow_plain` is set, a connection whose peer is not a loopback
    /// address is refused before anything is sent. `user_agent` is told to the daemon.
    ///
    /// # Errors
    /// [`ClientError::Address`] for anything else than such an address.
    pub fn new(url: &str, user_agent: &str, allow_plain: bool) -> Result<Self, ClientError> {
        Self::with_trust(url, user_agent, allow_plain, &Trust::default())
    }

    /// The same with other authorities, or a pinned key.
    ///
    /// # Errors
    /// As of [`Client::new`], also where the authorities can't be read, and where the address has no use for them.
    pub fn with_trust(url: &str, user_agent: &str, allow_plain: bool, trust: &Trust) -> Result<Self, ClientError> {
        Ok(Self {
            way: Way::new(url, allow_plain, trust)?,
            date: AtomicI64::new(0),
            user_agent: user_agent.to_owned(),
            token: Mutex::new(None),
            idle: Mutex::new(Vec::new()),
            ids: (RandomState::new(), AtomicU64::new(0)),
            read_only: AtomicBool::new(false),
        })
    }

    /// Whether the token it has is an API token, which has no session: it can be neither refreshed nor signed out.
    pub fn has_api_token(&self) -> bool {
        self.token().is_some_and(|token| token.starts_with(crate::token::PREFIX))
    }

    /// The daemon's clock as its newest answer said it, in seconds since the epoch.
    pub fn date(&self) -> Option<i64> {
        Some(self.date.load(Ordering::Relaxed)).filter(|date| *date > 0)
    }

    /// Where the daemon is, to be shown: host and port of clear HTTP, else the whole address.
    pub fn address(&self) -> &str {
        &self.way.address
    }

    /// Whether it is spoken to in TLS.
    pub fn is_tls(&self) -> bool {
        self.way.tls().is_some()
    }

    /// Whether passwords and tokens may cross a network in clear: somebody agreed to it, and the address is not one of this
    /// machine.
    pub fn is_plain(&self) -> bool {
        self.way.is_plain()
    }

    /// What the daemon's certificate said at the newest handshake.
    pub fn certificate(&self) -> Option<Certificate> {
        self.way.tls()?.certificate()
    }

    /// Opens a connection for the call that comes next, and tells what the daemon's certificate says. Nothing is sent.
    ///
    /// # Errors
    /// [`ClientError::Offline`], [`ClientError::Timeout`], [`ClientError::Tls`].
    pub async fn reach(&self) -> Result<Option<Certificate>, ClientError> {
        let connection = self.connect().await?;
        self.put_back(connection).await;
        Ok(self.certificate())
    }

    /// Takes a bearer token that was obtained elsewhere, or forgets the one there is. The old one is wiped.
    pub fn set_token(&self, token: Option<Zeroizing<String>>) {
        *self.token.lock().expect("no holder of the token panics") = token;
    }

    /// A copy of the token, for whoever keeps sessions; it is wiped when dropped.
    pub fn token(&self) -> Option<Zeroizing<String>> {
        self.token.lock().expect("no holder of the token panics").clone()
    }

    /// From now on nothing that changes anything is sent: all but reading and signing in and out is refused here.
    pub fn set_read_only(&self, on: bool) {
        self.read_only.store(on, Ordering::Relaxed);
    }

    /// Whether the token is that of a session, which ends and can be made fresh; an API token is neither.
    pub fn has_session(&self) -> bool {
        self.token().is_some_and(|token| !token.starts_with(crate::token::PREFIX))
    }

    /// Whether there is a token to send.
    pub fn has_token(&self) -> bool {
        self.token.lock().expect("no holder of the token panics").is_some()
    }

    /// `POST /login`. The token is kept for the calls that follow.
    ///
    /// # Errors
    /// [`ProblemType::SecondFactorRequired`] where the password is right and a code is needed with it, or another one;
    /// [`ProblemType::BadCredentials`], [`ProblemType::TooManyRequests`]; those of every call.
    pub async fn login(
        &self,
        username: &str,
        password: &str,
        otp: Option<&str>,
    ) -> Result<Reply<Session>, ClientError> {
        let body = Login { username: username.to_owned(), password: password.to_owned(), otp: otp.map(str::to_owned) };
        let json = to_json(&body);
        // The struct's own copy is wiped; the encoded one lives in the connection's buffers until they are reused.
        drop((Zeroizing::new(body.password), body.otp.map(Zeroizing::new)));
        let reply = self.call::<Token>(Method::POST, Target::new(&["login"]), Some(json?), false).await?;
        Ok(self.keep(reply))
    }

    /// `POST /token/refresh`: a fresh token for the same session, kept in place of the old one.
    ///
    /// # Errors
    /// [`ProblemType::Unauthenticated`] where the session is over; those of every call.
    pub async fn refresh(&self) -> Result<Reply<Session>, ClientError> {
        let reply =
            self.call::<Token>(Method::POST, Target::new(&["token", "refresh"]), Some(Bytes::new()), true).await?;
        Ok(self.keep(reply))
    }

    /// `POST /logout`: ends the session at once; the token is forgotten whatever the answer.
    ///
    /// # Errors
    /// Those of every call; the session then ends with its token.
    pub async fn logout(&self) -> Result<(), ClientError> {
        let answer = self.exchange(Method::POST, Target::new(&["logout"]), Some(Bytes::new()), true).await;
        self.set_token(None);
        answer.map(drop)
    }

    /// `POST /me/password`: changes one's own password and ends one's other sessions.
    ///
    /// # Errors
    /// [`ProblemType::WeakPassword`], [`ProblemType::BadCredentials`]; those of every call.
    pub async fn change_password(&self, old: &str, new: &str) -> Result<(), ClientError> {
        let body = OwnPassword { old_password: old.to_owned(), new_password: new.to_owned() };
        let json = to_json(&body);
        drop((Zeroizing::new(body.old_password), Zeroizing::new(body.new_password)));
        self.exchange(Method::POST, Target::new(&["me", "password"]), Some(json?), true).await.map(drop)
    }

    /// `POST /me/totp`: a secret for one's own second factor. It is told this once.
    ///
    /// # Errors
    /// [`ProblemType::BadCredentials`], [`ProblemType::Conflict`]; those of every call.
    pub async fn enrol_totp(&self, password: &str) -> Result<Reply<TotpSecret>, ClientError> {
        let body = EnrolTotp { password: password.to_owned() };
        let json = to_json(&body);
        drop(Zeroizing::new(body.password));
        self.call(Method::POST, Target::new(&["me", "totp"]), Some(json?), true).await
    }

    /// `POST /me/totp/confirm`: turns one's own second factor on, and ends one's other sessions. The recovery codes are told
    /// this once.
    ///
    /// # Errors
    /// [`ProblemType::Invalid`] for a wrong code, [`ProblemType::Conflict`]; those of every call.
    pub async fn confirm_totp(&self, code: &str) -> Result<Reply<RecoveryCodes>, ClientError> {
        let json = to_json(&ConfirmTotp { code: code.to_owned() });
        self.call(Method::POST, Target::new(&["me", "totp", "confirm"]), Some(json?), true).await
    }

    /// `POST /me/totp/disable`: gives one's own second factor up, and ends one's other sessions.
    ///
    /// # Errors
    /// [`ProblemType::BadCredentials`], [`ProblemType::SecondFactorRequired`], [`ProblemType::Conflict`]; those of every call.
    pub async fn disable_totp(&self, password: &str, code: &str) -> Result<(), ClientError> {
        let body = DisableTotp { password: password.to_owned(), code: code.to_owned() };
        let json = to_json(&body);
        drop((Zeroizing::new(body.password), Zeroizing::new(body.code)));
        self.exchange(Method::POST, Target::new(&["me", "totp", "disable"]), Some(json?), true).await.map(drop)
    }

    /// `GET /me`.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn me(&self) -> Result<Reply<Me>, ClientError> {
        self.read(Target::new(&["me"])).await
    }

    /// `GET /models`.
    ///
    /// # Errors
    /// [`ProblemType::Invalid`] for values the daemon doesn't take; those of every call.
    pub async fn models(&self, query: &ModelQuery) -> Result<Reply<Page<ModelRow>>, ClientError> {
        let target = query
            .wanted(Target::new(&["models"]))
            .param("cursor", query.cursor.as_deref().unwrap_or_default())
            .param("before", query.before.as_deref().unwrap_or_default())
            .number("limit", query.limit.map(u64::from));
        self.read(target).await
    }

    /// `GET /models/{id}`; `reference` is an id, a name, `name:3`, `name@alias` or a digest.
    ///
    /// # Errors
    /// [`ProblemType::NotFound`]; those of every call.
    pub async fn model(&self, reference: &str) -> Result<Reply<ModelInfo>, ClientError> {
        self.read(Target::new(&["models", reference])).await
    }

    /// `GET /models/{id}/versions`, newest first.
    ///
    /// # Errors
    /// [`ProblemType::NotFound`]; those of every call.
    pub async fn versions(
        &self,
        reference: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Reply<Page<VersionInfo>>, ClientError> {
        let page = Paging { cursor: cursor.map(str::to_owned), limit: Some(limit), before: None };
        self.version_page(reference, &page).await
    }

    /// The same, any page of it.
    ///
    /// # Errors
    /// As of [`Client::versions`].
    pub async fn version_page(&self, reference: &str, page: &Paging) -> Result<Reply<Page<VersionInfo>>, ClientError> {
        self.read(Target::new(&["models", reference, "versions"]).page(page)).await
    }

    /// `GET /quarantine`: what waits for a decision, the longest held first, or what was blocked for good.
    ///
    /// # Errors
    /// [`ProblemType::Forbidden`] without `quarantine.read`; those of every call.
    pub async fn quarantine(
        &self,
        blocked: bool,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Reply<Page<QuarantineItem>>, ClientError> {
        let page = Paging { cursor: cursor.map(str::to_owned), limit: Some(limit), before: None };
        self.held(&HeldQuery { blocked, page, ..HeldQuery::default() }).await
    }

    /// The same, filtered, and any page of it.
    ///
    /// # Errors
    /// As of [`Client::quarantine`]; [`ProblemType::Invalid`] for values the daemon doesn't take.
    pub async fn held(&self, query: &HeldQuery) -> Result<Reply<Page<QuarantineItem>>, ClientError> {
        let target = Target::new(&["quarantine"])
            .param("blocked", if query.blocked { "true" } else { "" })
            .param("q", &query.q)
            .param("rule", &query.rule)
            .param("verdict", &query.verdict)
            .param("sender", &query.sender)
            .each("not", &query.not)
            .page(&query.page);
        self.read(target).await
    }

    /// `GET /ingest`: what lies in the drop folder or came through it, and how it fares as a whole.
    ///
    /// # Errors
    /// [`ProblemType::Invalid`] for values the daemon doesn't take; those of every call.
    pub async fn ingest(&self, query: &IngestQuery) -> Result<Reply<IngestPage>, ClientError> {
        let mut target = Target::new(&["ingest"]);
        for state in &query.states {
            target = target.param("state", state.as_str());
        }
        let target = target
            .param("q", &query.q)
            .param("sort", &query.sort)
            .param("cursor", query.cursor.as_deref().unwrap_or_default())
            .param("before", query.before.as_deref().unwrap_or_default())
            .number("limit", query.limit.map(u64::from));
        self.read(target).await
    }

    /// `GET /ingest/{item}`.
    ///
    /// # Errors
    /// [`ProblemType::NotFound`]: no such item, or no drop folder; those of every call.
    pub async fn ingest_item(&self, item: ItemId) -> Result<Reply<IngestItem>, ClientError> {
        self.read(Target::new(&["ingest", &item.to_string()])).await
    }

    /// `POST /ingest/{item}/retry`: tries it again at once.
    ///
    /// # Errors
    /// [`ProblemType::Forbidden`] without `ingest.manage`, [`ProblemType::NotFound`], [`ProblemType::Conflict`] where it is
    /// under way or done; those of every call.
    pub async fn retry_item(&self, item: ItemId) -> Result<Reply<IngestChanged>, ClientError> {
        self.call(Method::POST, Target::new(&["ingest", &item.to_string(), "retry"]), Some(Bytes::new()), true).await
    }

    /// `POST /ingest/{item}/discard`: gives it up; no file is deleted.
    ///
    /// # Errors
    /// As of [`Client::retry_item`]; [`ProblemType::Invalid`] for the reason.
    pub async fn discard_item(&self, item: ItemId, reason: &str) -> Result<Reply<IngestChanged>, ClientError> {
        let body = to_json(&Reason { reason: reason.to_owned() })?;
        self.call(Method::POST, Target::new(&["ingest", &item.to_string(), "discard"]), Some(body), true).await
    }

    /// `POST /ingest/pause`: nothing more is taken in until [`Client::resume_intake`].
    ///
    /// # Errors
    /// [`ProblemType::Forbidden`] without `ingest.manage`, [`ProblemType::NotFound`] where there is no drop folder,
    /// [`ProblemType::Invalid`] for the reason; those of every call.
    pub async fn pause_intake(&self, reason: &str) -> Result<Reply<IntakeChanged>, ClientError> {
        let body = to_json(&Reason { reason: reason.to_owned() })?;
        self.call(Method::POST, Target::new(&["ingest", "pause"]), Some(body), true).await
    }

    /// `POST /ingest/resume`: files are taken in again. The reason may be left out.
    ///
    /// # Errors
    /// As of [`Client::pause_intake`].
    pub async fn resume_intake(&self, reason: Option<&str>) -> Result<Reply<IntakeChanged>, ClientError> {
        let body = to_json(&IngestResume { reason: reason.map(str::to_owned) })?;
        self.call(Method::POST, Target::new(&["ingest", "resume"]), Some(body), true).await
    }

    /// `GET /users`.
    ///
    /// # Errors
    /// [`ProblemType::Forbidden`] without `user.manage`; those of every call.
    pub async fn users(&self, cursor: Option<&str>, limit: u32) -> Result<Reply<Page<User>>, ClientError> {
        let page = Paging { cursor: cursor.map(str::to_owned), limit: Some(limit), before: None };
        self.user_page(&UserQuery { page, ..UserQuery::default() }).await
    }

    /// The same, filtered and sorted, and any page of it.
    ///
    /// # Errors
    /// As of [`Client::users`]; [`ProblemType::Invalid`] for values the daemon doesn't take.
    pub async fn user_page(&self, query: &UserQuery) -> Result<Reply<Page<User>>, ClientError> {
        let state = query.disabled.map_or("", |disabled| if disabled { "disabled" } else { "active" });
        let target = Target::new(&["users"])
            .param("q", &query.q)
            .param("role", query.role.map_or("", Role::as_str))
            .param("state", state)
            .each("not", &query.not)
            .param("sort", &query.sort)
            .page(&query.page);
        self.read(target).await
    }

    /// `GET /audit-logs`, newest first. Each call is an entry itself.
    ///
    /// # Errors
    /// [`ProblemType::Forbidden`] without `audit.read`; those of every call.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Reply<Page<AuditRow>>, ClientError> {
        self.audit_as(query).await
    }

    /// The same, each row as what the caller reads an [`AuditRow`] as: a page is long, and one row at a time is a tree.
    ///
    /// # Errors
    /// As [`Self::audit`].
    pub async fn audit_as<T: DeserializeOwned>(&self, query: &AuditQuery) -> Result<Reply<Page<T>>, ClientError> {
        self.read(query.target()).await
    }

    /// `GET /audit-logs/position`: the first entry that is not before a time (RFC 3339). It is no reading of entries.
    ///
    /// # Errors
    /// [`ProblemType::Forbidden`] without `audit.read`; [`ProblemType::Invalid`] for what is no time; those of every call.
    pub async fn audit_position(&self, time: &str) -> Result<Reply<AuditPosition>, ClientError> {
        self.read(Target::new(&["audit-logs", "position"]).param("time", time)).await
    }

    /// `GET /audit-logs?format=ndjson`: all entries that match, newest first, one [`AuditRow`] a line, as they arrive. One
    /// call is one entry, however many rows come.
    ///
    /// # Errors
    /// [`ProblemType::Forbidden`] without `audit.read`; those of every call.
    pub async fn audit_export(&self, query: &AuditQuery) -> Result<Download, ClientError> {
        let reply = self.open(Method::GET, query.target().param("format", "ndjson"), NDJSON, &[]).await?;
        if reply.body.status() != StatusCode::OK {
            return Err(ClientError::Protocol(format!("status {} to an export", reply.body.status())));
        }
        Ok(Download { body: reply.body.into_body(), address: self.way.address.clone() })
    }

    /// `GET /status`.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn status(&self) -> Result<Reply<Status>, ClientError> {
        self.read(Target::new(&["status"])).await
    }

    /// `GET /readyz`: whether requests are served, and what stands against it.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn ready(&self) -> Result<Ready, ClientError> {
        let Answer { status, body, .. } = self.octets("/readyz").await?;
        from_json(&body).map_err(|why| ClientError::Protocol(format!("status {status} to /readyz{why}")))
    }

    /// `GET /version`.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn version(&self) -> Result<Reply<BuildInfo>, ClientError> {
        self.read(Target::new(&["version"])).await
    }

    /// `GET /models/{id}/versions/{v}/files/{path}`: the bytes of one artifact, as they arrive.
    ///
    /// # Errors
    /// [`ProblemType::NotFound`], [`ProblemType::ModelQuarantined`]; those of every call.
    pub async fn download(
        &self,
        reference: &str,
        version: Version,
        path: &ArtifactPath,
    ) -> Result<Download, ClientError> {
        let number = version.to_string();
        let mut segments = vec!["models", reference, "versions", &number, "files"];
        segments.extend(path.as_str().split('/'));
        let reply = self.open(Method::GET, Target::new(&segments), JSON, &[no_redirect()]).await?;
        if reply.body.status() != StatusCode::OK {
            return Err(ClientError::Protocol(format!("status {} to a download", reply.body.status())));
        }
        Ok(Download { body: reply.body.into_body(), address: self.way.address.clone() })
    }

    /// The same from an octet on, as long as it is still the file of this digest; whether it begins there. Where it does
    /// not, it begins at the first octet.
    ///
    /// # Errors
    /// As of [`Client::download`].
    pub async fn download_from(
        &self,
        reference: &str,
        version: Version,
        path: &ArtifactPath,
        from: u64,
        digest: &Digest,
    ) -> Result<(Download, bool), ClientError> {
        let number = version.to_string();
        let mut segments = vec!["models", reference, "versions", &number, "files"];
        segments.extend(path.as_str().split('/'));
        let fields = [("range", format!("bytes={from}-")), ("if-range", format!("\"{digest}\"")), no_redirect()];
        let work = self.send_with(Method::GET, Target::new(&segments), None, true, JSON, &fields);
        let (_connection, reply) =
            timeout(WHOLE_TIMEOUT, work).await.unwrap_or_else(|_elapsed| Err(self.late(WHOLE_TIMEOUT)))?;
        let status = reply.body.status();
        let begins = text(reply.body.headers(), "content-range").map(str::to_owned);
        let is_part = match status {
            StatusCode::OK => false,
            StatusCode::PARTIAL_CONTENT if begins.is_some_and(|range| range.starts_with(&format!("bytes {from}-"))) => {
                true
            }
            _ => return Err(ClientError::Protocol(format!("status {status} to a part of a download"))),
        };
        Ok((Download { body: reply.body.into_body(), address: self.way.address.clone() }, is_part))
    }

    /// `GET` of a path without a query, such as those below `/log`: the answer, whatever it is. The token is sent along, if
    /// there is one.
    ///
    /// # Errors
    /// Those of every call, but for refusals: these are statuses.
    pub async fn octets(&self, path: &str) -> Result<Answer, ClientError> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let work = async {
            let request = self.request(Method::GET, &Target::new(&segments).0, None, true, "*/*", &self.fresh_id())?;
            let (connection, response) = self.transmit(request, true).await?;
            let (status, retry_after_seconds) = (response.status(), retry_after(response.headers()));
            let body = self.collect(response.into_body()).await?;
            self.put_back(connection).await;
            Ok(Answer { status, retry_after_seconds, body })
        };
        timeout(WHOLE_TIMEOUT, work).await.unwrap_or_else(|_elapsed| Err(self.late(WHOLE_TIMEOUT)))
    }

    /// `GET /log/proof/{index}?size=n`: the proof that an entry is in the log of that size, as C2SP tlog-proof text.
    ///
    /// # Errors
    /// [`ProblemType::NotFound`], [`ProblemType::Forbidden`]; those of every call.
    pub async fn log_proof(&self, index: u64, size: u64) -> Result<String, ClientError> {
        let target = Target::new(&["log", "proof", &index.to_string()]).number("size", Some(size));
        let work = async {
            let (connection, reply) = self.send_with(Method::GET, target, None, true, "text/plain", &[]).await?;
            let bytes = self.collect(reply.body.into_body()).await?;
            self.put_back(connection).await;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        timeout(WHOLE_TIMEOUT, work).await.unwrap_or_else(|_elapsed| Err(self.late(WHOLE_TIMEOUT)))
    }

    /// Asks for something that goes on, and reads the head of the answer. The connection ends with it.
    async fn open(
        &self,
        method: Method,
        target: Target,
        accept: &'static str,
        fields: &[(&'static str, String)],
    ) -> Result<Reply<Response<Incoming>>, ClientError> {
        let (_connection, reply) = timeout(WHOLE_TIMEOUT, self.send_with(method, target, None, true, accept, fields))
            .await
            .unwrap_or_else(|_elapsed| Err(self.late(WHOLE_TIMEOUT)))?;
        Ok(reply)
    }

    fn keep(&self, reply: Reply<Token>) -> Reply<Session> {
        let Token { access_token, expires_in, role, username, must_change_password, must_enrol_totp, .. } = reply.body;
        self.set_token(Some(Zeroizing::new(access_token)));
        let body = Session { expires_in_seconds: expires_in, username, role, must_change_password, must_enrol_totp };
        Reply { body, request_id: reply.request_id, log_index: reply.log_index, etag: None }
    }

    async fn read<T: DeserializeOwned>(&self, target: Target) -> Result<Reply<T>, ClientError> {
        self.call(Method::GET, target, None, true).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        target: Target,
        body: Option<Bytes>,
        signed: bool,
    ) -> Result<Reply<T>, ClientError> {
        fitting(self.exchange(method, target, body, signed).await?)
    }

    /// A change: JSON or nothing goes out with its condition.
    async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        target: Target,
        body: Option<Bytes>,
        condition: &Condition,
    ) -> Result<Reply<T>, ClientError> {
        let body = Some(body.unwrap_or_default());
        fitting(self.exchange_if(method, target, body, true, condition).await?)
    }

    /// One request, its whole answer, everything within [`WHOLE_TIMEOUT`].
    async fn exchange(
        &self,
        method: Method,
        target: Target,
        body: Option<Bytes>,
        signed: bool,
    ) -> Result<Reply<Bytes>, ClientError> {
        self.exchange_if(method, target, body, signed, &Condition::default()).await
    }

    async fn exchange_if(
        &self,
        method: Method,
        target: Target,
        body: Option<Bytes>,
        signed: bool,
        condition: &Condition,
    ) -> Result<Reply<Bytes>, ClientError> {
        let work = async {
            let fields: Vec<(&'static str, String)> =
                [("if-match", &condition.if_match), ("idempotency-key", &condition.key)]
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, value.clone()?)))
                    .collect();
            let (connection, reply) = self.send_with(method, target, body, signed, JSON, &fields).await?;
            let Reply { body, request_id, log_index, etag } = reply;
            let bytes = self.collect(body.into_body()).await?;
            self.put_back(connection).await;
            Ok(Reply { body: bytes, request_id, log_index, etag })
        };
        timeout(WHOLE_TIMEOUT, work).await.unwrap_or_else(|_elapsed| Err(self.late(WHOLE_TIMEOUT)))
    }

    /// Sends a request with these header fields besides the usual ones, and reads the head of its answer. An answer that is no
    /// success is read whole and comes back as an error.
    async fn send_with(
        &self,
        method: Method,
        target: Target,
        body: Option<Bytes>,
        signed: bool,
        accept: &'static str,
        fields: &[(&'static str, String)],
    ) -> Result<(SendRequest<Full<Bytes>>, Reply<Response<Incoming>>), ClientError> {
        self.check_read_only(&method, &target)?;
        let id = self.fresh_id();
        let repeatable = method == Method::GET;
        let mut request = self.request(method, &target.0, body, signed, accept, &id)?;
        for (name, value) in fields {
            let value = http::HeaderValue::from_str(value)
                .map_err(|cause| ClientError::Address(format!("{name} can't be sent: {cause}")))?;
            request.headers_mut().insert(*name, value);
        }
        let (connection, response) = self.transmit(request, repeatable).await?;
        let headers = response.headers();
        let request_id = text(headers, "x-request-id").unwrap_or(&id).to_owned();
        let log_index = text(headers, "mregd-log-index").and_then(|value| value.parse().ok());
        if response.status().is_success() {
            let etag = text(headers, header::ETAG.as_str()).map(str::to_owned);
            return Ok((connection, Reply { body: response, request_id, log_index, etag }));
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = self.collect(response.into_body()).await?;
        self.put_back(connection).await;
        Err(refusal(status, &headers, &bytes))
    }

    fn check_read_only(&self, method: &Method, target: &Target) -> Result<(), ClientError> {
        let is_session = matches!(target.0.as_str(), "/login" | "/logout" | "/token/refresh");
        if method != Method::GET && !is_session && self.read_only.load(Ordering::Relaxed) {
            return Err(ClientError::Address(format!("{} is used read-only: nothing was sent", self.way.address)));
        }
        Ok(())
    }

    fn request(
        &self,
        method: Method,
        target: &str,
        body: Option<Bytes>,
        signed: bool,
        accept: &'static str,
        id: &str,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, &self.way.authority)
            .header(header::USER_AGENT, &self.user_agent)
            .header(header::ACCEPT, accept)
            .header(header::ACCEPT, problem::CONTENT_TYPE)
            .header("x-request-id", id);
        if body.as_ref().is_some_and(|body| !body.is_empty()) {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if signed && let Some(token) = &*self.token.lock().expect("no holder of the token panics") {
            let bearer = Zeroizing::new(format!("Bearer {}", token.as_str()));
            let mut value = http::HeaderValue::from_str(&bearer)
                .map_err(|_cause| ClientError::Address("the token has characters no token has".to_owned()))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|cause| ClientError::Address(format!("the request can't be made: {cause}")))
    }

    /// A kept connection may have been closed by the other side meanwhile: what was not sent on it, and what may be
    /// repeated, goes over a fresh one.
    async fn transmit(
        &self,
        request: Request<Full<Bytes>>,
        repeatable: bool,
    ) -> Result<(SendRequest<Full<Bytes>>, Response<Incoming>), ClientError> {
        let mut request = request;
        while let Some(mut connection) = self.take_idle() {
            let copy = repeatable.then(|| request.clone());
            match self.in_time(connection.try_send_request(request)).await? {
                Ok(response) => {
                    self.note_date(&response);
                    return Ok((connection, response));
                }
                Err(mut failed) => match failed.take_message().or(copy) {
                    Some(again) => request = again,
                    None => return Err(self.offline(&failed.into_error())),
                },
            }
        }
        let mut connection = self.connect().await?;
        let response = self.in_time(connection.send_request(request)).await?;
        let response = response.map_err(|cause| self.offline(&cause))?;
        self.note_date(&response);
        Ok((connection, response))
    }

    fn note_date<B>(&self, response: &Response<B>) {
        if let Some(date) = text(response.headers(), header::DATE.as_str()).and_then(http_date) {
            self.date.store(date, Ordering::Relaxed);
        }
    }

    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, ClientError> {
        timeout(FIRST_BYTE_TIMEOUT, answer).await.map_err(|_elapsed| self.late(FIRST_BYTE_TIMEOUT))
    }

    async fn connect<B>(&self) -> Result<SendRequest<B>, ClientError>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream =
            timeout(CONNECT_TIMEOUT, self.way.open()).await.map_err(|_elapsed| self.late(CONNECT_TIMEOUT))??;
        let mut way = Builder::new();
        way.max_buf_size(BUFFER_OCTETS_MAX);
        let (sender, connection) = way.handshake(TokioIo::new(stream)).await.map_err(|cause| self.offline(&cause))?;
        // Its errors reach the request that was on it; without one there is nobody to tell.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().expect("no holder of the pool panics");
        idle.retain(SendRequest::is_ready);
        idle.pop()
    }

    async fn put_back(&self, mut connection: SendRequest<Full<Bytes>>) {
        if matches!(timeout(IDLE_WAIT, connection.ready()).await, Ok(Ok(()))) {
            let mut idle = self.idle.lock().expect("no holder of the pool panics");
            if idle.len() < IDLE_MAX {
                idle.push(connection);
            }
        }
    }

    async fn collect(&self, mut body: Incoming) -> Result<Bytes, ClientError> {
        let too_large = || ClientError::Protocol(format!("it is larger than {JSON_BYTES_MAX} octets"));
        if body.size_hint().lower() > JSON_BYTES_MAX as u64 {
            return Err(too_large());
        }
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|cause| self.offline(&cause))?;
            if let Ok(data) = frame.into_data() {
                if whole.len() + data.len() > JSON_BYTES_MAX {
                    return Err(too_large());
                }
                whole.extend_from_slice(&data);
            }
        }
        Ok(whole.into())
    }

    /// A request id in the form of a random UUID. It tells requests apart; it is no secret.
    fn fresh_id(&self) -> String {
        let (hasher, counter) = &self.ids;
        let number = counter.fetch_add(1, Ordering::Relaxed);
        let (high, low) = (hasher.hash_one((number, 0)), hasher.hash_one((number, 1)));
        let bits = (u128::from(high) << 64) | u128::from(low);
        let bits = bits & !(0xf << 76) & !(0b11 << 62) | (4 << 76) | (0b10 << 62);
        let hex = format!("{bits:032x}");
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    fn offline(&self, cause: &(dyn std::error::Error + 'static)) -> ClientError {
        let mut text = cause.to_string();
        // hyper says "connection error" and keeps the reason in the source.
        if let Some(source) = cause.source() {
            text = source.to_string();
        }
        ClientError::Offline { address: self.way.address.clone(), cause: text }
    }

    fn late(&self, limit: Duration) -> ClientError {
        ClientError::Timeout { address: self.way.address.clone(), seconds: limit.as_secs() }
    }
}

/// What is asked for where nothing else is.
const JSON: &str = "application/json";
/// One JSON document a line.
const NDJSON: &str = "application/x-ndjson";

/// The JSON of an answer as what it should be; the octets are wiped.
fn fitting<T: DeserializeOwned>(reply: Reply<Bytes>) -> Result<Reply<T>, ClientError> {
    let Reply { body, request_id, log_index, etag } = reply;
    let bytes = Zeroizing::new(Vec::from(body));
    let body = from_json(&bytes).map_err(|why| ClientError::Protocol(format!("its JSON doesn't fit{why}")))?;
    Ok(Reply { body, request_id, log_index, etag })
}

/// A value of JSON; where it doesn't fit, ` at <path of the field>: <why>`.
fn from_json<T: DeserializeOwned>(octets: &[u8]) -> Result<T, String> {
    serde_json::from_slice(octets).map_err(|cause| {
        // What fits is read without keeping the place in mind; what doesn't is read again to tell it.
        let mut reader = serde_json::Deserializer::from_slice(octets);
        match serde_path_to_error::deserialize::<_, T>(&mut reader) {
            Err(error) if error.path().iter().next().is_some() => format!(" at {}: {}", error.path(), error.inner()),
            Err(_) | Ok(_) => format!(": {cause}"),
        }
    })
}

fn to_json(body: &impl Serialize) -> Result<Bytes, ClientError> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|cause| ClientError::Address(format!("the request can't be written as JSON: {cause}")))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Seconds since the epoch of an HTTP date in the form that servers send (RFC 9110 §5.6.7, IMF-fixdate).
fn http_date(text: &str) -> Option<i64> {
    let (_day, rest) = text.split_once(", ")?;
    let time = jiff::civil::DateTime::strptime("%d %b %Y %H:%M:%S", rest.strip_suffix(" GMT")?).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

/// Octets come from the registry itself: this client follows nobody to another address (RFC 7240).
fn no_redirect() -> (&'static str, String) {
    ("prefer", "no-redirect".to_owned())
}

/// `Retry-After`, where it is a number of seconds.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    text(headers, header::RETRY_AFTER.as_str())?.parse().ok()
}

/// What an answer that is no success means.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ClientError {
    let media = text(headers, header::CONTENT_TYPE.as_str()).unwrap_or("no content type");
    if media.split(';').next().map(str::trim) == Some(problem::CONTENT_TYPE) {
        return match from_json::<Problem>(body) {
            Ok(problem) => {
                ClientError::Problem { problem: Box::new(problem), retry_after_seconds: retry_after(headers) }
            }
            Err(why) => ClientError::Protocol(format!("status {status} with a problem document that doesn't fit{why}")),
        };
    }
    let said: String = String::from_utf8_lossy(body).chars().take(QUOTE_CHARS_MAX).collect();
    ClientError::Protocol(format!("status {status}, {media}: {said:?}; is this a mregd?"))
}

/// The body of a file, in the pieces it arrives in.
#[derive(Debug)]
pub struct Download {
    body: Incoming,
    address: String,
}

impl Download {
    /// The length the daemon promised, in octets.
    pub fn size(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next octets; none at the end. A body that ends early is an error, never an end.
    ///
    /// # Errors
    /// [`ClientError::Offline`] where it broke, [`ClientError::Timeout`] where nothing came for [`FIRST_BYTE_TIMEOUT`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = timeout(FIRST_BYTE_TIMEOUT, self.body.frame()).await.map_err(|_elapsed| {
                ClientError::Timeout { address: self.address.clone(), seconds: FIRST_BYTE_TIMEOUT.as_secs() }
            })?;
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    Err(_trailers) => {}
                },
                Some(Err(cause)) => {
                    return Err(ClientError::Offline { address: self.address.clone(), cause: cause.to_string() });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
