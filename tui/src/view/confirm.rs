//! The question before something is done, and the password that is shown once.

use common::client::Sweep;
use ratatui::layout::{Position, Rect};

use super::{centred, text_window};
use crate::clean::{clean, width, wrap};
use crate::filter::shown;
use crate::layout::Areas;
use crate::state::State;
use crate::state::deeds::{Base, Deed, Object, Tier};
use crate::state::dialog::{Confirm, Once, Subject, Sweeping, sweep_verb};
use crate::time::counted;
use crate::view::pen::{Pen, Tone};

/// Columns of the frame, where there is room.
const COLUMNS: u16 = 66;
/// The same for an API token.
const TOKEN_COLUMNS: u16 = 75;
/// Things that are named in a question about many.
const NAMED: usize = 5;

/// One line of the text, and how it looks.
type Said = (String, Tone);

/// What a question says, and how much room there is for it.
struct Sheet {
    text: Vec<Said>,
    title: String,
    /// Where the frame may be.
    whole: Rect,
    columns: u16,
    height: u16,
    /// Lines of the text that have room.
    shown: usize,
    /// Blank lines between the text and what is asked.
    gap: u16,
    /// Lines of what is asked.
    asked: u16,
}

impl Sheet {
    /// The first line of the text that is shown, where it was scrolled so far.
    fn first(&self, scroll: usize) -> usize {
        scroll.min(self.text.len().saturating_sub(self.shown))
    }
}

/// Lines of the question's text, and how many of them are shown at once.
pub(super) fn rows(state: &State, areas: &Areas, confirm: &Confirm) -> (usize, usize) {
    let sheet = sheet(state, areas, confirm);
    (sheet.text.len(), sheet.shown)
}

fn sheet(state: &State, areas: &Areas, confirm: &Confirm) -> Sheet {
    let whole = Rect { y: 0, height: areas.message.y, ..areas.body };
    let columns = COLUMNS.min(whole.width);
    let room = usize::from(columns.saturating_sub(4));
    let mut text: Vec<Said> = Vec::new();
    let mut say = |words: &str, tone: Tone| {
        text.extend(wrap(&clean(words), room).into_iter().map(|line| (line, tone)));
    };
    headline(state, confirm, &mut say);
    // Below the text: a reason, what is typed, a note.
    let asked: u16 = if confirm.reason.is_some() { 2 } else { 1 };
    let place = place(state);
    let written = "It is written to the audit log.";
    let mut foot: Vec<Said> = vec![(String::new(), Tone::Dim)];
    let at = clean(&format!("At {place}. {written}"));
    foot.extend(wrap(&at, room).into_iter().map(|line| (line, Tone::Dim)));
    let rows = |lines: usize| u16::try_from(lines).unwrap_or(u16::MAX).saturating_add(asked + 4);
    // Where there is little room blank lines go first, and the frame says where it is; then the text gives way, never what is
    // asked.
    let is_tight = rows(text.len() + foot.len()) > whole.height;
    if is_tight {
        text.push((written.to_owned(), Tone::Dim));
    } else {
        text.extend(foot);
    }
    let gap = u16::from(!is_tight);
    let height = (rows(text.len()) + gap - 1).min(whole.height);
    let shown = usize::from(height.saturating_sub(asked + gap + 3));
    // Where all the rest has room without it.
    if text.len() == shown + 1 && text.len() > 1 && text.last().is_some_and(|(line, _)| line == written) {
        text.pop();
    }
    let mut sheet = Sheet { text, title: String::new(), whole, columns, height, shown, gap, asked };
    sheet.title = match is_tight {
        // Never a question without what it is about.
        true if shown == 0 || sheet.first(confirm.scroll) > 0 => {
            let (brief, at) = (brief(confirm), format!(" at {place}"));
            if width(&brief) + width(&at) <= room { brief + &at } else { brief }
        }
        true => format!("{} at {place}", title(confirm)),
        false => title(confirm).to_owned(),
    };
    sheet
}

/// On the lower edge of the frame: that there is more of the text than is shown, and how to get there.
fn mark(sheet: &Sheet, first: usize, inside: Rect, pen: &mut Pen<'_>) {
    let below = sheet.text.len().saturating_sub(first + sheet.shown);
    let words = match (first, below) {
        _ if sheet.shown == 0 => format!(" {} more ", sheet.text.len()),
        (0, 0) => return,
        (0, below) => format!(" PgDn {below} more "),
        (above, 0) => format!(" PgUp {above} more "),
        (_, below) => format!(" PgUp PgDn {below} more "),
    };
    pen.put_right(
        inside.right().saturating_sub(1),
        inside.bottom(),
        inside.width.saturating_sub(1),
        &words,
        Tone::Bold,
    );
}

/// Paints the question; where its cursor is.
pub(super) fn paint(state: &State, areas: &Areas, confirm: &Confirm, pen: &mut Pen<'_>) -> Option<Position> {
    let sheet = sheet(state, areas, confirm);
    let inside = pen.frame(centred(sheet.whole, sheet.columns, sheet.height), &sheet.title);
    let wide = inside.width.saturating_sub(2);
    let first = sheet.first(confirm.scroll);
    let mut y = inside.y;
    for (line, tone) in sheet.text.iter().skip(first).take(sheet.shown) {
        pen.put(inside.x + 1, y, wide, line, *tone);
        y += 1;
    }
    mark(&sheet, first, inside, pen);
    y += sheet.gap;
    let asked = sheet.asked;
    let mut cursor = None;
    // Where there is no room for both, what is typed now is shown.
    let has_both = inside.height >= asked;
    let shows_reason = !confirm.does_nothing() && (has_both || confirm.at_reason);
    if let Some(reason) = confirm.reason.as_ref().filter(|_| shows_reason) {
        let at = entry(pen, inside, y, "Reason ", reason.text(), reason.before_cursor());
        cursor = confirm.at_reason.then_some(at);
        y += 1;
    }
    match confirm.tier {
        _ if confirm.does_nothing() => {
            pen.put(inside.x + 1, y, wide, "There is nothing to do: Esc leaves", Tone::Plain);
            cursor = None;
        }
        _ if !has_both && confirm.at_reason => {}
        // What is typed now is the reason.
        Tier::Free | Tier::Asked if confirm.at_reason => {
            pen.put(inside.x + 1, y, wide, "Enter when it is said, Esc leaves", Tone::Plain);
        }
        Tier::Free | Tier::Asked => {
            let x = pen.put(inside.x + 1, y, wide, "y", Tone::Bold);
            pen.put(x, y, (inside.x + 1 + wide).saturating_sub(x), " does it, Esc leaves", Tone::Plain);
        }
        Tier::Named => {
            let label = format!("Type the {}: ", confirm.word_is);
            let at = entry(pen, inside, y, &label, confirm.typed.text(), confirm.typed.before_cursor());
            cursor = cursor.or(Some(at));
        }
    }
    y += 1;
    if y < inside.bottom() {
        let reading = confirm.subjects.len().saturating_sub(left(confirm));
        let (note, tone) = match (&confirm.note, confirm.is_read()) {
            (Some(note), _) => (note.clone(), Tone::Warn),
            (None, false) if confirm.sweep.is_some() => ("counting them".to_owned(), Tone::Dim),
            (None, false) if confirm.subjects.len() > 1 => {
                (format!("counting: {reading} of {}", confirm.subjects.len()), Tone::Dim)
            }
            (None, false) => ("reading what it is now".to_owned(), Tone::Dim),
            // What is asked for may not be what the question is about.
            (None, true) if confirm.tier == Tier::Named && confirm.word_is == "name" && !confirm.does_nothing() => {
                (format!("the name is {}", confirm.word), Tone::Dim)
            }
            (None, true) => (String::new(), Tone::Plain),
        };
        pen.put(inside.x + 1, y, wide, &note, tone);
    }
    cursor
}

fn left(confirm: &Confirm) -> usize {
    let subjects = confirm.subjects.iter();
    subjects.filter(|subject| subject.change.has_base() && subject.base.is_none() && subject.trouble.is_none()).count()
}

fn title(confirm: &Confirm) -> &'static str {
    match confirm.tier {
        Tier::Named if confirm.word_is == "number" => "confirm by number",
        Tier::Named => "confirm by name",
        Tier::Free | Tier::Asked => "sure?",
    }
}

/// `Delete team-nlp/ner`: what it is about, in a few words.
fn brief(confirm: &Confirm) -> String {
    if let Some(sweeping) = &confirm.sweep {
        let models = sweeping.count().map_or("all that match".to_owned(), |count| counted(count, "model"));
        return format!("{} {models}", capital(sweep_verb(sweeping.sweep)));
    }
    match confirm.subjects.as_slice() {
        [only] => format!("{} {}", capital(&only.change.verb()), only.change.object.name()),
        many => many.first().map_or(String::new(), |first| {
            format!("{} {} {}s", capital(&first.change.verb()), confirm.count(), first.change.object.kind())
        }),
    }
}

/// The profile and the address.
fn place(state: &State) -> String {
    let settings = &state.settings;
    if settings.profile.is_empty() {
        return settings.address.clone();
    }
    format!("{} ({})", settings.profile, settings.address)
}

fn headline(state: &State, confirm: &Confirm, say: &mut impl FnMut(&str, Tone)) {
    if let Some(sweeping) = &confirm.sweep {
        return sweep(sweeping, say);
    }
    match confirm.subjects.as_slice() {
        [only] => {
            let verb = capital(&only.change.verb());
            say(&format!("{verb} {} {}", only.change.object.kind(), only.change.object.name()), Tone::Bold);
            let me = state.who.as_ref().map(|who| who.username.as_str());
            if matches!(&only.change.object, Object::User(name) if Some(name.as_str()) == me) {
                say("This is you.", Tone::Warn);
            }
            if let Some(trouble) = &only.trouble {
                say(trouble, Tone::Warn);
            } else {
                if let Some(before) = &only.before {
                    say(&format!("When it was tried: {before}"), Tone::Warn);
                }
                if let Some(tagging) = confirm.tagging.as_ref().or(only.retag.as_ref()) {
                    say(&tagging.words(), Tone::Plain);
                }
                for line in only.change.consequences(only.base.as_ref().map(|(base, _)| base)) {
                    say(&line, Tone::Plain);
                }
            }
            if confirm.tier == Tier::Named && confirm.word_is == "id" {
                say(&format!("Its name can't be typed; its id is {}", confirm.word), Tone::Plain);
            }
        }
        many => {
            let Some(first) = many.first() else { return };
            let count = confirm.count();
            say(&format!("{} {count} {}s", capital(&first.change.verb()), first.change.object.kind()), Tone::Bold);
            if let Some(tagging) = &confirm.tagging {
                say(&tagging.words(), Tone::Plain);
            }
            let names: Vec<String> = many
                .iter()
                .filter(|subject| subject.trouble.is_none())
                .take(NAMED)
                .map(|subject| subject.change.object.name())
                .collect();
            let more = count.saturating_sub(names.len() as u64);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            say(&format!("{}{more}", names.join(", ")), Tone::Plain);
            let troubled: Vec<String> = many
                .iter()
                .filter_map(|subject| Some(format!("{}: {}", subject.change.object.name(), subject.trouble.as_ref()?)))
                .collect();
            for line in first.change.of_many() {
                say(line, Tone::Plain);
            }
            let guarded: Vec<String> = many.iter().filter_map(protected).collect();
            if first.change.deed == Deed::Delete && !guarded.is_empty() {
                let named = guarded.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
                say(&format!("Protected aliases point to {} of them: {named}", guarded.len()), Tone::Warn);
            }
            let before: Vec<&String> = many.iter().filter_map(|subject| subject.before.as_ref()).collect();
            for line in before.iter().take(NAMED) {
                say(&format!("When it was tried: {line}"), Tone::Warn);
            }
            if !troubled.is_empty() {
                say(&format!("{} are left out:", troubled.len()), Tone::Warn);
                for line in troubled.iter().take(NAMED) {
                    say(&format!("  {line}"), Tone::Plain);
                }
            }
            if first.change.undo(first.base.as_ref().map(|(base, _)| base)).is_some() {
                say("It can be taken back: u for 8 s, later one by one.", Tone::Plain);
            }
        }
    }
}

/// What is done to all that match, and how many they are.
fn sweep(sweeping: &Sweeping, say: &mut impl FnMut(&str, Tone)) {
    let verb = capital(sweep_verb(sweeping.sweep));
    match &sweeping.found {
        Some(Ok(found)) => say(&format!("{verb} {}: all that match", counted(found.matched, "model")), Tone::Bold),
        Some(Err(why)) => say(&format!("{verb} all models that match: {why}"), Tone::Warn),
        None => say(&format!("{verb} all models that match"), Tone::Bold),
    }
    let filter = if sweeping.filter.is_empty() { "none: ALL models of the registry" } else { &shown(&sweeping.filter) };
    say(&format!("Filter: {filter}"), Tone::Plain);
    say(
        "If others match when it begins, nothing is done. Each is logged; C in the list of jobs stops it.",
        Tone::Plain,
    );
    if sweeping.sweep == Sweep::Delete {
        say("Restore is possible for a time: * and U with state:deleted in the filter.", Tone::Plain);
    }
}

/// The model of a subject, where a protected alias points to it.
fn protected(subject: &Subject) -> Option<String> {
    match &subject.base {
        Some((Base::Model(info), _)) if info.model.aliases.iter().any(|alias| alias.protected) => {
            Some(info.model.name.to_string())
        }
        _ => None,
    }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

/// A label and what is typed behind it; where the cursor is.
fn entry(pen: &mut Pen<'_>, inside: Rect, y: u16, label: &str, text: &str, before: &str) -> Position {
    let x = pen.put(inside.x + 1, y, inside.width.saturating_sub(2), label, Tone::Plain);
    let room = inside.right().saturating_sub(x + 1);
    let (shown, column) = text_window(text, before, room);
    pen.put(x, y, room, &shown, Tone::Bold);
    Position { x: x + column.min(room), y }
}

/// Paints a password or token that is shown once.
pub(super) fn paint_once(areas: &Areas, once: &Once, can_copy: bool, pen: &mut Pen<'_>) {
    let whole = Rect { y: 0, height: areas.message.y, ..areas.body };
    let (title, what) = if once.is_token {
        ("API token", format!("A token of {}, to be sent as Authorization: Bearer:", once.user))
    } else {
        ("one-time password", format!("For {}, to be changed at the next sign-in:", once.user))
    };
    // An API token is longer than a sentence, and is shown whole.
    let columns = if once.is_token { TOKEN_COLUMNS } else { COLUMNS }.min(whole.width);
    let copied = match (can_copy, once.copied) {
        (false, _) => "The clipboard is off: copy it by hand.",
        (true, true) => "It was copied.",
        (true, false) => "y copies it, once.",
    };
    let last = format!("It is not shown again. {copied} Esc closes.");
    let said = [
        (what.as_str(), Tone::Plain),
        ("", Tone::Plain),
        (once.password.expose(), Tone::Bold),
        ("", Tone::Plain),
        (last.as_str(), Tone::Plain),
    ];
    let room = usize::from(columns.saturating_sub(4));
    let lines: Vec<Said> =
        said.iter().flat_map(|(text, tone)| wrap(&clean(text), room).into_iter().map(|line| (line, *tone))).collect();
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(3);
    let inside = pen.frame(centred(whole, columns, rows), title);
    for (y, (line, tone)) in (inside.y..inside.bottom()).zip(&lines) {
        pen.put(inside.x + 1, y, inside.width.saturating_sub(2), line, *tone);
    }
}
