//! Two versions compared: fields, files, texts, in one list of rows.

use ratatui::layout::Rect;

use crate::clean::{clean, cut, width};
use crate::state::diff::{Compared, DiffRow, Sign, Standing};
use crate::time::grouped;
use crate::view::pen::{Pen, Tone};

/// Columns of the name of a field or file, of a hundred.
const NAME_SHARE: u16 = 28;
/// Characters before a difference that are shown with it.
const BEFORE_DIFFERENCE: usize = 6;
/// Columns of a difference of numbers.
const DELTA_COLUMNS: u16 = 14;

/// `v51 -> v52   4 of 31 fields differ`.
pub(super) fn headline(compared: &Compared) -> String {
    let (differ, all) = compared.counts();
    let shown = if compared.all { "all are shown" } else { "a all fields" };
    format!("v{} -> v{}   {differ} of {all} fields differ   {shown}", compared.left.version, compared.right.version)
}

/// All of it as plain text, nothing cut: a field takes a line for each side.
pub(super) fn text(compared: &Compared) -> String {
    let (differ, all) = compared.counts();
    let (left, right) = (&compared.left, &compared.right);
    let mut text =
        format!("{}: v{} -> v{}, {differ} of {all} fields differ\n\n", left.name, left.version, right.version);
    for row in compared.rows() {
        let line = match row {
            DiffRow::Head(head) => format!("\n{}", clean(&head)),
            DiffRow::Field { name, values, standing: Standing::Equal, .. } => {
                format!("{} = {}", clean(&name), clean(&values[0]))
            }
            DiffRow::Field { name, values: [old, new], delta, .. } => {
                let delta = if delta.is_empty() { delta } else { format!("  ({delta})") };
                format!("{}\n  - {}\n  + {}{delta}", clean(&name), clean(&old), clean(&new))
            }
            DiffRow::File { path, sizes, standing } => {
                let size = |size: Option<u64>| size.map_or("-".to_owned(), grouped);
                let (sign, word, _) = file_words(standing);
                format!("{sign} {}  {} -> {}  {word}", clean(path.as_str()), size(sizes[0]), size(sizes[1]))
            }
            DiffRow::Text(sign, line) => format!("{}{}", text_mark(sign).0, clean(&line)),
        };
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How a file stands: a sign, a word.
fn file_words(standing: Standing) -> (&'static str, &'static str, Tone) {
    match standing {
        Standing::Equal => ("=", "", Tone::Dim),
        Standing::Changed => ("~", "changed", Tone::Warn),
        Standing::New => ("+", "new", Tone::Good),
        Standing::Gone => ("-", "gone", Tone::Bad),
    }
}

/// What stands before a line of a text.
fn text_mark(sign: Sign) -> (&'static str, Tone) {
    match sign {
        Sign::Hunk => ("", Tone::Dim),
        Sign::Same => ("  ", Tone::Plain),
        Sign::Gone => ("- ", Tone::Bad),
        Sign::New => ("+ ", Tone::Good),
    }
}

struct Columns {
    name: u16,
    value: u16,
    delta: u16,
}

fn columns(area: Rect) -> Columns {
    let room = area.width.saturating_sub(4);
    let name = (room * NAME_SHARE / 100).max(10).min(room);
    let delta = if room > 60 { DELTA_COLUMNS } else { 0 };
    let value = room.saturating_sub(name + delta + 2) / 2;
    Columns { name, value, delta }
}

pub(super) fn paint(area: Rect, compared: &Compared, pen: &mut Pen<'_>) {
    let rows = compared.rows();
    let columns = columns(area);
    let selected = compared.selected.min(rows.len().saturating_sub(1));
    if area.height < 2 {
        return;
    }
    let heads = [format!("v{}", compared.left.version), format!("v{}", compared.right.version)];
    line(pen, area, area.y, &columns, ["FIELD", &heads[0], &heads[1], ""], Tone::Dim, false);
    let height = usize::from(area.height - 1);
    // The selection stays off the edges, so that what follows it can be read.
    let top = (selected + height / 3 + 1).saturating_sub(height).min(rows.len().saturating_sub(height));
    let top = top.min(selected);
    for (y, (place, row)) in (area.y + 1..area.bottom()).zip(rows.iter().enumerate().skip(top)) {
        let is_here = place == selected;
        if is_here {
            pen.put(area.x, y, 1, "▌", Tone::Bold);
        }
        paint_row(pen, area, y, &columns, row, is_here);
    }
}

fn paint_row(pen: &mut Pen<'_>, area: Rect, y: u16, columns: &Columns, row: &DiffRow, is_here: bool) {
    let wide = area.width.saturating_sub(3);
    match row {
        DiffRow::Head(text) => {
            pen.put(area.x + 2, y, wide, text, Tone::Bold);
        }
        DiffRow::Field { name, values, delta, standing } => {
            let tone = if *standing == Standing::Equal { Tone::Dim } else { Tone::Plain };
            let [left, right] = from_difference(values, columns.value.into());
            line(pen, area, y, columns, [name, &left, &right, delta], tone, is_here);
        }
        DiffRow::File { path, sizes, standing } => {
            let (sign, word, tone) = file_words(*standing);
            let size = |size: &Option<u64>| size.map_or("-".to_owned(), grouped);
            let name = format!("{sign} {path}");
            line(pen, area, y, columns, [&name, &size(&sizes[0]), &size(&sizes[1]), word], tone, is_here);
        }
        DiffRow::Text(sign, text) => {
            let (mark, tone) = text_mark(*sign);
            pen.put(area.x + 3, y, wide.saturating_sub(1), &format!("{mark}{text}"), tone);
        }
    }
}

/// Long values that begin alike are shown from shortly before where they differ; digests without what all of them begin with.
fn from_difference(values: &[String; 2], room: usize) -> [String; 2] {
    const SHA256: &str = "sha256:";
    if values.iter().all(|value| value.starts_with(SHA256)) && values.iter().any(|value| value.len() > room) {
        let bare = values.each_ref().map(|value| value[SHA256.len()..].to_owned());
        return from_difference(&bare, room);
    }
    let alike = values[0].chars().zip(values[1].chars()).take_while(|(left, right)| left == right).count();
    let is_long = values.iter().any(|value| width(&clean(value)) > room);
    let skipped = alike.saturating_sub(BEFORE_DIFFERENCE);
    if !is_long || skipped == 0 || values[0] == values[1] {
        return values.clone();
    }
    values.each_ref().map(|value| format!("~{}", value.chars().skip(skipped).collect::<String>()))
}

/// Name, two values, a word at the end. Values are cut at the end, names keep theirs.
fn line(pen: &mut Pen<'_>, area: Rect, y: u16, columns: &Columns, texts: [&str; 4], tone: Tone, is_here: bool) {
    let [name, left, right, word] = texts;
    let x = area.x + 2;
    let name_tone = if is_here { Tone::Current } else { tone };
    pen.put(x, y, columns.name, &cut(&clean(name), columns.name.into()), name_tone);
    let x = x + columns.name + 1;
    pen.put(x, y, columns.value, left, tone);
    let x = x + columns.value + 1;
    pen.put(x, y, columns.value, right, tone);
    if columns.delta > 0 {
        pen.put_right(area.right().saturating_sub(1), y, columns.delta, word, tone);
    }
}
