//! The half that reads the entries: each for itself, and each against all before it.
//!
//! Whether an identifier, a salt or a subject was there before is found by fingerprints of 128 bits, keyed with what the
//! caller drew at random: equal texts are never missed, and nobody can prepare unequal ones that look equal.

use std::hash::{BuildHasher, RandomState};

use serde_json::Value;

use super::scan::{self, Facts};
use super::spill::{NONE, Row, Spill, Table};
use super::{Fault, FaultKind, Report};
use crate::audit::action::Action;
use crate::audit::leaf::{Entry, Outcome};
use crate::audit::note::Checkpoint;
use crate::audit::tile::{BundlePath, take_leaf};
use crate::audit::timestamp::TIMESTAMP_LEN;

/// The most entries about the log itself that are kept for the reader.
const NOTABLE_MAX: usize = 100;

/// Entries about the log's own identity.
const NOTABLE: [&str; 4] = ["log.genesis", "log.key_rotate", "log.recover", "log.rollback_accepted"];

/// An entry about the log itself that whoever verifies should see.
#[derive(Debug, Clone, PartialEq)]
pub struct Notable {
    /// Its index.
    pub index: u64,
    /// The entry.
    pub entry: Entry,
}

/// What is known of the entries once all were read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EntryFacts {
    /// How many could be read.
    pub entries: u64,
    /// The newest time of an entry, as it is written.
    pub newest: Option<String>,
    /// Those about the log itself that record what was done, at most 100; what was refused or failed says nothing.
    pub notable: Vec<Notable>,
    /// How many more there are of them.
    pub notable_more: u64,
    /// Whether one of them names the log's origin, kept or not.
    pub names_origin: bool,
}

/// Reads entries in their order, in constant memory.
pub struct EntryCheck {
    origin: String,
    facts: EntryFacts,
    newest: [u8; TIMESTAMP_LEN],
    /// Whether an entry could not be read: then who came before whom cannot be judged.
    has_holes: bool,
    keys: [RandomState; 2],
    ids: Table,
    salts: Table,
    subjects: Table,
}

impl EntryCheck {
    /// For a log of that size whose checkpoint states that origin. `keys` are drawn at random for this run alone.
    pub fn new(size: u64, origin: &str, keys: [RandomState; 2]) -> Self {
        Self {
            origin: origin.to_owned(),
            facts: EntryFacts::default(),
            newest: [0; TIMESTAMP_LEN],
            has_holes: false,
            keys,
            ids: Table::new(size, false),
            salts: Table::new(size, false),
            subjects: Table::new(size, true),
        }
    }

    /// Reads the next bundle; `None` where it could not be had. What cannot be cut into leaves is passed over here: the
    /// other half names it.
    ///
    /// # Errors
    /// What the scratch space failed with.
    pub fn bundle<S: Spill>(
        &mut self,
        path: BundlePath,
        octets: Option<&[u8]>,
        spill: &mut S,
        report: Report<'_>,
    ) -> Result<(), S::Error> {
        let all = octets.unwrap_or_default();
        let mut rest = all;
        for index in path.leaves() {
            let Ok(leaf) = take_leaf(&mut rest) else {
                self.has_holes = true;
                continue;
            };
            let end = len(all) - len(rest);
            let octets = end - len(leaf)..end;
            let wrong = |kind, detail: String| Fault::new(kind, path, detail).at(octets.clone()).of_entry(index);
            let facts = match scan::read(leaf) {
                Ok(facts) => facts,
                Err(error) => {
                    self.has_holes = true;
                    report(wrong(FaultKind::Entry, error.to_string()));
                    continue;
                }
            };
            self.facts.entries += 1;
            self.order(index, &facts, &mut |detail| report(wrong(FaultKind::Order, detail)));
            if NOTABLE.contains(&facts.action.as_ref())
                && let Ok(entry) = Entry::parse(leaf)
                && entry.outcome == Outcome::Ok
            {
                self.note(Notable { index, entry });
            }
            self.remember(index, &facts, spill)?;
        }
        Ok(())
    }

    fn note(&mut self, notable: Notable) {
        let named = notable.entry.data.get("origin").and_then(Value::as_str);
        self.facts.names_origin |= named == Some(self.origin.as_str());
        if self.facts.notable.len() < NOTABLE_MAX {
            self.facts.notable.push(notable);
        } else {
            self.facts.notable_more += 1;
        }
    }

    fn order(&mut self, index: u64, facts: &Facts<'_>, wrong: &mut dyn FnMut(String)) {
        if facts.seq != index {
            self.has_holes = true;
            wrong(format!("it says that it is entry {}", facts.seq));
        }
        if facts.ts < self.newest {
            wrong(format!("its time {} is before {}", text(&facts.ts), text(&self.newest)));
        }
        self.newest = self.newest.max(facts.ts);
        if let Some(prev) = facts.prev
            && prev >= index
        {
            self.has_holes = true;
            wrong(format!("it names entry {prev} as one before it"));
        }
        if facts.target.is_none() && facts.prev.is_some() {
            wrong("it names an entry before it about the same subject, but has no subject".to_owned());
        }
    }

    fn remember<S: Spill>(&mut self, index: u64, facts: &Facts<'_>, spill: &mut S) -> Result<(), S::Error> {
        let row = |key: (u64, u64), more| Row { high: key.0, low: key.1, index, more };
        let print = |text: &[u8]| (self.keys[0].hash_one(text), self.keys[1].hash_one(text));
        self.ids.push(row(print(&facts.id), NONE), spill)?;
        self.salts.push(row(print(&facts.salt), NONE), spill)?;
        if let Some(target) = &facts.target {
            // Versions, files and aliases count as their model.
            let kind: &[u8] = match target.kind.as_ref() {
                b"version" | b"file" | b"alias" => b"model",
                other => other,
            };
            let subject = (kind, target.id.as_ref());
            let print = (self.keys[0].hash_one(subject), self.keys[1].hash_one(subject));
            self.subjects.push(row(print, facts.prev.unwrap_or(NONE)), spill)?;
        }
        Ok(())
    }

    /// Compares the entries with each other. `judge_previous` says whether the other half found every leaf to be what the
    /// tree has: an altered one would let others look wrong that are not.
    ///
    /// # Errors
    /// What the scratch space failed with.
    pub fn finish<S: Spill>(
        self,
        judge_previous: bool,
        spill: &mut S,
        report: Report<'_>,
    ) -> Result<EntryFacts, S::Error> {
        for (table, what) in [(self.ids, "id"), (self.salts, "salt")] {
            table.for_each(spill, |row, before| {
                if let Some(before) = before {
                    let detail = format!("its {what} is that of entry {before}");
                    report(of_entry(FaultKind::Reused, row.index, detail));
                }
            })?;
        }
        if judge_previous && !self.has_holes {
            self.subjects.for_each(spill, |row, before| {
                let last = before.unwrap_or(NONE);
                if row.more != last {
                    let detail = match (row.more, last) {
                        (NONE, last) => format!("it names no entry before it, but entry {last} has its subject"),
                        (said, NONE) => format!("it names entry {said} before it, but is the first of its subject"),
                        (said, last) => format!("it names entry {said} before it, but entry {last} is"),
                    };
                    report(of_entry(FaultKind::Previous, row.index, detail));
                }
            })?;
        }
        let newest = (self.facts.entries > 0).then(|| text(&self.newest));
        Ok(EntryFacts { newest, ..self.facts })
    }
}

/// The first entry says what the log is called; a later name comes from an entry, too. Where it is otherwise, what is wrong.
pub fn origin_fault(checkpoint: &Checkpoint, entries: &EntryFacts) -> Option<Fault> {
    let first = entries.notable.first().filter(|first| first.index == 0);
    if first.is_none_or(|first| first.entry.action != Action::LogGenesis) {
        return (checkpoint.size > 0 && entries.entries == checkpoint.size).then(|| {
            let detail = "it is not `log.genesis`, with which every log begins";
            Fault::new(FaultKind::Origin, "tile/entries/000", detail).of_entry(0)
        });
    }
    (!entries.names_origin).then(|| {
        let detail = format!("its origin is {}, which no entry of the log names", checkpoint.origin);
        Fault::new(FaultKind::Origin, "checkpoint", detail)
    })
}

fn of_entry(kind: FaultKind, index: u64, detail: String) -> Fault {
    // Full or not, the bundle's number is what finds it.
    let path = BundlePath::new(index / 256, 256).map_or_else(|_| "tile/entries".to_owned(), |path| path.to_string());
    Fault::new(kind, path, detail).of_entry(index)
}

fn text(ts: &[u8; TIMESTAMP_LEN]) -> String {
    String::from_utf8_lossy(ts).into_owned()
}

fn len(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).expect("a length fits into 64 bits")
}
