//! Wall time: `now_ms()` is its only reader in the registry and its faces. Knows how an instant is written on the wire;
//! refuses to know what any instant means.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Milliseconds in a second.
pub const SECOND_MS: i64 = 1000;
/// Milliseconds in a minute.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// Milliseconds in an hour.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Milliseconds in a day of 24 hours.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// Now, in milliseconds since the Unix epoch. A clock before the epoch counts as the epoch.
#[expect(clippy::disallowed_methods, reason = "this is the reader")]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How long ago a file's time was; nothing where it seems to come from the future.
pub fn since(time: SystemTime) -> Duration {
    let at_ms = time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    Duration::from_millis(u64::try_from(now_ms().saturating_sub(at_ms)).unwrap_or(0))
}

/// The last millisecond of the year 9998: the time library ends a day before 9999 does.
const LAST_MS: i64 = 253_370_764_799_999;

/// An instant as it is written on the wire: RFC 3339 in UTC with milliseconds and `Z`. What lies before 1970 or after
/// 9998 is written as the nearest end: nothing of ours does.
pub fn rfc3339(at_ms: i64) -> String {
    common::audit::format_timestamp(at_ms.clamp(0, LAST_MS)).expect("the years 1970 to 9998 can be written")
}

/// Reads an RFC 3339 instant, with any offset, as milliseconds since the epoch. None if it isn't one.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::{parse_rfc3339, rfc3339};

    /// What is written is read back, and is written with three decimals and `Z`.
    #[test]
    fn round_trip() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_000_000_120), "2026-11-18T11:06:40.120Z");
        assert_eq!(parse_rfc3339("2026-11-18T11:06:40.120Z"), Some(1_795_000_000_120));
        assert_eq!(parse_rfc3339("2026-11-18T13:06:40+02:00"), Some(1_795_000_000_000));
        assert_eq!(parse_rfc3339("yesterday"), None);
        assert_eq!(rfc3339(i64::MAX), "9998-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(i64::MIN), "1970-01-01T00:00:00.000Z");
    }
}
