//! Forms: description and tags of a model, an alias, a role, grants, a new user, a new API token. What was typed stays through a lost
//! connection and a new login; a question follows where the deed is one that is asked about.

use std::collections::BTreeMap;

use common::api::ModelRow;
use common::grant::{GRANTS_MAX, GrantTold};
use common::name::{Alias, UserName, Version};
use common::role::{Permission, Role};

use super::{ask, cancel, confirm, course, say, sentence};
use crate::access::{refusal, refusal_of};
use crate::action::{Action, Answer, Call, RequestId, TimerId};
use crate::acts::grants_of;
use crate::edit::Line;
use crate::event::{Code, Key};
use crate::state::changes::{Run, Status};
use crate::state::deeds::{Base, Change, Deed, Object, Seen};
use crate::state::dialog::{Dialog, Field, Form, Purpose, Tagging};
use crate::state::tokens::wanted;
use crate::state::{Level, State};
use crate::time::age;

/// How long typing rests before the history of an alias is read, in milliseconds.
const REST_MS: u64 = 150;
/// How what `course` says of something that had changed meanwhile begins.
const CHANGED: &str = "changed";
/// Most octets of a description that is edited here (rest-api.md: 16 384).
const DESCRIPTION_OCTETS_MAX: usize = 16 * 1024;
/// Names of aliases that are offered.
const ALIASES_OFFERED: usize = 8;
/// Empty lines for more grants.
const GRANT_LINES: usize = 3;
/// Most octets of all tags in a line.
const TAGS_OCTETS_MAX: usize = 24 * 1024;

fn field(label: &'static str, line: Line) -> Field {
    Field { label, line, choices: Vec::new(), is_closed: false, is_proposed: false }
}

/// A field with a proposal in it.
fn proposal(label: &'static str, text: &str) -> Field {
    Field { is_proposed: !text.is_empty(), ..field(label, Line::new(text)) }
}

/// A field for a role.
fn role_field(now: &str) -> Field {
    let choices = Role::ALL.iter().map(|role| role.as_str().to_owned()).collect();
    Field { choices, is_closed: true, ..proposal("Role", now) }
}

fn show(state: &mut State, purpose: Purpose, fields: Vec<Field>) {
    let form = Form {
        purpose,
        fields,
        at: 0,
        waits: None,
        asked_for: String::new(),
        then: None,
        notes: Vec::new(),
        error: None,
        dirty: false,
        leaving: false,
        sent: None,
    };
    state.dialog = Some(Dialog::Form(Box::new(form)));
}

fn form(state: &mut State) -> Option<&mut Form> {
    match &mut state.dialog {
        Some(Dialog::Form(form)) => Some(form),
        _ => None,
    }
}

/// Description and tags of a model. They are read first: what is edited is what it is now.
pub(super) fn edit(state: &mut State, id: String, name: String, out: &mut Vec<Action>) {
    let object = Object::Model { id: id.clone(), name: name.clone() };
    let fields = vec![
        field("Description", Line::long("", DESCRIPTION_OCTETS_MAX)),
        field("Tags", Line::long("", TAGS_OCTETS_MAX)),
    ];
    show(state, Purpose::Edit { id, name, base: None }, fields);
    let request = ask(state, Call::Look(object), out);
    if let Some(form) = form(state) {
        form.waits = Some(request);
        form.notes = vec!["loading".to_owned()];
    }
}

/// Tags of the marked models: which are put on all of them, and which are taken away.
pub(super) fn tag_all(state: &mut State, models: Vec<(String, String)>) {
    let long = || Line::long("", TAGS_OCTETS_MAX);
    show(state, Purpose::Tags { models }, vec![field("Put", long()), field("Take away", long())]);
    if let Some(form) = form(state) {
        form.notes = vec![
            "Put: key=value, key=value. Take away: key, key.".to_owned(),
            "Other tags stay as they are, and so do descriptions.".to_owned(),
        ];
    }
}

/// An alias of a model; the version is filled in.
pub(super) fn alias(state: &mut State, id: String, name: String, version: Option<Version>) {
    let version = version.map(|version| format!("v{version}")).unwrap_or_default();
    let choices = alias_names(state, &id);
    let first = choices.first().cloned().unwrap_or_default();
    let fields = vec![Field { choices, ..proposal("Alias", &first) }, proposal("Version", &version)];
    show(state, Purpose::Alias { id, name }, fields);
    tell_alias(state);
}

/// Names that an alias of a model may well have: those it has, those that most have, and those of other models in the list.
pub(super) fn alias_names(state: &State, id: &str) -> Vec<String> {
    let of = |row: &ModelRow| row.aliases.iter().map(|held| held.alias.to_string()).collect::<Vec<_>>();
    let own = row_of(state, id).map(of).unwrap_or_default();
    let others = state.models.list.rows().flat_map(of);
    let mut names = vec!["prod".to_owned()];
    for name in own.into_iter().chain(["stage".to_owned()]).chain(others) {
        if names.len() < ALIASES_OFFERED && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What is known of a model by its id.
fn row_of<'a>(state: &'a State, id: &str) -> Option<&'a ModelRow> {
    let of_open = state.models.open.as_ref().and_then(|open| open.info.as_ref()).map(|info| &info.model);
    let row = of_open.filter(|row| row.id.to_string() == *id);
    row.or_else(|| state.models.list.rows().find(|row| row.id.to_string() == *id))
}

/// Where the alias points, as far as that is known: asking would be an entry of the log, so it is asked for by a key only.
fn tell_alias(state: &mut State) {
    let Some(Dialog::Form(form)) = &state.dialog else { return };
    let Purpose::Alias { id, .. } = &form.purpose else { return };
    let alias = form.fields[0].line.text().trim().to_owned();
    let now = row_of(state, id).map(|row| match row.aliases.iter().find(|held| held.alias.as_str() == alias) {
        Some(held) => format!("{alias} points at v{} now.", held.version),
        None if alias.is_empty() => "Which alias?".to_owned(),
        None => format!("There is no alias {alias} yet."),
    });
    let is_protected = state.who.as_ref().is_some_and(|who| {
        let is_it = who.protected_aliases.iter().any(|protected| protected.as_str() == alias);
        is_it && refusal(Some(who), Some(Permission::ProtectedAlias)).is_some()
    });
    let barred = is_protected.then(|| format!("{alias} is protected: only admins may set and move it."));
    let how = "Up and Down at the version: where it pointed before (an entry of the log).".to_owned();
    let empty = "Without a version it is cleared.".to_owned();
    if let Some(Dialog::Form(form)) = &mut state.dialog {
        form.fields[1].choices.clear();
        form.notes = now.into_iter().chain(barred).chain([how, empty]).collect();
    }
}

/// The role of a user.
pub(super) fn role(state: &mut State, name: String, now: &str) {
    show(state, Purpose::Role { name }, vec![role_field(now)]);
}

/// A new API token of a user.
pub(super) fn add_token(state: &mut State, user: String) {
    let fields = vec![
        field("Label", Line::new("")),
        field("Permissions", Line::new("")),
        field("Models", Line::new("")),
        proposal("Lives for", "90d"),
    ];
    show(state, Purpose::AddToken { user }, fields);
    if let Some(form) = form(state) {
        form.notes = vec![
            "Permissions such as model.read, model.write: empty for all its user may but user.manage. Models such as \
             team/*: empty for all."
                .to_owned(),
            "It is shown here once.".to_owned(),
        ];
    }
}

/// The grants of a user: those there are, and lines for more.
pub(super) fn grants(state: &mut State, name: String, now: &[GrantTold]) {
    let texts = now.iter().map(GrantTold::to_string).chain(std::iter::repeat_n(String::new(), GRANT_LINES));
    let fields = texts.take(GRANTS_MAX).map(|text| field("Grant", Line::new(&text))).collect();
    show(state, Purpose::Grants { name }, fields);
    if let Some(form) = form(state) {
        form.notes = vec![
            "PATTERN:ROLE, such as team-nlp/*:contributor; * stands for any characters.".to_owned(),
            "A role adds to their own; none leaves their own out; deny hides the models.".to_owned(),
            "An empty line is no grant.".to_owned(),
        ];
    }
}

/// A new user.
pub(super) fn add_user(state: &mut State) {
    show(state, Purpose::AddUser, vec![field("Name", Line::new("")), role_field(Role::Viewer.as_str())]);
    if let Some(form) = form(state) {
        form.notes = vec!["They get a one-time password, shown here once.".to_owned()];
    }
}

fn ask_history(state: &mut State, out: &mut Vec<Action>) {
    let Some(form) = form(state) else { return };
    let Purpose::Alias { id, .. } = &form.purpose else { return };
    form.asked_for = form.fields[0].line.text().to_owned();
    let alias = form.fields[0].line.text().trim();
    if alias.parse::<Alias>().is_err() {
        return;
    }
    form.notes = vec!["loading".to_owned()];
    let call = Call::History { reference: id.clone(), alias: alias.to_owned() };
    let before = form.waits.take();
    cancel(state, before, out);
    let request = ask(state, call, out);
    if let Some(Dialog::Form(form)) = &mut state.dialog {
        form.waits = Some(request);
    }
}

/// Typing has rested.
pub(super) fn rested(state: &mut State, out: &mut Vec<Action>) {
    // Another alias has another history.
    let Some(form) = form(state).filter(|form| matches!(form.purpose, Purpose::Alias { .. })) else { return };
    let is_asked_for = form.asked_for == form.fields[0].line.text();
    if is_asked_for && (form.waits.is_some() || !form.fields[1].choices.is_empty()) {
        return;
    }
    form.asked_for.clear();
    let waits = form.waits.take();
    cancel(state, waits, out);
    tell_alias(state);
}

/// Takes what the form waits for; false if it doesn't.
pub(super) fn reply(
    state: &mut State,
    id: RequestId,
    result: &Result<Answer, common::client::ClientError>,
    out: &mut Vec<Action>,
) -> bool {
    let now = state.times();
    let Some(form) = form(state) else { return false };
    if form.waits != Some(id) {
        return false;
    }
    form.waits = None;
    match (result, &mut form.purpose) {
        (Ok(Answer::Look(reply)), Purpose::Edit { base, .. }) => {
            form.notes = vec!["Tags: key=value, key=value. C-j in the description is a new line.".to_owned()];
            match (&reply.body, &base) {
                (Base::Model(info), None) => {
                    form.fields[0].line.set(&info.model.description);
                    form.fields[1].line.set(&tags_line(&info.model.tags));
                }
                // Read again: what was typed counts, and what wasn't touched is as it is now, or somebody else's change would be
                // taken back by whoever never saw it.
                (Base::Model(now), Some((Base::Model(before), _))) => {
                    if form.fields[0].line.text() == before.model.description {
                        form.fields[0].line.set(&now.model.description);
                    }
                    if let Ok(typed) = tags(form.fields[1].line.text()) {
                        let merged = merged(&typed, &before.model.tags, &now.model.tags);
                        if merged != typed {
                            form.fields[1].line.set(&tags_line(&merged));
                        }
                    }
                }
                _ => {}
            }
            *base = Some((reply.body.clone(), reply.etag.clone()));
        }
        (Ok(Answer::History(reply)), Purpose::Alias { .. }) => {
            form.notes = reply
                .body
                .items
                .iter()
                .map(|event| {
                    let version = event.version.map_or("cleared".to_owned(), |version| format!("v{version}"));
                    format!("{version}  {}  by {}", age(&event.at, now), event.by)
                })
                .collect();
            // Up and Down in the version go through where it pointed before.
            form.fields[1].choices =
                reply.body.items.iter().filter_map(|event| event.version).map(|version| format!("v{version}")).fold(
                    Vec::new(),
                    |mut known, version| {
                        if !known.contains(&version) {
                            known.push(version);
                        }
                        known
                    },
                );
            if form.notes.is_empty() {
                form.notes = vec!["It was never set.".to_owned()];
            }
        }
        (Err(error), Purpose::Alias { .. }) if error.status() == Some(404) => {
            form.notes = vec!["It was never set.".to_owned()];
        }
        (Err(error), _) => {
            form.notes.clear();
            // It may be asked for again.
            form.asked_for.clear();
            form.error = Some(sentence(error));
        }
        (Ok(_), _) => {}
    }
    if let Some(then) = form.then.take().filter(|_| form.at == 1 && !form.fields[1].choices.is_empty()) {
        key(state, then, out);
    }
    true
}

pub(super) fn key(state: &mut State, key: Key, out: &mut Vec<Action>) {
    let Some(form) = form(state) else { return };
    if form.sent.is_some() {
        // It is told when it is over, whether the form is still there or not.
        if matches!((key.code, key.ctrl), (Code::Esc, _) | (Code::Char('c'), true)) {
            state.dialog = None;
            let told = format!("it is under way; {} shows it", state.key_or("J", "jobs"));
            say(state, Level::Info, told, out);
        }
        return;
    }
    let count = form.fields.len();
    let was_leaving = std::mem::take(&mut form.leaving);
    form.error = None;
    match (key.code, key.ctrl) {
        (Code::Esc, _) | (Code::Char('c'), true) => {
            if form.dirty && !was_leaving {
                form.leaving = true;
                form.error = Some("what was typed would be lost: Esc again leaves".to_owned());
                return;
            }
            let waits = form.waits;
            state.dialog = None;
            cancel(state, waits, out);
        }
        (Code::Tab, _) => form.at = (form.at + 1) % count,
        (Code::BackTab, _) => form.at = (form.at + count - 1) % count,
        (Code::Down | Code::Up, _) => {
            let at = form.at;
            let wants_history =
                at == 1 && matches!(form.purpose, Purpose::Alias { .. }) && form.fields[at].choices.is_empty();
            if wants_history && form.waits.is_none() && form.asked_for != form.fields[0].line.text() {
                form.then = Some(key);
                return ask_history(state, out);
            }
            let field = &mut form.fields[at];
            if field.choices.is_empty() {
                form.at = if key.code == Code::Down { (at + 1) % count } else { (at + count - 1) % count };
                return;
            }
            field.is_proposed = false;
            let typed = field.line.text().trim().to_owned();
            // Of few that may be, the first that begins so.
            let begun = field.choices.iter().find(|choice| choice.starts_with(&typed) && **choice != typed).cloned();
            if let Some(begun) = begun.filter(|_| field.is_closed && !typed.is_empty()) {
                field.line.set(&begun);
                form.dirty = true;
                return;
            }
            let place = field.choices.iter().position(|choice| *choice == typed).unwrap_or_else(|| {
                // What was typed is one of them from now on: nothing is lost by looking at the others.
                if typed.is_empty() || field.is_closed {
                    return usize::MAX;
                }
                field.choices.insert(0, typed);
                0
            });
            let last = field.choices.len() - 1;
            let next = match key.code {
                Code::Down => place.wrapping_add(1).min(last),
                _ if place > last => last,
                _ => place.saturating_sub(1),
            };
            let text = field.choices[next].clone();
            field.line.set(&text);
            form.dirty = true;
            if at == 0 {
                out.push(Action::TimerSet { id: TimerId::Typing, after_ms: REST_MS });
            }
        }
        (Code::Enter, _) => {
            complete(&mut form.fields[form.at]);
            if form.at + 1 < count {
                form.at += 1;
            } else {
                submit(state, out);
            }
        }
        _ => {
            let at = form.at;
            let is_letter = matches!(key.code, Code::Char(_)) && !key.ctrl;
            if std::mem::take(&mut form.fields[at].is_proposed) && is_letter {
                form.fields[at].line.clear();
            }
            if form.fields[at].line.key(key) {
                form.dirty = true;
                if at == 0 {
                    out.push(Action::TimerSet { id: TimerId::Typing, after_ms: REST_MS });
                }
            }
        }
    }
}

/// The beginning of one choice alone is that choice, where nothing else may be.
fn complete(field: &mut Field) {
    let typed = field.line.text().trim().to_owned();
    let mut begun = field.choices.iter().filter(|choice| choice.starts_with(&typed));
    if let (true, Some(only), None) = (field.is_closed && !typed.is_empty(), begun.next(), begun.next()) {
        let only = only.clone();
        field.line.set(&only);
    }
}

pub(super) fn paste(state: &mut State, text: &str) {
    if let Some(form) = form(state) {
        let at = form.at;
        if std::mem::take(&mut form.fields[at].is_proposed) {
            form.fields[at].line.clear();
        }
        form.fields[at].line.insert(text);
        form.error = None;
        form.dirty = true;
    }
}

fn submit(state: &mut State, out: &mut Vec<Action>) {
    let who = state.who.clone();
    let Some(form) = form(state) else { return };
    let texts: Vec<String> = form.fields.iter().map(|field| field.line.text().to_owned()).collect();
    let wrong = |form: &mut Form, at: usize, why: String| {
        form.at = at;
        form.error = Some(why);
    };
    match form.purpose.clone() {
        Purpose::Edit { base: None, .. } => form.error = Some("it is still being read".to_owned()),
        Purpose::Edit { id, name, base: Some((base, etag)) } => {
            let tags = match tags(&texts[1]) {
                Ok(tags) => tags,
                Err(why) => return wrong(form, 1, why),
            };
            let Base::Model(info) = &base else { return };
            let description = (texts[0] != info.model.description).then(|| texts[0].clone());
            let tags = (tags != info.model.tags).then_some(tags);
            if description.is_none() && tags.is_none() {
                state.dialog = None;
                return say(state, Level::Info, "nothing was changed", out);
            }
            let change = Change::new(Object::Model { id, name }, Deed::Edit { description, tags });
            send(state, change, Some((base, etag)), out);
        }
        Purpose::Tags { models } => {
            let put = match tags(&texts[0]) {
                Ok(put) => put,
                Err(why) => return wrong(form, 0, why),
            };
            let take: Vec<String> =
                texts[1].split([',', ' ']).filter(|key| !key.is_empty()).map(str::to_owned).collect();
            if put.is_empty() && take.is_empty() {
                return wrong(form, 0, "there is nothing to put on them or to take away".to_owned());
            }
            if let Some(both) = take.iter().find(|key| put.contains_key(*key)) {
                return wrong(form, 1, format!("{both} can't be put and taken away"));
            }
            let typed = Box::new(form.clone());
            confirm::open_tagging(state, models, Tagging { put, take }, out);
            confirm::of_form(state, typed);
        }
        Purpose::Alias { id, name } => {
            let alias: Alias = match texts[0].trim().parse() {
                Ok(alias) => alias,
                Err(why) => return wrong(form, 0, format!("{why}")),
            };
            let version = texts[1].trim();
            let to = if version.is_empty() {
                None
            } else {
                match version.strip_prefix('v').unwrap_or(version).parse() {
                    Ok(version) => Some(version),
                    Err(_wrong) => {
                        return wrong(form, 1, format!("{version} is no version, such as v3; empty clears it"));
                    }
                }
            };
            let change = Change::new(Object::Model { id, name }, Deed::Alias { alias, to });
            if let Some(why) = refusal_of(who.as_ref(), &change) {
                return wrong(form, 0, why);
            }
            let waits = form.waits;
            cancel(state, waits, out);
            ask_before(state, change, out);
        }
        Purpose::Role { name } => match texts[0].trim().parse::<Role>() {
            Ok(role) => ask_before(state, Change::new(Object::User(name), Deed::Role(role)), out),
            Err(why) => wrong(form, 0, why),
        },
        Purpose::AddToken { user } => match wanted(&user, &texts[0], &texts[1], &texts[2], &texts[3]) {
            Ok(new) => {
                send(state, Change::new(Object::User(user), Deed::NewToken(Box::new(new))), None, out);
            }
            Err((at, why)) => wrong(form, at, why),
        },
        Purpose::Grants { name } => {
            let filled: Vec<(usize, &str)> =
                texts.iter().map(|text| text.trim()).enumerate().filter(|(_, text)| !text.is_empty()).collect();
            match grants_of(filled.iter().map(|(_, text)| *text)) {
                Ok(grants) => ask_before(state, Change::new(Object::User(name), Deed::Grants(grants)), out),
                Err((place, why)) => wrong(form, filled.get(place).map_or(0, |(line, _)| *line), why),
            }
        }
        Purpose::AddUser => {
            let name: UserName = match texts[0].trim().parse() {
                Ok(name) => name,
                Err(why) => return wrong(form, 0, format!("{why}")),
            };
            match texts[1].trim().parse::<Role>() {
                Ok(role) => {
                    send(state, Change::new(Object::User(name.to_string()), Deed::Register(role)), None, out);
                }
                Err(why) => wrong(form, 1, why),
            }
        }
    }
}

/// Asks before what was typed is done; should it be refused, the form comes back.
fn ask_before(state: &mut State, change: Change, out: &mut Vec<Action>) {
    let typed = form(state).cloned().map(Box::new);
    confirm::open(state, vec![change], out);
    if let Some(typed) = typed {
        confirm::of_form(state, typed);
    }
}

/// Sends what was typed. The form stays until it is known what came of it.
fn send(state: &mut State, change: Change, base: Option<Seen>, out: &mut Vec<Action>) {
    let number = course::begin(state, vec![(change, base, None)], false, out);
    if let Some(form) = form(state) {
        form.sent = Some(number);
    }
}

/// What was typed in a form is done, or was refused: then the form is there with what was typed and the reason, unless something
/// else was opened meanwhile. True if it says the reason.
pub(super) fn over(state: &mut State, number: u64, run: &Run, out: &mut Vec<Action>) -> bool {
    let why = run.items.iter().find_map(|item| match &item.status {
        Status::Failed(why) if run.done() == 0 => Some(why.clone()),
        _ => None,
    });
    let is_here = form(state).is_some_and(|form| form.sent == Some(number));
    let Some(why) = why else {
        if is_here {
            state.dialog = None;
        }
        return false;
    };
    let is_busy = state.overlay.is_some() || state.filter.is_some() || state.prompt.is_some() || state.login.is_some();
    if let (Some(typed), None, false) = (&run.form, &state.dialog, is_busy) {
        state.dialog = Some(Dialog::Form(typed.clone()));
    } else if !is_here {
        return false;
    }
    let mut again = None;
    if let Some(form) = form(state) {
        // What it waited for when it was sent was given up.
        (form.sent, form.waits, form.then) = (None, None, None);
        form.asked_for.clear();
        form.at = named(form, &why).unwrap_or(form.at);
        if let Purpose::Edit { id, name, base: Some(_) } = &form.purpose
            && why.starts_with(CHANGED)
        {
            again = Some(Object::Model { id: id.clone(), name: name.clone() });
        }
        form.error = Some(why);
        form.dirty = true;
    }
    // What is sent next is made for what it is now, which the reason told.
    if let Some(object) = again {
        let request = ask(state, Call::Look(object), out);
        if let Some(form) = form(state) {
            form.waits = Some(request);
        }
    }
    true
}

/// The field that a refusal names, as the daemon calls it: `body.tags`, `path.alias`, `body.grants[1]`.
fn named(form: &Form, why: &str) -> Option<usize> {
    let names = |label: &str| -> &[&str] {
        match label {
            "Description" => &["description"],
            "Tags" | "Put" => &["tags"],
            "Alias" => &["alias"],
            "Version" => &["version"],
            "Role" => &["role"],
            "Grant" => &["grants"],
            "Name" => &["username"],
            "Label" => &["label"],
            "Permissions" => &["permissions"],
            "Models" => &["names"],
            "Lives for" => &["expires"],
            _ => &[],
        }
    };
    let at = |name: &str| why.find(&format!(".{name}")).map(|at| at + 1 + name.len());
    let found = form.fields.iter().enumerate().find_map(|(place, field)| {
        let end = names(field.label).iter().find_map(|name| at(name))?;
        Some((place, end))
    });
    if let Some((place, end)) = found {
        let number: String =
            why[end..].trim_start_matches(['[', '.']).chars().take_while(char::is_ascii_digit).collect();
        let number: usize = number.parse().unwrap_or(0);
        // Of grants, the one of that number; empty lines are none.
        let filled = form.fields.iter().enumerate().skip(place);
        let mut filled = filled.filter(|(_, field)| !field.line.text().trim().is_empty()).map(|(place, _)| place);
        let is_list = form.fields[place].label == "Grant";
        return if is_list { filled.nth(number).or(Some(place)) } else { Some(place) };
    }
    // An alias that points nowhere is refused because of its version.
    let is_of_version = matches!(form.purpose, Purpose::Alias { .. }) && why.contains("version");
    is_of_version.then_some(1)
}

/// A key or value of a tag; quoted where it has something that parts tags.
fn tags_line(tags: &BTreeMap<String, String>) -> String {
    let tags = tags.iter().map(|(key, value)| format!("{}={}", quote(key), quote(value)));
    tags.collect::<Vec<_>>().join(", ")
}

/// Tags as somebody typed them who began with others than there are now: what they changed, over what is there.
fn merged(
    typed: &BTreeMap<String, String>,
    before: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut merged = now.clone();
    for key in typed.keys().chain(before.keys()) {
        match typed.get(key) {
            value if value == before.get(key) => {}
            Some(value) => drop(merged.insert(key.clone(), value.clone())),
            None => drop(merged.remove(key)),
        }
    }
    merged
}

fn quote(text: &str) -> String {
    let is_plain = !text.is_empty() && text.trim() == text && !text.contains(['"', ',', '=', '\\']);
    if is_plain { text.to_owned() } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// Tags from `key=value, "a key"="a, value"`.
pub(super) fn tags(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut tags = BTreeMap::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = part(rest)?;
        let after = after.trim_start();
        let Some(after) = after.strip_prefix('=') else { return Err(format!("{key}: is written {key}=value")) };
        let (value, after) = part(after.trim_start())?;
        if key.is_empty() {
            return Err("a tag has no key".to_owned());
        }
        if tags.insert(key.clone(), value).is_some() {
            return Err(format!("{key} is there twice"));
        }
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if after.is_empty() => after,
            None => return Err("a comma parts one tag from the next".to_owned()),
        };
    }
    Ok(tags)
}

/// A quoted or plain piece and what follows.
fn part(text: &str) -> Result<(String, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(['=', ',']).unwrap_or(text.len());
        return Ok((text[..end].trim().to_owned(), &text[end..]));
    };
    let mut piece = String::new();
    let mut characters = quoted.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Ok((piece, &quoted[place + 1..])),
            '\\' => piece.extend(characters.next().map(|(_, next)| next)),
            other => piece.push(other),
        }
    }
    Err("a quotation mark is not closed".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::{any, proptest};
    use proptest::{prop_assert_eq, prop_assume};

    use super::{merged, quote, tags};

    #[test]
    fn written_tags() {
        let found = tags("stage=prod, lang = de,\"a, b\"=\"c \\\"d\\\"\"").unwrap();
        let pairs: Vec<(&str, &str)> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a, b", "c \"d\""), ("lang", "de"), ("stage", "prod")]);
        assert_eq!(tags("").unwrap().len(), 0);
        assert_eq!(tags("a=").unwrap()["a"], "");
        for (text, why) in
            [("a", "a=value"), ("a=b a=c=", "comma"), ("a=1,a=2", "twice"), ("\"a", "closed"), ("=x", "no key")]
        {
            assert!(tags(text).unwrap_err().contains(why), "{text}: {:?}", tags(text));
        }
    }

    /// What somebody else changed meanwhile stays, but where the same key was typed.
    #[test]
    fn typed_over_what_is_there() {
        let of = |text| tags(text).unwrap();
        let before = of("stage=dev, lang=de, team=nlp, old=1");
        let typed = of("stage=prod, lang=de, team=nlp, mine=1");
        let now = of("stage=dev, lang=en, old=1, theirs=1");
        assert_eq!(merged(&typed, &before, &now), of("stage=prod, lang=en, mine=1, theirs=1"));
        assert_eq!(merged(&before, &before, &now), now);
        assert_eq!(merged(&typed, &before, &before), typed);
        assert_eq!(merged(&of("stage=prod"), &of("stage=dev"), &of("stage=test")), of("stage=prod"));
    }

    proptest! {
        /// What is shown of any tags is read back as the same.
        #[test]
        fn there_and_back(key in any::<String>(), value in any::<String>()) {
            prop_assume!(!key.is_empty());
            let found = tags(&format!("{}={}", quote(&key), quote(&value))).unwrap();
            prop_assert_eq!(found.get(&key), Some(&value));
        }
    }
}
