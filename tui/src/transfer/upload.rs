//! Files to a version: each goes to a resumable upload, and when all are there they are published together. What the daemon
//! says is there is not sent again, whoever was interrupted in between.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::api::{Published, UploadInfo, VersionInfo};
use common::client::{Client, ClientError, NewUpload, Publishing};
use common::name::UploadId;
use common::problem::ProblemType;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use super::kept::Kept;
use super::{Means, PIECE_OCTETS, TransferError, Tries, hex};

/// Pieces that may wait to be sent.
const PIECES_WAITING: usize = 2;
/// How long a piece waits to be taken before the connection counts as lost.
const STALL_MAX: Duration = Duration::from_secs(60);
/// How long it may take until the last octets are durable.
const DURABLE_MAX: Duration = Duration::from_secs(300);

/// What came of it.
pub(crate) struct Uploaded {
    /// The version.
    pub(crate) version: VersionInfo,
    /// Whether it was there already.
    pub(crate) already_present: bool,
    /// The entry, where this very answer told it.
    pub(crate) log_index: Option<u64>,
    /// All that was answered; none where an earlier try had published it, and its answer was lost.
    pub(crate) published: Option<Published>,
    /// Octets of all files.
    pub(crate) octets: u64,
}

/// One file.
struct Source {
    path: PathBuf,
    name: String,
    file: Arc<File>,
    about: Metadata,
    kept: Kept,
}

/// How much of a file was hashed here.
#[derive(Default)]
struct Hashed {
    hasher: Sha256,
    octets: u64,
}

impl Hashed {
    /// Takes a piece that begins at `at`, as far as it is new.
    fn take(&mut self, at: u64, piece: &[u8]) {
        let known = usize::try_from(self.octets.saturating_sub(at)).unwrap_or(usize::MAX);
        if at <= self.octets && known < piece.len() {
            self.hasher.update(&piece[known..]);
            self.octets = at + piece.len() as u64;
        }
    }
}

/// Uploads files and publishes them as one version.
///
/// # Errors
/// Those of the calls, of the files; `NotVerified` where the daemon has other bytes.
pub(crate) async fn upload(
    means: &mut Means<'_>,
    paths: &[PathBuf],
    publishing: &Publishing,
) -> Result<Uploaded, TransferError> {
    let sources = open_all(means, paths, &publishing.name)?;
    let total: u64 = sources.iter().map(|source| source.about.len()).sum();
    let mut uploads = Vec::with_capacity(sources.len());
    let mut digests = BTreeSet::new();
    let mut before = 0;
    let mut sent = Vec::with_capacity(sources.len());
    for mut source in sources {
        let (id, digest) = send(means, &mut source, before, total).await?;
        before += source.about.len();
        uploads.push(id);
        digests.insert(digest);
        sent.push(source);
    }
    let mut publishing = publishing.clone();
    if let ([_only], Some(digest)) = (uploads.as_slice(), digests.first())
        && publishing.sha256.is_empty()
    {
        publishing.sha256.clone_from(digest);
    }
    means.standing("being inspected and published");
    let uploaded = publish(means, &uploads, &publishing, &digests, total).await;
    means.standing("");
    if !matches!(&uploaded, Err(error) if keeps(error)) {
        for source in &sent {
            means.folder.iter().for_each(|folder| source.kept.remove(folder));
        }
    }
    let uploaded = uploaded?;
    let theirs: BTreeSet<String> = uploaded.version.artifacts.iter().map(|file| file.digest.to_hex()).collect();
    if theirs != digests {
        let what = format!("the daemon has other bytes than these: it says {theirs:?}, they are {digests:?}");
        return Err(TransferError::NotVerified(what));
    }
    Ok(uploaded)
}

/// Whether the uploads are worth to be gone on with after this.
fn keeps(error: &TransferError) -> bool {
    let TransferError::Client(error) = error else { return false };
    !matches!(
        error.problem_type(),
        Some(
            ProblemType::DigestMismatch
                | ProblemType::MaliciousContent
                | ProblemType::UploadGone
                | ProblemType::NotFound
        )
    )
}

fn open_all(means: &Means<'_>, paths: &[PathBuf], model: &str) -> Result<Vec<Source>, TransferError> {
    let mut names = BTreeSet::new();
    let mut sources = Vec::with_capacity(paths.len());
    for path in paths {
        let shown = path.display();
        let told = |cause: std::io::Error| format!("can't read {shown}: {cause}");
        let file = File::open(path).map_err(told)?;
        let about = file.metadata().map_err(told)?;
        if !about.is_file() {
            return Err(TransferError::Local(format!("{shown} is no file")));
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !names.insert(name.clone()) {
            return Err(TransferError::Local(format!(
                "two of the files are called {name}: a version has each name once"
            )));
        }
        let whole = path.canonicalize().map_err(told)?;
        let kept = Kept::new(means.client.address(), &whole, about.len(), changed_ns(&about), model);
        let kept = match means.folder {
            Some(folder) => kept.read(folder),
            None => kept,
        };
        sources.push(Source { path: path.clone(), name, file: Arc::new(file), about, kept });
    }
    Ok(sources)
}

fn changed_ns(about: &Metadata) -> i128 {
    i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec())
}

/// Sends one file to the end; its upload and digest. `before` octets of `total` are there of the files before it.
async fn send(
    means: &mut Means<'_>,
    source: &mut Source,
    before: u64,
    total: u64,
) -> Result<(UploadId, String), TransferError> {
    let size = source.about.len();
    let mut tries = Tries::new(means.patience);
    let (id, mut offset) = begin(means, source, &mut tries).await?;
    let mut hashed = Hashed::default();
    let mut fresh = Instant::now();
    while offset < size {
        means.while_paused().await;
        hash_to(means, source, &mut hashed, offset).await?;
        means.going(before + offset, total);
        match part(means, source, id, offset, &mut hashed, &mut fresh, (before, total)).await {
            Ok(to) => {
                if to > offset {
                    tries.succeeded();
                }
                offset = to;
            }
            Err(Cut::Local(what)) => return Err(what.into()),
            Err(Cut::Paused) => offset = place(means, id, &mut tries).await?,
            Err(Cut::Call(error)) => {
                let elsewhere = error.problem_type() == Some(ProblemType::Conflict);
                if !elsewhere {
                    tries.wait(means, error).await?;
                }
                let to = place(means, id, &mut tries).await?;
                if to > offset {
                    tries.succeeded();
                } else if elsewhere {
                    // Somebody else is at the same upload: by turns neither would get on.
                    tokio::time::sleep(super::PAUSE_MIN).await;
                }
                means.standing("");
                offset = to;
            }
        }
    }
    hash_to(means, source, &mut hashed, size).await?;
    means.going(before + size, total);
    let now = source.file.metadata().map_err(|cause| format!("can't read {}: {cause}", source.path.display()))?;
    if (now.len(), changed_ns(&now)) != (size, changed_ns(&source.about)) {
        means.folder.iter().for_each(|folder| source.kept.remove(folder));
        drop(means.client.end_upload(id).await);
        return Err(TransferError::Local(format!("{} changed while it was sent", source.path.display())));
    }
    Ok((id, hex(&hashed.hasher.finalize())))
}

/// The upload that the file is on its way to, and how far that is; a new one where there is none.
async fn begin(
    means: &mut Means<'_>,
    source: &mut Source,
    tries: &mut Tries,
) -> Result<(UploadId, u64), TransferError> {
    if let Some(id) = source.kept.upload {
        match ask(means, id, tries).await {
            Ok(info) if info.length == Some(source.about.len()) => return Ok((id, info.offset)),
            Ok(_another) => {}
            // It is over, or its daemon is another now.
            Err(error) if matches!(error.status(), Some(404 | 410)) => {}
            Err(error) => return Err(error.into()),
        }
        source.kept.upload = None;
    }
    let new = NewUpload { length: source.about.len(), filename: source.name.clone(), model: source.kept.model.clone() };
    let info = loop {
        match means.client.create_upload(&new).await {
            Ok(reply) => break reply.body,
            // One's share is used up: that does not pass by waiting.
            Err(error) if error.status() == Some(429) => return Err(error.into()),
            Err(error) => tries.wait(means, error).await?,
        }
    };
    means.standing("");
    source.kept.upload = Some(info.id);
    if let Some(folder) = means.folder {
        source.kept.write(folder)?;
    }
    Ok((info.id, info.offset))
}

async fn ask(means: &mut Means<'_>, id: UploadId, tries: &mut Tries) -> Result<UploadInfo, ClientError> {
    loop {
        match means.client.upload_info(id).await {
            Ok(reply) => return Ok(reply.body),
            Err(error) => tries.wait(means, error).await?,
        }
    }
}

async fn place(means: &mut Means<'_>, id: UploadId, tries: &mut Tries) -> Result<u64, TransferError> {
    Ok(ask(means, id, tries).await?.offset)
}

/// Hashes what was sent by an earlier run.
async fn hash_to(means: &mut Means<'_>, source: &Source, hashed: &mut Hashed, to: u64) -> Result<(), TransferError> {
    if hashed.octets < to {
        means.standing("reading what was sent before");
    }
    while hashed.octets < to {
        let at = hashed.octets;
        let wanted = usize::try_from(to - at).map_or(PIECE_OCTETS, |left| left.min(PIECE_OCTETS));
        let piece = read(source, at, wanted).await?;
        hashed.take(at, &piece);
    }
    means.standing("");
    Ok(())
}

async fn read(source: &Source, at: u64, wanted: usize) -> Result<Bytes, String> {
    let file = Arc::clone(&source.file);
    let reading = tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; wanted];
        file.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
    });
    let read = reading.await.map_err(|error| error.to_string())?;
    read.map_err(|cause| format!("can't read {}: {cause}; it may have become shorter", source.path.display()))
}

/// Why a part ended early.
enum Cut {
    Call(ClientError),
    Paused,
    Local(String),
}

/// Sends all from `offset` on in one request; where the upload is then.
async fn part(
    means: &mut Means<'_>,
    source: &Source,
    id: UploadId,
    offset: u64,
    hashed: &mut Hashed,
    fresh: &mut Instant,
    (before, total): (u64, u64),
) -> Result<u64, Cut> {
    let size = source.about.len();
    let client = means.client;
    let (sender, pieces): (Sender<Bytes>, Receiver<Bytes>) = channel(PIECES_WAITING);
    let mut sending = pin!(client.append_upload(id, offset, size - offset, pieces));
    let mut at = offset;
    while at < size {
        if means.is_paused() {
            return Err(Cut::Paused);
        }
        refresh(means, fresh).await;
        let wanted = usize::try_from(size - at).map_or(PIECE_OCTETS, |left| left.min(PIECE_OCTETS));
        let piece = read(source, at, wanted).await.map_err(Cut::Local)?;
        hashed.take(at, &piece);
        let after = at + piece.len() as u64;
        match give(client, &sender, piece, sending.as_mut()).await {
            Given::Taken => at = after,
            // The answer may come before all is sent: a refusal, or a lost line.
            Given::Answered(answer) => return answer.map_err(Cut::Call),
        }
        means.going(before + at, total);
    }
    drop(sender);
    match timeout(DURABLE_MAX, sending).await {
        Ok(answer) => answer.map_err(Cut::Call),
        Err(_elapsed) => Err(Cut::Call(late(client, DURABLE_MAX))),
    }
}

/// What became of a piece.
enum Given {
    Taken,
    Answered(Result<u64, ClientError>),
}

/// Hands a piece over, unless the answer comes first.
async fn give(
    client: &Client,
    to: &Sender<Bytes>,
    piece: Bytes,
    mut sending: Pin<&mut impl Future<Output = Result<u64, ClientError>>>,
) -> Given {
    let mut giving = pin!(timeout(STALL_MAX, to.send(piece)));
    std::future::poll_fn(|context| {
        if let Poll::Ready(answer) = sending.as_mut().poll(context) {
            return Poll::Ready(Given::Answered(answer));
        }
        giving.as_mut().poll(context).map(|given| match given {
            Ok(Ok(())) => Given::Taken,
            // Nobody takes pieces any more: the answer is about to come, and the next look asks for the offset.
            Ok(Err(_closed)) => Given::Answered(Err(late(client, STALL_MAX))),
            Err(_elapsed) => Given::Answered(Err(late(client, STALL_MAX))),
        })
    })
    .await
}

fn late(client: &Client, limit: Duration) -> ClientError {
    ClientError::Timeout { address: client.address().to_owned(), seconds: limit.as_secs() }
}

/// Makes the token fresh where nobody else does: what takes hours ends with a request that needs one. If that fails, what
/// follows says why.
async fn refresh(means: &Means<'_>, fresh: &mut Instant) {
    if means.refresh.is_some_and(|every| fresh.elapsed() >= every) {
        *fresh = Instant::now();
        drop(means.client.refresh().await);
    }
}

/// Publishes complete uploads. Where the answer was lost, the version is looked for: the daemon knows an upload no more
/// once it is published.
async fn publish(
    means: &mut Means<'_>,
    uploads: &[UploadId],
    publishing: &Publishing,
    digests: &BTreeSet<String>,
    octets: u64,
) -> Result<Uploaded, TransferError> {
    let mut tries = Tries::new(means.patience);
    let mut is_repeated = false;
    if means.refresh.is_some() {
        drop(means.client.refresh().await);
    }
    loop {
        match means.client.publish_uploads(uploads, publishing).await {
            Ok(reply) => {
                return Ok(Uploaded {
                    version: reply.body.version.clone(),
                    already_present: reply.body.already_present,
                    log_index: reply.log_index,
                    published: Some(reply.body),
                    octets,
                });
            }
            Err(error) if matches!(error.status(), Some(404 | 410)) => {
                let Some(version) = find(means, publishing, digests).await? else { return Err(error.into()) };
                return Ok(Uploaded {
                    version,
                    already_present: !is_repeated,
                    log_index: None,
                    published: None,
                    octets,
                });
            }
            Err(error) => {
                tries.wait(means, error).await?;
                is_repeated = true;
            }
        }
    }
}

/// The version that has exactly these files.
async fn find(
    means: &mut Means<'_>,
    publishing: &Publishing,
    digests: &BTreeSet<String>,
) -> Result<Option<VersionInfo>, TransferError> {
    let Some(first) = digests.first() else { return Ok(None) };
    let info = match means.client.model(&format!("sha256:{first}")).await {
        Ok(reply) => reply.body,
        Err(error) if error.status() == Some(404) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let fits = |version: &VersionInfo| {
        let files: BTreeSet<String> = version.artifacts.iter().map(|file| file.digest.to_hex()).collect();
        files == *digests && (publishing.name.is_empty() || publishing.name.eq_ignore_ascii_case(version.name.as_str()))
    };
    Ok(info.selected.filter(fits))
}

/// The name of a file's model where nobody gave one, as the daemon would find it.
pub(crate) fn model_of(path: &Path) -> Result<String, String> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match common::name::ModelName::from_filename(&name) {
        Ok(name) => Ok(name.to_string()),
        Err(why) => Err(format!("no model's name can be made of {name:?} ({why}): give one with --model")),
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::Hashed;

    /// Pieces that are sent again are hashed once.
    #[test]
    fn pieces_count_once() {
        let octets: Vec<u8> = (0..=255).collect();
        let mut hashed = Hashed::default();
        for (from, to) in [(0, 100), (40, 90), (50, 150), (150, 150), (200, 210), (149, 256)] {
            hashed.take(from as u64, &octets[from..to]);
        }
        assert_eq!(hashed.octets, 256);
        assert_eq!(hashed.hasher.finalize(), Sha256::digest(&octets));
    }
}
