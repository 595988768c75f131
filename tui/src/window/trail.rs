//! Where the pages began that were scrolled past, packed: whoever scrolls through ten million entries passes forty thousand
//! pages, and must not pay for it with memory. A stack; nothing is taken from its middle. What a page holds is not known
//! here.

use super::{Cursor, Mark};

/// The marks, the first page's first.
#[derive(Debug, Clone, Default)]
pub(super) struct Trail {
    /// Their cursors as text, one after another.
    text: String,
    marks: Vec<Packed>,
    /// Rows of all of them.
    rows: usize,
    /// Whether no row of the list is before the first of them.
    begins_at_start: bool,
}

#[derive(Debug, Clone, Copy)]
struct Packed {
    octets: u32,
    rows: u32,
}

impl Trail {
    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Rows of all pages.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the first page is the list's; none if there is none.
    pub(super) fn begins_at_start(&self) -> Option<bool> {
        self.marks.first().map(|_| self.begins_at_start)
    }

    /// Where the last page begins.
    pub(super) fn last(&self) -> Option<Cursor> {
        let last = self.marks.last()?;
        let from = self.text.len().checked_sub(last.octets as usize)?;
        self.text.get(from..).map(unpacked)
    }

    pub(super) fn push(&mut self, mark: &Mark) {
        let before = self.text.len();
        pack(&mark.start, &mut self.text);
        // A page has some hundred rows, and a cursor some hundred octets: answers are bounded far below.
        let octets = u32::try_from(self.text.len() - before).unwrap_or(u32::MAX);
        if self.marks.is_empty() {
            self.begins_at_start = mark.is_first();
        }
        self.marks.push(Packed { octets, rows: u32::try_from(mark.rows).unwrap_or(u32::MAX) });
        self.rows += mark.rows;
    }

    pub(super) fn pop(&mut self) {
        if let Some(last) = self.marks.pop() {
            self.text.truncate(self.text.len().saturating_sub(last.octets as usize));
            self.rows = self.rows.saturating_sub(last.rows as usize);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Octets it takes.
    #[cfg(test)]
    fn octets(&self) -> usize {
        self.text.capacity() + self.marks.capacity() * size_of::<Packed>()
    }
}

/// The beginning of a list.
const START: &str = "s";

fn pack(cursor: &Cursor, text: &mut String) {
    match cursor {
        Cursor::Start => text.push_str(START),
        Cursor::Token(token) => {
            text.push('t');
            text.push_str(token);
        }
        Cursor::Before(token) => {
            text.push('p');
            text.push_str(token);
        }
        Cursor::End => text.push('e'),
        Cursor::Below(index) => text.push_str(&format!("b{index}")),
        Cursor::Between(above, below) => text.push_str(&format!("r{above} {below}")),
    }
}

fn unpacked(text: &str) -> Cursor {
    let number = |digits: &str| digits.parse().unwrap_or(0);
    match text.split_at_checked(1) {
        Some(("t", token)) => Cursor::Token(token.to_owned()),
        Some(("p", token)) => Cursor::Before(token.to_owned()),
        Some(("e", _)) => Cursor::End,
        Some(("b", index)) => Cursor::Below(number(index)),
        Some(("r", range)) => {
            let (above, below) = range.split_once(' ').unwrap_or((range, ""));
            Cursor::Between(number(above), number(below))
        }
        Some(_) | None => Cursor::Start,
    }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, Mark, Trail};

    /// What is pushed comes back in reverse, whatever it is.
    #[test]
    fn a_stack() {
        let cursors = [
            Cursor::Start,
            Cursor::Token("eyJuIjoi\u{e4}".to_owned()),
            Cursor::Token(String::new()),
            Cursor::Before("eyJuIjoi".to_owned()),
            Cursor::End,
            Cursor::Below(u64::MAX),
            Cursor::Between(0, 256),
        ];
        let mut trail = Trail::default();
        assert_eq!((trail.last(), trail.begins_at_start()), (None, None));
        for (rows, start) in cursors.iter().enumerate() {
            trail.push(&Mark::new(start.clone(), rows));
        }
        assert_eq!((trail.rows(), trail.begins_at_start()), (21, Some(true)));
        for cursor in cursors.iter().rev() {
            assert_eq!(trail.last().as_ref(), Some(cursor));
            trail.pop();
        }
        assert!(trail.is_empty() && trail.rows() == 0);
        trail.push(&Mark::new(Cursor::Token("s".to_owned()), 1));
        assert_eq!(trail.begins_at_start(), Some(false));
    }

    /// Ten million entries passed by page by page.
    #[test]
    fn ten_million_entries() {
        let mut trail = Trail::default();
        for page in (0..10_000_000_u64).step_by(256) {
            trail.push(&Mark::new(Cursor::Token((10_000_000 - page).to_string()), 256));
        }
        assert!(trail.octets() <= 1_100_000, "{}", trail.octets());
    }
}
