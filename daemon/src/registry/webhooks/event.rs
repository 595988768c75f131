//! From an entry of the log to a webhook's message: which entries a webhook wants, and what is said of them. Pure.
//!
//! A message is thin: it says what happened to what, by whom, and where in the log that stands; more is for the receiver to
//! ask for, with rights of its own.

use common::audit::{Action, Entry, Hash, Outcome, leaf_hash};
use common::name::{HookId, ModelName};
use common::pattern::NamePattern;
use serde_json::{Map, Value, json};

use crate::clock;
use crate::store::records::WebhookRecord;

/// The type of a message that only shows whether it arrives.
pub const TEST: &str = "webhook.test";

/// What stands before the action in a leaf: members are in order, and it is the first.
const LEAF_HEAD: &[u8] = b"{\"action\":\"";

/// A message, ready to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id, the same for each attempt: receivers know by it what they have had.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// Index of its entry; none for a test.
    pub index: Option<u64>,
    /// Its octets.
    pub body: Vec<u8>,
}

/// Octets of the leaf hash in an id, as hexadecimal digits: an index is another entry's after a rollback was accepted.
const ID_HASH_OCTETS: usize = 6;

/// The id of the message about an entry, of this leaf hash.
pub fn message_id(hook: HookId, index: u64, leaf: &Hash) -> String {
    format!("msg_{hook}_{index}_{}", hex::encode(&leaf.0[..ID_HASH_OCTETS]))
}

/// The index of the entry that a message of this webhook was about; whether that is the entry still, its own id tells.
pub fn index_of(hook: HookId, id: &str) -> Option<u64> {
    let rest = id.strip_prefix("msg_")?.strip_prefix(&hook.to_string())?.strip_prefix('_')?;
    let (digits, hash) = rest.split_once('_')?;
    let index: u64 = digits.parse().ok()?;
    let is_hash =
        hash.len() == 2 * ID_HASH_OCTETS && hash.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'));
    // One spelling of each.
    (is_hash && index.to_string() == digits).then_some(index)
}

/// Whether a pattern of actions is one, and is about something: a name, a group as in `model.*`, or `*`.
pub(super) fn is_pattern(pattern: &str) -> bool {
    Action::KNOWN.iter().any(|action| fits(pattern, action.as_str()))
}

fn fits(pattern: &str, action: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(group) => group.ends_with('.') && action.starts_with(group),
        None => pattern == action,
    }
}

/// What a webhook wants to know of.
#[derive(Debug, Clone)]
pub struct Filter {
    actions: Vec<String>,
    models: Vec<NamePattern>,
    outcomes: Vec<Outcome>,
}

impl Filter {
    /// That of a webhook.
    pub fn of(hook: &WebhookRecord) -> Self {
        Self {
            actions: hook.actions.clone(),
            models: hook.models.clone(),
            outcomes: hook.outcomes.iter().filter_map(|outcome| Outcome::parse(outcome)).collect(),
        }
    }

    /// Whether an entry of this leaf may be wanted, as far as its first octets tell: most need not be read any further.
    pub(super) fn may_want(&self, leaf: &[u8]) -> bool {
        let action = leaf.strip_prefix(LEAF_HEAD).and_then(|rest| rest.split(|octet| *octet == b'"').next());
        let action = action.and_then(|action| std::str::from_utf8(action).ok());
        // A leaf that begins otherwise is none of ours, which reading it will tell.
        action.is_none_or(|action| self.wants_action(action))
    }

    fn wants_action(&self, action: &str) -> bool {
        // How far webhooks have come is written because something was delivered: told to them, it would go on for ever.
        action != Action::WebhookProgress.as_str() && self.actions.iter().any(|pattern| fits(pattern, action))
    }

    /// Whether an entry is wanted.
    pub(super) fn wants(&self, entry: &Entry) -> bool {
        self.wants_action(entry.action.as_str())
            && self.outcomes.contains(&entry.outcome)
            && (self.models.is_empty()
                || model_of(entry).is_some_and(|name| self.models.iter().any(|pattern| pattern.matches(&name))))
    }
}

/// The model that an entry is about, by the name it had then.
fn model_of(entry: &Entry) -> Option<ModelName> {
    let target = entry.target.as_ref()?;
    let is_of_model = matches!(target.kind.as_str(), "model" | "version" | "file" | "alias");
    let named = entry.data.get("name").and_then(Value::as_str);
    // Of what was refused the name that was typed may be all there is.
    is_of_model.then(|| named.unwrap_or(&target.id).parse().ok())?
}

/// The message about an entry. `origin` is the log's name.
pub(super) fn message(hook: HookId, origin: &str, entry: &Entry, leaf: &[u8]) -> Message {
    let mut data = Map::new();
    data.insert("id".to_owned(), entry.id.as_str().into());
    data.insert("outcome".to_owned(), entry.outcome.as_str().into());
    let mut actor = json!({"id": entry.actor.id, "kind": entry.actor.kind.as_str()});
    if let Some(name) = &entry.actor.name {
        actor["name"] = name.as_str().into();
    }
    data.insert("actor".to_owned(), actor);
    if let Some(target) = &entry.target {
        let mut told = json!({"kind": target.kind, "id": target.id});
        for (member, value) in [("version", &target.version), ("digest", &target.digest)] {
            if let Some(value) = value {
                told[member] = value.as_str().into();
            }
        }
        if let Some(name) = entry.data.get("name").filter(|name| name.is_string()) {
            told["name"] = name.clone();
        }
        data.insert("target".to_owned(), told);
    }
    let hash = leaf_hash(leaf);
    let log = json!({"origin": origin, "index": entry.seq, "leaf_hash": hash.to_string()});
    data.insert("log".to_owned(), log);
    let kind = entry.action.as_str().to_owned();
    let body = body(&kind, entry.ts, Value::Object(data));
    Message { id: message_id(hook, entry.seq, &hash), kind, index: Some(entry.seq), body }
}

/// A message that says nothing, of the entry that it was asked for with.
pub(super) fn test(hook: HookId, origin: &str, index: u64, at_ms: i64) -> Message {
    let data = json!({"webhook": hook.to_string(), "log": {"origin": origin, "index": index}});
    Message {
        id: format!("msg_{hook}_test_{index}"),
        kind: TEST.to_owned(),
        index: None,
        body: body(TEST, at_ms, data),
    }
}

fn body(kind: &str, at_ms: i64, data: Value) -> Vec<u8> {
    json!({"type": kind, "timestamp": clock::rfc3339(at_ms), "data": data}).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeMap;

    use common::audit::{Action, Actor, Entry, Hash, Outcome, Target};
    use common::name::HookId;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use serde_json::{Value, json};

    use super::{Filter, index_of, is_pattern, message, message_id};

    fn filter(actions: &[&str], models: &[&str], outcomes: &[Outcome]) -> Filter {
        Filter {
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
            models: models.iter().map(|model| model.parse().unwrap()).collect(),
            outcomes: outcomes.to_vec(),
        }
    }

    fn entry(action: Action, outcome: Outcome, target: Option<Target>, name: Option<&str>) -> Entry {
        Entry {
            seq: 7,
            id: "0198".to_owned(),
            ts: 1_700_000_000_123,
            node: "n".to_owned(),
            salt: [1; 32],
            action,
            outcome,
            actor: Actor::system(),
            change: None,
            prev: None,
            target,
            req: None,
            data: name.map(|name| ("name".to_owned(), name.into())).into_iter().collect::<BTreeMap<String, Value>>(),
        }
    }

    /// Patterns are of actions that there are.
    #[test]
    fn patterns() {
        for (pattern, is) in [
            ("*", true),
            ("model.*", true),
            ("model.upload", true),
            ("webhook.*", true),
            ("model", false),
            ("model.", false),
            ("mod*", false),
            ("*.upload", false),
            ("nothing.*", false),
            ("model.upolad", false),
            ("", false),
            ("MODEL.*", false),
        ] {
            assert_eq!(is_pattern(pattern), is, "{pattern}");
        }
    }

    /// What is wanted: by action, outcome and the model's name; never what delivering itself brings about.
    #[test]
    fn filters() {
        let model = |name| entry(Action::ModelUpload, Outcome::Ok, Some(Target::new("model", "01X")), Some(name));
        let typed = entry(Action::ModelRead, Outcome::Denied, Some(Target::new("model", "team/m")), None);
        let user = entry(Action::UserCreate, Outcome::Ok, Some(Target::new("user", "usr_1")), Some("team"));
        let bare = entry(Action::LogStart, Outcome::Ok, None, None);
        let ok = [Outcome::Ok];
        for (filter, entry, is) in [
            (filter(&["*"], &[], &ok), &model("team/m"), true),
            (filter(&["*"], &[], &ok), &bare, true),
            (filter(&["model.*"], &[], &ok), &user, false),
            (filter(&["model.upload"], &["team/*"], &ok), &model("Team/M"), true),
            (filter(&["model.upload"], &["team/*"], &ok), &model("other/m"), false),
            (filter(&["*"], &["*"], &ok), &user, false),
            (filter(&["*"], &["*"], &ok), &bare, false),
            (filter(&["*"], &["team/*"], &ok), &typed, false),
            (filter(&["*"], &["team/*"], &[Outcome::Denied]), &typed, true),
            (filter(&[], &[], &ok), &bare, false),
        ] {
            assert_eq!(filter.wants(entry), is, "{filter:?} {entry:?}");
            // What the first octets say never contradicts that.
            assert!(filter.may_want(&entry.to_leaf().unwrap()) || !is);
        }
        let progress = entry(Action::WebhookProgress, Outcome::Ok, None, None);
        assert!(!filter(&["*", "webhook.*"], &[], &ok).wants(&progress));
        assert!(!filter(&["*"], &[], &ok).may_want(&progress.to_leaf().unwrap()));
        assert!(!filter(&["model.*"], &[], &ok).may_want(&bare.to_leaf().unwrap()));
        assert!(filter(&["model.*"], &[], &ok).may_want(b"nonsense"));
    }

    /// A message says what it must, and no more.
    #[test]
    fn messages() {
        let target = Target { version: Some("3".to_owned()), ..Target::new("version", "01X") };
        let mut entry = entry(Action::ModelRelease, Outcome::Ok, Some(target), Some("team/m"));
        entry.data.insert("reason_given".to_owned(), "a secret of the house".into());
        let leaf = entry.to_leaf().unwrap();
        let message = message(HookId::from_u128(1), "log.example", &entry, &leaf);
        let body: Value = serde_json::from_slice(&message.body).unwrap();
        assert_eq!(
            body,
            json!({
                "type": "model.release",
                "timestamp": "2023-11-14T22:13:20.123Z",
                "data": {
                    "id": "0198",
                    "outcome": "ok",
                    "actor": {"id": "system", "kind": "system"},
                    "target": {"kind": "version", "id": "01X", "version": "3", "name": "team/m"},
                    "log": {
                        "origin": "log.example",
                        "index": 7,
                        "leaf_hash": common::audit::leaf_hash(&leaf).to_string(),
                    },
                },
            })
        );
        assert_eq!((message.kind.as_str(), message.index), ("model.release", Some(7)));
    }

    proptest! {
        /// A message's id leads back to its entry, no other text does, and another leaf at the index has another id.
        #[test]
        fn ids(hook: u128, index: u64, leaf: [u8; 32], other: [u8; 32], text in any::<String>()) {
            let hook = HookId::from_u128(hook);
            let id = message_id(hook, index, &Hash(leaf));
            prop_assert_eq!(index_of(hook, &id), Some(index));
            prop_assert!(leaf[..6] == other[..6] || id != message_id(hook, index, &Hash(other)));
            prop_assert!(index_of(hook, &text).is_none());
            let digits = id.rsplit('_').next().unwrap();
            for odd in [
                format!("msg_{hook}_0{index}_{digits}"), format!("msg_{hook}_{index}"), format!("{id}0"),
                format!("msg_{hook}_{index}_{}", "g".repeat(12)),
            ] {
                prop_assert!(index_of(hook, &odd).is_none());
            }
        }
    }
}
