//! TensorFlow Lite: a model as one flatbuffer. Its operators are numbers of built-in ones, or names of others that the
//! program around the runtime must bring along; some of those names hand over to all of TensorFlow (`Flex`). The tables that
//! say this are walked, every offset checked; weights are not read. Knows flatbuffers as far as that takes.

use serde_json::{Value, json};

use super::cursor::Stop;
use super::rules::Rule;
use super::saved_model::{self, Operator};
use super::scan::{Place, Scan};
use super::{ReadAt, read_up_to};

/// Operators of others.
const CUSTOM: Rule = Rule {
    id: "tflite.custom",
    level: super::Level::Suspicious,
    meaning: "The model uses operators that TensorFlow Lite does not have; the program that runs it must bring native code \
              for them.",
};
/// Operators of TensorFlow beyond computing.
const FLEX: Rule = Rule {
    id: "tflite.flex",
    level: super::Level::Suspicious,
    meaning: "The model hands over to TensorFlow operators that do more than compute, such as reading or writing files.",
};
/// Not to be followed.
const BROKEN: Rule = Rule {
    id: "tflite.broken",
    level: super::Level::Unscannable,
    meaning: "An offset or index leads nowhere: the file is damaged, or made to break readers that don't check.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[CUSTOM, FLEX, BROKEN];

/// The version of the schema, the only one that is in use.
const VERSION: u64 = 3;
/// The number of the built-in operator that stands for all others.
const CUSTOM_CODE: u64 = 32;
/// Operators outside the built-in ones that the runtime itself comes with, and that compute.
const KNOWN: &[&str] = &["TFLite_Detection_PostProcess", "AudioSpectrogram", "Mfcc", "NumericVerify"];
/// The lists that verdicts hang on, as text; what TensorFlow's own operators are is the SavedModel's list.
pub(super) fn tables() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().copied()
}

/// Tables of one file.
const TABLES_MAX: u64 = 1_000_000;
/// Octets of a name or text that are kept.
const TEXT_BYTES_MAX: u64 = 512;
/// Dimensions of a tensor.
const DIMENSIONS_MAX: u64 = 64;
/// Inputs and outputs that become facts.
const FACTS_MAX: u64 = 16;

/// Looks into a source that was recognised as this format.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    let mut buffer = Buffer { source, scan, place, tables: 0 };
    match buffer.model() {
        Err(Fault::Broken(at, why)) => {
            scan.find(&BROKEN, place, Some(at), why);
            Ok(())
        }
        Err(Fault::Stop(stop)) => Err(stop),
        Ok(()) => Ok(()),
    }
}

enum Fault {
    Stop(Stop),
    Broken(u64, &'static str),
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Stop(Stop::Io(error))
    }
}

/// A table: where it is, and where its fields are.
struct Table {
    at: u64,
    /// Offsets of the fields from the table; 0 for one that is not there.
    fields: Vec<u16>,
}

/// A vector: where its first element is, and how many there are.
#[derive(Clone, Copy, Default)]
struct Vector {
    at: u64,
    count: u64,
}

/// A flatbuffer being read.
struct Buffer<'a, 'r> {
    source: &'a dyn ReadAt,
    scan: &'a mut Scan<'r>,
    place: &'a Place,
    tables: u64,
}

impl Buffer<'_, '_> {
    /// Model: 0 version, 1 operator codes, 2 subgraphs, 3 description, 4 buffers, 7 signatures.
    fn model(&mut self) -> Result<(), Fault> {
        let root = self.reference(0)?;
        let model = self.table(root)?;
        let version = self.scalar(&model, 0, 4)?;
        if version != VERSION || Self::field(&model, 1).is_none() {
            return Err(Fault::Broken(root, "there is no table of operators of the version that runtimes read"));
        }
        let description = self.text(&model, 3)?;
        self.scan.facts.set("description", description);
        let codes = self.vector(&model, 1, 4)?;
        self.operators(codes)?;
        let buffers = self.vector(&model, 4, 4)?;
        let mut filled = Vec::new();
        for index in 0..buffers.count {
            let is_filled = self.buffer(buffers.at + 4 * index)?;
            filled.push(is_filled);
        }
        let graphs = self.vector(&model, 2, 4)?;
        for index in 0..graphs.count {
            self.graph(graphs.at + 4 * index, index == 0, codes.count, &filled)?;
        }
        self.scan.facts.set("subgraphs", graphs.count);
        let signatures = self.vector(&model, 7, 4)?;
        let mut names = Vec::new();
        // SignatureDef: 2 its key.
        for index in 0..signatures.count.min(FACTS_MAX) {
            let at = self.reference(signatures.at + 4 * index)?;
            let signature = self.table(at)?;
            names.push(self.text(&signature, 2)?);
        }
        if !names.is_empty() {
            self.scan.facts.set("signatures", names);
        }
        Ok(())
    }

    /// OperatorCode: 0 the number as far as it fits an octet, 1 the name of one that is not built in, 3 the number.
    fn operators(&mut self, codes: Vector) -> Result<(), Fault> {
        for index in 0..codes.count {
            let at = self.reference(codes.at + 4 * index)?;
            let code = self.table(at)?;
            let number = self.scalar(&code, 0, 1)?.max(self.scalar(&code, 3, 4)?);
            let name = self.text(&code, 1)?;
            if number != CUSTOM_CODE && name.is_empty() || KNOWN.contains(&name.as_str()) {
                continue;
            }
            match name.strip_prefix("Flex") {
                Some(inner) if saved_model::standing(inner) == Operator::Computing => {}
                Some(inner) => {
                    let detail = format_args!("TensorFlow's operator {inner} is called, which does more than compute");
                    self.scan.find(&FLEX, self.place, Some(at), detail);
                }
                None => {
                    let detail = format_args!("the operator {name} is not one of TensorFlow Lite");
                    self.scan.find(&CUSTOM, self.place, Some(at), detail);
                }
            }
        }
        Ok(())
    }

    /// Buffer: 0 octets, or 1 their place behind the flatbuffer and 2 their number. Whether there are any.
    fn buffer(&mut self, slot: u64) -> Result<bool, Fault> {
        let at = self.reference(slot)?;
        let buffer = self.table(at)?;
        let data = self.vector(&buffer, 0, 1)?;
        let (start, size) = (self.scalar(&buffer, 1, 8)?, self.scalar(&buffer, 2, 8)?);
        if start > 1 && start.checked_add(size).is_none_or(|end| end > self.source.len()) {
            return Err(Fault::Broken(at, "a buffer's data reach beyond the end of the file"));
        }
        Ok(data.count > 0 || start > 1 && size > 0)
    }

    /// SubGraph: 0 tensors, 1 inputs, 2 outputs, 3 operators.
    fn graph(&mut self, slot: u64, is_first: bool, codes: u64, filled: &[bool]) -> Result<(), Fault> {
        let at = self.reference(slot)?;
        let graph = self.table(at)?;
        let tensors = self.vector(&graph, 0, 4)?;
        for index in 0..tensors.count {
            let (name, dtype, shape, buffer) = self.tensor(tensors.at + 4 * index)?;
            let is_filled = usize::try_from(buffer).ok().and_then(|buffer| filled.get(buffer));
            match is_filled {
                Some(true) => self.scan.facts.add_tensor(&name, dtype, &shape),
                Some(false) => {}
                None => return Err(Fault::Broken(at, "a tensor is in a buffer that is not there")),
            }
        }
        for (field, fact) in [(1, "inputs"), (2, "outputs")] {
            let indices = self.vector(&graph, field, 4)?;
            let mut told: Vec<Value> = Vec::new();
            for index in 0..indices.count {
                let tensor = u64::from(self.word(indices.at + 4 * index)?);
                if tensor >= tensors.count {
                    return Err(Fault::Broken(at, "an input or output is a tensor that is not there"));
                }
                if index < FACTS_MAX {
                    let (name, dtype, shape, _) = self.tensor(tensors.at + 4 * tensor)?;
                    told.push(json!({"name": name, "dtype": dtype, "shape": shape}));
                }
            }
            if is_first {
                self.scan.facts.set(fact, told);
            }
        }
        let operators = self.vector(&graph, 3, 4)?;
        for index in 0..operators.count {
            // Operator: 0 the index of its code.
            let at = self.reference(operators.at + 4 * index)?;
            let operator = self.table(at)?;
            if self.scalar(&operator, 0, 4)? >= codes {
                return Err(Fault::Broken(at, "an operator has a code that is not there"));
            }
        }
        Ok(())
    }

    /// Tensor: 0 shape, 1 type, 2 buffer, 3 name.
    fn tensor(&mut self, slot: u64) -> Result<(String, &'static str, Vec<u64>, u64), Fault> {
        let at = self.reference(slot)?;
        let tensor = self.table(at)?;
        let extents = self.vector(&tensor, 0, 4)?;
        if extents.count > DIMENSIONS_MAX {
            return Err(Fault::Broken(at, "a tensor has more dimensions than any"));
        }
        let mut shape = Vec::new();
        for index in 0..extents.count {
            let extent = self.word(extents.at + 4 * index)?;
            if extent > i32::MAX.cast_unsigned() {
                return Err(Fault::Broken(at, "a tensor has a negative dimension"));
            }
            shape.push(u64::from(extent));
        }
        let dtype = dtype(self.scalar(&tensor, 1, 1)?);
        let buffer = self.scalar(&tensor, 2, 4)?;
        Ok((self.text(&tensor, 3)?, dtype, shape, buffer))
    }

    fn read(&mut self, at: u64, count: u64) -> Result<Vec<u8>, Fault> {
        self.scan.tick(self.place)?;
        if at.checked_add(count).is_none_or(|end| end > self.source.len()) {
            return Err(Fault::Broken(at.min(self.source.len()), "an offset leads beyond the end of the file"));
        }
        Ok(read_up_to(self.source, at, count)?)
    }

    fn word(&mut self, at: u64) -> Result<u32, Fault> {
        let octets = self.read(at, 4)?;
        Ok(octets.first_chunk().map_or(0, |four| u32::from_le_bytes(*four)))
    }

    /// Where an offset leads: always forward.
    fn reference(&mut self, at: u64) -> Result<u64, Fault> {
        match self.word(at)? {
            0 => Err(Fault::Broken(at, "an offset leads to itself")),
            offset => Ok(at + u64::from(offset)),
        }
    }

    fn table(&mut self, at: u64) -> Result<Table, Fault> {
        self.tables += 1;
        if self.tables > TABLES_MAX {
            return Err(self.scan.reached(self.place, format_args!("more than {TABLES_MAX} tables")).into());
        }
        let offset = self.word(at)?.cast_signed();
        let fields_at = at.checked_add_signed(-i64::from(offset)).ok_or(Fault::Broken(at, "a table has no fields"))?;
        let head = self.read(fields_at, 4)?;
        let size = u64::from(u16::from_le_bytes([head[0], head[1]]));
        let table_size = u16::from_le_bytes([head[2], head[3]]);
        if size < 4 || size % 2 != 0 {
            return Err(Fault::Broken(fields_at, "a table's fields have no sound number"));
        }
        // A table that reaches beyond the file is found with the first field that does.
        let octets = self.read(fields_at + 4, size - 4)?;
        let fields: Vec<u16> = octets.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect();
        if fields.iter().any(|field| *field >= table_size && *field != 0) {
            return Err(Fault::Broken(fields_at, "a field is outside its table"));
        }
        Ok(Table { at, fields })
    }

    /// Where a field is, if it is there.
    fn field(table: &Table, number: usize) -> Option<u64> {
        table.fields.get(number).filter(|offset| **offset != 0).map(|offset| table.at + u64::from(*offset))
    }

    /// A number of so many octets; 0 where it is not there.
    fn scalar(&mut self, table: &Table, number: usize, width: u64) -> Result<u64, Fault> {
        let Some(at) = Self::field(table, number) else { return Ok(0) };
        let octets = self.read(at, width)?;
        Ok(octets.iter().rev().fold(0, |value, octet| value << 8 | u64::from(*octet)))
    }

    /// A vector of elements of so many octets, all of which are in the file; an empty one where it is not there.
    fn vector(&mut self, table: &Table, number: usize, width: u64) -> Result<Vector, Fault> {
        let Some(slot) = Self::field(table, number) else { return Ok(Vector::default()) };
        let at = self.reference(slot)?;
        let count = u64::from(self.word(at)?);
        if count * width > self.source.len().saturating_sub(at + 4) {
            return Err(Fault::Broken(at, "a vector reaches beyond the end of the file"));
        }
        Ok(Vector { at: at + 4, count })
    }

    /// A text, cut to what is kept.
    fn text(&mut self, table: &Table, number: usize) -> Result<String, Fault> {
        let vector = self.vector(table, number, 1)?;
        let octets = self.read(vector.at, vector.count.min(TEXT_BYTES_MAX))?;
        Ok(String::from_utf8_lossy(&octets).into_owned())
    }
}

fn dtype(number: u64) -> &'static str {
    match number {
        0 => "F32",
        1 => "F16",
        2 => "I32",
        3 => "U8",
        4 => "I64",
        5 => "STRING",
        6 => "BOOL",
        7 => "I16",
        8 => "C64",
        9 => "I8",
        10 => "F64",
        11 => "C128",
        12 => "U64",
        15 => "U32",
        16 => "U16",
        17 => "I4",
        18 => "BF16",
        19 => "I2",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
