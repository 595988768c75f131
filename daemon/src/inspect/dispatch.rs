//! From octets to what reads their format, and back again for the members of containers. Knows every format's reader; knows
//! nothing of any format.

use std::io;

use super::cursor::Stop;
use super::scan::{Place, Scan};
use super::{
    Format, ReadAt, compressed, gguf, hdf5, json, lightgbm, media, msgpack, npy, onnx, pickle, recognise, rules,
    safetensors, saved_model, tar, text, tflite, ubjson, xml, zip,
};

/// Looks at a file. A limit that is reached ends it with what was found so far.
///
/// # Errors
/// Those of the source.
pub(super) fn file(scan: &mut Scan, source: &dyn ReadAt, name: &str) -> io::Result<Format> {
    let format = recognise(source)?;
    match content(scan, source, &Place::file(), name, format) {
        Ok(()) | Err(Stop::End | Stop::Budget | Stop::Limit) => Ok(format),
        Err(Stop::Io(error)) => Err(error),
    }
}

/// Looks at a member of a container: charges it, recognises it, looks into it.
pub(super) fn member(scan: &mut Scan, source: &dyn ReadAt, place: &Place, name: &str) -> Result<Format, Stop> {
    scan.enter(place)?;
    let format = recognise(source)?;
    content(scan, source, place, name, format)?;
    Ok(format)
}

/// Looks into octets whose format is known. `name` is the path as the container or the uploader says it.
fn content(scan: &mut Scan, source: &dyn ReadAt, place: &Place, name: &str, format: Format) -> Result<(), Stop> {
    let _ = name;
    match format {
        Format::Pickle | Format::PytorchLegacy => pickle::scan(scan, source, place),
        Format::PytorchZip
        | Format::Torchscript
        | Format::TorchPackage
        | Format::TorchserveMar
        | Format::KerasV3
        | Format::Npz
        | Format::Skops
        | Format::Zip => zip::scan(scan, source, place),
        Format::Tar | Format::PytorchTar | Format::Nemo => tar::scan(scan, source, place),
        Format::Gzip | Format::Bzip2 | Format::Xz | Format::Lzma | Format::Zlib | Format::Zstd | Format::Lz4 => {
            compressed::scan(scan, source, place)
        }
        Format::Safetensors => safetensors::scan(scan, source, place),
        Format::Gguf => gguf::scan(scan, source, place),
        Format::Npy => npy::scan(scan, source, place),
        Format::Hdf5 => hdf5::scan(scan, source, place),
        Format::Onnx => onnx::scan(scan, source, place),
        Format::TfSavedModel => saved_model::scan(scan, source, place),
        Format::Tflite => tflite::scan(scan, source, place),
        Format::XgboostUbj => ubjson::scan(scan, source, place),
        Format::Lightgbm => lightgbm::scan(scan, source, place),
        Format::Msgpack => msgpack::scan(scan, source, place),
        Format::Json | Format::XgboostJson => json::scan(scan, source, place),
        Format::Xml => xml::scan(scan, source, place),
        Format::Text | Format::Source => {
            pickle::attempt(scan, source, place)?;
            text::scan(scan, source, place)
        }
        Format::Media => media::scan(scan, source, place),
        Format::Executable => {
            scan.find(&rules::NATIVE, place, None, "machine code");
            Ok(())
        }
        Format::SevenZip | Format::Rar | Format::JavaSerialized | Format::Rdata => {
            scan.find(&rules::UNREAD, place, None, format_args!("{format} is not looked into"));
            Ok(())
        }
        Format::Unknown => {
            scan.find(&rules::UNKNOWN, place, None, "not a format this registry knows");
            pickle::attempt(scan, source, place)
        }
        Format::Empty => Ok(()),
    }
}
