//! The entries' index: a flat file of 64-octet rows, one an entry, that says where its record stands and which entry
//! came before it in each chain. Derived from the journal. Finding entries walks a chain or the rows; it never reads the
//! whole log.
//!
//! Row: offset u64 ‖ at_ms i64 ‖ octets u32 ‖ before u64 × 5 ‖ crc32c u32 of the 60 octets before; little-endian;
//! `before` is 2^64 − 1 where there is none.

use std::path::Path;
use std::sync::Arc;

use common::audit::{Actor, Entry, Outcome, leaf_hash};
use common::name::ModelId;

use crate::durable::Disk;
use crate::store::journal::{JournalReader, Place};
use crate::store::merkle::Growing;
use crate::store::overlay::Kv;
use crate::store::view::{Chain, head};
use crate::store::{EntryPage, EntryQuery, EntryUnlike, FoundEntry, Read, StoreError};

/// Octets of a row.
pub const ROW_OCTETS: u64 = 64;
/// How many entries one page may look at.
pub const SCAN_ENTRIES_MAX: usize = 20_000;
/// Rows of a chain that are read in the time of one leaf.
const CHAIN_STEPS: usize = 8;

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Where the record stands.
    pub place: Place,
    /// The entry's time, milliseconds since the epoch.
    pub at_ms: i64,
    /// The entry before it in each of [`Chain::ALL`].
    pub before: [Option<u64>; 5],
}

impl Row {
    fn encode(&self) -> [u8; 64] {
        let mut octets = [0; 64];
        octets[..8].copy_from_slice(&self.place.offset.to_le_bytes());
        octets[8..16].copy_from_slice(&self.at_ms.to_le_bytes());
        octets[16..20].copy_from_slice(&self.place.octets.to_le_bytes());
        for (column, before) in self.before.iter().enumerate() {
            let at = 20 + column * 8;
            octets[at..at + 8].copy_from_slice(&before.unwrap_or(u64::MAX).to_le_bytes());
        }
        let crc = crc32c::crc32c(&octets[..60]);
        octets[60..].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    fn decode(octets: &[u8; 64]) -> Option<Self> {
        let u64_at = |at: usize| octets[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let mut before = [None; 5];
        for (column, slot) in before.iter_mut().enumerate() {
            *slot = Some(u64_at(20 + column * 8)?).filter(|&index| index != u64::MAX);
        }
        let row = Self {
            place: Place { offset: u64_at(0)?, octets: u32::from_le_bytes(octets[16..20].try_into().ok()?) },
            at_ms: i64::from_le_bytes(octets[8..16].try_into().ok()?),
            before,
        };
        (row.encode() == *octets).then_some(row)
    }
}

/// The file of rows. Shared by the writer and all readers: what is below the published size never changes.
#[derive(Debug)]
pub struct Rows {
    rows: Growing,
}

impl Rows {
    /// Opens or makes it.
    pub fn open(disk: &Disk, path: &Path) -> Result<Arc<Self>, StoreError> {
        Ok(Arc::new(Self { rows: Growing::new(disk.open_or_create(path)?) }))
    }

    /// The row of an entry; an error if it is missing or damaged.
    pub fn row(&self, index: u64) -> Read<Row> {
        let mut octets = [0; 64];
        let damaged = || StoreError::Corrupt(format!("the index row of entry {index} is damaged"));
        match self.rows.file.read_exact_at(&mut octets, index * ROW_OCTETS) {
            Ok(()) => Row::decode(&octets).ok_or_else(damaged),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(damaged()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes rows one after another, from an entry on.
    pub fn write(&self, first: u64, rows: &[Row]) -> Result<(), StoreError> {
        let octets: Vec<u8> = rows.iter().flat_map(Row::encode).collect();
        Ok(self.rows.file.write_all_at(&octets, first * ROW_OCTETS)?)
    }

    /// Makes room for `more` rows behind `size`.
    pub fn reserve(&self, size: u64, more: u64) -> Result<(), StoreError> {
        self.rows.reserve((size + more) * ROW_OCTETS)
    }

    /// Makes everything written so far durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        Ok(self.rows.file.sync_data()?)
    }

    /// How many of the first `size` entries are not after a time. Times never go down (the sequencer sees to it).
    pub fn count_until(&self, size: u64, at_ms: i64) -> Read<u64> {
        let (mut low, mut high) = (0, size);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.row(middle)?.at_ms <= at_ms {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// What finding entries needs.
pub struct Finder<'f, K: Kv + ?Sized> {
    /// The rows.
    pub rows: &'f Rows,
    /// The records.
    pub journal: &'f JournalReader,
    /// The view, for the ends of the chains.
    pub kv: &'f K,
    /// Entries there are.
    pub size: u64,
    /// How many entries one page may look at; [`SCAN_ENTRIES_MAX`].
    pub scan_max: usize,
}

/// Where a walk begins.
struct Start {
    /// The first entry to look at.
    at: Option<u64>,
    /// Entries that were looked at to find it.
    looked_at: usize,
    /// Where to go on, if looking for it took too long.
    cut_at: Option<u64>,
}

impl<K: Kv + ?Sized> Finder<'_, K> {
    /// The exact octets of a leaf.
    pub fn leaf(&self, index: u64) -> Read<Vec<u8>> {
        self.journal.leaf(index, self.rows.row(index)?.place)
    }

    /// A page of entries, newest first.
    pub fn find(&self, query: &EntryQuery) -> Read<EntryPage> {
        let (low, high) = self.bounds(query)?;
        let chain = chain_for(query);
        let mut page = EntryPage { entries: Vec::new(), next_before: None, total: self.total(query, chain.as_ref())? };
        let start = match chain {
            Some((chain, ref value)) => self.enter_chain(chain, value, low, high)?,
            None => Start { at: high.checked_sub(1), looked_at: 0, cut_at: None },
        };
        page.next_before = start.cut_at;
        let (mut at, mut looked_at) = (start.at, start.looked_at);
        while let Some(index) = at.filter(|&index| index >= low) {
            if page.entries.len() == query.limit || looked_at >= self.scan_max {
                page.next_before = Some(index + 1);
                break;
            }
            looked_at += 1;
            let row = self.rows.row(index)?;
            let leaf = self.journal.leaf(index, row.place)?;
            if matches(query, &leaf)? {
                page.entries.push(FoundEntry { index, leaf_hash: leaf_hash(&leaf), leaf });
            }
            at = match &chain {
                Some((chain, _value)) => row.before[column(*chain)],
                None => index.checked_sub(1),
            };
        }
        Ok(page)
    }

    /// The lowest index that may match, and the one behind the highest.
    fn bounds(&self, query: &EntryQuery) -> Read<(u64, u64)> {
        let mut low = query.after.map_or(0, |index| index.saturating_add(1));
        let mut high = query.before.unwrap_or(self.size).min(self.size);
        if let Some(since) = query.since_ms {
            low = low.max(self.rows.count_until(self.size, since.saturating_sub(1))?);
        }
        if let Some(until) = query.until_ms {
            high = high.min(self.rows.count_until(self.size, until)?);
        }
        Ok((low, high))
    }

    /// The newest entry of a chain between two indices.
    ///
    /// Looked for from two sides at once, down the chain from its end and down the log from the index: a chain with many
    /// entries above the index has one close below it, and one with none close below it has few above. Where both are far
    /// (many above, none for long below) it is given up after as many entries as a page may look at, and the next page goes
    /// on from there.
    fn enter_chain(&self, chain: Chain, value: &str, low: u64, high: u64) -> Read<Start> {
        let found = |at, looked_at| Ok(Start { at, looked_at, cut_at: None });
        let mut at = head(self.kv, chain, value)?.map(|head| head.last);
        if high < self.size && at.is_some_and(|index| index >= high) && in_chain(chain, value, &self.leaf(high)?)? {
            return found(self.rows.row(high)?.before[column(chain)], 1);
        }
        let mut below = high;
        for looked_at in 0..self.scan_max {
            for _ in 0..CHAIN_STEPS {
                let Some(index) = at.filter(|&index| index >= high) else { return found(at, looked_at) };
                at = self.rows.row(index)?.before[column(chain)];
            }
            let Some(index) = below.checked_sub(1).filter(|&index| index >= low) else { return found(None, looked_at) };
            if in_chain(chain, value, &self.leaf(index)?)? {
                return found(Some(index), looked_at + 1);
            }
            below = index;
        }
        Ok(Start { at: None, looked_at: self.scan_max, cut_at: Some(below) })
    }

    fn total(&self, query: &EntryQuery, chain: Option<&(Chain, String)>) -> Read<Option<u64>> {
        let bounded = query.after.is_some() || query.since_ms.is_some() || query.until_ms.is_some();
        let filters = [
            query.actor.is_some(),
            query.action.is_some(),
            query.target.is_some(),
            query.outcome.is_some(),
            query.ip.is_some(),
            !query.not.is_empty(),
        ];
        match (bounded, filters.into_iter().filter(|&set| set).count(), chain) {
            (false, 0, _) => Ok(Some(self.size)),
            (false, 1, Some((chain, value))) => Ok(Some(head(self.kv, *chain, value)?.map_or(0, |head| head.count))),
            _ => Ok(None),
        }
    }
}

fn column(chain: Chain) -> usize {
    match chain {
        Chain::Target => 0,
        Chain::Actor => 1,
        Chain::Action => 2,
        Chain::Outcome => 3,
        Chain::Ip => 4,
    }
}

/// The chain that narrows a query most, and its value.
fn chain_for(query: &EntryQuery) -> Option<(Chain, String)> {
    let exact_action = query.action.as_ref().filter(|action| !action.ends_with(".*"));
    let target = query.target.as_ref().and_then(|target| subject_of_id(target));
    target
        .map(|subject| (Chain::Target, subject))
        .or_else(|| query.ip.clone().map(|ip| (Chain::Ip, ip)))
        .or_else(|| query.actor.clone().filter(|actor| !actor.starts_with("usr_")).map(|actor| (Chain::Actor, actor)))
        .or_else(|| exact_action.cloned().map(|action| (Chain::Action, action)))
        .or_else(|| query.outcome.map(|outcome| (Chain::Outcome, outcome.as_str().to_owned())))
}

/// The subject of a target: what its `prev` chain is about. Versions, files and aliases count as their model.
pub fn subject(kind: &str, id: &str) -> String {
    let kind = if matches!(kind, "version" | "file" | "alias") { "model" } else { kind };
    format!("{kind}/{id}")
}

/// What an actor is found by: the name; without one, the id, as for `system`.
pub fn actor_name(actor: &Actor) -> &str {
    actor.name.as_deref().unwrap_or(&actor.id)
}

/// The subject of an id whose shape tells its kind.
fn subject_of_id(id: &str) -> Option<String> {
    if id.starts_with("usr_") {
        Some(subject("user", id))
    } else {
        id.parse::<ModelId>().ok().map(|model| subject("model", &model.to_string()))
    }
}

/// Whether an entry is in a chain.
fn in_chain(chain: Chain, value: &str, leaf: &[u8]) -> Read<bool> {
    let entry = parse(leaf)?;
    Ok(match chain {
        Chain::Target => entry.target.is_some_and(|target| subject(&target.kind, &target.id) == value),
        Chain::Actor => actor_name(&entry.actor) == value,
        Chain::Action => entry.action.as_str() == value,
        Chain::Outcome => entry.outcome.as_str() == value,
        Chain::Ip => entry.req.and_then(|request| request.ip).as_deref() == Some(value),
    })
}

fn parse(leaf: &[u8]) -> Read<Entry> {
    Entry::parse(leaf).map_err(|error| StoreError::Corrupt(format!("a leaf can't be read: {error}")))
}

fn matches(query: &EntryQuery, leaf: &[u8]) -> Read<bool> {
    let entry = parse(leaf)?;
    let is_action = |wanted: &String| match wanted.strip_suffix('*') {
        Some(prefix) => entry.action.as_str().starts_with(prefix),
        None => entry.action.as_str() == wanted,
    };
    let is_actor = |actor: &String| actor_name(&entry.actor) == actor || &entry.actor.id == actor;
    let is_target = |id: &String| entry.target.as_ref().is_some_and(|target| &target.id == id);
    let is_outcome = |outcome: Outcome| entry.outcome == outcome;
    let is_ip = |ip: &String| entry.req.as_ref().and_then(|request| request.ip.as_ref()) == Some(ip);
    let is_unlike = |unlike: &EntryUnlike| match unlike {
        EntryUnlike::Actor(actor) => is_actor(actor),
        EntryUnlike::Action(action) => is_action(action),
        EntryUnlike::Target(id) => is_target(id),
        EntryUnlike::Outcome(outcome) => is_outcome(*outcome),
        EntryUnlike::Ip(ip) => is_ip(ip),
    };
    Ok(query.action.as_ref().is_none_or(is_action)
        && query.actor.as_ref().is_none_or(is_actor)
        && query.target.as_ref().is_none_or(is_target)
        && query.outcome.is_none_or(is_outcome)
        && query.ip.as_ref().is_none_or(is_ip)
        && !query.not.iter().any(is_unlike))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use common::audit::{Action, Actor, ActorKind, Outcome, Target};

    use crate::store::sled::{SledOptions, SledStore};
    use crate::store::{Decide, Decision, Draft, Entries, EntryQuery, Store};

    fn entry(actor: &'static str, outcome: Outcome) -> Decide {
        Box::new(move |_records, _moment| {
            let actor = Actor {
                id: format!("usr_{actor}"),
                name: Some(actor.to_owned()),
                kind: ActorKind::User,
                role: None,
                cred: None,
            };
            let target = Target::new("model", "m");
            let action = Action::ModelRead;
            let draft = Draft { action, outcome, actor, target, request: None, data: BTreeMap::new() };
            Ok(Decision { draft, writes: Vec::new() })
        })
    }

    /// Wherever a page begins, it holds what a walk over everything finds: chains with many entries, with few, with all
    /// of them at one end, with none.
    #[test]
    fn a_chain_is_entered_anywhere() {
        let dir = tempfile::tempdir().unwrap();
        let options = SledOptions::new(&dir.path().join("data"), &dir.path().join("keys"), "test.example/log");
        let store = SledStore::open(&options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let actor = |number: u32| match number {
            0..20 => "early",
            150 => "once",
            280.. => "late",
            _ if number.is_multiple_of(3) => "often",
            _ => "other",
        };
        for number in 0..300_u32 {
            let outcome = if number.is_multiple_of(7) { Outcome::Denied } else { Outcome::Ok };
            runtime.block_on(store.commit(entry(actor(number), outcome))).unwrap();
        }
        let view = store.view();
        for actor in ["early", "once", "late", "often", "nobody"] {
            let all = EntryQuery { actor: Some(actor.to_owned()), limit: 1000, ..EntryQuery::default() };
            let indices = |query: &EntryQuery| -> Vec<u64> {
                view.entries(query).unwrap().entries.iter().map(|found| found.index).collect()
            };
            let everything = indices(&all);
            for before in 0..=view.size() + 1 {
                let wanted: Vec<u64> = everything.iter().copied().filter(|&index| index < before).take(5).collect();
                let page = EntryQuery { before: Some(before), limit: 5, ..all.clone() };
                assert_eq!(indices(&page), wanted, "{actor} before {before}");
            }
        }
        // A walk that may look at few entries gives short pages, which lead to the same all the same, each one further.
        for actor in ["early", "once", "late", "often", "nobody"] {
            let finder = store.view().finder_of_at_most(10);
            let mut query =
                EntryQuery { actor: Some(actor.to_owned()), limit: 7, before: Some(270), ..EntryQuery::default() };
            let (mut indices, mut pages) = (Vec::new(), 0);
            loop {
                let page = finder.find(&query).unwrap();
                indices.extend(page.entries.iter().map(|found| found.index));
                pages += 1;
                let Some(next) = page.next_before else { break };
                assert!(Some(next) < query.before, "{actor}: a page leads back to {next}");
                query.before = Some(next);
            }
            let all = EntryQuery { limit: 1000, before: Some(270), ..query.clone() };
            let wanted: Vec<u64> = view.entries(&all).unwrap().entries.iter().map(|found| found.index).collect();
            assert_eq!(indices, wanted, "{actor}");
            if actor == "late" {
                // Its entries all lie above: the walk down the chain ends before the log has to be read.
                assert!(pages <= 2, "{pages} pages");
            }
        }
        runtime.block_on(store.close());
    }
}
