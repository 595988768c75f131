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
