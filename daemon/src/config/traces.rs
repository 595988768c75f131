//! Settings of traces, by the names that OpenTelemetry gives them: where spans are sent, with what, and which are made.
//! Pure; refuses to know how anything is sent.
//!
//! What is said of traces alone (`OTEL_EXPORTER_OTLP_TRACES_…`) wins over what is said of all that OTLP carries.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::secret::Secret;
use super::settings::{echo, must};

/// The name of this service where nobody gave another.
pub const SERVICE_NAME: &str = "mregd";
/// What is added to an address that is that of all that OTLP carries.
const TRACES_PATH: &str = "/v1/traces";
/// Pairs that a list of headers or attributes may have.
const PAIRS_MAX: usize = 64;
/// Longest wait for a collector, in milliseconds.
const TIMEOUT_MS_MAX: u64 = 600_000;
/// Headers that are the message's own.
const OWN_HEADERS: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What an operator says of traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracesConfig {
    /// `OTEL_SDK_DISABLED`: nothing is made, whatever else is set.
    pub disabled: bool,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`.
    pub traces_endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_HEADERS`.
    pub headers: Option<Secret>,
    /// `OTEL_EXPORTER_OTLP_TRACES_HEADERS`.
    pub traces_headers: Option<Secret>,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`.
    pub timeout: Duration,
    /// `OTEL_EXPORTER_OTLP_TRACES_TIMEOUT`.
    pub traces_timeout: Option<Duration>,
    /// `OTEL_EXPORTER_OTLP_CERTIFICATE`; absolute.
    pub ca_file: Option<PathBuf>,
    /// `OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE`; absolute.
    pub traces_ca_file: Option<PathBuf>,
    /// `OTEL_SERVICE_NAME`.
    pub service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`, as it was written; [`pairs`] reads it.
    pub resource: Option<String>,
    /// `OTEL_TRACES_SAMPLER`.
    pub sampler: Sampler,
    /// `OTEL_TRACES_SAMPLER_ARG`: a share of one, as it was written; [`ratio`] reads it.
    pub sampler_arg: String,
}

/// `OTEL_TRACES_SAMPLER`: of which requests there are spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampler {
    /// All.
    AlwaysOn,
    /// None.
    AlwaysOff,
    /// A share, by the trace's id.
    Ratio,
    /// As who asked decided, else all.
    ParentOrOn,
    /// As who asked decided, else none.
    ParentOrOff,
    /// As who asked decided, else a share.
    ParentOrRatio,
}

/// Each with its word.
const SAMPLERS: [(Sampler, &str); 6] = [
    (Sampler::AlwaysOn, "always_on"),
    (Sampler::AlwaysOff, "always_off"),
    (Sampler::Ratio, "traceidratio"),
    (Sampler::ParentOrOn, "parentbased_always_on"),
    (Sampler::ParentOrOff, "parentbased_always_off"),
    (Sampler::ParentOrRatio, "parentbased_traceidratio"),
];

impl Sampler {
    /// The word of the setting.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        SAMPLERS.iter().find(|(sampler, _word)| *sampler == self).map_or("", |(_sampler, word)| word)
    }

    /// Reads the word.
    ///
    /// # Errors
    /// A sentence that says what it must be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = SAMPLERS.iter().find(|(_sampler, word)| *word == text);
        found.map(|(sampler, _word)| *sampler).ok_or_else(|| {
            let words: Vec<&str> = SAMPLERS.iter().map(|(_sampler, word)| *word).collect();
            must(&format!("be one of {}", words.join(", ")), text)
        })
    }
}

impl TracesConfig {
    /// As it is before the rows of the table.
    pub(super) fn blank() -> Self {
        Self {
            disabled: false,
            endpoint: None,
            traces_endpoint: None,
            headers: None,
            traces_headers: None,
            timeout: Duration::ZERO,
            traces_timeout: None,
            ca_file: None,
            traces_ca_file: None,
            service_name: None,
            resource: None,
            sampler: Sampler::ParentOrOn,
            sampler_arg: String::new(),
        }
    }

    /// Where spans are sent; nowhere means that there are none.
    #[must_use]
    pub fn address(&self) -> Option<Uri> {
        if self.disabled {
            return None;
        }
        let text = match (&self.traces_endpoint, &self.endpoint) {
            (Some(own), _) => own.clone(),
            (None, Some(all)) => format!("{}{TRACES_PATH}", all.trim_end_matches('/')),
            (None, None) => return None,
        };
        text.parse().ok()
    }

    /// What is sent along; secrets among it.
    #[must_use]
    pub fn header_map(&self) -> HeaderMap {
        let text = self.traces_headers.as_ref().or(self.headers.as_ref());
        text.and_then(|text| headers(text.expose()).ok()).unwrap_or_default()
    }

    /// How long a collector has for one batch.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.traces_timeout.unwrap_or(self.timeout)
    }

    /// The authorities that a collector is trusted by, in place of the machine's.
    #[must_use]
    pub fn authorities(&self) -> Option<&Path> {
        self.traces_ca_file.as_deref().or(self.ca_file.as_deref())
    }
}

/// The address of a collector: `http` or `https`, a host, and neither a user nor a query.
///
/// # Errors
/// A sentence that says what it must be; without the address, which may hold a password.
pub fn endpoint(text: &str) -> Result<String, String> {
    let wrong = || "must be a URL such as http://127.0.0.1:4318 or https://collector.example.org".to_owned();
    let uri: Uri = text.parse().map_err(|_unreadable| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.host().is_empty() {
        return Err(wrong());
    }
    if authority.as_str().contains('@') || uri.query().is_some() {
        return Err("must have neither a user nor a query; what the collector asks for goes into \
            OTEL_EXPORTER_OTLP_HEADERS"
            .to_owned());
    }
    Ok(text.to_owned())
}

/// A list `name=value,name=value`, the values percent-encoded.
///
/// # Errors
/// A sentence that says what it must be, without the list.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let wrong = || "must be name=value pairs with commas between them, the values percent-encoded in UTF-8".to_owned();
    let mut pairs = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (name, value) = item.split_once('=').ok_or_else(wrong)?;
        let value = percent_decode_str(value.trim()).decode_utf8().map_err(|_not_text| wrong())?;
        let name = name.trim();
        if name.is_empty() {
            return Err(wrong());
        }
        pairs.push((name.to_owned(), value.into_owned()));
    }
    if pairs.len() > PAIRS_MAX {
        return Err(format!("must be at most {PAIRS_MAX} pairs"));
    }
    Ok(pairs)
}

/// Headers for the collector.
///
/// # Errors
/// A sentence that says what they must be, without a value.
pub fn headers(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(text)? {
        let name = HeaderName::try_from(name).map_err(|_unfit| "has a name that no header can have".to_owned())?;
        if OWN_HEADERS.contains(&name) {
            return Err(format!("must not have {name}, which is the message's own"));
        }
        let mut value =
            HeaderValue::try_from(value).map_err(|_unfit| format!("has a value for {name} that no header can have"))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// Milliseconds, at least one.
///
/// # Errors
/// A sentence that says what it must be.
pub fn timeout(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(milliseconds @ 1..=TIMEOUT_MS_MAX) => Ok(Duration::from_millis(milliseconds)),
        _ => Err(must(&format!("be milliseconds, 1 to {TIMEOUT_MS_MAX}"), text)),
    }
}

/// A share of one.
///
/// # Errors
/// A sentence that says what it must be.
pub fn ratio(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share: &f64| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("must be a number from 0 to 1 and not {}", echo(text)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::{any, prop_assert, proptest};

    use super::{SAMPLERS, Sampler, TracesConfig, endpoint, headers, pairs, ratio, timeout};
    use crate::config::Secret;

    /// The general address gets the path of traces, their own is taken as it is, and off is off.
    #[test]
    fn addresses() {
        let mut config = TracesConfig::blank();
        assert_eq!(config.address(), None);
        config.endpoint = Some("http://127.0.0.1:4318/".to_owned());
        assert_eq!(config.address().unwrap(), "http://127.0.0.1:4318/v1/traces");
        config.traces_endpoint = Some("https://c.example.org/x".to_owned());
        assert_eq!(config.address().unwrap(), "https://c.example.org/x");
        config.disabled = true;
        assert_eq!(config.address(), None);
    }

    #[test]
    fn endpoints() {
        for fit in ["http://127.0.0.1:4318", "https://[::1]:4318/a", "http://collector"] {
            assert_eq!(endpoint(fit).unwrap(), fit);
        }
        for unfit in
            ["127.0.0.1:4318", "grpc://a:4317", "http://", "http://u:pass@a/", "http://a/?token=x", "http://a b"]
        {
            let problem = endpoint(unfit).unwrap_err();
            assert!(problem.starts_with("must") && !problem.contains("pass@"), "{unfit}: {problem}");
        }
    }

    /// Values are decoded; what is wrong is said without them; what traces have of their own wins.
    #[test]
    fn header_lists() {
        let read = headers("Authorization=Bearer%20abc, x-tenant=7,").unwrap();
        assert_eq!(
            (&read["authorization"], &read["x-tenant"]),
            (&"Bearer abc".parse().unwrap(), &"7".parse().unwrap())
        );
        assert!(read["authorization"].is_sensitive());
        for unfit in ["hunter2", "a b=hunter2", "x=hunter2%0a", "host=hunter2", "x=hunter2%ff", "=hunter2"] {
            assert!(!headers(unfit).unwrap_err().contains("hunter2"), "{unfit}");
        }
        let secret = |text: &str| Some(Secret::new(text.to_owned()));
        let mut config = TracesConfig { headers: secret("a=1"), ..TracesConfig::blank() };
        assert_eq!(config.header_map()["a"], "1");
        config.traces_headers = secret("b=2");
        assert_eq!((config.header_map().get("a"), config.header_map()["b"].to_str().unwrap()), (None, "2"));
    }

    #[test]
    fn numbers_and_words() {
        assert!(timeout("10000").is_ok() && timeout("0").is_err() && timeout("10s").is_err());
        assert!(ratio("0.25").is_ok() && ratio("1.1").is_err() && ratio("NaN").is_err() && ratio("-0.1").is_err());
        for (sampler, word) in SAMPLERS {
            assert_eq!((Sampler::parse(word).unwrap(), sampler.as_str()), (sampler, word));
        }
        assert!(Sampler::parse("jaeger_remote").unwrap_err().contains("parentbased_always_on"));
    }

    proptest! {
        /// Whatever is written, it is read or refused.
        #[test]
        fn anything(text in any::<String>()) {
            let _read = (endpoint(&text), headers(&text), ratio(&text), timeout(&text));
            prop_assert!(pairs(&text).is_ok_and(|pairs| pairs.iter().all(|(name, _)| !name.is_empty())) || pairs(&text).is_err());
        }
    }
}
