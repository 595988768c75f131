#!/usr/bin/env python3
"""Makes files that are too large for the packed corpus: large.py DIR [NAME ...]

What can be sparse is sparse, so that few blocks are used; the zip archives are streamed. Each file is at DIR/NAME; the list
with what is expected of each is DIR/manifest.tsv, of the same form as the corpus's own.
"""

import argparse
import gzip
import io
import json
import struct
import sys
import zipfile
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from hostile_containers import Entry, torch_members, write_zip  # noqa: E402
from hostile_formats import NAME, field, gguf, info, varint  # noqa: E402
from opcodes import Call, G, Raw, dumps, encode, proto  # noqa: E402

GIB = 1 << 30


def safetensors_2g(path):
    size = 2 * GIB
    header = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)


def safetensors_header_4g(path):
    size = 4 * GIB
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", size) + b'{"w":')
        file.truncate(8 + size)


def gguf_2g(path):
    size = 2 * GIB
    head = gguf([NAME], [info("t", [size // 4], 0, 0)])
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + -len(head) % 32 + size)


def torch_storage(path, pickled, size):
    """A torch archive with one storage of so many zeros, stored: the octets are a hole in the file."""
    crc, block, left = 0, bytes(16 << 20), size
    while left:
        part = min(left, len(block))
        crc = zlib.crc32(block[:part], crc)
        left -= part
    name = b"archive/data/0"
    small = torch_members(pickled)
    with open(path, "wb") as file:
        directory = bytearray()
        for entry in small:
            offset = file.tell()
            check, length = zlib.crc32(entry.octets), len(entry.octets)
            file.write(struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 33, check, length, length, len(entry.name), 0) + entry.name + entry.octets)
            directory += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 33, check, length, length, len(entry.name), 0, 0, 0, 0, 0, offset) + entry.name
        offset = file.tell()
        file.write(struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 33, crc, size, size, len(name), 0) + name)
        file.seek(size, io.SEEK_CUR)
        directory += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 33, crc, size, size, len(name), 0, 0, 0, 0, 0, offset) + name
        start = file.tell()
        file.write(directory + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, len(small) + 1, len(small) + 1, len(directory), start, 0))


def tensor_pickle(size):
    storage = Raw(encode(("storage", G("torch", "FloatStorage"), "0", "cpu", size // 4), 2) + b"Q")
    hooks = Call(G("collections", "OrderedDict"))
    return Call(G("torch._utils", "_rebuild_tensor_v2"), storage, 0, (size // 4,), (1,), False, hooks)


def torch_3g(path):
    torch_storage(path, dumps({"w": tensor_pickle(3 * GIB)}, 2), 3 * GIB)


def torch_3g_hostile(path):
    call = Call(G("os", "system"), "true")
    torch_storage(path, dumps({"w": tensor_pickle(3 * GIB), "hook": call}, 2), 3 * GIB)


def zip_bomb(path):
    """Sixteen gigabytes of zeros in sixteen megabytes."""
    block = bytes(16 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        with archive.open(zipfile.ZipInfo("zeros.bin"), "w", force_zip64=True) as member:
            member._compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
            member._zinfo.compress_type = zipfile.ZIP_DEFLATED
            for _ in range(16 * GIB // len(block)):
                member.write(block)


def gzip_bomb(path):
    """Ten gigabytes of zeros, then a hostile pickle."""
    block = bytes(16 << 20)
    with gzip.GzipFile(path, "wb", compresslevel=9, mtime=0) as file:
        for _ in range(10 * GIB // len(block)):
            file.write(block)
        file.write(dumps(Call(G("os", "system"), "true"), 2))


def gzip_bomb_twice(path):
    """A gigabyte of zeros, compressed twice: a megabyte, then a few kilobytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as file:
        for _ in range(64):
            file.write(bytes(16 << 20))
    Path(path).write_bytes(gzip.compress(buffer.getvalue(), mtime=0))


def overlapping_bomb(path):
    """Thirty thousand entries of a directory over one kernel that inflates to ten megabytes: 300 GB in all."""
    kernel = Entry(b"0", bytes(10 << 20), 8)
    entries = [kernel] + [Entry(b"%d" % n, b"", 8, has_local=False, offset=0) for n in range(1, 30000)]
    Path(path).write_bytes(write_zip(entries))


def zip_members(path):
    """Two hundred thousand empty members: above the limit."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for n in range(200_000):
            archive.writestr(zipfile.ZipInfo(f"{n}"), b"")


DEPTH = 100_000


def deep_pickle(path):
    Path(path).write_bytes(proto(2) + b"]" * DEPTH + b"a" * (DEPTH - 1) + b".")


def deep_pickle_marks(path):
    Path(path).write_bytes(proto(2) + b"(" * DEPTH + b"t" * DEPTH + b".")


def deep_json(path):
    Path(path).write_bytes(b"[" * DEPTH + b"]" * DEPTH)


def deep_json_config(path):
    Path(path).write_bytes(b'{"config":' * DEPTH + b"1" + b"}" * DEPTH)


def deep_protobuf(path):
    """GraphProto in AttributeProto in NodeProto, over and over: lengths are written from the inside."""
    # Prefixes only, in reverse: joining once keeps it linear.
    parts, size = [], 0
    for _ in range(DEPTH // 3):
        for number in (6, 5, 1):
            prefix = field(number, b"")[:-1] + varint(size)
            parts.append(prefix)
            size += len(prefix)
    body = b"".join(reversed(parts))
    Path(path).write_bytes(field(1, 8) + field(7, body))


def deep_gzip(path):
    """Two thousand layers of gzip around a hostile pickle."""
    octets = dumps(Call(G("os", "system"), "true"), 2)
    for _ in range(2000):
        octets = gzip.compress(octets, compresslevel=1, mtime=0)
    Path(path).write_bytes(octets)


def deep_zip(path):
    """Five hundred archives in each other, stored."""
    octets = dumps(Call(G("os", "system"), "true"), 2)
    for _ in range(500):
        octets = write_zip([Entry(b"z", octets)])
    Path(path).write_bytes(octets)


def pickle_opcodes(path):
    """Sixty million opcodes: above the limit."""
    Path(path).write_bytes(proto(2) + b"N0" * 30_000_000 + dumps(Call(G("os", "system"), "true"), 2)[2:])


def pickle_string_4g(path):
    """A bytes value of four gigabytes, sparse, then a hostile call."""
    with open(path, "wb") as file:
        file.write(proto(4) + b"\x8e" + struct.pack("<Q", 4 * GIB))
        file.seek(4 * GIB, io.SEEK_CUR)
        file.write(b"0" + encode(Call(G("os", "system"), "true"), 4) + b".")


FILES = {
    "model-2g.safetensors": (safetensors_2g, "clean", "safetensors", "one tensor of 2 GiB"),
    "header-4g.safetensors": (safetensors_header_4g, "not-clean", "*", "a sparse header of 4 GiB"),
    "model-2g.gguf": (gguf_2g, "clean", "gguf", "one tensor of 2 GiB"),
    "model-3g.pt": (torch_3g, "clean", "pytorch_zip", "one storage of 3 GiB"),
    "hostile-3g.pt": (torch_3g_hostile, "malicious", "pytorch_zip", "one storage of 3 GiB and a call of os.system"),
    "bomb.zip": (zip_bomb, "not-clean", "zip", "16 GiB of zeros"),
    "bomb.pkl.gz": (gzip_bomb, "not-clean", "gzip", "10 GiB of zeros, then a hostile pickle"),
    "bomb-twice.gz": (gzip_bomb_twice, "not-clean", "gzip", "1 GiB of zeros, compressed twice"),
    "bomb-overlap.zip": (overlapping_bomb, "malicious", "zip", "300 GB by overlapping entries"),
    "members.zip": (zip_members, "unscannable", "zip", "200 000 members"),
    "deep.pkl": (deep_pickle, "clean", "pickle", "lists 100 000 deep, and nothing else: within the limits"),
    "deep-tuples.pkl": (deep_pickle_marks, "clean", "pickle", "tuples 100 000 deep, and nothing else: within the limits"),
    "deep.json": (deep_json, "not-clean", "*", "arrays 100 000 deep"),
    "deep-config.json": (deep_json_config, "not-clean", "*", "objects 100 000 deep"),
    "deep.onnx": (deep_protobuf, "not-clean", "*", "graphs 33 333 deep"),
    "deep.gz": (deep_gzip, "not-clean", "gzip", "2 000 layers of gzip"),
    "deep.zip": (deep_zip, "not-clean", "zip", "500 archives in each other"),
    "opcodes.pkl": (pickle_opcodes, "not-clean", "pickle", "60 million opcodes"),
    "string-4g.pkl": (pickle_string_4g, "malicious", "pickle", "a string of 4 GiB, then a hostile call"),
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("directory", type=Path)
    arguments.add_argument("names", nargs="*", help="these files only")
    arguments = arguments.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    chosen = arguments.names or list(FILES)
    with open(arguments.directory / "manifest.tsv", "w") as manifest:
        manifest.write("# name\texpected\tformat\texecutes\twhat\n")
        for name in chosen:
            make, expected, form, what = FILES[name]
            make(str(arguments.directory / name))
            manifest.write(f"{name}\t{expected}\t{form}\tuntried\t{what}\n")
            print(name, file=sys.stderr)


if __name__ == "__main__":
    main()
