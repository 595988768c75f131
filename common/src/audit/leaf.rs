//! The audit entry and its exact octets (audit-log.md §1): UTF-8 of one JSON object in a subset of JCS (RFC 8785). Who
//! writes entries, and when, is not known here.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The largest leaf, in octets.
pub const LEAF_OCTETS_MAX: usize = 32_768;
/// The largest magnitude of an integer: 2^53 − 1, what every JSON reader holds exactly.
pub const INTEGER_MAX: i64 = (1 << 53) - 1;
/// The longest user agent that is kept, in octets.
pub const USER_AGENT_OCTETS_MAX: usize = 200;
/// The deepest nesting of `data`.
const DEPTH_MAX: usize = 16;
/// The version of the schema.
const SCHEMA: i64 = 1;

/// Why an entry can't be written, or octets are no entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LeafError {
    /// It is over [`LEAF_OCTETS_MAX`] even with its long texts replaced by their digests.
    #[error("the entry has {0} octets, more than {LEAF_OCTETS_MAX}")]
    TooLong(usize),
    /// A value that the subset has no form for.
    #[error("{0}")]
    Value(String),
    /// The octets are no JSON.
    #[error("the leaf is no JSON: {0}")]
    Json(String),
    /// A member is missing, unknown, or of another type.
    #[error("the leaf's member {0} is missing, unknown or of another type")]
    Member(String),
    /// The octets are JSON of an entry, but not its canonical form.
    #[error("the leaf is not in canonical form")]
    NotCanonical,
}

macro_rules! actions {
    ($($variant:ident $name:literal)*) => {
        /// What was done or tried.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
            /// A well-formed name that this version doesn't know: a newer daemon wrote it.
            Other(String),
        }

        impl Action {
            /// The actions this version knows.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),*];

            /// The name.
            pub fn as_str(&self) -> &str {
                match self { $(Self::$variant => $name,)* Self::Other(name) => name }
            }
        }

        impl FromStr for Action {
            type Err = LeafError;
            /// Accepts `[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+`.
            fn from_str(name: &str) -> Result<Self, LeafError> {
                let word = |word: &str| {
                    word.bytes().next().is_some_and(|octet| octet.is_ascii_lowercase())
                        && word.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_')
                };
                match name {
                    $($name => Ok(Self::$variant),)*
                    other if other.contains('.') && other.split('.').all(word) => Ok(Self::Other(other.to_owned())),
                    other => Err(LeafError::Value(format!("{other:?} is not an action"))),
                }
            }
        }
    };
}

actions! {
    LogGenesis "log.genesis" LogStart "log.start" LogStop "log.stop" LogHeartbeat "log.heartbeat"
    LogKeyRotate "log.key_rotate" LogRecover "log.recover" LogRollbackAccepted "log.rollback_accepted"
    ConfigChange "config.change"
    AuthLogin "auth.login" AuthLogout "auth.logout" AuthRefresh "auth.refresh" AuthThrottled "auth.throttled"
    AuthDenied "auth.denied"
    UserCreate "user.create" UserUpdate "user.update" UserDisable "user.disable" UserEnable "user.enable"
    UserDelete "user.delete" UserPassword "user.password" UserRevokeSessions "user.revoke_sessions"
    UserRead "user.read" UserList "user.list"
    RoleGrant "role.grant" RoleRevoke "role.revoke" TokenCreate "token.create" TokenRevoke "token.revoke"
    ModelUpload "model.upload" ModelDownload "model.download" ModelDownloadEnd "model.download_end"
    ModelUpdate "model.update" ModelDelete "model.delete" ModelRestore "model.restore" ModelPurge "model.purge"
    ModelRead "model.read" ModelList "model.list" ModelScan "model.scan" ModelQuarantine "model.quarantine"
    ModelRelease "model.release" ModelOverride "model.override" ModelDeprecate "model.deprecate"
    ModelSign "model.sign" ModelVerify "model.verify"
    AliasSet "alias.set" AliasClear "alias.clear" PolicyChange "policy.change"
    TrustAdd "trust.add" TrustRemove "trust.remove" IngestAccept "ingest.accept" IngestReject "ingest.reject"
    StoreRebuild "store.rebuild" BackupCreate "backup.create" BackupRestore "backup.restore"
    AuditRead "audit.read" AuditExport "audit.export"
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$variant_doc:meta])* $variant:ident $word:literal)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Its word in a leaf.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl FromStr for $name {
            type Err = LeafError;
            fn from_str(word: &str) -> Result<Self, LeafError> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    other => Err(LeafError::Value(format!(concat!("{:?} is not ", $what), other))),
                }
            }
        }
    };
}

words! {
    /// How it ended.
    Outcome, "an outcome" {
        /// It was done.
        Ok "ok"
        /// Refused by policy, authenticated or not.
        Denied "denied"
        /// Invalid, conflicting, or failed.
        Error "error"
    }
}

words! {
    /// What kind of actor.
    ActorKind, "a kind of actor" {
        /// A person with an account.
        User "user"
        /// An account of a program.
        Service "service"
        /// The daemon itself.
        System "system"
        /// Nobody who signed in.
        Anonymous "anonymous"
    }
}

/// Who acted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Stable user id, or `anonymous`, `system`, `watcher`.
    pub id: String,
    /// The name at the time.
    pub name: Option<String>,
    /// What kind.
    pub kind: ActorKind,
    /// The role at the time.
    pub role: Option<String>,
    /// Id of the session, token or key; never the secret.
    pub cred: Option<String>,
}

impl Actor {
    /// The daemon itself.
    pub fn system() -> Self {
        Self::plain("system", ActorKind::System)
    }

    /// Nobody who signed in.
    pub fn anonymous() -> Self {
        Self::plain("anonymous", ActorKind::Anonymous)
    }

    fn plain(id: &str, kind: ActorKind) -> Self {
        Self { id: id.to_owned(), name: Some(id.to_owned()), kind, role: None, cred: None }
    }
}

/// On what it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `model`, `version`, `file`, `user`, `session`, `log` …
    pub kind: String,
    /// Its stable id; for versions and files the model's.
    pub id: String,
    /// The version's number.
    pub version: Option<String>,
    /// `sha256:<hex>` of a file.
    pub digest: Option<String>,
    /// Octets.
    pub size: Option<u64>,
}

impl Target {
    /// A target of a kind, by id.
    pub fn new(kind: &str, id: &str) -> Self {
        Self { kind: kind.to_owned(), id: id.to_owned(), version: None, digest: None, size: None }
    }
}

/// The request it came with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestInfo {
    /// The request's id.
    pub id: String,
    /// `GET`, `POST` …
    pub method: String,
    /// The route's template, never the raw path or query.
    pub route: String,
    /// The status it was answered with.
    pub status: u16,
    /// The client's address, as the settings allow it to be kept.
    pub ip: Option<String>,
    /// The user agent, cut at [`USER_AGENT_OCTETS_MAX`].
    pub ua: Option<String>,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its index.
    pub seq: u64,
    /// Event id, unique for ever.
    pub id: String,
    /// `YYYY-MM-DDThh:mm:ss.mmmZ`.
    pub ts: String,
    /// Instance id of the daemon.
    pub node: String,
    /// 32 fresh random octets as hex, so that nobody can confirm a guess of the entry from its public hash.
    pub salt: String,
    /// What was done or tried.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// Who.
    pub actor: Actor,
    /// SHA-256 of the change in the same journal record, as hex; none where nothing changed.
    pub change: Option<String>,
    /// Index of the entry before about the same subject.
    pub prev: Option<u64>,
    /// On what.
    pub target: Target,
    /// With which request.
    pub req: Option<RequestInfo>,
    /// What else is worth knowing.
    pub data: BTreeMap<String, Value>,
}

impl Entry {
    /// The exact octets. Where they would be too many, the longest texts of `data` are replaced by
    /// `{"len":octets,"sha256":hex}`, longest first.
    pub fn to_leaf(&self) -> Result<Vec<u8>, LeafError> {
        let octets = self.write(&self.data)?;
        if octets.len() <= LEAF_OCTETS_MAX {
            return Ok(octets);
        }
        let mut over = octets.len();
        let mut data = self.data.clone();
        while over > LEAF_OCTETS_MAX {
            let Some(text) = data.values_mut().fold(None, longest_text) else { return Err(LeafError::TooLong(over)) };
            *text = digest_of_text(text);
            over = self.write(&data)?.len();
        }
        self.write(&data)
    }

    fn write(&self, data: &BTreeMap<String, Value>) -> Result<Vec<u8>, LeafError> {
        let mut out = Vec::with_capacity(640);
        let mut object = Object::open(&mut out);
        object.text("action", self.action.as_str());
        let mut actor = object.nested("actor");
        actor.maybe("cred", self.actor.cred.as_deref());
        actor.text("id", &self.actor.id);
        actor.text("kind", self.actor.kind.as_str());
        actor.maybe("name", self.actor.name.as_deref());
        actor.maybe("role", self.actor.role.as_deref());
        actor.close();
        object.maybe("change", self.change.as_deref());
        object.key("data");
        write_object(object.out, data.iter().map(|(key, value)| (key.as_str(), value)), DEPTH_MAX)?;
        object.text("id", &self.id);
        object.text("node", &self.node);
        object.text("outcome", self.outcome.as_str());
        if let Some(prev) = self.prev {
            object.number("prev", prev)?;
        }
        if let Some(request) = &self.req {
            let mut req = object.nested("req");
            req.text("id", &request.id);
            req.maybe("ip", request.ip.as_deref());
            req.text("method", &request.method);
            req.text("route", &request.route);
            req.number("status", u64::from(request.status))?;
            req.maybe("ua", request.ua.as_deref().map(|ua| cut(ua, USER_AGENT_OCTETS_MAX)));
            req.close();
        }
        object.text("salt", &self.salt);
        object.number("seq", self.seq)?;
        let mut target = object.nested("target");
        target.maybe("digest", self.target.digest.as_deref());
        target.text("id", &self.target.id);
        target.text("kind", &self.target.kind);
        if let Some(size) = self.target.size {
            target.number("size", size)?;
        }
        target.maybe("version", self.target.version.as_deref());
        target.close();
        object.text("ts", &self.ts);
        object.number("v", SCHEMA.unsigned_abs())?;
        object.close();
        Ok(out)
    }

    /// The entry of exact octets. Anything but the canonical form of a version 1 entry is refused.
    pub fn parse(leaf: &[u8]) -> Result<Self, LeafError> {
        if leaf.len() > LEAF_OCTETS_MAX {
            return Err(LeafError::TooLong(leaf.len()));
        }
        let value: Value = serde_json::from_slice(leaf).map_err(|error| LeafError::Json(error.to_string()))?;
        let mut top = Members::of(value, "")?;
        if top.number("v")? != SCHEMA.unsigned_abs() {
            return Err(LeafError::Member("v".to_owned()));
        }
        let mut actor = Members::of(top.take("actor")?, "actor.")?;
        let mut target = Members::of(top.take("target")?, "target.")?;
        let req = match top.map.remove("req") {
            Some(req) => {
                let mut req = Members::of(req, "req.")?;
                let request = RequestInfo {
                    id: req.text("id")?,
                    method: req.text("method")?,
                    route: req.text("route")?,
                    status: u16::try_from(req.number("status")?)
                        .map_err(|_wide| LeafError::Member("req.status".to_owned()))?,
                    ip: req.maybe("ip")?,
                    ua: req.maybe("ua")?,
                };
                req.finish()?;
                Some(request)
            }
            None => None,
        };
        let Value::Object(data) = top.take("data")? else { return Err(LeafError::Member("data".to_owned())) };
        let entry = Self {
            seq: top.number("seq")?,
            id: top.text("id")?,
            ts: top.text("ts")?,
            node: top.text("node")?,
            salt: top.text("salt")?,
            action: top.text("action")?.parse()?,
            outcome: top.text("outcome")?.parse()?,
            actor: Actor {
                id: actor.text("id")?,
                name: actor.maybe("name")?,
                kind: actor.text("kind")?.parse()?,
                role: actor.maybe("role")?,
                cred: actor.maybe("cred")?,
            },
            change: top.maybe("change")?,
            prev: top.maybe_number("prev")?,
            target: Target {
                kind: target.text("kind")?,
                id: target.text("id")?,
                version: target.maybe("version")?,
                digest: target.maybe("digest")?,
                size: target.maybe_number("size")?,
            },
            req,
            data: data.into_iter().collect(),
        };
        actor.finish()?;
        target.finish()?;
        top.finish()?;
        // One comparison decides about key order, white space, escapes, numbers and duplicate keys at once.
        if entry.write(&entry.data)? == leaf { Ok(entry) } else { Err(LeafError::NotCanonical) }
    }
}

/// Members of an object that are taken out one by one.
struct Members {
    map: Map<String, Value>,
    path: &'static str,
}

impl Members {
    fn of(value: Value, path: &'static str) -> Result<Self, LeafError> {
        match value {
            Value::Object(map) => Ok(Self { map, path }),
            _ => Err(LeafError::Member(path.trim_end_matches('.').to_owned())),
        }
    }

    fn bad(&self, key: &str) -> LeafError {
        LeafError::Member(format!("{}{key}", self.path))
    }

    fn take(&mut self, key: &str) -> Result<Value, LeafError> {
        self.map.remove(key).ok_or_else(|| self.bad(key))
    }

    fn text(&mut self, key: &str) -> Result<String, LeafError> {
        self.maybe(key)?.ok_or_else(|| self.bad(key))
    }

    fn maybe(&mut self, key: &str) -> Result<Option<String>, LeafError> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.bad(key)),
        }
    }

    fn number(&mut self, key: &str) -> Result<u64, LeafError> {
        self.maybe_number(key)?.ok_or_else(|| self.bad(key))
    }

    fn maybe_number(&mut self, key: &str) -> Result<Option<u64>, LeafError> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| self.bad(key)),
        }
    }

    fn finish(self) -> Result<(), LeafError> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(key) => Err(self.bad(key)),
        }
    }
}

/// An object that is being written. The caller gives the keys in the order of their octets.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Object<'o> {
    fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    fn key(&mut self, key: &str) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        write_text(self.out, key);
        self.out.push(b':');
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        write_text(self.out, value);
    }

    fn maybe(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn number(&mut self, key: &str, value: u64) -> Result<(), LeafError> {
        self.key(key);
        write_integer(self.out, i64::try_from(value).unwrap_or(i64::MAX))
    }

    fn nested(&mut self, key: &str) -> Object<'_> {
        self.key(key);
        Object::open(self.out)
    }

    fn close(self) {
        self.out.push(b'}');
    }
}

fn write_object<'v>(
    out: &mut Vec<u8>,
    members: impl Iterator<Item = (&'v str, &'v Value)>,
    depth: usize,
) -> Result<(), LeafError> {
    let mut object = Object::open(out);
    for (key, value) in members {
        if key.is_empty() || !key.bytes().all(|octet| (0x20..0x7f).contains(&octet)) {
            return Err(LeafError::Value(format!("the key {key:?} is not printable ASCII")));
        }
        object.key(key);
        write_value(object.out, value, depth)?;
    }
    object.close();
    Ok(())
}

fn write_value(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), LeafError> {
    let Some(below) = depth.checked_sub(1) else {
        return Err(LeafError::Value(format!("`data` is nested more than {DEPTH_MAX} deep")));
    };
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => write_integer(out, integer)?,
            None => return Err(LeafError::Value(format!("{number} is not an integer of at most 2^53 - 1"))),
        },
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_value(out, item, below)?;
            }
            out.push(b']');
        }
        // serde_json's map is a BTreeMap, so its keys come in the order of their octets.
        Value::Object(map) => write_object(out, map.iter().map(|(key, value)| (key.as_str(), value)), below)?,
    }
    Ok(())
}

fn write_integer(out: &mut Vec<u8>, integer: i64) -> Result<(), LeafError> {
    if integer.unsigned_abs() > INTEGER_MAX.unsigned_abs() {
        return Err(LeafError::Value(format!("{integer} is beyond 2^53 - 1")));
    }
    if integer < 0 {
        out.push(b'-');
    }
    let mut digits = [0; 20];
    let mut rest = integer.unsigned_abs();
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    Ok(())
}

/// A JSON string with the fewest escapes (RFC 8785 §3.2.2.2).
fn write_text(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut plain_from = 0;
    for (at, octet) in text.bytes().enumerate() {
        let short = match octet {
            b'"' => b'"',
            b'\\' => b'\\',
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            0x00..0x20 => 0,
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[plain_from..at]);
        plain_from = at + 1;
        if short == 0 {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(octet >> 4)]);
            out.push(HEX[usize::from(octet & 15)]);
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain_from..]);
    out.push(b'"');
}

/// The longest text within a value, if it is longer than what would replace it and than the best so far.
fn longest_text<'v>(best: Option<&'v mut Value>, value: &'v mut Value) -> Option<&'v mut Value> {
    const REPLACEMENT: usize = 100;
    let length = |value: &Value| value.as_str().map_or(0, str::len);
    let candidate = match value {
        Value::Array(items) => items.iter_mut().fold(None, longest_text),
        Value::Object(map) => map.values_mut().fold(None, longest_text),
        Value::String(text) if text.len() > REPLACEMENT => Some(value),
        _ => None,
    };
    match (best, candidate) {
        (Some(best), Some(candidate)) if length(candidate) <= length(best) => Some(best),
        (Some(best), None) => Some(best),
        (_, candidate) => candidate,
    }
}

fn digest_of_text(value: &Value) -> Value {
    let text = value.as_str().unwrap_or_default();
    let digest = hex::encode(Sha256::digest(text.as_bytes()));
    serde_json::json!({ "len": text.len(), "sha256": digest })
}

/// The longest prefix of at most `octets` octets that ends between characters.
fn cut(text: &str, octets: usize) -> &str {
    let mut end = text.len().min(octets);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `YYYY-MM-DDThh:mm:ss.mmmZ` of milliseconds since the epoch. Times outside the years 0 to 9999 become its ends.
pub fn format_time(ms: i64) -> String {
    const YEAR_0: i64 = -62_167_219_200_000;
    const YEAR_9999: i64 = 253_402_214_400_000;
    let time = Timestamp::from_millisecond(ms.clamp(YEAR_0, YEAR_9999)).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}

/// Milliseconds since the epoch of exactly that form.
pub fn parse_time(text: &str) -> Result<i64, LeafError> {
    let bad = || LeafError::Value(format!("{:?} is not a time like 2026-07-01T12:00:00.000Z", cut(text, 40)));
    let ms = Timestamp::from_str(text).map_err(|_unparsable| bad())?.as_millisecond();
    if format_time(ms) == text { Ok(ms) } else { Err(bad()) }
}

