//! What must hold at a size no test could make, where time is only told (console.md §19): requests that scrolling makes, rows
//! that are kept, and how a screen that is polled is drawn.

use crate::console::{Console, Registry};

/// Milliseconds between two repetitions of a held key.
const REPETITION_MS: u64 = 33;
/// Rows that a list keeps at most: three pages.
const ROWS_KEPT_MAX: usize = 600;

fn at_size() -> Console {
    let registry = Registry { models: 1_000_000, entries: 10_000_000, ..Registry::default() };
    Console::signed_in(100, 30, registry)
}

/// Requests that are entries of the log: pages and details of models, pages of entries.
fn recorded(console: &Console) -> usize {
    let is_recorded = |name: &str| name.starts_with("GET /models") || name.starts_with("GET /audit");
    console.calls.iter().filter(|call| is_recorded(call.name())).count()
}

/// Signing in asks for as much as it does of a small registry.
#[test]
fn a_start_does_not_grow_with_the_registry() {
    let small = Console::signed_in(100, 30, Registry { models: 10, entries: 10, ..Registry::default() });
    let names = |console: &Console| console.calls.iter().map(tui::action::Call::name).collect::<Vec<_>>();
    assert_eq!(names(&at_size()), names(&small));
    assert!(small.calls.len() <= 10, "{:?}", names(&small));
}

/// Ten thousand rows of models, and of entries, by a held key: a page is asked for when it is needed, nothing else.
#[test]
fn a_held_key_over_ten_thousand_rows() {
    for (open, key) in [("1gg", "j"), ("2G", "k")] {
        let mut console = at_size();
        console.press(open).wait(1_000);
        let before = recorded(&console);
        let mut kept = 0;
        for _ in 0..10_000 {
            console.press(key).wait(REPETITION_MS);
            kept = kept.max(console.state.models.list.len()).max(console.state.audit.list.len());
        }
        let made = recorded(&console) - before;
        println!("{key}: {made} requests, {kept} rows kept");
        assert!(made <= 60, "{key}: {made} requests");
        assert!(kept <= ROWS_KEPT_MAX + 256, "{kept} rows are kept");
        console.wait(1_000);
        assert!(recorded(&console) - before <= made + 1, "at rest the pane beside the list is read, and no more");
    }
}

/// Jumps to the ends and to places in between leave no more than the rows round them.
#[test]
fn jumps_keep_nothing() {
    let mut console = at_size();
    for _ in 0..20 {
        for keys in ["1G", "<PgUp>", "gg", "<PgDn>", "2G", "5000000G", "<PgUp>", "gg", "<PgDn>"] {
            console.press(keys).wait(200);
            assert!(console.state.models.list.len() <= ROWS_KEPT_MAX, "{}", console.state.models.list.len());
            assert!(console.state.audit.list.len() <= ROWS_KEPT_MAX + 256, "{}", console.state.audit.list.len());
        }
    }
}

/// While a key is held only what the next screen would lack is read; at rest, two screens ahead.
#[test]
fn what_is_only_passed_is_not_read() {
    let mut console = at_size();
    let rows = u64::from(tui::layout::layout(console.state.size, &console.state).rows.height);
    let pages = |console: &Console| console.count("GET /models");
    let before = pages(&console);
    // Two screens before the end of the page, but not one.
    while console.state.models.list.ordinal().unwrap() < 200 - rows - 2 {
        console.press("j").wait(REPETITION_MS);
    }
    assert_eq!(pages(&console), before, "only passed");
    console.wait(200);
    assert_eq!(pages(&console), before + 1, "rested");
    // The next page ends at 400: it is read when a screen is left of this one, though the key stays down.
    while console.state.models.list.ordinal().unwrap() < 400 - rows + 1 {
        console.press("j").wait(REPETITION_MS);
    }
    assert_eq!(pages(&console), before + 2, "needed");
}

/// At the edge of what is read, a line says that the list goes on; the selection waits there, and goes on with the answer.
#[test]
fn rows_that_are_not_here_yet() {
    let mut console = at_size();
    console.hold = true;
    for _ in 0..10 {
        console.press("<PgDn>").wait(REPETITION_MS);
    }
    assert_eq!(console.state.models.list.ordinal(), Some(200));
    let screen = console.screen();
    let lines: Vec<&str> = screen.lines().collect();
    assert!(lines[lines.len() - 3].starts_with("  ..."), "{screen}");
    assert!(lines[lines.len() - 4].starts_with('\u{258c}'), "{screen}");
    console.release().press("j");
    assert_eq!(console.state.models.list.ordinal(), Some(201));
    assert!(!console.shows("  ..."));
}

/// The mark beside a long list goes from its top to its foot.
#[test]
fn the_mark_beside_a_list() {
    let mut console = at_size();
    let track = tui::layout::layout(console.state.size, &console.state).track;
    let marked = |console: &Console| -> Vec<u16> {
        let buffer = console.buffer();
        (track.top()..track.bottom()).filter(|y| buffer[(track.x, *y)].symbol() == "\u{2588}").collect()
    };
    let top = track.top();
    assert_eq!(marked(&console), [top, top + 1, top + 2]);
    console.press("G").wait(1_000);
    let end = track.bottom();
    assert_eq!(marked(&console), [end - 3, end - 2, end - 1]);
    console.press("2").wait(1_000);
    console.press("5000000G").wait(1_000);
    console.state.log.begun = true;
    console.state.log.tail.next = 10_000_000;
    let track = tui::layout::layout(console.state.size, &console.state).track;
    let middle = track.top() + (track.height - 3) / 2;
    let buffer = console.buffer();
    assert_eq!(buffer[(track.x, middle)].symbol(), "\u{2588}");
}
