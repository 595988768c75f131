//! Which of what was read has been changed by others since, as the log tells. For those who may not read the log nothing is
//! known; their lists say of when they are.

use std::collections::{BTreeSet, VecDeque};

use crate::state::Screen;

/// Milliseconds between two readings that nobody asked for.
pub const AGAIN_MS: u64 = 10_000;

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
    /// A timer is set for the next time.
    pub waits: bool,
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
    use super::{Kind, ROWS_MAX, Touched};

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
