//! The console without a screen: lists, documents, changes and files for people and scripts. stdout is data, stderr is
//! talk. Text of others is cleaned; JSON has every character that could disturb a terminal escaped, so its values are true.

mod act;
mod columns;
mod export;
mod fetch;
mod get;
mod keep;
mod listing;
mod manual;
mod plain;
mod progress;
mod session;
mod sweep;
mod tail;
mod upload;
mod verify;
mod webhooks;

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::CommandFactory;
use common::audit::Verifier;
use common::client::{AuditQuery, Client, ClientError, Session};
use common::problem::ProblemType;
use thiserror::Error;

use crate::acts::Options;
use crate::clean::{clean, escaped};
use crate::config::{
    ADDRESS_DEFAULT, Arguments, Command, Configuration, Credential, ExportCommand, Opening, Profiles, state_folder,
};
use crate::filter::audit_query;
use crate::secret::Secret;
use crate::state::Settings;
use crate::state::deeds::grants_in_words;
use crate::state::log::LogSettings;
use crate::terminal::Guard;
use crate::transfer::TransferError;
use crate::update::said_once;

pub use self::upload::UploadOptions;

pub use self::get::What;
pub use self::plain::plain;

/// What those are told who must change their password first: what to type next.
fn must_change(settings: &Settings, user: &str) -> String {
    format!(
        "the password must be changed first; type `{}`: it asks for the old one and a new one",
        console(settings, user)
    )
}

/// What to type where a second factor must be set up.
fn must_enrol(settings: &Settings, user: &str) -> String {
    format!("this registry demands a second factor; type `{}`: it sets one up", console(settings, user))
}

/// The command line that opens the console for a user of the same daemon.
fn console(settings: &Settings, user: &str) -> String {
    // An address that isn't plain HTTP has its scheme already.
    let (_scheme, bare) = settings.address.split_once("://").unwrap_or_default();
    let address = if bare.is_empty() { settings.address.as_str() } else { bare };
    let scheme = if settings.tls { "https" } else { "http" };
    let whereto = match (settings.profile.as_str(), address) {
        ("", address) if format!("{scheme}://{address}") == ADDRESS_DEFAULT => String::new(),
        ("", address) if address.starts_with("unix:") => format!(" --url {address}"),
        ("", address) => format!(" --url {scheme}://{address}"),
        (profile, _) => format!(" --profile {profile}"),
    };
    format!("mreg{whereto} --user {user}")
}

/// Exit statuses (`mreg --help`).
pub mod status {
    #![expect(missing_docs, reason = "a status says its name")]
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const NOT_SIGNED_IN: u8 = 3;
    pub const NOT_ALLOWED: u8 = 4;
    pub const NOT_REACHED: u8 = 5;
    pub const NOT_VERIFIED: u8 = 6;
    pub const CONFLICT: u8 = 7;
    pub const DEFECT: u8 = 70;
}

/// Why a command failed.
#[derive(Debug, Error)]
pub enum CliError {
    /// The call.
    #[error("{}", said(.0))]
    Client(#[from] ClientError),
    /// A file, a pipe, the terminal.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What was asked for can't be.
    #[error("{0}")]
    Usage(String),
    /// It was well asked, and is not done.
    #[error("{0}")]
    Refused(String),
    /// Nobody is signed in.
    #[error("{0}")]
    NotSignedIn(String),
    /// Who is signed in may not.
    #[error("{0}")]
    NotAllowed(String),
    /// The bytes are not those that were promised.
    #[error("{0}")]
    NotVerified(String),
    /// A change came to this.
    #[error("{why}")]
    Ended {
        /// The exit status.
        status: u8,
        /// A sentence.
        why: String,
    },
}

/// An error of a call, each fact of it once.
fn said(error: &ClientError) -> String {
    match error {
        ClientError::Problem { problem, .. } => said_once(problem),
        other => other.to_string(),
    }
}

impl From<TransferError> for CliError {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Client(error) => Self::Client(error),
            TransferError::Local(what) => Self::Refused(what),
            TransferError::NotVerified(what) => Self::NotVerified(what),
        }
    }
}

impl CliError {
    fn status(&self) -> u8 {
        match self {
            Self::Client(ClientError::Address(_)) | Self::Usage(_) => status::USAGE,
            Self::Client(ClientError::Offline { .. } | ClientError::Tls { .. } | ClientError::Timeout { .. }) => {
                status::NOT_REACHED
            }
            Self::NotVerified(_) => status::NOT_VERIFIED,
            Self::NotSignedIn(_) => status::NOT_SIGNED_IN,
            Self::NotAllowed(_) => status::NOT_ALLOWED,
            Self::Ended { status, .. } => *status,
            Self::Client(error) => match error.answered() {
                Some(401) => status::NOT_SIGNED_IN,
                Some(403) => status::NOT_ALLOWED,
                Some(409 | 412) => status::CONFLICT,
                Some(_) | None => status::FAILED,
            },
            Self::Io(_) | Self::Refused(_) => status::FAILED,
        }
    }
}

/// The commands there are without a screen.
pub fn commands() -> Vec<String> {
    Arguments::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

/// Runs a command to its end.
pub fn run(arguments: Arguments, command: Command) -> ExitCode {
    let wants_json = match &command {
        Command::Get { list, .. } => list.json,
        Command::Do { json, .. }
        | Command::Whoami { json }
        | Command::Fetch { json, .. }
        | Command::Profiles { json }
        | Command::Tail { json, .. }
        | Command::Verify { json, .. } => *json,
        Command::Upload(options) => options.json,
        Command::Login
        | Command::Logout { .. }
        | Command::Config { .. }
        | Command::Keys
        | Command::Completions { .. }
        | Command::Export { .. }
        | Command::Man { .. } => false,
    };
    end(try_run(arguments, command), wants_json)
}

/// Says what went wrong, in a line or a document; the exit status.
fn end(result: Result<(), CliError>, wants_json: bool) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough.
        Err(CliError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let text = clean(&error.to_string());
            let line = if wants_json { error_document(&text, error.status()) } else { format!("mreg: {text}") };
            // With stderr gone there is nobody left to tell.
            drop(writeln!(io::stderr(), "{line}"));
            ExitCode::from(error.status())
        }
    }
}

/// An error as one JSON document.
pub fn error_document(text: &str, status: u8) -> String {
    escaped(&serde_json::json!({ "error": text, "status": status }).to_string())
}

fn try_run(arguments: Arguments, command: Command) -> Result<(), CliError> {
    let configuration = Configuration::read();
    let command = match command {
        Command::Config { what } => return session::config(what, &configuration),
        Command::Completions { shell } => return manual::completions(shell),
        Command::Man { out } => return manual::man(out.as_deref()),
        other => other,
    };
    // Half of what somebody meant may be worse than nothing: a script is told, and nothing is asked of a daemon.
    if let Some(why) = configuration.complaint() {
        return Err(CliError::Usage(why));
    }
    let profiles = Profiles::new(arguments, configuration.file.unwrap_or_default());
    match &command {
        Command::Keys => return session::keys(&profiles.settings().keys),
        Command::Profiles { json } => return session::profiles(&profiles, *json),
        Command::Logout { all: true } => return session::logout_all(&profiles),
        Command::Get { what, id, list } => get::check(*what, id.as_deref(), list)?,
        _ => {}
    }
    let asked = asked_change(&command);
    if let Some(asked) = &asked {
        asked.wish()?;
    }
    let opening = profiles.chosen().map_err(CliError::Usage)?.ok_or_else(|| {
        let names: Vec<String> = profiles.rows().into_iter().map(|row| row.name).collect();
        CliError::Usage(format!("which daemon? --profile with one of: {}", names.join(", ")))
    })?;
    match command {
        Command::Login => return session::login(opening),
        Command::Logout { .. } => return session::logout(&opening),
        _ => {}
    }
    let opening = with_password(opening)?;
    if let Some(asked) = asked.as_ref().filter(|asked| !asked.is_upload() && !asked.is_sweep()) {
        return act::act(opening, asked);
    }
    let Opening { client, settings, credential, cache, log_keys } = opening;
    let kept = matches!(credential, Credential::Kept(_)).then_some(cache).flatten();
    runtime()?.block_on(async {
        let password = match credential {
            Credential::Password { password, otp } => Some((password, otp)),
            Credential::Token | Credential::Kept(_) | Credential::Ask => None,
        };
        let signed_in_here = password.is_some();
        if let Some((password, otp)) = password {
            sign_in(&client, &settings, &settings.user, &password, otp).await?;
        }
        if let Some(cache) = &kept {
            session::refresh(&client, cache).await;
        }
        let result = perform(&client, &settings.log, &log_keys, command).await;
        if signed_in_here {
            // A session nobody will use is ended; if that fails it ends by itself.
            drop(client.logout().await);
        }
        result
    })
}

/// The change that is asked for.
fn asked_change(command: &Command) -> Option<act::Asked> {
    let Command::Do {
        words,
        yes,
        reason,
        description,
        tags,
        override_block,
        permissions,
        names,
        expires,
        filter,
        list,
        json,
    } = command
    else {
        return None;
    };
    Some(act::Asked {
        words: words.clone(),
        options: Options {
            reason: reason.clone(),
            description: description.clone(),
            tags: tags.clone(),
            override_block: *override_block,
            permissions: permissions.clone(),
            names: names.clone(),
            expires: expires.clone(),
            filter: filter.clone(),
        },
        yes: yes.clone(),
        list: *list,
        json: *json,
    })
}

/// Asks for the password where there is no other proof.
fn with_password(mut opening: Opening) -> Result<Opening, CliError> {
    if opening.credential == Credential::Ask {
        let (user, password) = prompt(&opening.settings.user)?;
        opening.settings.user = user;
        opening.credential = Credential::Password { password, otp: None };
    }
    Ok(opening)
}

/// Signs in to a session that something can be done in. A code that the daemon asks for is asked for on the terminal.
async fn sign_in(
    client: &Client,
    settings: &Settings,
    user: &str,
    password: &Secret,
    otp: Option<Secret>,
) -> Result<Session, CliError> {
    let given = otp.is_some();
    let mut answer = client.login(user, password.expose(), otp.as_ref().map(Secret::expose)).await;
    if let Err(error) = &answer
        && error.problem_type() == Some(ProblemType::SecondFactorRequired)
        && !given
    {
        let code = prompt_code(user)?;
        answer = client.login(user, password.expose(), Some(code.expose())).await;
    }
    let session = answer?.body;
    if session.must_change_password {
        return Err(CliError::NotAllowed(must_change(settings, user)));
    }
    if session.must_enrol_totp {
        return Err(CliError::NotAllowed(must_enrol(settings, user)));
    }
    Ok(session)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()
}

/// A sentence beside the data.
fn talk(text: &str) {
    // With stderr gone there is nobody left to tell.
    drop(writeln!(io::stderr(), "mreg: {}", clean(text)));
}

/// A filter with its times in full. Those without a zone are in UTC, as all times are that are written here.
fn settled(filter: &str) -> Result<String, String> {
    crate::filter::settled(filter, wall_seconds(), &jiff::tz::TimeZone::UTC)
}

/// Which entries a filter means; all without one.
fn entries_of(filter: Option<&str>) -> Result<AuditQuery, CliError> {
    settled(filter.unwrap_or_default()).and_then(|filter| audit_query(&filter)).map_err(CliError::Usage)
}

#[expect(clippy::disallowed_methods, reason = "a command without a screen has no loop to tell it the time")]
fn wall_seconds() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(wall.as_secs()).unwrap_or(i64::MAX)
}

fn wrong_answer() -> CliError {
    CliError::Client(ClientError::Protocol("the answer is not one to this".to_owned()))
}

async fn perform(client: &Client, log: &LogSettings, log_keys: &[Verifier], command: Command) -> Result<(), CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    match command {
        Command::Get { what, id, list } => get::get(client, what, id.as_deref(), &list, &mut out).await?,
        Command::Tail { from, filter, verify, json, until } => {
            let from =
                match from.as_deref() {
                    None | Some("now") => None,
                    Some(index) => Some(index.parse().map_err(|_no_number| {
                        CliError::Usage(format!("--from {index}: an index of an entry, or now"))
                    })?),
                };
            let filter = entries_of(filter.as_deref())?;
            let log = log.clone();
            let asked = tail::Asked { from, filter, verify, json, until, log, folder: state_folder() };
            tail::tail(client, asked, &mut out).await?;
        }
        Command::Verify { from, to, resume, json } => {
            let keys = log_keys.to_vec();
            let asked = verify::Asked { from, to, resume, json, keys, folder: state_folder() };
            verify::verify(client, asked, &mut out).await?;
        }
        Command::Export { what: ExportCommand::Entries { filter, from, to, format, raw, out: path } } => {
            let query = entries_of(filter.as_deref())?;
            let asked = export::Asked { query, from, to, format, raw, path, keys: log_keys.to_vec() };
            export::entries(client, asked, state_folder().as_deref()).await?;
        }
        Command::Whoami { json } => {
            let me = client.me().await?.body;
            if json {
                writeln!(out, "{}", document(&me)?)?;
            } else {
                let may: Vec<&str> = me.permissions.iter().map(|permission| permission.as_str()).collect();
                writeln!(out, "{} ({})", me.username, clean(me.role.as_str()))?;
                writeln!(out, "id       {}", clean(&me.id))?;
                writeln!(out, "may      {}", clean(&may.join(", ")))?;
                if !me.grants.is_empty() {
                    writeln!(out, "grants   {}", clean(&grants_in_words(&me.grants)))?;
                }
                let ends = me.token_expires_at.as_deref().map_or("never ends".to_owned(), |at| format!("until {at}"));
                match &me.api_token {
                    Some(token) => {
                        let (id, label) = (clean(&token.id), clean(&token.label));
                        writeln!(out, "token    API token {label} ({id}), {}", clean(&ends))?;
                    }
                    None => writeln!(out, "token    {}", clean(&ends))?,
                }
                if let Some(names) = me.api_token.as_ref().and_then(|token| token.names.as_ref()) {
                    let names: Vec<&str> = names.iter().map(|pattern| pattern.as_str()).collect();
                    writeln!(out, "models   {}", names.join(", "))?;
                }
                if let Some(at) = &me.session_expires_at {
                    writeln!(out, "session  until {}", clean(at))?;
                }
                writeln!(out, "2FA      {}", if me.totp { "on" } else { "none" })?;
                if me.must_enrol_totp {
                    writeln!(out, "a second factor must be set up before anything else")?;
                }
                if me.must_change_password {
                    writeln!(out, "the password must be changed before anything else")?;
                }
            }
        }
        Command::Upload(options) => upload::upload(client, options, state_folder(), &mut out).await?,
        Command::Fetch { reference, file, output, json } => {
            fetch::fetch(client, &reference, file.as_deref(), output, json, &mut out).await?;
        }
        command @ Command::Do { .. } => match asked_change(&command) {
            Some(asked) if asked.is_upload() => act::send_file(client, &asked, &mut out).await?,
            Some(asked) => sweep::sweep(client, &asked, &mut out).await?,
            None => {}
        },
        // They need no daemon, or another way to it.
        Command::Login
        | Command::Logout { .. }
        | Command::Profiles { .. }
        | Command::Config { .. }
        | Command::Keys
        | Command::Completions { .. }
        | Command::Man { .. } => {}
    }
    Ok(out.flush()?)
}

/// Labels and values, one a line, cleaned.
fn facts(all: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (label, value) in all {
        writeln!(text, "{label:12} {}", clean(value)).expect("writing to a String can't fail");
    }
    text
}

fn document(value: &impl serde::Serialize) -> Result<String, CliError> {
    let json = serde_json::to_string(value).map_err(|cause| CliError::Io(cause.into()))?;
    Ok(escaped(&json))
}

// ---- asking for a password ------------------------------------------------------------------------------------------

/// Asks on the terminal, whatever stdin and stdout are. Nothing typed of the password is shown.
fn prompt(user: &str) -> Result<(String, Secret), CliError> {
    let no_terminal = |_cause: io::Error| {
        CliError::NotSignedIn(
            "not signed in, and no terminal to ask on: use --token-file or --password-stdin".to_owned(),
        )
    };
    let guard = Guard::open().map_err(no_terminal)?;
    crate::terminal::signals::start(None)?;
    let user = if user.is_empty() { ask(guard, "user: ", true)?.expose().to_owned() } else { user.to_owned() };
    let password = ask(guard, &format!("password of {}: ", clean(&user)), false)?;
    Ok((user, password))
}

/// Asks for the code of a second factor, likewise.
fn prompt_code(user: &str) -> Result<Secret, CliError> {
    let no_terminal = |_cause: io::Error| {
        CliError::NotSignedIn("a second factor is needed, and no terminal to ask on: use --otp-stdin".to_owned())
    };
    let guard = Guard::open().map_err(no_terminal)?;
    crate::terminal::signals::start(None)?;
    ask(guard, &format!("code of {}'s authenticator, or a recovery code: ", clean(user)), false)
}

fn ask(guard: &'static Guard, question: &str, shown: bool) -> Result<Secret, CliError> {
    guard.take_prompt()?;
    let line = crate::terminal::input::read_line(guard.tty(), question, shown);
    guard.give_back();
    match line? {
        Some(line) => Ok(line),
        None => Err(CliError::NotSignedIn("given up".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use common::client::ClientError;
    use common::problem::ProblemType;

    use super::{CliError, status};
    use crate::transfer::TransferError;

    #[test]
    fn statuses() {
        let problem = |kind: ProblemType| {
            CliError::Client(ClientError::Problem {
                problem: Box::new(kind.problem("x", "y")),
                retry_after_seconds: None,
            })
        };
        for (error, status) in [
            (problem(ProblemType::Unauthenticated), 3),
            (problem(ProblemType::Forbidden), 4),
            (problem(ProblemType::NotFound), 1),
            (problem(ProblemType::Conflict), 7),
            (CliError::Client(ClientError::Offline { address: String::new(), cause: String::new() }), 5),
            (CliError::Client(ClientError::Address(String::new())), 2),
            (CliError::NotVerified(String::new()), 6),
            (CliError::Refused(String::new()), 1),
            (CliError::from(TransferError::Local(String::new())), 1),
            (CliError::NotSignedIn(String::new()), 3),
            (CliError::NotAllowed(String::new()), 4),
            (CliError::Ended { status: status::CONFLICT, why: String::new() }, 7),
        ] {
            assert_eq!(error.status(), status, "{error:?}");
        }
    }

    /// Without a screen as well a refusal says each fact once.
    #[test]
    fn refusals() {
        let of = |detail: &str| {
            let problem = Box::new(ProblemType::Unauthenticated.problem(detail, "y"));
            CliError::Client(ClientError::Problem { problem, retry_after_seconds: None }).to_string()
        };
        assert_eq!(of("sign in first: the token has expired"), "sign in first: the token has expired");
        assert_eq!(of("the token has expired"), "Sign in first: the token has expired");
    }
}
