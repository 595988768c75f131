//! A word of a closed list, in an answer of a daemon that may be newer and have more of them: what is not on the list is kept
//! as the text it came as, to be shown. What it would mean is not known here, and nothing may be decided by it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, Error, IntoDeserializer, Visitor, value};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::api::quota::QuotaKind;
use crate::api::retention::RetentionAction;
use crate::api::{
    ApiTokenState, Decision, IngestKind, IngestState, Origin, State, UserKind, WebhookAttemptKind, WebhookState,
};
use crate::grant::Effect;
use crate::role::{Permission, Role};

/// Octets that a word which is not known may have: whatever is longer is no word.
pub const WORD_OCTETS_MAX: usize = 256;

/// What stands on a closed list, under a name on the wire.
pub trait Word: Copy {
    /// The name on the wire.
    fn word(self) -> &'static str;
}

macro_rules! words {
    ($($of:ty)*) => { $(
        impl Word for $of {
            fn word(self) -> &'static str {
                self.as_str()
            }
        }
    )* };
}

words! {
    Role Permission Effect UserKind State Origin Decision IngestState IngestKind QuotaKind RetentionAction ApiTokenState
    WebhookState WebhookAttemptKind
}

/// One of a closed list, or what a newer daemon said instead. Answers have it; what a daemon is sent, and what it stores, has
/// the list itself.
///
/// ```
/// use common::api::State;
/// use common::known::Known;
/// let states: Vec<Known<State>> = serde_json::from_str(r#"["deleted", "frozen"]"#).unwrap();
/// assert_eq!(states[0], State::Deleted);
/// assert_eq!((states[1].known(), states[1].as_str()), (None, "frozen"));
/// assert_eq!(serde_json::to_string(&states).unwrap(), r#"["deleted","frozen"]"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Known<T> {
    /// It is on the list.
    Known(T),
    /// It is not.
    Other(Box<str>),
}

impl<T: Copy> Known<T> {
    /// What it is; none where that is not known.
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Other(_) => None,
        }
    }
}

impl<T: Word> Known<T> {
    /// The word on the wire. Where it is not known it is text of others.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(value) => value.word(),
            Self::Other(text) => text,
        }
    }
}

impl<T> From<T> for Known<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T: Default> Default for Known<T> {
    fn default() -> Self {
        Self::Known(T::default())
    }
}

impl<T: PartialEq> PartialEq<T> for Known<T> {
    fn eq(&self, other: &T) -> bool {
        matches!(self, Self::Known(value) if value == other)
    }
}

impl<T: Word> fmt::Display for Known<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<T: Word> Serialize for Known<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Known<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Cow<'de, str> = deserializer.deserialize_str(Text)?;
        let read: Result<T, value::Error> = T::deserialize(text.as_ref().into_deserializer());
        match read {
            Ok(value) => Ok(Self::Known(value)),
            Err(_) if text.len() > WORD_OCTETS_MAX => {
                Err(D::Error::custom(format_args!("a word of {} octets, more than {WORD_OCTETS_MAX}", text.len())))
            }
            Err(_) => Ok(Self::Other(text.into())),
        }
    }
}

/// Reads a text, without a copy where that can be.
struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;
    use serde_json::{from_value, json, to_value};

    use super::*;
    use crate::api::quota::{QuotaInfo, QuotaLimits};
    use crate::api::retention::{RetentionRule, RetentionRuleInfo};

    /// Words that are known are read as what they are and written under the same name as the list itself writes them; others
    /// are kept, compared and written as they came.
    fn list<T: Word + DeserializeOwned + Serialize + PartialEq + Debug>(all: &[T]) {
        for value in all {
            let wire = to_value(value).unwrap();
            assert_eq!(wire, json!(value.word()));
            let read: Known<T> = from_value(wire.clone()).unwrap();
            assert_eq!(read, *value);
            assert_eq!((read.known().as_ref(), read.to_string()), (Some(value), value.word().to_owned()));
            assert_eq!(to_value(&read).unwrap(), wire);
        }
        for text in ["frozen", "", "Known", "\u{1b}[2J\u{202e}é", &"x".repeat(WORD_OCTETS_MAX)] {
            let read: Known<T> = from_value(json!(text)).unwrap();
            assert_eq!((read.known(), read.as_str(), read.to_string().as_str()), (None, text, text));
            assert_eq!(to_value(&read).unwrap(), json!(text));
            assert!(all.iter().all(|value| read != *value), "what is not known equals nothing that is");
        }
    }

    #[test]
    fn every_list() {
        list(&Role::ALL);
        list(Role::Admin.permissions());
        list(&[UserKind::Person, UserKind::Service]);
        list(&[State::Available, State::Quarantined, State::Deprecated, State::Deleted]);
        list(&[Origin::Measured, Origin::Claimed, Origin::Attested]);
        list(&[Decision::Released, Decision::Blocked]);
        list(&IngestState::ALL);
        list(&[IngestKind::File, IngestKind::Folder, IngestKind::Sidecar, IngestKind::Other]);
        list(&[QuotaKind::User, QuotaKind::Namespace]);
        list(&[RetentionAction::Delete, RetentionAction::Purge]);
        list(&[ApiTokenState::Live, ApiTokenState::Expired, ApiTokenState::Disabled]);
        list(&[
            WebhookState::Working,
            WebhookState::Failing,
            WebhookState::Disabled,
            WebhookState::Keyless,
            WebhookState::Elsewhere,
        ]);
        list(&[WebhookAttemptKind::Event, WebhookAttemptKind::Test, WebhookAttemptKind::Replay]);
    }

    /// As a key of a map it is as good as as a value, and what has a default has it still.
    #[test]
    fn keys_and_defaults() {
        let text = r#"{"failed":2,"thaw\u0069ng":7}"#;
        let counts: BTreeMap<Known<IngestState>, u64> = serde_json::from_str(text).unwrap();
        assert_eq!(counts.get(&IngestState::Failed.into()), Some(&2));
        assert_eq!(serde_json::to_string(&counts).unwrap(), r#"{"failed":2,"thawing":7}"#);
        assert_eq!(Known::<UserKind>::default(), UserKind::Person);
    }

    /// What is no word, or too long for one, does not fit.
    #[test]
    fn no_words() {
        for value in [json!(1), json!(null), json!(["viewer"]), json!({"viewer": null}), json!("x".repeat(257))] {
            assert!(from_value::<Known<Role>>(value).is_err());
        }
    }

    /// Answers that also have what a request refuses: fields that are not known are passed over, words are kept.
    #[test]
    fn answers() {
        let rule = json!({
            "name": "old", "set_by": "alice", "set_at": "x", "first_run_at": "x", "next_run_at": null, "requested_at": null,
            "last_run": null, "rule": {"pattern": "a/*", "action": "archive", "states": ["frozen", "deprecated"], "to": "tape"}
        });
        let info: RetentionRuleInfo = from_value(rule.clone()).unwrap();
        assert_eq!((info.rule.action.as_str(), info.rule.states[0].as_str()), ("archive", "frozen"));
        assert_eq!((info.rule.states[1].known(), info.rule.enabled), (Some(State::Deprecated), true));
        assert!(from_value::<RetentionRule>(rule["rule"].clone()).is_err(), "a request must mean all that it says");

        let quota = json!({
            "kind": "team", "name": "nlp", "limits": {"bytes": 7, "files": 9}, "is_own": true, "set_by": null,
            "set_at": null, "used": {"bytes": 1, "versions": 1, "models": 1, "files": 3}, "reserved_bytes": 0
        });
        let info: QuotaInfo = from_value(quota.clone()).unwrap();
        assert_eq!(
            (info.kind.as_str(), info.limits),
            ("team", QuotaLimits { bytes: Some(7), ..QuotaLimits::default() })
        );
        assert!(from_value::<QuotaLimits>(quota["limits"].clone()).is_err());
    }
}
