//! The console without a screen: lists, documents and files for people and scripts. stdout is data, stderr is talk.
//! Text of others is cleaned; JSON has every character that could disturb a terminal escaped, so its values are true.

mod export;
mod fetch;
mod session;
mod tail;
mod verify;

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use common::api::{AuditRow, ModelInfo, ModelRow, VersionInfo};
use common::audit::Verifier;
use common::client::{AuditQuery, Client, ClientError, ModelQuery};
use thiserror::Error;

use crate::clean::{clean, is_spelled_out};
use crate::config::{
    Arguments, Command, Configuration, Credential, ExportCommand, ListOptions, Opening, Profiles, state_folder,
};
use crate::filter::audit_query;
use crate::secret::Secret;
use crate::state::audit::field;
use crate::terminal::Guard;
use crate::time::bytes;

/// Rows asked for at once.
const PAGE_ROWS: u32 = 200;

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
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file, a pipe, the terminal.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What was asked for can't be.
    #[error("{0}")]
    Usage(String),
    /// It was not done.
    #[error("{0}")]
    Failed(String),
    /// The bytes are not those that were promised.
    #[error("{0}")]
    NotVerified(String),
}

impl CliError {
    fn status(&self) -> u8 {
        match self {
            Self::Client(ClientError::Address(_)) | Self::Usage(_) => status::USAGE,
            Self::Client(ClientError::Offline { .. } | ClientError::Timeout { .. }) => status::NOT_REACHED,
            Self::NotVerified(_) => status::NOT_VERIFIED,
            Self::Client(error) => match error.status() {
                Some(401) => status::NOT_SIGNED_IN,
                Some(403) => status::NOT_ALLOWED,
                Some(409 | 412) => status::CONFLICT,
                Some(_) | None => status::FAILED,
            },
            Self::Io(_) | Self::Failed(_) => status::FAILED,
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
        Command::Ls { list, .. } | Command::Audit { list, .. } => list.json,
        Command::Show { json, .. }
        | Command::Whoami { json }
        | Command::Fetch { json, .. }
        | Command::Profiles { json }
        | Command::Tail { json, .. }
        | Command::Verify { json, .. } => *json,
        Command::Login | Command::Logout { .. } | Command::Config { .. } | Command::Export { .. } | Command::Keys => {
            false
        }
    };
    match try_run(arguments, command) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough.
        Err(CliError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = clean(&error.to_string());
            if wants_json {
                text = escaped(&serde_json::json!({ "error": text, "status": error.status() }).to_string());
            }
            // With stderr gone there is nobody left to tell.
            drop(writeln!(io::stderr(), "{}{text}", if wants_json { "" } else { "mreg: " }));
            ExitCode::from(error.status())
        }
    }
}

fn try_run(arguments: Arguments, command: Command) -> Result<(), CliError> {
    let configuration = Configuration::read();
    let command = match command {
        Command::Config { what } => return session::config(what, &configuration),
        other => other,
    };
    // Half of what somebody meant may be worse than nothing: a script is told, and nothing is asked of a daemon.
    if let Some(why) = configuration.complaint() {
        return Err(CliError::Usage(why));
    }
    let profiles = Profiles::new(arguments, configuration.file.unwrap_or_default());
    match command {
        Command::Keys => return session::keys(&profiles.settings().keys),
        Command::Profiles { json } => return session::profiles(&profiles, json),
        Command::Logout { all: true } => return session::logout_all(&profiles),
        _ => {}
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
    let Opening { client, settings, credential, cache, log_keys } = opening;
    let kept = matches!(credential, Credential::Kept(_)).then_some(cache).flatten();
    let password = match credential {
        Credential::Token | Credential::Kept(_) => None,
        Credential::Password(password) => Some((settings.user, password)),
        Credential::Ask => Some(prompt(&settings.user)?),
    };
    runtime()?.block_on(async {
        let signed_in_here = password.is_some();
        if let Some((user, password)) = password {
            let session = client.login(&user, password.expose()).await?;
            if session.body.must_change_password {
                let why = "the password must be changed first: run mreg without a command";
                return Err(CliError::Usage(why.to_owned()));
            }
        }
        if let Some(cache) = &kept {
            session::refresh(&client, cache).await;
        }
        let result = perform(&client, &log_keys, command).await;
        if signed_in_here {
            // A session nobody will use is ended; if that fails it ends by itself.
            drop(client.logout().await);
        }
        result
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()
}

/// A sentence beside the data.
fn talk(text: &str) {
    // With stderr gone there is nobody left to tell.
    drop(writeln!(io::stderr(), "mreg: {}", clean(text)));
}

async fn perform(client: &Client, log_keys: &[Verifier], command: Command) -> Result<(), CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    match command {
        Command::Ls { query, sort, tags, state, list } => {
            let query = ModelQuery {
                q: query.unwrap_or_default(),
                sort,
                tags,
                state: state.map(Into::into),
                ..ModelQuery::default()
            };
            ls(client, query, &list, &mut out).await?;
        }
        Command::Show { reference, json } => show(client, &reference, json, &mut out).await?,
        Command::Audit { actor, action, outcome, target, since, until, list } => {
            let query = AuditQuery {
                actor: actor.unwrap_or_default(),
                action: action.unwrap_or_default(),
                outcome: outcome.unwrap_or_default(),
                target: target.unwrap_or_default(),
                since: since.unwrap_or_default(),
                until: until.unwrap_or_default(),
                ..AuditQuery::default()
            };
            audit(client, query, &list, &mut out).await?;
        }
        Command::Tail { from, filter, verify, json, until } => {
            let from =
                match from.as_deref() {
                    None | Some("now") => None,
                    Some(index) => Some(index.parse().map_err(|_no_number| {
                        CliError::Usage(format!("--from {index}: an index of an entry, or now"))
                    })?),
                };
            let filter = filter.as_deref().map_or(Ok(AuditQuery::default()), audit_query).map_err(CliError::Usage)?;
            let key = log_keys.first().cloned();
            let asked = tail::Asked { from, filter, verify, json, until, key, folder: state_folder() };
            tail::tail(client, asked, &mut out).await?;
        }
        Command::Verify { from, to, resume, json } => {
            let keys = log_keys.to_vec();
            let asked = verify::Asked { from, to, resume, json, keys, folder: state_folder() };
            verify::verify(client, asked, &mut out).await?;
        }
        Command::Export { what: ExportCommand::Entries { filter, from, to, format, raw, out: path } } => {
            let query = filter.as_deref().map_or(Ok(AuditQuery::default()), audit_query).map_err(CliError::Usage)?;
            let asked = export::Asked { query, from, to, format, raw, path, keys: log_keys.to_vec() };
            export::entries(client, asked, state_folder().as_deref()).await?;
        }
        Command::Whoami { json } => {
            let me = client.me().await?.body;
            if json {
                writeln!(out, "{}", document(&me)?)?;
            } else {
                let may: Vec<&str> = me.permissions.iter().map(|permission| permission.as_str()).collect();
                writeln!(out, "{} ({})", me.username, me.role)?;
                writeln!(out, "id       {}", clean(&me.id))?;
                writeln!(out, "may      {}", may.join(", "))?;
                writeln!(out, "token    until {}", clean(&me.token_expires_at))?;
                writeln!(out, "session  until {}", clean(&me.session_expires_at))?;
                if me.must_change_password {
                    writeln!(out, "the password must be changed before anything else")?;
                }
            }
        }
        Command::Login | Command::Logout { .. } | Command::Profiles { .. } | Command::Config { .. } | Command::Keys => {
        }
        Command::Fetch { reference, file, output, json } => {
            fetch::fetch(client, &reference, file.as_deref(), output, json, &mut out).await?;
        }
    }
    Ok(out.flush()?)
}

/// How many rows to ask for next; none when there are enough.
fn next_limit(list: &ListOptions, had: u64) -> Option<u32> {
    let left = if list.all { u64::from(PAGE_ROWS) } else { list.limit.saturating_sub(had).min(PAGE_ROWS.into()) };
    u32::try_from(left).ok().filter(|left| *left > 0)
}

async fn ls(client: &Client, mut query: ModelQuery, list: &ListOptions, out: &mut impl Write) -> Result<(), CliError> {
    let mut had = 0;
    while let Some(limit) = next_limit(list, had) {
        query.limit = Some(limit);
        let page = client.models(&query).await?.body;
        if had == 0 && query.cursor.is_none() && !list.json {
            writeln!(out, "{:40} {:>4}  {:11} {:>8}  {:24}  ALIASES", "NAME", "VERS", "STATE", "SIZE", "UPDATED")?;
        }
        had += u64::try_from(page.items.len()).unwrap_or(u64::MAX);
        for row in &page.items {
            writeln!(out, "{}", if list.json { document(row)? } else { model_line(row) })?;
        }
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    Ok(())
}

fn model_line(row: &ModelRow) -> String {
    let aliases: Vec<String> = row.aliases.iter().map(|alias| format!("{}=v{}", alias.alias, alias.version)).collect();
    let line = format!(
        "{:40} {:>4}  {:11} {:>8}  {:24}  {}",
        row.name.as_str(),
        row.versions,
        row.state.as_str(),
        row.size.map_or("-".to_owned(), bytes),
        clean(&row.updated_at),
        aliases.join(",")
    );
    line.trim_end().to_owned()
}

async fn show(client: &Client, reference: &str, json: bool, out: &mut impl Write) -> Result<(), CliError> {
    let info = client.model(reference).await?.body;
    if json {
        return Ok(writeln!(out, "{}", document(&info)?)?);
    }
    out.write_all(model_text(&info).as_bytes())?;
    Ok(())
}

fn model_text(info: &ModelInfo) -> String {
    let model = &info.model;
    let mut text = String::new();
    let mut fact = |label: &str, value: &str| {
        writeln!(text, "{label:12} {}", clean(value)).expect("writing to a String can't fail");
    };
    fact("model", model.name.as_str());
    fact("id", &model.id.to_string());
    fact("owner", &model.owner);
    fact("created", &model.created_at);
    fact("updated", &model.updated_at);
    fact("versions", &model.versions.to_string());
    for alias in &model.aliases {
        fact("alias", &format!("{} = v{} by {} {}", alias.alias, alias.version, alias.set_by, alias.set_at));
    }
    for (key, value) in &model.tags {
        fact("tag", &format!("{key}={value}"));
    }
    if !model.description.is_empty() {
        fact("about", &model.description);
    }
    if let Some(until) = &info.restorable_until {
        fact("deleted", &format!("can be restored until {until}"));
    }
    if let Some(version) = &info.selected {
        text.push('\n');
        text.push_str(&version_text(version));
    }
    text
}

fn version_text(version: &VersionInfo) -> String {
    let mut text = String::new();
    let mut fact = |label: &str, value: &str| {
        writeln!(text, "{label:12} {}", clean(value)).expect("writing to a String can't fail");
    };
    fact("version", &version.version.to_string());
    let reason = version.state_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    fact("state", &format!("{}{reason}", version.state.as_str()));
    fact("published", &format!("{} by {} ({})", version.created_at, version.created_by, version.source));
    fact("log entry", &version.log_index.to_string());
    if !version.description.is_empty() {
        fact("about", &version.description);
    }
    for finding in &version.findings {
        fact("finding", &format!("{} {} at {}: {}", finding.level, finding.rule, finding.place, finding.detail));
    }
    for artifact in &version.artifacts {
        fact("file", &format!("{}  {}  {} octets  {}", artifact.path, artifact.format, artifact.size, artifact.digest));
    }
    text
}

async fn audit(
    client: &Client,
    mut query: AuditQuery,
    list: &ListOptions,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let mut had = 0;
    while let Some(limit) = next_limit(list, had) {
        query.limit = Some(limit);
        let page = client.audit(&query).await?.body;
        had += u64::try_from(page.items.len()).unwrap_or(u64::MAX);
        for row in &page.items {
            writeln!(out, "{}", if list.json { document(row)? } else { entry_line(row) })?;
        }
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    Ok(())
}

fn entry_line(row: &AuditRow) -> String {
    let entry = &row.entry;
    let name = field(entry, &["actor", "name"]);
    let actor = if name.is_empty() { field(entry, &["actor", "id"]) } else { name };
    let target = format!("{} {}", field(entry, &["target", "kind"]), field(entry, &["target", "id"]));
    let line = format!(
        "{:>9}  {}  {:12}  {:18}  {:6}  {}",
        row.index,
        clean(field(entry, &["ts"])),
        clean(actor),
        clean(field(entry, &["action"])),
        clean(field(entry, &["outcome"])),
        clean(&target)
    );
    line.trim_end().to_owned()
}

fn document(value: &impl serde::Serialize) -> Result<String, CliError> {
    let json = serde_json::to_string(value).map_err(|cause| CliError::Io(cause.into()))?;
    Ok(escaped(&json))
}

/// JSON in which characters that disturb a terminal or an eye are escaped; its value is the same.
fn escaped(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if is_spelled_out(character) || character == '\u{7f}' {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(shown, "\\u{unit:04x}").expect("writing to a String can't fail");
            }
        } else {
            shown.push(character);
        }
    }
    shown
}

// ---- asking for a password ------------------------------------------------------------------------------------------

/// Asks on the terminal, whatever stdin and stdout are. Nothing typed of the password is shown.
fn prompt(user: &str) -> Result<(String, Secret), CliError> {
    let no_terminal = |_cause: io::Error| {
        CliError::Usage("not signed in, and no terminal to ask on: use --token-file or --password-stdin".to_owned())
    };
    let guard = Guard::open().map_err(no_terminal)?;
    crate::terminal::signals::start(None)?;
    let user = if user.is_empty() { ask(guard, "user: ", true)?.expose().to_owned() } else { user.to_owned() };
    let password = ask(guard, &format!("password of {}: ", clean(&user)), false)?;
    Ok((user, password))
}

fn ask(guard: &'static Guard, question: &str, shown: bool) -> Result<Secret, CliError> {
    guard.take_prompt()?;
    let line = crate::terminal::input::read_line(guard.tty(), question, shown);
    guard.give_back();
    match line? {
        Some(line) => Ok(line),
        None => Err(CliError::Usage("given up".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use common::client::ClientError;
    use common::problem::ProblemType;

    use super::{CliError, escaped, next_limit};
    use crate::config::ListOptions;

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
        ] {
            assert_eq!(error.status(), status, "{error:?}");
        }
    }

    #[test]
    fn json_is_escaped_and_keeps_its_value() {
        let text = "a\u{202e}b\u{9b}\u{e0001}\u{7f}é";
        let json = escaped(&serde_json::json!(text).to_string());
        assert_eq!(json, "\"a\\u202eb\\u009b\\udb40\\udc01\\u007fé\"");
        assert_eq!(serde_json::from_str::<String>(&json).ok().as_deref(), Some(text));
    }

    #[test]
    fn limits() {
        let list = |limit, all| ListOptions { limit, all, json: false };
        assert_eq!(next_limit(&list(50, false), 0), Some(50));
        assert_eq!(next_limit(&list(250, false), 200), Some(50));
        assert_eq!(next_limit(&list(50, false), 50), None);
        assert_eq!(next_limit(&list(50, true), 1_000_000), Some(200));
    }
}
