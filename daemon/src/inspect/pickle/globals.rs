//! What is known of a global: the lists of scanning.md §4.3 and §4.4. Everything that names callables is judged here, pickles
//! as well as configurations.
//!
//! The list of what is allowed decides; the list of what is denied only tells an attack from something that is not known. It
//! knows names, not what is done with them: how a listed function may be called is the machine's business.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::inspect::rules::Ruleset;

/// How a global stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::inspect) enum Standing {
    /// On the list: harmless where it is used as the list says.
    Allowed,
    /// A class of a known library.
    Library,
    /// On no list.
    Unknown,
    /// It runs code, reads or writes files, or reaches the network.
    Denied,
}

/// How `module` and `name` stand. A name may have dots: loaders of protocol 4 walk from attribute to attribute.
pub(in crate::inspect) fn standing(rules: &Ruleset, module: &str, name: &str) -> Standing {
    let (module, name) = in_python_3(module, name);
    if is_listed(module, name) {
        return Standing::Allowed;
    }
    let built_in = LIBRARIES.iter().any(|prefix| is_below(module, prefix));
    let reexported = built_in && REEXPORTED.split_ascii_whitespace().any(|one| one == name);
    if reexported || is_denied(module, name) || name.contains('.') && has_denied_component(name) {
        return Standing::Denied;
    }
    if rules.allowed.globals.iter().any(|(m, n)| (m.as_str(), n.as_str()) == (module, name)) {
        return Standing::Allowed;
    }
    let is_library = built_in && !NO_LIBRARIES.iter().any(|prefix| is_below(module, prefix))
        || rules.allowed.prefixes.iter().any(|prefix| {
            // The module itself as well: whoever allows `mylib.models.` means its classes, too.
            let is_of = is_below(module, prefix) || prefix.strip_suffix('.') == Some(module);
            !NEVER_LIBRARIES.iter().any(|never| prefix.starts_with(never)) && is_of
        });
    match is_library && is_class_name(name) {
        true => Standing::Library,
        false => Standing::Unknown,
    }
}

/// How a path that joins module and attributes by dots stands, as configurations have them: `os.system`, `torch.nn.Linear`.
/// Where the module ends in it is not said. As packages have modules called `test` or `io` of their own, only components that
/// no package calls its own are denied wherever they stand.
pub(in crate::inspect) fn standing_dotted(rules: &Ruleset, dotted: &str) -> Standing {
    let (Some((package, rest)), Some((module, name))) = (dotted.split_once('.'), dotted.rsplit_once('.')) else {
        return if is_denied_builtin(dotted) { Standing::Denied } else { Standing::Unknown };
    };
    let (package, rest) = in_python_3(package, rest);
    let reaches = |part: &str| REACHING.contains(&part.trim_start_matches('_'));
    if is_denied(package, rest) || dotted.split('.').any(reaches) {
        return Standing::Denied;
    }
    standing(rules, module, name)
}

/// All lists as text: a verdict's rule set is named by their digest.
pub(in crate::inspect) fn tables() -> impl Iterator<Item = &'static str> {
    let pairs = ALLOWED.iter().flat_map(|(module, names)| ["allowed", *module, *names]);
    let list = |title, list: &'static [&'static str]| std::iter::once(title).chain(list.iter().copied());
    let lists = list("libraries", LIBRARIES)
        .chain(list("without", NO_LIBRARIES))
        .chain(list("denied", DENIED))
        .chain(list("reaching", REACHING));
    let words = ["builtins", DENIED_BUILTINS, "reexported", REEXPORTED, "storages", TORCH_STORAGES];
    let renamed = RENAMED.iter().flat_map(|(old, new)| ["renamed", *old, *new]);
    pairs.chain(lists).chain(words).chain(renamed)
}

/// Whether a module is below a prefix that ends in a dot.
fn is_below(module: &str, prefix: &str) -> bool {
    prefix.ends_with('.') && module.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty())
}

/// What loaders make of names of Python 2, and the other names of a module.
fn in_python_3<'a>(module: &'a str, name: &'a str) -> (&'a str, &'a str) {
    match (module, name) {
        ("__builtin__", "reduce") => ("functools", "reduce"),
        ("__builtin__", "intern") => ("sys", "intern"),
        ("__builtin__", "raw_input") => ("builtins", "input"),
        ("itertools", "imap") => ("builtins", "map"),
        ("itertools", "ifilter") => ("builtins", "filter"),
        ("__builtin__" | "exceptions", _) => ("builtins", name),
        _ => (RENAMED.iter().find(|(old, _)| *old == module).map_or(module, |(_, new)| new), name),
    }
}

fn is_listed(module: &str, name: &str) -> bool {
    ALLOWED.iter().any(|(listed, names)| *listed == module && names.split_ascii_whitespace().any(|one| one == name))
        || matches!(module, "torch" | "torch.cuda") && is_torch_storage(name)
}

/// The typed storages of torch: `FloatStorage` and its like.
pub(super) fn is_torch_storage(name: &str) -> bool {
    TORCH_STORAGES.split_ascii_whitespace().any(|one| name.strip_suffix("Storage") == Some(one))
}

fn is_denied(module: &str, name: &str) -> bool {
    if module == "builtins" && is_denied_builtin(name.split('.').next().unwrap_or_default()) {
        return true;
    }
    if name.split('.').any(is_dunder) || module.split('.').any(|part| is_dunder(part) && !OWN_MODULES.contains(&part)) {
        return true;
    }
    DENIED.iter().any(|denied| {
        // The path from the top as far as the denied one is long, wherever module and name meet in it.
        let Some(rest) = denied.strip_prefix(module) else {
            return module.strip_prefix(denied).is_some_and(|rest| rest.starts_with('.'));
        };
        match rest.strip_prefix('.') {
            None => rest.is_empty(),
            Some(rest) => name.strip_prefix(rest).is_some_and(|below| below.is_empty() || below.starts_with('.')),
        }
    })
}

fn is_denied_builtin(name: &str) -> bool {
    DENIED_BUILTINS.split_ascii_whitespace().any(|denied| denied == name)
}

/// Whether an attribute on the way is a module or builtin that is denied: `logging` + `os.system` is `os.system`, and so is
/// `random` + `_os.system`, as modules import others under names of their own.
fn has_denied_component(name: &str) -> bool {
    /// Looked up and not searched, as a name may have thousands of components.
    static COMPONENTS: LazyLock<HashSet<&str>> =
        LazyLock::new(|| DENIED.iter().copied().chain(DENIED_BUILTINS.split_ascii_whitespace()).collect());
    name.split('.')
        .any(|part| COMPONENTS.contains(part) || COMPONENTS.contains(part.trim_start_matches('_')) || is_dunder(part))
}

/// A name that Python itself gives a meaning.
pub(super) fn is_dunder(name: &str) -> bool {
    name.len() > 4 && name.starts_with("__") && name.ends_with("__")
}

/// One identifier that begins with a capital letter, or with one underscore and a capital letter as private classes do. In
/// capitals only, a private name is that of a constant, such as the handle of a library of machine code.
fn is_class_name(name: &str) -> bool {
    let (private, rest) = name.strip_prefix('_').map_or((false, name), |rest| (true, rest));
    rest.starts_with(|first: char| first.is_ascii_uppercase())
        && (!private || rest.contains(|one: char| one.is_lowercase()))
        && name.chars().all(|one| one == '_' || one.is_alphanumeric())
}

/// Modules whose name is a dunder without being Python's own machinery: where a script's and TorchScript's classes are.
const OWN_MODULES: [&str; 3] = ["__main__", "__mp_main__", "__torch__"];

/// Below these modules classes, by their names, are library classes.
const LIBRARIES: &[&str] = &["sklearn.", "xgboost.", "lightgbm.", "catboost.", "imblearn.", "torch.nn.modules."];

/// Below these modules of libraries are no estimators or layers, but helpers, copies of other packages and downloads.
const NO_LIBRARIES: &[&str] = &["sklearn.datasets.", "sklearn.externals.", "sklearn.callback."];

/// Classes of other packages that modules of libraries import: by the library's name they pass for its own, which no writer
/// does, as it names a class by the module that defines it.
const REEXPORTED: &str = "FunctionType MethodType ModuleType CodeType GzipFile BZ2File LZMAFile ZipFile TarFile Popen Thread \
                          Timer Process Pool ThreadPool ThreadPoolExecutor ProcessPoolExecutor TemporaryDirectory \
                          TemporaryFile NamedTemporaryFile Memory Connection Listener Client Request OpenerDirector \
                          FileIO Unpickler ThreadpoolController PyCapsule_GetName PyCapsule_GetPointer";

/// Modules that an administrator's prefix does not open: the built-in list has exact pairs of them.
const NEVER_LIBRARIES: [&str; 4] = ["numpy.", "torch.", "pandas.", "builtins."];

/// Exact pairs: a module and its names. Functions among them have patterns of arguments (`calls.rs`).
const ALLOWED: &[(&str, &str)] = &[
    ("collections", "OrderedDict defaultdict Counter deque"),
    (
        "builtins",
        "set frozenset list dict tuple int long float complex bool str unicode bytes bytearray slice range xrange object",
    ),
    ("datetime", "date time datetime timedelta timezone"),
    ("decimal", "Decimal"),
    ("fractions", "Fraction"),
    ("uuid", "UUID"),
    ("_codecs", "encode"),
    // How protocols 0 and 1 write every object without a reduction of its own.
    ("copyreg", "_reconstructor"),
    ("numpy.core.multiarray", "_reconstruct scalar"),
    ("numpy._core.multiarray", "_reconstruct scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.ma.core", "_mareconstruct MaskedArray"),
    ("numpy.ma", "MaskedArray"),
    (
        "numpy",
        "dtype ndarray bool bool_ bool8 int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 float96 \
         float128 complex64 complex128 complex192 complex256 byte ubyte short ushort intc uintc int_ uint intp uintp long \
         ulong longlong ulonglong half single double longdouble float_ csingle cdouble clongdouble complex_ cfloat \
         singlecomplex longfloat longcomplex matrix record recarray str_ unicode_ string_ bytes_ object_ void \
         datetime64 timedelta64",
    ),
    // Functions that estimators keep, as values.
    ("numpy", "mean log log1p log2 log10 exp expm1 sqrt square"),
    (
        "sklearn.metrics._classification",
        "accuracy_score balanced_accuracy_score f1_score fbeta_score precision_score recall_score log_loss",
    ),
    ("numpy.random._pickle", "__randomstate_ctor __bit_generator_ctor __generator_ctor"),
    ("numpy.random._mt19937", "MT19937"),
    ("numpy.random._pcg64", "PCG64 PCG64DXSM"),
    ("numpy.random._philox", "Philox"),
    ("numpy.random._sfc64", "SFC64"),
    ("numpy.random.bit_generator", "SeedSequence __pyx_unpickle_SeedSequence"),
    ("numpy.random", "__RandomState_ctor"),
    ("sklearn.neighbors._kd_tree", "newObj"),
    ("sklearn.neighbors._ball_tree", "newObj"),
    ("sklearn.metrics._dist_metrics", "newObj"),
    ("sklearn.feature_selection._univariate_selection", "f_classif f_regression r_regression chi2"),
    ("scipy.sparse._csr", "csr_matrix csr_array"),
    ("scipy.sparse._csc", "csc_matrix csc_array"),
    ("scipy.sparse._coo", "coo_matrix coo_array"),
    ("scipy.sparse.csr", "csr_matrix"),
    ("scipy.sparse.csc", "csc_matrix"),
    ("scipy.sparse.coo", "coo_matrix"),
    ("joblib.numpy_pickle", "NumpyArrayWrapper"),
    ("sklearn.externals.joblib.numpy_pickle", "NumpyArrayWrapper"),
    ("numpy.rec", "recarray"),
    ("numpy.core.records", "recarray"),
    (
        "torch",
        "Size device Tensor float16 float32 float64 bfloat16 half float double uint8 uint16 uint32 uint64 int8 int16 int32 \
         int64 short int long bool complex32 complex64 complex128 chalf cfloat cdouble quint8 qint8 qint32 quint4x2 quint2x4 \
         bits1x8 bits2x4 bits4x2 bits8 bits16 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu \
         float4_e2m1fn_x2 uint1 uint2 uint3 uint4 uint5 uint6 uint7 int1 int2 int3 int4 int5 int6 int7 strided sparse_coo \
         sparse_csr sparse_csc sparse_bsr sparse_bsc _mkldnn jagged per_tensor_affine per_tensor_symmetric \
         per_channel_affine per_channel_symmetric per_channel_affine_float_qparams contiguous_format channels_last \
         channels_last_3d preserve_format",
    ),
    (
        "torch._utils",
        "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter _rebuild_sparse_tensor _rebuild_qtensor \
         _rebuild_meta_tensor_no_storage",
    ),
    // What TorchScript's own pickles wrap typed lists in.
    ("torch.jit._pickle", "build_intlist build_doublelist build_boollist build_tensorlist restore_type_tag"),
    ("torch.nn.parameter", "Parameter"),
    ("torch.serialization", "_get_layout"),
    ("torch.storage", "UntypedStorage TypedStorage _load_from_bytes"),
    ("pathlib", "PurePath PurePosixPath PureWindowsPath Path PosixPath WindowsPath"),
    ("pathlib._local", "PurePath PurePosixPath PureWindowsPath Path PosixPath WindowsPath"),
];

/// Element types of torch's typed storages.
const TORCH_STORAGES: &str = "Double Float Half BFloat16 Long Int Short Char Byte Bool ComplexFloat ComplexDouble \
                              ComplexHalf QUInt8 QInt8 QInt32 QUInt4x2 QUInt2x4 Untyped Typed";

/// Modules, whatever is in them or below, and single names with the path from the top.
const DENIED: &[&str] = &[
    "os",
    "posix",
    "nt",
    "posixpath",
    "ntpath",
    "sys",
    "subprocess",
    "socket",
    "shutil",
    "ctypes",
    "_ctypes",
    "pty",
    "commands",
    "popen2",
    "webbrowser",
    "runpy",
    "code",
    "codeop",
    "pdb",
    "bdb",
    "trace",
    "timeit",
    "profile",
    "cProfile",
    "doctest",
    "marshal",
    "pickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "imp",
    "_imp",
    "importlib",
    "pkgutil",
    "zipimport",
    "pip",
    "ensurepip",
    "venv",
    "site",
    "asyncio",
    "multiprocessing",
    "threading",
    "_thread",
    "signal",
    "_posixsubprocess",
    "urllib",
    "http",
    "ftplib",
    "smtplib",
    "imaplib",
    "ssl",
    "requests",
    "aiohttp",
    "test",
    "idlelib",
    "lib2to3",
    "distutils",
    "setuptools",
    "pydoc",
    "_osx_support",
    "_aix_support",
    "_pyrepl",
    "tempfile",
    "linecache",
    "inspect",
    "gc",
    "types",
    "functools",
    "operator",
    "_operator",
    "io",
    "_io",
    "logging",
    "unittest",
    "sqlite3",
    "yaml",
    "_frozen_importlib",
    "_frozen_importlib_external",
    "telnetlib",
    "nntplib",
    "poplib",
    "xmlrpc",
    "socketserver",
    "shelve",
    "dbm",
    "concurrent",
    "atexit",
    "cgitb",
    "mailcap",
    "antigravity",
    "dataclasses.make_dataclass",
    "collections.namedtuple",
    "uuid._get_command_stdout",
    "platform._syscmd_file",
    "platform.popen",
    "torch.save",
    "torch.from_file",
    "torch.jit.load",
    "torch.utils._config_module",
    "torch.fx.graph_module._forward_from_src",
    "torch.fx.experimental.symbolic_shapes",
    "numpy.genfromtxt",
    "numpy.loadtxt",
    "scipy.io",
    "torch.hub",
    "torch.package",
    "torch.distributed",
    "torch._dynamo",
    "torch._inductor",
    "torch.jit.unsupported_tensor_ops",
    "torch.utils.cpp_extension",
    "torch.utils.collect_env",
    "torch.utils.bottleneck",
    "torch.utils.data",
    "torch.load",
    "torch.serialization.load",
    "numpy.load",
    "numpy.memmap",
    "numpy.fromfile",
    "numpy.f2py",
    "numpy.testing",
    "numpy.distutils",
    "numpy.ctypeslib",
    "numpy.core.multiarray.fromfile",
    "numpy._core.multiarray.fromfile",
    "numpy.core.memmap",
    "numpy._core.memmap",
    "numpy.lib.npyio.load",
    "numpy.lib._npyio_impl.load",
    "pandas.read_pickle",
    "pandas.eval",
    "pandas.io",
    "pandas.core.computation",
    "joblib.load",
    "joblib.numpy_pickle.load",
    "sklearn.utils._joblib",
    "transformers.dynamic_module_utils",
    "keras.models",
];

/// Denied modules whose names no package gives to modules of its own.
const REACHING: &[&str] =
    &["os", "posix", "nt", "sys", "subprocess", "shutil", "ctypes", "importlib", "runpy", "marshal"];

/// Functions and classes of `builtins`.
const DENIED_BUILTINS: &str = "eval exec compile open __import__ getattr setattr delattr globals locals vars input \
                               breakpoint map filter apply execfile file reload super property print";

/// Modules that have, or had in Python 2, another name.
const RENAMED: &[(&str, &str)] = &[
    ("copy_reg", "copyreg"),
    ("cPickle", "pickle"),
    ("StringIO", "io"),
    ("cStringIO", "io"),
    ("thread", "_thread"),
    ("dummy_thread", "_thread"),
    ("urllib2", "urllib"),
    ("urlparse", "urllib"),
    ("robotparser", "urllib"),
    ("httplib", "http"),
    ("BaseHTTPServer", "http"),
    ("SimpleHTTPServer", "http"),
    ("CGIHTTPServer", "http"),
    ("cookielib", "http"),
    ("Cookie", "http"),
    ("_multiprocessing", "multiprocessing"),
    ("_socket", "socket"),
    ("_ssl", "ssl"),
    ("_signal", "signal"),
    ("_sqlite3", "sqlite3"),
    ("_functools", "functools"),
    ("_pyio", "io"),
];
