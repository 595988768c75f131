//! `mregd backup` and `mregd restore`. Knows who is asked for what, in which order, and how it is told; one file below for
//! each part: `repository.rs` the directory, `manifest.rs`, `segment.rs` and `needed.rs` its files, `create.rs` how a generation is made,
//! `verify.rs` how it is proved, `restore.rs` how it becomes a registry again.
//!
//! The one who copies is this process, with its own rights to the directory of backups; the daemon only names a checkpoint and
//! keeps blobs from being removed meanwhile, and is told in the end, so that its log tells. While no daemon runs the registry
//! is opened here, under its lock, and all is the same.

mod create;
mod manifest;
mod needed;
mod repository;
mod restore;
mod segment;
mod verify;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::api::{BackupDeed, BackupHeld, BackupReport};
use common::audit::Verifier;
use http::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use self::create::{Attempt, How, Made, Source};
use self::manifest::Manifest;
use self::repository::{Access, Repository, at};
use self::restore::Target;
use self::verify::{Blobbed, Faults, Places, Proof};
use super::progress::Progress;
use super::{Exit, Failed, runtime, say, way};
use crate::blobs::Blobs;
use crate::cli::{self, BackupCommand, BackupOptions, RestoreOptions};
use crate::config::{Config, Loaded, default_key_dir};
use crate::durable::{self, MODE_FILE};
use crate::http::control::{Lines, Operator};
use crate::registry::Registry;
use crate::registry::backup::BackupHold;
use crate::{BLOBS_DIR, TOKEN_KEY_FILE, TOTP_KEY_FILE, WEBHOOK_KEY_FILE, clock};

/// Octets of the largest file of keys, with room to spare.
const KEY_OCTETS_MAX: usize = 64 * 1024;
/// Where an object store's files of this command's own are, below the data directory.
const S3_DIR: &str = "s3-backup";
/// How often a newer checkpoint is taken because blobs that the one before needs have gone; then the backup is made without.
const CHECKPOINTS_MAX: usize = 4;
/// How long a daemon that just stops or starts may take to answer that it holds removals.
const HOLD_WITHIN: Duration = Duration::from_secs(60);
/// The result of a verification, beside the manifest.
const VERIFIED: &str = "restore-verified.json";

/// Whether a file of the key directory is one to keep: the log's keys, and those of tokens, webhooks and second factors. The mark is none: it says how far
/// the log had come, which a backup can't know.
fn is_kept_key(name: &str) -> bool {
    let id = name.strip_prefix("log.").and_then(|rest| rest.strip_suffix(".key"));
    let is_later = id.is_some_and(|id| id.len() == 8 && id.bytes().all(|octet| octet.is_ascii_hexdigit()));
    name == "log.key" || is_later || [TOKEN_KEY_FILE, WEBHOOK_KEY_FILE, TOTP_KEY_FILE].contains(&name)
}

/// Who keeps blobs from being removed.
enum Holder {
    /// The running daemon, as long as its answer is being read.
    Running { operator: Operator, held: BackupHeld, lines: Lines },
    /// This process.
    Stopped { registry: std::sync::Arc<Registry>, hold: BackupHold },
}

impl Holder {
    async fn take(config: &Config) -> Result<Self, Failed> {
        match way::Way::open(config).await? {
            way::Way::Running(operator) => {
                let began = tokio::time::timeout(HOLD_WITHIN, operator.open_lines(Method::POST, "/backup/hold"));
                let lost = |error: &dyn std::fmt::Display| {
                    Failed::new(Exit::TempFail, format_args!("the running daemon didn't answer: {error}; try again"))
                };
                let opened = began.await.map_err(|error| lost(&error))?.map_err(|error| lost(&error))?;
                let mut lines = opened.map_err(|(status, octets)| way::told(status, &octets))?;
                let line = lines.next().await.map_err(|error| lost(&error))?;
                let line = line.ok_or_else(|| lost(&"it stops"))?;
                let held = serde_json::from_slice(&line).map_err(|error| lost(&error))?;
                let operator = way::running(config).await?.ok_or_else(|| lost(&"it stops"))?;
                Ok(Self::Running { operator, held, lines })
            }
            way::Way::Stopped(registry) => match registry.hold_for_backup(&way::here()).await {
                Ok(hold) => Ok(Self::Stopped { registry, hold }),
                Err(failure) => {
                    registry.close().await;
                    Err(way::failed(failure))
                }
            },
        }
    }

    /// The newest checkpoint, a signed note; and the keys that sign.
    async fn checkpoint(&mut self) -> Result<(String, Vec<Verifier>, String), Failed> {
        let verifiers = |keys: &[String]| keys.iter().filter_map(|key| key.parse().ok()).collect();
        match self {
            Self::Running { operator, held, .. } => {
                let lost = |error: io::Error| {
                    Failed::new(Exit::TempFail, format_args!("the running daemon didn't answer: {error}; try again"))
                };
                let asked = operator.ask(Method::GET, "/log/checkpoint", None).await;
                let (status, octets) = asked.map_err(lost)?;
                if !status.is_success() {
                    return Err(way::told(status, &octets));
                }
                let note = String::from_utf8_lossy(&octets).into_owned();
                Ok((note, verifiers(&held.vkeys), held.node.clone()))
            }
            Self::Stopped { registry, .. } => {
                let identity = registry.identity();
                let note = registry.checkpoints().borrow().note.clone();
                Ok((note, verifiers(&identity.vkeys), identity.node))
            }
        }
    }

    /// Whether removals are still held.
    async fn still_holds(&mut self) -> bool {
        match self {
            Self::Running { lines, .. } => lines.go_on().await,
            Self::Stopped { .. } => true,
        }
    }

    async fn report(&mut self, report: &BackupReport) -> Result<(), Failed> {
        match self {
            Self::Running { operator, .. } => tell(operator, report).await,
            Self::Stopped { registry, .. } => {
                registry.report_backup(&way::here(), report.clone()).await.map(drop).map_err(way::failed)
            }
        }
    }

    async fn release(self) {
        if let Self::Stopped { registry, hold } = self {
            drop(hold);
            registry.close().await;
        }
    }
}

async fn tell(operator: &mut Operator, report: &BackupReport) -> Result<(), Failed> {
    let body = serde_json::to_vec(report).map_err(|error| Failed::new(Exit::Internal, error))?;
    let lost =
        |error: io::Error| Failed::new(Exit::TempFail, format_args!("the running daemon can't be told: {error}"));
    let (status, octets) = operator.ask(Method::POST, "/backup/report", Some(body)).await.map_err(lost)?;
    if status.is_success() { Ok(()) } else { Err(way::told(status, &octets)) }
}

/// `mregd backup`
pub(super) fn backup(loaded: &Loaded, options: BackupOptions) -> Result<(), Failed> {
    match (&options.command, &options.to) {
        (Some(BackupCommand::List { dir, json }), _) => list(dir, *json),
        (Some(BackupCommand::Prune { dir, keep, json }), _) => prune(dir, *keep, *json),
        (None, Some(to)) => create(loaded, &options, to),
        (None, None) => Err(Failed::new(Exit::Usage, "--to says where to")),
    }
}

fn create(loaded: &Loaded, options: &BackupOptions, to: &Path) -> Result<(), Failed> {
    let config = &loaded.config;
    let began = Instant::now();
    if options.with_keys {
        cli::err(
            "warning: the backup will have the log's signing keys: whoever has it can sign another history in the log's name. \
             Keep it as you keep the key directory",
        );
    }
    let runtime = runtime()?;
    // Before the directory of backups is touched: whether there is a registry at all.
    let mut holder = runtime.block_on(Holder::take(config))?;
    let made = copy(loaded, options, to, &runtime, &mut holder);
    let result = made.and_then(|made| {
        let report = BackupReport {
            deed: BackupDeed::Create,
            generation: made.manifest.generation.clone(),
            size: made.manifest.size,
            root: made.manifest.root.clone(),
            blobs: made.manifest.blobs.count,
            bytes: made.manifest.blobs.octets,
            added_bytes: made.added_octets,
            lacking: made.manifest.blobs.lacking,
            failures: 0,
            seconds: began.elapsed().as_secs(),
        };
        let reported = runtime.block_on(holder.report(&report));
        reported.map_err(|failed| {
            let hint = format!("the backup {} is made, but the log doesn't tell of it", made.manifest.generation);
            failed.with_hint(&hint)
        })?;
        Ok(made)
    });
    runtime.block_on(holder.release());
    tell_made(&result?, options.json, began.elapsed())
}

fn copy(
    loaded: &Loaded,
    options: &BackupOptions,
    to: &Path,
    runtime: &Runtime,
    holder: &mut Holder,
) -> Result<Made, Failed> {
    let config = &loaded.config;
    let log_dir = config.data_dir.join("log");
    let data_dir = durable::resolved(&config.data_dir).map_err(at(&config.data_dir))?;
    if durable::resolved(to).map_err(at(to))?.starts_with(data_dir) {
        let why = format_args!("{} is inside the data directory, and would be lost with it", to.display());
        return Err(Failed::new(Exit::Usage, why));
    }
    let repository = Repository::create(to, &create::log_id(&log_dir)?)?;
    let since = options.since.as_ref().map(|dir| Repository::open(dir, Access::Read)).transpose()?;
    if since.as_ref().is_some_and(|since| since.log() != repository.log()) {
        return Err(Failed::new(Exit::Usage, "--since names backups of another registry"));
    }
    let blobs = open_blobs(config, None)?;
    let how = How { blobs: options.blobs, rate: options.rate, since };
    let mut progress = Progress::new();
    for attempt in 1..=CHECKPOINTS_MAX {
        let (note, pins, node) = runtime.block_on(holder.checkpoint())?;
        let source = Source {
            log_dir: log_dir.clone(),
            blob_dir: config.data_dir.join(BLOBS_DIR),
            blobs: &*blobs,
            node,
            settings: loaded.without_secrets(),
            key_dir: options.with_keys.then(|| config.key_dir.clone()),
        };
        let mut show = |step: &'static str, done, of| progress.show(step, done, of);
        let last = attempt == CHECKPOINTS_MAX;
        let attempt = create::make(&repository, &source, (&note, &pins), &how, last, &mut show);
        progress.clear();
        match attempt? {
            Attempt::Made(made) => return Ok(*made),
            Attempt::Missing if !runtime.block_on(holder.still_holds()) => {
                return Err(Failed::new(
                    Exit::TempFail,
                    "the daemon stopped meanwhile, and files have gone; begin again, and it goes on",
                ));
            }
            Attempt::Missing => {}
        }
    }
    Err(Failed::new(Exit::Internal, "the last attempt settles for what there is"))
}

/// The registry's blobs, in a place of this command's own where something must be staged.
fn open_blobs(config: &Config, log: Option<&str>) -> Result<std::sync::Arc<dyn Blobs>, Failed> {
    let new = crate::open_place(config, &config.blobs, S3_DIR, log, None)?;
    Ok(match &config.blobs_old {
        None => new,
        Some(old) => std::sync::Arc::new(crate::blobs::both::Both::new(
            new,
            crate::open_place(config, old, S3_OLD_DIR, None, None)?,
        )),
    })
}

/// The same of the place before.
const S3_OLD_DIR: &str = "s3-backup-old";

fn tell_made(made: &Made, as_json: bool, took: Duration) -> Result<(), Failed> {
    let Made { manifest, added_blobs, added_octets, added_entries, lacking, remarks } = made;
    for remark in remarks {
        cli::err(&format!("note: {remark}"));
    }
    for lack in lacking {
        cli::err(&format!("failure: {lack}"));
    }
    let text = if as_json {
        let value = json!({
            "generation": manifest.generation,
            "size": manifest.size,
            "root": manifest.root,
            "blobs": manifest.blobs.count,
            "bytes": manifest.blobs.octets,
            "lacking": manifest.blobs.lacking,
            "added_entries": added_entries,
            "added_blobs": added_blobs,
            "added_bytes": added_octets,
            "milliseconds": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "remarks": remarks,
            "failures": lacking,
        });
        format!("{value:#}\n")
    } else {
        let lacks = match manifest.blobs.lacking {
            0 => String::new(),
            count => format!("; {count} blobs are LACKING"),
        };
        format!(
            "backup {}: {} entries, {} blobs of {}; added {added_entries} entries, {added_blobs} blobs, {} in {}{lacks}\n",
            manifest.generation,
            manifest.size,
            manifest.blobs.count,
            amount(manifest.blobs.octets),
            amount(*added_octets),
            pace(*added_octets, took),
        )
    };
    say(&text)?;
    match manifest.blobs.lacking {
        0 => Ok(()),
        count => Err(Failed::new(
            Exit::Data,
            format_args!(
                "{count} files are missing or damaged, and the backup has none of them; run `mregd check --blobs`"
            ),
        )),
    }
}

/// Octets as people read them.
fn amount(octets: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_unit, size)| octets >= *size) {
        Some((unit, size)) => {
            let tenths = u128::from(octets) * 10 / u128::from(size);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{octets} octets"),
    }
}

/// A time, and how fast that was.
fn pace(octets: u64, took: Duration) -> String {
    let ms = took.as_millis().max(1);
    let rate = u64::try_from(u128::from(octets) * 1000 / ms).unwrap_or(u64::MAX);
    format!("{}.{} s ({}/s)", ms / 1000, ms % 1000 / 100, amount(rate))
}

/// `mregd backup list`
fn list(dir: &Path, as_json: bool) -> Result<(), Failed> {
    let repository = Repository::open(dir, Access::Read)?;
    let mut rows = Vec::new();
    let mut text = String::new();
    let mut damaged = 0_u64;
    for id in repository.generations()? {
        match repository.manifest(&id) {
            Ok(manifest) => {
                let verified = verified_at(&repository, &id);
                text.push_str(&row(&manifest, verified.as_deref()));
                rows.push(json!({
                    "generation": id,
                    "made_at": manifest.made_at,
                    "size": manifest.size,
                    "root": manifest.root,
                    "blobs": manifest.blobs.count,
                    "bytes": manifest.blobs.octets,
                    "are_stored": manifest.blobs.are_stored,
                    "lacking": manifest.blobs.lacking,
                    "has_keys": manifest.has_keys,
                    "verified_at": verified,
                }));
            }
            Err(failed) => {
                damaged += 1;
                text.push_str(&format!("{id}  DAMAGED: {}\n", failed.message));
                rows.push(json!({"generation": id, "damaged": failed.message}));
            }
        }
    }
    if as_json {
        say(&format!("{:#}\n", Value::from(rows)))?;
    } else if text.is_empty() {
        say("no backup was finished here yet\n")?;
    } else {
        say(&text)?;
    }
    match damaged {
        0 => Ok(()),
        count => Err(Failed::new(Exit::Data, format_args!("{count} manifests are damaged"))),
    }
}

fn row(manifest: &Manifest, verified: Option<&str>) -> String {
    let mut text = format!(
        "{}  {} entries, {} blobs of {}",
        manifest.generation,
        manifest.size,
        manifest.blobs.count,
        amount(manifest.blobs.octets)
    );
    if !manifest.blobs.are_stored {
        text.push_str(", only listed");
    }
    if manifest.blobs.lacking > 0 {
        text.push_str(&format!(", {} of them LACKING", manifest.blobs.lacking));
    }
    if manifest.has_keys {
        text.push_str(", with keys");
    }
    match verified {
        Some(at) => text.push_str(&format!(", verified {at}\n")),
        None => text.push_str(", never verified\n"),
    }
    text
}

/// When a generation was last found to be right.
fn verified_at(repository: &Repository, id: &str) -> Option<String> {
    const OCTETS_MAX: usize = 1024 * 1024;
    let octets = repository::read_bounded(&repository.generation(id).join(VERIFIED), OCTETS_MAX).ok()?;
    let value: Value = serde_json::from_slice(&octets).ok()?;
    let passed = value.get("passed").and_then(Value::as_bool) == Some(true);
    value.get("verified_at").and_then(Value::as_str).filter(|_at| passed).map(str::to_owned)
}

/// `mregd backup prune`
fn prune(dir: &Path, keep: u64, as_json: bool) -> Result<(), Failed> {
    let repository = Repository::open(dir, Access::Write)?;
    let all = repository.generations()?;
    // All of them are read first: with one that can't be read nothing may be removed.
    let manifests = all.iter().map(|id| repository.manifest(id)).collect::<Result<Vec<_>, _>>()?;
    let first = all.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
    let is_whole = |manifest: &Manifest| manifest.blobs.lacking == 0;
    let (old, kept) = manifests.split_at(first);
    // A backup that lacks nothing is worth more than the newest.
    let spared = if kept.iter().any(is_whole) { None } else { old.iter().rposition(is_whole) };
    let mut removed = Vec::new();
    for (number, manifest) in old.iter().enumerate() {
        if Some(number) != spared {
            repository.remove(&manifest.generation)?;
            removed.push(manifest.generation.clone());
        }
    }
    let swept = repository.sweep()?;
    let left = all.len() - removed.len();
    if as_json {
        let value = json!({"removed": removed, "kept": left, "blobs": swept.blobs, "bytes": swept.octets});
        return say(&format!("{value:#}\n"));
    }
    say(&format!(
        "removed {} generations, {} blobs, {}; {left} generations are kept\n",
        removed.len(),
        swept.blobs,
        amount(swept.octets)
    ))
}

/// `mregd restore`
pub(super) fn restore(config: &Config, options: &RestoreOptions) -> Result<(), Failed> {
    let began = Instant::now();
    let pins = if options.vkey.is_empty() { Vec::new() } else { super::log::pins(&options.vkey)? };
    let repository = Repository::open(&options.from, Access::Read)?;
    let id = match &options.generation {
        Some(id) => id.clone(),
        None => repository.generations()?.pop().ok_or_else(|| {
            Failed::new(Exit::NoInput, format_args!("no backup was finished in {} yet", options.from.display()))
        })?,
    };
    let manifest = match repository.manifest(&id) {
        Ok(manifest) => manifest,
        Err(failed) => {
            if options.verify {
                note_result(&repository, &id, &json!({"passed": false, "failures": [failed.message]}));
            }
            return Err(failed);
        }
    };
    let mut told = match &options.to {
        None => verified(config, options, &repository, &manifest, &pins, began)?,
        Some(to) => restored(config, options, &repository, &manifest, &pins, to, began)?,
    };
    told.say(options)
}

/// What is told at the end.
struct Told {
    proved: Vec<String>,
    unproved: Vec<String>,
    then: Vec<String>,
    faults: Faults,
    last: String,
    value: Value,
}

impl Told {
    fn say(&mut self, options: &RestoreOptions) -> Result<(), Failed> {
        let mut text = String::new();
        if options.json {
            text = format!("{:#}\n", self.value);
        } else {
            for fault in &self.faults.told {
                text.push_str(&format!("failure: {fault}\n"));
            }
            if !options.quiet {
                for line in &self.proved {
                    text.push_str(&format!("proved: {line}\n"));
                }
                for line in &self.unproved {
                    text.push_str(&format!("not proved: {line}\n"));
                }
                for line in &self.then {
                    text.push_str(&format!("{line}\n"));
                }
            }
            text.push_str(&self.last);
            text.push('\n');
        }
        say(&text)?;
        match self.faults.count {
            0 => Ok(()),
            count => Err(Failed::new(Exit::Data, format_args!("{count} failures"))),
        }
    }
}

/// Where blobs that are only referred to can be read.
fn referred(config: &Config, manifest: &Manifest) -> Result<Option<std::sync::Arc<dyn Blobs>>, Failed> {
    // A directory that is not there would be made by opening it.
    let is_here = config.blobs.is_s3() || config.data_dir.join(BLOBS_DIR).is_dir();
    if manifest.blobs.are_stored || !is_here { Ok(None) } else { open_blobs(config, None).map(Some) }
}

fn verified(
    config: &Config,
    options: &RestoreOptions,
    repository: &Repository,
    manifest: &Manifest,
    pins: &[Verifier],
    began: Instant,
) -> Result<Told, Failed> {
    let mut progress = Progress::new();
    let mut show = |step: &'static str, done, of| progress.show(step, done, of);
    let mut faults = Faults::default();
    let proof = verify::journal(repository, manifest, pins, &options.temp_dir, &mut faults, &mut show)?;
    let referred = referred(config, manifest)?;
    let places = Places { referred: referred.as_deref(), target: None };
    let blobbed = match repository.list(manifest) {
        Ok(_list) => verify::blobs(repository, manifest, &places, options.rate, &mut faults, &mut show)?,
        // It is a fault already.
        Err(_damaged) => Blobbed::default(),
    };
    progress.clear();
    let mut told = tell_proof(manifest, pins, proof.as_ref(), blobbed, faults, began.elapsed());
    told.last = format!("verified {}", told.last);
    if let Some(map) = told.value.as_object_mut() {
        map.insert("verified_at".to_owned(), clock::rfc3339(clock::now_ms()).into());
    }
    note_result(repository, &manifest.generation, &told.value);
    let runtime = runtime()?;
    let report = BackupReport {
        deed: BackupDeed::Verify,
        generation: manifest.generation.clone(),
        size: manifest.size,
        root: manifest.root.clone(),
        blobs: blobbed.right,
        bytes: blobbed.octets,
        added_bytes: 0,
        lacking: manifest.blobs.lacking,
        failures: told.faults.count,
        seconds: began.elapsed().as_secs(),
    };
    let reported = runtime.block_on(async {
        match way::running(config).await? {
            Some(mut operator) => tell(&mut operator, &report).await.map(|()| true),
            None => Ok(false),
        }
    });
    match reported {
        Ok(true) => {}
        Ok(false) => told.then.push("No daemon runs here, so none was told.".to_owned()),
        // What was found out holds all the same.
        Err(failed) => cli::err(&format!("warning: the daemon was not told: {}", failed.message)),
    }
    Ok(told)
}

/// Keeps the result beside the manifest.
fn note_result(repository: &Repository, id: &str, value: &Value) {
    let path = repository.generation(id).join(VERIFIED);
    let octets = format!("{value:#}\n");
    if let Err(error) = durable::write_file(&path, octets.as_bytes(), MODE_FILE)
        && !matches!(error.kind(), ErrorKind::ReadOnlyFilesystem)
    {
        cli::err(&format!("warning: {} can't be written: {error}", path.display()));
    }
}

fn tell_proof(
    manifest: &Manifest,
    pins: &[Verifier],
    proof: Option<&Proof>,
    blobbed: Blobbed,
    faults: Faults,
    took: Duration,
) -> Told {
    let (mut proved, mut unproved) = (Vec::new(), Vec::new());
    let (size, count) = (manifest.size, manifest.blobs.count);
    let is_signed = proof.is_some_and(|proof| !proof.signed_by.is_empty());
    if let Some(proof) = proof.filter(|_proof| is_signed && faults.count == 0) {
        proved.push(format!("{size} entries have the root {} of the checkpoint of {}", manifest.root, manifest.origin));
        let whose = if pins.is_empty() { "which the log itself names" } else { "as given" };
        proved.push(format!("it is signed by {}, {whose}", proof.signed_by.join(" and ")));
        proved.push(format!(
            "these entries make a state of {} models, {} versions and {} users, sha256:{}",
            proof.counters.models,
            proof.counters.versions,
            proof.counters.users,
            hex::encode(proof.state)
        ));
    }
    if blobbed.right > 0 && faults.count == 0 {
        proved.push(format!("{} of {count} blobs were read, and have the digests that the entries say", blobbed.right));
    }
    if pins.is_empty() {
        unproved.push("whose key that is: --vkey with the key that you were given says so".to_owned());
    }
    if blobbed.lacking > 0 {
        unproved.push(format!("{} blobs: they were missing or damaged when the backup was made", blobbed.lacking));
    }
    if !manifest.blobs.are_stored && blobbed.right + blobbed.lacking < count {
        unproved.push(format!("{count} blobs: they are only listed, and not to be had here"));
    }
    unproved.push(format!(
        "that nothing was recorded after {}: only a newer checkpoint, or the high-water mark beside the keys, tells",
        manifest.made_at
    ));
    let last = format!(
        "{}: {size} entries, {} blobs of {}, {} failures in {}",
        manifest.generation,
        blobbed.right,
        amount(blobbed.octets),
        faults.count,
        pace(blobbed.octets, took)
    );
    let value = json!({
        "passed": faults.count == 0,
        "generation": manifest.generation,
        "size": size,
        "root": manifest.root,
        "origin": manifest.origin,
        "signed_by": proof.map(|proof| proof.signed_by.clone()),
        "is_pinned": !pins.is_empty(),
        "state": proof.map(|proof| hex::encode(proof.state)),
        "blobs": blobbed.right,
        "bytes": blobbed.octets,
        "lacking": manifest.blobs.lacking,
        "failures": faults.told,
        "failures_total": faults.count,
        "proved": proved,
        "not_proved": unproved,
        "milliseconds": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "tool": concat!("mregd ", env!("CARGO_PKG_VERSION")),
    });
    Told { proved, unproved, then: Vec::new(), faults, last, value }
}

fn restored(
    config: &Config,
    options: &RestoreOptions,
    repository: &Repository,
    manifest: &Manifest,
    pins: &[Verifier],
    to: &Path,
    began: Instant,
) -> Result<Told, Failed> {
    let (to, key_dir) = places_of(config, to)?;
    if options.with_keys {
        if !manifest.has_keys {
            return Err(Failed::new(Exit::Usage, "--with-keys: the backup was made without keys"));
        }
        restore::require_no_keys(manifest, &key_dir)?;
    }
    let target = Target::begin(&to, &manifest.generation)?;
    let mut progress = Progress::new();
    let mut show = |step: &'static str, done, of| progress.show(step, done, of);
    let mut faults = Faults::default();
    let proof = verify::journal(repository, manifest, pins, &to, &mut faults, &mut show);
    if faults.count > 0 || proof.is_err() {
        target.give_up();
        proof?;
        let told = faults.told.join("; ");
        let why = format_args!("nothing was restored: {told}. Another generation may be whole: --generation");
        return Err(Failed::new(Exit::Data, why));
    }
    let proof = proof?;
    target.journal(repository, manifest, options.newest, &mut show)?;
    let blobs = match manifest.blobs.are_stored {
        true => Some(crate::open_place_of(config, &to, &config.blobs, S3_DIR, Some(&manifest.log), None)?),
        false => None,
    };
    if let Some(blobs) = &blobs {
        // What an earlier attempt left half done.
        blobs.sweep_staging().map_err(|error| Failed::new(Exit::Io, crate::error_chain(&error)))?;
    }
    let referred = referred(config, manifest)?;
    let places = Places { referred: referred.as_deref(), target: blobs.as_deref() };
    let blobbed = verify::blobs(repository, manifest, &places, options.rate, &mut faults, &mut show)?;
    if options.with_keys {
        restore::keys(repository, manifest, &key_dir)?;
    }
    target.finish()?;
    progress.clear();
    let mut told = tell_proof(manifest, pins, proof.as_ref(), blobbed, faults, began.elapsed());
    told.last = format!("restored {}", told.last);
    told.then = next_steps(options, manifest, &to, &key_dir);
    if let Some(map) = told.value.as_object_mut() {
        map.insert("data_dir".to_owned(), to.display().to_string().into());
        map.insert("next".to_owned(), told.then.clone().into());
    }
    Ok(told)
}

/// Where data and keys go, as absolute paths.
fn places_of(config: &Config, to: &Path) -> Result<(PathBuf, PathBuf), Failed> {
    let to = std::path::absolute(to).map_err(at(to))?;
    // The usual key directory is beside the data.
    let is_usual = config.key_dir == default_key_dir(&config.data_dir);
    let key_dir = if is_usual { default_key_dir(&to) } else { config.key_dir.clone() };
    Ok((to, key_dir))
}

/// What is to be done until it serves.
fn next_steps(options: &RestoreOptions, manifest: &Manifest, to: &Path, key_dir: &Path) -> Vec<String> {
    let mut steps =
        vec![format!("The registry is in {}; its keys are expected in {}.", to.display(), key_dir.display())];
    let has_mark = key_dir.join("log.mark").exists();
    steps.push(if has_mark {
        "The high-water mark there decides: if nothing was signed after this backup, mregd starts; else it says what is lost, \
         and `mregd log accept-rollback` goes on without that, under a new name of the log."
            .to_owned()
    } else if options.newest {
        "Start mregd with the log's keys: it goes on under the same name, as you say that nothing was signed since.".to_owned()
    } else {
        "There is no high-water mark there: put the key directory of the lost registry in its place before mregd is started. If \
         that is lost, `mregd log accept-rollback` goes on under a new name of the log and with a new key."
            .to_owned()
    });
    if manifest.blobs.are_stored {
        steps.push("Then run `mregd check --blobs`.".to_owned());
    } else {
        steps.push("Its files were only listed: see to it that they are where MREG_BLOBS says, then run `mregd check --blobs`.".to_owned());
    }
    steps
}
