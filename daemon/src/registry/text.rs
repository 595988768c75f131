//! Rules for what people write: descriptions, tags, reasons, metadata. Knows sizes and characters; refuses to know what it
//! is written about.

use std::collections::BTreeMap;

use common::digest::Digest;
use common::shown::is_deceptive;
use serde_json::{Map, Value};

/// Octets of a description.
pub const DESCRIPTION_OCTETS_MAX: usize = 16_384;
/// Tags of a model.
pub const TAGS_MAX: usize = 64;
/// Octets of a tag's key.
pub const TAG_KEY_OCTETS_MAX: usize = 64;
/// Octets of a tag's value.
pub const TAG_VALUE_OCTETS_MAX: usize = 256;
/// Characters of a reason.
pub const REASON_CHARS_MAX: usize = 1000;
/// Octets of claimed metadata, as JSON.
pub const METADATA_OCTETS_MAX: usize = 64 * 1024;
/// Fields of claimed metadata.
pub const METADATA_KEYS_MAX: usize = 256;
/// Octets of a metadata field's name.
pub const METADATA_KEY_OCTETS_MAX: usize = 128;

/// What was refused: places and sentences.
pub(crate) type Refused = Vec<(String, String)>;

/// Controls make texts that look other than they are; line breaks and tabs are fine where lines are. So do characters that turn
/// the direction of what follows, or are not seen: names and labels, which are compared by eye, have none. What is written in
/// lines may need them, as Hebrew and Persian do, and is shown with them spelled out.
fn has_controls(text: &str, lines: bool) -> bool {
    if lines {
        return text.chars().any(|character| character.is_control() && !matches!(character, '\n' | '\r' | '\t'));
    }
    text.chars().any(is_deceptive)
}

pub(crate) fn check_description(loc: &str, text: &str, refused: &mut Refused) {
    if text.len() > DESCRIPTION_OCTETS_MAX {
        refused.push((loc.into(), format!("a description has at most {DESCRIPTION_OCTETS_MAX} octets")));
    } else if has_controls(text, true) {
        refused.push((loc.into(), "a description has no control characters but line breaks and tabs".into()));
    }
}

pub(crate) fn check_tags(loc: &str, tags: &BTreeMap<String, String>, refused: &mut Refused) {
    if tags.len() > TAGS_MAX {
        refused.push((loc.into(), format!("a model has at most {TAGS_MAX} tags")));
    }
    for (key, value) in tags {
        let bad_key =
            key.is_empty() || key.len() > TAG_KEY_OCTETS_MAX || has_controls(key, false) || key.contains(['=', ':']);
        if bad_key {
            let msg = format!(
                "a tag's key has 1 to {TAG_KEY_OCTETS_MAX} octets, no control or invisible character, `=` or `:`"
            );
            refused.push((loc.into(), msg));
        }
        if value.len() > TAG_VALUE_OCTETS_MAX || has_controls(value, false) {
            let msg = format!(
                "a tag's value has at most {TAG_VALUE_OCTETS_MAX} octets and no control or invisible character"
            );
            refused.push((loc.into(), msg));
        }
    }
}

pub(crate) fn check_label(loc: &str, label: &str, chars_max: usize, refused: &mut Refused) {
    if !(1..=chars_max).contains(&label.chars().count()) || has_controls(label, false) {
        refused.push((
            loc.into(),
            format!("must have 1 to {chars_max} characters, none of them a control character or invisible"),
        ));
    }
}

pub(crate) fn check_reason(loc: &str, reason: &str, refused: &mut Refused) {
    let empty = reason.trim().is_empty();
    if empty || reason.chars().count() > REASON_CHARS_MAX || has_controls(reason, true) {
        let msg = format!("say why, in 1 to {REASON_CHARS_MAX} characters without control characters");
        refused.push((loc.into(), msg));
    }
}

pub(crate) fn check_metadata(loc: &str, metadata: &Map<String, Value>, refused: &mut Refused) {
    let octets = serde_json::to_vec(metadata).map_or(usize::MAX, |json| json.len());
    if metadata.len() > METADATA_KEYS_MAX || octets > METADATA_OCTETS_MAX {
        let msg = format!("metadata has at most {METADATA_KEYS_MAX} fields and {METADATA_OCTETS_MAX} octets as JSON");
        refused.push((loc.into(), msg));
    }
    let bad_key = |key: &String| key.is_empty() || key.len() > METADATA_KEY_OCTETS_MAX || has_controls(key, false);
    if metadata.keys().any(bad_key) {
        let msg = format!(
            "a metadata field's name has 1 to {METADATA_KEY_OCTETS_MAX} octets and no control or invisible character"
        );
        refused.push((loc.into(), msg));
    }
}

/// `sha256:<64 hex>` or the digits alone, in either case: tools print both.
pub(crate) fn read_digest(text: &str) -> Result<Digest, String> {
    let text = text.trim().to_ascii_lowercase();
    Digest::from_hex(text.strip_prefix("sha256:").unwrap_or(&text))
        .map_err(|_unread| "is not a SHA-256 digest: 64 hex digits, with or without `sha256:` before them".into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Refused, check_description, check_metadata, check_reason, check_tags};

    fn refuses(check: impl Fn(&mut Refused)) -> bool {
        let mut refused = Refused::new();
        check(&mut refused);
        !refused.is_empty()
    }

    /// Bounds and characters.
    #[test]
    fn bounds() {
        assert!(!refuses(|to| check_description("d", "two\nlines", to)));
        assert!(refuses(|to| check_description("d", "bell\u{7}", to)));
        assert!(refuses(|to| check_description("d", &"x".repeat(16_385), to)));
        for (reason, bad) in [("because", false), ("", true), ("  ", true), ("\0", true)] {
            assert_eq!(refuses(|to| check_reason("r", reason, to)), bad, "{reason:?}");
        }
        let tags = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        assert!(!refuses(|to| check_tags("t", &tags("stage", "prod"), to)));
        assert!(refuses(|to| check_tags("t", &tags("", "prod"), to)));
        assert!(refuses(|to| check_tags("t", &tags("stage\u{3164}", "prod"), to)));
        assert!(refuses(|to| check_tags("t", &tags("stage", "prod\u{fe0f}"), to)));
        assert!(refuses(|to| check_tags("t", &tags("a", &"x".repeat(257)), to)));
        let many = (0..65).map(|n| (format!("k{n}"), String::new())).collect();
        assert!(refuses(|to| check_tags("t", &many, to)));
        let metadata = |count: usize| (0..count).map(|n| (format!("k{n}"), n.into())).collect();
        assert!(!refuses(|to| check_metadata("m", &metadata(256), to)));
        assert!(refuses(|to| check_metadata("m", &metadata(257), to)));
    }
}
