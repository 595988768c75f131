//! `/`, `/openapi.json`, the documentation's pages, and what each problem type means.
//! What is on them is in `openapi`, `docs` and `common::problem`.

use std::sync::LazyLock;

use bytes::Bytes;
use common::problem::ProblemType;
use http::StatusCode;
use http::header::{self, HeaderValue};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::http::problem::Protocol;
use crate::http::{Answer, Call, docs, openapi, respond};

/// `GET /`
pub(crate) fn index(_call: &Call) -> Answer {
    let index = json!({
        "name": "mregd",
        "version": env!("CARGO_PKG_VERSION"),
        "docs": "/docs",
        "openapi": "/openapi.json",
    });
    Ok(respond::json(StatusCode::OK, &index))
}

/// A browser that is shown the description as a page has nothing to load or run.
const CSP: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// `GET /openapi.json`
pub(crate) fn openapi(call: &Call) -> Answer {
    static ETAG: LazyLock<String> = LazyLock::new(|| hex::encode(&Sha256::digest(openapi::text())[..16]));
    let text = Bytes::from_static(openapi::text().as_bytes());
    let mut response = respond::bytes(StatusCode::OK, "application/json", text);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(docs::CACHE_CONTROL));
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, CSP);
    Ok(respond::tagged(&call.head, response, respond::etag(&*ETAG)))
}

/// `GET /docs…`, `GET /redoc…`
pub(crate) fn asset(call: &Call, page: &str, asset: &str) -> Answer {
    let path = if asset.is_empty() { page.to_owned() } else { format!("{page}/{asset}") };
    let accepted = call.head.headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let asset = docs::asset(&path, accepted.is_some_and(docs::accepts_gzip)).ok_or(Protocol::NotFound)?;
    let mut response = respond::bytes(StatusCode::OK, asset.content_type, Bytes::from_static(asset.octets));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(docs::CACHE_CONTROL));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(asset.csp));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some(encoding) = asset.content_encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    Ok(respond::tagged(&call.head, response, HeaderValue::from_static(asset.etag)))
}

/// `GET /problems`
pub(crate) fn problems() -> Answer {
    let line = |kind: &ProblemType| format!("{} {} {}\n", kind.uri(), kind.status(), kind.title());
    Ok(respond::text(StatusCode::OK, ProblemType::ALL.iter().map(line).collect::<String>()))
}

/// `GET /problems/{slug}`
pub(crate) fn problem(slug: &str) -> Answer {
    let kind = ProblemType::from_slug(slug).ok_or(Protocol::NotFound)?;
    let text = format!("{}\n\n{} (HTTP {})\n\n{}\n", kind.uri(), kind.title(), kind.status(), kind.text());
    Ok(respond::text(StatusCode::OK, text))
}

#[cfg(test)]
mod tests {
    use common::problem::ProblemType;

    use super::problem;

    /// Every problem type has its page; others have none.
    #[test]
    fn problems() {
        for kind in ProblemType::ALL {
            assert!(problem(kind.slug()).is_ok());
        }
        assert!(problem("no-such").is_err());
    }
}
