//! What was measured in a file: tensors and parameters by element type, and named facts such as the architecture. Everything
//! is bounded here, so that no format needs to: a file can't make its own description long.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Named facts of one file.
const VALUES_MAX: usize = 64;
/// Octets of one fact as JSON text.
const VALUE_BYTES_MAX: usize = 4 << 10;
/// Octets of a text, and of an element type's or tensor's name.
const TEXT_BYTES_MAX: usize = 512;
/// Element types told apart; the rest is `other`.
const DTYPES_MAX: usize = 64;

/// Facts read from the bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Tensors.
    pub tensors: u64,
    /// Elements of all tensors: a model's parameters, buffers included.
    pub parameters: u64,
    /// Elements by element type, as safetensors spells it where it has the type (`F32`, `BF16`, `I8`), else as the format does
    /// (`Q4_K`).
    pub dtypes: BTreeMap<String, u64>,
    /// The tensor with the most elements: name and shape.
    pub largest: Option<(String, Vec<u64>)>,
    /// Named facts: `architecture`, `context_length`, `license` and the like. The values are JSON.
    pub values: BTreeMap<String, Value>,
}

impl Facts {
    /// Counts a tensor. Its elements are the product of `shape`; saturating, for shapes are outside numbers.
    pub fn add_tensor(&mut self, name: &str, dtype: &str, shape: &[u64]) {
        let elements = shape.iter().fold(1_u64, |product, extent| product.saturating_mul(*extent));
        self.tensors = self.tensors.saturating_add(1);
        self.parameters = self.parameters.saturating_add(elements);
        let dtype = if self.dtypes.contains_key(dtype) || self.dtypes.len() < DTYPES_MAX { dtype } else { "other" };
        let count = self.dtypes.entry(cut(dtype, TEXT_BYTES_MAX).to_owned()).or_default();
        *count = count.saturating_add(elements);
        let most = self.largest.as_ref().map_or(0, |(_, shape)| shape.iter().fold(1_u64, |p, n| p.saturating_mul(*n)));
        if self.largest.is_none() || elements > most {
            self.largest = Some((cut(name, TEXT_BYTES_MAX).to_owned(), shape.iter().copied().take(16).collect()));
        }
    }

    /// Notes a fact, the first of its name. Long texts are cut; a value that is too long otherwise is left out.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        let value = match value.into() {
            Value::Null => return,
            Value::String(text) if text.is_empty() => return,
            Value::String(text) => cut(&text, TEXT_BYTES_MAX).into(),
            other => other,
        };
        if self.values.len() < VALUES_MAX && !self.values.contains_key(name) && fits(&value) {
            self.values.insert(cut(name, TEXT_BYTES_MAX).to_owned(), value);
        }
    }

    /// A member's facts as part of its container's: counts are added, the container's own named facts stay.
    pub fn absorb(&mut self, member: Self) {
        self.tensors = self.tensors.saturating_add(member.tensors);
        self.parameters = self.parameters.saturating_add(member.parameters);
        for (dtype, elements) in member.dtypes {
            let known = self.dtypes.contains_key(&dtype) || self.dtypes.len() < DTYPES_MAX;
            let count = self.dtypes.entry(if known { dtype } else { "other".to_owned() }).or_default();
            *count = count.saturating_add(elements);
        }
        let size = |one: &Option<(String, Vec<u64>)>| {
            one.as_ref().map_or(0, |(_, shape)| shape.iter().fold(1_u64, |p, n| p.saturating_mul(*n)))
        };
        if size(&member.largest) > size(&self.largest) {
            self.largest = member.largest;
        }
        for (name, value) in member.values {
            self.set(&name, value);
        }
    }
}

fn fits(value: &Value) -> bool {
    value.to_string().len() <= VALUE_BYTES_MAX
}

/// The longest beginning of `text` with at most `max` octets that ends between characters.
pub(super) fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
