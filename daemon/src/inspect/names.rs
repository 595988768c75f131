//! What a file's name says: the few formats that only it tells, source code, and where it contradicts the content. A name
//! never makes content harmless; it adds suspicion or, where the octets say nothing, tells what reader to ask.

use super::Format;

/// What follows the last dot of the last component, in lower case; empty if there is none.
pub(super) fn extension(name: &str) -> String {
    let last = last(name);
    match last.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.len() <= 16 => extension.to_ascii_lowercase(),
        _ => String::new(),
    }
}

/// The last component.
pub(super) fn last(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or_default()
}

/// What the content is once the name is known too: formats without a structure of their own, or whose structure says too
/// little, are told by it.
pub(super) fn refine(format: Format, name: &str) -> Format {
    let extension = extension(name);
    match (format, extension.as_str()) {
        (Format::Unknown, "onnx") => Format::Onnx,
        (Format::Unknown | Format::Onnx, "pb") if last(name).eq_ignore_ascii_case("saved_model.pb") => {
            Format::TfSavedModel
        }
        // Keras goes by the name, and reads the configuration whatever else is there.
        (Format::Zip, "keras") => Format::KerasV3,
        // Parsed to the last octet by its reader, or broken.
        (Format::Unknown | Format::Text, "msgpack") => Format::Msgpack,
        (Format::Text | Format::Json, extension) if is_source(extension) => Format::Source,
        (format, _) => format,
    }
}

/// Whether files of this extension are there to be run. `.ts` is not among them: TorchScript is often called so.
pub(super) fn is_source(extension: &str) -> bool {
    matches!(
        extension,
        "py" | "pyc"
            | "pyo"
            | "pyd"
            | "pyw"
            | "pyx"
            | "ipynb"
            | "sh"
            | "bash"
            | "zsh"
            | "ksh"
            | "fish"
            | "csh"
            | "bat"
            | "cmd"
            | "ps1"
            | "psm1"
            | "vbs"
            | "wsf"
            | "js"
            | "mjs"
            | "cjs"
            | "jsx"
            | "pl"
            | "pm"
            | "rb"
            | "php"
            | "lua"
            | "r"
            | "jl"
            | "java"
            | "class"
            | "jar"
            | "c"
            | "cc"
            | "cpp"
            | "cxx"
            | "cu"
            | "cuh"
            | "h"
            | "hpp"
            | "rs"
            | "go"
            | "swift"
            | "scala"
            | "kt"
            | "so"
            | "dll"
            | "dylib"
            | "exe"
            | "msi"
            | "scr"
            | "whl"
            | "egg"
            | "deb"
            | "rpm"
            | "apk"
            | "desktop"
            | "hta"
    )
}

/// Whether a file of this name should not have this content. Names that say little (`.bin`, `.pt`, `.model`, none) never
/// contradict, and neither do unknown octets: those have a finding of their own.
pub(super) fn contradicts(name: &str, format: Format) -> bool {
    use Format as F;
    if matches!(format, F::Unknown | F::Empty) {
        return false;
    }
    let zip = matches!(
        format,
        F::Zip | F::Npz | F::PytorchZip | F::Torchscript | F::TorchPackage | F::TorchserveMar | F::KerasV3 | F::Skops
    );
    let packed = matches!(format, F::Gzip | F::Bzip2 | F::Xz | F::Lzma | F::Zlib | F::Zstd | F::Lz4);
    let tar = matches!(format, F::Tar | F::PytorchTar | F::Nemo);
    let text = matches!(format, F::Text | F::Json | F::Xml | F::Source | F::Lightgbm | F::XgboostJson);
    let torch = matches!(format, F::PytorchZip | F::Torchscript | F::TorchPackage | F::PytorchLegacy | F::PytorchTar);
    // A checkpoint by the old habit of torch's examples, and no tar.
    let lower = last(name).to_ascii_lowercase();
    if lower.ends_with(".pth.tar") || lower.ends_with(".pt.tar") {
        return !(torch || tar || format == F::Pickle);
    }
    let fits = match extension(name).as_str() {
        "safetensors" => format == F::Safetensors,
        "gguf" => format == F::Gguf,
        "npy" => format == F::Npy,
        "npz" => matches!(format, F::Npz | F::Zip),
        "pkl" | "pickle" | "joblib" => format == F::Pickle || torch || packed,
        "onnx" => format == F::Onnx,
        "pb" => matches!(format, F::TfSavedModel | F::Onnx),
        "tflite" => format == F::Tflite,
        "h5" | "hdf5" => format == F::Hdf5,
        "keras" => matches!(format, F::KerasV3 | F::Hdf5),
        "skops" => matches!(format, F::Skops | F::Zip),
        "ubj" => format == F::XgboostUbj,
        "json" => matches!(format, F::Json | F::XgboostJson | F::Text),
        "xml" | "pmml" | "html" | "htm" | "svg" => text,
        "txt" | "md" | "rst" | "csv" | "tsv" | "yaml" | "yml" | "toml" | "ini" | "cfg" | "conf" | "log" | "jsonl"
        | "jinja" | "jinja2" | "ipynb" | "py" | "sh" | "bash" | "js" | "bat" | "ps1" | "rb" | "pl" | "lua" | "c"
        | "cpp" | "h" | "cu" | "rs" | "go" | "java" => text,
        "png" | "jpg" | "jpeg" | "gif" | "wav" | "webp" | "bmp" | "pdf" | "flac" | "mp3" | "mp4" | "ogg" => {
            format == F::Media
        }
        "zip" | "mar" | "whl" | "egg" | "jar" => zip,
        "tar" => tar,
        "nemo" => tar || packed,
        "gz" | "tgz" => format == F::Gzip,
        "bz2" | "tbz2" => format == F::Bzip2,
        "xz" | "txz" => format == F::Xz,
        "zst" | "zstd" => format == F::Zstd,
        "lz4" => format == F::Lz4,
        "lzma" => format == F::Lzma,
        "7z" => format == F::SevenZip,
        "rar" => format == F::Rar,
        "so" | "dll" | "dylib" | "exe" => format == F::Executable,
        "rds" | "rdata" | "rda" => format == F::Rdata || packed,
        _ => true,
    };
    !fits
}

#[cfg(test)]
mod tests {
    use super::{Format, contradicts, extension, refine};

    #[test]
    fn only_names_that_say_something_contradict() {
        for (name, format) in [
            ("a.safetensors", Format::Pickle),
            ("b/README.txt", Format::Pickle),
            ("logo.PNG", Format::PytorchZip),
            ("x.gguf", Format::Text),
            ("x.py", Format::Pickle),
            ("x.zip", Format::Executable),
            ("x.pth.tar", Format::Media),
            ("x.npy", Format::Pickle),
        ] {
            assert!(contradicts(name, format), "{name} {format}");
        }
        for (name, format) in [
            ("a.bin", Format::Pickle),
            ("a.pt", Format::Gguf),
            ("a.pth.tar", Format::PytorchZip),
            ("model", Format::Executable),
            (".txt", Format::Pickle),
            ("a.dir.png/b", Format::Pickle),
            ("a.pkl", Format::Zlib),
            ("a.txt", Format::Lightgbm),
            ("a.onnx", Format::Unknown),
            ("a.ts", Format::Torchscript),
            ("a.safetensors", Format::Safetensors),
        ] {
            assert!(!contradicts(name, format), "{name} {format}");
        }
    }

    #[test]
    fn names_tell_what_octets_do_not() {
        assert_eq!(refine(Format::Unknown, "m.onnx"), Format::Onnx);
        assert_eq!(refine(Format::Unknown, "a/saved_model.pb"), Format::TfSavedModel);
        assert_eq!(refine(Format::Unknown, "graph.pb"), Format::Unknown);
        assert_eq!(refine(Format::Text, "m.msgpack"), Format::Msgpack);
        assert_eq!(refine(Format::Text, "handler.py"), Format::Source);
        assert_eq!(refine(Format::Pickle, "handler.py"), Format::Pickle);
        assert_eq!(extension("a.b/c\\d.TAR.Gz"), "gz");
        assert_eq!(extension(".bashrc"), "");
    }
}
