"""What every part of the corpus shares: the sample, the payload, and the measurement of whether a sample executes.

A hostile sample that is kept carries an inert payload. Where a loader of its own exists, the same sample is built a second
time with a payload that makes an empty marker file in a scratch directory, and that one is loaded, in a child process: the
marker says whether the trick works. Nothing but the marker is ever made.
"""

import dataclasses
import os
import resource
import signal
import tempfile
import time
from pathlib import Path
from typing import Callable, Optional, Union


@dataclasses.dataclass(frozen=True)
class Payload:
    """What a hostile sample would do."""

    command: str  # for a shell
    path: str  # a file to create
    code: str  # Python statements, without double quotes
    expression: str  # a Python expression, without double quotes

    @property
    def argv(self):
        return self.command.split(" ")


INERT = Payload(
    command="true",
    path="/nonexistent/mreg",
    code="pass",
    expression="1+1",
)


def marking(path):
    """The payload that makes the marker."""
    return Payload(
        command=f"touch {path}",
        path=path,
        code=f"open('{path}','w').close()",
        expression=f"open('{path}','w').close()",
    )


# The backend that is installed anyway.
os.environ.setdefault("KERAS_BACKEND", "torch")

EXPECTED = ("clean", "suspicious", "unscannable", "malicious", "not-clean")


@dataclasses.dataclass
class Sample:
    name: str
    octets: bytes
    expected: str
    format: str
    executes: str
    what: str
    kind: str  # "hostile" or "harmless"


Build = Union[bytes, Callable[[Payload], bytes]]


class Corpus:
    """Collects samples; measures those that name a loader."""

    def __init__(self, measure=True):
        self.samples = []
        self._names = set()
        self._measure = measure

    def _add(self, sample):
        assert sample.name not in self._names, f"{sample.name} twice"
        assert sample.expected in EXPECTED, sample
        assert "\t" not in sample.what and "\n" not in sample.what, sample
        self._names.add(sample.name)
        self.samples.append(sample)

    def hostile(self, name, build: Build, expected, format, what, loader: Optional[str] = None):
        octets = build(INERT) if callable(build) else bytes(build)
        executes = "untried"
        if loader is not None and self._measure:
            assert callable(build), f"{name}: only a sample that can be built with a marker can be tried"
            executes = "yes" if executed(build, loader, Path(name).suffix) else "no"
        self._add(Sample(name, octets, expected, format, executes, what, "hostile"))

    def harmless(self, name, octets, expected, format, what):
        self._add(Sample(name, bytes(octets), expected, format, "untried", what, "harmless"))


# -- loaders: what a user of each format calls


def _load_pickle(path):
    import pickle

    with open(path, "rb") as file:
        pickle.load(file)


def _load_pickles(path):
    import pickle

    with open(path, "rb") as file:
        while file.peek(1):
            pickle.load(file)


def _load_joblib(path):
    import joblib

    joblib.load(path)


def _load_numpy(path):
    import numpy

    loaded = numpy.load(path, allow_pickle=True)
    if hasattr(loaded, "files"):
        for name in loaded.files:
            loaded[name]


def _load_torch(path):
    import torch

    torch.load(path, weights_only=False)


def _load_torch_jit(path):
    import torch

    torch.jit.load(path)


def _load_yaml(path):
    import yaml

    with open(path) as file:
        yaml.unsafe_load(file)


def _load_keras(path):
    import keras

    keras.saving.load_model(path)


def _load_keras_unsafe(path):
    import keras

    keras.saving.load_model(path, safe_mode=False)


def _load_keras_legacy_json(path):
    import keras

    with open(path) as file:
        keras.models.model_from_json(file.read())


def _load_jinja(path):
    import jinja2

    with open(path) as file:
        jinja2.Environment().from_string(file.read()).render(messages=[])


def _load_tokenizer_config(path):
    import json

    import jinja2

    with open(path) as file:
        jinja2.Environment().from_string(json.load(file)["chat_template"]).render(messages=[])


def _load_gguf(path):
    import gguf
    import jinja2

    field = gguf.GGUFReader(path).get_field("tokenizer.chat_template")
    jinja2.Environment().from_string(field.contents()).render(messages=[])


def _load_pandas(path):
    import pandas

    pandas.read_pickle(path)


LOADERS = {
    "pickle": _load_pickle,
    "torch-pickle": _load_pickle,  # with torch imported before the clock starts
    "pickles": _load_pickles,
    "joblib": _load_joblib,
    "numpy": _load_numpy,
    "torch": _load_torch,
    "torch.jit": _load_torch_jit,
    "yaml": _load_yaml,
    "keras": _load_keras,
    "keras.unsafe": _load_keras_unsafe,
    "keras.json": _load_keras_legacy_json,
    "jinja": _load_jinja,
    "tokenizer_config": _load_tokenizer_config,
    "gguf": _load_gguf,
    "pandas": _load_pandas,
}

SECONDS_MAX = 20


def executed(build, loader, suffix):
    """Whether loading the sample, built with a marker, makes the marker."""
    # What is slow to import is imported once, before the fork.
    _warm(loader)
    with tempfile.TemporaryDirectory(prefix="corpus-") as scratch:
        scratch = Path(scratch)
        marker = scratch / "m"
        path = scratch / f"sample{suffix}"
        path.write_bytes(build(marking(str(marker))))
        child = os.fork()
        if child == 0:
            _child(scratch, LOADERS[loader], path)
        _wait(child)
        return marker.exists()


def _warm(loader):
    import importlib

    for module in {
        "joblib": ["joblib"],
        "numpy": ["numpy"],
        "torch": ["torch"],
        "torch-pickle": ["torch"],
        "torch.jit": ["torch"],
        "keras": ["keras"],
        "keras.unsafe": ["keras"],
        "keras.json": ["keras"],
        "pandas": ["pandas"],
    }.get(loader, []):
        importlib.import_module(module)


def _child(scratch, load, path):
    """Loads, in a process group of its own, with limits, and never returns."""
    try:
        os.setpgid(0, 0)
        os.chdir(scratch)
        os.environ["HOME"] = str(scratch)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS_MAX, SECONDS_MAX))
        load(path)
    except BaseException:
        pass
    # What was started without waiting for it, such as Popen, gets its moment.
    time.sleep(0.15)
    os._exit(0)


def _wait(child):
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0] == child:
            break
        time.sleep(0.01)
    # Also what it left behind.
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError:
        pass
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        pass
