//! How the daemon is doing:
//!
//! | route | who | what |
//! |---|---|---|
//! | `/livez` | anyone | 200 while the process answers |
//! | `/readyz` | anyone | each dependency by name; 503 while one fails |
//! | `/metrics` | anyone | Prometheus text: numbers only, no names |
//! | `/version` | anyone | name and version |
//! | `/status` | any role | what the console's health screen shows; diagnostics only for those who may read the audit log |
//!
//! Probes and scrapers have no tokens, so what they read names nothing and nobody. Knows what the registry tells of
//! itself; refuses to know what any of it runs on.

use std::collections::BTreeMap;
use std::fs;

use common::api::{
    BackupEvent, BuildInfo, Check, IngestState, IntakeStatus, LogStatus, Ready, RequestStatus, RescanStatus,
    ResumableStatus, Status, StorageStatus, StoreStatus, TlsStatus, WebhooksStatus, WitnessStatus, WitnessesStatus,
};
use common::role::Permission;
use http::StatusCode;
use http::header::{self, HeaderValue};

use crate::clock;
use crate::cosigning::State;
use crate::http::metrics::{Gauge, Turned};
use crate::http::{Answer, Call, Shared, respond};
use crate::ingest::queue::Handle;
use crate::logging;
use crate::registry::resumable::Totals;
use crate::registry::{Health, JOURNAL_FORMAT, Registry};
use crate::tls::Tls;
use crate::traces;

/// The media type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Names of what [`turned_away`] counts.
const TURNED_AWAY: [&str; 7] = [
    r#"http_turned_away_total{of="connections"}"#,
    r#"http_turned_away_total{of="address"}"#,
    r#"http_turned_away_total{of="requests"}"#,
    r#"http_turned_away_total{of="client"}"#,
    r#"http_turned_away_total{of="log"}"#,
    r#"http_turned_away_total{of="lookups"}"#,
    r#"http_turned_away_total{of="uploads"}"#,
];

/// What is said where the disk can't be asked.
const SPACE_UNKNOWN: &str = "free space is not known";

/// What is said of a store that found its records to contradict the log.
const IN_DOUBT: &str =
    "in doubt: its records contradict the log; restart the daemon, which makes them anew from the log";

/// `GET /livez`
pub(crate) async fn live(_call: &Call) -> Answer {
    Ok(respond::text(StatusCode::OK, "ok\n"))
}

/// `GET /version`
pub(crate) async fn build_info(call: &Call) -> Answer {
    Ok(respond::json(StatusCode::OK, &build(&call.shared.registry)))
}

/// `GET /readyz`
pub(crate) async fn ready(call: &Call) -> Answer {
    let shared = &call.shared;
    let check = |ok: bool, detail: String| Check { ok, detail };
    let registry = &shared.registry;
    let mut checks = BTreeMap::new();

    // Causes stay in the daemon's log, for anyone may ask here; but for a full disk, which names nothing.
    let recording = registry.health().borrow().clone();
    let log = match recording {
        Health::Ok => check(true, format!("{} entries", registry.checkpoints().borrow().size)),
        Health::Full(why) => check(false, format!("refusing: {why}")),
        Health::Refusing(_) => check(false, "refusing: entries can't be written; each request tries again".to_owned()),
        Health::Failed(_) => check(false, "failed: the journal can't be written; the daemon stops".to_owned()),
    };
    checks.insert("log".to_owned(), log);
    let store = match registry.counters().await {
        Ok(_) if registry.stats().in_doubt => check(false, IN_DOUBT.to_owned()),
        Ok(_) => check(true, registry.identity().backend.to_owned()),
        Err(_) => check(false, "records can't be read".to_owned()),
    };
    checks.insert("store".to_owned(), store);
    let min_free_bytes = registry.settings().min_free_bytes;
    let space = match registry.space().await {
        Ok(space) if space.free_bytes < min_free_bytes => {
            check(false, "below MREG_MIN_FREE_BYTES; uploads are refused".to_owned())
        }
        Ok(_) => check(true, "above MREG_MIN_FREE_BYTES".to_owned()),
        Err(_) => check(false, SPACE_UNKNOWN.to_owned()),
    };
    let blobs = match registry.blobs_reachable() {
        Ok(()) if space.detail == SPACE_UNKNOWN => check(false, "blobs can't be reached".to_owned()),
        Ok(()) => check(true, registry.blobs_backend().to_owned()),
        Err(why) => check(false, format!("blobs can't be reached: {why}")),
    };
    checks.insert("blobs".to_owned(), blobs);
    checks.insert("space".to_owned(), space);
    if let Some(state) = &shared.cosigning {
        // No witness's bare word is a reason to stop serving: anyone on the way to it can say as much. A note that it
        // signed is.
        let state = state.borrow().clone();
        let detail = match (&state.witnessed, state.contradictions().is_empty()) {
            (_, false) => {
                "CONTRADICTED: a witness knows another history of the log; /status and the diagnostics say which"
                    .to_owned()
            }
            (Some(witnessed), true) => format!("{} entries are witnessed", witnessed.size),
            (None, true) => "nothing is witnessed yet".to_owned(),
        };
        checks.insert("witnesses".to_owned(), check(state.file_contradicts.is_none(), detail));
    }
    if let Some(folder) = &shared.ingest {
        let status = folder.status();
        // Everything else is served without the folder: it is a matter for an alarm (`ingest_working`), not for whoever
        // sends requests elsewhere. Why is for those who may ask /status: it has paths.
        let detail = match (&status.problem, status.paused) {
            (Some(_), _) => "NOT TAKING FILES IN: the drop folder can't be worked with; /status says why",
            (None, true) => "paused",
            (None, false) => "taking files in",
        };
        checks.insert("ingest".to_owned(), check(true, detail.to_owned()));
    }
    if let Some(tls) = &shared.tls {
        // Nothing gets better by sending requests elsewhere: it is a matter for an alarm (`tls_certificate_not_after_seconds`).
        let refused = if tls.refused().is_some() { "; a newer one is REFUSED, /status says why" } else { "" };
        let detail = match tls.days_left() {
            ..0 => format!("the certificate HAS EXPIRED{refused}"),
            days => format!("the certificate is good for {days} days{refused}"),
        };
        checks.insert("tls".to_owned(), check(true, detail));
    }
    if *shared.stopping.borrow() {
        checks.insert("daemon".to_owned(), check(false, "stopping".to_owned()));
    }

    let ready = checks.values().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = respond::json(status, &Ready { ready, checks });
    if !ready {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    Ok(response)
}

/// `GET /status`
pub(crate) async fn status(call: &Call) -> Answer {
    let shared = &call.shared;
    let registry = &shared.registry;
    let counters = registry.counters().await?;
    let space = registry.space().await?;
    let stats = registry.stats();
    let identity = registry.identity();
    let checkpoint = registry.checkpoints().borrow().clone();
    let state = match registry.health().borrow().clone() {
        Health::Ok => "ok".to_owned(),
        Health::Full(why) | Health::Refusing(why) => format!("refusing: {why}"),
        Health::Failed(why) => format!("failed: {why}"),
    };
    let settings = registry.settings();
    let uptime_ms = clock::now_ms().saturating_sub(shared.started_at_ms);
    let rescan = registry.rescan_status().await?;
    let status = Status {
        build: build(registry),
        started_at: clock::rfc3339(shared.started_at_ms),
        uptime_seconds: u64::try_from(uptime_ms / clock::SECOND_MS).unwrap_or(0),
        store: StoreStatus {
            backend: identity.backend.to_owned(),
            state: if stats.in_doubt { IN_DOUBT } else { "ok" }.to_owned(),
            models: counters.models,
            versions: counters.versions,
            users: counters.users,
            blobs: counters.blobs,
            blob_bytes: counters.blob_bytes,
        },
        log: LogStatus {
            state,
            origin: identity.origin.clone(),
            size: checkpoint.size,
            root: checkpoint.root.to_string(),
            checkpoint: checkpoint.note.clone(),
            vkey: identity.vkey.clone(),
            vkeys: identity.vkeys.clone(),
            mark_size: stats.mark_size,
            mark_at: stats.mark_at_ms.map(clock::rfc3339),
            journal_bytes: stats.journal_bytes,
            reserve_bytes: stats.reserve_bytes,
            commits: stats.commits,
            batches: stats.batches,
        },
        witnesses: shared.cosigning.as_ref().map(|state| witnesses(&state.borrow())),
        storage: StorageStatus {
            backend: registry.blobs_backend().to_owned(),
            problem: registry.blobs_reachable().err(),
            total_bytes: space.total_bytes,
            free_bytes: space.free_bytes,
            min_free_bytes: settings.min_free_bytes,
            below_watermark: space.free_bytes < settings.min_free_bytes,
        },
        requests: RequestStatus {
            total: shared.metrics.requests_total(),
            per_1000_seconds: shared.metrics.requests_per_1000_seconds(),
            connections: shared.metrics.connections() as u64,
            connections_max: shared.limits.get().connections_max as u64,
            open: shared.metrics.requests_open() as u64,
            open_max: shared.limits.get().requests_max as u64,
            turned_away: turned_away(shared).into_iter().map(|(of, count)| (of.to_owned(), count)).collect(),
            tails: registry.tails() as u64,
            kinds: shared.metrics.kinds(),
        },
        open_uploads: registry.open_uploads(),
        resumable_uploads: resumable(registry.resumable_totals()),
        scan_policy: settings.scan_policies.to_string(),
        rescan: RescanStatus { current: rescan.current.filter(|current| sees(call, current)), ..rescan },
        scrub: registry.scrub_status().await?,
        quarantine: registry.quarantine_status().await?,
        retention: registry.retention_status().await?,
        gc: registry.gc_status().await?,
        backup: registry.backup_status().await?,
        ingest: shared.ingest.as_ref().map(Handle::status),
        webhooks: shared.webhooks.status(registry, &registry.webhooks_now().await?),
        tls: shared.tls.as_ref().map(|tls| certificate(tls)),
        // They name people, addresses and paths.
        diagnostics: if call.caller.may(Permission::AuditRead) { logging::newest() } else { Vec::new() },
    };
    Ok(respond::json(StatusCode::OK, &status))
}

/// What was turned away since start, by what there was too much of.
fn turned_away(shared: &Shared) -> [(&'static str, u64); 7] {
    let (requests, client) = shared.flights.shed();
    let (lookups, uploads) = shared.registry.turned_away();
    [
        ("connections", shared.metrics.turned_total(Turned::Full)),
        ("address", shared.metrics.turned_total(Turned::Crowded)),
        ("requests", requests),
        ("client", client),
        ("log", shared.metrics.turned_total(Turned::LogBehind)),
        ("lookups", lookups),
        ("uploads", uploads),
    ]
}

/// Whether a version, as `name:version`, is in the caller's view. All else here are figures of the registry as a whole.
fn sees(call: &Call, version: &str) -> bool {
    let name = version.split_once(':').and_then(|(name, _version)| name.parse().ok());
    call.caller.sees(name.as_ref())
}

fn certificate(tls: &Tls) -> TlsStatus {
    let identity = tls.current();
    let certificate = &identity.certificate;
    let at = |seconds: i64| clock::rfc3339(seconds.saturating_mul(clock::SECOND_MS));
    TlsStatus {
        names: certificate.names.clone(),
        not_before: at(certificate.not_before_s),
        not_after: at(certificate.not_after_s),
        days_left: tls.days_left(),
        key: certificate.key.to_string(),
        refused: tls.refused(),
    }
}

fn resumable(totals: Totals) -> ResumableStatus {
    let Totals { open, bytes, outstanding_bytes, expired } = totals;
    ResumableStatus { open, bytes, outstanding_bytes, expired }
}

fn witnesses(state: &State) -> WitnessesStatus {
    let at = |at_s: u64| clock::rfc3339(i64::try_from(at_s).unwrap_or(i64::MAX).saturating_mul(clock::SECOND_MS));
    let witnessed = state.witnessed.as_ref();
    WitnessesStatus {
        witnessed_size: witnessed.map(|witnessed| witnessed.size),
        witnessed_at: witnessed.map(|witnessed| at(witnessed.at_s)),
        witnessed_age_seconds: witnessed.map(|witnessed| age_seconds(witnessed.at_s)),
        contradictions: state.contradictions(),
        unmet: state.unmet.clone(),
        failures: state.failures,
        witnesses: state
            .witnesses
            .iter()
            .map(|witness| WitnessStatus {
                name: witness.name.clone(),
                size: witness.size,
                cosigned_at: witness.cosigned_at_s.map(at),
                error: witness.error.clone(),
            })
            .collect(),
    }
}

fn age_seconds(at_s: u64) -> u64 {
    u64::try_from(clock::now_ms() / clock::SECOND_MS).unwrap_or(0).saturating_sub(at_s)
}

/// `GET /metrics`. What can't be read is left out rather than shown as zero.
pub(crate) async fn metrics(call: &Call) -> Answer {
    let shared = &call.shared;
    let registry = &shared.registry;
    let mut gauges = Vec::new();
    let mut add = |name, kind, help, value: f64| gauges.push(Gauge { name, kind, help, value });
    add(BUILD_INFO, "gauge", "Version of the daemon.", 1.0);

    let help = "Connections and requests that were turned away, for there was too much of what is named.";
    for (name, (_of, count)) in TURNED_AWAY.into_iter().zip(turned_away(shared)) {
        add(name, "counter", help, count as f64);
    }
    let stats = registry.stats();
    let behind = registry.log_is_behind();
    add("log_behind_seconds", "gauge", "How long what waits for the log has waited.", behind.as_secs_f64());
    add("log_commits_total", "counter", "Entries written since start.", stats.commits as f64);
    add("log_batches_total", "counter", "Batches written since start, one fdatasync each.", stats.batches as f64);
    add("log_journal_bytes", "gauge", "Octets of the journal's files.", stats.journal_bytes as f64);
    let in_doubt = if stats.in_doubt { 1.0 } else { 0.0 };
    add("store_in_doubt", "gauge", "1 while the records are known to contradict the log; restart then.", in_doubt);
    add("log_tails", "gauge", "Live tails of the log.", registry.tails() as f64);
    add("log_reserve_bytes", "gauge", "Octets kept back for a full disk.", stats.reserve_bytes as f64);
    add("log_entries", "gauge", "Entries in the audit log.", registry.checkpoints().borrow().size as f64);
    add("log_mark_entries", "gauge", "Entries that the high-water mark covers.", stats.mark_size as f64);
    if let Some(at_ms) = stats.mark_at_ms {
        let age_ms = clock::now_ms().saturating_sub(at_ms);
        add("log_mark_age_seconds", "gauge", "Time since the high-water mark was written.", age_ms as f64 / 1000.0);
    }
    add(
        "log_keys",
        "gauge",
        "Keys that sign checkpoints; 2 while one follows another.",
        registry.identity().vkeys.len() as f64,
    );
    let writable = matches!(*registry.health().borrow(), Health::Ok);
    add("log_writable", "gauge", "1 while entries can be written.", f64::from(u8::from(writable)));
    if let Some(state) = &shared.cosigning {
        let state = state.borrow().clone();
        let (size, at_s) = state.witnessed.map_or((0, None), |witnessed| (witnessed.size, Some(witnessed.at_s)));
        add("log_witnessed_entries", "gauge", "Entries of the newest checkpoint that meets the policy.", size as f64);
        if let Some(at_s) = at_s {
            let help = "Since the earliest cosignature of that checkpoint.";
            add("log_witnessed_age_seconds", "gauge", help, age_seconds(at_s) as f64);
        }
        let help = "Exchanges with witnesses that failed since start.";
        add("log_witness_failures_total", "counter", help, state.failures as f64);
        let against = state.witnesses.iter().filter(|witness| witness.contradicts).count()
            + usize::from(state.file_contradicts.is_some());
        let help = "Witnesses that know another history of the log; anything but 0 needs a person.";
        add("log_witness_contradictions", "gauge", help, against as f64);
    }
    if let Some(tls) = &shared.tls {
        let until_s = tls.current().certificate.not_after_s;
        let help = "Until when the certificate is good, seconds since the epoch.";
        add("tls_certificate_not_after_seconds", "gauge", help, until_s as f64);
        let (taken, refused) = tls.reloads();
        add("tls_reloads_total", "counter", "Times that the certificate was read again since start.", taken as f64);
        let help = "Times that what was read was refused, and the one before stayed.";
        add("tls_reloads_refused_total", "counter", help, refused as f64);
        let in_use = f64::from(u8::from(tls.refused().is_none()));
        add("tls_certificate_current", "gauge", "1 while what is in the certificate's files is in use.", in_use);
        let help = "Handshakes of TLS that came to nothing since start.";
        add("tls_handshakes_failed_total", "counter", help, tls.failed_handshakes() as f64);
    }
    add("uploads_open", "gauge", "Uploads under way.", registry.open_uploads() as f64);
    let resumable = registry.resumable_totals();
    add("uploads_resumable", "gauge", "Resumable uploads that are not over.", resumable.open as f64);
    add("uploads_resumable_bytes", "gauge", "Octets that they hold.", resumable.bytes as f64);
    let help = "Octets that they have announced and not sent.";
    add("uploads_resumable_outstanding_bytes", "gauge", help, resumable.outstanding_bytes as f64);
    let help = "Resumable uploads that have expired since start.";
    add("uploads_expired_total", "counter", help, resumable.expired as f64);
    if let Some(folder) = &shared.ingest {
        ingest(&folder.status(), &mut add);
    }
    if let Ok(hooks) = registry.webhooks_now().await {
        webhooks(&shared.webhooks.status(registry, &hooks), &mut add);
    }
    spans(&mut add);
    if let Ok(counters) = registry.counters().await {
        add("models", "gauge", "Models that are not deleted.", counters.models as f64);
        add("versions", "gauge", "Versions that are not deleted.", counters.versions as f64);
        add("users", "gauge", "Users.", counters.users as f64);
        add("blobs", "gauge", "Distinct blobs that versions point to.", counters.blobs as f64);
        add("blob_bytes", "gauge", "Octets of those blobs.", counters.blob_bytes as f64);
    }
    if let Ok(rescan) = registry.rescan_status().await {
        add("versions_stale", "gauge", "Versions last inspected with other rules than now.", rescan.stale as f64);
        add("rescan_done", "gauge", "Versions that this round of inspecting anew has looked at.", rescan.done as f64);
        add("rescan_failed", "gauge", "Those of them that couldn't be read.", rescan.failed as f64);
    }
    if let Ok(quarantine) = registry.quarantine_status().await {
        let help = "Versions in quarantine that wait for a decision.";
        add("quarantine_waiting", "gauge", help, quarantine.waiting as f64);
        let help = "Versions in quarantine that were blocked for good.";
        add("quarantine_blocked", "gauge", help, quarantine.blocked as f64);
        if let Some(seconds) = quarantine.oldest_held_at.as_deref().and_then(seconds_since) {
            add("quarantine_oldest_seconds", "gauge", "Since the one that has waited longest is held.", seconds);
        }
    }
    let (verified, verified_octets) = registry.verified();
    add("blobs_verified_total", "counter", "Blobs read and compared with their digests since start.", verified as f64);
    add("blobs_verified_bytes_total", "counter", "Octets of blobs read for that.", verified_octets as f64);
    if let Ok(damaged) = registry.damaged().await {
        let help = "Blobs known to be damaged or missing; anything but 0 needs a person.";
        add("blobs_damaged", "gauge", help, damaged as f64);
    }
    let gc = registry.gc_counts();
    add("gc_runs_total", "counter", "Collections of unneeded bytes that ended since start.", gc.runs as f64);
    add("gc_removed_total", "counter", "Blobs that they removed.", gc.removed as f64);
    add("gc_removed_bytes_total", "counter", "Octets of those.", gc.removed_bytes as f64);
    if let Ok(status) = registry.gc_status().await
        && let Some(last) = status.last
    {
        add("gc_orphans", "gauge", "Blobs that nothing pointed to, at the last collection.", last.orphans as f64);
        let wrong = last.missing + last.wrong_size + last.miscounted;
        let help =
            "Blobs missing, of a wrong size or miscounted at the last collection; anything but 0 needs a person.";
        add("gc_wrong", "gauge", help, wrong as f64);
        if let Some(seconds) = status.last_ended_at.as_deref().and_then(seconds_since) {
            add("gc_age_seconds", "gauge", "Since the last collection ended.", seconds);
        }
    }
    if let Ok(status) = registry.retention_status().await {
        add("retention_rules", "gauge", "Retention rules that the clock carries out.", status.enabled as f64);
        let help = "Versions that went by retention rules since start.";
        add("retention_versions_total", "counter", help, status.versions_total as f64);
        add("retention_bytes_total", "counter", "Octets of their files.", status.bytes_total as f64);
    }
    if let Ok(backup) = registry.backup_status().await {
        let at_s = |event: &BackupEvent| Some(clock::parse_rfc3339(&event.at)? as f64 / 1000.0);
        if let Some(at_s) = backup.last.as_ref().and_then(at_s) {
            let help = "When the last backup was made, seconds since the epoch.";
            add("backup_last_success_seconds", "gauge", help, at_s);
            let lacking = backup.last.as_ref().map_or(0, |last| last.lacking);
            let help =
                "Files that the last backup lacks, as they were missing or damaged; anything but 0 needs a person.";
            add("backup_last_lacking_files", "gauge", help, lacking as f64);
        }
        if let Some(at_s) = backup.verified.as_ref().and_then(at_s) {
            let help = "When a backup was last read whole and found to be right, seconds since the epoch.";
            add("backup_last_verified_seconds", "gauge", help, at_s);
        }
    }
    let reachable = registry.blobs_reachable().is_ok();
    add("storage_reachable", "gauge", "1 while the blobs can be reached.", f64::from(u8::from(reachable)));
    if let Ok(space) = registry.space().await {
        add("storage_total_bytes", "gauge", "Size of the blobs' file system.", space.total_bytes as f64);
        add("storage_free_bytes", "gauge", "Free on the blobs' file system.", space.free_bytes as f64);
    }
    add(
        "storage_min_free_bytes",
        "gauge",
        "Uploads are refused below this.",
        registry.settings().min_free_bytes as f64,
    );
    add(
        "process_start_time_seconds",
        "gauge",
        "When the daemon started, seconds since the epoch.",
        shared.started_at_ms as f64 / 1000.0,
    );
    if let Some(bytes) = resident_bytes() {
        add("process_resident_memory_bytes", "gauge", "Memory in use.", bytes as f64);
    }
    if let Some(count) = open_files() {
        add("process_open_fds", "gauge", "Open file descriptors.", count as f64);
    }
    if let Some(seconds) = cpu_seconds() {
        add("process_cpu_seconds_total", "counter", "Processor time used, user and system.", seconds);
    }
    Ok(respond::bytes(StatusCode::OK, METRICS_TYPE, shared.metrics.render(&gauges)))
}

/// Items of the drop folder in a state, by name with its label.
const INGEST_ITEMS: [(IngestState, &str); 9] = [
    (IngestState::Seen, "ingest_items{state=\"seen\"}"),
    (IngestState::Waiting, "ingest_items{state=\"waiting\"}"),
    (IngestState::Hashing, "ingest_items{state=\"hashing\"}"),
    (IngestState::Scanning, "ingest_items{state=\"scanning\"}"),
    (IngestState::Storing, "ingest_items{state=\"storing\"}"),
    (IngestState::Done, "ingest_items{state=\"done\"}"),
    (IngestState::Quarantined, "ingest_items{state=\"quarantined\"}"),
    (IngestState::Rejected, "ingest_items{state=\"rejected\"}"),
    (IngestState::Failed, "ingest_items{state=\"failed\"}"),
];

/// The drop folder in numbers.
fn ingest(status: &IntakeStatus, add: &mut impl FnMut(&'static str, &'static str, &'static str, f64)) {
    for (state, name) in INGEST_ITEMS {
        let count = status.states.get(&state.into()).copied().unwrap_or(0);
        add(name, "gauge", "Items of the drop folder, by state; of those at an end only the newest.", count as f64);
    }
    let working = f64::from(u8::from(status.problem.is_none()));
    add("ingest_working", "gauge", "1 while the drop folder can be worked with; /status says why not.", working);
    let paused = f64::from(u8::from(status.paused));
    add("ingest_paused", "gauge", "1 while the drop folder takes nothing in, because somebody said so.", paused);
    add("ingest_done_total", "counter", "Items that came to a version since start.", status.done_total as f64);
    add("ingest_rejected_total", "counter", "Items refused since start.", status.rejected_total as f64);
    add(
        "ingest_bytes_total",
        "counter",
        "Octets of items that came to a version since start.",
        status.bytes_total as f64,
    );
    let help = "Times that the kernel lost events since start, and the folder was walked instead.";
    add("ingest_overflows_total", "counter", help, status.overflows as f64);
    let oldest = status.oldest_seen_at.as_deref().map_or(Some(0.0), seconds_since);
    if let Some(seconds) = oldest {
        let help = "Since the oldest item was first seen that is neither done nor rejected; 0 if there is none.";
        add("ingest_oldest_seconds", "gauge", help, seconds);
    }
    if let Some(seconds) = status.walked_at.as_deref().and_then(seconds_since) {
        add("ingest_walk_age_seconds", "gauge", "Since the drop folder was last walked.", seconds);
    }
}

/// Spans in numbers.
fn spans(add: &mut impl FnMut(&'static str, &'static str, &'static str, f64)) {
    let (sent, dropped) = traces::counts();
    add("traces_spans_sent_total", "counter", "Spans that the collector of traces took since start.", sent as f64);
    let help = "Spans that the collector did not get since start: it failed, or was too slow.";
    add("traces_spans_dropped_total", "counter", help, dropped as f64);
}

/// Webhooks in numbers.
fn webhooks(status: &WebhooksStatus, add: &mut impl FnMut(&'static str, &'static str, &'static str, f64)) {
    add("webhooks", "gauge", "Webhooks.", status.hooks as f64);
    add("webhooks_disabled", "gauge", "Webhooks that are disabled.", status.disabled as f64);
    let help = "Webhooks whose last attempt failed, or that can't be signed for.";
    add("webhooks_failing", "gauge", help, status.failing as f64);
    let help = "Entries that the enabled webhook furthest behind has yet to look at.";
    add("webhooks_behind_entries", "gauge", help, status.behind as f64);
    let here = f64::from(u8::from(status.delivers_here));
    add("webhooks_delivering", "gauge", "1 where this daemon is the one that delivers.", here);
    add("webhooks_delivered_total", "counter", "Messages that receivers took since start.", status.delivered as f64);
    add("webhooks_failed_total", "counter", "Attempts to deliver that failed since start.", status.failed as f64);
}

/// Seconds since a time that a status tells.
fn seconds_since(at: &str) -> Option<f64> {
    let at_ms = clock::parse_rfc3339(at)?;
    Some(clock::now_ms().saturating_sub(at_ms).max(0) as f64 / 1000.0)
}

/// The version as a label, as is usual.
const BUILD_INFO: &str = concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}");

fn build(registry: &Registry) -> BuildInfo {
    BuildInfo {
        name: "mregd".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        journal_format: JOURNAL_FORMAT,
        ruleset: registry.ruleset().to_string(),
    }
}

/// proc(5): the second number of `statm` is the resident set in pages.
fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn open_files() -> Option<usize> {
    // The listing itself is one of them.
    fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1))
}

fn cpu_seconds() -> Option<f64> {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(usage.tv_sec as f64 + usage.tv_nsec as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use common::api::{IngestState, IntakeStatus};

    use super::{INGEST_ITEMS, cpu_seconds, ingest, open_files, resident_bytes};
    use crate::clock;
    use crate::http::metrics::{Gauge, Metrics};

    /// The drop folder's numbers are on the page, each state under its own label, help and type once.
    #[test]
    fn drop_folder() {
        let status = IntakeStatus {
            paused: true,
            states: BTreeMap::from([(IngestState::Hashing.into(), 3), (IngestState::Rejected.into(), 7)]),
            done_total: 11,
            rejected_total: 8,
            bytes_total: 4096,
            overflows: 2,
            walked_at: Some(clock::rfc3339(clock::now_ms() - 5_000)),
            ..IntakeStatus::default()
        };
        let mut gauges = Vec::new();
        ingest(&status, &mut |name, kind, help, value| gauges.push(Gauge { name, kind, help, value }));
        let text = Metrics::new().render(&gauges);
        for line in [
            "mreg_ingest_items{state=\"hashing\"} 3",
            "mreg_ingest_items{state=\"rejected\"} 7",
            "mreg_ingest_items{state=\"seen\"} 0",
            "# TYPE mreg_ingest_items gauge",
            "mreg_ingest_working 1",
            "mreg_ingest_paused 1",
            "mreg_ingest_done_total 11",
            "mreg_ingest_rejected_total 8",
            "mreg_ingest_bytes_total 4096",
            "mreg_ingest_overflows_total 2",
            "mreg_ingest_oldest_seconds 0",
        ] {
            assert_eq!(text.lines().filter(|found| *found == line).count(), 1, "{line} is not once in\n{text}");
        }
        let age = text.lines().find_map(|line| line.strip_prefix("mreg_ingest_walk_age_seconds "));
        assert!(age.is_some_and(|age| age.parse::<f64>().is_ok_and(|age| age >= 5.0)), "{text}");
    }

    /// A label says its state as the interface does, and no state is left out.
    #[test]
    fn states() {
        for (state, name) in INGEST_ITEMS {
            assert_eq!(name, format!("ingest_items{{state=\"{}\"}}", state.as_str()));
        }
        assert_eq!(INGEST_ITEMS.map(|(state, _)| state), IngestState::ALL);
    }

    /// The process can see itself.
    #[test]
    fn process() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(open_files().is_some_and(|count| count > 2));
        assert!(cpu_seconds().is_some_and(|seconds| seconds > 0.0));
    }
}
