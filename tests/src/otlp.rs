//! Spans as a collector gets them: OTLP over HTTP in protobuf, read by code that shares nothing with the daemon's.

use std::collections::BTreeMap;

use crate::hooks::{Received, Receiver, Reply};
use crate::wait;

/// A finished span.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Span {
    /// Hexadecimal.
    pub trace: String,
    /// Hexadecimal.
    pub id: String,
    /// Hexadecimal; empty for none.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// 1 internal, 2 server.
    pub kind: u64,
    /// From when until when, nanoseconds since the epoch.
    pub time: (u64, u64),
    /// What is said in it.
    pub attributes: BTreeMap<String, String>,
    /// Status code: 0 unset, 2 error.
    pub status: u64,
    /// What is said of who sent it.
    pub resource: BTreeMap<String, String>,
}

impl Span {
    /// An attribute that must be there.
    pub fn need(&self, name: &str) -> &str {
        self.attributes.get(name).unwrap_or_else(|| panic!("{name} in {self:?}"))
    }
}

/// Spans of a message.
pub fn spans(message: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for of_resource in parts(message, 1) {
        let resource = parts(of_resource, 1).first().map(|resource| pairs(&parts(resource, 1))).unwrap_or_default();
        for scope in parts(of_resource, 2) {
            for span in parts(scope, 2) {
                let hex = |number| parts(span, number).first().map(hex::encode).unwrap_or_default();
                let status = parts(span, 15).first().map_or(0, |status| number(status, 3));
                spans.push(Span {
                    trace: hex(1),
                    id: hex(2),
                    parent: hex(4),
                    name: text(span, 5),
                    kind: number(span, 6),
                    time: (number(span, 7), number(span, 8)),
                    attributes: pairs(&parts(span, 9)),
                    status,
                    resource: resource.clone(),
                });
            }
        }
    }
    spans
}

/// What a field holds.
enum Value<'a> {
    Number(u64),
    Octets(&'a [u8]),
}

/// Fields of a message, in order.
fn fields(mut rest: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest);
        let mut take = |count: usize| {
            let (taken, after) = rest.split_at(count);
            rest = after;
            taken
        };
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut rest)),
            1 => Value::Number(u64::from_le_bytes(take(8).try_into().unwrap())),
            2 => {
                let length = varint(&mut rest);
                let (taken, after) = rest.split_at(usize::try_from(length).unwrap());
                rest = after;
                Value::Octets(taken)
            }
            5 => Value::Number(u32::from_le_bytes(take(4).try_into().unwrap()).into()),
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, value));
    }
    fields
}

fn varint(rest: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let octet = rest[0];
        *rest = &rest[1..];
        value |= u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return value;
        }
        shift += 7;
    }
}

fn parts(message: &[u8], wanted: u64) -> Vec<&[u8]> {
    let part = |(number, value)| match value {
        Value::Octets(octets) if number == wanted => Some(octets),
        Value::Octets(_) | Value::Number(_) => None,
    };
    fields(message).into_iter().filter_map(part).collect()
}

fn number(message: &[u8], wanted: u64) -> u64 {
    let found = fields(message).into_iter().find_map(|(number, value)| match value {
        Value::Number(value) if number == wanted => Some(value),
        Value::Octets(_) | Value::Number(_) => None,
    });
    found.unwrap_or(0)
}

fn text(message: &[u8], wanted: u64) -> String {
    parts(message, wanted).first().map(|octets| String::from_utf8(octets.to_vec()).unwrap()).unwrap_or_default()
}

fn pairs(pairs: &[&[u8]]) -> BTreeMap<String, String> {
    let value = |any: &[u8]| match fields(any).into_iter().next() {
        Some((1, Value::Octets(text))) => String::from_utf8(text.to_vec()).unwrap(),
        Some((2, Value::Number(truth))) => (truth == 1).to_string(),
        Some((3, Value::Number(number))) => number.to_string(),
        _other => panic!("an attribute of another kind"),
    };
    pairs.iter().map(|pair| (text(pair, 1), parts(pair, 2).first().map(|any| value(any)).unwrap_or_default())).collect()
}

/// A collector in the test's own process.
pub struct Collector {
    receiver: Receiver,
}

impl Collector {
    /// One that takes everything.
    pub fn start() -> Self {
        Self { receiver: Receiver::answering(|_message, _before| Reply::Status(200)) }
    }

    /// One that answers so; it is told how many messages came before.
    pub fn answering(answer: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self { receiver: Receiver::answering(move |_message, before| answer(before)) }
    }

    /// Its address, as a setting has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.receiver.address())
    }

    /// What it is in front of.
    pub fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    /// Messages so far.
    pub fn messages(&self) -> Vec<Received> {
        self.receiver.seen()
    }

    /// Spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.messages().iter().flat_map(|message| spans(&message.body)).collect()
    }

    /// Waits for a span.
    pub fn wait_for(&self, what: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        wait::until(what, || self.spans().into_iter().find(&is_it))
    }
}
