//! Settings of webhooks, and where a webhook may lead: the one list of addresses that nothing is sent to, and what an
//! operator allows of it. Pure: whose address a name is, is not asked here.
//!
//! A webhook makes the daemon send requests to an address that somebody typed. Without this list an administrator of the
//! registry would reach what only the daemon's machine can: services on its loopback, in its network, or the credentials
//! that clouds hand out at link-local addresses.

pub mod address;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::network::{Network, items};
use super::secret::Secret;

/// Ports below 1024 that are not HTTP's belong to other protocols, some of which take a request for commands.
const PORTS_PRIVILEGED: u16 = 1024;
/// Those of HTTP.
const PORTS_HTTP: [u16; 2] = [80, 443];
/// Longest name of a host, in octets (RFC 1035 §2.3.4).
const HOST_OCTETS_MAX: usize = 253;

/// What an operator says of webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// The key their secrets are made with; none: generated in the directory of keys.
    pub key: Option<Secret>,
    /// Where they may lead besides public addresses.
    pub allow: Allowed,
    /// Authorities trusted for receivers in place of the machine's; absolute.
    pub ca_file: Option<PathBuf>,
    /// A receiver that fails for so long is given up.
    pub give_up: Duration,
}

impl WebhookConfig {
    /// As it is before the rows of the table.
    pub(super) fn blank() -> Self {
        Self { key: None, allow: Allowed::default(), ca_file: None, give_up: Duration::ZERO }
    }
}

/// `MREG_WEBHOOK_ALLOW`: networks, and names whose addresses are taken whatever they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    networks: Vec<Network>,
    /// In lower case.
    hosts: Vec<String>,
}

impl Allowed {
    /// Reads a list with commas, or `none`.
    ///
    /// # Errors
    /// A sentence that says what it must be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut allowed = Self::default();
        for item in items(text)? {
            match Network::parse(item) {
                Ok(network) => allowed.networks.push(network),
                Err(_) if is_host(item) => allowed.hosts.push(item.to_ascii_lowercase()),
                Err(problem) => return Err(format!("{problem}, or the name of a host")),
            }
        }
        Ok(allowed)
    }

    /// Whether something may be sent to `host` and `port` at this address, which is one that the host's name means.
    ///
    /// # Errors
    /// Why not, in words for an administrator.
    pub fn check(&self, host: &str, port: u16, ip: IpAddr) -> Result<(), String> {
        let ip = ip.to_canonical();
        let host = host.trim_end_matches('.');
        if self.networks.iter().any(|network| network.has(ip))
            || self.hosts.iter().any(|name| name.eq_ignore_ascii_case(host))
        {
            return Ok(());
        }
        if let Some(what) = special(ip) {
            return Err(format!("{ip} is {what}; the operator can allow it with MREG_WEBHOOK_ALLOW"));
        }
        if port < PORTS_PRIVILEGED && !PORTS_HTTP.contains(&port) {
            return Err(format!(
                "port {port} is that of another protocol than HTTP; the operator can allow {ip} with MREG_WEBHOOK_ALLOW"
            ));
        }
        Ok(())
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items: Vec<String> =
            self.networks.iter().map(Network::to_string).chain(self.hosts.iter().cloned()).collect();
        f.write_str(if items.is_empty() { "none".to_owned() } else { items.join(",") }.as_str())
    }
}

fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
    };
    // A number is an address in one of its odd spellings, and no name.
    // The word for an empty list is none either.
    text != "none"
        && text.len() <= HOST_OCTETS_MAX
        && text.split('.').all(is_label)
        && text.bytes().any(|octet| octet.is_ascii_alphabetic())
}

/// What an address is, where it is not one that anybody on the internet can be reached at: the registries of special
/// addresses that IANA keeps (RFC 6890), and those that carry an IPv4 address within, by that.
fn special(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => special_v4(ip),
        IpAddr::V6(ip) => special_v6(ip),
    }
}

fn special_v4(ip: Ipv4Addr) -> Option<&'static str> {
    Some(match ip.octets() {
        [0, ..] => "of this network",
        [127, ..] => "of this machine",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "of a private network",
        [169, 254, ..] => "of a local link, where clouds have their credentials",
        [100, 64..=127, ..] => "shared behind a provider's translation of addresses",
        [192, 0, 0, _] => "kept for protocols",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "for documentation",
        [192, 88, 99, _] => "of a relay between IPv6 and IPv4",
        [198, 18..=19, ..] => "for measurements",
        [168, 63, 129, 16] => "of a cloud's own services",
        [224..=239, ..] => "for many at once",
        [240..=255, ..] => "kept for later use",
        _ => return None,
    })
}

fn special_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let segments = ip.segments();
    let within = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        special_v4(Ipv4Addr::new(a, b, c, d))
    };
    Some(match segments {
        [0, 0, 0, 0, 0, 0, 0, 1] => "of this machine",
        [0, 0, 0, 0, 0, 0, 0, 0] => "no address",
        // IPv4 in IPv6: mapped, compatible, translated.
        [0, 0, 0, 0, 0 | 0xffff, _, _, _] => "IPv4 in a spelling of IPv6",
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => return within(high, low).map(|_special| "IPv4 behind a translation"),
        [0x64, 0xff9b, ..] => "IPv4 behind a translation of a network's own",
        // 6to4: the IPv4 address stands in the prefix.
        [0x2002, high, low, ..] => return within(high, low).map(|_special| "a tunnel to a special address"),
        [0x2001, 0, ..] => "a tunnel that hides its end",
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => "for documentation",
        [0x2001, 0x0001..=0x01ff, ..] => "kept for protocols",
        [0x100, 0, 0, ..] => "for nobody",
        [0x5f00, ..] => "a segment of routing",
        [0xfc00..=0xfdff, ..] => "of a private network",
        [0xfe80..=0xfebf, ..] => "of a local link",
        [0xfec0..=0xfeff, ..] => "of a site",
        [0xff00..=0xffff, ..] => "for many at once",
        // All that was ever given out to the public is in here.
        [0x2000..=0x3fff, ..] => return None,
        _ => "kept for later use",
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::net::IpAddr;

    use proptest::prelude::{any, prop_assert, proptest};

    use super::Allowed;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_open(allowed: &Allowed, host: &str, port: u16, address: &str) -> bool {
        allowed.check(host, port, ip(address)).is_ok()
    }

    /// Nothing that isn't public is reached, in whatever spelling.
    #[test]
    fn special_addresses() {
        let none = Allowed::default();
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:8.8.8.8",
            "64:ff9b::127.0.0.1",
            "64:ff9b::10.1.1.1",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::",
            "2002:c0a8:101::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
            "8000::1",
        ] {
            assert!(!is_open(&none, "h.example", 443, address), "{address}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "128.0.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2001:4860:4860::8888",
            "2002:808:808::1",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_open(&none, "h.example", 443, address), "{address}");
        }
    }

    /// Ports of other protocols are not spoken to.
    #[test]
    fn ports() {
        let none = Allowed::default();
        let open: Vec<u16> = [0, 22, 25, 53, 80, 110, 143, 443, 465, 1023, 1024, 6379, 8443, 65535]
            .into_iter()
            .filter(|port| is_open(&none, "h.example", *port, "8.8.8.8"))
            .collect();
        assert_eq!(open, [80, 443, 1024, 6379, 8443, 65535]);
    }

    /// What an operator allows is reached, and nothing beside it.
    #[test]
    fn allowed() {
        let allowed = Allowed::parse("127.0.0.0/8, fd00::/8, Hooks.intern, 192.0.2.7").unwrap();
        assert_eq!(allowed.to_string(), "127.0.0.0/8,fd00::/8,192.0.2.7,hooks.intern");
        assert_eq!(Allowed::parse(&allowed.to_string()).unwrap(), allowed);
        for (host, port, address, is) in [
            ("x", 25, "127.0.0.1", true),
            ("x", 80, "::ffff:127.0.0.1", true),
            ("x", 80, "fd12::1", true),
            ("x", 80, "192.0.2.7", true),
            ("x", 80, "192.0.2.8", false),
            ("x", 80, "10.0.0.1", false),
            ("HOOKS.intern", 25, "10.0.0.1", true),
            ("hooks.intern.", 80, "::1", true),
            ("a.hooks.intern", 80, "10.0.0.1", false),
        ] {
            assert_eq!(is_open(&allowed, host, port, address), is, "{host} {port} {address}");
        }
        assert_eq!(Allowed::parse("none").unwrap(), Allowed::default());
        for text in ["", "10.0.0.0/33", "a b", "http://h", "h:80", "2130706433", "0x7f.1/8", "a..b", "*"] {
            assert!(Allowed::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        /// An IPv4 address is judged the same in each spelling that leads to it.
        #[test]
        fn spellings(bits: u32) {
            let none = Allowed::default();
            let plain = std::net::Ipv4Addr::from(bits);
            let is = |ip: IpAddr| none.check("h", 443, ip).is_ok();
            prop_assert!(is(IpAddr::V4(plain)) == is(IpAddr::V6(plain.to_ipv6_mapped())));
            let behind = (0x0064_ff9b_u128 << 96) | u128::from(bits);
            prop_assert!(is(IpAddr::V4(plain)) == is(IpAddr::V6(behind.into())));
        }

        /// Any text is a list that can be shown and read again, or refused.
        #[test]
        fn any_text(text in any::<String>()) {
            if let Ok(allowed) = Allowed::parse(&text) {
                prop_assert!(Allowed::parse(&allowed.to_string()) == Ok(allowed));
            }
        }
    }
}
