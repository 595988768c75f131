//! ratatui's backend that keeps the screen it has drawn and sends the cheapest octets to the next one: nothing for what is
//! there already, rows that moved are moved, colours and the cursor's place are remembered. A frame is one write. It asks
//! the terminal no question, and knows nothing of what is drawn.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write as _};

use ratatui::backend::{Backend, ClearType, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use ratatui::style::{Color, Modifier};
use unicode_width::UnicodeWidthStr;

/// Frames above so many octets are bracketed as one synchronized update.
const SYNC_ABOVE: usize = 256;
const SYNC_BEGIN: &[u8] = b"\x1b[?2026h";
const SYNC_END: &[u8] = b"\x1b[?2026l";
/// Attributes and scroll region reset, everything empty, the cursor at the first cell.
const WIPE: &[u8] = b"\x1b[0m\x1b[r\x1b[2J\x1b[H";
/// Longest run of unchanged cells that is printed again instead of jumped over: a jump is 3 octets at least.
const GAP_MAX: u16 = 6;
/// Rows that must have moved by the same distance before moving them is considered.
const MOVED_MIN: usize = 2;
/// Distances of movement that are tried.
const SHIFTS_MAX: usize = 2;
/// Rows at the end of a movement that are tried to be carried along, as they differ little from what comes to them.
const CARRIED_MAX: u16 = 4;
/// Attributes that show on a blank.
const ON_BLANKS: Modifier = Modifier::REVERSED.union(Modifier::UNDERLINED).union(Modifier::CROSSED_OUT);
/// Attributes that are sent; blinking and hiding are not the console's.
const SENT: [(Modifier, u8); 6] = [
    (Modifier::BOLD, 1),
    (Modifier::DIM, 2),
    (Modifier::ITALIC, 3),
    (Modifier::UNDERLINED, 4),
    (Modifier::REVERSED, 7),
    (Modifier::CROSSED_OUT, 9),
];

/// Where frames go.
pub trait Tty {
    /// Writes all of a frame, with one call to the system where it can.
    ///
    /// # Errors
    /// What the terminal says.
    fn put(&mut self, octets: &[u8]) -> io::Result<()>;
    /// Columns and rows now.
    fn size(&self) -> Size;
}

/// What is in a cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Text {
    One(char),
    Many(Box<str>),
    /// The second column of a wide character.
    Rest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Ink {
    fg: Color,
    bg: Color,
    modifier: Modifier,
}

impl Ink {
    /// Whether a blank in this ink looks like any other.
    fn is_plain_on_blanks(self) -> bool {
        self.bg == Color::Reset && !self.modifier.intersects(ON_BLANKS)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Spot {
    text: Text,
    ink: Ink,
}

const BLANK: Spot =
    Spot { text: Text::One(' '), ink: Ink { fg: Color::Reset, bg: Color::Reset, modifier: Modifier::empty() } };

impl Spot {
    fn of(cell: &Cell) -> (Self, u16) {
        let symbol = cell.symbol();
        let mut characters = symbol.chars();
        let text = match (characters.next(), characters.next()) {
            (Some(single), None) => Text::One(single),
            (None, _) => Text::One(' '),
            (Some(_), Some(_)) => Text::Many(symbol.into()),
        };
        let modifier = SENT.iter().fold(Modifier::empty(), |all, (one, _)| all | (cell.modifier & *one));
        let mut ink = Ink { fg: cell.fg, bg: cell.bg, modifier };
        if text == Text::One(' ') && ink.is_plain_on_blanks() {
            ink = Ink::default();
        }
        let width = u16::try_from(symbol.width()).unwrap_or(1).max(1);
        (Self { text, ink }, width)
    }

    /// Whether every terminal moves by the same columns for it.
    fn is_of_certain_width(&self) -> bool {
        match self.text {
            Text::One(character) => matches!(character,
                ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{2ff}' | '\u{370}'..='\u{482}' | '\u{2010}'..='\u{2027}'
                | '\u{23ce}' | '\u{2400}'..='\u{2426}' | '\u{2500}'..='\u{259f}' | '\u{3001}'..='\u{3029}'
                | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'),
            Text::Many(_) | Text::Rest => false,
        }
    }
}

/// A screen as the terminal has it, or is to have it.
#[derive(Debug, Clone)]
struct Grid {
    width: u16,
    height: u16,
    spots: Vec<Spot>,
}

impl Grid {
    fn blank(size: Size) -> Self {
        let count = usize::from(size.width) * usize::from(size.height);
        Self { width: size.width, height: size.height, spots: vec![BLANK; count] }
    }

    fn row(&self, y: u16) -> &[Spot] {
        let start = usize::from(y) * usize::from(self.width);
        self.spots.get(start..start + usize::from(self.width)).unwrap_or_default()
    }

    fn place(&mut self, x: u16, y: u16) -> Option<&mut Spot> {
        if x >= self.width || y >= self.height {
            return None;
        }
        self.spots.get_mut(usize::from(y) * usize::from(self.width) + usize::from(x))
    }

    /// Rows `top..=bottom` moved up by `by` (down if negative); what comes in is blank.
    fn moved(&self, shift: &Shift) -> Self {
        let mut moved = self.clone();
        let width = usize::from(self.width);
        for y in shift.top..=shift.bottom {
            let from = i32::from(y) + shift.by;
            let target = usize::from(y) * width..(usize::from(y) + 1) * width;
            match u16::try_from(from) {
                Ok(from) if (shift.top..=shift.bottom).contains(&from) => {
                    moved.spots[target].clone_from_slice(self.row(from));
                }
                Ok(_) | Err(_) => moved.spots[target].fill(BLANK),
            }
        }
        moved
    }
}

/// Rows that move together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shift {
    top: u16,
    bottom: u16,
    by: i32,
}

/// The octets of a frame in the making, and what they leave the terminal in.
#[derive(Debug, Clone)]
struct Pencil {
    octets: Vec<u8>,
    /// Where the terminal's cursor is; none if that is not certain. `x == width` is after the last column.
    at: Option<(u16, u16)>,
    ink: Ink,
    width: u16,
}

impl Pencil {
    fn add(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    // ---- moving -----------------------------------------------------------------------------------------------------

    /// To a cell, the shortest way. `row` is what is on the screen in that row.
    fn go(&mut self, row: &[Spot], x: u16, y: u16) {
        if self.at == Some((x, y)) {
            return;
        }
        let mut best = Vec::with_capacity(12);
        match (x, y) {
            (0, 0) => best.extend_from_slice(b"\x1b[H"),
            (0, _) => sequence(&mut best, &[y + 1], b'H'),
            (_, _) => sequence(&mut best, &[y + 1, x + 1], b'H'),
        }
        if let Some((from_x, from_y)) = self.at
            && let Some(down) = y.checked_sub(from_y)
            && usize::from(down) < best.len()
        {
            let lines = vec![b'\n'; down.into()];
            let mut consider = |way: Vec<u8>| {
                if way.len() < best.len() {
                    best = way;
                }
            };
            // A line feed keeps the column, but after the last column nobody knows which that is.
            if down == 0 || from_x < self.width {
                consider([lines.clone(), self.sideways(from_x, x)].concat());
            }
            consider([&b"\r"[..], &lines, &self.sideways(0, x)].concat());
            if down == 0
                && let Some(gap) = self.again(row, from_x, x)
            {
                consider(gap);
            }
        }
        self.add(&best);
        self.at = Some((x, y));
    }

    /// From a column to another in the same row.
    fn sideways(&self, from: u16, to: u16) -> Vec<u8> {
        let mut way = Vec::with_capacity(8);
        match (from, to) {
            (from, to) if from == to => {}
            (_, 0) => way.push(b'\r'),
            (from, to) if to == from + 1 => sequence(&mut way, &[], b'C'),
            (from, to) if from < to => sequence(&mut way, &[to - from], b'C'),
            (from, to) if from < self.width && from - to <= 3 => way.resize((from - to).into(), 0x08),
            (_, to) => sequence(&mut way, &[to + 1], b'G'),
        }
        way
    }

    /// The unchanged cells between two columns once more, where that needs no other ink.
    fn again(&self, row: &[Spot], from: u16, to: u16) -> Option<Vec<u8>> {
        if to <= from || to - from > GAP_MAX {
            return None;
        }
        let octet = |spot: &Spot| match spot.text {
            Text::One(' ') if spot.ink == BLANK.ink && self.ink.is_plain_on_blanks() => Some(b' '),
            Text::One(plain @ ' '..='~') if spot.ink == self.ink => u8::try_from(plain).ok(),
            Text::One(_) | Text::Many(_) | Text::Rest => None,
        };
        row.get(from.into()..to.into())?.iter().map(octet).collect()
    }

    // ---- printing ---------------------------------------------------------------------------------------------------

    fn take_ink(&mut self, ink: Ink) {
        if self.ink == ink {
            return;
        }
        let mut anew: Vec<u8> = Vec::with_capacity(16);
        let mut parts: Vec<String> = Vec::new();
        let described = |parts: &mut Vec<String>, from: Ink| {
            parts.extend(
                SENT.iter()
                    .filter(|(one, _)| ink.modifier.contains(*one) && !from.modifier.contains(*one))
                    .map(|(_, number)| number.to_string()),
            );
            if ink.fg != from.fg {
                parts.push(colour(ink.fg, false));
            }
            if ink.bg != from.bg {
                parts.push(colour(ink.bg, true));
            }
        };
        described(&mut parts, Ink::default());
        let reset = if parts.is_empty() { String::new() } else { format!("0;{}", parts.join(";")) };
        sgr(&mut anew, &reset);
        let gone = self.ink.modifier - ink.modifier;
        let mut parts: Vec<String> = Vec::new();
        let mut kept = self.ink;
        for (group, number) in [
            (Modifier::BOLD | Modifier::DIM, 22),
            (Modifier::ITALIC, 23),
            (Modifier::UNDERLINED, 24),
            (Modifier::REVERSED, 27),
            (Modifier::CROSSED_OUT, 29),
        ] {
            if gone.intersects(group) {
                parts.push(number.to_string());
                kept.modifier -= group;
            }
        }
        described(&mut parts, kept);
        let mut changed: Vec<u8> = Vec::with_capacity(16);
        sgr(&mut changed, &parts.join(";"));
        self.add(if changed.len() < anew.len() { &changed } else { &anew });
        self.ink = ink;
    }

    fn print(&mut self, spot: &Spot, x: u16, y: u16, columns: u16) {
        let is_blank = spot.text == Text::One(' ') && spot.ink == BLANK.ink;
        if !(is_blank && self.ink.is_plain_on_blanks()) {
            self.take_ink(spot.ink);
        }
        match &spot.text {
            Text::One(character) => self.add(character.encode_utf8(&mut [0; 4]).as_bytes()),
            Text::Many(text) => self.add(text.as_bytes()),
            Text::Rest => {}
        }
        self.at = spot.is_of_certain_width().then_some((x + columns, y));
    }

    /// Rows of the terminal moved; the cursor is at the first cell then.
    fn shift(&mut self, shift: &Shift) {
        if !self.ink.is_plain_on_blanks() {
            self.take_ink(Ink::default());
        }
        sequence(&mut self.octets, &[shift.top + 1, shift.bottom + 1], b'r');
        let count = usize::try_from(shift.by.unsigned_abs()).unwrap_or(0);
        if shift.by > 0 {
            sequence(&mut self.octets, &[shift.bottom + 1], b'H');
            self.octets.resize(self.octets.len() + count, b'\n');
        } else {
            sequence(&mut self.octets, &[shift.top + 1], b'H');
            for _ in 0..count {
                self.add(b"\x1bM");
            }
        }
        self.add(b"\x1b[r");
        self.at = Some((0, 0));
    }

    /// Everything that differs between two screens.
    fn draw(&mut self, shown: &Grid, wanted: &Grid) {
        for y in 0..wanted.height {
            self.draw_row(shown.row(y), wanted.row(y), y);
        }
    }

    fn draw_row(&mut self, shown: &[Spot], wanted: &[Spot], y: u16) {
        let Some(mut dirty) = dirty(shown, wanted) else { return };
        let end = wanted.iter().rposition(|spot| *spot != BLANK).map_or(0, |last| last + 1);
        let tail = dirty.iter().skip(end).filter(|dirty| **dirty).count();
        // Three octets empty the rest of a row; fewer cells than that are printed.
        let wipe_from =
            if tail > 3 { dirty.iter().skip(end).position(|dirty| *dirty).map(|at| at + end) } else { None };
        if let Some(from) = wipe_from {
            dirty[from..].fill(false);
        }
        for (x, spot) in wanted.iter().enumerate().filter(|(x, spot)| dirty[*x] && spot.text != Text::Rest) {
            let columns = 1 + wanted[x + 1..].iter().take_while(|next| next.text == Text::Rest).count();
            let (Ok(x), Ok(columns)) = (u16::try_from(x), u16::try_from(columns)) else { return };
            self.go(wanted, x, y);
            self.print(spot, x, y, columns);
        }
        if let Some(x) = wipe_from.and_then(|from| u16::try_from(from).ok()) {
            self.go(wanted, x, y);
            if !self.ink.is_plain_on_blanks() {
                self.take_ink(Ink::default());
            }
            self.add(b"\x1b[K");
        }
    }
}

/// Which cells must be sent; none if none. A wide character is sent whole: terminals disagree about halves.
fn dirty(shown: &[Spot], wanted: &[Spot]) -> Option<Vec<bool>> {
    let mut dirty: Vec<bool> = shown.iter().zip(wanted).map(|(shown, wanted)| shown != wanted).collect();
    if !dirty.contains(&true) {
        return None;
    }
    let has_wide = |row: &[Spot]| row.iter().any(|spot| spot.text == Text::Rest);
    if !has_wide(shown) && !has_wide(wanted) {
        return Some(dirty);
    }
    loop {
        let before = dirty.clone();
        for row in [shown, wanted] {
            for x in 1..row.len().min(dirty.len()) {
                if row[x].text == Text::Rest && dirty[x] != dirty[x - 1] {
                    (dirty[x - 1], dirty[x]) = (true, true);
                }
            }
        }
        if before == dirty {
            return Some(dirty);
        }
    }
}

fn sequence(octets: &mut Vec<u8>, numbers: &[u16], last: u8) {
    octets.extend_from_slice(b"\x1b[");
    for (place, number) in numbers.iter().enumerate() {
        if place > 0 {
            octets.push(b';');
        }
        write!(octets, "{number}").expect("writing to a Vec can't fail");
    }
    octets.push(last);
}

fn sgr(octets: &mut Vec<u8>, parameters: &str) {
    write!(octets, "\x1b[{parameters}m").expect("writing to a Vec can't fail");
}

/// The sixteen colours in their short form, others as chosen.
fn colour(colour: Color, ground: bool) -> String {
    let offset = if ground { 10 } else { 0 };
    let long = 38 + offset;
    let short = |number: u8| (number + offset).to_string();
    match colour {
        Color::Reset => short(39),
        Color::Black => short(30),
        Color::Red => short(31),
        Color::Green => short(32),
        Color::Yellow => short(33),
        Color::Blue => short(34),
        Color::Magenta => short(35),
        Color::Cyan => short(36),
        Color::Gray => short(37),
        Color::DarkGray => short(90),
        Color::LightRed => short(91),
        Color::LightGreen => short(92),
        Color::LightYellow => short(93),
        Color::LightBlue => short(94),
        Color::LightMagenta => short(95),
        Color::LightCyan => short(96),
        Color::White => short(97),
        Color::Indexed(number) => format!("{long};5;{number}"),
        Color::Rgb(red, green, blue) => format!("{long};2;{red};{green};{blue}"),
    }
}

// ---- rows that moved ------------------------------------------------------------------------------------------------

fn hash(row: &[Spot]) -> u64 {
    let mut hasher = DefaultHasher::new();
    row.hash(&mut hasher);
    hasher.finish()
}

/// Movements worth trying: those that bring the most rows to their place.
fn shifts(shown: &Grid, wanted: &Grid) -> Vec<Shift> {
    let rows = i32::from(wanted.height);
    let hashes = |grid: &Grid| -> Vec<Option<u64>> {
        let is_blank = |row: &[Spot]| row.iter().all(|spot| *spot == BLANK);
        (0..grid.height).map(|y| grid.row(y)).map(|row| (!is_blank(row)).then(|| hash(row))).collect()
    };
    let (old, new) = (hashes(shown), hashes(wanted));
    let changed = new.iter().zip(&old).filter(|(new, old)| new != old).count();
    if changed <= MOVED_MIN {
        return Vec::new();
    }
    let mut found: Vec<(usize, Shift)> = Vec::new();
    for by in (1 - rows..rows).filter(|by| *by != 0) {
        let came = |y: i32| -> bool {
            let (Ok(to), Ok(from)) = (usize::try_from(y), usize::try_from(y + by)) else { return false };
            let (Some(new), Some(old)) = (new.get(to), old.get(from)) else { return false };
            new.is_some() && new == old
        };
        let moved: Vec<i32> = (0..rows).filter(|y| came(*y)).collect();
        let useful = moved.iter().filter(|y| usize::try_from(**y).is_ok_and(|y| new[y] != old[y])).count();
        let (Some(first), Some(last)) = (moved.first(), moved.last()) else { continue };
        if useful < MOVED_MIN {
            continue;
        }
        // Rows that stay where they are must not be carried along at the ends.
        let stays = |y: &&i32| usize::try_from(**y).is_ok_and(|y| new[y] != old[y]);
        let first = moved.iter().find(stays).unwrap_or(first);
        let last = moved.iter().rev().find(stays).unwrap_or(last);
        let (top, bottom) = if by > 0 { (*first, last + by) } else { (first + by, *last) };
        let (Ok(top), Ok(bottom)) = (u16::try_from(top), u16::try_from(bottom)) else { continue };
        if top < bottom && bottom < wanted.height {
            found.push((useful, Shift { top, bottom, by }));
        }
    }
    found.sort_by_key(|(useful, shift)| (usize::MAX - useful, shift.by.unsigned_abs()));
    let changes = |y: u16| new.get(usize::from(y)) != old.get(usize::from(y));
    found
        .into_iter()
        .take(SHIFTS_MAX)
        .flat_map(|(_, shift)| [Some(shift), wider(shift, rows, changes)])
        .flatten()
        .collect()
}

/// The same movement with the rows next to its end, where they change anyway: the newest row of a list is marked, so it is not
/// the same when it has moved up by one, and yet most of it is.
fn wider(shift: Shift, rows: i32, changes: impl Fn(u16) -> bool) -> Option<Shift> {
    let beyond = |step: u16| match shift.by > 0 {
        true => shift.bottom.checked_add(step).filter(|y| i32::from(*y) < rows),
        false => shift.top.checked_sub(step),
    };
    let end = (1..=CARRIED_MAX).map_while(|step| beyond(step).filter(|y| changes(*y))).last()?;
    Some(if shift.by > 0 { Shift { bottom: end, ..shift } } else { Shift { top: end, ..shift } })
}

// ---- the backend ----------------------------------------------------------------------------------------------------

/// The backend.
pub struct Lean<T> {
    tty: T,
    shown: Grid,
    wanted: Grid,
    at: Option<(u16, u16)>,
    ink: Ink,
    /// The screen is emptied before the next frame: nobody knows what is on it.
    wipe: bool,
    cursor: Position,
    cursor_wanted: bool,
    cursor_shown: bool,
    /// Where the last wide character of this frame ends.
    wide_end: Option<(u16, u16)>,
    written: u64,
}

impl<T: Tty> Lean<T> {
    /// For a terminal that was just taken: empty, no attributes, the cursor hidden.
    pub fn new(tty: T) -> Self {
        let size = tty.size();
        Self {
            tty,
            shown: Grid::blank(size),
            wanted: Grid::blank(size),
            at: None,
            ink: Ink::default(),
            wipe: false,
            cursor: Position::ORIGIN,
            cursor_wanted: false,
            cursor_shown: false,
            wide_end: None,
            written: 0,
        }
    }

    /// Octets written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The terminal was taken anew: it is empty, and its cursor hidden.
    pub fn forget(&mut self) {
        self.cursor_shown = false;
        self.at = None;
        self.ink = Ink::default();
    }

    /// The terminal the frames go to.
    pub fn tty(&self) -> &T {
        &self.tty
    }

    fn put(&mut self, x: u16, y: u16, cell: &Cell) {
        let (spot, width) = Spot::of(cell);
        // The second half of a wide character needs no blank of its own.
        if spot == BLANK && self.wide_end.is_some_and(|(end, row)| row == y && x < end) {
            return;
        }
        let width = if x + width > self.wanted.width { 1 } else { width };
        let Some(place) = self.wanted.place(x, y) else { return };
        let was_rest = place.text == Text::Rest;
        let ink = spot.ink;
        *place = spot;
        for beside in x + 1..x + width {
            if let Some(rest) = self.wanted.place(beside, y) {
                *rest = Spot { text: Text::Rest, ink };
            }
        }
        // Halves that are left of what was there before are blanks in its ink: where that is what is wanted, nothing was sent.
        let mut beside = x + width;
        while let Some(rest) = self.wanted.place(beside, y).filter(|rest| rest.text == Text::Rest) {
            *rest = if rest.ink.is_plain_on_blanks() { BLANK } else { Spot { text: Text::One(' '), ..rest.clone() } };
            beside += 1;
        }
        if was_rest {
            let mut left = x;
            while let Some(before) = left.checked_sub(1) {
                left = before;
                let Some(place) = self.wanted.place(left, y) else { break };
                let was_rest = place.text == Text::Rest;
                *place = BLANK;
                if !was_rest {
                    break;
                }
            }
        }
        if width > 1 {
            self.wide_end = Some((x + width, y));
        }
    }

    /// The octets from what is shown to what is wanted.
    fn frame(&self) -> Pencil {
        let start = Pencil { octets: Vec::with_capacity(4096), at: self.at, ink: self.ink, width: self.wanted.width };
        if self.wipe {
            let mut pencil = Pencil { at: Some((0, 0)), ink: Ink::default(), ..start };
            pencil.add(WIPE);
            pencil.draw(&Grid::blank(Size::new(self.wanted.width, self.wanted.height)), &self.wanted);
            return pencil;
        }
        let mut best = start.clone();
        best.draw(&self.shown, &self.wanted);
        if best.octets.len() <= SYNC_ABOVE / 2 {
            return best;
        }
        for shift in shifts(&self.shown, &self.wanted) {
            let mut moved = start.clone();
            moved.shift(&shift);
            moved.draw(&self.shown.moved(&shift), &self.wanted);
            if moved.octets.len() < best.octets.len() {
                best = moved;
            }
        }
        // A screen that has little in common with the next one is cheaper emptied first.
        let mut anew = Pencil { at: Some((0, 0)), ink: Ink::default(), ..start };
        anew.add(b"\x1b[m\x1b[H\x1b[2J");
        anew.draw(&Grid::blank(Size::new(self.wanted.width, self.wanted.height)), &self.wanted);
        if anew.octets.len() < best.octets.len() {
            best = anew;
        }
        best
    }
}

impl<T: Tty> Backend for Lean<T> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        self.wide_end = None;
        for (x, y, cell) in content {
            self.put(x, y, cell);
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.cursor_wanted = false;
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.cursor_wanted = true;
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(self.cursor)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.cursor = position.into();
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, _region: ClearType) -> io::Result<()> {
        // The console draws whole screens: whatever is to be cleared, all is drawn again.
        let size = self.tty.size();
        (self.shown, self.wanted) = (Grid::blank(size), Grid::blank(size));
        self.wipe = true;
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        Ok(self.tty.size())
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.tty.size(), pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut pencil = self.frame();
        if self.cursor_shown && !self.cursor_wanted {
            pencil.add(b"\x1b[?25l");
        }
        if self.cursor_wanted {
            let Position { x, y } = self.cursor;
            if x < self.wanted.width && y < self.wanted.height {
                pencil.go(self.wanted.row(y), x, y);
            }
            if !self.cursor_shown {
                pencil.add(b"\x1b[?25h");
            }
        }
        let Pencil { mut octets, at, ink, .. } = pencil;
        (self.at, self.ink) = (at, ink);
        self.cursor_shown = self.cursor_wanted;
        self.wipe = false;
        self.shown.clone_from(&self.wanted);
        if octets.is_empty() {
            return Ok(());
        }
        if octets.len() > SYNC_ABOVE {
            octets.splice(0..0, SYNC_BEGIN.iter().copied());
            octets.extend_from_slice(SYNC_END);
        }
        self.written += u64::try_from(octets.len()).unwrap_or(0);
        self.tty.put(&octets)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::io;

    use proptest::collection::vec;
    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
    use proptest::sample::select;
    use proptest::test_runner::Config;
    use ratatui::Terminal;
    use ratatui::buffer::Buffer;
    use ratatui::layout::{Position, Size};
    use ratatui::style::{Color, Modifier, Style};
    use unicode_width::UnicodeWidthStr;

    use super::{Lean, ON_BLANKS, Tty};

    /// A terminal that only remembers.
    struct Memory {
        screen: vt100::Parser,
        writes: Vec<usize>,
    }

    impl Tty for Memory {
        fn put(&mut self, octets: &[u8]) -> io::Result<()> {
            self.screen.process(octets);
            self.writes.push(octets.len());
            Ok(())
        }
        fn size(&self) -> Size {
            let (rows, columns) = self.screen.screen().size();
            Size::new(columns, rows)
        }
    }

    fn terminal(columns: u16, rows: u16) -> Terminal<Lean<Memory>> {
        let mut screen = vt100::Parser::new(rows, columns, 0);
        screen.process(b"\x1b[?25l");
        Terminal::new(Lean::new(Memory { screen, writes: Vec::new() })).unwrap()
    }

    fn colour(colour: Color) -> vt100::Color {
        match colour {
            Color::Red => vt100::Color::Idx(1),
            Color::LightBlue => vt100::Color::Idx(12),
            Color::Indexed(number) => vt100::Color::Idx(number),
            Color::Rgb(red, green, blue) => vt100::Color::Rgb(red, green, blue),
            _ => vt100::Color::Default,
        }
    }

    /// Every cell and attribute of the terminal is that of the buffer; on blanks only those that show.
    fn same(screen: &vt100::Screen, buffer: &Buffer) -> Result<(), String> {
        for y in 0..buffer.area.height {
            let mut skip = 0;
            for x in 0..buffer.area.width {
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                let wanted = &buffer[(x, y)];
                skip = wanted.symbol().width().saturating_sub(1);
                let got = screen.cell(y, x).unwrap();
                let text = if got.has_contents() { got.contents() } else { " " };
                let mut facts = vec![
                    text == wanted.symbol(),
                    got.bgcolor() == colour(wanted.bg),
                    got.inverse() == wanted.modifier.contains(Modifier::REVERSED),
                    got.underline() == wanted.modifier.contains(Modifier::UNDERLINED),
                ];
                if text != " " || wanted.bg != Color::Reset || wanted.modifier.intersects(ON_BLANKS) {
                    facts.extend([
                        got.fgcolor() == colour(wanted.fg),
                        got.bold() == wanted.modifier.contains(Modifier::BOLD),
                        got.dim() == wanted.modifier.contains(Modifier::DIM),
                        got.italic() == wanted.modifier.contains(Modifier::ITALIC),
                    ]);
                }
                if facts.contains(&false) {
                    return Err(format!("{x},{y}: wanted {wanted:?}, got {got:?}; {facts:?}"));
                }
            }
        }
        Ok(())
    }

    #[derive(Debug, Clone)]
    enum Change {
        Text(u16, u16, String, u8),
        Scroll(u16, u16, i16),
        Blank(u16, u16, u16),
        Clear,
        Cursor(Option<(u16, u16)>),
        Resize(u16, u16),
        Repaint,
    }

    fn style(number: u8) -> Style {
        match number % 9 {
            0 | 1 => Style::new(),
            2 => Style::new().add_modifier(Modifier::BOLD),
            3 => Style::new().add_modifier(Modifier::DIM),
            4 => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            5 => Style::new().add_modifier(Modifier::REVERSED),
            6 => Style::new().fg(Color::Indexed(200)).bg(Color::LightBlue),
            7 => Style::new().fg(Color::Rgb(1, 2, 3)).add_modifier(Modifier::ITALIC | Modifier::UNDERLINED),
            _ => Style::new().add_modifier(Modifier::DIM | Modifier::REVERSED),
        }
    }

    fn change() -> impl Strategy<Value = Change> {
        let piece = select(vec!["a", "b ", "long words", " ", "     ", "▌", "─", "é", "日", "本語", "e\u{301}", "~"]);
        let text = vec(piece, 1..8).prop_map(|pieces| pieces.concat());
        prop_oneof![
            8 => (0u16..40, 0u16..14, text, any::<u8>()).prop_map(|(x, y, text, style)| Change::Text(x, y, text, style)),
            4 => (0u16..14, 0u16..14, -5i16..=5).prop_map(|(top, bottom, by)| Change::Scroll(top, bottom, by)),
            2 => (0u16..40, 0u16..14, 0u16..40).prop_map(|(x, y, count)| Change::Blank(x, y, count)),
            1 => Just(Change::Clear),
            2 => proptest::option::of((0u16..40, 0u16..14)).prop_map(Change::Cursor),
            1 => (1u16..40, 1u16..14).prop_map(|(columns, rows)| Change::Resize(columns, rows)),
            1 => Just(Change::Repaint),
        ]
    }

    /// Writes text as the console's pen does: wide characters take two cells, and never straddle an edge or a half.
    fn put(buffer: &mut Buffer, x: u16, y: u16, text: &str, style: Style) {
        use unicode_segmentation::UnicodeSegmentation as _;
        let area = buffer.area;
        let mut at = x;
        for grapheme in text.graphemes(true) {
            let wide = u16::try_from(grapheme.width()).unwrap();
            if y >= area.height || at + wide > area.width {
                return;
            }
            buffer[(at, y)].reset();
            buffer[(at, y)].set_symbol(grapheme).set_style(style);
            for beside in at + 1..at + wide {
                buffer[(beside, y)].reset();
                buffer[(beside, y)].set_style(style);
            }
            at += wide;
        }
    }

    fn apply(lines: &mut [Vec<(String, u8)>], change: &Change, columns: u16) {
        let rows = lines.len();
        let blank = || vec![(" ".to_owned(), 0); columns.into()];
        match change {
            Change::Text(x, y, text, style) => {
                let Some(line) = lines.get_mut(usize::from(*y)) else { return };
                use unicode_segmentation::UnicodeSegmentation as _;
                for (place, grapheme) in (usize::from(*x)..line.len()).zip(text.graphemes(true)) {
                    line[place] = (grapheme.to_owned(), *style);
                }
            }
            Change::Scroll(top, bottom, by) => {
                let (top, bottom) = (usize::from(*top).min(rows), (usize::from(*bottom) + 1).min(rows));
                if top >= bottom {
                    return;
                }
                let before = lines.to_vec();
                for (y, line) in lines.iter_mut().enumerate().take(bottom).skip(top) {
                    let from = i64::try_from(y).unwrap() + i64::from(*by);
                    let from = usize::try_from(from).ok().filter(|from| (top..bottom).contains(from));
                    *line = from.map_or_else(blank, |from| before[from].clone());
                }
            }
            Change::Blank(x, y, count) => {
                let Some(line) = lines.get_mut(usize::from(*y)) else { return };
                for place in line.iter_mut().skip(usize::from(*x)).take(usize::from(*count)) {
                    *place = (" ".to_owned(), 0);
                }
            }
            Change::Clear => lines.iter_mut().for_each(|line| *line = blank()),
            Change::Cursor(_) | Change::Resize(..) | Change::Repaint => {}
        }
    }

    /// A wide character moves by one column, and a blank in the ink of the one before stands where its second half was.
    #[test]
    fn a_wide_character_moves_by_a_column() {
        let mut terminal = terminal(10, 1);
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        for text in [" 日", "日 "] {
            let mut drawn = Buffer::default();
            terminal
                .draw(|frame| {
                    put(frame.buffer_mut(), 3, 0, text, reversed);
                    drawn = frame.buffer_mut().clone();
                })
                .unwrap();
            same(terminal.backend().tty.screen.screen(), &drawn).unwrap();
        }
    }

    proptest! {
        #![proptest_config(Config { cases: 400, ..Config::default() })]

        /// Whatever is drawn after whatever, the terminal shows it, with one write a frame, and none for the same again.
        #[test]
        fn any_screen_after_any(
            (columns, rows) in (1u16..40, 1u16..14),
            frames in vec(vec(change(), 1..5), 1..12),
        ) {
            let mut terminal = terminal(columns, rows);
            let (mut columns, mut rows) = (columns, rows);
            let mut lines = vec![vec![(" ".to_owned(), 0u8); columns.into()]; rows.into()];
            let mut cursor = None;
            for changes in frames {
                for change in &changes {
                    match change {
                        Change::Cursor(at) => cursor = at.map(|(x, y)| Position { x: x % columns, y: y % rows }),
                        Change::Resize(wide, high) => {
                            (columns, rows) = (*wide, *high);
                            terminal.backend_mut().tty.screen.screen_mut().set_size(rows, columns);
                            lines.resize(rows.into(), Vec::new());
                            lines.iter_mut().for_each(|line| line.resize(columns.into(), (" ".to_owned(), 0)));
                            cursor = None;
                        }
                        Change::Repaint => {
                            // From the first place on: the crate panics where the only row wraps.
                            terminal.backend_mut().tty.screen.process(b"\x1b[H\x1b[7mx");
                            terminal.clear().unwrap();
                        }
                        _ => apply(&mut lines, change, columns),
                    }
                }
                for round in 0..2 {
                    let before = terminal.backend().tty.writes.len();
                    let mut drawn = Buffer::default();
                    terminal.draw(|frame| {
                        for (y, line) in (0..).zip(&lines) {
                            let mut x = 0;
                            for (text, number) in line {
                                put(frame.buffer_mut(), x, y, text, style(*number));
                                x += u16::try_from(text.width()).unwrap();
                            }
                        }
                        if let Some(position) = cursor {
                            frame.set_cursor_position(position);
                        }
                        drawn = frame.buffer_mut().clone();
                    }).unwrap();
                    let tty = &terminal.backend().tty;
                    let screen = tty.screen.screen();
                    same(screen, &drawn).map_err(proptest::test_runner::TestCaseError::fail)?;
                    let writes = tty.writes.len() - before;
                    proptest::prop_assert!(writes <= 1 - round, "{writes} writes in round {round}");
                    proptest::prop_assert_eq!(screen.hide_cursor(), cursor.is_none());
                    if let Some(position) = cursor {
                        proptest::prop_assert_eq!(screen.cursor_position(), (position.y, position.x));
                    }
                }
            }
        }
    }

    fn rows(first: usize, count: usize, selected: usize) -> Vec<String> {
        (first..first + count)
            .map(|number| {
                let mark = if number == selected { '▌' } else { ' ' };
                format!("{mark} 1000{number:04}  12:02:20  alice     model.update          team-nlp/intent-router v52      ok")
            })
            .collect()
    }

    fn octets(terminal: &mut Terminal<Lean<Memory>>, lines: &[String]) -> usize {
        let before = terminal.backend().written();
        terminal
            .draw(|frame| {
                for (y, line) in (2..).zip(lines) {
                    put(frame.buffer_mut(), 0, y, line, Style::new());
                }
            })
            .unwrap();
        usize::try_from(terminal.backend().written() - before).unwrap()
    }

    /// What frames cost (console.md §6 and §19): nothing for the same, a few octets for the marker, a row for a row.
    #[test]
    fn budgets() {
        let mut terminal = terminal(100, 30);
        let whole = octets(&mut terminal, &rows(0, 26, 3));
        let same = octets(&mut terminal, &rows(0, 26, 3));
        let marker = octets(&mut terminal, &rows(0, 26, 4));
        let tail = octets(&mut terminal, &rows(1, 26, 4));
        let ten = octets(&mut terminal, &rows(11, 26, 12));
        let back = octets(&mut terminal, &rows(8, 26, 12));
        assert_eq!(same, 0);
        for (what, octets, most) in [
            ("whole", whole, 2_700),
            ("marker", marker, 20),
            ("tail", tail, 140),
            ("ten rows", ten, 1_000),
            ("three rows back", back, 340),
        ] {
            assert!(octets <= most, "{what}: {octets} octets");
        }
        // A tail that is followed: the mark stays at the foot, and every row passes below it.
        let foot = |first: usize| rows(first, 26, first + 25);
        octets(&mut terminal, &foot(100));
        let followed = octets(&mut terminal, &foot(101));
        let two = octets(&mut terminal, &foot(103));
        assert!(followed <= 100 && two <= 130, "followed: {followed} octets a row, {two} for two");
        println!(
            "followed {followed} {two}; whole {whole}, marker {marker}, one row {tail}, ten rows {ten}, three rows back {back}"
        );
    }
}
