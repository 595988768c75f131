//! The entries' index: a flat file of 64-octet rows, one an entry, that says where its record stands and which entry
//! came before it in each chain. Derived from the journal. Finding entries walks chains or the rows (`walk`); it never reads
//! the whole log.
//!
//! Row: offset u64 ‖ at_ms i64 ‖ octets u32 ‖ before u64 × 5 ‖ crc32c u32 of the 60 octets before; little-endian;
//! `before` is 2^64 − 1 where there is none.

mod walk;

use std::path::Path;
use std::sync::Arc;

use common::audit::{Actor, Entry, Outcome, leaf_hash};

use self::walk::{LEAF_ROWS, Members, Next, RowReader, Walk};

use crate::durable::Disk;
use crate::store::journal::{JournalReader, Place};
use crate::store::merkle::Growing;
use crate::store::overlay::Kv;
use crate::store::view::Chain;
use crate::store::{EntryPage, EntryQuery, EntryUnlike, FoundEntry, Read, StoreError};

/// Octets of a row.
pub const ROW_OCTETS: u64 = 64;
/// How many entries one page may look at.
pub const SCAN_ENTRIES_MAX: usize = 20_000;

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

    /// Reads so many rows from one on.
    pub(in crate::store) fn read_block(&self, first: u64, count: u64, block: &mut Vec<u8>) -> Read<()> {
        let octets = usize::try_from(count * ROW_OCTETS)
            .map_err(|_wide| StoreError::Corrupt(format!("{count} index rows were asked for at once")))?;
        block.resize(octets, 0);
        match self.rows.file.read_exact_at(block, first * ROW_OCTETS) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(StoreError::Corrupt(format!("the index rows from entry {first} on are missing")))
            }
            read => Ok(read?),
        }
    }

    /// A row in a block that begins with another.
    pub(in crate::store) fn row_in(block: &[u8], index: u64, first: u64) -> Read<Row> {
        let (rows, _rest) = block.as_chunks::<64>();
        let row = usize::try_from(index - first).ok().and_then(|position| rows.get(position));
        row.and_then(Row::decode)
            .ok_or_else(|| StoreError::Corrupt(format!("the index row of entry {index} is damaged")))
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

impl<K: Kv + ?Sized> Finder<'_, K> {
    /// The exact octets of a leaf.
    pub fn leaf(&self, index: u64) -> Read<Vec<u8>> {
        self.journal.leaf(index, self.rows.row(index)?.place)
    }

    /// A page of entries, newest first.
    pub fn find(&self, query: &EntryQuery) -> Read<EntryPage> {
        Ok(self.find_at_cost(query)?.0)
    }

    /// The same, and what it cost.
    fn find_at_cost(&self, query: &EntryQuery) -> Read<(EntryPage, walk::Cost)> {
        let (low, high) = self.bounds(query)?;
        let (wanted, unwanted) = (wanted(query), &query.not);
        let members = |filter: &EntryUnlike| Members::fitting(self.kv, filter);
        let required = wanted.iter().map(members).filter_map(Result::transpose).collect::<Read<Vec<_>>>()?;
        let forbidden = unwanted.iter().map(members).filter_map(Result::transpose).collect::<Read<Vec<_>>>()?;
        let total = self.total(query, (low, high), &required, &forbidden)?;
        let mut page = EntryPage { entries: Vec::new(), next_before: None, total };
        let most = self.scan_max as u64 * LEAF_ROWS;
        let mut walk = Walk::new((required, forbidden), (low, high), RowReader::new(self.rows, self.size), most);
        loop {
            let wanted = query.limit.saturating_sub(page.entries.len());
            let (mut places, mut end) = (Vec::with_capacity(wanted), None);
            while places.len() < wanted.max(1) && end.is_none() {
                match walk.next()? {
                    // The page is full: the next one begins here.
                    Next::Entry(index) if wanted == 0 => end = Some(Some(index + 1)),
                    Next::Entry(index) => places.push((index, walk.rows.row(index)?.place)),
                    Next::End => end = Some(None),
                    Next::Cut(below) => end = Some(Some(below)),
                }
            }
            self.journal.will_need(&places);
            for (index, place) in places {
                walk.rows.cost.leaves += 1;
                let leaf = self.journal.leaf(index, place)?;
                if matches(query, &leaf)? {
                    page.entries.push(FoundEntry { index, leaf_hash: leaf_hash(&leaf), leaf });
                }
            }
            if let Some(next_before) = end {
                page.next_before = next_before;
                return Ok((page, walk.rows.cost));
            }
        }
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

    /// How many match, where the ends of the chains say it.
    fn total(
        &self,
        query: &EntryQuery,
        (low, high): (u64, u64),
        required: &[Members<'_, K>],
        forbidden: &[Members<'_, K>],
    ) -> Read<Option<u64>> {
        let is_bounded = query.after.is_some() || query.since_ms.is_some() || query.until_ms.is_some();
        Ok(match (wanted(query).len(), query.not.len(), required, forbidden) {
            (0, 0, ..) if is_bounded => query.before.is_none().then(|| high.saturating_sub(low)),
            _ if is_bounded => None,
            (0, 0, ..) => Some(self.size),
            (1, 0, [members], _) if members.is_exact => Some(members.count()),
            (0, 1, _, [members]) if members.is_exact => Some(self.size.saturating_sub(members.count())),
            _ => None,
        })
    }
}

/// What entries must be, filter by filter.
fn wanted(query: &EntryQuery) -> Vec<EntryUnlike> {
    let filters = [
        query.actor.clone().map(EntryUnlike::Actor),
        query.action.clone().map(EntryUnlike::Action),
        query.target.clone().map(EntryUnlike::Target),
        query.outcome.map(EntryUnlike::Outcome),
        query.ip.clone().map(EntryUnlike::Ip),
    ];
    filters.into_iter().flatten().collect()
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

/// The subject of a target: what its `prev` chain is about. Versions, files and aliases count as their model.
pub fn subject(kind: &str, id: &str) -> String {
    let kind = if matches!(kind, "version" | "file" | "alias") { "model" } else { kind };
    format!("{kind}/{id}")
}

/// What an actor is found by: the name; without one, the id, as for `system`.
pub fn actor_name(actor: &Actor) -> &str {
    actor.name.as_deref().unwrap_or(&actor.id)
}

fn parse(leaf: &[u8]) -> Read<Entry> {
    Entry::parse(leaf).map_err(|error| StoreError::Corrupt(format!("a leaf can't be read: {error}")))
}

fn matches(query: &EntryQuery, leaf: &[u8]) -> Read<bool> {
    if wanted(query).is_empty() && query.not.is_empty() {
        return Ok(true);
    }
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
    use crate::store::{Decide, Decision, Draft, Entries, EntryQuery, EntryUnlike, Store};

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

    /// A log with so many entries by a pattern: what is rare happens three times.
    fn filled(dir: &std::path::Path, entries: u64) -> SledStore {
        let options = SledOptions::new(&dir.join("data"), &dir.join("keys"), "test.example/log");
        let store = SledStore::open(&options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let number = |number: u64| {
            let is_rare = number % (entries / 3) == entries / 6;
            let (actor, outcome) = match number {
                _ if is_rare => ("rose", Outcome::Error),
                _ if number.is_multiple_of(7) => ("carol", Outcome::Denied),
                _ if number.is_multiple_of(2) => ("ana", Outcome::Ok),
                _ => ("bob", Outcome::Ok),
            };
            store.commit(entry(actor, outcome))
        };
        for begin in (0..entries).step_by(1000) {
            let some = (begin..(begin + 1000).min(entries)).map(number);
            for done in runtime.block_on(futures_util::future::join_all(some)) {
                done.unwrap();
            }
        }
        store
    }

    fn queries(size: u64) -> Vec<(String, EntryQuery)> {
        let any = EntryQuery { limit: 50, ..EntryQuery::default() };
        let actor = |name: &str| EntryQuery { actor: Some(name.to_owned()), ..any.clone() };
        let action = |name: &str| EntryQuery { action: Some(name.to_owned()), ..any.clone() };
        let unlike = |unlike: EntryUnlike| EntryQuery { not: vec![unlike], ..any.clone() };
        let filters = [
            ("all", any.clone()),
            ("actor of many", actor("ana")),
            ("actor of few", actor("rose")),
            ("actor of none", actor("nobody")),
            ("outcome of few", EntryQuery { outcome: Some(Outcome::Error), ..any.clone() }),
            ("action", action("model.read")),
            ("actions", action("model.*")),
            ("actions of few", action("log.*")),
            ("actions of none", action("user.*")),
            ("target", EntryQuery { target: Some("m".to_owned()), ..any.clone() }),
            ("target of none", EntryQuery { target: Some("none".to_owned()), ..any.clone() }),
            ("ip of none", EntryQuery { ip: Some("192.0.2.1".to_owned()), ..any.clone() }),
            ("many and few", EntryQuery { outcome: Some(Outcome::Error), ..action("model.read") }),
            ("few and none", EntryQuery { outcome: Some(Outcome::Denied), ..actor("rose") }),
            ("not many", unlike(EntryUnlike::Actor("nobody".to_owned()))),
        ];
        let with_ends = |(name, query): &(&str, EntryQuery)| {
            [
                (format!("{name}, newest"), query.clone()),
                (format!("{name}, inside"), EntryQuery { before: Some(size / 2), ..query.clone() }),
                (format!("{name}, oldest"), EntryQuery { before: Some(size / 10), ..query.clone() }),
            ]
        };
        filters.iter().flat_map(with_ends).collect()
    }

    /// A hundred times as many entries, and a page costs as much, but for the way into a chain from its nearest mark.
    #[test]
    fn a_page_looks_at_no_more_of_a_larger_log() {
        let costs = |entries: u64| {
            let dir = tempfile::tempdir().unwrap();
            let store = filled(dir.path(), entries);
            let finder = store.view().finder_of_at_most(super::SCAN_ENTRIES_MAX);
            let costs: Vec<_> = queries(entries)
                .into_iter()
                .map(|(name, query)| (name, finder.find_at_cost(&query).unwrap().1))
                .collect();
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.close());
            costs
        };
        for ((name, small), (_, large)) in costs(200).into_iter().zip(costs(20_000)) {
            // Shown with --nocapture.
            println!("{name}: {small:?}, then {large:?}");
            assert!(large.leaves <= small.leaves.max(51), "{name}: {small:?}, then {large:?}");
            assert!(large.rows <= small.rows.max(102) + 300, "{name}: {small:?}, then {large:?}");
            assert!(large.lookups <= small.lookups + 2, "{name}: {small:?}, then {large:?}");
        }
    }

    /// Whatever is asked for, page by page, is what a look at each leaf finds.
    #[test]
    fn pages_hold_what_matches() {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path(), 500);
        let view = store.view();
        let leaves: Vec<Vec<u8>> = (0..view.size()).map(|index| view.leaf(index).unwrap().unwrap()).collect();
        let mut queries = queries(view.size());
        for (name, query) in queries.clone() {
            for (what, unlike) in [
                ("actor", EntryUnlike::Actor("ana".to_owned())),
                ("actions", EntryUnlike::Action("model.*".to_owned())),
                ("outcome", EntryUnlike::Outcome(Outcome::Ok)),
                ("id", EntryUnlike::Actor("usr_ana".to_owned())),
            ] {
                let not = query.not.iter().cloned().chain([unlike]).collect();
                queries.push((format!("{name}, not {what}"), EntryQuery { not, ..query.clone() }));
            }
        }
        for (name, query) in queries {
            let fits = |(index, leaf): (usize, &Vec<u8>)| {
                let index = index as u64;
                let is_below = query.before.is_none_or(|before| index < before);
                (is_below && super::matches(&query, leaf).unwrap()).then_some(index)
            };
            let wanted: Vec<u64> = leaves.iter().enumerate().rev().filter_map(fits).collect();
            for scan_max in [30, super::SCAN_ENTRIES_MAX] {
                let finder = view.finder_of_at_most(scan_max);
                let (mut asked, mut found) = (query.clone(), Vec::new());
                loop {
                    let page = finder.find(&asked).unwrap();
                    if asked.before.is_none()
                        && let Some(total) = page.total
                    {
                        assert_eq!(total, wanted.len() as u64, "{name}");
                    }
                    found.extend(page.entries.iter().map(|found| found.index));
                    let Some(next) = page.next_before else { break };
                    assert!(asked.before.is_none_or(|before| next < before), "{name}: a page leads back to {next}");
                    asked.before = Some(next);
                }
                assert_eq!(found, wanted, "{name}, {scan_max}");
            }
        }
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.close());
    }
}
