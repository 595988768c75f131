//! Jobs that take long: an export, an upload, a download, a check of the log. Each goes piece by piece in constant memory,
//! tells how far it is, and can be stopped; uploads and downloads also stand still on demand, and wait for a daemon that is
//! away (`transfer`).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::api::Page;
use common::api::bulk::{BulkLine, BulkTotal};
use common::audit::{Checkpoint, Verifier};
use common::client::{
    Client, ClientError, HeldQuery, IngestQuery, ModelQuery, Paging, Publishing, Reply, Sweep, UserQuery,
};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::action::{Job, Report, Rows};
use crate::export::{Format, Kind, head, row};
use crate::state::deeds::{Change, Deed, Object};
use crate::time::{bytes as size_words, counted, grouped};
use crate::transfer::part::Part;
use crate::transfer::{self, Means, PIECE_OCTETS, Step as Stand, TransferError, hex};
use crate::window::Row;

/// A file above so many octets goes by a resumable upload.
const RESUMABLE_OCTETS: u64 = 8 * 1024 * 1024;
/// How long a daemon is waited for: somebody looks at the console, and can stop it.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// Pieces that may wait to be sent.
const PIECES_WAITING: usize = 2;
/// How long a piece waits to be taken before the upload is given up.
const STALL_MAX: Duration = Duration::from_secs(60);
/// How often a job tells how far it is, at most.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// Refused changes of a sweep that are kept to be told and tried again.
const REFUSED_MAX: usize = 1_000;
/// Rows of a page of an export.
const PAGE_ROWS: u32 = 500;
/// Versions of a page of an export: each has its files with it.
const VERSION_ROWS: u32 = 100;

/// Tells how far a job is, not too often.
pub(crate) struct Teller<F: Fn(Report)> {
    tell: F,
    last: Option<Instant>,
}

impl<F: Fn(Report)> Teller<F> {
    pub(crate) fn new(tell: F) -> Self {
        Self { tell, last: None }
    }

    fn step(&mut self, step: Stand) {
        match step {
            Stand::Going { done, total } => self.at(done, Some(total)),
            Stand::Standing(what) => (self.tell)(Report::Standing(what)),
        }
    }

    pub(super) fn at(&mut self, done: u64, total: Option<u64>) {
        if self.last.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
            self.last = Some(Instant::now());
            (self.tell)(Report::Going { done, total });
        }
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Performs a job; a sentence on what came of it. `folder` is the state folder, `paused` is true while it shall stand still.
pub(super) async fn perform<F: Fn(Report)>(
    client: &Client,
    folder: Option<&Path>,
    paused: watch::Receiver<bool>,
    job: Job,
    mut tell: Teller<F>,
) -> Result<String, String> {
    let (path, name) = match job {
        Job::Export { rows, kind, format, path } => {
            return export(client, rows, kind, format, &path, &mut tell).await;
        }
        Job::Entries { entries, form, keys, path } => {
            return super::entries::export(client, super::entries::Asked { entries, form, keys, path }, &mut tell)
                .await;
        }
        Job::Check { from, to, keys, saved } => return check(client, from, to, keys, saved, &mut tell).await,
        Job::Download { reference, version, artifact, target } => {
            let target = PathBuf::from(target);
            let mut told = |step| tell.step(step);
            let mut means = Means { client, folder, paused, patience: PATIENCE, refresh: None, tell: &mut told };
            return download(&mut means, &reference, version, &artifact, &target).await;
        }
        Job::Sweep { sweep, query, expected } => return sweeping(client, sweep, &query, &expected, &mut tell).await,
        Job::Upload { path, name } => (path, name),
    };
    let about = std::fs::metadata(&path).map_err(|cause| format!("can't read {path}: {cause}"))?;
    if about.len() <= RESUMABLE_OCTETS {
        return upload(client, &path, &name, &mut tell).await;
    }
    let mut told = |step| tell.step(step);
    let mut means = Means { client, folder, paused, patience: PATIENCE, refresh: None, tell: &mut told };
    let publishing = Publishing { name, ..Publishing::default() };
    let done = transfer::upload::upload(&mut means, &[PathBuf::from(&path)], &publishing).await;
    let done = done.map_err(|error| match &error {
        TransferError::Client(_) => format!("{error}; the same upload again goes on where it ended"),
        TransferError::Local(_) | TransferError::NotVerified(_) => words(error),
    })?;
    Ok(published_words(&done.version, done.already_present, done.log_index, done.octets))
}

fn published_words(
    version: &common::api::VersionInfo,
    already_present: bool,
    log_index: Option<u64>,
    octets: u64,
) -> String {
    let logged = log_index.map_or(String::new(), |index| format!(", logged as {index}"));
    let how = if already_present { "was there already" } else { version.state.as_str() };
    format!("{} v{}: {how}, {}{logged}", version.name, version.version, size_words(octets))
}

// ---- many models at once --------------------------------------------------------------------------------------------

/// All models of a query, changed by one request. Those that were refused are told each for itself.
async fn sweeping<F: Fn(Report)>(
    client: &Client,
    sweep: Sweep,
    query: &ModelQuery,
    expected: &BulkTotal,
    tell: &mut Teller<F>,
) -> Result<String, String> {
    let (deed, done_word) = match sweep {
        Sweep::Delete => (Deed::Delete, "deleted"),
        Sweep::Restore => (Deed::Restore, "restored"),
    };
    let opened = client.change_models(sweep, query, expected).await;
    let mut told = opened.map_err(|error| match error {
        ClientError::Offline { .. } | ClientError::Timeout { .. } => {
            format!("{error}. Whether it was begun is not known: look at the list")
        }
        other => words(other),
    })?;
    let (mut done, mut failed, mut until, mut total) = (0u64, 0u64, None, None);
    let mut refused = Vec::new();
    // What was refused is told however the answer ends.
    let cut = loop {
        match told.next().await {
            Ok(Some(BulkLine::Done(model))) => {
                done += 1;
                until = model.restorable_until.or(until);
            }
            Ok(Some(BulkLine::Failed(model))) => {
                failed += 1;
                if refused.len() < REFUSED_MAX {
                    let object = Object::Model { id: model.id, name: model.name };
                    refused.push((Change::new(object, deed.clone()), model.detail));
                }
            }
            Ok(Some(BulkLine::Total(all))) => total = Some(all),
            Ok(None) => break None,
            Err(error) => break Some(words(error)),
        }
        tell.at(done + failed, Some(expected.matched));
    };
    if !refused.is_empty() {
        (tell.tell)(Report::Refused(refused));
    }
    let of = grouped(expected.matched);
    let (done, failed) =
        (grouped(done), if failed == 0 { String::new() } else { format!(", {} refused", grouped(failed)) });
    if let Some(why) = cut.or_else(|| total.is_none().then(|| "the answer was cut".to_owned())) {
        return Err(format!(
            "{done} of {of} {done_word}{failed}, and then: {why}. What came of the others is not known: look at the list"
        ));
    }
    let until = until.map_or(String::new(), |until| format!("; can be restored until {until}"));
    Ok(format!("{done} of {of} {done_word}{failed}{until}"))
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
    let mut put = |value: Value| {
        write(row(kind, format, &value))?;
        count += 1;
        Ok(count)
    };
    let (rows, keys) = match rows {
        Rows::Marked(rows, keys) => (*rows, Some(keys)),
        rows => (rows, None),
    };
    let keys = keys.as_ref();
    match rows {
        // Of what is marked nothing else is marked.
        Rows::Marked(..) => {}
        Rows::Held(values) => {
            for value in values {
                put(value)?;
            }
        }
        Rows::Models(query) => {
            let page =
                async |cursor| client.models(&ModelQuery { cursor, limit: Some(PAGE_ROWS), ..(*query).clone() }).await;
            pages(page, &mut put, tell).await?;
        }
        Rows::Ids(ids) => {
            let total = ids.len() as u64;
            for id in ids {
                let info = client.model(&id).await.map_err(words)?.body;
                let count = put(value(&info.model)?)?;
                tell.at(count, Some(total));
            }
        }
        Rows::Versions(reference) => {
            let page =
                async |cursor: Option<String>| client.versions(&reference, cursor.as_deref(), VERSION_ROWS).await;
            pages(page, &mut put, tell).await?;
        }
        Rows::Items(query) => {
            let page = async |cursor| {
                let query = IngestQuery { cursor, before: None, limit: Some(PAGE_ROWS), ..(*query).clone() };
                client.ingest(&query).await.map(|reply| {
                    reply.map(|page| Page {
                        items: marked(page.items, keys),
                        total: page.total,
                        next_cursor: page.next_cursor,
                        prev_cursor: page.prev_cursor,
                    })
                })
            };
            pages(page, &mut put, tell).await?;
        }
        Rows::Quarantined(query) => {
            let page = async |cursor| {
                let reply = client.held(&HeldQuery { page: paging(cursor), ..(*query).clone() }).await?;
                Ok(reply.map(|page| Page { items: marked(page.items, keys), ..page }))
            };
            pages(page, &mut put, tell).await?;
        }
        Rows::Users(query) => {
            let page = async |cursor| {
                let reply = client.user_page(&UserQuery { page: paging(cursor), ..(*query).clone() }).await?;
                Ok(reply.map(|page| Page { items: marked(page.items, keys), ..page }))
            };
            pages(page, &mut put, tell).await?;
        }
    }
    out.flush().map_err(|cause| format!("can't write {path}: {cause}"))?;
    drop(out);
    part.finish(&target).await?;
    Ok(format!("{} in {path}", counted(count, "row")))
}

/// Those with one of the keys, or all where there are none to go by.
fn marked<R: Row>(items: Vec<R>, keys: Option<&BTreeSet<String>>) -> Vec<R> {
    items.into_iter().filter(|item| keys.is_none_or(|keys| keys.contains(&item.key()))).collect()
}

fn paging(cursor: Option<String>) -> Paging {
    Paging { cursor, before: None, limit: Some(PAGE_ROWS) }
}

/// A list from its beginning to its end, page by page. `put` says how many rows that makes.
async fn pages<T: Serialize, F: Fn(Report)>(
    page_at: impl AsyncFn(Option<String>) -> Result<Reply<Page<T>>, ClientError>,
    put: &mut impl FnMut(Value) -> Result<u64, String>,
    tell: &mut Teller<F>,
) -> Result<(), String> {
    let (mut cursor, mut count) = (None, 0);
    loop {
        let page = page_at(cursor).await.map_err(words)?.body;
        for item in &page.items {
            count = put(value(item)?)?;
        }
        tell.at(count, page.total);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

fn value(item: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(item).map_err(words)
}

// ---- a check of the log ---------------------------------------------------------------------------------------------

async fn check<F: Fn(Report)>(
    client: &Client,
    from: Option<u64>,
    to: Option<u64>,
    keys: Vec<Verifier>,
    saved: Option<Checkpoint>,
    tell: &mut Teller<F>,
) -> Result<String, String> {
    let asked = super::check::Asked { from, to, keys, saved, ..super::check::Asked::default() };
    // The check has a thread of its own: how far it is stands here.
    let standing = std::sync::Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let written = std::sync::Arc::clone(&standing);
    let work = super::check::check(client, asked, move |done, of| {
        written.1.store(of, Ordering::Relaxed);
        written.0.store(done, Ordering::Relaxed);
    });
    tokio::pin!(work);
    let report = loop {
        tokio::select! {
            report = &mut work => break report.map_err(words)?,
            () = tokio::time::sleep(TELL_EVERY) => {
                let total = standing.1.load(Ordering::Relaxed);
                tell.at(standing.0.load(Ordering::Relaxed), Some(total).filter(|total| *total > 0));
            }
        }
    };
    let told = match report.faults_total {
        0 => format!("{} entries of {} are what was signed", report.entries, report.size),
        1 => "1 fault".to_owned(),
        more => format!("{more} faults"),
    };
    (tell.tell)(Report::Checked(Box::new(report.into())));
    Ok(told)
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
    Ok(published_words(&published.version, published.already_present, reply.log_index, octets))
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

async fn download(
    means: &mut Means<'_>,
    reference: &str,
    version: common::name::Version,
    artifact: &common::api::Artifact,
    target: &Path,
) -> Result<String, String> {
    let done = transfer::download::download(means, reference, version, artifact, target).await;
    let done = done.map_err(|error| match &error {
        TransferError::Client(error) => transfer::download::goes_on(error),
        TransferError::Local(_) | TransferError::NotVerified(_) => words(error),
    })?;
    let resumed = if done.from > 0 { format!(", gone on at {}", done.from) } else { String::new() };
    Ok(format!("{}: {}{resumed}, digest checked", target.display(), size_words(done.octets)))
}
