//! Answers that are kept until something that they were made from changes, so that what is asked all the time is put together
//! once. Knows questions and whether an answer still holds; refuses to know what is asked.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::basis::Basis;

/// Answers to so many questions at most. Each has one place, which it loses to the next that has the same.
pub(crate) struct Memo<K, V> {
    places: Box<[Place<K, V>]>,
    hasher: RandomState,
}

type Place<K, V> = Mutex<Option<Kept<K, V>>>;

struct Kept<K, V> {
    question: K,
    answer: Arc<V>,
    basis: Basis,
}

impl<K: Hash + Eq, V> Memo<K, V> {
    /// Nothing yet. Memory for the places is taken at once.
    pub(crate) fn new(places: usize) -> Self {
        Self { places: (0..places).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    fn place(&self, question: &K) -> Option<&Place<K, V>> {
        let hash = usize::try_from(self.hasher.hash_one(question)).unwrap_or_default();
        self.places.get(hash.checked_rem(self.places.len())?)
    }

    /// The answer, if it still holds.
    pub(crate) fn get(&self, question: &K) -> Option<Arc<V>> {
        let kept = self.place(question)?.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.as_ref().filter(|kept| kept.question == *question && kept.basis.holds())?;
        Some(Arc::clone(&kept.answer))
    }

    /// Keeps an answer.
    pub(crate) fn keep(&self, question: K, answer: Arc<V>, basis: Basis) {
        let Some(place) = self.place(&question) else { return };
        let kept = Some(Kept { question, answer, basis });
        let before = std::mem::replace(&mut *place.lock().unwrap_or_else(PoisonError::into_inner), kept);
        // Outside the lock: it may be large.
        drop(before);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Arc;

    use super::Memo;
    use crate::store::basis::{Counts, Noted};
    use crate::store::overlay::{Kv as _, Overlay};
    use crate::store::packed::PackedTree;

    /// An answer is given until what it was made from changes, and only to its question.
    #[test]
    fn until_it_changes() {
        let db = sled::Config::new().temporary(true).open().unwrap();
        let tree = PackedTree::open(&db, b"t").unwrap();
        let write = |key: &[u8], value: &[u8]| {
            let mut overlay = Overlay::new(&tree);
            overlay.put(key.to_vec(), value.to_vec());
            tree.take(overlay.into_changes());
        };
        let counts = Arc::new(Counts::default());
        let memo = Memo::new(1);
        let ask = |tree: &PackedTree| {
            let noted = Noted::new(tree, tree.counts());
            let answer = noted.get(b"k").unwrap().map(|value| value.to_vec());
            memo.keep("k", Arc::new(answer), noted.basis().unwrap());
        };
        write(b"k", b"1");
        ask(&tree);
        assert_eq!(memo.get(&"k").unwrap().as_deref(), Some(&b"1"[..]));
        assert!(memo.get(&"other").is_none());
        write(b"another", b"2");
        assert!(memo.get(&"k").is_some());
        write(b"k", b"2");
        assert!(memo.get(&"k").is_none());
        ask(&tree);
        let noted = Noted::new(&tree, &counts);
        memo.keep("other", Arc::new(None), noted.basis().unwrap());
        assert!(memo.get(&"k").is_none(), "one place");
    }
}
