//! The palette: a line, the candidates that fit it, each with its key or why it can't be done.

use ratatui::layout::{Position, Rect};

use super::{centred, text_window};
use crate::clean::{clean, cut, width};
use crate::keymap::VERBS;
use crate::layout::Areas;
use crate::state::dialog::{Candidate, Palette};
use crate::time::grouped;
use crate::view::pen::{Pen, Tone};

/// Columns of the frame, where there is room.
const COLUMNS: u16 = 76;
/// Rows of candidates, where there is room.
const ROWS: u16 = 10;
/// The part of a row that is the candidate, in hundredths.
const TEXT_SHARE: u16 = 46;

/// Paints the palette; where its cursor is.
pub(super) fn paint(areas: &Areas, palette: &Palette, pen: &mut Pen<'_>) -> Position {
    let whole = Rect { y: 0, height: areas.message.y, ..areas.body };
    let inside = pen.frame(centred(whole, COLUMNS, ROWS + 5), "palette");
    let wide = inside.width.saturating_sub(2);
    let x = pen.put(inside.x + 1, inside.y, 2, ": ", Tone::Bold);
    let room = inside.right().saturating_sub(x + 1);
    let (shown, column) = text_window(palette.line.text(), palette.line.before_cursor(), room);
    pen.put(x, inside.y, room, &shown, Tone::Plain);
    let cursor = Position { x: x + column.min(room), y: inside.y };
    if let Some(error) = &palette.error {
        pen.put(inside.x + 1, inside.y + 1, wide, error, Tone::Warn);
    } else if let Some(syntax) = syntax(palette.line.text()) {
        pen.put(inside.x + 1, inside.y + 1, wide, &syntax, Tone::Dim);
    }
    let rows = inside.height.saturating_sub(3);
    let height = usize::from(rows);
    let top = (palette.selected + 1).saturating_sub(height);
    for (place, candidate) in palette.matches.iter().enumerate().skip(top).take(height) {
        let y = inside.y + 2 + u16::try_from(place - top).unwrap_or(0);
        row(pen, inside, y, candidate, place == palette.selected);
    }
    if palette.matches.is_empty() && rows > 0 {
        pen.put(inside.x + 2, inside.y + 2, wide, "nothing fits; Enter runs the line as it stands", Tone::Dim);
    }
    let foot = inside.bottom().saturating_sub(1);
    if inside.height > 3 {
        let counts = format!("{} of {}", grouped(palette.matches.len() as u64), grouped(palette.of as u64));
        let asking = if palette.waits.is_some() { "  asking" } else { "" };
        pen.put(inside.x + 1, foot, wide, &format!("{counts}   Tab complete   Up history{asking}"), Tone::Dim);
    }
    cursor
}

/// How the command that is typed goes on.
fn syntax(line: &str) -> Option<String> {
    let word = line.split(' ').next().unwrap_or_default();
    let verb = VERBS.iter().find(|verb| verb.word == word && !verb.words.is_empty())?;
    Some(format!("{} {}", verb.word, verb.words))
}

fn row(pen: &mut Pen<'_>, inside: Rect, y: u16, candidate: &Candidate, selected: bool) {
    let end = inside.right();
    let text_columns = inside.width.saturating_sub(3) * TEXT_SHARE / 100;
    if selected {
        pen.put(inside.x, y, 1, "▌", Tone::Bold);
    }
    let is_refused = candidate.refused.is_some();
    let text = clean(&candidate.text);
    let text = if is_refused { format!("({text})") } else { text };
    // What has nothing to say takes the whole line.
    let short = width(&text) <= usize::from(text_columns);
    let columns = if short { text_columns } else { (inside.width.saturating_sub(3)) * 7 / 10 };
    let tone = match (selected, is_refused) {
        (true, _) => Tone::Current,
        (false, true) => Tone::Dim,
        (false, false) => Tone::Plain,
    };
    pen.put(inside.x + 1, y, columns, &cut(&text, columns.into()), tone);
    let hint = candidate.refused.as_deref().unwrap_or(&candidate.hint);
    let x = inside.x + 1 + columns + 1;
    pen.put(x, y, end.saturating_sub(x), hint, Tone::Dim);
}
