//! The log: what the stream brings, what is asked for to verify it, and what a person may say about it. The rules of the
//! tail are `tail`'s, those of trust `trust`'s; here they meet the screen.

mod acknowledge;
mod check;
mod pages;

use common::audit::TilePath;
use common::client::{AuditQuery, Bye, ClientError, LogEvent};
use common::problem::ProblemType;
use common::role::Permission;

use super::{ask, audit, fresh, keep, login, say, sentence};
use crate::access::refusal;
use crate::action::{Action, Call, FilePurpose, LogAnswer, LogCall, TimerId};
use crate::event::{Code, Key, TailEvent};
use crate::filter::matches;
use crate::keymap::Command;
use crate::state::audit::{Line, Mark};
use crate::state::{Level, Note, Overlay, Prompt, PromptKind, Screen, State};
use crate::tail::{Held, Input, Link, Told};
use crate::trust::{Breach, BreachKind, Judged, TILES_AT_ONCE, Wants};
use crate::window::{Cursor, ROWS_KEPT, Window};

pub(super) use self::acknowledge::{
    acknowledge, acknowledged, not_acknowledged, send as send_acknowledged, send_later,
};
pub(super) use self::check::{check, checked, range};

/// What the network failed at is asked again after so many milliseconds.
const AGAIN_MS: u64 = 2_000;
/// The rate is that of the last ten seconds, and looked at again so often.
const RATE_MS: u64 = 5_000;
/// What is kept is written at most so often.
const SAVE_MS: u64 = 2_000;
/// A stream that waits for a fresh token looks again after so many milliseconds.
const TOKEN_MS: u64 = 500;
/// Rows of the ring that a list begins with.
const RING_ROWS: usize = 256;

/// Whether the list should wait for the stream, which is about to tell where the log ends.
pub(super) fn is_coming(state: &State) -> bool {
    !state.log.begun && matches!(state.log.tail.link, Link::Closed | Link::Connecting) && !state.log.trust.off
}

/// The newest rows, from what is here.
pub(super) fn from_ring(state: &State) -> Window<Line> {
    let query = crate::filter::audit_query(&state.audit.filter).unwrap_or_default();
    let verified = state.log.trust.verified_size();
    let oldest = state.log.tail.ring().front().map_or(state.log.tail.next, |held| held.index);
    let mut rows = Vec::new();
    let mut below = oldest;
    for held in state.log.tail.ring().iter().rev() {
        if rows.len() == RING_ROWS {
            below = held.index + 1;
            break;
        }
        let line = line_of(held, verified);
        if fits(&query, &line) {
            rows.push(line);
        }
    }
    let next = (below > 0).then_some(Cursor::Below(below));
    Window::begin_with(rows, next, state.now)
}

/// Whether a row is one that the filter asks for. Without a filter the entry is not even read.
fn fits(query: &AuditQuery, line: &Line) -> bool {
    *query == AuditQuery::default() || matches(query, &line.entry())
}

fn line_of(held: &Held, verified: u64) -> Line {
    let mut line = Line::streamed(held);
    if held.index < verified && line.mark == Mark::Pending {
        line.mark = Mark::Verified;
    }
    line
}

// ---- the link -------------------------------------------------------------------------------------------------------

/// Opens the log where it should be followed, and shows an alarm that was not shown.
pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    if state.screen == Screen::Audit
        && state.audit.alarm_unseen
        && state.overlay.is_none()
        && state.filter.is_none()
        && state.prompt.is_none()
        && state.who.is_some()
    {
        state.audit.alarm_unseen = false;
        state.overlay = Some(Overlay::Alarm(0));
    }
    let is_kept_out = super::is_kept_out(state) || state.enrol.as_ref().is_some_and(|form| form.is_demanded);
    if !state.settings.log.live || state.who.is_none() || is_kept_out || state.login.is_some() {
        return;
    }
    if let Some(why) = refusal(state.who.as_ref(), Some(Permission::AuditRead)) {
        if !state.log.trust.off {
            state.log.trust.off = true;
            state.log.epoch += 1;
            state.log.tail.link = Link::Refused(why);
            state.log.refused_to.clone_from(&state.who);
            out.push(Action::TailClose);
        }
        return;
    }
    // To the same user the daemon says the same again.
    if state.log.trust.off && matches!(state.log.tail.link, Link::Refused(_)) && state.log.refused_to != state.who {
        state.log.trust.off = false;
        state.log.tail.link = Link::Closed;
    }
    if state.log.tail.link == Link::Closed {
        open(state, out);
    }
    pages::follow_up(state, out);
    acknowledge::send(state, out);
}

fn open(state: &mut State, out: &mut Vec<Action>) {
    state.log.tail.link = Link::Connecting;
    if state.log.begun {
        let after = state.log.tail.next.checked_sub(1);
        open_stream(state, after, out);
    } else if state.log.trust.wants_key() {
        ask_log(state, LogCall::Keys, out);
    } else {
        state.log.trust.asking();
        ask_log(state, LogCall::Checkpoint, out);
    }
}

fn open_stream(state: &mut State, after: Option<u64>, out: &mut Vec<Action>) {
    state.log.epoch += 1;
    (state.log.told, state.log.token) = (false, state.tokens);
    state.log.tail.link = Link::Connecting;
    out.push(Action::TailOpen { epoch: state.log.epoch, after });
}

/// The session is over: the log is followed again with the next one.
pub(super) fn leave(state: &mut State, out: &mut Vec<Action>) {
    if !state.settings.log.live {
        return;
    }
    state.log.epoch += 1;
    state.log.cut_at = None;
    state.log.tail.link = Link::Closed;
    // Whether the log may be read is a matter of who comes next.
    state.log.trust.off = false;
    out.push(Action::TailClose);
    out.push(Action::TimerDrop(TimerId::Tail));
    out.push(Action::TimerDrop(TimerId::Pages));
}

/// C-r: now, and not when the wait is over.
pub(super) fn at_once(state: &mut State, out: &mut Vec<Action>) {
    state.log.tail.at_once();
    state.log.refused_to = None;
    state.log.send_ms = 0;
    if let Some(not_live) = &mut state.log.not_live {
        not_live.paged_ms = None;
    }
    // Where there was no stream, one that is being asked for may have been asked for too early.
    let is_paged = state.log.not_live.is_some() && !matches!(state.log.tail.link, Link::Refused(_) | Link::Closed);
    if is_paged || matches!(state.log.tail.link, Link::Waiting { .. }) {
        out.push(Action::TimerDrop(TimerId::Tail));
        open(state, out);
    }
    again(state, out);
}

pub(super) fn event(state: &mut State, epoch: u64, event: TailEvent, out: &mut Vec<Action>) {
    if epoch != state.log.epoch {
        return;
    }
    match event {
        TailEvent::Opened(log_index) => {
            let text = match state.log.cut_at.take() {
                Some(cut) => {
                    let away = state.now.ms.saturating_sub(cut.ms) / 1_000;
                    format!("the log's stream came back after {}", crate::time::duration(away))
                }
                None => "the log's stream is open".to_owned(),
            };
            keep(state, Note { at: state.now, level: Level::Info, text: format!("{text}, logged as {log_index}") });
            state.log.tail.opened(state.now);
            state.log.send_ms = 0;
            state.offline = false;
            if !state.log.begun {
                // No checkpoint could be read: the stream begins behind the entry that records it.
                state.log.tail.begin(log_index + 1);
                state.log.tail.opened(state.now);
                state.log.begun = true;
            }
        }
        TailEvent::News(events) => {
            pages::told(state, out);
            for event in events {
                news(state, event, out);
            }
        }
        TailEvent::Ended(error) => ended(state, error.as_deref(), out),
    }
    ask_witnesses(state, out);
    wake_for_badge(state, out);
}

fn news(state: &mut State, event: LogEvent, out: &mut Vec<Action>) {
    match event {
        LogEvent::Entry { index, leaf } => tail(state, Input::Entry { index, leaf }, out),
        LogEvent::Malformed { id, data } => tail(state, Input::Malformed { id, data }, out),
        LogEvent::Checkpoint(note) => {
            let size = state.log.trust.size_of(&note);
            let mut wants = Vec::new();
            state.log.trust.streamed(&note, state.now, &mut wants);
            wanted(state, wants, out);
            if let Some(size) = size {
                tail(state, Input::Covered(size), out);
            }
        }
        LogEvent::Bye(bye) => state.log.expired = bye == Bye::Expired,
        _ => {}
    }
}

fn ended(state: &mut State, error: Option<&ClientError>, out: &mut Vec<Action>) {
    let expired = std::mem::take(&mut state.log.expired);
    let retry_after = match error {
        Some(ClientError::Problem { retry_after_seconds, .. }) => *retry_after_seconds,
        _ => None,
    };
    // A stream that is there and never tells anything is no daemon that is away.
    let mute = matches!(state.log.tail.link, Link::Live { .. }) && !state.log.told;
    // That it ended without an error says nothing of whether somebody answers.
    if let Some(error) = error {
        state.offline = super::is_away(error) && !mute;
    }
    if matches!(state.log.tail.link, Link::Live { .. }) {
        let why = match error {
            _ if expired => "the token ran out".to_owned(),
            Some(error) => sentence(error),
            None => "the daemon ended it".to_owned(),
        };
        let text = format!("the log's stream was cut: {why}");
        keep(state, Note { at: state.now, level: Level::Warning, text });
        state.log.cut_at = Some(state.now);
    }
    let missing = pages::missing(state, error);
    let mut wait_ms = state.log.tail.ended(state.now, retry_after);
    if expired || error.is_some_and(ClientError::wants_sign_in) {
        // There may be a fresh one already.
        if state.log.token == state.tokens {
            login::renew(state, out);
        }
        wait_ms = TOKEN_MS;
    } else if let Some(missing) = missing {
        wait_ms = pages::begin(state, missing, out);
    } else if error.and_then(ClientError::problem_type) == Some(ProblemType::Invalid) {
        // The log has no such entry any more: what it has, its newest checkpoint says.
        state.log.begun = false;
        state.log.trust.restart();
        restart_list(state, out);
    }
    state.log.tail.waits(state.now, wait_ms);
    out.push(Action::TimerSet { id: TimerId::Tail, after_ms: wait_ms });
}

fn restart_list(state: &mut State, out: &mut Vec<Action>) {
    audit::restart(state, Cursor::Start, out);
}

pub(super) fn timer(state: &mut State, id: TimerId, out: &mut Vec<Action>) {
    match id {
        TimerId::Tail if matches!(state.log.tail.link, Link::Waiting { .. }) => {
            let refills = state.log.refills && state.log.tail.gap().is_some();
            if state.renewing || state.login.is_some() || refills {
                out.push(Action::TimerSet { id: TimerId::Tail, after_ms: TOKEN_MS });
            } else {
                open(state, out);
            }
        }
        TimerId::Save => save(state, false, out),
        // What is due is found by what follows every event.
        TimerId::Pages | TimerId::Acknowledge => {}
        TimerId::Log => {
            again(state, out);
            if state.log.trust.overdue(state.now) && matches!(state.log.tail.link, Link::Live { .. }) {
                state.log.trust.asking();
                ask_log(state, LogCall::Checkpoint, out);
            }
            ask_witnesses(state, out);
            wake_for_badge(state, out);
        }
        _ => {}
    }
}

fn wake_for_badge(state: &State, out: &mut Vec<Action>) {
    let due = state.log.trust.due_in(state.now);
    // The rate that is shown falls when nothing comes.
    let is_moving = state.screen == Screen::Audit && state.log.tail.rate_tenths(state.now) > 0;
    let due = if is_moving { Some(due.map_or(RATE_MS, |due| due.min(RATE_MS))) } else { due };
    let due = if state.log.again.is_empty() { due } else { Some(due.map_or(AGAIN_MS, |due| due.min(AGAIN_MS))) };
    if let Some(after_ms) = due {
        out.push(Action::TimerSet { id: TimerId::Log, after_ms });
    }
}

// ---- what is asked for ----------------------------------------------------------------------------------------------

fn ask_log(state: &mut State, call: LogCall, out: &mut Vec<Action>) {
    if !state.log.asked.contains(&call) {
        state.log.asked.push(call.clone());
        ask(state, Call::Log(call), out);
    }
}

fn again(state: &mut State, out: &mut Vec<Action>) {
    for call in std::mem::take(&mut state.log.again) {
        ask_log(state, call, out);
    }
}

/// What waited for a token that never came.
pub(super) fn given_up(state: &mut State, call: LogCall) {
    state.log.asked.retain(|asked| *asked != call);
    if !state.log.again.contains(&call) {
        state.log.again.push(call);
    }
}

pub(super) fn answer(state: &mut State, answer: LogAnswer, out: &mut Vec<Action>) {
    let mut wants = Vec::new();
    let now = state.now;
    match answer {
        LogAnswer::Keys(keys) => {
            state.log.asked.retain(|asked| *asked != LogCall::Keys);
            state.log.trust.first_use(&keys, &mut wants);
            if state.log.trust.wants_key() {
                state.log.trust.off = true;
            } else {
                let fingerprint = state.log.trust.pinned_key().map(|key| key.id().to_string()).unwrap_or_default();
                let then = state.key_or("T on the audit screen", "audit trust");
                let text = format!("log key {fingerprint} taken on first use; compare it, then {then}");
                if state.settings.bare {
                    // Its badge says it in words.
                    keep(state, Note { at: now, level: Level::Warning, text });
                } else {
                    say(state, Level::Warning, text, out);
                }
                state.log.trust.asking();
                ask_log(state, LogCall::Checkpoint, out);
            }
        }
        LogAnswer::Checkpoint(note) => {
            state.log.asked.retain(|asked| *asked != LogCall::Checkpoint);
            let goes_on = pages::far_behind(state, &note, out);
            match state.log.trust.offered(&note, now, &mut wants) {
                Ok(()) if goes_on => pages::covered(state, &note, out),
                Ok(()) => begin(state, &note, out),
                Err(why) => {
                    say(state, Level::Warning, why, out);
                    if !state.log.begun {
                        let wait_ms = state.log.tail.ended(now, None);
                        out.push(Action::TimerSet { id: TimerId::Tail, after_ms: wait_ms });
                    }
                }
            }
        }
        LogAnswer::Proof { size, growth, tiles } => {
            state.log.asked.retain(|asked| !matches!(asked, LogCall::Proof { size: asked, .. } if *asked == size));
            state.log.trust.proof(size, growth.as_deref(), &tiles, now, &mut wants);
        }
        LogAnswer::Tiles(tiles) => {
            let paths: Vec<TilePath> = tiles.iter().map(|(path, _)| *path).collect();
            state.log.asked.retain(|asked| !matches!(asked, LogCall::Tiles(asked) if *asked == paths));
            state.log.trust.take_tiles(&tiles, now, &mut wants);
        }
        LogAnswer::Entries { range, leaves } => {
            state.log.asked.retain(|asked| *asked != LogCall::Entries(range.clone()));
            match leaves {
                Some(leaves) => tail(state, Input::Filled { first: range.start, leaves }, out),
                None => {
                    let what = format!("the bundle of the entries {} to {} cannot be cut", range.start, range.end - 1);
                    let mut breach = Breach::new(BreachKind::Malformed, what.clone());
                    breach.index = Some(range.start);
                    state.log.trust.raise(breach, now, &mut wants);
                    tail(state, Input::Refused { page: range, why: what }, out);
                }
            }
        }
        LogAnswer::Witnessed { size, note, growth } => {
            state.log.asked.retain(|asked| *asked != LogCall::Witnessed(size));
            state.log.trust.cosigned(&note, Some(&growth), now, &mut wants);
        }
        LogAnswer::Receipt(index, proof) => {
            state.log.asked.retain(|asked| *asked != LogCall::Receipt(index));
            copy_proved(state, index, &proof, out);
        }
        LogAnswer::Rotations(rotations) => {
            state.log.asked.retain(|asked| *asked != LogCall::Rotations);
            state.log.trust.rotated(&rotations, now, &mut wants);
        }
    }
    wanted(state, wants, out);
    judge(state, out);
    ask_witnesses(state, out);
    wake_for_badge(state, out);
}

/// The cosigned checkpoint is asked for where it is due.
fn ask_witnesses(state: &mut State, out: &mut Vec<Action>) {
    if let Some(size) = state.log.trust.wants_witnessed(state.now) {
        state.log.trust.asking_witnessed(state.now);
        ask_log(state, LogCall::Witnessed(size), out);
    }
}

/// The newest checkpoint is here: the stream begins behind what it covers.
fn begin(state: &mut State, note: &[u8], out: &mut Vec<Action>) {
    if state.log.begun || state.log.tail.link != Link::Connecting {
        return;
    }
    let text = String::from_utf8_lossy(note);
    let size = state.log.trust.size_of(&text).or_else(|| text.lines().nth(1)?.parse().ok()).filter(|size| *size > 0);
    if let Some(size) = size {
        state.log.tail.begin(size);
        state.log.begun = true;
    }
    open_stream(state, size.map(|size| size - 1), out);
}

pub(super) fn failed(state: &mut State, call: LogCall, error: &ClientError, out: &mut Vec<Action>) {
    state.log.asked.retain(|asked| *asked != call);
    let mut wants = Vec::new();
    let now = state.now;
    let is_gone = matches!(error.status(), Some(400 | 404 | 410 | 422));
    let why = super::sentence(error);
    match (&call, error.status()) {
        // It is asked for again in time.
        (LogCall::Witnessed(_), _) => state.log.trust.unanswered(),
        (LogCall::Receipt(_), _) => say(state, Level::Error, why, out),
        (LogCall::Rotations, Some(400..500)) => state.log.trust.rotations_refused(&why, now, &mut wants),
        (_, Some(403)) | (LogCall::Checkpoint | LogCall::Keys, Some(404)) => {
            state.log.trust.off = true;
            state.log.tail.link = Link::Refused(why);
            state.log.refused_to.clone_from(&state.who);
        }
        (LogCall::Entries(range), _) if is_gone => {
            tail(state, Input::Refused { page: range.clone(), why }, out);
        }
        (LogCall::Proof { size, .. }, _) if is_gone => state.log.trust.proof_refused(*size, &why, now, &mut wants),
        (LogCall::Tiles(paths), _) if is_gone => {
            let named = paths.first().map(ToString::to_string).unwrap_or_default();
            let what = format!("{named} is withheld, though the log signed a tree that has it: {why}");
            state.log.trust.raise(Breach::new(BreachKind::Withheld, what), now, &mut wants);
        }
        (LogCall::Checkpoint | LogCall::Keys, _) if !state.log.begun => {
            let retry_after = match error {
                ClientError::Problem { retry_after_seconds, .. } => *retry_after_seconds,
                _ => None,
            };
            let wait_ms = state.log.tail.ended(now, retry_after);
            out.push(Action::TimerSet { id: TimerId::Tail, after_ms: wait_ms });
        }
        _ => {
            if !state.log.again.contains(&call) {
                state.log.again.push(call);
            }
        }
    }
    wanted(state, wants, out);
    wake_for_badge(state, out);
}

// ---- what follows ---------------------------------------------------------------------------------------------------

fn tail(state: &mut State, input: Input, out: &mut Vec<Action>) {
    let mut told = Vec::new();
    state.log.tail.take(input, &mut told);
    let now = state.now;
    for told in told {
        let mut wants = Vec::new();
        match told {
            Told::Accept(held) => {
                state.log.tail.count(now);
                state.log.trust.entry(&held, now, &mut wants);
                arrive(state, &held);
                fresh::noted(state, &held, out);
            }
            Told::Again(held) => {
                state.log.trust.question(&held, now, &mut wants);
            }
            Told::Fetch(range) => ask_log(state, LogCall::Entries(range), out),
            Told::Close => {
                // What is held is kept; the stream is opened again when the gap is filled.
                state.log.epoch += 1;
                let wait_ms = state.log.tail.ended(now, None);
                out.extend([Action::TailClose, Action::TimerSet { id: TimerId::Tail, after_ms: wait_ms }]);
            }
            Told::Doubled { before, now: came } => {
                let mut breach = Breach::new(BreachKind::Doubled, format!("entry {} has two contents", came.index));
                breach.index = Some(came.index);
                breach.facts =
                    vec![("first".to_owned(), before.hash.to_string()), ("then".to_owned(), came.hash.to_string())];
                breach.evidence = serde_json::json!({
                    "first": text_of(&before.leaf), "then": text_of(&came.leaf),
                    "first_hash": before.hash.to_string(), "then_hash": came.hash.to_string(),
                });
                state.log.trust.raise(breach, now, &mut wants);
            }
            Told::Malformed { index, why, octets } => {
                let place = index.map_or_else(|| "an event".to_owned(), |index| format!("entry {index}"));
                let mut breach = Breach::new(BreachKind::Malformed, format!("{place} is malformed: {why}"));
                breach.index = index;
                breach.evidence = serde_json::json!({ "octets": text_of(&octets) });
                state.log.trust.raise(breach, now, &mut wants);
            }
            Told::Missing { range, why } => {
                let (first, last) = (range.start, range.end - 1);
                let mut breach =
                    Breach::new(BreachKind::Withheld, format!("the entries {first} to {last} are withheld: {why}"));
                breach.index = Some(first);
                state.log.trust.raise(breach, now, &mut wants);
                let below = Cursor::Below(first);
                let follow = state.audit.follow;
                if state.audit.list.is_loaded() && state.audit.list.begins_at_start() {
                    state.audit.list.arrive(Line::missing(first, range.end), below, follow);
                }
            }
        }
        wanted(state, wants, out);
    }
}

fn text_of(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Puts an entry at the foot of the list, if it belongs there.
fn arrive(state: &mut State, held: &Held) {
    let screen = &mut state.audit;
    if !screen.list.is_loaded() {
        return;
    }
    let is_there = screen.list.first_read().is_some_and(|first| first.index >= held.index);
    if is_there {
        // It was read by a page before it came.
        for row in screen.list.rows_mut().filter(|row| row.index == held.index && row.hash() == Some(held.hash)) {
            row.live = true;
        }
        return;
    }
    let query = crate::filter::audit_query(&screen.filter).unwrap_or_default();
    let line = Line::streamed(held);
    if !fits(&query, &line) {
        return;
    }
    if !screen.follow {
        screen.new_below += 1;
    }
    if !screen.list.begins_at_start() {
        return;
    }
    if !screen.follow && screen.list.newer() >= ROWS_KEPT {
        // Whoever looks at the past does not pay for what comes.
        if let Some(first) = screen.list.first_read().map(|first| first.index) {
            screen.list.detach(Cursor::Below(first + 1));
        }
        return;
    }
    screen.list.arrive(line, Cursor::Below(held.index), screen.follow);
}

/// Does what trust wants.
fn wanted(state: &mut State, wants: Vec<Wants>, out: &mut Vec<Action>) {
    for want in wants {
        match want {
            Wants::Proof { size, from } => ask_log(state, LogCall::Proof { size, from }, out),
            Wants::Tiles(paths) => ask_log(state, LogCall::Tiles(paths), out),
            Wants::Checkpoint => {
                state.log.trust.asking();
                ask_log(state, LogCall::Checkpoint, out);
            }
            Wants::Rotations => ask_log(state, LogCall::Rotations, out),
            Wants::Followed(told) => say(state, Level::Warning, told, out),
            Wants::Save => {
                if state.log.trust.alarm().is_some() {
                    save(state, false, out);
                } else if !state.log.dirty {
                    state.log.dirty = true;
                    out.push(Action::TimerSet { id: TimerId::Save, after_ms: SAVE_MS });
                }
            }
            Wants::Broken(breach) => broken(state, &breach, out),
            Wants::Verified(size) => {
                for row in state.audit.list.rows_mut() {
                    if row.live && row.index < size && row.mark == Mark::Pending {
                        row.mark = Mark::Verified;
                    }
                }
                judge(state, out);
            }
        }
    }
}

fn save(state: &mut State, force: bool, out: &mut Vec<Action>) {
    state.log.dirty = false;
    if state.settings.log.unreadable.is_none() {
        out.push(Action::SavePin { kept: Box::new(state.log.trust.kept()), force });
    }
}

/// What was learned is kept before the console ends or turns to another daemon.
pub(super) fn before_quit(state: &mut State, out: &mut Vec<Action>) {
    if state.log.dirty
        && let Some(at) = out.iter().position(|action| matches!(action, Action::Quit | Action::Switch(_)))
    {
        let mut first = Vec::new();
        save(state, false, &mut first);
        out.splice(at..at, first);
    }
}

fn broken(state: &mut State, breach: &Breach, out: &mut Vec<Action>) {
    let raised_at = state.log.trust.alarm().map(|alarm| alarm.at);
    // What is learned of it later opens it no second time.
    if std::mem::replace(&mut state.log.alarm_of, raised_at) != raised_at {
        state.audit.alarm_unseen = true;
    }
    let pin = state.log.trust.pin();
    let leaves = state.log.tail.evidence_from(breach.index);
    let evidence = serde_json::json!({
        "kind": breach.kind, "what": breach.what, "entry": breach.index, "at": crate::time::rfc3339(state.now.wall_seconds),
        "address": state.settings.address, "facts": breach.facts, "proof": breach.evidence, "leaves": leaves,
        "keys": state.log.trust.keys().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "last_good": pin.map(|pin| serde_json::json!({"note": pin.note, "seen_at": crate::time::rfc3339(state.log.trust.pin_seen_at())})),
    });
    let text = serde_json::to_string_pretty(&evidence).unwrap_or_default();
    out.push(Action::WriteFile { purpose: FilePurpose::Evidence, name: "evidence".to_owned(), text });
    say(state, Level::Error, format!("AUDIT LOG VERIFICATION FAILED: {}", breach.what), out);
}

pub(super) fn written(state: &mut State, purpose: FilePurpose, result: Result<String, String>, out: &mut Vec<Action>) {
    match (purpose, result) {
        (FilePurpose::Evidence, Ok(path)) => {
            if let Some(alarm) = state.log.trust.alarm_mut() {
                alarm.evidence = Some(path);
                save(state, false, out);
            }
        }
        (FilePurpose::Export, Ok(path)) => say(state, Level::Info, format!("written to {path}"), out),
        (_, Err(why)) => say(state, Level::Error, why, out),
    }
}

/// Has verified tiles say which rows of the past are the ones that were committed to.
pub(super) fn judge(state: &mut State, out: &mut Vec<Action>) {
    if !state.settings.log.live {
        return;
    }
    let mut needs: Vec<TilePath> = Vec::new();
    let mut beyond = None;
    let mut wants = Vec::new();
    let now = state.now;
    let trust = &mut state.log.trust;
    for row in state.audit.list.rows_mut().filter(|row| row.mark == Mark::Pending && row.missing_to.is_none()) {
        if row.live && row.index >= trust.verified_size() {
            continue;
        }
        let Some(leaf) = row.leaf() else {
            row.mark = Mark::Wrong;
            continue;
        };
        let hash = common::audit::leaf_hash(leaf);
        match trust.judge(row.index, &hash) {
            Judged::Verified => row.mark = Mark::Verified,
            Judged::Wrong(expected) => {
                trust.wrong_entry(row.index, &hash, &expected, leaf, now, &mut wants);
                row.mark = Mark::Wrong;
            }
            Judged::Needs(paths) => needs.extend(paths),
            Judged::Beyond(size) => beyond = Some(size),
            Judged::Unknown => {}
        }
    }
    let is_asked = state.log.asked.iter().any(|asked| matches!(asked, LogCall::Tiles(_)));
    needs.sort_by_key(|path| (path.level(), path.number()));
    needs.dedup();
    // As many as are held; the rest is asked for when these are here.
    needs.truncate(TILES_AT_ONCE);
    if !needs.is_empty() && !is_asked {
        ask_log(state, LogCall::Tiles(needs), out);
    }
    if let Some(size) = beyond
        && !state.log.asked.iter().any(|asked| matches!(asked, LogCall::Proof { .. }))
        && state.log.trust.pin().is_some_and(|pin| pin.checkpoint.size == size)
    {
        ask_log(state, LogCall::Proof { size, from: None }, out);
    }
    wanted(state, wants, out);
}

// ---- what a person asks for -----------------------------------------------------------------------------------------

pub(super) fn command(state: &mut State, command: Command, out: &mut Vec<Action>) {
    let prompt = |kind| Some(Prompt { kind, line: crate::edit::Line::new(""), error: None });
    match command {
        Command::Follow if state.audit.follow => audit::pause(state),
        Command::Follow => audit::newest(state, out),
        Command::GoToTime => state.prompt = prompt(PromptKind::Time),
        Command::Verification => open_verification(state),
        Command::Acknowledge if state.log.trust.alarm().is_some() => {
            state.overlay = None;
            state.prompt = prompt(PromptKind::Acknowledge);
        }
        Command::Acknowledge => say(state, Level::Info, "there is nothing to acknowledge", out),
        Command::TrustKey if state.log.trust.is_confirmed() || state.log.trust.keys().is_empty() => {
            trust_pinned(state, out);
        }
        Command::TrustKey => state.prompt = prompt(PromptKind::Trust),
        _ => {}
    }
}

/// The key that is shown is trusted from now on.
pub(super) fn trust_pinned(state: &mut State, out: &mut Vec<Action>) {
    match state.log.trust.pinned_key().cloned() {
        Some(shown) => trust(state, &shown, out),
        None => say(state, Level::Info, "the log's key is not known yet", out),
    }
}

/// The log's key is trusted from now on.
fn trust(state: &mut State, compared: &common::audit::Verifier, out: &mut Vec<Action>) {
    let mut wants = Vec::new();
    if state.log.trust.confirm(compared, &mut wants) {
        save(state, true, out);
        say(state, Level::Info, "the log's key is trusted from now on", out);
    } else {
        say(state, Level::Info, "the log's key is trusted already", out);
    }
}

/// The same, if what was typed is the key: whoever has not compared it can't say it by a key pressed in passing.
fn trust_this(state: &mut State, text: &str, out: &mut Vec<Action>) -> Result<(), String> {
    if text.is_empty() {
        return Err("type the eight digits that its owner told you, or the whole key; Esc leaves".to_owned());
    }
    let is_it =
        |key: &&common::audit::Verifier| key.id().to_string().eq_ignore_ascii_case(text) || key.to_string() == text;
    let found: Vec<_> = state.log.trust.keys().iter().filter(is_it).cloned().collect();
    match found.as_slice() {
        [] => Err("that is NOT the key this log is signed with: take it to whoever answers for the log".to_owned()),
        [compared] => {
            trust(state, compared, out);
            Ok(())
        }
        // Digits can be met by trying many keys.
        _ => Err("several keys have these digits: type the whole key".to_owned()),
    }
}

fn open_verification(state: &mut State) {
    state.log.hold();
    state.overlay = Some(Overlay::Verification(0));
}

/// Keys of the verification panel and the alarm; false for those that all overlays know.
pub(super) fn overlay_key(state: &mut State, key: Key, out: &mut Vec<Action>) -> bool {
    match (key.code, key.ctrl, state.overlay) {
        (Code::Char('A'), false, _) => command(state, Command::Acknowledge, out),
        (Code::Char('T'), false, _) => command(state, Command::TrustKey, out),
        (Code::Char('c'), false, Some(Overlay::Verification(_))) => check::ask(state, out),
        (Code::Char('C'), false, Some(Overlay::Verification(_))) => check::stop(state, out),
        (Code::Char('y'), false, Some(Overlay::Alarm(_))) => super::copy::alarm(state, out),
        (Code::Char('x'), false, Some(Overlay::Alarm(_))) => export_evidence(state, out),
        (Code::Char('r'), true, Some(Overlay::Verification(_))) => state.log.hold(),
        (Code::Char('V'), false, Some(Overlay::Alarm(_))) => open_verification(state),
        (Code::Char('V'), false, _) => state.overlay = None,
        _ => return false,
    }
    true
}

/// The file that proves the alarm, to where the console was started.
fn export_evidence(state: &mut State, out: &mut Vec<Action>) {
    let Some(alarm) = state.log.trust.alarm() else {
        return say(state, Level::Info, "there is no alarm", out);
    };
    match alarm.evidence.clone() {
        Some(from) => {
            let name = from.rsplit('/').next().unwrap_or("evidence.json").to_owned();
            out.push(Action::BringFile { from, name });
        }
        None => say(state, Level::Warning, "the evidence is not written yet", out),
    }
}

pub(super) fn prompt_key(state: &mut State, key: Key, out: &mut Vec<Action>) {
    let Some(prompt) = &mut state.prompt else { return };
    match (key.code, key.ctrl) {
        (Code::Esc, _) | (Code::Char('c'), true) => state.prompt = None,
        (Code::Enter, _) => {
            let (kind, text) = (prompt.kind, prompt.line.text().trim().to_owned());
            let result = match kind {
                PromptKind::Acknowledge => acknowledge(state, &text, out),
                PromptKind::Time => audit::go_to_time(state, &text, out),
                PromptKind::Check => range(&text).and_then(|range| check(state, range, out)),
                PromptKind::Note => super::quarantine::add_note(state, &text, out),
                PromptKind::Version => super::models::find_version(state, &text),
                PromptKind::Trust => trust_this(state, &text, out),
            };
            match (result, &mut state.prompt) {
                (Ok(()), _) => state.prompt = None,
                (Err(why), Some(prompt)) => prompt.error = Some(why),
                (Err(_), None) => {}
            }
        }
        _ if prompt.line.edits(key) => prompt.error = None,
        _ => {}
    }
}

/// Copies the selected entry with the proof that it is in the log: the proof is asked for first. False where none can be had.
pub(super) fn copy_with_proof(state: &mut State, out: &mut Vec<Action>) -> bool {
    let Some(line) = state.audit.list.selected() else { return false };
    let can = line.missing_to.is_none() && !line.is_malformed() && !state.log.trust.keys().is_empty();
    let index = line.index;
    if can {
        ask_log(state, LogCall::Receipt(index), out);
    }
    can
}

fn copy_proved(state: &mut State, index: u64, proof: &str, out: &mut Vec<Action>) {
    let line = state.audit.list.rows().find(|line| line.index == index);
    let Some((row, leaf)) = line.and_then(|line| Some((line.row(), line.leaf()?.to_vec()))) else {
        return say(state, Level::Warning, format!("entry {index} is not on the screen any more"), out);
    };
    let receipt = common::audit::TlogProof::parse(proof)
        .map(|proof| common::audit::Receipt::new(&origin_of(state), &leaf, &proof))
        .map_err(|error| error.to_string());
    match receipt
        .and_then(|receipt| receipt.verify(state.log.trust.keys()).map(|_| receipt).map_err(|error| error.to_string()))
    {
        Ok(receipt) => {
            let text = serde_json::to_string(&common::api::AuditEntry { row, receipt }).ok();
            super::copy::proved(state, index, text, out);
        }
        Err(why) => say(state, Level::Error, format!("entry {index} is not proved: {why}"), out),
    }
}

fn origin_of(state: &State) -> String {
    state.log.trust.keys().first().map(|key| key.name().to_owned()).unwrap_or_default()
}

/// A receipt that came with the answer to a change of ours: the sentence to be shown with the result.
pub(super) fn receipt(
    state: &mut State,
    receipt: &common::audit::Receipt,
    out: &mut Vec<Action>,
) -> Result<String, String> {
    let held = state.log.tail.get(receipt.index).map(|held| held.hash);
    let mut wants = Vec::new();
    let told = state.log.trust.receipt(receipt, held, state.now, &mut wants);
    wanted(state, wants, out);
    told.map(|index| format!("logged as {index}"))
}
