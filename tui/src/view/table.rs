//! Tables: which columns there is room for, and the rows of a window in them. Widths come from the heads and constants,
//! never from the rows: columns don't jump while scrolling.

use ratatui::layout::Rect;

use crate::clean::{clean, cut, cut_inside, cut_target, width};
use crate::layout::{Areas, Class};
use crate::state::Highlight;
use crate::state::fresh::Touched;
use crate::view::pen::{MARKER, Pen, Tone};
use crate::window::{Row, Window};

/// Before a row that was changed since it was read.
pub const TOUCHED: &str = "~";

/// The column that has names of models, though they are not the identity of its rows.
pub const NAMING: &str = "TARGET";
/// Columns of the least that is shown of a namespace: `~/`.
const SHORTENED_COLUMNS: usize = 2;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its head.
    pub title: &'static str,
    /// Its width; the least one for the flexible column.
    pub columns: u16,
    /// Digits end at the right.
    pub right: bool,
    /// What goes first when room is short goes by the highest number; 0 stays.
    pub rank: u8,
    /// Takes what room is left. One per table.
    pub flexible: bool,
}

/// A column of fixed width.
pub const fn fixed(title: &'static str, columns: u16, rank: u8) -> Column {
    Column { title, columns, right: false, rank, flexible: false }
}

/// A column of numbers.
pub const fn number(title: &'static str, columns: u16, rank: u8) -> Column {
    Column { title, columns, right: true, rank, flexible: false }
}

/// The column that takes the room that is left.
pub const fn flexible(title: &'static str, columns: u16, rank: u8) -> Column {
    Column { title, columns, right: false, rank, flexible: true }
}

/// Which columns fit, each with its width; moved sideways, where not all do: what stays beside the identity is then what
/// follows in its order.
fn choose(columns: &[Column], room: u16, gap: u16, sideways: i32) -> Vec<(usize, u16)> {
    let mut chosen: Vec<usize> = (0..columns.len()).collect();
    let taken = |chosen: &[usize]| chosen.iter().map(|place| columns[*place].columns + gap).sum::<u16>();
    while taken(&chosen) > room + gap
        && let Some(worst) = chosen.iter().copied().max_by_key(|place| (columns[*place].rank, *place))
        && columns[worst].rank > 0
    {
        chosen.retain(|place| *place != worst);
    }
    if chosen.len() < columns.len() && sideways != 0 {
        let (stay, go): (Vec<usize>, Vec<usize>) = (0..columns.len()).partition(|place| columns[*place].rank == 0);
        // From each place on, as many as there is room for; those from which the last is seen are one.
        let from = |first: usize| {
            let mut some = stay.clone();
            for place in &go[first..] {
                some.push(*place);
                if taken(&some) > room + gap {
                    some.pop();
                    break;
                }
            }
            some
        };
        let ends = (0..go.len()).find(|first| from(*first).last() == go.last()).unwrap_or(0);
        let turns = i32::try_from(ends + 2).unwrap_or(i32::MAX);
        match usize::try_from(sideways.rem_euclid(turns)) {
            Ok(0) | Err(_) => {}
            Ok(turn) => chosen = from(turn - 1),
        }
        chosen.sort_unstable();
    }
    let spare = (room + gap).saturating_sub(taken(&chosen));
    let wide = |place: usize| columns[place].columns + if columns[place].flexible { spare } else { 0 };
    chosen.into_iter().map(|place| (place, wide(place))).collect()
}

/// Blanks before the columns of a table, and between them.
fn gaps(areas: &Areas) -> (u16, u16) {
    if areas.class == Class::Narrow { (1, 1) } else { (2, 2) }
}

/// The head of the column that is painted there.
pub fn column_at(columns: &[Column], areas: &Areas, sideways: i32, x: u16) -> Option<&'static str> {
    let (margin, gap) = gaps(areas);
    let mut from = areas.rows.x + margin;
    choose(columns, areas.rows.width.saturating_sub(margin), gap, sideways).into_iter().find_map(|(place, wide)| {
        let here = from..from + wide;
        from += wide + gap;
        here.contains(&x).then_some(columns[place].title)
    })
}

/// Paints heads and rows. `cells` gives one text per column.
pub fn table<R: Row>(
    pen: &mut Pen<'_>,
    areas: &Areas,
    columns: &[Column],
    list: &Window<R>,
    cells: impl Fn(&R) -> Vec<(String, Tone)>,
) {
    marked(pen, areas, columns, (list, true), cells, |_| ("", Tone::Plain));
}

/// The same, with a sign before each row; beside the marker where there is room for both. The selection is shown or not: where
/// it is the newest row, whichever that is, marking it costs octets with every row and says nothing.
pub fn marked<R: Row>(
    pen: &mut Pen<'_>,
    areas: &Areas,
    columns: &[Column],
    (list, shows_selection): (&Window<R>, bool),
    cells: impl Fn(&R) -> Vec<(String, Tone)>,
    mark: impl Fn(&R) -> (&'static str, Tone),
) {
    let narrow = areas.class == Class::Narrow;
    let (margin, gap) = gaps(areas);
    let room = areas.rows.width.saturating_sub(margin);
    let chosen = choose(columns, room, gap, pen.sideways());
    let paint = |pen: &mut Pen<'_>, y: u16, texts: &[(String, Tone)], selected: bool| {
        let mut x = areas.rows.x + margin;
        for (place, wide) in &chosen {
            let (Some((text, tone)), column) = (texts.get(*place), &columns[*place]) else { continue };
            // The identity of the selected row is reversed; the marker says the same where that doesn't show.
            let is_key = column.rank == 0 && *place == chosen[0].0;
            let tone = if selected && is_key && pen.highlight() == Highlight::Key { Tone::Current } else { *tone };
            let text = if column.title == NAMING {
                cut_target(&clean(text), (*wide).into())
            } else if column.flexible && is_key {
                shorten(text, *wide, narrow)
            } else {
                text.clone()
            };
            if column.right {
                pen.put_right(x + wide, y, *wide, &text, tone);
            } else {
                pen.put(x, y, *wide, &text, tone);
            }
            x += wide + gap;
        }
    };
    if areas.heads.height > 0 {
        let heads: Vec<(String, Tone)> = columns.iter().map(|column| (column.title.to_owned(), Tone::Dim)).collect();
        paint(pen, areas.heads.y, &heads, false);
    }
    for (y, (row, selected)) in (areas.rows.top()..areas.rows.bottom()).zip(list.visible(areas.rows.height.into())) {
        let (sign, tone) = mark(row);
        let selected = selected && shows_selection;
        if selected {
            pen.put(areas.rows.x, y, 1, MARKER, Tone::Plain);
            pen.put(areas.rows.x + 1, y, margin - 1, sign, tone);
        } else {
            pen.put(areas.rows.x, y, 1, sign, tone);
        }
        paint(pen, y, &cells(row), selected);
        if selected && pen.highlight() == Highlight::Row {
            pen.reverse(Rect { x: areas.rows.x + 1, y, width: areas.rows.width.saturating_sub(1), height: 1 });
        }
    }
}

/// A sign before each row that others changed since it was read, behind the row's own signs: the marker of the selected one, a
/// mark. Where there is no room for it the state line alone tells.
pub fn touched<R: Row>(
    pen: &mut Pen<'_>,
    areas: &Areas,
    list: &Window<R>,
    touched: Option<&Touched>,
    is_marked: impl Fn(&R) -> bool,
) {
    let Some(touched) = touched.filter(|touched| !touched.rows.is_empty()) else { return };
    let room: u16 = if areas.class == Class::Narrow { 1 } else { 2 };
    for (y, (row, selected)) in (areas.rows.top()..areas.rows.bottom()).zip(list.visible(areas.rows.height.into())) {
        let place = u16::from(selected) + u16::from(is_marked(row));
        if place < room && touched.rows.contains(&row.key()) {
            pen.put(areas.rows.x + place, y, 1, TOUCHED, Tone::Warn);
        }
    }
}

/// A star before each marked row; behind the marker of the selected one, where there is room.
pub fn stars<R: Row>(pen: &mut Pen<'_>, areas: &Areas, list: &Window<R>, is_marked: impl Fn(&R) -> bool) {
    for (y, (row, selected)) in (areas.rows.top()..areas.rows.bottom()).zip(list.visible(areas.rows.height.into())) {
        if is_marked(row) && (!selected || areas.class > Class::Narrow) {
            pen.put(areas.rows.x + u16::from(selected), y, 1, "*", Tone::Bold);
        }
    }
}

/// A name too long for its column loses of its namespace first, and then of its middle: the end tells names apart. That it is cut
/// is shown where there is room for it. Here the rows around tell the namespace, unlike in a list of what was done.
fn shorten(text: &str, columns: u16, narrow: bool) -> String {
    let (text, columns) = (clean(text), usize::from(columns));
    if width(&text) <= columns {
        return text;
    }
    match text.split_once('/') {
        Some((_, name)) if narrow => cut_inside(name, columns),
        Some((namespace, name)) if width(name) + SHORTENED_COLUMNS <= columns => {
            format!("{}/{name}", cut(namespace, columns - width(name) - 1))
        }
        Some((_, name)) => cut_inside(name, columns),
        None => cut_inside(&text, columns),
    }
}

#[cfg(test)]
mod tests {
    use super::{choose, fixed, flexible, number, shorten};

    #[test]
    fn a_name_is_shortened_on_its_left() {
        assert_eq!(shorten("team-nlp/asr v2", 15, false), "team-nlp/asr v2");
        assert_eq!(shorten("team-nlp/asr v2", 14, false), "team-n~/asr v2");
        assert_eq!(shorten("team-nlp/asr v2", 8, false), "~/asr v2");
        assert_eq!(shorten("team-nlp/asr v2", 14, true), "asr v2");
        assert_eq!(shorten("team-nlp/asr v2", 7, false), "asr v2");
        assert_eq!(shorten("team-nlp/intent-router v12", 14, false), "intent~ter v12");
        assert_eq!(shorten("no-namespace", 8, false), "no-~pace");
        assert_eq!(shorten("no-namespace", 0, false), "");
    }

    #[test]
    fn columns_go_by_rank_and_the_rest_is_shared() {
        let columns = [flexible("NAME", 20, 0), number("VERS", 4, 3), fixed("OWNER", 8, 2)];
        assert_eq!(choose(&columns, 80, 2, 0), [(0, 64), (1, 4), (2, 8)]);
        assert_eq!(choose(&columns, 32, 2, 0), [(0, 22), (2, 8)]);
        assert_eq!(choose(&columns, 10, 2, 0), [(0, 20)]);
        assert_eq!(choose(&columns, 80, 2, 3), choose(&columns, 80, 2, 0), "all are there");
        // Beside the first view, each column comes in turn; then the first view again, either way.
        let columns =
            [flexible("NAME", 10, 0), number("A", 8, 3), fixed("B", 8, 1), fixed("C", 8, 2), fixed("D", 8, 4)];
        let seen =
            |sideways: i32| choose(&columns, 30, 2, sideways).iter().map(|(place, _)| *place).collect::<Vec<_>>();
        let views: Vec<Vec<usize>> = (0..5).map(seen).collect();
        assert_eq!(views, [vec![0, 2, 3], vec![0, 1, 2], vec![0, 2, 3], vec![0, 3, 4], vec![0, 2, 3]]);
        assert_eq!((seen(-1), seen(-4), seen(i32::MAX).len()), (vec![0, 3, 4], vec![0, 2, 3], 3));
    }
}
