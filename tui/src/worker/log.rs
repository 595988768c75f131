//! What lies below `/log`: notes, tiles, proofs and bundles, as octets. What they prove is for `trust`.

use std::ops::Range;

use common::api::AuditRow;
use common::audit::{BundlePath, TilePath, TlogProof, canonical_json, parse_hashes, read_bundle};
use common::client::{Answer as Octets, AuditQuery, Client, ClientError};
use common::problem::Problem;

use crate::action::{LogAnswer, LogCall};
use crate::tail::PAGE;
use crate::trust::{Rotation, edge_paths};

/// Entries about keys that are looked at: the newest. A rotation has two.
const ROTATIONS_MAX: u32 = 64;

pub(crate) async fn perform(client: &Client, call: LogCall) -> Result<LogAnswer, ClientError> {
    Ok(match call {
        LogCall::Checkpoint => LogAnswer::Checkpoint(get(client, "checkpoint").await?),
        LogCall::Keys => LogAnswer::Keys(String::from_utf8_lossy(&get(client, "vkeys").await?).into_owned()),
        LogCall::Proof { size, from } => {
            let growth = match from {
                Some(from) => {
                    let text = get(client, &format!("consistency/{from}/{size}")).await?;
                    // What is no proof proves nothing: that is the finding, and not an error of the network.
                    Some(parse_hashes(&String::from_utf8_lossy(&text)).unwrap_or_default())
                }
                None => None,
            };
            LogAnswer::Proof { size, growth, tiles: tiles(client, edge_paths(size)).await? }
        }
        LogCall::Tiles(paths) => LogAnswer::Tiles(tiles(client, paths).await?),
        LogCall::Entries(range) => {
            let leaves = entries(client, &range).await?;
            LogAnswer::Entries { range, leaves }
        }
        LogCall::Witnessed(size) => {
            let note = match get(client, "checkpoint.witnessed").await {
                Err(error) if error.status() == Some(404) => Vec::new(),
                other => other?,
            };
            let theirs = String::from_utf8_lossy(&note).lines().nth(1).and_then(|size| size.parse::<u64>().ok());
            let growth = match theirs {
                Some(theirs) if theirs != size => {
                    let (first, then) = (theirs.min(size), theirs.max(size));
                    let text = get(client, &format!("consistency/{first}/{then}")).await?;
                    parse_hashes(&String::from_utf8_lossy(&text)).unwrap_or_default()
                }
                _ => Vec::new(),
            };
            LogAnswer::Witnessed { size, note, growth }
        }
        LogCall::Receipt(index) => {
            let proof = get(client, &format!("proof/{index}")).await?;
            LogAnswer::Receipt(index, String::from_utf8_lossy(&proof).into_owned())
        }
        LogCall::Rotations => LogAnswer::Rotations(rotations(client).await?),
    })
}

/// The entries that name keys, oldest first, each with the last word of the key before it: the checkpoint that the entry of
/// its retirement holds, or the newest one while both sign. Whether that proves anything is for `trust`.
async fn rotations(client: &Client) -> Result<Vec<Rotation>, ClientError> {
    let query = AuditQuery {
        action: "log.key_rotate".to_owned(),
        outcome: "ok".to_owned(),
        limit: Some(ROTATIONS_MAX),
        ..AuditQuery::default()
    };
    let mut rows = client.audit(&query).await?.body.items;
    rows.reverse();
    let newest = String::from_utf8_lossy(&get(client, "checkpoint").await?).into_owned();
    let mut found = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let data = |row: &AuditRow, name: &str| row.entry.pointer(&format!("/data/{name}")).cloned();
        let Some(leaving) = data(row, "leaving") else { continue };
        let retired = rows.iter().skip(place + 1).find(|later| data(later, "retired").as_ref() == Some(&leaving));
        let note = match retired {
            None => newest.clone(),
            Some(retired) => match data(retired, "checkpoint").and_then(|note| note.as_str().map(str::to_owned)) {
                Some(note) => note,
                // A daemon of before: it kept no last word.
                None => continue,
            },
        };
        let (Ok(leaf), Some(size)) = (canonical_json(&row.entry), note.lines().nth(1)) else { continue };
        let Some(size) = common::audit::parse_decimal(size).filter(|size| *size > row.index) else { continue };
        let answer = client.log_proof(row.index, size).await?;
        let Ok(proof) = TlogProof::parse(&answer) else { continue };
        found.push(Rotation { index: row.index, leaf, note, path: proof.path });
    }
    Ok(found)
}

async fn tiles(client: &Client, paths: Vec<TilePath>) -> Result<Vec<(TilePath, Vec<u8>)>, ClientError> {
    let mut got = Vec::with_capacity(paths.len());
    for path in paths {
        got.push((path, get(client, &path.to_string()).await?));
    }
    Ok(got)
}

/// The leaves of a range within one bundle; `None` where the bundle cannot be cut into its leaves.
async fn entries(client: &Client, range: &Range<u64>) -> Result<Option<Vec<Vec<u8>>>, ClientError> {
    let number = range.start / PAGE;
    let first = number * PAGE;
    let width = u16::try_from(range.end - first).unwrap_or(u16::MAX);
    let path = BundlePath::new(number, width)
        .map_err(|error| ClientError::Protocol(format!("there is no bundle for {range:?}: {error}")))?;
    let octets = get(client, &path.to_string()).await?;
    let skip = usize::try_from(range.start - first).unwrap_or(usize::MAX);
    let leaves = read_bundle(&octets, width).ok();
    Ok(leaves.map(|leaves| leaves.into_iter().skip(skip).map(<[u8]>::to_vec).collect()))
}

async fn get(client: &Client, resource: &str) -> Result<Vec<u8>, ClientError> {
    let Octets { status, retry_after_seconds, body } = client.octets(&format!("/log/{resource}")).await?;
    if status.is_success() {
        return Ok(body.to_vec());
    }
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => Err(ClientError::Problem { problem: Box::new(problem), retry_after_seconds }),
        Err(_other) => Err(ClientError::Protocol(format!("status {status} to /log/{resource}"))),
    }
}
