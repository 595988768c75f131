//! What the screens cost on the way to the terminal (console.md §19): one write a frame, nothing for nothing.

use std::io;

use ratatui::Terminal;
use ratatui::layout::Size as Area;
use tui::config::Credential;
use tui::event::{EventKind, Gesture, Mouse, Size};
use tui::state::Highlight;
use tui::terminal::lean::{Lean, Tty};
use tui::view::draw;

use crate::console::{Console, Registry};

/// A terminal that remembers what it was sent.
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
    fn size(&self) -> Area {
        let (rows, columns) = self.screen.screen().size();
        Area::new(columns, rows)
    }
}

struct Shown {
    console: Console,
    terminal: Terminal<Lean<Memory>>,
}

impl Shown {
    fn new(console: Console) -> Self {
        let Size { width, height } = console.state.size;
        let memory = Memory { screen: vt100::Parser::new(height, width, 0), writes: Vec::new() };
        Self { console, terminal: Terminal::new(Lean::new(memory)).unwrap() }
    }

    /// Draws; the octets it took. The terminal must show what the console means, in one write at most.
    fn frame(&mut self) -> usize {
        let before = self.terminal.backend().tty().writes.len();
        self.terminal.draw(|frame| draw(&self.console.state, frame)).unwrap();
        let tty = self.terminal.backend().tty();
        let (_, columns) = tty.screen.screen().size();
        let shown: Vec<String> = tty.screen.screen().rows(0, columns).map(|row| row.trim_end().to_owned()).collect();
        let meant: Vec<String> = self.console.screen().lines().map(str::to_owned).collect();
        assert_eq!(shown, meant);
        let new = &tty.writes[before..];
        assert!(new.len() <= 1, "{} writes", new.len());
        new.iter().sum()
    }

    fn after(&mut self, keys: &str) -> usize {
        self.console.press(keys).wait(400);
        self.frame()
    }
}

fn shown(highlight: Highlight) -> Shown {
    let mut console = Console::signed_in(100, 30, Registry::default());
    console.state.settings.highlight = highlight;
    console.wait(10_000);
    Shown::new(console)
}

#[test]
fn budgets() {
    let mut login = Console::new(Size { width: 100, height: 30 }, Registry::default());
    login.begin(Credential::Ask);
    let first = Shown::new(login).frame();
    assert!(first <= 4_096, "the first frame has {first} octets");

    let mut shown = shown(Highlight::Key);
    let models = shown.frame();
    assert_eq!(shown.frame(), 0, "nothing changed");
    let step = shown.after("j");
    let page = shown.after("<PgDn>");
    let mut screens = vec![("models", models)];
    for (name, keys) in [
        ("audit", "2"),
        ("queue", "3"),
        ("quarantine", "4"),
        ("users", "5"),
        ("health", "6"),
        ("back", "1"),
        ("help", "?"),
        ("closed", "<Esc>"),
    ] {
        screens.push((name, shown.after(keys)));
    }
    println!("first frame {first}, one j {step}, a page {page}, screens {screens:?}");
    // The pane beside the list follows the selection; the row and its marker alone are below.
    for (name, octets) in screens {
        assert!(octets <= 4_096, "{name}: {octets} octets");
    }
    assert!(page <= 2_560, "a page: {page} octets");
}

/// Beside a pane a step costs no more: the pane follows when the selection rests.
#[test]
fn the_pane_follows_at_rest() {
    let mut shown = shown(Highlight::Key);
    shown.frame();
    let name = |shown: &Shown| shown.console.state.models.list.selected().unwrap().name.to_string();
    let first = name(&shown);
    let mut octets = Vec::new();
    for _ in 0..5 {
        shown.console.press("j").wait(50);
        octets.push(shown.frame());
    }
    let row = shown.console.screen().lines().nth(2).unwrap().to_owned();
    assert!(row.ends_with(&first), "{row}");
    shown.console.wait(120);
    let pane = shown.frame();
    let row = shown.console.screen().lines().nth(2).unwrap().to_owned();
    assert!(row.ends_with(&name(&shown)), "{row}");
    println!("five steps {octets:?}, then the pane {pane}");
    assert!(octets.iter().all(|octets| *octets <= 120), "{octets:?}");
}

/// One step down, in a list that has the whole width: the marker and the key column, or the marker alone.
#[test]
fn one_step() {
    for (highlight, most) in [(Highlight::Key, 120), (Highlight::None, 20), (Highlight::Row, 400)] {
        let mut shown = shown(highlight);
        shown.console.press("5").wait(400);
        shown.frame();
        // The message line and the clock are still.
        shown.console.wait(10_000);
        shown.frame();
        let octets = shown.after("j");
        println!("one j, {highlight:?}: {octets}");
        assert!(octets <= most, "{highlight:?}: {octets} octets");
    }
}

/// An hour in which nothing happens costs only the ages that change, and no request but for the counts in the header.
#[test]
fn an_idle_hour() {
    let mut shown = shown(Highlight::Key);
    shown.frame();
    let calls = shown.console.calls.len();
    let mut wakes = 0;
    let until = shown.console.ms + 3_600_000;
    let mut octets = 0;
    while let Some(next) = shown.console.timers.values().min().copied().filter(|next| *next <= until) {
        let step = next - shown.console.ms;
        shown.console.wait(step.max(1));
        octets += shown.frame();
        wakes += 1;
    }
    let asked: Vec<&str> = shown.console.calls[calls..].iter().map(tui::action::Call::name).collect();
    let known = ["POST /token/refresh", "GET /me", "GET /status"];
    assert!(asked.iter().all(|name| known.contains(name)), "{asked:?}");
    assert!(asked.iter().filter(|name| **name == "GET /status").count() <= 60, "{asked:?}");
    assert!(wakes <= 2 * 3_600 / 10, "{wakes} wakeups in an hour");
    println!("an idle hour: {wakes} wakeups, {octets} octets");
}

/// The mouse, where it is on: the wheel moves three rows, a click selects, and a hint does what it says.
#[test]
fn the_mouse() {
    let mut console = Console::signed_in(80, 24, Registry::default());
    let click = |x, y| EventKind::Mouse(Mouse { what: Gesture::Click, x, y });
    console.feed(EventKind::Mouse(Mouse { what: Gesture::WheelDown, x: 5, y: 5 }));
    assert_eq!(console.state.models.list.ordinal(), Some(4));
    console.feed(EventKind::Mouse(Mouse { what: Gesture::WheelUp, x: 5, y: 5 }));
    assert_eq!(console.state.models.list.ordinal(), Some(1));
    console.feed(click(10, 3 + 6));
    assert_eq!(console.state.models.list.ordinal(), Some(7));
    let hints = console.screen().lines().last().unwrap().to_owned();
    let column = u16::try_from(hints.find("sort").unwrap()).unwrap();
    let before = console.state.models.sort;
    console.feed(click(column, 23));
    assert_ne!(console.state.models.sort, before);
    let header = console.screen().lines().next().unwrap().to_owned();
    let column = u16::try_from(header.find("6Hea").unwrap()).unwrap();
    console.feed(click(column, 0));
    assert_eq!(console.state.screen, tui::state::Screen::Health);
}
