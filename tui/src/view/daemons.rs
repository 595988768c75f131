//! The daemons there are, one line each.

use crate::clean::wrap;
use crate::layout::{Areas, Class};
use crate::state::{Left, State};
use crate::time::{age, rfc3339};
use crate::view::pen::{MARKER, Pen, Tone};

/// Columns of a profile's name, and of its address where there is room and where there is less.
const NAME_COLUMNS: u16 = 18;
const ADDRESS_COLUMNS: u16 = 34;
const ADDRESS_COLUMNS_NORMAL: u16 = 24;

/// Paints the list over the screen.
pub(super) fn paint(state: &State, areas: &Areas, selected: usize, pen: &mut Pen<'_>) {
    pen.blank(areas.status);
    pen.blank(areas.body);
    super::overlay_title(state, areas.status.x + 1, areas.status, pen);
    let area = areas.body;
    let profiles = &state.settings.profiles;
    if profiles.is_empty() {
        let words = "the configuration file names no daemons: mreg config path says where it is";
        let lines = wrap(words, area.width.saturating_sub(3).into());
        for (y, line) in (area.top()..area.bottom()).zip(&lines) {
            pen.put(area.x + 2, y, area.width.saturating_sub(2), line, Tone::Plain);
        }
    }
    let address_columns = if areas.class == Class::Wide { ADDRESS_COLUMNS } else { ADDRESS_COLUMNS_NORMAL };
    let height = usize::from(area.height).max(1);
    let first = (selected + 1).saturating_sub(height);
    for (y, (place, profile)) in (area.top()..area.bottom()).zip(profiles.iter().enumerate().skip(first)) {
        let is_current = profile.name == state.settings.profile;
        if place == selected {
            pen.put(area.x, y, 1, MARKER, Tone::Plain);
        }
        // Where there is room it is said in words as well.
        if is_current {
            pen.put(area.x + 1, y, 1, "*", Tone::Bold);
        }
        let room = |x: u16, most: u16| most.min(area.right().saturating_sub(x));
        let (name_x, address_x) = (area.x + 2, area.x + 2 + NAME_COLUMNS + 2);
        let tone = match (place == selected, profile.accent) {
            (true, _) => Tone::Current,
            (false, Some(accent)) => Tone::Accent(accent),
            (false, None) => Tone::Bold,
        };
        let url = profile.url.strip_prefix("http://").unwrap_or(&profile.url);
        pen.put(name_x, y, room(name_x, NAME_COLUMNS), &profile.name, tone);
        pen.put(address_x, y, room(address_x, address_columns), url, Tone::Plain);
        let rest_x = address_x + address_columns + 2;
        let now = if is_current { "  this one" } else { "" };
        let Left { badge, seen_at } = match state.settings.left.get(&profile.name) {
            _ if is_current => Left::from(&state.log.trust.kept()),
            Some(left) => left.clone(),
            None => Left::default(),
        };
        let seen = seen_at.map(|at| format!("seen {}", age(&rfc3339(at), state.times()))).unwrap_or_default();
        let who = format!("{}{now}", profile.user);
        let texts = [who.trim(), &seen, &badge, &profile.notes];
        let rest = texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("  ");
        pen.put(rest_x, y, room(rest_x, area.width), &rest, Tone::Dim);
    }
}
