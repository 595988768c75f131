//! What is torch's own in pickles: the storages it asks its loader for, and the layouts of several pickles and raw numbers
//! that it wrote before 1.6 (one stream) and 0.1.10 (members of a tar archive).

use super::calls::is_storage;
use super::machine::{Ending, Halt, Machine, Torch};
use super::value::{Heap, Node, Value};

/// The number that torch's legacy files begin with, as a pickle writes it.
pub(super) const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The same in decimal, as protocol 0 writes it.
pub(super) const MAGIC_DIGITS: &str = "119547037146038801333356";

/// What a persistent id stands for.
pub(super) enum Persistent {
    /// Numbers, which are elsewhere; in the legacy layout with its key and the octets it takes there.
    Storage(Option<(Vec<u8>, u64)>),
    /// A class, which legacy files name together with its source text.
    Class(Value),
}

/// What an id is in one of torch's layouts; `None` if torch writes no such thing there.
pub(super) fn persistent(machine: &Machine, torch: Torch, id: Value) -> Result<Option<Persistent>, Halt> {
    let Some(items) = machine.heap.tuple(id) else {
        // The oldest layout numbers its tensors.
        let numbered = match id {
            Value::Int(_) => true,
            Value::Const(_) => {
                machine.text(id)?.is_some_and(|text| !text.is_empty() && text.bytes().all(|one| one.is_ascii_digit()))
            }
            _ => false,
        };
        return Ok((numbered && torch == Torch::Tar).then_some(Persistent::Storage(None)));
    };
    if torch == Torch::Tar {
        return Ok(match items {
            [class @ Value::Global(_), Value::Const(_) | Value::None, Value::Const(_) | Value::None] => {
                Some(Persistent::Class(*class))
            }
            _ => None,
        });
    }
    let Some(kind) = items.first().map(|kind| machine.text(*kind)).transpose()?.flatten() else { return Ok(None) };
    match (kind.as_str(), &items[1..]) {
        ("storage", [class, key @ Value::Const(_), Value::Const(_) | Value::None, Value::Int(elements), view @ ..])
            if torch != Torch::None && view.len() <= 1 =>
        {
            let Some(class) = machine.heap.global(*class).filter(|class| is_storage(class)) else { return Ok(None) };
            if torch != Torch::Legacy {
                return Ok(Some(Persistent::Storage(None)));
            }
            let Some(key) = machine.text(*key)? else { return Ok(None) };
            let octets =
                u64::try_from(*elements).ok().and_then(|elements| elements.checked_mul(element_size(&class.name)));
            Ok(octets.map(|octets| Persistent::Storage(Some((key.into_bytes(), octets)))))
        }
        ("module", [class @ Value::Global(_), Value::Const(_) | Value::None, Value::Const(_) | Value::None])
            if torch == Torch::Legacy =>
        {
            Ok(Some(Persistent::Class(*class)))
        }
        _ => Ok(None),
    }
}

/// Element types by the class of a storage, and octets of an element.
const STORAGES: &[(&str, &str, u64)] = &[
    ("DoubleStorage", "F64", 8),
    ("FloatStorage", "F32", 4),
    ("HalfStorage", "F16", 2),
    ("BFloat16Storage", "BF16", 2),
    ("LongStorage", "I64", 8),
    ("IntStorage", "I32", 4),
    ("ShortStorage", "I16", 2),
    ("CharStorage", "I8", 1),
    ("ByteStorage", "U8", 1),
    ("BoolStorage", "BOOL", 1),
    ("ComplexDoubleStorage", "C128", 16),
    ("ComplexFloatStorage", "C64", 8),
    ("ComplexHalfStorage", "C32", 4),
    ("QInt32Storage", "QInt32", 4),
    ("QInt8Storage", "QInt8", 1),
    ("QUInt8Storage", "QUInt8", 1),
    ("QUInt4x2Storage", "QUInt4x2", 1),
    ("QUInt2x4Storage", "QUInt2x4", 1),
];

/// Element types by the name of torch's own type.
const DTYPES: &[(&str, &str)] = &[
    ("float64", "F64"),
    ("double", "F64"),
    ("float32", "F32"),
    ("float", "F32"),
    ("float16", "F16"),
    ("half", "F16"),
    ("bfloat16", "BF16"),
    ("int64", "I64"),
    ("long", "I64"),
    ("int32", "I32"),
    ("int", "I32"),
    ("int16", "I16"),
    ("short", "I16"),
    ("int8", "I8"),
    ("uint8", "U8"),
    ("uint16", "U16"),
    ("uint32", "U32"),
    ("uint64", "U64"),
    ("bool", "BOOL"),
    ("float8_e4m3fn", "F8_E4M3"),
    ("float8_e5m2", "F8_E5M2"),
    ("complex64", "C64"),
    ("complex128", "C128"),
];

/// Octets of an element; a storage without a type counts octets.
fn element_size(class: &str) -> u64 {
    STORAGES.iter().find(|(name, _, _)| *name == class).map_or(1, |(_, _, size)| *size)
}

/// The element type of a tensor over a storage, unless the tensor says its own.
pub(super) fn dtype(heap: &Heap, storage: Value, own: Option<Value>) -> &'static str {
    if let Some(own) = own.and_then(|own| heap.global(own)) {
        return DTYPES.iter().find(|(name, _)| *name == own.name).map_or("unknown", |(_, dtype)| dtype);
    }
    let Some(Node::Persistent(id)) = heap.node(storage) else { return "unknown" };
    let class = heap.tuple(*id).and_then(|items| items.get(1)).and_then(|class| heap.global(*class));
    let known = class.and_then(|class| STORAGES.iter().find(|(name, _, _)| *name == class.name));
    known.map_or("unknown", |(_, dtype, _)| dtype)
}

/// Octets behind the last pickle of a legacy file: of each storage its elements' number and its elements.
pub(super) fn storages_len<'a>(sizes: impl Iterator<Item = &'a u64>) -> Option<u64> {
    sizes.into_iter().try_fold(0_u64, |sum, size| sum.checked_add(*size)?.checked_add(8))
}

/// The number a stream of the tar layout says.
pub(super) fn count(ending: Ending) -> Option<u64> {
    if let Ending::Stop(Value::Int(count)) = ending { u64::try_from(count).ok() } else { None }
}

/// Octets of an element, by the description of a storage in the tar layout: key, location, class.
pub(super) fn described(heap: &Heap, ending: Ending) -> Option<u64> {
    let Ending::Stop(value) = ending else { return None };
    let class = heap.tuple(value)?.get(2).and_then(|class| heap.global(*class)).filter(|class| is_storage(class))?;
    Some(element_size(&class.name))
}
