//! The audit log by pages: newest at the foot, read newest first.

use std::collections::BTreeSet;
use std::sync::Arc;

use common::api::AuditRow;
use common::audit::{Hash, HashError, canonical_json, leaf_hash};
use common::client::AuditQuery;
use serde::Deserialize;
use serde_json::Value;

use crate::action::RequestId;
use crate::clean::octets;
use crate::filter::{audit_query, shown};
use crate::tail::Held;
use crate::window::{Cursor, Row, Window};

/// Rows of a page: a bundle of the log.
pub const PAGE_ROWS: u32 = 256;
/// Entries that may be marked one by one.
pub const MARKS_MAX: usize = 10_000;

/// What is marked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// These entries.
    pub indices: BTreeSet<u64>,
    /// All that match the filter, however many come.
    pub all: bool,
    /// The entry that was marked last: a range begins there.
    pub last: Option<u64>,
}

impl Marks {
    /// Whether nothing is marked.
    pub fn is_empty(&self) -> bool {
        !self.all && self.indices.is_empty()
    }

    /// Whether an entry is marked that is in the list.
    pub fn has(&self, index: u64) -> bool {
        self.all || self.indices.contains(&index)
    }
}

/// What is known of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mark {
    /// No verified checkpoint covers it, or its tile was not looked at yet.
    #[default]
    Pending,
    /// It is the one that the log committed to.
    Verified,
    /// It is not.
    Wrong,
}

/// Octets of each fact that a row shows. Nothing the daemon logs is longer; what is, is cut for the row and whole below it.
const FACT_OCTETS_MAX: usize = 256;

/// What a row shows of its entry.
#[derive(Debug, Clone, Copy)]
enum Fact {
    Time,
    Actor,
    Action,
    Outcome,
    Kind,
    Id,
    Version,
    Name,
}

/// How many of them there are.
const FACTS: usize = 8;

/// The facts of a row in one piece of memory: hundreds of rows are held, and a tree of each would be ten times as much.
#[derive(Debug, Clone, Default)]
struct Facts {
    text: Box<str>,
    ends: [u16; FACTS],
}

impl Facts {
    fn of(entry: &Value) -> Self {
        let name = field(entry, &["actor", "name"]);
        let version = match entry.pointer("/target/version") {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        // In the order of `Fact`.
        let facts: [&str; FACTS] = [
            field(entry, &["ts"]),
            if name.is_empty() { field(entry, &["actor", "id"]) } else { name },
            field(entry, &["action"]),
            field(entry, &["outcome"]),
            field(entry, &["target", "kind"]),
            field(entry, &["target", "id"]),
            &version,
            name_then(entry).unwrap_or_default(),
        ];
        let mut text = String::new();
        let ends = facts.map(|fact| {
            text.push_str(&fact[..fact.floor_char_boundary(FACT_OCTETS_MAX)]);
            u16::try_from(text.len()).unwrap_or(u16::MAX)
        });
        Self { text: text.into(), ends }
    }

    fn get(&self, fact: Fact) -> &str {
        let place = fact as usize;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start.into()..self.ends[place].into()).unwrap_or_default()
    }
}

/// A row of the list: the exact octets of an entry, and what of it is shown.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "AuditRow")]
pub struct Line {
    /// The place of the entry, or of the first that was withheld.
    pub index: u64,
    /// It came by the stream: checkpoints of the stream verify it.
    pub live: bool,
    /// What is known of it.
    pub mark: Mark,
    /// Instead of an entry: the entries from its index up to this one were withheld.
    pub missing_to: Option<u64>,
    /// The leaf hash that came with it, or that of the leaf that came.
    hash: Option<Hash>,
    leaf: Arc<[u8]>,
    is_canonical: bool,
    malformed: Option<Box<str>>,
    facts: Facts,
}

impl TryFrom<AuditRow> for Line {
    type Error = HashError;

    /// An entry that was read by a page.
    fn try_from(row: AuditRow) -> Result<Self, HashError> {
        let hash = row.leaf_hash.parse()?;
        let canonical = canonical_json(&row.entry);
        let is_canonical = canonical.is_ok();
        // What has no canonical form is shown all the same, and is not what was logged.
        let leaf = canonical.or_else(|_none| serde_json::to_vec(&row.entry)).unwrap_or_default();
        let facts = Facts::of(&row.entry);
        Ok(Self { hash: Some(hash), is_canonical, facts, leaf: leaf.into(), ..Self::empty(row.index) })
    }
}

impl Line {
    fn empty(index: u64) -> Self {
        Self {
            index,
            live: false,
            mark: Mark::Pending,
            missing_to: None,
            hash: None,
            leaf: Arc::default(),
            is_canonical: false,
            malformed: None,
            facts: Facts::default(),
        }
    }

    /// An entry of the stream. What is no entry is shown as its text.
    pub fn streamed(held: &Held) -> Self {
        let mut line = Self {
            live: true,
            mark: if held.malformed.is_some() { Mark::Wrong } else { Mark::Pending },
            hash: Some(held.hash),
            leaf: Arc::clone(&held.leaf),
            is_canonical: held.malformed.is_none(),
            malformed: held.malformed.as_deref().map(Box::from),
            ..Self::empty(held.index)
        };
        line.facts = Facts::of(&line.entry());
        line
    }

    /// Entries that were withheld.
    pub fn missing(from: u64, to: u64) -> Self {
        Self { live: true, mark: Mark::Wrong, missing_to: Some(to), ..Self::empty(from) }
    }

    /// Whether what came is no entry.
    pub fn is_malformed(&self) -> bool {
        self.malformed.is_some()
    }

    /// The octets that were logged, as far as what came can be written so.
    pub fn leaf(&self) -> Option<&[u8]> {
        self.is_canonical.then_some(&*self.leaf)
    }

    /// The hash that it has in the log, as the daemon says.
    pub fn hash(&self) -> Option<Hash> {
        self.hash
    }

    /// Whether the entry as received has the leaf hash that came with it (audit-log.md §2).
    pub fn hashes_to_its_leaf(&self) -> bool {
        self.is_canonical && self.hash == Some(leaf_hash(&self.leaf))
    }

    /// All its members, for who looks closer.
    pub fn entry(&self) -> Value {
        match &self.malformed {
            None => serde_json::from_slice(&self.leaf).unwrap_or(Value::Null),
            Some(why) => serde_json::json!({
                "action": "(malformed)", "outcome": why,
                "target": {"kind": octets(&self.leaf)},
            }),
        }
    }

    /// The row as the daemon gives it.
    pub fn row(&self) -> AuditRow {
        let leaf_hash = self.hash.map(|hash| hash.to_string()).unwrap_or_default();
        AuditRow { index: self.index, entry: self.entry(), leaf_hash }
    }

    /// When the entry says that it was made.
    pub fn time(&self) -> &str {
        self.facts.get(Fact::Time)
    }

    /// The name of who acted, or else the id.
    pub fn actor(&self) -> &str {
        self.facts.get(Fact::Actor)
    }

    /// What was done.
    pub fn action(&self) -> &str {
        self.facts.get(Fact::Action)
    }

    /// What came of it.
    pub fn outcome(&self) -> &str {
        self.facts.get(Fact::Outcome)
    }

    /// The kind of what it is about.
    pub fn kind(&self) -> &str {
        self.facts.get(Fact::Kind)
    }

    /// The id of what it is about.
    pub fn id(&self) -> &str {
        self.facts.get(Fact::Id)
    }

    /// The number of the version it is about; empty where it is about none.
    pub fn version(&self) -> &str {
        self.facts.get(Fact::Version)
    }

    /// The name that what it is about had when it was made, where it says so.
    pub fn name_then(&self) -> Option<&str> {
        Some(self.facts.get(Fact::Name)).filter(|name| !name.is_empty())
    }
}

impl Row for Line {
    fn key(&self) -> String {
        self.index.to_string()
    }
}

/// The name that what an entry is about had when the entry was made, where the entry says it.
pub fn name_then(entry: &Value) -> Option<&str> {
    let name = match field(entry, &["target", "kind"]) {
        "user" if field(entry, &["target", "id"]) == field(entry, &["actor", "id"]) => field(entry, &["actor", "name"]),
        "model" | "version" | "file" | "alias" | "user" => field(entry, &["data", "name"]),
        _ => "",
    };
    Some(name).filter(|name| !name.is_empty())
}

/// Text at a path of an entry, such as `["actor", "name"]`; empty if it is not there.
pub fn field<'a>(entry: &'a Value, path: &[&str]) -> &'a str {
    path.iter().try_fold(entry, |value, key| value.get(key)).and_then(Value::as_str).unwrap_or_default()
}

/// Screen 2.
#[derive(Debug, Clone)]
pub struct AuditScreen {
    /// The entries.
    pub list: Window<Line>,
    /// The filter as typed; always one that [`audit_query`] takes.
    pub filter: String,
    /// The thing whose entries were asked for last from another screen: its id, and the name that people know it by.
    pub named: Option<(String, String)>,
    /// Where the list begins: at the newest entry, or below an index that was jumped to.
    pub start: Cursor,
    /// The index to select when the page comes.
    pub goal: Option<u64>,
    /// The detail of the selected entry is shown, scrolled by so many lines.
    pub detail: Option<usize>,
    /// The newest entry is at the foot, whichever it is.
    pub follow: bool,
    /// Matching entries that came since the rows were held still.
    pub new_below: u64,
    /// There is an alarm that was not shown yet.
    pub alarm_unseen: bool,
    /// Marked entries. They stay while pages come and go.
    pub marks: Marks,
    /// The question where the entries of a time begin, and the time.
    pub locating: Option<(RequestId, String)>,
}

impl Default for AuditScreen {
    fn default() -> Self {
        Self {
            list: Window::new(true),
            filter: String::new(),
            named: None,
            start: Cursor::Start,
            goal: None,
            detail: None,
            follow: true,
            new_below: 0,
            alarm_unseen: false,
            marks: Marks::default(),
            locating: None,
        }
    }
}

impl AuditScreen {
    /// The filter as people read it.
    pub fn shown_filter(&self) -> String {
        shown(&self.named_filter())
    }

    /// The filter with the name of what its id stands for.
    pub fn named_filter(&self) -> String {
        match &self.named {
            Some((id, name)) => self.filter.replace(&format!("target:{id}"), &format!("target:{name}")),
            None => self.filter.clone(),
        }
    }

    /// What a filter means that was typed on from that.
    pub fn meant(&self, filter: &str) -> String {
        let Some((id, name)) = &self.named else { return filter.to_owned() };
        let of_name = format!("target:{name}");
        let word = |word: &str| if word == of_name { format!("target:{id}") } else { word.to_owned() };
        filter.split(' ').map(word).collect::<Vec<_>>().join(" ")
    }

    /// The query for the page at a cursor.
    pub fn query(&self, cursor: &Cursor) -> AuditQuery {
        let mut query = audit_query(&self.filter).unwrap_or_default();
        query.limit = Some(PAGE_ROWS);
        match cursor {
            // The log is read by indices, the newest first: neither of the last two is made for it.
            Cursor::Start | Cursor::End | Cursor::Before(_) => {}
            Cursor::Token(token) => query.cursor = Some(token.clone()),
            Cursor::Below(index) => {
                query.before = Some(query.before.map_or(*index, |before| before.min(*index)));
                // Up to the border of a bundle, so that one page is one proof.
                let over = u32::try_from(index % u64::from(PAGE_ROWS)).unwrap_or(0);
                let limit = if over < PAGE_ROWS * 3 / 4 { over + PAGE_ROWS } else { over };
                query.limit = Some(if self.filter.is_empty() { limit } else { PAGE_ROWS });
            }
            Cursor::Between(above, below) => {
                query.after = query.after.max(Some(*above));
                query.before = Some(query.before.map_or(*below, |before| before.min(*below)));
            }
        }
        query
    }
}
