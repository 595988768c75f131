//! Screen 1: the list of models, a model, a version.

use common::client::{ClientError, Sweep};
use common::name::{ArtifactPath, Version};

use super::{ask, cancel, confirm, form, go, jump, marks, rows_height, say, scroll, travel, wanted};
use crate::action::{Action, Answer, Call, FilePurpose, RequestId, TimerId};
use crate::keymap::Command;
use crate::layout::layout;
use crate::state::deeds::{Base, Change, Deed, Object};
use crate::state::diff::{Compared, DiffRow, Standing, TEXT_OCTETS_MAX, Texts, unified};
use crate::state::models::{OpenModel, Peek, SORTS, VERSION_PAGE_ROWS};
use crate::state::{Level, REST_MS, Screen, State};
use crate::time::counted;
use crate::window::{Cursor, Fetch, Row, Window};

pub(super) fn command(state: &mut State, command: Command, count: Option<u64>, out: &mut Vec<Action>) {
    let height = rows_height(state);
    match command {
        Command::EntriesOf => return entries_of(state, out),
        Command::Delete => return ask_before(state, &Deed::Delete, out),
        Command::Restore => return ask_before(state, &Deed::Restore, out),
        Command::Deprecate => return ask_before(state, &Deed::Deprecate { reason: String::new() }, out),
        Command::Edit if state.models.open.is_none() && state.models.all.is_some() => {
            return marks::one_by_one(state, out);
        }
        Command::Edit if state.models.open.is_none() && !state.models.marks.is_empty() => {
            let models = state.models.marks.iter().map(|(id, name)| (id.clone(), name.clone())).collect();
            return form::tag_all(state, models);
        }
        Command::Edit => {
            if let Some((id, name)) = model_here(state) {
                form::edit(state, id, name, out);
            }
            return;
        }
        Command::PointAlias => {
            let version = match &state.models.open {
                Some(open) => match &open.compared {
                    Some(compared) => Some(compared.right.version),
                    None => open.versions.selected().map(|version| version.version),
                },
                None => state.models.list.selected().and_then(|row| row.latest_version),
            };
            if let Some((id, name)) = model_here(state) {
                if state.models.open.is_none() && state.models.has_marks() {
                    say(
                        state,
                        Level::Warning,
                        format!("an alias is of one model: this is {name}, not those marked"),
                        out,
                    );
                }
                form::alias(state, id, name, version);
            }
            return;
        }
        _ => {}
    }
    if state.models.open.is_some() {
        return open_command(state, command, count, out);
    }
    if travel(&mut state.models.list, command, count, height) {
        return;
    }
    match command {
        Command::First => restart(state, false, out),
        Command::Last if count.is_none() => restart(state, true, out),
        Command::Last => {
            say(
                state,
                Level::Warning,
                "that number is not near: the daemon serves models one page after the other",
                out,
            );
        }
        Command::Mark => marks::one(state, out),
        Command::MarkRange => marks::range(state, out),
        Command::MarkAll => marks::all(state, out),
        Command::In => {
            if let Some(row) = state.models.list.selected() {
                state.models.open = Some(OpenModel::new(row.id.to_string(), Some(row.name.to_string())));
            }
        }
        // The two latest, once they are read.
        Command::Compare => {
            if let Some(row) = state.models.list.selected() {
                let open = OpenModel::new(row.id.to_string(), Some(row.name.to_string()));
                state.models.open = Some(OpenModel { compares: true, ..open });
            }
        }
        Command::Sort => {
            state.models.sort = (state.models.sort + 1) % SORTS.len();
            state.models.descending = SORTS[state.models.sort].0 != "name";
            restart(state, false, out);
        }
        Command::Reverse => {
            state.models.descending = !state.models.descending;
            restart(state, false, out);
        }
        _ => {}
    }
}

fn open_command(state: &mut State, command: Command, count: Option<u64>, out: &mut Vec<Action>) {
    let areas = layout(state.size, state);
    if state.models.open.as_ref().is_some_and(|open| open.compared.is_some()) {
        return compared_command(state, command, count, areas.pane.height.into(), out);
    }
    let text = crate::view::pane_lines(state, &areas).len();
    let Some(open) = &mut state.models.open else { return };
    match command {
        Command::Compare => return compare(state, out),
        Command::Download => {
            let line = match open.versions.selected().map(|version| version.artifacts.as_slice()) {
                Some([only]) => format!("download {}", only.path),
                _ => "download ".to_owned(),
            };
            return super::palette::open(state, &line);
        }
        _ => {}
    }
    if let Some(at) = &mut open.reading {
        scroll(at, command, count, text, areas.pane.height.into());
        return;
    }
    if travel(&mut open.versions, command, count, areas.rows.height.into()) {
        return;
    }
    match command {
        Command::Mark => {
            let version = open.versions.selected().map(|version| version.version);
            open.marked = if open.marked == version { None } else { version };
        }
        Command::In if open.versions.selected().is_some() => open.reading = Some(0),
        Command::First | Command::Last if count.is_none() => {
            let waiting = jump(&mut open.versions, command == Command::Last);
            cancel(state, waiting, out);
        }
        Command::First | Command::Last => {
            let why = no_row(open, count.unwrap_or(0));
            say(state, Level::Warning, why, out);
        }
        _ => {}
    }
}

/// Why the list of versions has no row of this number, and what a version is found by.
fn no_row(open: &OpenModel, row: u64) -> String {
    if open.versions.is_whole() {
        let all = counted(open.versions.len() as u64, "version");
        return format!("there is no row {row}: the model has {all}; / goes to one by its number");
    }
    format!("row {row} is not among those that were read; PgDn reads on, / goes to a version by its number")
}

/// Why a version is not to be found, what is shown in its place, and how to get back to that.
fn no_version(open: &OpenModel, version: Version) -> String {
    let versions = || open.versions.rows().map(|row| row.version);
    let (Some(newest), Some(oldest)) = (versions().max(), versions().min()) else {
        return match open.versions.stale() {
            Some(why) => format!("v{version} can't be found, the versions were not read: {why}; Esc goes back"),
            None if open.versions.is_whole() => {
                format!("there is no v{version}: the model has no versions; Esc goes back")
            }
            None => {
                format!("v{version} can't be found yet: the versions are being read; Enter looks again, Esc goes back")
            }
        };
    };
    let shown = if newest == oldest { format!("v{newest}") } else { format!("v{newest} to v{oldest}") };
    match open.versions.is_whole() {
        true => {
            let all = counted(open.versions.len() as u64, "version");
            format!("there is no v{version}: the list has all there is, {all} ({shown}); Esc goes back to it")
        }
        false if open.versions.begins_at_start() && version > newest => {
            format!("there is no v{version}: the newest is v{newest}; Esc goes back to the list")
        }
        false => {
            format!("v{version} is not among those read so far ({shown}); Esc goes back, PgDn and G there read on")
        }
    }
}

/// Compares the selected version with the marked one, or with the one before it.
fn compare(state: &mut State, out: &mut Vec<Action>) {
    let Some(open) = &mut state.models.open else { return };
    let Some(here) = open.versions.selected().cloned() else { return };
    let other = match open.marked.filter(|marked| *marked != here.version) {
        Some(marked) => open.versions.rows().find(|version| version.version == marked),
        None => open.versions.rows().find(|version| version.version < here.version),
    };
    match other.cloned() {
        Some(other) => open.compared = Some(Box::new(Compared::new(here, other))),
        None => say(state, Level::Info, "there is no other version to compare it with", out),
    }
}

/// Keys while two versions are compared.
fn compared_command(state: &mut State, command: Command, count: Option<u64>, height: usize, out: &mut Vec<Action>) {
    let Some(compared) = state.models.open.as_mut().and_then(|open| open.compared.as_mut()) else { return };
    let rows = compared.rows();
    let here = compared.selected;
    match command {
        Command::AllFields => {
            compared.all = !compared.all;
            compared.selected = 0;
        }
        Command::NextHit => {
            let next = rows.iter().enumerate().skip(here + 1).find(|(_, row)| row.is_hit()).map(|(place, _)| place);
            match next {
                Some(place) => compared.selected = place,
                None => say(state, Level::Info, "that was the last difference", out),
            }
        }
        Command::LastHit => {
            let before = rows.iter().enumerate().take(here).rev().find(|(_, row)| row.is_hit()).map(|(place, _)| place);
            match before {
                Some(place) => compared.selected = place,
                None => say(state, Level::Info, "that was the first difference", out),
            }
        }
        Command::In => {
            if let Some(DiffRow::File { path, standing, .. }) = rows.get(here) {
                let (path, standing) = (path.clone(), *standing);
                ask_texts(state, path, standing, out);
            }
        }
        // A text of lines with a cursor: as in lists.
        Command::Up => compared.selected = here.saturating_sub(usize::try_from(count.unwrap_or(1)).unwrap_or(1)),
        _ => {
            let last = rows.len().saturating_sub(1);
            let mut at = here;
            if scroll(&mut at, command, count, rows.len() + height, height) {
                compared.selected = at.min(last);
            }
        }
    }
}

/// Writes the comparison as it is shown to a new file.
pub(super) fn export_compared(state: &State, out: &mut Vec<Action>) {
    let compared = state.models.open.as_ref().and_then(|open| open.compared.as_ref());
    let Some(compared) = compared else { return };
    let (left, right) = (compared.left.version, compared.right.version);
    let time = crate::time::time_of_day(state.now.wall_seconds).replace(':', "");
    let name = format!("compared-v{left}-v{right}-{time}.txt");
    let text = crate::view::compared_text(compared);
    out.push(Action::WriteFile { purpose: FilePurpose::Export, name, text });
}

/// Asks for the text of a file on both sides. Each is a download and is logged: only where it is asked for.
fn ask_texts(state: &mut State, path: ArtifactPath, standing: Standing, out: &mut Vec<Action>) {
    let Some(compared) = state.models.open.as_mut().and_then(|open| open.compared.as_mut()) else { return };
    if compared.texts.remove(&path).is_some() {
        // A second time closes it.
        return;
    }
    let sides = compared.sides(&path);
    let is_large = sides.iter().flatten().any(|artifact| artifact.size > TEXT_OCTETS_MAX);
    let why = match standing {
        Standing::Equal => Some("it is the same on both sides".to_owned()),
        _ if is_large => Some(format!("only files of at most {} KiB are compared here", TEXT_OCTETS_MAX / 1024)),
        _ => None,
    };
    if let Some(why) = why {
        return say(state, Level::Info, why, out);
    }
    let wanted = [&compared.left, &compared.right].map(|version| (version.id.to_string(), version.version));
    let there = sides.map(|side| side.map(|artifact| artifact.size));
    let mut asked = [None, None];
    let mut came = [None, None];
    for side in 0..2 {
        match there[side] {
            Some(octets_max) => {
                let (reference, version) = wanted[side].clone();
                let call = Call::Text { reference, version, path: path.clone(), octets_max };
                asked[side] = Some(ask(state, call, out));
            }
            None => came[side] = Some(Vec::new()),
        }
    }
    if let Some(compared) = state.models.open.as_mut().and_then(|open| open.compared.as_mut()) {
        compared.texts.insert(path, Texts::Coming { asked, came });
    }
}

/// Takes a text of a comparison; false if none waits for it.
pub(super) fn text(state: &mut State, id: RequestId, result: &Result<Answer, ClientError>) -> bool {
    let Some(compared) = state.models.open.as_mut().and_then(|open| open.compared.as_mut()) else { return false };
    let waits = |texts: &Texts| matches!(texts, Texts::Coming { asked, .. } if asked.contains(&Some(id)));
    let Some(texts) = compared.texts.values_mut().find(|texts| waits(texts)) else { return false };
    let Texts::Coming { asked, came } = texts else { return false };
    match result {
        Ok(Answer::Text(octets)) => {
            for (asked, came) in asked.iter_mut().zip(came.iter_mut()) {
                if *asked == Some(id) {
                    *asked = None;
                    *came = Some(octets.clone());
                }
            }
            if let [Some(left), Some(right)] = came {
                *texts = unified(left, right);
            }
        }
        Ok(_) => *texts = Texts::Failed("the answer is not one to this".to_owned()),
        Err(error) => *texts = Texts::Failed(super::sentence(error)),
    }
    true
}

/// Id and name of the model that is open or selected.
fn model_here(state: &State) -> Option<(String, String)> {
    match &state.models.open {
        Some(open) => match (&open.info, open.versions.selected()) {
            (Some(info), _) => Some((info.model.id.to_string(), info.model.name.to_string())),
            (None, Some(version)) => Some((version.id.to_string(), version.name.to_string())),
            (None, None) => None,
        },
        None => state.models.list.selected().map(|row| (row.id.to_string(), row.name.to_string())),
    }
}

/// Id and name of a model that is loaded, by its name.
pub(super) fn id_of(state: &State, name: &str) -> Option<(String, String)> {
    let here = model_here(state).filter(|(_, known)| known == name);
    here.or_else(|| {
        let row = state.models.list.rows().find(|row| row.name.as_str() == name)?;
        Some((row.id.to_string(), row.name.to_string()))
    })
}

/// Asks before something is done to the selected version, or to the marked models, or to the selected one.
fn ask_before(state: &mut State, deed: &Deed, out: &mut Vec<Action>) {
    if state.models.open.is_none() && state.models.all.is_some() {
        match deed {
            Deed::Delete => return confirm::open_sweep(state, Sweep::Delete, out),
            Deed::Restore => return confirm::open_sweep(state, Sweep::Restore, out),
            _ => {}
        }
    }
    let objects: Vec<Object> = match &state.models.open {
        Some(open) => open
            .versions
            .selected()
            .map(|version| Object::Version {
                id: version.id.to_string(),
                name: version.name.to_string(),
                version: version.version,
            })
            .into_iter()
            .collect(),
        None if state.models.marks.is_empty() => {
            model_here(state).map(|(id, name)| Object::Model { id, name }).into_iter().collect()
        }
        None => {
            let marks = state.models.marks.iter();
            marks.map(|(id, name)| Object::Model { id: id.clone(), name: name.clone() }).collect()
        }
    };
    let changes = objects.into_iter().map(|object| Change::new(object, deed.clone())).collect();
    confirm::open(state, changes, out);
}

/// The audit entries of the model that is open or selected.
fn entries_of(state: &mut State, out: &mut Vec<Action>) {
    let row = match &state.models.open {
        Some(open) => open.info.as_ref().map(|info| &info.model),
        None => state.models.list.selected(),
    };
    if let Some((id, name)) = row.map(|row| (row.id.to_string(), row.name.to_string())) {
        super::audit::show_target(state, &id, &name, out);
    }
}

fn restart(state: &mut State, last: bool, out: &mut Vec<Action>) {
    state.fresh.models.clear();
    let waiting = state.models.list.forget();
    cancel(state, waiting, out);
    state.models.list = Window::from(last);
}

pub(super) fn set_filter(state: &mut State, text: String, out: &mut Vec<Action>) {
    if state.models.filter != text {
        let waiting = state.models.marking.take();
        cancel(state, waiting, out);
        if state.models.all.take().is_some() {
            say(state, Level::Info, "nothing is marked: those that match are others now", out);
        }
        state.models.filter = text;
        restart(state, false, out);
    }
}

/// Opens a model by a reference from elsewhere, and by the name it has there.
pub(super) fn open(state: &mut State, reference: String, name: Option<String>, out: &mut Vec<Action>) {
    state.models.open = Some(OpenModel::new(reference, name));
    go(state, Screen::Models, out);
}

/// Opens a version by its model and number: the versions of the model, with this one selected once it is read.
pub(super) fn open_version(
    state: &mut State,
    reference: String,
    name: Option<String>,
    version: Version,
    out: &mut Vec<Action>,
) {
    open(state, reference, name, out);
    if let Some(open) = &mut state.models.open {
        open.goal = Some(version);
    }
}

/// The version that was asked for is selected and shown, if it is among those that were read.
pub(super) fn versions_came(state: &mut State, out: &mut Vec<Action>) {
    if state.models.open.as_mut().is_some_and(|open| std::mem::take(&mut open.compares)) {
        return compare(state, out);
    }
    if let Some(open) = &mut state.models.open
        && let Some(goal) = open.goal.take()
        && open.versions.select(&goal.to_string())
    {
        open.reading = Some(0);
    }
}

/// Why what was typed is no version: it is neither a number nor any of the aliases, as far as these are known.
fn no_alias(open: &OpenModel, text: &str) -> String {
    match (&open.info, &open.failed) {
        (Some(info), _) => {
            let known: Vec<&str> = info.model.aliases.iter().map(|held| held.alias.as_str()).collect();
            let known = if known.is_empty() { "it has none".to_owned() } else { known.join(", ") };
            format!("{text} is neither a number such as 7 nor an alias of this model ({known}); Esc goes back")
        }
        (None, Some(why)) => {
            format!("{text} is no number such as 7, and the model's aliases were not read: {why}; Esc goes back")
        }
        (None, None) => {
            format!(
                "{text} is no number such as 7, and the model's aliases are being read; Enter looks again, Esc goes back"
            )
        }
    }
}

/// Selects the version of a number, or that an alias points to.
///
/// # Errors
/// A sentence where it is not among those that were read, or there is no such alias.
pub(super) fn find_version(state: &mut State, text: &str) -> Result<(), String> {
    let Some(open) = &mut state.models.open else { return Err("no model is open".to_owned()) };
    let number = text.strip_prefix('v').unwrap_or(text).parse::<Version>();
    let aliases = open.info.as_ref().map(|info| info.model.aliases.as_slice()).unwrap_or_default();
    let version = match (number, aliases.iter().find(|held| held.alias.as_str() == text)) {
        (_, Some(held)) => held.version,
        (Ok(number), None) => number,
        (Err(_), None) => return Err(no_alias(open, text)),
    };
    if !open.versions.select(&version.to_string()) {
        return Err(no_version(open, version));
    }
    if open.reading.is_some() {
        open.reading = Some(0);
    }
    Ok(())
}

pub(super) fn back(state: &mut State, out: &mut Vec<Action>) -> bool {
    if let Some(open) = &mut state.models.open {
        if open.compared.take().is_none() && open.reading.take().is_none() {
            let (info, versions) = (open.pending, open.versions.waits_for());
            select_open(state);
            state.models.open = None;
            cancel(state, info, out);
            cancel(state, versions, out);
        }
        return true;
    }
    if state.models.has_marks() || state.models.marking.is_some() {
        let waiting = state.models.marking.take();
        cancel(state, waiting, out);
        state.models.marks.clear();
        if state.models.all.take().is_some() {
            // It took the place of a message that said how many are.
            say(state, Level::Info, "nothing is marked", out);
        }
        return true;
    }
    if state.models.filter.is_empty() {
        return false;
    }
    set_filter(state, String::new(), out);
    true
}

/// The list goes on where one comes from: at the model that is open, if it has that, however it was opened.
fn select_open(state: &mut State) {
    let here = state.models.open.is_some().then(|| model_here(state)).flatten();
    if let Some((id, _name)) = here {
        state.models.list.select(&id);
    }
}

/// Out of the model that is open, whatever depth of it is shown.
pub(super) fn leave(state: &mut State, out: &mut Vec<Action>) {
    select_open(state);
    if let Some(open) = state.models.open.take() {
        cancel(state, open.pending, out);
        cancel(state, open.versions.waits_for(), out);
    }
}

pub(super) fn refresh(state: &mut State, out: &mut Vec<Action>) {
    match &mut state.models.open {
        Some(open) => {
            state.fresh.open.clear();
            let (info, versions) = (open.pending.take(), open.versions.forget());
            open.failed = None;
            let (fetch, cursor) = open.versions.reload_from();
            cancel(state, info, out);
            cancel(state, versions, out);
            ask_model(state, out);
            ask_versions(state, fetch, cursor, out);
        }
        None => refresh_list(state, out),
    }
}

pub(super) fn refresh_list(state: &mut State, out: &mut Vec<Action>) {
    state.fresh.models.clear();
    let waiting = state.models.list.forget();
    cancel(state, waiting, out);
    let (fetch, cursor) = state.models.list.reload_from();
    ask_page(state, fetch, cursor, out);
}

pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    let height = rows_height(state);
    match &state.models.open {
        Some(open) => {
            if open.info.is_none() && open.pending.is_none() && open.failed.is_none() {
                ask_model(state, out);
            }
            let page = state.models.open.as_ref().and_then(|open| wanted(&open.versions, height, state.rests()));
            if let Some((fetch, cursor)) = page {
                ask_versions(state, fetch, cursor, out);
            }
        }
        None => {
            if let Some((fetch, cursor)) = wanted(&state.models.list, height, state.rests()) {
                ask_page(state, fetch, cursor, out);
            }
            pane_follows(state, out);
        }
    }
}

/// The pane beside the list follows the selection when that has rested: a held key draws the list alone, and asks nothing.
fn pane_follows(state: &mut State, out: &mut Vec<Action>) {
    if layout(state.size, state).pane.height == 0 {
        return;
    }
    let models = &mut state.models;
    let selected = models.list.selected().map(Row::key);
    let is_there = models.pane.as_ref().is_some_and(|pane| models.list.rows().any(|row| row.key() == *pane));
    let mut rests = false;
    let mut settled = false;
    if !is_there || models.pane == selected {
        models.pane = selected;
        settled = models.pane_next.take().is_some();
    } else if models.pane_next != selected {
        models.pane_next = selected;
        rests = true;
    }
    rests |= turn_to_pane(state, out);
    let models = &state.models;
    if rests || (settled && models.peek.info.is_none() && models.peek.pending.is_none()) {
        out.push(Action::TimerSet { id: TimerId::Rest, after_ms: REST_MS });
    } else if settled {
        out.push(Action::TimerDrop(TimerId::Rest));
    }
}

/// What is read for the pane is of the row that it shows; true if that is another one now, of which nothing is read yet.
fn turn_to_pane(state: &mut State, out: &mut Vec<Action>) -> bool {
    let models = &mut state.models;
    let Some(row) = models.pane.as_ref().and_then(|pane| models.list.rows().find(|row| row.key() == *pane)) else {
        return false;
    };
    let (id, updated_at) = (row.id.to_string(), row.updated_at.clone());
    if models.peek.id == id && models.peek.updated_at == updated_at {
        return false;
    }
    let waiting = std::mem::replace(&mut models.peek, Peek { id, updated_at, ..Peek::default() }).pending;
    cancel(state, waiting, out);
    true
}

/// The selection has rested.
pub(super) fn rested(state: &mut State, out: &mut Vec<Action>) {
    let is_shown = state.screen == Screen::Models && state.models.open.is_none();
    if !is_shown || layout(state.size, state).pane.height == 0 {
        return;
    }
    if let Some(next) = state.models.pane_next.take() {
        state.models.pane = Some(next);
        turn_to_pane(state, out);
    }
    let peek = &state.models.peek;
    if peek.id.is_empty() || peek.info.is_some() || peek.pending.is_some() {
        return;
    }
    let object = Object::Model { id: peek.id.clone(), name: String::new() };
    let id = ask(state, Call::Look(object), out);
    state.models.peek.pending = Some(id);
}

/// Takes the model for the pane; false if the pane doesn't wait for it.
pub(super) fn peeked(state: &mut State, id: RequestId, result: &Result<Answer, ClientError>) -> bool {
    if state.models.peek.pending != Some(id) {
        return false;
    }
    state.models.peek.pending = None;
    if let Ok(Answer::Look(reply)) = result
        && let Base::Model(info) = &reply.body
    {
        state.models.peek.info = Some(info.clone());
    }
    true
}

fn ask_page(state: &mut State, fetch: Fetch, cursor: Cursor, out: &mut Vec<Action>) {
    let call = Call::Models(Box::new(state.models.query(&cursor)));
    let id = ask(state, call, out);
    state.models.list.ask(id, fetch, cursor);
}

fn ask_model(state: &mut State, out: &mut Vec<Action>) {
    if let Some(reference) = state.models.open.as_ref().map(|open| open.reference.clone()) {
        let id = ask(state, Call::Model(reference), out);
        if let Some(open) = &mut state.models.open {
            open.pending = Some(id);
        }
    }
}

fn ask_versions(state: &mut State, fetch: Fetch, cursor: Cursor, out: &mut Vec<Action>) {
    if let Some(reference) = state.models.open.as_ref().map(|open| open.reference.clone()) {
        let call = Call::Versions { reference, page: cursor.paging(VERSION_PAGE_ROWS) };
        let id = ask(state, call, out);
        if let Some(open) = &mut state.models.open {
            open.versions.ask(id, fetch, cursor);
        }
    }
}
