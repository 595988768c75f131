//! Marked rows of the queue, the quarantine and the users: what is done next is about all of them. Kept by the rows' keys, so
//! that they stay while pages come and go.

use std::collections::BTreeMap;

use crate::action::RequestId;
use crate::state::deeds::Object;
use crate::state::{Screen, State};

/// Marks that are kept of one list.
pub const MARKS_MAX: usize = 10_000;

/// The marks of one list.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    /// The things, by the keys of their rows.
    pub objects: BTreeMap<String, Object>,
    /// The row that was marked last: a range begins there.
    pub last: Option<String>,
    /// The page that is read to be marked.
    pub reading: Option<RequestId>,
}

impl Marks {
    /// Whether there are none, and none are being read.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.reading.is_none()
    }

    /// Whether the row of a key is marked.
    pub fn has(&self, key: &str) -> bool {
        self.objects.contains_key(key)
    }

    /// How many, as the state line says it; empty where there are none.
    pub fn words(&self) -> String {
        let count = crate::time::grouped(self.objects.len() as u64);
        match (self.objects.len(), self.reading) {
            (0, None) => String::new(),
            (_, None) => format!("   {count} marked"),
            (_, Some(_)) => format!("   marking, {count}"),
        }
    }
}

impl State {
    /// The marks of a screen whose rows are marked so.
    pub fn marks_of(&self, screen: Screen) -> Option<&Marks> {
        match screen {
            Screen::Queue => Some(&self.queue.marks),
            Screen::Quarantine => Some(&self.quarantine.marks),
            Screen::Users => Some(&self.users.marks),
            Screen::Models | Screen::Audit | Screen::Health => None,
        }
    }

    /// The same, to be changed.
    pub fn marks_of_mut(&mut self, screen: Screen) -> Option<&mut Marks> {
        match screen {
            Screen::Queue => Some(&mut self.queue.marks),
            Screen::Quarantine => Some(&mut self.quarantine.marks),
            Screen::Users => Some(&mut self.users.marks),
            Screen::Models | Screen::Audit | Screen::Health => None,
        }
    }
}
