//! When a frame may be drawn. What a person asked for comes at once; what nobody asked for shares a few octets and frames a
//! second. Pure: it is told the time.

/// Milliseconds between two frames somebody asked for.
const ASKED_GAP_MS: u64 = 8;
/// The same on a slow line: what is typed meanwhile is drawn together.
const SLOW_ASKED_GAP_MS: u64 = 150;
/// Octets a second, and milliseconds between two frames, that nobody asked for. A little below 8 KiB, for what a frame costs is
/// known when it is drawn.
const UNASKED: (i64, u64) = (8_000, 100);
/// The same on a slow line.
const SLOW_UNASKED: (i64, u64) = (1024, 500);

/// The budget of frames.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    asked_gap_ms: u64,
    unasked_gap_ms: u64,
    octets_per_second: i64,
    /// Octets that may be sent unasked, times 1000. What was asked for makes it smaller too.
    tokens: i64,
    filled_at_ms: u64,
    last_ms: Option<u64>,
}

impl Pace {
    /// A full budget at time 0; `slow` for a slow line.
    pub fn new(slow: bool) -> Self {
        let (octets_per_second, unasked_gap_ms) = if slow { SLOW_UNASKED } else { UNASKED };
        let asked_gap_ms = if slow { SLOW_ASKED_GAP_MS } else { ASKED_GAP_MS };
        let tokens = octets_per_second * 1000 / 2;
        Self { asked_gap_ms, unasked_gap_ms, octets_per_second, tokens, filled_at_ms: 0, last_ms: None }
    }

    /// The moment from which on a frame may be drawn.
    pub fn due(&self, now_ms: u64, asked: bool) -> u64 {
        let Some(last) = self.last_ms else { return now_ms };
        if asked {
            return last.saturating_add(self.asked_gap_ms).max(now_ms);
        }
        let missing = -self.tokens_at(now_ms);
        let wait = if missing >= 0 { u64::try_from(missing / self.octets_per_second + 1).unwrap_or(0) } else { 0 };
        last.saturating_add(self.unasked_gap_ms).max(now_ms.saturating_add(wait))
    }

    /// A frame of so many octets was drawn. What was asked for makes a second's debt at most: when the key is let go, what
    /// nobody asked for goes on soon.
    pub fn drawn(&mut self, now_ms: u64, octets: u64, asked: bool) {
        let before = self.tokens_at(now_ms);
        let spent = i64::try_from(octets).unwrap_or(i64::MAX).saturating_mul(1000);
        let after = before.saturating_sub(spent);
        self.tokens = if asked { after.max(before.min(-self.octets_per_second * 1000)) } else { after };
        self.filled_at_ms = now_ms;
        self.last_ms = Some(now_ms);
    }

    fn tokens_at(&self, now_ms: u64) -> i64 {
        let passed = i64::try_from(now_ms.saturating_sub(self.filled_at_ms)).unwrap_or(i64::MAX);
        let full = self.octets_per_second * 1000 / 2;
        self.tokens.saturating_add(passed.saturating_mul(self.octets_per_second)).min(full)
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    /// Draws whenever it may for some seconds; octets and frames.
    fn run(mut pace: Pace, octets: u64, seconds: u64) -> (u64, u64) {
        let (mut now, mut sent, mut frames) = (0, 0, 0);
        loop {
            now = pace.due(now, false);
            if now >= seconds * 1000 {
                return (sent, frames);
            }
            pace.drawn(now, octets, false);
            (sent, frames) = (sent + octets, frames + 1);
        }
    }

    /// A tail of any speed: at most 8 KiB and ten frames a second, on a slow line 1 KiB and two.
    #[test]
    fn unasked_frames_are_bounded() {
        let (sent, frames) = run(Pace::new(false), 2_000, 20);
        assert!(sent <= 21 * 8192, "{sent}");
        assert!(sent >= 18 * 8192 && frames <= 200, "{sent} {frames}");
        assert!(run(Pace::new(false), 10, 20).1 <= 201);
        let (sent, frames) = run(Pace::new(true), 2_000, 20);
        assert!(sent <= 22 * 1024 && frames <= 41, "{sent} {frames}");
    }

    /// A key is answered after eight milliseconds at most, and a held one silences the tail.
    #[test]
    fn asked_frames_come_at_once() {
        let mut pace = Pace::new(false);
        assert_eq!(pace.due(0, true), 0);
        for now in 0..100 {
            pace.drawn(now * 30, 400, true);
            assert_eq!(pace.due(now * 30 + 1, true), now * 30 + 8);
        }
        let now = 99 * 30;
        let wait = pace.due(now, false) - now;
        assert!((300..=1_100).contains(&wait), "{wait}");
    }
}
