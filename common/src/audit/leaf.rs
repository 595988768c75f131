//! The audit entry and its leaf: the canonical octets that the tree hashes.
//!
//! Knows the members of an entry (audit-log spec §1), how they are written, and that only exactly these octets are
//! accepted back. Refuses to know who decides what is logged, where leaves are kept, and what time it is: identifier,
//! salt, time and index are given.
//!
//! Never in a leaf: passwords, password hashes, tokens, keys, file contents. That is the caller's to keep.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::action::Action;
use super::canonical::{DEPTH_MAX, INTEGER_MAX, ObjectWriter, canonical_json, write_members};
use super::timestamp;
use crate::shown::shown;

/// The schema of the entries that this version writes and reads: their member `v`.
pub const ENTRY_VERSION: u64 = 1;

/// Octets of the longest leaf.
pub const LEAF_LEN_MAX: usize = 32_768;

/// Octets after which the user agent of a request is cut.
pub const USER_AGENT_LEN_MAX: usize = 200;

/// Characters of a member's name that an error shows: a stranger may have chosen it.
const NAME_CHARS_MAX: usize = 80;

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Index of the leaf in the log, given by the sequencer.
    pub seq: u64,
    /// Identifier of the event, unique for ever: UUIDv7 or 128 random bits.
    pub id: String,
    /// When the decision was made by the daemon's clock, in milliseconds since 1970-01-01T00:00:00Z.
    pub ts: i64,
    /// The daemon instance.
    pub node: String,
    /// 32 fresh random octets, never reused: without them anyone could confirm a guess of an entry from its public hash.
    pub salt: [u8; 32],
    /// What was done or tried.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// Who did it.
    pub actor: Actor,
    /// Where state changed: SHA-256 of the change in the same journal record.
    pub change: Option<[u8; 32]>,
    /// Index of the previous entry about the same subject.
    pub prev: Option<u64>,
    /// What it was done to.
    pub target: Option<Target>,
    /// The HTTP request it was done by.
    pub req: Option<RequestInfo>,
    /// What the action adds, such as a verdict, or a role before and after. Written even where empty.
    pub data: BTreeMap<String, Value>,
}

/// How the audited operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// Policy refused it, whether the actor was authenticated or not.
    Denied,
    /// It was invalid, conflicted, or failed.
    Error,
}

impl Outcome {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Error => "error",
        }
    }

    /// The outcome of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Ok, Self::Denied, Self::Error].into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// What kind of actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActorKind {
    /// A person.
    User,
    /// A program with an account of its own.
    Service,
    /// The daemon itself, such as its drop folder.
    System,
    /// Nobody known.
    Anonymous,
}

impl ActorKind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::System => "system",
            Self::Anonymous => "anonymous",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::User, Self::Service, Self::System, Self::Anonymous].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Stable identifier of the user; or `anonymous`, `system`, `watcher`.
    pub id: String,
    /// Name at that time.
    pub name: Option<String>,
    /// What kind of actor.
    pub kind: ActorKind,
    /// Role at that time.
    pub role: Option<String>,
    /// Identifier of the token or key that was shown, never the secret.
    pub cred: Option<String>,
}

/// What it was done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `model`, `version`, `file`, `user`, `token`, `policy`, `log` and so on.
    pub kind: String,
    /// Identifier of the subject.
    pub id: String,
    /// Version of the model.
    pub version: Option<String>,
    /// Content, as `sha256:<64 hex>`.
    pub digest: Option<String>,
    /// Octets of the content.
    pub size: Option<u64>,
}

/// The HTTP request it was done by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInfo {
    /// Identifier of the request.
    pub id: String,
    /// HTTP method.
    pub method: String,
    /// The route's template, never the raw path or query.
    pub route: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// Address of the client, as far as the settings keep it.
    pub ip: Option<String>,
    /// User agent; cut at [`USER_AGENT_LEN_MAX`] octets when written.
    pub ua: Option<String>,
}

impl Entry {
    /// The leaf: the canonical octets of this entry, at most [`LEAF_LEN_MAX`].
    ///
    /// Where it would be longer, strings inside `data` are replaced by `{"len":octets,"sha256":"<hex>"}`, largest first,
    /// until it fits.
    ///
    /// # Errors
    /// [`LeafError`] where a member cannot be written canonically, or the leaf stays too long.
    pub fn to_leaf(&self) -> Result<Vec<u8>, LeafError> {
        let mut leaf = Vec::with_capacity(1024);
        self.write(&self.data, &mut leaf)?;
        if let Some(excess) = leaf.len().checked_sub(LEAF_LEN_MAX).filter(|excess| *excess > 0) {
            leaf.clear();
            self.write(&shortened(&self.data, excess), &mut leaf)?;
        }
        if leaf.len() > LEAF_LEN_MAX { Err(LeafError::TooLong { len: leaf.len() }) } else { Ok(leaf) }
    }

    /// Reads a leaf, accepting nothing but the canonical octets of an entry: whoever verifies a log must not be shown an
    /// entry that two readers could read differently.
    ///
    /// # Errors
    /// [`LeafError`] names the first thing found that is not as this version writes it.
    pub fn parse(leaf: &[u8]) -> Result<Self, LeafError> {
        if leaf.len() > LEAF_LEN_MAX {
            return Err(LeafError::TooLong { len: leaf.len() });
        }
        let value: Value = serde_json::from_slice(leaf)?;
        // Duplicate keys, white space, order, escapes and spellings of numbers: all that a JSON reader lets pass shows
        // here, because each value has one spelling only.
        let canonical = canonical_json(&value)?;
        if canonical != leaf {
            let at = canonical.iter().zip(leaf).take_while(|(ours, theirs)| ours == theirs).count();
            return Err(LeafError::NotCanonical { at });
        }
        let Value::Object(members) = value else {
            return Err(LeafError::Member { member: "entry".to_owned(), expected: "an object" });
        };
        Self::from_members(Members { path: "", members })
    }

    /// Writes the members, with `data` in place of the entry's own; their order is the octet order of the keys.
    fn write(&self, data: &BTreeMap<String, Value>, out: &mut Vec<u8>) -> Result<(), LeafError> {
        let mut entry = ObjectWriter::open(out);
        entry.string("action", self.action.as_str());
        self.actor.write(entry.key("actor"));
        if let Some(change) = &self.change {
            entry.hex("change", change);
        }
        write_members(entry.key("data"), data.iter(), DEPTH_MAX - 1).map_err(|error| error.within("data"))?;
        entry.string("id", &self.id);
        entry.string("node", &self.node);
        entry.string("outcome", self.outcome.as_str());
        if let Some(prev) = self.prev {
            entry.integer("prev", prev)?;
        }
        if let Some(req) = &self.req {
            req.write(entry.key("req"))?;
        }
        entry.hex("salt", &self.salt);
        entry.integer("seq", self.seq)?;
        if let Some(target) = &self.target {
            target.write(entry.key("target")).map_err(|error| error.within("target"))?;
        }
        let ts = entry.key("ts");
        ts.push(b'"');
        ts.extend_from_slice(&timestamp::octets(self.ts)?);
        ts.push(b'"');
        entry.integer("v", ENTRY_VERSION)?;
        entry.close();
        Ok(())
    }

    fn from_members(mut entry: Members) -> Result<Self, LeafError> {
        // First, so that an entry of a newer schema is called that and not malformed.
        let version = entry.integer("v")?;
        if version != ENTRY_VERSION {
            return Err(LeafError::Version { version });
        }
        let parsed = Self {
            seq: entry.integer("seq")?,
            id: entry.string("id")?,
            ts: timestamp::parse_timestamp(&entry.string("ts")?)?,
            node: entry.string("node")?,
            salt: entry.hex("salt")?.ok_or_else(|| entry.wrong("salt", HEX_32))?,
            action: entry.string("action")?.parse()?,
            outcome: Outcome::parse(&entry.string("outcome")?)
                .ok_or_else(|| entry.wrong("outcome", "`ok`, `denied` or `error`"))?,
            actor: Actor::from_members(entry.object("actor")?.ok_or_else(|| entry.wrong("actor", "an object"))?)?,
            change: entry.hex("change")?,
            prev: entry.optional_integer("prev")?,
            target: entry.object("target")?.map(Target::from_members).transpose()?,
            req: entry.object("req")?.map(RequestInfo::from_members).transpose()?,
            data: entry.object("data")?.ok_or_else(|| entry.wrong("data", "an object"))?.members.into_iter().collect(),
        };
        entry.finish()?;
        Ok(parsed)
    }
}

impl Actor {
    /// Whoever showed no credential, or none that is known.
    pub fn anonymous() -> Self {
        Self::without_account("anonymous", ActorKind::Anonymous)
    }

    /// The daemon itself.
    pub fn system() -> Self {
        Self::without_account("system", ActorKind::System)
    }

    /// The drop folder.
    pub fn watcher() -> Self {
        Self::without_account("watcher", ActorKind::System)
    }

    fn without_account(id: &str, kind: ActorKind) -> Self {
        Self { id: id.to_owned(), name: None, kind, role: None, cred: None }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut actor = ObjectWriter::open(out);
        actor.optional_string("cred", self.cred.as_deref());
        actor.string("id", &self.id);
        actor.string("kind", self.kind.as_str());
        actor.optional_string("name", self.name.as_deref());
        actor.optional_string("role", self.role.as_deref());
        actor.close();
    }

    fn from_members(mut actor: Members) -> Result<Self, LeafError> {
        let parsed = Self {
            id: actor.string("id")?,
            name: actor.optional_string("name")?,
            kind: ActorKind::parse(&actor.string("kind")?)
                .ok_or_else(|| actor.wrong("kind", "`user`, `service`, `system` or `anonymous`"))?,
            role: actor.optional_string("role")?,
            cred: actor.optional_string("cred")?,
        };
        actor.finish()?;
        Ok(parsed)
    }
}

impl Target {
    /// A subject without content, such as a user.
    pub fn new(kind: &str, id: &str) -> Self {
        Self { kind: kind.to_owned(), id: id.to_owned(), version: None, digest: None, size: None }
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), LeafError> {
        let mut target = ObjectWriter::open(out);
        if let Some(digest) = &self.digest {
            if !is_digest(digest) {
                return Err(LeafError::Member { member: "digest".to_owned(), expected: DIGEST });
            }
            target.string("digest", digest);
        }
        target.string("id", &self.id);
        target.string("kind", &self.kind);
        if let Some(size) = self.size {
            target.integer("size", size)?;
        }
        target.optional_string("version", self.version.as_deref());
        target.close();
        Ok(())
    }

    fn from_members(mut target: Members) -> Result<Self, LeafError> {
        let parsed = Self {
            kind: target.string("kind")?,
            id: target.string("id")?,
            version: target.optional_string("version")?,
            digest: target.optional_string("digest")?,
            size: target.optional_integer("size")?,
        };
        if parsed.digest.as_deref().is_some_and(|digest| !is_digest(digest)) {
            return Err(target.wrong("digest", DIGEST));
        }
        target.finish()?;
        Ok(parsed)
    }
}

impl RequestInfo {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), LeafError> {
        let mut req = ObjectWriter::open(out);
        req.string("id", &self.id);
        req.optional_string("ip", self.ip.as_deref());
        req.string("method", &self.method);
        req.string("route", &self.route);
        req.integer("status", self.status.into())?;
        if let Some(ua) = &self.ua {
            req.string("ua", &ua[..ua.floor_char_boundary(USER_AGENT_LEN_MAX)]);
        }
        req.close();
        Ok(())
    }

    fn from_members(mut req: Members) -> Result<Self, LeafError> {
        let parsed = Self {
            id: req.string("id")?,
            method: req.string("method")?,
            route: req.string("route")?,
            status: u16::try_from(req.integer("status")?).ok().ok_or_else(|| req.wrong("status", "an HTTP status"))?,
            ip: req.optional_string("ip")?,
            ua: req.optional_string("ua")?,
        };
        if parsed.ua.as_ref().is_some_and(|ua| ua.len() > USER_AGENT_LEN_MAX) {
            return Err(req.wrong("ua", "at most 200 octets"));
        }
        req.finish()?;
        Ok(parsed)
    }
}

/// Why an entry has no leaf, or octets are not a leaf.
#[derive(Debug, Error)]
pub enum LeafError {
    /// The leaf is longer than [`LEAF_LEN_MAX`], even with its free text cut.
    #[error("leaf of {len} octets is longer than {LEAF_LEN_MAX}")]
    TooLong {
        /// Its length in octets.
        len: usize,
    },
    /// A number is not an integer. Floats have no spelling that all readers agree on.
    #[error("`{}` is a number but not an integer", shown(key, NAME_CHARS_MAX))]
    Float {
        /// The member.
        key: String,
    },
    /// An integer is beyond 2^53 − 1.
    #[error("`{}` is an integer beyond 2^53 - 1", shown(key, NAME_CHARS_MAX))]
    Integer {
        /// The member.
        key: String,
    },
    /// A key has other characters than printable ASCII.
    #[error("key `{}` is not printable ASCII", shown(key, NAME_CHARS_MAX))]
    Key {
        /// The key.
        key: String,
    },
    /// Arrays and objects nest deeper than [`DEPTH_MAX`].
    #[error("arrays and objects nest deeper than {DEPTH_MAX}")]
    Depth,
    /// A time is not `YYYY-MM-DDThh:mm:ss.mmmZ`, or outside the years 0 to 9999.
    #[error("time is not of the form `YYYY-MM-DDThh:mm:ss.mmmZ`")]
    Time,
    /// The name of an action is malformed.
    #[error("action `{}` is not lower-case words joined by dots", shown(action, NAME_CHARS_MAX))]
    Action {
        /// The name.
        action: String,
    },
    /// The leaf is not JSON.
    #[error("leaf is not JSON")]
    Json(#[from] serde_json::Error),
    /// The leaf is JSON, but its octets are not the canonical ones.
    #[error("leaf is not canonical from octet {at}")]
    NotCanonical {
        /// Where the first wrong octet stands, from 0.
        at: usize,
    },
    /// The entry is of a schema that this version does not know.
    #[error("entry is of schema {version}, this version reads {ENTRY_VERSION}")]
    Version {
        /// Its member `v`.
        version: u64,
    },
    /// A member is missing, or not what it should be.
    #[error("`{}` is not {expected}", shown(member, NAME_CHARS_MAX))]
    Member {
        /// The member.
        member: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The entry has a member that its schema does not have.
    #[error("`{}` is not a member of an entry", shown(member, NAME_CHARS_MAX))]
    UnknownMember {
        /// The member.
        member: String,
    },
}

impl LeafError {
    /// Names the object that the fault is in.
    pub(super) fn within(self, object: &str) -> Self {
        let join = |key: String| if key.is_empty() { object.to_owned() } else { format!("{object}.{key}") };
        match self {
            Self::Float { key } => Self::Float { key: join(key) },
            Self::Integer { key } => Self::Integer { key: join(key) },
            Self::Key { key } => Self::Key { key: join(key) },
            Self::Member { member, expected } => Self::Member { member: join(member), expected },
            other => other,
        }
    }
}

const HEX_32: &str = "64 lower-case hex digits";
const DIGEST: &str = "`sha256:` and 64 lower-case hex digits";

fn is_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_hex)
}

/// A copy of `data` whose largest strings are replaced by their length and hash until `excess` octets are saved. Ties
/// fall to the string that comes first, so that equal entries give equal leaves.
fn shortened(data: &BTreeMap<String, Value>, excess: usize) -> BTreeMap<String, Value> {
    let mut data = data.clone();
    let mut texts = Vec::new();
    data.values_mut().for_each(|value| collect_texts(value, &mut texts));
    texts.sort_by_key(|(len, _)| std::cmp::Reverse(*len));
    let mut saved = 0;
    for (len, value) in texts {
        if saved >= excess {
            break;
        }
        let Value::String(text) = &*value else { continue };
        let replacement = json!({ "len": len, "sha256": hex::encode(Sha256::digest(text)) });
        let written = |value: &Value| canonical_json(value).map_or(0, |octets| octets.len());
        // A short text takes less room than what would stand for it, and all that follow are shorter still.
        let Some(gain) = written(value).checked_sub(written(&replacement)).filter(|gain| *gain > 0) else { continue };
        saved += gain;
        *value = replacement;
    }
    data
}

fn collect_texts<'a>(value: &'a mut Value, texts: &mut Vec<(usize, &'a mut Value)>) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => texts.push((text.len(), value)),
        Value::Array(items) => items.iter_mut().for_each(|item| collect_texts(item, texts)),
        Value::Object(members) => members.values_mut().for_each(|member| collect_texts(member, texts)),
    }
}

/// The members of an object, taken out one by one; what is left at the end should not be there.
struct Members {
    path: &'static str,
    members: Map<String, Value>,
}

impl Members {
    fn wrong(&self, member: &str, expected: &'static str) -> LeafError {
        LeafError::Member { member: self.name(member), expected }
    }

    fn name(&self, member: &str) -> String {
        if self.path.is_empty() { member.to_owned() } else { format!("{}.{member}", self.path) }
    }

    fn string(&mut self, member: &str) -> Result<String, LeafError> {
        self.optional_string(member)?.ok_or_else(|| self.wrong(member, "a string"))
    }

    fn optional_string(&mut self, member: &str) -> Result<Option<String>, LeafError> {
        match self.members.remove(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(member, "a string")),
        }
    }

    fn integer(&mut self, member: &str) -> Result<u64, LeafError> {
        self.optional_integer(member)?.ok_or_else(|| self.wrong(member, "an integer from 0"))
    }

    fn optional_integer(&mut self, member: &str) -> Result<Option<u64>, LeafError> {
        let Some(value) = self.members.remove(member) else { return Ok(None) };
        let integer = value.as_u64().filter(|integer| *integer <= INTEGER_MAX);
        integer.map(Some).ok_or_else(|| self.wrong(member, "an integer from 0"))
    }

    fn hex(&mut self, member: &str) -> Result<Option<[u8; 32]>, LeafError> {
        let Some(text) = self.optional_string(member)? else { return Ok(None) };
        let mut octets = [0; 32];
        if !is_hex(&text) || hex::decode_to_slice(text, &mut octets).is_err() {
            return Err(self.wrong(member, HEX_32));
        }
        Ok(Some(octets))
    }

    fn object(&mut self, member: &'static str) -> Result<Option<Self>, LeafError> {
        match self.members.remove(member) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Self { path: member, members })),
            Some(_) => Err(self.wrong(member, "an object")),
        }
    }

    fn finish(self) -> Result<(), LeafError> {
        match self.members.keys().next() {
            None => Ok(()),
            Some(member) => Err(LeafError::UnknownMember { member: self.name(member) }),
        }
    }
}
