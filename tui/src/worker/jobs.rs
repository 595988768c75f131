//! Jobs that take long: an export, an upload, a download. Each goes piece by piece in constant memory, tells how far it
//! is, and can be stopped. Files are new, closed to others, called `.part` until they are whole, and never put in the place
//! of another.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::client::{Client, ClientError, ModelQuery, Paging};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::action::{Job, Report, Rows};
use crate::export::{Format, Kind, head, row};
use crate::time::bytes as size_words;

/// Octets read from a file at once.
const PIECE_OCTETS: usize = 256 * 1024;
/// Pieces that may wait to be sent.
const PIECES_WAITING: usize = 2;
/// How long a piece waits to be taken before the upload is given up.
const STALL_MAX: Duration = Duration::from_secs(60);
/// How often a job tells how far it is, at most.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// Rows of a page of an export.
const PAGE_ROWS: u32 = 500;
/// Versions of a page of an export: each has its files with it.
const VERSION_ROWS: u32 = 100;

/// Tells how far a job is, not too often.
pub(super) struct Teller<F: Fn(Report)> {
    tell: F,
    last: Option<Instant>,
}

impl<F: Fn(Report)> Teller<F> {
    pub(super) fn new(tell: F) -> Self {
        Self { tell, last: None }
    }

    fn at(&mut self, done: u64, total: Option<u64>) {
        if self.last.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
            self.last = Some(Instant::now());
            (self.tell)(Report::Going { done, total });
        }
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A new file under its provisional name.
struct Part {
    path: PathBuf,
    file: File,
    /// Removed when it is dropped, unless it is to be gone on with.
    keep: bool,
}

fn part_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

fn is_free(target: &Path) -> Result<(), String> {
    match target.symlink_metadata() {
        Ok(_) => Err(format!("{} is there already; nothing is overwritten", target.display())),
        Err(_none) => Ok(()),
    }
}

impl Part {
    fn create(target: &Path) -> Result<Self, String> {
        is_free(target)?;
        let path = part_of(target);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|cause| format!("can't write {}: {cause}", path.display()))?;
        Ok(Self { path, file, keep: false })
    }

    /// The part of a download that was cut, to go on with; none where there is none.
    fn open(target: &Path) -> Result<Option<Self>, String> {
        is_free(target)?;
        let path = part_of(target);
        let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).map_err(words)?;
        match OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path) {
            Ok(file) => Ok(Some(Self { path, file, keep: true })),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(format!("can't go on with {}: {cause}", path.display())),
        }
    }

    /// Durable under its name, or not at all.
    async fn finish(mut self, target: &Path) -> Result<(), String> {
        let file = self.file.try_clone().map_err(words)?;
        let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
        synced.map_err(words)?.map_err(|cause| format!("can't write {}: {cause}", self.path.display()))?;
        let here = rustix::fs::CWD;
        rustix::fs::renameat_with(here, &self.path, here, target, rustix::fs::RenameFlags::NOREPLACE)
            .map_err(|cause| format!("can't give the file its name {}: {cause}", target.display()))?;
        self.keep = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.keep {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Performs a job; a sentence on what came of it.
pub(super) async fn perform<F: Fn(Report)>(client: &Client, job: Job, mut tell: Teller<F>) -> Result<String, String> {
    match job {
        Job::Export { rows, kind, format, path } => export(client, rows, kind, format, &path, &mut tell).await,
        Job::Upload { path, name } => upload(client, &path, &name, &mut tell).await,
        Job::Download { reference, version, artifact, target } => {
            let target = PathBuf::from(target);
            download(client, &reference, version, &artifact, &target, &mut tell).await
        }
    }
}

// ---- export ---------------------------------------------------------------------------------------------------------

async fn export<F: Fn(Report)>(
    client: &Client,
    rows: Rows,
    kind: Kind,
    format: Format,
    path: &str,
    tell: &mut Teller<F>,
) -> Result<String, String> {
    let target = PathBuf::from(path);
    let part = Part::create(&target)?;
    let mut out = BufWriter::new(part.file.try_clone().map_err(words)?);
    let mut write =
        |text: String| out.write_all(text.as_bytes()).map_err(|cause| format!("can't write {path}: {cause}"));
    write(head(kind, format))?;
    let mut count = 0u64;
    let mut put = |value: Value, count: &mut u64| {
        *count += 1;
        write(row(kind, format, &value))
    };
    match rows {
        Rows::Held(values) => {
            for value in values {
                put(value, &mut count)?;
            }
        }
        Rows::Models(query) => {
            let mut query = ModelQuery { limit: Some(PAGE_ROWS), ..*query };
            loop {
                let page = client.models(&query).await.map_err(words)?.body;
                for item in &page.items {
                    put(value(item)?, &mut count)?;
                }
                tell.at(count, page.total);
                match page.next_cursor {
                    Some(cursor) => query.cursor = Some(cursor),
                    None => break,
                }
            }
        }
        Rows::Ids(ids) => {
            let total = ids.len() as u64;
            for id in ids {
                let info = client.model(&id).await.map_err(words)?.body;
                put(value(&info.model)?, &mut count)?;
                tell.at(count, Some(total));
            }
        }
        Rows::Versions(reference) => {
            let mut cursor = None;
            loop {
                let page = client.versions(&reference, cursor.as_deref(), VERSION_ROWS).await.map_err(words)?.body;
                for item in &page.items {
                    put(value(item)?, &mut count)?;
                }
                tell.at(count, page.total);
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Rows::Users(query) => {
            let mut query = *query;
            query.page = Paging { limit: Some(PAGE_ROWS), ..Paging::default() };
            loop {
                let page = client.user_page(&query).await.map_err(words)?.body;
                for item in &page.items {
                    put(value(item)?, &mut count)?;
                }
                tell.at(count, page.total);
                match page.next_cursor {
                    Some(cursor) => query.page.cursor = Some(cursor),
                    None => break,
                }
            }
        }
    }
    out.flush().map_err(|cause| format!("can't write {path}: {cause}"))?;
    drop(out);
    part.finish(&target).await?;
    Ok(format!("{count} rows in {path}"))
}

fn value(item: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(item).map_err(words)
}

// ---- upload ---------------------------------------------------------------------------------------------------------

async fn upload<F: Fn(Report)>(
    client: &Client,
    path: &str,
    name: &str,
    tell: &mut Teller<F>,
) -> Result<String, String> {
    let file = File::open(path).map_err(|cause| format!("can't read {path}: {cause}"))?;
    let about = file.metadata().map_err(|cause| format!("can't read {path}: {cause}"))?;
    if !about.is_file() {
        return Err(format!("{path} is no file; several files go by mregd's form (POST /models)"));
    }
    let octets = about.len();
    let file_name = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (sender, pieces) = tokio::sync::mpsc::channel::<Bytes>(PIECES_WAITING);
    let sending = client.upload(name, &file_name, octets, pieces);
    tokio::pin!(sending);
    let mut hasher = Sha256::new();
    let mut sent = 0u64;
    let mut file = Some(file);
    let mut sender = Some(sender);
    // The answer may come before all is sent: a refusal.
    let reply = loop {
        let (Some(open), Some(to)) = (file.take(), &sender) else { break sending.await };
        let read = tokio::task::spawn_blocking(move || read_piece(open)).await.map_err(words)?;
        let (open, piece) = read.map_err(|cause| format!("can't read {path}: {cause}"))?;
        if piece.is_empty() {
            sender = None;
            continue;
        }
        hasher.update(&piece);
        sent += piece.len() as u64;
        let step = {
            let give = tokio::time::timeout(STALL_MAX, to.send(piece));
            tokio::pin!(give);
            let mut sending = sending.as_mut();
            std::future::poll_fn(move |context| {
                if let std::task::Poll::Ready(reply) = sending.as_mut().poll(context) {
                    return std::task::Poll::Ready(Step::Answered(Box::new(reply)));
                }
                give.as_mut().poll(context).map(|given| match given {
                    Ok(Ok(())) => Step::Given,
                    Ok(Err(_closed)) => Step::Closed,
                    Err(_elapsed) => Step::Stalled,
                })
            })
            .await
        };
        match step {
            Step::Given => file = Some(open),
            Step::Answered(reply) => break *reply,
            Step::Closed => break sending.await,
            Step::Stalled => return Err(format!("the daemon took nothing for {} s", STALL_MAX.as_secs())),
        }
        tell.at(sent, Some(octets));
    };
    let reply = reply.map_err(|error| match &error {
        ClientError::Offline { .. } | ClientError::Timeout { .. } => {
            format!("{error}; not known whether it is there: the same upload again does no harm, the same bytes make no new version")
        }
        _ => words(&error),
    })?;
    let published = &reply.body;
    let ours = hex(&hasher.finalize());
    if published.sha256.as_ref().is_some_and(|theirs| *theirs != ours) {
        return Err(format!("the daemon has other bytes than {path}: it says {:?}, they are {ours}", published.sha256));
    }
    let logged = reply.log_index.map_or(String::new(), |index| format!(", logged as {index}"));
    let how = if published.already_present { "was there already" } else { published.version.state.as_str() };
    let version = &published.version;
    Ok(format!("{} v{}: {how}, {}{logged}", version.name, version.version, size_words(octets)))
}

enum Step<T> {
    Given,
    Answered(Box<T>),
    Closed,
    Stalled,
}

fn read_piece(mut file: File) -> io::Result<(File, Bytes)> {
    let mut piece = vec![0; PIECE_OCTETS];
    let count = file.read(&mut piece)?;
    piece.truncate(count);
    Ok((file, piece.into()))
}

// ---- download -------------------------------------------------------------------------------------------------------

async fn download<F: Fn(Report)>(
    client: &Client,
    reference: &str,
    version: common::name::Version,
    artifact: &common::api::Artifact,
    target: &Path,
    tell: &mut Teller<F>,
) -> Result<String, String> {
    let mut hasher = Sha256::new();
    let mut size = 0u64;
    let mut part = match Part::open(target)? {
        Some(part) => {
            let file = part.file.try_clone().map_err(words)?;
            let hashed = tokio::task::spawn_blocking(move || hash_all(file)).await.map_err(words)?;
            (hasher, size) = hashed.map_err(|cause| format!("can't read {}: {cause}", part.path.display()))?;
            part
        }
        None => Part::create(target)?,
    };
    let mut from = size;
    if from >= artifact.size {
        // All of it is there, or more: nothing to go on with.
        from = if from == artifact.size { from } else { 0 };
    }
    if from < artifact.size {
        let (mut body, is_part) = if from > 0 {
            client.download_from(reference, version, &artifact.path, from, &artifact.digest).await.map_err(words)?
        } else {
            (client.download(reference, version, &artifact.path).await.map_err(words)?, false)
        };
        if !is_part {
            part.file.set_len(0).map_err(words)?;
            io::Seek::rewind(&mut part.file).map_err(words)?;
            (hasher, size) = (Sha256::new(), 0);
            from = 0;
        }
        // A cut from here on leaves what came: the next download goes on with it.
        part.keep = true;
        while let Some(chunk) =
            body.chunk().await.map_err(|error| format!("{error}; the same again goes on at {size}"))?
        {
            size = size.saturating_add(chunk.len() as u64);
            if size > artifact.size {
                part.keep = false;
                return Err(format!("more came than the {} octets promised", artifact.size));
            }
            hasher.update(&chunk);
            part.file.write_all(&chunk).map_err(|cause| format!("can't write {}: {cause}", part.path.display()))?;
            tell.at(size, Some(artifact.size));
        }
    }
    let (seen, promised) = (format!("sha256:{}", hex(&hasher.finalize())), artifact.digest.to_string());
    if size != artifact.size || seen != promised {
        // Going on with wrong octets would never come right.
        part.keep = false;
        return Err(format!("{size} octets with {seen} came; {} with {promised} were promised", artifact.size));
    }
    part.finish(target).await?;
    let resumed = if from > 0 { format!(", gone on at {from}") } else { String::new() };
    Ok(format!("{}: {}{resumed}, digest checked", target.display(), size_words(size)))
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

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::os::unix::fs::PermissionsExt;

    use super::Part;

    /// A new file is closed to others, has its name only when it is whole, and never takes another's place.
    #[test]
    fn parts() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("models.csv");
        let part = Part::create(&target).unwrap();
        assert_eq!(part.file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!target.exists() && Part::create(&target).is_err());
        runtime.block_on(part.finish(&target)).unwrap();
        assert!(target.exists() && Part::create(&target).is_err());
        drop(Part::create(&folder.path().join("other")).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "what was given up leaves nothing");
    }
}
