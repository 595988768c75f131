//! API tokens of a user, over the screen.

use ratatui::layout::Rect;

use super::centred;
use crate::clean::{clean, cut, width, wrap};
use crate::layout::Areas;
use crate::state::State;
use crate::state::tokens::{Tokens, standing};
use crate::time::{Now, age, counted};
use crate::view::pen::{MARKER, Pen, Tone};
use common::api::{ApiToken, ApiTokenState};

/// Columns of the frame, where there is room.
const COLUMNS: u16 = 96;
/// Rows of the frame that are no token.
const OTHER_ROWS: u16 = 8;
/// Columns of a label.
const LABEL_COLUMNS: usize = 20;
/// Sessions that are listed at least.
const SESSIONS_SHOWN: usize = 3;

/// Paints them.
pub(super) fn paint(state: &State, areas: &Areas, tokens: &Tokens, pen: &mut Pen<'_>) {
    let whole = Rect { y: 0, height: areas.message.y, ..areas.body };
    let now = state.times();
    let rows = tokens.rows.as_deref().unwrap_or_default();
    let room = usize::from(whole.height.saturating_sub(OTHER_ROWS + 2)).saturating_sub(rows.len().max(1));
    let sessions = session_lines(tokens, room.max(SESSIONS_SHOWN), now);
    let wanted = rows.len().max(1).saturating_add(sessions.len());
    let height = u16::try_from(wanted).unwrap_or(u16::MAX).saturating_add(OTHER_ROWS);
    let title = clean(&format!("API tokens of {}", tokens.user));
    let inside = pen.frame(centred(whole, COLUMNS, height), &title);
    let wide = inside.width.saturating_sub(2);
    let mut y = inside.y;
    let mut put = |pen: &mut Pen<'_>, text: &str, tone: Tone| {
        if y < inside.bottom() {
            pen.put(inside.x + 1, y, wide, text, tone);
        }
        y = y.saturating_add(1);
    };
    put(
        pen,
        &format!("  {:LABEL_COLUMNS$} {:16} {:8} {:10} {:9} MAY", "LABEL", "ID", "STATE", "ENDS", "USED"),
        Tone::Dim,
    );
    match (&tokens.failed, &tokens.rows) {
        (Some(why), _) => {
            for line in wrap(&clean(why), wide.into()) {
                put(pen, &line, Tone::Bad);
            }
        }
        (None, None) => put(pen, "loading", Tone::Dim),
        (None, Some(rows)) if rows.is_empty() => put(pen, "no token", Tone::Dim),
        (None, Some(rows)) => {
            // The selected one is in sight, however little room there is.
            let below = u16::try_from(sessions.len()).unwrap_or(u16::MAX).saturating_add(4);
            let room = usize::from(inside.height.saturating_sub(below)).max(1);
            let first = tokens.selected.saturating_sub(room - 1);
            for (place, token) in rows.iter().enumerate().skip(first).take(room) {
                let (mark, tone) = match (place == tokens.selected, token.state.known()) {
                    (true, _) => (MARKER, Tone::Bold),
                    (false, Some(ApiTokenState::Live)) => (" ", Tone::Plain),
                    (false, Some(ApiTokenState::Expired | ApiTokenState::Disabled) | None) => (" ", Tone::Dim),
                };
                put(pen, &format!("{mark} {}", line(token, now)), tone);
            }
        }
    }
    put(pen, "", Tone::Plain);
    for line in &sessions {
        put(pen, line, Tone::Plain);
    }
    put(pen, "Secrets are shown once, when they are made.", Tone::Dim);
}

fn line(token: &ApiToken, now: Now) -> String {
    let ends = token.expires_at.as_deref().map_or("never".to_owned(), |at| at.get(..10).unwrap_or(at).to_owned());
    let used = token.last_used_at.as_deref().map_or("never".to_owned(), |at| age(at, now));
    let may = match &token.permissions {
        Some(list) => list.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(","),
        None => "all but user.manage".to_owned(),
    };
    let names = token.names.as_ref().map(|names| {
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        format!(" on {}", names.join(","))
    });
    let label = cut(&clean(&token.label), LABEL_COLUMNS);
    let pad = " ".repeat(LABEL_COLUMNS - width(&label));
    let (id, state) = (clean(&token.id), clean(standing(token)));
    format!("{label}{pad} {id:16} {state:8} {ends:10} {used:9} {may}{}", names.unwrap_or_default())
}

fn session_lines(tokens: &Tokens, room: usize, now: Now) -> Vec<String> {
    let Some(sessions) = &tokens.sessions else { return Vec::new() };
    let more = match sessions.len().saturating_sub(room) {
        0 => String::new(),
        more => format!(", {more} of them not shown"),
    };
    let mut lines = vec![format!("{} signed in{more}", counted(sessions.len() as u64, "session"))];
    let words = |session| format!("  {}", clean(&super::users::session_words(session, now)));
    lines.extend(sessions.iter().take(room).map(words));
    lines
}
