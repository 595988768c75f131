//! `mreg upload`: files to a version, by resumable uploads. The same command again goes on where an earlier one ended.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use common::api::State;
use common::client::{Client, ClientError, Publishing};

use super::progress::Progress;
use super::{CliError, document, talk};
use crate::clean::clean;
use crate::time::bytes;
use crate::transfer::upload::{Uploaded, model_of, upload as transfer};
use crate::transfer::{Means, TransferError, may_pass};

/// How long nothing may come through, where nobody says otherwise.
pub(super) const PATIENCE_DEFAULT: Duration = Duration::from_secs(600);
/// How often a token is made fresh on the way.
pub(super) const REFRESH_EVERY: Duration = Duration::from_secs(600);

/// What is to be uploaded, and as what.
#[derive(Debug, Args)]
pub struct UploadOptions {
    /// The files; together they are one version.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The model's name; made from the file's where there is one file.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// The number the version must get; the next one if not given.
    #[arg(long, value_name = "N")]
    pub version: Option<u32>,
    /// An alias to point at the version.
    #[arg(long, value_name = "ALIAS")]
    pub alias: Option<String>,
    /// A tag to set on the model; may be repeated.
    #[arg(long = "tag", value_name = "K:V")]
    pub tags: Vec<String>,
    /// What this version is.
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// A JSON object of facts you claim.
    #[arg(long, value_name = "JSON")]
    pub metadata: Option<String>,
    /// Make a version even if the latest has the same bytes.
    #[arg(long)]
    pub force_new_version: bool,
    /// Give up after so many seconds in which nothing came through.
    #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE_DEFAULT.as_secs())]
    pub patience: u64,
    /// One JSON document: the version, with its receipt.
    #[arg(long)]
    pub json: bool,
}

/// One file to a new version, without more that could be said of it.
pub(super) async fn send(client: &Client, path: &str, name: &str) -> Result<Uploaded, CliError> {
    let publishing = Publishing { name: name.to_owned(), ..Publishing::default() };
    sent(client, &[PathBuf::from(path)], &publishing, PATIENCE_DEFAULT, crate::config::state_folder().as_deref()).await
}

/// Sends files, and draws how far that is.
async fn sent(
    client: &Client,
    files: &[PathBuf],
    publishing: &Publishing,
    patience: Duration,
    folder: Option<&Path>,
) -> Result<Uploaded, CliError> {
    let mut progress = Progress::new();
    let mut tell = |step| progress.step(step);
    let (_never, paused) = tokio::sync::watch::channel(false);
    let refresh = client.has_session().then_some(REFRESH_EVERY);
    let mut means = Means { client, folder, paused, patience, refresh, tell: &mut tell };
    let uploaded = transfer(&mut means, files, publishing).await;
    progress.end();
    // What was refused will be refused again, but for want of a session.
    let goes_on = |error: &ClientError| may_pass(error) || error.status().is_none_or(|status| status == 401);
    if matches!(&uploaded, Err(TransferError::Client(error)) if goes_on(error)) && folder.is_some() {
        talk("the same command goes on where this ended");
    }
    Ok(uploaded?)
}

pub(super) async fn upload(
    client: &Client,
    options: UploadOptions,
    folder: Option<PathBuf>,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let name = match (options.model, options.files.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => model_of(only).map_err(CliError::Usage)?,
        (None, _) => return Err(CliError::Usage("several files need a name: --model NAME".to_owned())),
    };
    let publishing = Publishing {
        name,
        version: options.version,
        description: options.description.unwrap_or_default(),
        tags: options.tags,
        metadata: options.metadata.unwrap_or_default(),
        alias: options.alias.unwrap_or_default(),
        sha256: String::new(),
        force_new_version: options.force_new_version,
    };
    if folder.is_none() {
        talk("there is no state folder (XDG_STATE_HOME, HOME): if this is interrupted, it begins anew");
    }
    let patience = Duration::from_secs(options.patience);
    let uploaded = sent(client, &options.files, &publishing, patience, folder.as_deref()).await?;
    let Uploaded { version, already_present, log_index, published, octets } = uploaded;
    if options.json {
        let text = match &published {
            Some(published) => document(published)?,
            None => document(&version)?,
        };
        writeln!(out, "{text}")?;
        return Ok(());
    }
    let how = if already_present { "was there already".to_owned() } else { clean(version.state.as_str()) };
    let logged = log_index.map_or(String::new(), |index| format!("  logged as {index}"));
    writeln!(out, "{} v{}  {how}  {}{logged}", version.name, version.version, bytes(octets))?;
    if version.state == State::Quarantined {
        let why = version.state_reason.as_deref().unwrap_or("inspection");
        talk(&format!("held for {}; nobody is given it until it is released", clean(why)));
    }
    for warning in published.iter().flat_map(|published| &published.warnings) {
        talk(&clean(warning));
    }
    Ok(())
}
