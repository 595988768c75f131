//! `DELETE /models` and `POST /models:restore`: all models that match, a line each. Which match is said as for a list.

use common::api::bulk::{BulkDone, BulkFailed, BulkLine, BulkTotal};
use serde::Deserialize;

use super::{listing, parameters};
use crate::clock;
use crate::http::body::percent_decode;
use crate::http::problem::Refused;
use crate::http::{Answer, Call, body, respond};
use crate::problem::kind_of;
use crate::registry::bulk::{BulkDeed, BulkRequest, BulkStep};

/// Parameters that are not about which models. Those of pages are among them to be refused: it is about all that match.
const NOT_OF_THE_LIST: [&str; 5] = ["expected", "dry_run", "limit", "cursor", "before"];

#[derive(Deserialize)]
struct Terms {
    expected: Option<u64>,
    #[serde(default)]
    dry_run: bool,
}

impl Terms {
    /// How many they must be; none where only their number is asked for.
    fn expected(self) -> Result<Option<u64>, Refused> {
        let refuse = |msg: &str| Err(Refused::invalid(vec![("query.expected".into(), msg.into())]));
        match self {
            Self { dry_run: false, expected: Some(expected) } => Ok(Some(expected)),
            Self { dry_run: true, expected: None } => Ok(None),
            Self { dry_run: false, expected: None } => {
                refuse("is missing: say how many models you mean; with `dry_run=true` it is told how many match")
            }
            Self { dry_run: true, expected: Some(_) } => refuse("is of no use with `dry_run=true`"),
        }
    }
}

/// `DELETE /models`
pub(crate) async fn delete(call: &Call) -> Answer {
    change(call, BulkDeed::Delete).await
}

/// `POST /models:restore`
pub(crate) async fn restore(call: &Call) -> Answer {
    change(call, BulkDeed::Restore).await
}

async fn change(call: &Call, deed: BulkDeed) -> Answer {
    let (terms, of_list) = parted(call.head.uri.query().unwrap_or_default());
    let expected = body::query_text::<Terms>(&terms)?.expected()?;
    let listing = listing(body::query_text(&parameters::spelled_out(&of_list))?)?;
    let told = call.shared.registry.change_models(&call.caller, BulkRequest { deed, listing, expected }).await?;
    Ok(respond::lines(told, call.shared.stopping.clone(), line))
}

/// A query in two: what is not about which models, and the rest.
fn parted(query: &str) -> (String, String) {
    let is_of_terms = |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        percent_decode(name, true).is_some_and(|name| NOT_OF_THE_LIST.contains(&name.as_str()))
    };
    let (terms, of_list): (Vec<&str>, Vec<&str>) = query.split('&').partition(is_of_terms);
    (terms.join("&"), of_list.join("&"))
}

fn line(step: BulkStep) -> BulkLine {
    match step {
        BulkStep::Model { id, name, result: Ok((log_index, until_ms)) } => BulkLine::Done(BulkDone {
            id: id.to_string(),
            name: name.to_string(),
            log_index,
            restorable_until: until_ms.map(clock::rfc3339),
        }),
        BulkStep::Model { id, name, result: Err(error) } => BulkLine::Failed(BulkFailed {
            id: id.to_string(),
            name: name.to_string(),
            kind: kind_of(&error).uri(),
            detail: error.to_string(),
        }),
        BulkStep::Total { matched, done, failed } => BulkLine::Total(BulkTotal { matched, done, failed }),
    }
}

#[cfg(test)]
mod tests {
    use super::parted;

    #[test]
    fn what_is_not_about_which_models_is_told_apart() {
        let of = |query| parted(query);
        assert_eq!(of("q=a&expected=3&tag=x:y"), ("expected=3".to_owned(), "q=a&tag=x:y".to_owned()));
        assert_eq!(of("%65xpected=3&limit=1"), ("%65xpected=3&limit=1".to_owned(), String::new()));
        assert_eq!(of("q=expected"), (String::new(), "q=expected".to_owned()));
    }
}
