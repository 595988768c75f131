//! How slow the other side may be. Knows time and octets; refuses to know which way they go.
//!
//! One pause may be as long as the idle limit, and whoever goes on is waited for again. But a client that sends an octet
//! just before each pause is over would be waited for without end, so pauses are counted together: each octet earns time,
//! by the slowest rate that is accepted, up to one pause.

use std::time::Duration;

/// What is left of the patience with one body, or with the reader of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pause_max: Duration,
    bytes_per_second_min: u64,
    left: Duration,
}

impl Patience {
    /// All of it. With a rate of zero only pauses count, each by itself.
    pub(crate) fn new(pause_max: Duration, bytes_per_second_min: u64) -> Self {
        Self { pause_max, bytes_per_second_min, left: pause_max }
    }

    /// How long may be waited for the next octets.
    pub(crate) fn left(&self) -> Duration {
        self.left
    }

    /// The longest that may be waited at once.
    pub(crate) fn pause_max(&self) -> Duration {
        self.pause_max
    }

    /// The slowest rate in the long run; zero: any.
    pub(crate) fn bytes_per_second_min(&self) -> u64 {
        self.bytes_per_second_min
    }

    /// Octets moved, after so long a wait for them.
    pub(crate) fn moved(&mut self, octets: u64, waited: Duration) {
        let earned = octets.saturating_mul(1000).checked_div(self.bytes_per_second_min);
        self.left = match earned {
            Some(ms) => self.left.saturating_sub(waited).saturating_add(Duration::from_millis(ms)).min(self.pause_max),
            None => self.pause_max,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Patience;

    const PAUSE: Duration = Duration::from_secs(60);

    /// Who is faster than the rate may pause as long as one may, again and again.
    #[test]
    fn fast_enough() {
        let mut patience = Patience::new(PAUSE, 512);
        for _ in 0..1000 {
            assert_eq!(patience.left(), PAUSE);
            patience.moved(59 * 512, Duration::from_secs(59));
        }
    }

    /// Who sends an octet now and then runs out of it.
    #[test]
    fn drips() {
        let mut patience = Patience::new(PAUSE, 512);
        let mut waited = Duration::ZERO;
        while patience.left() >= Duration::from_secs(1) {
            patience.moved(1, Duration::from_secs(1));
            waited += Duration::from_secs(1);
        }
        assert!(waited >= PAUSE.saturating_sub(Duration::from_secs(1)) && waited < PAUSE * 2, "{waited:?}");
        // What comes fast makes up for it.
        patience.moved(1024 * 1024, Duration::ZERO);
        assert_eq!(patience.left(), PAUSE);
    }

    /// Without a rate each pause is one by itself.
    #[test]
    fn any_rate() {
        let mut patience = Patience::new(PAUSE, 0);
        for _ in 0..1000 {
            patience.moved(1, Duration::from_secs(59));
            assert_eq!(patience.left(), PAUSE);
        }
    }
}
