//! `mregd log verify`: everything that can be checked from outside, at one checkpoint (audit-log.md §11). Knows options,
//! what is told to whom, and exit codes; refuses to know how a tree or an entry is checked.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use common::audit::verify::{EntryFacts, Fault, FaultKind, Notable, origin_fault};
use common::audit::{
    Action, Checkpoint, LEAF_LEN_MAX, NOTE_LEN_MAX, POLICY_LEN_MAX, PROOF_LEN_MAX, Policy, Receipt, SignedCheckpoint,
    VerifiedReceipt, Verifier, canonical_json,
};
use common::shown::shown;
use serde_json::{Value, json};

use super::faults::Faults;
use super::source::{self, CHECKPOINT, Files, Source};
use super::whole::{self, Known, Reading};
use crate::cli::{self, Exit, VerifyOptions};
use crate::commands::Failed;
use crate::config::Options;
use crate::{clock, error_chain};

/// Characters of a line that says something from the log.
const LINE_CHARS_MAX: usize = 500;

/// Entries of a log that is read even where its right edge does not have the signed root: to name what is damaged.
const SMALL_LOG: u64 = 1 << 20;

/// The checkpoint that enough witnesses cosigned, as a resource.
const WITNESSED: &str = "checkpoint.witnessed";

/// How far ahead of ours a witness's clock may be.
const SKEW_MS_MAX: i64 = 10 * clock::MINUTE_MS;

/// Octets of the longest receipt that is read: leaf in base64, proof, and room for an answer around it.
const RECEIPT_OCTETS_MAX: usize = 2 * LEAF_LEN_MAX + 2 * PROOF_LEN_MAX;

/// Receipts in one file: what each proves is held until it is told.
const RECEIPTS_MAX: usize = 100_000;

pub(in crate::commands) fn verify(options: &Options, asked: &VerifyOptions) -> Result<(), Failed> {
    let pins = source::pins(&asked.pins.vkey)?;
    let faults = Faults::default();
    let receipts = receipts(asked, &pins, &faults)?;
    let mut saved = saved(asked, &pins, &faults)?;
    let policy = policy(asked)?;
    let mut told = Told { receipts: receipts.iter().map(proved).collect(), saved: saved.len(), ..Told::default() };
    let source = source_of(options, asked)?;
    if asked.max_age.is_some() && source.is_none() {
        return Err(no_age("a log, of which --url or --dir says where it is"));
    }
    if policy.is_some() && source.is_none() {
        return Err(Failed::new(Exit::Usage, "--policy needs a log, of which --url or --dir says where it is"));
    }
    if let Some(source) = source {
        let note = source.get(CHECKPOINT).map_err(source::Lost::into_failed)?;
        match Checkpoint::open(&note, &pins) {
            Ok(signed) => {
                if let Some(policy) = &policy {
                    saved.extend(witnessed(asked, policy, source.as_ref(), &note, &pins, &faults, &mut told)?);
                }
                verify_log(asked, source.as_ref(), &signed, &receipts, &saved, &faults, &mut told)?;
            }
            Err(error) => faults.add(Fault::new(FaultKind::Checkpoint, CHECKPOINT, error)),
        }
    }
    tell(asked, &told, faults)
}

fn no_age(needs: &str) -> Failed {
    Failed::new(Exit::Usage, format_args!("--max-age looks at the newest entry: it needs {needs}"))
}

/// A file that was given, and what it was found to be.
struct Given<T> {
    name: String,
    is: T,
}

/// What is told besides faults.
#[derive(Default)]
struct Told {
    checkpoint: Option<Checkpoint>,
    known: Known,
    has_entries: bool,
    /// What each good receipt proves.
    receipts: Vec<String>,
    saved: usize,
    /// Who cosigned what, where a policy asks for it.
    witnessed: Option<String>,
    notes: Vec<String>,
}

/// Where the log is; none where receipts are verified alone.
fn source_of(options: &Options, asked: &VerifyOptions) -> Result<Option<Box<dyn Source>>, Failed> {
    match (&asked.url, &asked.dir) {
        (Some(url), _) => source::remote(url, &asked.remote).map(Some),
        (None, Some(dir)) if !dir.join(CHECKPOINT).exists() && !dir.join("tile").is_dir() => {
            let why =
                if dir.is_dir() { "is no export of a log: there is no `checkpoint` in it" } else { "is no directory" };
            Err(Failed::new(Exit::Usage, format_args!("--dir {}: it {why}", dir.display())))
        }
        (None, Some(dir)) => Ok(Some(Box::new(Files(dir.clone())))),
        (None, None) if !asked.receipt.is_empty() && asked.saved.is_empty() => Ok(None),
        (None, None) => source::local(options)
            .map(Some)
            .map_err(|failed| failed.with_hint("to verify a log that is elsewhere, give --url, --dir or --receipt")),
    }
}

fn receipts(asked: &VerifyOptions, pins: &[Verifier], faults: &Faults) -> Result<Vec<Given<VerifiedReceipt>>, Failed> {
    let mut verified = Vec::new();
    let mut one = |name: String, octets: &[u8]| {
        let wrong = |why: &dyn std::fmt::Display| faults.add(Fault::new(FaultKind::Receipt, &name, why));
        match receipt(octets) {
            Ok((receipt, beside)) => match receipt.verify(pins) {
                Ok(is) if beside.as_ref().is_none_or(|beside| beside.is_of(&is)) => verified.push(Given { name, is }),
                Ok(_) => wrong(&"the entry that stands beside it, or its index, is another than the one it proves"),
                Err(error) => wrong(&error_chain(&error)),
            },
            Err(error) => wrong(&format_args!("it is not a receipt, nor an answer that has one: {error}")),
        }
    };
    for path in &asked.receipt {
        let name = path.display().to_string();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            each_line(path, |number, line| one(format!("{name}:{number}"), line))?;
        } else {
            one(name, &read(path, RECEIPT_OCTETS_MAX)?);
        }
    }
    Ok(verified)
}

/// Each line of a file of many receipts, with its number from 1.
fn each_line(path: &Path, mut take: impl FnMut(usize, &[u8])) -> Result<(), Failed> {
    let failed = |why: &dyn std::fmt::Display| Failed::new(Exit::Usage, format_args!("{}: {why}", path.display()));
    let mut file = BufReader::new(File::open(path).map_err(|error| failed(&error))?);
    let bound = u64::try_from(RECEIPT_OCTETS_MAX).unwrap_or(u64::MAX);
    for number in 1.. {
        let mut line = Vec::new();
        file.by_ref().take(bound).read_until(b'\n', &mut line).map_err(|error| failed(&error))?;
        if line.is_empty() {
            return Ok(());
        }
        if number > RECEIPTS_MAX {
            return Err(failed(&format_args!("it has more than {RECEIPTS_MAX} receipts: split it")));
        }
        if !line.ends_with(b"\n") && line.len() == RECEIPT_OCTETS_MAX {
            return Err(failed(&format_args!("line {number} has more than {RECEIPT_OCTETS_MAX} octets")));
        }
        take(number, &line);
    }
    Ok(())
}

/// What a receipt proves. Of an answer around it nothing is proved but the entry: what it says is to be compared with this.
fn proved(receipt: &Given<VerifiedReceipt>) -> String {
    let VerifiedReceipt { entry, signed, .. } = &receipt.is;
    let on = entry.target.as_ref().map_or_else(String::new, |target| {
        let version = target.version.as_ref().map(|version| format!(" version {version}")).unwrap_or_default();
        let digest = target.digest.as_ref().map(|digest| format!(" {digest}")).unwrap_or_default();
        format!(" on {} {}{version}{digest}", target.kind, target.id)
    });
    let what = format!(
        "{}: entry {} of {}, {}: {} {} by {}{on}; in the log of {} entries",
        receipt.name,
        entry.seq,
        signed.checkpoint.origin,
        clock::rfc3339(entry.ts),
        entry.action,
        entry.outcome.as_str(),
        entry.actor.name.as_deref().unwrap_or(&entry.actor.id),
        signed.checkpoint.size
    );
    shown(&what, LINE_CHARS_MAX)
}

/// What an export has beside a receipt for people to read.
struct Beside {
    entry: Value,
    index: Option<Value>,
}

impl Beside {
    fn is_of(&self, proved: &VerifiedReceipt) -> bool {
        canonical_json(&self.entry).is_ok_and(|octets| octets == proved.leaf)
            && self.index.as_ref().is_none_or(|index| index.as_u64() == Some(proved.entry.seq))
    }
}

/// A receipt, by itself or as the member of an answer, and what stands beside it in an export.
fn receipt(octets: &[u8]) -> Result<(Receipt, Option<Beside>), serde_json::Error> {
    let mut value: Value = serde_json::from_slice(octets)?;
    match value.get_mut("receipt").filter(|inner| inner.is_object()).map(Value::take) {
        Some(inner) => {
            let entry = value.get_mut("entry").filter(|entry| entry.is_object()).map(Value::take);
            let index = value.get_mut("index").map(Value::take);
            Ok((serde_json::from_value(inner)?, entry.map(|entry| Beside { entry, index })))
        }
        None => Ok((serde_json::from_value(value)?, None)),
    }
}

fn saved(asked: &VerifyOptions, pins: &[Verifier], faults: &Faults) -> Result<Vec<Given<SignedCheckpoint>>, Failed> {
    let mut opened = Vec::new();
    for path in &asked.saved {
        let (name, octets) = (path.display().to_string(), read(path, NOTE_LEN_MAX)?);
        match Checkpoint::open(&octets, pins) {
            Ok(is) => opened.push(Given { name, is }),
            Err(error) => faults.add(Fault::new(FaultKind::Saved, name, error)),
        }
    }
    Ok(opened)
}

fn policy(asked: &VerifyOptions) -> Result<Option<Policy>, Failed> {
    let Some(path) = &asked.policy else { return Ok(None) };
    Policy::parse(&read(path, POLICY_LEN_MAX)?)
        .map(Some)
        .map_err(|mistakes| Failed::new(Exit::Usage, format_args!("{}: {mistakes}", path.display())))
}

/// The checkpoint that enough witnesses cosigned (audit-log.md §11, step 6): the one that is kept as witnessed, else the
/// newest. It is of the log's past, like one that was saved.
fn witnessed(
    asked: &VerifyOptions,
    policy: &Policy,
    source: &dyn Source,
    newest: &[u8],
    pins: &[Verifier],
    faults: &Faults,
    told: &mut Told,
) -> Result<Option<Given<SignedCheckpoint>>, Failed> {
    let (name, octets) = match source.get(WITNESSED) {
        Ok(octets) => (WITNESSED, octets),
        Err(source::Lost::Missing(_none)) => (CHECKPOINT, newest.to_vec()),
        Err(lost) => return Err(lost.into_failed()),
    };
    let unmet = |why: &dyn std::fmt::Display| {
        faults.add(Fault::new(FaultKind::Policy, name, why));
        Ok(None)
    };
    let by_witnesses = match policy.satisfied_by(&octets, pins) {
        Ok(by_witnesses) => by_witnesses,
        Err(error) => return unmet(&error_chain(&error)),
    };
    let is = match Checkpoint::open(&octets, pins) {
        Ok(is) => is,
        Err(error) => return unmet(&error),
    };
    // A quorum of nobody has no times.
    let times = by_witnesses.cosigned.iter().filter_map(|(_witness, at_s)| i64::try_from(*at_s).ok());
    if let Some(at_ms) = times.max().map(|at_s| at_s.saturating_mul(clock::SECOND_MS)) {
        let at = clock::rfc3339(at_ms);
        let ago_ms = clock::now_ms().saturating_sub(at_ms);
        if ago_ms < -SKEW_MS_MAX {
            return unmet(&format_args!("its newest cosignature is of {at}, which is yet to come"));
        }
        let age_max = asked.max_age.and_then(|age_max| i64::try_from(age_max.as_millis()).ok());
        if age_max.is_some_and(|age_max| ago_ms > age_max) {
            faults.add(Fault::new(FaultKind::Stale, name, format_args!("its newest cosignature is of {at}")));
        }
        let names = by_witnesses.cosigned.iter().filter_map(|(witness, _at_s)| policy.witnesses().get(*witness));
        let names: Vec<&str> = names.map(|witness| witness.key.name()).collect();
        let what = format!("{} entries cosigned by {}, at last {at}", is.checkpoint.size, names.join(", "));
        told.witnessed = Some(shown(&what, LINE_CHARS_MAX));
    }
    Ok(Some(Given { name: name.to_owned(), is }))
}

fn read(path: &Path, octets_max: usize) -> Result<Vec<u8>, Failed> {
    source::read_bounded(path, octets_max)
        .map_err(|error| Failed::new(Exit::NoInput, format_args!("{}: {error}", path.display())))
}

fn verify_log(
    asked: &VerifyOptions,
    source: &dyn Source,
    signed: &SignedCheckpoint,
    receipts: &[Given<VerifiedReceipt>],
    saved: &[Given<SignedCheckpoint>],
    faults: &Faults,
    told: &mut Told,
) -> Result<(), Failed> {
    let checkpoint = &signed.checkpoint;
    let has_entries = source.has_entries() && !asked.hashes_only;
    if asked.max_age.is_some() && !has_entries {
        return Err(no_age("the entries, which need a token; --token-file or MREG_TOKEN gives one"));
    }
    if checkpoint.size > SMALL_LOG
        && let Some(why) = whole::edge(source, checkpoint)?
    {
        faults.add(Fault::new(FaultKind::Root, CHECKPOINT, format_args!("{why}; the rest was not read")));
        return Ok(());
    }
    let kept = saved.iter().map(|saved| &saved.is).chain(receipts.iter().map(|receipt| &receipt.is.signed));
    let known = Reading {
        source,
        checkpoint,
        bundles: has_entries,
        scratch: has_entries.then_some(asked.temp_dir.as_path()),
        roots: kept.map(|signed| signed.checkpoint.size).collect(),
        leaves: receipts.iter().map(|receipt| receipt.is.entry.seq).collect(),
    }
    .read(faults)?;
    for saved in saved {
        past(FaultKind::Saved, &saved.name, &saved.is.checkpoint, checkpoint, &known, faults);
    }
    for receipt in receipts {
        past(FaultKind::Receipt, &receipt.name, &receipt.is.signed.checkpoint, checkpoint, &known, faults);
        let index = receipt.is.entry.seq;
        if let Some(Some(leaf)) = known.tree.leaves.get(&index)
            && *leaf != receipt.is.leaf_hash
        {
            let detail = "the log has another entry at its place";
            faults.add(Fault::new(FaultKind::Receipt, &receipt.name, detail).of_entry(index));
        }
    }
    if has_entries {
        if let Some(fault) = origin_fault(checkpoint, &known.entries) {
            faults.add(fault);
        }
        age(asked, &known.entries, faults);
    }
    told.notes = known.entries.notable.iter().filter_map(note).collect();
    if known.entries.notable_more > 0 {
        told.notes.push(format!("{} more entries about the log itself are not shown", known.entries.notable_more));
    }
    for saved in saved.iter().filter(|saved| saved.is.checkpoint.origin != checkpoint.origin) {
        let (name, was, is) = (&saved.name, &saved.is.checkpoint.origin, &checkpoint.origin);
        told.notes.push(shown(&format!("{name} is of log {was}, which is called {is} now"), LINE_CHARS_MAX));
    }
    told.checkpoint = Some(checkpoint.clone());
    told.known = known;
    told.has_entries = has_entries;
    Ok(())
}

/// Checks that a checkpoint that was kept is of the log's past.
fn past(kind: FaultKind, name: &str, kept: &Checkpoint, now: &Checkpoint, known: &Known, faults: &Faults) {
    let size = kept.size;
    if size > now.size {
        let detail = format!("it is of {size} entries, the log has {}: it was cut, or is another", now.size);
        faults.add(Fault::new(kind, name, detail));
        return;
    }
    match known.tree.roots.get(&size).copied().flatten() {
        Some(root) if root == kept.root => {}
        Some(root) => {
            let detail = format!("the log had the root {root} at {size} entries, not {}: it was rewritten", kept.root);
            faults.add(Fault::new(kind, name, detail));
        }
        None => faults.add(Fault::new(kind, name, format_args!("the root of {size} entries cannot be computed"))),
    }
}

fn age(asked: &VerifyOptions, entries: &EntryFacts, faults: &Faults) {
    let Some(age_max) = asked.max_age else { return };
    let Some(newest) = &entries.newest else {
        faults.add(Fault::new(FaultKind::Stale, CHECKPOINT, "no entry says how old the log is"));
        return;
    };
    let age_ms = clock::parse_rfc3339(newest).map(|at_ms| clock::now_ms().saturating_sub(at_ms));
    if age_ms.is_none_or(|age_ms| u128::try_from(age_ms).is_ok_and(|age_ms| age_ms > age_max.as_millis())) {
        let detail = format!("the newest entry is of {newest}, more than {} s ago", age_max.as_secs());
        faults.add(Fault::new(FaultKind::Stale, CHECKPOINT, detail));
    }
}

/// What a reader should know of a log that is in order. What was refused changed nothing.
fn note(notable: &Notable) -> Option<String> {
    let what = match &notable.entry.action {
        Action::LogKeyRotate => "the signing key was changed",
        Action::LogRollbackAccepted => "older data were accepted",
        _as_expected => return None,
    };
    let data = serde_json::to_string(&notable.entry.data).unwrap_or_default();
    Some(shown(&format!("entry {}: {what}: {data}", notable.index), LINE_CHARS_MAX))
}

fn tell(asked: &VerifyOptions, told: &Told, faults: Faults) -> Result<(), Failed> {
    let (kept, more) = faults.into_parts();
    let total = u64::try_from(kept.len()).unwrap_or(u64::MAX).saturating_add(more);
    let checkpoint = told.checkpoint.as_ref();
    let known = &told.known;
    let text = if asked.json {
        let value = json!({
            "ok": total == 0,
            "origin": checkpoint.map(|checkpoint| shown(&checkpoint.origin, LINE_CHARS_MAX)),
            "size": checkpoint.map(|checkpoint| checkpoint.size),
            "root": checkpoint.map(|checkpoint| checkpoint.root.to_string()),
            "entries": told.has_entries.then_some(known.entries.entries),
            "tiles": known.tree.tiles,
            "newest": known.entries.newest,
            "receipts": told.receipts,
            "saved": told.saved,
            "witnessed": told.witnessed,
            "notes": told.notes,
            "faults": kept,
            "faults_total": total,
        });
        format!("{value:#}\n")
    } else {
        let mut text = String::new();
        let mut line = |line: &dyn std::fmt::Display| {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{line}");
        };
        kept.iter().for_each(|fault| line(fault));
        if more > 0 {
            line(&format_args!("and {more} more"));
        }
        told.notes.iter().for_each(|note| line(&format_args!("note: {note}")));
        if let Some(checkpoint) = checkpoint {
            let Checkpoint { origin, size, root } = checkpoint;
            line(&format_args!("log {}, {size} entries, root {root}", shown(origin, LINE_CHARS_MAX)));
            let entries = if told.has_entries { known.entries.entries.to_string() } else { "no".to_owned() };
            line(&format_args!("{entries} entries read, tiles compared: {}", known.tree.tiles));
        }
        told.receipts.iter().for_each(|receipt| line(receipt));
        told.witnessed.iter().for_each(|witnessed| line(witnessed));
        if told.saved > 0 {
            line(&format_args!("saved checkpoints: {}", told.saved));
        }
        if total == 0 {
            let hashes_only = checkpoint.is_some() && !told.has_entries;
            line(&if hashes_only { "passed (hashes only: reading the entries takes a token)" } else { "passed" });
        }
        text
    };
    match cli::out(&text) {
        Exit::Ok if total == 0 => Ok(()),
        Exit::Ok => {
            let faults = if total == 1 { "fault" } else { "faults" };
            Err(Failed::new(Exit::Data, format_args!("verification failed: {total} {faults}")))
        }
        exit => Err(Failed::new(exit, "the result can't be written")),
    }
}
