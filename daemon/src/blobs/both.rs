//! Two stores as one, while blobs move from the old to the new: what is new goes to the new one, what is read comes from
//! either, what is removed goes from both. Knows the trait alone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use common::digest::Digest;

use super::{BlobError, BlobReader, Blobs, HandOut, Partial, Removal, Space, Staged};
use crate::config::secret::Secret;

/// Octets of a piece of a partial blob on its way to the new store.
const COPY_OCTETS: usize = 1 << 20;

/// Blobs in two stores. Where both have one, the new store's counts.
pub struct Both {
    new: Arc<dyn Blobs>,
    old: Arc<dyn Blobs>,
}

impl Both {
    /// Of a store that takes what is new, and one that still has what is old.
    pub fn new(new: Arc<dyn Blobs>, old: Arc<dyn Blobs>) -> Self {
        Self { new, old }
    }

    /// Asks the new store, then the old one. That the new one can't be reached matters only if the old one doesn't know
    /// either.
    fn either<T>(&self, ask: impl Fn(&dyn Blobs) -> Result<Option<T>, BlobError>) -> Result<Option<T>, BlobError> {
        match ask(&*self.new) {
            Ok(None) => ask(&*self.old),
            Ok(found) => Ok(found),
            Err(error) => match ask(&*self.old) {
                Ok(Some(found)) => Ok(Some(found)),
                Ok(None) | Err(_) => Err(error),
            },
        }
    }
}

impl Both {
    /// Which of them has this partial blob; the new one where neither has.
    fn holder(&self, name: &str) -> Result<&Arc<dyn Blobs>, BlobError> {
        let mut is_old = false;
        self.old.partials(&mut |known, _bytes| is_old |= known == name)?;
        Ok(if is_old { &self.old } else { &self.new })
    }
}

impl Blobs for Both {
    fn stage(&self) -> Result<Box<dyn Staged>, BlobError> {
        self.new.stage()
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn BlobReader>, BlobError> {
        let opened = self.either(|blobs| match blobs.open(digest) {
            Ok(reader) => Ok(Some(reader)),
            Err(BlobError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        });
        opened?.ok_or(BlobError::NotFound(*digest))
    }

    fn contains(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        self.either(|blobs| blobs.contains(digest))
    }

    fn is_there(&self) -> Result<(), BlobError> {
        self.new.is_there()?;
        self.old.is_there()
    }

    /// One of the two is enough: daemons that go over to the new one do so one after the other.
    fn is_shared_with(&self, other: &str) -> Result<bool, BlobError> {
        Ok(self.new.is_shared_with(other)? || self.old.is_shared_with(other)?)
    }

    fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        // The old one first: what is left after a failure is still found and removed.
        self.old.remove(digest)?;
        self.new.remove(digest)
    }

    /// Nobody else counts on what the old one has: whoever keeps the same octets sends them to the new one.
    fn remove_unneeded(&self, digest: &Digest) -> Result<Removal, BlobError> {
        match self.new.remove_unneeded(digest)? {
            Removal::Done => self.old.remove_unneeded(digest),
            later @ Removal::Later(_) => Ok(later),
        }
    }

    /// The younger one's, where both have it.
    fn age(&self, digest: &Digest) -> Result<Option<Duration>, BlobError> {
        let ages = [self.new.age(digest)?, self.old.age(digest)?];
        Ok(ages.into_iter().flatten().min())
    }

    /// What is kept is kept in the new store, also where the old one has it.
    fn commit_within(&self) -> Option<Duration> {
        self.new.commit_within()
    }

    /// Keeps the digests of the new store in memory for it, 32 octets each and some.
    fn list(&self, visit: &mut dyn FnMut(Digest, u64)) -> Result<(), BlobError> {
        let mut seen = HashSet::new();
        self.new.list(&mut |digest, bytes| {
            seen.insert(digest);
            visit(digest, bytes);
        })?;
        self.old.list(&mut |digest, bytes| {
            if !seen.contains(&digest) {
                visit(digest, bytes);
            }
        })
    }

    fn space(&self) -> Result<Space, BlobError> {
        self.new.space()
    }

    /// What was begun in the old store goes on there.
    fn partial(&self, name: &str) -> Result<Box<dyn Partial>, BlobError> {
        self.holder(name)?.partial(name)
    }

    /// Always in the new store, where it is going to be kept: what lies in the old one is copied.
    fn stage_partial(&self, name: &str) -> Result<Box<dyn Staged>, BlobError> {
        let holder = self.holder(name)?;
        let staged = holder.stage_partial(name)?;
        if Arc::ptr_eq(holder, &self.new) {
            return Ok(staged);
        }
        let mut copy = self.new.stage()?;
        let mut piece = vec![0; COPY_OCTETS];
        loop {
            let count = staged.read_at(copy.len(), &mut piece)?;
            if count == 0 {
                return Ok(copy);
            }
            copy.write(&piece[..count])?;
        }
    }

    fn partials(&self, visit: &mut dyn FnMut(&str, u64)) -> Result<(), BlobError> {
        self.new.partials(visit)?;
        self.old.partials(visit)
    }

    fn remove_partial(&self, name: &str) -> Result<(), BlobError> {
        self.old.remove_partial(name)?;
        self.new.remove_partial(name)
    }

    fn sweep_staging(&self) -> Result<u64, BlobError> {
        Ok(self.new.sweep_staging()? + self.old.sweep_staging()?)
    }

    fn backend(&self) -> &'static str {
        match (self.new.backend(), self.old.backend()) {
            ("s3", "disk") => "s3 and disk",
            ("disk", "s3") => "disk and s3",
            (new, _same) => new,
        }
    }

    fn reachable(&self) -> Result<(), String> {
        self.new.reachable()?;
        self.old.reachable()
    }

    fn hands_out(&self) -> bool {
        self.new.hands_out() || self.old.hands_out()
    }

    fn hand_out(&self, digest: &Digest, said: &HandOut) -> Result<Option<Secret>, BlobError> {
        // Who fetches by themselves finds only what is there.
        for blobs in [&self.new, &self.old] {
            if blobs.contains(digest)?.is_some() {
                return blobs.hand_out(digest, said);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::path::Path;
    use std::sync::Arc;

    use common::digest::Digest;
    use sha2::{Digest as _, Sha256};

    use super::Both;
    use crate::blobs::contract::blob_contract;
    use crate::blobs::disk::{DiskBlobs, DiskOptions};
    use crate::blobs::{BlobError, Blobs, Removal};

    fn disk(dir: &Path) -> Arc<dyn Blobs> {
        Arc::new(DiskBlobs::open(dir, DiskOptions::default()).unwrap())
    }

    fn keep(blobs: &dyn Blobs, octets: &[u8]) -> Digest {
        let digest = Digest::from_bytes(Sha256::digest(octets).into());
        let mut staged = blobs.stage().unwrap();
        staged.write(octets).unwrap();
        staged.keep(&digest).unwrap();
        digest
    }

    #[test]
    fn contract() {
        let root = tempfile::tempdir().unwrap();
        let next = std::cell::Cell::new(0);
        blob_contract(|| {
            let dir = root.path().join(next.replace(next.get() + 1).to_string());
            Box::new(Both::new(disk(&dir.join("new")), disk(&dir.join("old"))))
        });
    }

    /// What is in either is found once; what is removed is gone from both; what is new goes to the new one.
    #[test]
    fn two_as_one() {
        let root = tempfile::tempdir().unwrap();
        let (new, old) = (disk(&root.path().join("new")), disk(&root.path().join("old")));
        let (in_old, in_both) = (keep(&*old, b"old"), keep(&*old, b"both"));
        keep(&*new, b"both");
        let both = Both::new(Arc::clone(&new), Arc::clone(&old));
        let in_new = keep(&both, b"new");
        assert_eq!(old.contains(&in_new).unwrap(), None);
        let mut listed = Vec::new();
        both.list(&mut |digest, _bytes| listed.push(digest)).unwrap();
        listed.sort();
        let mut all = vec![in_old, in_both, in_new];
        all.sort();
        assert_eq!(listed, all);
        for digest in all {
            assert!(both.open(&digest).is_ok() && both.contains(&digest).unwrap().is_some());
            assert_eq!(both.remove_unneeded(&digest).unwrap(), Removal::Done);
            assert!(matches!(both.open(&digest), Err(BlobError::NotFound(_))));
            assert_eq!((new.contains(&digest).unwrap(), old.contains(&digest).unwrap()), (None, None));
        }
    }

    /// What was begun in the old store goes on there, also when the new one is asked for something else, and ends in the new.
    #[test]
    fn partial_in_the_old_one() {
        let root = tempfile::tempdir().unwrap();
        let (new, old) = (disk(&root.path().join("new")), disk(&root.path().join("old")));
        old.partial("a").unwrap().write(b"begun ").unwrap();
        let both = Both::new(Arc::clone(&new), Arc::clone(&old));
        both.partial("b").unwrap().write(b"other").unwrap();
        let mut partial = both.partial("a").unwrap();
        assert_eq!(partial.len(), 6);
        partial.write(b"before").unwrap();
        partial.sync().unwrap();
        let names = |blobs: &dyn Blobs| {
            let mut names = Vec::new();
            blobs.partials(&mut |name, bytes| names.push((name.to_owned(), bytes))).unwrap();
            names.sort();
            names
        };
        let (a, b) = (("a".to_owned(), 12), ("b".to_owned(), 5));
        assert_eq!((names(&*old), names(&*new)), (vec![a.clone()], vec![b.clone()]));
        assert_eq!(names(&both), [a, b.clone()]);
        let digest = Digest::from_bytes(Sha256::digest(b"begun before").into());
        both.stage_partial("a").unwrap().keep(&digest).unwrap();
        assert_eq!((new.contains(&digest).unwrap(), old.contains(&digest).unwrap()), (Some(12), None));
        assert_eq!(both.sweep_staging().unwrap(), 0);
        both.remove_partial("a").unwrap();
        assert_eq!(names(&both), [b]);
    }
}
