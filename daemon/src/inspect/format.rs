//! The formats that are told apart, and how.
//!
//! Order matters where a file could be two things. What has a signature at its first octet is that. Then come pickles, as
//! the loaders that run code decide by the first octets too; then archives known by their end, weaker signatures, and at last
//! text. Where a format has no signature (pickle protocols 0 and 1, protobuf, JSON) its structure is walked.
//!
//! What is read: the first 64 KiB; for an archive the last 64 KiB and up to 1 MiB of its directory; for a pickle or
//! protobuf up to 1 MiB per walk; for JSON up to 1 MiB. YAML, CSV and source code without a first line that says so are all
//! `text`: nothing in them tells one from another for sure. MessagePack has no signature either and counts by its name only.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::str::FromStr;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::pickle::Evidence;
use super::{ReadAt, lightgbm, media, pickle, protobuf, read_up_to, tar, zip};

/// Octets read from the beginning of every file.
const HEAD_BYTES: u64 = 64 << 10;

/// Longest JSON document that is parsed whole; of a longer one this much must be sound.
const JSON_BYTES_MAX: u64 = 1 << 20;

/// Longest header a safetensors file may have, in octets: the limit of the format's own reader.
const SAFETENSORS_HEADER_BYTES_MAX: u64 = 100_000_000;

/// Declares the formats once, with the name each has on the wire and in records.
macro_rules! formats {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// What a file is, by its content.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Format {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
        }

        impl Format {
            /// Every format.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name on the wire and in records: stable.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

formats! {
    /// Tensors behind a JSON header: no code.
    Safetensors = "safetensors",
    /// Tensors and metadata of llama.cpp, version 1 to 3, in either byte order.
    Gguf = "gguf",
    /// A Python pickle, protocol 0 to 5; also what joblib writes uncompressed.
    Pickle = "pickle",
    /// What `torch.save` writes since 1.6: a zip archive with a pickle.
    PytorchZip = "pytorch_zip",
    /// What `torch.jit.save` writes: a zip archive with pickles and TorchScript.
    Torchscript = "torchscript",
    /// What `torch.save` wrote before 1.6: a sequence of pickles, then raw storages.
    PytorchLegacy = "pytorch_legacy",
    /// A Keras 3 archive: configuration and weights in a zip.
    KerasV3 = "keras_v3",
    /// HDF5, among others Keras before 3.
    Hdf5 = "hdf5",
    /// One numpy array.
    Npy = "npy",
    /// Several numpy arrays in a zip.
    Npz = "npz",
    /// ONNX.
    Onnx = "onnx",
    /// The `saved_model.pb` of TensorFlow.
    TfSavedModel = "tf_saved_model",
    /// TensorFlow Lite.
    Tflite = "tflite",
    /// A scikit-learn model saved by skops: a schema and arrays in a zip.
    Skops = "skops",
    /// A zip archive of no kind above.
    Zip = "zip",
    /// A tar archive.
    Tar = "tar",
    /// 7-Zip.
    SevenZip = "7z",
    /// RAR.
    Rar = "rar",
    /// gzip, a compressed tar among others.
    Gzip = "gzip",
    /// bzip2.
    Bzip2 = "bzip2",
    /// xz.
    Xz = "xz",
    /// LZMA without a container.
    Lzma = "lzma",
    /// zlib: what joblib writes with `compress=`.
    Zlib = "zlib",
    /// Zstandard.
    Zstd = "zstd",
    /// LZ4 frames.
    Lz4 = "lz4",
    /// What torch wrote before 0.1.10: a tar of pickles and raw storages.
    PytorchTar = "pytorch_tar",
    /// What `torch.package` writes: a zip archive of pickles and Python sources.
    TorchPackage = "torch_package",
    /// A TorchServe archive: a model and its handler.
    TorchserveMar = "torchserve_mar",
    /// A NeMo archive: a tar of configuration and weights.
    Nemo = "nemo",
    /// XGBoost in its own JSON schema.
    XgboostJson = "xgboost_json",
    /// XGBoost in UBJSON.
    XgboostUbj = "xgboost_ubj",
    /// LightGBM's text format.
    Lightgbm = "lightgbm",
    /// MessagePack.
    Msgpack = "msgpack",
    /// XML, PMML and OpenVINO among others.
    Xml = "xml",
    /// A picture, a sound or another known medium.
    Media = "media",
    /// Source code or a script, by its beginning or its name.
    Source = "source",
    /// Java's serialization.
    JavaSerialized = "java_serialized",
    /// R's serialization.
    Rdata = "r_data",
    /// Machine code: ELF, PE, Mach-O, or Java classes.
    Executable = "executable",
    /// A JSON object or array.
    Json = "json",
    /// Text in UTF-8.
    Text = "text",
    /// No octets at all.
    Empty = "empty",
    /// None of these.
    Unknown = "unknown",
    /// The pieces of a tokeniser: no code.
    Sentencepiece = "sentencepiece",
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.iter().copied().find(|format| format.as_str() == name).ok_or(UnknownFormat)
    }
}

/// A name that no format has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such format")]
pub struct UnknownFormat;

/// Recognises the format of a file. Reads at most [`super::RECOGNISE_BYTES_MAX`] octets.
///
/// # Errors
/// Those of the source.
pub fn recognise(source: &dyn ReadAt) -> io::Result<Format> {
    if source.is_empty() {
        return Ok(Format::Empty);
    }
    let head = read_up_to(source, 0, HEAD_BYTES)?;
    match by_signature(&head, source.len()) {
        // What kind of tar archive it is, its members say.
        Some(Format::Tar) => return tar::examine(source),
        Some(format) => return Ok(format),
        None => {}
    }
    if head.starts_with(b"PK\x03\x04") {
        // Also without an end record: PyTorch decides by these four octets alone.
        return Ok(zip::examine(source)?.unwrap_or(Format::Zip));
    }
    let evidence = pickle::examine(source)?;
    if evidence == Evidence::Sound {
        return Ok(if is_pytorch_legacy(&head) { Format::PytorchLegacy } else { Format::Pickle });
    }
    // Before weaker evidence: the length in front of a header may look like the beginning of a pickle.
    if is_safetensors(&head, source.len()) {
        return Ok(Format::Safetensors);
    }
    if evidence == Evidence::Header {
        return Ok(Format::Pickle);
    }
    if let Some(format) = zip::examine(source)? {
        return Ok(format);
    }
    if has_hdf5_behind_user_block(source)? {
        return Ok(Format::Hdf5);
    }
    if let Some(format) = protobuf::examine(source)? {
        return Ok(format);
    }
    if let Some(text) = text(&head, source.len()) {
        return kind_of_text(text, source);
    }
    if is_utf16(&head) || is_latin1(&head) {
        return Ok(Format::Text);
    }
    // Two or three octets only, of which zlib's may be text ("x^2"): after everything else.
    Ok(if is_zlib(&head) {
        Format::Zlib
    } else if is_lzma(&head) {
        Format::Lzma
    } else {
        Format::Unknown
    })
}

/// Whether it is told by its first octets, before any pickle is looked for. Zip archives are too, but what reads pickles stops
/// at their first octet: `P` asks for something that only PyTorch's reader has, which tells archives before.
pub(super) fn has_signature(format: Format) -> bool {
    matches!(
        format,
        Format::Gguf
            | Format::Npy
            | Format::Hdf5
            | Format::Gzip
            | Format::Bzip2
            | Format::Xz
            | Format::Zstd
            | Format::Lz4
            | Format::SevenZip
            | Format::Rar
            | Format::Executable
            | Format::Tflite
            | Format::Tar
            | Format::PytorchTar
            | Format::Nemo
            | Format::Media
            | Format::JavaSerialized
            | Format::Rdata
            | Format::XgboostUbj
    )
}

/// Whether it is a kind of zip archive.
pub(super) fn is_zip(format: Format) -> bool {
    matches!(
        format,
        Format::PytorchZip
            | Format::Torchscript
            | Format::TorchPackage
            | Format::TorchserveMar
            | Format::KerasV3
            | Format::Npz
            | Format::Skops
            | Format::Zip
    )
}

/// By what stands at a fixed place near the beginning and cannot well be anything else. `len` is the size of the file.
fn by_signature(head: &[u8], len: u64) -> Option<Format> {
    Some(match head {
        [b'G', b'G', b'U', b'F', ..] if is_gguf(head) => Format::Gguf,
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] if is_npy(head) => Format::Npy,
        _ if head.starts_with(HDF5) => Format::Hdf5,
        // Deflate is the only method, the upper three flags are reserved (RFC 1952).
        [0x1f, 0x8b, 8, 0..=0x1f, ..] => Format::Gzip,
        [b'B', b'Z', b'h', b'1'..=b'9', block @ ..]
            if block.starts_with(b"1AY&SY") || block.starts_with(b"\x17rE8P\x90") =>
        {
            Format::Bzip2
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Format::Zstd,
        [0x04, 0x22, 0x4d, 0x18, ..] => Format::Lz4,
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Format::SevenZip,
        _ if head.starts_with(b"Rar!\x1a\x07") => Format::Rar,
        _ if is_executable(head) => Format::Executable,
        _ if is_tflite(head, len) => Format::Tflite,
        [0xac, 0xed, 0, 5, ..] => Format::JavaSerialized,
        _ if is_r(head) => Format::Rdata,
        _ if is_xgboost_ubj(head) => Format::XgboostUbj,
        _ if media::is_media(head) => Format::Media,
        _ if is_tar(head) => Format::Tar,
        _ => return None,
    })
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four))
}

/// Version 1 to 3 behind the magic. In a file of the other byte order the number stands in the other half.
fn is_gguf(head: &[u8]) -> bool {
    u32_at(head, 4).is_some_and(|version| (1..=3).contains(&version) || (1..=3).contains(&version.swap_bytes()))
}

/// Version 1 to 3 behind the magic, then a header that is a Python dictionary.
fn is_npy(head: &[u8]) -> bool {
    // numpy skips blanks before it.
    let begins = |at: usize| head.get(at..).is_some_and(|header| header.trim_ascii_start().starts_with(b"{"));
    match head.get(6) {
        Some(1) => begins(10),
        Some(2 | 3) => begins(12),
        _ => false,
    }
}

const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";

/// HDF5 may begin at 512, 1024, 2048 ... (HDF5 file format 3.0, II.A), with anything before it.
pub(super) fn has_hdf5_behind_user_block(source: &dyn ReadAt) -> io::Result<bool> {
    let offsets = (9..63).map(|power| 1_u64 << power).take_while(|offset| *offset < source.len());
    for offset in offsets {
        if read_up_to(source, offset, HDF5.len() as u64)? == HDF5 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_executable(head: &[u8]) -> bool {
    match head {
        // ELF; Mach-O of either width and byte order; a fat Mach-O or a Java class.
        [0x7f, b'E', b'L', b'F', ..]
        | [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..]
        | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..]
        | [0xca, 0xfe, 0xba, 0xbe, ..] => true,
        // A portable executable for several systems at once; PE, which has its header where the field at 60 says.
        [b'M', b'Z', ..] => {
            head.starts_with(b"MZqFpD")
                || u32_at(head, 60)
                    .and_then(|at| head.get(usize::try_from(at).ok()?..))
                    .is_some_and(|rest| rest.starts_with(b"PE\0\0"))
        }
        _ => false,
    }
}

/// A flatbuffer: where its root is, then the identifier.
fn is_tflite(head: &[u8], len: u64) -> bool {
    head.get(4..8) == Some(b"TFL3") && u32_at(head, 0).is_some_and(|root| root >= 8 && u64::from(root) < len)
}

/// A first header block whose checksum is right (POSIX.1-1988 ustar and before, which had no magic).
pub(super) fn is_tar(head: &[u8]) -> bool {
    head.first_chunk().is_some_and(tar::is_header)
}

/// The magic number of the old PyTorch format, itself a pickle: 0x1950a86a20f9469cfc6c as a LONG1, with a frame around it if
/// the protocol has frames.
fn is_pytorch_legacy(head: &[u8]) -> bool {
    let Some([0x80, _, rest @ ..]) = Some(head) else { return false };
    let number = match rest {
        [0x95, rest @ ..] => rest.get(8..).unwrap_or_default(),
        _ => rest,
    };
    number.starts_with(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.")
}

/// The length of a JSON object in eight octets, and that object, as far as it is in the head: whole or its first entry.
fn is_safetensors(head: &[u8], len: u64) -> bool {
    let Some((length, header)) = head.split_first_chunk().map(|(length, rest)| (u64::from_le_bytes(*length), rest))
    else {
        return false;
    };
    if !(2..=SAFETENSORS_HEADER_BYTES_MAX).contains(&length) || length > len - 8 || header.first() != Some(&b'{') {
        return false;
    }
    let whole = usize::try_from(length).ok().and_then(|length| header.get(..length));
    match serde_json::from_slice::<HashMap<String, HashMap<String, IgnoredAny>>>(whole.unwrap_or(header)) {
        Ok(_) => true,
        // Sound up to where the head ends.
        Err(error) => whole.is_none() && error.is_eof(),
    }
}

/// The head as text, without a byte order mark and without a character that the head cuts in two; `None` if it is no text:
/// not UTF-8, or with control characters that text does not have.
fn text(head: &[u8], len: u64) -> Option<&str> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && len > head.len() as u64 => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    text.chars().all(is_of_text).then(|| text.trim_start_matches('\u{feff}'))
}

/// A byte order mark, and as far as the head goes no unit that is a control character of no text or half a character alone.
fn is_utf16(head: &[u8]) -> bool {
    let unit: fn([u8; 2]) -> u16 = match head {
        [0xff, 0xfe, _, _, ..] => u16::from_le_bytes,
        [0xfe, 0xff, _, _, ..] => u16::from_be_bytes,
        _ => return false,
    };
    let (pairs, _) = head.as_chunks::<2>();
    // The head may end between the halves of a character.
    let whole = match pairs {
        [whole @ .., last] if (0xd800..0xdc00).contains(&unit(*last)) => whole,
        all => all,
    };
    char::decode_utf16(whole.iter().map(|pair| unit(*pair))).all(|one| one.is_ok_and(is_of_text))
}

/// Text of one octet a character, as in Latin-1: most of it ASCII, and nothing that no text has. What
/// else it may be was looked for before.
fn is_latin1(head: &[u8]) -> bool {
    let others = head.iter().filter(|octet| !octet.is_ascii()).count();
    // Fewer octets are no evidence of anything.
    head.len() >= 16
        && others <= head.len() / 4
        && head.iter().all(|octet| !matches!(octet, 0x80..=0x9f) && is_of_text(char::from(*octet)))
}

/// Whether text has such a character. The controls behind ASCII stand in word lists that were collected from pages.
fn is_of_text(c: char) -> bool {
    !c.is_ascii_control() || matches!(c, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}' | '\u{7f}')
}

/// What a text is, by how it begins or, if it is JSON, by its keys.
fn kind_of_text(text: &str, source: &dyn ReadAt) -> io::Result<Format> {
    let beginning = text.trim_start();
    if text.starts_with("#!") {
        return Ok(Format::Source);
    }
    if lightgbm::is_model(text) {
        return Ok(Format::Lightgbm);
    }
    if ["<?xml", "<!DOCTYPE", "<PMML", "<net"].iter().any(|tag| beginning.starts_with(tag)) {
        return Ok(Format::Xml);
    }
    // A number or a string alone is JSON too, but every word list would be.
    if !beginning.starts_with(['{', '[']) {
        return Ok(Format::Text);
    }
    let octets = read_up_to(source, 0, JSON_BYTES_MAX)?;
    let octets = octets.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&octets);
    let mut keys = Keys::default();
    // The parser has a limit on depth of its own.
    let mut parser = serde_json::Deserializer::from_slice(octets);
    let parsed = match beginning.starts_with('{') {
        true => keys.deserialize(&mut parser),
        false => IgnoredAny::deserialize(&mut parser).map(|_| ()),
    };
    let is_sound = match parsed.and_then(|()| parser.end()) {
        Ok(()) => true,
        Err(error) => error.is_eof() && source.len() > JSON_BYTES_MAX,
    };
    Ok(match is_sound {
        true if keys.learner && keys.version => Format::XgboostJson,
        true => Format::Json,
        false => Format::Text,
    })
}

/// The telling keys of a JSON object, as far as it is read: those of an XGBoost model.
#[derive(Default)]
struct Keys {
    learner: bool,
    version: bool,
}

impl<'de> DeserializeSeed<'de> for &mut Keys {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Keys {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            self.learner |= key == "learner";
            self.version |= key == "version";
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// An object of UBJSON whose first key is one of an XGBoost model: the length of the key by a type and a number.
fn is_xgboost_ubj(head: &[u8]) -> bool {
    let Some([b'{', rest @ ..]) = Some(head) else { return false };
    let (width, rest) = match rest {
        [b'i' | b'U', rest @ ..] => (1, rest),
        [b'I', rest @ ..] => (2, rest),
        [b'l', rest @ ..] => (4, rest),
        [b'L', rest @ ..] => (8, rest),
        _ => return false,
    };
    let Some((length, key)) = rest.split_at_checked(width) else { return false };
    let length = length.iter().fold(0_u64, |length, octet| length << 8 | u64::from(*octet));
    [&b"learner"[..], b"version", b"Config", b"Model"]
        .iter()
        .any(|known| length == known.len() && key.starts_with(known))
}

/// R's serialization, in its own frame or as it is: binary or text, version 2 or 3. The text form has the number of R's
/// version next, of at least five digits.
fn is_r(head: &[u8]) -> bool {
    const MAGIC: [&[u8]; 6] = [b"RDX2\n", b"RDX3\n", b"RDA2\n", b"RDA3\n", b"X\n\0\0\0\x02\0", b"X\n\0\0\0\x03\0"];
    let is_text = match head {
        [b'A', b'\n', b'2' | b'3', b'\n', number @ ..] => {
            number.len() > 5 && number[..5].iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    is_text || MAGIC.iter().any(|magic| head.starts_with(magic))
}

/// Method 8 with the window of 32 KiB that all writers use, header divisible by 31, no preset dictionary (RFC 1950), and a
/// first block whose type is not the reserved one (RFC 1951).
fn is_zlib(head: &[u8]) -> bool {
    matches!(head, [0x78, flags, block, ..]
        if (0x7800 | u16::from(*flags)) % 31 == 0
            && flags & 0x20 == 0
            && block >> 1 & 3 != 3)
}

/// The default properties, a dictionary of at least 64 KiB that is a power of two as all writers use, and a size that is
/// unknown or below 256 TiB.
fn is_lzma(head: &[u8]) -> bool {
    let Some([0x5d, 0, 0, dictionary_low, dictionary_high, size @ ..]) = head.first_chunk::<13>() else { return false };
    let dictionary = u16::from_le_bytes([*dictionary_low, *dictionary_high]);
    let size = u64::from_le_bytes(*size);
    dictionary.is_power_of_two() && (size == u64::MAX || size < 1 << 48)
}
