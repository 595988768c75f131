//! What must hold of the parsers of what comes with a connection: whom proxies say they ask for, and certificates.

use std::net::IpAddr;

use common::certificate::{Certificate, NAMES_MAX, day};
use daemon::config::network::{ForwardedBy, Network, Proxies};
use daemon::http::forwarded::origin;
use daemon::http::server::Peer;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// A line with networks and `unix`, then lines of a header, each with a sign of which it is in front. A stranger changes
/// nothing; what a proxy is believed to have heard stands in what was sent, and the last line of all decides if it is one
/// address; networks are read as they are shown.
pub fn forwarded(octets: &[u8]) {
    let mut lines = octets.split(|octet| *octet == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let networks: Vec<Network> =
        first.split(',').filter_map(|text| Network::parse(text.trim()).ok()).take(64).collect();
    for network in &networks {
        assert_eq!(Network::parse(&network.to_string()).as_ref(), Ok(network));
    }
    let mut headers = HeaderMap::new();
    let mut said = String::new();
    for line in lines.take(16) {
        let Some((sign, value)) = line.split_first() else { continue };
        let name = match sign {
            b'f' => "forwarded",
            b'p' => "x-forwarded-proto",
            _ => "x-forwarded-for",
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            said.push_str(&String::from_utf8_lossy(value.as_bytes()));
            said.push('\n');
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let peer: IpAddr = [10, 0, 0, 1].into();
    for by in [ForwardedBy::XForwarded, ForwardedBy::Forwarded] {
        let proxies = Proxies { networks: networks.clone(), unix: true, by };
        for at in [Peer::Tcp((peer, 1).into()), Peer::Tls((peer, 1).into()), Peer::Local] {
            let found = origin(&proxies, at, &headers);
            let believed = at == Peer::Local || proxies.has(peer);
            assert_eq!(found.by_proxy, believed);
            let own = (at != Peer::Local).then_some(peer);
            if !believed {
                assert_eq!((found.ip, found.is_https), (own, matches!(at, Peer::Tls(_))));
            } else if let Some(ip) = found.ip.filter(|ip| Some(*ip) != own) {
                let stands = said.split(|sign: char| !sign.is_ascii_hexdigit() && !matches!(sign, ':' | '.'));
                let mut read = stands.filter_map(|text| {
                    let bare = text.rsplit_once(':').map_or(text, |(bare, _port)| bare);
                    text.parse::<IpAddr>().or_else(|_| bare.parse()).ok()
                });
                assert!(read.any(|stood| stood.to_canonical() == ip), "{ip} in {said:?}");
            }
        }
        // Whatever came before: a proxy's own word is the last.
        let proxies = Proxies { networks: vec![Network::parse("10.0.0.1").expect("a network")], unix: false, by };
        let (name, word) = match by {
            ForwardedBy::XForwarded => ("x-forwarded-for", "192.0.2.7"),
            ForwardedBy::Forwarded => ("forwarded", "for=192.0.2.7"),
        };
        let mut more = headers.clone();
        more.append(HeaderName::from_static(name), HeaderValue::from_static(word));
        assert_eq!(origin(&proxies, Peer::Tcp((peer, 1).into()), &more).ip, Some([192, 0, 2, 7].into()));
    }
}

/// Certificates: what is read is bounded and fit to be shown, and depends on nothing behind it.
pub fn certificate(octets: &[u8]) {
    let Some(read) = Certificate::read(octets) else { return };
    assert!(read.names.len() <= NAMES_MAX);
    assert!(
        read.names
            .iter()
            .all(|name| (1..=255).contains(&name.len()) && name.bytes().all(|octet| octet.is_ascii_graphic()))
    );
    assert!(day(read.not_before_s).len() == 10 && day(read.not_after_s).len() == 10);
    assert_eq!(read.days_left(read.not_after_s), 0);
    assert_eq!(Certificate::read(&[octets, b"more"].concat()), Some(read));
}

/// A certificate for two hosts; its signature is none.
pub(super) fn sample() -> Vec<u8> {
    fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u16::try_from(content.len()).expect("a short one").to_be_bytes();
        [&[tag, 0x82][..], &length, &content].concat()
    }
    let names = value(0x30, &[&value(0x82, &[b"a.example"]), &value(0x87, &[&[127, 0, 0, 1]])]);
    let extension = value(0x30, &[&value(0x06, &[&[0x55, 0x1d, 0x11]]), &value(0x04, &[&names])]);
    let validity = value(0x30, &[&value(0x17, &[b"260101000000Z"]), &value(0x18, &[b"20560101000000Z"])]);
    let fields = [
        value(0xa0, &[&[2, 1, 2]]),
        value(0x02, &[&[1]]),
        value(0x30, &[]),
        value(0x30, &[]),
        validity,
        value(0x30, &[]),
        value(0x30, &[b"a key"]),
        value(0xa3, &[&value(0x30, &[&extension])]),
    ];
    value(0x30, &[&value(0x30, &[&fields.concat()]), &value(0x30, &[]), &value(0x03, &[&[0]])])
}
