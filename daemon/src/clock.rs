//! Wall time: `now_ms()` is its only reader in the registry and its faces. Knows how an instant is written on the wire;
//! refuses to know what any instant means.

use std::time::{SystemTime, UNIX_EPOCH};

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
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The last millisecond of the year 9999, the end of what RFC 3339 can write.
const LAST_MS: i64 = 253_402_300_799_999;

/// An instant as it is written on the wire: RFC 3339 in UTC with milliseconds and `Z`. What lies before 1970 or after
/// 9999 is written as the nearest end: nothing of ours does.
pub fn rfc3339(at_ms: i64) -> String {
    common::audit::format_timestamp(at_ms.clamp(0, LAST_MS)).expect("the years 1970 to 9999 can be written")
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
        assert_eq!(rfc3339(1_795_000_000_120), "2026-11-18T13:46:40.120Z");
        assert_eq!(parse_rfc3339("2026-11-18T13:46:40.120Z"), Some(1_795_000_000_120));
        assert_eq!(parse_rfc3339("2026-11-18T15:46:40+02:00"), Some(1_795_009_600_000 - 9_600_000));
        assert_eq!(parse_rfc3339("yesterday"), None);
        assert!(!rfc3339(i64::MAX).is_empty());
    }
}
