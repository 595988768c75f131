//! Taking: by rename, so that nobody can reach it any more, and back where a rename went wrong. Knows slots; refuses to know
//! why something is taken.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use common::name::ItemId;
use rustix::fs::{Access, AtFlags, accessat};
use rustix::io::Errno;

use crate::ingest::lanes::beneath::{enter, find, make_folder, names, open_folder, remove_folder, rename_new, sync};
use crate::ingest::lanes::finish::Bases;
use crate::ingest::lanes::look::{is_gone, look_at, reopen, seen_of, shown};
use crate::ingest::lanes::tree::Reach;
use crate::ingest::lanes::{INCOMING, Kind, LOCK, Lanes, MODE_PROCESSING, PROBE, Seen, TakeError, step};
use crate::ingest::names::{NameKind, Place, Root, kind_of, namespace_of};

/// Marks the slot of an item that lay in the drop folder itself.
const FROM_TOP: &str = ".top";
/// Marks the slot of a sidecar that is refused for want of its file: it is the item.
const SIDECAR_ALONE: &str = ".sidecar";
/// Stands before the namespace in a slot's name: no namespace has it.
const NAMESPACE_SIGN: char = '+';
/// Octets of an item's id.
const ITEM_OCTETS: usize = 26;

/// What is taken and not yet durable: each with the number of the take that came last to it, so that a sync strikes off
/// only what was there when it began.
#[derive(Default)]
pub(super) struct Taken {
    number: u64,
    slots: BTreeMap<String, u64>,
    origins: BTreeMap<(Root, Option<String>), u64>,
}

impl Taken {
    fn add(&mut self, slot: String, origin: (Root, Option<String>)) {
        self.number += 1;
        self.slots.insert(slot, self.number);
        self.origins.insert(origin, self.number);
    }

    fn strike_up_to(&mut self, number: u64) {
        self.slots.retain(|_, last| *last > number);
        self.origins.retain(|_, last| *last > number);
    }
}

impl TakeError {
    /// What a failed call means for something that may go at any time.
    pub(super) fn of(error: io::Error) -> Self {
        if is_gone(&error) { Self::Changed } else { Self::Io(error) }
    }
}

/// The name of an item's folder in `processing/`.
pub(super) fn slot_name(item: ItemId, place: &Place) -> String {
    let mut name = item.to_string();
    if place.root == Root::Top {
        name.push_str(FROM_TOP);
    }
    if is_beside(&place.name) {
        name.push_str(SIDECAR_ALONE);
    }
    if let Some(namespace) = &place.namespace {
        name.push(NAMESPACE_SIGN);
        name.push_str(namespace);
    }
    name
}

/// What a slot's name says.
struct SlotName {
    item: ItemId,
    root: Root,
    sidecar: bool,
    namespace: Option<String>,
}

impl SlotName {
    fn parse(name: &str) -> Option<Self> {
        let (item, rest) = name.split_at_checked(ITEM_OCTETS)?;
        let (marks, namespace) = match rest.split_once(NAMESPACE_SIGN) {
            Some((_, namespace)) if namespace_of(OsStr::new(namespace)).is_none() => return None,
            Some((marks, namespace)) => (marks, Some(namespace.to_owned())),
            None => (rest, None),
        };
        let (root, marks) = match marks.strip_prefix(FROM_TOP) {
            Some(marks) => (Root::Top, marks),
            None => (Root::Incoming, marks),
        };
        let sidecar = match marks {
            "" => false,
            SIDECAR_ALONE => true,
            _ => return None,
        };
        Some(Self { item: item.parse().ok()?, root, sidecar, namespace })
    }
}

/// Whether a name is of something that lies beside an item.
fn is_beside(name: &OsStr) -> bool {
    matches!(kind_of(name), NameKind::Sidecar(_) | NameKind::Checksum(_))
}

impl Lanes {
    /// The folder of a taken item, to reach what is in it.
    pub(super) fn slot(&self, item: ItemId, place: &Place) -> io::Result<OwnedFd> {
        enter(&self.processing, slot_name(item, place))
    }

    pub(super) fn look_in_slot(&self, item: ItemId, place: &Place) -> io::Result<Option<Seen>> {
        match self.slot(item, place) {
            Ok(slot) => look_at(&slot, &place.name, self.home, Reach::Version),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn take_in(
        &self,
        item: ItemId,
        place: &Place,
        seen: &Seen,
        sidecars: &[OsString],
    ) -> Result<(), TakeError> {
        let from = self.folder_of(place).map_err(TakeError::of)?;
        self.unchanged(&from, place, seen)?;
        let name = slot_name(item, place);
        make_folder(&self.processing, OsStr::new(&name), MODE_PROCESSING).map_err(TakeError::Io)?;
        step();
        let slot = open_folder(&self.processing, &name).map_err(TakeError::Io)?;
        let taken = self.move_in(&from, &slot, place, seen, sidecars);
        // After the renames, not before: another thread may sync at any time, and what it strikes off must be durable.
        self.not_durable().add(name.clone(), (place.root, place.namespace.clone()));
        if taken.is_err() {
            // The caller decides anew on what it finds where it was. If this fails, all stays in the slot: the next start
            // finds it.
            if let Err(error) = self.put_back(item, &slot, &name, &from) {
                tracing::error!(%error, slot = name, "what was taken by mistake can't be put back: it stays in processing/");
            }
        }
        taken
    }

    /// Sidecars first: whoever finds the item in its slot finds them, too.
    fn move_in(
        &self,
        from: &OwnedFd,
        slot: &OwnedFd,
        place: &Place,
        seen: &Seen,
        sidecars: &[OsString],
    ) -> Result<(), TakeError> {
        for sidecar in sidecars {
            rename_new(from, sidecar, slot, sidecar)
                .map_err(|errno| refusal(errno, place, Kind::File, Closed::of(from, place)))?;
            step();
        }
        self.unchanged(from, place, seen)?;
        rename_new(from, &place.name, slot, &place.name)
            .map_err(|errno| refusal(errno, place, seen.kind, Closed::of(from, place)))?;
        step();
        // Between the look and the rename, something else may have come into its place.
        let stat = find(slot, &place.name).map_err(TakeError::Io)?.ok_or(TakeError::Changed)?;
        let now = seen_of(&stat, self.home);
        let same_content = now.kind == Kind::Folder || (now.size, now.modified_ns) == (seen.size, seen.modified_ns);
        if (now.kind, now.device, now.inode) == (seen.kind, seen.device, seen.inode) && same_content {
            Ok(())
        } else {
            Err(TakeError::Changed)
        }
    }

    /// Whether something is still what was decided upon.
    fn unchanged(&self, from: &OwnedFd, place: &Place, seen: &Seen) -> Result<(), TakeError> {
        let reach = Reach::of(place.namespace.as_deref());
        let now = look_at(from, &place.name, self.home, reach).map_err(TakeError::Io)?;
        if now.as_ref() == Some(seen) { Ok(()) } else { Err(TakeError::Changed) }
    }

    /// Moves everything in a slot to where it came from, and removes the slot. What has a successor there lies beside it.
    fn put_back(&self, item: ItemId, slot: &OwnedFd, slot_name: &str, to: &OwnedFd) -> io::Result<()> {
        for name in names(reopen(slot)?)? {
            self.move_beside(item, slot, &name, to)?;
            step();
        }
        remove_folder(&self.processing, OsStr::new(slot_name))
    }

    /// Moves something to a folder under its name, or one with the item's id where that is taken.
    pub(super) fn move_beside(&self, item: ItemId, from: &OwnedFd, name: &OsStr, to: &OwnedFd) -> io::Result<OsString> {
        for base in Bases::of(item, name, self.name_octets_max).all() {
            match rename_new(from, name, to, &base) {
                Ok(()) => return Ok(base),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn not_durable(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is on the list stays there until it is durable: whoever comes meanwhile must not take an empty list for that.
    pub(super) fn sync_slots(&self) -> io::Result<()> {
        let (number, slots, origins) = {
            let taken = self.not_durable();
            let slots: Vec<String> = taken.slots.keys().cloned().collect();
            (taken.number, slots, taken.origins.keys().cloned().collect::<Vec<_>>())
        };
        self.sync_all(&slots, &origins)?;
        self.not_durable().strike_up_to(number);
        Ok(())
    }

    /// Slots, then their folder, then where the items were: a power cut in between leaves them in one place or both, never in
    /// none. In one journal every take is a change of the folder that it was from, and of `processing/`: these two do.
    fn sync_all(&self, slots: &[String], origins: &[(Root, Option<String>)]) -> io::Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        if !self.ordered {
            self.sync_each_slot(slots)?;
        }
        sync(&self.processing)?;
        step();
        let mut all = true;
        for (root, namespace) in origins {
            let folder = match namespace {
                Some(namespace) => open_folder(self.root(*root), Self::namespace_name(*root, namespace)?),
                None => reopen(self.root(*root)),
            };
            match folder {
                Ok(folder) => sync(&folder)?,
                // It may be that we may only write to it.
                Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::PermissionDenied => all = false,
                Err(error) => return Err(error),
            }
        }
        if self.ordered && !all { self.sync_each_slot(slots) } else { Ok(()) }
    }

    fn sync_each_slot(&self, slots: &[String]) -> io::Result<()> {
        for slot in slots {
            match open_folder(&self.processing, slot) {
                Ok(slot) => sync(&slot)?,
                // It was put back, or has ended already.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn slots(&self) -> io::Result<Vec<(ItemId, Place)>> {
        let mut items = Vec::new();
        for name in names(reopen(&self.processing)?)? {
            if name == LOCK || name == PROBE {
                continue;
            }
            let parsed = name.to_str().and_then(SlotName::parse);
            // Lower case is an id, too, but no slot's name.
            let parsed = parsed.filter(|slot| name.as_bytes().starts_with(slot.item.to_string().as_bytes()));
            let slot = open_folder(&self.processing, &name);
            let (Some(parsed), Ok(slot)) = (parsed, slot) else {
                tracing::warn!(
                    name = shown(&name),
                    "in processing/ lies what the daemon didn't put there: it is left alone"
                );
                continue;
            };
            match self.settle_slot(&name, &parsed, &slot) {
                Ok(Some(item)) => {
                    items.push((parsed.item, Place { root: parsed.root, namespace: parsed.namespace, name: item }))
                }
                Ok(None) => tracing::info!(slot = shown(&name), "what was taken by half is back where it was"),
                // Where it came from, something else may lie: no reason not to take the others in.
                Err(error) => tracing::warn!(
                    %error,
                    slot = shown(&name),
                    "what was taken by half can't be put back; the next start tries again"
                ),
            }
        }
        Ok(items)
    }

    /// The item in a slot; none: there was none, and the slot is no more.
    fn settle_slot(&self, name: &OsStr, parsed: &SlotName, slot: &OwnedFd) -> io::Result<Option<OsString>> {
        let found = names(slot)?;
        let mut items = found.iter().filter(|name| parsed.sidecar || !is_beside(name));
        let item = items.next();
        if let (Some(item), None) = (item, items.next()) {
            return Ok(Some(item.clone()));
        }
        if let Some(item) = item {
            // Nothing here makes such a slot. The item is the one that the others are named after.
            let owner = found.iter().find(|name| {
                found
                    .iter()
                    .all(|other| other == *name || other.as_encoded_bytes().starts_with(name.as_encoded_bytes()))
            });
            return Ok(Some(owner.unwrap_or(item).clone()));
        }
        // A crash between the renames of taking, or of readmitting: these lie in `rejected/` with their item.
        for sidecar in &found {
            if !self.back_to_rejected(parsed.item, parsed.namespace.as_deref(), slot, sidecar)? {
                let to = self.origin(parsed)?;
                self.move_beside(parsed.item, slot, sidecar, &to)?;
                // It may be that we may only write to it.
                reopen(&to).and_then(|to| sync(&to)).or_else(|error| match error.kind() {
                    io::ErrorKind::PermissionDenied => Ok(()),
                    _ => Err(error),
                })?;
            }
            step();
        }
        remove_folder(&self.processing, name)?;
        sync(&self.processing)?;
        Ok(None)
    }

    /// Where a slot's item came from; a namespace that is gone is made again.
    fn origin(&self, parsed: &SlotName) -> io::Result<OwnedFd> {
        match &parsed.namespace {
            Some(namespace) => {
                let name = Self::namespace_name(parsed.root, namespace)?;
                match open_folder(self.root(parsed.root), name) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        self.namespace_at(parsed.root, namespace)?;
                        open_folder(self.root(parsed.root), name)
                    }
                    answer => answer,
                }
            }
            None => reopen(self.root(parsed.root)),
        }
    }
}

/// What the daemon may not write to.
#[derive(Debug, Clone, Copy)]
struct Closed {
    /// The item itself.
    item: bool,
    /// The folder that it lies in.
    folder: bool,
}

impl Closed {
    fn of(from: &OwnedFd, place: &Place) -> Self {
        let closed = |name: &OsStr, access| accessat(from, name, access, AtFlags::EACCESS) == Err(Errno::ACCESS);
        Self {
            item: closed(&place.name, Access::WRITE_OK),
            folder: closed(OsStr::new("."), Access::WRITE_OK | Access::EXEC_OK),
        }
    }
}

/// Why a rename out of a watched folder failed, and what to do.
fn refusal(errno: Errno, place: &Place, kind: Kind, closed: Closed) -> TakeError {
    let name = shown(&place.name);
    let folder = match (&place.namespace, place.root) {
        (Some(namespace), _) => shown(namespace),
        (None, Root::Incoming) => INCOMING.to_owned(),
        (None, Root::Top) => "the drop folder".to_owned(),
    };
    match errno {
        Errno::NOENT | Errno::NOTDIR => TakeError::Changed,
        Errno::XDEV => TakeError::Refused(format!("`{name}` lies on another file system than the drop folder")),
        Errno::BUSY => TakeError::Refused(format!("`{name}` is a mount point: it can't be moved")),
        Errno::ACCESS if kind == Kind::Folder && closed.item && closed.folder => TakeError::Refused(format!(
            "the daemon may not move the folder `{name}`: let its group write to it (chmod g+w), and to `{folder}`"
        )),
        Errno::ACCESS if kind == Kind::Folder && !closed.folder => TakeError::Refused(format!(
            "the daemon may not move the folder `{name}`: let its group write to it (chmod g+w)"
        )),
        Errno::ACCESS => TakeError::Refused(format!(
            "the daemon may not move `{name}` out of `{folder}`: let its group write to that folder (chmod g+w)"
        )),
        Errno::PERM => TakeError::Refused(format!(
            "the system does not let the daemon move `{name}`: `{folder}` has the sticky bit (chmod -t), or the file is \
             immutable or append-only (chattr -i -a)"
        )),
        Errno::ROFS => TakeError::Refused(format!("`{name}` lies on a file system that is read-only")),
        other => TakeError::Io(other.into()),
    }
}

/// Whether a path is one of ours below a lane: relative, plain segments.
pub(super) fn plain(path: &Path) -> bool {
    path.components().all(|segment| matches!(segment, std::path::Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use common::name::ItemId;
    use rustix::io::Errno;

    use super::{Closed, SlotName, Taken, refusal, slot_name};
    use crate::ingest::lanes::{Kind, TakeError};
    use crate::ingest::names::{Place, Root};

    fn place(root: Root, namespace: Option<&str>, name: &str) -> Place {
        Place { root, namespace: namespace.map(str::to_owned), name: name.into() }
    }

    /// A slot's name says whose it is and where it came from, and no other name does.
    #[test]
    fn a_slots_name_is_read_back() {
        let item = ItemId::from_u128(77);
        for root in [Root::Top, Root::Incoming] {
            for namespace in [None, Some("bert"), Some("a.top"), Some("x.sidecar")] {
                for (name, sidecar) in [("a.bin", false), ("a.bin.sha256", true), ("a.mreg.json", true)] {
                    let place = place(root, namespace, name);
                    let slot = SlotName::parse(&slot_name(item, &place)).unwrap();
                    assert_eq!((slot.item, slot.root, slot.sidecar), (item, root, sidecar));
                    assert_eq!(slot.namespace.as_deref(), namespace);
                }
            }
        }
        let whole = item.to_string();
        for bad in
            ["", "x", "é".repeat(13).as_str(), &format!("{whole}.x"), &format!("{whole}+"), &format!("{whole}+../x")]
        {
            assert!(SlotName::parse(bad).is_none(), "{bad:?}");
        }
    }

    /// What is taken while others are made durable is still to be made so, and so is the folder that both were in.
    #[test]
    fn a_sync_strikes_off_what_it_began_with() {
        let (first, second) = ("first".to_owned(), "second".to_owned());
        let mut taken = Taken::default();
        taken.add(first, (Root::Incoming, None));
        let number = taken.number;
        taken.add(second.clone(), (Root::Incoming, None));
        taken.strike_up_to(number);
        assert_eq!(taken.slots.keys().collect::<Vec<_>>(), [&second]);
        assert_eq!(taken.origins.len(), 1);
        taken.strike_up_to(taken.number);
        assert!(taken.slots.is_empty() && taken.origins.is_empty());
    }

    /// What can't be renamed says why, and what to do.
    #[test]
    fn refusals_say_what_to_do() {
        let place = place(Root::Incoming, Some("bert"), "a\n.bin");
        for (errno, words) in [
            (Errno::XDEV, "`a\\n.bin` lies on another file system"),
            (Errno::BUSY, "is a mount point"),
            (Errno::ACCESS, "chmod g+w"),
            (Errno::PERM, "`bert` has the sticky bit (chmod -t)"),
            (Errno::ROFS, "read-only"),
        ] {
            let refused = refusal(errno, &place, Kind::File, Closed { item: true, folder: true });
            assert!(matches!(&refused, TakeError::Refused(why) if why.contains(words)), "{refused:?}");
        }
        for (item, folder, own, outer) in
            [(true, false, true, false), (false, true, false, true), (true, true, true, true)]
        {
            let refused = refusal(Errno::ACCESS, &place, Kind::Folder, Closed { item, folder });
            let TakeError::Refused(why) = &refused else { panic!("{refused:?}") };
            assert_eq!((why.contains("write to it "), why.contains("`bert`")), (own, outer), "{why}");
        }
        let open = Closed { item: false, folder: false };
        assert!(matches!(refusal(Errno::NOENT, &place, Kind::File, open), TakeError::Changed));
        assert!(matches!(refusal(Errno::NOSPC, &place, Kind::File, open), TakeError::Io(_)));
        assert!(super::is_beside(OsStr::new("a.SHA256")));
    }
}
