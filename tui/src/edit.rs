//! One line of text being typed: characters, a cursor, and the editing keys every shell has.

use std::fmt;

use zeroize::Zeroizing;

use crate::event::{Code, Key};
use crate::secret::Secret;

/// Most octets a line takes.
pub const LINE_OCTETS_MAX: usize = 1024;

/// A line of text and the cursor in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// Room for all that may be typed is taken at once: growing would leave copies behind that are not wiped.
    text: Zeroizing<String>,
    /// Octet offset; always at a character's border.
    cursor: usize,
    hidden: bool,
    /// Most octets it takes.
    room: usize,
    /// Line breaks are taken, typed as C-j.
    breaks: bool,
}

impl Line {
    /// A line that is shown.
    pub fn new(text: &str) -> Self {
        let mut line = Self {
            text: Zeroizing::new(String::with_capacity(LINE_OCTETS_MAX)),
            cursor: 0,
            hidden: false,
            room: LINE_OCTETS_MAX,
            breaks: false,
        };
        line.insert(text);
        line
    }

    /// A line that is shown, takes up to `room` octets, and line breaks among them.
    pub fn long(text: &str, room: usize) -> Self {
        let mut line = Self { room, breaks: true, ..Self::new("") };
        line.insert(text);
        line
    }

    /// Puts another text in place of all there is, as it is: what the daemon has is not changed by being looked at.
    pub fn set(&mut self, text: &str) {
        self.text.clear();
        self.text.push_str(text);
        self.cursor = self.text.len();
    }

    /// A line that is never shown.
    pub fn hidden() -> Self {
        Self { hidden: true, ..Self::new("") }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text before the cursor.
    pub fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// Whether the text must not be shown.
    pub fn is_hidden(&self) -> bool {
        self.hidden
    }

    /// A copy of the text as a secret.
    pub fn secret(&self) -> Secret {
        Secret::new(self.text.as_str().to_owned())
    }

    /// Empties the line.
    pub fn clear(&mut self) {
        *self = Self { hidden: self.hidden, room: self.room, breaks: self.breaks, ..Self::new("") };
    }

    /// Puts text at the cursor. Control characters are left out (a newline in pasted text confirms nothing), and what
    /// would go over [`LINE_OCTETS_MAX`].
    pub fn insert(&mut self, text: &str) {
        let breaks = self.breaks;
        for character in text.chars().filter(|character| !character.is_control() || (breaks && *character == '\n')) {
            if self.text.len() + character.len_utf8() > self.room {
                return;
            }
            self.text.insert(self.cursor, character);
            self.cursor += character.len_utf8();
        }
    }

    /// Takes a key; false if it is none of editing.
    pub fn key(&mut self, key: Key) -> bool {
        match (key.code, key.ctrl) {
            (Code::Char('j'), true) if self.breaks => self.insert("\n"),
            (Code::Char(character), false) => self.insert(character.encode_utf8(&mut [0; 4])),
            (Code::Backspace, _) | (Code::Char('h'), true) => self.remove(self.left(), self.cursor),
            (Code::Delete, _) => self.remove(self.cursor, self.right()),
            (Code::Left, _) | (Code::Char('b'), true) => self.cursor = self.left(),
            (Code::Right, _) | (Code::Char('f'), true) => self.cursor = self.right(),
            (Code::Home, _) | (Code::Char('a'), true) => self.cursor = 0,
            (Code::End, _) | (Code::Char('e'), true) => self.cursor = self.text.len(),
            (Code::Char('u'), true) => self.remove(0, self.cursor),
            (Code::Char('k'), true) => self.remove(self.cursor, self.text.len()),
            (Code::Char('w'), true) => {
                let trimmed = self.before_cursor().trim_end();
                let word = trimmed.rfind(' ').map_or(0, |blank| blank + 1);
                self.remove(word, self.cursor);
            }
            _ => return false,
        }
        true
    }

    /// Takes a key; whether the text is another one by that. What only moves the cursor leaves it.
    pub fn edits(&mut self, key: Key) -> bool {
        // Every key that changes it makes it longer or shorter.
        let octets = self.text.len();
        self.key(key) && self.text.len() != octets
    }

    fn left(&self) -> usize {
        self.before_cursor().char_indices().next_back().map_or(0, |(at, _)| at)
    }

    fn right(&self) -> usize {
        self.text[self.cursor..].chars().next().map_or(self.cursor, |character| self.cursor + character.len_utf8())
    }

    fn remove(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = from;
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hidden { f.write_str("***") } else { fmt::Debug::fmt(self.text.as_str(), f) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::{LINE_OCTETS_MAX, Line};
    use crate::event::keys;

    #[test]
    fn editing() {
        for (typed, text, before) in [
            ("abc<Left><Left>X", "aXbc", "aX"),
            ("one two<C-w>x", "one x", "one x"),
            ("äö<Backspace>", "ä", "ä"),
            ("abc<Home><Delete><End>d", "bcd", "bcd"),
            ("abc<C-a><C-k>z", "z", "z"),
            ("abc<Left><C-u>", "c", ""),
        ] {
            let mut line = Line::new("");
            for key in keys(typed).unwrap() {
                assert!(line.key(key), "{typed}");
            }
            assert_eq!((line.text(), line.before_cursor()), (text, before), "{typed}");
        }
    }

    /// Only what changes the text is an edit.
    #[test]
    fn edits() {
        let mut line = Line::new("ab");
        for (typed, edits) in [
            ("<Left>", false),
            ("<Home>", false),
            ("<Backspace>", false),
            ("<C-w>", false),
            ("<Tab>", false),
            ("<Delete>", true),
            ("<End>", false),
            ("c", true),
            ("<C-u>", true),
            ("<C-u>", false),
        ] {
            for key in keys(typed).unwrap() {
                assert_eq!(line.edits(key), edits, "{typed}");
            }
        }
    }

    #[test]
    fn bounded_and_hidden() {
        let mut line = Line::hidden();
        line.insert(&"é\n".repeat(4000));
        assert_eq!(line.text().len(), LINE_OCTETS_MAX);
        assert!(!line.text().contains('\n'));
        assert_eq!(format!("{line:?}"), "***");
    }
}
