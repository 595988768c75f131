#!/usr/bin/env python3
"""Runs other scanners, and `mregd scan` if a binary is named, over the unpacked corpus, and writes peers.md beside this file.

    make.py --unpacked DIR            (or unpack files.tar.gz and manifest.tsv into DIR)
    peers.py DIR [--mregd BINARY] [--cache FILE] [--python PEER=INTERPRETER ...] [--only PEER,...]

Every sample is scanned in a process of its own with a time limit; what a peer said is kept in the cache, by the peer's
version, the sample's name and its SHA-256, so that only what is new runs again. mregd's answers are never kept.
"""

import argparse
import contextlib
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECONDS_MAX = 60
MEMORY_BYTES_MAX = 8 << 30

# What an answer counts as: "malicious"; "suspicious" and "error" are not passed as clean; "skipped" was not looked at.


def picklescan(path, strict=False):
    from picklescan.scanner import scan_file_path

    result = scan_file_path(path, strict=strict)
    # As its command line decides: an error is exit code 2, an issue 1. Suspicious globals alone are exit code 0.
    if result.issues_count:
        return "malicious", f"{result.issues_count} issues"
    if result.scan_err:
        return "error", "scan error"
    return ("clean" if result.scanned_files else "skipped"), f"{result.suspicious_count} suspicious globals"


def picklescan_strict(path):
    return picklescan(path, strict=True)


def modelscan(path):
    from modelscan.modelscan import ModelScan
    from modelscan.settings import DEFAULT_SETTINGS

    scan = ModelScan(settings=DEFAULT_SETTINGS)
    report = scan.scan(path)
    by_severity = report["summary"]["total_issues_by_severity"]
    detail = json.dumps(by_severity)
    if by_severity["CRITICAL"] or by_severity["HIGH"]:
        return "malicious", detail
    if by_severity["MEDIUM"] or by_severity["LOW"]:
        return "suspicious", detail
    if scan.errors:
        return "error", str(scan.errors[0])
    return ("clean" if scan.scanned else "skipped"), detail


def fickling(path):
    from fickling import fickle
    from fickling.analysis import Severity, check_safety

    try:
        with open(path, "rb") as file:
            streams = fickle.StackedPickle.load(file, fail_on_decode_error=False)
    except fickle.PickleDecodeError as error:
        return ("skipped" if "No pickle files detected" in str(error) else "error"), str(error)
    worst = max((check_safety(pickled).severity for pickled in streams), key=lambda severity: severity.value, default=Severity.LIKELY_SAFE)
    if worst >= Severity.LIKELY_UNSAFE:
        return "malicious", worst.name
    return ("suspicious" if worst > Severity.LIKELY_SAFE else "clean"), worst.name


def modelaudit(path):
    from modelaudit.core import scan_model_directory_or_file

    result = scan_model_directory_or_file(path, cache_enabled=False)
    result = result if isinstance(result, dict) else result.model_dump()
    severities = [str(getattr(issue.get("severity"), "value", issue.get("severity"))) for issue in result.get("issues", [])]
    detail = ",".join(sorted(set(severities)))
    if "critical" in severities:
        return "malicious", detail
    if "warning" in severities:
        return "suspicious", detail
    if result.get("has_errors") or result.get("success") is False:
        return "error", detail
    return ("clean" if result.get("files_scanned") else "skipped"), detail


# name: package, row's title, function
PEERS = {
    "picklescan": ("picklescan", "picklescan {}", picklescan),
    "picklescan-strict": ("picklescan", "picklescan {} --strict", picklescan_strict),
    "modelscan": ("modelscan", "modelscan {} (+tensorflow, h5py)", modelscan),
    "fickling": ("fickling", "fickling {}", fickling),
    "modelaudit": ("modelaudit", "ModelAudit {}", modelaudit),
}


# -- the worker: one peer, many samples, each in a child of its own


def work(peer):
    """Reads paths, answers each with a line of JSON. The peer is imported once, before the forks."""
    function = PEERS[peer][2]
    answers = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    with contextlib.suppress(BaseException):
        function(__file__)
    for line in sys.stdin:
        path = line.rstrip("\n")
        verdict, detail, seconds = scanned(function, path)
        answer = {"file": path, "verdict": verdict, "detail": detail[:200], "seconds": round(seconds, 3)}
        os.write(answers, (json.dumps(answer) + "\n").encode())


def scanned(function, path):
    begun = time.monotonic()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS_MAX, SECONDS_MAX))
        with contextlib.suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX + (32 << 30), MEMORY_BYTES_MAX + (32 << 30)))
        with tempfile.TemporaryDirectory() as scratch:
            os.chdir(scratch)
            try:
                answer = function(path)
            except BaseException as error:
                answer = ("error", f"{type(error).__name__}: {error}")
            with contextlib.suppress(BaseException):
                os.chdir("/")
        os.write(writing, json.dumps(answer)[:60000].encode())
        os._exit(0)
    os.close(writing)
    os.set_blocking(reading, False)
    deadline = begun + SECONDS_MAX
    octets = b""
    ended = False
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            while part := os.read(reading, 1 << 16):
                octets += part
        if ended:
            break
        ended = os.waitpid(child, os.WNOHANG)[0] == child
        if not ended:
            time.sleep(0.002)
    if not ended:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os.close(reading)
    seconds = time.monotonic() - begun
    if not octets:
        return "error", "crashed" if ended else f"no answer in {SECONDS_MAX} s", seconds
    verdict, detail = json.loads(octets)
    return verdict, str(detail), seconds


def ask(interpreter, peer, paths):
    worker = subprocess.Popen([interpreter, __file__, "--worker", peer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for number, path in enumerate(paths):
        worker.stdin.write(f"{path}\n")
        worker.stdin.flush()
        answer = json.loads(worker.stdout.readline())
        if number % 100 == 0:
            print(f"{peer}: {number} of {len(paths)}", file=sys.stderr)
        yield path, answer
    worker.stdin.close()
    worker.wait()


def version_in(interpreter, package):
    command = [interpreter, "-c", f"import importlib.metadata as m; print(m.version({package!r}))"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or None


# -- mregd


def ask_mregd(binary, path):
    begun = time.monotonic()
    done = subprocess.run([binary, "scan", "--json", path], capture_output=True, text=True, timeout=SECONDS_MAX)
    seconds = time.monotonic() - begun
    try:
        verdict = json.loads(done.stdout.splitlines()[0])["verdict"]
    except (IndexError, ValueError, KeyError):
        verdict = "error"
    # Not able to look inside is its own verdict there, and not a pass.
    verdict = {"unscannable": "error"}.get(verdict, verdict)
    return {"verdict": verdict, "detail": str(done.returncode), "seconds": round(seconds, 3)}


# -- the table


def manifest(directory):
    rows = []
    for line in (directory / "manifest.tsv").read_text().splitlines():
        if not line.startswith("#"):
            name, expected, form, executes, what = line.split("\t")
            rows.append({"name": name, "expected": expected, "format": form, "executes": executes, "what": what})
    return rows


def row(title, samples, answers):
    hostile = [s for s in samples if s["name"].startswith("hostile/")]
    harmless = [s for s in samples if s["name"].startswith("harmless/")]

    def count(of, *verdicts):
        return sum(answers[s["name"]]["verdict"] in verdicts for s in of)

    def share(part):
        return f"{part} ({100 * part // max(len(hostile), 1)} %)"

    called, kept = count(hostile, "malicious"), count(hostile, "malicious", "suspicious", "error")
    executing = [s for s in hostile if s["executes"] == "yes"]
    slowest = max(answers[s["name"]]["seconds"] for s in samples)
    return (
        f"| {title} | {share(called)} | {share(kept)} | {count(hostile, 'skipped')} | {count(hostile, 'clean')}"
        f" | {count(executing, 'clean', 'skipped')}"
        f" | {count(harmless, 'clean', 'skipped')} · {count(harmless, 'malicious')} · {count(harmless, 'suspicious', 'error')}"
        f" | {slowest:.1f} s |"
    )


PICKLE_FORMATS = {"pickle", "pytorch_zip", "pytorch_legacy", "torchscript", "npy", "npz"}


def table(samples, results):
    hostile = [s for s in samples if s["name"].startswith("hostile/")]
    harmless = [s for s in samples if s["name"].startswith("harmless/")]
    executing = [s for s in hostile if s["executes"] == "yes"]
    tried = [s for s in hostile if s["executes"] != "untried"]
    lines = [
        "# Other scanners over this corpus",
        "",
        f"Written by `peers.py`. {len(hostile)} hostile and {len(harmless)} harmless samples; {len(executing)} of {len(tried)} hostile ones tried with"
        " their own loader were seen to execute.",
        "",
        f"| | called malicious | not passed as clean | skipped | missed | of {len(executing)} executing: passed"
        " | harmless: clean or skipped · false \"malicious\" · suspicious or error | slowest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [row(title, samples, answers) for title, answers in results]
    pickled = [s for s in samples if s["format"] in PICKLE_FORMATS]
    lines += [
        "",
        f"Only the {sum(s['name'].startswith('hostile/') for s in pickled)} hostile and {sum(s['name'].startswith('harmless/') for s in pickled)} harmless"
        " samples that are pickles, torch or numpy files, which is all that picklescan and fickling claim:",
        "",
        "| | called malicious | not passed as clean | skipped | missed | of the executing ones: passed"
        " | harmless: clean or skipped · false \"malicious\" · suspicious or error | slowest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [row(title, pickled, answers) for title, answers in results]
    lines += [
        "",
        "*Skipped*: the scanner said it does not look at such a file. *Missed*: it looked and called it clean. *Passed* counts both, as"
        " both let the file through. An error, a crash or no answer in a minute is not a pass.",
        "picklescan: dangerous globals are malicious, a scan error is an error; suspicious globals alone leave its exit code at 0, which is a pass."
        " modelscan: critical and high issues are malicious, medium and low suspicious. fickling: likely unsafe and worse is malicious,"
        " possibly unsafe and suspicious are suspicious, \"no pickle files detected\" is skipped."
        " ModelAudit: critical is malicious, warning suspicious. mregd: unscannable is counted with the errors.",
        "The corpus was made for mregd, from published bypasses and from the formats' own weak places, and mregd's rules were written to the same"
        " specification: its row says that it does what it was built to do. It is not a sample of what is found in the wild. Each sample has a name"
        " of its own, so a scanner that looks for a certain name, such as tokenizer_config.json, does not find it.",
        "",
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, nargs="?", help="the unpacked corpus: hostile/, harmless/, manifest.tsv")
    parser.add_argument("--mregd", help="also measure this binary")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "corpus-peers.json")
    parser.add_argument("--python", action="append", default=[], metavar="PEER=INTERPRETER", help="run a peer with another interpreter")
    parser.add_argument("--only", help="ask these peers only")
    parser.add_argument("--output", type=Path, default=HERE / "peers.md")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return work(arguments.worker)

    samples = manifest(arguments.directory)
    cache = json.loads(arguments.cache.read_text()) if arguments.cache.exists() else {}
    interpreters = dict(pair.split("=", 1) for pair in arguments.python)
    results = []
    for peer, (package, title, _) in PEERS.items():
        if arguments.only and peer not in arguments.only.split(","):
            continue
        interpreter = interpreters.get(peer, sys.executable)
        version = version_in(interpreter, package)
        if version is None:
            print(f"{peer}: not installed, left out", file=sys.stderr)
            continue
        kept = cache.setdefault(f"{peer} {version}", {})
        paths = {s["name"]: arguments.directory.resolve() / s["name"] for s in samples}
        keys = {name: f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for name, path in paths.items()}
        missing = [name for name in paths if keys[name] not in kept]
        by_path = {str(paths[name]): name for name in missing}
        for number, (path, answer) in enumerate(ask(interpreter, peer, list(by_path))):
            kept[keys[by_path[path]]] = {field: answer[field] for field in ("verdict", "detail", "seconds")}
            if number % 50 == 49:
                arguments.cache.write_text(json.dumps(cache))
        arguments.cache.write_text(json.dumps(cache))
        results.append((title.format(version), {name: kept[keys[name]] for name in paths}))
    if arguments.mregd:
        answers = {s["name"]: ask_mregd(arguments.mregd, str(arguments.directory / s["name"])) for s in samples}
        results.append(("**mregd**", answers))
    text = table(samples, results)
    arguments.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
