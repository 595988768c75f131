//! The question before something is done. Its things are fixed when it opens; keys count only once it was seen; what is
//! asked for is what the daemon said the things are now.

use std::collections::BTreeMap;

use common::api::bulk::BulkTotal;
use common::client::{ClientError, Reply, Sweep};
use common::role::Permission;

use super::{ask, cancel, course, jobs, say, sentence};
use crate::access::{may, refusal_of};
use crate::action::{Action, Call, Job, RequestId};
use crate::clean::clean;
use crate::edit::Line;
use crate::event::{Code, Key};
use crate::layout::layout;
use crate::state::changes::Item;
use crate::state::deeds::{BULK_ASKED, Base, Change, Deed, Object, Tier};
use crate::state::dialog::{Confirm, Dialog, Form, Subject, Sweeping, Tagging, sweep_verb};
use crate::state::{Level, State};
use crate::time::counted as counted_words;

/// Things read at once before a question about many.
const READ_AT_ONCE: usize = 3;

/// Asks before tags are put on these models and taken from them; which tags each has then is known when it is read.
pub(super) fn open_tagging(state: &mut State, models: Vec<(String, String)>, tagging: Tagging, out: &mut Vec<Action>) {
    let nothing = Deed::Edit { description: None, tags: None };
    let change = |(id, name)| Change::new(Object::Model { id, name }, nothing.clone());
    open(state, models.into_iter().map(change).collect(), out);
    if let Some(Dialog::Confirm(confirm)) = &mut state.dialog {
        confirm.tagging = Some(tagging);
    }
}

/// Asks again before changes that were refused because their things had changed: each with what became of it, and with its
/// tags as a difference, so that nobody's are taken back.
pub(super) fn open_again(state: &mut State, items: Vec<(Item, String)>, out: &mut Vec<Action>) {
    let subjects = items.iter().map(|(item, why)| {
        let retag = match (&item.change.deed, &item.base) {
            (Deed::Edit { tags: Some(tags), .. }, Some((Base::Model(info), _))) => {
                Some(Tagging::between(&info.model.tags, tags))
            }
            _ => None,
        };
        (retag, why.clone())
    });
    let told: Vec<_> = subjects.collect();
    open(state, items.into_iter().map(|(item, _)| item.change).collect(), out);
    if let Some(Dialog::Confirm(confirm)) = &mut state.dialog {
        state.overlay = None;
        for (subject, (retag, why)) in confirm.subjects.iter_mut().zip(told) {
            (subject.retag, subject.before) = (retag, Some(why));
        }
    }
}

/// Asks before these changes. All are the same deed.
pub(super) fn open(state: &mut State, changes: Vec<Change>, out: &mut Vec<Action>) {
    let Some(first) = changes.first() else { return };
    if let Some(why) = may(state, Some(first.permission()), true).refusal() {
        return say(state, Level::Warning, why, out);
    }
    let mut tier = first.tier(state.who.as_ref());
    let is_wide = changes.len() > BULK_ASKED;
    if is_wide || (state.settings.strict && tier == Tier::Asked) {
        tier = Tier::Named;
    }
    let (word, word_is) = match changes.as_slice() {
        [only] if can_be_typed(&only.object.name()) => (only.object.name(), "name"),
        [only] => (only.object.id(), "id"),
        many => (many.len().to_string(), "number"),
    };
    let reason = changes.first().cloned().and_then(|mut change| change.reason().map(|_| Line::new("")));
    let at_reason = reason.is_some();
    let who = state.who.as_ref();
    let subject = |change| Subject { trouble: refusal_of(who, &change), base: None, change, retag: None, before: None };
    let subjects: Vec<Subject> = changes.into_iter().map(subject).collect();
    if let Some(why) = subjects.first().and_then(|subject| subject.trouble.clone())
        && subjects.iter().all(|subject| subject.trouble.is_some())
    {
        return say(state, Level::Warning, why, out);
    }
    let confirm = Confirm {
        subjects,
        tier,
        word,
        word_is,
        typed: Line::new(""),
        reason,
        at_reason,
        tagging: None,
        reading: BTreeMap::new(),
        shown_after: state.drawn,
        said_after: state.drawn,
        note: None,
        scroll: 0,
        form: None,
        sweep: None,
        tokens: None,
    };
    state.dialog = Some(Dialog::Confirm(Box::new(confirm)));
    read_on(state, out);
}

/// Asks before all models that match are deleted or restored. How many they are is asked of the daemon first.
pub(super) fn open_sweep(state: &mut State, sweep: Sweep, out: &mut Vec<Action>) {
    if let Some(why) = may(state, Some(Permission::ModelDelete), true).refusal() {
        return say(state, Level::Warning, why, out);
    }
    let query = state.models.whole();
    let of_deleted = query.state == Some(common::api::State::Deleted);
    let why = match sweep {
        Sweep::Delete if of_deleted => "those that match are deleted already",
        Sweep::Restore if !of_deleted => {
            "those that match are not deleted: state:deleted in the filter shows the deleted ones"
        }
        Sweep::Delete | Sweep::Restore => "",
    };
    if !why.is_empty() {
        return say(state, Level::Warning, why, out);
    }
    let filter = state.models.filter.clone();
    let asked = ask(state, Call::Count { sweep, query: Box::new(query.clone()) }, out);
    let sweeping = Sweeping { sweep, query: Box::new(query), filter, asked: Some(asked), found: None };
    let confirm = Confirm {
        subjects: Vec::new(),
        tier: Tier::Named,
        word: String::new(),
        word_is: "number",
        typed: Line::new(""),
        reason: None,
        at_reason: false,
        tagging: None,
        reading: BTreeMap::new(),
        shown_after: state.drawn,
        said_after: state.drawn,
        note: None,
        scroll: 0,
        form: None,
        sweep: Some(sweeping),
        tokens: None,
    };
    state.dialog = Some(Dialog::Confirm(Box::new(confirm)));
}

/// Takes how many match; false if no question waits for it.
pub(super) fn counted(state: &mut State, id: RequestId, found: Result<BulkTotal, String>) -> bool {
    let drawn = state.drawn;
    let Some(Dialog::Confirm(confirm)) = &mut state.dialog else { return false };
    let Some(sweeping) = confirm.sweep.as_mut().filter(|sweeping| sweeping.asked == Some(id)) else { return false };
    sweeping.asked = None;
    if let Ok(found) = &found {
        confirm.word = found.matched.to_string();
    }
    sweeping.found = Some(found);
    confirm.said_after = drawn;
    true
}

/// Whether a text can be typed as it is: nothing in it is shown as something else, and it has no blank at an end.
pub fn can_be_typed(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && clean(text) == text
}

/// Reads the next things.
fn read_on(state: &mut State, out: &mut Vec<Action>) {
    loop {
        let Some(Dialog::Confirm(confirm)) = &state.dialog else { return };
        let next = confirm.subjects.iter().enumerate().position(|(place, subject)| {
            subject.change.has_base()
                && subject.base.is_none()
                && subject.trouble.is_none()
                && !confirm.reading.values().any(|reading| *reading == place)
        });
        let Some(place) = next.filter(|_| confirm.reading.len() < READ_AT_ONCE) else { return };
        let object = confirm.subjects[place].change.object.clone();
        let id = ask(state, Call::Look(object), out);
        if let Some(Dialog::Confirm(confirm)) = &mut state.dialog {
            confirm.reading.insert(id, place);
        }
    }
}

/// Takes what a thing is; false if no question waits for it.
pub(super) fn looked(
    state: &mut State,
    id: RequestId,
    result: &Result<Reply<Base>, ClientError>,
    out: &mut Vec<Action>,
) -> bool {
    let drawn = state.drawn;
    let Some(Dialog::Confirm(confirm)) = &mut state.dialog else { return false };
    let Some(place) = confirm.reading.remove(&id) else { return false };
    let subject = &mut confirm.subjects[place];
    match result {
        Ok(reply) => {
            if let (Some(tagging), Base::Model(info)) =
                (subject.retag.as_ref().or(confirm.tagging.as_ref()), &reply.body)
                && let Deed::Edit { tags, .. } = &mut subject.change.deed
            {
                *tags = Some(tagging.of(&info.model.tags));
            }
            subject.trouble = subject.change.not_now(&reply.body);
            subject.base = Some((reply.body.clone(), reply.etag.clone()));
        }
        Err(error) => subject.trouble = Some(sentence(error)),
    }
    if confirm.is_read() {
        confirm.said_after = drawn;
        if confirm.subjects.len() > 1 {
            confirm.word = confirm.count().to_string();
        }
    }
    read_on(state, out);
    true
}

fn close(state: &mut State, out: &mut Vec<Action>) {
    if let Some(Dialog::Confirm(confirm)) = state.dialog.take() {
        let asked = confirm.sweep.and_then(|sweeping| sweeping.asked);
        for id in confirm.reading.into_keys().chain(asked) {
            cancel(state, Some(id), out);
        }
        if let Some(place) = confirm.tokens {
            super::tokens::open_again(state, place, out);
        }
        say(state, Level::Info, "nothing was done", out);
    }
}

pub(super) fn key(state: &mut State, key: Key, out: &mut Vec<Action>) {
    let drawn = state.drawn;
    let Some(Dialog::Confirm(confirm)) = &mut state.dialog else { return };
    if drawn <= confirm.shown_after {
        // Typed before the question could be read.
        return;
    }
    confirm.note = None;
    if matches!(key.code, Code::PageDown | Code::PageUp) {
        return scroll(state, key.code == Code::PageDown);
    }
    match (key.code, key.ctrl) {
        (Code::Esc, _) | (Code::Char('c'), true) => return close(state, out),
        (Code::Tab | Code::BackTab, _) if confirm.reason.is_some() => {
            confirm.at_reason = !confirm.at_reason;
            return;
        }
        (Code::Up | Code::Down, _) if confirm.reason.is_some() => {
            confirm.at_reason = key.code == Code::Up;
            return;
        }
        _ => {}
    }
    if confirm.at_reason
        && let Some(reason) = &mut confirm.reason
    {
        match key.code {
            Code::Enter if reason.text().trim().is_empty() => {
                confirm.note = Some("a reason is needed; the log keeps it".to_owned());
            }
            Code::Enter => confirm.at_reason = false,
            _ => drop(reason.key(key)),
        }
        return;
    }
    match confirm.tier {
        Tier::Free | Tier::Asked => match (key.code, key.ctrl) {
            (Code::Char('y'), false) => go(state, out),
            (Code::Char('n' | 'q'), false) => close(state, out),
            _ => confirm.note = Some(format!("{key} does nothing here")),
        },
        Tier::Named => match key.code {
            // What must be typed may not be known yet.
            Code::Enter if !confirm.is_read() => go(state, out),
            // The true text is compared, not what is shown of it.
            Code::Enter if confirm.typed.text() == confirm.word => go(state, out),
            Code::Enter if confirm.typed.text().trim().is_empty() => {
                confirm.note = Some(format!("type the {} {} to do it; Esc leaves", confirm.word_is, confirm.word));
            }
            Code::Enter => confirm.note = Some(format!("that is not the {}", confirm.word_is)),
            _ => drop(confirm.typed.key(key)),
        },
    }
}

/// Moves the text of the question by a page, less a line.
fn scroll(state: &mut State, down: bool) {
    let Some((lines, shown)) = crate::view::question_rows(state, &layout(state.size, state)) else { return };
    let Some(Dialog::Confirm(confirm)) = &mut state.dialog else { return };
    let last = lines.saturating_sub(shown);
    let (here, page) = (confirm.scroll.min(last), shown.saturating_sub(1).max(1));
    confirm.scroll = if down { (here + page).min(last) } else { here.saturating_sub(page) };
}

/// Does it, unless something is still missing.
fn go(state: &mut State, out: &mut Vec<Action>) {
    let drawn = state.drawn;
    let Some(Dialog::Confirm(confirm)) = &mut state.dialog else { return };
    let missing = if !confirm.is_read() {
        Some("what it is now is still being read")
    } else if drawn <= confirm.said_after {
        Some("read what it says first")
    } else if let Some(Err(_)) = confirm.sweep.as_ref().and_then(|sweeping| sweeping.found.as_ref()) {
        Some("how many match is not known; Esc leaves")
    } else if confirm.count() == 0 {
        Some("there is nothing to do; Esc leaves")
    } else if confirm.reason.as_ref().is_some_and(|reason| reason.text().trim().is_empty()) {
        Some("a reason is needed; Tab goes to it")
    } else {
        None
    };
    if let Some(missing) = missing {
        confirm.note = Some(missing.to_owned());
        return;
    }
    let Some(Dialog::Confirm(confirm)) = state.dialog.take() else { return };
    if let Some(sweeping) = confirm.sweep {
        return sweep(state, sweeping, out);
    }
    let form = confirm.form;
    let reason = confirm.reason.map(|line| line.text().trim().to_owned());
    let changes = confirm
        .subjects
        .into_iter()
        .filter(|subject| subject.trouble.is_none())
        .map(|Subject { mut change, base, .. }| {
            if let (Some(place), Some(reason)) = (change.reason(), &reason) {
                place.clone_from(reason);
            }
            (change, base, None)
        })
        .collect::<Vec<_>>();
    if let [(only, ..)] = changes.as_slice() {
        let told = format!("{} {}: under way", only.verb(), only.object.name());
        say(state, Level::Info, told, out);
    }
    if changes.len() > 1 {
        let told = format!("{} changes are under way; {} shows them", changes.len(), state.key_or("J", "jobs"));
        say(state, Level::Info, told, out);
    }
    let number = course::begin(state, changes, false, out);
    if let Some(run) = state.changes.runs.get_mut(&number) {
        run.form = form;
    }
}

/// What the job is called.
pub(super) fn sweep_title(sweep: Sweep, expected: u64) -> String {
    format!("{} {}", sweep_verb(sweep), counted_words(expected, "model"))
}

/// Has all that match changed, in the background.
fn sweep(state: &mut State, sweeping: Sweeping, out: &mut Vec<Action>) {
    let Some(Ok(expected)) = sweeping.found else { return };
    let title = sweep_title(sweeping.sweep, expected.matched);
    let job = Job::Sweep { sweep: sweeping.sweep, query: sweeping.query, expected };
    match jobs::begin(state, title, false, job, out) {
        // What was marked is what is being changed.
        Ok(_) => state.models.all = None,
        Err(why) => say(state, Level::Warning, why, out),
    }
}

/// The question is about what was typed in a form.
pub(super) fn of_form(state: &mut State, form: Box<Form>) {
    if let Some(Dialog::Confirm(confirm)) = &mut state.dialog {
        confirm.form = Some(form);
    }
}

pub(super) fn paste(state: &mut State, text: &str) {
    if let Some(Dialog::Confirm(confirm)) = &mut state.dialog
        && state.drawn > confirm.shown_after
    {
        match &mut confirm.reason {
            Some(reason) if confirm.at_reason => reason.insert(text),
            _ if confirm.tier == Tier::Named => confirm.typed.insert(text),
            _ => {}
        }
    }
}
