//! Values in a few words, for the sentences of findings.

use super::machine::Machine;
use super::value::{self, Const, Global, Kind, Node, Value};

impl Machine<'_, '_> {
    /// A value in a few words, for people.
    pub(super) fn render(&self, value: Value) -> String {
        let mut text = String::new();
        self.render_into(&mut text, value, 3);
        text
    }

    fn render_into(&self, text: &mut String, value: Value, depth: u32) {
        // Both the length of what is shown and the depth are bounded, as values may contain themselves.
        const TEXT_MAX: usize = 160;
        const SHOWN_MAX: usize = 4;
        if text.len() > TEXT_MAX || depth == 0 {
            text.push_str("...");
            return;
        }
        let list = |text: &mut String, items: &[Value], brackets: [&str; 2]| {
            text.push_str(brackets[0]);
            for (at, item) in items.iter().take(SHOWN_MAX).enumerate() {
                if at > 0 {
                    text.push_str(", ");
                }
                self.render_into(text, *item, depth - 1);
            }
            if items.len() > SHOWN_MAX {
                text.push_str(", ...");
            }
            text.push_str(brackets[1]);
        };
        match value {
            Value::Unknown => text.push_str("something unknown"),
            Value::None => text.push_str("None"),
            Value::Bool(true) => text.push_str("True"),
            Value::Bool(false) => text.push_str("False"),
            Value::Int(number) => text.push_str(&number.to_string()),
            Value::Number | Value::TorchMagic => text.push_str("a number"),
            Value::Const(one) => {
                let shown = Const { len: one.len.min(60), ..one };
                // What cannot be read is said to be there; the reading that matters reports errors.
                let shown = if one.kind == Kind::Quoted { one } else { shown };
                let content = value::text(self.source, shown, 4096).ok().flatten();
                if one.kind.is_octets() {
                    text.push('b');
                }
                text.push('\'');
                text.extend(content.unwrap_or_default().chars().take(60).flat_map(char::escape_default));
                text.push_str(if one.len > 60 { "...'" } else { "'" });
            }
            Value::Global(_) => match self.heap.global(value) {
                Some(Global { module, name }) => {
                    text.extend(module.chars().take(80));
                    text.push('.');
                    text.extend(name.chars().take(80));
                }
                None => text.push_str("a global"),
            },
            Value::Node(_) => match self.heap.node(value) {
                Some(Node::Tuple(items)) => list(text, items, ["(", if items.len() == 1 { ",)" } else { ")" }]),
                Some(Node::List(items)) => list(text, items, ["[", "]"]),
                Some(Node::Dict(_)) => text.push_str("{...}"),
                Some(Node::Object(object)) => {
                    self.render_into(text, object.callable, depth - 1);
                    match self.heap.tuple(object.args) {
                        Some(items) => list(text, items, ["(", ")"]),
                        None => list(text, &[object.args], ["(*", ")"]),
                    }
                }
                Some(Node::Persistent(_)) | None => text.push_str("an object of the loader"),
            },
        }
    }
}
