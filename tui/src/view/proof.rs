//! What is believed of the log, in words: the badge, the panel, and the alarm.

use crate::state::State;
use crate::time::{counted, grouped, rfc3339};
use crate::trust::{Badge, Checked};
use crate::view::pen::{Line, Text, Tone};

/// The badge of the header, with the index up to which it holds or without.
pub(super) fn badge(state: &State, with_index: bool) -> (String, Tone) {
    let ascii = state.settings.ascii;
    let with = |sign: &str, index: Option<u64>| match index.filter(|_| with_index) {
        Some(index) => format!("{sign} {index}"),
        None => sign.to_owned(),
    };
    match state.log.trust.badge(state.now) {
        Badge::Verified(index) => (with(if ascii { "OK" } else { "v" }, Some(index)), Tone::Good),
        Badge::Waiting(index) => (with(if ascii { "WAIT" } else { "." }, index), Tone::Plain),
        Badge::Late => ("LATE".to_owned(), Tone::Warn),
        Badge::Key => (if ascii { "KEY?" } else { "? key" }.to_owned(), Tone::Warn),
        Badge::Off => (if ascii { "OFF" } else { "off" }.to_owned(), Tone::Dim),
        Badge::Broken => (if ascii { "BROKEN" } else { "X BROKEN" }.to_owned(), Tone::Alarm),
    }
}

/// What is known of the log before anybody signs in: its key, and how far it was seen.
pub(super) fn known_log(state: &State) -> Option<(String, Tone)> {
    let trust = &state.log.trust;
    if trust.alarm().is_some() {
        return Some(("log BROKEN, and nobody has acknowledged it".to_owned(), Tone::Bad));
    }
    let key = trust.pinned_key()?;
    let (how, tone) =
        if trust.is_confirmed() { ("", Tone::Plain) } else { (", NOT confirmed: compare it", Tone::Warn) };
    let seen = trust.pin().and_then(|pin| pin.checkpoint.size.checked_sub(1));
    let seen = seen.map(|index| format!(", last seen {index}")).unwrap_or_default();
    Some((format!("log key {}{how}{seen}", key.id()), tone))
}

/// The verification panel.
pub(super) fn panel(state: &State, width: u16) -> Vec<Line> {
    let trust = &state.log.trust;
    let mut text = Text::new(width);
    let (badge, tone) = badge(state, true);
    text.fact("state", &badge, tone);
    if let Some(alarm) = trust.alarm() {
        text.fact("", &alarm.what, Tone::Bad);
        let more = if trust.further > 0 {
            format!(", and {} more since", counted(trust.further, "failure"))
        } else {
            String::new()
        };
        text.fact("", &format!("since {}{more}", rfc3339(alarm.at)), Tone::Plain);
        text.fact("evidence", alarm.evidence.as_deref().unwrap_or("not written yet"), Tone::Plain);
    }
    text.head("KEY");
    if trust.keys().is_empty() {
        text.fact("key", "none yet", Tone::Plain);
    }
    for key in trust.keys() {
        text.fact("key", &key.to_string(), Tone::Plain);
    }
    let tone = if trust.key_trust().contains("NOT") { Tone::Warn } else { Tone::Plain };
    text.fact("trusted", trust.key_trust(), tone);
    text.head("PINNED");
    let held = state.log.held.as_ref().map(|(pin, seen_at)| (pin, *seen_at));
    match held.or(trust.pin().map(|pin| (pin, trust.pin_seen_at()))) {
        Some((pin, seen_at)) => {
            text.fact("log", &pin.checkpoint.origin, Tone::Plain);
            text.fact("size", &counted(pin.checkpoint.size, "entry"), Tone::Plain);
            text.fact("root", &pin.checkpoint.root.to_string(), Tone::Bold);
            let more = trust.pin().map_or(0, |now| now.checkpoint.size.saturating_sub(pin.checkpoint.size));
            let key = state.key_or("C-r", "refresh");
            let is_other = trust.pin().is_some_and(|now| now.checkpoint != pin.checkpoint);
            let since = match (is_other, more) {
                (false, _) => String::new(),
                (true, 0) => format!("; another is pinned by now: {key}"),
                (true, more) => format!("; {} since, {key} shows them", counted(more, "entry")),
            };
            text.fact("seen", &format!("{}{since}", rfc3339(seen_at)), Tone::Plain);
            text.fact(
                "",
                "Compare size and root by telephone: who is shown another history has another root.",
                Tone::Dim,
            );
        }
        None => text.fact("log", "nothing verified yet", Tone::Plain),
    }
    let (witnesses, quorum) = trust.witnesses();
    let witnessed = match (witnesses.is_empty(), trust.witnessed()) {
        (true, _) => "none set".to_owned(),
        (false, Some(size)) => format!("{quorum} of {} asked for; cosigned up to {size}", witnesses.len()),
        (false, None) => format!("{quorum} of {} asked for; none seen", witnesses.len()),
    };
    text.fact("witnesses", &witnessed, Tone::Plain);
    text.head("THIS SESSION");
    text.fact("verified", &format!("{} of the stream", counted(trust.verified, "entry")), Tone::Plain);
    text.fact("pending", &format!("{} without a checkpoint", counted(trust.pending() as u64, "entry")), Tone::Plain);
    let newest = trust
        .checkpoint_at
        .map_or("none yet".to_owned(), |at| format!("checkpoint at {}", state.times().time_of_day(at)));
    text.fact("newest", &newest, Tone::Plain);
    text.fact(
        "twice",
        &format!("{} that came again and were the same", counted(state.log.tail.duplicates, "entry")),
        Tone::Plain,
    );
    text.fact("tiles", &format!("{} verified tiles held", trust.tiles_held()), Tone::Plain);
    if let Some(not_live) = &state.log.not_live {
        text.fact("NOT LIVE", &not_live.why, Tone::Warn);
    }
    if trust.unsent() > 0 {
        text.fact("unsent", &format!("{} acknowledgements wait to be sent to the daemon", trust.unsent()), Tone::Warn);
    }
    text.head("CHECKS");
    if let Some(job) = state.log.checking.and_then(|id| state.changes.jobs.get(&id)) {
        let tone = if matches!(job.outcome, Some(Err(_))) { Tone::Warn } else { Tone::Plain };
        text.fact(if job.outcome.is_none() { "running" } else { "last" }, &super::jobs::standing(job), tone);
    }
    if let Some(part) = state.log.last_check.as_ref().filter(|checked| !checked.is_full()) {
        let (words, tone) = found(part);
        let range = format!("entries {} to {}", grouped(part.from), grouped(part.to.saturating_sub(1)));
        text.fact("part", &format!("{range}: {words}, {}", rfc3339(part.at)), tone);
    }
    match trust.full_check() {
        Some(full) => {
            let (words, tone) = found(full);
            text.fact("last full", &format!("{}: {words}, {}", counted(full.size, "entry"), rfc3339(full.at)), tone);
        }
        None => text.fact("last full", "none yet; c checks every entry, or some", Tone::Plain),
    }
    if let Some(why) = &state.settings.log.unreadable {
        text.fact("pin", &format!("{why}; nothing is kept"), Tone::Bad);
    }
    text.lines()
}

/// What a check found.
fn found(checked: &Checked) -> (String, Tone) {
    match (checked.faults, &checked.first_fault) {
        (0, _) => ("no fault".to_owned(), Tone::Good),
        (1, Some((_, what, _))) => (format!("1 fault: {what}"), Tone::Bad),
        (faults, Some((_, what, _))) => (format!("{faults} faults, the first: {what}"), Tone::Bad),
        (faults, None) => (format!("{faults} faults"), Tone::Bad),
    }
}

/// Columns of the alarm as text: no line of it is cut apart.
const TEXT_COLUMNS: u16 = 10_000;

/// What is wrong with the log as plain text, for a message to somebody.
pub(super) fn alarm_text(state: &State) -> String {
    let lines = alarm(state, TEXT_COLUMNS).into_iter();
    let lines = lines.map(|line| line.0.into_iter().map(|(piece, _)| piece).collect::<String>());
    lines.map(|line| line.trim_end().to_owned() + "\n").collect::<String>().trim().to_owned() + "\n"
}

/// What is wrong with the log.
pub(super) fn alarm(state: &State, width: u16) -> Vec<Line> {
    let mut text = Text::new(width);
    let Some(alarm) = state.log.trust.alarm() else {
        text.words(0, "There is no alarm.", Tone::Plain);
        return text.lines();
    };
    text.blank();
    text.words(0, "AUDIT LOG VERIFICATION FAILED", Tone::Bad);
    text.words(0, &alarm.what, Tone::Bold);
    text.blank();
    text.labels(16);
    for (label, value) in &alarm.facts {
        text.fact(label, value, Tone::Plain);
    }
    text.blank();
    if let Some((size, root)) = &alarm.last_good {
        let at = state.times().time_of_day(alarm.last_good_at);
        text.fact(
            "Last good",
            &format!("checkpoint of {}, root {root}, seen {at}", counted(*size, "entry")),
            Tone::Plain,
        );
    }
    text.fact("Since", &rfc3339(alarm.at), Tone::Plain);
    text.fact("Evidence", alarm.evidence.as_deref().unwrap_or("not written yet"), Tone::Plain);
    text.blank();
    let from = alarm.index.map(|index| format!(", marked X from {index}")).unwrap_or_default();
    text.words(
        0,
        &format!(
            "The tail goes on{from}. This state is kept until someone with this profile acknowledges it (A) and says why; \
             it survives restarts."
        ),
        Tone::Plain,
    );
    text.lines()
}
