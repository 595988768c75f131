//! From octets to what reads their format, and back again for the members of containers. Knows every format's reader and
//! where two readers may see different things in the same octets; knows nothing of how a format is read.

#[cfg(test)]
mod tests;

use std::io;

use super::cursor::Stop;
use super::pickle::Evidence;
use super::rules::{AMBIGUOUS, MISMATCH, NATIVE, PYTHON, SERIALIZED, SOURCE, TRAILING, UNKNOWN, UNREAD};
use super::scan::{Place, Scan, Slice};
use super::{
    Format, ReadAt, compressed, format, gguf, hdf5, inflate, json, lightgbm, media, msgpack, names, npy, onnx, pickle,
    read_up_to, recognise, safetensors, saved_model, sentencepiece, tar, text, tflite, ubjson, xml, zip,
};

/// Octets at the beginning and at the end of a range outside a format that are searched.
const SEARCH_BYTES: u64 = 1 << 20;

/// What is looked into of all that a search finds.
const CANDIDATES_MAX: u32 = 16;

/// Beginnings of pickles that a search tries; random octets have one in 16 KiB.
const TRIES_MAX: u32 = 512;

/// Opcodes that trying one is charged with.
const TRY_OPCODES: u64 = 10_000;

/// Looks at a file. A limit that is reached ends it with what was found so far.
///
/// # Errors
/// Those of the source.
pub(super) fn file(scan: &mut Scan, source: &dyn ReadAt, name: &str) -> io::Result<Format> {
    let place = Place::file();
    let format = refined(recognise(source)?, &place, name);
    ended(content(scan, source, &place, name, format), scan, &place)?;
    Ok(format)
}

/// Hands a file to the reader of one format, whatever it is, and to no other. Otherwise as [`file`].
///
/// # Errors
/// Those of the source.
pub(super) fn file_as(scan: &mut Scan, source: &dyn ReadAt, name: &str, format: Format) -> io::Result<()> {
    let place = Place::file();
    let done = whole(scan, &place, |scan| read(scan, source, &place, name, format));
    ended(done, scan, &place)
}

/// How an inspection ends: only the source's own errors are errors.
fn ended(done: Result<(), Stop>, scan: &mut Scan, place: &Place) -> io::Result<()> {
    match done {
        Ok(()) | Err(Stop::End | Stop::Budget | Stop::Limit) => Ok(()),
        Err(Stop::Io(error)) if inflate::is_exhausted(&error) => {
            let _ = scan.reached(place, "compressed content would have to be unpacked too often");
            Ok(())
        }
        Err(Stop::Io(error)) => Err(error),
    }
}

/// Looks at a member of a container: charges it, recognises it, looks into it.
pub(super) fn member(scan: &mut Scan, source: &dyn ReadAt, place: &Place, name: &str) -> Result<Format, Stop> {
    scan.enter(place)?;
    let format = refined(recognise(source)?, place, name);
    content(scan, source, place, name, format)?;
    Ok(format)
}

/// The format once the name is known too.
fn refined(format: Format, place: &Place, name: &str) -> Format {
    if is_torchscript_code(place, name) { format } else { names::refine(format, name) }
}

/// TorchScript is written like Python and isn't: it has operators only, which the reader of the archive looks at.
fn is_torchscript_code(place: &Place, name: &str) -> bool {
    place.container() == Some(Format::Torchscript) && name.ends_with(".py")
}

/// Looks into octets whose format is known. `name` is the path as the container or the uploader says it.
fn content(scan: &mut Scan, source: &dyn ReadAt, place: &Place, name: &str, format: Format) -> Result<(), Stop> {
    scan.look(place, source)?;
    if names::contradicts(name, format) {
        let last = names::last(name);
        scan.find(&MISMATCH, place, None, format_args!("the content is {format}, which the name {last:?} denies"));
    }
    let is_source = format == Format::Source || names::is_source(&names::extension(name));
    // An empty file marks a folder as a package of Python, and holds no code.
    let is_nothing = matches!(format, Format::Executable | Format::Empty);
    if is_source && !is_nothing && !is_torchscript_code(place, name) {
        match place.container() {
            Some(Format::TorchPackage | Format::TorchserveMar) if name.ends_with(".py") => {
                scan.find(&PYTHON, place, None, "Python that the loader of this archive imports");
            }
            _ => scan.find(&SOURCE, place, None, "source code, a script or a library of code"),
        }
    }
    whole(scan, place, |scan| read(scan, source, place, name, format))?;
    others(scan, source, place, format)
}

/// A reader that stops in the middle has not seen everything, whatever it says.
fn whole(scan: &mut Scan, place: &Place, read: impl FnOnce(&mut Scan) -> Result<(), Stop>) -> Result<(), Stop> {
    match read(scan) {
        Err(Stop::End | Stop::Budget) => {
            scan.find(&UNREAD, place, None, "it ends where more should follow, and could not be read to its end");
            Ok(())
        }
        other => other,
    }
}

/// Hands octets to the reader of their format.
fn read(scan: &mut Scan, source: &dyn ReadAt, place: &Place, name: &str, format: Format) -> Result<(), Stop> {
    match format {
        Format::Pickle | Format::PytorchLegacy => pickle::scan(scan, source, place),
        Format::PytorchZip
        | Format::Torchscript
        | Format::TorchPackage
        | Format::TorchserveMar
        | Format::KerasV3
        | Format::Npz
        | Format::Skops
        | Format::Zip => zip::scan(scan, source, place, format),
        Format::Tar | Format::PytorchTar | Format::Nemo => tar::scan(scan, source, place, format),
        Format::Gzip | Format::Bzip2 | Format::Xz | Format::Lzma | Format::Zlib | Format::Zstd | Format::Lz4 => {
            compressed::scan(scan, source, place, name, format)
        }
        Format::Safetensors => safetensors::scan(scan, source, place),
        Format::Gguf => gguf::scan(scan, source, place),
        Format::Npy => npy::scan(scan, source, place),
        Format::Hdf5 => hdf5::scan(scan, source, place),
        Format::Onnx => onnx::scan(scan, source, place),
        Format::TfSavedModel => saved_model::scan(scan, source, place),
        Format::Tflite => tflite::scan(scan, source, place),
        Format::XgboostUbj => ubjson::scan(scan, source, place),
        Format::Sentencepiece => sentencepiece::scan(scan, source, place),
        Format::Lightgbm => lightgbm::scan(scan, source, place),
        Format::Msgpack => msgpack::scan(scan, source, place),
        Format::Json | Format::XgboostJson => json::scan(scan, source, place, name),
        Format::Xml => xml::scan(scan, source, place, name),
        // TensorFlow loads this one too, where the other form is not there.
        Format::Text if names::last(name) == "saved_model.pbtxt" => {
            scan.find(&UNREAD, place, None, "a SavedModel in the form of text is not looked into");
            Ok(())
        }
        Format::Text | Format::Source => {
            pickle::attempt(scan, source, place)?;
            text::scan(scan, source, place, name)
        }
        Format::Media => media::scan(scan, source, place),
        Format::Executable => {
            scan.find(&NATIVE, place, None, "machine code");
            search(scan, source, 0, source.len(), place)
        }
        Format::JavaSerialized | Format::Rdata => {
            scan.find(&SERIALIZED, place, None, format_args!("objects serialized as {format}"));
            scan.find(&UNREAD, place, None, format_args!("{format} is not looked into"));
            Ok(())
        }
        Format::SevenZip | Format::Rar => {
            scan.find(&UNREAD, place, None, format_args!("{format} is not looked into"));
            Ok(())
        }
        Format::Unknown => {
            if saved_model::beside(scan, source, place, name)? {
                return Ok(());
            }
            scan.find(&UNKNOWN, place, None, "not a format this registry knows");
            pickle::attempt(scan, source, place)
        }
        Format::Empty => Ok(()),
    }
}

/// What other loaders would take the same octets for: a pickle is read from the first octet whatever its magic number says,
/// a zip archive is found by its end, a tar archive by a checksum, and HDF5 may begin anywhere at a power of two. In this
/// order, as what is compressed is best read forward.
fn others(scan: &mut Scan, source: &dyn ReadAt, place: &Place, format: Format) -> Result<(), Stop> {
    if format == Format::Empty {
        return Ok(());
    }
    let is_pickle = matches!(format, Format::Pickle | Format::PytorchLegacy);
    if !is_pickle && format::has_signature(format) && pickle::examine(source)? == Evidence::Sound {
        scan.find(&AMBIGUOUS, place, None, format_args!("{format}, and a pickle to what reads pickles"));
        whole(scan, place, |scan| pickle::scan(scan, source, place))?;
    }
    let is_zip = format::is_zip(format);
    let is_tar = matches!(format, Format::Tar | Format::PytorchTar | Format::Nemo);
    if !is_tar && format::is_tar(&read_up_to(source, 0, 512)?) {
        scan.find(&AMBIGUOUS, place, None, format_args!("{format}, and a tar archive to what unpacks those"));
        whole(scan, place, |scan| tar::scan(scan, source, place, Format::Tar))?;
    }
    // The first member of a tar archive stands at 512, and one of a zip archive may.
    if !is_tar && !is_zip && format != Format::Hdf5 && format::has_hdf5_behind_user_block(source)? {
        scan.find(&AMBIGUOUS, place, None, format_args!("{format}, and HDF5 behind octets that its readers skip"));
        whole(scan, place, |scan| hdf5::scan(scan, source, place))?;
    }
    if !is_zip && let Some(kind) = zip::examine(source)? {
        whole(scan, place, |scan| zip::scan(scan, source, place, kind))?;
    }
    Ok(())
}

/// Reports the octets `start..end` of a source, which no part of its format accounts for, and looks for what they may be to
/// another reader. Nothing is said of an empty range.
pub(super) fn outside(scan: &mut Scan, source: &dyn ReadAt, start: u64, end: u64, place: &Place) -> Result<(), Stop> {
    let end = end.min(source.len());
    if start >= end {
        return Ok(());
    }
    let count = end - start;
    scan.find(&TRAILING, place, Some(start), format_args!("{count} octets stand outside what the format accounts for"));
    search(scan, source, start, end, place)
}

/// Looks for pickles, archives and GGUF in octets outside a format: at the first of them, and by signature near both ends.
/// What every reader of the whole source sees anyway is left to those.
pub(super) fn search(scan: &mut Scan, source: &dyn ReadAt, start: u64, end: u64, place: &Place) -> Result<(), Stop> {
    let end = end.min(source.len());
    if start >= end || place.is_beyond() {
        return Ok(());
    }
    scan.search(place)?;
    let is_archive = zip::examine(source)?.is_some();
    let mut search = Search { source, end, place, is_archive, candidates: 0, tries: 0 };
    if start > 0 || recognise(source)? != recognise(&Slice::new(source, 0, end))? {
        search.look(scan, start)?;
    }
    let head_end = end.min(start.saturating_add(SEARCH_BYTES));
    let tail_start = head_end.max(end.saturating_sub(SEARCH_BYTES));
    let goes_on = search.window(scan, start + 1, head_end)? && search.window(scan, tail_start, end)?;
    if !goes_on {
        scan.find(&UNREAD, place, Some(start), "more beginnings of pickles and archives than are looked into");
    }
    Ok(())
}

/// A search under way.
struct Search<'a> {
    source: &'a dyn ReadAt,
    end: u64,
    place: &'a Place,
    /// The whole source is a zip archive too, whose reader looks for what is not listed.
    is_archive: bool,
    candidates: u32,
    tries: u32,
}

impl Search<'_> {
    /// Looks into what begins at `at`, if it is anything.
    fn look(&mut self, scan: &mut Scan, at: u64) -> Result<(), Stop> {
        let slice = Slice::new(self.source, at, self.end);
        let format = recognise(&slice)?;
        // Text is none of what is looked for, and zlib and lzma have too few octets to be told by.
        let is_nothing = matches!(
            format,
            Format::Unknown | Format::Empty | Format::Text | Format::Json | Format::Xml | Format::Zlib | Format::Lzma
        );
        if is_nothing || (self.is_archive && format::is_zip(format)) {
            return Ok(());
        }
        self.candidates += 1;
        let place = self.place.beyond(at);
        scan.enter(&place)?;
        content(scan, &slice, &place, "", format)
    }

    /// Looks for signatures that begin in `start..end`. Whether the search may go on.
    fn window(&mut self, scan: &mut Scan, start: u64, end: u64) -> Result<bool, Stop> {
        // A signature that begins at the last octet ends behind it.
        let octets =
            read_up_to(self.source, start, (end.saturating_sub(start) + 8).min(self.end.saturating_sub(start)))?;
        for at in start..end {
            let rest = usize::try_from(at - start).ok().and_then(|at| octets.get(at..)).unwrap_or_default();
            let is_worth_it = match rest {
                [b'P', b'K', 3, 4, ..] | [b'G', b'G', b'U', b'F', ..] => true,
                [0x80, 2..=5, ..] => {
                    self.tries += 1;
                    scan.opcodes(self.place, TRY_OPCODES)?;
                    pickle::examine(&Slice::new(self.source, at, self.end))? == Evidence::Sound
                }
                _ => false,
            };
            if is_worth_it {
                self.look(scan, at)?;
            }
            if self.candidates >= CANDIDATES_MAX || self.tries >= TRIES_MAX {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
