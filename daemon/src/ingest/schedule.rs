//! Whose turn it is: which taken item is worked on next. Pure. Knows places, sizes and models; refuses to know files and
//! clocks.
//!
//! Three rules. Items that become versions of one model go in the order of their taking, so the numbers of versions follow
//! the order in which the files came. Big items hold at most half the places, so small ones always pass. Among what may go,
//! the one that was taken first goes first.

use std::collections::{BTreeMap, HashMap};

use common::name::ItemId;

/// From so many octets on an item is a big one.
pub(crate) const BIG_OCTETS: u64 = 256 * 1024 * 1024;

/// A taken item that is to be worked on.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The item.
    pub(crate) item: ItemId,
    /// Octets of its files.
    pub(crate) size: u64,
    /// The model that it becomes a version of, as the registry compares names; none where that is not known.
    pub(crate) model: Option<String>,
}

impl Job {
    fn is_big(&self) -> bool {
        self.size >= BIG_OCTETS
    }
}

/// All items that are taken, with their turns.
#[derive(Debug)]
pub(crate) struct Schedule {
    places: usize,
    places_for_big: usize,
    next_turn: u64,
    jobs: HashMap<ItemId, (u64, Job)>,
    /// Those that may begin, by turn.
    ready: BTreeMap<u64, ItemId>,
    /// Those at work, and whether they are big.
    active: HashMap<ItemId, bool>,
    active_big: usize,
    /// Turns of one model's items, the lowest first.
    models: HashMap<String, BTreeMap<u64, ItemId>>,
}

impl Schedule {
    pub(crate) fn new(places: usize) -> Self {
        Self {
            places: places.max(1),
            places_for_big: (places / 2).max(1),
            next_turn: 0,
            jobs: HashMap::new(),
            ready: BTreeMap::new(),
            active: HashMap::new(),
            active_big: 0,
            models: HashMap::new(),
        }
    }

    /// An item was taken, or comes back from where it had lost its turn: it is the last in the order, and may begin.
    pub(crate) fn add(&mut self, job: Job) {
        self.remove(job.item);
        let turn = self.next_turn;
        self.next_turn += 1;
        if let Some(model) = &job.model {
            self.models.entry(model.clone()).or_default().insert(turn, job.item);
        }
        self.ready.insert(turn, job.item);
        self.jobs.insert(job.item, (turn, job));
    }

    /// An item that was at work is to be worked on again, later: it keeps its turn, and others of its model wait for it.
    pub(crate) fn hold(&mut self, item: ItemId) {
        self.stop(item);
        if let Some((turn, _)) = self.jobs.get(&item) {
            self.ready.remove(turn);
        }
    }

    /// One that was held may begin.
    pub(crate) fn resume(&mut self, item: ItemId) {
        if let Some((turn, _)) = self.jobs.get(&item)
            && !self.active.contains_key(&item)
        {
            self.ready.insert(*turn, item);
        }
    }

    /// An item is decided, or waits for something that only a person or a stranger's program can end: nobody waits for it.
    pub(crate) fn remove(&mut self, item: ItemId) {
        self.stop(item);
        let Some((turn, job)) = self.jobs.remove(&item) else { return };
        self.ready.remove(&turn);
        if let Some(model) = job.model
            && let Some(turns) = self.models.get_mut(&model)
        {
            turns.remove(&turn);
            if turns.is_empty() {
                self.models.remove(&model);
            }
        }
    }

    fn stop(&mut self, item: ItemId) {
        if self.active.remove(&item) == Some(true) {
            self.active_big -= 1;
        }
    }

    /// The next to begin, if there is a place for one; it holds the place until `hold` or `remove`. `may` says whether one
    /// may begin for reasons that are not known here.
    pub(crate) fn next(&mut self, may: impl Fn(ItemId) -> bool) -> Option<ItemId> {
        if self.active.len() >= self.places {
            return None;
        }
        let found = self.ready.iter().find_map(|(turn, item)| {
            let (_, job) = self.jobs.get(item)?;
            let is_first = job.model.as_ref().is_none_or(|model| self.is_first(model, *turn));
            let fits = !job.is_big() || self.active_big < self.places_for_big;
            (is_first && fits && may(*item)).then_some((*turn, *item, job.is_big()))
        });
        let (turn, item, is_big) = found?;
        self.ready.remove(&turn);
        self.active.insert(item, is_big);
        self.active_big += usize::from(is_big);
        Some(item)
    }

    fn is_first(&self, model: &str, turn: u64) -> bool {
        self.models.get(model).and_then(BTreeMap::first_key_value).is_none_or(|(first, _)| *first == turn)
    }

    /// Whether an item has a turn.
    pub(crate) fn has(&self, item: ItemId) -> bool {
        self.jobs.contains_key(&item)
    }

    /// Whether an item is at work.
    pub(crate) fn is_active(&self, item: ItemId) -> bool {
        self.active.contains_key(&item)
    }

    /// Items at work.
    #[cfg(test)]
    fn active(&self) -> usize {
        self.active.len()
    }

    /// Taken items that become versions of this model.
    pub(crate) fn of_model(&self, model: &str) -> usize {
        self.models.get(model).map_or(0, BTreeMap::len)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::name::ItemId;
    use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_oneof, proptest};

    use super::{BIG_OCTETS, Job, Schedule};

    fn item(number: u128) -> ItemId {
        ItemId::from_u128(number)
    }

    fn job(number: u128, size: u64, model: &str) -> Job {
        Job { item: item(number), size, model: Some(model.to_owned()) }
    }

    /// Items of one model go one after the other in the order of their taking, those of others pass them.
    #[test]
    fn order_within_a_model() {
        let mut schedule = Schedule::new(4);
        schedule.add(job(1, 1, "a"));
        schedule.add(job(2, 1, "a"));
        schedule.add(job(3, 1, "b"));
        assert_eq!(schedule.next(|_| true), Some(item(1)));
        assert_eq!(schedule.next(|_| true), Some(item(3)));
        assert_eq!(schedule.next(|_| true), None);
        schedule.remove(item(1));
        assert_eq!(schedule.next(|_| true), Some(item(2)));
    }

    /// One that is tried again keeps its turn; one that waits for a person does not hold up the others.
    #[test]
    fn a_turn_is_kept() {
        let mut schedule = Schedule::new(4);
        schedule.add(job(1, 1, "a"));
        schedule.add(job(2, 1, "a"));
        assert_eq!(schedule.next(|_| true), Some(item(1)));
        schedule.hold(item(1));
        assert_eq!(schedule.next(|_| true), None);
        schedule.resume(item(1));
        assert_eq!(schedule.next(|_| true), Some(item(1)));
        schedule.remove(item(1));
        assert_eq!(schedule.next(|_| true), Some(item(2)));
    }

    /// Big items hold half the places at most, and small ones behind them pass.
    #[test]
    fn small_ones_pass() {
        let mut schedule = Schedule::new(4);
        for number in 1..=4 {
            schedule.add(job(number, BIG_OCTETS, &number.to_string()));
        }
        for number in 5..=7 {
            schedule.add(job(number, BIG_OCTETS - 1, &number.to_string()));
        }
        let begun: Vec<_> = std::iter::from_fn(|| schedule.next(|_| true)).collect();
        assert_eq!(begun, [item(1), item(2), item(5), item(6)]);
        schedule.remove(item(5));
        assert_eq!(schedule.next(|_| true), Some(item(7)));
        schedule.remove(item(1));
        assert_eq!(schedule.next(|_| true), Some(item(3)));
    }

    /// One that may not begin does not stand in the way of others.
    #[test]
    fn what_may_not_begin_is_passed() {
        let mut schedule = Schedule::new(1);
        schedule.add(job(1, 1, "a"));
        schedule.add(job(2, 1, "b"));
        assert_eq!(schedule.next(|id| id != item(1)), Some(item(2)));
        schedule.remove(item(2));
        assert_eq!(schedule.next(|id| id != item(1)), None);
        assert_eq!(schedule.next(|_| true), Some(item(1)));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(u8, bool, u8),
        Next,
        Hold(u8),
        Resume(u8),
        Remove(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..12_u8, any::<bool>(), 0..3_u8).prop_map(|(id, big, model)| Step::Add(id, big, model)),
            Just(Step::Next),
            Just(Step::Next),
            (0..12_u8).prop_map(Step::Hold),
            (0..12_u8).prop_map(Step::Resume),
            (0..12_u8).prop_map(Step::Remove),
        ]
    }

    proptest! {
        /// Whatever happens: places are never exceeded, two of one model are never at work, and when all are let go
        /// everything that was added gets its turn.
        #[test]
        fn nothing_is_forgotten(steps in prop::collection::vec(step(), 0..80), places in 1..6_usize) {
            let mut schedule = Schedule::new(places);
            for step in steps {
                match step {
                    // What is at work is not added again.
                    Step::Add(id, ..) if schedule.active.contains_key(&item(id.into())) => {}
                    Step::Add(id, big, model) => {
                        schedule.add(job(id.into(), if big { BIG_OCTETS } else { 1 }, &model.to_string()));
                    }
                    Step::Next => { schedule.next(|_| true); }
                    Step::Hold(id) => schedule.hold(item(id.into())),
                    Step::Resume(id) => schedule.resume(item(id.into())),
                    Step::Remove(id) => schedule.remove(item(id.into())),
                }
                prop_assert!(schedule.active() <= places);
                prop_assert!(schedule.active_big <= (places / 2).max(1));
                let mut models: Vec<_> =
                    schedule.active.keys().filter_map(|id| schedule.jobs.get(id)?.1.model.clone()).collect();
                let at_work = models.len();
                models.sort();
                models.dedup();
                prop_assert!(models.len() == at_work);
            }
            let all: Vec<ItemId> = schedule.jobs.keys().copied().collect();
            for id in &all {
                schedule.hold(*id);
                schedule.resume(*id);
            }
            let mut left = all.len();
            while let Some(id) = schedule.next(|_| true) {
                schedule.remove(id);
                left -= 1;
            }
            prop_assert!(left == 0);
            prop_assert!(schedule.models.is_empty() && schedule.ready.is_empty() && schedule.active.is_empty());
        }
    }
}
