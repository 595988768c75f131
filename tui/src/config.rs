//! Arguments, environment and the configuration file: the only reader of all three. What is decided here is decided before the first frame. No
//! option takes a secret as its value, for other users see arguments.

pub mod file;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use common::audit::Verifier;
use common::certificate::KeyPin;
use common::client::{Client, address_of};
use common::manual::Shell;
use common::tls::Trust;
use jiff::tz::TimeZone;
use zeroize::Zeroizing;

use crate::acts::ACTS;
use crate::cli::{UploadOptions, What};
use crate::config::file::{File, Mistake, Profile};
use crate::secret::{Secret, check_token, read_token_file};
use crate::state::log::LogSettings;
use crate::state::{Left, ProfileRow, Settings};
use crate::time::counted;
use crate::view::theme::Theme;
use crate::worker::files::read_kept;
use crate::worker::session::Cache;

/// What the console calls itself.
const AGENT: &str = concat!("mreg/", env!("CARGO_PKG_VERSION"));

pub(crate) use self::file::nearest;

/// Where a daemon is looked for that nobody named.
pub(crate) const ADDRESS_DEFAULT: &str = "http://127.0.0.1:8000";
/// Longest password read from a pipe, in octets.
const PASSWORD_OCTETS_MAX: u64 = 1024;
/// Longest code of a second factor, in octets.
const OTP_OCTETS_MAX: u64 = 64;
/// Longest file of verifier keys, in octets.
const KEY_FILE_OCTETS_MAX: u64 = 64 * 1024;

const ABOUT: &str = "\
Without a command the console opens; it needs a terminal. Credentials, first found: --token-file, MREG_TOKEN_FILE,
MREG_TOKEN (readable by other processes of the same user: a file is better), --password-stdin, a kept session, a prompt.";

/// The exit statuses and what they mean.
pub const STATUSES: [(&str, &str); 10] = [
    ("0", "done"),
    ("1", "refused or failed"),
    ("2", "usage or configuration"),
    ("3", "not signed in"),
    ("4", "not allowed"),
    ("5", "daemon not reached, or not known whether something happened"),
    ("6", "verification failed"),
    ("7", "conflict: it is so already, or somebody else was first"),
    ("70", "defect in mreg"),
    ("128+n", "ended by signal n"),
];

/// The variables that are read and what they do.
pub const ENVIRONMENT: [(&str, &str); 13] = [
    ("MREG_PROFILE", "the profile of the configuration file, as --profile"),
    ("MREG_URL", "the daemon's address, as --url"),
    ("MREG_USER", "the user to sign in as, as --user"),
    ("MREG_TOKEN_FILE", "a file with a token, such as an API token, as --token-file"),
    (
        "MREG_TOKEN",
        "a token, such as an API token; other processes of the same user can read it there: a file is better",
    ),
    ("MREG_LOG_KEY", "the log's verifier key, or a file with it, as --log-key"),
    ("NO_COLOR", "not empty: no colours"),
    ("TERM", "dumb, or a name that begins with vt: no colours"),
    ("LC_ALL, LC_CTYPE, LANG", "the first that is set says whether the terminal speaks UTF-8; else ASCII is drawn"),
    ("XDG_CONFIG_HOME", "where mreg/config.toml lies, instead of ~/.config"),
    ("XDG_STATE_HOME", "where mreg keeps what it pinned of logs, and evidence, instead of ~/.local/state"),
    ("XDG_RUNTIME_DIR", "where sessions are kept; without it none is"),
    ("HOME", "where the first two are looked for by default"),
];

/// The files that are read and written.
pub const FILES: [(&str, &str); 4] = [
    (
        "~/.config/mreg/config.toml",
        "the configuration: profiles, keys, looks; mreg config check names every mistake in it",
    ),
    (
        "$XDG_RUNTIME_DIR/mreg/PROFILE.json",
        "the session of a profile, readable by its owner alone; mreg logout removes it",
    ),
    ("~/.local/state/mreg/", "what is pinned of each log, evidence of failed checks, reports about defects"),
    ("FILE.part", "a download or an export that is not complete"),
];

fn after_help() -> String {
    let statuses: Vec<String> = STATUSES.iter().map(|(status, meaning)| format!("{status:>7}  {meaning}")).collect();
    format!("{ABOUT}\n\nExit status:\n{}", statuses.join("\n"))
}

/// The registry's terminal console.
#[derive(Debug, Parser)]
#[command(name = "mreg", version, after_help = after_help(), max_term_width = 110)]
pub struct Arguments {
    /// What every command takes.
    #[command(flatten)]
    pub connection: Connection,
    /// Draw with ASCII only (chosen by itself where the locale is not UTF-8).
    #[arg(long)]
    pub ascii: bool,
    /// Have the mouse reported.
    #[arg(long)]
    pub mouse: bool,
    /// Draw less often: for a slow line.
    #[arg(long)]
    pub slow: bool,
    /// No screen: a prompt, numbered lists, questions and answers, a line at a time; for screen readers and plain terminals.
    #[arg(long)]
    pub plain: bool,
    /// End with a defect at the first key, so that the report about it can be tested.
    #[cfg(debug_assertions)]
    #[arg(long, hide = true)]
    pub defect: bool,
    /// A command without a screen.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Arguments {
    /// Whether arguments or environment name a profile: it may be in the part of a file that can't be read.
    pub fn names_profile(&self) -> bool {
        let from_environment = || self.connection.url.is_none() && variable("MREG_PROFILE").is_some();
        self.connection.profile.is_some() || from_environment()
    }
}

/// Where the daemon is, and who asks.
#[derive(Debug, Args)]
pub struct Connection {
    /// The profile of the configuration file to use; also MREG_PROFILE.
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// The daemon's address, as https://host, http://host:port or unix:/path; also MREG_URL. Without profile and address:
    /// http://127.0.0.1:8000.
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// The user to sign in as.
    #[arg(long, global = true, env = "MREG_USER", value_name = "NAME")]
    pub user: Option<String>,
    /// Read a token from this file; it must be yours and closed to others.
    #[arg(long, global = true, env = "MREG_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Read the password from standard input: that of --user, MREG_USER, or the profile's user.
    #[arg(long, global = true)]
    pub password_stdin: bool,
    /// Read the code of the second factor, or a recovery code, from a second line of standard input.
    #[arg(long, global = true, requires = "password_stdin")]
    pub otp_stdin: bool,
    /// Let passwords and tokens cross a network in clear.
    #[arg(long, global = true)]
    pub allow_plain_http: bool,
    /// Trust the authorities in this file (PEM) in place of this machine's, where the address begins with https://
    #[arg(long, global = true, env = "MREG_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The key that the daemon's certificate must have: sha256: and 64 hexadecimal digits. Without --ca-file it stands in
    /// for authorities, name and dates.
    #[arg(long, global = true, value_name = "PIN")]
    pub tls_pin: Option<KeyPin>,
    /// Send nothing that changes anything.
    #[arg(long, global = true)]
    pub readonly: bool,
    /// The log's verifier key, or a file with it: handed over by a way that does not lead through the daemon.
    #[arg(long, global = true, env = "MREG_LOG_KEY", value_name = "KEY|FILE")]
    pub log_key: Option<String>,
}

/// Any word; a shell offers those that say what is done.
#[derive(Debug, Clone)]
struct ActWord;

impl TypedValueParser for ActWord {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Self::Value, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(ACTS.iter().map(|act| PossibleValue::new(act.word))))
    }
}

/// Commands without a screen.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Get lists and single things, as text, JSON or CSV.
    Get {
        /// What.
        #[arg(value_enum)]
        what: What,
        /// Which one; of versions, of which model.
        id: Option<String>,
        /// How much, and how.
        #[command(flatten)]
        list: ListOptions,
    },
    /// Change something: delete, role, release, ...; without words, list what there is and what you may.
    ///
    /// What is listed with a 0 is done at once; with a 1 or 2 it is done only with --yes and the exact name, or of several things
    /// their number. Without --yes it says what would happen then, and ends with status 2.
    Do {
        /// The command and what follows it, such as: delete team/x, role eve auditor.
        #[arg(value_parser = ActWord, hide_possible_values = true)]
        words: Vec<String>,
        /// The name of the thing, or the number of things: yes, do it.
        #[arg(long, value_name = "NAME|NUMBER")]
        yes: Option<String>,
        /// Why, where a reason goes with it; the log keeps it.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// edit: the model's description.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// edit: all of the model's tags, as key=value,key=value; empty for none.
        #[arg(long, value_name = "K=V,...")]
        tags: Option<String>,
        /// release: also what was blocked for good.
        #[arg(long = "override")]
        override_block: bool,
        /// add-token: what it may do, such as model.read,model.write; without it all its user may but user.manage.
        #[arg(long, value_name = "P,...")]
        permissions: Option<String>,
        /// add-token: on models of these names only, such as team/*.
        #[arg(long, value_name = "PATTERN,...")]
        names: Option<String>,
        /// add-token: how long it lives, such as 30d; without it 90 days.
        #[arg(long, value_name = "TIME|never")]
        expires: Option<String>,
        /// delete, restore: all models that match, as --filter of `get models`; --yes takes their number.
        #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
        filter: Option<String>,
        /// List the commands, their tier, and what you may.
        #[arg(long)]
        list: bool,
        /// One JSON document per line.
        #[arg(long)]
        json: bool,
    },
    /// Sign in and keep the session until logout, in the runtime folder, readable by you alone.
    Login,
    /// End the session that is kept, here and at the daemon.
    Logout {
        /// Those of every profile.
        #[arg(long)]
        all: bool,
    },
    /// List the profiles.
    Profiles {
        /// One JSON document per line.
        #[arg(long)]
        json: bool,
    },
    /// About the configuration file.
    Config {
        /// What about it.
        #[command(subcommand)]
        what: ConfigCommand,
    },
    /// List the commands of the console, their keys and the names the configuration knows them by.
    Keys,
    /// Follow the audit log: one line an entry, until interrupted.
    Tail {
        /// The first entry's index, or now.
        #[arg(long, value_name = "N|now")]
        from: Option<String>,
        /// Only these, such as "actor:eve outcome:denied".
        #[arg(long, value_name = "F")]
        filter: Option<String>,
        /// Write an entry only once a verified checkpoint covers it; end with status 6 where verification fails.
        #[arg(long)]
        verify: bool,
        /// One JSON document per line.
        #[arg(long)]
        json: bool,
        /// End after this entry.
        #[arg(long, value_name = "N")]
        until: Option<u64>,
    },
    /// Verify the audit log at its newest checkpoint: all of it, or a part.
    Verify {
        /// The first entry.
        #[arg(long, value_name = "N")]
        from: Option<u64>,
        /// The first entry that is not looked at any more.
        #[arg(long, value_name = "N")]
        to: Option<u64>,
        /// Keep how far it is, and go on where the last run was interrupted.
        #[arg(long)]
        resume: bool,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Write what the registry has to a new file, which only you can read. It is called .part until it is whole.
    Export {
        /// What.
        #[command(subcommand)]
        what: ExportCommand,
    },
    /// Say who is signed in and what they may do.
    Whoami {
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Upload files as one version. What is interrupted goes on where it ended, by the same command.
    Upload(UploadOptions),
    /// Print a script that completes this command line in a shell.
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page in roff, or write the pages of all commands.
    Man {
        /// Write a page for each command into this folder, made if it is not there.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Download a file of a version and check its digest. Nothing is overwritten; what was cut goes on.
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

/// What can be exported.
#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Entries of the audit log, newest first. One export is one entry of the log, however many it has.
    Entries {
        /// Only these, such as "actor:eve outcome:denied".
        #[arg(long, value_name = "F")]
        filter: Option<String>,
        /// The lowest index.
        #[arg(long, value_name = "N")]
        from: Option<u64>,
        /// The first index that is not there any more.
        #[arg(long, value_name = "N")]
        to: Option<u64>,
        /// Each with the proof that it is in the log, or as JSON lines or CSV.
        #[arg(long, default_value = "proofs", value_name = "FORM")]
        format: EntryForm,
        /// Leave cells of CSV as they are, also those that a spreadsheet would take for a formula.
        #[arg(long)]
        raw: bool,
        /// The file. Nothing is overwritten.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// In which form entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "a form says its name")]
pub enum EntryForm {
    Proofs,
    Jsonl,
    Csv,
}

/// What can be asked about the configuration file.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ConfigCommand {
    /// Name every mistake in it.
    Check,
    /// Say where it is.
    Path,
}

/// How much of a list, and how.
#[derive(Debug, Default, Args)]
pub struct ListOptions {
    /// Only these, as the console's filter: words and field:value.
    #[arg(long, value_name = "F")]
    pub filter: Option<String>,
    /// Changed, or logged, at or after: 7d, 12h, 90m, today, yesterday, 2026-11-23, 2026-11-23T10:00 (UTC).
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Logged at or before, written likewise; a day with its end.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// The order of models: name, updated_at, created_at; `-` in front turns it round.
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    pub sort: Option<String>,
    /// At most so many rows.
    #[arg(long, default_value_t = 50, value_name = "N", conflicts_with = "all")]
    pub limit: u64,
    /// All rows.
    #[arg(long)]
    pub all: bool,
    /// JSON: one document, or one per line.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// CSV. A cell that a spreadsheet would take for a formula gets an apostrophe.
    #[arg(long)]
    pub csv: bool,
    /// Leave the cells as they are.
    #[arg(long, requires = "csv")]
    pub raw: bool,
}

impl ListOptions {
    /// The filter, with the times that were given beside it.
    pub fn narrowed(&self) -> Option<String> {
        let times = [("since", &self.since), ("until", &self.until)];
        let times = times.into_iter().filter_map(|(field, at)| Some(format!("{field}:\"{}\"", at.as_deref()?)));
        let all: Vec<String> = self.filter.iter().cloned().chain(times).collect();
        (!all.is_empty()).then(|| all.join(" "))
    }
}

/// What proves who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing yet: it is asked for.
    Ask,
    /// A token, given to the client already.
    Token,
    /// The token of a session that was kept, given to the client already; its user.
    Kept(String),
    /// A password that came through a pipe or was typed, and the code of the second factor, where one was given with it.
    Password {
        /// The password.
        password: Secret,
        /// The code.
        otp: Option<Secret>,
    },
}

impl Credential {
    /// Whether it came from outside, so that its session is not ours to end.
    pub fn is_given(&self) -> bool {
        *self == Self::Token
    }
}

/// All that is needed to speak to a daemon.
pub struct Opening {
    /// The way to it.
    pub client: Client,
    /// What the screen is drawn with.
    pub settings: Settings,
    /// Who asks.
    pub credential: Credential,
    /// Where the session is kept, if it can be.
    pub cache: Option<Cache>,
    /// The log's verifier keys, as they were set.
    pub log_keys: Vec<Verifier>,
}

/// What of the arguments and the environment is for a daemon that is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    /// All: it is the one they name, opened first.
    All,
    /// It is the one they name, opened again: all but the credentials, which were for the first time.
    NoCredential,
    /// Nothing: they name another one, or none.
    Nothing,
}

/// Which daemon.
enum Choice<'a> {
    /// A profile; its address may have been overruled.
    Profile(&'a str, &'a Profile),
    /// An address without a profile.
    Address(&'a str),
    /// Several, and nobody said which.
    Several,
}

/// The daemons there are, and what arguments and environment say about speaking to them.
pub struct Profiles {
    connection: Connection,
    file: File,
    ascii: bool,
    theme: Theme,
    mouse: bool,
    zone: TimeZone,
    runtime_folder: Option<PathBuf>,
    from_environment: (Option<String>, Option<String>),
}

impl Profiles {
    /// With what a file says.
    pub fn new(arguments: Arguments, file: File) -> Self {
        let term = variable("TERM").unwrap_or_default();
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
        let has_no_colour = variable("NO_COLOR").is_some() || term == "dumb" || term.starts_with("vt");
        Self {
            connection: arguments.connection,
            ascii: arguments.ascii || !is_utf8(locale.as_deref()),
            theme: if has_no_colour { Theme::Mono } else { file.ui.theme },
            mouse: arguments.mouse || file.ui.mouse,
            // TZ, else the system's; UTC where neither says.
            zone: TimeZone::try_system().unwrap_or(TimeZone::UTC),
            runtime_folder: variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute()),
            from_environment: (variable("MREG_PROFILE"), variable("MREG_URL")),
            file,
        }
    }

    /// How the logs of the profiles' daemons were left. What can't be read is told when the daemon is spoken to.
    fn left(&self) -> BTreeMap<String, Left> {
        let Some(folder) = state_folder() else { return BTreeMap::new() };
        let kept_of = |profile: &Profile| read_kept(&folder, &address_of(&profile.url)?).ok().flatten();
        let profiles = self.file.profiles.iter();
        profiles.filter_map(|(name, profile)| Some((name.clone(), Left::from(&kept_of(profile)?)))).collect()
    }

    /// Names and addresses of the profiles.
    pub fn rows(&self) -> Vec<ProfileRow> {
        let row = |(name, profile): (&String, &Profile)| {
            let notes = [(profile.strict, "strict"), (profile.readonly, "read-only"), (profile.remember, "remember")];
            let notes: Vec<&str> = notes.into_iter().filter(|(is, _)| *is).map(|(_, note)| note).collect();
            ProfileRow {
                name: name.clone(),
                url: profile.url.clone(),
                user: profile.user.clone().unwrap_or_default(),
                accent: profile.accent,
                notes: notes.join(", "),
            }
        };
        self.file.profiles.iter().map(row).collect()
    }

    /// The daemon that arguments, environment and file choose; none if there are several and nobody said which.
    ///
    /// # Errors
    /// A sentence on a profile, an address or a credential that can't be used.
    pub fn chosen(&self) -> Result<Option<Opening>, String> {
        match self.choose()? {
            Choice::Profile(name, profile) => self.opening(name, profile, Given::All).map(Some),
            Choice::Address(url) => {
                let profile = Profile { url: url.to_owned(), ..Profile::default() };
                self.opening("", &profile, Given::All).map(Some)
            }
            Choice::Several => Ok(None),
        }
    }

    /// The daemon of a profile. What was said with the arguments about address and trust holds for the daemon that they name
    /// whenever it is opened, and for no other; credentials are for the first time only.
    ///
    /// # Errors
    /// A sentence on what can't be used.
    pub fn open(&self, name: &str) -> Result<Opening, String> {
        let profile = self.file.profiles.get(name).ok_or_else(|| self.no_profile(name))?;
        let is_named = matches!(self.choose(), Ok(Choice::Profile(named, _)) if named == name);
        self.opening(name, profile, if is_named { Given::NoCredential } else { Given::Nothing })
    }

    /// That arguments about trust are for nobody, as they name no daemon.
    pub fn complaint(&self) -> Option<String> {
        let Connection { ca_file, tls_pin, log_key, .. } = &self.connection;
        let given =
            [("--ca-file", ca_file.is_some()), ("--tls-pin", tls_pin.is_some()), ("--log-key", log_key.is_some())];
        let given: Vec<&str> = given.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
        let is_idle = !given.is_empty() && matches!(self.choose(), Ok(Choice::Several));
        is_idle.then(|| {
            let given = given.join(", ");
            format!("{given}: for one daemon only, which --profile or --url names; profiles have their own")
        })
    }

    fn choose(&self) -> Result<Choice<'_>, String> {
        let (environment_profile, environment_url) = &self.from_environment;
        let named = self.connection.profile.as_deref().or(match &self.connection.url {
            Some(_) => None,
            None => environment_profile.as_deref(),
        });
        if let Some(name) = named {
            let (name, profile) = self.file.profiles.get_key_value(name).ok_or_else(|| self.no_profile(name))?;
            return Ok(Choice::Profile(name, profile));
        }
        if let Some(url) = self.connection.url.as_deref().or(environment_url.as_deref()) {
            return Ok(Choice::Address(url));
        }
        let default = self.file.default.as_ref().and_then(|name| self.file.profiles.get_key_value(name));
        let mut all = self.file.profiles.iter();
        Ok(match (default, all.next(), all.next()) {
            (Some((name, profile)), _, _) | (None, Some((name, profile)), None) => Choice::Profile(name, profile),
            (None, None, _) => Choice::Address(ADDRESS_DEFAULT),
            (None, Some(_), Some(_)) => Choice::Several,
        })
    }

    fn no_profile(&self, name: &str) -> String {
        let known: Vec<&str> = self.file.profiles.keys().map(String::as_str).collect();
        match (nearest(name, &known), known.is_empty()) {
            (Some(near), _) => format!("there is no profile {name:?}; did you mean {near}?"),
            (None, true) => format!("there is no profile {name:?}: the configuration names none (mreg config path)"),
            (None, false) => format!("there is no profile {name:?}; there are: {}", known.join(", ")),
        }
    }

    fn opening(&self, name: &str, profile: &Profile, given: Given) -> Result<Opening, String> {
        let (is_first, is_named) = (given == Given::All, given != Given::Nothing);
        let allow_plain = profile.allow_plain_http || (is_named && self.connection.allow_plain_http);
        let url = self.connection.url.as_deref().filter(|_| is_named).unwrap_or(&profile.url);
        let trust = self.trust(url, profile, is_named);
        let client = Client::with_trust(url, AGENT, allow_plain, &trust).map_err(|error| error.to_string())?;
        if is_first && self.connection.password_stdin && self.connection.user.is_none() && profile.user.is_none() {
            return Err(
                "--password-stdin: whose password? --user, MREG_USER or `user` in the profile says so".to_owned()
            );
        }
        let readonly = profile.readonly || self.connection.readonly;
        client.set_read_only(readonly);
        let cache = self.cache(name, profile, client.address());
        let credential = self.credential(&client, profile, cache.as_ref(), is_first)?;
        let user = match (&credential, is_named) {
            (Credential::Kept(user), _) => user.clone(),
            (_, true) if self.connection.user.is_some() => self.connection.user.clone().unwrap_or_default(),
            (_, _) => profile.user.clone().unwrap_or_default(),
        };
        let (log, log_keys) = self.log(profile, client.address(), is_named)?;
        let kept_of = cache.as_ref().and_then(|cache| cache.read().ok().flatten()).map(|(_, user)| user);
        let remembers = profile.remember || matches!(credential, Credential::Kept(_));
        let settings = Settings {
            profile: name.to_owned(),
            accent: profile.accent,
            address: client.address().to_owned(),
            plain: client.is_plain(),
            tls: client.is_tls(),
            readonly,
            strict: profile.strict,
            remember: remembers && cache.is_some(),
            can_remember: cache.is_some(),
            kept_of,
            lock_after_ms: profile.lock_after_seconds.map(|seconds| seconds.saturating_mul(1_000)),
            log,
            user,
            ..self.settings()
        };
        let cache = cache.map(|cache| Cache { on: settings.remember, ..cache });
        Ok(Opening { client, settings, credential, cache, log_keys })
    }

    /// Whom to trust about a daemon. What arguments and environment say is for the daemon that they name.
    fn trust(&self, url: &str, profile: &Profile, is_named: bool) -> Trust {
        let said = |given: &Option<PathBuf>| given.clone().filter(|_| is_named && url.starts_with("https://"));
        let ca_file = said(&self.connection.ca_file).or_else(|| profile.ca_file.as_ref().map(PathBuf::from));
        Trust { ca_file, pin: self.connection.tls_pin.filter(|_| is_named).or(profile.tls_pin) }
    }

    /// What is drawn with before a daemon is chosen.
    pub fn settings(&self) -> Settings {
        Settings {
            ascii: self.ascii,
            theme: self.theme,
            highlight: self.file.ui.highlight,
            cursor_on_selection: self.file.ui.cursor_on_selection,
            mouse: self.mouse,
            time: self.file.ui.time,
            zone: self.zone.clone(),
            title: self.file.ui.title,
            bell: self.file.ui.bell,
            can_copy: self.file.ui.clipboard != crate::terminal::clipboard::Way::Off,
            keys: self.file.keys.clone(),
            profiles: self.rows(),
            left: self.left(),
            version: env!("CARGO_PKG_VERSION"),
            ..Settings::default()
        }
    }

    /// Every place where a session may be kept, with the way to the daemon it belongs to; of a profile that can't be used, a
    /// sentence.
    pub fn caches(&self) -> impl Iterator<Item = Result<(Client, Cache), String>> {
        self.file.profiles.iter().filter_map(|(name, profile)| {
            let trust = self.trust(&profile.url, profile, false);
            match Client::with_trust(&profile.url, AGENT, profile.allow_plain_http, &trust) {
                Ok(client) => self.cache(name, profile, client.address()).map(|cache| Ok((client, cache))),
                Err(error) => Some(Err(format!("{name}: {error}"))),
            }
        })
    }

    /// Without a profile the file is called after the address.
    fn cache(&self, name: &str, profile: &Profile, address: &str) -> Option<Cache> {
        let folder = match &profile.cache_dir {
            Some(folder) => PathBuf::from(folder),
            None => self.runtime_folder.as_ref()?.join("mreg"),
        };
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
        // An underscore begins no profile's name that is one of the file, so the two kinds can't meet.
        let name = if name.is_empty() {
            format!("_{}", address.chars().map(plain).collect::<String>())
        } else {
            name.to_owned()
        };
        Some(Cache { folder, profile: name, address: address.to_owned(), on: false })
    }

    /// How the log of a daemon is followed and verified, and all its keys.
    fn log(&self, profile: &Profile, address: &str, is_named: bool) -> Result<(LogSettings, Vec<Verifier>), String> {
        let given = self.connection.log_key.as_ref().filter(|_| is_named);
        let keys = match (given, &profile.log_key) {
            (Some(given), _) => log_keys(given).map_err(|why| format!("--log-key {given}: {why}"))?,
            (None, Some(given)) => log_keys(given).map_err(|why| format!("log_key {given}: {why}"))?,
            (None, None) => Vec::new(),
        };
        let witnesses: Result<Vec<Verifier>, _> = profile
            .witnesses
            .iter()
            .map(|key| key.parse().map_err(|why| format!("the witness key {key} of the configuration: {why}")))
            .collect();
        let mut log = LogSettings {
            live: true,
            key: keys.first().cloned(),
            witnesses: witnesses?,
            quorum: profile.quorum.and_then(|quorum| usize::try_from(quorum).ok()).unwrap_or(0),
            ..LogSettings::default()
        };
        if let Some(folder) = state_folder() {
            match read_kept(&folder, address) {
                Ok(kept) => log.kept = kept,
                Err(why) => log.unreadable = Some(why),
            }
        }
        Ok((log, keys))
    }

    /// The first credential there is. A token goes to the client.
    fn credential(
        &self,
        client: &Client,
        profile: &Profile,
        cache: Option<&Cache>,
        is_first: bool,
    ) -> Result<Credential, String> {
        let given = self.connection.token_file.as_ref().filter(|_| is_first);
        let token = match (given, &profile.token_file) {
            (Some(path), _) => Some(read_token_file(path)?),
            (None, Some(path)) => Some(read_token_file(std::path::Path::new(path))?),
            (None, None) => {
                let token = variable("MREG_TOKEN").filter(|_| is_first);
                let token = token.map(|token| Secret::new(token.trim().to_owned()));
                if let Some(token) = &token {
                    check_token(token.expose()).map_err(|why| format!("the token in MREG_TOKEN {why}"))?;
                }
                token
            }
        };
        if let Some(token) = token {
            client.set_token(Some(token.into_inner()));
            return Ok(Credential::Token);
        }
        if self.connection.password_stdin && is_first {
            return read_credential(std::io::stdin().lock(), self.connection.otp_stdin);
        }
        if let Some(cache) = cache
            && let Some((token, user)) = cache.read()?
            && self.connection.user.as_ref().is_none_or(|wanted| !is_first || *wanted == user)
        {
            client.set_token(Some(token.into_inner()));
            return Ok(Credential::Kept(user));
        }
        Ok(Credential::Ask)
    }
}

/// The configuration file: where it is, and what it says or what is wrong with it.
pub struct Configuration {
    /// `$XDG_CONFIG_HOME/mreg/config.toml`, else `~/.config/mreg/config.toml`; none without a home.
    pub path: Option<PathBuf>,
    /// What it says; what holds without one if there is none.
    pub file: Result<File, Vec<Mistake>>,
}

impl Configuration {
    /// Reads it.
    pub fn read() -> Self {
        let base = variable("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|base| base.is_absolute())
            .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".config")));
        let path = base.map(|base| base.join("mreg/config.toml"));
        let text = path.as_ref().map(std::fs::read_to_string);
        let file = match text {
            None => Ok(File::default()),
            Some(Ok(text)) => file::parse(&text),
            Some(Err(cause)) if cause.kind() == std::io::ErrorKind::NotFound => Ok(File::default()),
            Some(Err(cause)) => Err(vec![Mistake { line: 0, text: format!("can't be read: {cause}") }]),
        };
        Self { path, file }
    }

    /// What is wrong with the files that it names: keys of logs that can't be read.
    pub fn more_mistakes(&self) -> Vec<Mistake> {
        let profiles = self.file.iter().flat_map(|file| &file.profiles);
        let mistakes = profiles.filter_map(|(name, profile)| {
            let why = log_keys(profile.log_key.as_deref()?).err()?;
            Some(Mistake { line: profile.log_key_line, text: format!("log_key of the profile {name}: {why}") })
        });
        let mut mistakes: Vec<Mistake> = mistakes.collect();
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes
    }

    /// The file's mistakes in a sentence, with what to do.
    pub fn complaint(&self) -> Option<String> {
        let mistakes = self.file.as_ref().err()?;
        let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
        let count = match mistakes.len() {
            ..=1 => String::new(),
            many => format!(", {}", counted(many as u64, "mistake")),
        };
        Some(format!("the configuration is not used (mreg config check{count}): {first}"))
    }
}

/// One line with the password, and where it is asked for a second one with a code.
fn read_credential(pipe: impl Read, has_otp: bool) -> Result<Credential, String> {
    let mut text = Zeroizing::new(String::with_capacity(2048));
    pipe.take(PASSWORD_OCTETS_MAX + OTP_OCTETS_MAX + 4)
        .read_to_string(&mut text)
        .map_err(|cause| format!("can't read the password from standard input: {cause}"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let password = lines.next().filter(|line| !line.is_empty());
    let otp = if has_otp { lines.next().filter(|line| !line.trim().is_empty()) } else { None };
    match (password, otp, lines.next()) {
        (Some(password), otp, None) if has_otp == otp.is_some() && password.len() as u64 <= PASSWORD_OCTETS_MAX => {
            let otp = otp.map(|otp| Secret::new(otp.trim().to_owned()));
            Ok(Credential::Password { password: Secret::new(password.to_owned()), otp })
        }
        _ if has_otp => Err("standard input doesn't hold a line with a password and one with a code".to_owned()),
        _ => Err("standard input doesn't hold one line with a password".to_owned()),
    }
}

/// The log's verifier keys: the value itself, or the lines of the file of that name.
fn log_keys(given: &str) -> Result<Vec<Verifier>, String> {
    if let Ok(key) = given.parse() {
        return Ok(vec![key]);
    }
    let mut text = String::new();
    std::fs::File::open(given)
        .and_then(|file| file.take(KEY_FILE_OCTETS_MAX).read_to_string(&mut text))
        .map_err(|cause| format!("neither a key nor a file with one ({cause})"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Result<Vec<Verifier>, _> = lines.map(str::parse).collect();
    match keys {
        Ok(keys) if !keys.is_empty() => Ok(keys),
        Ok(_) => Err("it is empty".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn is_utf8(locale: Option<&str>) -> bool {
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Where reports about defects, pinned checkpoints and evidence go: `$XDG_STATE_HOME/mreg`, else `~/.local/state/mreg`.
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

    use super::{Arguments, Credential, is_utf8, read_credential};

    #[test]
    fn arguments() {
        Arguments::command().debug_assert();
        let is_taken = |line: &str| Arguments::try_parse_from(line.split(' ')).is_ok();
        for line in [
            "mreg get models --filter x --sort -updated_at --all --json",
            "mreg get entries --csv --raw",
            "mreg get versions team/x",
            "mreg do",
            "mreg do delete team/x --yes team/x",
            "mreg --plain",
            "mreg completions fish",
        ] {
            assert!(is_taken(line), "{line}");
        }
        for line in [
            "mreg get",
            "mreg get everything",
            "mreg get models --all --limit 3",
            "mreg get models --json --csv",
            "mreg get models --raw",
            "mreg --user a --otp-stdin",
            "mreg --password x",
            "mreg completions tcsh",
            "mreg ls",
        ] {
            assert!(!is_taken(line), "{line}");
        }
    }

    #[test]
    fn passwords_from_a_pipe() {
        let read = |text: &str, has_otp| match read_credential(text.as_bytes(), has_otp) {
            Ok(Credential::Password { password, otp }) => {
                Some((password.expose().to_owned(), otp.map(|otp| otp.expose().to_owned())))
            }
            Ok(_other) => panic!("not a password"),
            Err(_why) => None,
        };
        assert_eq!(read("correct horse\r\n", false), Some(("correct horse".to_owned(), None)));
        assert_eq!(
            read("correct horse\n012 345\n", true),
            Some(("correct horse".to_owned(), Some("012 345".to_owned())))
        );
        for bad in ["", "\n", "one\ntwo\n"] {
            assert_eq!(read(bad, false), None, "{bad:?}");
        }
        for bad in ["", "\n", "one\n", "one\n\n", "\ntwo", "one\ntwo\nthree"] {
            assert_eq!(read(bad, true), None, "{bad:?}");
        }
    }

    #[test]
    fn locales() {
        assert!(is_utf8(Some("de_DE.UTF-8")) && is_utf8(Some("C.utf8")));
        assert!(!is_utf8(Some("C")) && !is_utf8(None));
    }
}
