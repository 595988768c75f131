//! What people have to do with the log: alarms they acknowledged, and checks they asked for.

use serde::{Deserialize, Serialize};

use super::{Alarm, Breach, BreachKind, Trust, Wants};
use crate::event::Moment;

/// Acknowledgements that wait to be sent. More are kept in their files only.
pub const UNSENT_MAX: usize = 16;
/// Characters of what was found, as it is told to the daemon.
const WHAT_CHARS_MAX: usize = 1_000;

/// Why an alarm may go, on its way to the daemon's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Names it, so that it is recorded once however often it is sent.
    pub key: String,
    /// Who said it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The kind of check that failed.
    pub kind: String,
    /// What was found.
    pub what: String,
    /// From which entry on.
    pub entry: Option<u64>,
    /// When it was found, in seconds since the epoch.
    pub found_at: i64,
}

impl Said {
    /// Of an alarm, by a person.
    pub fn new(alarm: &Alarm, reason: &str, by: &str, key: String) -> Self {
        let kind = serde_json::to_value(alarm.kind).ok();
        let what: String = alarm.what.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        Self {
            key,
            by: by.to_owned(),
            reason: reason.to_owned(),
            kind: kind.and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default(),
            what: what.chars().take(WHAT_CHARS_MAX).collect(),
            entry: alarm.index.filter(|index| *index <= common::audit::INTEGER_MAX),
            found_at: alarm.at,
        }
    }
}

/// A check of many entries, as it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The first entry.
    pub from: u64,
    /// One behind the last.
    pub to: u64,
    /// The size of the log it was checked in.
    pub size: u64,
    /// The root of that.
    pub root: String,
    /// When it ended, in seconds since the epoch.
    pub at: i64,
    /// How many faults there were.
    pub faults: u64,
    /// The first of them, and what kind of breach that is, with its entry where that is known.
    pub first_fault: Option<(BreachKind, String, Option<u64>)>,
}

impl Checked {
    /// Whether it looked at every entry there was.
    pub fn is_full(&self) -> bool {
        self.from == 0 && self.to == self.size
    }
}

impl Trust {
    /// Keeps why an alarm may go until the daemon has it.
    pub fn to_send(&mut self, said: Said) -> bool {
        let has_room = self.unsent.len() < UNSENT_MAX;
        if has_room {
            self.unsent.push(said);
        }
        has_room
    }

    /// What waits to be sent for a user.
    pub fn unsent_by(&self, user: &str) -> Option<&Said> {
        self.unsent.iter().find(|said| said.by == user)
    }

    /// How many wait, whoever said them.
    pub fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// The daemon has it, or will never take it.
    pub fn sent(&mut self, key: &str, out: &mut Vec<Wants>) {
        let before = self.unsent.len();
        self.unsent.retain(|said| said.key != key);
        if self.unsent.len() < before {
            self.settled.push(key.to_owned());
            out.push(Wants::Save);
        }
    }

    /// The last check of every entry.
    pub fn full_check(&self) -> Option<&Checked> {
        self.full_check.as_ref()
    }

    /// A check has ended. What it found wrong is an alarm; one of everything is remembered.
    pub fn checked(&mut self, checked: &Checked, now: Moment, out: &mut Vec<Wants>) {
        if checked.is_full() {
            self.full_check = Some(checked.clone());
            out.push(Wants::Save);
        }
        if let Some((kind, what, entry)) = &checked.first_fault {
            let more = match checked.faults {
                0 | 1 => String::new(),
                faults => format!("; {} faults more", faults - 1),
            };
            let mut breach = Breach::new(*kind, format!("a check found: {what}{more}"));
            breach.index = *entry;
            breach.facts = vec![(
                "checked".to_owned(),
                format!(
                    "entries {} to {} of {}, root {}",
                    checked.from,
                    checked.to.saturating_sub(1),
                    checked.size,
                    checked.root
                ),
            )];
            breach.evidence = serde_json::json!({ "check": checked });
            self.raise(breach, now, out);
        }
    }
}
