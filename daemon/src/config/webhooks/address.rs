//! Where a webhook leads: an address as somebody typed it, taken apart once. Knows what a usable one looks like; refuses to
//! know whose it is, and whether anything may be sent there.

use http::Uri;

/// Characters of the longest address.
pub const URL_CHARS_MAX: usize = 2048;

/// The parts of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether it is spoken to in TLS.
    pub is_tls: bool,
    /// Host and port as they were typed, for the Host header.
    pub authority: String,
    /// The host, without the brackets of an IPv6 address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

impl Address {
    /// Takes an address apart.
    ///
    /// # Errors
    /// A sentence that says what it must be.
    pub fn parse(url: &str) -> Result<Self, String> {
        if url.chars().count() > URL_CHARS_MAX {
            return Err(format!("an address has at most {URL_CHARS_MAX} characters"));
        }
        if url.contains('#') {
            return Err("an address has no fragment (#), which would never be sent".to_owned());
        }
        let uri: Uri = url.parse().ok().ok_or("it must be an address such as https://hooks.example/mreg")?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it must begin with https:// or http://".to_owned()),
        };
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or("it must have a host")?;
        if authority.as_str().contains('@') {
            return Err(
                "it must have no user before the host; a secret of the receiver's can stand in the path".to_owned()
            );
        }
        // Read here, since the type lets a port pass that is none, and then says that there isn't any.
        let port = match authority.as_str().strip_prefix(authority.host()).unwrap_or_default() {
            "" if is_tls => 443,
            "" => 80,
            text => {
                let port = text.strip_prefix(':').and_then(|digits| digits.parse().ok()).filter(|port| *port > 0);
                port.ok_or("its port must be from 1 to 65535")?
            }
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            is_tls,
            authority: authority.as_str().to_owned(),
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        })
    }

    /// Scheme, host and port: all of it that may stand in entries and in the daemon's log, for many receivers have a secret
    /// in the path.
    pub fn place(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::{any, prop_assert, proptest};

    use super::Address;

    /// Addresses and their parts.
    #[test]
    fn parts() {
        for (url, is_tls, host, port, path, place) in [
            ("https://h.example", true, "h.example", 443, "/", "https://h.example"),
            ("http://h.example:8080/a/b?c=d&e", false, "h.example", 8080, "/a/b?c=d&e", "http://h.example:8080"),
            ("https://[2001:db8::1]:8443/x", true, "2001:db8::1", 8443, "/x", "https://[2001:db8::1]:8443"),
            ("https://h?token=s", true, "h", 443, "/?token=s", "https://h"),
        ] {
            let address = Address::parse(url).unwrap();
            let found = (address.is_tls, address.host.as_str(), address.port, address.path.as_str(), address.place());
            assert_eq!(found, (is_tls, host, port, path, place.to_owned()), "{url}");
        }
    }

    /// What is no address.
    #[test]
    fn refused() {
        let long = format!("https://h/{}", "x".repeat(2048));
        for url in [
            "",
            "h",
            "/x",
            "ftp://h/",
            "file:///etc/passwd",
            "gopher://h",
            "unix:/run/x",
            "https://",
            "https:///x",
            "https://u@h/",
            "https://u:p@h/",
            "https://h/#x",
            "https://h:0/",
            "https://h:65536/",
            "https://h:/",
            "https://h x/",
            "https://h/\r\nx: y",
            "https://h/\u{0}",
            &long,
        ] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }

    proptest! {
        /// Any text is answered, and what is an address can stand in a request.
        #[test]
        fn any_text(text in any::<String>(), rest in "[ -~]{0,40}") {
            for url in [text, format!("https://{rest}"), format!("http://h/{rest}")] {
                if let Ok(address) = Address::parse(&url) {
                    prop_assert!(address.path.starts_with('/') && address.port > 0 && !address.host.is_empty());
                    prop_assert!(address.path.bytes().chain(address.authority.bytes()).all(|octet| octet > b' '));
                }
            }
        }
    }
}
