//! The database that several daemons share: its address, and how the way there is secured. An address names one server, or
//! several of which one is the primary: which that is, is found out where they are spoken to.
//!
//! Knows: what an address may say, strictly, and that a password is no part of it. Refuses to know: what is in the
//! database, and how it is spoken to.

use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::Secret;

/// PostgreSQL's port.
const PORT: u16 = 5432;
/// The most servers that an address names.
const SERVERS_MAX: usize = 8;

/// What is written with a percent sign in an address.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'@').add(b':').add(b'/').add(b'?').add(b'#').add(b'&');

/// A database and the secret that opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedDatabase {
    /// Where it is.
    pub address: DatabaseAddress,
    /// The user's password, where the server asks for one.
    pub password: Option<Secret>,
}

/// Where a database is. Displays as the address that it was read from, in one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseAddress {
    /// The server, or several of which any may be the primary; never none.
    pub servers: Vec<DatabaseServer>,
    /// The user.
    pub user: String,
    /// The database's name.
    pub name: String,
    /// How the way there is secured.
    pub tls: DatabaseTls,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseServer {
    /// Where it is.
    pub host: DatabaseHost,
    /// Its port, also in the name of a socket.
    pub port: u16,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseHost {
    /// A name or an address.
    Tcp(String),
    /// The directory of its socket; absolute.
    Unix(PathBuf),
}

/// How the way to the database is secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseTls {
    /// Not at all: a socket of this machine, or a network that is trusted.
    Off,
    /// Nobody can listen, but anybody could answer: the server's certificate is not checked.
    Require,
    /// The server's certificate is checked, and names the host.
    VerifyFull {
        /// The file of the authorities that are trusted, PEM; none: those that the machine trusts.
        authorities: Option<PathBuf>,
    },
}

impl fmt::Display for DatabaseServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            DatabaseHost::Tcp(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            DatabaseHost::Tcp(host) => write!(f, "{}:{}", escaped(host), self.port),
            DatabaseHost::Unix(dir) => write!(f, "{}/.s.PGSQL.{}", dir.display(), self.port),
        }
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

fn joined<'a, T: fmt::Display>(items: impl Iterator<Item = T> + 'a) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

impl fmt::Display for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parameters = String::new();
        let mut say = |name: &str, value: &str| {
            let mark = if parameters.is_empty() { '?' } else { '&' };
            write!(parameters, "{mark}{name}={value}")
        };
        write!(f, "postgres://{}@", escaped(&self.user))?;
        let sockets: Vec<_> = self.servers.iter().filter_map(DatabaseServer::socket_dir).collect();
        if sockets.is_empty() {
            f.write_str(&joined(self.servers.iter()))?;
        } else {
            say("host", &joined(sockets.iter().map(|dir| dir.display())))?;
            say("port", &joined(self.servers.iter().map(|server| server.port)))?;
        }
        match &self.tls {
            DatabaseTls::Off if !sockets.is_empty() => {}
            DatabaseTls::Off => say("sslmode", "disable")?,
            DatabaseTls::Require => say("sslmode", "require")?,
            DatabaseTls::VerifyFull { authorities } => {
                say("sslmode", "verify-full")?;
                if let Some(file) = authorities {
                    say("sslrootcert", &file.display().to_string())?;
                }
            }
        }
        write!(f, "/{}{parameters}", escaped(&self.name))
    }
}

impl DatabaseServer {
    fn socket_dir(&self) -> Option<&Path> {
        match &self.host {
            DatabaseHost::Unix(dir) => Some(dir),
            DatabaseHost::Tcp(_) => None,
        }
    }

    fn is_near(&self) -> bool {
        match &self.host {
            DatabaseHost::Unix(_) => true,
            DatabaseHost::Tcp(host) => {
                host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }
}

impl DatabaseAddress {
    /// Reads an address: `postgres://user@host:port,host:port/name?sslmode=…&sslrootcert=…`, or
    /// `postgres://user@/name?host=/directory/of/the/socket`. The parameter `target_session_attrs=read-write` is understood,
    /// and what holds without it.
    ///
    /// # Errors
    /// A sentence that says what to do and repeats nothing that could be a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "must be postgres://user@host/database";
        let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
        if !["postgres", "postgresql"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(format!("{FORM}; leave it unset for the embedded store"));
        }
        if rest.contains('#') {
            return Err("has a '#', which must be written %23".to_owned());
        }
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (place, name) = rest.split_once('/').ok_or("names no database; it must end in /database")?;
        let (user, host) = place.rsplit_once('@').ok_or("names no user; it must begin with postgres://user@")?;
        if user.contains(':') {
            return Err(
                "has a password in it, where others may see it: take it out, and set MREG_DATABASE_PASSWORD_FILE \
                        or the credential MREG_DATABASE_PASSWORD"
                    .to_owned(),
            );
        }
        let (user, name) = (decoded(user)?, decoded(name)?);
        if user.is_empty() || name.is_empty() {
            return Err(FORM.to_owned());
        }
        let said = Parameters::parse(parameters)?;
        let servers = servers(host, &said)?;
        let is_tcp = servers.iter().all(|server| server.socket_dir().is_none());
        let is_near = servers.iter().all(DatabaseServer::is_near);
        let tls = match (said.tls.as_deref(), said.authorities) {
            (None, None) if is_near => DatabaseTls::Off,
            (None | Some("verify-full"), authorities) if is_tcp => DatabaseTls::VerifyFull { authorities },
            (Some("disable"), None) => DatabaseTls::Off,
            (Some("require"), None) if is_tcp => DatabaseTls::Require,
            (Some("disable" | "require"), Some(_)) => {
                return Err("names sslrootcert, which only sslmode=verify-full uses".to_owned());
            }
            (None | Some("require" | "verify-full"), _) => {
                return Err("asks for TLS on a socket of this machine, where there is none".to_owned());
            }
            (Some(_), _) => return Err("sslmode must be disable, require or verify-full".to_owned()),
        };
        Ok(Self { servers, user, name, tls })
    }

    /// The same, with paths seen from a directory.
    #[must_use]
    pub fn resolved(mut self, absolute: impl Fn(&Path) -> PathBuf) -> Self {
        if let DatabaseTls::VerifyFull { authorities: Some(file) } = &mut self.tls {
            *file = absolute(file);
        }
        self
    }
}

/// The servers of an address: those before its path, or the sockets that a parameter names.
fn servers(place: &str, said: &Parameters) -> Result<Vec<DatabaseServer>, String> {
    let mut servers = Vec::new();
    let twice = || "names its host or port twice".to_owned();
    // One port is that of all, or each has its own.
    let port_at = |at: usize| said.ports.get(at).or(said.ports.first()).copied();
    let fits = |count: usize| said.ports.len() <= 1 || said.ports.len() == count;
    match &said.host {
        None if place.is_empty() => return Err("names no host; a socket is named by ?host=/its/directory".to_owned()),
        Some(dirs) if place.is_empty() => {
            for (at, dir) in dirs.split(',').map(PathBuf::from).enumerate() {
                if !dir.is_absolute() {
                    return Err("names no host; a socket is named by ?host=/its/directory".to_owned());
                }
                servers.push(DatabaseServer { host: DatabaseHost::Unix(dir), port: port_at(at).unwrap_or(PORT) });
            }
        }
        Some(_) => return Err(twice()),
        None => {
            for (at, place) in place.split(',').enumerate() {
                let (host, port) = split_port(place)?;
                if host.is_empty() {
                    return Err("names no host between its commas".to_owned());
                }
                if port.is_some() && !said.ports.is_empty() {
                    return Err(twice());
                }
                let port = port.or(port_at(at)).unwrap_or(PORT);
                servers.push(DatabaseServer { host: DatabaseHost::Tcp(decoded(host)?), port });
            }
        }
    }
    if !fits(servers.len()) {
        return Err("must have one port, or as many as hosts".to_owned());
    }
    if servers.len() > SERVERS_MAX {
        return Err(format!("names more than {SERVERS_MAX} servers"));
    }
    if servers.iter().enumerate().any(|(at, server)| servers.iter().take(at).any(|before| before == server)) {
        return Err("names a server twice".to_owned());
    }
    Ok(servers)
}

/// What stands behind the question mark.
#[derive(Default)]
struct Parameters {
    /// Directories of sockets, with commas between them.
    host: Option<String>,
    ports: Vec<u16>,
    session: Option<String>,
    tls: Option<String>,
    authorities: Option<PathBuf>,
}

impl Parameters {
    fn parse(text: &str) -> Result<Self, String> {
        let mut said = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?;
            let is_new =
                match name {
                    "host" => said.host.replace(value).is_none(),
                    "port" => {
                        let is_new = said.ports.is_empty();
                        said.ports = value.split(',').map(port).collect::<Result<_, _>>()?;
                        is_new
                    }
                    "target_session_attrs" if ["read-write", "primary"].contains(&value.as_str()) => {
                        said.session.replace(value).is_none()
                    }
                    "target_session_attrs" => {
                        return Err(
                            "can't have another target_session_attrs than read-write, which is what holds without it: \
                                entries are committed at the primary alone"
                                .to_owned(),
                        );
                    }
                    "sslmode" => said.tls.replace(value).is_none(),
                    "sslrootcert" if !value.is_empty() => said.authorities.replace(value.into()).is_none(),
                    "password" => {
                        return Err("has a password in it, where others may see it: take it out, and set \
                                MREG_DATABASE_PASSWORD_FILE or the credential MREG_DATABASE_PASSWORD"
                            .to_owned());
                    }
                    _ => return Err(
                        "takes sslmode, sslrootcert, host, port and target_session_attrs as parameters, and no others"
                            .to_owned(),
                    ),
                };
            if !is_new {
                return Err(format!("has the parameter {name} twice"));
            }
        }
        Ok(said)
    }
}

/// Host and port; the host without the brackets of an IPv6 address.
fn split_port(place: &str) -> Result<(&str, Option<u16>), String> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("has a '[' without its ']'")?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_other| "has something else than an IPv6 address in brackets")?;
        return match after.strip_prefix(':') {
            None if after.is_empty() => Ok((host, None)),
            Some(digits) => Ok((host, Some(port(digits)?))),
            None => Err("has something behind the ']'".to_owned()),
        };
    }
    match place.split_once(':') {
        None => Ok((place, None)),
        Some((host, digits)) => Ok((host, Some(port(digits)?))),
    }
}

fn port(digits: &str) -> Result<u16, String> {
    let number = digits.parse().ok().filter(|number| *number > 0 && digits.bytes().all(|octet| octet.is_ascii_digit()));
    number.ok_or_else(|| "has a port that is no number from 1 to 65535".to_owned())
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_other| "has octets that are not UTF-8".to_owned())?;
    if decoded.contains(char::is_control) {
        return Err("has a control character".to_owned());
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::*;

    use super::{DatabaseAddress, DatabaseHost, DatabaseServer, DatabaseTls};

    /// What addresses come to, and how they are shown.
    #[test]
    fn addresses() {
        let shown = |text: &str| DatabaseAddress::parse(text).unwrap().to_string();
        assert_eq!(shown("postgres://mreg@localhost/mreg"), "postgres://mreg@localhost:5432/mreg?sslmode=disable");
        assert_eq!(shown("postgresql://a%40b@[::1]:5433/x%2Fy"), "postgres://a%40b@[::1]:5433/x%2Fy?sslmode=disable");
        assert_eq!(shown("postgres://u@/d?host=/run/postgresql"), "postgres://u@/d?host=/run/postgresql&port=5432");
        let far = DatabaseAddress::parse("postgres://u@db.example/d").unwrap();
        assert_eq!(far.tls, DatabaseTls::VerifyFull { authorities: None });
        assert_eq!(far.servers[0].host, DatabaseHost::Tcp("db.example".to_owned()));
        let several = "postgres://u@a:5433,[::1],b/d?sslmode=require&target_session_attrs=read-write";
        assert_eq!(shown(several), "postgres://u@a:5433,[::1]:5432,b:5432/d?sslmode=require");
        assert_eq!(shown("postgres://u@a,b/d?port=1"), "postgres://u@a:1,b:1/d?sslmode=verify-full");
        assert_eq!(shown("postgres://u@a,b/d?port=1,2"), "postgres://u@a:1,b:2/d?sslmode=verify-full");
        assert_eq!(shown("postgres://u@/d?host=/a,/b"), "postgres://u@/d?host=/a,/b&port=5432,5432");
        // One that is far is enough.
        let mixed = DatabaseAddress::parse("postgres://u@localhost,db/d").unwrap();
        assert_eq!(mixed.tls, DatabaseTls::VerifyFull { authorities: None });
        assert_eq!(
            shown("postgres://u@db/d?sslrootcert=ca.pem"),
            "postgres://u@db:5432/d?sslmode=verify-full&sslrootcert=ca.pem"
        );
        assert_eq!(DatabaseAddress::parse("postgres://u@db/d?sslmode=require").unwrap().tls, DatabaseTls::Require);
    }

    /// Mistakes are named, and a password is never repeated.
    #[test]
    fn mistakes() {
        for (text, part) in [
            ("postgres://u:hunter2@h/d", "has a password"),
            ("postgres://u@h/d?password=hunter2", "has a password"),
            ("mysql://hunter2@h/d", "must be postgres://"),
            ("postgres://h/d", "names no user"),
            ("postgres://u@h", "names no database"),
            ("postgres://u@/d", "names no host"),
            ("postgres://u@h/d?sslmode=prefer", "sslmode must be"),
            ("postgres://u@h/d?sslmode=require&sslrootcert=x", "only sslmode=verify-full"),
            ("postgres://u@/d?host=/x&sslmode=require", "socket of this machine"),
            ("postgres://u@h/d?hunter2=hunter2", "no others"),
            ("postgres://u@h:0/d", "port"),
            ("postgres://u@h:1/d?port=2", "twice"),
            ("postgres://u@h?host=/a/d", "names no database"),
            ("postgres://u@h/d?host=/a", "twice"),
            ("postgres://u@a,,b/d", "between its commas"),
            ("postgres://u@a,b/d?port=1,2,3", "as many as hosts"),
            ("postgres://u@a,b,a:5432/d", "a server twice"),
            ("postgres://u@a,b,c,d,e,f,g,h,i/d", "more than 8"),
            ("postgres://u@/d?host=/a,b", "names no host"),
            ("postgres://u@a/d?target_session_attrs=any", "than read-write"),
            ("postgres://u@h/d#hunter2", "%23"),
        ] {
            let error = DatabaseAddress::parse(text).unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{text}: {error}");
        }
    }

    proptest! {
        /// No text makes it panic, and what is shown is read as the same again.
        #[test]
        fn shown_and_read(
            user in "[^\\pC]{1,8}", name in "[^\\pC]{1,8}", ports in proptest::collection::btree_set(1..=u16::MAX, 1..4),
            tail in "[ -~]{0,20}",
        ) {
            let _read = DatabaseAddress::parse(&format!("postgres://{tail}"));
            let _read = DatabaseAddress::parse(&format!("postgres://u@h/d?{tail}"));
            let _read = DatabaseAddress::parse(&format!("postgres://u@{tail}/d"));
            let host = DatabaseHost::Tcp("db.example".to_owned());
            let servers = ports.into_iter().map(|port| DatabaseServer { host: host.clone(), port }).collect();
            let address = DatabaseAddress { servers, user, name, tls: DatabaseTls::Require };
            prop_assert_eq!(DatabaseAddress::parse(&address.to_string()), Ok(address));
        }
    }
}
