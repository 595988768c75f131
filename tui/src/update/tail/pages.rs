//! Where the stream of the log can't be had (refused, not there, held up by something in between), pages are read instead:
//! each is an entry itself, so only while somebody looks, and not often. Pages are bundles behind the last entry, up to the
//! newest checkpoint: the same reducer and the same proofs as for the stream.

use common::client::ClientError;

use super::{LogCall, ask_log, restart_list, tail};
use crate::action::{Action, Call, TimerId};
use crate::state::log::NotLive;
use crate::state::{Level, Screen, State};
use crate::tail::{Input, Link, RING_MAX};
use crate::update::{ask, say};

/// Milliseconds between two pages.
pub(super) const PAGE_MS: u64 = 30_000;
/// The stream is tried again after so many milliseconds.
const STREAM_MS: u64 = 300_000;
/// After a cut that the daemon can't go on from, the stream is opened again so soon, once what is missing is filled.
const REFILL_MS: u64 = 500;

/// Why the stream can't be had.
pub(super) enum Missing {
    /// The daemon can't go on from where it was cut: pages fill the hole, then it is opened at the new place.
    Hole,
    /// It can't be had at all. Whether it is the right that is lacking is asked.
    Stream {
        /// A sentence.
        why: String,
        /// Whether it was refused.
        refused: bool,
    },
}

/// What the end of a stream says about whether there is one. None for what passes by itself.
pub(super) fn missing(state: &State, error: Option<&ClientError>) -> Option<Missing> {
    let was_open = matches!(state.log.tail.link, Link::Live { .. });
    if was_open && !state.log.told && matches!(error, Some(ClientError::Timeout { .. })) {
        let why = "it was opened and told nothing: something in between holds it up".to_owned();
        return Some(Missing::Stream { why, refused: false });
    }
    let error = error.filter(|_| !was_open)?;
    let why = || crate::update::sentence(error);
    match error.answered() {
        Some(409 | 410) if state.log.begun && !state.log.refills => Some(Missing::Hole),
        Some(status @ (403 | 404 | 405 | 406 | 409 | 410 | 501)) => {
            Some(Missing::Stream { why: why(), refused: status == 403 })
        }
        // A success that is no stream.
        Some(200..300) => Some(Missing::Stream { why: why(), refused: false }),
        _ => None,
    }
}

/// Reads pages from now on; after how many milliseconds the stream is tried again.
pub(super) fn begin(state: &mut State, missing: Missing, out: &mut Vec<Action>) -> u64 {
    let (why, refused) = match missing {
        Missing::Hole => {
            state.log.refills = true;
            state.log.trust.asking();
            ask_log(state, LogCall::Checkpoint, out);
            return REFILL_MS;
        }
        Missing::Stream { why, refused } => (why, refused),
    };
    if refused {
        // Whether the right is gone: then nothing is asked for until it is back.
        ask(state, Call::Me, out);
    }
    match &mut state.log.not_live {
        Some(not_live) => not_live.why = why,
        None => {
            let seconds = PAGE_MS / 1_000;
            let told = format!(
                "NOT LIVE: the stream of the log can't be had; read every {seconds} s while it is looked at ({why})"
            );
            state.log.not_live = Some(NotLive { why, paged_ms: None });
            say(state, Level::Warning, told, out);
        }
    }
    STREAM_MS
}

/// The stream tells something: it is live.
pub(super) fn told(state: &mut State, out: &mut Vec<Action>) {
    (state.log.told, state.log.refills) = (true, false);
    if state.log.not_live.take().is_some() {
        out.push(Action::TimerDrop(TimerId::Pages));
        say(state, Level::Info, "the log is live again", out);
    }
}

/// Reads the next page where it is due and somebody looks.
pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    let looks = state.screen == Screen::Audit && state.focused;
    let now = state.now.ms;
    let Some(not_live) = state.log.not_live.as_mut().filter(|_| looks) else { return };
    // A checkpoint that is on its way may be older than the wish for one: it is asked for behind it.
    let is_asked = state.log.asked.contains(&LogCall::Checkpoint);
    if is_asked || not_live.paged_ms.is_some_and(|last| now.saturating_sub(last) < PAGE_MS) {
        return;
    }
    not_live.paged_ms = Some(now);
    out.push(Action::TimerSet { id: TimerId::Pages, after_ms: PAGE_MS });
    state.log.trust.asking();
    ask_log(state, LogCall::Checkpoint, out);
}

/// Whether a checkpoint that was asked for covers what no stream will bring. Where that is more than is held, the list begins
/// anew there instead.
pub(super) fn far_behind(state: &mut State, note: &[u8], out: &mut Vec<Action>) -> bool {
    if !state.log.begun || state.log.is_live() {
        return false;
    }
    let size = state.log.trust.size_of(&String::from_utf8_lossy(note));
    if let Some(size) = size.filter(|size| size.saturating_sub(state.log.tail.next) > RING_MAX as u64) {
        state.log.trust.restart();
        state.log.tail.begin(size);
        restart_list(state, out);
    }
    true
}

/// Reads the entries that a signed checkpoint covers and that have not come.
pub(super) fn covered(state: &mut State, note: &[u8], out: &mut Vec<Action>) {
    if let Some(size) = state.log.trust.size_of(&String::from_utf8_lossy(note)) {
        tail(state, Input::Covered(size), out);
    }
}
