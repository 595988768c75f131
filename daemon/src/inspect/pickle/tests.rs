//! Each trick has its rule, each writer its peace, and nothing its panic.

use proptest::prelude::*;

use super::globals::{Standing, standing, standing_dotted};
use crate::inspect::rules::{Allowed, Ruleset};
use crate::inspect::scan::{Limits, Place, Scan};
use crate::inspect::{Format, Inspection, Level, Verdict, inspect};

const SKLEARN: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_pickle/sklearn");
const SKLEARN_0: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_pickle/sklearn-protocol-0");
const JOBLIB: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_pickle/joblib");
const LEGACY: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_pickle/torch-legacy");
const TORCH_BYTES: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_pickle/torch-bytes");

fn of(octets: &[u8]) -> Inspection {
    inspect(&octets, "model.pkl", &Ruleset::default(), &Limits::default()).unwrap()
}

/// As the member of a container.
fn within(container: Format, name: &str, octets: &[u8]) -> Inspection {
    let (rules, limits) = (Ruleset::default(), Limits::default());
    let mut scan = Scan::new(&rules, &limits, octets.len() as u64);
    super::scan(&mut scan, &octets, &Place::file().member(container, name)).unwrap();
    scan.finish(Format::Pickle)
}

fn has(inspection: &Inspection, rule: &str, level: Level) -> bool {
    inspection.findings.iter().any(|finding| finding.rule == rule && finding.level == level)
}

/// A pickle of protocol 4 that names `module` and `name` on the stack.
fn named(module: &str, name: &str) -> Vec<u8> {
    let mut octets = b"\x80\x04".to_vec();
    for text in [module, name] {
        octets.push(b'X');
        octets.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        octets.extend(text.bytes());
    }
    octets.push(0x93);
    octets
}

#[test]
fn every_trick_is_found_by_its_rule() {
    let malicious = Level::Malicious;
    let suspicious = Level::Suspicious;
    let tricks: &[(&[u8], &str, Level)] = &[
        // Named by each opcode that names, called or not, kept or dropped.
        (b"cos\nsystem\n(S'true'\ntR.", "pickle.global.denied", malicious),
        (b"(S'true'\nios\nsystem\n.", "pickle.global.denied", malicious),
        (b"(cos\nsystem\nS'true'\no.", "pickle.global.denied", malicious),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "pickle.global.denied", malicious),
        (b"\x80\x02cos\nsystem\n0N.", "pickle.global.denied", malicious),
        (b"\x80\x02cos\nsystem\nq\x000]h\x00a.", "pickle.global.denied", malicious),
        // Names through the memo, through escapes, through DUP and POP.
        (b"\x80\x04\x8c\x02os\x940\x8c\x06system\x940h\x00h\x01\x93.", "pickle.global.denied", malicious),
        (b"\x80\x04V\\u006fs\nV\\u0073ystem\n\x93.", "pickle.global.denied", malicious),
        (b"\x80\x04S'\\x6fs'\nS'\\163ystem'\n\x93.", "pickle.global.denied", malicious),
        (b"\x80\x04N\x8c\x02os20\x8c\x06system\x93.", "pickle.global.denied", malicious),
        (b"\x80\x04Nr\xff\xff\xff\xff0\x8c\x02osp99999999\n0g99999999\n\x8c\x06system\x93.", "pickle.global.denied", malicious),
        // By the names of Python 2, and by names a module has for another.
        (b"c__builtin__\neval\n(S'1'\ntR.", "pickle.global.denied", malicious),
        (b"ccommands\ngetoutput\n(S'true'\ntR.", "pickle.global.denied", malicious),
        (b"ccPickle\nloads\n(S'N.'\ntR.", "pickle.global.denied", malicious),
        (b"citertools\nimap\n.", "pickle.global.denied", malicious),
        (b"csklearn.utils._available_if\nMethodType\n.", "pickle.global.denied", malicious),
        // What executes before the loader fails.
        (b"cos\nsystem\n(S'true'\ntR", "pickle.global.denied", malicious),
        (b"cos\nsystem\n(S'true'\ntR\xff", "pickle.global.denied", malicious),
        (b"cos\nsystem\n(S'true'\ntR\xff", "pickle.broken", Level::Unscannable),
        (b"\x80\x04\x95\xff\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n.", "pickle.global.denied", malicious),
        (b"\x80\x04]NaK\x00Ns\x96\x01\x00\x00\x00\x00\x00\x00\x00AK\x01acos\nsystem\n.", "pickle.global.denied", malicious),
        // Attributes of attributes.
        (b"\x80\x04\x8c\x07logging\x8c\x09os.system\x93.", "pickle.global.dotted", malicious),
        (b"\x80\x04\x8c\x06random\x8c\x0a_os.system\x93.", "pickle.global.dotted", malicious),
        (b"\x80\x04\x8c\x08builtins\x8c\x0bstr.__add__\x93.", "pickle.global.dotted", malicious),
        (b"\x80\x04\x8c\x0bcollections\x8c\x0aa.b.c.d.ef\x93.", "pickle.global.dotted", suspicious),
        // What the file does not say.
        (b"\x80\x04\x8c\x08builtins\x8c\x03str\x93\x8c\x02os\x85R\x8c\x06system\x93.", "pickle.global.computed", malicious),
        (b"\x80\x04C\x02os\x8c\x06system\x93.", "pickle.global.computed", malicious),
        (b"\x80\x04\x8c\x08builtins\x8c\x03str\x93\x8c\x02os\x85R)R.", "pickle.call.computed", malicious),
        (b"\x80\x04\x8c\x02os)R.", "pickle.call.computed", malicious),
        (b"\x80\x02\x82\x01.", "pickle.ext", malicious),
        (b"\x80\x02\x84\x01\x00\x00\x00.", "pickle.ext", malicious),
        // Changes of what is not the pickle's, and of what Python uses.
        (b"ccollections\nOrderedDict\n}S'a'\nI1\nsb.", "pickle.build", malicious),
        (b"ccollections\nOrderedDict\n]N0a.", "pickle.build", malicious),
        (b"ccollections\nOrderedDict\n)R}S'__class__'\nI1\nsb.", "pickle.build", malicious),
        (b"ccollections\nOrderedDict\n)RN}S'__reduce__'\nI1\ns\x86b.", "pickle.build", malicious),
        (b"\x80\x02ctorch.jit._pickle\nbuild_intlist\nccollections\nOrderedDict\n\x85R}b.", "pickle.build", malicious),
        (b"\x80\x02ccollections\nOrderedDict\n)R}c__builtin__\nstr\nU\x01a\x85RNsb.", "pickle.build", suspicious),
        // Functions that are allowed, otherwise.
        (b"c_codecs\nencode\n(S'os'\nS'rot13'\ntR.", "pickle.args", malicious),
        (b"c_codecs\nencode\n(NS'latin1'\ntR.", "pickle.args", malicious),
        (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nNK\x00\x85U\x01b\x87R.", "pickle.args", malicious),
        (b"\x80\x02cnumpy.core.multiarray\nscalar\n]R.", "pickle.args", malicious),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "pickle.args", malicious),
        (b"\x80\x02ctorch.storage\n_load_from_bytes\n)\x81.", "pickle.args", malicious),
        (
            b"\x80\x02ctorch.jit._pickle\nrestore_type_tag\nccollections\nOrderedDict\nU\x01T\x86R.",
            "pickle.args",
            malicious,
        ),
        (b"csklearn.feature_selection._univariate_selection\nchi2\n)R.", "pickle.args", malicious),
        // Files within octets.
        (b"\x80\x04\x8c\x0dtorch.storage\x8c\x10_load_from_bytes\x93C\x0ccos\nsystem\n.\x85R.", "pickle.global.denied", malicious),
        (b"\x80\x02ctorch.storage\n_load_from_bytes\nc_codecs\nencode\nX\x0c\x00\x00\x00cos\nsystem\n.X\x06\x00\x00\x00latin1\x86R\x85R.", "pickle.global.denied", malicious),
        (b"\x80\x02ctorch.storage\n_load_from_bytes\nc__builtin__\nbytes\n)R\x85R.", "pickle.nested", malicious),
        // Others.
        (b"cmymodels\nModel\n.", "pickle.global.unknown", suspicious),
        (b"c__main__\nModel\n.", "pickle.global.unknown", suspicious),
        (b"csklearn.datasets._base\nload_files\n.", "pickle.global.unknown", suspicious),
        (b"csklearn.linear_model._base\nLinearRegression\n.", "pickle.global.library", Level::Note),
        (b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ.", "pickle.persid", suspicious),
        (b"Pfile\n.", "pickle.persid", suspicious),
        (b"\x80\x02N.\x80\x02N.", "pickle.several", suspicious),
        (b"\x80\x02N.some text", "trailing.data", suspicious),
        (b"\x80\x02N.some text\x80\x02cos\nsystem\n.", "pickle.global.denied", malicious),
        (b"\x80\x02N.cos\nsystem\n(S'true'\ntR", "pickle.global.denied", malicious),
        (b"\x80\x02N.\x80\x02cos\nsystem\n.", "pickle.global.denied", malicious),
        (b"\x80\x04\x95\xff\x00\x00\x00\x00\x00\x00\x00N.", "pickle.broken", Level::Unscannable),
        (b"\x80\x02Nh\x05.", "pickle.broken", Level::Unscannable),
        (b"\x80\x02NN", "pickle.broken", Level::Unscannable),
        (b"\x80\x02NNt.", "pickle.broken", Level::Unscannable),
    ];
    for (octets, rule, level) in tricks {
        let inspection = of(octets);
        assert!(has(&inspection, rule, *level), "{}: {rule}, not {inspection:?}", octets.escape_ascii());
    }
}

#[test]
fn what_is_no_pickle_by_its_whole_structure_is_tried() {
    // A global without a call, and then what no loader takes: text, and octets.
    for octets in [&b"cos\nsystem\nor not"[..], b"cmymod\nx\n\xff", b"cos\nsystem\n\xff\xff"] {
        let inspection = of(octets);
        assert_ne!(inspection.verdict(), Verdict::Clean);
        assert_eq!(inspection.verdict() == Verdict::Malicious, octets.starts_with(b"cos"), "{inspection:?}");
    }
}

#[test]
fn a_sentence_says_what_is_called_and_how() {
    let says = |octets: &[u8]| of(octets).findings.into_iter().map(|one| one.detail).collect::<Vec<_>>().join("|");
    assert!(says(b"cos\nsystem\n(S'true'\ntR.").contains("calls os.system('true')"));
    assert!(
        says(b"csubprocess\nPopen\n((lp0\nS'echo'\naS'a\\nb'\natR.")
            .contains(r"calls subprocess.Popen(['echo', 'a\nb'])")
    );
    // A value within itself is shown as far as it goes.
    assert!(says(b"cos\nsystem\n(]q\x00h\x00atR.").contains("calls os.system([[...]])"));
}

#[test]
fn what_libraries_write_is_not_called_an_attack() {
    for (octets, class) in [
        (SKLEARN, "sklearn.linear_model._logistic.LogisticRegression"),
        (SKLEARN_0, "sklearn.linear_model._logistic.LogisticRegression"),
    ] {
        let inspection = of(octets);
        assert_eq!(inspection.verdict(), Verdict::Clean, "{inspection:?}");
        assert_eq!(inspection.facts.values["framework"], "sklearn");
        assert_eq!(inspection.facts.values["class"], class);
        assert!(inspection.facts.values.contains_key("sklearn_version"), "{inspection:?}");
        assert_eq!(inspection.facts.dtypes["F64"], 2, "{inspection:?}");
    }
    for octets in [JOBLIB, LEGACY, TORCH_BYTES] {
        let inspection = of(octets);
        assert_eq!(inspection.verdict(), Verdict::Clean, "{inspection:?}");
        assert!(has(&inspection, "pickle.present", Level::Note));
    }
}

#[test]
fn tensors_are_counted_by_type_and_named() {
    let facts = of(LEGACY).facts;
    assert_eq!((facts.tensors, facts.parameters), (2, 9));
    assert_eq!((facts.dtypes["F32"], facts.dtypes["F16"]), (6, 3));
    assert_eq!(facts.largest, Some(("w".to_owned(), vec![2, 3])));
    assert_eq!(facts.values["framework"], "torch");
    assert_eq!(facts.values["pickle_protocol"], 2);
    assert_eq!(of(JOBLIB).facts.dtypes["I64"], 5);
}

#[test]
fn a_legacy_file_is_as_long_as_its_storages() {
    let longer = [LEGACY, b"\0"].concat();
    for octets in [&longer[..], &LEGACY[..LEGACY.len() - 1]] {
        assert!(has(&of(octets), "trailing.data", Level::Suspicious));
    }
    // Without torch's number its layout is not allowed for.
    let other = [&LEGACY[..4], &[LEGACY[4] ^ 1], &LEGACY[5..]].concat();
    assert!(has(&of(&other), "pickle.several", Level::Suspicious));
    // A denied callable in any of its pickles.
    let hostile = [&LEGACY[..LEGACY.len() - 40], b"\x80\x02cos\nsystem\n."].concat();
    assert_eq!(of(&hostile).verdict(), Verdict::Malicious);
}

#[test]
fn an_array_of_joblib_is_stepped_over_and_what_follows_is_read() {
    // Behind the array: APPENDS and STOP.
    let (before, end) = JOBLIB.split_at(JOBLIB.len() - 2);
    assert_eq!(end, b"e.");
    let hostile = [before, b"e\x8c\x02os\x8c\x06system\x93."].concat();
    assert!(has(&of(&hostile), "pickle.global.denied", Level::Malicious));
    // Within the array, for loaders that don't know joblib: the octet of padding is POP then.
    let array = before.len() - 5 * 8 - 6;
    assert_eq!(before[array], 5);
    let mut hostile = JOBLIB.to_vec();
    hostile.truncate(array);
    hostile.extend(b"0cos\nsystem\n.");
    hostile.extend([0; 100]);
    hostile.extend(b"e.");
    assert!(has(&of(&hostile), "pickle.global.denied", Level::Malicious));
    let unknown = String::from_utf8_lossy(b"cmymodel\nmain\n.").into_owned();
    hostile.truncate(array + 1);
    hostile.extend(unknown.bytes());
    hostile.extend([0; 100]);
    assert!(has(&of(&hostile), "pickle.ambiguous", Level::Suspicious));
    // By names that the pickle computed before.
    hostile.truncate(array);
    hostile.extend(b"0\x8c\x02os\x940\x8c\x06system\x940\x93)R");
    hostile.extend([0; 100]);
    assert!(has(&of(&hostile), "pickle.ambiguous", Level::Suspicious));
    // An array that reaches beyond the end.
    assert!(has(&of(&JOBLIB[..JOBLIB.len() - 4]), "pickle.broken", Level::Unscannable));
}

#[test]
fn containers_decide_what_an_id_may_be() {
    let storage =
        b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ.";
    let other =
        b"\x80\x02(X\x07\x00\x00\x00storagecmymodel\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ.";
    assert_eq!(within(Format::PytorchZip, "data.pkl", storage).verdict(), Verdict::Clean);
    assert_eq!(within(Format::Zip, "data.pkl", storage).verdict(), Verdict::Suspicious);
    assert!(has(&within(Format::PytorchZip, "data.pkl", other), "pickle.persid", Level::Suspicious));
    let path =
        b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x04\x00\x00\x00../0X\x03\x00\x00\x00cpuK\x01tQ.";
    assert!(has(&within(Format::PytorchZip, "data.pkl", path), "pickle.persid", Level::Suspicious));
    let script = b"\x80\x02c__torch__.net\nNet\n)\x81}b.";
    assert_eq!(within(Format::Torchscript, "data.pkl", script).verdict(), Verdict::Clean);
    assert_eq!(within(Format::PytorchZip, "data.pkl", script).verdict(), Verdict::Suspicious);
    assert_eq!(within(Format::Torchscript, "data.pkl", b"\x80\x02cos\nsystem\n.").verdict(), Verdict::Malicious);
}

#[test]
fn members_of_torchs_tar_are_read_to_their_end() {
    let storages = |count: u8, elements: u64, views: &[u8]| {
        let mut octets = vec![0x80, 2, b'K', count, b'.'];
        octets.extend(b"\x80\x02K\x01X\x03\x00\x00\x00cpuctorch\nFloatStorage\n\x87.");
        octets.extend(elements.to_le_bytes());
        octets.extend([0; 8]);
        octets.extend(views);
        octets
    };
    let views = b"\x80\x02].";
    assert_eq!(within(Format::PytorchTar, "storages", &storages(1, 2, views)).verdict(), Verdict::Clean);
    let far = within(Format::PytorchTar, "storages", &storages(1, 1 << 61, views));
    assert!(has(&far, "pickle.broken", Level::Unscannable));
    let hostile = within(Format::PytorchTar, "storages", &storages(1, 2, b"\x80\x02cos\nsystem\n."));
    assert_eq!(hostile.verdict(), Verdict::Malicious);
    let mut tensors = b"\x80\x02K\x01.\x80\x02K\x01K\x02ctorch\nFloatStorage\n\x87.".to_vec();
    tensors.extend(b"\x01\0\0\0\0\0\0\0");
    tensors.extend([0; 24]);
    assert_eq!(within(Format::PytorchTar, "tensors", &tensors).verdict(), Verdict::Clean);
    tensors.push(0);
    assert!(has(&within(Format::PytorchTar, "tensors", &tensors), "trailing.data", Level::Suspicious));
}

#[test]
fn many_harmless_findings_hide_no_grave_one() {
    let mut octets: Vec<u8> = (0..2_000).flat_map(|at| format!("cmymodel\nf{at}\n0").into_bytes()).collect();
    octets.extend(b"cos\nsystem\n.");
    assert_eq!(of(&octets).verdict(), Verdict::Malicious);
    let state: Vec<u8> = (0..500).flat_map(|at| format!("S'a{at}'\nNs").into_bytes()).collect();
    let octets = [b"ccollections\nOrderedDict\n)R}", &state[..], b"S'__class__'\nNsb."].concat();
    assert!(has(&of(&octets), "pickle.build", Level::Malicious));
}

#[test]
fn depth_and_number_end_at_limits() {
    let limit = |octets: &[u8]| has(&of(octets), "limit", Level::Unscannable);
    let deep = [b"\x80\x02", &b"]".repeat(900_000)[..], &b"a".repeat(899_999)[..], b"."].concat();
    assert_eq!(of(&deep).verdict(), Verdict::Clean);
    assert!(limit(&[b"\x80\x02", &b"]".repeat(1_000_001)[..], b"."].concat()));
    assert!(limit(&[b"\x80\x02", &b"(".repeat(1_000_001)[..], b"N."].concat()));
    assert!(limit(&[b"\x80\x02)", &b"\x85".repeat(4 << 20)[..], b"."].concat()));
    assert!(limit(&b"\x80\x02N.".repeat(10_001)));
    // Octets within octets within octets.
    let mut nested = b"\x80\x02N.".to_vec();
    for _ in 0..10 {
        let mut outer = b"\x80\x02ctorch.storage\n_load_from_bytes\nB".to_vec();
        outer.extend(u32::try_from(nested.len()).unwrap().to_le_bytes());
        outer.extend(&nested);
        outer.extend(b"\x85R.");
        nested = outer;
    }
    assert!(limit(&nested));
}

#[test]
fn globals_stand_as_the_lists_say() {
    let rules = Ruleset::default();
    for (module, name, expected) in [
        ("collections", "OrderedDict", Standing::Allowed),
        ("collections", "namedtuple", Standing::Denied),
        ("__builtin__", "set", Standing::Allowed),
        ("builtins", "getattr", Standing::Denied),
        ("torch", "BFloat16Storage", Standing::Allowed),
        ("torch", "Storage", Standing::Unknown),
        ("torch", "load", Standing::Denied),
        ("torch", "loads", Standing::Unknown),
        ("torch.serialization", "load", Standing::Denied),
        ("torch.hub.anything", "x", Standing::Denied),
        ("torch.hubs", "x", Standing::Unknown),
        ("osx", "system", Standing::Unknown),
        ("os.path", "join", Standing::Denied),
        ("torch.nn.modules.linear", "Linear", Standing::Library),
        ("torch.nn.modules.linear", "Linear.forward", Standing::Unknown),
        ("torch.nn.modules.linear", "Linear.__init__", Standing::Denied),
        ("sklearn.ensemble._hist_gradient_boosting.binning", "_BinMapper", Standing::Library),
        ("sklearn.datasets._base", "Bunch", Standing::Unknown),
        ("xgboost.sklearn", "ThreadPoolExecutor", Standing::Denied),
        ("sklearn", "Anything", Standing::Unknown),
        ("numpy.random._pickle", "__randomstate_ctor", Standing::Allowed),
        ("__main__", "Model", Standing::Unknown),
    ] {
        assert_eq!(standing(&rules, module, name), expected, "{module} {name}");
    }
    assert_eq!(standing_dotted(&rules, "os.system"), Standing::Denied);
    assert_eq!(standing_dotted(&rules, "logging.os.system"), Standing::Denied);
    assert_eq!(standing_dotted(&rules, "torch.nn.modules.linear.Linear"), Standing::Library);
    assert_eq!(standing_dotted(&rules, "torch.Size"), Standing::Allowed);
    assert_eq!(standing_dotted(&rules, "eval"), Standing::Denied);
    assert_eq!(standing_dotted(&rules, "mymodel.Net"), Standing::Unknown);
    assert_eq!(standing_dotted(&rules, "mymodel.test.Net"), Standing::Unknown);
    assert_eq!(standing_dotted(&rules, "builtins.eval"), Standing::Denied);
    assert_eq!(standing_dotted(&rules, "torch.hub.load"), Standing::Denied);
    assert_eq!(standing_dotted(&rules, "mymodel.__init__.Net"), Standing::Denied);
}

#[test]
fn an_administrator_may_allow_what_is_unknown_and_nothing_that_is_denied() {
    let pairs = [("mymodels", "Model"), ("os", "system"), ("mymodels", "os.system"), ("mymodels", "Model.Inner")];
    let rules = Ruleset::new(Allowed {
        globals: pairs.iter().map(|(module, name)| ((*module).to_owned(), (*name).to_owned())).collect(),
        prefixes: ["company.", "torch.", "numpy.core.", "os."].map(str::to_owned).into(),
    });
    assert_eq!(standing(&rules, "mymodels", "Model"), Standing::Allowed);
    assert_eq!(standing(&rules, "mymodels", "Model.Inner"), Standing::Allowed);
    assert_eq!(standing(&rules, "mymodels", "os.system"), Standing::Denied);
    assert_eq!(standing(&rules, "os", "system"), Standing::Denied);
    assert_eq!(standing(&rules, "company.nets", "Net"), Standing::Library);
    assert_eq!(standing(&rules, "company.nets", "build"), Standing::Unknown);
    assert_eq!(standing(&rules, "company", "Net"), Standing::Library);
    assert_eq!(standing(&rules, "torch.optim.adam", "Adam"), Standing::Unknown);
    assert_eq!(standing(&rules, "numpy.core.records", "Any"), Standing::Unknown);
    assert_eq!(standing(&rules, "os.path", "Any"), Standing::Denied);
    assert_ne!(rules.id(), Ruleset::default().id());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever comes behind it, a denied name that a loader gets to is found.
    #[test]
    fn nothing_behind_a_hostile_name_hides_it(rest in proptest::collection::vec(any::<u8>(), 0..300)) {
        let octets = [b"\x80\x04cos\nsystem\n(S'true'\ntR", &rest[..]].concat();
        prop_assert_eq!(of(&octets).verdict(), Verdict::Malicious);
    }

    #[test]
    fn any_sequence_of_opcodes_is_walked_through(opcodes in proptest::collection::vec(
        proptest::sample::select(
            b"\x80\x02()]}NK\x01U\x01aVa\nI1\np0\ng0\nq\x00h\x00cos\nsystem\nRob0012tlduesa.\x81\x82\x85\x86\x87\x88\x8f\x90\x91\x92\x93\x94\x95PQ\x96\x97\x98".to_vec(),
        ), 0..2000,
    )) {
        within(Format::PytorchZip, "data.pkl", &opcodes);
        within(Format::PytorchTar, "storages", &opcodes);
    }

    /// A change anywhere in a sound file neither panics nor makes a hostile one clean.
    #[test]
    fn any_change_is_survived(sample in 0..5_usize, at in any::<proptest::sample::Index>(), octet in any::<u8>(), cut in any::<bool>()) {
        let mut octets = [SKLEARN, SKLEARN_0, JOBLIB, LEGACY, TORCH_BYTES][sample].to_vec();
        let at = at.index(octets.len());
        octets[at] = octet;
        if cut {
            octets.truncate(at);
        }
        within(Format::Zip, "data.pkl", &octets);
    }

    /// A name is denied wherever module and attributes meet.
    #[test]
    fn a_split_of_a_denied_path_is_denied(split in 0..3_usize) {
        let path = ["torch", "utils", "cpp_extension", "load"];
        let octets = [named(&path[..=split].join("."), &path[split + 1..].join(".")), b".".to_vec()].concat();
        prop_assert_eq!(of(&octets).verdict(), Verdict::Malicious);
    }
}

/// A text of protocol 2.
fn text(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat()
}

/// joblib's wrapper of an array of an element type and a shape, both as opcodes.
fn wrapper(dtype: &[u8], shape: &[u8], more: &[u8]) -> Vec<u8> {
    let class = b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(";
    [class.as_slice(), &text("shape"), shape, &text("dtype"), dtype, more, b"ub"].concat()
}

fn dtype(code: &str, state: &[u8]) -> Vec<u8> {
    [b"cnumpy\ndtype\n".as_slice(), &text(code), b"\x89\x88\x87R", state].concat()
}

#[test]
fn functions_on_the_list_are_called_and_not_kept() {
    let load = "ctorch.storage\n_load_from_bytes\n".as_bytes();
    let object = b"\x80\x02ccollections\nOrderedDict\n)R";
    let append = text("append");
    let state = [object, b"}".as_slice(), &append, load, b"sbC\x01Na."].concat();
    assert!(has(&of(&state), "pickle.args", Level::Malicious));
    assert!(has(&of(&state), "pickle.build", Level::Malicious), "an OrderedDict has no append of its own");
    // As an item, in a tuple, as the state itself, as an argument.
    for octets in [
        [b"\x80\x02]".as_slice(), load, b"a."].concat(),
        [b"\x80\x02".as_slice(), load, b"\x85."].concat(),
        [object, load, b"b."].concat(),
        [b"\x80\x02(ccollections\ndefaultdict\n".as_slice(), load, b"o."].concat(),
        [b"\x80\x02(".as_slice(), load, b"icollections\ndefaultdict\n."].concat(),
    ] {
        assert!(has(&of(&octets), "pickle.args", Level::Malicious), "{:?}", octets.escape_ascii().to_string());
    }
    // A class of a library has elements or hasn't.
    let library = b"\x80\x02csklearn.svm._classes\nSVC\n)\x81Na.";
    assert!(has(&of(library), "pickle.build", Level::Suspicious));
    assert_eq!(of(b"\x80\x02ccollections\ndeque\n)RNa.").verdict(), Verdict::Clean);
}

#[test]
fn a_state_is_looked_at_whatever_dictionary_it_is() {
    let object = b"\x80\x02ccollections\nOrderedDict\n)R".as_slice();
    let key = text("__setstate__");
    let ordered = [object, &object[2..], &key, b"Nsb."].concat();
    assert!(has(&of(&ordered), "pickle.build", Level::Malicious));
    let made = [object, b"cbuiltins\ndict\n(", &key, b"Nt\x85\x85Rb."].concat();
    assert!(has(&of(&made), "pickle.build", Level::Suspicious));
}

#[test]
fn octets_that_may_have_changed_are_not_what_stands_in_the_file() {
    let octets = b"\x80\x05ctorch.storage\n_load_from_bytes\n\x96\x05\0\0\0\0\0\0\0\x80\x02NN.(K\0e\x85R.";
    assert!(has(&of(octets), "pickle.nested", Level::Malicious));
}

#[test]
fn numbers_on_lines_are_read_as_loaders_do() {
    let zeros = "0".repeat(2000);
    let names = |five: &str| {
        let put = |name: &str, slot: &str| [text(name), format!("p{slot}\n0").into_bytes()].concat();
        [b"\x80\x04".to_vec(), put("numpy", "5"), put("os", five), text("system"), b"0h\x05".to_vec()].concat()
    };
    for five in [format!("{zeros}5"), " 5".into(), "+5".into(), "0_5".into(), "5\0x".into(), "5\t".into()] {
        let octets = [names(&five), text("system"), b"\x93.".to_vec()].concat();
        assert!(has(&of(&octets), "pickle.global.denied", Level::Malicious), "{five:?}");
    }
    // Recognised behind them too, whatever they name.
    for first in ["I\t1\n", "I\x0b1\n", "I1\0x\n", "F1.0\0x\n", "L\x0c1L\n", "Np 0\n", "ctorch.ops\na b\n"] {
        let octets = [first.as_bytes(), b"0csome.module\nname\n)R."].concat();
        assert!(has(&of(&octets), "pickle.global.unknown", Level::Suspicious), "{first:?}");
    }
}

#[test]
fn arrays_in_a_stream_are_as_long_as_joblib_takes_them() {
    let one = b"K\x01\x85";
    let plain = [b"\x80\x02".to_vec(), wrapper(&dtype("f8", b""), one, b""), vec![0; 8], b".".to_vec()].concat();
    assert_eq!(of(&plain).verdict(), Verdict::Clean);
    let many: Vec<u8> = (0..300).flat_map(|number| [text(&format!("k{number}")), b"N".to_vec()].concat()).collect();
    let later = [many, text("dtype"), dtype("O8", b"")].concat();
    let base = [b"(K\x03".as_slice(), &text("|"), &dtype("O8", b""), one, b"\x86NNK\x08K\x01K\0tb"].concat();
    for wrapper in [
        // A size that numpy knows, said again later, and a type within that has objects.
        wrapper(&dtype("d", b""), one, b""),
        wrapper(&dtype("f8", b""), one, &later),
        wrapper(&dtype("V8", &base), one, b""),
    ] {
        let octets = [b"\x80\x02".to_vec(), wrapper, vec![0; 8], b".".to_vec()].concat();
        assert!(has(&of(&octets), "pickle.broken", Level::Unscannable));
    }
    // A frame that goes on behind the wrapper.
    let array = wrapper(&dtype("f8", b""), one, b"");
    let length = u64::try_from(array.len()).unwrap() + 8;
    let octets = [b"\x80\x04\x95".as_slice(), &length.to_le_bytes(), &array, &[b'N'; 8], b"."].concat();
    assert!(has(&of(&octets), "pickle.broken", Level::Unscannable));
    // More opcodes than are tried; and a picture of one colour.
    let shape = b"M\x20\x4e\x85";
    let dtype = dtype("u1", b"");
    let opcodes = [b"\x80\x02".to_vec(), wrapper(&dtype, shape, b""), b"N0".repeat(10_000), b".".to_vec()].concat();
    assert!(has(&of(&opcodes), "pickle.ambiguous", Level::Suspicious));
    let plain = [b"\x80\x02".to_vec(), wrapper(&dtype, shape, b""), b"N".repeat(20_000), b"\0.".to_vec()].concat();
    assert!(!has(&of(&plain), "pickle.ambiguous", Level::Suspicious));
}

#[test]
fn types_within_types_are_read_once() {
    // Each has two hundred fields of the type before: all together 200 to the power of eight.
    let mut octets = [b"\x80\x02".to_vec(), dtype("f8", b""), b"q\x000".to_vec()].concat();
    for level in 1..9_u8 {
        let fields: Vec<u8> = (0..200)
            .flat_map(|field| [text(&format!("f{field}")), vec![b'h', level - 1, b'K', 0, 0x86]].concat())
            .collect();
        let state = [b"(K\x03N)N}(".as_slice(), &fields, b"uK\x08K\x01K\0tb"].concat();
        octets.extend([dtype("V8", &state), vec![b'q', level, b'0']].concat());
    }
    octets.extend([wrapper(b"h\x08", b"K\x01\x85", b""), b".".to_vec()].concat());
    assert!(has(&of(&octets), "pickle.broken", Level::Unscannable));
}

#[test]
fn constants_of_libraries_are_no_classes() {
    let rules = Ruleset::default();
    assert_eq!(standing(&rules, "xgboost.core", "_LIB"), Standing::Unknown);
    assert_eq!(standing(&rules, "sklearn.svm._classes", "SVC"), Standing::Library);
    assert_eq!(standing(&rules, "sklearn.calibration", "_SigmoidCalibration"), Standing::Library);
}

#[test]
fn functions_that_estimators_keep_are_not_called() {
    assert_eq!(of(b"\x80\x02]cnumpy\nlog1p\na.").verdict(), Verdict::Clean);
    assert!(has(&of(b"\x80\x02cnumpy\nlog1p\nN\x85R."), "pickle.args", Level::Malicious));
    let score = b"\x80\x02]csklearn.metrics._classification\nf1_score\na.";
    assert_eq!(of(score).verdict(), Verdict::Clean);
}

#[test]
fn a_module_that_torch_has_compiled_is_no_attack() {
    let module = b"\x80\x02ctorch.nn.modules.activation\nReLU\n)\x81}";
    let state = [module.as_slice(), &text("__overloads__"), b"}sb."].concat();
    assert_eq!(of(&state).verdict(), Verdict::Clean);
}
