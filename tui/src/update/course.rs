//! The course of changes: each is sent with the entity tag of what it was made for and an idempotency key; refused ones
//! say who was first; those without an answer are looked for until it is known what became of them; what can be taken
//! back is offered to `u`.

use std::collections::BTreeSet;

use common::api::Page;
use common::client::{AuditQuery, ClientError, Reply};
use common::problem::ProblemType;
use common::role::Permission;

use super::{ask, cancel as cancel_request, confirm, form, keep, say, say_result, sentence};
use crate::action::{Action, Answer, Call, Outcome, RequestId, TimerId};
use crate::state::audit::Line;
use crate::state::changes::{AT_ONCE, Item, RUNS_MAX, Run, Status, UNDO_MS, Undo};
use crate::state::deeds::{Base, Change, Deed, Object, Seen};
use crate::state::dialog::{Dialog, Once};
use crate::state::queue::Retried;
use crate::state::{Level, Note, Screen, State};
use crate::time::{counted, seconds};

/// First wait before looking for what became of a change, in milliseconds; doubled each time.
const LOOK_AGAIN_MS: u64 = 1_000;
/// How often it is looked again at a thing that was not changed yet: for some fifteen seconds in all.
const LOOKS_MAX: u32 = 3;
/// What is said then.
const NOT_YET: &str =
    "it has not happened by now; a slow daemon may still do it: look at it before it is asked for again";
/// And where looking does not tell.
const UNTOLD: &str = "it can't be told whether it happened: look at it before it is asked for again";
/// Longest such wait.
const LOOK_AGAIN_MS_MAX: u64 = 30_000;
/// What became of a token whose answer got lost.
const SECRET_LOST: &str =
    "whether it was made is not known, and its secret is lost: if it is there, revoke or delete it and try again";
/// Failures that the message line names.
const FAILURES_NAMED: usize = 1;

/// A change, what its thing was if that was read, and what must still be so.
type Wanted = (Change, Option<Seen>, Option<Change>);

/// Begins a run. Each change comes with what its thing was and the entity tag of that; without one it is read first.
pub(super) fn begin(state: &mut State, changes: Vec<Wanted>, is_undo: bool, out: &mut Vec<Action>) -> u64 {
    let number = enter(state, changes, is_undo);
    advance(state, number, out);
    number
}

/// A run of which nothing is sent yet.
fn enter(state: &mut State, changes: Vec<Wanted>, is_undo: bool) -> u64 {
    let number = state.changes.next_run;
    state.changes.next_run += 1;
    let items = changes
        .into_iter()
        .map(|(change, base, guard)| {
            let key = state.changes.next_key;
            state.changes.next_key += 1;
            Item { change, base, key, guard, was_changed: false, only_approved: false, status: Status::Waiting }
        })
        .collect();
    // The oldest that are over are forgotten, however many are under way.
    while state.changes.runs.len() >= RUNS_MAX
        && let Some(oldest) = state.changes.runs.iter().find(|(_, run)| run.is_over()).map(|(number, _)| *number)
    {
        state.changes.runs.remove(&oldest);
    }
    state.changes.runs.insert(number, Run { items, is_undo, began: state.now, told: false, form: None });
    number
}

/// Sends what may be sent.
fn advance(state: &mut State, number: u64, out: &mut Vec<Action>) {
    loop {
        let Some(run) = state.changes.runs.get(&number) else { return };
        let busy = run.items.iter().filter(|item| item.waits_for().is_some()).count();
        let next = run.items.iter().position(|item| item.status == Status::Waiting);
        let Some(place) = next.filter(|_| busy < AT_ONCE) else { break };
        let item = &run.items[place];
        if item.base.is_none() && item.change.has_base() {
            let id = ask(state, Call::Look(item.change.object.clone()), out);
            set(state, number, place, Status::Looking(id));
        } else {
            send(state, number, place, out);
        }
    }
    if let Some(run) = state.changes.runs.get_mut(&number)
        && run.is_over()
        && !run.told
    {
        run.told = true;
        finished(state, number, out);
    }
}

fn send(state: &mut State, number: u64, place: usize, out: &mut Vec<Action>) {
    let Some(item) = state.changes.runs.get(&number).and_then(|run| run.items.get(place)) else { return };
    let if_match = item.base.as_ref().and_then(|(_, etag)| etag.clone());
    let call = Call::Change { change: Box::new(item.change.clone()), if_match, key: item.key };
    let id = ask(state, call, out);
    set(state, number, place, Status::Sent(id));
}

fn set(state: &mut State, number: u64, place: usize, status: Status) {
    if let Some(item) = state.changes.runs.get_mut(&number).and_then(|run| run.items.get_mut(place)) {
        item.status = status;
    }
}

fn find(state: &State, id: RequestId) -> Option<(u64, usize)> {
    state.changes.runs.iter().find_map(|(number, run)| {
        let place = run.items.iter().position(|item| item.waits_for() == Some(id))?;
        Some((*number, place))
    })
}

/// Takes an answer or an error that a change waits for; false if none does.
pub(super) fn reply(
    state: &mut State,
    id: RequestId,
    result: &Result<Answer, ClientError>,
    out: &mut Vec<Action>,
) -> bool {
    let Some((number, place)) = find(state, id) else { return false };
    let Some(item) = state.changes.runs.get(&number).and_then(|run| run.items.get(place)).cloned() else {
        return false;
    };
    match (&item.status, result) {
        (_, Ok(Answer::Changed(reply))) => done(state, number, place, reply, out),
        (Status::Looking(_), Ok(Answer::Look(reply))) => {
            let holds = item.guard.as_ref().is_none_or(|guard| guard.has_happened(&reply.body) != Some(false));
            if holds {
                if let Some(item) = state.changes.runs.get_mut(&number).and_then(|run| run.items.get_mut(place)) {
                    item.base = Some((reply.body.clone(), reply.etag.clone()));
                }
                send(state, number, place, out);
            } else {
                let why = format!("{} was changed meanwhile: nothing was undone", item.change.object.name());
                set(state, number, place, Status::Failed(why));
            }
        }
        (Status::Unknown { .. }, Ok(Answer::Look(_))) if item.change.makes_secret() => {
            set(state, number, place, Status::Failed(SECRET_LOST.to_owned()));
        }
        (Status::Unknown { .. }, Ok(Answer::Look(reply))) => {
            looked(state, number, place, &item, reply, out);
        }
        (Status::Changed { .. }, Ok(Answer::Look(reply))) => changed(state, number, place, &item, reply, out),
        (Status::Changed { found, .. }, Ok(Answer::Audit(reply))) => {
            let what = found.clone().unwrap_or_default();
            let who = by_whom(&reply.body, state.now.wall_seconds);
            set(state, number, place, Status::Failed(format!("changed{who}: {what}; nothing was overwritten")));
        }
        (_, Ok(_)) => set(state, number, place, Status::Failed("the answer is not one to this".to_owned())),
        (_, Err(error)) => failed(state, number, place, &item, error, out),
    }
    advance(state, number, out);
    true
}

/// What a thing is now, of which it is not known whether it was changed. That it isn't yet does not say that it won't be: the request
/// may lie before a daemon that is slow. So it is looked at a few times, and no more is said than was seen.
fn looked(state: &mut State, number: u64, place: usize, item: &Item, now: &Reply<Base>, out: &mut Vec<Action>) {
    let Status::Unknown { why, tries, .. } = &item.status else { return };
    let before = item.base.as_ref().map(|(base, _)| base);
    let status = match item.change.came_true(before, &now.body) {
        Some(true) => Status::Done(index_of(now.etag.as_deref())),
        Some(false) if *tries < LOOKS_MAX => {
            look_later(*tries + 1, out);
            Status::Unknown { why: why.clone(), tries: *tries + 1, asked: None }
        }
        Some(false) => Status::Failed(NOT_YET.to_owned()),
        None => Status::Failed(UNTOLD.to_owned()),
    };
    set(state, number, place, status);
}

/// A change that waits for a token that will not come.
pub(super) fn not_sent(state: &mut State, id: RequestId, why: &str, out: &mut Vec<Action>) {
    let Some((number, place)) = find(state, id) else { return };
    let status = state.changes.runs.get(&number).and_then(|run| run.items.get(place)).map(|item| item.status.clone());
    match status {
        // It was sent long ago: only the look at what became of it was not.
        Some(Status::Unknown { why, tries, .. }) => {
            set(state, number, place, Status::Unknown { why, tries: tries.saturating_add(1), asked: None });
            look_later(tries.saturating_add(1), out);
        }
        Some(Status::Changed { found, .. }) => {
            let what = found.unwrap_or_else(|| "what is different was not read".to_owned());
            set(state, number, place, Status::Failed(format!("changed meanwhile: {what}; nothing was overwritten")));
        }
        _ => set(state, number, place, Status::Failed(format!("not sent: {why}"))),
    }
    advance(state, number, out);
}

/// The entity tag is the index of the entry that last changed the thing.
fn index_of(etag: Option<&str>) -> Option<u64> {
    etag?.trim_matches('"').parse().ok()
}

fn failed(state: &mut State, number: u64, place: usize, item: &Item, error: &ClientError, out: &mut Vec<Action>) {
    // A proxy's word is none of the daemon's.
    let is_between = error.problem_type().is_none() && error.answered().is_some_and(|status| status >= 500);
    let unanswered = is_between || matches!(error, ClientError::Offline { .. } | ClientError::Timeout { .. });
    let unrecorded = error.problem_type() == Some(ProblemType::AuditUnavailable);
    match &item.status {
        Status::Unknown { tries, .. }
            if unanswered || unrecorded || error.status().is_some_and(|status| status >= 500) =>
        {
            let tries = tries.saturating_add(1);
            set(state, number, place, Status::Unknown { why: sentence(error), tries, asked: None });
            look_later(tries, out);
        }
        Status::Unknown { .. } if item.change.makes_secret() => {
            set(state, number, place, Status::Failed(SECRET_LOST.to_owned()));
        }
        Status::Unknown { .. } if error.status() == Some(404) && item.change.has_gone() => {
            set(state, number, place, Status::Done(None));
        }
        Status::Unknown { .. } if !item.change.is_repeatable() => {
            set(state, number, place, Status::Failed(format!("{UNTOLD}: {}", sentence(error))));
        }
        Status::Sent(_) if unanswered || unrecorded => {
            let what = if unrecorded {
                "the audit log is not written; whether it happened is known when the daemon is back"
            } else {
                "not known whether it happened"
            };
            let text = format!("{} {}: {what}; it is looked for", item.change.verb(), item.change.object.name());
            set(state, number, place, Status::Unknown { why: sentence(error), tries: 0, asked: None });
            look_later(0, out);
            say(state, Level::Error, text, out);
        }
        Status::Sent(_) if error.problem_type() == Some(ProblemType::PreconditionFailed) => {
            let id = ask(state, Call::Look(item.change.object.clone()), out);
            set(state, number, place, Status::Changed { asked: id, found: None });
            if let Some(item) = state.changes.runs.get_mut(&number).and_then(|run| run.items.get_mut(place)) {
                item.was_changed = true;
            }
        }
        Status::Changed { found: Some(what), .. } => {
            set(state, number, place, Status::Failed(format!("changed: {what}; nothing was overwritten")));
        }
        _ => {
            if error.status() == Some(403) {
                // Our belief about what is allowed was wrong.
                ask(state, Call::Me, out);
            }
            set(state, number, place, Status::Failed(sentence(error)));
        }
    }
}

/// It had changed: what is different, and who did it, as far as this user may know.
fn changed(state: &mut State, number: u64, place: usize, item: &Item, now: &Reply<Base>, out: &mut Vec<Action>) {
    let differences = item.base.as_ref().map(|(before, _)| Change::differences(before, &now.body)).unwrap_or_default();
    let what = if differences.is_empty() { "in nothing that is shown".to_owned() } else { differences.join("; ") };
    let may_read = state.who.as_ref().is_some_and(|who| who.has(Permission::AuditRead));
    match index_of(now.etag.as_deref()).filter(|_| may_read) {
        Some(index) => {
            let query = AuditQuery {
                before: index.checked_add(1),
                after: index.checked_sub(1),
                limit: Some(1),
                ..AuditQuery::default()
            };
            let id = ask(state, Call::Audit(Box::new(query)), out);
            set(state, number, place, Status::Changed { asked: id, found: Some(what) });
        }
        None => {
            set(state, number, place, Status::Failed(format!("changed meanwhile: {what}; nothing was overwritten")))
        }
    }
}

/// ` by bob 4 s ago`.
fn by_whom(page: &Page<Line>, now: i64) -> String {
    let Some(line) = page.items.first() else { return " meanwhile".to_owned() };
    let name = line.actor();
    let ago = seconds(line.time()).map(|at| match now.saturating_sub(at).max(0) {
        past @ 0..60 => format!(" {past} s ago"),
        past => format!(" {} min ago", past / 60),
    });
    format!(" by {name}{}", ago.unwrap_or_default())
}

fn look_later(tries: u32, out: &mut Vec<Action>) {
    let after_ms = LOOK_AGAIN_MS.checked_shl(tries.min(10)).unwrap_or(LOOK_AGAIN_MS_MAX).min(LOOK_AGAIN_MS_MAX);
    out.push(Action::TimerSet { id: TimerId::Unknown, after_ms });
}

/// Looks for what became of changes without an answer: those with a key are sent again with the same key, the others are
/// read.
pub(super) fn look_again(state: &mut State, out: &mut Vec<Action>) {
    let waiting: Vec<(u64, usize, Item)> = state
        .changes
        .runs
        .iter()
        .flat_map(|(number, run)| run.items.iter().enumerate().map(|(place, item)| (*number, place, item)))
        .filter(|(_, _, item)| matches!(item.status, Status::Unknown { asked: None, .. }))
        .map(|(number, place, item)| (number, place, item.clone()))
        .collect();
    for (number, place, item) in waiting {
        let Status::Unknown { why, tries, .. } = item.status else { continue };
        let call = if item.change.is_repeatable() {
            let if_match = item.base.as_ref().and_then(|(_, etag)| etag.clone());
            Call::Change { change: Box::new(item.change), if_match, key: item.key }
        } else {
            Call::Look(item.change.object)
        };
        let id = ask(state, call, out);
        set(state, number, place, Status::Unknown { why, tries, asked: Some(id) });
    }
}

fn done(state: &mut State, number: u64, place: usize, reply: &Reply<Box<Outcome>>, out: &mut Vec<Action>) {
    let Some(item) = state.changes.runs.get_mut(&number).and_then(|run| run.items.get_mut(place)) else { return };
    let index = reply.log_index;
    item.status = Status::Done(index);
    if let Some(index) = index {
        state.fresh.did(index);
    }
    if let (Deed::Retry, Object::Item { id, path }) = (&item.change.deed, &item.change.object) {
        let before = match &item.base {
            Some((Base::Item(before), _)) => Some(before.clone()),
            _ => None,
        };
        let since = RequestId(state.next_id);
        state.queue.tried(id, Retried { path: path.clone(), before, index, since });
    }
    if let (Deed::Discard { .. }, Object::Item { id, .. }) = (&item.change.deed, &item.change.object) {
        state.queue.retried.remove(id);
    }
    let text = match item.change.deed {
        Deed::Release { .. } if reply.body.only_approved => {
            item.only_approved = true;
            format!("approved the release of {}; others must approve it too", item.change.object.name())
        }
        _ => item.change.done(),
    };
    let (user, is_token) = match &item.change.object {
        Object::Token { user, .. } => (user.clone(), true),
        object => (object.name(), matches!(item.change.deed, Deed::NewToken(_))),
    };
    let document = serde_json::json!({
        "done": text, "request_id": reply.request_id, "log_index": index, "receipt": reply.body.receipt,
    });
    state.changes.result = Some(document.to_string());
    // The receipt is held against the log at once, and the log must bring the same entry.
    let logged = match (&reply.body.receipt, index) {
        (Some(receipt), _) => match super::tail::receipt(state, receipt, out) {
            Ok(logged) => format!(", {logged}"),
            Err(why) => format!(", logged as {} without proof: {why}", receipt.index),
        },
        (None, Some(index)) => format!(", logged as {index}"),
        (None, None) => String::new(),
    };
    let until = reply.body.restorable_until.as_deref();
    let until = until.map_or(String::new(), |until| format!(", can be restored until {until}"));
    keep(
        state,
        Note {
            at: state.now,
            level: Level::Info,
            text: format!("{text}{logged}{until}, request {}", reply.request_id),
        },
    );
    if let Some(password) = &reply.body.password {
        let once = Once { user, password: password.clone(), is_token, copied: false, shown_after: state.drawn };
        state.dialog = Some(Dialog::Secret(once));
    }
}

/// Everything of a run is done or refused: it is told, and what can be undone is offered.
fn finished(state: &mut State, number: u64, out: &mut Vec<Action>) {
    let Some(run) = state.changes.runs.get(&number).cloned() else { return };
    let (done, failed) = (run.done(), run.failed());
    state.changes.told_ms = Some(state.now.ms);
    let pairs: Vec<(Change, Change)> = run
        .items
        .iter()
        .filter(|item| !run.is_undo && matches!(item.status, Status::Done(_)))
        .filter_map(|item| Some((item.change.undo(item.base.as_ref().map(|(base, _)| base))?, item.change.clone())))
        .collect();
    let offers = !pairs.is_empty() && pairs.len() == done;
    state.changes.undo = offers.then(|| Undo { pairs, until_ms: state.now.ms.saturating_add(UNDO_MS) });
    if offers {
        out.push(Action::TimerSet { id: TimerId::Undo, after_ms: UNDO_MS });
    }
    let is_in_form = form::over(state, number, &run, out);
    let undo = if offers { "   u undo (8 s)" } else { "" };
    let word = if run.is_undo { "undone: " } else { "" };
    match run.items.as_slice() {
        [item] => match &item.status {
            Status::Done(index) => {
                let logged = index.map_or(String::new(), |index| format!("   logged as {index}"));
                let request = request_of(state);
                let what = if item.only_approved {
                    format!("approved the release of {}: others must approve it too", item.change.object.name())
                } else {
                    item.change.done()
                };
                let text = format!("{word}{what}{undo}{logged}{request}");
                say_result(state, Level::Info, text, out);
            }
            Status::Failed(why) => {
                let text = format!("{} {}: {why}", item.change.verb(), item.change.object.name());
                // The form says why, and what it is about.
                if is_in_form {
                    state.message = None;
                    keep(state, Note { at: state.now, level: Level::Error, text });
                } else {
                    say_result(state, Level::Error, text, out);
                }
            }
            _ => {}
        },
        items => {
            let failures: Vec<String> = items
                .iter()
                .filter_map(|item| match &item.status {
                    Status::Failed(why) => Some(format!("{}: {why}", item.change.object.name())),
                    _ => None,
                })
                .collect();
            let verb = items.first().map(|item| item.change.verb()).unwrap_or_default();
            let text = match failures.len() {
                0 => format!("{word}{verb}: {done} of {} done{undo}", items.len()),
                _ => format!(
                    "{word}{verb}: {done} of {} done, {failed} failed ({} lists them){undo}: {}",
                    items.len(),
                    state.key_or("J", "jobs"),
                    failures.iter().take(FAILURES_NAMED).cloned().collect::<Vec<_>>().join("; ")
                ),
            };
            let level = if failures.is_empty() { Level::Info } else { Level::Error };
            say_result(state, level, text, out);
        }
    }
    if run.items.iter().all(|item| matches!((&item.change.deed, &item.status), (Deed::Retry, Status::Done(_)))) {
        state.queue.retry_said = Some(state.said);
    }
    refresh_after(state, &run, out);
}

fn request_of(state: &State) -> String {
    let id = state.changes.result.as_deref().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    let id = id.as_ref().and_then(|value| value.get("request_id")).and_then(serde_json::Value::as_str);
    // The whole id is in the message list, and Y copies it.
    id.map_or(String::new(), |id| format!("   request {}", id.chars().take(8).collect::<String>()))
}

/// What is shown of the things that were changed is read again.
fn refresh_after(state: &mut State, run: &Run, out: &mut Vec<Action>) {
    let touched = |is: fn(&Object) -> bool| run.items.iter().any(|item| is(&item.change.object));
    let own = state.who.as_ref().map(|who| who.username.clone());
    if run.items.iter().any(|item| matches!(&item.change.object, Object::User(name) if Some(name) == own.as_ref())) {
        ask(state, Call::Me, out);
    }
    let tokens_of = run.items.iter().find_map(|item| match &item.change.object {
        Object::Token { user, .. } => Some(user.clone()),
        _ => None,
    });
    // Whoever revoked one sees what is left, unless something else was opened meanwhile.
    if let Some(user) = tokens_of.filter(|_| state.dialog.is_none() && !state.settings.bare) {
        super::tokens::open(state, user, out);
    }
    if touched(|object| matches!(object, Object::User(_) | Object::Token { .. })) && state.users.list.is_loaded() {
        // Whoever was just added is looked at next.
        state.users.goal = run.items.iter().find_map(|item| match (&item.change.object, &item.change.deed) {
            (Object::User(name), Deed::Register(_)) => Some(name.clone()),
            _ => None,
        });
        super::users::refresh(state, out);
    }
    if touched(|object| matches!(object, Object::Item { .. } | Object::Intake)) && state.queue.list.is_loaded() {
        super::queue::refresh(state, out);
    }
    for screen in [Screen::Queue, Screen::Quarantine, Screen::Users] {
        let is_done = |object: &Object| {
            run.items.iter().any(|item| item.change.object == *object && matches!(item.status, Status::Done(_)))
        };
        if let Some(marks) = state.marks_of_mut(screen) {
            marks.objects.retain(|_, object| !is_done(object));
        }
    }
    if touched(|object| matches!(object, Object::Model { .. } | Object::Version { .. })) {
        for item in &run.items {
            if matches!(item.status, Status::Done(_)) {
                state.models.marks.remove(&item.change.object.target());
            }
        }
        super::fresh::after_own_version(state, out);
    }
}

/// Takes the last change back, while that is offered.
pub(super) fn undo(state: &mut State, out: &mut Vec<Action>) {
    let Some(undo) = state.changes.undo.take().filter(|undo| state.now.ms <= undo.until_ms) else {
        return say(state, Level::Info, "there is nothing to undo", out);
    };
    out.push(Action::TimerDrop(TimerId::Undo));
    let changes = undo.pairs.into_iter().map(|(back, original)| (back, None, Some(original))).collect();
    begin(state, changes, true, out);
}

/// What failed in a run is tried again, from what it is now. Where the thing had changed it is asked about first.
pub(super) fn retry_failed(state: &mut State, number: u64, out: &mut Vec<Action>) {
    let Some(run) = state.changes.runs.get(&number) else { return };
    let failed: Vec<(Item, String)> = run
        .items
        .iter()
        .filter_map(|item| match &item.status {
            Status::Failed(why) => Some((item.clone(), why.clone())),
            _ => None,
        })
        .collect();
    if failed.is_empty() {
        return say(state, Level::Info, "nothing of it failed", out);
    }
    let is_undo = run.is_undo;
    // What takes something back is held against what it takes back before it is sent.
    let (changed, again): (Vec<_>, Vec<_>) = failed.into_iter().partition(|(item, _)| item.was_changed && !is_undo);
    if !again.is_empty() {
        begin(state, again.into_iter().map(|(item, _)| (item.change, None, item.guard)).collect(), is_undo, out);
    }
    if !changed.is_empty() {
        confirm::open_again(state, changed, out);
    }
}

/// Whoever signs in anew finds unsent what was to be changed in the session that had ended: it may be hours ago.
pub(super) fn hold_back(state: &mut State, out: &mut Vec<Action>) {
    let unsent: Vec<(u64, usize)> = state
        .changes
        .runs
        .iter()
        .filter(|(_, run)| run.items.iter().any(|item| is_unsent(state, item)))
        .flat_map(|(number, run)| {
            let places = run.items.iter().enumerate();
            places
                .filter(|(_, item)| item.status == Status::Waiting || is_unsent(state, item))
                .map(|(place, _)| (*number, place))
                .collect::<Vec<_>>()
        })
        .collect();
    for (number, place) in &unsent {
        let item = state.changes.runs.get(number).and_then(|run| run.items.get(*place));
        let asked = item.and_then(Item::waits_for);
        cancel_request(state, asked, out);
        set(state, *number, *place, Status::Failed("not sent: the session had ended".to_owned()));
    }
    for number in unsent.iter().map(|(number, _)| *number).collect::<BTreeSet<_>>() {
        advance(state, number, out);
    }
    if !unsent.is_empty() {
        let (count, key) = (counted(unsent.len() as u64, "change"), state.key_or("J", "jobs"));
        let text = format!("{count} not sent, as the session had ended; {key} lists them, r there sends them");
        say(state, Level::Warning, text, out);
    }
}

/// Whether a change waits for a token that was to come.
fn is_unsent(state: &State, item: &Item) -> bool {
    matches!(item.status, Status::Sent(_) | Status::Looking(_))
        && item.waits_for().is_some_and(|id| state.parked.contains_key(&id))
}

/// What was refused of a sweep is a run whose changes failed, so that it can be read and tried again.
pub(super) fn refused(state: &mut State, refused: Vec<(Change, String)>) {
    let wanted = refused.iter().map(|(change, _)| (change.clone(), None, None)).collect();
    let number = enter(state, wanted, false);
    if let Some(run) = state.changes.runs.get_mut(&number) {
        run.told = true;
        for (item, (_, why)) in run.items.iter_mut().zip(refused) {
            item.status = Status::Failed(why);
        }
    }
}

/// What of a run is not sent stays unsent.
pub(super) fn cancel(state: &mut State, number: u64, out: &mut Vec<Action>) {
    let Some(run) = state.changes.runs.get_mut(&number) else { return };
    let mut stopped = 0;
    for item in &mut run.items {
        if item.status == Status::Waiting {
            item.status = Status::Failed("not sent: cancelled".to_owned());
            stopped += 1;
        }
    }
    let text = format!("{stopped} were not sent; what was sent can't be called back");
    say(state, Level::Warning, text, out);
    advance(state, number, out);
}
