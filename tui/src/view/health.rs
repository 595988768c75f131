//! Screen 4: the daemon's own account of itself, in words.

use common::api::Status;

use super::as_of;
use crate::layout::Areas;
use crate::state::State;
use crate::time::{bytes, duration, grouped};
use crate::view::pen::{Line, Text, Tone};

pub(super) fn status(state: &State) -> (String, Option<(String, Tone)>) {
    let health = &state.health;
    let left = match &health.status {
        Some(status) => {
            let warnings = warnings(status).count();
            let verdict = match warnings {
                0 => "OK".to_owned(),
                1 => "1 WARNING".to_owned(),
                more => format!("{more} WARNINGS"),
            };
            let build = &status.build;
            format!("Health   {verdict}   {} {}, up {}", build.name, build.version, duration(status.uptime_seconds))
        }
        None => "Health".to_owned(),
    };
    let right = match (&health.failed, health.as_of) {
        (Some(_), Some(at)) => {
            Some((format!("STALE since {}", as_of(state, at).0.trim_start_matches("as of ")), Tone::Bad))
        }
        (Some(_), None) => Some(("FAILED".to_owned(), Tone::Bad)),
        (None, Some(at)) => Some((format!("every 5 s, {}", as_of(state, at).0), Tone::Plain)),
        (None, None) => Some(("loading".to_owned(), Tone::Warn)),
    };
    (left, right)
}

fn warnings(status: &Status) -> impl Iterator<Item = &'static str> {
    let log = (status.log.state != "ok").then_some("the audit log");
    let disk = status.storage.below_watermark.then_some("the disk");
    let connections = (status.requests.connections >= status.requests.connections_max).then_some("connections");
    [log, disk, connections].into_iter().flatten()
}

pub(super) fn lines(state: &State, areas: &Areas) -> Vec<Line> {
    let mut text = Text::new(areas.pane.width);
    if let Some(why) = &state.health.failed {
        text.words(0, &format!("could not be read: {why}"), Tone::Bad);
        text.blank();
    }
    if let Some(status) = &state.health.status {
        page(status, &mut text);
    }
    text.lines()
}

fn page(status: &Status, text: &mut Text) {
    let (log, storage, store, requests) = (&status.log, &status.storage, &status.store, &status.requests);
    let verdict = |ok: bool| if ok { ("ok    ".to_owned(), Tone::Good) } else { ("WARN  ".to_owned(), Tone::Bad) };
    let mut check = |name: &str, ok: bool, value: String| {
        text.pieces(vec![(format!("{name:13}"), Tone::Plain), verdict(ok), (value, Tone::Plain)]);
    };
    let log_ok = log.state == "ok";
    let said = if log_ok { String::new() } else { format!("{}; ", log.state) };
    check("audit log", log_ok, format!("{said}{} entries, {} on disk", grouped(log.size), bytes(log.journal_bytes)));
    // Nothing to say while it is as it should be.
    if store.state != "ok" {
        check("records", false, store.state.clone());
    }
    let used = storage.total_bytes.saturating_sub(storage.free_bytes);
    let percent = u128::from(used) * 100 / u128::from(storage.total_bytes.max(1));
    let refusing = if storage.below_watermark { "; uploads are REFUSED" } else { "" };
    check(
        "disk",
        !storage.below_watermark,
        format!(
            "{percent} % of {} used, {} free, uploads need {}{refusing}",
            bytes(storage.total_bytes),
            bytes(storage.free_bytes),
            bytes(storage.min_free_bytes)
        ),
    );
    check(
        "connections",
        requests.connections < requests.connections_max,
        format!("{} of {}", grouped(requests.connections), grouped(requests.connections_max)),
    );
    text.head("RECORDS");
    text.fact("models", &format!("{} with {} versions", grouped(store.models), grouped(store.versions)), Tone::Plain);
    text.fact("blobs", &format!("{}, {}", grouped(store.blobs), bytes(store.blob_bytes)), Tone::Plain);
    text.fact("users", &grouped(store.users), Tone::Plain);
    text.fact("kept in", &format!("{} (records), {} (bytes)", store.backend, storage.backend), Tone::Plain);
    text.head("TRAFFIC");
    let rate = requests.per_1000_seconds;
    text.fact(
        "requests",
        &format!("{} since start, {}.{:03}/s", grouped(requests.total), rate / 1000, rate % 1000),
        Tone::Plain,
    );
    text.fact(
        "commits",
        &format!("{} in {} batches since start", grouped(log.commits), grouped(log.batches)),
        Tone::Plain,
    );
    text.fact("uploads", &format!("{} under way", grouped(status.open_uploads)), Tone::Plain);
    text.fact("policy", &status.scan_policy, Tone::Plain);
    text.fact("started", &status.started_at, Tone::Plain);
    text.head("LOG");
    text.fact("origin", &log.origin, Tone::Plain);
    text.fact("root", &log.root, Tone::Plain);
    text.fact("key", &log.vkey, Tone::Plain);
    text.fact("checkpoint", log.checkpoint.lines().nth(1).unwrap_or_default(), Tone::Plain);
}
