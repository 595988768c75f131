//! Settings of where blobs are kept. Knows their grammar; refuses to know what they do.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use super::settings::{echo, must, span_or_off};

/// The longest prefix, in octets: a key has 1024, and a digest and some words behind it.
const PREFIX_OCTETS_MAX: usize = 512;

/// The shortest and the longest time that an address of a download is valid: S3 has a week, and an address is a secret.
const REDIRECT_S: (u64, u64) = (10, 3600);

/// The shortest time that blobs nobody points to must rest where several daemons share them, and the longest
/// (`blobs/s3/removal.rs`).
const GRACE_S: (u64, u64) = (2 * 3600, 30 * 24 * 3600);
/// The same where daemons share a log and nothing is said.
pub(super) const GRACE_SHARED: Duration = Duration::from_secs(24 * 3600);

/// The largest blob that an object store takes: 10 000 parts of 64 MiB (`blobs/s3/send.rs`).
pub(crate) const BLOB_BYTES_MAX: u64 = 10_000 * 64 * 1024 * 1024;

/// Where blobs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Below `MREG_DATA_DIR`.
    Disk,
    /// In a bucket.
    S3 {
        /// Its name.
        bucket: String,
        /// What all keys begin with, without slashes at its ends; may be empty.
        prefix: String,
    },
}

impl Place {
    /// Whether it is a bucket.
    #[must_use]
    pub fn is_s3(&self) -> bool {
        matches!(self, Self::S3 { .. })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk => f.write_str("disk"),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// How an object store is spoken to; the same for every bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectStore {
    /// `AWS_ENDPOINT_URL`.
    pub endpoint: Option<String>,
    /// `AWS_REGION`; none: what most stores take.
    pub region: Option<String>,
    /// `MREG_S3_PATH_STYLE`; none: with an endpoint of its own, yes.
    pub path_style: Option<bool>,
    /// `MREG_S3_CHECKSUMS`: whether a SHA-256 goes along with what is sent.
    pub sends_checksums: bool,
    /// `AWS_ACCESS_KEY_ID`.
    pub key_id: Option<Secret>,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret: Option<Secret>,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<Secret>,
    /// `MREG_S3_CREDENTIALS`: whether the instance's metadata service may be asked.
    pub asks_instance: bool,
    /// `MREG_S3_CA_FILE`; absolute.
    pub ca_file: Option<PathBuf>,
    /// `MREG_S3_REDIRECT`.
    pub redirect: Option<Duration>,
    /// `MREG_S3_GRACE`.
    pub grace: Option<Duration>,
}

impl ObjectStore {
    /// One that every row of the table overwrites with its default.
    pub(super) fn blank() -> Self {
        Self {
            endpoint: None,
            region: None,
            path_style: None,
            sends_checksums: true,
            key_id: None,
            secret: None,
            session_token: None,
            asks_instance: false,
            ca_file: None,
            redirect: None,
            grace: None,
        }
    }
}

/// `disk`, or `s3://bucket/prefix`.
///
/// # Errors
/// A sentence that says what it must be.
pub fn place(text: &str) -> Result<Place, String> {
    if text == "disk" {
        return Ok(Place::Disk);
    }
    let wrong = || must("be disk, or s3:// with a bucket and perhaps a prefix, such as s3://models/mreg", text);
    let (name, prefix) = match text.strip_prefix("s3://").ok_or_else(wrong)?.split_once('/') {
        Some((name, prefix)) => (name, prefix.trim_matches('/')),
        None => (text.trim_start_matches("s3://"), ""),
    };
    bucket(name).map_err(|_problem| wrong())?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "!-_.*'()/=+@".contains(c);
    if prefix.len() > PREFIX_OCTETS_MAX || !prefix.chars().all(is_plain) {
        let what = format!("have a prefix of at most {PREFIX_OCTETS_MAX} letters, digits and any of !-_.*'()/=+@");
        return Err(must(&what, text));
    }
    // Some stores and tools take these for steps of a path.
    if prefix.split('/').any(|segment| matches!(segment, "" | "." | "..")) && !prefix.is_empty() {
        return Err(must("have a prefix without empty segments, . and ..", text));
    }
    Ok(Place::S3 { bucket: name.to_owned(), prefix: prefix.to_owned() })
}

/// A bucket's name, as Amazon and most others have it.
pub(super) fn bucket(text: &str) -> Result<String, String> {
    let is_fine =
        |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || matches!(octet, b'.' | b'-' | b'_');
    let is_end = |octet: Option<&u8>| octet.is_some_and(u8::is_ascii_alphanumeric);
    let octets = text.as_bytes();
    if (3..=63).contains(&octets.len())
        && octets.iter().all(|octet| is_fine(*octet))
        && is_end(octets.first())
        && is_end(octets.last())
        && !text.contains("..")
    {
        return Ok(text.to_owned());
    }
    Err(must("be a bucket's name: 3 to 63 small letters, digits, dots and dashes", text))
}

/// An address of a store: scheme, host and perhaps a port and a path. Never with a password in it.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let what = "be the address of an S3 server, such as https://s3.example.org or http://127.0.0.1:9000";
    let rest =
        text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(|| must(what, text))?;
    if rest.contains('@') {
        return Err(
            "must not have a user or password in it; name them with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".into(),
        );
    }
    let uri: http::Uri = text.parse().map_err(|_error| must(what, text))?;
    if uri.host().is_none_or(str::is_empty) || uri.query().is_some() || text.contains('#') {
        return Err(must(what, text));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Whether what is sent there can be read on its way off this machine.
pub(super) fn is_clear(endpoint: &str) -> bool {
    let Some(rest) = endpoint.strip_prefix("http://") else { return false };
    let host = rest.split('/').next().unwrap_or_default();
    let is_loopback = host.parse::<SocketAddr>().map(|at| at.ip().is_loopback()).unwrap_or_else(|_no_port| {
        host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            || host.split(':').next() == Some("localhost")
    });
    !is_loopback
}

/// A region's name.
pub(super) fn region(text: &str) -> Result<String, String> {
    let is_fine = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    if (1..=64).contains(&text.len()) && text.bytes().all(is_fine) {
        return Ok(text.to_owned());
    }
    Err(must("be a region's name, such as eu-central-1", text))
}

/// How long an address of a download is valid.
pub(super) fn redirect(text: &str) -> Result<Option<Duration>, String> {
    within(text, REDIRECT_S, "10s to 1h")
}

/// How long a blob that nobody points to rests.
pub(super) fn grace(text: &str) -> Result<Option<Duration>, String> {
    within(text, GRACE_S, "2h to 30d")
}

fn within(text: &str, (min_s, max_s): (u64, u64), told: &str) -> Result<Option<Duration>, String> {
    match span_or_off(text)? {
        Some(span) if !(min_s..=max_s).contains(&span.as_secs()) => {
            Err(format!("must be off, or a time from {told}, not {}", echo(text)))
        }
        span => Ok(span),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::{Place, endpoint, grace, is_clear, place, redirect, region};

    #[test]
    fn places() {
        let s3 = |bucket: &str, prefix: &str| Place::S3 { bucket: bucket.into(), prefix: prefix.into() };
        for (text, wanted) in [
            ("disk", Place::Disk),
            ("s3://models", s3("models", "")),
            ("s3://models/", s3("models", "")),
            ("s3://my.models-1/a/b/", s3("my.models-1", "a/b")),
        ] {
            let parsed = place(text).unwrap();
            assert_eq!(parsed, wanted);
            assert_eq!(place(&parsed.to_string()).unwrap(), wanted, "what is shown is taken");
        }
        for text in
            ["", "s3", "s3://", "s3://ab", "s3://Models", "s3:///x", "disk:/x", "s3://models/a//b", "s3://models/../x"]
        {
            place(text).unwrap_err();
        }
        place(&format!("s3://models/{}", "x".repeat(513))).unwrap_err();
        place("s3://models/a b").unwrap_err();
    }

    #[test]
    fn endpoints() {
        for text in ["https://s3.example.org", "http://127.0.0.1:9000", "https://host/path", "http://[::1]:9000"] {
            assert_eq!(endpoint(text).unwrap(), text);
        }
        assert_eq!(endpoint("https://s3.example.org/").unwrap(), "https://s3.example.org");
        for text in ["", "s3.example.org", "ftp://x", "https://", "https://x?y", "https://x#y", "https://a b"] {
            endpoint(text).unwrap_err();
        }
        let problem = endpoint("https://key:hunter2@host").unwrap_err();
        assert!(!problem.contains("hunter2"));
    }

    #[test]
    fn clear_addresses() {
        for (text, wanted) in [
            ("https://s3.example.org", false),
            ("http://s3.example.org", true),
            ("http://10.0.0.1:9000", true),
            ("http://127.0.0.1:9000", false),
            ("http://[::1]:9000/x", false),
            ("http://[::1]", false),
            ("http://localhost:9000", false),
            ("http://localhost.example.org", true),
        ] {
            assert_eq!(is_clear(text), wanted, "{text}");
        }
    }

    #[test]
    fn times_and_regions() {
        assert_eq!((redirect("off").unwrap(), grace("off").unwrap()), (None, None));
        assert_eq!(redirect("5m").unwrap().unwrap().as_secs(), 300);
        assert_eq!(grace("1d").unwrap().unwrap().as_secs(), 86_400);
        for text in ["9s", "2h", "x"] {
            redirect(text).unwrap_err();
        }
        for text in ["1h", "31d", ""] {
            grace(text).unwrap_err();
        }
        region("eu-central-1").unwrap();
        region("").unwrap_err();
        region("a b").unwrap_err();
    }

    proptest::proptest! {
        /// Whatever is given, the answer is a place that shows as it is taken, or a sentence.
        #[test]
        fn any_text(text in "(s3://)?\\PC{0,80}") {
            match place(&text) {
                Ok(parsed) => proptest::prop_assert_eq!(place(&parsed.to_string()), Ok(parsed)),
                Err(problem) => proptest::prop_assert!(problem.starts_with("must")),
            }
            let _ = endpoint(&text);
        }
    }
}
