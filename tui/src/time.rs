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

/// `2026-07-22T12:03Z` of a time in full in UTC; what is no such time as it is.
pub fn minute(text: &str) -> String {
    match (text.get(..16), text.ends_with('Z'), seconds(text)) {
        (Some(minute), true, Some(_)) => format!("{minute}Z"),
        _ => text.to_owned(),
    }
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

/// A time in full, and how long ago that was where [`age`] would not say the time again.
pub fn dated(text: &str, now: Now) -> String {
    match seconds(text).map(|at| now.seconds.saturating_sub(at)) {
        Some(60..8_640_000) => format!("{text}  {}", age(text, now)),
        Some(_) | None => text.to_owned(),
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

/// What a typed time may be.
pub const TYPED: &str = "90m, 12h, 7d, today, yesterday, 12:02, 2026-07-22, 2026-07-22T12:02";

/// Which end of a day a date means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Where it begins.
    Begin,
    /// Its last millisecond.
    End,
}

/// A time that a person typed, as RFC 3339 in UTC to the millisecond. Without a zone of its own it is that of `zone`; `7d` is so long
/// before now, to the minute.
///
/// # Errors
/// A sentence with what is accepted.
pub fn typed(text: &str, now_seconds: i64, zone: &TimeZone, edge: Edge) -> Result<String, String> {
    let text = text.trim();
    let wrong = || format!("{text}: a time is one of {TYPED}");
    // A zone's name would be passed over where a date or a time of day is read, and a date where a time of day is.
    if text.contains('[') {
        return Err(wrong());
    }
    let is_of = |signs: &[char]| text.chars().all(|sign| sign.is_ascii_digit() || signs.contains(&sign));
    let now = Timestamp::from_second(now_seconds).map_err(|_beyond| wrong())?;
    let here = now.to_zoned(zone.clone());
    let day = |date: jiff::civil::Date| {
        let begin = date.to_zoned(zone.clone())?.timestamp();
        match edge {
            Edge::Begin => Ok(begin),
            Edge::End => {
                let next = date.tomorrow()?.to_zoned(zone.clone())?.timestamp();
                next.checked_sub(jiff::SignedDuration::from_millis(1))
            }
        }
    };
    let found: Result<Timestamp, jiff::Error> = if let Some(past) = past_seconds(text) {
        let at = now_seconds.checked_sub(past).ok_or_else(wrong)?;
        Timestamp::from_second(at - at.rem_euclid(60))
    } else if text == "today" {
        day(here.date())
    } else if text == "yesterday" {
        here.date().yesterday().and_then(day)
    } else if let Ok(at) = text.parse::<Timestamp>() {
        Ok(at)
    } else if text.contains('T') || text.contains(' ') {
        text.parse::<jiff::civil::DateTime>().and_then(|at| Ok(at.to_zoned(zone.clone())?.timestamp()))
    } else if text.contains(':') && is_of(&[':', '.']) {
        let at = text.parse::<jiff::civil::Time>();
        at.and_then(|at| Ok(here.date().to_datetime(at).to_zoned(zone.clone())?.timestamp()))
    } else if is_of(&['-']) {
        text.parse::<jiff::civil::Date>().and_then(day)
    } else {
        return Err(wrong());
    };
    let at = found.map_err(|_odd| wrong())?;
    // Years of four digits: others are no RFC 3339.
    let year = at.to_zoned(TimeZone::UTC).year();
    if !(0..=9999).contains(&year) {
        return Err(wrong());
    }
    Ok(at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// `7d`, `12h`, `90m` in seconds.
fn past_seconds(text: &str) -> Option<i64> {
    let units = [('d', 86_400), ('h', 3_600), ('m', 60)];
    let (number, seconds): (&str, i64) = units.iter().find_map(|(unit, by)| Some((text.strip_suffix(*unit)?, *by)))?;
    let is_number = !number.is_empty() && number.bytes().all(|octet| octet.is_ascii_digit());
    if is_number { number.parse::<i64>().ok()?.checked_mul(seconds) } else { None }
}

/// `1 user`, `4 users`; `1 entry`, `4 entries`.
pub fn counted(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{} {}", grouped(count), plural(one)) }
}

/// More than one of it.
fn plural(one: &str) -> String {
    match one.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        Some(_) | None => format!("{one}s"),
    }
}

/// A size in both ways: `1.2 KiB (1 234 octets)`; what is told whole already is told once.
pub fn bytes_exactly(octets: u64) -> String {
    if octets < 1024 { bytes(octets) } else { format!("{} ({})", bytes(octets), counted(octets, "octet")) }
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

    use proptest::prelude::{any, proptest};

    use super::{Edge, Now, bytes, bytes_exactly, counted, duration, grouped, seconds, time_of_day, typed};

    /// Times as people type them, in their zone; what is none is refused with what there is.
    #[test]
    fn typed_times() {
        let now = seconds("2026-07-22T23:03:11Z").unwrap_or(0);
        let berlin = TimeZone::fixed(jiff::tz::offset(2));
        let at = |text: &str, edge| typed(text, now, &berlin, edge).unwrap_or_else(|why| why);
        for (text, begin, end) in [
            ("7d", "2026-07-15T23:03:00.000Z", "2026-07-15T23:03:00.000Z"),
            ("12h", "2026-07-22T11:03:00.000Z", "2026-07-22T11:03:00.000Z"),
            ("90m", "2026-07-22T21:33:00.000Z", "2026-07-22T21:33:00.000Z"),
            ("today", "2026-07-22T22:00:00.000Z", "2026-07-23T21:59:59.999Z"),
            ("yesterday", "2026-07-21T22:00:00.000Z", "2026-07-22T21:59:59.999Z"),
            ("2026-07-01", "2026-06-30T22:00:00.000Z", "2026-07-01T21:59:59.999Z"),
            ("2026-07-01T10:00", "2026-07-01T08:00:00.000Z", "2026-07-01T08:00:00.000Z"),
            ("2026-07-01 10:00", "2026-07-01T08:00:00.000Z", "2026-07-01T08:00:00.000Z"),
            ("2026-07-01T10:00:30.5Z", "2026-07-01T10:00:30.500Z", "2026-07-01T10:00:30.500Z"),
            ("2026-07-01T10:00:30-05:00", "2026-07-01T15:00:30.000Z", "2026-07-01T15:00:30.000Z"),
            ("00:30", "2026-07-22T22:30:00.000Z", "2026-07-22T22:30:00.000Z"),
        ] {
            assert_eq!((at(text, Edge::Begin).as_str(), at(text, Edge::End).as_str()), (begin, end), "{text}");
        }
        for text in [
            "",
            "d",
            "-7d",
            "1.5h",
            "tomorrow",
            "2026-13-01",
            "99999999999999999d",
            "9223372036854775807m",
            "12",
            "2026-07-01t10:00",
            "2026-07-01t10",
            "2026-07-01T10:00[America/New_York]",
            "2026-07-01[America/New_York]",
            "10:00[America/New_York]",
        ] {
            assert!(at(text, Edge::Begin).contains("a time is one of 90m"), "{text}: {}", at(text, Edge::Begin));
        }
    }

    proptest! {
        /// No text is too strange, and what comes out is a time that the daemon takes.
        #[test]
        fn any_typed_time(text in any::<String>(), numbers in "[0-9TZ:. dhm+-]{0,24}", now in any::<i64>()) {
            for text in [text, numbers] {
                for edge in [Edge::Begin, Edge::End] {
                    if let Ok(at) = typed(&text, now, &TimeZone::UTC, edge) {
                        assert!(common::audit::parse_timestamp(&at).is_ok(), "{text}: {at}");
                    }
                }
            }
        }
    }

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

    /// A time is said once: its age stands beside it where that is another word for it.
    #[test]
    fn said_once() {
        let at = "2026-07-22T12:03:11.250Z";
        let of = |past: i64| super::dated(at, Now::utc(seconds(at).unwrap_or(0) + past));
        assert_eq!((of(0).as_str(), of(59).as_str()), (at, at));
        assert_eq!((of(60), of(10_000_000)), (format!("{at}  1 min"), at.to_owned()));
        assert_eq!(super::dated("soon", Now::utc(0)), "soon");
    }

    #[test]
    fn counts() {
        let all = [(1, "version"), (0, "version"), (1, "entry"), (1_000, "entry"), (2, "day")];
        let all: Vec<String> = all.into_iter().map(|(count, one)| counted(count, one)).collect();
        assert_eq!(all, ["1 version", "0 versions", "1 entry", "1 000 entries", "2 days"]);
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
