//! HDF5's objects: the messages of an object's header, and what those say that matter here. Knows where messages are and how
//! types, shapes, links and attributes are written; does not follow links and judges nothing.

use std::collections::BTreeSet;

use super::fields::{Fault, Fields, File, until_zero};
use crate::inspect::scan::{Place, Scan};

/// Octets of one part of a header.
const PART_BYTES_MAX: u64 = 16 << 20;
/// Parts of one header.
const PARTS_MAX: usize = 4096;
/// Messages of one header.
const MESSAGES_MAX: usize = 200_000;
/// Dimensions that a dataset can have.
const DIMENSIONS_MAX: u8 = 32;

/// A message of an object's header.
pub(super) struct Message {
    pub(super) kind: u16,
    /// It says where the message is, instead of being it.
    pub(super) is_shared: bool,
    pub(super) octets: Vec<u8>,
}

/// All messages of the header at an address.
pub(super) fn messages(file: &File<'_>, scan: &mut Scan, place: &Place, address: u64) -> Result<Vec<Message>, Fault> {
    let head = file.read(scan, place, address, 4)?;
    let mut reader = Header { messages: Vec::new(), parts: Vec::new(), seen: BTreeSet::new(), flags: None };
    if head == *b"OHDR" {
        reader.second(file, scan, place, address)?;
    } else {
        reader.first(file, scan, place, address)?;
    }
    while let Some((at, length)) = reader.parts.pop() {
        if !reader.seen.insert(at) || reader.seen.len() > PARTS_MAX {
            return Err(Fault::Broken("the parts of a header lead in a circle"));
        }
        let octets = file.read(scan, place, at, length.min(PART_BYTES_MAX))?;
        match reader.flags {
            None => reader.part(file, scan, place, &octets)?,
            // Signature in front, checksum behind.
            Some(_) if octets.starts_with(b"OCHK") && octets.len() >= 8 => {
                reader.part(file, scan, place, &octets[4..octets.len() - 4])?;
            }
            Some(_) => return Err(Fault::Broken("a part of a header is not where it should be")),
        }
    }
    Ok(reader.messages)
}

struct Header {
    messages: Vec<Message>,
    /// Parts still to be read: address and length.
    parts: Vec<(u64, u64)>,
    seen: BTreeSet<u64>,
    /// Those of a header of version 2; none for version 1.
    flags: Option<u8>,
}

impl Header {
    /// The first part of a header of version 1.
    fn first(&mut self, file: &File<'_>, scan: &mut Scan, place: &Place, address: u64) -> Result<(), Fault> {
        let head = file.read(scan, place, address, 16)?;
        if head[0] != 1 {
            return Err(Fault::Broken("an object's header is not where it should be"));
        }
        let size = u64::from(u32::from_le_bytes([head[8], head[9], head[10], head[11]]));
        self.parts.push((address.saturating_add(16), size));
        Ok(())
    }

    /// The first part of a header of version 2.
    fn second(&mut self, file: &File<'_>, scan: &mut Scan, place: &Place, address: u64) -> Result<(), Fault> {
        let head = file.read(scan, place, address, 6)?;
        let (version, flags) = (head[4], head[5]);
        if version != 2 {
            return Err(Fault::Broken("an object's header is of an unknown version"));
        }
        self.flags = Some(flags);
        let skipped = if flags & 0x20 != 0 { 16 } else { 0 } + if flags & 0x10 != 0 { 4 } else { 0 };
        let width = 1_usize << (flags & 3);
        let at = address.saturating_add(6 + skipped);
        let size = file.read(scan, place, at, width as u64)?;
        let size = file.fields(&size).number(width)?;
        let octets = file.read(scan, place, at.saturating_add(width as u64), size.min(PART_BYTES_MAX))?;
        self.seen.insert(address);
        self.part(file, scan, place, &octets)
    }

    /// The messages of one part.
    fn part(&mut self, file: &File<'_>, scan: &mut Scan, place: &Place, octets: &[u8]) -> Result<(), Fault> {
        let mut fields = file.fields(octets);
        // Type, size, flags; in version 1 with padding, in version 2 perhaps with a number of order.
        let head = match self.flags {
            None => 8,
            Some(flags) => 4 + if flags & 4 != 0 { 2 } else { 0 },
        };
        // What is too short for a message is a gap.
        while fields.octets.len() >= head {
            scan.tick(place)?;
            let mut own = file.fields(fields.take(head)?);
            let kind = if self.flags.is_none() { own.short()? } else { u16::from(own.octet()?) };
            let (size, flags) = (usize::from(own.short()?), own.octet()?);
            let octets = fields.take(size)?;
            if kind == CONTINUATION {
                let mut fields = file.fields(octets);
                self.parts.push((fields.address()?, fields.length()?));
            } else if kind != 0 {
                self.messages.push(Message { kind, is_shared: flags & 2 != 0, octets: octets.to_vec() });
            }
            if self.messages.len() > MESSAGES_MAX || self.parts.len() > PARTS_MAX {
                return Err(Fault::Broken("a header has more messages than any that a writer makes"));
            }
        }
        Ok(())
    }
}

/// Kinds of messages.
pub(super) const DATASPACE: u16 = 0x01;
pub(super) const LINK_INFO: u16 = 0x02;
pub(super) const DATATYPE: u16 = 0x03;
pub(super) const LINK: u16 = 0x06;
pub(super) const EXTERNAL_FILES: u16 = 0x07;
pub(super) const LAYOUT: u16 = 0x08;
pub(super) const ATTRIBUTE: u16 = 0x0c;
const CONTINUATION: u16 = 0x10;
pub(super) const SYMBOL_TABLE: u16 = 0x11;
pub(super) const DRIVER: u16 = 0x14;
pub(super) const ATTRIBUTE_INFO: u16 = 0x15;

/// The shape that a dataspace message says.
pub(super) fn shape(mut fields: Fields<'_>) -> Result<Vec<u64>, Fault> {
    let (version, rank, _, _) = (fields.octet()?, fields.octet()?, fields.octet()?, fields.octet()?);
    if version == 1 {
        fields.take(4)?;
    }
    if !(1..=2).contains(&version) || rank > DIMENSIONS_MAX {
        return Err(Fault::Broken("a shape is of no form that a writer makes"));
    }
    (0..rank).map(|_| fields.length()).collect()
}

/// An element type.
pub(super) struct Type {
    class: u8,
    /// Bits that say more about the class.
    bits: u8,
    /// Octets of an element.
    pub(super) size: u64,
    /// Octets of the exponent of a number with a fraction.
    exponent: u8,
}

impl Type {
    pub(super) fn read(mut fields: Fields<'_>) -> Result<Self, Fault> {
        let (class, bits) = (fields.octet()? & 15, fields.octet()?);
        fields.take(2)?;
        let size = fields.number(4)?;
        let exponent = if class == 1 { fields.take(6)?[5] } else { 0 };
        Ok(Self { class, bits, size, exponent })
    }

    /// A string of fixed length.
    pub(super) fn is_fixed_string(&self) -> bool {
        self.class == 3
    }

    /// A string of variable length: in the file stands where it is in a global heap.
    pub(super) fn is_variable_string(&self) -> bool {
        self.class == 9 && self.bits & 15 == 1
    }

    /// The type's name.
    pub(super) fn name(&self) -> String {
        let bits = self.size.saturating_mul(8);
        match (self.class, self.size, self.exponent) {
            (0, ..) if self.bits & 8 != 0 => format!("I{bits}"),
            (0, ..) => format!("U{bits}"),
            (1, 2, 8) => "BF16".to_owned(),
            (1, ..) => format!("F{bits}"),
            (3, ..) => "STRING".to_owned(),
            (9, ..) if self.is_variable_string() => "STRING".to_owned(),
            // h5py writes truth values as an enumeration of two.
            (8, 1, _) => "BOOL".to_owned(),
            _ => "other".to_owned(),
        }
    }
}

/// Whether a layout message says that the data are put together from other datasets.
pub(super) fn is_virtual(mut fields: Fields<'_>) -> Result<bool, Fault> {
    let version = fields.octet()?;
    let class = match version {
        1 | 2 => {
            fields.octet()?;
            fields.octet()?
        }
        3..=5 => fields.octet()?,
        _ => return Err(Fault::Broken("a layout is of an unknown version")),
    };
    Ok(class == 3)
}

/// Where a link leads.
pub(super) enum Target {
    /// To the object whose header is here.
    Object(u64),
    /// To whatever has a name in this file.
    Name,
    /// To another file, by octets that say which.
    File(Vec<u8>),
    /// To what a program defines.
    Other(u8),
}

/// Name and target of a link message.
pub(super) fn link(mut fields: Fields<'_>) -> Result<(Vec<u8>, Target), Fault> {
    let (version, flags) = (fields.octet()?, fields.octet()?);
    if version != 1 {
        return Err(Fault::Broken("a link is of an unknown version"));
    }
    let kind = if flags & 8 != 0 { fields.octet()? } else { 0 };
    if flags & 4 != 0 {
        fields.take(8)?;
    }
    if flags & 0x10 != 0 {
        fields.take(1)?;
    }
    let length = fields.size(1 << (flags & 3))?;
    let name = fields.take(length)?.to_vec();
    let target = match kind {
        0 => Target::Object(fields.address()?),
        1 => Target::Name,
        64 => {
            let length = fields.size(2)?;
            let octets = fields.take(length)?;
            // A version, then the file's name, then that of the object in it.
            Target::File(until_zero(octets.get(1..).unwrap_or_default()).to_vec())
        }
        kind => Target::Other(kind),
    };
    Ok((name, target))
}

/// An attribute: its type, shape and value's octets are those in the file.
pub(super) struct Attribute {
    pub(super) name: String,
    /// None if the type stands elsewhere.
    pub(super) kind: Option<Type>,
    pub(super) elements: u64,
    pub(super) value: Vec<u8>,
}

impl Attribute {
    pub(super) fn read(mut fields: Fields<'_>) -> Result<Self, Fault> {
        let (version, flags) = (fields.octet()?, fields.octet()?);
        let (name, kind, space) = (fields.size(2)?, fields.size(2)?, fields.size(2)?);
        if version == 3 {
            fields.octet()?;
        }
        if !(1..=3).contains(&version) {
            return Err(Fault::Broken("an attribute is of an unknown version"));
        }
        // In version 1 each part is padded, and there are no flags.
        let padded = |size: usize| if version == 1 { size.next_multiple_of(8) } else { size };
        let flags = if version == 1 { 0 } else { flags };
        let name = String::from_utf8_lossy(until_zero(fields.take(padded(name))?)).into_owned();
        let mut part = fields;
        part.octets = fields.take(padded(kind))?;
        let kind = if flags & 1 == 0 { Some(Type::read(part)?) } else { None };
        part.octets = fields.take(padded(space))?;
        let elements = match part.octets {
            // A shared shape, or that of no value at all: a null dataspace of version 2.
            _ if flags & 2 != 0 => 1,
            [2, _, _, 2, ..] => 0,
            _ => shape(part)?.iter().fold(1, |product: u64, extent| product.saturating_mul(*extent)),
        };
        Ok(Self { name, kind, elements, value: fields.octets.to_vec() })
    }
}
