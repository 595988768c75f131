//! safetensors: the JSON header and the layout it describes. The header is parsed as it is read, and of a tensor only its
//! extent and a digest of its name are kept, so a header of the greatest length costs bounded memory. The tensors' octets are
//! never read: nothing in this format executes, and whether numbers are good weights is not known here.
//!
//! A header that cannot be read and a file that ends too early are `safetensors.header`. A layout that the format's own
//! writers cannot produce (overlaps, holes, extents that contradict shapes) is `safetensors.layout`: it aims at readers.

use std::fmt;
use std::io::{self, BufReader, Read};

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::cursor::Stop;
use super::rules::Rule;
use super::scan::{Place, Scan};
use super::seen::Seen;
use super::{Level, ReadAt, dispatch, read_up_to};

/// The header can't be read.
const HEADER: Rule = Rule {
    id: "safetensors.header",
    level: Level::Unscannable,
    meaning: "The header of a safetensors file is no such header or the file ends too early, so nothing is known about its \
              tensors; an interrupted copy looks like this.",
};
/// The layout lies.
const LAYOUT: Rule = Rule {
    id: "safetensors.layout",
    level: Level::Malicious,
    meaning: "Tensors overlap, leave holes, or have another size than their shape says. No writer of the format produces \
              this; it is made to mislead the programs that read it.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[HEADER, LAYOUT];

/// Longest header, in octets: the limit of the format's own reader.
const HEADER_BYTES_MAX: u64 = 100_000_000;
/// Dimensions of one tensor. Real ones have at most eight.
const DIMENSIONS_MAX: usize = 1024;
/// Findings about single tensors; more tell nothing new.
const TOLD_MAX: u32 = 8;
/// Entries of the metadata. Training programs write some hundred.
const METADATA_ENTRIES_MAX: u32 = 100_000;
/// Entries of the metadata that become facts, and octets of each.
const METADATA_MAX: usize = 16;
const METADATA_BYTES_MAX: usize = 200;

/// Element types of safetensors 0.8 with the bits of an element.
const DTYPES: &[(&str, u64)] = &[
    ("BOOL", 8),
    ("F4", 4),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("U8", 8),
    ("I8", 8),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("I16", 16),
    ("U16", 16),
    ("F16", 16),
    ("BF16", 16),
    ("I32", 32),
    ("U32", 32),
    ("F32", 32),
    ("C64", 64),
    ("F64", 64),
    ("I64", 64),
    ("U64", 64),
];

/// Looks into a source that was recognised as this format.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    let head = read_up_to(source, 0, 9)?;
    let Some((length, rest)) = head.split_first_chunk().map(|(length, rest)| (u64::from_le_bytes(*length), rest))
    else {
        scan.find(&HEADER, place, None, "the file is too short for the length of a header");
        return Ok(());
    };
    let data_at = match length.checked_add(8) {
        Some(data_at) if length <= HEADER_BYTES_MAX && data_at <= source.len() => data_at,
        _ => {
            let detail = format!("the header is said to have {length} octets, more than there are or may be");
            scan.find(&HEADER, place, Some(0), detail);
            return Ok(());
        }
    };
    if rest != b"{" {
        scan.find(&HEADER, place, Some(8), "the header does not begin with a brace");
        return Ok(());
    }
    let reader = Octets { source, position: 8, end: data_at };
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(64 << 10, reader));
    let mut header = Header { scan, place, data_at, names: Seen::default(), extents: Vec::new(), told: 0, stop: None };
    let parsed = json.deserialize_map(&mut header).and_then(|()| json.end());
    let Header { mut extents, stop, .. } = header;
    match (stop, parsed) {
        (Some(stop), _) => Err(stop),
        (None, Err(error)) if error.is_io() => Err(Stop::Io(error.into())),
        (None, Err(error)) => {
            scan.find(&HEADER, place, Some(8), format_args!("the header is no list of tensors: {error}"));
            Ok(())
        }
        (None, Ok(())) => layout(scan, source, place, data_at, &mut extents),
    }
}

/// Whether the extents cover what is behind the header exactly.
fn layout(
    scan: &mut Scan,
    source: &dyn ReadAt,
    place: &Place,
    data_at: u64,
    extents: &mut [(u64, u64)],
) -> Result<(), Stop> {
    extents.sort_unstable();
    let (mut covered, mut told) = (0, 0);
    for (begin, end) in extents.iter().copied() {
        scan.tick(place)?;
        if begin != covered && told < TOLD_MAX {
            told += 1;
            let what = if begin < covered { "overlaps the one before" } else { "leaves a hole before it" };
            let detail = format!("the tensor at {begin}..{end} {what}, which ends at {covered}");
            scan.find(&LAYOUT, place, data_at.checked_add(begin), detail);
        }
        covered = covered.max(end);
    }
    let there = source.len().saturating_sub(data_at);
    if covered > there {
        let detail = format!("the tensors need {covered} octets and {there} are there: the file is cut short");
        scan.find(&HEADER, place, Some(source.len()), detail);
        return Ok(());
    }
    dispatch::outside(scan, source, data_at + covered, source.len(), place)
}

/// A range of a source, to be read on and on.
struct Octets<'a> {
    source: &'a dyn ReadAt,
    position: u64,
    end: u64,
}

impl Read for Octets<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX).min(buf.len());
        if left == 0 {
            return Ok(0);
        }
        match self.source.read_at(self.position, &mut buf[..left])? {
            // The source ends before its own length: its fault, not the file's.
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                let count = count.min(left);
                self.position += count as u64;
                Ok(count)
            }
        }
    }
}

/// What is kept of the header while it is parsed.
struct Header<'s, 'r> {
    scan: &'s mut Scan<'r>,
    place: &'s Place,
    data_at: u64,
    names: Seen,
    extents: Vec<(u64, u64)>,
    told: u32,
    /// Why the parser was told to stop, if not by what it read.
    stop: Option<Stop>,
}

impl Header<'_, '_> {
    fn tell(&mut self, rule: &Rule, offset: u64, detail: impl fmt::Display) {
        if self.told < TOLD_MAX {
            self.told += 1;
            self.scan.find(rule, self.place, Some(offset), detail);
        }
    }

    /// A limit is reached: tells, and returns what ends the parser.
    fn reached<E: serde::de::Error>(&mut self, what: impl fmt::Display) -> E {
        self.stop = Some(self.scan.reached(self.place, what));
        E::custom("stopped")
    }

    fn tick<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.scan.tick(self.place).map_err(|stop| {
            self.stop = Some(stop);
            E::custom("stopped")
        })
    }

    fn tensor(&mut self, name: &str, tensor: &Tensor) {
        let Tensor { dtype, shape, begin, end } = tensor;
        let at = self.data_at.saturating_add(*begin);
        self.scan.facts.add_tensor(name, dtype, shape);
        match DTYPES.iter().find(|(known, _)| known == dtype) {
            None => self.tell(&HEADER, 8, format_args!("the tensor {name:?} has the unknown element type {dtype:?}")),
            Some((_, bits)) => {
                let size = shape.iter().try_fold(*bits, |product, extent| product.checked_mul(*extent));
                match size {
                    Some(bits) if bits % 8 == 0 && end.checked_sub(*begin) == Some(bits / 8) => {}
                    _ => self.tell(
                        &LAYOUT,
                        at,
                        format_args!("the tensor {name:?} of {dtype} {shape:?} has the extent {begin}..{end}"),
                    ),
                }
            }
        }
        if begin <= end {
            self.extents.push((*begin, *end));
        }
    }

    /// Facts of the entries that are known, and a few others as they are.
    fn metadata(&mut self, entries: Vec<(String, String)>) {
        let mut others = Map::new();
        for (key, value) in entries {
            match key.as_str() {
                "format" => self.scan.facts.set("framework", value),
                "modelspec.title" | "name" => self.scan.facts.set("name", value),
                "modelspec.license" | "license" => self.scan.facts.set("license", value),
                "modelspec.architecture" | "architecture" => self.scan.facts.set("architecture", value),
                _ => {
                    others.insert(key, value.into());
                }
            }
        }
        if !others.is_empty() {
            self.scan.facts.set("metadata", Value::Object(others));
        }
    }
}

impl<'de> Visitor<'de> for &mut Header<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            self.tick()?;
            if !self.names.insert(name.as_bytes()) {
                self.tell(&HEADER, 8, format_args!("the name {name:?} stands in the header more than once"));
            }
            if name == "__metadata__" {
                let entries = map.next_value_seed(Metadata(&mut *self))?;
                self.metadata(entries);
            } else {
                let tensor = map.next_value_seed(Entry)?;
                self.tensor(&name, &tensor);
            }
        }
        Ok(())
    }
}

/// Reads the metadata: the entries that are short and the first of their number, all others are stepped over.
struct Metadata<'h, 's, 'r>(&'h mut Header<'s, 'r>);

impl<'de> DeserializeSeed<'de> for Metadata<'_, '_, '_> {
    type Value = Vec<(String, String)>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata<'_, '_, '_> {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut keys, mut kept, mut entries) = (Seen::default(), Vec::new(), 0);
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            self.0.tick()?;
            entries += 1;
            if entries > METADATA_ENTRIES_MAX {
                return Err(self.0.reached(format_args!("more than {METADATA_ENTRIES_MAX} entries of metadata")));
            }
            if !keys.insert(key.as_bytes()) {
                self.0.tell(&HEADER, 8, format_args!("the metadata has {key:?} more than once"));
            }
            if kept.len() < METADATA_MAX && key.len() <= METADATA_BYTES_MAX && value.len() <= METADATA_BYTES_MAX {
                kept.push((key, value));
            }
        }
        Ok(kept)
    }
}

/// A tensor as the header says it.
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
    begin: u64,
    end: u64,
}

/// Reads a tensor: exactly its three fields, each once.
struct Entry;

impl<'de> DeserializeSeed<'de> for Entry {
    type Value = Tensor;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Tensor, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entry {
    type Value = Tensor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tensor: dtype, shape, data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tensor, A::Error> {
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        while let Some(field) = map.next_key::<String>()? {
            let first = match field.as_str() {
                "dtype" => dtype.replace(map.next_value::<String>()?).is_none(),
                "shape" => shape.replace(map.next_value_seed(Shape)?).is_none(),
                "data_offsets" => offsets.replace(map.next_value::<(u64, u64)>()?).is_none(),
                other => {
                    map.next_value::<IgnoredAny>()?;
                    return Err(A::Error::custom(format_args!("a tensor has no field {other:?}")));
                }
            };
            if !first {
                return Err(A::Error::custom(format_args!("a tensor has two fields {field:?}")));
            }
        }
        match (dtype, shape, offsets) {
            (Some(dtype), Some(shape), Some((begin, end))) => Ok(Tensor { dtype, shape, begin, end }),
            _ => Err(A::Error::custom("a tensor lacks dtype, shape or data_offsets")),
        }
    }
}

/// Reads a shape of a bounded number of dimensions.
struct Shape;

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Vec<u64>, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of extents")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u64>, A::Error> {
        let mut shape = Vec::new();
        while let Some(extent) = seq.next_element()? {
            if shape.len() == DIMENSIONS_MAX {
                return Err(A::Error::custom("a tensor has too many dimensions"));
            }
            shape.push(extent);
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests;
