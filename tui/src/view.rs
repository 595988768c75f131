//! What the state looks like. Reads only; every position comes from `layout`, every cell is written by `pen`.

mod audit;
mod confirm;
mod form;
mod forms;
mod health;
mod help;
mod daemons;
mod jobs;
mod diff;
mod models;
mod palette;
pub mod pen;
mod proof;
mod quarantine;
mod queue;
mod tokens;
pub mod table;
pub mod theme;
mod users;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use crate::access::{Access, access, refusal};
use crate::action::RequestId;
use crate::clean::{clean, width};
use crate::event::Moment;
use crate::keymap::{Binding, Command, Context, bindings};
use crate::layout::{Areas, Class, layout};
use crate::state::dialog::{Dialog, Purpose};
use crate::state::diff::Compared;
use crate::state::forms::EnrolStage;
use crate::state::{Level, Overlay, PromptKind, Screen, State};
use crate::time::{Way, age_changes_in, grouped};
use crate::update::{TokenAct, token_access};
use crate::view::pen::{Line, Pen, Tone};
use crate::window::{Row, Window};

/// After so many seconds the time of the newest page is no longer plain.
const OLD_MS: u64 = 60_000;

/// What is waited for longer than this is said with the seconds.
const LONG_MS: u64 = 2_000;

/// Columns of a role in the header where room is short; names of roles are ASCII.
const ROLE_COLUMNS: usize = 7;
/// Columns of a narrow screen from which on it says that passwords go in clear.
const PLAIN_FROM: u16 = 30;
/// Columns of the screen from which on the role is in the header.
const ROLE_FROM: u16 = 72;
/// Columns that the daemon's name has in the header before the names of the screens are shortened: an address with its port.
const DAEMON_COLUMNS_MIN: usize = 21;

/// Columns that what is typed has beside its question, at least.
const PROMPT_COLUMNS_MIN: u16 = 16;
/// Rows that a message takes at most, its own among them.
const MESSAGE_ROWS_MAX: usize = 3;

/// Part of what a message offers to undo what it tells.
const UNDO_OFFER: &str = " undo (";

/// In place of rows that are not here yet.
const GOES_ON: &str = "...";
/// Shows in a column how far down a list one is.
const SCROLL_MARK: &str = "█";
/// Lines of that mark.
const SCROLL_MARK_ROWS: u64 = 3;

/// Ends the hint line: the palette and the help have the rest.
const MORE: &str = ": ? more";

/// Paints everything.
pub fn draw(state: &State, frame: &mut Frame<'_>) {
    let areas = layout(state.size, state);
    let cursor = {
        let mut pen = Pen::new(frame.buffer_mut(), &state.settings).moved(state.sideways);
        paint(state, &areas, &mut pen)
    };
    if let Some(position) = cursor.filter(|position| frame.area().contains(*position)) {
        frame.set_cursor_position(position);
    }
}

/// Paints; where the cursor is, if something is typed.
fn paint(state: &State, areas: &Areas, pen: &mut Pen<'_>) -> Option<Position> {
    if areas.class == Class::Tiny {
        let size = format!("too small: {}x{}", state.size.width, state.size.height);
        if areas.body.height == 0 {
            return None;
        }
        pen.put(areas.body.x, areas.body.y, areas.body.width, &size, Tone::Plain);
        return None;
    }
    header(state, areas, pen);
    if state.who.is_some() {
        status(state, areas, pen);
        let kept_out = refusal(state.who.as_ref(), state.screen.permission());
        match state.screen {
            _ if kept_out.is_some() => {}
            Screen::Models => models::paint(state, areas, pen),
            Screen::Audit => audit::paint(state, areas, pen),
            Screen::Queue => queue::paint(state, areas, pen),
            Screen::Quarantine => quarantine::paint(state, areas, pen),
            Screen::Users => users::paint(state, areas, pen),
            Screen::Health => {}
        }
        if let Some(why) = &kept_out {
            let area = areas.body;
            let room = usize::from(area.width.saturating_sub(4));
            let lines = [state.screen.purpose(), why].map(|words| crate::clean::wrap(&clean(words), room));
            for (y, line) in (area.top()..area.bottom()).zip(lines.into_iter().flatten()) {
                pen.put(area.x + 2, y, area.width.saturating_sub(3), &line, Tone::Plain);
            }
        } else {
            around(areas, pen);
        }
        let scroll = match state.screen {
            Screen::Models => state.models.open.as_ref().and_then(|open| open.reading).unwrap_or(0),
            Screen::Audit => state.audit.detail.unwrap_or(0),
            Screen::Queue => state.queue.detail.unwrap_or(0),
            Screen::Quarantine => state.quarantine.detail.unwrap_or(0),
            Screen::Users => state.users.detail.unwrap_or(0),
            Screen::Health => state.health.detail.unwrap_or(state.health.scroll),
        };
        if kept_out.is_none() && areas.pane.height > 0 {
            pane_border(state, areas, pen);
        }
        if kept_out.is_none() {
            scroll_mark(state, areas, pen);
        }
        if kept_out.is_none() && areas.pane.height > 0 {
            match state.models.open.as_ref().and_then(|open| open.compared.as_ref()) {
                Some(compared) if state.screen == Screen::Models => diff::paint(areas.pane, compared, pen),
                _ => pen.lines(areas.pane, &pane_lines(state, areas), scroll),
            }
            if state.screen == Screen::Health {
                health::mark(state, areas, pen);
            }
        }
    } else if state.login.is_none() {
        let words = match (state.renewing, state.settings.address.is_empty()) {
            (true, _) => "loading: asking the daemon who you are",
            (false, true) => "no daemon is chosen; @ lists them",
            (false, false) => "not signed in; C-r tries again",
        };
        pen.put(areas.body.x + 1, areas.body.y, areas.body.width, words, Tone::Plain);
    }
    if let Some(
        Overlay::Help(scroll) | Overlay::Messages(scroll) | Overlay::Verification(scroll) | Overlay::Alarm(scroll),
    ) = state.overlay
    {
        pen.blank(areas.status);
        pen.blank(areas.body);
        overlay_title(state, areas.status.x + 1, areas.status, pen);
        pen.lines(areas.body, &overlay_lines(state), scroll);
    }
    if let Some(Overlay::Daemons(selected)) = state.overlay {
        daemons::paint(state, areas, selected, pen);
    }
    if let Some(Overlay::Jobs(selected)) = state.overlay {
        pen.blank(areas.status);
        pen.blank(areas.body);
        overlay_title(state, areas.status.x + 1, areas.status, pen);
        pen.lines(areas.body, &jobs::lines(state, areas.body.width, selected), 0);
    }
    let typed = message(state, areas, pen);
    hints(state, areas, pen);
    // The forms about passwords lie over everything: what is under them stays as it is.
    let dialog = dialog(state, areas, pen);
    let selection = || {
        let y = pen.marked_row(if areas.rows.height > 0 { areas.rows } else { areas.body })?;
        state.settings.cursor_on_selection.then_some(Position { x: areas.rows.x, y })
    };
    let selection = selection();
    let over = matches!(state.overlay, Some(Overlay::Daemons(_)))
        || state.login.as_ref().is_some_and(|form| form.reads_messages);
    let form = if over { None } else { forms::paint(state, areas, pen) };
    form.or(dialog).or(typed).or(selection)
}

/// What lies over the screen; where its cursor is.
fn dialog(state: &State, areas: &Areas, pen: &mut Pen<'_>) -> Option<Position> {
    if state.login.is_some() || state.new_password.is_some() || state.enrol.is_some() {
        return None;
    }
    match state.dialog.as_ref()? {
        Dialog::Confirm(confirm) => confirm::paint(state, areas, confirm, pen),
        Dialog::Palette(palette) => Some(palette::paint(areas, palette, pen)),
        Dialog::Form(form) => form::paint(areas, form, pen),
        Dialog::Secret(once) => {
            confirm::paint_once(areas, once, state.settings.can_copy, pen);
            None
        }
        Dialog::Tokens(shown) => {
            tokens::paint(state, areas, shown, pen);
            None
        }
    }
}

/// That the list goes on with rows that are not here yet.
fn around(areas: &Areas, pen: &mut Pen<'_>) {
    let margin = if areas.class == Class::Narrow { 1 } else { 2 };
    for area in [areas.above, areas.below].into_iter().filter(|area| area.height > 0) {
        pen.put(area.x + margin, area.y, area.width.saturating_sub(margin), GOES_ON, Tone::Dim);
    }
}

/// How far down the list the selection is, where that is known and the list is longer than the screen.
fn scroll_mark(state: &State, areas: &Areas, pen: &mut Pen<'_>) {
    let rows = u64::from(areas.track.height);
    let Some((place, total)) = place_in_list(state).filter(|(_, total)| *total > rows && rows > SCROLL_MARK_ROWS)
    else {
        return;
    };
    let steps = u128::from(rows - SCROLL_MARK_ROWS);
    let part = u128::from(place.saturating_sub(1)) * steps / u128::from((total - 1).max(1));
    let first = areas.track.y + u16::try_from(part.min(steps)).unwrap_or(0);
    for y in (first..areas.track.bottom()).take(usize::try_from(SCROLL_MARK_ROWS).unwrap_or(0)) {
        pen.put(areas.track.x, y, 1, SCROLL_MARK, Tone::Plain);
    }
}

/// The place of the selection in the whole list, from 1, and how long that is.
fn place_in_list(state: &State) -> Option<(u64, u64)> {
    fn of<R: Row>(list: &Window<R>) -> Option<(u64, u64)> {
        list.ordinal().zip(list.total())
    }
    match state.screen {
        Screen::Models => match &state.models.open {
            Some(open) => of(&open.versions),
            None => of(&state.models.list),
        },
        // The place of an entry is its index. Who follows is at the end, and the mark would cost octets with every row.
        Screen::Audit if state.audit.follow && state.log.is_known() => None,
        Screen::Audit if state.audit.filter.is_empty() => {
            let total = if state.log.begun { Some(state.log.tail.next) } else { state.audit.list.total() };
            state.audit.list.selected().map(|line| line.index + 1).zip(total)
        }
        Screen::Audit => None,
        Screen::Queue => of(&state.queue.list),
        Screen::Quarantine => of(&state.quarantine.list),
        Screen::Users => of(&state.users.list),
        Screen::Health => None,
    }
}

fn pane_border(state: &State, areas: &Areas, pen: &mut Pen<'_>) {
    if areas.rows.height == 0 {
        return;
    }
    if areas.pane.y > areas.body.y {
        pen.put(areas.pane.x, areas.pane.y - 1, areas.pane.width, &"─".repeat(areas.pane.width.into()), Tone::Dim);
    } else if matches!(state.screen, Screen::Models | Screen::Quarantine) {
        for y in areas.pane.top()..areas.pane.bottom() {
            pen.put(areas.pane.x.saturating_sub(1), y, 1, "│", Tone::Dim);
        }
    }
}

/// The lines of the pane that is open; `update` scrolls by their number.
pub fn pane_lines(state: &State, areas: &Areas) -> Vec<Line> {
    match state.screen {
        Screen::Models => models::lines(state, areas),
        Screen::Audit => audit::lines(state, areas),
        Screen::Queue => queue::lines(state, areas),
        Screen::Quarantine => quarantine::lines(state, areas),
        Screen::Users => users::lines(state, areas),
        Screen::Health => health::lines(state, areas),
    }
}

/// Two versions compared as plain text.
pub fn compared_text(compared: &Compared) -> String {
    diff::text(compared)
}

/// Lines of the question that is asked, and how many of them are shown at once; none where nothing is asked.
pub fn question_rows(state: &State, areas: &Areas) -> Option<(usize, usize)> {
    match &state.dialog {
        Some(Dialog::Confirm(confirm)) => Some(confirm::rows(state, areas, confirm)),
        _ => None,
    }
}

/// The line of each check on the page on health.
pub fn check_lines(state: &State, areas: &Areas) -> Vec<usize> {
    health::check_lines(state, areas)
}

/// The page on health as lines of text; none before the first answer.
pub fn health_report(state: &State) -> Option<String> {
    health::report(state)
}

/// Seconds until a text on the screen changes by itself; none if none will.
pub fn changes_in(state: &State) -> Option<u64> {
    state.who.as_ref()?;
    let now = state.times();
    let height = usize::from(layout(state.size, state).rows.height);
    let ages = |texts: &mut dyn Iterator<Item = &str>| texts.filter_map(|text| age_changes_in(text, now)).min();
    let (age, as_of) = match state.screen {
        Screen::Models => match &state.models.open {
            Some(open) => {
                let shown = open.versions.visible(height).map(|(version, _)| version.created_at.as_str());
                let aliases = open.info.iter().flat_map(|info| &info.model.aliases).map(|alias| alias.set_at.as_str());
                (ages(&mut shown.chain(aliases)), open.versions.as_of())
            }
            None => {
                let shown = state.models.list.visible(height).map(|(row, _)| row.updated_at.as_str());
                (ages(&mut shown.into_iter()), state.models.list.as_of())
            }
        },
        Screen::Users => {
            let shown = state.users.list.visible(height).filter_map(|(user, _)| user.last_login_at.as_deref());
            let reading = state.users.reading.as_ref().and_then(|reading| reading.info.as_ref());
            let sessions = reading.iter().flat_map(|info| &info.live_sessions).map(|session| session.since.as_str());
            (ages(&mut shown.chain(sessions)), state.users.list.as_of())
        }
        Screen::Queue => {
            let shown = state.queue.list.visible(height).map(|(item, _)| item.seen_at.as_str());
            let whole = state.queue.intake.iter().flat_map(|intake| [&intake.oldest_seen_at, &intake.paused_at]);
            (ages(&mut shown.chain(whole.flatten().map(String::as_str))), state.queue.list.as_of())
        }
        Screen::Quarantine => {
            let shown = state.quarantine.list.visible(height).map(|(item, _)| item.held_at.as_str());
            let reading = state.quarantine.reading.as_ref().and_then(|reading| reading.review.as_ref());
            let notes = reading.iter().flat_map(|review| &review.notes).map(|note| note.at.as_str());
            (ages(&mut shown.chain(notes)), state.quarantine.list.as_of())
        }
        Screen::Audit => {
            let time = |(row, _): (&audit::Entry, bool)| row.time().to_owned();
            let shown: Vec<String> = match state.settings.time {
                Way::Age => state.audit.list.visible(height).map(time).collect(),
                Way::Utc | Way::Local => Vec::new(),
            };
            (ages(&mut shown.iter().map(String::as_str)), state.audit.list.as_of())
        }
        Screen::Health => (None, None),
    };
    // The time of the newest page goes dim once.
    let dims = as_of.and_then(|at| (at.ms + OLD_MS + 1).checked_sub(state.now.ms)).map(|ms| ms.div_ceil(1_000));
    // What takes long says for how long, from then on and with each second.
    let waits = waited_ms(state, awaited(state)).map(|ms| LONG_MS.saturating_sub(ms).div_ceil(1_000).max(1));
    [age, dims, waits].into_iter().flatten().min()
}

/// The line at which the selected finding begins in the pane of what is held.
pub fn finding_line(state: &State, areas: &Areas) -> Option<usize> {
    quarantine::finding_line(state, areas)
}

/// The line of the help at which verification is explained.
pub fn verification_line(state: &State) -> usize {
    help::verification_line(state, state.size.width)
}

/// The messages that are shown as plain text, a line each, the newest first.
pub fn notes_text(state: &State) -> String {
    help::notes_text(state)
}

/// What is wrong with the log as plain text.
pub fn alarm_text(state: &State) -> String {
    proof::alarm_text(state)
}

/// The lines of the overlay.
pub fn overlay_lines(state: &State) -> Vec<Line> {
    match state.overlay {
        Some(Overlay::Help(_)) => help::lines(state, state.size.width),
        Some(Overlay::Messages(_)) => help::messages(state, state.size.width),
        Some(Overlay::Verification(_)) => proof::panel(state, state.size.width),
        Some(Overlay::Alarm(_)) => proof::alarm(state, state.size.width),
        Some(Overlay::Daemons(_) | Overlay::Jobs(_)) | None => Vec::new(),
    }
}

/// The lines of an overlay that `n` and `N` go to: headings, and what is not as it should be.
pub fn stops(lines: &[Line]) -> Vec<usize> {
    let is_stop = |line: &Line| match line.0.as_slice() {
        [(_, Tone::Bold)] => true,
        pieces => pieces.iter().any(|(_, tone)| matches!(tone, Tone::Warn | Tone::Bad)),
    };
    lines.iter().enumerate().filter(|(_, line)| is_stop(line)).map(|(place, _)| place).collect()
}

// ---- the lines above and below --------------------------------------------------------------------------------------

fn header(state: &State, areas: &Areas, pen: &mut Pen<'_>) {
    let area = areas.header;
    let right = header_right(state, areas, pen);
    let room = right.saturating_sub(1);
    if areas.class == Class::Narrow {
        let number = Screen::ALL.iter().position(|screen| *screen == state.screen).unwrap_or(0) + 1;
        let tone = state.settings.accent.map_or(Tone::Bold, Tone::Accent);
        pen.put(area.x, area.y, room, &format!("[{number}]{}", state.screen.title()), tone);
        return;
    }
    let names = |form| -> Vec<(String, Tone)> {
        Screen::ALL.into_iter().map(|screen| screen_name(state, form, screen)).collect()
    };
    let left = |screens: &[(String, Tone)]| {
        let columns: usize = screens.iter().map(|(text, _)| width(text) + 1).sum();
        usize::from(room).saturating_sub(columns + 1)
    };
    let settings = &state.settings;
    let name = if settings.profile.is_empty() { &settings.address } else { &settings.profile };
    // Which daemon it is stays readable: the names of the screens give way.
    let mut screens = names(if areas.class > Class::Normal { Form::Words } else { Form::Letters });
    for form in [Form::Letters, Form::Numbers, Form::Digits] {
        if left(&screens) < DAEMON_COLUMNS_MIN.min(width(&clean(name))) {
            screens = names(form);
        }
    }
    let for_address = left(&screens);
    let tone = settings.accent.map_or(Tone::Bold, Tone::Accent);
    let mut x = pen.put(area.x + 1, area.y, u16::try_from(for_address).unwrap_or(0), name, tone) + 1;
    for (text, tone) in screens {
        x = pen.put(x, area.y, room.saturating_sub(x), &text, tone) + 1;
    }
}

/// How the screens are written in the header: the less room, the shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// `2 Audit`.
    Words,
    /// `2Aud`.
    Letters,
    /// The same, and those that may not be opened by their number alone: `(2)`.
    Numbers,
    /// All but the current one by their number alone, with what wants attention: `3:4`.
    Digits,
}

/// A screen's name in the header, with the number of things on it that want attention.
fn screen_name(state: &State, form: Form, screen: Screen) -> (String, Tone) {
    let wide = form == Form::Words;
    let number = Screen::ALL.iter().position(|one| *one == screen).unwrap_or(0) + 1;
    let is_current = screen == state.screen;
    let (name, letters) = screen.short();
    let (count, trouble) = attention(state, screen).unwrap_or((0, false));
    let colon = if wide || is_current || form == Form::Digits { ":" } else { "" };
    let count = if count > 0 { format!("{colon}{count}") } else { String::new() };
    // Not by its colour alone.
    let count = if trouble { count + "!" } else { count };
    let refused = refusal(state.who.as_ref(), screen.permission()).is_some();
    match (is_current, refused, wide) {
        (true, _, true) => (format!("[{number} {name}{count}]"), Tone::Current),
        (true, _, false) => (format!("[{number}]{name}{count}"), Tone::Current),
        (false, true, true) => (format!("({number} {name})"), Tone::Dim),
        (false, true, false) if form >= Form::Numbers => (format!("({number})"), Tone::Dim),
        (false, true, false) => (format!("({number}{letters})"), Tone::Dim),
        (false, false, true) => (format!("{number} {name}{count}"), attention_tone(state, screen)),
        (false, false, false) if form == Form::Digits => (format!("{number}{count}"), attention_tone(state, screen)),
        (false, false, false) => (format!("{number}{letters}{count}"), attention_tone(state, screen)),
    }
}

/// How many things on a screen want attention, and whether one of them is in trouble; none while that is not known.
fn attention(state: &State, screen: Screen) -> Option<(u64, bool)> {
    let status = state.health.status.as_ref()?;
    match screen {
        Screen::Queue => status.ingest.as_ref().map(|intake| {
            let failed = intake.states.get(&common::api::IngestState::Failed.into()).copied().unwrap_or(0);
            let trouble = failed > 0 || intake.paused || intake.problem.is_some();
            (crate::state::queue::under_way(intake), trouble)
        }),
        Screen::Quarantine => Some((status.quarantine.waiting, false)),
        _ => None,
    }
}

fn attention_tone(state: &State, screen: Screen) -> Tone {
    if attention(state, screen).is_some_and(|(_, trouble)| trouble) { Tone::Warn } else { Tone::Plain }
}

/// Who, and whether the daemon is there; the column where it begins.
fn header_right(state: &State, areas: &Areas, pen: &mut Pen<'_>) -> u16 {
    let area = areas.header;
    let mut x = area.right();
    let wide = areas.class > Class::Normal;
    let follows = state.settings.log.live && state.who.is_some();
    let is_live = follows && state.log.is_live();
    if areas.class > Class::Narrow {
        let (text, tone) = match (state.offline, &state.who) {
            (true, _) => ("OFFLINE", Tone::Bad),
            (false, None) => ("signed out", Tone::Dim),
            (false, Some(_)) if is_live && wide => ("* live", Tone::Good),
            (false, Some(_)) if is_live => ("*", Tone::Good),
            (false, Some(_)) => ("online", Tone::Good),
        };
        x = pen.put_right(x.saturating_sub(1), area.y, 10, text, tone);
        if state.settings.readonly {
            x = pen.put_right(x.saturating_sub(1), area.y, 9, "read-only", Tone::Warn);
        }
        if state.settings.plain {
            x = pen.put_right(x.saturating_sub(1), area.y, 5, "PLAIN", Tone::Bad);
        }
        if state.unread > 0 {
            x = pen.put_right(x.saturating_sub(1), area.y, 8, &format!("!{}", state.unread), Tone::Warn);
        }
    } else {
        // The sign of the line stands between badge and name.
        let name = state.who.as_ref().filter(|_| state.screen != Screen::Audit);
        if let Some(who) = name {
            x = pen.put_right(x, area.y, 12, &who.username, Tone::Plain).saturating_sub(1);
        }
        if state.offline {
            x = pen.put_right(x, area.y, 7, "OFFLINE", Tone::Bad).saturating_sub(1);
        } else if is_live && name.is_some() {
            x = pen.put_right(x, area.y, 1, "*", Tone::Good).saturating_sub(1);
        }
        if state.settings.plain && area.width >= PLAIN_FROM {
            x = pen.put_right(x, area.y, 5, "PLAIN", Tone::Bad).saturating_sub(1);
        }
        if state.settings.readonly && area.width >= PLAIN_FROM {
            x = pen.put_right(x, area.y, 9, "read-only", Tone::Warn).saturating_sub(1);
        }
        if state.unread > 0 && area.width >= PLAIN_FROM {
            x = pen.put_right(x, area.y, 4, &format!("!{}", state.unread), Tone::Warn).saturating_sub(1);
        }
    }
    if follows {
        // The index only where there is room for it, or where it is what is looked at.
        let (text, tone) = proof::badge(state, wide || (areas.class == Class::Narrow && state.screen == Screen::Audit));
        let gap = match areas.class {
            Class::Wide => 2,
            Class::Normal => 1,
            _ => 0,
        };
        x = pen.put_right(x.saturating_sub(gap), area.y, 20, &text, tone);
    }
    if let Some(who) = state.who.as_ref().filter(|_| areas.class > Class::Narrow) {
        let mut role = clean(who.role.as_str());
        if !wide {
            role.truncate(role.floor_char_boundary(ROLE_COLUMNS));
        }
        // Which daemon it is comes before what one is there.
        let text = if area.width < ROLE_FROM { who.username.clone() } else { format!("{} {role}", who.username) };
        x = pen.put_right(x.saturating_sub(2), area.y, 24, &text, Tone::Plain);
    }
    x
}

/// What lies over the screen, and its filter.
fn overlay_title(state: &State, x: u16, line: Rect, pen: &mut Pen<'_>) {
    let title = match state.overlay {
        Some(Overlay::Help(_)) => "Keys",
        Some(Overlay::Verification(_)) => "Verification of the audit log",
        Some(Overlay::Alarm(_)) => "Audit",
        Some(Overlay::Messages(_)) => "Messages",
        Some(Overlay::Daemons(_)) => "Daemons",
        Some(Overlay::Jobs(_)) => "Jobs",
        None => "",
    };
    let mut end = pen.put(x, line.y, line.right().saturating_sub(x), title, Tone::Bold);
    if let (Some(Overlay::Messages(_)), Some(held)) = (state.overlay, state.notes_held) {
        let words = format!("HELD   {} new (f)", state.noted.saturating_sub(held));
        let room = line.right().saturating_sub(end + 3);
        end = pen.put(end + 3, line.y, room, &words, Tone::Plain);
    }
    if !state.overlay_filter.is_empty() {
        let room = line.right().saturating_sub(end + 3);
        pen.put(end + 3, line.y, room, &format!("filter: {}", state.overlay_filter), Tone::Plain);
    }
}

/// The state of the screen on the left, of its newest page on the right.
fn status(state: &State, areas: &Areas, pen: &mut Pen<'_>) {
    let (left, right) = status_texts(state);
    let area = areas.status;
    if area.height == 0 {
        return;
    }
    let mut end = match right {
        Some((text, tone)) => {
            let room = area.width / 2;
            let text = whole_items(&text, room.into(), "");
            pen.put_right(area.right().saturating_sub(1), area.y, room, &text, tone)
        }
        None => area.right(),
    };
    if state.settings.mouse {
        let words = if areas.class == Class::Wide { "mouse (Shift selects text)" } else { "mouse" };
        end = pen.put_right(end.saturating_sub(2), area.y, 26, words, Tone::Dim);
    }
    let room = end.saturating_sub(2);
    pen.put(area.x + 1, area.y, room, &whole_items(&left, room.into(), &shown_filter(state)), Tone::Plain);
}

/// The filter of the list on show, as it is shown.
fn shown_filter(state: &State) -> String {
    match state.screen {
        Screen::Models => crate::filter::shown(&state.models.filter),
        Screen::Audit => state.audit.shown_filter(),
        Screen::Queue => state.queue.filter.clone(),
        Screen::Quarantine => state.quarantine.filter.clone(),
        Screen::Users => state.users.filter.clone(),
        Screen::Health => state.health.filter.clone(),
    }
}

/// As many of the items of a line as there is room for, each whole; they are parted by two blanks or more. The first one stays,
/// and so does what is kept, such as the filter, without which the list would be taken for another: they are cut where they have
/// no room.
fn whole_items(line: &str, room: usize, keep: &str) -> String {
    let mut kept = line;
    while width(&clean(kept)) > room {
        let Some(at) = kept.rfind("  ").filter(|at| !kept[..*at].trim_end().is_empty()) else { break };
        if !keep.is_empty() && kept[at..].contains(keep) {
            break;
        }
        kept = kept[..at].trim_end();
    }
    kept.to_owned()
}

fn status_texts(state: &State) -> (String, Option<(String, Tone)>) {
    match state.screen {
        Screen::Models => models::status(state),
        Screen::Audit => {
            let filter = filter_words(&state.audit.shown_filter());
            if state.settings.log.live && state.log.is_known() {
                return audit::status(state, &filter);
            }
            let entry = state.audit.list.selected().map(|row| format!("entry {}   ", row.index)).unwrap_or_default();
            let marked = audit::marked_words(state);
            (format!("Audit   {entry}{filter}{marked}"), freshness(state, &state.audit.list))
        }
        Screen::Queue => queue::status(state),
        Screen::Quarantine => quarantine::status(state),
        Screen::Users => users::status(state),
        Screen::Health => health::status(state),
    }
}

fn filter_words(filter: &str) -> String {
    if filter.is_empty() { "filter: none".to_owned() } else { format!("filter: {filter}") }
}

/// `312 of 1 003 412`.
fn of_total<R: Row>(list: &Window<R>) -> String {
    let total = list.total().map_or(" of ?".to_owned(), |total| format!(" of {}", grouped(total)));
    match list.ordinal() {
        _ if list.is_empty() && list.is_loaded() => "0".to_owned(),
        _ if list.is_empty() => String::new(),
        Some(place) => format!("{}{total}", grouped(place)),
        None => total.trim_start().to_owned(),
    }
}

fn freshness<R: Row>(state: &State, list: &Window<R>) -> Option<(String, Tone)> {
    let at = list.as_of();
    if list.is_loading() {
        return Some((loading(state, list.waits_for()), Tone::Warn));
    }
    if state.fresh.is_changed(state.screen, state.models.open.is_some()) && list.stale().is_none() {
        return Some(("CHANGED (C-r)".to_owned(), Tone::Warn));
    }
    match (list.stale(), at) {
        (Some(_), Some(at)) => Some((format!("STALE since {}", state.times().time_of_day(at.wall_seconds)), Tone::Bad)),
        (Some(_), None) => Some(("FAILED".to_owned(), Tone::Bad)),
        (None, Some(at)) => Some(as_of(state, at)),
        (None, None) => None,
    }
}

/// `loading`, and once that takes long, for how many seconds.
fn loading(state: &State, waits_for: Option<RequestId>) -> String {
    match waited_ms(state, waits_for) {
        Some(ms @ LONG_MS..) => format!("loading {} s", ms / 1_000),
        Some(_) | None => "loading".to_owned(),
    }
}

/// Milliseconds since a request was asked.
fn waited_ms(state: &State, waits_for: Option<RequestId>) -> Option<u64> {
    let id = waits_for?;
    let asked = state.asked.get(&id).or(state.parked.get(&id))?;
    Some(state.now.ms.saturating_sub(asked.at.ms))
}

/// What the list or the page on show waits for.
fn awaited(state: &State) -> Option<RequestId> {
    match state.screen {
        Screen::Models => match &state.models.open {
            Some(open) => open.versions.waits_for(),
            None => state.models.list.waits_for(),
        },
        Screen::Audit => state.audit.list.waits_for(),
        // It is read every few seconds: that it is, is shown before the first time only.
        Screen::Queue => state.queue.list.waits_for().filter(|_| !state.queue.list.is_loaded()),
        Screen::Quarantine => state.quarantine.list.waits_for(),
        Screen::Users => state.users.list.waits_for(),
        Screen::Health => state.health.pending.filter(|_| state.health.as_of.is_none()),
    }
}

fn as_of(state: &State, at: Moment) -> (String, Tone) {
    let tone = if state.now.ms.saturating_sub(at.ms) > OLD_MS { Tone::Dim } else { Tone::Plain };
    (format!("as of {}", state.times().time_of_day(at.wall_seconds)), tone)
}

/// Why a list shows no rows; nothing if it shows some.
fn why_empty<R: Row>(state: &State, list: &Window<R>, filtered: bool, nothing: &'static str) -> Option<String> {
    match (list.is_empty(), list.stale()) {
        (false, _) => None,
        (true, Some(why)) => Some(format!("could not be read: {why}. C-r tries again.")),
        (true, None) if list.is_loading() || !list.is_loaded() => Some(loading(state, list.waits_for())),
        (true, None) if !list.shows_last() || !list.shows_first() => {
            Some("nothing so far; PgDn looks further".to_owned())
        }
        (true, None) if filtered => Some("nothing matches the filter; Esc clears it".to_owned()),
        (true, None) => Some(nothing.to_owned()),
    }
}

fn say_empty(areas: &Areas, pen: &mut Pen<'_>, words: &str) {
    let area = areas.rows;
    let lines = crate::clean::wrap(&clean(words), usize::from(area.width.saturating_sub(4)));
    for (y, line) in (area.top()..area.bottom()).zip(lines) {
        pen.put(area.x + 2, y, area.width.saturating_sub(3), &line, Tone::Plain);
    }
}

/// The message line: what is being typed, else the message, else (narrow) the state of the screen.
fn message(state: &State, areas: &Areas, pen: &mut Pen<'_>) -> Option<Position> {
    let area = areas.message;
    if let Some(prompt) = &state.prompt {
        let question = match prompt.kind {
            PromptKind::Acknowledge => "acknowledge the alarm; why may this be? ",
            PromptKind::Time => "go to time: ",
            PromptKind::Check => "check entries (all, 100-199, 100-): ",
            PromptKind::Note => "note: ",
            PromptKind::Version => "go to version (its number, or an alias): ",
            PromptKind::Trust => "the key, or its id, as you got it by another way: ",
        };
        let wide = u16::try_from(width(question)).unwrap_or(u16::MAX);
        let x = if area.width.saturating_sub(wide) < PROMPT_COLUMNS_MIN {
            // What is typed has the line; the question stands above it.
            let lines = crate::clean::wrap(question.trim_end(), usize::from(area.width.saturating_sub(2)));
            let rows = u16::try_from(lines.len()).unwrap_or(0).min(areas.body.height);
            let above = Rect { y: area.y - rows, height: rows, ..area };
            pen.blank(above);
            for (y, line) in (above.top()..above.bottom()).zip(&lines) {
                pen.put(area.x + 1, y, area.width.saturating_sub(1), line, Tone::Bold);
            }
            area.x + 1
        } else {
            pen.put(area.x + 1, area.y, area.width.saturating_sub(1), question, Tone::Bold)
        };
        let room = area.right().saturating_sub(x + 1);
        let (text, column) = text_window(prompt.line.text(), prompt.line.before_cursor(), room);
        pen.put(x, area.y, room, &text, Tone::Plain);
        return Some(Position { x: x + column, y: area.y });
    }
    if let Some(filter) = &state.filter {
        let mut x = pen.put(area.x + 1, area.y, 8, "filter: ", Tone::Bold);
        let room = area.right().saturating_sub(x + 1);
        let cursor = text_window(filter.line.text(), filter.line.before_cursor(), room);
        pen.put(x, area.y, room, &cursor.0, Tone::Plain);
        x += cursor.1;
        return Some(Position { x, y: area.y });
    }
    if let Some(note) = &state.message {
        let (sign, tone) = match note.level {
            Level::Info => ("", Tone::Plain),
            Level::Warning => ("", Tone::Warn),
            Level::Error => ("error: ", Tone::Bad),
        };
        let room = area.width.saturating_sub(1);
        let text = format!("{sign}{}", note.text);
        // Of what was done, its index and its request go where there is no room, but not that it can be undone; what is wrong
        // is said whole.
        let text = if note.level == Level::Info { whole_items(&text, room.into(), UNDO_OFFER) } else { text };
        let text = clean(&text);
        // An item that has no room beside the one before it stands below it.
        let is_short = width(&text) <= room.into();
        let items: Vec<&str> = if is_short { vec![&text] } else { text.split("   ").collect() };
        let mut lines: Vec<String> = items.iter().flat_map(|item| crate::clean::wrap(item, room.into())).collect();
        let most = MESSAGE_ROWS_MAX.min(usize::from(area.y.saturating_sub(areas.body.y)) + 1);
        if lines.len() > most {
            let rest = lines.drain(most - 1..).collect::<Vec<_>>().join(" ");
            lines.push(rest);
        }
        let rows = u16::try_from(lines.len()).unwrap_or(1).max(1);
        let over = Rect { y: (area.y + 1).saturating_sub(rows), height: rows, ..area };
        if rows > 1 {
            pen.blank(over);
        }
        for (y, line) in (over.top()..over.bottom()).zip(&lines) {
            pen.put(area.x + 1, y, room, line, tone);
        }
    } else if areas.class == Class::Narrow && state.overlay.is_some() {
        overlay_title(state, area.x, area, pen);
    } else if areas.class == Class::Narrow && state.who.is_some() {
        let (left, right) = status_texts(state);
        // The header has the screen's name already.
        let left = left.strip_prefix(state.screen.title()).unwrap_or(&left).trim_start();
        let end = match right {
            Some((text, tone)) if tone != Tone::Plain => {
                let half = area.width / 2;
                pen.put_right(area.right(), area.y, half, &whole_items(&text, half.into(), ""), tone)
            }
            Some(_) | None => area.right(),
        };
        let room = end.saturating_sub(1);
        pen.put(area.x, area.y, room, &whole_items(left, room.into(), &shown_filter(state)), Tone::Dim);
    }
    None
}

/// What is wrong with what is typed, whole: below it, or, where it takes more than a line, above. Says whether it is below, where
/// the hints are otherwise.
fn typing_error(state: &State, areas: &Areas, pen: &mut Pen<'_>) -> bool {
    let of_prompt = state.prompt.as_ref().map(|prompt| &prompt.error);
    let Some(error) = of_prompt.or(state.filter.as_ref().map(|filter| &filter.error)).and_then(Option::as_ref) else {
        return false;
    };
    let wide = areas.hints.width.saturating_sub(2);
    let mut lines = crate::clean::wrap(&clean(error), wide.into());
    if let [only] = lines.as_slice() {
        pen.put(areas.hints.x + 1, areas.hints.y, wide, only, Tone::Bad);
        return true;
    }
    lines.truncate(areas.body.height.into());
    let rows = u16::try_from(lines.len()).unwrap_or(0);
    let above = Rect { y: areas.body.bottom().saturating_sub(rows), height: rows, ..areas.body };
    pen.blank(above);
    for (y, line) in (above.top()..above.bottom()).zip(&lines) {
        pen.put(above.x + 1, y, wide, line, Tone::Bad);
    }
    false
}

/// The part of a typed text round the cursor that fits, and the cursor's column in it.
fn text_window(text: &str, before: &str, room: u16) -> (String, u16) {
    let room_columns = usize::from(room.max(2)) - 1;
    let before = clean(before);
    let mut start = String::new();
    let mut kept: Vec<&str> = Vec::new();
    let mut columns = 0;
    for grapheme in unicode_segmentation::UnicodeSegmentation::graphemes(before.as_str(), true).rev() {
        columns += width(grapheme);
        if columns > room_columns {
            columns -= width(grapheme);
            break;
        }
        kept.push(grapheme);
    }
    start.extend(kept.into_iter().rev());
    let after = clean(text).get(before.len()..).unwrap_or_default().to_owned();
    (start + &after, u16::try_from(columns).unwrap_or(0))
}

/// What can be done here, from the table of keys.
fn hints(state: &State, areas: &Areas, pen: &mut Pen<'_>) {
    if typing_error(state, areas, pen) {
        return;
    }
    let area = areas.hints;
    let start = area.x + u16::from(areas.class > Class::Narrow);
    let mut texts: Vec<(String, Tone)> = Vec::new();
    let mut hint = |text: &str, tone: Tone| texts.push((text.to_owned(), tone));
    if matches!(state.overlay, Some(Overlay::Daemons(_))) {
        if !state.settings.profiles.is_empty() {
            hint("Enter speak to it", Tone::Dim);
        }
        if state.who.is_some() {
            hint("L end this session", Tone::Dim);
        }
        hint("Esc close", Tone::Dim);
    } else if let Some(form) = state.login.as_ref().filter(|form| !form.reads_messages) {
        let key = |command| {
            let binding = bindings(Context::Everywhere).find(|binding| binding.command == command);
            let keys = binding.map(|binding| state.settings.keys.of(binding)).unwrap_or_default();
            keys.first().copied().unwrap_or_default()
        };
        let (daemons, messages) = (key(Command::Daemons), key(Command::Messages));
        let others = if form.types() && !form.busy {
            vec![format!("at User: {daemons} daemons, {messages} messages")]
        } else {
            vec![format!("{daemons} other daemon"), format!("{messages} messages")]
        };
        // The last one is the way out, which is there on the narrowest screen.
        let first = ["Enter log in", "Tab next", "Esc clear"];
        for text in first.into_iter().chain(others.iter().map(String::as_str)).chain(["C-c quit"]) {
            hint(text, Tone::Dim);
        }
    } else if let Some(form) = &state.new_password {
        let last: &[&str] = if form.is_demanded { &["Esc clear", "C-c quit"] } else { &["Esc leave"] };
        for text in ["Enter next, then change it", "Tab next"].iter().chain(last) {
            hint(text, Tone::Dim);
        }
    } else if let Some(form) = &state.enrol {
        let hints: &[&str] = match form.stage {
            EnrolStage::Password => &["Enter go on", "Esc cancel", "C-c quit"],
            EnrolStage::Code { .. } => &["Enter turn it on", "Esc cancel", "C-c quit"],
            EnrolStage::Done(_) => &["Enter I have kept them", "y copy"],
        };
        for text in hints {
            hint(text, Tone::Dim);
        }
    } else if state.prompt.is_some() {
        for text in ["Enter do it", "Esc cancel"] {
            hint(text, Tone::Dim);
        }
    } else if let Some(Dialog::Tokens(_)) = &state.dialog {
        for text in token_hints(state) {
            hint(&text, Tone::Dim);
        }
        hint("Esc close", Tone::Dim);
    } else if let Some(dialog) = &state.dialog {
        let texts: &[&str] = match dialog {
            Dialog::Confirm(confirm) if confirm.does_nothing() => &["Esc leave"],
            Dialog::Confirm(confirm) if confirm.at_reason => &["Enter go on", "Tab next", "Esc leave"],
            Dialog::Confirm(confirm)
                if confirm.reason.is_some() && confirm.tier == crate::state::deeds::Tier::Named =>
            {
                &["Enter do it", "Tab back to the reason", "Esc leave"]
            }
            Dialog::Confirm(confirm) if confirm.tier == crate::state::deeds::Tier::Named => {
                &["Enter do it", "Esc leave"]
            }
            Dialog::Confirm(_) => &["y do it", "Esc leave"],
            Dialog::Palette(_) => &["Enter run", "Tab complete", "Up history", "Esc leave"],
            Dialog::Form(form) => match form.purpose {
                // What is there to be changed was not read.
                Purpose::Edit { base: None, .. } => &["Esc leave"],
                Purpose::Edit { .. } if form.leaving => &["Enter next, then save", "Tab next", "Esc again leaves"],
                _ if form.leaving => &["Enter next, then go", "Tab next", "Esc again leaves"],
                Purpose::Edit { .. } => &["Enter next, then save", "Tab next", "Esc leave"],
                _ => &["Enter next, then go", "Tab next", "Esc leave"],
            },
            Dialog::Secret(_) if !state.settings.can_copy => &["Esc close"],
            Dialog::Secret(_) => &["y copy once", "Esc close"],
            Dialog::Tokens(_) => &[],
        };
        for text in texts {
            hint(text, Tone::Dim);
        }
    } else if matches!(state.overlay, Some(Overlay::Jobs(_))) {
        if !(state.changes.runs.is_empty() && state.changes.jobs.is_empty()) {
            for text in ["p pause", "r retry failed", "C cancel what is not sent"] {
                hint(text, Tone::Dim);
            }
        }
        hint("Esc close", Tone::Dim);
    } else if state.filter.is_some() {
        let what = match state.screen {
            _ if state.overlay.is_some() => "part of a line".to_owned(),
            Screen::Audit => crate::filter::AUDIT_FIELDS.join(": ") + ":",
            Screen::Queue => "part of the path, state:failed".to_owned(),
            Screen::Models => crate::filter::MODEL_FIELDS.join(": ") + ":",
            Screen::Quarantine => crate::filter::HELD_FIELDS.join(": ") + ":",
            Screen::Users => crate::filter::USER_FIELDS.join(": ") + ":",
            Screen::Health => "part of a line of the log".to_owned(),
        };
        for text in ["Enter keep", "Esc as before", &what] {
            hint(text, Tone::Dim);
        }
    } else if !state.typed.is_empty() {
        hint(&state.typed, Tone::Bold);
        let what = if state.typed.ends_with('g') { "g first row" } else { "j k PgDn PgUp that many, G number" };
        hint(what, Tone::Dim);
    } else if let Some(overlay) = state.overlay {
        if matches!(overlay, Overlay::Alarm(_)) {
            hint("V details", Tone::Dim);
            hint("y copy", Tone::Dim);
            hint("x export evidence", Tone::Dim);
        }
        if matches!(overlay, Overlay::Alarm(_) | Overlay::Verification(_)) && state.log.trust.alarm().is_some() {
            hint("A acknowledge", Tone::Dim);
        } else if matches!(overlay, Overlay::Verification(_)) && !state.log.trust.is_confirmed() {
            hint("T trust the key", Tone::Dim);
        }
        if matches!(overlay, Overlay::Verification(_)) {
            let job = state.log.checking.and_then(|id| state.changes.jobs.get(&id));
            let runs = job.is_some_and(|job| job.outcome.is_none());
            hint(if runs { "C stop the check" } else { "c check entries" }, Tone::Dim);
        }
        if matches!(overlay, Overlay::Help(_) | Overlay::Messages(_)) {
            hint("/ filter", Tone::Dim);
            if areas.class > Class::Narrow {
                hint(if matches!(overlay, Overlay::Help(_)) { "n N section" } else { "n N trouble" }, Tone::Dim);
            }
        }
        if matches!(overlay, Overlay::Messages(_)) {
            hint("y copy", Tone::Dim);
            hint("x export", Tone::Dim);
            if areas.class > Class::Narrow {
                hint(if state.notes_held.is_some() { "f follow" } else { "f hold" }, Tone::Dim);
            }
        }
        hint("j k scroll", Tone::Dim);
        hint("Esc close", Tone::Dim);
    } else if state.who.is_none() {
        for text in ["C-r try again", "@ other daemon", "! messages", "q quit"] {
            hint(text, Tone::Dim);
        }
    } else {
        for (_, text) in fitting(state, areas) {
            hint(&text, Tone::Dim);
        }
        hint(MORE, Tone::Dim);
    }
    // What a filter may be is a list: as much of it as there is room for.
    if state.filter.is_none() {
        whole_hints(&mut texts, area.right().saturating_sub(start).into());
    }
    let mut x = start;
    for (text, tone) in texts {
        x = pen.put(x, area.y, area.right().saturating_sub(x), &text, tone).saturating_add(2);
    }
}

/// What can be done about the tokens that are shown, then what this user may not: that gives way first.
fn token_hints(state: &State) -> impl Iterator<Item = String> {
    let hints = TokenAct::ALL.map(|act| (act.hint(), token_access(state, act)));
    let allowed = hints.clone().into_iter().filter(|(_, access)| *access == Access::Allowed);
    let refused = hints.into_iter().filter(|(_, access)| matches!(access, Access::NotAllowed(_)));
    let allowed = allowed.map(|((key, word), _)| format!("{key} {word}"));
    allowed.chain(refused.map(|((key, word), _)| format!("({key} {word})")))
}

/// As many hints as there is room for, each whole. The last one leads out, or to the rest: it stays.
fn whole_hints(texts: &mut Vec<(String, Tone)>, room: usize) {
    let taken = |texts: &[(String, Tone)]| texts.iter().map(|(text, _)| width(text) + 2).sum::<usize>();
    while texts.len() > 1 && taken(texts) > room + 2 {
        texts.remove(texts.len() - 2);
    }
}

/// The hints there is room for, each whole: there is always room for where the rest is.
fn fitting(state: &State, areas: &Areas) -> Vec<(&'static Binding, String)> {
    let mut room = usize::from(areas.hints.width).saturating_sub(width(MORE) + 1);
    let mut found = Vec::new();
    for (binding, allowed) in hinted(state).filter(|(binding, _)| binding.command != Command::Help) {
        let text = hint_text(state, binding);
        let text = if allowed { text } else { format!("({text})") };
        let wide = width(&text) + 2;
        if wide > room {
            break;
        }
        room -= wide;
        found.push((binding, text));
    }
    found
}

fn hint_text(state: &State, binding: &'static Binding) -> String {
    let hint = match binding.command {
        Command::Follow if state.screen == Screen::Audit && state.audit.follow => "pause",
        Command::Follow if state.screen == Screen::Health => {
            if state.health.still.is_some() {
                "follow log"
            } else {
                "hold log"
            }
        }
        Command::Back => "back",
        Command::In if state.screen == Screen::Health => "detail",
        Command::Pause if state.queue.intake.as_ref().is_some_and(|intake| intake.paused) => "resume",
        _ => binding.hint,
    };
    format!("{} {hint}", state.settings.keys.of(binding).first().unwrap_or(&""))
}

/// The command whose hint is in a column of the hint line, as `hints` writes it.
pub fn hint_at(state: &State, areas: &Areas, column: u16) -> Option<&'static Binding> {
    let busy = state.login.is_some()
        || state.who.is_none()
        || state.new_password.is_some()
        || state.enrol.is_some()
        || state.dialog.is_some()
        || state.filter.is_some()
        || state.overlay.is_some()
        || !state.typed.is_empty();
    if busy {
        return None;
    }
    let mut x = usize::from(areas.hints.x) + usize::from(areas.class > Class::Narrow);
    for (binding, text) in fitting(state, areas) {
        let wide = width(&text);
        if (x..x + wide).contains(&column.into()) {
            return Some(binding);
        }
        x += wide + 2;
    }
    None
}

/// The head of a sorted list that is painted there.
pub fn head_at(state: &State, areas: &Areas, column: u16) -> Option<&'static str> {
    let at = |columns: &[table::Column]| table::column_at(columns, areas, state.sideways, column);
    match (state.screen, &state.models.open) {
        (Screen::Models, None) => at(&models::MODELS),
        (Screen::Queue, _) => at(&queue::columns(areas.class)),
        (Screen::Users, _) => at(&users::COLUMNS),
        _ => None,
    }
}

/// The screen whose name is in a column of the header, as `header` writes it.
pub fn screen_at(state: &State, areas: &Areas, column: u16) -> Option<Screen> {
    let mut buffer = ratatui::buffer::Buffer::empty(areas.header);
    header(state, areas, &mut Pen::new(&mut buffer, &state.settings));
    let text: Vec<&str> = areas.header.positions().map(|position| buffer[position].symbol()).collect();
    let line = text.concat();
    Screen::ALL.into_iter().find_map(|screen| {
        [Form::Words, Form::Letters, Form::Numbers].into_iter().find_map(|form| {
            let (name, _tone) = screen_name(state, form, screen);
            let name = name.trim().to_owned();
            let start = line.find(&name).map(|octet| width(&line[..octet]))?;
            (start..start + width(&name)).contains(&column.into()).then_some(screen)
        })
    })
}

fn hinted(state: &State) -> impl Iterator<Item = (&'static Binding, bool)> {
    let nothing_inside = match state.screen {
        Screen::Models => {
            state.models.open.as_ref().is_some_and(|open| open.reading.is_some() && open.compared.is_none())
        }
        Screen::Audit => state.audit.detail.is_some(),
        Screen::Queue => state.queue.detail.is_some(),
        Screen::Quarantine => state.quarantine.detail.is_some(),
        Screen::Users => state.users.detail.is_some(),
        Screen::Health => state.health.detail.is_some(),
    };
    let is_in = |binding: &&Binding| binding.command == Command::In;
    let is_inside = match state.screen {
        Screen::Models => state.models.open.is_some(),
        _ => nothing_inside,
    };
    let out = bindings(Context::Everywhere).filter(move |binding| is_inside && binding.command == Command::Back);
    let first = bindings(state.context()).filter(is_in);
    out.map(|binding| (binding, true)).chain(
        first
            .chain(bindings(state.context()).filter(move |binding| !is_in(binding)))
            .filter(move |binding| !binding.hint.is_empty() && (!nothing_inside || binding.command != Command::In))
            .filter_map(|binding| match access(state, binding) {
                Access::Allowed => Some((binding, true)),
                Access::NotAllowed(_) => Some((binding, false)),
                // What doesn't fit the selection would only be in the way; the help has it.
                Access::NotNow(_) => None,
            }),
    )
}

/// A rectangle of a size in the middle of another.
fn centred(within: Rect, columns: u16, rows: u16) -> Rect {
    let (width, height) = (columns.min(within.width), rows.min(within.height));
    Rect { x: within.x + (within.width - width) / 2, y: within.y + (within.height - height) / 2, width, height }
}
