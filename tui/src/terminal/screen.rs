//! ratatui's backend over the tty: a frame is collected and written at once, and a frame in which nothing changed writes
//! nothing at all. It asks the terminal no question: the cursor's place is remembered, not queried.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};

use super::Guard;

/// Frames above so many octets are bracketed as one synchronized update.
const SYNC_ABOVE: usize = 256;
const SYNC_BEGIN: &[u8] = b"\x1b[?2026h";
const SYNC_END: &[u8] = b"\x1b[?2026l";

/// The octets of the frame in the making. Its own `flush` does nothing: crossterm flushes after every cursor command.
#[derive(Clone, Default)]
struct Octets(Rc<RefCell<Vec<u8>>>);

impl Write for Octets {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(octets);
        Ok(octets.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The backend.
pub struct Screen {
    guard: &'static Guard,
    octets: Octets,
    frame: CrosstermBackend<Octets>,
    cursor: Position,
    /// What the terminal was last told; none if that is not known.
    cursor_shown: Option<bool>,
    cursor_told: Option<Position>,
}

impl Screen {
    /// A screen whose terminal was just taken: empty, the cursor hidden.
    pub fn new(guard: &'static Guard) -> Self {
        let octets = Octets::default();
        Self {
            guard,
            frame: CrosstermBackend::new(octets.clone()),
            octets,
            cursor: Position::ORIGIN,
            cursor_shown: Some(false),
            cursor_told: None,
        }
    }
}

impl Backend for Screen {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut content = content.peekable();
        if content.peek().is_none() {
            return Ok(());
        }
        self.cursor_told = None;
        self.frame.draw(content)
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        match self.cursor_shown.replace(false) {
            Some(false) => Ok(()),
            Some(true) | None => self.frame.hide_cursor(),
        }
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        match self.cursor_shown.replace(true) {
            Some(true) => Ok(()),
            Some(false) | None => self.frame.show_cursor(),
        }
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(self.cursor)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.cursor = position.into();
        if self.cursor_told.replace(self.cursor) == Some(self.cursor) {
            return Ok(());
        }
        self.frame.set_cursor_position(self.cursor)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.cursor_told = None;
        self.frame.clear()
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        self.cursor_told = None;
        self.frame.clear_region(clear_type)
    }

    fn size(&self) -> io::Result<Size> {
        let size = self.guard.size();
        Ok(Size::new(size.width, size.height))
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut octets = self.octets.0.borrow_mut();
        if octets.is_empty() {
            return Ok(());
        }
        if octets.len() > SYNC_ABOVE {
            octets.splice(0..0, SYNC_BEGIN.iter().copied());
            octets.extend_from_slice(SYNC_END);
        }
        let result = self.guard.tty().write_all(&octets);
        octets.clear();
        result
    }
}
