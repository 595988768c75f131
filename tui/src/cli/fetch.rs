//! Download of one artifact: streamed to `<target>.part`, hashed on the way, and given its name only when length and
//! digest are those the registry promised. Nothing is overwritten; what failed is removed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use common::api::{Artifact, VersionInfo};
use common::client::Client;
use common::name::ArtifactPath;
use sha2::{Digest as _, Sha256};

use super::{CliError, document};
use crate::clean::clean;
use crate::time::bytes;

/// The file while it is incomplete; removed unless it was given its name.
struct Part {
    path: PathBuf,
    file: File,
    done: bool,
}

impl Part {
    fn create(target: &Path) -> Result<Self, CliError> {
        if target.exists() {
            return Err(CliError::Refused(format!("{} is there already; nothing is overwritten", target.display())));
        }
        let mut name = target.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|cause| match cause.kind() {
            io::ErrorKind::AlreadyExists => CliError::Refused(format!(
                "{} is there: another download runs, or one was cut; remove it",
                path.display()
            )),
            _ => CliError::Refused(format!("can't write {}: {cause}", path.display())),
        })?;
        Ok(Self { path, file, done: false })
    }

    /// Durable under its name, or not at all; never in place of another file.
    fn finish(mut self, target: &Path) -> Result<(), CliError> {
        self.file.sync_all()?;
        let here = rustix::fs::CWD;
        rustix::fs::renameat_with(here, &self.path, here, target, rustix::fs::RenameFlags::NOREPLACE).map_err(
            |cause| CliError::Refused(format!("can't give the file its name {}: {cause}", target.display())),
        )?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.done {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

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
    let mut part = Part::create(&target)?;
    let id = version.id.to_string();
    let mut download = client.download(&id, version.version, &artifact.path).await?;
    let mut hasher = Sha256::new();
    let mut size = 0u64;
    while let Some(chunk) = download.chunk().await? {
        size = size.saturating_add(chunk.len() as u64);
        if size > artifact.size {
            return Err(CliError::NotVerified(format!("more came than the {} octets promised", artifact.size)));
        }
        hasher.update(&chunk);
        part.file.write_all(&chunk)?;
    }
    let seen = format!("sha256:{}", hex(&hasher.finalize()));
    let promised = artifact.digest.to_string();
    if size != artifact.size || seen != promised {
        let what = format!("{size} octets with {seen} came; {} octets with {promised} were promised", artifact.size);
        return Err(CliError::NotVerified(what));
    }
    part.finish(&target)?;
    if json {
        let about = serde_json::json!({
            "path": target.to_string_lossy(), "size": size, "digest": promised,
            "model": version.name, "version": version.version, "artifact": artifact.path,
        });
        writeln!(out, "{}", document(&about)?)?;
    } else {
        let shown = clean(&target.to_string_lossy());
        writeln!(out, "{shown}  {}  {promised} checked  ({} v{})", bytes(size), version.name, version.version)?;
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

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::io::Write;

    use super::Part;

    /// A cut download leaves nothing; a finished one never replaces a file that came meanwhile.
    #[test]
    fn parts() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model.bin");
        drop(Part::create(&target).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        let mut part = Part::create(&target).unwrap();
        part.file.write_all(b"x").unwrap();
        assert!(Part::create(&target).is_err());
        part.finish(&target).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"x");
        assert!(Part::create(&target).is_err());

        let other = folder.path().join("other.bin");
        let part = Part::create(&other).unwrap();
        std::fs::write(&other, b"mine").unwrap();
        assert!(part.finish(&other).is_err());
        assert_eq!(std::fs::read(&other).unwrap(), b"mine");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
