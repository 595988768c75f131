//! HDF5: what each trick is called, what real files are, and that no octets make the reader panic.

use proptest::prelude::{any, proptest};
use proptest::sample::select;

use crate::inspect::probe::{assert_clean, assert_found, looked_at, mutated, mutations};
use crate::inspect::{Level, Verdict};

/// By h5py: attributes of variable and of fixed length in the object's header, and in a heap of their own; links in a heap of
/// their own; a plain group with a dataset; and what leads to other files.
const VARIABLE: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_hdf5/keras-variable");
const FIXED: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_hdf5/keras-fixed");
const DENSE_ATTRIBUTES: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_hdf5/dense-attributes");
const DENSE_LINKS: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_hdf5/dense-links");
const GROUPS: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_hdf5/groups");
const LINK: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_hdf5/external-link");
const STORAGE: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_hdf5/external-storage");
const VIRTUAL: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_hdf5/virtual");

/// The samples that end in a heap are kept without the zeros at its end.
const WHOLE_BYTES: usize = 6144;

fn whole(octets: &[u8]) -> Vec<u8> {
    let mut octets = octets.to_vec();
    octets.resize(WHOLE_BYTES, 0);
    octets
}

fn samples() -> Vec<Vec<u8>> {
    let ended = [FIXED, DENSE_ATTRIBUTES, DENSE_LINKS, GROUPS, LINK, STORAGE].map(<[u8]>::to_vec);
    ended.into_iter().chain([whole(VARIABLE), whole(VIRTUAL)]).collect()
}

#[test]
fn other_files_are_malicious() {
    for octets in [LINK, DENSE_LINKS, STORAGE] {
        assert_found(octets, "w.h5", "hdf5.external", Level::Malicious);
    }
    assert_found(&whole(VIRTUAL), "w.h5", "hdf5.external", Level::Malicious);
}

#[test]
fn the_configuration_is_found_wherever_it_is_kept() {
    for octets in [FIXED, DENSE_ATTRIBUTES] {
        assert_found(octets, "m.h5", "keras.lambda", Level::Malicious);
    }
    let facts = assert_clean(&whole(VARIABLE), "m.h5").facts;
    assert_eq!(facts.values["architecture"], "Sequential");
    assert_eq!(facts.values["keras_version"], "2.9.0");
    assert_eq!(facts.values["input_shape"], serde_json::json!([null, 4]));
}

#[test]
fn plain_files_are_clean_and_described() {
    let facts = assert_clean(GROUPS, "w.h5").facts;
    assert_eq!((facts.tensors, facts.parameters, facts.dtypes["I8"]), (1, 6, 6));
    assert_eq!(facts.largest, Some(("w".to_owned(), vec![2, 3])));
    // An empty user block has nothing in it to be told.
    assert_clean(&[&[0; 512], GROUPS].concat(), "w.h5");
}

#[test]
fn what_stands_outside_is_told_and_searched() {
    assert_found(&[GROUPS, b"more"].concat(), "w.h5", "trailing.data", Level::Suspicious);
    assert_found(&[&[b'x'; 512], GROUPS].concat(), "w.h5", "trailing.data", Level::Suspicious);
    let pickle = [GROUPS, b"\x80\x04cos\nsystem\n\x8c\x04true\x85R."].concat();
    assert_ne!(looked_at(&pickle, "w.h5").findings.len(), 1, "the pickle is looked into");
}

#[test]
fn what_is_cut_or_of_an_unknown_form_is_told() {
    for octets in samples() {
        for end in (9..octets.len()).step_by(7) {
            assert_ne!(looked_at(&octets[..end], "w.h5").verdict(), Verdict::Clean, "{end}");
        }
    }
    // Versions of the superblock, widths of addresses and lengths.
    for (at, octet) in [(8, 9), (13, 3), (14, 0), (96, 7)] {
        let mut octets = GROUPS.to_vec();
        octets[at] = octet;
        assert_found(&octets, "w.h5", "hdf5.broken", Level::Unscannable);
    }
}

#[test]
fn a_configuration_that_is_no_json_is_told() {
    let octets = whole(VARIABLE);
    let at = octets.windows(10).position(|octets| octets == b"class_name").unwrap_or_default();
    let mut octets = octets;
    octets[at - 1] = b'(';
    assert_found(&octets, "m.h5", "hdf5.broken", Level::Unscannable);
}

proptest! {
    #[test]
    fn no_mutation_of_a_file_makes_it_panic(sample in select(samples()), mutation in mutations()) {
        looked_at(&mutated(&sample, &mutation), "w.h5");
    }

    #[test]
    fn nor_do_addresses_that_lead_anywhere(
        sample in select(samples()), at in any::<proptest::sample::Index>(), to in any::<proptest::sample::Index>(),
    ) {
        // An address that leads to another place of the same file, where structures of another kind are.
        let mut octets = sample;
        let at = at.index(octets.len() - 8) & !7;
        let to = to.index(octets.len()) as u64;
        octets[at..at + 8].copy_from_slice(&to.to_le_bytes());
        looked_at(&octets, "w.h5");
    }
}
