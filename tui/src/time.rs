//! Times and sizes in the words people use. Times of day are UTC, or those of the terminal's zone where that is set.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Seconds since the epoch of an RFC 3339 time; none if it is not one.
pub fn seconds(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// How times are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// Times of day in UTC.
    #[default]
    Utc,
    /// Times of day where the terminal is.
    Local,
    /// How long ago, wherever that can be said.
    Age,
}

impl Way {
    /// All of them, by their names.
    pub const ALL: [(&'static str, Self); 3] = [("utc", Self::Utc), ("local", Self::Local), ("age", Self::Age)];
}

/// Now, and how far the clocks on the wall are from UTC where times are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Seconds since the epoch.
    pub seconds: i64,
    /// Seconds to be added for what is shown.
    pub offset_seconds: i64,
}

impl Now {
    /// With times in UTC.
    pub fn utc(seconds: i64) -> Self {
        Self { seconds, offset_seconds: 0 }
    }

    /// With times in a zone, as its clocks are now.
    pub fn within(seconds: i64, zone: &TimeZone) -> Self {
        let offset = Timestamp::from_second(seconds).map_or(0, |now| zone.to_offset(now).seconds());
        Self { seconds, offset_seconds: offset.into() }
    }

    /// `12:03:11` as it is shown here.
    pub fn time_of_day(self, wall_seconds: i64) -> String {
        time_of_day(wall_seconds.saturating_add(self.offset_seconds))
    }

    /// `2026-07-22` as it is shown here.
    pub fn date(self, wall_seconds: i64) -> String {
        date(wall_seconds.saturating_add(self.offset_seconds))
    }
}

/// `12:03:11`, UTC.
pub fn time_of_day(wall_seconds: i64) -> String {
    match Timestamp::from_second(wall_seconds) {
        Ok(time) => time.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string(),
        Err(_beyond) => "-".to_owned(),
    }
}

/// `2026-07-22`, UTC.
pub fn date(wall_seconds: i64) -> String {
    match Timestamp::from_second(wall_seconds) {
        Ok(time) => time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string(),
        Err(_beyond) => "-".to_owned(),
    }
}

/// `2026-07-22T12:03:11Z`.
pub fn rfc3339(wall_seconds: i64) -> String {
    Timestamp::from_second(wall_seconds).map_or_else(|_beyond| "-".to_owned(), |time| time.to_string())
}

/// How long ago: a time of day below one minute, then whole minutes, hours, days; the date from 100 days on. Text that
/// is no time is shown as it is.
pub fn age(text: &str, now: Now) -> String {
    let Some(at) = seconds(text) else { return text.to_owned() };
    match now.seconds.saturating_sub(at) {
        ..60 => now.time_of_day(at),
        past @ 60..3_600 => format!("{} min", past / 60),
        past @ 3_600..86_400 => format!("{} h", past / 3_600),
        past @ 86_400..8_640_000 => format!("{} d", past / 86_400),
        _ => now.date(at),
    }
}

/// Seconds until [`age`] says something else; none if it never will.
pub fn age_changes_in(text: &str, now: Now) -> Option<u64> {
    let past = now.seconds.saturating_sub(seconds(text)?);
    let next = match past {
        ..60 => 60 - past,
        60..3_600 => 60 - past % 60,
        3_600..86_400 => 3_600 - past % 3_600,
        86_400..8_640_000 => 86_400 - past % 86_400,
        _ => return None,
    };
    u64::try_from(next).ok()
}

/// `12 d 4 h`, `3 h 20 min`, `5 min`, `42 s`.
pub fn duration(seconds: u64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// `24 MiB`, `1.2 GiB`: two figures at least, four at most.
pub fn bytes(octets: u64) -> String {
    let mut whole = octets;
    let mut tenths = 0;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] {
        if whole < 1024 {
            return if whole < 10 && unit != "B" {
                format!("{whole}.{tenths} {unit}")
            } else {
                format!("{whole} {unit}")
            };
        }
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
    }
    format!("{whole} EiB")
}

/// `1 user`, `4 users`.
pub fn counted(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{} {one}s", grouped(count)) }
}

/// A size in both ways: `1.2 KiB (1 234 octets)`; what is told whole already is told once.
pub fn bytes_exactly(octets: u64) -> String {
    if octets < 1024 { bytes(octets) } else { format!("{} ({} octets)", bytes(octets), grouped(octets)) }
}

/// `24 118 904`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::{Now, bytes, bytes_exactly, duration, grouped, seconds, time_of_day};

    fn age(text: &str, now: i64) -> String {
        super::age(text, Now::utc(now))
    }

    fn age_changes_in(text: &str, now: i64) -> Option<u64> {
        super::age_changes_in(text, Now::utc(now))
    }

    /// Times of day and dates move with the zone; ages don't.
    #[test]
    fn zones() {
        let now = seconds("2026-07-22T23:03:11Z").unwrap_or(0);
        let berlin = TimeZone::fixed(jiff::tz::offset(2));
        let here = Now::within(now, &berlin);
        assert_eq!(here.offset_seconds, 7_200);
        assert_eq!((here.time_of_day(now), here.date(now)), ("01:03:11".into(), "2026-07-23".into()));
        assert_eq!(super::age("2026-07-22T23:03:11Z", here), "01:03:11");
        assert_eq!(super::age("2026-07-22T22:03:11Z", here), "1 h");
        assert_eq!(super::age("2026-01-01T23:30:00Z", here), "2026-01-02");
    }

    #[test]
    fn words() {
        let at = "2026-07-22T12:03:11.250Z";
        let now = seconds(at).unwrap_or(0);
        assert_eq!(time_of_day(now), "12:03:11");
        for (later, shown) in [
            (0, "12:03:11"),
            (-5, "12:03:11"),
            (60, "1 min"),
            (7_300, "2 h"),
            (200_000, "2 d"),
            (10_000_000, "2026-07-22"),
        ] {
            assert_eq!(age(at, now + later), shown);
        }
        // What is shown changes when it is said to, and not a second before.
        for past in [0, 59, 60, 119, 3_599, 3_600, 86_399, 86_400, 172_799, 8_639_999, 8_640_000] {
            let shown = age(at, now + past);
            match age_changes_in(at, now + past) {
                Some(wait) => {
                    let wait = i64::try_from(wait).unwrap_or(0);
                    assert_eq!(age(at, now + past + wait - 1), shown, "{past}");
                    assert_ne!(age(at, now + past + wait), shown, "{past}");
                }
                None => assert_eq!(age(at, now + 10 * past), shown),
            }
        }
        assert_eq!(age("soon", 0), "soon");
        assert_eq!(time_of_day(i64::MAX), "-");
        assert_eq!(
            (duration(42), duration(12_000), duration(1_051_200)),
            ("42 s".into(), "3 h 20 min".into(), "12 d 4 h".into())
        );
        for (octets, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (24_118_904, "23 MiB"),
            (1_288_490_188, "1.1 GiB"),
            (u64::MAX, "15 EiB"),
        ] {
            assert_eq!(bytes(octets), shown);
        }
        assert_eq!((bytes_exactly(64), bytes_exactly(1234)), ("64 B".into(), "1.2 KiB (1 234 octets)".into()));
        assert_eq!((grouped(7), grouped(1234), grouped(24_118_904)), ("7".into(), "1 234".into(), "24 118 904".into()));
    }
}
