//! How listed functions may be called, and what their results tell. Classes may be called with anything: what their arguments
//! name is judged by itself. Functions have the patterns that their writers leave in pickles, and no others.

use super::globals;
use super::machine::{Halt, Machine};
use super::rules::NESTED;
use super::value::{self, Const, Global, Heap, Kind, Node, Object, Value};
use super::{numpy, torch};
use crate::inspect::cursor::Stop;
use crate::inspect::scan::Slice;
use crate::inspect::{Format, Level, ReadAt, dispatch};

/// Extents of an array: as many as numpy and torch take.
const EXTENTS_MAX: usize = 64;

/// Whether a call of something on the list is one that its writers make.
pub(super) fn fits(machine: &Machine, global: &Global, args: Value, is_new: bool) -> Result<bool, Halt> {
    let Some(function) = Function::of(global) else { return Ok(true) };
    // Only a class has instances.
    let Some(items) = machine.heap.tuple(args).filter(|_| !is_new) else { return Ok(false) };
    let is = Is(machine);
    Ok(match (function, items) {
        (Function::Encode, [text, encoding]) => is.text(*text) && is.text(*encoding) && is.latin_1(*encoding)?,
        (Function::Reconstruct, [class, shape, kind]) => is.global(*class) && is.sizes(*shape) && is.octets(*kind),
        (Function::MaskedReconstruct, [class, base, shape, kind]) => {
            is.global(*class) && is.global(*base) && is.sizes(*shape) && is.octets(*kind)
        }
        (Function::Scalar, [dtype]) => is.object(*dtype),
        // Of an object dtype the second is what comes back.
        (Function::Scalar, [dtype, value]) => is.object(*dtype) && !is.global(*value),
        (Function::FromBuffer, [buffer, dtype, shape, order]) => {
            (is.octets(*buffer) || *buffer == Value::Unknown)
                && is.object(*dtype)
                && is.sizes(*shape)
                && is.text(*order)
        }
        // Class, base and state of an object of protocols 0 and 1.
        (Function::Reconstructor, [class, base, _]) => is.global(*class) && is.global(*base),
        (Function::NewObject, [class]) => is.global(*class),
        (Function::RandomState, []) => true,
        (Function::BitGenerator, [] | [Value::Const(_) | Value::Global(_)]) => true,
        (Function::Generator, [] | [Value::Const(_) | Value::Node(_)]) => true,
        (Function::Generator, [generator, constructor]) => {
            (is.text(*generator) || is.object(*generator))
                && machine.heap.global(*constructor).is_some_and(|one| one.name == "__bit_generator_ctor")
        }
        (Function::SeedSequence, [class, Value::Int(_), state]) => {
            is.global(*class) && (*state == Value::None || machine.heap.tuple(*state).is_some())
        }
        (Function::Tensor, [storage, Value::Int(_), size, stride, more @ ..]) => {
            is.storage(*storage)
                && is.sizes(*size)
                && is.sizes(*stride)
                && more.len() <= 4
                && !more.iter().any(|one| is.function(*one))
        }
        (Function::Parameter, [data, Value::Bool(_), hooks]) => is.object(*data) && !is.function(*hooks),
        (Function::Sparse, [layout, parts]) => {
            (is.global(*layout) || is.object(*layout)) && machine.heap.tuple(*parts).is_some()
        }
        (Function::Meta, [dtype, size, stride, Value::Bool(_)]) => {
            is.global(*dtype) && is.sizes(*size) && is.sizes(*stride)
        }
        (Function::Layout, [layout]) => is.text(*layout),
        // What it loads is looked into by itself.
        (Function::Load, [_]) => true,
        // They return what they are given.
        (Function::Typed, [value]) => !is.global(*value),
        (Function::Typed, [value, tag]) => !is.global(*value) && is.text(*tag),
        _ => false,
    })
}

/// What the result of a call on the list is: facts, and pickles within octets.
pub(super) fn result(machine: &mut Machine, global: &Global, object: Value, args: Value) -> Result<(), Halt> {
    let items = machine.heap.tuple(args).unwrap_or_default();
    match (Function::of(global), items) {
        (Some(Function::Load), [octets]) => {
            let octets = *octets;
            nested(machine, octets)
        }
        (Some(Function::Tensor), [storage, _, size, ..]) => {
            // The third kind says its element type, as its storage has none.
            let own = if global.name.ends_with("_v3") { items.get(6).copied() } else { None };
            let dtype = torch::dtype(&machine.heap, *storage, own);
            if let Some(shape) = sizes(machine, *size) {
                machine.tensor(object, dtype.to_owned(), shape);
            }
            Ok(())
        }
        (Some(Function::Parameter), [data, ..]) => {
            let data = *data;
            machine.same_tensor(object, data);
            Ok(())
        }
        (Some(Function::FromBuffer), [_, dtype, shape, _]) => {
            let (dtype, shape) = (*dtype, *shape);
            numpy::tell(machine, object, dtype, shape)
        }
        _ => Ok(()),
    }
}

/// Whether what a callable returns is an object of its own, which may be given state. Of the others the result may be
/// something that was there before, and no writer gives it any.
pub(super) fn makes(global: &Global) -> bool {
    match Function::of(global) {
        None
        | Some(
            Function::Reconstruct
            | Function::MaskedReconstruct
            | Function::Reconstructor
            | Function::NewObject
            | Function::RandomState
            | Function::BitGenerator
            | Function::Generator
            | Function::SeedSequence,
        ) => true,
        Some(
            Function::Encode
            | Function::Scalar
            | Function::FromBuffer
            | Function::Tensor
            | Function::Parameter
            | Function::Sparse
            | Function::Meta
            | Function::Layout
            | Function::Load
            | Function::Typed
            | Function::Score,
        ) => false,
    }
}

/// Whether writers leave it among the values of a pickle, and not only where it is called.
pub(super) fn is_data(global: &Global) -> bool {
    matches!(Function::of(global), None | Some(Function::Score | Function::BitGenerator))
}

/// Whether it is a list or set, to which loaders add elements.
pub(super) fn takes_elements(class: &Global) -> bool {
    matches!(class.name.as_str(), "list" | "set" | "frozenset" | "bytearray" | "deque") || class.module == "__torch__"
}

/// Whether an object is a dictionary with entries from the arguments it was made with: any keys.
pub(super) fn is_filled_dict(heap: &Heap, object: &Object) -> bool {
    let is_dict = heap.class(object).is_some_and(|class| {
        matches!(class.name.as_str(), "dict" | "OrderedDict" | "defaultdict" | "Counter" | "Bunch")
    });
    // A `defaultdict` has a class or nothing there.
    is_dict && heap.tuple(object.args).is_none_or(|args| args.iter().any(|arg| heap.node(*arg).is_some()))
}

/// The functions on the list, by what they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Encode,
    Reconstruct,
    MaskedReconstruct,
    Scalar,
    FromBuffer,
    Reconstructor,
    NewObject,
    RandomState,
    BitGenerator,
    Generator,
    SeedSequence,
    Tensor,
    Parameter,
    Sparse,
    Meta,
    Layout,
    Load,
    Typed,
    /// Stored as a value by estimators, and never called while one is loaded.
    Score,
}

impl Function {
    fn of(global: &Global) -> Option<Self> {
        Some(match (global.module.as_str(), global.name.as_str()) {
            ("_codecs", "encode") => Self::Encode,
            ("copyreg" | "copy_reg", "_reconstructor") => Self::Reconstructor,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Self::Reconstruct,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::Scalar,
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Self::FromBuffer,
            ("numpy.ma.core", "_mareconstruct") => Self::MaskedReconstruct,
            ("numpy.random._pickle", "__randomstate_ctor" | "__generator_ctor") => Self::Generator,
            ("numpy.random._pickle", "__bit_generator_ctor") => Self::BitGenerator,
            ("numpy.random", "__RandomState_ctor") => Self::RandomState,
            ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence") => Self::SeedSequence,
            (_, "newObj") => Self::NewObject,
            (
                "sklearn.feature_selection._univariate_selection",
                "f_classif" | "f_regression" | "r_regression" | "chi2",
            ) => Self::Score,
            ("numpy", "mean" | "log" | "log1p" | "log2" | "log10" | "exp" | "expm1" | "sqrt" | "square")
            | ("sklearn.metrics._classification", _) => Self::Score,
            ("torch._utils", "_rebuild_parameter") => Self::Parameter,
            ("torch._utils", "_rebuild_sparse_tensor") => Self::Sparse,
            ("torch._utils", "_rebuild_meta_tensor_no_storage") => Self::Meta,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3" | "_rebuild_qtensor") => {
                Self::Tensor
            }
            ("torch.serialization", "_get_layout") => Self::Layout,
            ("torch.storage", "_load_from_bytes") => Self::Load,
            ("torch.jit._pickle", _) => Self::Typed,
            _ => return None,
        })
    }
}

/// What a value is, as far as a pattern asks.
struct Is<'a, 'm, 'r>(&'a Machine<'m, 'r>);

impl Is<'_, '_, '_> {
    fn text(&self, value: Value) -> bool {
        matches!(value, Value::Const(Const { kind, .. }) if !kind.is_octets())
    }

    fn latin_1(&self, value: Value) -> Result<bool, Halt> {
        Ok(matches!(self.0.text(value)?.as_deref(), Some("latin1" | "latin-1")))
    }

    fn global(&self, value: Value) -> bool {
        matches!(value, Value::Global(_))
    }

    /// A global that is a function or unknown, where data are expected.
    fn function(&self, value: Value) -> bool {
        self.0.heap.global(value).is_some_and(|global| !matches!(global.module.as_str(), "torch"))
    }

    fn object(&self, value: Value) -> bool {
        self.0.heap.object(value).is_some()
    }

    /// Octets, whichever way the protocol writes them.
    fn octets(&self, value: Value) -> bool {
        let made = || {
            let global = self.0.heap.object(value).and_then(|object| self.0.heap.global(object.callable));
            global.is_some_and(|one| {
                one.is("_codecs", "encode")
                    || matches!(one.name.as_str(), "bytes" | "bytearray") && one.module.contains("builtin")
            })
        };
        matches!(value, Value::Const(_)) || made()
    }

    fn storage(&self, value: Value) -> bool {
        matches!(self.0.heap.node(value), Some(Node::Persistent(_) | Node::Object(_)))
    }

    fn sizes(&self, value: Value) -> bool {
        sizes(self.0, value).is_some()
    }
}

/// A shape: a tuple of numbers, or the class of torch around one.
pub(super) fn sizes(machine: &Machine, value: Value) -> Option<Vec<u64>> {
    let items = match machine.heap.object(value) {
        Some(object) => {
            machine.heap.global(object.callable).filter(|one| one.is("torch", "Size"))?;
            machine.heap.tuple(*machine.heap.tuple(object.args)?.first()?)?
        }
        None => machine.heap.tuple(value)?,
    };
    if items.len() > EXTENTS_MAX {
        return None;
    }
    items
        .iter()
        .map(|item| match item {
            Value::Int(size) => Some(u64::try_from(*size).unwrap_or(0)),
            _ => None,
        })
        .collect()
}

/// Octets that a loader takes for a file of torch's.
fn nested(machine: &mut Machine, octets: Value) -> Result<(), Halt> {
    // Pickles within pickles share what one may hold.
    let held = machine.scan.limits.held_bytes.checked_shr(machine.place.depth()).unwrap_or(0);
    let place = machine.place.member(Format::Pickle, &format!("bytes@{}", machine.at()));
    let format = match octets {
        Value::Const(Const { kind: Kind::Bytes | Kind::Latin1, at, len, .. }) => {
            let len = if len == u32::MAX { long_len(machine.source, at)? } else { u64::from(len) };
            let slice = Slice::new(machine.source, at, at.saturating_add(len));
            dispatch::member(machine.scan, &slice, &place, "")?
        }
        _ => match written(machine, octets, held)? {
            Written::Held(octets) => dispatch::member(machine.scan, &octets.as_slice(), &place, "")?,
            Written::Long => {
                machine.find(Level::Unscannable, &NESTED, "loads octets that are too many to be looked into");
                return Ok(());
            }
            Written::Computed => {
                let what = machine.render(octets);
                machine.find(NESTED.level, &NESTED, format_args!("loads a file from octets that it computes: {what}"));
                return Ok(());
            }
        },
    };
    if matches!(format, Format::Text | Format::Json | Format::Source | Format::Media | Format::Empty) {
        machine.find(
            Level::Unscannable,
            &NESTED,
            format_args!("loads octets that are no file of torch's but {format}"),
        );
    }
    Ok(())
}

/// The length of a constant beyond 32 bits, which stands right before it.
fn long_len(source: &dyn ReadAt, at: u64) -> Result<u64, Stop> {
    let field = crate::inspect::read_up_to(source, at.saturating_sub(8), 8)?;
    Ok(field.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight)))
}

/// Octets that are not simply there.
enum Written {
    Held(Vec<u8>),
    Long,
    Computed,
}

/// What a bytes value of protocols 0 to 2 has in it: a text, encoded as Latin-1 by a call, or a quoted string of Python 2.
fn written(machine: &Machine, octets: Value, max: u64) -> Result<Written, Halt> {
    let one = match octets {
        Value::Const(one) => one,
        _ => {
            let Some(object) = machine.heap.object(octets) else { return Ok(Written::Computed) };
            let encodes = machine.heap.global(object.callable).is_some_and(|global| global.is("_codecs", "encode"));
            match machine.heap.tuple(object.args) {
                Some([Value::Const(one), _]) if encodes && !one.kind.is_octets() => *one,
                _ => return Ok(Written::Computed),
            }
        }
    };
    if one.kind == Kind::Mutable {
        // Steps since may have changed it.
        return Ok(Written::Computed);
    }
    if u64::from(one.len) > max {
        return Ok(Written::Long);
    }
    if one.kind == Kind::Quoted && matches!(octets, Value::Const(_)) {
        return Ok(value::bytes(machine.source, one, max)?.map_or(Written::Computed, Written::Held));
    }
    let Some(text) = value::text(machine.source, one, max)? else { return Ok(Written::Computed) };
    let octets = text.chars().map(|one| u8::try_from(u32::from(one))).collect::<Result<Vec<u8>, _>>();
    Ok(octets.map_or(Written::Computed, Written::Held))
}

/// Whether a name is that of a storage class of torch.
pub(super) fn is_storage(global: &Global) -> bool {
    match global.module.as_str() {
        "torch" | "torch.cuda" => globals::is_torch_storage(&global.name),
        "torch.storage" => matches!(global.name.as_str(), "UntypedStorage" | "TypedStorage"),
        _ => false,
    }
}
