//! Bodies and queries as clients send them, and as they should not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{Empty, Full, StreamBody};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use serde::Deserialize;

use super::pairs::{self, Unknown};
use super::{BodyError, Payload, Watch, from_json, percent_decode};
use crate::http::server::pace::Patience;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Listing {
    limit: Option<u32>,
    q: Option<String>,
    tag: Vec<String>,
    purge: bool,
    sort: Option<Sort>,
    alias: Option<common::name::Alias>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Name,
}

fn listing(text: &str) -> Result<Listing, Vec<(String, String)>> {
    pairs::parse(text, "query", Unknown::Refused)
}

/// Every kind of field; repeated names; plus and percent.
#[test]
fn query_values() {
    let value = listing("limit=5&q=a+b%2Bc&tag=x%3Ay&tag=z&purge=true&sort=name").unwrap();
    let tag = vec!["x:y".to_owned(), "z".to_owned()];
    assert_eq!(
        value,
        Listing { limit: Some(5), q: Some("a b+c".into()), tag, purge: true, sort: Some(Sort::Name), alias: None }
    );
    assert_eq!(listing("").unwrap(), Listing::default());
    assert_eq!(listing("&&").unwrap(), Listing::default());
}

/// Mistakes are named with their place.
#[test]
fn query_mistakes() {
    for (text, place) in [
        ("limit=x", "query.limit"),
        ("limit=-1", "query.limit"),
        ("limit=", "query.limit"),
        ("limit=1&limit=2", "query.limit"),
        ("q=%zz", "query.q"),
        ("q=%ff", "query.q"),
        ("%=1", "query"),
        ("purge=yes", "query.purge"),
        ("sort=size", "query.sort"),
        ("alias=7", "query.alias"),
        ("limt=5", "query.limt"),
    ] {
        let errors = listing(text).unwrap_err();
        assert_eq!(errors[0].0, place, "{text}: {errors:?}");
    }
    let both = listing("a=1&b=2").unwrap_err();
    assert_eq!(both.len(), 2);
    assert!(both[0].1.contains("limit, q, tag"), "{both:?}");
}

/// Too many parameters are refused before they are kept.
#[test]
fn query_bound() {
    let text = "tag=x&".repeat(pairs::PAIRS_MAX);
    assert_eq!(listing(&text).unwrap().tag.len(), pairs::PAIRS_MAX);
    assert!(listing(&format!("{text}tag=x")).is_err());
}

/// A form may have fields of other protocols; what it must have is missed by name.
#[test]
fn form() {
    #[derive(Debug, Deserialize)]
    struct Login {
        username: String,
        password: String,
    }
    let parse = |text| pairs::parse::<Login>(text, "body", Unknown::Ignored);
    let login = parse("grant_type=password&username=a&password=p%26+q&scope=").unwrap();
    assert_eq!((login.username.as_str(), login.password.as_str()), ("a", "p& q"));
    assert_eq!(parse("username=a").unwrap_err(), [("body.password".to_owned(), "is missing".to_owned())]);
}

/// The place of a wrong JSON value is its path.
#[test]
fn json_places() {
    #[derive(Debug, Deserialize)]
    struct Outer {
        #[serde(rename = "inner")]
        _inner: Vec<u8>,
    }
    for (text, place) in [
        (r#"{"inner":[1,"x"]}"#, "body.inner[1]"),
        ("{}", "body.inner"),
        ("", "body"),
        ("{\"inner\":[]} x", "body"),
        ("[[]]", "body"),
    ] {
        let refused = from_json::<Outer>(text.as_bytes()).unwrap_err();
        let problem = refused.response("id", false);
        assert_eq!(problem.status(), 422);
        let crate::http::problem::Refused::Registry(failure) = refused else { panic!("{text}") };
        let crate::registry::error::RegistryError::Invalid(errors) = failure.error else { panic!("{text}") };
        assert_eq!(errors[0].0, place, "{text}");
    }
}

fn payload<B>(body: B) -> (Payload, Arc<Watch>)
where
    B: http_body::Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let watch = Arc::new(Watch::default());
    let (head, ()) = http::Request::new(()).into_parts();
    (Payload::new(body, &head, Patience::new(Duration::from_millis(40), 0), Arc::clone(&watch)), watch)
}

/// Read to the end leaves nothing; dropped before is told; an empty body has nothing to leave.
#[tokio::test]
async fn unread() {
    let (mut body, watch) = payload(Full::new(Bytes::from_static(b"abc")));
    assert_eq!(body.read_all(3).await.unwrap(), "abc");
    drop(body);
    assert!(!watch.unread.load(Ordering::Relaxed));

    let (body, watch) = payload(Full::new(Bytes::from_static(b"abc")));
    drop(body);
    assert!(watch.unread.load(Ordering::Relaxed));

    let (body, watch) = payload(Empty::new());
    assert!(body.is_empty());
    drop(body);
    assert!(!watch.unread.load(Ordering::Relaxed));
}

/// One octet over the limit is too large, and then the body is over.
#[tokio::test]
async fn too_large() {
    let (mut body, watch) = payload(Full::new(Bytes::from_static(b"abcd")));
    assert!(matches!(body.read_all(3).await, Err(BodyError::TooLarge { limit: 3 })));
    assert!(body.next().await.is_none());
    assert!(watch.unread.load(Ordering::Relaxed));
}

/// An end short of Content-Length, or on a connection that is gone, is a cut.
#[tokio::test]
async fn cut() {
    let watch = Arc::new(Watch::default());
    let (head, ()) = http::Request::builder().header("content-length", "4").body(()).unwrap().into_parts();
    let whole = Full::new(Bytes::from_static(b"abc"));
    let mut body = Payload::new(whole.clone(), &head, Patience::new(Duration::from_secs(1), 0), Arc::clone(&watch));
    assert!(matches!(body.read_all(9).await, Err(BodyError::Cut(_))));

    let (mut body, watch) = payload(whole);
    watch.gone.store(true, Ordering::Release);
    assert!(matches!(body.read_all(9).await, Err(BodyError::Cut(_))));
}

/// Silence ends the body; octets that trickle in don't.
#[tokio::test]
async fn idle() {
    let trickle = stream::unfold(0u8, |count| async move {
        let pause = if count == 4 { 10_000 } else { 20 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        Some((Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"x"))), count + 1))
    });
    let (mut body, _) = payload(StreamBody::new(trickle));
    for _ in 0..4 {
        body.next().await.unwrap().unwrap();
    }
    assert!(matches!(body.next().await, Some(Err(BodyError::Idle { .. }))));
}

proptest! {
    /// Any text parses or is refused, without a panic, and what is refused has a place.
    #[test]
    fn query_never_panics(text in any::<String>()) {
        if let Err(errors) = listing(&text) {
            prop_assert!(!errors.is_empty());
            prop_assert!(errors.iter().all(|(place, _)| place.starts_with("query")));
        }
    }

    /// What an encoder writes is read back.
    #[test]
    fn query_round_trip(q in any::<String>(), tags in proptest::collection::vec(any::<String>(), 0..5)) {
        let encode = |value: &str| {
            percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let mut text = format!("q={}", encode(&q));
        for tag in &tags {
            text.push_str(&format!("&tag={}", encode(tag)));
        }
        let value = listing(&text).unwrap();
        prop_assert_eq!(value.q, Some(q));
        prop_assert_eq!(value.tag, tags);
    }

    /// Decoding never panics and leaves plain text alone.
    #[test]
    fn decoding(text in "[a-zA-Z0-9._~-]*", any_text in any::<String>()) {
        prop_assert_eq!(percent_decode(&text, false), Some(text));
        let _ = percent_decode(&any_text, true);
    }
}
