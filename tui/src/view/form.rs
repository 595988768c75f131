//! Forms: labels, what is typed, what helps to fill them in.

use ratatui::layout::{Position, Rect};

use super::{centred, text_window};
use crate::clean::{clean, first_lines, wrap};
use crate::layout::Areas;
use crate::state::dialog::{Form, Purpose};
use crate::time::counted;
use crate::view::pen::{Pen, Tone};

/// Columns of the frame, where there is room.
const COLUMNS: u16 = 72;
/// Columns of the labels.
const LABEL_COLUMNS: u16 = 13;
/// Lines of what may be chosen.
const CHOICES_ROWS: usize = 2;
/// Lines of help, where there is room.
const NOTES: u16 = 6;

/// Paints the form; where its cursor is.
pub(super) fn paint(areas: &Areas, form: &Form, pen: &mut Pen<'_>) -> Option<Position> {
    let whole = Rect { y: 0, height: areas.message.y, ..areas.body };
    let fields = u16::try_from(form.fields.len()).unwrap_or(u16::MAX);
    let inside = pen.frame(centred(whole, COLUMNS, fields + NOTES + 5), &title(form));
    let wide = inside.width.saturating_sub(2);
    let mut cursor = None;
    let mut y = inside.y;
    // The line that is typed in is always in sight, and so is what is wrong with it.
    let rows = usize::from(inside.height.saturating_sub(1)).max(1);
    let first = (form.at + 1).saturating_sub(rows);
    for (place, field) in form.fields.iter().enumerate().skip(first) {
        if y >= inside.bottom() {
            break;
        }
        let tone = if place == form.at { Tone::Bold } else { Tone::Plain };
        pen.put(inside.x + 1, y, LABEL_COLUMNS, field.label, tone);
        let x = inside.x + 1 + LABEL_COLUMNS;
        let room = inside.right().saturating_sub(x + 1);
        let before = if place == form.at { field.line.before_cursor() } else { "" };
        let (shown, column) = text_window(field.line.text(), before, room);
        // What the next letter takes the place of.
        let tone = if place == form.at && field.is_proposed { Tone::Current } else { tone };
        pen.put(x, y, room, &shown, tone);
        if place == form.at {
            cursor = Some(Position { x: x + column.min(room), y });
        }
        y += 1;
    }
    y += 1;
    if let Some(field) = form.fields.get(form.at).filter(|field| !field.choices.is_empty()) {
        let text = format!("Up and Down choose: {}", field.choices.join(", "));
        let mut lines = wrap(&clean(&text), wide.into());
        first_lines(&mut lines, CHOICES_ROWS, wide.into());
        for line in lines {
            if y < inside.bottom() {
                pen.put(inside.x + 1, y, wide, &line, Tone::Dim);
            }
            y += 1;
        }
    }
    let mut notes: Vec<String> = form.notes.iter().flat_map(|note| wrap(&clean(note), wide.into())).collect();
    // What is wrong is whole, where what helps leaves it the room.
    let error = form.error.as_ref().filter(|_| inside.height > fields || fields > 2);
    let error = error.map(|error| wrap(&clean(error), wide.into())).unwrap_or_default();
    let rows = u16::try_from(error.len()).unwrap_or(u16::MAX).clamp(1, inside.bottom().saturating_sub(y).max(1));
    let last = inside.bottom().saturating_sub(rows);
    first_lines(&mut notes, last.saturating_sub(y).into(), wide.into());
    for (y, line) in (y..last).zip(notes) {
        pen.put(inside.x + 1, y, wide, &line, Tone::Dim);
    }
    if form.sent.is_some() {
        pen.put(inside.x + 1, last, wide, "sending", Tone::Warn);
    }
    for (y, line) in (last..inside.bottom()).zip(&error) {
        pen.put(inside.x + 1, y, wide, line, Tone::Bad);
    }
    cursor
}

fn title(form: &Form) -> String {
    match &form.purpose {
        Purpose::Edit { name, .. } => format!("edit {name}"),
        Purpose::Tags { models } => format!("tags of {}", counted(models.len() as u64, "marked model")),
        Purpose::Alias { name, .. } => format!("point an alias of {name}"),
        Purpose::AddUser => "add a user".to_owned(),
        Purpose::AddToken { user } => format!("make an API token of {user}"),
        Purpose::Role { name } => format!("role of {name}"),
        Purpose::Grants { name } => format!("grants of {name}"),
    }
}
