//! `/log…`: checkpoint, tiles, bundles, proofs (audit-log.md §7), for whoever checks the log with tools of their own.
//! Knows media types and caching; who may have what, and what is published, is the registry's.
//!
//! | what | cached |
//! |---|---|
//! | checkpoint, keys, a proof against the newest checkpoint | asked for anew each time, by entity tag |
//! | tiles of any width, consistency proofs | for ever: there is only one answer |
//! | bundles | by the one who may read them; without an entity tag, for each reading is recorded as one |

use std::io;

use bytes::Bytes;
use common::audit::{BundlePath, Hash, TilePath, format_hashes};
use futures_util::{Stream, stream};
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::http::{Answer, Body, Call, body, params, respond};
use crate::registry::error::RegistryError;
use crate::registry::log::Bundle;
use crate::registry::settings::HashAccess;

const OCTETS: &str = "application/octet-stream";
/// Kept by anyone, but not used unasked.
const REVALIDATED: HeaderValue = HeaderValue::from_static("no-cache");
/// For one caller alone.
const PRIVATE: HeaderValue = HeaderValue::from_static("private");

/// `GET /log/checkpoint`
pub(crate) fn checkpoint(call: &Call) -> Answer {
    let checkpoint = call.shared.registry.log_checkpoint(&call.caller)?;
    Ok(small(call, respond::text(StatusCode::OK, checkpoint.note.clone()), checkpoint.note.as_bytes(), REVALIDATED))
}

/// `GET /log/checkpoint.witnessed`
pub(crate) fn witnessed(call: &Call) -> Answer {
    call.shared.registry.require_hashes(&call.caller)?;
    let witnessed = call.shared.cosigning.as_ref().and_then(|state| state.borrow().witnessed.clone());
    let note = &witnessed.ok_or_else(|| RegistryError::not_found("witnessed checkpoint"))?.note;
    Ok(small(call, respond::text(StatusCode::OK, note.clone()), note.as_bytes(), REVALIDATED))
}

/// `GET /log/vkeys`
pub(crate) fn vkeys(call: &Call) -> Answer {
    let keys = call.shared.registry.log_vkeys(&call.caller)?;
    let text: String = keys.iter().map(|key| format!("{key}\n")).collect();
    Ok(small(call, respond::text(StatusCode::OK, text.clone()), text.as_bytes(), REVALIDATED))
}

/// `GET /log/tile/{level}/{tile}`
pub(crate) async fn tile(call: &Call, tile: TilePath) -> Answer {
    let hashes = call.shared.registry.log_tile(&call.caller, tile).await?;
    let octets: Vec<u8> = hashes.iter().flat_map(Hash::as_bytes).copied().collect();
    Ok(small(call, respond::bytes(StatusCode::OK, OCTETS, octets.clone()), &octets, immutable(call)))
}

/// `GET /log/consistency/{old}/{new}`
pub(crate) async fn consistency(call: &Call, old: &str, new: &str) -> Answer {
    let (old, new) = (params::index(old)?, params::index(new)?);
    let proof = format_hashes(&call.shared.registry.log_consistency(&call.caller, old, new).await?);
    Ok(small(call, respond::text(StatusCode::OK, proof.clone()), proof.as_bytes(), immutable(call)))
}

#[derive(Deserialize)]
struct Proving {
    size: Option<u64>,
}

/// `GET /log/proof/{index}`
pub(crate) async fn proof(call: &Call, index: &str) -> Answer {
    let Proving { size } = body::query(call)?;
    let done = call.shared.registry.log_proof(&call.caller, params::index(index)?, size).await?;
    let text = done.value.to_text();
    let cached = HeaderValue::from_static("private, no-cache");
    Ok(small(call, respond::text(StatusCode::OK, text.clone()), text.as_bytes(), cached))
}

/// `GET /log/tile/entries/{tile}`
pub(crate) async fn bundle(call: &Call, bundle: BundlePath) -> Answer {
    let done = call.shared.registry.log_bundle(&call.caller, bundle).await?;
    let body = match done.value.into_whole() {
        Ok(octets) => respond::full(octets),
        Err(in_pieces) => respond::stream(pieces(in_pieces)),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(OCTETS));
    response.headers_mut().insert(header::CACHE_CONTROL, PRIVATE);
    Ok(respond::logged(response, done.logged.as_ref()))
}

/// A bundle, a piece at a time; an error cuts the answer.
fn pieces(bundle: Bundle) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold(bundle, |mut bundle| async move {
        let piece = bundle.next().await.map_err(io::Error::other)?;
        Ok(piece.map(|octets| (Bytes::from(octets), bundle)))
    })
}

/// An answer whose entity tag is the digest of its octets.
fn small(call: &Call, mut response: Response<Body>, octets: &[u8], cached: HeaderValue) -> Response<Body> {
    response.headers_mut().insert(header::CACHE_CONTROL, cached);
    respond::tagged(&call.head, response, respond::etag(hex::encode(Sha256::digest(octets))))
}

/// Caching of what can't change. Where a token is needed, caches that several people share must not keep it.
fn immutable(call: &Call) -> HeaderValue {
    HeaderValue::from_static(match call.shared.registry.settings().hash_access {
        HashAccess::Public => "public, max-age=31536000, immutable",
        HashAccess::Authenticated => "private, max-age=31536000, immutable",
    })
}
