//! Protobuf: a walk over messages of any size in constant memory, and telling the model formats apart.
//!
//! [`Walk`] knows the wire and nothing of any schema. It holds where it is and which messages are around; what is not asked
//! for is stepped over unread, so a model of many gigabytes costs its structure only. Groups, which proto3 dropped, are
//! refused.
//!
//! Telling formats apart: protobuf has no signature and few octets are no valid message, so a file counts
//! as one only if its whole top level is: known field numbers, each of its right wire type, to the last octet, and the
//! message that must be in it is of the right shape too. Contents are stepped over.

use std::io;

use super::cursor::{Cursor, Stop};
use super::scan::{Place, Scan};
use super::{Format, ReadAt};

/// Messages within each other, as deep as a walk goes.
const DEPTH_MAX: usize = 64;

/// What a walk comes to next. `within` is the kind of the message that the field is in, as the caller named it.
pub(super) enum Event<M> {
    /// A field that is a number.
    Number {
        /// The message around.
        within: M,
        /// The field's number.
        field: u64,
        /// Its value.
        value: u64,
    },
    /// A field with octets: text, packed numbers, or a message. They are stepped over unless the walk is told to enter or
    /// read them before it goes on.
    Octets {
        /// The message around.
        within: M,
        /// The field's number.
        field: u64,
        /// How many octets there are.
        len: u64,
    },
    /// A message that was entered ends.
    Leave(M),
}

/// Why a walk cannot go on.
pub(super) enum Fault {
    /// What is said of every walk.
    Stop(Stop),
    /// These octets are no sound message, and why.
    Broken(&'static str),
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::End => Self::Broken("a field reaches beyond its end"),
            stop => Self::Stop(stop),
        }
    }
}

/// A walk over a message and those in it.
pub(super) struct Walk<'a, M> {
    cursor: Cursor<'a>,
    /// The messages around: kind and end, the innermost last.
    open: Vec<(M, u64)>,
    /// Where the octets end that were told last and not entered.
    octets_end: Option<u64>,
}

impl<'a, M: Copy> Walk<'a, M> {
    /// Begins a walk over a source that is one message.
    pub(super) fn over(source: &'a dyn ReadAt, kind: M) -> Self {
        Self { cursor: Cursor::over(source), open: vec![(kind, source.len())], octets_end: None }
    }

    /// Where the walk is.
    pub(super) fn position(&self) -> u64 {
        self.cursor.position()
    }

    /// The next event; none after the outermost message has ended.
    pub(super) fn next(&mut self, scan: &mut Scan, place: &Place) -> Result<Option<Event<M>>, Fault> {
        loop {
            scan.tick(place)?;
            if let Some(end) = self.octets_end.take() {
                self.cursor.skip(end.saturating_sub(self.cursor.position()))?;
            }
            let Some(&(within, end)) = self.open.last() else { return Ok(None) };
            if self.cursor.position() >= end {
                self.open.pop();
                return Ok(Some(Event::Leave(within)));
            }
            let tag = self.number()?;
            let field = tag >> 3;
            if field == 0 || tag > u64::from(u32::MAX) {
                return Err(Fault::Broken("a field has a number that no field can have"));
            }
            let event = match tag & 7 {
                0 => Some(Event::Number { within, field, value: self.number()? }),
                1 => {
                    self.cursor.skip(8)?;
                    None
                }
                2 => {
                    let len = self.number()?;
                    let octets_end = self.cursor.position().checked_add(len).filter(|octets_end| *octets_end <= end);
                    let Some(octets_end) = octets_end else {
                        return Err(Fault::Broken("a field is longer than the message around it"));
                    };
                    self.octets_end = Some(octets_end);
                    Some(Event::Octets { within, field, len })
                }
                5 => {
                    self.cursor.skip(4)?;
                    None
                }
                _ => return Err(Fault::Broken("a field is of a wire type that is not in use")),
            };
            if self.cursor.position() > end {
                return Err(Fault::Broken("a field is longer than the message around it"));
            }
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// Takes the octets told last as a message of this kind: its fields come next.
    pub(super) fn enter(&mut self, kind: M) -> Result<(), Fault> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Fault::Broken("messages are nested too deep"));
        }
        if let Some(end) = self.octets_end.take() {
            self.open.push((kind, end));
        }
        Ok(())
    }

    /// The octets told last as text; none if they are more than `max`.
    pub(super) fn text(&mut self, max: u64) -> Result<Option<String>, Fault> {
        let len = self.octets_end.map_or(0, |end| end.saturating_sub(self.cursor.position()));
        if len > max {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&self.cursor.take(len)?).into_owned()))
    }

    /// The next of the packed numbers told last; none after the last one.
    pub(super) fn packed(&mut self) -> Result<Option<u64>, Fault> {
        let Some(end) = self.octets_end.filter(|end| self.cursor.position() < *end) else { return Ok(None) };
        let number = self.number()?;
        if self.cursor.position() > end {
            return Err(Fault::Broken("packed numbers are longer than their field"));
        }
        Ok(Some(number))
    }

    fn number(&mut self) -> Result<u64, Fault> {
        self.cursor.varint()?.ok_or(Fault::Broken("a number has more than ten octets"))
    }
}

/// Why a path that a model names for a file beside it leads elsewhere; none if it stays below the model's folder.
pub(super) fn escapes(path: &str) -> Option<&'static str> {
    let mut octets = path.bytes();
    let is_drive = octets.next().is_some_and(|first| first.is_ascii_alphabetic()) && octets.next() == Some(b':');
    if path.starts_with('/') || is_drive {
        Some("it is absolute")
    } else if path.contains('\\') {
        Some("it has a backslash")
    } else if path.split('/').any(|part| part == "..") {
        Some("it leads out of the model's folder")
    } else if path.contains("://") {
        Some("it is an address")
    } else if path.contains('\0') {
        Some("it has a zero octet")
    } else {
        None
    }
}

/// Octets fetched on each of the two levels. At the limit a message counts as what its fields so far say.
const BYTES_MAX: u64 = 1 << 20;

/// Fields walked on each of the two levels; the same holds there.
const FIELDS_MAX: u32 = 4096;

/// A field of a message on the wire.
enum Field {
    /// Wire type 0.
    Number(u64),
    /// Wire type 2: where its octets start and end.
    Octets(u64, u64),
}

/// Which of the model formats `source` is, if any.
///
/// # Errors
/// Those of the source.
pub(super) fn examine(source: &dyn ReadAt) -> io::Result<Option<Format>> {
    for (format, check) in [
        (Format::TfSavedModel, is_saved_model as fn(&dyn ReadAt) -> Result<bool, Stop>),
        (Format::Onnx, is_onnx),
        (Format::Sentencepiece, is_sentencepiece),
    ] {
        match check(source) {
            Ok(true) => return Ok(Some(format)),
            Ok(false) | Err(Stop::End | Stop::Budget | Stop::Limit) => {}
            Err(Stop::Io(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// SavedModel of tensorflow/core/protobuf/saved_model.proto: 1 schema version, 2 meta graphs.
fn is_saved_model(source: &dyn ReadAt) -> Result<bool, Stop> {
    let (mut version, mut graphs) = (false, 0_u32);
    let sound = walk(source, 0, source.len(), |number, field| {
        match (number, field) {
            (1, Field::Number(1)) => version = true,
            // MetaGraphDef: 1 meta info, 2 graph, 3 saver, 4 collections, 5 signatures, 6 assets, 7 object graph.
            // The first stands for all, so that their number does not multiply the limits.
            (2, Field::Octets(..)) if graphs > 0 => {}
            (2, Field::Octets(start, end)) => {
                graphs += 1;
                return walk(source, start, end, |number, field| {
                    Ok(matches!((number, field), (1..=7, Field::Octets(..))))
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(sound && version && graphs > 0)
}

/// ModelProto of onnx.proto: 1 IR version, 2 producer, 3 its version, 4 domain, 5 model version, 6 documentation, 7 graph,
/// 8 operator sets, 14 metadata, 20 training, 25 functions, 26 configuration.
fn is_onnx(source: &dyn ReadAt) -> Result<bool, Stop> {
    let (mut version, mut graphs) = (false, 0_u32);
    let sound = walk(source, 0, source.len(), |number, field| {
        match (number, field) {
            (1, Field::Number(1..=1000)) => version = true,
            (5, Field::Number(_)) | (2..=4 | 6 | 8 | 14 | 20 | 25 | 26, Field::Octets(..)) => {}
            // GraphProto: 1 nodes, 2 name, 5 initialisers, 10 documentation, 11 inputs, 12 outputs, 13 values,
            // 14 quantisation, 15 sparse initialisers, 16 metadata.
            (7, Field::Octets(start, end)) if graphs == 0 => {
                graphs += 1;
                return walk(source, start, end, |number, field| {
                    Ok(matches!((number, field), (1 | 2 | 5 | 10..=16, Field::Octets(..))))
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(sound && version && graphs == 1)
}

/// ModelProto of sentencepiece_model.proto: 1 pieces, 2 how it was trained, 3 to 5 normalisation and tests. The pieces come
/// first, each with its text before anything else; they are looked into by the format's reader.
fn is_sentencepiece(source: &dyn ReadAt) -> Result<bool, Stop> {
    const PIECES_MIN: u32 = 4;
    let mut pieces = 0_u32;
    let sound = walk(source, 0, source.len(), |number, field| {
        match (number, field) {
            (1, Field::Octets(start, end)) if pieces < PIECES_MIN => {
                pieces += 1;
                let mut piece = Cursor::new(source, start, end, BYTES_MAX);
                if piece.varint()? != Some(1 << 3 | 2) {
                    return Ok(false);
                }
                let Some(length) = piece.varint()? else { return Ok(false) };
                piece.skip(length)?;
                // Its score, of four octets.
                if piece.varint()? != Some(2 << 3 | 5) {
                    return Ok(false);
                }
            }
            (1, Field::Octets(..)) => {}
            (2..=5, Field::Octets(..)) if pieces >= PIECES_MIN => {}
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(sound && pieces >= PIECES_MIN)
}

/// Whether `start..end` is a message of whose fields `known` accepts each one. Wire types other than number and octets
/// appear at no place that is looked at.
fn walk(
    source: &dyn ReadAt,
    start: u64,
    end: u64,
    mut known: impl FnMut(u64, Field) -> Result<bool, Stop>,
) -> Result<bool, Stop> {
    let mut cursor = Cursor::new(source, start, end, BYTES_MAX);
    for _ in 0..FIELDS_MAX {
        if cursor.at_end() {
            return Ok(true);
        }
        let (number, field) = match field(&mut cursor) {
            Ok(Some(field)) => field,
            Ok(None) => return Ok(false),
            Err(Stop::Budget) => return Ok(true),
            Err(stop) => return Err(stop),
        };
        if !known(number, field)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The number and value of the next field.
fn field(cursor: &mut Cursor<'_>) -> Result<Option<(u64, Field)>, Stop> {
    let (Some(tag), Some(value)) = (cursor.varint()?, cursor.varint()?) else { return Ok(None) };
    let field = match tag & 7 {
        0 => Field::Number(value),
        2 => {
            let start = cursor.position();
            cursor.skip(value)?;
            Field::Octets(start, cursor.position())
        }
        _ => return Ok(None),
    };
    Ok(Some((tag >> 3, field)))
}

/// Messages as tests write them.
#[cfg(test)]
pub(super) mod written {
    /// A number of base 128.
    pub(in crate::inspect) fn varint(mut value: u64) -> Vec<u8> {
        let mut octets = Vec::new();
        while value > 0x7f {
            octets.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        octets.push(value.to_le_bytes()[0]);
        octets
    }

    /// A field that is a number.
    pub(in crate::inspect) fn number(field: u64, value: u64) -> Vec<u8> {
        [varint(field << 3), varint(value)].concat()
    }

    /// A field with octets: a text or a message.
    pub(in crate::inspect) fn field(field: u64, octets: impl AsRef<[u8]>) -> Vec<u8> {
        let octets = octets.as_ref();
        [varint(field << 3 | 2), varint(octets.len() as u64), octets.to_vec()].concat()
    }
}
