//! What the daemon says of itself, and since when the console has seen it say so. Which numbers are too high is decided
//! here; how they are drawn is not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use common::api::gc::GcStatus;
use common::api::retention::RetentionStatus;
use common::api::{
    BackupStatus, IngestState, IntakeStatus, LogLine, Ready, RescanStatus, ScrubStatus, Status, StorageStatus,
    TlsStatus, WebhooksStatus, WitnessesStatus,
};

use crate::action::RequestId;
use crate::event::Moment;
use crate::state::Screen;
use crate::state::queue::{in_other_states, under_way};
use crate::time::{Now, age, bytes, counted, duration, grouped, seconds};

/// Milliseconds between two readings while the screen is open. The route is not audited.
pub const POLL_MS: u64 = 5_000;
/// Milliseconds between two readings for the counts in the header, while another screen is open.
pub const COUNTS_MS: u64 = 60_000;

/// An item that is in the drop folder for so many seconds without an end is worth a look.
const ITEM_OLD_S: i64 = 600;
/// So is a version that waits in quarantine for so many seconds.
const HELD_OLD_S: i64 = 7 * 86_400;
/// And a certificate that is good for fewer days.
pub const CERTIFICATE_LOW_DAYS: i64 = 21;
/// And a last backup that is older than so many seconds: a day, and what a nightly one may be late.
const BACKUP_OLD_S: i64 = 26 * 3600;
/// And one whose backups were last read whole longer ago than so many seconds.
const VERIFIED_OLD_S: i64 = 35 * 86_400;
/// And a clock that is further than so many seconds from the terminal's.
const SKEW_MAX_S: u64 = 2;
/// And a disk that is full to so many percent.
const DISK_FULL_PERCENT: u64 = 85;

/// Screen 6.
#[derive(Debug, Clone, Default)]
pub struct HealthScreen {
    /// The newest answer.
    pub status: Option<Box<Status>>,
    /// The newest answer on readiness.
    pub ready: Option<Ready>,
    /// When it came.
    pub as_of: Option<Moment>,
    /// The request under way.
    pub pending: Option<RequestId>,
    /// The one about readiness.
    pub pending_ready: Option<RequestId>,
    /// Why the newest reading failed.
    pub failed: Option<String>,
    /// The counts have changed, and are read soon.
    pub is_soon: bool,
    /// Scrolled by so many lines.
    pub scroll: usize,
    /// The check that somebody went to; before that the worst is selected.
    pub selected: Option<&'static str>,
    /// The selected check is shown whole, scrolled by so many lines.
    pub detail: Option<usize>,
    /// Only lines of the daemon's diagnostics with this in them.
    pub filter: String,
    /// The diagnostics as they were when they were told to hold still; none while they are followed.
    pub still: Option<Vec<LogLine>>,
    /// Since when each check is as it is, as far as this console has seen; none where it was so from the first look on.
    pub since: BTreeMap<&'static str, (Verdict, Option<Moment>)>,
}

impl HealthScreen {
    /// The daemon's diagnostics that are shown, the newest first.
    pub fn diagnostics(&self) -> impl Iterator<Item = &LogLine> {
        let all = match (&self.still, &self.status) {
            (Some(still), _) => still.as_slice(),
            (None, Some(status)) => status.diagnostics.as_slice(),
            (None, None) => &[],
        };
        let wanted = self.filter.to_lowercase();
        all.iter().rev().filter(move |line| {
            wanted.is_empty() || line.level.contains(&wanted) || line.text.to_lowercase().contains(&wanted)
        })
    }

    /// The checks by the newest answers.
    pub fn checks(&self, now: Now, skew_seconds: Option<i64>) -> Vec<Check> {
        let ready = self.ready.as_ref();
        self.status.as_ref().map(|status| checks(status, ready, now, skew_seconds)).unwrap_or_default()
    }

    /// The place of the selected one among these checks.
    pub fn place(&self, checks: &[Check]) -> usize {
        let chosen = self.selected.and_then(|name| checks.iter().position(|check| check.name == name));
        let worst = || {
            let worst = checks.iter().map(|check| check.verdict).max().filter(|worst| *worst >= Verdict::Warn);
            worst.and_then(|worst| checks.iter().position(|check| check.verdict == worst))
        };
        chosen.or_else(worst).unwrap_or(0)
    }

    /// Notes which checks have changed.
    pub fn note_changes(&mut self, now: Moment, skew_seconds: Option<i64>) {
        for check in self.checks(Now::utc(now.wall_seconds), skew_seconds) {
            let known = self.since.get(check.name).copied();
            match known {
                Some((verdict, _since)) if verdict == check.verdict => {}
                Some(_other) => drop(self.since.insert(check.name, (check.verdict, Some(now)))),
                None => drop(self.since.insert(check.name, (check.verdict, None))),
            }
        }
    }
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is not used here.
    Off,
    /// As it should be.
    Ok,
    /// Somebody should look.
    Warn,
    /// It doesn't work.
    Fail,
}

impl Verdict {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Ok => "ok",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// One line of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is checked.
    pub name: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was seen.
    pub value: String,
    /// From where on it is worth a look; empty where there is no number for it.
    pub limit: String,
}

impl Check {
    /// The screen that shows what it is about, where there is one.
    pub fn subject(&self) -> Option<Screen> {
        match self.name {
            "audit log" | "witnesses" => Some(Screen::Audit),
            "drop folder" => Some(Screen::Queue),
            "quarantine" | "rescan" => Some(Screen::Quarantine),
            "records" | "scrub" | "retention" | "collection" => Some(Screen::Models),
            _ => None,
        }
    }

    /// What is looked at, and what is to be done where it is not well.
    pub fn meaning(&self) -> &'static str {
        match self.name {
            "records" => "The store of records: models, versions, users. Where it fails the daemon refuses to work.",
            "audit log" => "The log that each deed is recorded in first. Where it can't be written nothing is done.",
            "witnesses" => "Others that cosign the log's checkpoints. One that contradicts has seen another history.",
            "drop folder" => "Files that are taken in from a folder. Failed ones are tried again by r on the queue.",
            "quarantine" => "Versions that are held until somebody decides. They wait as long as it takes.",
            "disk" => {
                "Room for bytes. The limit is where the warning begins; nothing is refused by it. Uploads are refused only while \
                 less than MREG_MIN_FREE_BYTES is free; what is there is served on."
            }
            "scrub" => "Stored bytes read again and compared with their digests. What is damaged is not handed out.",
            "rescan" => "Versions inspected anew by the rules of now.",
            "backup" => "When a backup was last made, and when one was last read whole.",
            "connections" => "Connections at once. Where all are taken, others wait or are refused.",
            "clock" => "The daemon's clock against this terminal's. Times in the log are the daemon's.",
            "retention" => "Rules by which old versions go.",
            "collection" => "Bytes that no version points to any more are taken away.",
            "webhooks" => "Others that are told of changes.",
            "certificate" => "The daemon's own certificate. It is renewed by replacing its file.",
            _ => "",
        }
    }
}

fn check(name: &'static str, verdict: Verdict, value: String, limit: &str) -> Check {
    Check { name, verdict, value, limit: limit.to_owned() }
}

/// All checks, in the order of the page.
pub fn checks(status: &Status, ready: Option<&Ready>, now: Now, skew_seconds: Option<i64>) -> Vec<Check> {
    let (store, log, requests) = (&status.store, &status.log, &status.requests);
    let state = |state: &str| if state == "ok" { Verdict::Ok } else { Verdict::Fail };
    let said = |state: &str| if state == "ok" { String::new() } else { format!("{state}; ") };
    let records = format!(
        "{}{}, {}, {}",
        said(&store.state),
        counted(store.models, "model"),
        counted(store.versions, "version"),
        counted(store.users, "user")
    );
    let entries = format!("{}{}, {} on disk", said(&log.state), entries(log.size), bytes(log.journal_bytes));
    let full = requests.connections >= requests.connections_max;
    let connections = format!("{} of {}", grouped(requests.connections), grouped(requests.connections_max));
    let mut all = vec![
        check("records", state(&store.state), records, ""),
        check("audit log", state(&log.state), entries, ""),
        witnesses(status.witnesses.as_ref(), log.size, now),
        drop_folder(status.ingest.as_ref(), now),
        quarantine(status, now),
        disk(&status.storage),
        scrub(&status.scrub, now),
        rescan(&status.rescan),
        backup(&status.backup, now),
        check("connections", if full { Verdict::Warn } else { Verdict::Ok }, connections, ""),
        clock(skew_seconds),
    ];
    all.extend((status.retention.rules > 0).then(|| retention(&status.retention, now)));
    all.extend((status.gc.last.is_some() || status.gc.state == "running").then(|| gc(&status.gc, now)));
    all.extend((status.webhooks.hooks > 0).then(|| webhooks(&status.webhooks)));
    all.extend(status.tls.as_ref().map(certificate));
    // What readiness knows better than the numbers: whether the daemon still serves because of it.
    for (of, name) in [
        ("store", "records"),
        ("log", "audit log"),
        ("witnesses", "witnesses"),
        ("ingest", "drop folder"),
        ("space", "disk"),
        ("blobs", "disk"),
        ("daemon", "records"),
    ] {
        let refused = ready.and_then(|ready| ready.checks.get(of)).filter(|check| !check.ok);
        if let (Some(refused), Some(check)) = (refused, all.iter_mut().find(|check| check.name == name)) {
            check.verdict = Verdict::Fail;
            check.value = format!("{}; {}", refused.detail, check.value);
        }
    }
    all
}

/// How far the daemon's clock is from the terminal's, by the second that its answers are dated with.
fn clock(skew_seconds: Option<i64>) -> Check {
    match skew_seconds {
        None => check("clock", Verdict::Off, "no answer was dated yet".to_owned(), ""),
        Some(skew) => {
            let verdict = if skew.unsigned_abs() > SKEW_MAX_S { Verdict::Warn } else { Verdict::Ok };
            let value = match skew {
                -1..=1 => "within 1 s of this terminal".to_owned(),
                ahead @ 2.. => format!("+{} to this terminal", duration(ahead.unsigned_abs())),
                behind => format!("-{} to this terminal", duration(behind.unsigned_abs())),
            };
            check("clock", verdict, value, "2 s")
        }
    }
}

fn certificate(tls: &TlsStatus) -> Check {
    let name = tls.names.first().map_or("nobody", String::as_str);
    let mut value = match tls.days_left {
        days @ ..0 => format!("of {name}, EXPIRED {} ago", counted(days.unsigned_abs(), "day")),
        days => format!("of {name}, {} left", counted(days.unsigned_abs(), "day")),
    };
    let mut verdict = match tls.days_left {
        ..0 => Verdict::Fail,
        0..CERTIFICATE_LOW_DAYS => Verdict::Warn,
        _ => Verdict::Ok,
    };
    if let Some(why) = &tls.refused {
        value = format!("a newer one is REFUSED: {why}; in use is that {value}");
        verdict = if verdict == Verdict::Ok { Verdict::Warn } else { verdict };
    }
    check("certificate", verdict, value, "21 d")
}

fn older(at: Option<&str>, limit_seconds: i64, now: Now) -> bool {
    at.and_then(seconds).is_some_and(|at| now.seconds.saturating_sub(at) > limit_seconds)
}

/// `1 entry`, `4 entries`.
fn entries(count: u64) -> String {
    counted(count, "entry")
}

fn oldest(at: Option<&str>, now: Now) -> String {
    at.map(|at| format!(", oldest {}", age(at, now))).unwrap_or_default()
}

fn witnesses(status: Option<&WitnessesStatus>, size: u64, now: Now) -> Check {
    let Some(status) = status else { return check("witnesses", Verdict::Off, "none is asked".to_owned(), "") };
    let of = status.witnesses.len();
    let answering = status.witnesses.iter().filter(|witness| witness.error.is_none()).count();
    let behind = status.witnessed_size.map_or(size, |witnessed| size.saturating_sub(witnessed));
    let at = status
        .witnessed_at
        .as_deref()
        .map_or("nothing is witnessed yet".to_owned(), |at| format!("{} behind, {}", entries(behind), age(at, now)));
    let numbers = format!("{answering} of {of} answer, {at}");
    match (status.contradictions.first(), &status.unmet) {
        (Some(why), _) => check("witnesses", Verdict::Fail, format!("CONTRADICTED: {why}; {numbers}"), "none"),
        (None, Some(why)) => check("witnesses", Verdict::Warn, format!("{why}; {numbers}"), "policy"),
        (None, None) => check("witnesses", Verdict::Ok, numbers, "policy"),
    }
}

fn drop_folder(intake: Option<&IntakeStatus>, now: Now) -> Check {
    let Some(intake) = intake else { return check("drop folder", Verdict::Off, "none is set".to_owned(), "") };
    let failed = intake.states.get(&IngestState::Failed.into()).copied().unwrap_or(0);
    let mut value = format!("{} under way", grouped(under_way(intake)));
    if failed > 0 {
        value += &format!(", {} failed", grouped(failed));
    }
    for count in in_other_states(intake) {
        value += &format!(", {count}");
    }
    value += &oldest(intake.oldest_seen_at.as_deref(), now);
    let verdict = match (&intake.problem, intake.paused) {
        (Some(why), _) => {
            value = format!("{why}; {value}");
            Verdict::Fail
        }
        (None, true) => {
            value = format!("PAUSED by {}; {value}", intake.paused_by.as_deref().unwrap_or("somebody"));
            Verdict::Warn
        }
        (None, false) if failed > 0 || older(intake.oldest_seen_at.as_deref(), ITEM_OLD_S, now) => Verdict::Warn,
        (None, false) => Verdict::Ok,
    };
    check("drop folder", verdict, value, "10 min")
}

fn quarantine(status: &Status, now: Now) -> Check {
    let held = &status.quarantine;
    let mut value = format!("{} held", grouped(held.waiting));
    value += &oldest(held.oldest_held_at.as_deref(), now);
    if held.blocked > 0 {
        value += &format!(", {} blocked for good", grouped(held.blocked));
    }
    let late = older(held.oldest_held_at.as_deref(), HELD_OLD_S, now);
    check("quarantine", if late { Verdict::Warn } else { Verdict::Ok }, value, "7 d")
}

fn disk(storage: &StorageStatus) -> Check {
    let used = storage.total_bytes.saturating_sub(storage.free_bytes);
    let percent = u64::try_from(u128::from(used) * 100 / u128::from(storage.total_bytes.max(1))).unwrap_or(100);
    let numbers = format!("{percent} % of {}, {} free", bytes(storage.total_bytes), bytes(storage.free_bytes));
    if storage.below_watermark {
        let value = format!("uploads are REFUSED below {}; {numbers}", bytes(storage.min_free_bytes));
        return check("disk", Verdict::Fail, value, "85 %");
    }
    check("disk", if percent > DISK_FULL_PERCENT { Verdict::Warn } else { Verdict::Ok }, numbers, "85 %")
}

fn retention(status: &RetentionStatus, now: Now) -> Check {
    let mut value = counted(status.rules, "rule");
    if status.enabled < status.rules {
        let _ = write!(value, ", {} by the clock", grouped(status.enabled));
    }
    match (&status.running, &status.last_ended_at) {
        (Some(rule), _) => {
            let _ = write!(value, ", {rule} is carried out");
        }
        (None, Some(at)) => {
            let _ = write!(value, ", last run {}", age(at, now));
        }
        (None, None) => value.push_str(", none was carried out yet"),
    }
    if status.versions_total > 0 {
        let (gone, octets) = (counted(status.versions_total, "version"), bytes(status.bytes_total));
        let _ = write!(value, ", {gone} of {octets} since the daemon started");
    }
    check("retention", Verdict::Ok, value, "")
}

/// The last collection tells of the blobs as it found them: what it missed is worth a look until the next one finds it.
fn gc(status: &GcStatus, now: Now) -> Check {
    let last = status.last.unwrap_or_default();
    let mut value = if status.state == "running" { "running".to_owned() } else { String::new() };
    let mut tell = |text: String| {
        value.push_str(if value.is_empty() { "" } else { ", " });
        value.push_str(&text);
    };
    if let Some(at) = &status.last_ended_at {
        tell(format!("last {}", age(at, now)));
    }
    if status.last.is_some() {
        tell(format!("{} removed, {}", counted(last.removed, "blob"), bytes(last.removed_bytes)));
    }
    let troubles = [(last.missing, "missing"), (last.wrong_size, "of a wrong size"), (last.miscounted, "miscounted")];
    let troubles: Vec<String> = troubles
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", grouped(*count)))
        .collect();
    let verdict = if troubles.is_empty() {
        Verdict::Ok
    } else {
        value = format!("{}; {value}", troubles.join(", "));
        Verdict::Warn
    };
    check("collection", verdict, value, "0 missing")
}

fn webhooks(status: &WebhooksStatus) -> Check {
    let mut value = counted(status.hooks, "webhook");
    for (count, what) in [(status.failing, "failing"), (status.disabled, "disabled")] {
        if count > 0 {
            let _ = write!(value, ", {} {what}", grouped(count));
        }
    }
    if status.behind > 0 {
        let _ = write!(value, ", {} behind", entries(status.behind));
    }
    if !status.delivers_here {
        value.push_str(", delivered by another daemon");
    }
    if let Some(problem) = &status.problem {
        value = format!("{problem}; {value}");
    }
    let is_odd = status.failing + status.disabled > 0 || status.problem.is_some();
    check("webhooks", if is_odd { Verdict::Warn } else { Verdict::Ok }, value, "")
}

fn scrub(scrub: &ScrubStatus, now: Now) -> Check {
    let mut value = match scrub.state.as_str() {
        "reading" => {
            let percent = u128::from(scrub.bytes_done) * 100 / u128::from(scrub.bytes.max(1));
            format!("reading, {} %, {}/s", percent.min(100), bytes(scrub.bytes_per_second))
        }
        "" => return check("scrub", Verdict::Off, "not known".to_owned(), ""),
        other => other.to_owned(),
    };
    let last = scrub.last_full_pass.as_ref();
    value += &last
        .map_or(", no full pass yet".to_owned(), |pass| format!(", last full pass {}", age(&pass.finished_at, now)));
    let odd = last.map_or(0, |pass| pass.missing.saturating_add(pass.unreadable));
    let verdict = match (scrub.damaged, odd, scrub.state.as_str()) {
        (1.., _, _) => {
            let blobs = if scrub.damaged == 1 { "blob" } else { "blobs" };
            value = format!("{} {blobs} DAMAGED; {value}", grouped(scrub.damaged));
            Verdict::Fail
        }
        (0, 1.., _) => {
            value = format!("{} missing or unreadable; {value}", grouped(odd));
            Verdict::Warn
        }
        (0, 0, "off") => Verdict::Off,
        (0, 0, _) => Verdict::Ok,
    };
    check("scrub", verdict, value, "0 damaged")
}

fn backup(status: &BackupStatus, now: Now) -> Check {
    let Some(last) = &status.last else {
        return check("backup", Verdict::Off, "none was made of this registry yet".to_owned(), "");
    };
    let verified = status.verified.as_ref();
    let mut value = format!("last {}", age(&last.at, now));
    value += &verified.map_or(", never verified".to_owned(), |event| format!(", verified {}", age(&event.at, now)));
    let mut verdict = match verified {
        Some(event) if !older(Some(&event.at), VERIFIED_OLD_S, now) && !older(Some(&last.at), BACKUP_OLD_S, now) => {
            Verdict::Ok
        }
        _ => Verdict::Warn,
    };
    if last.lacking > 0 {
        value = format!("the last one LACKS {}; {value}", counted(last.lacking, "file"));
        verdict = Verdict::Fail;
    }
    check("backup", verdict, value, "26 h")
}

fn rescan(rescan: &RescanStatus) -> Check {
    let mut value = match (rescan.stale, &rescan.current) {
        (0, _) => "all by the rules of now".to_owned(),
        (stale, None) => format!("{} by other rules", grouped(stale)),
        (stale, Some(current)) => {
            let (done, total) = (grouped(rescan.done), grouped(rescan.total));
            format!("{} by other rules, {done} of {total} done, now {current}", grouped(stale))
        }
    };
    if rescan.failed > 0 {
        value = format!("{} couldn't be read; {value}", grouped(rescan.failed));
    }
    check("rescan", if rescan.failed > 0 { Verdict::Warn } else { Verdict::Ok }, value, "0 failed")
}

#[cfg(test)]
mod tests {
    use common::api::gc::{GcStatus, GcTotal};
    use common::api::retention::RetentionStatus;
    use common::api::{BackupEvent, BackupStatus, TlsStatus};

    use super::{Verdict, backup, certificate, gc, retention};

    /// Time and refusals decide; what is wrong is in words.
    #[test]
    fn certificates() {
        let status = |days_left, refused: Option<&str>| TlsStatus {
            names: vec!["a.example".to_owned()],
            not_before: String::new(),
            not_after: String::new(),
            days_left,
            key: String::new(),
            refused: refused.map(str::to_owned),
        };
        for (days, refused, verdict, part) in [
            (81, None, Verdict::Ok, "of a.example, 81 days left"),
            (21, None, Verdict::Ok, "21 days left"),
            (20, None, Verdict::Warn, "20 days left"),
            (0, None, Verdict::Warn, "0 days left"),
            (-1, None, Verdict::Fail, "EXPIRED 1 day ago"),
            (81, Some("no pair"), Verdict::Warn, "REFUSED: no pair; in use is that of a.example"),
            (-3, Some("no pair"), Verdict::Fail, "REFUSED"),
        ] {
            let check = certificate(&status(days, refused));
            assert_eq!(check.verdict, verdict, "{days}");
            assert!(check.value.contains(part), "{}", check.value);
        }
    }

    /// What a collection missed is said first; rules tell when one was carried out, and what went.
    #[test]
    fn keeping() {
        let now = crate::time::Now::utc(crate::time::seconds("2026-06-12T12:00:00Z").unwrap_or(0));
        let at = Some("2026-06-12T02:00:00Z".to_owned());
        let total = GcTotal { removed: 2, removed_bytes: 1024, ..GcTotal::default() };
        let of = |total| GcStatus { last_ended_at: at.clone(), last: Some(total), ..GcStatus::default() };
        let fine = gc(&of(total), now);
        assert_eq!((fine.verdict, fine.value.as_str()), (Verdict::Ok, "last 10 h, 2 blobs removed, 1.0 KiB"));
        let odd = gc(&of(GcTotal { missing: 1, miscounted: 3, ..total }), now);
        assert_eq!(odd.verdict, Verdict::Warn);
        assert!(odd.value.starts_with("1 missing, 3 miscounted; last 10 h"), "{}", odd.value);
        let running = GcStatus { state: "running".to_owned(), ..GcStatus::default() };
        assert_eq!(gc(&running, now).value, "running");

        let rules = RetentionStatus { rules: 2, enabled: 1, last_ended_at: at.clone(), ..RetentionStatus::default() };
        assert_eq!(retention(&rules, now).value, "2 rules, 1 by the clock, last run 10 h");
        let busy = RetentionStatus { running: Some("old".to_owned()), versions_total: 1, bytes_total: 1024, ..rules };
        let value = retention(&busy, now).value;
        assert!(value.ends_with("old is carried out, 1 version of 1.0 KiB since the daemon started"), "{value}");
    }

    /// Age, and whether one was ever read, decide; what the last one lacks is worst.
    #[test]
    fn backups() {
        let now = crate::time::Now::utc(crate::time::seconds("2026-06-12T12:00:00Z").unwrap_or(0));
        let event = |at: &str, lacking| Some(BackupEvent { at: at.to_owned(), lacking, ..BackupEvent::default() });
        let (fresh, old) = ("2026-06-12T02:00:00Z", "2026-06-11T02:00:00Z");
        for (last, verified, verdict, part) in [
            (None, None, Verdict::Off, "none was made"),
            (event(fresh, 0), None, Verdict::Warn, "last 10 h, never verified"),
            (event(fresh, 0), event("2026-06-10T12:00:00Z", 0), Verdict::Ok, "last 10 h, verified 2 d"),
            (event(old, 0), event(fresh, 0), Verdict::Warn, "last 1 d"),
            (event(fresh, 0), event("2026-05-01T12:00:00Z", 0), Verdict::Warn, "verified 42 d"),
            (event(fresh, 2), event(fresh, 0), Verdict::Fail, "LACKS 2 files; last 10 h"),
        ] {
            let check = backup(&BackupStatus { last, verified }, now);
            assert_eq!(check.verdict, verdict, "{}", check.value);
            assert!(check.value.contains(part), "{}", check.value);
        }
    }
}
