//! Settings of the network: further places to listen, the files of TLS, the proxies that are believed, and who sends the
//! bytes of downloads. Knows their grammar; refuses to know what they do.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::secret::Readers;
use super::settings::{echo, must, socket_address};

/// Places to listen besides `MREG_BIND`, and networks of proxies.
const LIST_MAX: usize = 64;
/// Octets of a socket's path: the kernel takes 107, and a new socket has a longer name until it is in its place.
pub(super) const SOCKET_PATH_MAX: usize = 96;
/// Where nginx has the blobs, unless something else is said.
const ACCEL_PREFIX: &str = "/internal-blobs/";
/// Octets of another such place.
const ACCEL_PREFIX_MAX: usize = 256;

/// A place to listen, in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// TCP, on a loopback address.
    Tcp(SocketAddr),
    /// A socket of this machine; absolute.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A place that somebody else opened and passed on, by which it replaces `MREG_BIND` and `MREG_LISTEN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// What it is called: `FileDescriptorName=` of its .socket unit, or the unit's own name.
    pub name: String,
    /// Where it is.
    pub at: Listen,
}

impl Passed {
    /// Whether TLS is spoken there, by its name: `https` or `tls`, or not where it is `http`. Under any other name it is as
    /// `MREG_BIND` would be: in TLS, if there is any. A socket of this machine is always in clear.
    #[must_use]
    pub fn is_tls(&self, has_tls: bool) -> bool {
        match (&self.at, self.name.as_str()) {
            (Listen::Unix(_), _) | (Listen::Tcp(_), "http") => false,
            (Listen::Tcp(_), "https" | "tls") => true,
            (Listen::Tcp(_), _) => has_tls,
        }
    }

    /// What is wrong with its name, if there is something.
    pub(super) fn problem(&self, has_tls: bool) -> Option<String> {
        let Self { name, at } = self;
        match (at, name.as_str()) {
            (Listen::Tcp(_), "https" | "tls") if !has_tls => {
                Some(format!("{name} at {at} was passed on to speak TLS; set MREG_TLS_CERT and MREG_TLS_KEY"))
            }
            (Listen::Tcp(_), "unix") => Some(format!("{name} at {at} is TCP; correct FileDescriptorName= of its unit")),
            (Listen::Unix(_), "http" | "https" | "tls") => {
                Some(format!("{name} at {at} is no TCP; correct FileDescriptorName= of its unit"))
            }
            _ => None,
        }
    }
}

/// The certificate of the daemon and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, PEM; absolute.
    pub cert: PathBuf,
    /// The key, PEM; absolute.
    pub key: PathBuf,
    /// Who may be able to read the key.
    pub key_readers: Readers,
}

impl TlsFiles {
    /// One that names no files yet.
    pub(super) fn blank() -> Self {
        Self { cert: PathBuf::new(), key: PathBuf::new(), key_readers: Readers::Owner }
    }
}

/// In which header the proxies say for whom they ask. One alone is read: proxies hand on the other as it came, and anyone
/// may write into that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForwardedBy {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ForwardedBy {
    /// The word of the setting.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XForwarded => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "x-forwarded-for" => Ok(Self::XForwarded),
            "forwarded" => Ok(Self::Forwarded),
            _ => Err(must("be x-forwarded-for or forwarded", text)),
        }
    }
}

/// Who is believed about whom it asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Addresses.
    pub networks: Vec<Network>,
    /// Whoever connects over a socket of this machine.
    pub unix: bool,
    /// Where they say it.
    pub by: ForwardedBy,
}

impl Proxies {
    /// Whether nobody is believed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Whether an address is that of a proxy.
    #[must_use]
    pub fn has(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.has(ip))
    }
}

impl fmt::Display for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut items: Vec<String> = self.networks.iter().map(Network::to_string).collect();
        items.extend(self.unix.then(|| "unix".to_owned()));
        f.write_str(if items.is_empty() { "none".to_owned() } else { items.join(",") }.as_str())
    }
}

/// Addresses that begin with the same bits (RFC 4632). IPv4 in IPv6 is IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    first: IpAddr,
    /// How many bits all of its addresses share.
    bits: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8`, or one address. Bits behind the length are cleared.
    ///
    /// # Errors
    /// A sentence that says what it must be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || must("be an address, or a network such as 10.0.0.0/8 or fd00::/8", text);
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok().ok_or_else(wrong)?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = match bits {
            None => whole,
            Some(bits) if bits.bytes().all(|octet| octet.is_ascii_digit()) => bits.parse().ok().ok_or_else(wrong)?,
            Some(_) => return Err(wrong()),
        };
        if bits == 0 {
            return Err(format!("{} is everybody, who must not be believed; name the proxies", echo(text)));
        }
        if bits > whole {
            return Err(wrong());
        }
        // ::ffff:10.0.0.0/104 is 10.0.0.0/8.
        let (address, bits) = match address.to_canonical() {
            IpAddr::V4(ip) if address.is_ipv6() => match bits.checked_sub(96) {
                None | Some(0) => return Err(wrong()),
                Some(bits) => (IpAddr::V4(ip), bits),
            },
            same => (same, bits),
        };
        Ok(Self { first: masked(address, bits), bits })
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn has(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.first.is_ipv4() && masked(ip, self.bits) == self.first
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.first.is_ipv4() { 32 } else { 128 };
        if self.bits == whole { self.first.fmt(f) } else { write!(f, "{}/{}", self.first, self.bits) }
    }
}

fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)).into()),
    }
}

/// The items of a list with commas; none for the word none.
pub(super) fn items(text: &str) -> Result<Vec<&str>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    match items.len() {
        0 => Err(must("be a list with commas, or none", text)),
        1..=LIST_MAX => Ok(items),
        _ => Err(format!("has more than {LIST_MAX} items")),
    }
}

/// `MREG_TRUSTED_PROXIES`: networks and the word unix.
pub(super) fn proxies(text: &str) -> Result<(Vec<Network>, bool), String> {
    let items = items(text)?;
    let networks = items.iter().filter(|item| **item != "unix").map(|item| Network::parse(item));
    Ok((networks.collect::<Result<_, _>>()?, items.contains(&"unix")))
}

/// `MREG_LISTEN`: sockets and addresses.
pub(super) fn listen(text: &str) -> Result<Vec<Listen>, String> {
    let place = |item: &&str| match item.strip_prefix("unix:") {
        Some("") => Err(must("name a socket after unix:", item)),
        Some(path) => Ok(Listen::Unix(PathBuf::from(path))),
        None => match socket_address(item) {
            Ok(address) if address.ip().to_canonical().is_loopback() => Ok(Listen::Tcp(address)),
            Ok(_elsewhere) => Err(format!(
                "{} can be reached from other machines, and nothing is encrypted there; name a loopback address, or a \
                 socket as unix:/path",
                echo(item)
            )),
            Err(_) => Err(must("be unix:/path, or a loopback address and a port", item)),
        },
    };
    items(text)?.iter().map(place).collect()
}

/// How a list is shown.
pub(super) fn show_listen(listen: &[Listen]) -> String {
    let items: Vec<String> = listen.iter().map(Listen::to_string).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(",") }
}

/// `MREG_SOCKET_MODE`: three or four octal digits, with rights for the owner and none to execute.
pub(super) fn socket_mode(text: &str) -> Result<u32, String> {
    let wrong = || must("be an octal mode such as 0660 or 0600", text);
    let is_mode = (3..=4).contains(&text.len()) && text.bytes().all(|octet| (b'0'..b'8').contains(&octet));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_mode).ok_or_else(wrong)?;
    if mode & !0o666 != 0 || mode & 0o600 != 0o600 {
        return Err(wrong());
    }
    Ok(mode)
}

/// `MREG_SEND_FILE`: where nginx has the blobs; none: nobody else sends them.
pub(super) fn send_file(text: &str) -> Result<Option<String>, String> {
    let prefix = match text {
        "none" => return Ok(None),
        "x-accel" => ACCEL_PREFIX,
        _ => text.strip_prefix("x-accel:").ok_or_else(|| must("be none, x-accel or x-accel:/path/", text))?,
    };
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'/' | b'-' | b'_' | b'.');
    let fits = prefix.len() <= ACCEL_PREFIX_MAX
        && prefix.starts_with('/')
        && prefix.ends_with('/')
        && prefix.bytes().all(is_plain)
        && !prefix.split('/').any(|segment| segment == "..");
    if !fits {
        return Err(must("be a path of nginx with a slash at both ends, such as x-accel:/internal-blobs/", text));
    }
    Ok(Some(prefix.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::net::IpAddr;

    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{Listen, Network, listen, proxies, send_file, show_listen, socket_mode};

    fn has(network: &str, ip: &str) -> bool {
        Network::parse(network).unwrap().has(ip.parse().unwrap())
    }

    #[test]
    fn networks() {
        assert!(has("10.0.0.0/8", "10.255.0.1") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("10.1.2.3/8", "10.9.9.9") && has("192.0.2.7", "192.0.2.7") && !has("192.0.2.7", "192.0.2.8"));
        assert!(has("10.0.0.0/8", "::ffff:10.1.1.1") && has("::ffff:10.0.0.0/104", "10.1.1.1"));
        assert!(has("fd00::/8", "fdff::1") && !has("fd00::/8", "fe00::1") && !has("fd00::/8", "10.0.0.1"));
        assert!(has("2001:db8::1", "2001:db8::1") && has("128.0.0.0/1", "200.0.0.1"));
        for text in [
            "",
            "x",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "::/0",
            "0.0.0.0/0",
            "::1/129",
            "10.0.0.0/8/8",
            "::ffff:10.0.0.0/90",
            "::ffff:0.0.0.0/96",
            "10.0.0.0/256",
        ] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
        assert!(Network::parse("0.0.0.0/0").unwrap_err().contains("everybody"));
        assert_eq!(Network::parse("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        let (networks, unix) = proxies("10.0.0.0/8, unix ,::1").unwrap();
        assert!(networks.len() == 2 && unix);
        for text in [",", "10.0.0.0/8,x"] {
            assert!(proxies(text).is_err(), "{text}");
        }
    }

    #[test]
    fn places() {
        let places = listen("unix:/run/x.sock, 127.0.0.1:8001,[::1]:0").unwrap();
        assert!(matches!(&places[0], Listen::Unix(path) if path.as_os_str() == "/run/x.sock"));
        assert_eq!(show_listen(&places), "unix:/run/x.sock,127.0.0.1:8001,[::1]:0");
        for text in ["", "unix:", "0.0.0.0:80", "192.0.2.1:80", "x", "8000"] {
            assert!(listen(text).is_err(), "{text}");
        }
        assert_eq!((socket_mode("0660"), socket_mode("600")), (Ok(0o660), Ok(0o600)));
        for text in ["", "0", "0770", "04660", "660x", "0060", "0900", "+660"] {
            assert!(socket_mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn senders() {
        assert_eq!(send_file("none"), Ok(None));
        assert_eq!(send_file("x-accel"), Ok(Some("/internal-blobs/".into())));
        assert_eq!(send_file("x-accel:/b/"), Ok(Some("/b/".into())));
        for text in ["", "sendfile", "x-accel:", "x-accel:b/", "x-accel:/b", "x-accel:/../b/", "x-accel:/b\r\n/"] {
            assert!(send_file(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        /// No text upsets it; what is read has its own address, and is read again as it is shown.
        #[test]
        fn any_text(text in "[0-9a-f.:/x]{0,24}", ip: u32, bits in 1_u8..=32) {
            drop(Network::parse(&text));
            let address = IpAddr::V4(ip.into());
            let network = Network::parse(&format!("{address}/{bits}")).unwrap();
            prop_assert!(network.has(address));
            prop_assert_eq!(Network::parse(&network.to_string()).unwrap(), network);
        }

        /// One bit within the length makes another network, one behind it does not.
        #[test]
        fn one_bit(ip: u128, bits in 1_u8..=128, flipped in 0_u8..128) {
            let ip = ip | 1 << 127;
            let network = Network::parse(&format!("{}/{bits}", IpAddr::V6(ip.into()))).unwrap();
            let other = IpAddr::V6((ip ^ (1 << (127 - flipped))).into());
            prop_assert_eq!(network.has(other), flipped >= bits);
        }

        /// Whatever is said, what is answered can stand in a header.
        #[test]
        fn any_sender(text in any::<String>()) {
            let prefix = send_file(&format!("x-accel:{text}")).ok().flatten();
            prop_assert!(prefix.is_none_or(|prefix| http::HeaderValue::from_str(&prefix).is_ok()));
        }
    }
}
