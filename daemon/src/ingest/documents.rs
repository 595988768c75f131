//! What is left beside a file of the drop folder when it is decided: the receipt of a version, or the problem document of a
//! refusal. Knows how both look; refuses to know where they are written.

use common::api::IngestReceipt;
use common::audit::Receipt;
use common::problem::{FieldError, Problem, ProblemType};
use serde::{Deserialize, Serialize};

use crate::problem::kind_of;
use crate::registry::error::RegistryError;
use crate::registry::publish::PublishedVersion;
use crate::store::records::{IngestOutcome, IngestRecord};

/// The type of problems that have none (RFC 9457, 4.2.1).
const NO_TYPE: &str = "about:blank";

/// A file `NAME.rejected.json`: an RFC 9457 problem document with what there is to say of the item.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Rejection {
    #[serde(flatten)]
    pub(crate) problem: Problem,
    /// The item.
    pub(crate) item: String,
    /// Its path below `incoming/`.
    pub(crate) path: String,
    /// When it was refused, RFC 3339.
    pub(crate) at: String,
    /// Index of the entry in the audit log.
    pub(crate) log_index: Option<u64>,
    /// Octets of its files.
    #[serde(default)]
    pub(crate) size: u64,
    /// The user of the machine it belonged to.
    #[serde(default)]
    pub(crate) owner_uid: u32,
    /// Who took it off the list by hand, if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) given_up: Option<GivenUp>,
    /// The proof that the entry is in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<Receipt>,
    /// Where it lies still, if it could not be moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stays: Option<Stays>,
}

/// What could not be moved, and was refused where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Stays {
    /// Its path below the drop folder.
    pub(crate) place: String,
    /// Says of what is there now whether that is still what was refused.
    pub(crate) mark: String,
}

/// That a refused item was taken off the list by hand.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GivenUp {
    /// Who did.
    pub(crate) by: String,
    /// Why, as they say.
    pub(crate) reason: String,
    /// When, RFC 3339.
    pub(crate) at: String,
    /// Index of the entry in the audit log.
    pub(crate) log_index: u64,
}

impl Rejection {
    /// Whether it is of an item that was given up before anything else became of it.
    pub(crate) fn is_of_discarded(&self) -> bool {
        self.problem.kind == NO_TYPE
    }
}

/// A refused item's document, once it was taken off the list; none where that can't be said in it.
pub(crate) fn dismissed(document: &[u8], record: &IngestRecord) -> Option<Vec<u8>> {
    let IngestOutcome::Discarded { by, reason } = &record.outcome else { return None };
    let mut rejection: Rejection = serde_json::from_slice(document).ok()?;
    rejection.given_up = Some(GivenUp {
        by: by.clone(),
        reason: reason.clone(),
        at: crate::clock::rfc3339(record.at_ms),
        log_index: record.index,
    });
    Some(pretty(&rejection))
}

/// The receipt of an item that became a version.
pub(crate) fn receipt(record: &IngestRecord, published: &PublishedVersion, receipt: Receipt) -> Vec<u8> {
    pretty(&IngestReceipt {
        item: record.item.to_string(),
        path: record.path.clone(),
        version: published.version.clone(),
        already_present: published.already_present,
        warnings: published.warnings.clone(),
        log_index: record.index,
        receipt,
    })
}

/// What can still be said where the version was purged before its receipt could be written.
pub(crate) fn receipt_of_purged(record: &IngestRecord) -> Vec<u8> {
    let version = match &record.outcome {
        IngestOutcome::Published { model, version, .. } => Some((model.to_string(), *version)),
        IngestOutcome::Rejected { .. } | IngestOutcome::Discarded { .. } => None,
    };
    let (model, version) = version.unzip();
    pretty(&serde_json::json!({
        "item": record.item.to_string(),
        "path": record.path,
        "model": model,
        "number": version,
        "digest": record.digest,
        "log_index": record.index,
        "note": "it became a version, which was deleted for good since",
    }))
}

/// The problem document of an item that is refused or given up. `error` has more to say than the record, as long as it is
/// known; `detail` is what people read.
pub(crate) fn rejection(record: &IngestRecord, error: Option<&RegistryError>, receipt: Option<Receipt>) -> Rejection {
    let instance = format!("urn:mreg:item:{}", record.item);
    let mut problem = match &record.outcome {
        IngestOutcome::Rejected { problem, detail } => {
            let kind = ProblemType::from_slug(problem).or_else(|| error.map(kind_of));
            kind.unwrap_or(ProblemType::Invalid).problem(detail.clone(), instance)
        }
        // Nothing is wrong with it: that has no type. The status is what doing it again would come to.
        IngestOutcome::Discarded { by, reason } => Problem {
            kind: NO_TYPE.to_owned(),
            ..ProblemType::Conflict.problem(format!("given up by `{by}`: {reason}"), instance)
        },
        IngestOutcome::Published { .. } => ProblemType::Conflict.problem("it is a version", instance),
    };
    match error {
        Some(RegistryError::Invalid(errors)) => {
            problem.errors =
                errors.iter().map(|(loc, msg)| FieldError { loc: loc.clone(), msg: msg.clone() }).collect();
        }
        Some(RegistryError::Malicious { findings }) => problem.findings.clone_from(findings),
        Some(_) | None => {}
    }
    Rejection {
        problem,
        item: record.item.to_string(),
        path: record.path.clone(),
        at: crate::clock::rfc3339(record.at_ms),
        log_index: Some(record.index),
        size: record.size,
        owner_uid: record.owner_uid,
        given_up: None,
        receipt,
        stays: None,
    }
}

/// JSON for people, with a line's end.
pub(crate) fn pretty<T: Serialize>(document: &T) -> Vec<u8> {
    let mut octets = serde_json::to_vec_pretty(document).expect("the keys of these documents are strings");
    octets.push(b'\n');
    octets
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::name::ItemId;

    use super::{Rejection, dismissed, pretty, rejection};
    use crate::registry::error::RegistryError;
    use crate::store::records::{IngestOutcome, IngestRecord};

    fn record(outcome: IngestOutcome) -> IngestRecord {
        IngestRecord {
            item: ItemId::from_u128(7),
            path: "nlp/x.bin".to_owned(),
            device: 1,
            inode: 2,
            owner_uid: 3,
            digest: None,
            size: 4,
            outcome,
            at_ms: 0,
            index: 9,
        }
    }

    /// A refusal is a problem document: type, status and detail of the error, each refused value, and what it is about; it
    /// can be read back.
    #[test]
    fn refusals() {
        let outcome = IngestOutcome::Rejected { problem: "invalid".to_owned(), detail: "file: empty".to_owned() };
        let error = RegistryError::invalid("file", "empty");
        let octets = pretty(&rejection(&record(outcome), Some(&error), None));
        let value: serde_json::Value = serde_json::from_slice(&octets).unwrap();
        assert_eq!(value["type"], "/problems/invalid");
        assert_eq!((&value["status"], &value["detail"]), (&422.into(), &"file: empty".into()));
        assert_eq!(value["errors"][0]["loc"], "file");
        assert_eq!((&value["path"], &value["log_index"]), (&"nlp/x.bin".into(), &9.into()));
        let back: Rejection = serde_json::from_slice(&octets).unwrap();
        assert_eq!((back.item.len(), back.owner_uid), (26, 3));
    }

    /// The document of what is taken off the list says by whom, and all that it said before.
    #[test]
    fn taken_off_the_list() {
        let refused = IngestOutcome::Rejected { problem: "invalid".to_owned(), detail: "file: empty".to_owned() };
        let document = pretty(&rejection(&record(refused), None, None));
        let discarded = IngestOutcome::Discarded { by: "alice".to_owned(), reason: "seen".to_owned() };
        let amended = dismissed(&document, &record(discarded)).unwrap();
        let mut value: serde_json::Value = serde_json::from_slice(&amended).unwrap();
        let given_up = value.as_object_mut().unwrap().remove("given_up").unwrap();
        assert_eq!(
            (&given_up["by"], &given_up["reason"], &given_up["log_index"]),
            (&"alice".into(), &"seen".into(), &9.into())
        );
        assert_eq!(value, serde_json::from_slice::<serde_json::Value>(&document).unwrap());
        assert_eq!(
            dismissed(b"{", &record(IngestOutcome::Discarded { by: String::new(), reason: String::new() })),
            None
        );
    }

    /// What is given up by hand says by whom and why.
    #[test]
    fn given_up() {
        let outcome = IngestOutcome::Discarded { by: "alice".to_owned(), reason: "wrong file".to_owned() };
        let document = rejection(&record(outcome), None, None);
        assert!(document.is_of_discarded() && document.given_up.is_none());
        assert!(document.problem.detail.contains("alice") && document.problem.detail.contains("wrong file"));
    }
}
