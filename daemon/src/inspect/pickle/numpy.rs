//! Arrays of numpy in pickles: their element types and shapes, and what joblib leaves behind its array wrapper in the stream.

use super::calls::sizes;
use super::machine::{Halt, Machine};
use super::value::Value;

/// Element types within element types that are followed.
const NESTING_MAX: u32 = 8;

/// Fields of an element type that are followed, all in all: types may share theirs.
const FIELDS_MAX: u32 = 4096;

/// What follows an array wrapper in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InStream {
    /// The array's octets, behind an octet that says how many octets of padding there are if they are aligned.
    Raw { aligned: bool, octets: u64 },
    /// A pickle of its own: an array of objects.
    Pickle,
    /// Something whose size the wrapper does not say.
    Unreadable,
}

/// An element type.
struct Dtype {
    name: String,
    size: u64,
    objects: bool,
}

/// An object got its state: notes an array, and says what joblib reads behind it.
pub(super) fn built(machine: &mut Machine, object: Value) -> Result<Option<InStream>, Halt> {
    let Some(one) = machine.heap.object(object) else { return Ok(None) };
    let state = one.state;
    let Some(class) = machine.heap.class(one) else { return Ok(None) };
    if class.name == "NumpyArrayWrapper" && class.module.ends_with("joblib.numpy_pickle") {
        return wrapped(machine, object, state).map(Some);
    }
    if class.name == "_reconstruct"
        && let Some([_, shape, dtype, _, _]) = machine.heap.tuple(state)
    {
        let (shape, dtype) = (*shape, *dtype);
        tell(machine, object, dtype, shape)?;
    }
    Ok(None)
}

/// Notes an array for the facts.
pub(super) fn tell(machine: &mut Machine, object: Value, dtype: Value, shape: Value) -> Result<(), Halt> {
    if let Some(dtype) = whole(machine, dtype)?.filter(|dtype| !dtype.objects)
        && let Some(shape) = sizes(machine, shape)
    {
        machine.tensor(object, dtype.name, shape);
    }
    Ok(())
}

fn wrapped(machine: &mut Machine, object: Value, state: Value) -> Result<InStream, Halt> {
    let (mut shape, mut dtype, mut aligned) = (None, None, false);
    let Some(dict) = machine.heap.dict(state).filter(|dict| !dict.is_partial) else { return Ok(InStream::Unreadable) };
    for (key, value) in dict.entries.clone() {
        match machine.text(key)?.as_deref() {
            Some("shape") => shape = Some(value),
            Some("dtype") => dtype = Some(value),
            Some("numpy_array_alignment_bytes") => aligned = value != Value::None,
            _ => {}
        }
    }
    let (Some(shape), Some(dtype)) = (shape, dtype) else { return Ok(InStream::Unreadable) };
    let (Some(dtype), Some(extents)) = (whole(machine, dtype)?, sizes(machine, shape)) else {
        return Ok(InStream::Unreadable);
    };
    if dtype.objects {
        return Ok(InStream::Pickle);
    }
    let octets = extents.iter().try_fold(dtype.size, |product, extent| product.checked_mul(*extent));
    machine.tensor(object, dtype.name, extents);
    Ok(octets.map_or(InStream::Unreadable, |octets| InStream::Raw { aligned, octets }))
}

fn whole(machine: &Machine, dtype: Value) -> Result<Option<Dtype>, Halt> {
    let mut fields = FIELDS_MAX;
    read(machine, dtype, NESTING_MAX, &mut fields)
}

/// Reads `numpy.dtype('f8', ...)` and its state: version, byte order, sub-array, names, fields, size, alignment, flags.
fn read(machine: &Machine, value: Value, nesting: u32, left: &mut u32) -> Result<Option<Dtype>, Halt> {
    let Some(object) = machine.heap.object(value) else { return Ok(None) };
    let Some(rest) = left.checked_sub(1) else { return Ok(None) };
    *left = rest;
    let is_dtype = machine.heap.global(object.callable).is_some_and(|one| one.is("numpy", "dtype"));
    let Some(first) = machine.heap.tuple(object.args).and_then(|args| args.first()).filter(|_| is_dtype) else {
        return Ok(None);
    };
    let Some(code) = machine.text(*first)? else { return Ok(None) };
    let code = code.trim_start_matches(['<', '>', '=', '|']);
    let Some(kind) = code.chars().next() else { return Ok(None) };
    let digits = &code[kind.len_utf8()..];
    let Ok(number) = (if digits.is_empty() { Ok(0) } else { digits.parse::<u64>() }) else { return Ok(None) };
    let state = machine.heap.tuple(object.state).unwrap_or_default();
    let stated = match state.get(5) {
        Some(Value::Int(size)) => u64::try_from(*size).ok(),
        _ => None,
    };
    // Of the others without a size numpy knows one.
    let is_sized = matches!(
        (kind, number),
        ('?', 0)
            | ('O', 0 | 8)
            | ('b', 1)
            | ('i' | 'u', 1 | 2 | 4 | 8)
            | ('f', 2 | 4 | 8 | 12 | 16)
            | ('c', 8 | 16 | 24 | 32)
            | ('M' | 'm', 8)
            | ('S' | 'a' | 'U' | 'V', _)
    );
    if !is_sized {
        return Ok(None);
    }
    let mut objects = kind == 'O';
    let size = match kind {
        '?' => 1,
        'U' => number.saturating_mul(4),
        _ => number,
    };
    if let Some(Value::Int(flags)) = state.get(7) {
        objects |= flags & 1 == 1;
    }
    if let Some(fields) = state.get(4).and_then(|fields| machine.heap.dict(*fields)) {
        if fields.is_partial {
            return Ok(None);
        }
        let flagged = objects;
        for (_, field) in &fields.entries {
            let inner = machine.heap.tuple(*field).and_then(|field| field.first().copied());
            let inner = match inner {
                Some(inner) if nesting > 0 => read(machine, inner, nesting - 1, left)?,
                _ => None,
            };
            let Some(inner) = inner else { return Ok(None) };
            objects |= inner.objects;
        }
        if objects && !flagged {
            // It says of itself that it has no objects, and would have numbers taken for their addresses.
            return Ok(None);
        }
    }
    if let Some(base) = state.get(2).and_then(|part| machine.heap.tuple(*part)).and_then(|part| part.first()) {
        let inner = if nesting > 0 { read(machine, *base, nesting - 1, left)? } else { None };
        if inner.is_none_or(|inner| inner.objects && !objects) {
            return Ok(None);
        }
    }
    // Texts, octets and records say their size twice; of what has no size of its own only the state says it.
    let size = match stated {
        Some(stated) if matches!(kind, 'S' | 'U' | 'V' | 'a') && stated != size && size != 0 => return Ok(None),
        Some(stated) if matches!(kind, 'S' | 'U' | 'V' | 'a') => stated,
        _ => size,
    };
    let name = match (kind, number) {
        ('b', 1) | ('?', _) => "BOOL".to_owned(),
        ('f', 2 | 4 | 8) => format!("F{}", number * 8),
        ('i', 1 | 2 | 4 | 8) => format!("I{}", number * 8),
        ('u', 1 | 2 | 4 | 8) => format!("U{}", number * 8),
        ('c', 8 | 16) => format!("C{}", number * 8),
        _ => code.to_owned(),
    };
    Ok(Some(Dtype { name, size, objects }))
}
