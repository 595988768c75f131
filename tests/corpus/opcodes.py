"""Writes pickles by opcode: what no pickler would write, too.

`encode` turns a small expression language into opcodes: constants, `G` for a global, `Call` for REDUCE and its kin, `Raw`
for anything else.
"""

import dataclasses
import struct


@dataclasses.dataclass(frozen=True)
class G:
    """A global by module and name."""

    module: str
    name: str


class Call:
    """A callable applied to arguments."""

    def __init__(self, function, *arguments):
        self.function = function
        self.arguments = arguments


@dataclasses.dataclass(frozen=True)
class Raw:
    """Opcodes as they are."""

    opcodes: bytes


def short(text):
    """SHORT_BINUNICODE."""
    octets = text.encode() if isinstance(text, str) else text
    return b"\x8c" + bytes([len(octets)]) + octets


def binunicode(text):
    octets = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return b"X" + struct.pack("<I", len(octets)) + octets


def global_(module, name):
    """GLOBAL."""
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def stack_global(module, name):
    return short(module) + short(name) + b"\x93"


def encode(value, protocol):
    """The opcodes that leave `value` on the stack."""
    match value:
        case Raw(opcodes):
            return opcodes
        case G(module, name):
            return stack_global(module, name) if protocol >= 4 else global_(module, name)
        case Call():
            arguments = encode(tuple(value.arguments), protocol)
            return encode(value.function, protocol) + arguments + b"R"
        case None:
            return b"N"
        case bool():
            if protocol >= 2:
                return b"\x88" if value else b"\x89"
            return b"I01\n" if value else b"I00\n"
        case int():
            if protocol >= 1 and 0 <= value < 256:
                return b"K" + bytes([value])
            if protocol >= 1 and -(1 << 31) <= value < 1 << 31:
                return b"J" + struct.pack("<i", value)
            if protocol >= 2:
                octets = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
                return b"\x8a" + bytes([len(octets)]) + octets
            return b"I%d\n" % value
        case float():
            return b"G" + struct.pack(">d", value) if protocol >= 1 else b"F%r\n" % value
        case str():
            if protocol == 0:
                return b"V" + value.encode("raw-unicode-escape") + b"\n"
            if protocol >= 4 and len(value.encode()) < 256:
                return short(value)
            return binunicode(value)
        case bytes():
            if protocol >= 3:
                return b"C" + bytes([len(value)]) + value if len(value) < 256 else b"B" + struct.pack("<I", len(value)) + value
            return encode(Call(G("_codecs", "encode"), value.decode("latin1"), "latin1"), protocol)
        case tuple():
            items = b"".join(encode(item, protocol) for item in value)
            if protocol >= 2 and 1 <= len(value) <= 3:
                return items + bytes([0x84 + len(value)])
            return b"(" + items + b"t"
        case list():
            return b"(" + b"".join(encode(item, protocol) for item in value) + b"l"
        case dict():
            items = b"".join(encode(key, protocol) + encode(item, protocol) for key, item in value.items())
            return b"(" + items + b"d"
    raise TypeError(type(value))


def proto(protocol):
    return b"\x80" + bytes([protocol]) if protocol >= 2 else b""


def frame(body):
    """Protocol 4 and 5 as picklers write it: in a frame."""
    return b"\x95" + struct.pack("<Q", len(body)) + body


def dumps(value, protocol=4, framed=True):
    """A whole pickle."""
    body = encode(value, protocol) + b"."
    if protocol >= 4 and framed:
        body = frame(body)
    return proto(protocol) + body
