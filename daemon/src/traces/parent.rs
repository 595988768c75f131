//! `traceparent`, by which a request says which trace it belongs to (W3C Trace Context §3.2). Reads octets of outside; refuses
//! to know what becomes of them. What is not right to the letter is not there: the request begins a trace of its own.

use http::{HeaderMap, HeaderName};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Octets of version 00: `00-<32>-<16>-<2>`.
const LENGTH: usize = 55;

/// Whom a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    /// Whether the caller records its part.
    pub(super) is_sampled: bool,
}

/// The one that a request names, once.
pub(super) fn of(headers: &HeaderMap) -> Option<Parent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    read(value.as_bytes())
}

fn read(octets: &[u8]) -> Option<Parent> {
    let (known, rest) = octets.split_at_checked(LENGTH)?;
    let is_hex = |octet: &u8| matches!(octet, b'0'..=b'9' | b'a'..=b'f');
    let is_right = known.iter().enumerate().all(|(at, octet)| match at {
        2 | 35 | 52 => *octet == b'-',
        _ => is_hex(octet),
    });
    // A later version may say more, after a dash.
    let is_fit = match &known[..2] {
        b"00" => rest.is_empty(),
        b"ff" => false,
        _later => rest.first().is_none_or(|octet| *octet == b'-'),
    };
    if !is_right || !is_fit {
        return None;
    }
    let (mut trace, mut span, mut flags) = ([0; 16], [0; 8], [0; 1]);
    hex::decode_to_slice(&known[3..35], &mut trace).ok()?;
    hex::decode_to_slice(&known[36..52], &mut span).ok()?;
    hex::decode_to_slice(&known[53..55], &mut flags).ok()?;
    // Zeros stand for none.
    (trace != [0; 16] && span != [0; 8]).then_some(Parent { trace, span, is_sampled: flags[0] & 1 == 1 })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{TRACEPARENT, of, read};

    const RIGHT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_examples_of_the_specification() {
        let parent = read(RIGHT.as_bytes()).unwrap();
        assert_eq!(hex::encode(parent.trace), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!((hex::encode(parent.span).as_str(), parent.is_sampled), ("b7ad6b7169203331", true));
        assert!(!read(RIGHT.replace("-01", "-00").as_bytes()).unwrap().is_sampled);
        // Later versions: the same, and perhaps more.
        assert!(read(RIGHT.replacen("00", "cc", 1).as_bytes()).is_some());
        assert!(read(format!("{}-more", RIGHT.replacen("00", "cc", 1)).as_bytes()).is_some());
    }

    #[test]
    fn what_is_not_right_is_not_there() {
        let zeros = |count| "0".repeat(count);
        for wrong in [
            String::new(),
            RIGHT.to_ascii_uppercase(),
            RIGHT.replacen("00", "ff", 1),
            format!("{RIGHT}-more"),
            format!("{}x", RIGHT.replacen("00", "cc", 1)),
            RIGHT[..54].to_owned(),
            RIGHT.replace("0af7651916cd43dd8448eb211c80319c", &zeros(32)),
            RIGHT.replace("b7ad6b7169203331", &zeros(16)),
            RIGHT.replacen('-', "_", 1),
            RIGHT.replace("0a", "g0"),
        ] {
            assert_eq!(read(wrong.as_bytes()), None, "{wrong}");
        }
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(RIGHT));
        assert!(of(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(RIGHT));
        assert_eq!(of(&headers), None, "said twice");
    }

    proptest! {
        /// What is read was written as it is read.
        #[test]
        fn round_trip(trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(), flags in any::<u8>()) {
            let text = format!("00-{}-{}-{flags:02x}", hex::encode(trace), hex::encode(span));
            let expected = trace != [0; 16] && span != [0; 8];
            let parent = read(text.as_bytes());
            prop_assert_eq!(parent.is_some(), expected);
            if let Some(parent) = parent {
                prop_assert_eq!((parent.trace, parent.span, parent.is_sampled), (trace, span, flags & 1 == 1));
            }
        }

        /// Whatever comes, nothing breaks.
        #[test]
        fn any_octets(octets in any::<Vec<u8>>()) {
            let _parent = read(&octets);
        }
    }
}
