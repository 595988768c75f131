//! Random octets by the handful: for salts and for ids, of which there are some with every request and every entry. A call of
//! the system costs as much as a point read, so a thread asks it for many at once. Refuses to know keys: those are asked for
//! where they are made, and never lie in a buffer.

use std::cell::RefCell;

use uuid::Uuid;

/// Octets that are asked for at once.
const POOL_OCTETS: usize = 4096;

struct Pool {
    octets: [u8; POOL_OCTETS],
    /// Those that nobody has had yet, at the end.
    left: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { octets: [0; POOL_OCTETS], left: 0 }) };
}

/// Octets of the operating system's generator that nobody else gets; at most some hundred at once.
///
/// # Errors
/// The generator's.
pub fn octets<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    const { assert!(N <= POOL_OCTETS / 8) };
    POOL.with_borrow_mut(|pool| {
        if pool.left < N {
            getrandom::fill(&mut pool.octets)?;
            pool.left = POOL_OCTETS;
        }
        let from = POOL_OCTETS - pool.left;
        let mut taken = [0; N];
        taken.copy_from_slice(&pool.octets[from..from + N]);
        // What was given away is not to be found here any more.
        pool.octets[from..from + N].fill(0);
        pool.left -= N;
        Ok(taken)
    })
}

/// A UUIDv7 (RFC 9562 §5.7) of a time, milliseconds since the epoch.
///
/// # Errors
/// The generator's.
pub fn uuid_v7(at_ms: i64) -> Result<Uuid, getrandom::Error> {
    let random = octets::<10>()?;
    Ok(uuid::Builder::from_unix_timestamp_millis(at_ms.unsigned_abs(), &random).into_uuid())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::HashSet;

    use super::{POOL_OCTETS, octets, uuid_v7};

    /// Nothing is given twice, across a refill and across threads.
    #[test]
    fn never_again() {
        let many = || (0..POOL_OCTETS / 8).map(|_| octets::<24>().unwrap()).collect::<Vec<_>>();
        let other = std::thread::spawn(many);
        let all: HashSet<[u8; 24]> = many().into_iter().chain(other.join().unwrap()).collect();
        assert_eq!(all.len(), 2 * POOL_OCTETS / 8);
    }

    /// They are of the version, sort by their time, and differ.
    #[test]
    fn ids() {
        let ids = [uuid_v7(1_000).unwrap(), uuid_v7(1_000).unwrap(), uuid_v7(2_000).unwrap()];
        assert!(ids.iter().all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122));
        assert!(ids[0] != ids[1] && ids[0] < ids[2] && ids[1] < ids[2]);
    }
}
