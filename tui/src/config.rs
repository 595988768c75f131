//! Arguments and environment: the only reader of both. What is decided here is decided before the first frame. No
//! option takes a secret as its value, for other users see arguments.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use common::client::{Client, ClientError};
use zeroize::Zeroizing;

use crate::secret::{Secret, read_token_file};
use crate::state::Settings;

/// Longest password read from a pipe, in octets.
const PASSWORD_OCTETS_MAX: u64 = 1024;

const AFTER_HELP: &str = "\
Without a command the console opens; it needs a terminal. Credentials, first found: --token-file, MREG_TOKEN_FILE,
MREG_TOKEN (readable by other processes of the same user: a file is better), --password-stdin, a prompt.

Exit status: 0 done, 1 refused or failed, 2 usage or configuration, 3 not signed in, 4 not allowed, 5 daemon not
reached, 6 verification failed, 7 conflict, 70 defect in mreg, 128+n ended by signal n.";

/// The registry's terminal console.
#[derive(Debug, Parser)]
#[command(name = "mreg", version, after_help = AFTER_HELP)]
pub struct Arguments {
    /// What every command takes.
    #[command(flatten)]
    pub connection: Connection,
    /// Draw with ASCII only (chosen by itself where the locale is not UTF-8).
    #[arg(long)]
    pub ascii: bool,
    /// A command without a screen.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Where the daemon is, and who asks.
#[derive(Debug, Args)]
pub struct Connection {
    /// The daemon's address.
    #[arg(long, global = true, env = "MREG_URL", default_value = "http://127.0.0.1:8000", value_name = "URL")]
    pub url: String,
    /// The user to sign in as.
    #[arg(long, global = true, env = "MREG_USER", value_name = "NAME")]
    pub user: Option<String>,
    /// Read a token from this file; it must be yours and closed to others.
    #[arg(long, global = true, env = "MREG_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Read the password from standard input.
    #[arg(long, global = true, requires = "user")]
    pub password_stdin: bool,
    /// Let passwords and tokens cross a network in clear.
    #[arg(long, global = true)]
    pub allow_plain_http: bool,
}

/// Commands without a screen.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List models.
    Ls {
        /// Part of name or description.
        query: Option<String>,
        /// The order; `-` in front turns it round.
        #[arg(long, default_value = "name", allow_hyphen_values = true, value_name = "KEY",
              value_parser = ["name", "-name", "updated_at", "-updated_at", "created_at", "-created_at"])]
        sort: String,
        /// Only with this tag, as key:value; may be repeated.
        #[arg(long = "tag", value_name = "K:V")]
        tags: Vec<String>,
        /// Only in this state.
        #[arg(long)]
        state: Option<StateName>,
        /// How much, and how.
        #[command(flatten)]
        list: ListOptions,
    },
    /// Show a model and the version a reference selects: id, name, name:3, name@alias or sha256:...
    Show {
        /// The reference.
        reference: String,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// List entries of the audit log, newest first. Each page read is an entry itself.
    Audit {
        /// Actor's name or id.
        #[arg(long)]
        actor: Option<String>,
        /// Action, or a beginning of it that ends in .*
        #[arg(long)]
        action: Option<String>,
        /// ok, denied or error.
        #[arg(long, value_parser = ["ok", "denied", "error"])]
        outcome: Option<String>,
        /// Target's id or name.
        #[arg(long)]
        target: Option<String>,
        /// At or after, RFC 3339.
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// At or before, RFC 3339.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// How much, and how.
        #[command(flatten)]
        list: ListOptions,
    },
    /// Say who is signed in and what they may do.
    Whoami {
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Download a file of a version and check its digest. Nothing is overwritten.
    Fetch {
        /// The version: name, name:3, name@alias, id or sha256:...
        reference: String,
        /// Its path in the version; needed where there are several.
        file: Option<String>,
        /// Where to put it; the file's own name in this folder if not given.
        #[arg(long, short, value_name = "PATH")]
        output: Option<PathBuf>,
        /// One JSON document about what was fetched.
        #[arg(long)]
        json: bool,
    },
}

/// How much of a list, and how.
#[derive(Debug, Args)]
pub struct ListOptions {
    /// At most so many rows.
    #[arg(long, default_value_t = 50, value_name = "N", conflicts_with = "all")]
    pub limit: u64,
    /// All rows.
    #[arg(long)]
    pub all: bool,
    /// One JSON document per line.
    #[arg(long)]
    pub json: bool,
}

/// States a person can ask for.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[expect(missing_docs, reason = "a state says its name")]
pub enum StateName {
    Available,
    Quarantined,
    Deprecated,
    Deleted,
}

impl From<StateName> for common::api::State {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Available => Self::Available,
            StateName::Quarantined => Self::Quarantined,
            StateName::Deprecated => Self::Deprecated,
            StateName::Deleted => Self::Deleted,
        }
    }
}

/// What proves who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing yet: it is asked for.
    Ask,
    /// A token, given to the client already.
    Token,
    /// A password that came through a pipe.
    Password(Secret),
}

impl Connection {
    /// The client for this address.
    ///
    /// # Errors
    /// [`ClientError::Address`].
    pub fn client(&self) -> Result<Client, ClientError> {
        let agent = concat!("mreg/", env!("CARGO_PKG_VERSION"));
        Client::new(&self.url, agent, self.allow_plain_http)
    }

    /// The first credential there is. A token goes to the client.
    ///
    /// # Errors
    /// A sentence on a file or a pipe that can't be used.
    pub fn credential(&self, client: &Client) -> Result<Credential, String> {
        let token = match &self.token_file {
            Some(path) => Some(read_token_file(path)?),
            None => variable("MREG_TOKEN").map(|token| Secret::new(token.trim().to_owned())),
        };
        if let Some(token) = token {
            client.set_token(Some(token.into_inner()));
            return Ok(Credential::Token);
        }
        if self.password_stdin {
            return read_password(std::io::stdin().lock()).map(Credential::Password);
        }
        Ok(Credential::Ask)
    }
}

fn read_password(pipe: impl Read) -> Result<Secret, String> {
    let mut text = Zeroizing::new(String::with_capacity(2048));
    pipe.take(PASSWORD_OCTETS_MAX + 2)
        .read_to_string(&mut text)
        .map_err(|cause| format!("can't read the password from standard input: {cause}"))?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() || password.contains('\n') {
        return Err("standard input doesn't hold one line with a password".to_owned());
    }
    Ok(Secret::new(password.to_owned()))
}

impl Arguments {
    /// What the screen is drawn with.
    pub fn settings(&self, client: &Client) -> Settings {
        let address = client.address().to_owned();
        let term = variable("TERM").unwrap_or_default();
        Settings {
            readonly: false,
            strict: false,
            address,
            plain: self.connection.allow_plain_http,
            ascii: self.ascii || !is_utf8(["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable).as_deref()),
            mono: variable("NO_COLOR").is_some()
                || term == "dumb"
                || term.starts_with("vt1")
                || term.starts_with("vt2"),
            user: self.connection.user.clone().unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

fn is_utf8(locale: Option<&str>) -> bool {
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Where reports about defects go: `$XDG_STATE_HOME/mreg`, else `~/.local/state/mreg`.
pub fn state_folder() -> Option<PathBuf> {
    let base = variable("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".local/state")))?;
    base.is_absolute().then(|| base.join("mreg"))
}

#[expect(clippy::disallowed_methods, reason = "this is the console's only reader of the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use clap::{CommandFactory, Parser};

    use super::{Arguments, is_utf8, read_password};

    #[test]
    fn arguments() {
        Arguments::command().debug_assert();
        assert!(Arguments::try_parse_from(["mreg", "ls", "x", "--sort", "-updated_at", "--all", "--json"]).is_ok());
        assert!(Arguments::try_parse_from(["mreg", "ls", "--all", "--limit", "3"]).is_err());
        assert!(Arguments::try_parse_from(["mreg", "--password-stdin"]).is_err());
        assert!(Arguments::try_parse_from(["mreg", "audit", "--outcome", "maybe"]).is_err());
        assert!(Arguments::try_parse_from(["mreg", "--password", "x"]).is_err());
    }

    #[test]
    fn passwords_from_a_pipe() {
        assert_eq!(read_password(&b"correct horse\r\n"[..]).unwrap().expose(), "correct horse");
        for bad in ["", "\n", "one\ntwo\n"] {
            assert!(read_password(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn locales() {
        assert!(is_utf8(Some("de_DE.UTF-8")) && is_utf8(Some("C.utf8")));
        assert!(!is_utf8(Some("C")) && !is_utf8(None));
    }
}
