//! Download of one artifact (`transfer`): resumed where an earlier run ended, checked before it gets its name.

use std::io::Write;
use std::path::PathBuf;

use common::api::{Artifact, VersionInfo};
use common::client::Client;
use common::name::ArtifactPath;

use super::progress::Progress;
use super::{CliError, document};
use crate::clean::clean;
use crate::time::bytes;
use crate::transfer::{Means, TransferError, download};

pub(super) async fn fetch(
    client: &Client,
    reference: &str,
    file: Option<&str>,
    output: Option<PathBuf>,
    json: bool,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let info = client.model(reference).await?.body;
    let Some(version) = &info.selected else {
        return Err(CliError::Refused(format!("{} has no version to fetch", clean(reference))));
    };
    let artifact = choose(version, file)?;
    let target = output.unwrap_or_else(|| PathBuf::from(artifact.path.file_name()));
    let mut progress = Progress::new();
    let mut tell = |step| progress.step(step);
    let (_never, paused) = tokio::sync::watch::channel(false);
    let refresh = client.has_session().then_some(super::upload::REFRESH_EVERY);
    let mut means =
        Means { client, folder: None, paused, patience: super::upload::PATIENCE_DEFAULT, refresh, tell: &mut tell };
    let id = version.id.to_string();
    let done = download::download(&mut means, &id, version.version, artifact, &target).await;
    progress.end();
    let size = match done {
        Ok(done) => done.octets,
        // What stands in the way here is no mistake in how it was asked for.
        Err(TransferError::Local(what)) => return Err(CliError::Refused(what)),
        Err(error) => return Err(error.into()),
    };
    let digest = artifact.digest.to_string();
    if json {
        let about = serde_json::json!({
            "path": target.to_string_lossy(), "size": size, "digest": digest,
            "model": version.name, "version": version.version, "artifact": artifact.path,
        });
        writeln!(out, "{}", document(&about)?)?;
    } else {
        let shown = clean(&target.to_string_lossy());
        writeln!(out, "{shown}  {}  {digest} checked  ({} v{})", bytes(size), version.name, version.version)?;
    }
    Ok(())
}

fn choose<'a>(version: &'a VersionInfo, file: Option<&str>) -> Result<&'a Artifact, CliError> {
    let names = || version.artifacts.iter().map(|artifact| artifact.path.as_str()).collect::<Vec<_>>().join(", ");
    let wanted: Option<ArtifactPath> = file
        .map(str::parse)
        .transpose()
        .map_err(|cause: common::name::NameError| CliError::Usage(cause.to_string()))?;
    match (wanted, version.artifacts.as_slice()) {
        (None, [only]) => Ok(only),
        (None, _) => Err(CliError::Usage(format!("name one of its files: {}", names()))),
        (Some(path), all) => all.iter().find(|artifact| artifact.path == path).ok_or_else(|| {
            CliError::Refused(format!("no file {path} in v{}; there are: {}", version.version, names()))
        }),
    }
}
