#!/usr/bin/env python3
"""Makes the scanning corpus: files.tar.gz and manifest.tsv beside this file, from requirements.txt's libraries.

    make.py [--no-measure] [--unpacked DIR] [--only MODULE,...]

--unpacked also writes the samples into DIR/hostile and DIR/harmless. Samples are made anew each time; what the real
libraries write may differ between their versions, so the archive that is committed is what counts.
"""

import argparse
import gzip
import importlib
import io
import shutil
import sys
import tarfile
import warnings
from pathlib import Path

from core import Corpus

HERE = Path(__file__).resolve().parent
MODULES = ["hostile_pickle", "hostile_containers", "hostile_formats", "harmless"]


def pack(samples, path):
    """A tar with sorted names, no times and no owners: the same samples give the same octets."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for sample in samples:
            info = tarfile.TarInfo(f"{sample.kind}/{sample.name}")
            info.size = len(sample.octets)
            info.mode = 0o644
            archive.addfile(info, io.BytesIO(sample.octets))
    with open(path, "wb") as file, gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=9, mtime=0) as packed:
        packed.write(buffer.getvalue())


def list_(samples, path):
    with open(path, "w") as file:
        file.write("# name\texpected\tformat\texecutes\twhat\n")
        for sample in samples:
            file.write(f"{sample.kind}/{sample.name}\t{sample.expected}\t{sample.format}\t{sample.executes}\t{sample.what}\n")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--no-measure", action="store_true", help="do not try which samples execute")
    arguments.add_argument("--unpacked", type=Path, help="also write the samples below this directory")
    arguments.add_argument("--only", help="these modules only, and no archive")
    arguments = arguments.parse_args()

    warnings.simplefilter("ignore")
    corpus = Corpus(measure=not arguments.no_measure)
    for module in (arguments.only or ",".join(MODULES)).split(","):
        before = len(corpus.samples)
        importlib.import_module(module).make(corpus)
        print(f"{module}: {len(corpus.samples) - before} samples", file=sys.stderr)
    samples = sorted(corpus.samples, key=lambda sample: (sample.kind, sample.name))

    if arguments.unpacked:
        for kind in ("hostile", "harmless"):
            shutil.rmtree(arguments.unpacked / kind, ignore_errors=True)
            (arguments.unpacked / kind).mkdir(parents=True)
        for sample in samples:
            (arguments.unpacked / sample.kind / sample.name).write_bytes(sample.octets)
        list_(samples, arguments.unpacked / "manifest.tsv")
    if not arguments.only:
        pack(samples, HERE / "files.tar.gz")
        list_(samples, HERE / "manifest.tsv")
    for kind in ("hostile", "harmless"):
        of_kind = [sample for sample in samples if sample.kind == kind]
        executing = sum(sample.executes == "yes" for sample in of_kind)
        tried = sum(sample.executes != "untried" for sample in of_kind)
        print(f"{kind}: {len(of_kind)} samples, {executing} of {tried} tried execute, {sum(len(s.octets) for s in of_kind)} octets", file=sys.stderr)


if __name__ == "__main__":
    main()
