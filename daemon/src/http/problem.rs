//! From an error to its answer. What stands for an error of the registry is in `problem.rs`; knows every error of the protocol
//! by name; refuses to know what they mean to the domain. What is shown is safe to show: causes
//! stay in the daemon's log, under the request id.

use std::error::Error;

use bytes::Bytes;
use common::problem::{FieldError, Problem, ProblemType};
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use thiserror::Error;

use crate::http::body::BodyError;
use crate::http::route::RouteError;
use crate::http::{Body, respond};
use crate::problem::kind_of;
use crate::registry::error::{Failure, Logged, RegistryError};

/// Why a request was refused: by the registry, or by HTTP before the registry was asked.
#[derive(Debug)]
pub enum Refused {
    /// The registry's failure, with its entry in the audit log if it wrote one.
    Registry(Failure),
    /// A matter of the protocol, with the entry it was given afterwards.
    Protocol(Protocol, Option<Logged>),
}

/// What is wrong with a request as HTTP. Each `Display` is shown to the client.
#[derive(Debug, Error)]
pub enum Protocol {
    /// Malformed: path encoding, header value, body cut short.
    #[error("{0}")]
    BadRequest(String),
    /// No such path.
    #[error("nothing is at this path; GET /openapi.json lists all there is")]
    NotFound,
    /// The path is known, the method isn't.
    #[error("use one of: {allow}")]
    MethodNotAllowed {
        /// Value of the `Allow` header.
        allow: &'static str,
    },
    /// None of the accepted formats can be produced.
    #[error("{0}")]
    NotAcceptable(String),
    /// No octet of the body arrived in time.
    #[error("no octet of the body arrived for {idle_s} s; send it again")]
    RequestTimeout {
        /// The limit, seconds.
        idle_s: u64,
    },
    /// The body came too slowly.
    #[error("the body came with less than {bytes_per_second_min} octets a second for too long; send it again")]
    TooSlow {
        /// The limit.
        bytes_per_second_min: u64,
    },
    /// Neither Content-Length nor chunked.
    #[error("send Content-Length, or Transfer-Encoding: chunked")]
    LengthRequired,
    /// Another version of the tus protocol, or none said.
    #[error("requests here name the version of the tus protocol: Tus-Resumable: {}", crate::http::tus::VERSION)]
    TusVersion,
    /// A body over its limit.
    #[error("the body is over {limit} octets")]
    TooLarge {
        /// The limit, octets.
        limit: u64,
    },
    /// A body of a type that is not taken.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// A range behind the end.
    #[error("the range begins behind the end: there are {size} octets")]
    RangeNotSatisfiable {
        /// Octets there are.
        size: u64,
    },
    /// An expectation other than `100-continue`.
    #[error("the only expectation that can be met is 100-continue")]
    ExpectationFailed,
    /// Starting, stopping or out of connections.
    #[error("{0}")]
    Unavailable(&'static str),
    /// More at once than there may be: of what.
    #[error("{0}; try again in a moment")]
    Overloaded(&'static str),
    /// More at once of one client than there may be: of what.
    #[error("{0}; end one, or try again in a moment")]
    TooMany(&'static str),
}

impl Protocol {
    /// The nearest of the registry's errors, for the audit entry of a request that was refused as HTTP.
    pub fn as_registry_error(&self) -> RegistryError {
        match self {
            Self::TooLarge { limit } => RegistryError::TooLarge { limit: *limit },
            Self::RequestTimeout { .. } | Self::TooSlow { .. } => RegistryError::TimedOut,
            Self::NotFound => RegistryError::NotFound { what: "path".into() },
            Self::Overloaded(what) => RegistryError::Overloaded(what),
            Self::BadRequest(_)
            | Self::MethodNotAllowed { .. }
            | Self::NotAcceptable(_)
            | Self::LengthRequired
            | Self::TusVersion
            | Self::UnsupportedMediaType(_)
            | Self::RangeNotSatisfiable { .. }
            | Self::ExpectationFailed
            | Self::Unavailable(_)
            | Self::TooMany(_) => RegistryError::Invalid(vec![("request".into(), self.to_string())]),
        }
    }
}

impl From<RouteError> for Refused {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::NotFound => Protocol::NotFound,
            RouteError::MethodNotAllowed { allow } => Protocol::MethodNotAllowed { allow },
            RouteError::Malformed => Protocol::BadRequest("the path is not valid percent-encoded UTF-8".into()),
        }
        .into()
    }
}

/// A 429 or 503 may be tried again after 1 to so many seconds, unless the error says otherwise.
const RETRY_AFTER_MAX_S: u64 = 4;

impl Refused {
    /// Values that were refused, each with its place.
    pub fn invalid(errors: Vec<(String, String)>) -> Self {
        RegistryError::Invalid(errors).into()
    }

    /// The problem's type.
    pub fn kind(&self) -> ProblemType {
        match self {
            Self::Registry(failure) => kind_of(&failure.error),
            Self::Protocol(protocol, _) => match protocol {
                Protocol::BadRequest(_) => ProblemType::BadRequest,
                Protocol::NotFound => ProblemType::NotFound,
                Protocol::MethodNotAllowed { .. } => ProblemType::MethodNotAllowed,
                Protocol::NotAcceptable(_) => ProblemType::NotAcceptable,
                Protocol::RequestTimeout { .. } | Protocol::TooSlow { .. } => ProblemType::RequestTimeout,
                Protocol::LengthRequired => ProblemType::LengthRequired,
                Protocol::TusVersion => ProblemType::TusVersion,
                Protocol::TooLarge { .. } => ProblemType::ContentTooLarge,
                Protocol::UnsupportedMediaType(_) => ProblemType::UnsupportedMediaType,
                Protocol::RangeNotSatisfiable { .. } => ProblemType::RangeNotSatisfiable,
                Protocol::ExpectationFailed => ProblemType::ExpectationFailed,
                Protocol::Unavailable(_) => ProblemType::Unavailable,
                Protocol::Overloaded(_) => ProblemType::Overloaded,
                Protocol::TooMany(_) => ProblemType::TooManyRequests,
            },
        }
    }

    /// Its entry in the audit log, where there is one.
    pub fn logged(&self) -> Option<&Logged> {
        match self {
            Self::Registry(failure) => failure.logged.as_ref(),
            Self::Protocol(_, logged) => logged.as_ref(),
        }
    }

    /// What the client is told about this occurrence.
    pub fn detail(&self) -> String {
        match self {
            Self::Registry(failure) => failure.error.to_string(),
            Self::Protocol(protocol, _) => protocol.to_string(),
        }
    }

    /// The error and its causes, for the daemon's log alone.
    pub fn chain(&self) -> String {
        let error: &dyn Error = match self {
            Self::Registry(failure) => &failure.error,
            Self::Protocol(protocol, _) => protocol,
        };
        crate::error_chain(error)
    }

    /// Seconds after which trying again may help; for 429 and 503. Where no wait was computed not everybody is told the same,
    /// so that they don't all come back at once.
    fn retry_after_s(&self, request_id: &str) -> Option<u64> {
        if let Self::Registry(Failure { error: RegistryError::TooManyRequests { retry_after_s }, .. }) = self {
            return Some((*retry_after_s).max(1));
        }
        let spread = request_id.bytes().fold(0_u64, |sum, octet| sum.wrapping_mul(31).wrapping_add(octet.into()));
        matches!(self.kind().status(), 429 | 503).then_some(1 + spread % RETRY_AFTER_MAX_S)
    }

    /// The answer: problem document and the headers that belong to it. `token_sent`: whether the request came with a token,
    /// good or bad.
    pub fn response(&self, request_id: &str, token_sent: bool) -> Response<Body> {
        let kind = self.kind();
        let mut problem = kind.problem(self.detail(), instance(request_id));
        if let Self::Registry(Failure { error: RegistryError::Invalid(errors), .. }) = self {
            problem.errors =
                errors.iter().map(|(loc, msg)| FieldError { loc: loc.clone(), msg: msg.clone() }).collect();
        }
        if let Self::Registry(Failure { error: RegistryError::Malicious { findings }, .. }) = self {
            problem.findings.clone_from(findings);
        }
        if let Self::Registry(Failure { error: RegistryError::QuotaExceeded(excess), .. }) = self {
            problem.quota = Some((**excess).clone());
        }
        let mut response = document(&problem);
        let headers = response.headers_mut();
        if kind.status() == 401 {
            // RFC 6750 §3: what went wrong is said only to those who sent a token.
            let value = match kind {
                ProblemType::Unauthenticated if token_sent => "Bearer realm=\"mreg\", error=\"invalid_token\"",
                _ => "Bearer realm=\"mreg\"",
            };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        if let Some(seconds) = self.retry_after_s(request_id) {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Self::Protocol(protocol, _) = self {
            match protocol {
                Protocol::MethodNotAllowed { allow } => {
                    headers.insert(header::ALLOW, HeaderValue::from_static(allow));
                }
                Protocol::RangeNotSatisfiable { size } => {
                    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
                        headers.insert(header::CONTENT_RANGE, value);
                    }
                }
                _ => {}
            }
        }
        if let Some(logged) = self.logged() {
            respond::log_headers(headers, logged);
        }
        response
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Registry(failure)
    }
}

impl From<RegistryError> for Refused {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Failure { error, logged: None })
    }
}

impl From<Protocol> for Refused {
    fn from(protocol: Protocol) -> Self {
        Self::Protocol(protocol, None)
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Idle { idle_s } => Protocol::RequestTimeout { idle_s }.into(),
            BodyError::Slow { bytes_per_second_min } => Protocol::TooSlow { bytes_per_second_min }.into(),
            BodyError::TooLarge { limit } => Protocol::TooLarge { limit }.into(),
            BodyError::Cut(_) => RegistryError::Interrupted.into(),
        }
    }
}

/// A problem document as a response.
pub fn document(problem: &Problem) -> Response<Body> {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = serde_json::to_vec(problem).expect("a problem document has only strings and numbers");
    respond::bytes(status, common::problem::CONTENT_TYPE, Bytes::from(text))
}

/// `instance` of a problem document: a `urn:uuid:` where the id is one.
pub fn instance(request_id: &str) -> String {
    match uuid::Uuid::try_parse(request_id) {
        Ok(id) => id.urn().to_string(),
        Err(_not_a_uuid) => format!("urn:mreg:request:{request_id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Protocol, Refused, instance};
    use crate::registry::error::RegistryError;

    /// The instance is a UUID's URN only where the id is one.
    #[test]
    fn instances() {
        assert_eq!(instance("0190163D-8694-739B-AEA5-966C26F8AD91"), "urn:uuid:0190163d-8694-739b-aea5-966c26f8ad91");
        assert_eq!(instance("build-7"), "urn:mreg:request:build-7");
    }

    /// Protocol errors carry the headers that RFC 9110 asks for.
    #[test]
    fn headers() {
        let refused = Refused::from(Protocol::MethodNotAllowed { allow: "GET, HEAD" });
        let response = refused.response("x", false);
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "GET, HEAD");
        let response = Refused::from(Protocol::Unavailable("stopping")).response("x", false);
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
        for id in ["a", "b", "c", "0190163d-8694-739b-aea5-966c26f8ad91"] {
            for refused in [Protocol::Overloaded("x"), Protocol::TooMany("x"), Protocol::Unavailable("x")] {
                let response = Refused::from(refused).response(id, false);
                let told = response.headers()["retry-after"].to_str();
                let seconds: u64 = told.map_or(0, |text| text.parse().unwrap_or(0));
                assert!((1..=super::RETRY_AFTER_MAX_S).contains(&seconds), "{seconds}");
            }
        }
        let response = Refused::from(Protocol::RangeNotSatisfiable { size: 9 }).response("x", false);
        assert_eq!(response.headers()["content-range"], "bytes */9");
        let challenge = |error: RegistryError, token_sent| {
            let response = Refused::from(error).response("x", token_sent);
            response.headers()["www-authenticate"].to_str().map(str::to_owned).ok()
        };
        let bare = Some("Bearer realm=\"mreg\"");
        assert_eq!(challenge(RegistryError::Unauthenticated, false).as_deref(), bare);
        assert_eq!(challenge(RegistryError::BadCredentials, true).as_deref(), bare);
        let told = "Bearer realm=\"mreg\", error=\"invalid_token\"";
        assert_eq!(challenge(RegistryError::Unauthenticated, true).as_deref(), Some(told));
    }
}
