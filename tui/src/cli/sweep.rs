//! `do delete --filter` and `do restore --filter`: all models that match, by the number that the command line names. What was
//! refused is told as it comes, and whatever becomes of the rest.

use std::io::Write;

use common::api::bulk::BulkLine;
use common::client::{Client, ClientError, Sweep};
use common::problem::ProblemType;
use serde_json::json;

use super::act::Asked;
use super::{CliError, document, settled, status, talk};
use crate::access::refusal;
use crate::acts::Wish;
use crate::clean::clean;
use crate::filter::model_query;
use crate::state::Who;
use crate::time::{counted, grouped};

/// Has them changed.
///
/// # Errors
/// Where another number is named, or none; what was refused; what the daemon says, or that it said no more.
pub(super) async fn sweep(client: &Client, asked: &Asked, out: &mut impl Write) -> Result<(), CliError> {
    let Some((act, Wish::Sweep(sweep, filter))) = asked.wish()? else { return Ok(()) };
    if filter.trim().is_empty() {
        let why = "--filter is empty, which would be all models: say what is meant";
        return Err(CliError::Usage(why.to_owned()));
    }
    let filter = settled(&filter).map_err(CliError::Usage)?;
    let query = model_query(&filter).map_err(CliError::Usage)?;
    let who = Who::from(&client.me().await?.body);
    if let Some(why) = refusal(Some(&who), act.permission()) {
        return Err(CliError::NotAllowed(format!("{}: {why}", act.word)));
    }
    let found = client.count_models(sweep, &query).await?;
    let (number, models) = (found.matched.to_string(), counted(found.matched, "model"));
    match &asked.yes {
        Some(yes) if *yes == number => {}
        Some(yes) => return Err(CliError::Usage(format!("--yes {yes}: {models} match; nothing was done"))),
        None => {
            talk(&format!("{models} match; get models --filter lists them"));
            return Err(CliError::Usage(format!("nothing was done; --yes {number} does it")));
        }
    }
    let unknown = |why: &str| CliError::Ended {
        status: status::NOT_REACHED,
        why: format!("{why}. What became of the others is not known: look at the list"),
    };
    let mut told = match client.change_models(sweep, &query, &found).await {
        Ok(told) => told,
        Err(error @ (ClientError::Offline { .. } | ClientError::Timeout { .. })) => {
            return Err(unknown(&error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    let (mut done, mut failed, mut until, mut is_whole, mut has_ended) = (0u64, 0u64, None, false, false);
    let cut = loop {
        match told.next().await {
            Ok(Some(BulkLine::Done(model))) => {
                done += 1;
                until = model.restorable_until.or(until);
            }
            Ok(Some(BulkLine::Failed(model))) => {
                failed += 1;
                has_ended |= model.kind == ProblemType::Unauthenticated.uri();
                talk(&format!("{}: {}", model.name, model.detail));
            }
            Ok(Some(BulkLine::Total(_))) => is_whole = true,
            Ok(None) => break None,
            Err(error) => break Some(error.to_string()),
        }
    };
    if asked.json {
        let outcome = match (is_whole, failed) {
            (false, _) => "unknown",
            (true, 0) => "done",
            (true, _) => "failed",
        };
        let value = json!({
            "command": act.word, "filter": filter, "outcome": outcome, "matched": found.matched, "done": done,
            "failed": failed, "restorable_until": until, "request_id": told.request_id,
        });
        writeln!(out, "{}", document(&value)?)?;
    } else {
        let verb = match sweep {
            Sweep::Delete => "deleted",
            Sweep::Restore => "restored",
        };
        let refused = if failed == 0 { String::new() } else { format!(", {} refused", grouped(failed)) };
        let restorable = until.map_or(String::new(), |until| format!("; can be restored until {until}"));
        let text = format!("{} of {} {verb}{refused}{restorable}", grouped(done), grouped(found.matched));
        writeln!(out, "{}", clean(&text))?;
    }
    out.flush()?;
    match (is_whole, failed) {
        (false, _) => Err(unknown(&cut.unwrap_or_else(|| "the answer was cut".to_owned()))),
        (true, 0) => Ok(()),
        (true, failed) if has_ended => {
            Err(CliError::NotSignedIn(format!("the session ended meanwhile: {} refused", counted(failed, "change"))))
        }
        (true, failed) => Err(CliError::Refused(format!("{} refused", counted(failed, "change")))),
    }
}
