//! `params>1e9` in the query of a list of models: how many parameters the latest version has. Knows how a number and a
//! comparison are written; refuses to know models.

use crate::http::body::percent_decode;
use crate::store::Bounds;

/// What a bad value is answered with.
pub(super) const ACCEPTED: &str =
    "is not a number of parameters: `1e9`, `7B`, `>1e9`, `>=1e9`, `<70B`, `<=70B`, or a range such as `1e9..8e9`";

/// The query with every `params>1e9` (`params%3E1e9` on the wire) written as `params=>1e9`, which is what it stands for.
pub(super) fn spelled_out(query: &str) -> String {
    let pairs = query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value)));
        let comparison = percent_decode(name, true).and_then(|name| {
            let comparison = name.strip_prefix("params")?;
            comparison.starts_with(['<', '>']).then(|| comparison.to_owned())
        });
        match (comparison, value) {
            (Some(comparison), Some(value)) => format!("params={}%3D{value}", escaped(&comparison)),
            (Some(comparison), None) => format!("params={}", escaped(&comparison)),
            (None, _) => pair.to_owned(),
        }
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// What a value of `params` asks for; none where it is none.
pub(super) fn bounds(text: &str) -> Option<Bounds> {
    let text = text.trim();
    if let Some((least, most)) = text.split_once("..") {
        let bound = |text: &str| if text.is_empty() { Some(None) } else { number(text).map(Some) };
        let (least, most) = (bound(least)?, bound(most)?);
        return (least.is_some() || most.is_some())
            .then_some(Bounds { least: least.unwrap_or(0), most: most.unwrap_or(u64::MAX) });
    }
    // Above the highest or below the lowest there is nothing: bounds that nothing fits.
    let nothing = Bounds { least: u64::MAX, most: 0 };
    Some(if let Some(text) = text.strip_prefix(">=") {
        Bounds { least: number(text)?, most: u64::MAX }
    } else if let Some(text) = text.strip_prefix("<=") {
        Bounds { least: 0, most: number(text)? }
    } else if let Some(text) = text.strip_prefix('>') {
        number(text)?.checked_add(1).map_or(nothing, |least| Bounds { least, most: u64::MAX })
    } else if let Some(text) = text.strip_prefix('<') {
        number(text)?.checked_sub(1).map_or(nothing, |most| Bounds { least: 0, most })
    } else {
        let exactly = number(text)?;
        Bounds { least: exactly, most: exactly }
    })
}

/// A whole number of parameters: digits, a fraction, an exponent, or one of the letters K, M, B, T for thousand to trillion.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, factor) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 3),
        (at, 'm' | 'M') => (&text[..at], 6),
        (at, 'b' | 'B') => (&text[..at], 9),
        (at, 't' | 'T') => (&text[..at], 12),
        _ => (text, 0),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix('+').unwrap_or(exponent).parse::<u32>().ok()?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = !whole.is_empty() && whole.len() + fraction.len() <= 19;
    if !is_number || !whole.bytes().chain(fraction.bytes()).all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    // 1.5e9 is 15 times ten to the eighth: no floating point, so that what is asked for is what is compared.
    let shift = exponent.checked_add(factor)?.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    format!("{whole}{fraction}").parse::<u64>().ok()?.checked_mul(10_u64.checked_pow(shift)?)
}

#[cfg(test)]
mod tests {
    use super::{bounds, spelled_out};
    use crate::store::Bounds;

    #[test]
    fn comparisons() {
        let max = u64::MAX;
        for (text, wanted) in [
            ("1e9", Some((1_000_000_000, 1_000_000_000))),
            (">1e9", Some((1_000_000_001, max))),
            (">=1.5e9", Some((1_500_000_000, max))),
            ("<7B", Some((0, 6_999_999_999))),
            ("<= 7.25B", Some((0, 7_250_000_000))),
            ("1e6..2M", Some((1_000_000, 2_000_000))),
            ("1k..", Some((1000, max))),
            ("..1e+3", Some((0, 1000))),
            ("<0", Some((max, 0))),
            (">18446744073709551615", None),
            ("..", None),
            ("", None),
            (">", None),
            ("-1", None),
            ("1.5", None),
            ("1e30", None),
            ("1e99999999999", None),
            ("x", None),
            ("é", None),
            ("1..2..3", None),
        ] {
            assert_eq!(bounds(text), wanted.map(|(least, most)| Bounds { least, most }), "{text}");
        }
    }

    #[test]
    fn a_comparison_in_the_name_is_one_of_the_value() {
        for (query, wanted) in [
            ("params%3E1e9", "params=%3E1e9"),
            ("q=a&params%3E=1e9&limit=2", "q=a&params=%3E%3D1e9&limit=2"),
            ("params%3c7B", "params=%3C7B"),
            ("params=%3E1e9", "params=%3E1e9"),
            ("params=1e9..2e9", "params=1e9..2e9"),
            ("paramsx=1", "paramsx=1"),
            ("", ""),
        ] {
            assert_eq!(spelled_out(query), wanted);
        }
    }
}
