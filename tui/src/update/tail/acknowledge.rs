//! Why an alarm about the log may go: said by a person, kept here at once, and told to the daemon as soon as it takes it, so
//! that it is an entry of the log.

use common::audit::{Receipt, leaf_hash};
use common::client::{ClientError, Reply};

use super::{restart_list, save, wanted};
use crate::action::{Action, Call, FilePurpose, TimerId};
use crate::state::{Level, State};
use crate::tail::Link;
use crate::trust::Said;
use crate::update::{ask, say, sentence};

/// Characters of a reason.
const REASON_CHARS: std::ops::RangeInclusive<usize> = 3..=500;
/// What could not be sent is tried again after so many milliseconds.
const AGAIN_MS: u64 = 30_000;

/// Somebody looked at the alarm and says why it may go. The log is then opened anew, from what is still pinned.
pub(in crate::update) fn acknowledge(state: &mut State, reason: &str, out: &mut Vec<Action>) -> Result<(), String> {
    if !REASON_CHARS.contains(&reason.chars().count()) || reason.chars().any(char::is_control) {
        return Err("say why, in 3 to 500 characters".to_owned());
    }
    let mut wants = Vec::new();
    let Some(alarm) = state.log.trust.acknowledge(&mut wants) else { return Ok(()) };
    let by = state.who.as_ref().map(|who| who.username.clone()).unwrap_or_default();
    let at = crate::time::rfc3339(state.now.wall_seconds);
    let text = serde_json::json!({ "acknowledged": alarm, "reason": reason, "at": at, "by": by });
    let text = serde_json::to_string_pretty(&text).unwrap_or_default();
    // Sent again, even by the next console, it is the same.
    let digest = leaf_hash(format!("{}\n{}\n{text}", state.settings.address, state.now.ms).as_bytes()).to_hex();
    let key = format!("mreg-alarm-{}", digest.get(..32).unwrap_or(&digest));
    let told = if state.settings.readonly {
        "; it is kept here only, for this profile is read-only"
    } else if state.log.trust.to_send(Said::new(&alarm, reason, &by, key)) {
        ""
    } else {
        "; it is kept here only, for too many wait to be sent"
    };
    out.push(Action::WriteFile { purpose: FilePurpose::Evidence, name: "acknowledged".to_owned(), text });
    save(state, true, out);
    state.audit.alarm_unseen = false;
    state.log.alarm_of = None;
    state.overlay = None;
    say(state, Level::Warning, format!("acknowledged: {}{told}", alarm.what), out);
    // From the newest checkpoint on, as at the start.
    state.log.epoch += 1;
    state.log.begun = false;
    state.log.asked.clear();
    state.log.again.clear();
    state.log.tail.link = Link::Closed;
    state.log.send_ms = 0;
    out.push(Action::TailClose);
    restart_list(state, out);
    Ok(())
}

/// Sends what this user acknowledged and the daemon does not know, one at a time.
pub(in crate::update) fn send(state: &mut State, out: &mut Vec<Action>) {
    if state.log.sending.is_some() || state.log.send_ms > state.now.ms || state.settings.readonly {
        return;
    }
    let said = state.who.as_ref().and_then(|who| state.log.trust.unsent_by(&who.username)).cloned();
    if let Some(said) = said {
        state.log.sending = Some(said.key.clone());
        ask(state, Call::Acknowledge(Box::new(said)), out);
    }
}

/// The daemon has it.
pub(in crate::update) fn acknowledged(state: &mut State, reply: &Reply<Receipt>, out: &mut Vec<Action>) {
    let Some(key) = state.log.sending.take() else { return };
    let mut wants = Vec::new();
    state.log.trust.sent(&key, &mut wants);
    wanted(state, wants, out);
    // The key may be unknown again, after an alarm about it.
    let index = reply.body.index;
    let proved = match state.log.trust.keys().is_empty() {
        true => Ok(format!("logged as {index}")),
        false => super::receipt(state, &reply.body, out),
    };
    match proved {
        Ok(told) => say(state, Level::Info, format!("the acknowledgement is {told}"), out),
        Err(why) => say(state, Level::Error, format!("the acknowledgement: {why}"), out),
    }
}

/// The daemon does not have it: it is kept and sent again, unless it never will be taken.
pub(in crate::update) fn not_acknowledged(state: &mut State, said: &Said, error: &ClientError, out: &mut Vec<Action>) {
    let why = sentence(error);
    if matches!(error.status(), Some(400 | 404 | 405 | 422)) {
        let mut wants = Vec::new();
        state.log.sending = None;
        state.log.trust.sent(&said.key, &mut wants);
        wanted(state, wants, out);
        return say(
            state,
            Level::Warning,
            format!("the daemon records no such acknowledgement; it is kept here: {why}"),
            out,
        );
    }
    let first = state.log.send_ms == 0;
    send_later(state, out);
    if first {
        say(state, Level::Warning, format!("the acknowledgement is kept and will be sent: {why}"), out);
    }
}

/// It was not sent, and is in a while.
pub(in crate::update) fn send_later(state: &mut State, out: &mut Vec<Action>) {
    state.log.sending = None;
    state.log.send_ms = state.now.ms.saturating_add(AGAIN_MS);
    out.push(Action::TimerSet { id: TimerId::Acknowledge, after_ms: AGAIN_MS });
}
