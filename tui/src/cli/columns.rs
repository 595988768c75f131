//! Rows of the lists that commands write: in full where they go into a file or a pipe, and on a terminal cut to its width, what
//! matters least left out. A row is a line, never two. What the cells mean is not known here.

use crate::clean::{cut, cut_target, width};

/// A column of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Its head.
    pub(super) title: &'static str,
    /// Columns it takes at least where nothing is cut; the last of a list takes what it needs, and on a terminal so many before
    /// the others get more than their least.
    pub(super) columns: usize,
    /// The least it makes sense with on a terminal.
    pub(super) least: usize,
    /// Blanks before it.
    pub(super) gap: usize,
    /// What is left out first goes by the highest number; 0 stays.
    pub(super) rank: u8,
    /// Digits end at the right.
    pub(super) right: bool,
    /// Names of models, which are not cut at their end.
    pub(super) names: bool,
}

/// A column of words.
pub(super) const fn words(title: &'static str, columns: usize, gap: usize, rank: u8) -> Column {
    Column { title, columns, least: columns, gap, rank, right: false, names: false }
}

/// A column of numbers.
pub(super) const fn number(title: &'static str, columns: usize, gap: usize, rank: u8) -> Column {
    Column { title, columns, least: columns, gap, rank, right: true, names: false }
}

impl Column {
    /// It may be cut to so many columns.
    pub(super) const fn least(self, least: usize) -> Self {
        Self { least, ..self }
    }
}

/// Which columns there are room for, and what each may take; none of a limit where nothing is cut.
fn choose(columns: &[Column], room: Option<usize>) -> Vec<(usize, Option<usize>)> {
    let Some(room) = room else { return (0..columns.len()).map(|place| (place, None)).collect() };
    let taken = |chosen: &[usize]| -> usize {
        let gaps: usize = chosen.iter().skip(1).map(|place| columns[*place].gap).sum();
        gaps + chosen.iter().map(|place| columns[*place].least).sum::<usize>()
    };
    let mut chosen: Vec<usize> = (0..columns.len()).collect();
    while taken(&chosen) > room
        && let Some(worst) = chosen.iter().copied().max_by_key(|place| (columns[*place].rank, *place))
        && columns[worst].rank > 0
    {
        chosen.retain(|place| *place != worst);
    }
    let last = chosen.last().copied();
    let mut spare = room.saturating_sub(taken(&chosen));
    let wanted = last.map_or(0, |place| columns[place].columns.saturating_sub(columns[place].least)).min(spare);
    spare -= wanted;
    chosen
        .iter()
        .map(|place| {
            let column = &columns[*place];
            let is_last = last == Some(*place);
            let more = if is_last { spare + wanted } else { spare.min(column.columns - column.least) };
            spare = spare.saturating_sub(more);
            // Of one column alone there may be less room than it makes sense with.
            (*place, Some((column.least + more).min(room)))
        })
        .collect()
}

/// A row; its cells are clean.
pub(super) fn row(columns: &[Column], cells: &[String], room: Option<usize>) -> String {
    let mut line = String::new();
    for (at, (place, most)) in choose(columns, room).into_iter().enumerate() {
        let (Some(cell), column) = (cells.get(place), &columns[place]) else { continue };
        let cell = match most {
            Some(most) if column.names => cut_target(cell, most),
            Some(most) => cut(cell, most),
            None => cell.clone(),
        };
        let pad = " ".repeat(most.unwrap_or(column.columns).saturating_sub(width(&cell)));
        line.push_str(&" ".repeat(if at == 0 { 0 } else { column.gap }));
        line.push_str(&if column.right { pad + &cell } else { cell + &pad });
    }
    line.trim_end().to_owned()
}

/// Lines of a list that is few and has no columns to leave out, each cut to the terminal where there is one.
pub(super) fn within(text: &str, room: Option<usize>) -> String {
    let Some(room) = room else { return text.to_owned() };
    text.split('\n').map(|line| cut(line, room)).collect::<Vec<_>>().join("\n")
}

/// The line above the rows.
pub(super) fn head(columns: &[Column], room: Option<usize>) -> String {
    let titles: Vec<String> = columns.iter().map(|column| column.title.to_owned()).collect();
    row(columns, &titles, room)
}

#[cfg(test)]
mod tests {
    use super::{Column, head, number, row, within, words};
    use crate::clean::width;

    const COLUMNS: [Column; 5] = [
        words("NAME", 40, 0, 0).least(20),
        number("VERS", 4, 1, 3),
        words("STATE", 11, 2, 1),
        words("UPDATED", 24, 2, 2),
        Column { least: 8, ..words("ALIASES", 0, 2, 4) },
    ];

    /// Into a pipe all is written in full; on a terminal no row is wider than it, and what matters least is left out.
    #[test]
    fn never_wider_than_the_terminal() {
        let name = "team-nlp/a-name-that-is-longer-than-its-column-is";
        let cells = [name, "52", "available!", "2026-11-29T19:54:25.182Z", "candidate=v1,prod=v52"].map(str::to_owned);
        let full = row(&COLUMNS, &cells, None);
        assert!(full.starts_with(name) && full.ends_with("  candidate=v1,prod=v52"), "{full}");
        for room in 0..140 {
            let (line, head) = (row(&COLUMNS, &cells, Some(room)), head(&COLUMNS, Some(room)));
            assert!(width(&line) <= room && width(&head) <= room, "{room}: {line}");
        }
        let line = row(&COLUMNS, &cells, Some(80));
        assert_eq!(line, "team-nlp/a-name-that-is-l~   52  available!   2026-11-29T19:54:25.182Z  candida~");
        assert_eq!(within("a longer line\nshort\n", Some(8)), "a longe~\nshort\n");
        assert_eq!(row(&COLUMNS, &cells, Some(40)), "team-nlp/a-name-that-is-lo~  available!");
        assert_eq!(head(&COLUMNS, Some(40)), "NAME                         STATE");
    }
}
