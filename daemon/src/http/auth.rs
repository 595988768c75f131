//! Who is calling, from head and connection: bearer token to actor by asking the registry, and what an audit entry will
//! say of the request. Knows headers; refuses to know tokens from the inside.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;

use crate::http::Shared;
use crate::http::forwarded::Origin;
use crate::http::respond;
use crate::http::route::{Access, Route};
use crate::http::server::{Peer, known_method};
use crate::problem::status_of;
use crate::registry::access::{Actor, Caller, IfMatch, Person, RequestMeta};
use crate::registry::error::RegistryError;
use crate::registry::settings::HashAccess;

/// Longest `User-Agent` that is passed on, octets; the audit log keeps 200.
const USER_AGENT_MAX: usize = 1024;
/// Longest idempotency key (rest-api.md §1).
const IDEMPOTENCY_KEY_MAX: usize = 255;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Whom a request comes from, as the connection tells it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    /// Who is at the other end.
    pub(crate) peer: Peer,
    /// For whom.
    pub(crate) origin: Origin,
    /// The request's id.
    pub(crate) request_id: &'a Arc<str>,
}

/// The caller, and why the request can't go on, if so: then the caller is anonymous, or known and at fault.
pub(crate) async fn caller(
    shared: &Shared,
    head: &Parts,
    route: &Route,
    asking: Asking<'_>,
) -> (Caller, Result<(), RegistryError>) {
    let endpoint = route.endpoint();
    let mut request = RequestMeta {
        id: Arc::clone(asking.request_id),
        method: known_method(&head.method),
        route: endpoint.template,
        ip: asking.origin.ip,
        ua: user_agent(&head.headers),
        ok_status: endpoint.ok_status(),
        unchanged_status: 200,
        status_of,
        idempotency_key: None,
        if_match: None,
    };
    let mut known = Ok(());
    let actor = match (asking.peer, bearer(&head.headers)) {
        (Peer::Operator { uid, pid }, _) => Actor::operator(Person::of(uid, pid)),
        // An old token must not keep anyone from what needs none; to register, a token makes a difference.
        (_, _) if needs_no_token(shared, route) => Actor::anonymous(),
        (_, Ok(None)) => Actor::anonymous(),
        (_, Ok(Some(token))) => shared.registry.authenticate(token).await.unwrap_or_else(|error| {
            known = Err(error);
            Actor::anonymous()
        }),
        (_, Err(error)) => {
            known = Err(error);
            Actor::anonymous()
        }
    };
    let takes = |header: &str| endpoint.is_change() && endpoint.params.iter().any(|param| param.name == header);
    if takes("Idempotency-Key") {
        match idempotency_key(&head.headers) {
            Ok(key) => request.idempotency_key = key,
            Err(error) => known = known.and(Err(error)),
        }
    }
    if takes("If-Match") {
        match if_match(&head.headers) {
            Ok(condition) => request.if_match = condition,
            Err(error) => known = known.and(Err(error)),
        }
    }
    (Caller { actor, request: Some(request) }, known)
}

/// Whether a token makes no difference.
fn needs_no_token(shared: &Shared, route: &Route) -> bool {
    match route.endpoint().access {
        Access::Public => *route != Route::Register,
        Access::Hashes => shared.registry.settings().hash_access == HashAccess::Public,
        Access::Session | Access::SignedIn | Access::Permission(_) | Access::Operator => false,
    }
}

/// Whether a token was sent, good or bad. Another scheme is none (RFC 6750 §3.1).
pub(crate) fn sends_token(headers: &HeaderMap) -> bool {
    headers.get_all(header::AUTHORIZATION).iter().any(|value| {
        value.as_bytes().split(|octet| *octet == b' ').next().is_some_and(|word| word.eq_ignore_ascii_case(b"bearer"))
    })
}

/// The bearer token. Anything else in `Authorization`, or more than one, is not a way to sign in.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, RegistryError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(RegistryError::Unauthenticated);
    }
    let token = value.to_str().ok().and_then(|value| value.split_once(' ')).and_then(|(scheme, token)| {
        let token = token.trim_matches(' ');
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.bytes().all(is_token68)).then_some(token)
    });
    token.map(Some).ok_or(RegistryError::Unauthenticated)
}

/// RFC 9110 §11.2, with the underscore and friends of RFC 6750. By a table, as a token has hundreds of octets.
fn is_token68(octet: u8) -> bool {
    const TABLE: [bool; 256] = {
        let (mut table, mut octet) = ([false; 256], 0_u8);
        while octet.is_ascii() {
            table[octet as usize] =
                octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
            octet += 1;
        }
        table
    };
    TABLE[usize::from(octet)]
}

/// `Idempotency-Key`: one value of visible ASCII.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, RegistryError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        Ok(key)
            if (1..=IDEMPOTENCY_KEY_MAX).contains(&key.len())
                && key.bytes().all(|octet| octet.is_ascii_graphic())
                && values.next().is_none() =>
        {
            Ok(Some(key.to_owned()))
        }
        Ok(_) | Err(_) => {
            let msg = format!("must be one value of 1 to {IDEMPOTENCY_KEY_MAX} visible ASCII characters");
            Err(RegistryError::invalid("header.Idempotency-Key", msg))
        }
    }
}

/// `If-Match`: `*`, or lists of entity tags.
fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, RegistryError> {
    let mut tags: Option<Vec<String>> = None;
    for value in headers.get_all(header::IF_MATCH) {
        let list = value.to_str().unwrap_or("\"").trim();
        if list == "*" {
            return Ok(Some(IfMatch::Any));
        }
        let parsed = respond::tags(list).ok_or_else(|| {
            RegistryError::invalid("header.If-Match", "is not a list of entity tags such as \"7\", nor *")
        })?;
        // Comparison is strong (RFC 9110 §13.1.1): a weak tag matches nothing.
        let strong = parsed.into_iter().filter(|(weak, _)| !weak).map(|(_, tag)| tag.trim_matches('"').to_owned());
        tags.get_or_insert_default().extend(strong);
    }
    Ok(tags.map(IfMatch::Tags))
}

/// What the client calls itself, cut.
pub(super) fn user_agent(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::USER_AGENT)?;
    let text = String::from_utf8_lossy(value.as_bytes());
    Some(text.chars().take(USER_AGENT_MAX).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use http::header::{self, HeaderMap, HeaderValue};
    use proptest::prelude::{any, proptest};

    use super::{bearer, idempotency_key, if_match, sends_token};
    use crate::registry::access::IfMatch;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    /// One bearer token, however the scheme is written; nothing else.
    #[test]
    fn tokens() {
        for value in ["Bearer a.b-c_d", "bearer a.b-c_d", "BEARER  a.b-c_d"] {
            assert_eq!(bearer(&headers(&[(header::AUTHORIZATION, value)])).unwrap(), Some("a.b-c_d"));
        }
        for value in ["Bearer", "Bearer ", "Basic YTpi", "Bearer a b", "a.b-c_d", ""] {
            assert!(bearer(&headers(&[(header::AUTHORIZATION, value)])).is_err(), "{value}");
        }
        assert!(bearer(&HeaderMap::new()).unwrap().is_none());
        let mut twice = headers(&[(header::AUTHORIZATION, "Bearer a")]);
        twice.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer b"));
        assert!(bearer(&twice).is_err());
    }

    /// Who sent a token is told that it is bad; who sent none is not.
    #[test]
    fn tokens_sent() {
        for (value, is_token) in [("Bearer a", true), ("bearer", true), ("BEARER  !", true), ("Basic YTpi", false)] {
            assert_eq!(sends_token(&headers(&[(header::AUTHORIZATION, value)])), is_token, "{value}");
        }
        assert!(!sends_token(&HeaderMap::new()));
    }

    /// Preconditions as the registry wants them; broken ones are refused.
    #[test]
    fn preconditions() {
        let if_match = |value| if_match(&headers(&[(header::IF_MATCH, value)]));
        assert!(matches!(if_match("*").unwrap(), Some(IfMatch::Any)));
        match if_match("\"7\", W/\"8\"").unwrap() {
            Some(IfMatch::Tags(tags)) => assert_eq!(tags, ["7"]),
            _ => panic!("tags are wanted"),
        }
        assert!(if_match("7").is_err());
        let key = |value| idempotency_key(&headers(&[(super::IDEMPOTENCY_KEY, value)]));
        assert_eq!(key("a:1").unwrap().as_deref(), Some("a:1"));
        assert!(key("a b").is_err() && key("").is_err());
    }

    proptest! {
        /// No header value makes it panic.
        #[test]
        fn any_values(octets in any::<Vec<u8>>()) {
            if let Ok(value) = HeaderValue::from_bytes(&octets) {
                let mut headers = HeaderMap::new();
                for name in [header::AUTHORIZATION, header::IF_MATCH, super::IDEMPOTENCY_KEY, header::USER_AGENT] {
                    headers.insert(name, value.clone());
                }
                let _ = bearer(&headers);
                let _ = if_match(&headers);
                let _ = idempotency_key(&headers);
                let _ = super::user_agent(&headers);
            }
        }
    }
}
