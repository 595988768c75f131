//! Requests that are being answered: how many at once over all connections, how many of one client, and who gets through
//! while there are too many. Knows routes and callers; refuses to know what an answer takes.
//!
//! A request has its place from its head until it is answered, where the answer is large to its last octet, and a change until
//! it is done, also where its client has left. Who signs in has it once their body has come. So what is under way is bounded
//! whatever is sent on however many streams. Requests without a token have half of a lane at most, from however many addresses.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::http::Limits;
use crate::http::problem::Protocol;
use crate::http::route::Route;
use crate::registry::access::Caller;
use crate::registry::throttle;

/// Places of `Lane::Control`.
pub const CONTROL_MAX: usize = 128;
/// Of these one client may have so many.
pub const CONTROL_PER_CLIENT_MAX: usize = 32;
/// Places of `Lane::SignIn`. Those that hash, and wait for it, are fewer (`registry/throttle.rs`).
pub const SIGN_IN_MAX: usize = 64;
/// Of these one address may have so many.
pub const SIGN_IN_PER_CLIENT_MAX: usize = 32;

/// Requests that have places of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Everything else.
    Work,
    /// Signing in: an admin must be able to, whatever is going on.
    SignIn,
    /// How the daemon is, and what ends or revokes something: what is needed to see an overload and to end it.
    Control,
}

impl Lane {
    const ALL: [Self; 3] = [Self::Work, Self::SignIn, Self::Control];

    /// The lane of a request.
    pub(super) fn of(route: &Route) -> Self {
        match route {
            Route::Login => Self::SignIn,
            Route::Live
            | Route::Ready
            | Route::Metrics
            | Route::BuildInfo
            | Route::Status
            | Route::Logout
            | Route::ChangeOwnPassword
            | Route::PatchUser { .. }
            | Route::DeleteUser { .. }
            | Route::RevokeSessions { .. }
            | Route::SetPassword { .. }
            | Route::ResetTotp { .. }
            | Route::RevokeToken { .. }
            | Route::QuarantineVersion { .. }
            | Route::BlockVersion { .. }
            | Route::PauseIngest
            | Route::EndUpload { .. } => Self::Control,
            _ => Self::Work,
        }
    }

    fn max(self, limits: &Limits) -> usize {
        match self {
            Self::Work => limits.requests_max,
            Self::SignIn => SIGN_IN_MAX,
            Self::Control => CONTROL_MAX,
        }
    }

    /// Requests at once of all who are not signed in. Who signs in never is.
    fn anonymous_max(self, limits: &Limits) -> usize {
        match self {
            Self::SignIn => self.max(limits),
            Self::Work | Self::Control => self.max(limits).div_ceil(2),
        }
    }

    fn per_client_max(self, limits: &Limits) -> usize {
        match self {
            Self::Work => limits.requests_per_client_max,
            Self::SignIn => SIGN_IN_PER_CLIENT_MAX,
            Self::Control => CONTROL_PER_CLIENT_MAX,
        }
    }
}

/// Whom a request is counted under: a user, else an address (of IPv6, its /64).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Client {
    User(String),
    Address(Option<IpAddr>),
}

impl Client {
    fn is_address(&self) -> bool {
        matches!(self, Self::Address(_))
    }
}

/// Those under way.
#[derive(Default)]
pub struct Flights {
    lanes: [AtomicUsize; Lane::ALL.len()],
    anonymous: [AtomicUsize; Lane::ALL.len()],
    /// Only of clients that have one.
    of_clients: Mutex<HashMap<(Lane, Client), usize>>,
    shed: [AtomicU64; 2],
}

/// The place of one request.
pub(crate) struct Flight {
    flights: Arc<Flights>,
    lane: Lane,
    client: Option<Client>,
    /// Whether it is counted among those that are not signed in.
    is_anonymous: bool,
}

/// Why requests were turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shed {
    Full,
    Client,
}

impl Flights {
    fn clients(&self) -> MutexGuard<'_, HashMap<(Lane, Client), usize>> {
        self.of_clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, shed: Shed) {
        self.shed[shed as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A place in a lane.
    ///
    /// # Errors
    /// What the client is told: there is none.
    pub(super) fn begin(self: &Arc<Self>, lane: Lane, limits: &Limits) -> Result<Flight, Protocol> {
        if !take(&self.lanes[lane as usize], lane.max(limits)) {
            self.count(Shed::Full);
            return Err(Protocol::Overloaded("as many requests as may be are being answered"));
        }
        Ok(Flight { flights: Arc::clone(self), lane, client: None, is_anonymous: false })
    }

    /// A place for one who signs in, whose name and password have come.
    ///
    /// # Errors
    /// What the client is told: there is none, or they have as many as may be.
    pub(crate) fn sign_in(self: &Arc<Self>, caller: &Caller, limits: &Limits) -> Result<Flight, Protocol> {
        let mut flight = self.begin(Lane::SignIn, limits)?;
        flight.is_from(caller, limits)?;
        Ok(flight)
    }

    /// Turned away since start: because there were too many in all, and too many of one client.
    pub fn shed(&self) -> (u64, u64) {
        (
            self.shed[Shed::Full as usize].load(Ordering::Relaxed),
            self.shed[Shed::Client as usize].load(Ordering::Relaxed),
        )
    }
}

/// One more, where there are fewer than so many.
fn take(count: &AtomicUsize, max: usize) -> bool {
    count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| (taken < max).then_some(taken + 1)).is_ok()
}

impl Flight {
    /// Counts it under whom it is from, once that is known.
    ///
    /// # Errors
    /// What the client is told: there are as many of theirs as may be, or of all who are not signed in.
    pub(super) fn is_from(&mut self, caller: &Caller, limits: &Limits) -> Result<(), Protocol> {
        let client = match caller.actor.role {
            Some(_signed_in) => Client::User(caller.actor.id.clone()),
            None => Client::Address(throttle::source(caller.ip())),
        };
        let mut clients = self.flights.clients();
        let count = clients.get(&(self.lane, client.clone())).copied().unwrap_or(0);
        if count >= self.lane.per_client_max(limits) {
            drop(clients);
            self.flights.count(Shed::Client);
            return Err(Protocol::TooMany("as many of your requests as may be are being answered"));
        }
        if client.is_address() {
            self.is_anonymous = take(&self.flights.anonymous[self.lane as usize], self.lane.anonymous_max(limits));
            if !self.is_anonymous {
                drop(clients);
                self.flights.count(Shed::Full);
                return Err(Protocol::Overloaded("as many requests without a token as may be are being answered"));
            }
        }
        clients.insert((self.lane, client.clone()), count + 1);
        drop(clients);
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.lanes[self.lane as usize].fetch_sub(1, Ordering::AcqRel);
        if self.is_anonymous {
            self.flights.anonymous[self.lane as usize].fetch_sub(1, Ordering::AcqRel);
        }
        let Some(client) = self.client.take() else { return };
        let mut clients = self.flights.clients();
        let key = (self.lane, client);
        if let Some(count) = clients.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Arc;
    use std::time::Duration;

    use super::{CONTROL_MAX, CONTROL_PER_CLIENT_MAX, Flights, Lane};
    use crate::http::Limits;
    use crate::http::problem::Protocol;
    use crate::registry::access::{Actor, Caller};

    fn limits() -> Limits {
        Limits {
            connections_max: 1,
            connections_per_address_max: 1,
            requests_max: 3,
            requests_per_client_max: 2,
            head_timeout: Duration::ZERO,
            body_idle: Duration::ZERO,
            bytes_per_second_min: 0,
            shutdown: Duration::ZERO,
        }
    }

    /// One lane's places are not another's, and a place that is let go is there again.
    #[test]
    fn lanes() {
        let flights = Arc::new(Flights::default());
        let mut work: Vec<_> = (0..3).map(|_| flights.begin(Lane::Work, &limits()).unwrap()).collect();
        assert!(matches!(flights.begin(Lane::Work, &limits()).err(), Some(Protocol::Overloaded(_))));
        let control: Vec<_> = (0..CONTROL_MAX).map(|_| flights.begin(Lane::Control, &limits()).unwrap()).collect();
        assert!(flights.begin(Lane::Control, &limits()).is_err());
        assert!(flights.begin(Lane::SignIn, &limits()).is_ok());
        work.pop();
        assert!(flights.begin(Lane::Work, &limits()).is_ok());
        assert_eq!(flights.shed(), (2, 0));
        drop((work, control));
        assert!(flights.begin(Lane::Control, &limits()).is_ok());
    }

    /// A client has as many as one may have, in each lane; nothing is left of one that has none.
    #[test]
    fn clients() {
        let flights = Arc::new(Flights::default());
        let caller = Caller { actor: Actor::anonymous(), request: None };
        let of = |lane: Lane| {
            let mut flight = flights.begin(lane, &limits()).unwrap();
            flight.is_from(&caller, &limits()).map(|()| flight)
        };
        let held: Vec<_> = (0..2).map(|_| of(Lane::Work).unwrap()).collect();
        assert!(matches!(of(Lane::Work).err(), Some(Protocol::TooMany(_))));
        let control: Vec<_> = (0..CONTROL_PER_CLIENT_MAX).map(|_| of(Lane::Control).unwrap()).collect();
        assert!(of(Lane::Control).is_err());
        assert_eq!(flights.shed(), (0, 2));
        drop((held, control));
        assert!(flights.clients().is_empty());
        assert!(of(Lane::Work).is_ok());
    }

    /// All who are not signed in have half of a lane, from however many addresses; who is has the rest, and who signs in all.
    #[test]
    fn anonymous() {
        let flights = Arc::new(Flights::default());
        let limits = Limits { requests_max: 4, requests_per_client_max: 4, ..limits() };
        let caller = Caller { actor: Actor::anonymous(), request: None };
        let signed_in = Actor { id: "1".into(), role: Some(common::role::Role::Viewer), ..Actor::anonymous() };
        let signed_in = Caller { actor: signed_in, request: None };
        let of = |lane, caller: &Caller| {
            let mut flight = flights.begin(lane, &limits).unwrap();
            flight.is_from(caller, &limits).map(|()| flight)
        };
        let mut held: Vec<_> = (0..2).map(|_| of(Lane::Work, &caller).unwrap()).collect();
        assert!(matches!(of(Lane::Work, &caller).err(), Some(Protocol::Overloaded(_))));
        held.extend((0..2).map(|_| of(Lane::Work, &signed_in).unwrap()));
        assert!(flights.sign_in(&caller, &limits).is_ok());
        drop(held);
        assert!(of(Lane::Work, &caller).is_ok());
    }
}
