//! Universal Binary JSON, as XGBoost writes its models: values that each begin with a letter for their type, containers that
//! may say the number and type of what is in them, in big-endian order. All of it is walked to the last octet, with a stack
//! of its own; arrays of numbers are stepped over.

use super::cursor::{Cursor, Stop};
use super::dispatch;
use super::rules::Rule;
use super::scan::{Place, Scan};
use super::{Level, ReadAt};

/// No sound document.
const BROKEN: Rule = Rule {
    id: "ubjson.broken",
    level: Level::Unscannable,
    meaning: "The file is cut short or damaged, so what a lenient reader would find in it is not known.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[BROKEN];

/// Containers within each other.
const DEPTH_MAX: usize = 200;
/// Octets of a key or of a text that becomes a fact.
const TEXT_BYTES_MAX: u64 = 256;
/// Texts of XGBoost's that become facts, by their key.
const FACTS: &[&str] = &["num_feature", "num_class", "num_target", "base_score", "num_trees", "boost_from_average"];

/// Whether a file begins as XGBoost's models do: an object whose first key has a length of eight octets, as nobody else
/// writes it, and is one of its keys.
pub(super) fn is_xgboost(head: &[u8]) -> bool {
    const BEGINNING: &[u8] = b"{L\0\0\0\0\0\0\0";
    head.strip_prefix(BEGINNING).and_then(|rest| rest.split_first()).is_some_and(|(length, rest)| {
        let key = rest.get(..usize::from(*length)).unwrap_or_default();
        matches!(key, b"learner" | b"version" | b"Config" | b"Model")
    })
}

/// Looks into a source that was recognised as this format.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    let mut walk = Walk { cursor: Cursor::over(source), open: Vec::new(), version: Vec::new() };
    let why = match walk.value(scan, place) {
        Ok(None) => {
            if !walk.version.is_empty() {
                let parts: Vec<String> = walk.version.iter().map(ToString::to_string).collect();
                scan.facts.set("xgboost_version", parts.join("."));
            }
            scan.facts.set("architecture", "xgboost");
            return dispatch::outside(scan, source, walk.cursor.position(), source.len(), place);
        }
        Ok(Some(why)) => why,
        Err(Stop::End) => "the file ends within a value",
        Err(stop) => return Err(stop),
    };
    scan.find(&BROKEN, place, Some(walk.cursor.position()), why);
    Ok(())
}

/// A container that is open.
struct Open {
    is_object: bool,
    /// The type of all values, if the container says one.
    kind: Option<u8>,
    /// How many values are left, if the container says it.
    left: Option<u64>,
    /// What stands before the container, if it is a value of a key.
    key: String,
}

struct Walk<'a> {
    cursor: Cursor<'a>,
    open: Vec<Open>,
    /// The numbers of XGBoost's version.
    version: Vec<i64>,
}

impl Walk<'_> {
    /// Walks one value with all that is in it. What is wrong, if anything is.
    fn value(&mut self, scan: &mut Scan, place: &Place) -> Result<Option<&'static str>, Stop> {
        let (mut key, mut kind) = (String::new(), None);
        loop {
            scan.tick(place)?;
            let marker = match kind.take() {
                Some(kind) => kind,
                None => self.marker()?,
            };
            match marker {
                b'{' | b'[' => {
                    if self.open.len() >= DEPTH_MAX {
                        return Ok(Some("containers are nested too deep"));
                    }
                    match self.begin(marker == b'{', std::mem::take(&mut key))? {
                        Ok(open) => self.open.push(open),
                        Err(why) => return Ok(Some(why)),
                    }
                }
                b'S' | b'H' => {
                    let Some(length) = self.length()? else { return Ok(Some("a text has no sound length")) };
                    self.text(scan, &key, length)?;
                }
                _ => match width(marker) {
                    Some(width) => self.number(marker, width)?,
                    None => return Ok(Some("a value is of an unknown type")),
                },
            }
            // What comes next: a value of the innermost container, or its end and that of those around it.
            loop {
                let Some(open) = self.open.last_mut() else { return Ok(None) };
                if let Some(left) = &mut open.left {
                    if *left > 0 {
                        *left -= 1;
                        break;
                    }
                } else {
                    let end = if open.is_object { b'}' } else { b']' };
                    let next = loop {
                        match self.cursor.octet()? {
                            b'N' => scan.tick(place)?,
                            next => break next,
                        }
                    };
                    if next != end {
                        // Looked at, not used: of an object the first octet of a key's length, else a value's type.
                        kind = Some(next);
                        break;
                    }
                }
                self.open.pop();
            }
            let Some(open) = self.open.last() else { return Ok(None) };
            if open.is_object {
                let typed = open.kind;
                let length = match kind.take() {
                    Some(marker) => self.integer(marker)?,
                    None => self.length()?,
                };
                let Some(length) = length else { return Ok(Some("a key has no sound length")) };
                key = self.short(length)?;
                kind = typed;
            } else {
                key = open.key.clone();
                kind = open.kind.or(kind);
            }
        }
    }

    /// A container's head: `$` and a type, `#` and a number of values. Numbers of a stated type and number are stepped over.
    fn begin(&mut self, is_object: bool, key: String) -> Result<Result<Open, &'static str>, Stop> {
        let mut open = Open { is_object, kind: None, left: None, key };
        let mut ahead = self.cursor.peek()?;
        if ahead == Some(b'$') {
            self.cursor.skip(1)?;
            open.kind = Some(self.cursor.octet()?);
            ahead = self.cursor.peek()?;
            if ahead != Some(b'#') {
                return Ok(Err("a container with a type does not say how many values it has"));
            }
        }
        if ahead == Some(b'#') {
            self.cursor.skip(1)?;
            let Some(count) = self.length()? else { return Ok(Err("a container has no sound number of values")) };
            open.left = Some(count);
            if let (false, Some(width)) = (is_object, open.kind.and_then(width)) {
                if width == 0 {
                    return Ok(Err("a container repeats a value that takes no octets"));
                }
                self.cursor.skip(count.checked_mul(width).ok_or(Stop::End)?)?;
                open.left = Some(0);
            }
        }
        Ok(Ok(open))
    }

    /// The type of the next value; what stands for nothing is stepped over.
    fn marker(&mut self) -> Result<u8, Stop> {
        loop {
            match self.cursor.octet()? {
                b'N' => {}
                marker => return Ok(marker),
            }
        }
    }

    fn length(&mut self) -> Result<Option<u64>, Stop> {
        let marker = self.cursor.octet()?;
        self.integer(marker)
    }

    /// A whole number that is not negative; none if it is something else.
    fn integer(&mut self, marker: u8) -> Result<Option<u64>, Stop> {
        let value = match marker {
            b'i' => i64::from(i8::from_be_bytes(self.cursor.array()?)),
            b'U' => i64::from(self.cursor.octet()?),
            b'I' => i64::from(i16::from_be_bytes(self.cursor.array()?)),
            b'l' => i64::from(i32::from_be_bytes(self.cursor.array()?)),
            b'L' => i64::from_be_bytes(self.cursor.array()?),
            _ => return Ok(None),
        };
        Ok(u64::try_from(value).ok())
    }

    fn number(&mut self, marker: u8, width: u64) -> Result<(), Stop> {
        let is_version = matches!(self.open.as_slice(), [_, Open { key, is_object: false, .. }] if key == "version");
        if !is_version || self.version.len() >= 3 || !matches!(marker, b'i' | b'U' | b'I' | b'l' | b'L') {
            return self.cursor.skip(width);
        }
        if let Some(number) = self.integer(marker)? {
            self.version.push(number.cast_signed());
        }
        Ok(())
    }

    /// A text, of which the beginning is kept.
    fn short(&mut self, length: u64) -> Result<String, Stop> {
        let kept = self.cursor.take(length.min(TEXT_BYTES_MAX))?;
        self.cursor.skip(length - kept.len() as u64)?;
        Ok(String::from_utf8_lossy(&kept).into_owned())
    }

    fn text(&mut self, scan: &mut Scan, key: &str, length: u64) -> Result<(), Stop> {
        let text = self.short(length)?;
        let within = self.open.last().map_or("", |open| open.key.as_str());
        match (within, key) {
            ("objective", "name") => scan.facts.set("objective", text),
            ("gradient_booster", "name") => scan.facts.set("booster", text),
            ("learner_model_param" | "gbtree_model_param", _) if FACTS.contains(&key) => scan.facts.set(key, text),
            _ => {}
        }
        Ok(())
    }
}

/// Octets of a value of this type behind its letter; none for what is no number or the like.
fn width(marker: u8) -> Option<u64> {
    Some(match marker {
        b'Z' | b'T' | b'F' => 0,
        b'i' | b'U' | b'C' => 1,
        b'I' => 2,
        b'l' | b'd' => 4,
        b'L' | b'D' => 8,
        _ => return None,
    })
}
