//! Times as entries write them: `YYYY-MM-DDThh:mm:ss.mmmZ`. One spelling for each millisecond; reads no clock.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::leaf::LeafError;

/// Characters of a timestamp.
pub(super) const TIMESTAMP_LEN: usize = 24;

/// The text of an instant given in milliseconds since 1970-01-01T00:00:00Z.
///
/// # Errors
/// [`LeafError::Time`] before year 0 or after year 9999.
pub fn format_timestamp(unix_ms: i64) -> Result<String, LeafError> {
    let mut text = String::with_capacity(TIMESTAMP_LEN);
    text.extend(octets(unix_ms)?.map(char::from));
    Ok(text)
}

/// The instant a timestamp names, in milliseconds since 1970-01-01T00:00:00Z.
///
/// # Errors
/// [`LeafError::Time`] where the text is not exactly as [`format_timestamp`] writes it.
pub fn parse_timestamp(text: &str) -> Result<i64, LeafError> {
    let unix_ms = civil(text)
        .and_then(|civil| TimeZone::UTC.to_timestamp(civil).ok())
        .map(Timestamp::as_millisecond)
        .ok_or(LeafError::Time)?;
    if octets(unix_ms)? == *text.as_bytes() { Ok(unix_ms) } else { Err(LeafError::Time) }
}

/// The digits at their places; what stands between them is compared by the caller.
fn civil(text: &str) -> Option<DateTime> {
    if text.len() != TIMESTAMP_LEN {
        return None;
    }
    let number = |range| {
        let digits: &str = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i16>().ok()).flatten()
    };
    let small = |range| i8::try_from(number(range)?).ok();
    let subsec_ns = i32::from(number(20..23)?) * 1_000_000;
    DateTime::new(number(0..4)?, small(5..7)?, small(8..10)?, small(11..13)?, small(14..16)?, small(17..19)?, subsec_ns)
        .ok()
}

/// The text as octets, with no allocation: entries are written on the hot path.
pub(super) fn octets(unix_ms: i64) -> Result<[u8; TIMESTAMP_LEN], LeafError> {
    let at = Timestamp::from_millisecond(unix_ms).ok().ok_or(LeafError::Time)?;
    let at = TimeZone::UTC.to_datetime(at);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    // The year may be negative, and is then not written.
    put(&mut text[0..4], u32::try_from(at.year()).ok().ok_or(LeafError::Time)?);
    put(&mut text[5..7], at.month().unsigned_abs().into());
    put(&mut text[8..10], at.day().unsigned_abs().into());
    put(&mut text[11..13], at.hour().unsigned_abs().into());
    put(&mut text[14..16], at.minute().unsigned_abs().into());
    put(&mut text[17..19], at.second().unsigned_abs().into());
    put(&mut text[20..23], at.millisecond().unsigned_abs().into());
    Ok(text)
}

/// Writes the last digits of `value` over all of `field`.
fn put(field: &mut [u8], mut value: u32) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).expect("a digit is below ten");
        value /= 10;
    }
}
