//! The JSON subset that leaves are written in: a part of JCS (RFC 8785) where each value has one spelling.
//!
//! Keys are printable ASCII in octet order, numbers are integers a JSON reader with doubles keeps exactly, strings escape
//! only what JSON must. Knows nothing of entries.

use serde_json::{Map, Number, Value};

use super::leaf::LeafError;

/// The largest magnitude of an integer: 2^53 − 1, what every JSON reader keeps exactly.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// How deep arrays and objects may nest, counted from the value given.
pub const DEPTH_MAX: usize = 16;

/// The canonical octets of a value, such as an entry that arrived inside another JSON document.
///
/// # Errors
/// [`LeafError`] where the value has a float, an integer above [`INTEGER_MAX`], a key outside printable ASCII, or nests
/// deeper than [`DEPTH_MAX`].
pub fn canonical_json(value: &Value) -> Result<Vec<u8>, LeafError> {
    let mut out = Vec::with_capacity(1024);
    write_value(&mut out, value, DEPTH_MAX)?;
    Ok(out)
}

/// Writes an object whose keys are known when the code is written: they must be given in octet order.
pub(super) struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> ObjectWriter<'a> {
    pub(super) fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Writes the key; the caller writes one value to the octets returned.
    pub(super) fn key(&mut self, key: &'static str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(super) fn string(&mut self, key: &'static str, value: &str) {
        write_string(self.key(key), value);
    }

    pub(super) fn optional_string(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.string(key, value);
        }
    }

    pub(super) fn integer(&mut self, key: &'static str, value: u64) -> Result<(), LeafError> {
        if value > INTEGER_MAX {
            return Err(LeafError::Integer { key: key.to_owned() });
        }
        write_digits(self.key(key), value);
        Ok(())
    }

    /// Lower-case hex of 32 octets.
    pub(super) fn hex(&mut self, key: &'static str, value: &[u8; 32]) {
        let mut digits = [0; 64];
        hex::encode_to_slice(value, &mut digits).expect("64 digits hold 32 octets");
        let out = self.key(key);
        out.push(b'"');
        out.extend_from_slice(&digits);
        out.push(b'"');
    }

    pub(super) fn close(self) {
        self.out.push(b'}');
    }
}

/// Writes an object from members that are already in octet order of their keys.
pub(super) fn write_members<'a>(
    out: &mut Vec<u8>,
    members: impl Iterator<Item = (&'a String, &'a Value)>,
    depth: usize,
) -> Result<(), LeafError> {
    let depth = depth.checked_sub(1).ok_or(LeafError::Depth)?;
    out.push(b'{');
    for (i, (key, value)) in members.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        if !key.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Err(LeafError::Key { key: key.clone() });
        }
        write_string(out, key);
        out.push(b':');
        write_value(out, value, depth).map_err(|error| error.within(key))?;
    }
    out.push(b'}');
    Ok(())
}

fn write_value(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), LeafError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(out, number)?,
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            let depth = depth.checked_sub(1).ok_or(LeafError::Depth)?;
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_value(out, item, depth)?;
            }
            out.push(b']');
        }
        Value::Object(members) => write_members(out, sorted(members).into_iter(), depth)?,
    }
    Ok(())
}

/// The members in octet order. serde_json keeps that order by itself, unless some crate of the build turns on its
/// `preserve_order` feature; the octets of a leaf must not depend on that.
fn sorted(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_unstable_by_key(|(key, _)| *key);
    members
}

fn write_number(out: &mut Vec<u8>, number: &Number) -> Result<(), LeafError> {
    let (negative, magnitude) = match (number.as_u64(), number.as_i64()) {
        (Some(positive), _) => (false, positive),
        (None, Some(signed)) => (true, signed.unsigned_abs()),
        (None, None) => return Err(LeafError::Float { key: String::new() }),
    };
    if magnitude > INTEGER_MAX {
        return Err(LeafError::Integer { key: String::new() });
    }
    if negative {
        out.push(b'-');
    }
    write_digits(out, magnitude);
    Ok(())
}

pub(super) fn write_digits(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(value % 10).expect("a digit is below ten");
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let octets = text.as_bytes();
    let mut written = 0;
    for (i, &octet) in octets.iter().enumerate() {
        if octet >= 0x20 && octet != b'"' && octet != b'\\' {
            continue;
        }
        out.extend_from_slice(&octets[written..i]);
        written = i + 1;
        match octet {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            control => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX_DIGITS[usize::from(control >> 4)]);
                out.push(HEX_DIGITS[usize::from(control & 0x0f)]);
            }
        }
    }
    out.extend_from_slice(&octets[written..]);
    out.push(b'"');
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";
