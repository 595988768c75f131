//! When something is complete. A pure state machine: it is told what a look showed and what time it is, and says when to
//! look again or that it is time to take the thing. Knows fingerprints and instants; refuses to know files.
//!
//! Only differences between looks count, and the time between them on a clock that never jumps: what times files carry is
//! nobody's clock, and may lie in the future.

use std::time::{Duration, Instant};

use crate::ingest::lanes::{Kind, Seen, Tree};
use crate::ingest::names::{NameKind, Place, namespace_of};

/// A folder that is not known to be complete is looked at again at least so often: nothing tells when a marker is put in it.
const FOLDER_LOOKS_MAX: Duration = Duration::from_secs(60);
/// Of the time for which it has not changed, this part passes before the next look.
const FOLDER_LOOKS_PART: u32 = 8;
/// Without a rest that is not shorter: no settings may make looks that never pause.
const LOOKS_MIN: Duration = Duration::from_millis(10);

/// What a settle is to come to know of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What is there: size, times, inode; for a folder, of all that is in it.
    pub seen: Seen,
    /// Its sidecars, in the same way and always in the same order: one that changes, comes or goes makes the item wait anew.
    pub beside: Vec<Seen>,
    /// Whether somebody has it open for writing. None: not asked, which is enough while [`Settling::asks_writer`] says so.
    pub writer: Option<Writer>,
    /// Whether a rename was seen, since the look before, that brought it here under its name.
    pub moved_in: bool,
}

/// Whether somebody has a file open for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Nobody.
    None,
    /// Somebody.
    Some,
    /// The file system, or our rights, can't tell.
    Unknown,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It settles. Look again then, or sooner if something tells of a change; until then it waits for this.
    Wait {
        /// When.
        until: Instant,
        /// For what, as a sentence.
        reason: String,
    },
    /// Time alone makes nothing of it: somebody has to do something, and the sentence says what.
    Ask {
        /// When to look again all the same. None: only a change can end it, and a change of it is told or walked into.
        until: Option<Instant>,
        /// What is to be done, as a sentence.
        reason: String,
    },
    /// It is complete: to be taken. Whether it can be taken in is not asked here.
    Ready,
    /// A folder that is a namespace: what is in it is looked at in its turn.
    Namespace {
        /// Whether its marker is to be put in it: it stayed empty.
        mark: bool,
    },
}

/// How long things must rest.
#[derive(Debug, Clone, Copy)]
pub struct Rest {
    /// Where it can be told whether somebody has the file open for writing.
    pub sure: Duration,
    /// Where it can't, and where a folder's completeness, or its emptiness, is told by nothing but time.
    pub unsure: Duration,
}

/// What was last seen, and since when it is so.
#[derive(Debug)]
struct Known {
    seen: Seen,
    beside: Vec<Seen>,
    since: Instant,
}

/// One thing that may become complete.
#[derive(Debug)]
pub struct Settling {
    place: Place,
    kind: NameKind,
    /// It lies where nobody else writes: its name and what closed it are decided.
    is_taken: bool,
    known: Option<Known>,
    /// Device and inode of the folder that a rename brought here: it is complete.
    moved_in: Option<(u64, u64)>,
    /// The folder as it was last seen under a temporary name.
    was_temporary: Option<Seen>,
    /// The answer when it was last asked, while nothing has changed since.
    writer: Option<Writer>,
}

impl Settling {
    /// Something that lies there; nothing is known of it before the first look.
    pub fn new(place: Place) -> Self {
        let kind = place.kind();
        Self { place, kind, is_taken: false, known: None, moved_in: None, was_temporary: None, writer: None }
    }

    /// Something that was taken and must rest again where it is: it was complete once, so only changes and writers count.
    pub fn taken(place: Place) -> Self {
        Self { is_taken: true, ..Self::new(place) }
    }

    /// Where it lies.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What was last seen.
    pub fn seen(&self) -> Option<&Seen> {
        self.known.as_ref().map(|known| &known.seen)
    }

    /// It was found under another name, by its device and inode. What was known under a temporary name, and is the same
    /// folder at the next look, is complete: whoever named it so has said it.
    pub fn renamed(&mut self, place: Place) {
        let kind = place.kind();
        if self.kind == NameKind::Temporary && kind != NameKind::Temporary {
            self.was_temporary = self.known.as_ref().map(|known| known.seen.clone());
        }
        self.moved_in = None;
        (self.place, self.kind) = (place, kind);
    }

    /// Whether the next look is to ask for writers: before the rest is over there is no need to, unless there was one.
    pub fn asks_writer(&self, now: Instant, rest: Rest) -> bool {
        let is_rested = |known: &Known| now.saturating_duration_since(known.since) >= self.needed(rest);
        self.writer == Some(Writer::Some) || self.known.as_ref().is_some_and(is_rested)
    }

    /// Another look. A change starts the rest anew, and so does a writer.
    pub fn look(&mut self, look: Look, now: Instant, rest: Rest) -> Verdict {
        let Look { seen, beside, writer, moved_in } = look;
        let id = (seen.device, seen.inode);
        if moved_in {
            self.moved_in = Some(id);
        } else if self.moved_in.is_some_and(|moved| moved != id) {
            self.moved_in = None;
        }
        if self.was_temporary.take().is_some_and(|was| is_renamed(&was, &seen)) {
            self.moved_in = Some(id);
        }
        let is_first = self.known.is_none();
        let is_written = writer == Some(Writer::Some);
        let had_writer = self.writer == Some(Writer::Some);
        let is_changed = self.known.as_ref().is_none_or(|known| known.seen != seen || known.beside != beside);
        // Whoever stopped writing may have written up to now.
        let starts_anew = is_changed || is_written || (had_writer && writer.is_some());
        let since = match &self.known {
            Some(known) if !starts_anew => known.since,
            Some(_) | None => now,
        };
        self.writer = if is_changed { writer } else { writer.or(self.writer) };
        let known = Known { seen, beside, since };
        let verdict = self.said_by_names(&known).unwrap_or_else(|| {
            let needed = self.needed(rest);
            let rested = now.saturating_duration_since(since);
            if is_written {
                let reason = "still open for writing by another program".to_owned();
                Verdict::Wait { until: later(now, needed), reason }
            } else if rested < needed {
                let reason = match (is_first, starts_anew) {
                    (true, _) => format!("new; taken when it rests for {}", shown(needed)),
                    (false, true) => format!("still changing; taken when it rests for {}", shown(needed)),
                    (false, false) => format!("stable in {}", shown(needed.saturating_sub(rested))),
                };
                Verdict::Wait { until: later(since, needed), reason }
            } else if writer.is_none() {
                Verdict::Wait { until: now, reason: "at rest; to be asked for writers".to_owned() }
            } else {
                self.closed(&known, now, rested, rest)
            }
        });
        self.known = Some(known);
        verdict
    }

    /// How long it must rest, as far as it is known who can tell of writers.
    fn needed(&self, rest: Rest) -> Duration {
        let needed = match self.writer {
            Some(Writer::Unknown) => rest.unsure.max(rest.sure),
            Some(Writer::None | Writer::Some) | None => rest.sure,
        };
        needed.max(LOOKS_MIN)
    }

    /// What needs no rest: names and markers say it.
    fn said_by_names(&self, known: &Known) -> Option<Verdict> {
        if self.is_taken {
            return None;
        }
        let asks = |reason| Some(Verdict::Ask { until: None, reason });
        if self.kind == NameKind::Temporary {
            let name = self.place.shown();
            return asks(format!("`{name}` has the name of something unfinished: rename it when it is complete"));
        }
        let tree = known.seen.tree.as_ref().filter(|_| known.seen.kind == Kind::Folder)?;
        let is_namespace = tree.namespace && !tree.marked && self.can_be_namespace();
        is_namespace.then_some(Verdict::Namespace { mark: false })
    }

    fn can_be_namespace(&self) -> bool {
        self.place.namespace.is_none() && namespace_of(&self.place.name).is_some()
    }

    /// At rest, and nobody writes: a file is complete. A folder is if that is known.
    fn closed(&self, known: &Known, now: Instant, rested: Duration, rest: Rest) -> Verdict {
        let Some(tree) = known.seen.tree.as_ref().filter(|_| known.seen.kind == Kind::Folder && !self.is_taken) else {
            return Verdict::Ready;
        };
        let until = later(now, (rested / FOLDER_LOOKS_PART).clamp(rest.sure.min(FOLDER_LOOKS_MAX), FOLDER_LOOKS_MAX));
        let asks = |reason| Verdict::Ask { until: Some(until.max(later(now, LOOKS_MIN))), reason };
        // Nobody has said anything, and a program that stalled between two files looks the same.
        let unsure = rest.unsure.max(rest.sure);
        let rests = |what: &str| {
            let reason = format!("{what} in {}", shown(unsure.saturating_sub(rested)));
            (rested < unsure).then(|| Verdict::Wait { until: later(known.since, unsure), reason })
        };
        let name = self.place.shown();
        let can_be_namespace = self.can_be_namespace();
        if tree.namespace {
            return asks(if self.place.namespace.is_some() {
                format!(
                    "`{name}` is marked as a namespace, but a namespace has no others in it: remove `.mreg-namespace` \
                     from it"
                )
            } else if tree.marked {
                format!(
                    "`{name}` is marked both as one version and as a namespace: remove `.mreg-complete` or \
                     `.mreg-namespace` from it"
                )
            } else {
                format!(
                    "`{name}` can't be a namespace: rename it to letters, digits, `.`, `_`, `-`, beginning with a letter or \
                     digit, at most 96 long"
                )
            });
        }
        if let Some(unfinished) = &tree.unfinished {
            return asks(format!(
                "`{unfinished}` in `{name}` has the name of something unfinished: rename it when it is complete, or remove \
                 it"
            ));
        }
        if tree.marked {
            return Verdict::Ready;
        }
        if is_empty(tree) {
            return match can_be_namespace {
                true => rests("empty; a namespace").unwrap_or(Verdict::Namespace { mark: true }),
                false => asks(format!("`{name}` is empty: put files in it, or remove it")),
            };
        }
        // A look at something else has forgotten it.
        if self.moved_in.is_some() {
            return Verdict::Ready;
        }
        if tree.sealed && (tree.files > 0 || tree.hostile.is_some()) {
            return rests("by its times complete; taken").unwrap_or(Verdict::Ready);
        }
        let mut reason = format!(
            "`{name}` is not known to be complete: put an empty file `.mreg-complete` in it to make it one version"
        );
        if can_be_namespace {
            reason += &format!(", or `.mreg-namespace` to make each file in it a model of the namespace `{name}`");
        }
        if let Some(hostile) = &tree.hostile {
            reason += &format!("; as it is it will be refused: {hostile}");
        }
        asks(reason)
    }
}

/// Whether it is the same folder with the same things in it, which a rename leaves as they are. An inode alone says nothing:
/// it is given away again at once.
fn is_renamed(was: &Seen, is: &Seen) -> bool {
    let of = |seen: &Seen| (seen.device, seen.inode, seen.modified_ns, seen.tree.as_ref().map(|tree| tree.print));
    was.kind == Kind::Folder && is.kind == Kind::Folder && of(was) == of(is)
}

fn is_empty(tree: &Tree) -> bool {
    tree.files == 0 && tree.folders == 0 && tree.hostile.is_none()
}

fn later(instant: Instant, by: Duration) -> Instant {
    instant.checked_add(by).unwrap_or(instant)
}

/// `0.5 s`, `2 s`, `90 s`: at most one decimal, never less than it is.
fn shown(duration: Duration) -> String {
    let tenths = duration.as_nanos().div_ceil(100_000_000);
    match tenths % 10 {
        0 => format!("{} s", tenths / 10),
        tenth => format!("{}.{tenth} s", tenths / 10),
    }
}

#[cfg(test)]
mod tests;
