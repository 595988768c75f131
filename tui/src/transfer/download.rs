//! A file of a version: streamed to `<target>.part`, hashed on the way, and given its name only when length and digest are
//! those the registry promised. What was cut goes on where it ended, now or later; nothing is overwritten.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use common::api::Artifact;
use common::client::ClientError;
use common::name::Version;
use sha2::{Digest as _, Sha256};

use super::part::Part;
use super::{Means, PIECE_OCTETS, TransferError, Tries, hex};

/// What came of it.
pub(crate) struct Downloaded {
    /// Its octets.
    pub(crate) octets: u64,
    /// Where an earlier run had come to.
    pub(crate) from: u64,
}

/// Downloads a file.
///
/// # Errors
/// Those of the calls, of the files; `NotVerified` where other bytes came.
pub(crate) async fn download(
    means: &mut Means<'_>,
    reference: &str,
    version: Version,
    artifact: &Artifact,
    target: &Path,
) -> Result<Downloaded, TransferError> {
    let mut hasher = Sha256::new();
    let mut size = 0u64;
    let mut part = match Part::open(target)? {
        Some(part) => {
            means.standing("reading what came before");
            let file = part.file.try_clone().map_err(|error| error.to_string())?;
            let hashing =
                tokio::task::spawn_blocking(move || hash_all(file)).await.map_err(|error| error.to_string())?;
            (hasher, size) = hashing.map_err(|cause| format!("can't read {}: {cause}", part.path.display()))?;
            means.standing("");
            part
        }
        None => Part::create(target)?,
    };
    if size > artifact.size {
        // More than there can be: nothing to go on with.
        (hasher, size) = start_anew(&mut part)?;
    }
    let from = size;
    let mut tries = Tries::new(means.patience);
    while size < artifact.size {
        means.while_paused().await;
        let error = match piece_by_piece(means, reference, version, artifact, &mut part, &mut hasher, &mut size).await {
            Ok(()) => continue,
            Err(TransferError::Client(error)) => error,
            Err(error) => {
                part.keep = !matches!(error, TransferError::NotVerified(_));
                return Err(error);
            }
        };
        if size > from {
            tries.succeeded();
        }
        tries.wait(means, error).await?;
        means.standing("");
    }
    let (seen, promised) = (format!("sha256:{}", hex(&hasher.finalize())), artifact.digest.to_string());
    if size != artifact.size || seen != promised {
        // Going on with wrong octets would never come right.
        part.keep = false;
        let what = format!("{size} octets with {seen} came; {} octets with {promised} were promised", artifact.size);
        return Err(TransferError::NotVerified(what));
    }
    part.finish(target).await?;
    Ok(Downloaded { octets: size, from })
}

fn start_anew(part: &mut Part) -> Result<(Sha256, u64), String> {
    let told = |cause: io::Error| format!("can't write {}: {cause}", part.path.display());
    part.file.set_len(0).map_err(told)?;
    io::Seek::rewind(&mut part.file).map_err(told)?;
    Ok((Sha256::new(), 0))
}

/// Takes the rest in one request; ends early where it is told to stand still.
async fn piece_by_piece(
    means: &mut Means<'_>,
    reference: &str,
    version: Version,
    artifact: &Artifact,
    part: &mut Part,
    hasher: &mut Sha256,
    size: &mut u64,
) -> Result<(), TransferError> {
    let (mut body, is_part) = if *size > 0 {
        means.client.download_from(reference, version, &artifact.path, *size, &artifact.digest).await?
    } else {
        (means.client.download(reference, version, &artifact.path).await?, false)
    };
    if !is_part {
        (*hasher, *size) = start_anew(part)?;
    }
    // A cut from here on leaves what came: the next download goes on with it.
    part.keep = true;
    loop {
        if means.is_paused() {
            return Ok(());
        }
        let Some(chunk) = body.chunk().await? else { break };
        *size = size.saturating_add(chunk.len() as u64);
        if *size > artifact.size {
            let what = format!("more came than the {} octets promised", artifact.size);
            return Err(TransferError::NotVerified(what));
        }
        hasher.update(&chunk);
        part.file.write_all(&chunk).map_err(|cause| format!("can't write {}: {cause}", part.path.display()))?;
        means.going(*size, artifact.size);
    }
    if *size < artifact.size {
        // It ended in order, and too early: that is all there is.
        let what = format!("{size} octets came; {} were promised", artifact.size);
        return Err(TransferError::NotVerified(what));
    }
    Ok(())
}

fn hash_all(mut file: File) -> io::Result<(Sha256, u64)> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE_OCTETS];
    let mut size = 0;
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok((hasher, size));
        }
        hasher.update(&piece[..count]);
        size += count as u64;
    }
}

/// A sentence on a download that was cut: the error, and that nothing is lost.
pub(crate) fn goes_on(error: &ClientError) -> String {
    format!("{error}; the same command goes on where it ended")
}
