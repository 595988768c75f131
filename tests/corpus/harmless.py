"""Harmless files, written by the real libraries wherever there is one."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import tempfile
import wave
import zipfile
import zlib
from pathlib import Path

import numpy

SEED = 7


def make(corpus):
    estimators(corpus)
    joblibs(corpus)
    plain_pickles(corpus)
    arrays(corpus)
    torches(corpus)
    safetensors_(corpus)
    ggufs(corpus)
    onnxes(corpus)
    keras_(corpus)
    tensorflow_(corpus)
    boosters(corpus)
    skops_(corpus)
    texts(corpus)
    media(corpus)
    archives(corpus)
    frames(corpus)
    user_classes(corpus)


def written(write, suffix=""):
    """The octets of a file that `write` makes."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"f{suffix}"
        write(str(path))
        return path.read_bytes()


def data():
    generator = numpy.random.RandomState(SEED)
    features = generator.rand(24, 3)
    return features, features @ [1.0, 2.0, 3.0], (features[:, 0] > 0.5).astype(int)


def fitted():
    from sklearn.cluster import KMeans
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import PCA
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    features, numbers, classes = data()
    return {
        "linear": LinearRegression().fit(features, numbers),
        "logistic": LogisticRegression().fit(features, classes),
        "tree": DecisionTreeClassifier(max_depth=2, random_state=SEED).fit(features, classes),
        "forest": RandomForestClassifier(n_estimators=2, max_depth=2, random_state=SEED).fit(features, classes),
        "boosting": GradientBoostingClassifier(n_estimators=2, max_depth=2, random_state=SEED).fit(features, classes),
        "svc": SVC().fit(features, classes),
        "neighbours": KNeighborsClassifier(3).fit(features, classes),
        "bayes": GaussianNB().fit(features, classes),
        "kmeans": KMeans(2, n_init=1, random_state=SEED).fit(features),
        "pca": PCA(2).fit(features),
        "scaler": StandardScaler().fit(features),
        "pipeline": make_pipeline(StandardScaler(), LogisticRegression()).fit(features, classes),
        "columns": ColumnTransformer([("a", MinMaxScaler(), [0]), ("b", OneHotEncoder(handle_unknown="ignore"), [1])]).fit(features),
        "mlp": MLPClassifier((3,), max_iter=5, random_state=SEED).fit(features, classes),
    }


def estimators(corpus):
    for protocol, name in [(0, "linear"), (1, "logistic"), (2, "tree"), (3, "svc"), (4, "pipeline"), (5, "forest"), (2, "pca"), (0, "scaler"), (4, "kmeans"), (5, "bayes"), (4, "boosting"), (5, "neighbours"), (4, "columns"), (5, "mlp")]:
        octets = pickle.dumps(fitted()[name], protocol)
        corpus.harmless(f"sklearn-{name}-p{protocol}.pkl", octets, judge(octets), "pickle", f"sklearn {name} by pickle protocol {protocol}")


def listed_class(module, name):
    """Scanning.md, 4.3: what a harmless file may name and still be clean."""
    exact = {
        # Beyond the first list, and as harmless: what protocol 0 and 1 write for any object, and what numpy and sklearn's
        # compiled classes name since their newest versions.
        ("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"), ("builtins", "object"), ("__builtin__", "object"),
        ("numpy.random._mt19937", "MT19937"), ("sklearn.neighbors._kd_tree", "newObj"), ("sklearn.metrics._dist_metrics", "newObj"),
        ("numpy._core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "scalar"), ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"), ("numpy._core.numeric", "_frombuffer"), ("numpy.core.numeric", "_frombuffer"),
        ("numpy", "dtype"), ("numpy", "ndarray"), ("_codecs", "encode"), ("joblib.numpy_pickle", "NumpyArrayWrapper"),
        ("collections", "OrderedDict"), ("collections", "defaultdict"), ("collections", "Counter"), ("collections", "deque"),
        ("numpy.random._pickle", "__randomstate_ctor"), ("numpy.random._pickle", "__bit_generator_ctor"), ("numpy.random._pickle", "__generator_ctor"),
        ("torch.nn.parameter", "Parameter"), ("torch.serialization", "_get_layout"), ("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID"),
    }
    sets = {
        "builtins": "set frozenset list dict tuple int long float complex bool str unicode bytes bytearray slice range xrange",
        "__builtin__": "set frozenset list dict tuple int long float complex bool str unicode bytes bytearray slice range xrange",
        "datetime": "date time datetime timedelta timezone",
        "torch._utils": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter _rebuild_sparse_tensor _rebuild_qtensor _rebuild_meta_tensor_no_storage",
        "torch.storage": "UntypedStorage TypedStorage _load_from_bytes",
        "pathlib": "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath",
    }
    if (module, name) in exact or name in sets.get(module, "").split():
        return True
    if module == "numpy":
        return isinstance(getattr(numpy, name, None), type) and issubclass(getattr(numpy, name), numpy.generic)
    if module == "torch":
        return name.endswith("Storage") or name in {"Size", "device", "Tensor"} or name.startswith("float") or name.startswith("int")
    prefixes = ("sklearn.", "xgboost.", "lightgbm.", "catboost.", "imblearn.", "torch.nn.modules.")
    return module.startswith(prefixes) and name[:1].isupper() and name.isidentifier()


def judge(octets, where=0):
    """Clean if all globals a plain pickle names are listed, else suspicious."""
    import pickletools

    strings, memo, last = [], {}, None
    for opcode, argument, _ in pickletools.genops(octets[where:]):
        if opcode.name == "GLOBAL":
            pair = tuple(argument.split(" ", 1))
        elif opcode.name == "STACK_GLOBAL":
            pair = tuple(strings[-2:])
        else:
            if opcode.name == "MEMOIZE":
                memo[len(memo)] = last
            elif opcode.name in ("BINPUT", "LONG_BINPUT", "PUT"):
                memo[int(argument)] = last
            elif opcode.name in ("BINGET", "LONG_BINGET", "GET"):
                last = memo.get(int(argument))
                if isinstance(last, str):
                    strings.append(last)
            else:
                last = argument if isinstance(argument, str) else None
                if last is not None:
                    strings.append(last)
            continue
        last = None
        if not listed_class(*pair):
            return "suspicious"
    return "clean"


def joblibs(corpus):
    import joblib

    def dumped(value, **options):
        return written(lambda path: joblib.dump(value, path, **options))

    models = fitted()
    # Judged by what the same estimator names as a plain pickle: joblib adds its array wrapper, which is listed.
    for name in ("linear", "forest", "pipeline", "svc", "kmeans"):
        corpus.harmless(f"joblib-{name}.joblib", dumped(models[name]), judge(pickle.dumps(models[name], 4)), "pickle", f"sklearn {name} by joblib: arrays stand in the stream")
    for method, form in [("zlib", "zlib"), ("gzip", "gzip"), ("bz2", "bzip2"), ("xz", "xz"), ("lzma", "lzma"), ("lz4", "lz4")]:
        corpus.harmless(f"joblib-{method}.joblib", dumped(models["logistic"], compress=(method, 3)), "clean", form, f"sklearn logistic regression by joblib with {method}")
    corpus.harmless("joblib-arrays.joblib", dumped({"a": numpy.arange(12.0).reshape(3, 4), "b": numpy.zeros(5, "u1"), "n": [1, "two"]}), "clean", "pickle", "a dict with arrays and what follows them")
    corpus.harmless("joblib-fortran.joblib", dumped([numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)), "behind"]), "clean", "pickle", "a Fortran-ordered array")
    corpus.harmless("joblib-empty-array.joblib", dumped([numpy.zeros((0, 4)), 1, numpy.ones(1)]), "clean", "pickle", "an array without elements between others")
    corpus.harmless("joblib-objects.joblib", dumped({"o": numpy.array(["a", None, 3], dtype=object)}), "clean", "pickle", "an object array of constants: a nested pickle")
    corpus.harmless("joblib-p2.joblib", dumped(models["linear"], protocol=2), "clean", "pickle", "joblib with protocol 2")


def plain_pickles(corpus):
    import collections
    import datetime
    import decimal
    import fractions
    import pathlib
    import uuid

    values = {
        "dict-p0": ({"a": 1, "b": [1.5, None, True], "c": "text\n\u00e9\u4e2d"}, 0),
        "dict-p1": ({"a": 1, "b": (1, 2, 3, 4)}, 1),
        "numbers-p2": ([2**70, -1, 1 << 31, 3.25, 1 + 2j], 2),
        "bytes-p2": ({"raw": bytes(range(256)), "empty": b""}, 2),
        "bytes-p3": ({"raw": bytes(range(256)), "array": bytearray(b"abc")}, 3),
        "sets-p4": ({"s": {1, 2}, "f": frozenset([3])}, 4),
        "bytearray-p5": ([bytearray(b"abc" * 100), b"x" * 300], 5),
        "collections-p4": ([collections.OrderedDict(a=1), collections.Counter("aab"), collections.deque([1], 3), collections.defaultdict(list, {1: [2]})], 4),
        "times-p4": ([datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc), datetime.date(2024, 1, 2), datetime.timedelta(1)], 4),
        "decimals-p4": ([decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=5)], 4),
        "paths-p4": ([pathlib.PurePosixPath("a/b"), pathlib.PosixPath("c")], 4),
        "slices-p5": ([slice(1, 2), range(3)], 5),
        "strings-like-code-p4": ({"note": "os.system", "list": ["eval", "__import__", "subprocess"]}, 4),
        "labels-p0": (["cos", "system", "cos\nsystem\n(S'true'\ntR."], 0),
    }
    for slug, (value, protocol) in values.items():
        octets = pickle.dumps(value, protocol)
        corpus.harmless(f"plain-{slug}.pkl", octets, "clean", "pickle", f"constants and listed classes: {slug}")
    deep = []
    for _ in range(200):
        deep = [deep]
    corpus.harmless("plain-deep-p4.pkl", pickle.dumps(deep, 4), "clean", "pickle", "lists two hundred deep")
    generator = numpy.random.RandomState(SEED)
    corpus.harmless("plain-numpy-p2.pkl", pickle.dumps({"a": numpy.arange(5), "s": numpy.float32(1.5)}, 2), "clean", "pickle", "numpy arrays and scalars at protocol 2")
    corpus.harmless("plain-numpy-p5.pkl", pickle.dumps({"a": numpy.arange(5.0), "d": numpy.dtype([("x", "<i4")])}, 5), "clean", "pickle", "numpy arrays in band at protocol 5")
    corpus.harmless("plain-random-state-p4.pkl", pickle.dumps(generator, 4), judge(pickle.dumps(generator, 4)), "pickle", "a numpy RandomState")


def arrays(corpus):
    def npy(array, **options):
        buffer = io.BytesIO()
        numpy.save(buffer, array, **options)
        return buffer.getvalue()

    rows = {
        "float64": numpy.arange(6.0).reshape(2, 3),
        "int8": numpy.arange(5, dtype="i1"),
        "bool": numpy.array([True, False]),
        "complex": numpy.array([1 + 2j]),
        "scalar": numpy.array(3.5),
        "empty": numpy.zeros((0, 3)),
        "big-endian": numpy.arange(4, dtype=">i4"),
        "unicode": numpy.array(["eins", "zwei"]),
        "structured": numpy.array([(1, 2.0, b"ab")], dtype=[("a", "<i4"), ("b", "<f8"), ("c", "S2")]),
        "sub-array": numpy.zeros(2, dtype=[("m", "<f4", (2, 2))]),
        "datetime": numpy.array(["2024-01-02"], dtype="datetime64[D]"),
        "fortran": numpy.asfortranarray(numpy.ones((2, 3))),
        "float16": numpy.ones(3, "f2"),
    }
    for slug, array in rows.items():
        corpus.harmless(f"array-{slug}.npy", npy(array), "clean", "npy", f"numpy.save: {slug}")
    buffer = io.BytesIO()
    numpy.lib.format.write_array(buffer, numpy.arange(3), version=(2, 0))
    corpus.harmless("array-version2.npy", buffer.getvalue(), "clean", "npy", "header version 2")
    buffer = io.BytesIO()
    numpy.lib.format.write_array(buffer, numpy.array([(1,)], dtype=[("\u00e9", "<i4")]), version=(3, 0))
    corpus.harmless("array-version3.npy", buffer.getvalue(), "clean", "npy", "header version 3: a field with an accent")
    corpus.harmless("array-objects.npy", npy(numpy.array(["a", 1, None], dtype=object), allow_pickle=True), "suspicious", "npy", "an object array of constants")

    def npz(save, **members):
        buffer = io.BytesIO()
        save(buffer, **members)
        return buffer.getvalue()

    corpus.harmless("arrays.npz", npz(numpy.savez, weights=rows["float64"], bias=rows["int8"]), "clean", "npz", "numpy.savez")
    corpus.harmless("arrays-compressed.npz", npz(numpy.savez_compressed, weights=numpy.zeros((64, 64)), bias=rows["int8"]), "clean", "npz", "numpy.savez_compressed")


def torches(corpus):
    import torch
    from torch import nn

    torch.manual_seed(SEED)

    def saved(value, **options):
        return written(lambda path: torch.save(value, path, **options), ".pt")

    small = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    state = small.state_dict()
    corpus.harmless("torch-state-dict.pt", saved(state), "clean", "pytorch_zip", "a state dict")
    corpus.harmless("torch-tensor.pt", saved(torch.arange(6).reshape(2, 3)), "clean", "pytorch_zip", "one tensor")
    corpus.harmless("torch-checkpoint.pth", saved({"epoch": 3, "model": state, "loss": 0.5, "note": "ok"}), "clean", "pytorch_zip", "a checkpoint with numbers and text")
    optimiser = torch.optim.SGD(small.parameters(), lr=0.1, momentum=0.9)
    corpus.harmless("torch-optimiser.bin", saved({"model": state, "optimizer": optimiser.state_dict()}), "clean", "pytorch_zip", "model and optimiser state")
    state_of_numpy = numpy.random.RandomState(SEED).get_state()
    corpus.harmless("rng_state.pth", saved({"python": (3, tuple(range(10)), None), "numpy": (state_of_numpy[0], state_of_numpy[1][:16], *state_of_numpy[2:]), "cpu": torch.arange(16, dtype=torch.uint8)}), "clean", "pytorch_zip", "the states of the random generators, with a numpy array")
    corpus.harmless("torch-dtypes.pt", saved({str(d): torch.zeros(2, dtype=d) for d in (torch.float16, torch.bfloat16, torch.int8, torch.bool, torch.float64, torch.complex64)}), "clean", "pytorch_zip", "tensors of many types")
    corpus.harmless("torch-views.pt", saved([state["0.weight"][0], state["0.weight"].t()]), "clean", "pytorch_zip", "views of one storage")
    corpus.harmless("torch-parameters.pt", saved(list(small.parameters())), "clean", "pytorch_zip", "parameters")
    corpus.harmless("torch-sparse.pt", saved(torch.eye(3).to_sparse()), "clean", "pytorch_zip", "a sparse tensor")
    corpus.harmless("torch-module.pt", saved(small), "clean", "pytorch_zip", "a whole module of torch.nn's own classes")
    corpus.harmless("torch-conv.pt", saved(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten())), "clean", "pytorch_zip", "a convolution")
    corpus.harmless("torch-proto4.pt", saved(state, pickle_protocol=4), "clean", "pytorch_zip", "a state dict with protocol 4")
    corpus.harmless("torch-legacy-state-dict.pt", saved(state, _use_new_zipfile_serialization=False), "clean", "pytorch_legacy", "a state dict in the format before 1.6")
    corpus.harmless("torch-legacy-module.pt", saved(small, _use_new_zipfile_serialization=False), "suspicious", "pytorch_legacy", "a whole module in the format before 1.6: classes are persistent ids with their source")
    corpus.harmless("torch-legacy-tensor.bin", saved(torch.ones(3), _use_new_zipfile_serialization=False), "clean", "pytorch_legacy", "one tensor in the format before 1.6")
    corpus.harmless("torch-legacy-views.pt", saved([state["0.weight"][0], state["0.weight"].t()], _use_new_zipfile_serialization=False), "clean", "pytorch_legacy", "views in the format before 1.6")
    corpus.harmless("torchscript.pt", written(lambda path: torch.jit.save(torch.jit.script(small), path), ".pt"), "clean", "torchscript", "a scripted module")
    corpus.harmless("torchscript-traced.pt", written(lambda path: torch.jit.save(torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3)), path), ".pt"), "clean", "torchscript", "a traced module: its inputs name torch.jit._pickle.restore_type_tag")


def safetensors_(corpus):
    from safetensors.numpy import save

    def saved(tensors, metadata=None):
        return save(tensors, metadata)

    corpus.harmless("one.safetensors", saved({"w": numpy.arange(6.0, dtype="f4").reshape(2, 3)}), "clean", "safetensors", "one tensor")
    corpus.harmless("metadata.safetensors", saved({"w": numpy.zeros(2, "f4")}, {"format": "pt", "note": "eins"}), "clean", "safetensors", "with metadata")
    corpus.harmless("dtypes.safetensors", saved({f"t{n}": numpy.zeros(3, d) for n, d in enumerate(["f4", "f8", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"])}), "clean", "safetensors", "tensors of twelve types")
    corpus.harmless("empty.safetensors", saved({}), "clean", "safetensors", "no tensors at all")
    corpus.harmless("scalar.safetensors", saved({"s": numpy.array(1.0, "f4"), "z": numpy.zeros((0, 3), "f4")}), "clean", "safetensors", "a scalar and an empty tensor")
    import torch
    from safetensors.torch import save as save_torch

    corpus.harmless("bfloat16.safetensors", save_torch({"w": torch.zeros(4, dtype=torch.bfloat16), "f8": torch.zeros(4, dtype=torch.float8_e4m3fn)}), "clean", "safetensors", "bfloat16 and 8-bit floats")


# A chat template in the style of those that models ship: namespace, loops, tools, exceptions, the date.
CHAT_TEMPLATE = """{%- if strftime_now is defined %}{%- set date = strftime_now("%d %b %Y") %}{%- else %}{%- set date = "26 Jul 2024" %}{%- endif %}
{%- set ns = namespace(system='', is_first=true) %}
{%- for message in messages %}{%- if message['role'] == 'system' %}{%- set ns.system = message['content'] | trim %}{%- endif %}{%- endfor %}
{{- bos_token }}
{%- if tools is defined and tools %}
{{- '<|system|>\\nYou have these tools:\\n' }}
{%- for tool in tools %}{{- tool | tojson(indent=4) }}{{- '\\n\\n' }}{%- endfor %}
{%- elif ns.system %}{{- '<|system|>\\n' + ns.system + '\\nToday is ' + date + '<|end|>\\n' }}{%- endif %}
{%- for message in messages %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) and ns.is_first %}{{- raise_exception('Roles must alternate user/assistant/user/assistant/...') }}{%- endif %}
{%- if message.role == 'user' %}{{- '<|user|>\\n' + message['content'] | trim + '<|end|>\\n' }}
{%- elif message.role == 'assistant' %}
{%- if message.tool_calls is defined and message.tool_calls %}{%- for call in message.tool_calls %}{{- '{"name": "' + call.function.name + '", "arguments": ' }}{{- call.function.arguments | tojson }}{{- '}' }}{%- endfor %}
{%- else %}{%- set content = message.content.split('</think>')[-1].lstrip('\\n') if '</think>' in message.content else message.content %}{{- '<|assistant|>\\n' + content + '<|end|>\\n' }}{%- endif %}
{%- elif message.role in ['tool', 'ipython'] %}{%- if message.content is mapping or message.content is iterable and message.content is not string %}{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- else %}{{- eos_token }}{%- endif %}
"""

CHATML = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

MACROS = """{%- macro render(items, depth=0) -%}
{%- for item in items | sort(attribute='name') | selectattr('name', 'defined') | list -%}
{{ item.name | upper }}: {{ item.get('type', 'any') | default('string', true) }}{% if not loop.last %}, {% endif %}
{%- endfor -%}
{%- endmacro -%}
{{ render(tools | default([]) | map('lower') | unique | list) }}{{ messages | length }} {{ messages[-1].content | e }} {{ range(3) | join(',') }} {{ {"a": 1}.items() | list | string }}"""


TEMPLATES = {
    "plain": "{% for m in messages %}{% if loop.first and m.role != 'system' %}{{ '<<SYS>>You are helpful.<</SYS>>' }}{% endif %}{{ '[' + m['role'] | upper + '] ' + m['content'].strip() }}{% if not loop.last %}{{ '\\n' }}{% endif %}{% endfor %}",
    "tools": """{%- set tools_in_user_message = tools_in_user_message | default(true) %}
{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}{%- else %}{%- set system = '' %}{%- endif %}
{%- if tools is not none and not tools_in_user_message %}{%- for t in tools %}{{ t | tojson(indent=4) }}{{ '\\n' }}{%- endfor %}{%- endif %}
{%- for message in messages %}
{%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}{{ '<|start|>' + message['role'] + '<|end|>\\n' + message['content'] | trim + '<|eot|>' }}
{%- elif 'tool_calls' in message %}{%- if not message.tool_calls | length == 1 %}{{ raise_exception('This model supports one tool call at a time.') }}{%- endif %}
{%- set call = message.tool_calls[0].function %}{{ call.name + '(' }}{%- for name, value in call.arguments.items() %}{{ name + '="' + value + '"' }}{%- if not loop.last %}{{ ', ' }}{%- endif %}{%- endfor %}{{ ')' }}
{%- endif %}
{%- endfor %}""",
    "thinking": """{%- set ns = namespace(multi_step=true, last=messages | length - 1) %}
{%- for message in messages[::-1] %}{%- set index = (messages | length - 1) - loop.index0 %}
{%- if ns.multi_step and message.role == 'user' and message.content is string and not (message.content.startswith('<response>') and message.content.endswith('</response>')) %}{%- set ns.multi_step = false %}{%- set ns.last = index %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
{%- if message.role == 'assistant' %}{%- set reasoning = '' %}{%- if message.reasoning_content is string %}{%- set reasoning = message.reasoning_content %}{%- elif '</think>' in message.content %}{%- set reasoning = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}{%- endif %}{% generation %}{{ reasoning ~ message.content }}{% endgeneration %}
{%- else %}{{ message.content }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt and enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n' }}{%- endif %}""",
    "images": """{% set images = namespace(value=0) %}{% for message in messages %}{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' or 'image_url' in part %}{% set images.value = images.value + 1 %}{% if add_vision_id %}Picture {{ images.value }}: {% endif %}<|image|>{% elif 'text' in part %}{{ part['text'] }}{% else %}{% continue %}{% endif %}{% endfor %}{% endif %}{% endfor %}{# nothing else #}""",
    "dates": """{{- bos_token }}{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}{%- set roles = ['user', 'assistant'] %}{%- for m in messages | rejectattr('role', 'equalto', 'system') %}{%- if m.role not in roles %}{{ raise_exception('Only user and assistant roles are supported, with the exception of an initial optional system message!') }}{%- endif %}{{ m.content | title | int(0) | abs }}{%- endfor %}{{ date_string }}""",
}


def gguf_file(add, architecture="llama"):
    import gguf

    def write(path):
        writer = gguf.GGUFWriter(path, architecture)
        add(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    return written(write, ".gguf")


def ggufs(corpus):
    def plain(writer):
        writer.add_block_count(1)
        writer.add_context_length(128)
        writer.add_tensor("token_embd.weight", numpy.arange(64, dtype="f4").reshape(8, 8))
        writer.add_tensor("output.weight", numpy.ones((8, 8), "f2"))

    def tokenizer(template):
        def add(writer):
            plain(writer)
            writer.add_tokenizer_model("gpt2")
            writer.add_token_list(["<s>", "</s>", "a", "b", "\u0120the"])
            writer.add_token_types([3, 3, 1, 1, 1])
            writer.add_token_scores([0.0, 0.0, -1.0, -2.0, -3.0])
            writer.add_token_merges(["a b"])
            writer.add_bos_token_id(0)
            writer.add_chat_template(template)

        return add

    def quantised(writer):
        import gguf

        plain(writer)
        array = gguf.quants.quantize(numpy.ones((2, 32), "f4"), gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor("blk.0.ffn_up.weight", array, raw_dtype=gguf.GGMLQuantizationType.Q8_0)

    def aligned(writer):
        writer.add_custom_alignment(64)
        plain(writer)

    corpus.harmless("plain.gguf", gguf_file(plain), "clean", "gguf", "two tensors")
    corpus.harmless("vocabulary.gguf", gguf_file(tokenizer(CHATML)), "clean", "gguf", "a tokeniser and a short chat template")
    corpus.harmless("chat.gguf", gguf_file(tokenizer(CHAT_TEMPLATE)), "clean", "gguf", "a chat template with tools, namespace, raise_exception, strftime_now")
    corpus.harmless("macros.gguf", gguf_file(tokenizer(MACROS)), "clean", "gguf", "a chat template with macros and filters")
    corpus.harmless("quantised.gguf", gguf_file(quantised), "clean", "gguf", "a quantised tensor")
    corpus.harmless("aligned.gguf", gguf_file(aligned), "clean", "gguf", "another alignment")
    from hostile_formats import NAME, gguf as by_hand, info

    corpus.harmless("version2.gguf", by_hand([NAME], [info("t", [8], 0, 0)], bytes(32), version=2), "clean", "gguf", "version 2")
    corpus.harmless("metadata-only.gguf", gguf_file(lambda writer: writer.add_name("m")), "clean", "gguf", "no tensors")


def onnx_model(nodes=None, initializers=None, **options):
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(numpy.arange(6, dtype="f4").reshape(3, 2), "w")
    graph = helper.make_graph(
        nodes or [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        initializers if initializers is not None else [weight],
        **{name: value for name, value in options.items() if name in ("sparse_initializer", "doc_string")},
    )
    return helper.make_model(
        graph,
        producer_name="corpus",
        opset_imports=options.get("opsets") or [helper.make_opsetid("", 17)],
        functions=options.get("functions") or [],
    )


def external_tensor(location, name="w"):
    from onnx import TensorProto

    tensor = TensorProto()
    tensor.name = name
    tensor.data_type = TensorProto.FLOAT
    tensor.dims.extend([3, 2])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in [("location", location), ("offset", "0"), ("length", "24")]:
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def onnxes(corpus):
    from onnx import TensorProto, helper

    def add(slug, model, what, expected="clean"):
        corpus.harmless(f"{slug}.onnx", model.SerializeToString(), expected, "onnx", what)

    add("matmul", onnx_model(), "one operator and a weight")
    add("external", onnx_model(initializers=[external_tensor("weights.bin")]), "weights beside the model")
    add("external-folder", onnx_model(initializers=[external_tensor("data/weights.bin")]), "weights in a folder below")
    values = helper.make_tensor("s", TensorProto.FLOAT, [2], [1.0, 2.0])
    indices = helper.make_tensor("s_i", TensorProto.INT64, [2], [0, 3])
    add("sparse", onnx_model(sparse_initializer=[helper.make_sparse_tensor(values, indices, [6])]), "a sparse initialiser")
    function = helper.make_function("local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)])
    add("function", onnx_model([helper.make_node("Twice", ["x"], ["x2"], domain="local"), helper.make_node("MatMul", ["x2", "w"], ["y"])], functions=[function], opsets=[helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]), "a function of its own domain, which the file defines")
    then = helper.make_graph([helper.make_node("Constant", [], ["t"], value=helper.make_tensor("c", TensorProto.FLOAT, [1], [1.0]))], "then", [], [helper.make_tensor_value_info("t", TensorProto.FLOAT, [1])])
    add("subgraph", onnx_model([helper.make_node("If", ["cond"], ["y"], then_branch=then, else_branch=then)]), "sub-graphs in If")
    add("ml", onnx_model([helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0])], opsets=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]), "an operator of ai.onnx.ml")
    add("microsoft", onnx_model([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")], opsets=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]), "an operator of com.microsoft")


def keras_(corpus):
    import os

    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras
    from keras import layers

    keras.utils.set_random_seed(SEED)
    models = {
        "dense": keras.Sequential([keras.Input((3,)), layers.Dense(2, "relu"), layers.Dense(1)]),
        "conv": keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.BatchNormalization(), layers.Flatten(), layers.Dense(1)]),
    }
    entrance = keras.Input((3,))
    models["functional"] = keras.Model(entrance, layers.Add()([layers.Dense(2)(entrance), layers.Dense(2)(entrance)]))
    models["dense"].compile("adam", "mse")
    for slug, model in models.items():
        corpus.harmless(f"{slug}.keras", written(model.save, ".keras"), "clean", "keras_v3", f"Keras 3: {slug}")
    corpus.harmless("dense.h5", written(models["dense"].save, ".h5"), "clean", "hdf5", "Keras in HDF5, with configuration")
    corpus.harmless("weights.weights.h5", written(models["dense"].save_weights, ".weights.h5"), "clean", "hdf5", "Keras weights only")
    corpus.harmless("keras-architecture.json", json.dumps(json.loads(models["functional"].to_json()), indent=1).encode(), "clean", "json", "a Keras architecture as JSON")

    import h5py

    def plain(path):
        with h5py.File(path, "w") as file:
            file["a"] = numpy.arange(6.0)
            file.create_dataset("chunked", data=numpy.zeros((16, 16)), chunks=(4, 4), compression="gzip")
            group = file.create_group("g")
            group.attrs["note"] = "text"
            group["soft"] = h5py.SoftLink("/a")

    corpus.harmless("plain.h5", written(plain, ".h5"), "clean", "hdf5", "arrays, compression, attributes and a soft link")


def tensorflow_(corpus):
    """SavedModels by the library and by hand, and what its converter makes of one."""
    import tensorflow
    from hostile_formats import saved_model

    class Twice(tensorflow.Module):
        def __init__(self):
            super().__init__()
            self.weight = tensorflow.Variable([2.0, 3.0])

        @tensorflow.function(input_signature=[tensorflow.TensorSpec([2], tensorflow.float32)])
        def __call__(self, x):
            return tensorflow.nn.relu(x * self.weight)

    with tempfile.TemporaryDirectory() as scratch:
        module = Twice()
        tensorflow.saved_model.save(module, scratch, signatures=module.__call__)
        corpus.harmless("saved_model-real.pb", (Path(scratch) / "saved_model.pb").read_bytes(), "clean", "tf_saved_model", "what tensorflow saves of a module with a function")
        lite = tensorflow.lite.TFLiteConverter.from_saved_model(scratch).convert()
        corpus.harmless("multiply.tflite", lite, "clean", "tflite", "what tensorflow's converter makes of it")

    corpus.harmless("saved_model.pb", saved_model(["Placeholder", "Const", "MatMul", "Relu", "Identity", "NoOp"], ["Const", "AddV2", "StatefulPartitionedCall"]), "clean", "tf_saved_model", "a graph of arithmetic")
    corpus.harmless("saved_model-checkpoint.pb", saved_model(["VarHandleOp", "ReadVariableOp", "SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename", "StringJoin", "Pack"], []), "clean", "tf_saved_model", "the checkpoint operators that every saved model has")


def boosters(corpus):
    import lightgbm
    import xgboost

    features, numbers, classes = data()
    booster = xgboost.train({"max_depth": 2, "seed": SEED, "nthread": 1}, xgboost.DMatrix(features, numbers), 2)
    corpus.harmless("xgboost.json", written(booster.save_model, ".json"), "clean", "xgboost_json", "xgboost as JSON")
    corpus.harmless("xgboost.ubj", written(booster.save_model, ".ubj"), "clean", "xgboost_ubj", "xgboost as universal binary JSON")
    tree = lightgbm.train({"num_leaves": 3, "verbose": -1, "min_data_in_leaf": 1, "num_threads": 1, "seed": SEED}, lightgbm.Dataset(features, numbers), 2)
    corpus.harmless("lightgbm.txt", written(tree.save_model, ".txt"), "clean", "lightgbm", "lightgbm as text")
    classifier = xgboost.XGBClassifier(n_estimators=2, max_depth=2).fit(features, classes)
    octets = pickle.dumps(classifier, 4)
    corpus.harmless("xgboost.pkl", octets, judge(octets), "pickle", "an xgboost classifier by pickle")


def skops_(corpus):
    import skops.io

    for name in ("logistic", "pipeline"):
        corpus.harmless(f"{name}.skops", skops.io.dumps(fitted()[name]), "clean", "skops", f"sklearn {name} by skops")


def texts(corpus):
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 100,
        "torch_dtype": "bfloat16", "transformers_version": "4.40.0", "rope_scaling": None, "tie_word_embeddings": False,
    }
    corpus.harmless("config.json", json.dumps(config, indent=2).encode(), "clean", "json", "a model configuration")
    tokenizer = {"bos_token": "<s>", "eos_token": "</s>", "model_max_length": 4096, "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT_TEMPLATE}
    corpus.harmless("tokenizer_config.json", json.dumps(tokenizer, indent=2).encode(), "clean", "json", "a tokeniser configuration with a chat template")
    several = dict(tokenizer, chat_template=[{"name": "default", "template": CHATML}, {"name": "tools", "template": MACROS}])
    corpus.harmless("tokenizer_config-named.json", json.dumps(several).encode(), "clean", "json", "several named chat templates")
    corpus.harmless("chat_template.jinja", CHAT_TEMPLATE.encode(), "clean", "text", "a chat template as a file")
    for slug, template in TEMPLATES.items():
        corpus.harmless(f"template-{slug}.jinja", template.encode(), "clean", "text", f"a chat template in real style: {slug}")
    corpus.harmless("template-format.jinja", b"{% for t in tools %}{{ '%s: %s' | format(t.name | replace('_', ' '), t.description) }}{% endfor %}", "clean", "text", "a chat template that puts texts together")
    corpus.harmless("flax.msgpack", b"\x81\xa6params\x81\xa1w\x93\x01\x02\x03", "clean", "*", "nested maps and numbers in MessagePack")
    corpus.harmless("adapter_config.json", json.dumps({"peft_type": "LORA", "r": 8, "target_modules": ["q_proj", "v_proj"], "base_model_name_or_path": "somebody/model"}).encode(), "clean", "json", "an adapter: its target modules are no Hydra target")
    corpus.harmless("preprocessor_config.json", b'{"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 224}, "image_mean": [0.48, 0.45, 0.4]}', "clean", "json", "how to prepare images")
    corpus.harmless("trainer_state.json", json.dumps({"global_step": 3, "log_history": [{"loss": 0.5, "step": n} for n in range(20)]}, indent=1).encode(), "clean", "json", "a training log")
    corpus.harmless("training.jsonl", b'{"a": 1}\n{"a": 2}\n', "clean", "*", "JSON lines")
    corpus.harmless("requirements.txt", b"torch>=2.0\nnumpy\n", "clean", "text", "what a model needs")
    corpus.harmless("iris.pmml", b'<?xml version="1.0" encoding="UTF-8"?>\n<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/><DataDictionary><DataField name="x" optype="continuous" dataType="double"/></DataDictionary><RegressionModel functionName="regression"><MiningSchema><MiningField name="x"/></MiningSchema><RegressionTable intercept="1.0"/></RegressionModel></PMML>\n', "clean", "xml", "a regression in PMML")
    corpus.harmless("openvino.xml", b'<?xml version="1.0"?>\n<net name="m" version="11"><layers><layer id="0" name="x" type="Parameter" version="opset1"><data shape="1,3" element_type="f32"/><output><port id="0" precision="FP32"/></output></layer></layers><edges/></net>\n', "clean", "xml", "an OpenVINO network")
    corpus.harmless("tokenizer.json", json.dumps({"version": "1.0", "added_tokens": [{"id": 0, "content": "<s>", "special": True}], "model": {"type": "BPE", "vocab": {"a": 0, "__class__": 1, "eval": 2}, "merges": []}}).encode(), "clean", "json", "a tokeniser whose words look like code")
    corpus.harmless("generation_config.json", b'{\n  "temperature": 0.6,\n  "top_p": 0.9,\n  "eos_token_id": [1, 2]\n}\n', "clean", "json", "how to generate")
    card = "---\nlicense: apache-2.0\nlanguage:\n- en\ntags:\n- text-generation\npipeline_tag: text-generation\n---\n\n# A model\n\nLoad it with:\n\n```python\nimport os, pickle\nmodel = pickle.load(open('model.pkl', 'rb'))\nos.system('echo done')\n```\n"
    corpus.harmless("README.md", card.encode(), "clean", "text", "a model card with front matter and an example")
    corpus.harmless("LICENSE", b"Permission is hereby granted, free of charge, to any person obtaining a copy of this software.\n", "clean", "text", "a licence")
    corpus.harmless("params.yaml", b"model:\n  name: resnet\n  layers: [2, 2]\n  dropout: 0.1\ntrain:\n  epochs: 3\n  anchor: &a 1\n  again: *a\n", "clean", "text", "a configuration in YAML")
    corpus.harmless("model_config.yaml", b"model:\n  _target_: nemo.collections.asr.models.EncDecCTCModel\n  optim:\n    name: adamw\n", "clean", "text", "a Hydra target of a known library")
    corpus.harmless("vocab.txt", "[PAD]\n[UNK]\nthe\n##ing\n\u4e2d\nsystem\nos\n".encode(), "clean", "text", "a vocabulary")
    corpus.harmless("merges.txt", "#version: 0.2\n\u0120 t\nh e\n".encode(), "clean", "text", "byte-pair merges")
    corpus.harmless("table.csv", b"name,value\na,1\nb,2.5\n", "clean", "text", "a table")
    corpus.harmless("model.safetensors.index.json", b'{"metadata": {"total_size": 16}, "weight_map": {"w": "model-00001-of-00002.safetensors"}}', "clean", "json", "the index of a model in parts")


def png():
    import struct

    def chunk(kind, octets):
        return struct.pack(">I", len(octets)) + kind + octets + struct.pack(">I", zlib.crc32(kind + octets))

    rows = b"".join(b"\0" + bytes([n, 128, 255 - n]) * 4 for n in range(0, 200, 50))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def wav():
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\1" * 100)
    return buffer.getvalue()


def media(corpus):
    corpus.harmless("picture.png", png(), "clean", "media", "a picture")
    corpus.harmless("sound.wav", wav(), "clean", "media", "a sound")


def tarred(members, mode="w", **options):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, **options) as archive:
        for name, octets in members.items():
            info = tarfile.TarInfo(name)
            if octets is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(octets)
                archive.addfile(info, io.BytesIO(octets))
    return buffer.getvalue()


def zipped(members, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, octets in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, octets)
    return buffer.getvalue()


def archives(corpus):
    import lz4.frame
    import zstandard
    from safetensors.numpy import save

    weights = save({"w": numpy.arange(6.0, dtype="f4")})
    members = {"model/": b"", "model/config.json": b'{"model_type": "bert"}', "model/model.safetensors": weights, "model/vocab.txt": b"a\nb\n"}
    for_tar = {name.rstrip("/"): None if name.endswith("/") else octets for name, octets in members.items()}
    corpus.harmless("model.tar", tarred(for_tar, format=tarfile.USTAR_FORMAT), "clean", "tar", "a tar of a model")
    corpus.harmless("model-pax.tar", tarred({"m\u00e9/" + "x" * 120 + ".txt": b"a\n", **for_tar}, format=tarfile.PAX_FORMAT), "clean", "tar", "a tar with extended headers")
    corpus.harmless("model-gnu.tar", tarred({"x" * 150 + ".txt": b"a\n", **for_tar}, format=tarfile.GNU_FORMAT), "clean", "tar", "a tar with long names as GNU tar writes them")
    corpus.harmless("model.tar.gz", gzip.compress(tarred(for_tar), mtime=0), "clean", "gzip", "a compressed tar")
    corpus.harmless("model.tar.bz2", bz2.compress(tarred(for_tar)), "clean", "bzip2", "a tar in bzip2")
    corpus.harmless("model.tar.xz", lzma.compress(tarred(for_tar)), "clean", "xz", "a tar in xz")
    corpus.harmless("model.tar.zst", zstandard.compress(tarred(for_tar)), "clean", "zstd", "a tar in zstd")
    corpus.harmless("config.json.lz4", lz4.frame.compress(members["model/config.json"]), "clean", "lz4", "a configuration in lz4")
    corpus.harmless("vocab.txt.gz", gzip.compress(b"a\nb\n" * 50, mtime=0), "clean", "gzip", "a vocabulary in gzip")
    corpus.harmless("model.zip", zipped(members), "clean", "zip", "a zip of a model")
    corpus.harmless("stored.zip", zipped(members, zipfile.ZIP_STORED), "clean", "zip", "a zip without compression")
    corpus.harmless("dots.zip", zipped({"v1..2/notes.txt": b"a\n", "..hidden": b"b\n", "a.../b": b"c\n"}), "clean", "zip", "names with dots that leave nothing")
    import torch

    state = written(lambda path: torch.save({"w": torch.ones(2)}, path), ".pt")
    corpus.harmless("speech.nemo", tarred({"./model_config.yaml": b"sample_rate: 16000\npreprocessor:\n  _target_: nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor\n", "./model_weights.ckpt": state}, format=tarfile.USTAR_FORMAT), "clean", "nemo", "a NeMo archive: its configuration has classes of NeMo called")
    corpus.harmless("nested.zip", zipped({"inner.zip": zipped(members), "sound.wav": wav()}), "clean", "zip", "a zip in a zip")


def frames(corpus):
    import pandas

    frame = pandas.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    corpus.harmless("frame.pkl", pickle.dumps(frame, 4), "suspicious", "pickle", "a pandas frame: its reconstruction calls private functions")
    corpus.harmless("series-p5.pkl", pickle.dumps(frame["a"], 5), "suspicious", "pickle", "a pandas series")


class Tokeniser:
    """Stands for the classes that users write."""

    def __init__(self):
        self.words = {"a": 1}


def user_classes(corpus):
    octets = pickle.dumps(Tokeniser(), 4).replace(b"\x8c\x08harmless", b"\x8c\x08mymodels")
    corpus.harmless("user-class-p4.pkl", octets, "suspicious", "pickle", "a class that a user wrote")
    octets = pickle.dumps({"vocab": Tokeniser()}, 2).replace(b"charmless\n", b"cmymodels\n")
    corpus.harmless("user-class-p2.pkl", octets, "suspicious", "pickle", "a class that a user wrote, protocol 2")
