//! GGUF (llama.cpp), version 1 to 3 in either byte order: the header, the metadata and the tensor table. Values are stepped
//! over, but for the few that say what the model is and for chat templates, which are programs (`jinja.rs`). The tensors'
//! octets are never read.
//!
//! Readers of this format are written in C and have trusted its lengths and counts before, so what contradicts itself or
//! reaches beyond the file is `gguf.layout`, malicious. What a later version of the format may well mean is `gguf.unknown`.

use std::collections::HashMap;

use super::cursor::{Cursor, Stop};
use super::rules::Rule;
use super::scan::{Place, Scan};
use super::seen::Seen;
use super::{Level, ReadAt, dispatch, jinja};

/// The structure lies.
const LAYOUT: Rule = Rule {
    id: "gguf.layout",
    level: Level::Malicious,
    meaning: "Counts, lengths or offsets of a GGUF file contradict each other or reach beyond the file. Native readers have \
              been attacked by this; a file that was cut short looks the same.",
};
/// A type that is not known.
const UNKNOWN: Rule = Rule {
    id: "gguf.unknown",
    level: Level::Unscannable,
    meaning: "A GGUF file uses a value type or tensor type that the registry does not know, so its structure can't be \
              followed.",
};
/// A key twice.
const DUPLICATE: Rule = Rule {
    id: "gguf.duplicate",
    level: Level::Suspicious,
    meaning: "A key stands in the metadata more than once: one reader takes the first value and another the last.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[LAYOUT, UNKNOWN, DUPLICATE];

/// Metadata entries, and tensors, that are followed.
const ENTRIES_MAX: u64 = 1_000_000;
/// Octets of a key or of a tensor's name: the format's limit for keys.
const NAME_BYTES_MAX: u64 = 65_535;
/// Octets of a text that becomes a fact.
const TEXT_BYTES_MAX: u64 = 4096;
/// Values kept for facts.
const VALUES_MAX: usize = 256;
/// Arrays within each other.
const ARRAYS_MAX: usize = 4;
/// Dimensions of a tensor.
const DIMENSIONS_MAX: u32 = 4;
/// Findings about single tensors; more tell nothing new.
const TOLD_MAX: u32 = 8;
/// The alignment where the metadata says none.
const ALIGNMENT: u64 = 32;

/// Value types other than numbers of one size.
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Octets of a value of each type; 0 for those that say it themselves.
const VALUE_BYTES: [u64; 13] = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];

/// Tensor types: number, name, elements of a block, octets of a block. Those that later versions removed are here too, as
/// their files are still about.
const TENSOR_TYPES: &[(u32, &str, u64, u64)] = &[
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 40),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (31, "Q4_0_4_4", 32, 18),
    (32, "Q4_0_4_8", 32, 18),
    (33, "Q4_0_8_8", 32, 18),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (36, "IQ4_NL_4_4", 32, 18),
    (37, "IQ4_NL_4_8", 32, 18),
    (38, "IQ4_NL_8_8", 32, 18),
    (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
];

/// Quantizations of whole files: `general.file_type` and its name.
const FILE_TYPES: &[(u64, &str)] = &[
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (33, "Q4_0_4_4"),
    (34, "Q4_0_4_8"),
    (35, "Q4_0_8_8"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4_MOE"),
    (39, "NVFP4"),
    (40, "Q1_0"),
];
/// Set in `general.file_type` where it was guessed.
const FILE_TYPE_GUESSED: u64 = 1024;

/// Looks into a source that was recognised as this format.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    let mut file = File { scan, place, cursor: Cursor::over(source), big_endian: false, wide: true, at: 0 };
    let (rule, detail) = match file.walk(source) {
        Ok(()) => return Ok(()),
        Err(Fault::Stop(Stop::End | Stop::Budget)) => {
            (&LAYOUT, "a length reaches beyond the end of the file".to_owned())
        }
        Err(Fault::Stop(stop)) => return Err(stop),
        Err(Fault::Found(rule, detail)) => (rule, detail),
    };
    let at = file.at;
    scan.find(rule, place, Some(at), detail);
    Ok(())
}

/// Why the walk ends early.
enum Fault {
    Stop(Stop),
    /// The structure can't be followed any further.
    Found(&'static Rule, String),
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

fn lies(detail: impl Into<String>) -> Fault {
    Fault::Found(&LAYOUT, detail.into())
}

/// What a metadata entry holds, as far as it is kept.
enum Value {
    /// A whole number from 0.
    Number(u64),
    /// A short text.
    Text(String),
    /// An array of so many elements.
    Array(u64),
    /// Anything else.
    Other,
}

struct File<'f, 'r> {
    scan: &'f mut Scan<'r>,
    place: &'f Place,
    cursor: Cursor<'f>,
    big_endian: bool,
    /// Lengths and counts have 64 bits; 32 in version 1.
    wide: bool,
    /// Where the entry or tensor that is being read begins.
    at: u64,
}

impl File<'_, '_> {
    fn walk(&mut self, source: &dyn ReadAt) -> Result<(), Fault> {
        self.cursor.skip(4)?;
        let version = u32::from_le_bytes(self.cursor.array()?);
        self.big_endian = version > 0xffff;
        let version = if self.big_endian { version.swap_bytes() } else { version };
        self.wide = match version {
            1 => false,
            2 | 3 => true,
            _ => return Err(Fault::Found(&UNKNOWN, format!("version {version} of GGUF is not known"))),
        };
        let (tensors, entries) = (self.length()?, self.length()?);
        // The least an entry and a tensor take: length of the name, type, value; length, dimensions, type, offset.
        let (entry, tensor) = if self.wide { (8 + 4 + 1, 8 + 4 + 4 + 8) } else { (4 + 4 + 1, 4 + 4 + 4 + 8) };
        self.fits(entries, entry, "metadata entries")?;
        self.fits(tensors, tensor, "tensors")?;
        for (count, what) in [(entries, "metadata entries"), (tensors, "tensors")] {
            if count > ENTRIES_MAX {
                let detail = format!("more than {ENTRIES_MAX} {what}");
                return Err(self.scan.reached(self.place, detail).into());
            }
        }
        let alignment = self.metadata(entries)?;
        let mut extents = self.tensors(tensors, alignment)?;
        self.at = self.cursor.position();
        self.layout(source, alignment, &mut extents)
    }

    /// All entries; returns the alignment.
    fn metadata(&mut self, entries: u64) -> Result<u64, Fault> {
        let (mut keys, mut values) = (Seen::default(), HashMap::new());
        let mut alignment = ALIGNMENT;
        for _ in 0..entries {
            self.scan.tick(self.place)?;
            self.at = self.cursor.position();
            let key = self.name()?;
            let first = keys.insert(&key);
            let key = String::from_utf8_lossy(&key).into_owned();
            if !first {
                let detail = format!("the key {key:?} stands in the metadata more than once");
                self.scan.find(&DUPLICATE, self.place, Some(self.at), detail);
            }
            let kind = self.number()?;
            let value = if key.starts_with("tokenizer.chat_template") && kind == STRING {
                self.template(&key)?;
                self.scan.facts.set("chat_template", true);
                Value::Other
            } else {
                self.value(kind, key.starts_with("tokenizer.chat_template").then_some(key.as_str()))?
            };
            if key == "general.alignment" {
                alignment = match value {
                    Value::Number(number) if number >= 8 && number.is_power_of_two() && kind == 4 => number,
                    _ => return Err(lies("the alignment is no power of two from 8 in a 32-bit number")),
                };
            }
            if is_told(&key) && values.len() < VALUES_MAX {
                values.entry(key).or_insert(value);
            }
        }
        self.facts(&values);
        Ok(alignment)
    }

    fn facts(&mut self, values: &HashMap<String, Value>) {
        let facts = &mut self.scan.facts;
        let mut set = |name: &str, key: &str| match values.get(key) {
            Some(Value::Number(number)) => facts.set(name, *number),
            Some(Value::Text(text)) => facts.set(name, text.as_str()),
            Some(Value::Array(_) | Value::Other) | None => {}
        };
        set("name", "general.name");
        set("license", "general.license");
        set("architecture", "general.architecture");
        set("size", "general.size_label");
        set("tokenizer", "tokenizer.ggml.model");
        if let Some(Value::Text(architecture)) = values.get("general.architecture") {
            for (name, key) in [
                ("context_length", "context_length"),
                ("embedding_length", "embedding_length"),
                ("block_count", "block_count"),
                ("head_count", "attention.head_count"),
                ("head_count_kv", "attention.head_count_kv"),
                ("expert_count", "expert_count"),
                ("vocabulary_size", "vocab_size"),
            ] {
                set(name, &format!("{architecture}.{key}"));
            }
        }
        if let Some(Value::Array(count)) = values.get("tokenizer.ggml.tokens") {
            facts.set("vocabulary_size", *count);
        }
        if let Some(Value::Number(number)) = values.get("general.file_type") {
            let number = number & !FILE_TYPE_GUESSED;
            if let Some((_, name)) = FILE_TYPES.iter().find(|(known, _)| *known == number) {
                facts.set("quantization", *name);
            }
        }
    }

    /// All tensors; returns where each begins and its octets, relative to the data.
    fn tensors(&mut self, tensors: u64, alignment: u64) -> Result<Vec<(u64, u64)>, Fault> {
        let (mut names, mut extents) = (Seen::default(), Vec::new());
        for _ in 0..tensors {
            self.scan.tick(self.place)?;
            self.at = self.cursor.position();
            let name = self.name()?;
            let first = names.insert(&name);
            let name = String::from_utf8_lossy(&name);
            if !first {
                return Err(lies(format!("two tensors have the name {name:?}")));
            }
            let dimensions = self.number()?;
            if dimensions > DIMENSIONS_MAX {
                return Err(lies(format!("the tensor {name:?} has {dimensions} dimensions")));
            }
            let shape = (0..dimensions).map(|_| self.length()).collect::<Result<Vec<u64>, _>>()?;
            let kind = self.number()?;
            let offset = u64::from_le_bytes(self.array()?);
            let Some((_, dtype, elements, octets)) = TENSOR_TYPES.iter().find(|(known, ..)| *known == kind) else {
                return Err(Fault::Found(&UNKNOWN, format!("the tensor {name:?} has the unknown type {kind}")));
            };
            // Readers count elements and octets in signed numbers of 64 bits.
            let size = shape
                .iter()
                .try_fold(1_u64, |product, extent| product.checked_mul(*extent))
                .filter(|_| shape.first().unwrap_or(&1).is_multiple_of(*elements))
                .and_then(|product| (product / elements).checked_mul(*octets))
                .filter(|size| i64::try_from(*size).is_ok());
            let Some(size) = size else {
                return Err(lies(format!("the tensor {name:?} of {dtype} can't have the shape {shape:?}")));
            };
            if offset % alignment != 0 {
                return Err(lies(format!(
                    "the tensor {name:?} begins at {offset}, which is not aligned to {alignment}"
                )));
            }
            // The fastest dimension stands first here, and last elsewhere.
            let shape: Vec<u64> = shape.into_iter().rev().collect();
            self.scan.facts.add_tensor(&name, dtype, &shape);
            extents.push((offset, size));
        }
        Ok(extents)
    }

    /// Whether the tensors lie within the file and not on each other.
    fn layout(&mut self, source: &dyn ReadAt, alignment: u64, extents: &mut [(u64, u64)]) -> Result<(), Fault> {
        let (scan, place) = (&mut *self.scan, self.place);
        extents.sort_unstable();
        let Some(data_at) = self.cursor.position().checked_next_multiple_of(alignment) else {
            return Err(lies("the data begin beyond what a number can say"));
        };
        let (mut covered, mut told) = (data_at, 0);
        for (offset, size) in extents.iter().copied() {
            scan.tick(place)?;
            let extent = data_at.checked_add(offset).and_then(|begin| Some((begin, begin.checked_add(size)?)));
            let Some((begin, end)) = extent.filter(|(_, end)| *end <= source.len()) else {
                let detail = format!("a tensor of {size} octets at {offset} reaches beyond the end of the file");
                return Err(lies(detail));
            };
            let padded = covered.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
            if begin < covered && size > 0 && told < TOLD_MAX {
                told += 1;
                scan.find(&LAYOUT, place, Some(begin), "a tensor overlaps the one before");
            } else if begin > padded && told < TOLD_MAX {
                told += 1;
                dispatch::outside(scan, source, padded, begin, place)?;
            }
            covered = covered.max(end);
        }
        // The last tensor may be padded as all others are, or end the file.
        let end = covered.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
        Ok(dispatch::outside(scan, source, end, source.len(), place)?)
    }

    /// A chat template, which is handed on.
    fn template(&mut self, key: &str) -> Result<(), Fault> {
        let length = self.length()?;
        let place = self.place.part(key);
        if length > jinja::TEMPLATE_BYTES_MAX {
            self.cursor.skip(length)?;
            jinja::too_long(self.scan, &place, length);
        } else {
            let template = self.cursor.take(length)?;
            jinja::scan_template(self.scan, &String::from_utf8_lossy(&template), &place);
        }
        Ok(())
    }

    /// A value of a type. Texts in an array of `templates` are chat templates.
    fn value(&mut self, kind: u32, templates: Option<&str>) -> Result<Value, Fault> {
        Ok(match kind {
            BOOL => match self.cursor.octet()? {
                0 | 1 => Value::Other,
                other => return Err(lies(format!("a truth value is {other}"))),
            },
            STRING => {
                let length = self.length()?;
                if length > TEXT_BYTES_MAX {
                    self.cursor.skip(length)?;
                    Value::Other
                } else {
                    Value::Text(String::from_utf8_lossy(&self.cursor.take(length)?).into_owned())
                }
            }
            ARRAY => Value::Array(self.arrays(templates)?),
            0 => Value::Number(self.cursor.octet()?.into()),
            1 => i8::from_le_bytes(self.array()?).try_into().map_or(Value::Other, Value::Number),
            2 => Value::Number(u16::from_le_bytes(self.array()?).into()),
            3 => i16::from_le_bytes(self.array()?).try_into().map_or(Value::Other, Value::Number),
            4 => Value::Number(u32::from_le_bytes(self.array()?).into()),
            5 => i32::from_le_bytes(self.array()?).try_into().map_or(Value::Other, Value::Number),
            10 => Value::Number(u64::from_le_bytes(self.array()?)),
            11 => i64::from_le_bytes(self.array()?).try_into().map_or(Value::Other, Value::Number),
            _ => {
                let size = value_bytes(kind)?;
                self.cursor.skip(size)?;
                Value::Other
            }
        })
    }

    /// Steps over an array and the arrays in it; returns the elements of the outermost.
    fn arrays(&mut self, templates: Option<&str>) -> Result<u64, Fault> {
        // Of each array around the one that is read: how many of its elements are still to come.
        let mut around: Vec<u64> = Vec::new();
        let mut outermost = None;
        loop {
            self.scan.tick(self.place)?;
            let kind = self.number()?;
            let count = self.length()?;
            outermost = outermost.or(Some(count));
            let width = if self.wide { 8 } else { 4 };
            match kind {
                ARRAY => {
                    self.fits(count, 4 + width, "arrays")?;
                    if around.len() + 1 == ARRAYS_MAX {
                        return Err(lies(format!("more than {ARRAYS_MAX} arrays within each other")));
                    }
                    around.push(count);
                }
                STRING => {
                    self.fits(count, width, "texts")?;
                    for _ in 0..count {
                        self.scan.tick(self.place)?;
                        match templates {
                            Some(key) => self.template(key)?,
                            None => {
                                let length = self.length()?;
                                self.cursor.skip(length)?;
                            }
                        }
                    }
                }
                _ => {
                    let size = value_bytes(kind)?;
                    self.fits(count, size, "values")?;
                    self.cursor.skip(count.saturating_mul(size))?;
                }
            }
            loop {
                match around.last_mut() {
                    None => return Ok(outermost.unwrap_or(0)),
                    Some(0) => {
                        around.pop();
                    }
                    Some(left) => {
                        *left -= 1;
                        break;
                    }
                }
            }
        }
    }

    /// Whether so many things of at least `size` octets can still come.
    fn fits(&mut self, count: u64, size: u64, what: &str) -> Result<(), Fault> {
        match count.checked_mul(size) {
            Some(octets) if octets <= self.cursor.left() => Ok(()),
            _ => Err(lies(format!("{count} {what} are said to come, more than the rest of the file can hold"))),
        }
    }

    fn name(&mut self) -> Result<Vec<u8>, Fault> {
        let length = self.length()?;
        if length > NAME_BYTES_MAX {
            return Err(lies(format!("a name of {length} octets")));
        }
        Ok(self.cursor.take(length)?)
    }

    fn number(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A length, a count or an extent.
    fn length(&mut self) -> Result<u64, Fault> {
        if self.wide { Ok(u64::from_le_bytes(self.array()?)) } else { Ok(self.number()?.into()) }
    }

    /// The octets of a number, the least first.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut octets = self.cursor.array()?;
        if self.big_endian {
            octets.reverse();
        }
        Ok(octets)
    }
}

fn value_bytes(kind: u32) -> Result<u64, Fault> {
    usize::try_from(kind)
        .ok()
        .and_then(|kind| VALUE_BYTES.get(kind).copied())
        .ok_or_else(|| Fault::Found(&UNKNOWN, format!("a value has the unknown type {kind}")))
}

/// Whether a metadata entry becomes a fact.
fn is_told(key: &str) -> bool {
    key.starts_with("general.")
        || matches!(key, "tokenizer.ggml.model" | "tokenizer.ggml.tokens")
        || [".context_length", ".embedding_length", ".block_count", ".head_count", ".head_count_kv", ".expert_count"]
            .iter()
            .any(|end| key.ends_with(end))
        || key.ends_with(".vocab_size")
}

#[cfg(test)]
mod tests;
