"""Hostile files of formats that are data: lies about layout, code in configuration, paths that lead out."""

import io
import json
import struct
import zipfile

import numpy

from opcodes import Call, G, dumps


def make(corpus):
    safetensors_(corpus)
    gguf_(corpus)
    jinja_(corpus)
    npy_(corpus)
    onnx_(corpus)
    tensorflow_(corpus)
    keras_(corpus)
    hdf5_(corpus)
    yaml_(corpus)
    skops_(corpus)
    xml_(corpus)
    json_(corpus)
    source_(corpus)
    native_(corpus)
    opaque_(corpus)


def hostile_pickle(payload, protocol=4):
    return dumps(Call(G("os", "system"), payload.command), protocol)


def zipped(members, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, octets in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, octets)
    return buffer.getvalue()


# -- safetensors


def safetensors(header, octets=b"", length=None):
    if not isinstance(header, bytes):
        header = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + octets


def tensor(start, end, shape=None, dtype="U8"):
    return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}


def safetensors_(corpus):
    def add(slug, octets, expected, what, form="safetensors"):
        corpus.hostile(f"safetensors-{slug}.safetensors", octets, expected, form, what)

    add("overlap", safetensors({"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12)), "malicious", "two tensors overlap")
    add("same", safetensors({"a": tensor(0, 8), "b": tensor(0, 8)}, bytes(8)), "malicious", "two tensors are the same octets")
    add("hole", safetensors({"a": tensor(0, 4), "b": tensor(8, 12)}, bytes(12)), "malicious", "a hole between two tensors: room for anything")
    add("hole-at-start", safetensors({"a": tensor(8, 12)}, bytes(12)), "malicious", "a hole before the first tensor")
    add("trailing", safetensors({"a": tensor(0, 4)}, bytes(4) + b"behind"), "not-clean", "octets behind the last tensor")
    add("trailing-pickle", lambda p: safetensors({"a": tensor(0, 4)}, bytes(4) + hostile_pickle(p)), "malicious", "a hostile pickle behind the last tensor")
    add("trailing-zip", lambda p: safetensors({"a": tensor(0, 4)}, bytes(4) + zipped({"archive/data.pkl": hostile_pickle(p, 2)})), "malicious", "a torch archive behind the last tensor: zipfile finds it from the end", "*")
    add("outside", safetensors({"a": tensor(0, 400)}, bytes(4)), "not-clean", "a tensor ends behind the file")
    add("reversed", safetensors({"a": {"dtype": "U8", "shape": [4], "data_offsets": [4, 0]}}, bytes(4)), "malicious", "a tensor ends before it begins")
    add("shape-lie", safetensors({"a": tensor(0, 4, [2, 4])}, bytes(4)), "malicious", "the shape needs more octets than there are")
    add("shape-small", safetensors({"a": tensor(0, 8, [1])}, bytes(8)), "malicious", "the shape needs fewer octets than there are")
    add("shape-overflow", safetensors({"a": tensor(0, 0, [2**32, 2**32])}), "malicious", "the product of the shape is 2^64, which wraps to zero")
    add("shape-negative", safetensors({"a": tensor(0, 4, [-4])}, bytes(4)), "not-clean", "a negative dimension")
    add("offset-overflow", safetensors({"a": {"dtype": "U8", "shape": [1], "data_offsets": [2**64 - 1, 2**64]}}, b"x"), "not-clean", "offsets beyond 64 bits")
    add("duplicate-key", safetensors(b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}', bytes(8)), "not-clean", "one name twice: readers differ on which counts")
    add("duplicate-metadata", safetensors(b'{"__metadata__":{"a":"1","a":"2"},"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', bytes(4)), "not-clean", "one key of the metadata twice")
    add("duplicate-field", safetensors(b'{"t":{"dtype":"U8","shape":[4],"shape":[2,2],"data_offsets":[0,4]}}', bytes(4)), "not-clean", "one field of a tensor twice")
    add("metadata-object", safetensors({"__metadata__": {"a": {"b": 1}}, "t": tensor(0, 4)}, bytes(4)), "not-clean", "metadata that is no string", "*")
    add("dtype", safetensors({"t": tensor(0, 4, dtype="X9")}, bytes(4)), "not-clean", "a type there is none of")
    add("header-too-long", safetensors(b'{"t":{}}', b"", 2**40), "not-clean", "the header claims a terabyte", "*")
    add("header-max", safetensors(b'{"t":{}}', b"", 2**64 - 1), "not-clean", "the header claims 2^64-1 octets", "*")
    add("truncated-header", safetensors({"t": tensor(0, 4)})[:30], "not-clean", "the file ends inside the header", "*")
    add("space-first", safetensors(b' {"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', bytes(4)), "not-clean", "the header begins with a space", "*")
    add("deep", safetensors(b'{"t":' + b"[" * 3000 + b"]" * 3000 + b"}"), "not-clean", "the header is nested three thousand deep", "*")
    add("array", safetensors(b"[1,2,3]     ", bytes(4)), "not-clean", "the header is an array", "*")
    add("trailing-json", safetensors(b'{"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}{}', bytes(4)), "not-clean", "two JSON documents in the header", "*")
    add("hidden-pickle-hole", lambda p: safetensors({"a": tensor(0, 4), "b": tensor(100, 104)}, (bytes(4) + hostile_pickle(p)).ljust(100, b"\0") + bytes(4)), "malicious", "a hostile pickle in a hole between two tensors")


# -- GGUF


def gstring(text):
    octets = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(octets)) + octets


def entry(key, kind, value):
    return gstring(key) + struct.pack("<I", kind) + value


def stringy(key, text):
    return entry(key, 8, gstring(text))


def info(name, dims, kind, offset, count=None):
    return gstring(name) + struct.pack("<I", len(dims) if count is None else count) + b"".join(struct.pack("<Q", d & (2**64 - 1)) for d in dims) + struct.pack("<IQ", kind, offset)


def gguf(entries=(), tensors=(), octets=b"", version=3, entry_count=None, tensor_count=None, alignment=32):
    head = b"GGUF" + struct.pack(
        "<IQQ", version, len(tensors) if tensor_count is None else tensor_count, len(entries) if entry_count is None else entry_count
    )
    head += b"".join(entries) + b"".join(tensors)
    if octets:
        head += bytes(-len(head) % alignment)
    return head + octets


NAME = stringy("general.architecture", "llama")


def gguf_(corpus):
    def add(slug, octets, expected, what, loader=None, form="gguf"):
        corpus.hostile(f"gguf-{slug}.gguf", octets, expected, form, what, loader)

    one = info("t", [8], 0, 0)
    add("kv-count", gguf([NAME], entry_count=2**61), "malicious", "2^61 entries of metadata are claimed")
    add("tensor-count", gguf([NAME], tensor_count=2**62), "malicious", "2^62 tensors are claimed: the product with a struct's size wraps")
    add("count-off-by-one", gguf([NAME], entry_count=2), "malicious", "one entry more is claimed than there is")
    add("string-length", gguf([struct.pack("<Q", 2**63) + b"x" * 32]), "malicious", "a key of 2^63 octets")
    add("string-wrap", gguf([struct.pack("<Q", 2**64 - 1) + b"x" * 32]), "malicious", "a key of 2^64-1 octets: plus one wraps to zero")
    add("array-length", gguf([entry("a", 9, struct.pack("<IQ", 8, 2**61))]), "malicious", "an array of 2^61 strings")
    add("array-wrap", gguf([entry("a", 9, struct.pack("<IQ", 12, 2**61))]), "malicious", "an array whose size in octets wraps to zero")
    nested = struct.pack("<IQ", 4, 0)
    for _ in range(2000):
        nested = struct.pack("<IQ", 9, 1) + nested
    add("array-deep", gguf([entry("a", 9, nested)]), "malicious", "arrays two thousand deep")
    add("kind", gguf([entry("a", 99, b"\0" * 8)]), "not-clean", "a kind of value there is none of")
    add("bool", gguf([entry("a", 7, b"\2")]), "not-clean", "a boolean that is two")
    add("n-dims", gguf([NAME], [info("t", [1] * 9, 0, 0)], bytes(32)), "malicious", "nine dimensions, and readers have room for four")
    add("n-dims-huge", gguf([NAME], [info("t", [8], 0, 0, count=2**32 - 1)], bytes(32)), "malicious", "2^32-1 dimensions are claimed")
    add("dims-overflow", gguf([NAME], [info("t", [2**32, 2**32], 0, 0)], bytes(32)), "malicious", "the product of the dimensions wraps to zero")
    add("dims-negative", gguf([NAME], [info("t", [-1], 0, 0)], bytes(32)), "malicious", "a dimension of -1")
    add("dims-type-overflow", gguf([NAME], [info("t", [2**61, 2], 0, 0)], bytes(32)), "malicious", "the product fits, times four octets it wraps")
    add("offset-outside", gguf([NAME], [info("t", [8], 0, 2**20)], bytes(32)), "malicious", "a tensor begins behind the file")
    add("offset-wrap", gguf([NAME], [info("t", [8], 0, 2**64 - 32)], bytes(32)), "malicious", "an offset that wraps when the start is added")
    add("offset-unaligned", gguf([NAME], [info("t", [8], 0, 3)], bytes(64)), "malicious", "an offset that is not aligned")
    add("overlap", gguf([NAME], [info("t", [16], 0, 0), info("u", [16], 0, 32)], bytes(96)), "malicious", "two tensors overlap")
    add("truncated-data", gguf([NAME], [info("t", [1024], 0, 0)], bytes(32)), "malicious", "a tensor ends behind the file")
    add("alignment-zero", gguf([entry("general.alignment", 4, struct.pack("<I", 0))], [one], bytes(32)), "malicious", "an alignment of zero: a division by it")
    add("alignment-three", gguf([entry("general.alignment", 4, struct.pack("<I", 3))], [one], bytes(32)), "malicious", "an alignment that is no power of two")
    add("alignment-string", gguf([stringy("general.alignment", "32")], [one], bytes(32)), "not-clean", "an alignment that is a string")
    add("alignment-huge", gguf([entry("general.alignment", 4, struct.pack("<I", 2**31))], [one], bytes(32)), "not-clean", "an alignment of 2 GiB")
    add("tensor-type", gguf([NAME], [info("t", [8], 199, 0)], bytes(32)), "unscannable", "a tensor type there is none of")
    add("duplicate-key", gguf([NAME, stringy("general.architecture", "gpt2")], [one], bytes(32)), "suspicious", "one key twice: readers differ on which counts")
    add("duplicate-tensor", gguf([NAME], [one, info("t", [8], 0, 32)], bytes(64)), "not-clean", "one tensor name twice")
    add("version-9", gguf([NAME], version=9), "not-clean", "a version there is none of", form="*")
    add("magic-only", b"GGUF", "not-clean", "four octets and no more", form="*")
    add("truncated", gguf([NAME, stringy("a", "b" * 50)])[:-20], "malicious", "the file ends inside the metadata")
    add("trailing-pickle", lambda p: gguf([NAME], [one], bytes(32) + hostile_pickle(p)), "malicious", "a hostile pickle behind the last tensor")
    add("trailing-zip", lambda p: gguf([NAME], [one], bytes(32) + zipped({"archive/data.pkl": hostile_pickle(p, 2)})), "malicious", "a torch archive behind the last tensor", form="*")
    template = "tokenizer.chat_template"
    for slug, text, what in TEMPLATES[:6]:
        def build(payload, text=text):
            return gguf([NAME, stringy(template, text.replace("COMMAND", payload.command))], [one], bytes(32))

        add(f"template-{slug}", build, "malicious", f"chat template: {what}", "gguf")
    add("template-named", gguf([NAME, stringy(template + ".tool_use", TEMPLATES[0][1])], [one], bytes(32)), "malicious", "a named chat template")


# -- Jinja

TEMPLATES = [
    ("class-walk", "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ cycler.__init__.__globals__.os.popen('COMMAND').read() }}", "walks from a string to os.popen"),
    ("lipsum", "{{ lipsum.__globals__['os'].popen('COMMAND').read() }}", "lipsum's globals"),
    ("joiner", "{% set j = joiner %}{{ j.__init__.__globals__.os.popen('COMMAND').read() }}", "joiner's globals"),
    ("attr-joined", "{{ lipsum|attr('__glo' ~ 'bals__')|attr('get')('os')|attr('popen')('COMMAND')|attr('read')() }}", "attribute names joined from two strings"),
    ("subscript-joined", "{{ lipsum['__glo' + 'bals__']['o' + 's']['po' + 'pen']('COMMAND').read() }}", "subscripts joined from two strings"),
    ("escapes", "{{ lipsum['\\x5f\\x5fglobals\\x5f\\x5f']['os']['popen']('COMMAND').read() }}", "underscores as escapes"),
    ("namespace-init", "{{ namespace.__init__.__globals__['__builtins__']['__import__']('os').system('COMMAND') }}", "namespace's globals"),
    ("hidden-in-real", "{%- for message in messages %}{{ message.content }}{%- endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}{{ self.__init__.__globals__.__builtins__.__import__('os').popen('COMMAND').read() }}", "an attack behind a real template"),
    ("import", "{% import 'x' as x %}{{ x.y() }}", "imports another template"),
    ("include", "{% include '/nonexistent/mreg' %}", "includes a file"),
    ("extends", "{% extends '/nonexistent/mreg' %}", "extends a file"),
    ("join-filter", "{% set d = ['_','_','globals','_','_']|join %}{{ lipsum[d]['os'].popen('COMMAND').read() }}", "joins the name with a filter"),
    ("format-filter", "{% set d = '%c%cglobals%c%c'|format(95,95,95,95) %}{{ lipsum[d]['os'].popen('COMMAND').read() }}", "makes the name with format"),
    ("map-attribute", "{{ [lipsum]|map(attribute='__globals__')|list }}", "map over a dunder attribute"),
    ("set-block", "{% set x %}__class__{% endset %}{{ ''[x] }}", "the name stands between tags"),
    ("line-comment", "{# harmless #}{{ ''. __class__ . __base__ }}", "spaces around the dots"),
    ("call-block", "{% call lipsum.__globals__.os.popen('COMMAND') %}{% endcall %}", "a call block"),
    ("for-test", "{% for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen' %}{{ c(['COMMAND']) }}{% endfor %}", "looks for Popen among the sub-classes"),
]


def jinja_(corpus):
    for slug, text, what in TEMPLATES:
        expected = "not-clean" if slug in ("set-block",) else "malicious"
        tried = "COMMAND" in text and slug != "for-test"

        def build(payload, text=text):
            return text.replace("COMMAND", payload.command).encode()

        corpus.hostile(f"jinja-{slug}.jinja", build, expected, "text", f"a chat template: {what}", "jinja" if tried else None)
    for slug, text, what in TEMPLATES[:3] + TEMPLATES[7:8]:
        def build(payload, text=text):
            return json.dumps({"tokenizer_class": "LlamaTokenizer", "chat_template": text.replace("COMMAND", payload.command)}, indent=1).encode()

        corpus.hostile(f"tokenizer_config-{slug}.json", build, "malicious", "json", f"chat template in a tokeniser configuration: {what}", "tokenizer_config")
    corpus.hostile(
        "tokenizer_config-unicode.json",
        lambda p: ('{"chat_template": "{{ lipsum.\\u005f\\u005fglobals\\u005f\\u005f.os.popen(\'' + p.command + '\').read() }}"}').encode(),
        "malicious", "json", "the underscores are JSON escapes", "tokenizer_config",
    )
    corpus.hostile(
        "tokenizer_config-second.json",
        json.dumps({"chat_template": [{"name": "default", "template": "{{ messages }}"}, {"name": "rag", "template": TEMPLATES[1][1]}]}).encode(),
        "malicious", "json", "the second of two named templates",
    )


# -- numpy


def npy(header, octets=b"", version=(1, 0), length=None):
    header = header if isinstance(header, bytes) else header.encode()
    size = len(header) if length is None else length
    return b"\x93NUMPY" + bytes(version) + (struct.pack("<H", size) if version[0] == 1 else struct.pack("<I", size)) + header + octets


def npy_(corpus):
    def header(descr="'<f8'", shape="(2,)", extra=""):
        text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, {extra}}}"
        return text + " " * (-(len(text) + 11) % 64) + "\n"

    def add(slug, octets, expected, what, loader=None, form="npy"):
        corpus.hostile(f"npy-{slug}.npy", octets, expected, form, what, loader)

    add("object", lambda p: npy(header("'|O'", "(1,)"), hostile_pickle(p, 3)), "malicious", "an object array: a hostile pickle", "numpy")
    add("object-field", lambda p: npy(header("[('a', '<i4'), ('b', '|O')]", "(1,)"), hostile_pickle(p, 3)), "malicious", "an object field in a structured type", "numpy")
    add("object-sub-array", lambda p: npy(header("[('a', '|O', (2,))]", "(1,)"), hostile_pickle(p, 3)), "malicious", "an object sub-array in a structured type", "numpy")
    add("object-nested", lambda p: npy(header("[('a', [('b', [('c', 'O')])])]", "(1,)"), hostile_pickle(p, 3)), "malicious", "an object three types deep", "numpy")
    add("object-version2", lambda p: npy(header("'O'", "(1,)"), hostile_pickle(p, 3), (2, 0)), "malicious", "an object array, header version 2", "numpy")
    add("object-version3", lambda p: npy(header("'|O8'", "(1,)"), hostile_pickle(p, 3), (3, 0)), "malicious", "an object array, header version 3", None)
    add("header-code", npy(header("__import__('os').system('true')")), "not-clean", "code in the header, for readers that evaluate it")
    add("header-code-shape", npy(header(shape="(open('/nonexistent/mreg'),)")), "not-clean", "code as a dimension")
    add("header-deep", npy("{'descr': " + "(" * 3000 + ")" * 3000 + "}\n"), "not-clean", "a header three thousand parentheses deep")
    add("header-long", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}" + " " * 70000 + "\n", bytes(16), (2, 0)), "not-clean", "a header of more than 64 KiB")
    add("header-length", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}\n", bytes(16), (2, 0), 2**31), "not-clean", "a header that claims 2 GiB")
    add("shape-overflow", npy(header(shape="(4294967296, 4294967296)")), "not-clean", "the product of the shape wraps to zero")
    add("shape-negative", npy(header(shape="(-2,)"), bytes(16)), "not-clean", "a negative dimension")
    add("shape-huge", npy(header(shape="(1099511627776,)"), bytes(16)), "not-clean", "a shape of eight terabytes")
    add("trailing", npy(header(), bytes(16) + b"behind"), "not-clean", "octets behind the array")
    add("trailing-pickle", lambda p: npy(header(), bytes(16) + hostile_pickle(p, 3)), "malicious", "a hostile pickle behind the array")
    add("short", npy(header(), bytes(8)), "not-clean", "the array is shorter than its shape")
    add("duplicate-key", npy(header(extra="'descr': '|O'"), hostile_pickle_inert()), "not-clean", "the type twice, the second an object")
    add("version-9", npy(header(), bytes(16), (9, 0)), "not-clean", "a version there is none of", form="*")

    def archive(payload, name="weights.npy"):
        return zipped({"bias.npy": npy(header(), bytes(16)), name: npy(header("'|O'", "(1,)"), hostile_pickle(payload, 3))})

    corpus.hostile("npz-object.npz", archive, "malicious", "npz", "an object array in an .npz", "numpy")
    corpus.hostile("npz-pickle-member.npz", lambda p: zipped({"a.npy": npy(header(), bytes(16)), "b": hostile_pickle(p)}), "malicious", "zip", "a hostile pickle beside the arrays")
    corpus.hostile("npz-pickle-named-npy.npz", lambda p: zipped({"a.npy": hostile_pickle(p)}), "malicious", "npz", "a hostile pickle that is named .npy", None)


def hostile_pickle_inert():
    return dumps(Call(G("os", "system"), "true"), 3)


# -- ONNX


def onnx_(corpus):
    from harmless import external_tensor, onnx_model
    from onnx import TensorProto, helper

    def add(slug, model, expected, what, form="onnx"):
        octets = model if isinstance(model, bytes) else model.SerializeToString()
        corpus.hostile(f"onnx-{slug}.onnx", octets, expected, form, what)

    for slug, location in [
        ("parent", "../../../../../nonexistent/mreg"), ("absolute", "/nonexistent/mreg"), ("inside-parent", "data/../../nonexistent"),
        ("backslash", "..\\..\\nonexistent\\mreg"), ("drive", "C:\\nonexistent\\mreg"), ("dot-parent", "./../nonexistent"),
        ("nul", "weights.bin\0/../nonexistent"),
    ]:
        add(f"external-{slug}", onnx_model(initializers=[external_tensor(location)]), "not-clean" if slug == "nul" else "malicious", f"external data at {location!r}".replace("\\", "/"))
    node = helper.make_node("Constant", [], ["c"])
    attribute = node.attribute.add()
    attribute.name, attribute.type = "value", 4
    attribute.t.CopyFrom(external_tensor("../nonexistent", "c"))
    matmul = helper.make_node("MatMul", ["x", "w"], ["y"])
    add("external-attribute", onnx_model([node, matmul]), "malicious", "external data outside, in an attribute")
    inner = helper.make_graph([helper.make_node("Identity", ["c"], ["t"])], "then", [], [helper.make_tensor_value_info("t", TensorProto.FLOAT, [1])], [external_tensor("../nonexistent", "c")])
    branch = helper.make_node("If", ["cond"], ["y"], then_branch=inner, else_branch=inner)
    add("external-subgraph", onnx_model([branch]), "malicious", "external data outside, in a sub-graph")
    deeper = helper.make_graph([branch], "outer", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
    add("external-subgraph-deep", onnx_model([helper.make_node("Loop", ["n", "cond"], ["y"], body=deeper)]), "malicious", "external data outside, two sub-graphs deep")
    many = helper.make_node("Custom", [], ["c"])
    attribute = many.attribute.add()
    attribute.name, attribute.type = "values", 9
    attribute.tensors.add().CopyFrom(external_tensor("../nonexistent", "c"))
    add("external-attribute-list", onnx_model([many, matmul]), "malicious", "external data outside, in a list of tensors")
    graphs = helper.make_node("Custom", [], ["c"])
    attribute = graphs.attribute.add()
    attribute.name, attribute.type = "bodies", 10
    attribute.graphs.add().CopyFrom(inner)
    add("external-attribute-graphs", onnx_model([graphs, matmul]), "malicious", "external data outside, in a list of graphs")
    function = helper.make_function("local", "F", ["a"], ["b"], [helper.make_node("Constant", [], ["k"])], [helper.make_opsetid("", 17)])
    attribute = function.node[0].attribute.add()
    attribute.name, attribute.type = "value", 4
    attribute.t.CopyFrom(external_tensor("../nonexistent", "k"))
    add("external-function", onnx_model([helper.make_node("F", ["x"], ["y"], domain="local")], functions=[function], opsets=[helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]), "malicious", "external data outside, in a function")
    sparse = onnx_model()
    one = sparse.graph.sparse_initializer.add()
    one.values.CopyFrom(external_tensor("../nonexistent", "s"))
    one.indices.CopyFrom(helper.make_tensor("i", TensorProto.INT64, [1], [0]))
    one.dims.extend([6])
    add("external-sparse", sparse, "malicious", "external data outside, in a sparse initialiser")
    twice = external_tensor("weights.bin")
    again = twice.external_data.add()
    again.key, again.value = "location", "../nonexistent"
    add("external-twice", onnx_model(initializers=[twice]), "malicious", "two locations, the second outside")
    add("domain", onnx_model([helper.make_node("RunShell", ["x"], ["y"], domain="com.example.ops")], opsets=[helper.make_opsetid("", 17), helper.make_opsetid("com.example.ops", 1)]), "suspicious", "an operator of somebody's domain")
    negative = onnx_model()
    negative.graph.initializer[0].dims[0] = -3
    add("dims-negative", negative, "not-clean", "a negative dimension")
    huge = onnx_model()
    huge.graph.initializer[0].dims[:] = [2**62, 2**62]
    add("dims-overflow", huge, "not-clean", "the product of the dimensions wraps")
    octets = onnx_model().SerializeToString()
    add("truncated", octets[:-9], "not-clean", "the message ends early", "*")
    add("trailing-pickle", octets + hostile_pickle_inert(), "not-clean", "a pickle behind the message", "*")


# -- TensorFlow


def varint(number):
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def node(operator, name=None):
    return field(1, name or operator.lower()) + field(2, operator)


def saved_model(operators, in_functions=(), extra=b""):
    """SavedModel of tensorflow/core/protobuf: version, and one meta graph with a graph and a function library."""
    graph = b"".join(field(1, node(operator, f"n{n}")) for n, operator in enumerate(operators))
    if in_functions:
        signature = field(1, "__inference_f_1")
        function = field(1, signature) + b"".join(field(3, node(operator, f"f{n}")) for n, operator in enumerate(in_functions))
        graph += field(2, field(1, function))
    graph += field(4, field(1, 1395))
    information = field(4, "serve") + field(5, "2.16.1")
    return field(1, 1) + field(2, field(1, information) + field(2, graph) + extra)


def tensorflow_(corpus):
    def add(slug, octets, expected, what, form="tf_saved_model"):
        corpus.hostile(f"tf-{slug}-saved_model.pb", octets, expected, form, what)

    for operator in ("ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "EagerPyFunc", "PyFuncStateless"):
        add(operator.lower(), saved_model(["Placeholder", operator, "Identity"]), "malicious", f"{operator} in the graph")
    for operator in ("ReadFile", "WriteFile", "EagerPyFunc", "FixedLengthRecordReaderV2", "WholeFileReaderV2"):
        add(f"library-{operator.lower()}", saved_model(["Placeholder", "StatefulPartitionedCall"], ["Identity", operator]), "malicious", f"{operator} in the function library only")
    add("debug", saved_model(["DebugNumericSummaryV2", "DebugIdentityV2"]), "not-clean", "debug operators, which write where they are told")
    add("unknown", saved_model(["Placeholder", "MyCustomShellOp"]), "suspicious", "an operator nobody knows")
    add("truncated", saved_model(["ReadFile"])[:-30], "not-clean", "the message ends early", "*")
    nested = field(2, node("Identity"))
    for _ in range(500):
        nested = field(2, nested)
    add("deep", field(1, 1) + field(2, nested), "not-clean", "a message five hundred deep", "*")

    corpus.hostile("tflite-flex.tflite", tflite(["FlexReadFile"]), "suspicious", "tflite", "a Flex operator that reads files")
    corpus.hostile("tflite-custom.tflite", tflite(["MyShellOp"]), "not-clean", "tflite", "a custom operator nobody knows")
    corpus.hostile("tflite-truncated.tflite", tflite(["FlexWriteFile"])[:24], "not-clean", "*", "the file ends early")
    corpus.hostile("tflite-vector.tflite", struct.pack("<I4s", 16, b"TFL3") + struct.pack("<IHHI", 0, 4, 4, 4) + struct.pack("<i", -8) + b"\xff" * 16, "not-clean", "*", "offsets that lead out of the file")


def tflite(custom):
    """A flatbuffer with an operator table and nothing else: Model { version, operator_codes [ { builtin 32, custom } ] }."""
    # Laid out by hand from the end of each table to its parts; offsets are relative to where they stand.
    out = bytearray(struct.pack("<I4s", 0, b"TFL3"))

    def pad(to=4):
        out.extend(bytes(-len(out) % to))

    # vtable of Model: size 8, table size 12, version at 4, operator_codes at 8.
    vtable = len(out)
    out.extend(struct.pack("<HHHH", 8, 12, 4, 8))
    pad()
    model = len(out)
    out.extend(struct.pack("<iII", model - vtable, 3, 0))
    struct.pack_into("<I", out, 0, model)
    vector = len(out)
    struct.pack_into("<I", out, model + 8, vector - (model + 8))
    out.extend(struct.pack("<I", len(custom)) + bytes(4 * len(custom)))
    # vtable of OperatorCode: deprecated_builtin_code, custom_code, version, builtin_code.
    code_vtable = len(out)
    out.extend(struct.pack("<HHHHHH", 12, 16, 12, 4, 0, 8))
    pad()
    for index, name in enumerate(custom):
        code = len(out)
        place = vector + 4 + 4 * index
        struct.pack_into("<I", out, place, code - place)
        out.extend(struct.pack("<iIi", code - code_vtable, 0, 32) + b"\x20\0\0\0")
        text = len(out)
        struct.pack_into("<I", out, code + 4, text - (code + 4))
        out.extend(struct.pack("<I", len(name)) + name.encode() + b"\0")
        pad()
    return bytes(out)


# -- Keras


def keras_archive(config, extra=None):
    members = {
        "metadata.json": json.dumps({"keras_version": "3.8.0", "date_saved": "2025-01-01@00:00:00"}),
        "config.json": config if isinstance(config, (str, bytes)) else json.dumps(config),
        "model.weights.h5": h5(lambda file: None),
    }
    members.update(extra or {})
    return zipped(members)


def sequential(*layers, module="keras"):
    return {
        "module": module, "class_name": "Sequential", "registered_name": None,
        "config": {"name": "m", "trainable": True, "dtype": None, "layers": list(layers), "build_input_shape": [None, 3]},
    }


def layer(class_name, config=None, module="keras.layers", registered=None):
    return {"module": module, "class_name": class_name, "config": config or {"name": "l"}, "registered_name": registered}


INPUT = layer("InputLayer", {"batch_shape": [None, 3], "dtype": "float32", "name": "i"})


def lambda_layer(payload):
    import base64
    import marshal

    namespace = {}
    exec(f"f = lambda x: (exec(\"{payload.code}\"), x)[1]", namespace)  # made here, run only by who loads it
    code = base64.b64encode(marshal.dumps(namespace["f"].__code__)).decode()
    function = {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}
    return layer("Lambda", {"name": "l", "function": function, "arguments": {}})


def keras_(corpus):
    def add(slug, config, expected, what, loader=None, form="keras_v3"):
        build = (lambda p: keras_archive(config(p))) if callable(config) else keras_archive(config)
        corpus.hostile(f"keras-{slug}.keras", build, expected, form, what, loader)

    add("lambda", lambda p: sequential(INPUT, lambda_layer(p)), "malicious", "a Lambda layer with marshalled code", "keras.unsafe")
    add("lambda-nested", lambda p: sequential(INPUT, layer("TimeDistributed", {"name": "t", "layer": lambda_layer(p)})), "malicious", "a Lambda layer inside a wrapper")
    add("lambda-in-model", lambda p: sequential(INPUT, sequential(INPUT, lambda_layer(p))), "malicious", "a Lambda layer in a model in a model")
    function = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}
    add("lambda-activation", sequential(INPUT, layer("Dense", {"name": "d", "units": 1, "activation": function})), "malicious", "marshalled code as an activation")
    add("module-os", sequential(INPUT, layer("system", "true", module="os")), "malicious", "a layer whose module is os")
    add("module-builtins-exec", sequential(INPUT, layer("exec", {}, module="builtins")), "malicious", "a layer whose class is builtins.exec")
    hook = {"module": "subprocess", "class_name": "function", "config": "getoutput", "registered_name": "function"}
    add("cve-2025-1550", sequential(INPUT, dict(layer("Dense", {"name": "d", "units": 1, "activation": hook}), build_config={"input_shape": [None, 3]})), "malicious", "an activation that is a function of another module")
    inbound = {"module": "subprocess", "class_name": "function", "config": "run", "registered_name": "function", "name": "l", "inbound_nodes": [{"args": [["true"]], "kwargs": {}}]}
    functional = {"module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional", "config": {"name": "m", "layers": [inbound], "input_layers": [], "output_layers": []}}
    add("cve-2025-1550-functional", functional, "malicious", "a functional model whose layer is subprocess.run")
    get_file = {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "function", "name": "l", "inbound_nodes": [{"args": ["m", "file:///nonexistent/mreg"], "kwargs": {}}]}
    add("cve-2025-8747-get-file", dict(functional, config=dict(functional["config"], layers=[get_file])), "malicious", "get_file as a layer: downloads while it loads")
    load_model = dict(get_file, config="load_model", module="keras.models")
    add("load-model", dict(functional, config=dict(functional["config"], layers=[load_model])), "malicious", "load_model as a layer: loads another file, without safe mode")
    add("enable-unsafe", dict(functional, config=dict(functional["config"], layers=[dict(get_file, module="keras.config", config="enable_unsafe_deserialization")])), "not-clean", "switches safe mode off while it loads")
    add("module-torch", sequential(INPUT, layer("TorchModuleWrapper", {"name": "t", "module": {"class_name": "bytes", "config": "gAJOLg=="}}, module="keras.layers")), "not-clean", "TorchModuleWrapper: a torch pickle in the configuration")
    add("module-user", sequential(INPUT, layer("MyLayer", module="mymodels.layers")), "suspicious", "a layer of a module nobody knows")
    add("registered-user", sequential(INPUT, layer("MyLayer", module=None, registered="MyPackage>MyLayer")), "not-clean", "a registered class that is not built in")
    add("module-keras-prefix", sequential(INPUT, layer("system", module="kerasx.layers")), "not-clean", "a module that only begins like keras")
    add("vocabulary-path", sequential(INPUT, layer("StringLookup", {"name": "s", "vocabulary": "/nonexistent/mreg"})), "not-clean", "a vocabulary read from a path of the host")
    add("compile-metric", dict(sequential(INPUT), compile_config={"loss": {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}}), "malicious", "a loss function of another module")
    add("config-broken", '{"module": "keras", "class_name": "Lambda"', "not-clean", "a configuration that is no JSON")
    add("config-deep", '{"a":' * 5000 + "1" + "}" * 5000, "not-clean", "a configuration five thousand deep")
    add("config-duplicate", '{"module": "keras", "class_name": "Sequential", "config": {"layers": []}, "class_name": "Lambda"}', "not-clean", "a key twice")

    def with_pickle(payload):
        return keras_archive(sequential(INPUT), {"assets/state.pkl": hostile_pickle(payload)})

    corpus.hostile("keras-asset-pickle.keras", with_pickle, "malicious", "keras_v3", "a hostile pickle among the assets")
    corpus.hostile("keras-asset-traversal.keras", keras_archive(sequential(INPUT), {"assets/../../../nonexistent/mreg": "x"}), "malicious", "keras_v3", "an asset whose path leads out")
    corpus.hostile("keras-architecture-lambda.json", lambda p: json.dumps(sequential(INPUT, lambda_layer(p))).encode(), "malicious", "json", "an architecture as JSON with a Lambda layer")
    corpus.hostile("keras-architecture.yaml", b"class_name: Sequential\nconfig:\n  layers:\n  - class_name: Lambda\n    config: !!python/object/apply:os.system ['true']\n", "malicious", "text", "an architecture as YAML with a Python tag")


def h5(fill):
    import tempfile
    from pathlib import Path

    import h5py

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "f.h5"
        with h5py.File(path, "w") as file:
            fill(file)
        return path.read_bytes()


def hdf5_(corpus):
    import h5py

    def add(slug, fill, expected, what):
        corpus.hostile(f"hdf5-{slug}.h5", h5(fill), expected, "hdf5", what)

    def config(value):
        def fill(file):
            file.attrs["keras_version"] = "2.11.0"
            file.attrs["model_config"] = json.dumps(value)
            file.create_group("model_weights")

        return fill

    def build_lambda(payload):
        return h5(config({"class_name": "Sequential", "config": {"name": "m", "layers": [{"class_name": "Lambda", "config": {"name": "l", "function": ["4wEAAAA=", None, None], "function_type": "lambda", "module": "__main__"}}]}}))

    corpus.hostile("hdf5-lambda.h5", build_lambda, "malicious", "hdf5", "Keras 2 with a Lambda layer")
    add("lambda-nested", config({"class_name": "Model", "config": {"layers": [{"class_name": "Model", "config": {"layers": [{"class_name": "Lambda", "config": {}}]}}]}}), "malicious", "a Lambda layer in a model in a model")

    def training(file):
        config({"class_name": "Sequential", "config": {"layers": []}})(file)
        file.attrs["training_config"] = json.dumps({"loss": {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}})

    add("training-config", training, "malicious", "os.system in the training configuration")
    add("custom-layer", config({"class_name": "Sequential", "config": {"layers": [{"class_name": "MyLayer", "config": {}}]}}), "suspicious", "a layer that is not built in")

    def external_link(file):
        file["weights"] = h5py.ExternalLink("/nonexistent/mreg.h5", "/")

    add("external-link", external_link, "malicious", "a link into another file")

    def external_link_deep(file):
        group = file.create_group("a/b/c")
        group["w"] = h5py.ExternalLink("../../nonexistent.h5", "/w")

    add("external-link-deep", external_link_deep, "malicious", "a link into another file, three groups down")

    def external_storage(file):
        file.create_dataset("w", (16,), "u1", external=[("/nonexistent/mreg", 0, 16)])

    add("external-storage", external_storage, "malicious", "a dataset whose octets are another file's")

    def virtual(file):
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource("/nonexistent/mreg.h5", "w", (4,))
        file.create_virtual_dataset("w", layout)

    add("virtual", virtual, "malicious", "a virtual dataset over another file")

    def latest(path_fill):
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "f.h5"
            with h5py.File(path, "w", libver="latest") as file:
                path_fill(file)
            return path.read_bytes()

    corpus.hostile("hdf5-latest-external-link.h5", latest(external_link), "malicious", "hdf5", "a link into another file, in the newest file format")

    def dense(file):
        group = file.create_group("many")
        for index in range(20):
            group[f"l{index}"] = h5py.ExternalLink("/nonexistent/mreg.h5", "/")

    corpus.hostile("hdf5-latest-dense-links.h5", latest(dense), "malicious", "hdf5", "twenty such links, stored densely")
    plain = h5(lambda file: file.create_dataset("w", data=numpy.arange(4.0)))
    corpus.hostile("hdf5-user-block-pickle.h5", lambda p: hostile_pickle(p, 2).ljust(512, b"\0") + plain, "malicious", "*", "a hostile pickle in the block before the file", "pickle")
    corpus.hostile("hdf5-trailing-pickle.h5", lambda p: plain + hostile_pickle(p), "malicious", "hdf5", "a hostile pickle behind the file")
    corpus.hostile("hdf5-truncated.h5", plain[: len(plain) // 2], "not-clean", "hdf5", "the file ends early")
    corpus.hostile("hdf5-scribbled.h5", plain[:96] + b"\xff" * 64 + plain[160:], "not-clean", "hdf5", "object headers overwritten")


# -- YAML, skops, XML, JSON, source


def yaml_(corpus):
    def add(slug, octets, expected, what, loader=None):
        corpus.hostile(f"yaml-{slug}.yaml", octets, expected, "text", what, loader)

    add("apply", lambda p: f"!!python/object/apply:os.system ['{p.command}']\n".encode(), "malicious", "a Python call", "yaml")
    add("nested", lambda p: f"model:\n  name: m\n  hooks:\n  - !!python/object/apply:os.system\n    - {p.command}\n".encode(), "malicious", "a Python call deep in a configuration", "yaml")
    add("object-new", lambda p: f"x: !!python/object/new:subprocess.Popen [['{p.argv[0]}', '{p.argv[-1]}']]\n".encode(), "malicious", "a Python object", "yaml")
    add("tag-directive", lambda p: f"%TAG !p! tag:yaml.org,2002:python/\n---\nx: !p!object/apply:os.system ['{p.command}']\n".encode(), "malicious", "the tag's prefix has another name", "yaml")
    add("tag-verbatim", lambda p: f"x: !<tag:yaml.org,2002:python/object/apply:os.system> ['{p.command}']\n".encode(), "malicious", "the tag is verbatim", "yaml")
    add("tag-escaped", lambda p: f"x: !!python%2Fobject/apply:os.system ['{p.command}']\n".encode(), "malicious", "the tag has an escape", "yaml")
    add("name", b"x: !!python/name:os.system\n", "malicious", "a Python name")
    add("module", b"x: !!python/module:os\n", "malicious", "a Python module")
    add("second-document", lambda p: f"a: 1\n---\nb: 2\n---\n!!python/object/apply:os.system ['{p.command}']\n".encode(), "malicious", "the third document")
    add("hydra", b"model:\n  _target_: os.system\n  _args_: ['true']\n", "malicious", "a Hydra target that is os.system")
    add("hydra-nested", b"trainer:\n  callbacks:\n  - _target_: subprocess.run\n    args: ['true']\n", "malicious", "a Hydra target deep down")
    add("hydra-quoted", b"'_target_': \"builtins.eval\"\n_args_: ['1']\n", "malicious", "a Hydra target in quotes")
    add("hydra-flow", b"{model: {_target_: builtins.exec, _args_: ['pass']}}\n", "malicious", "a Hydra target in flow style")
    add("target", b"model:\n  target: os.system\n  params: {command: 'true'}\n", "malicious", "a target as latent diffusion writes it")
    corpus.hostile("hydra.json", b'{"model": {"_target_": "posix.system", "_args_": ["true"]}}', "malicious", "json", "a Hydra target in JSON")


def skops_(corpus):
    def schema(value, members=None):
        content = {"__class__": "LogisticRegression", "__module__": "sklearn.linear_model._logistic", "__loader__": "ObjectNode", "content": value, "protocol": 2, "_skops_version": "0.11.0"}
        return zipped({"schema.json": json.dumps(content), **(members or {})})

    def state(item):
        return {"__class__": "dict", "__module__": "builtins", "__loader__": "DictNode", "content": {"coef_": item}, "key_types": {}}

    function = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "content": {"module_path": "os", "function": "system"}}
    corpus.hostile("skops-function.skops", schema(state(function)), "malicious", "skops", "a function node that is os.system")
    partial = {"__class__": "partial", "__module__": "functools", "__loader__": "PartialNode", "content": {"func": function, "args": ["true"], "kwds": {}, "namespace": {}}}
    corpus.hostile("skops-partial.skops", schema(state(partial)), "malicious", "skops", "a partial of os.system")
    corpus.hostile("skops-type.skops", schema(state({"__class__": "Popen", "__module__": "subprocess", "__loader__": "TypeNode"})), "malicious", "skops", "a type node that is subprocess.Popen")
    corpus.hostile("skops-method.skops", schema(state({"__class__": "method", "__module__": "builtins", "__loader__": "MethodNode", "content": {"func": "eval", "obj": {"__class__": "module", "__module__": "builtins"}}})), "not-clean", "skops", "a method node")
    corpus.hostile("skops-unknown.skops", schema(state({"__class__": "MyEstimator", "__module__": "mymodels", "__loader__": "ObjectNode", "content": None})), "suspicious", "skops", "a class nobody knows")
    corpus.hostile("skops-member-pickle.skops", lambda p: schema(state({"__class__": "ndarray", "__module__": "numpy", "__loader__": "NdArrayNode", "type": "numpy", "file": "1.npy"}), {"1.npy": hostile_pickle(p, 3)}), "malicious", "skops", "a member is a hostile pickle")
    operator = {"__class__": "methodcaller", "__module__": "operator", "__loader__": "OperatorFuncNode", "attrs": ["system", "true"]}
    corpus.hostile("skops-operator.skops", schema(state(operator)), "malicious", "skops", "operator.methodcaller, a published bypass of its trusted types")
    corpus.hostile("skops-deep.skops", zipped({"schema.json": '{"content":' * 3000 + "1" + "}" * 3000}), "not-clean", "skops", "a schema three thousand deep")


def xml_(corpus):
    corpus.hostile("pmml-entity.pmml", b'<?xml version="1.0"?>\n<!DOCTYPE PMML [<!ENTITY x SYSTEM "file:///nonexistent/mreg">]>\n<PMML version="4.4"><Header description="&x;"/></PMML>\n', "malicious", "xml", "PMML with an external entity")
    corpus.hostile("pmml-doctype.pmml", b'<?xml version="1.0"?>\n<!DOCTYPE PMML SYSTEM "file:///nonexistent/mreg.dtd">\n<PMML version="4.4"/>\n', "malicious", "xml", "PMML with an external DTD")
    corpus.hostile("pmml-laughs.pmml", b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]><PMML>&c;</PMML>', "malicious", "xml", "entities that unfold")
    corpus.hostile("openvino-library.xml", b'<?xml version="1.0"?>\n<net name="m" version="11"><layers><layer id="0" name="x" type="Custom" version="extension" library="/nonexistent/mreg.so"/></layers></net>\n', "not-clean", "xml", "OpenVINO with a library to load")
    corpus.hostile("openvino-extension.xml", b'<?xml version="1.0"?>\n<net name="m" version="11"><layers><layer id="0" name="x" type="MyOp" version="extension"/></layers></net>\n', "suspicious", "xml", "OpenVINO with a layer of an extension")
    utf16 = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE PMML [<!ENTITY x SYSTEM "file:///nonexistent/mreg">]><PMML>&x;</PMML>'.encode("utf-16")
    corpus.hostile("pmml-utf16.pmml", utf16, "not-clean", "*", "the same in UTF-16")


def json_(corpus):
    corpus.hostile("config-auto-map.json", json.dumps({"architectures": ["MyModel"], "auto_map": {"AutoModel": "modeling_my.MyModel"}, "model_type": "my"}, indent=1).encode(), "suspicious", "json", "auto_map: the loader runs Python of this repository")
    corpus.hostile("config-auto-map-remote.json", json.dumps({"auto_map": {"AutoModel": "somebody/else--modeling.MyModel"}}).encode(), "suspicious", "json", "auto_map: the loader runs Python of another repository")
    corpus.hostile("tokenizer_config-auto-map.json", json.dumps({"auto_map": {"AutoTokenizer": ["tokenization_my.MyTokenizer", None]}}).encode(), "suspicious", "json", "auto_map in a tokeniser configuration")
    corpus.hostile("json-deep.json", b"[" * 20000 + b"]" * 20000, "not-clean", "*", "twenty thousand arrays deep")
    corpus.hostile("json-deep-objects.json", b'{"a":' * 20000 + b"1" + b"}" * 20000, "not-clean", "*", "twenty thousand objects deep")


def source_(corpus):
    rows = [
        ("modeling_my.py", b"import os\n\nos.system('true')\n", "Python"),
        ("setup.sh", b"#!/bin/sh\ntrue\n", "a shell script"),
        ("demo.js", b"require('child_process').exec('true')\n", "JavaScript"),
        ("notebook.ipynb", json.dumps({"cells": [{"cell_type": "code", "source": ["import os\n", "os.system('true')"], "outputs": [], "metadata": {}, "execution_count": None}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode(), "a notebook with code"),
        ("run.bat", b"@echo off\r\nrem\r\n", "a batch file"),
    ]
    for name, octets, what in rows:
        corpus.hostile(f"source-{name}", octets, "suspicious", "source", what)


def native_(corpus):
    elf = b"\x7fELF\x02\x01\x01\0" + bytes(8) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0)
    pe = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 0, 0, 0, 0, 0, 0x22)
    rows = [
        ("elf.so", elf, "an ELF library"),
        ("elf-disguised.safetensors", elf, "ELF named .safetensors"),
        ("elf-model.bin", elf, "ELF named .bin"),
        ("pe.dll", pe, "a Windows library"),
        ("pe-disguised.onnx", pe, "a Windows program named .onnx"),
        ("macho.dylib", b"\xcf\xfa\xed\xfe" + struct.pack("<IIIIII", 0x0100000C, 0, 6, 0, 0, 0) + bytes(4), "Mach-O"),
        ("macho-fat.dylib", b"\xca\xfe\xba\xbe" + struct.pack(">I", 1) + struct.pack(">IIIII", 7, 3, 4096, 0, 12), "Mach-O for several processors"),
        ("ape.llamafile", b"MZqFpD='\n\n" + bytes(54) + zipped({"model.gguf": b"GGUF"}), "an executable for several systems with an archive behind it"),
    ]
    for name, octets, what in rows:
        corpus.hostile(f"native-{name}", octets, "malicious", "executable", what)
    corpus.hostile("native-elf-in.zip", zipped({"lib/model.txt": elf}), "malicious", "zip", "ELF in a zip, named .txt")
    corpus.hostile("native-java.ser", b"\xac\xed\0\5sr\0\x11java.util.HashMap", "unscannable", "java_serialized", "a serialised Java object")
    corpus.hostile("native-java.class", b"\xca\xfe\xba\xbe\0\0\0\x34" + bytes(16), "not-clean", "executable", "a Java class")
    corpus.hostile("native-r.rds", b"X\n\0\0\0\2\0\4\2\1\0\2\3\0\0\0\0\xfe", "unscannable", "r_data", "a serialised R object")


def opaque_(corpus):
    corpus.hostile("opaque-seven.7z", b"7z\xbc\xaf\x27\x1c\0\4" + bytes(24), "unscannable", "7z", "7-Zip: nothing here can look inside")
    corpus.hostile("opaque-seven-disguised.bin", b"7z\xbc\xaf\x27\x1c\0\4" + bytes(24), "unscannable", "7z", "7-Zip named .bin, as in a published attack")
    corpus.hostile("opaque.rar", b"Rar!\x1a\x07\x01\0" + bytes(24), "unscannable", "rar", "RAR")
    corpus.hostile("opaque-noise.bin", bytes((n * 197 + n // 7 * 31 + 0x83) & 0xFF | 0x01 for n in range(600)), "not-clean", "*", "noise of no format")
    corpus.hostile("opaque-zeros.bin", bytes(512), "not-clean", "*", "zeros")
