//! Which of what was read has been changed by others since, as the log tells. For those who may not read the log nothing is
//! known; their lists say of when they are.

use std::collections::{BTreeSet, VecDeque};

use crate::state::Screen;

/// Milliseconds between two readings that nobody asked for.
pub const AGAIN_MS: u64 = 10_000;
/// The same, at least, of a list in which nobody is anywhere; twice as many after each that follows at once, up to
/// [`AGAIN_MS`]: reading is recorded, and a busy registry must not have a console record its own readings every second.
pub const SOON_MS: u64 = 1_000;

/// Entries of own changes that are remembered until the log brings them.
const OWN_MAX: usize = 1_024;
/// Rows of a list that are marked: as many as it holds. Of more it is only said that something changed.
const ROWS_MAX: usize = 1_024;

/// A list, and what of it was changed since it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Something was, perhaps what is not shown.
    pub any: bool,
    /// These rows were, by their keys.
    pub rows: BTreeSet<String>,
}

impl Touched {
    /// A row of the list was changed.
    pub fn row(&mut self, key: &str) {
        self.any = true;
        if self.rows.len() < ROWS_MAX {
            self.rows.insert(key.to_owned());
        }
    }

    /// It is being read again.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What was changed since it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fresh {
    /// The list of models.
    pub models: Touched,
    /// The model that is open, and its versions by number.
    pub open: Touched,
    /// The items of the drop folder.
    pub queue: Touched,
    /// The versions that are held.
    pub held: Touched,
    /// The users.
    pub users: Touched,
    /// When something was last read because of it.
    pub last_ms: Option<u64>,
    /// Milliseconds from then on in which a list in which nobody is anywhere is not read again.
    pub pause_ms: u64,
    /// When the timer for the next time runs out, in milliseconds since the start.
    pub wakes_ms: Option<u64>,
    /// Entries of changes of this console, after which it has read already.
    own: VecDeque<u64>,
}

impl Fresh {
    /// A change of this console is that entry: what it touches is read by itself.
    pub fn did(&mut self, index: u64) {
        if self.own.len() == OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back(index);
    }

    /// Whether an entry is such a change; it comes once.
    pub fn was_own(&mut self, index: u64) -> bool {
        match self.own.iter().position(|own| *own == index) {
            Some(place) => self.own.remove(place).is_some(),
            None => false,
        }
    }

    /// When what was changed may be read again, in milliseconds since the start.
    pub fn due_ms(&self, untouched: bool) -> u64 {
        let pause_ms = if untouched { self.pause_ms } else { AGAIN_MS };
        self.last_ms.map_or(0, |last| last.saturating_add(pause_ms))
    }

    /// It is being read again.
    pub fn reads(&mut self, now_ms: u64) {
        let rested = self.last_ms.is_none_or(|last| now_ms.saturating_sub(last) >= self.pause_ms.saturating_mul(2));
        self.pause_ms = if rested { SOON_MS } else { self.pause_ms.saturating_mul(2).min(AGAIN_MS) };
        self.last_ms = Some(now_ms);
    }

    /// Whether what a screen shows was changed since it was read; `open` where a model is open.
    pub fn is_changed(&self, screen: Screen, open: bool) -> bool {
        self.of(screen, open).is_some_and(|touched| touched.any)
    }

    /// What of a screen's list was changed.
    pub fn of(&self, screen: Screen, open: bool) -> Option<&Touched> {
        match screen {
            Screen::Models if open => Some(&self.open),
            Screen::Models => Some(&self.models),
            Screen::Queue => Some(&self.queue),
            Screen::Quarantine => Some(&self.held),
            Screen::Users => Some(&self.users),
            Screen::Audit | Screen::Health => None,
        }
    }
}

/// What an entry of the log changed, by its action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A model, a version or an alias.
    Model {
        /// Whether a version may be held by it, or let go.
        holds: bool,
    },
    /// What people say of a version that is held, and nothing of the version.
    Review,
    /// A user.
    User,
    /// An item of the drop folder, or all of it.
    Item,
}

impl Kind {
    /// Of an action that was done; none where nothing that is shown changes by it.
    pub fn of(action: &str) -> Option<Self> {
        match action.split_once('.')? {
            ("model", "read" | "list" | "download" | "download_end" | "verify" | "examine") => None,
            ("model", "note" | "approve") => Some(Self::Review),
            ("model", "update" | "sign") | ("alias", _) => Some(Self::Model { holds: false }),
            ("model", _) | ("blob", "damaged") => Some(Self::Model { holds: true }),
            ("user", "read" | "list") => None,
            ("user" | "role", _) => Some(Self::User),
            ("ingest", _) => Some(Self::Item),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AGAIN_MS, Fresh, Kind, ROWS_MAX, SOON_MS, Touched};

    /// What only reads changes nothing.
    #[test]
    fn kinds() {
        for (action, kind) in [
            ("model.upload", Some(Kind::Model { holds: true })),
            ("model.release", Some(Kind::Model { holds: true })),
            ("model.update", Some(Kind::Model { holds: false })),
            ("alias.set", Some(Kind::Model { holds: false })),
            ("user.disable", Some(Kind::User)),
            ("role.grant", Some(Kind::User)),
            ("ingest.reject", Some(Kind::Item)),
            ("model.note", Some(Kind::Review)),
            ("model.examine", None),
            ("model.download", None),
            ("model.list", None),
            ("user.list", None),
            ("auth.login", None),
            ("audit.acknowledge", None),
            ("odd", None),
        ] {
            assert_eq!(Kind::of(action), kind, "{action}");
        }
    }

    /// A list in which nobody is anywhere is read again at once, then after a second, and seldom while changes go on.
    #[test]
    fn how_soon() {
        let mut fresh = Fresh::default();
        assert_eq!((fresh.due_ms(true), fresh.due_ms(false)), (0, 0));
        let mut at = 50_000;
        let mut pauses = Vec::new();
        for _ in 0..6 {
            fresh.reads(at);
            assert_eq!(fresh.due_ms(false), at + AGAIN_MS);
            pauses.push(fresh.due_ms(true) - at);
            at = fresh.due_ms(true);
        }
        assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, AGAIN_MS, AGAIN_MS]);
        fresh.reads(at + 2 * AGAIN_MS);
        assert_eq!(fresh.pause_ms, SOON_MS);
    }

    /// However much others change, what is remembered of it does not grow.
    #[test]
    fn bounded() {
        let mut touched = Touched::default();
        for row in 0..2 * ROWS_MAX {
            touched.row(&row.to_string());
        }
        assert_eq!((touched.any, touched.rows.len()), (true, ROWS_MAX));
        touched.clear();
        assert_eq!(touched, Touched::default());
    }
}
