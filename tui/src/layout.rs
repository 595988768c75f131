//! Where everything is: one pure function for `update` (page sizes) and `view` (painting). What is painted there is not
//! known here.

use ratatui::layout::Rect;

use crate::event::Size;
use crate::state::{Screen, State};

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Below 20x5: a sentence, nothing else.
    Tiny,
    /// From 20x5: a list, one line above, two below.
    Narrow,
    /// From 60x12: column heads, a state line.
    Normal,
    /// From 100x24: a pane beside or below the list.
    Wide,
}

/// The parts of the screen; those that are not there have no size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Areas {
    /// How much room there is.
    pub class: Class,
    /// The first line.
    pub header: Rect,
    /// The state of the screen; empty when narrow, where the message line has it.
    pub status: Rect,
    /// Everything between the lines above and below.
    pub body: Rect,
    /// The column heads.
    pub heads: Rect,
    /// The rows of the list; empty where something covers it.
    pub rows: Rect,
    /// The line before the rows that says that the list goes on there with rows that are not here yet; mostly empty.
    pub above: Rect,
    /// The line after the rows that says the same.
    pub below: Rect,
    /// The column in which a mark shows how far down the list the selection is; only where there is room.
    pub track: Rect,
    /// The pane; empty where there is none.
    pub pane: Rect,
    /// Messages, or what is being typed.
    pub message: Rect,
    /// Hints.
    pub hints: Rect,
}

/// Columns at the right of a list that has the whole width: a gap, and the mark.
const TRACK_COLUMNS: u16 = 2;
/// Columns of the pane beside a list, at most.
const PANE_COLUMNS_MAX: u16 = 64;
/// Columns of it that are left where the list wants more: an id is on one line in it.
const PANE_COLUMNS_MIN: u16 = 39;
/// Columns with which the list of models shows all but a size, and names of some length.
const MODELS_COLUMNS: u16 = 85;
/// With fewer lines all of them are for rows.
const ROWS_MIN: u16 = 4;

/// The class of a size.
pub fn class(size: Size) -> Class {
    match (size.width, size.height) {
        (100.., 24..) => Class::Wide,
        (60.., 12..) => Class::Normal,
        (20.., 5..) => Class::Narrow,
        _ => Class::Tiny,
    }
}

/// The areas for what is open now.
pub fn layout(size: Size, state: &State) -> Areas {
    let class = class(size);
    let line = |y: u16| Rect::new(0, y, size.width, 1);
    let none = Rect::default();
    if class == Class::Tiny {
        let whole = Rect::new(0, 0, size.width, size.height);
        return Areas {
            class,
            header: none,
            status: none,
            body: whole,
            heads: none,
            rows: none,
            above: none,
            below: none,
            track: none,
            pane: none,
            message: none,
            hints: none,
        };
    }
    let above = if class == Class::Narrow { 1 } else { 2 };
    let body = Rect::new(0, above, size.width, size.height - above - 2);
    let open = open_parts(state);
    let (list, pane) = match (class, open) {
        (_, Open::Text) => (none, body),
        (Class::Wide, Open::Side) => {
            // One column between the two is the border.
            let most = (body.width * 2 / 5).min(PANE_COLUMNS_MAX);
            // Models have many columns: the pane takes what they leave, as long as it says something then.
            let left = body.width.saturating_sub(MODELS_COLUMNS + 1).max(PANE_COLUMNS_MIN);
            let is_of_models = state.screen == Screen::Models && state.models.open.is_none();
            let width = if is_of_models { most.min(left) } else { most };
            let list = Rect { width: body.width - width - 1, ..body };
            (list, Rect { x: list.width + 1, width, ..body })
        }
        (Class::Wide, Open::Below) => {
            let height = (body.height / 2).max(8);
            let list = Rect { height: body.height - height - 1, ..body };
            (list, Rect { y: list.bottom() + 1, height, ..body })
        }
        (_, Open::Below) => (none, body),
        (_, Open::Side | Open::List) => (body, none),
    };
    let mut rows = list;
    // An open model has its facts above its versions.
    let facts = if state.screen == Screen::Models && state.models.open.is_some() { facts_height(class) } else { 0 };
    let facts = facts.min(rows.height);
    rows.y += facts;
    rows.height -= facts;
    let track_x = match (class, open) {
        (Class::Wide, Open::Side) => Some(rows.right()),
        (Class::Wide, _) if rows.width > 0 => {
            rows.width -= TRACK_COLUMNS;
            Some(rows.right() + TRACK_COLUMNS - 1)
        }
        _ => None,
    };
    let heads_height = u16::from(class > Class::Narrow && rows.height > 1);
    let heads = Rect { height: heads_height, ..rows };
    rows.y += heads_height;
    rows.height -= heads_height;
    let track = track_x.map_or(none, |x| Rect { x, width: 1, ..rows });
    let (more_above, more_below) =
        if rows.height >= ROWS_MIN { goes_on(state, rows.height.into()) } else { (false, false) };
    let above = Rect { height: u16::from(more_above), ..rows };
    rows.y += above.height;
    rows.height -= above.height + u16::from(more_below);
    let below = Rect { y: rows.bottom(), height: u16::from(more_below), ..rows };
    Areas {
        class,
        header: line(0),
        status: if class == Class::Narrow { none } else { line(1) },
        body,
        heads,
        rows,
        above,
        below,
        track,
        pane,
        message: line(size.height - 2),
        hints: line(size.height - 1),
    }
}

/// Lines of facts above the versions of a model.
pub fn facts_height(class: Class) -> u16 {
    match class {
        Class::Tiny => 0,
        Class::Narrow => 1,
        Class::Normal => 5,
        Class::Wide => 6,
    }
}

/// Whether the list on show goes on before and after what a screen of so many rows shows of it, with rows that are not here.
fn goes_on(state: &State, height: usize) -> (bool, bool) {
    match state.screen {
        Screen::Models => match &state.models.open {
            Some(open) => open.versions.goes_on(height),
            None => state.models.list.goes_on(height),
        },
        Screen::Audit => state.audit.list.goes_on(height),
        Screen::Queue => state.queue.list.goes_on(height),
        Screen::Quarantine => state.quarantine.list.goes_on(height),
        Screen::Users => state.users.list.goes_on(height),
        Screen::Health => (false, false),
    }
}

#[derive(Clone, Copy)]
enum Open {
    List,
    Side,
    Below,
    Text,
}

fn open_parts(state: &State) -> Open {
    match state.screen {
        Screen::Health => Open::Text,
        Screen::Models => match &state.models.open {
            Some(open) if open.reading.is_some() || open.compared.is_some() => Open::Text,
            Some(_) | None => Open::Side,
        },
        Screen::Audit if state.audit.detail.is_some() => Open::Below,
        Screen::Queue if state.queue.detail.is_some() => Open::Below,
        Screen::Users if state.users.detail.is_some() => Open::Below,
        Screen::Quarantine if state.quarantine.detail.is_some() => Open::Text,
        Screen::Quarantine => Open::Side,
        Screen::Audit | Screen::Queue | Screen::Users => Open::List,
    }
}
