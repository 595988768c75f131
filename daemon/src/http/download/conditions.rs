//! What of a representation is to be sent, if anything: preconditions in their order (RFC 9110 §13.2.2), and ranges
//! (§14). Knows header fields; refuses to know what the representation is.

use std::ops::Range;
use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::http::respond;

/// What a request's header fields come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// 200: all of it.
    Whole,
    /// 206: these octets; never empty.
    Part(Range<u64>),
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    RangeNotSatisfiable,
}

/// What conditions are judged against.
#[derive(Debug)]
pub(super) struct Validators<'a> {
    /// Its entity tag, strong.
    pub(super) etag: &'a HeaderValue,
    /// When it was made, in whole seconds.
    pub(super) modified: SystemTime,
    /// Its octets, where ranges of it can be had.
    pub(super) ranges_of: Option<u64>,
}

/// Whether there is anything to judge.
pub(super) fn any(headers: &HeaderMap) -> bool {
    const FIELDS: [HeaderName; 5] = [
        header::IF_MATCH,
        header::IF_UNMODIFIED_SINCE,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::RANGE,
    ];
    FIELDS.iter().any(|field| headers.contains_key(field))
}

/// Judges a GET or HEAD. Ranges are for GET alone.
pub(super) fn judge(headers: &HeaderMap, is_get: bool, of: &Validators<'_>) -> Verdict {
    if headers.contains_key(header::IF_MATCH) {
        if !strong_match(headers, of.etag) {
            return Verdict::PreconditionFailed;
        }
    } else if let Some(limit) = date(headers, header::IF_UNMODIFIED_SINCE)
        && of.modified > limit
    {
        return Verdict::PreconditionFailed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        if respond::none_match(headers, of.etag) {
            return Verdict::NotModified;
        }
    } else if let Some(limit) = date(headers, header::IF_MODIFIED_SINCE)
        && of.modified <= limit
    {
        return Verdict::NotModified;
    }
    match (of.ranges_of, headers.get(header::RANGE).and_then(|value| value.to_str().ok())) {
        (Some(size), Some(text)) if is_get && range_holds(headers, of) => range(text, size),
        _ => Verdict::Whole,
    }
}

/// `If-Match`, by strong comparison (RFC 9110 §13.1.1).
fn strong_match(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get_all(header::IF_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.trim() == "*"
            || respond::tags(list)
                .is_some_and(|tags| tags.iter().any(|(weak, tag)| !weak && tag.as_bytes() == etag.as_bytes()))
    })
}

/// `If-Range` (RFC 9110 §13.1.5): a strong entity tag, or the exact date. Absent, the range holds.
fn range_holds(headers: &HeaderMap, of: &Validators<'_>) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else { return true };
    if value == of.etag {
        return true;
    }
    // What is published never changes, so a date is as strong as a tag here.
    value.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok()) == Some(of.modified)
}

fn date(headers: &HeaderMap, field: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(field)?.to_str().ok()?).ok()
}

/// One range of `size` octets. What is malformed or asks for several ranges is ignored, as RFC 9110 §14.2 allows.
fn range(text: &str, size: u64) -> Verdict {
    let Some((unit, set)) = text.split_once('=') else { return Verdict::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Verdict::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Verdict::Whole };
    match (position(first), position(last)) {
        (Position::None, Position::At(0)) => Verdict::RangeNotSatisfiable,
        // An empty file has no last octets; all of it is what there is.
        (Position::None, Position::At(_)) if size == 0 => Verdict::Whole,
        (Position::None, Position::At(count)) => Verdict::Part(size.saturating_sub(count)..size),
        (Position::At(first), Position::At(last)) if last < first => Verdict::Whole,
        (Position::At(first), _) if first >= size && !matches!(position(last), Position::Broken) => {
            Verdict::RangeNotSatisfiable
        }
        (Position::At(first), Position::None) => Verdict::Part(first..size),
        (Position::At(first), Position::At(last)) => Verdict::Part(first..last.saturating_add(1).min(size)),
        (Position::Broken, _) | (_, Position::Broken) | (Position::None, Position::None) => Verdict::Whole,
    }
}

enum Position {
    None,
    At(u64),
    Broken,
}

/// Digits, or nothing. More than fit are behind the end of anything.
fn position(digits: &str) -> Position {
    match digits {
        "" => Position::None,
        digits if digits.bytes().all(|octet| octet.is_ascii_digit()) => {
            Position::At(digits.parse().unwrap_or(u64::MAX))
        }
        _ => Position::Broken,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::time::{Duration, SystemTime};

    use http::header::{self, HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::{Validators, Verdict, any, judge, range};

    #[test]
    fn ranges() {
        use Verdict::{Part, RangeNotSatisfiable, Whole};
        for (text, wanted) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=0-9", Part(0..10)),
            ("bytes=0-10", Part(0..10)),
            ("bytes=3-", Part(3..10)),
            ("bytes=9-9", Part(9..10)),
            ("bytes=-1", Part(9..10)),
            ("bytes=-10", Part(0..10)),
            ("bytes=-99999999999999999999999", Part(0..10)),
            ("bytes=2-99999999999999999999999", Part(2..10)),
            ("BYTES = 1-2", Part(1..3)),
            ("bytes=10-", RangeNotSatisfiable),
            ("bytes=10-20", RangeNotSatisfiable),
            ("bytes=-0", RangeNotSatisfiable),
            ("bytes=99999999999999999999999-", RangeNotSatisfiable),
            ("bytes=5-2", Whole),
            ("bytes=12-11", Whole),
            ("bytes=0-1,3-4", Whole),
            ("bytes=", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=10-b", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=1", Whole),
            ("bytes", Whole),
            ("rows=0-1", Whole),
            ("", Whole),
        ] {
            assert_eq!(range(text, 10), wanted, "{text}");
        }
        assert_eq!(range("bytes=0-", 0), RangeNotSatisfiable);
        assert_eq!(range("bytes=-5", 0), Whole);
    }

    proptest! {
        /// A part is never empty and never beyond the end, whatever is asked.
        #[test]
        fn a_part_is_a_part(text in "(bytes=)?[0-9a-z=, -]{0,24}", size in 0_u64..2_000) {
            if let Verdict::Part(part) = range(&text, size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }

        #[test]
        fn the_range_asked_for_is_the_range_sent(first in 0_u64..5_000, length in 1_u64..5_000, more in 0_u64..5_000) {
            let size = first + length + more;
            let text = format!("bytes={first}-{}", first + length - 1);
            prop_assert_eq!(range(&text, size), Verdict::Part(first..first + length));
            prop_assert_eq!(range(&format!("bytes=-{length}"), size), Verdict::Part(size - length..size));
        }
    }

    const MODIFIED: &str = "Sat, 31 Jan 2026 12:00:00 GMT";
    const LATER: &str = "Sat, 31 Jan 2026 12:00:01 GMT";
    const EARLIER: &str = "Sat, 31 Jan 2026 11:59:59 GMT";

    fn judged(fields: &[(HeaderName, &'static str)]) -> Verdict {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        let etag = HeaderValue::from_static("\"sha256:aa\"");
        let modified = httpdate::parse_http_date(MODIFIED).unwrap();
        assert_eq!(modified.duration_since(SystemTime::UNIX_EPOCH).unwrap(), Duration::from_secs(1_769_860_800));
        let of = Validators { etag: &etag, modified, ranges_of: Some(10) };
        let verdict = judge(&headers, true, &of);
        // What has nothing to judge needs no judge.
        assert!(any(&headers) || verdict == Verdict::Whole);
        verdict
    }

    #[test]
    fn preconditions_in_their_order() {
        use header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
        let (ours, other) = ("\"sha256:aa\"", "\"sha256:bb\"");
        let part = (RANGE, "bytes=1-2");
        for (fields, wanted) in [
            (vec![], Verdict::Whole),
            (vec![(IF_MATCH, ours)], Verdict::Whole),
            (vec![(IF_MATCH, "*")], Verdict::Whole),
            (vec![(IF_MATCH, other)], Verdict::PreconditionFailed),
            (vec![(IF_MATCH, "W/\"sha256:aa\"")], Verdict::PreconditionFailed),
            (vec![(IF_MATCH, "nonsense")], Verdict::PreconditionFailed),
            (vec![(IF_MATCH, other), (IF_MATCH, ours)], Verdict::Whole),
            (vec![(IF_MATCH, ours), (IF_UNMODIFIED_SINCE, EARLIER)], Verdict::Whole),
            (vec![(IF_UNMODIFIED_SINCE, EARLIER)], Verdict::PreconditionFailed),
            (vec![(IF_UNMODIFIED_SINCE, MODIFIED)], Verdict::Whole),
            (vec![(IF_NONE_MATCH, ours)], Verdict::NotModified),
            (vec![(IF_NONE_MATCH, "W/\"sha256:aa\"")], Verdict::NotModified),
            (vec![(IF_NONE_MATCH, "*")], Verdict::NotModified),
            (vec![(IF_NONE_MATCH, other), (IF_MODIFIED_SINCE, LATER)], Verdict::Whole),
            (vec![(IF_MODIFIED_SINCE, MODIFIED)], Verdict::NotModified),
            (vec![(IF_MODIFIED_SINCE, EARLIER)], Verdict::Whole),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], Verdict::Whole),
            (vec![(IF_MATCH, other), (IF_NONE_MATCH, ours)], Verdict::PreconditionFailed),
            (vec![part.clone()], Verdict::Part(1..3)),
            (vec![part.clone(), (IF_RANGE, ours)], Verdict::Part(1..3)),
            (vec![part.clone(), (IF_RANGE, other)], Verdict::Whole),
            (vec![part.clone(), (IF_RANGE, "W/\"sha256:aa\"")], Verdict::Whole),
            (vec![part.clone(), (IF_RANGE, MODIFIED)], Verdict::Part(1..3)),
            (vec![part.clone(), (IF_RANGE, LATER)], Verdict::Whole),
            (vec![part.clone(), (IF_NONE_MATCH, ours)], Verdict::NotModified),
            (vec![(RANGE, "bytes=10-")], Verdict::RangeNotSatisfiable),
            (vec![(RANGE, "bytes=10-"), (IF_RANGE, other)], Verdict::Whole),
        ] {
            assert_eq!(judged(&fields), wanted, "{fields:?}");
        }
    }

    #[test]
    fn a_range_is_for_get_and_for_what_has_ranges() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        let etag = HeaderValue::from_static("\"x\"");
        let of = |ranges_of| Validators { etag: &etag, modified: SystemTime::UNIX_EPOCH, ranges_of };
        assert_eq!(judge(&headers, false, &of(Some(10))), Verdict::Whole);
        assert_eq!(judge(&headers, true, &of(None)), Verdict::Whole);
    }
}
