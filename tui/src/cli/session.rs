//! Sessions, profiles and the configuration, without a screen.

use std::io::{self, Write};
use std::path::Path;

use common::client::{Client, ClientError};

use super::{CliError, document, prompt, runtime};
use crate::clean::clean;
use crate::config::file::Mistake;
use crate::config::{ConfigCommand, Configuration, Credential, Opening, Profiles};
use crate::keymap::{Keys, TABLE};
use crate::secret::Secret;
use crate::time::counted;
use crate::worker::session::Cache;

/// A kept token with less time left than that is made fresh before it is used.
const FRESH_SECONDS: i64 = 300;

/// Signs in and keeps the session.
pub(super) fn login(opening: Opening) -> Result<(), CliError> {
    let Opening { client, settings, credential, cache, .. } = opening;
    let Some(cache) = cache else {
        let why = "there is nowhere to keep a session: XDG_RUNTIME_DIR is not set, and the profile has no cache_dir";
        return Err(CliError::Usage(why.to_owned()));
    };
    let (user, password, otp) = match credential {
        Credential::Password { password, otp } => (settings.user.clone(), password, otp),
        Credential::Ask | Credential::Kept(_) => {
            let (user, password) = prompt(&settings.user)?;
            (user, password, None)
        }
        Credential::Token => {
            return Err(CliError::Usage("a token was given: there is nothing to log in to".to_owned()));
        }
    };
    let session = runtime()?.block_on(super::sign_in(&client, &settings, &user, &password, otp))?;
    keep(&client, &cache, session.username.as_str(), session.expires_in_seconds).map_err(CliError::Usage)?;
    let mut out = io::stdout().lock();
    let whereto = if settings.profile.is_empty() { settings.address } else { settings.profile };
    Ok(writeln!(out, "logged in to {whereto} as {} ({})", session.username, clean(session.role.as_str()))?)
}

fn keep(client: &Client, cache: &Cache, user: &str, life_seconds: u64) -> Result<(), String> {
    match client.token() {
        Some(token) => cache.write(&Secret::new(token.as_str().to_owned()), user, life_seconds),
        None => Ok(()),
    }
}

/// Makes a kept token fresh that would not last long. If that fails, what follows says why.
pub(super) async fn refresh(client: &Client, cache: &Cache) {
    if cache.seconds_left().is_some_and(|left| left < FRESH_SECONDS)
        && let Ok(session) = client.refresh().await
    {
        drop(keep(client, cache, session.body.username.as_str(), session.body.expires_in_seconds));
    }
}

/// Ends the session that is kept for a daemon.
pub(super) fn logout(opening: &Opening) -> Result<(), CliError> {
    let ended = match &opening.credential {
        Credential::Kept(_) => end(&opening.client)?,
        Credential::Ask | Credential::Token | Credential::Password { .. } => None,
    };
    // One that is good and was not taken up is somebody else's.
    let is_others = opening.credential == Credential::Ask && opening.settings.kept_of.is_some();
    let removed = !is_others && opening.cache.as_ref().is_some_and(Cache::remove);
    said(&opening.settings.profile, removed, ended)
}

/// Ends those of every profile.
pub(super) fn logout_all(profiles: &Profiles) -> Result<(), CliError> {
    let mut failed = Vec::new();
    for found in profiles.caches() {
        let (client, cache) = match found {
            Ok(found) => found,
            // The others are logged out of all the same.
            Err(why) => {
                failed.push(why);
                continue;
            }
        };
        let ended = match cache.read() {
            Ok(Some((token, _))) => {
                client.set_token(Some(token.into_inner()));
                end(&client)?
            }
            // One that can't be believed is not sent anywhere; it is removed all the same.
            Ok(None) | Err(_) => None,
        };
        said(&cache.profile, cache.remove(), ended)?;
    }
    match failed.as_slice() {
        [] => Ok(()),
        [only] => Err(CliError::Usage(only.clone())),
        many => {
            many.iter().for_each(|why| super::talk(why));
            Err(CliError::Usage(format!("{} profiles can't be used", many.len())))
        }
    }
}

/// Ends a session at the daemon; why that failed.
fn end(client: &Client) -> Result<Option<ClientError>, CliError> {
    Ok(runtime()?.block_on(client.logout()).err())
}

fn said(profile: &str, removed: bool, failed: Option<ClientError>) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let profile = if profile.is_empty() { String::new() } else { format!("{profile}: ") };
    let what = match (removed, failed) {
        (false, _) => "no session was kept".to_owned(),
        (true, None) => "logged out".to_owned(),
        (true, Some(why)) => {
            format!("what was kept is removed; the daemon did not end the session ({})", clean(&why.to_string()))
        }
    };
    Ok(writeln!(out, "{profile}{what}")?)
}

/// The profiles, one a line.
pub(super) fn profiles(profiles: &Profiles, json: bool) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    for row in profiles.rows() {
        if json {
            let value = serde_json::json!({"name": row.name, "url": row.url, "user": row.user, "notes": row.notes});
            writeln!(out, "{}", document(&value)?)?;
        } else {
            let line = format!("{:20} {:36} {:14} {}", row.name, clean(&row.url), clean(&row.user), row.notes);
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    Ok(())
}

/// The commands of the console.
pub(super) fn keys(keys: &Keys) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    for binding in TABLE {
        writeln!(out, "{:28} {:16} {}", binding.name(), keys.of(binding).join(" "), binding.help)?;
    }
    Ok(())
}

/// Where the configuration is, or what is wrong with it.
pub(super) fn config(what: ConfigCommand, configuration: &Configuration) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let path = configuration.path.as_ref().ok_or_else(|| CliError::Usage("there is no home folder".to_owned()))?;
    match (what, &configuration.file) {
        (ConfigCommand::Path, _) => Ok(writeln!(out, "{}", path.display())?),
        (ConfigCommand::Check, Ok(_)) if !path.exists() => {
            Ok(writeln!(out, "{} is not there: everything is as it comes", path.display())?)
        }
        (ConfigCommand::Check, Ok(file)) => match configuration.more_mistakes().as_slice() {
            [] => {
                Ok(writeln!(out, "{} is in order: {}", path.display(), counted(file.profiles.len() as u64, "profile"))?)
            }
            mistakes => wrong(path, mistakes, &mut out),
        },
        (ConfigCommand::Check, Err(mistakes)) => wrong(path, mistakes, &mut out),
    }
}

fn wrong(path: &Path, mistakes: &[Mistake], out: &mut impl Write) -> Result<(), CliError> {
    for mistake in mistakes {
        writeln!(out, "{}", clean(&mistake.to_string()))?;
    }
    let count = counted(mistakes.len() as u64, "mistake");
    Err(CliError::Usage(format!("{} has {count}", path.display())))
}
