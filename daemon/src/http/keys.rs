//! `/log/rotate-key`: parse, ask the registry, render. Which keys sign is the registry's.

use std::time::Duration;

use common::api::{LogKeyRotated, RotateLogKey};
use http::StatusCode;

use crate::clock;
use crate::http::problem::Refused;
use crate::http::{Answer, Call, body, changed};
use crate::registry::keys::{Rotated, Rotation};

/// How long both keys sign where nothing is said (audit-log.md §10): 30 days.
const OVERLAP: Duration = Duration::from_secs(30 * 24 * 3600);
/// The longest overlap, in seconds: ten years.
const OVERLAP_S_MAX: u64 = 3653 * 24 * 3600;

/// `POST /log/rotate-key`
pub(crate) async fn rotate_key(mut call: Call) -> Answer {
    let RotateLogKey { overlap_seconds, compromised } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let wrong = |msg: String| Refused::invalid(vec![("body.overlap_seconds".to_owned(), msg)]);
    let how = match (compromised, overlap_seconds) {
        (false, None) => Rotation::Overlap(OVERLAP),
        (false, Some(seconds @ 1..=OVERLAP_S_MAX)) => Rotation::Overlap(Duration::from_secs(seconds)),
        (false, Some(_)) => return Err(wrong(format!("must be from 1 to {OVERLAP_S_MAX}"))),
        (true, None) => Rotation::Compromised,
        (true, Some(_)) => return Err(wrong("can't go with `compromised`: there is no overlap then".to_owned())),
    };
    let done = call.shared.registry.rotate_log_key(&call.caller, how).await?;
    changed::plain(StatusCode::OK, done, |rotated, receipt| {
        let Rotated { origin, vkey, vkeys, overlap_until_ms } = rotated;
        LogKeyRotated { origin, vkey, vkeys, overlap_until: overlap_until_ms.map(clock::rfc3339), receipt }
    })
}
