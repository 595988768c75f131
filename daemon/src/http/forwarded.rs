//! For whom a request was sent, where a proxy sent it. Knows `X-Forwarded-For`, `X-Forwarded-Proto` and `Forwarded` (RFC
//! 7239), and which peers are believed; refuses to know what follows from it.
//!
//! Each proxy adds at the end whom it heard, so the list is read from the end: as long as who said it is believed, what it
//! said is. What stands before the first that isn't, anybody may have written.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName};

use crate::config::network::{ForwardedBy, Proxies};
use crate::http::server::Peer;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Proxies in a row that are looked at.
pub const HOPS_MAX: usize = 32;

/// Who is at the other end of it all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The address, where there is one.
    pub ip: Option<IpAddr>,
    /// Whether the client, as far as it is known, speaks TLS.
    pub is_https: bool,
    /// Whether a proxy that is believed sent it.
    pub by_proxy: bool,
}

/// Who sent a request that came from `peer`.
pub fn origin(proxies: &Proxies, peer: Peer, headers: &HeaderMap) -> Origin {
    let by_proxy = match peer {
        Peer::Tcp(_) | Peer::Tls(_) => peer.ip().is_some_and(|ip| proxies.has(ip)),
        Peer::Local => proxies.unix,
        Peer::Operator { .. } => false,
    };
    let mut origin = Origin { ip: peer.ip(), is_https: matches!(peer, Peer::Tls(_)), by_proxy };
    if !by_proxy {
        return origin;
    }
    let (field, is_quoted) = match proxies.by {
        ForwardedBy::XForwarded => (X_FORWARDED_FOR, false),
        ForwardedBy::Forwarded => (header::FORWARDED, true),
    };
    // Each line by itself: what a client sent can't reach into what a proxy added, not by an open quote nor by odd octets.
    let lines = headers.get_all(field).iter().rev().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let hops =
        lines.flat_map(|line| split(&line, ',', is_quoted).into_iter().rev().map(str::to_owned).collect::<Vec<_>>());
    for hop in hops.take(HOPS_MAX) {
        let (node, proto) = match proxies.by {
            ForwardedBy::XForwarded => (Some(hop.trim()), None),
            ForwardedBy::Forwarded => (parameter(&hop, "for"), parameter(&hop, "proto")),
        };
        if let Some(proto) = proto {
            origin.is_https = proto.eq_ignore_ascii_case("https");
        }
        // `unknown`, a name, a broken list: whoever said so is the last that is known.
        let Some(ip) = node.and_then(address) else { break };
        origin.ip = Some(ip);
        if !proxies.has(ip) {
            break;
        }
    }
    if proxies.by == ForwardedBy::XForwarded
        && let Some(proto) = headers.get_all(X_FORWARDED_PROTO).iter().next_back().and_then(|value| value.to_str().ok())
    {
        let newest = proto.rsplit(',').next().unwrap_or_default().trim();
        origin.is_https = newest.eq_ignore_ascii_case("https");
    }
    origin
}

/// The parts of a list, cut at a sign; not within quotes, where there are quotes and the last of them is closed. An open one
/// came from somebody who wanted the rest of the list unread.
fn split(text: &str, at: char, is_quoted: bool) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if is_quoted => quoted = !quoted,
            sign if sign == at && !quoted => {
                parts.push(&text[start..index]);
                start = index + sign.len_utf8();
            }
            _ => {}
        }
    }
    if quoted {
        return text.split(at).collect();
    }
    parts.push(&text[start..]);
    parts
}

/// The value of a parameter of one hop, without its quotes. One that is said twice is not said.
fn parameter<'a>(hop: &'a str, name: &str) -> Option<&'a str> {
    let mut values = split(hop, ';', true).into_iter().filter_map(|pair| {
        let (said, value) = pair.split_once('=')?;
        said.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    });
    let value = values.next().filter(|_| values.next().is_none())?;
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// The address of a node: `192.0.2.7`, `192.0.2.7:80`, `2001:db8::7`, `[2001:db8::7]`, `[2001:db8::7]:80`.
fn address(node: &str) -> Option<IpAddr> {
    let is_port = |port: &str| !port.is_empty() && port.len() <= 5 && port.bytes().all(|octet| octet.is_ascii_digit());
    let ip = match node.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest.split_once(']')?;
            let fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            ip.parse().ok().filter(|ip: &IpAddr| fits && ip.is_ipv6())?
        }
        None => match node.parse() {
            Ok(ip) => ip,
            Err(_) => {
                let (ip, port) = node.split_once(':')?;
                ip.parse().ok().filter(|ip: &IpAddr| is_port(port) && ip.is_ipv4())?
            }
        },
    };
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::net::IpAddr;

    use http::header::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::{Origin, address, origin};
    use crate::config::network::{ForwardedBy, Network, Proxies};
    use crate::http::server::Peer;

    fn proxies(by: ForwardedBy) -> Proxies {
        let networks = ["10.0.0.0/8", "::1"].map(|text| Network::parse(text).unwrap()).to_vec();
        Proxies { networks, unix: true, by }
    }

    fn from(peer: &str, by: ForwardedBy, lines: &[(&str, &str)]) -> Origin {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let peer = match peer {
            "unix" => Peer::Local,
            text => Peer::Tcp(text.parse().unwrap()),
        };
        origin(&proxies(by), peer, &headers)
    }

    fn ip(origin: Origin) -> String {
        origin.ip.map_or_else(|| "none".to_owned(), |ip| ip.to_string())
    }

    /// The last that somebody believed has heard, and not what stands before.
    #[test]
    fn x_forwarded_for() {
        let by = ForwardedBy::XForwarded;
        let said = |value: &str| ip(from("10.0.0.1:9", by, &[("x-forwarded-for", value)]));
        assert_eq!(said("192.0.2.7"), "192.0.2.7");
        assert_eq!(said("6.6.6.6, 192.0.2.7"), "192.0.2.7");
        assert_eq!(said("6.6.6.6, 192.0.2.7, 10.9.9.9"), "192.0.2.7");
        assert_eq!(said("10.1.1.1,10.2.2.2"), "10.1.1.1");
        assert_eq!(said("6.6.6.6, unknown"), "10.0.0.1");
        assert_eq!(said("6.6.6.6, 10.2.2.2,"), "10.0.0.1");
        assert_eq!(said("192.0.2.7:5000"), "192.0.2.7");
        assert_eq!(said("[2001:db8::7]:5000"), "2001:db8::7");
        assert_eq!(said("::ffff:192.0.2.7"), "192.0.2.7");
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(ip(from("10.0.0.1:9", by, &lines)), "192.0.2.7");
        // Nobody believes a stranger, nor the header that was not chosen.
        assert_eq!(ip(from("192.0.2.1:9", by, &lines)), "192.0.2.1");
        assert_eq!(ip(from("10.0.0.1:9", by, &[("forwarded", "for=6.6.6.6")])), "10.0.0.1");
        assert_eq!(ip(from("unix", by, &lines)), "192.0.2.7");
        assert_eq!(ip(from("unix", by, &[])), "none");
        let https = |peer: &str, value: &str| from(peer, by, &[("x-forwarded-proto", value)]).is_https;
        assert!(https("10.0.0.1:9", "https") && https("10.0.0.1:9", "http, HTTPS"));
        assert!(!https("10.0.0.1:9", "https, http") && !https("192.0.2.1:9", "https"));
    }

    #[test]
    fn forwarded() {
        let by = ForwardedBy::Forwarded;
        let said = |value: &str| {
            let origin = from("10.0.0.1:9", by, &[("forwarded", value)]);
            (ip(origin), origin.is_https)
        };
        assert_eq!(said("for=192.0.2.7;proto=https"), ("192.0.2.7".into(), true));
        assert_eq!(said("for=6.6.6.6, For=\"[2001:db8::7]:4711\";proto=http"), ("2001:db8::7".into(), false));
        assert_eq!(said("for=6.6.6.6, for=192.0.2.7, for=10.1.1.1;proto=https"), ("192.0.2.7".into(), true));
        assert_eq!(said("for=6.6.6.6, for=_hidden;proto=https"), ("10.0.0.1".into(), true));
        assert_eq!(said("for=6.6.6.6;for=192.0.2.7"), ("10.0.0.1".into(), false));
        assert_eq!(said("for=\"6.6.6.6, for=192.0.2.7"), ("192.0.2.7".into(), false));
        assert_eq!(said("for=\"\\, for=\"[2001:db8::7]:1\";proto=https"), ("2001:db8::7".into(), true));
        assert_eq!(said("by=6.6.6.6"), ("10.0.0.1".into(), false));
        assert_eq!(ip(from("10.0.0.1:9", by, &[("x-forwarded-for", "6.6.6.6")])), "10.0.0.1");
    }

    #[test]
    fn addresses() {
        for text in
            ["", "x", "1.2.3", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:123456", "[1.2.3.4]", "[::1", "[::1]x", "::1:x:y"]
        {
            assert_eq!(address(text), None, "{text}");
        }
    }

    proptest! {
        /// A stranger's word changes nothing, whatever it is.
        #[test]
        fn strangers(value in "[ -~]{0,80}", proto in "[a-z, ]{0,12}") {
            for by in [ForwardedBy::XForwarded, ForwardedBy::Forwarded] {
                let lines = [("x-forwarded-for", value.as_str()), ("forwarded", &value), ("x-forwarded-proto", &proto)];
                let origin = from("192.0.2.1:9", by, &lines);
                prop_assert_eq!(ip(origin), "192.0.2.1");
                prop_assert!(!origin.is_https && !origin.by_proxy);
            }
        }

        /// What a believed proxy adds is what counts, whatever was there before it.
        #[test]
        fn the_last_word(before in "[ -~]{0,60}", client: u32) {
            let client = IpAddr::V4((client | 0x8000_0000).into());
            for (by, name, added) in [
                (ForwardedBy::XForwarded, "x-forwarded-for", client.to_string()),
                (ForwardedBy::Forwarded, "forwarded", format!("for={client};proto=https")),
            ] {
                let value = format!("{before}, {added}");
                prop_assert_eq!(ip(from("10.0.0.1:9", by, &[(name, &value)])), client.to_string());
                let lines = [(name, before.as_str()), (name, added.as_str())];
                prop_assert_eq!(ip(from("10.0.0.1:9", by, &lines)), client.to_string());
            }
        }
    }
}
