//! The only writer of cells. Everything goes through [`clean`], is cut to its place and clipped to the buffer, so no
//! pane can let a control character through or paint outside.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::clean::{clean, cut, to_ascii, width, wrap};
use crate::state::{Highlight, Settings};
use crate::time::bytes;
use crate::view::theme::{Accent, Theme};

/// Stands before the selected row.
pub const MARKER: &str = "▌";

/// Longest field that is shown whole, in octets.
const FIELD_OCTETS_MAX: usize = 64 * 1024;

/// What a piece of text means; the theme makes it a style. Never colour alone: words carry the meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "a tone says its name")]
pub enum Tone {
    Plain,
    Dim,
    Bold,
    Good,
    Warn,
    Bad,
    /// The current thing: reversed.
    Current,
    /// A profile's own colour.
    Accent(Accent),
    /// What must be seen: bad, and reversed.
    Alarm,
}

/// A line of a text pane: pieces one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line(pub Vec<(String, Tone)>);

/// Columns of the labels of a text pane, unless another number is set.
const LABEL_COLUMNS: usize = 11;

/// Builds the lines of a text pane of a width.
pub struct Text {
    columns: usize,
    label_columns: usize,
    lines: Vec<Line>,
}

impl Text {
    /// No lines yet.
    pub fn new(columns: u16) -> Self {
        Self { columns: usize::from(columns).saturating_sub(2).max(8), label_columns: LABEL_COLUMNS, lines: Vec::new() }
    }

    /// Sets the columns of the labels that follow.
    pub fn labels(&mut self, columns: usize) {
        self.label_columns = columns;
    }

    /// How many lines there are so far.
    pub fn count(&self) -> usize {
        self.lines.len()
    }

    /// The lines.
    pub fn lines(self) -> Vec<Line> {
        self.lines
    }

    /// An empty line.
    pub fn blank(&mut self) {
        self.lines.push(Line::default());
    }

    /// A heading, with an empty line before it.
    pub fn head(&mut self, text: &str) {
        if !self.lines.is_empty() {
            self.blank();
        }
        self.lines.push(Line(vec![(cut(&clean(text), self.columns), Tone::Bold)]));
    }

    /// A label and its value, wrapped under itself.
    pub fn fact(&mut self, label: &str, value: &str, tone: Tone) {
        let columns = self.label_columns;
        let room = self.columns.saturating_sub(columns).max(8);
        let label = clean(label);
        let mut first = format!("{label:columns$}");
        if width(&label) >= columns {
            self.lines.push(Line(vec![(label, Tone::Dim)]));
            first = " ".repeat(columns);
        }
        for piece in wrap(&clean(&bounded(value)), room) {
            let lead = std::mem::replace(&mut first, " ".repeat(columns));
            self.lines.push(Line(vec![(lead, Tone::Dim), (piece, tone)]));
        }
    }

    /// Free text with an indent, wrapped; its own line breaks are kept.
    pub fn words(&mut self, indent: usize, text: &str, tone: Tone) {
        for paragraph in bounded(text).lines() {
            for piece in wrap(&clean(paragraph), self.columns.saturating_sub(indent)) {
                self.lines.push(Line(vec![(" ".repeat(indent), tone), (piece, tone)]));
            }
        }
    }

    /// Pieces on one line, cut at the end.
    pub fn pieces(&mut self, pieces: Vec<(String, Tone)>) {
        self.lines.push(Line(pieces));
    }
}

/// A field as far as it is shown: longer ones are cut, and say where the rest is.
fn bounded(text: &str) -> Cow<'_, str> {
    if text.len() <= FIELD_OCTETS_MAX {
        return text.into();
    }
    let end = (0..=FIELD_OCTETS_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let (shown, rest) = text.split_at(end);
    format!("{shown}... {} more, Y copies", bytes(rest.len() as u64)).into()
}

/// How cells are written.
pub struct Pen<'a> {
    buffer: &'a mut Buffer,
    ascii: bool,
    theme: Theme,
    highlight: Highlight,
    sideways: i32,
}

impl<'a> Pen<'a> {
    /// A pen for a buffer.
    pub fn new(buffer: &'a mut Buffer, settings: &Settings) -> Self {
        Self { buffer, ascii: settings.ascii, theme: settings.theme, highlight: settings.highlight, sideways: 0 }
    }

    /// How the selected row is shown.
    pub fn highlight(&self) -> Highlight {
        self.highlight
    }

    /// The same, for tables that are moved sideways by so many columns.
    pub fn moved(self, sideways: i32) -> Self {
        Self { sideways, ..self }
    }

    /// How many columns tables are moved sideways by.
    pub fn sideways(&self) -> i32 {
        self.sideways
    }

    /// Reverses what is in an area, whatever it is.
    pub fn reverse(&mut self, area: Rect) {
        let reversed = self.theme.style(Tone::Current);
        self.buffer.set_style(area.intersection(self.buffer.area), reversed);
    }

    /// The first row of an area whose first cell has the marker of the selected row.
    pub fn marked_row(&self, area: Rect) -> Option<u16> {
        let marker = if self.ascii { to_ascii(MARKER) } else { MARKER.to_owned() };
        let area = area.intersection(self.buffer.area);
        (area.top()..area.bottom()).find(|y| area.width > 0 && self.buffer[(area.x, *y)].symbol() == marker)
    }

    /// Writes text into at most `columns` columns; what doesn't fit ends in `~`. Returns the column after it.
    pub fn put(&mut self, x: u16, y: u16, columns: u16, text: &str, tone: Tone) -> u16 {
        let area = self.buffer.area;
        if y < area.top() || y >= area.bottom() || x < area.left() || x >= area.right() {
            return x;
        }
        let columns = columns.min(area.right() - x);
        let cleaned = clean(text);
        let cleaned = if self.ascii { to_ascii(&cleaned) } else { cleaned };
        let style = self.theme.style(tone);
        let mut at = x;
        for grapheme in cut(&cleaned, columns.into()).graphemes(true) {
            let wide = u16::try_from(grapheme.width()).unwrap_or(u16::MAX);
            if wide == 0 || wide > area.right().saturating_sub(at) {
                continue;
            }
            self.buffer[(at, y)].set_symbol(grapheme).set_style(style);
            for beside in at + 1..at + wide {
                self.buffer[(beside, y)].reset();
                self.buffer[(beside, y)].set_style(style);
            }
            at += wide;
        }
        at
    }

    /// Writes text that ends at a column.
    pub fn put_right(&mut self, right: u16, y: u16, columns: u16, text: &str, tone: Tone) -> u16 {
        let cleaned = clean(text);
        let wide = u16::try_from(width(&cleaned)).unwrap_or(u16::MAX).min(columns).min(right);
        self.put(right - wide, y, wide, &cleaned, tone);
        right - wide
    }

    /// Writes lines into an area from a scroll position, one blank column on the left.
    pub fn lines(&mut self, area: Rect, lines: &[Line], scroll: usize) {
        let scroll = scroll.min(lines.len().saturating_sub(area.height.into()));
        for (y, line) in (area.top()..area.bottom()).zip(&lines[scroll..]) {
            let mut x = area.x + 1;
            for (text, tone) in &line.0 {
                x = self.put(x, y, area.right().saturating_sub(x), text, *tone);
            }
        }
    }

    /// Empties an area.
    pub fn blank(&mut self, area: Rect) {
        for position in area.intersection(self.buffer.area).positions() {
            self.buffer[position].reset();
        }
    }

    /// A frame with a title, and the area inside.
    pub fn frame(&mut self, area: Rect, title: &str) -> Rect {
        self.blank(area);
        let inside = usize::from(area.width.saturating_sub(2));
        let bar = "─".repeat(inside);
        let last = area.bottom().saturating_sub(1);
        for (y, left, right) in [(area.y, "┌", "┐"), (last, "└", "┘")] {
            self.put(area.x, y, area.width, &format!("{left}{bar}{right}"), Tone::Plain);
        }
        for y in area.y + 1..last {
            self.put(area.x, y, 1, "│", Tone::Plain);
            self.put(area.right().saturating_sub(1), y, 1, "│", Tone::Plain);
        }
        self.put(area.x + 1, area.y, area.width.saturating_sub(2), &format!(" {title} "), Tone::Bold);
        Rect {
            x: area.x + 1,
            y: area.y + 1,
            width: area.width.saturating_sub(2),
            height: area.height.saturating_sub(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FIELD_OCTETS_MAX, Text, Tone};

    /// A field that is longer than a screen is for is cut, and says how much more there is and where.
    #[test]
    fn long_fields() {
        for field in ["a line of words\n".repeat(8_000), "\u{e9}".repeat(50_000), "x".repeat(FIELD_OCTETS_MAX + 1)] {
            let mut text = Text::new(80);
            text.words(2, &field, Tone::Plain);
            text.fact("field", &field, Tone::Plain);
            let lines = text.lines();
            let shown: usize = lines.iter().flat_map(|line| &line.0).map(|(text, _)| text.len()).sum();
            let ends = lines.iter().filter(|line| line.0.iter().any(|(text, _)| text.contains("more, Y"))).count();
            assert!(shown < 3 * FIELD_OCTETS_MAX && ends == 2, "{shown} {ends}");
        }
        let mut text = Text::new(80);
        text.words(0, &"x".repeat(FIELD_OCTETS_MAX), Tone::Plain);
        assert!(!text.lines().iter().any(|line| line.0.iter().any(|(text, _)| text.contains("more"))));
    }
}
