//! What runs by the clock or behind the scenes: the summary of rejected requests, the end of what can be restored, the
//! last use of API tokens, the
//! sweep of blobs that a crash left behind, and the count of tasks that a stop waits for. Refuses to know requests.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use common::digest::Digest;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::registry::{Inner, gc, rescan, retention, tail};

/// How often rejected requests are summarised.
const SUMMARY_EVERY: Duration = Duration::from_secs(60);
/// How often it is written down when API tokens were last used.
const USES_EVERY: Duration = Duration::from_secs(3600);
/// How often it is looked for deletions whose time is over.
const PURGE_EVERY: Duration = Duration::from_secs(3600);
/// How often it is looked for resumable uploads whose time is over.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked for removals that were put off.
const PUT_OFF_EVERY: Duration = Duration::from_secs(60);
/// Models purged in one round.
const PURGED_AT_ONCE: usize = 100;
/// Blobs of a sweep that are looked up together.
const SWEPT_AT_ONCE: usize = 4096;
/// How long a stop waits for tasks.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// Tasks that outlive the request that started them.
#[derive(Default)]
pub(crate) struct Tasks {
    shared: Arc<Running>,
}

#[derive(Default)]
struct Running {
    count: AtomicUsize,
    ended: Notify,
}

/// One task, or something else that a stop waits for; dropped when it ends, however it ends.
pub(crate) struct Ticked(Arc<Running>);

impl Drop for Ticked {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.ended.notify_waiters();
        }
    }
}

impl Tasks {
    /// Starts a task that a stop waits for.
    pub(crate) fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tokio::spawn(self.counted(work))
    }

    /// The same from a place that may be outside of the runtime, or after its end: then nothing is started.
    pub(crate) fn spawn_if_running<F>(&self, work: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(self.counted(work));
        }
    }

    fn counted<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let ticked = self.hold();
        async move {
            let _ticked = ticked;
            work.await
        }
    }

    /// Counts something that is no task of ours until it is dropped.
    pub(crate) fn hold(&self) -> Ticked {
        self.shared.count.fetch_add(1, Ordering::AcqRel);
        Ticked(Arc::clone(&self.shared))
    }

    /// Waits until no task is left, or for [`STOP_WAIT`].
    pub(crate) async fn finish(&self) {
        let all_ended = async {
            loop {
                let ended = self.shared.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                if self.shared.count.load(Ordering::Acquire) == 0 {
                    return;
                }
                ended.await;
            }
        };
        if tokio::time::timeout(STOP_WAIT, all_ended).await.is_err() {
            tracing::warn!("stopping with work under way");
        }
    }
}

/// Starts the upkeep of a registry. It ends with the registry.
pub(crate) fn start(inner: &Arc<Inner>) -> Vec<JoinHandle<()>> {
    let sweep = tokio::spawn(sweep(Arc::downgrade(inner)));
    let summaries = tokio::spawn(every(SUMMARY_EVERY, Arc::downgrade(inner), |inner| async move {
        inner.summarise_rejected().await;
    }));
    let uses = tokio::spawn(every(USES_EVERY, Arc::downgrade(inner), |inner| async move {
        inner.write_token_uses().await;
    }));
    let purges = tokio::spawn(every(PURGE_EVERY, Arc::downgrade(inner), |inner| async move {
        purge_expired(&inner).await;
    }));
    let expiries = tokio::spawn(every(
        EXPIRE_EVERY.min(inner.settings().resumable.expiry),
        Arc::downgrade(inner),
        |inner| async move { inner.expire_uploads().await },
    ));
    let put_off = tokio::spawn(every(PUT_OFF_EVERY, Arc::downgrade(inner), |inner| async move {
        inner.settle_later(inner.removals.due());
    }));
    let retention = tokio::spawn(retention::rounds(Arc::downgrade(inner)));
    let feed = tokio::spawn(tail::feed(Arc::downgrade(inner)));
    let rescans =
        inner.settings().rescan_bytes_per_second.map(|rate| tokio::spawn(rescan::rounds(Arc::downgrade(inner), rate)));
    let collections = inner.settings().gc.interval.map(|every| tokio::spawn(gc::rounds(Arc::downgrade(inner), every)));
    [sweep, summaries, uses, purges, expiries, put_off, retention, feed]
        .into_iter()
        .chain(rescans)
        .chain(collections)
        .collect()
}

async fn every<F>(period: Duration, inner: Weak<Inner>, work: impl Fn(Arc<Inner>) -> F)
where
    F: Future<Output = ()>,
{
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        work(inner).await;
    }
}

/// Purges deleted models that can't be restored any more.
async fn purge_expired(inner: &Arc<Inner>) {
    if !inner.store.upkeeps() {
        return;
    }
    loop {
        let now_ms = clock::now_ms();
        let expired = match inner.read(|view| Ok(view.expired_models(now_ms, PURGED_AT_ONCE)?)).await {
            Ok(expired) => expired,
            Err(error) => {
                tracing::warn!(error = crate::error_chain(&error), "can't look for deletions whose time is over");
                return;
            }
        };
        for id in &expired {
            if let Err(failure) = inner.purge_expired_model(*id).await {
                // It comes again in the next round; going on at once would only fail again.
                tracing::warn!(model = %id, error = crate::error_chain(&failure.error), "can't purge a deleted model");
                return;
            }
        }
        if expired.len() < PURGED_AT_ONCE {
            return;
        }
    }
}

/// Removes blobs that nothing points to: what a crash between keeping bytes and committing their record left, or between
/// committing a purge and removing its bytes.
async fn sweep(inner: Weak<Inner>) {
    let Some(registry) = inner.upgrade() else { return };
    let (tell, mut told) = tokio::sync::mpsc::channel::<Vec<Digest>>(1);
    let listing = tokio::task::spawn_blocking(move || {
        let mut found = Vec::with_capacity(SWEPT_AT_ONCE);
        let listed = registry.blobs.list(&mut |digest, _size| {
            found.push(digest);
            if found.len() == SWEPT_AT_ONCE {
                // Nobody takes them any more: a stop.
                let _stopping = tell.blocking_send(std::mem::take(&mut found));
            }
        });
        let _stopping = tell.blocking_send(found);
        listed
    });
    // What is pinned belongs to an upload under way, and is left alone.
    while let Some(digests) = told.recv().await {
        let Some(registry) = inner.upgrade() else { return };
        registry.settle_later(digests);
    }
    match listing.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(error = crate::error_chain(&error), "can't list blobs to look for orphans");
        }
        Err(_stopping) => {}
    }
}
