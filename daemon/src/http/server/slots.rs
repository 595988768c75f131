//! The connections that are served, over all places to listen: as many as the limits of the moment let in, and of one
//! address as many as one may have. For one more than that, a connection on which nothing is asked gives way: the one that
//! has been quiet for longest. Knows who is connected and since when they are quiet; refuses to know what they ask.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Admission, Connection};
use crate::http::Limits;

/// A connection gives way once nothing was asked of it for so long: by then it is not between two requests.
pub(super) const GIVES_WAY_AFTER: Duration = Duration::from_secs(2);

/// Who is connected. A lower limit cuts nobody; it holds for who comes next.
#[derive(Default)]
pub(super) struct Slots(Mutex<Table>);

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, (Option<IpAddr>, Arc<Connection>)>,
    of_addresses: HashMap<IpAddr, usize>,
}

/// The place of one connection.
pub(super) struct Slot {
    slots: Arc<Slots>,
    number: u64,
}

impl Slots {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection, and whether another had to give way for it. `address`: what it is counted under, where it is.
    ///
    /// # Errors
    /// What it is told instead.
    pub(super) fn take(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        address: Option<IpAddr>,
        limits: &Limits,
    ) -> Result<(Slot, bool), Admission> {
        let mut table = self.lock();
        let mut gave_way = false;
        let of_address = address.and_then(|address| table.of_addresses.get(&address)).copied().unwrap_or(0);
        let max = limits.connections_per_address_max;
        if of_address >= max && of_address - table.going(|of| of == address) >= max {
            if !table.give_way(|of| of == address) {
                return Err(Admission::Crowded);
            }
            gave_way = true;
        }
        let max = limits.connections_max;
        if table.open.len() >= max && table.open.len() - table.going(|_anybody| true) >= max {
            if !table.give_way(|_anybody| true) {
                return Err(Admission::Full);
            }
            gave_way = true;
        }
        let number = table.next;
        table.next += 1;
        table.open.insert(number, (address, Arc::clone(connection)));
        if let Some(address) = address {
            *table.of_addresses.entry(address).or_default() += 1;
        }
        Ok((Slot { slots: Arc::clone(self), number }, gave_way))
    }
}

impl Table {
    /// Tells the connection that has been quiet for longest to go; whether there is one.
    fn give_way(&self, concerns: impl Fn(Option<IpAddr>) -> bool) -> bool {
        let stays = self.open.values().filter(|(address, connection)| concerns(*address) && !connection.is_leaving());
        let quiet = stays.filter_map(|(_, connection)| Some((connection.quiet_for()?, connection)));
        match quiet.max_by_key(|(quiet, _)| *quiet) {
            Some((quiet, connection)) if quiet >= GIVES_WAY_AFTER => {
                connection.leaving.store(true, Ordering::Relaxed);
                connection.gives_way.notify_one();
                true
            }
            Some(_) | None => false,
        }
    }

    /// Connections that were told to go and on which nothing is asked: they are as good as gone. One that was asked something
    /// just then counts until it is.
    fn going(&self, concerns: impl Fn(Option<IpAddr>) -> bool) -> usize {
        let leaving = self.open.values().filter(|(address, connection)| concerns(*address) && connection.is_leaving());
        leaving.filter(|(_, connection)| connection.quiet_for().is_some()).count()
    }

    fn remove(&mut self, number: u64) {
        let Some((address, _connection)) = self.open.remove(&number) else { return };
        if let Some(address) = address
            && let Some(count) = self.of_addresses.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.of_addresses.remove(&address);
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::{GIVES_WAY_AFTER, Slots};
    use crate::http::Limits;
    use crate::http::server::{Admission, Connection, Peer};

    fn limits() -> Limits {
        Limits {
            connections_max: 3,
            connections_per_address_max: 2,
            requests_max: 1,
            requests_per_client_max: 1,
            head_timeout: Duration::ZERO,
            body_idle: Duration::ZERO,
            bytes_per_second_min: 0,
            shutdown: Duration::ZERO,
        }
    }

    fn connection(quiet: Duration) -> Arc<Connection> {
        let mut connection = Connection::new(Peer::Local, Admission::Open);
        connection.opened = connection.opened.checked_sub(quiet).unwrap();
        Arc::new(connection)
    }

    /// Places are counted, in all and by address; a place that is let go is another's.
    #[test]
    fn counted() {
        let slots = Arc::new(Slots::default());
        let (one, other) = (Some("192.0.2.1".parse().unwrap()), Some("192.0.2.2".parse().unwrap()));
        let fresh = || connection(Duration::ZERO);
        let take = |address| slots.take(&fresh(), address, &limits()).map(|(slot, _)| slot);
        let first = take(one).unwrap();
        let second = take(one).unwrap();
        assert_eq!(take(one).err(), Some(Admission::Crowded));
        let third = take(other).unwrap();
        assert_eq!(take(other).err(), Some(Admission::Full));
        assert_eq!(take(None).err(), Some(Admission::Full));
        drop(first);
        let fourth = take(None).unwrap();
        drop((second, third, fourth));
        let table = slots.lock();
        assert!(table.open.is_empty() && table.of_addresses.is_empty());
    }

    /// The longest quiet one gives way, and none that is asked something, nor one that was a moment ago.
    #[tokio::test]
    async fn who_gives_way() {
        let slots = Arc::new(Slots::default());
        let address = Some("192.0.2.1".parse().unwrap());
        let busy = connection(GIVES_WAY_AFTER * 9);
        busy.in_flight.fetch_add(1, Ordering::Relaxed);
        let (quiet, quieter) = (connection(GIVES_WAY_AFTER * 2), connection(GIVES_WAY_AFTER * 3));
        let held = [(&busy, None), (&quiet, address), (&quieter, address)];
        let held: Vec<_> = held.iter().map(|(one, of)| slots.take(one, *of, &limits()).unwrap().0).collect();
        let fresh = || connection(Duration::ZERO);
        let (third, gave_way) = slots.take(&fresh(), address, &limits()).unwrap();
        assert!(gave_way);
        quieter.gives_way.notified().await;
        let (fourth, gave_way) = slots.take(&fresh(), address, &limits()).unwrap();
        assert!(gave_way);
        quiet.gives_way.notified().await;
        assert_eq!(slots.take(&fresh(), address, &limits()).err(), Some(Admission::Crowded));
        assert_eq!(slots.take(&fresh(), None, &limits()).err(), Some(Admission::Full));
        // One that has to go and is asked something counts again.
        quiet.in_flight.fetch_add(1, Ordering::Relaxed);
        drop(third);
        assert_eq!(slots.take(&fresh(), None, &limits()).err(), Some(Admission::Full));
        quiet.in_flight.fetch_sub(1, Ordering::Relaxed);
        let (third, gave_way) = slots.take(&fresh(), None, &limits()).unwrap();
        assert!(!gave_way);
        drop(held);
        assert_eq!(slots.lock().open.len(), 2);
        drop((third, fourth));
        assert!(slots.lock().open.is_empty());
    }
}
