//! What people say about alarms: a console that verifies the log may find that it is not what was signed, and somebody must
//! say why it goes on. That is recorded and changes nothing. Whether it was so is not known here, nor believed.

use common::api::AcknowledgeAlarm;
use common::audit::{Action, INTEGER_MAX, Target};
use serde_json::json;

use crate::clock;
use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::text::{self, Refused};

/// Letters of a kind of check.
const KIND_LETTERS_MAX: usize = 32;

impl Registry {
    /// Records what was found and why it may go on. Anybody who is signed in may: it is about what they themselves saw.
    ///
    /// # Errors
    /// `Unauthenticated`, `PasswordChangeRequired`; `Invalid`; `IdempotencyKeyReused`; `AuditUnavailable`.
    pub async fn acknowledge_alarm(&self, caller: &Caller, alarm: AcknowledgeAlarm) -> Outcome<()> {
        let inner = &self.inner;
        let note = Note::change(Action::AuditAcknowledge, Target::new("log", &inner.store.log_keys().origin));
        if let Err(error) = caller.require_signed_in() {
            return Err(inner.refuse(caller, note, error).await);
        }
        let once = inner.fingerprints.once(caller, &json!(alarm));
        inner
            .commit_once(caller, note, once, move |_records, _moment, note| {
                let AcknowledgeAlarm { reason, kind, what, entry, found_at } = alarm;
                let mut refused = Refused::new();
                text::check_reason("body.reason", &reason, &mut refused);
                text::check_reason("body.what", &what, &mut refused);
                if !is_kind(&kind) {
                    refused.push((
                        "body.kind".to_owned(),
                        format!("is not a word of at most {KIND_LETTERS_MAX} letters and `_`"),
                    ));
                }
                if entry.is_some_and(|entry| entry > INTEGER_MAX) {
                    refused.push(("body.entry".to_owned(), "is no index of an entry".to_owned()));
                }
                let found_at = found_at.map(|time| time.parse::<jiff::Timestamp>()).transpose();
                if found_at.is_err() {
                    refused.push(("body.found_at".to_owned(), "is not an RFC 3339 time".to_owned()));
                }
                if !refused.is_empty() {
                    return Err(RegistryError::Invalid(refused));
                }
                note.say("reason_given", reason);
                note.say("kind", kind);
                note.say("what", what);
                if let Some(entry) = entry {
                    note.say("entry", entry);
                }
                if let Ok(Some(time)) = found_at {
                    note.say("found_at", clock::rfc3339(time.as_millisecond()));
                }
                Ok(((), Vec::new()))
            })
            .await
    }
}

fn is_kind(word: &str) -> bool {
    word.len() <= KIND_LETTERS_MAX
        && word.starts_with(|first: char| first.is_ascii_lowercase())
        && word.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_')
}
