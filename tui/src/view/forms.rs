//! The login dialog, the form for a new password and that for a second factor, over whatever is on the screen.

use ratatui::layout::{Position, Rect};

use super::{centred, text_window};
use crate::clean::{clean, first_lines, wrap};
use crate::edit::Line;
use crate::layout::Areas;
use crate::secret::Secret;
use crate::state::State;
use crate::state::forms::{Enrol, EnrolStage, grouped_secret};
use crate::state::health::CERTIFICATE_LOW_DAYS;
use crate::time::counted;
use crate::view::pen::{Pen, Tone};

/// More dots than that are not drawn: the length of a password is its own business.
const DOTS_MAX: usize = 8;
/// Rows that the dialog needs without what it says of TLS.
const FORM_ROWS: u16 = 8;
/// Rows below what the form for a second factor says: a blank one, what is typed, what was wrong with it.
const ENROL_ROWS: u16 = 3;
/// Columns of the labels.
const LABEL_COLUMNS: u16 = 10;

/// Paints the form that is open; where its cursor is.
pub(super) fn paint(state: &State, areas: &Areas, pen: &mut Pen<'_>) -> Option<Position> {
    let whole = Rect { y: 0, height: areas.message.y, ..areas.body };
    if let Some(form) = &state.login {
        let mut lines = tls(state, usize::from(62_u16.min(whole.width).saturating_sub(4)));
        let log = super::proof::known_log(state);
        // Name and password stay on the smallest screen; the message list has the whole sentence.
        let room = usize::from(whole.height.saturating_sub(FORM_ROWS)).max(1);
        let of_tls = room.saturating_sub(usize::from(log.is_some())).max(1);
        if lines.len() > of_tls {
            let rest: Vec<String> = lines.drain(of_tls - 1..).map(|(line, _)| line).collect();
            let tone = lines.last().map_or(Tone::Plain, |(_, tone)| *tone);
            lines.push((rest.join(" "), tone));
        }
        lines.extend(log);
        lines.truncate(room);
        let more = u16::try_from(lines.len()).unwrap_or(0);
        let columns = usize::from(62_u16.min(whole.width).saturating_sub(4));
        let why = form.reason.as_ref().map_or(0, |reason| wrap(&clean(reason), columns).len());
        let why = u16::try_from(why.saturating_sub(1)).unwrap_or(0);
        let inside = pen.frame(centred(whole, 62, 10 + more + why + u16::from(form.code.is_some())), "log in");
        // Row by row from the top of the frame: name and password, a code that was asked for, the box, what was wrong.
        let user_row = more + u16::from(inside.height > 4) + 1;
        let code_row = user_row + 2;
        let box_row = user_row + 3 + u16::from(form.code.is_some());
        let reason_row = box_row + if state.settings.can_remember { 2 } else { 0 };
        let at_row = match (form.at_password, form.at_code, form.at_box) {
            (true, _, _) => user_row + 1,
            (_, true, _) => code_row,
            (_, _, true) => box_row,
            _ => user_row,
        };
        let sheet = Sheet::new(inside, at_row);
        sheet.put(pen, 0, &whereto(state), Tone::Plain);
        for (row, (line, tone)) in (1..).zip(lines) {
            sheet.put(pen, row, &line, tone);
        }
        // What the next letter takes the place of.
        let is_proposed = form.is_proposed && at_row == user_row;
        let tone = if is_proposed { Tone::Current } else { Tone::Bold };
        let user = sheet.field_in(pen, user_row, "User", &form.user, tone);
        let password = sheet.field(pen, user_row + 1, "Password", &form.password);
        let mut place = if form.at_password { password } else { user };
        if let Some(code) = &form.code {
            let there = sheet.field(pen, code_row, "Code", code);
            place = if form.at_code { there } else { place };
        }
        if state.settings.can_remember {
            let mark = if state.remember { "[x]" } else { "[ ]" };
            // There is one place: what is kept of somebody else goes when this is kept.
            let other = state.kept_of.as_ref().filter(|kept| state.remember && *kept != form.user.text().trim());
            let how = match other {
                Some(other) => format!(", in place of {other}'s session"),
                None if inside.width >= 50 => " (runtime folder, 0600)".to_owned(),
                None => String::new(),
            };
            let words = clean(&format!("{mark} remember until logout{how}"));
            let tone = if form.at_box { Tone::Bold } else { Tone::Plain };
            sheet.put(pen, box_row, &words, tone);
            if form.at_box {
                place = sheet.y(box_row).map(|y| Position { x: inside.x + 2, y });
            }
        }
        sheet.reason(pen, reason_row, form.busy, form.reason.as_deref());
        return place.filter(|_| !form.busy);
    }
    if let (None, Some(form)) = (&state.new_password, &state.enrol) {
        return enrol(form, whole, pen);
    }
    let form = state.new_password.as_ref()?;
    let inside = pen.frame(centred(whole, 64, 11), "change the password");
    let columns = usize::from(inside.width.saturating_sub(2));
    let mut rule = wrap("12 to 1024 octets, not a common one, not the user name", columns);
    let is_roomy = inside.height > 6;
    first_lines(&mut rule, if is_roomy { 2 } else { 1 }, columns);
    let first = u16::try_from(rule.len()).unwrap_or(0) + u16::from(is_roomy && rule.len() == 1);
    let at = u16::try_from(form.field.min(2)).unwrap_or(0);
    let sheet = Sheet::new(inside, first + at);
    for (row, line) in (0..).zip(&rule) {
        sheet.put(pen, row, line, Tone::Dim);
    }
    let places = [
        sheet.field(pen, first, "Old", &form.old),
        sheet.field(pen, first + 1, "New", &form.new[0]),
        sheet.field(pen, first + 2, "New again", &form.new[1]),
    ];
    sheet.reason(pen, first + 4, form.busy, form.reason.as_deref());
    places[form.field.min(2)].filter(|_| !form.busy)
}

/// The form for a second factor; where its cursor is.
fn enrol(form: &Enrol, whole: Rect, pen: &mut Pen<'_>) -> Option<Position> {
    let inside = pen.frame(centred(whole, 64, 15), "set up a second factor");
    let columns = inside.width.saturating_sub(2);
    let said = |text: &str, tone: Tone| -> Vec<(String, Tone)> {
        wrap(&clean(text), usize::from(columns)).into_iter().map(|line| (line, tone)).collect()
    };
    let mut lines = match &form.stage {
        EnrolStage::Password => {
            let mut lines = Vec::new();
            if form.is_demanded {
                lines.extend(said("this registry demands a second factor of you", Tone::Warn));
            }
            lines.extend(said("A code of an authenticator is asked for at each sign-in then.", Tone::Dim));
            lines
        }
        EnrolStage::Code { secret, uri } => {
            let mut lines = said("Give this secret to your authenticator; it is shown this once:", Tone::Dim);
            lines.extend(said(&grouped_secret(secret.expose()), Tone::Bold));
            let as_uri = said(uri.expose(), Tone::Plain);
            // The same once more: where there is no room for all of it, the secret is enough.
            if lines.len() + as_uri.len() <= usize::from(inside.height.saturating_sub(ENROL_ROWS)) {
                lines.extend(as_uri);
            }
            lines
        }
        EnrolStage::Done(codes) => {
            let what = "It is on. Keep these recovery codes, they are shown this once; each is good for one sign-in \
                        without the authenticator:";
            let mut lines = said(what, Tone::Dim);
            for pair in codes.chunks(2) {
                let pair: Vec<&str> = pair.iter().map(Secret::expose).collect();
                lines.extend(said(&pair.join("    "), Tone::Bold));
            }
            lines
        }
    };
    let is_done = matches!(form.stage, EnrolStage::Done(_));
    let below = if is_done { 1 } else { ENROL_ROWS };
    lines.truncate(usize::from(inside.height.saturating_sub(below)));
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let sheet = Sheet::new(inside, if is_done { 0 } else { rows + 1 });
    for (row, (line, tone)) in (0..).zip(&lines) {
        sheet.put(pen, row, line, *tone);
    }
    if is_done {
        sheet.reason(pen, rows + 1, false, form.reason.as_deref());
        return None;
    }
    let label = if matches!(form.stage, EnrolStage::Password) { "Password" } else { "Code" };
    let place = sheet.field(pen, rows + 1, label, &form.line);
    sheet.reason(pen, rows + 2, form.busy, form.reason.as_deref());
    place.filter(|_| !form.busy)
}

/// Which daemon it is that asks.
fn whereto(state: &State) -> String {
    let settings = &state.settings;
    if settings.profile.is_empty() {
        format!("mregd at {}", settings.address)
    } else {
        format!("{}   mregd at {}", settings.profile, settings.address)
    }
}

/// What is known of TLS, in lines; none without it.
fn tls(state: &State, columns: usize) -> Vec<(String, Tone)> {
    let (text, tone) = match &state.certificate {
        _ if !state.settings.tls => return Vec::new(),
        None => ("TLS: shaking hands".to_owned(), Tone::Dim),
        Some(Err(why)) => (why.clone(), Tone::Bad),
        Some(Ok(certificate)) => {
            let name = certificate.name();
            match certificate.days_left(state.now.wall_seconds) {
                // Only behind a pinned key.
                days @ ..0 => (
                    format!("TLS pinned, certificate of {name}, EXPIRED {} ago", counted(days.unsigned_abs(), "day")),
                    Tone::Warn,
                ),
                days => {
                    let tone = if days < CERTIFICATE_LOW_DAYS { Tone::Warn } else { Tone::Good };
                    (format!("TLS ok, certificate of {name}, {}", counted(days.unsigned_abs(), "day")), tone)
                }
            }
        }
    };
    wrap(&clean(&text), columns).into_iter().map(|line| (line, tone)).collect()
}

/// The inside of a frame, as rows from its top. Where it has fewer than there are, those above the one that is typed in go.
struct Sheet {
    inside: Rect,
    first: u16,
}

impl Sheet {
    /// A sheet on which this row is in sight.
    fn new(inside: Rect, row: u16) -> Self {
        Self { inside, first: (row + 1).saturating_sub(inside.height) }
    }

    /// Where a row is, if it is in sight.
    fn y(&self, row: u16) -> Option<u16> {
        let y = self.inside.y + row.checked_sub(self.first)?;
        (y < self.inside.bottom()).then_some(y)
    }

    fn put(&self, pen: &mut Pen<'_>, row: u16, text: &str, tone: Tone) {
        if let Some(y) = self.y(row) {
            pen.put(self.inside.x + 1, y, self.inside.width.saturating_sub(2), text, tone);
        }
    }

    /// A label and what is typed behind it; where the cursor is.
    fn field(&self, pen: &mut Pen<'_>, row: u16, label: &str, line: &Line) -> Option<Position> {
        self.field_in(pen, row, label, line, Tone::Bold)
    }

    fn field_in(&self, pen: &mut Pen<'_>, row: u16, label: &str, line: &Line, tone: Tone) -> Option<Position> {
        let y = self.y(row)?;
        let inside = self.inside;
        pen.put(inside.x + 1, y, LABEL_COLUMNS.min(inside.width.saturating_sub(2)), label, Tone::Plain);
        let x = inside.x + 1 + LABEL_COLUMNS;
        let room = inside.right().saturating_sub(x + 1);
        let (text, column) = if line.is_hidden() {
            let dots = |text: &str| text.chars().count().min(DOTS_MAX);
            let before = u16::try_from(dots(line.before_cursor())).unwrap_or(0);
            ("*".repeat(dots(line.text())), before)
        } else {
            text_window(line.text(), line.before_cursor(), room)
        };
        pen.put(x, y, room, &text, tone);
        Some(Position { x: x + column.min(room), y })
    }

    /// Why it was not taken, or that it is being asked.
    fn reason(&self, pen: &mut Pen<'_>, row: u16, busy: bool, reason: Option<&str>) {
        let (text, tone) =
            if busy { ("asking the daemon", Tone::Plain) } else { (reason.unwrap_or_default(), Tone::Bad) };
        let columns = usize::from(self.inside.width.saturating_sub(2));
        let mut lines = wrap(&clean(text), columns);
        let room = self.y(row).map_or(0, |y| self.inside.bottom() - y);
        first_lines(&mut lines, room.into(), columns);
        for (row, line) in (row..).zip(&lines) {
            self.put(pen, row, line, tone);
        }
    }
}
