//! Telling the protobuf model formats apart. Protobuf has no signature and few octets are no valid message, so a file counts
//! as one only if its whole top level is: known field numbers, each of its right wire type, to the last octet, and the
//! message that must be in it is of the right shape too. Contents are stepped over.

use std::io;

use super::cursor::{Cursor, Stop};
use super::{Format, ReadAt};

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
    for (format, check) in
        [(Format::TfSavedModel, is_saved_model as fn(&dyn ReadAt) -> Result<bool, Stop>), (Format::Onnx, is_onnx)]
    {
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
