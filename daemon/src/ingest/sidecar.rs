//! What lies beside an item and speaks of it: `NAME.mreg.json` and `NAME.sha256`. Outside bytes. Knows their grammar;
//! refuses to know files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::str::FromStr;

use common::digest::Digest;
use common::name::{Alias, ModelName};
use common::shown::shown;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::registry::text::{check_description, check_metadata, check_tags, read_digest};

/// The longest sidecar, in octets.
pub const SIDECAR_OCTETS_MAX: u64 = 1024 * 1024;
/// The longest checksum file, in octets.
pub const CHECKSUM_OCTETS_MAX: u64 = 64 * 1024;
/// Objects and arrays within each other in a sidecar.
pub const SIDECAR_DEPTH_MAX: usize = 32;

/// Mistakes that are told at once.
const MISTAKES_MAX: usize = 20;
/// Characters of a foreign key or name that are shown.
const SHOWN_CHARS_MAX: usize = 80;
/// What some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a sidecar says. Everything is optional.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sidecar {
    /// The model's name, instead of the one that follows from the file's.
    pub name: Option<ModelName>,
    /// As in an upload.
    pub description: Option<String>,
    /// As in an upload.
    pub tags: Option<BTreeMap<String, String>>,
    /// As in an upload.
    pub metadata: Option<Map<String, Value>>,
    /// As in an upload.
    pub alias: Option<Alias>,
    /// The digest that the one file must have.
    pub sha256: Option<Digest>,
}

/// Reads a sidecar: a JSON object of the known keys, nothing else. `null` says nothing, but for a digest.
///
/// # Errors
/// Sentences, each with its place (`sidecar.tags`) and what is accepted.
pub fn parse(octets: &[u8]) -> Result<Sidecar, String> {
    read(octets).map_err(|mistakes| {
        let said: BTreeSet<String> = mistakes.iter().map(|(place, msg)| format!("{place}: {msg}")).collect();
        said.into_iter().take(MISTAKES_MAX).collect::<Vec<_>>().join("; ")
    })
}

/// Reads a checksum file as `sha256sum` writes it, with `--tag` or without, or with the 64 digits alone, and gives the digest
/// of `name`. Paths before names are passed over where no line has the name alone.
///
/// # Errors
/// A sentence that says what is accepted.
pub fn parse_checksum(octets: &[u8], name: &str) -> Result<Digest, String> {
    if octets.len() as u64 > CHECKSUM_OCTETS_MAX {
        return Err(format!("checksum: is longer than {CHECKSUM_OCTETS_MAX} octets"));
    }
    let text = octets.strip_prefix(BYTE_ORDER_MARK).unwrap_or(octets);
    let (mut exact, mut by_path, mut others) = (BTreeSet::new(), BTreeSet::new(), false);
    for (number, line) in (1..).zip(text.split(|octet| *octet == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // sha256sum passes over comments, too.
        if line.trim_ascii().is_empty() || line.starts_with(b"#") {
            continue;
        }
        let Some((digest, names)) = read_line(line) else {
            return Err(format!(
                "checksum line {number}: is neither `<64 hex digits>  NAME` as sha256sum writes it, nor \
                 `SHA256 (NAME) = <64 hex digits>`, nor a digest alone"
            ));
        };
        let is_at_end = |path: &Vec<u8>| path.rsplit(|octet| *octet == b'/').next() == Some(name.as_bytes());
        if names.as_ref().is_none_or(|names| names.iter().any(|one| one == name.as_bytes())) {
            exact.insert(digest);
        } else if names.is_some_and(|names| names.iter().any(is_at_end)) {
            by_path.insert(digest);
        } else {
            others = true;
        }
    }
    let found = if exact.is_empty() { by_path } else { exact };
    let name = shown(name, SHOWN_CHARS_MAX);
    match (found.first(), found.len()) {
        (Some(digest), 1) => Ok(*digest),
        (Some(_), _) => Err(format!("checksum: gives two digests of `{name}`")),
        (None, _) if others => Err(format!("checksum: has no line for `{name}`, only for others")),
        (None, _) => Err("checksum: is empty; write what `sha256sum NAME` prints".into()),
    }
}

/// A line's digest, and the names it may give it to: how blanks before a name are meant can't always be told. No names: the
/// digest stands alone.
fn read_line(line: &[u8]) -> Option<(Digest, Option<Vec<Vec<u8>>>)> {
    if let Ok(digest) = str::from_utf8(line).map_err(drop).and_then(|text| read_digest(text).map_err(drop)) {
        return Some((digest, None));
    }
    let (is_escaped, line) = line.strip_prefix(b"\\").map_or((false, line), |line| (true, line));
    let (digest, names) = read_tagged(line).or_else(|| read_plain(line))?;
    let names = names.into_iter().filter(|name| !name.is_empty());
    let names: Option<Vec<_>> =
        if is_escaped { names.map(unescape).collect() } else { Some(names.map(<[u8]>::to_vec).collect()) };
    names.filter(|names| !names.is_empty()).map(|names| (digest, Some(names)))
}

/// `<64 hex>  NAME`, `<64 hex> *NAME`, and, as BSD has it the other way round, `<64 hex> NAME`.
fn read_plain(line: &[u8]) -> Option<(Digest, Vec<&[u8]>)> {
    let (digits, rest) = line.trim_ascii_start().split_at_checked(Digest::LEN * 2)?;
    let rest = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"\t"))?;
    let typed = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"*"));
    Some((hex_digest(digits)?, std::iter::once(rest).chain(typed).collect()))
}

/// `SHA256 (NAME) = <64 hex>`, and as openssl writes it: `SHA2-256(NAME)= <64 hex>`.
fn read_tagged(line: &[u8]) -> Option<(Digest, Vec<&[u8]>)> {
    let open = line.iter().position(|octet| *octet == b'(')?;
    let close = line.iter().rposition(|octet| *octet == b')').filter(|close| *close > open)?;
    let algorithm = line[..open].trim_ascii_end();
    if ![b"SHA256".as_slice(), b"SHA2-256"].iter().any(|known| algorithm.eq_ignore_ascii_case(known)) {
        return None;
    }
    let digits = line[close + 1..].trim_ascii_start().strip_prefix(b"=")?.trim_ascii();
    Some((hex_digest(digits)?, vec![&line[open + 1..close]]))
}

fn hex_digest(digits: &[u8]) -> Option<Digest> {
    Digest::from_hex(&str::from_utf8(digits).ok()?.to_ascii_lowercase()).ok()
}

/// A name of a line that begins with a backslash.
fn unescape(name: &[u8]) -> Option<Vec<u8>> {
    let (mut plain, mut rest) = (Vec::with_capacity(name.len()), name.iter());
    while let Some(octet) = rest.next() {
        plain.push(match octet {
            b'\\' => match rest.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            other => *other,
        });
    }
    Some(plain)
}

/// Places and what is wrong there.
type Mistakes = Vec<(String, String)>;

fn read(octets: &[u8]) -> Result<Sidecar, Mistakes> {
    let wrong = |msg: String| vec![("sidecar".to_owned(), msg)];
    if octets.len() as u64 > SIDECAR_OCTETS_MAX {
        return Err(wrong(format!("is longer than {SIDECAR_OCTETS_MAX} octets")));
    }
    let octets = octets.strip_prefix(BYTE_ORDER_MARK).unwrap_or(octets);
    let object = match read_json(octets) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(wrong("is not a JSON object".into())),
        Err(error) => return Err(wrong(format!("is not a JSON object: {error}"))),
    };
    let (mut sidecar, mut mistakes) = (Sidecar::default(), Mistakes::new());
    for (key, value) in object {
        let place = || format!("sidecar.{}", shown(&key, SHOWN_CHARS_MAX));
        let mut refuse = |msg: String| mistakes.push((place(), msg));
        match key.as_str() {
            // Unlike the others never passed over: whoever writes it wants the bytes checked.
            "sha256" => match text(value).and_then(|text| read_digest(&text)) {
                Ok(digest) => sidecar.sha256 = Some(digest),
                Err(msg) => refuse(msg),
            },
            "name" | "description" | "tags" | "alias" | "metadata" if value.is_null() => {}
            "name" => match parsed(value) {
                Ok(name) => sidecar.name = Some(name),
                Err(msg) => refuse(msg),
            },
            "alias" => match parsed(value) {
                Ok(alias) => sidecar.alias = Some(alias),
                Err(msg) => refuse(msg),
            },
            "description" => match text(value) {
                Ok(text) => {
                    check_description(&place(), &text, &mut mistakes);
                    sidecar.description = Some(text);
                }
                Err(msg) => refuse(msg),
            },
            "tags" => match read_tags(value) {
                Ok(tags) => {
                    check_tags(&place(), &tags, &mut mistakes);
                    sidecar.tags = Some(tags);
                }
                Err(msg) => refuse(msg),
            },
            "metadata" => match value {
                Value::Object(metadata) => {
                    check_metadata(&place(), &metadata, &mut mistakes);
                    sidecar.metadata = Some(metadata);
                }
                _ => refuse("is not a JSON object".into()),
            },
            "version" => refuse("is not known here: the drop folder gives each model its next number".into()),
            _ => refuse("is not known here: name, description, tags, alias, sha256 and metadata are".into()),
        }
    }
    if mistakes.is_empty() { Ok(sidecar) } else { Err(mistakes) }
}

fn text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err("is not a text".into()),
    }
}

fn parsed<T: FromStr<Err: Display>>(value: Value) -> Result<T, String> {
    text(value)?.parse().map_err(|error: T::Err| error.to_string())
}

fn read_tags(value: Value) -> Result<BTreeMap<String, String>, String> {
    const WRONG: &str = "is not a JSON object of texts";
    let Value::Object(object) = value else { return Err(WRONG.into()) };
    let texts = object.into_iter().map(|(key, value)| match value {
        Value::String(text) => Ok((key, text)),
        _ => Err(format!("{WRONG}: that of `{}` is none", shown(&key, SHOWN_CHARS_MAX))),
    });
    texts.collect()
}

/// JSON in which no object has a key twice and nothing lies too deep.
fn read_json(octets: &[u8]) -> Result<Value, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(octets);
    let value = Strict { depth: 0 }.deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

struct Strict {
    depth: usize,
}

impl Strict {
    fn below<E: Error>(&self) -> Result<usize, E> {
        let depth = self.depth + 1;
        if depth > SIDECAR_DEPTH_MAX {
            return Err(E::custom(format_args!("more than {SIDECAR_DEPTH_MAX} objects and arrays within each other")));
        }
        Ok(depth)
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.below()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Self { depth })? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let depth = self.below()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                let key = shown(&key, SHOWN_CHARS_MAX);
                return Err(A::Error::custom(format_args!("the key `{key}` is given twice")));
            }
            let value = entries.next_value_seed(Self { depth })?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests;
