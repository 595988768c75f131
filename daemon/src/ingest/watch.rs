//! The kernel's hints that something changed in the folders (notify). A hint is a folder or a place to look at; lost ones make
//! a walk. Knows events; refuses to know what they mean. The handler only fills a set; nobody waits for it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Config, Error, ErrorKind, Event, EventHandler, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use rustix::io::Errno;
use tokio::sync::Notify;

/// Names that are kept until they are taken; when there are more, a walk is cheaper.
pub const NAMES_MAX: usize = 100_000;

/// What has happened since the hints were last taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Names in watched folders to look at.
    pub names: BTreeSet<(PathBuf, OsString)>,
    /// Those that were moved in by a rename and are still there under that name, as far as was told; files and folders. They
    /// are kept where the names are dropped for a walk.
    pub moved_in: BTreeSet<(PathBuf, OsString)>,
    /// Events were lost, there were too many, or a watched folder went or came: everything is to be walked, and the folders are
    /// to be added again.
    pub walk: bool,
    /// How often events were lost since start.
    pub overflows: u64,
}

/// Watches folders, without what is below them.
pub struct Watch {
    /// Told when there are hints; once, however many there are until they are taken.
    pub woken: Arc<Notify>,
    hinted: Arc<Mutex<Hinted>>,
    watcher: RecommendedWatcher,
}

/// What the handler fills. Its lock is held for as long as it takes to put a name in a set, by the kernel's thread and by
/// whoever takes.
#[derive(Debug)]
struct Hinted {
    hints: Hints,
    folders: BTreeSet<PathBuf>,
    names_max: usize,
}

/// What notify calls, in its own thread. It must not panic: notify would do so in every call from then on.
struct Handler {
    hinted: Arc<Mutex<Hinted>>,
    woken: Arc<Notify>,
}

impl Watch {
    /// Begins to watch; where the kernel has none of it, says why.
    ///
    /// # Errors
    /// A sentence with what to do.
    pub fn new() -> Result<Self, String> {
        let hints = Hints::default();
        let hinted = Hinted { hints, folders: BTreeSet::new(), names_max: NAMES_MAX };
        let (hinted, woken) = (Arc::new(Mutex::new(hinted)), Arc::new(Notify::new()));
        let handler = Handler { hinted: Arc::clone(&hinted), woken: Arc::clone(&woken) };
        let watcher = RecommendedWatcher::new(handler, Config::default()).map_err(|error| said(&error))?;
        Ok(Self { woken, hinted, watcher })
    }

    /// Adds a folder, given as an absolute path. One that is watched already may be added again, and must be where another
    /// folder has taken its name: the kernel watches folders, not names. Waits for notify's thread, some microseconds.
    ///
    /// # Errors
    /// A sentence with what to do. The folder is to be walked, then.
    pub fn add(&mut self, folder: &Path) -> Result<(), String> {
        // Before the first event of it can come.
        lock(&self.hinted).folders.insert(folder.to_owned());
        let added = self.watcher.watch(folder, RecursiveMode::NonRecursive);
        added.map_err(|error| {
            lock(&self.hinted).folders.remove(folder);
            format!("{}: {}", folder.display(), said(&error))
        })
    }

    /// Takes a folder away that is gone.
    pub fn remove(&mut self, folder: &Path) {
        lock(&self.hinted).folders.remove(folder);
        // Of a folder that is gone the kernel has told, and the watch went with it.
        let _gone = self.watcher.unwatch(folder);
    }

    /// The hints since the last call.
    pub fn take(&self) -> Hints {
        let mut hinted = lock(&self.hinted);
        let overflows = hinted.hints.overflows;
        std::mem::replace(&mut hinted.hints, Hints { overflows, ..Hints::default() })
    }
}

/// A set is whole whoever panicked beside it.
fn lock(hinted: &Mutex<Hinted>) -> MutexGuard<'_, Hinted> {
    hinted.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventHandler for Handler {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        // Every look of ours opens something: these come first and go first.
        if let Ok(event) = &event
            && matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
        {
            return;
        }
        let is_first = {
            let mut hinted = lock(&self.hinted);
            let was_empty = hinted.is_empty();
            match event {
                Ok(event) => hinted.take_in(event),
                // Something could not be read, or not be watched: what it was is not known.
                Err(_error) => hinted.walk(),
            }
            was_empty && !hinted.is_empty()
        };
        if is_first {
            self.woken.notify_one();
        }
    }
}

impl Hinted {
    fn is_empty(&self) -> bool {
        self.hints.names.is_empty() && self.hints.moved_in.is_empty() && !self.hints.walk
    }

    fn walk(&mut self) {
        self.hints.walk = true;
        self.hints.names.clear();
    }

    fn take_in(&mut self, event: Event) {
        if event.need_rescan() {
            // What was moved in may have been replaced since, and nobody was told.
            self.hints.moved_in.clear();
            self.hints.overflows += 1;
            self.walk();
        }
        let kind = event.kind;
        let moves_in = matches!(kind, EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)));
        let replaces = matches!(
            kind,
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
        );
        let last = event.paths.len().saturating_sub(1);
        for (at, path) in event.paths.into_iter().enumerate() {
            if (moves_in || replaces) && self.folders.contains(&path) {
                self.walk();
            }
            let Some((folder, name)) = path.parent().zip(path.file_name()) else { continue };
            let hint = (folder.to_owned(), name.to_owned());
            if moves_in && at == last {
                if self.hints.moved_in.len() < self.names_max {
                    self.hints.moved_in.insert(hint.clone());
                }
            } else if moves_in || replaces {
                self.hints.moved_in.remove(&hint);
            }
            // A walk finds it, too.
            if self.hints.walk {
                continue;
            }
            self.hints.names.insert(hint);
            if self.hints.names.len() > self.names_max {
                self.walk();
            }
        }
    }
}

/// What an error means to whoever can do something about it.
fn said(error: &Error) -> String {
    let is = |cause: &io::Error, errno: Errno| cause.raw_os_error() == Some(errno.raw_os_error());
    match &error.kind {
        ErrorKind::MaxFilesWatch => {
            "the kernel watches no more folders for this user: raise the limit, `sysctl -w \
             fs.inotify.max_user_watches=524288`"
                .into()
        }
        ErrorKind::PathNotFound => "there is no such folder".into(),
        ErrorKind::Io(cause) if is(cause, Errno::MFILE) || is(cause, Errno::NFILE) => {
            "the kernel begins no more watches for this user, or the daemon has too many files open: raise the limit, `sysctl \
             -w fs.inotify.max_user_instances=1024`, or `LimitNOFILE=` of the service"
                .into()
        }
        ErrorKind::Io(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
            "the daemon may not read the folder: give it the right to".into()
        }
        ErrorKind::Io(cause) => format!("it can't be watched: {cause}"),
        _ => format!("it can't be watched: {error}"),
    }
}

#[cfg(test)]
mod tests;
