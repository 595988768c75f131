//! `/check`: a line for everything a check tells, as it tells it. What is checked is the registry's.

use common::api::{CheckLine, CheckRequest, CheckTotal};

use crate::http::{Answer, Call, body, respond};
use crate::registry::check::{Told, Total};

/// `POST /check`
pub(crate) async fn check(mut call: Call) -> Answer {
    let CheckRequest { blobs, bytes_per_second } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let told = call.shared.registry.check(&call.caller, blobs, bytes_per_second).await?;
    Ok(respond::lines(told, call.shared.stopping.clone(), line))
}

/// A line on the wire.
pub(crate) fn line(told: Told) -> CheckLine {
    match told {
        Told::Progress { step, done, of } => CheckLine::Progress { step: step.to_owned(), done, of },
        Told::Failure { place, what } => CheckLine::Failure { place, what },
        Told::Remark(what) => CheckLine::Remark { what },
        Told::Total(Total { checked, blobs, blobs_read, bytes_read, unreferenced, failures }) => {
            CheckLine::Total(CheckTotal {
                entries: checked.size,
                root: checked.root.to_string(),
                keys: checked.keys,
                artifacts: checked.artifacts,
                blobs,
                blobs_read,
                bytes_read,
                unreferenced,
                failures,
            })
        }
    }
}
