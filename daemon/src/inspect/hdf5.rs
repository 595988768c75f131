//! HDF5: groups, datasets and attributes in one file, as Keras before version 3 writes models, and Keras 3 their weights.
//!
//! All objects that the root leads to are visited. Two things reach outside the file: links into other files, and datasets
//! whose data are in other files; both are read by whoever opens the dataset. The attributes with which Keras describes a
//! model are handed to what reads its configurations. The data of datasets are never read. `hdf5/fields.rs` knows octets,
//! `hdf5/object.rs` objects, `hdf5/heap.rs` heaps and trees; what of them can't be followed is said, not passed over.

use std::collections::HashSet;

use super::cursor::Stop;
use super::facts::cut;
use super::rules::Rule;
use super::scan::{Place, Scan};
use super::{Level, ReadAt, dispatch, json, keras, pickle, read_up_to};
use fields::{Fault, File};
use heap::Fractal;
use object::{Attribute, Message, Target, Type};

mod fields;
mod heap;
mod object;

/// Other files.
const EXTERNAL: Rule = Rule {
    id: "hdf5.external",
    level: Level::Malicious,
    meaning: "The file leads to other files: a link into one, or data that are to be read from one. Whoever loads the model \
              reads files of the own machine in its place.",
};
/// Pickles in a dataset.
const OBJECTS: Rule = Rule {
    id: "hdf5.objects",
    level: Level::Unscannable,
    meaning: "PyTables keeps pickled Python objects in a dataset of this file; reading it runs what they say.",
};
/// Not to be followed.
const BROKEN: Rule = Rule {
    id: "hdf5.broken",
    level: Level::Unscannable,
    meaning: "A part of the file is damaged or in a form that can't be followed, so what is in it is not known.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[EXTERNAL, OBJECTS, BROKEN];

/// What the file begins with.
const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";
/// Octets before the superblock that are looked at: more are never empty.
const FRONT_BYTES_MAX: u64 = 64 << 10;
/// Objects of one file, groups included.
const OBJECTS_MAX: usize = 100_000;
/// Octets of an object's path.
const PATH_BYTES_MAX: usize = 512;
/// Octets of an attribute.
const ATTRIBUTE_BYTES_MAX: u64 = 32 << 20;
/// The attributes that describe a Keras model.
const CONFIGURATIONS: &[&str] = &["model_config", "training_config"];
/// Where Keras keeps the state of training, which is no part of the model.
const TRAINING: &[&str] = &["/optimizer_weights/", "/optimizer/"];

/// Looks into a source that was recognised as this format.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    match read(scan, source, place) {
        Ok(()) => Ok(()),
        Err(Fault::Stop(stop)) => Err(stop),
        Err(Fault::Broken(why)) => {
            scan.find(&BROKEN, place, None, why);
            Ok(())
        }
    }
}

fn read(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Fault> {
    let (file, root) = superblock(scan, source, place)?;
    let mut visit = Visit { file, seen: HashSet::from([root]), pending: vec![(root, String::new())] };
    while let Some((address, path)) = visit.pending.pop() {
        if visit.seen.len() > OBJECTS_MAX {
            return Err(Fault::Stop(scan.reached(place, format_args!("more than {OBJECTS_MAX} objects"))));
        }
        // What can't be read of one object does not hide the others.
        match visit.object(scan, place, address, &path) {
            Err(Fault::Broken(why)) => {
                let at = visit.file.base.saturating_add(address);
                scan.find(
                    &BROKEN,
                    place,
                    Some(at),
                    format_args!("the object /{}: {why}", path.trim_start_matches('/')),
                );
            }
            done => done?,
        }
    }
    Ok(())
}

/// Finds the superblock, and with it the root group's header.
fn superblock<'a>(scan: &mut Scan, source: &'a dyn ReadAt, place: &Place) -> Result<(File<'a>, u64), Fault> {
    let offsets = std::iter::once(0).chain((9..63).map(|power| 1_u64 << power));
    let mut base = None;
    for offset in offsets.take_while(|offset| *offset < source.len()) {
        if read_up_to(source, offset, 8)? == SIGNATURE {
            base = Some(offset);
            break;
        }
    }
    let base = base.ok_or(Fault::Broken("there is no superblock"))?;
    let head = read_up_to(source, base, 128)?;
    let mut file = File { source, base, address_width: 8, length_width: 8 };
    let mut fields = file.fields(head.get(8..).unwrap_or_default());
    let version = fields.octet()?;
    // Before version 2: versions of parts, and numbers that trees are sized by, stand around the widths.
    let widths = if version < 2 { fields.take(6)?.get(4..) } else { fields.take(2)?.get(..) };
    let widths = widths.unwrap_or_default();
    if version > 3 || !widths.iter().all(|width| matches!(width, 2 | 4 | 8)) || widths.len() != 2 {
        return Err(Fault::Broken("the superblock is of an unknown form"));
    }
    (file.address_width, file.length_width) = (usize::from(widths[0]), usize::from(widths[1]));
    let skipped = match version {
        0 => 9,
        1 => 13,
        _ => 1,
    };
    let rest = fields.octets.get(skipped..).unwrap_or_default();
    let mut fields = file.fields(rest);
    let (stated, extra, end, last) = (fields.address()?, fields.address()?, fields.address()?, fields.address()?);
    let root = if version < 2 {
        // An extra address here is that of a driver that keeps the file in several; the root is a symbol table entry.
        fields.address()?;
        let root = fields.address()?;
        if !file.is_undefined(last) {
            scan.find(&BROKEN, place, Some(base), "the file is one of several that belong together");
        }
        root
    } else {
        if !file.is_undefined(extra) {
            let messages = object::messages(&file, scan, place, extra)?;
            if messages.iter().any(|message| message.kind == object::DRIVER) {
                scan.find(&BROKEN, place, Some(base), "the file is one of several that belong together");
            }
        }
        last
    };
    // The end is counted from where the writer took the file's beginning to be.
    let end = end.saturating_add(base.saturating_sub(stated));
    if end < source.len() {
        dispatch::outside(scan, source, end, source.len(), place)?;
    } else if end > source.len() {
        scan.find(&BROKEN, place, Some(source.len()), "the file ends before its end");
    }
    // A user block is for anybody's data; an empty one has none.
    let front = read_up_to(source, 0, base.min(FRONT_BYTES_MAX))?;
    if base > FRONT_BYTES_MAX || front.iter().any(|octet| *octet != 0) {
        dispatch::outside(scan, source, 0, base, place)?;
    }
    Ok((file, root))
}

/// The way through the objects.
struct Visit<'a> {
    file: File<'a>,
    /// Headers that were visited or will be.
    seen: HashSet<u64>,
    /// Headers to visit, with the path of each.
    pending: Vec<(u64, String)>,
}

impl Visit<'_> {
    fn object(&mut self, scan: &mut Scan, place: &Place, address: u64, path: &str) -> Result<(), Fault> {
        let messages = object::messages(&self.file, scan, place, address)?;
        let at = Some(self.file.base.saturating_add(address));
        let (mut shape, mut kind, mut is_dataset) = (None, None, false);
        for Message { kind: message, is_shared, octets } in &messages {
            let fields = self.file.fields(octets);
            match *message {
                object::DATATYPE if *is_shared => kind = Some("other".to_owned()),
                object::DATATYPE => kind = Some(Type::read(fields)?.name()),
                _ if *is_shared && !matches!(*message, object::DATASPACE) => {
                    // Keras and h5py share nothing but types; other messages of this kind say nothing that matters,
                    // except for these.
                    if matches!(*message, object::LINK | object::ATTRIBUTE | object::LAYOUT | object::EXTERNAL_FILES) {
                        scan.find(&BROKEN, place, at, format_args!("a shared message of {path} is not followed"));
                    }
                }
                object::DATASPACE if !is_shared => shape = Some(object::shape(fields)?),
                object::LAYOUT => {
                    is_dataset = true;
                    if object::is_virtual(fields)? {
                        let detail = format_args!("the dataset {path} is put together from datasets of other files");
                        scan.find(&EXTERNAL, place, at, detail);
                    }
                }
                object::EXTERNAL_FILES => {
                    let detail = format_args!("the data of {path} are to be read from other files");
                    scan.find(&EXTERNAL, place, at, detail);
                }
                object::LINK => self.link(scan, place, path, octets)?,
                object::LINK_INFO => self.dense_links(scan, place, path, octets)?,
                object::SYMBOL_TABLE => self.symbols(scan, place, path, octets)?,
                object::ATTRIBUTE => self.attribute(scan, place, path, octets)?,
                object::ATTRIBUTE_INFO => self.dense_attributes(scan, place, path, octets)?,
                _ => {}
            }
        }
        let is_training = TRAINING.iter().any(|training| path.starts_with(training));
        if is_dataset
            && !is_training
            && let (Some(shape), Some(kind)) = (shape, kind)
        {
            scan.facts.add_tensor(path.trim_start_matches('/'), &kind, &shape);
        }
        Ok(())
    }

    /// An object that something leads to.
    fn lead(&mut self, path: &str, name: &[u8], address: u64) {
        if self.seen.len() <= OBJECTS_MAX && self.seen.insert(address) {
            let path = format!("{path}/{}", String::from_utf8_lossy(&name[..name.len().min(PATH_BYTES_MAX)]));
            self.pending.push((address, cut(&path, PATH_BYTES_MAX).to_owned()));
        }
    }

    fn link(&mut self, scan: &mut Scan, place: &Place, path: &str, octets: &[u8]) -> Result<(), Fault> {
        let (name, target) = object::link(self.file.fields(octets))?;
        let shown = String::from_utf8_lossy(&name);
        match target {
            Target::Object(address) => self.lead(path, &name, address),
            Target::Name => {}
            Target::File(file) => {
                let file = String::from_utf8_lossy(&file);
                let detail = format_args!("{path}/{shown} is a link into the file {file}");
                scan.find(&EXTERNAL, place, None, detail);
            }
            Target::Other(kind) => {
                let detail = format_args!("{path}/{shown} is a link of the kind {kind}, which a program defines");
                scan.find_as(Level::Suspicious, &EXTERNAL, place, None, detail);
            }
        }
        Ok(())
    }

    /// Links that are too many for the header.
    fn dense_links(&mut self, scan: &mut Scan, place: &Place, path: &str, octets: &[u8]) -> Result<(), Fault> {
        let mut fields = self.file.fields(octets);
        let (_, flags) = (fields.octet()?, fields.octet()?);
        if flags & 1 != 0 {
            fields.take(8)?;
        }
        let (heap, tree) = (fields.address()?, fields.address()?);
        if self.file.is_undefined(heap) {
            return Ok(());
        }
        let heap = Fractal::read(&self.file, scan, place, heap)?;
        for record in heap::records(&self.file, scan, place, tree, OBJECTS_MAX)? {
            // A hash of the name, then the id in the heap.
            let id = record.get(4..).unwrap_or_default();
            let octets = heap.object(&self.file, scan, place, id, ATTRIBUTE_BYTES_MAX)?;
            self.link(scan, place, path, &octets)?;
        }
        Ok(())
    }

    /// A group of the old kind.
    fn symbols(&mut self, scan: &mut Scan, place: &Place, path: &str, octets: &[u8]) -> Result<(), Fault> {
        let mut fields = self.file.fields(octets);
        let (tree, heap) = (fields.address()?, fields.address()?);
        for symbol in heap::symbols(&self.file, scan, place, tree, heap, OBJECTS_MAX)? {
            if !symbol.is_soft {
                self.lead(path, &symbol.name, symbol.header);
            }
        }
        Ok(())
    }

    /// Attributes that are too many or too long for the header.
    fn dense_attributes(&mut self, scan: &mut Scan, place: &Place, path: &str, octets: &[u8]) -> Result<(), Fault> {
        let mut fields = self.file.fields(octets);
        let (_, flags) = (fields.octet()?, fields.octet()?);
        if flags & 1 != 0 {
            fields.take(2)?;
        }
        let (heap, tree) = (fields.address()?, fields.address()?);
        if self.file.is_undefined(heap) {
            return Ok(());
        }
        let heap = Fractal::read(&self.file, scan, place, heap)?;
        for record in heap::records(&self.file, scan, place, tree, OBJECTS_MAX)? {
            // The id in the heap, then flags of the message.
            let (id, flags) =
                record.split_at_checked(8).ok_or(Fault::Broken("a record of an attribute is too short"))?;
            if flags.first().is_some_and(|flags| flags & 2 != 0) {
                return Err(Fault::Broken("a shared attribute is not followed"));
            }
            let octets = heap.object(&self.file, scan, place, id, ATTRIBUTE_BYTES_MAX)?;
            self.attribute(scan, place, path, &octets)?;
        }
        Ok(())
    }

    fn attribute(&mut self, scan: &mut Scan, place: &Place, path: &str, octets: &[u8]) -> Result<(), Fault> {
        let attribute = Attribute::read(self.file.fields(octets))?;
        let name = attribute.name.as_str();
        let is_configuration = CONFIGURATIONS.contains(&name);
        let Some(text) = self.text(scan, place, &attribute)? else {
            if is_configuration {
                scan.find(&BROKEN, place, None, format_args!("the attribute {name} of /{path} is no text"));
            }
            return Ok(());
        };
        let place = place.part(format_args!("{path}/{name}"));
        if is_configuration {
            let (config, _) = json::parse(&text)
                .map_err(|_not_json| Fault::Broken("an attribute that describes a Keras model is no JSON"))?;
            keras::scan_config(scan, &config, &place)?;
        } else if matches!(name, "keras_version" | "backend") {
            scan.facts.set(name, String::from_utf8_lossy(&text).into_owned());
        } else if name == "PSEUDOATOM" && text == b"object" {
            scan.find(&OBJECTS, &place, None, format_args!("the dataset {path} holds pickled objects"));
        } else if pickle::examine(&text.as_slice())? == pickle::Evidence::Sound {
            // PyTables writes what is no number or text as pickles, and loads them with the attribute.
            pickle::scan(scan, &text.as_slice(), &place)?;
        }
        Ok(())
    }

    /// The value of an attribute that is one text.
    fn text(&self, scan: &mut Scan, place: &Place, attribute: &Attribute) -> Result<Option<Vec<u8>>, Fault> {
        let Some(kind) = attribute.kind.as_ref().filter(|_| attribute.elements == 1) else { return Ok(None) };
        if kind.is_fixed_string() {
            let size = usize::try_from(kind.size).unwrap_or(usize::MAX).min(attribute.value.len());
            let text = &attribute.value[..size];
            let end = text.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
            return Ok(Some(text[..end].to_vec()));
        }
        if !kind.is_variable_string() {
            return Ok(None);
        }
        let mut fields = self.file.fields(&attribute.value);
        let (length, collection, index) = (fields.number(4)?, fields.address()?, fields.number(4)?);
        // No text at all is written as an address of nothing.
        if length == 0 || collection == 0 {
            return Ok(Some(Vec::new()));
        }
        let mut text = heap::global(&self.file, scan, place, collection, index, ATTRIBUTE_BYTES_MAX)?;
        text.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(Some(text))
    }
}
