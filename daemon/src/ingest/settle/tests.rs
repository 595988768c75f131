//! When things are complete, with simulated writers and a simulated clock.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Look, Rest, Settling, Verdict, Writer};
use crate::ingest::lanes::{Kind, Seen, Tree};
use crate::ingest::names::{Place, Root};

const REST: Rest = Rest { sure: Duration::from_secs(2), unsure: Duration::from_secs(10) };

fn place(namespace: Option<&str>, name: &str) -> Place {
    Place { root: Root::Incoming, namespace: namespace.map(str::to_owned), name: name.into() }
}

fn file(state: u64) -> Seen {
    Seen {
        kind: Kind::File,
        device: 1,
        inode: 7,
        links: 1,
        owner_uid: 1000,
        size: state,
        modified_ns: i128::from(state),
        changed_ns: i128::from(state),
        tree: None,
    }
}

fn tree() -> Tree {
    Tree {
        files: 2,
        folders: 0,
        print: [1; 32],
        marked: false,
        namespace: false,
        sealed: false,
        unfinished: None,
        hostile: None,
    }
}

fn folder(tree: Tree) -> Seen {
    Seen { kind: Kind::Folder, tree: Some(tree), ..file(1) }
}

fn look(seen: Seen) -> Look {
    Look { seen, beside: Vec::new(), writer: Some(Writer::None), moved_in: false }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Until when it waits, from `start`, and for what.
fn waits(verdict: Verdict, start: Instant) -> (Option<Duration>, String) {
    match verdict {
        Verdict::Wait { until, reason } => (Some(until - start), reason),
        Verdict::Ask { until, reason } => (until.map(|until| until - start), reason),
        other => panic!("{other:?}"),
    }
}

/// What it says of something that is at rest, and until when from then it waits.
fn at_rest(place: Place, seen: &Seen) -> Verdict {
    let (mut settling, start) = (Settling::new(place), Instant::now());
    settling.look(look(seen.clone()), start, REST);
    settling.look(look(seen.clone()), start + REST.sure, REST)
}

/// The same of something that has rested for as long as anything must.
fn at_long_rest(place: Place, seen: &Seen) -> Verdict {
    let (mut settling, start) = (Settling::new(place), Instant::now());
    settling.look(look(seen.clone()), start, REST);
    settling.look(look(seen.clone()), start + REST.unsure, REST)
}

/// The life of a file that is written with a pause: each wait says for what, and its end is exact.
#[test]
fn a_file_rests() {
    let (mut settling, start) = (Settling::new(place(None, "m.bin")), Instant::now());
    let mut at = |state, writer, after: u64| {
        let asks = settling.asks_writer(start + ms(after), REST);
        let look = Look { writer, ..look(file(state)) };
        (asks, settling.look(look, start + ms(after), REST))
    };
    let (asks, verdict) = at(1, None, 0);
    assert!(!asks);
    assert_eq!(waits(verdict, start), (Some(ms(2000)), "new; taken when it rests for 2 s".into()));
    let (asks, verdict) = at(2, None, 500);
    assert!(!asks);
    assert_eq!(waits(verdict, start), (Some(ms(2500)), "still changing; taken when it rests for 2 s".into()));
    let (asks, verdict) = at(2, None, 1250);
    assert!(!asks);
    assert_eq!(waits(verdict, start), (Some(ms(2500)), "stable in 1.3 s".into()));
    let (asks, verdict) = at(2, Some(Writer::Some), 2500);
    assert!(asks);
    assert_eq!(waits(verdict, start), (Some(ms(4500)), "still open for writing by another program".into()));
    // Closed, as an event tells: from now on it rests.
    let (asks, verdict) = at(2, Some(Writer::None), 3000);
    assert!(asks, "there was a writer");
    assert_eq!(waits(verdict, start).0, Some(ms(5000)));
    let (asks, verdict) = at(2, None, 4999);
    assert!(!asks);
    assert_eq!(waits(verdict, start).0, Some(ms(5000)));
    let (asks, verdict) = at(2, Some(Writer::None), 5000);
    assert!(asks);
    assert_eq!(verdict, Verdict::Ready);
    // Not taken, for whatever reason: it stays ready, until it changes.
    assert_eq!(at(2, Some(Writer::None), 6000).1, Verdict::Ready);
    assert_eq!(waits(at(3, Some(Writer::None), 6001).1, start).0, Some(ms(8001)));
}

/// Without an answer about writers nothing is ready, and the question is asked at once.
#[test]
fn writers_are_asked_for() {
    let (mut settling, start) = (Settling::new(place(None, "m.bin")), Instant::now());
    let unasked = || Look { writer: None, ..look(file(1)) };
    settling.look(unasked(), start, REST);
    assert_eq!(waits(settling.look(unasked(), start + ms(2000), REST), start).0, Some(ms(2000)));
    assert!(settling.asks_writer(start + ms(2000), REST));
    assert_eq!(settling.look(look(file(1)), start + ms(2000), REST), Verdict::Ready);
}

/// Where the file system can't tell of writers, it is the longer rest.
#[test]
fn without_leases_it_rests_longer() {
    let (mut settling, start) = (Settling::new(place(None, "m.bin")), Instant::now());
    let unknown = || Look { writer: Some(Writer::Unknown), ..look(file(1)) };
    settling.look(look(file(1)), start, REST);
    assert_eq!(
        waits(settling.look(unknown(), start + ms(2000), REST), start),
        (Some(ms(10_000)), "stable in 8 s".into())
    );
    assert!(!settling.asks_writer(start + ms(9999), REST));
    assert_eq!(settling.look(unknown(), start + ms(10_000), REST), Verdict::Ready);
}

/// A sidecar that comes, changes or goes makes its item wait anew.
#[test]
fn sidecars_count() {
    let (mut settling, start) = (Settling::new(place(None, "m.bin")), Instant::now());
    let mut at = |beside: &[u64], after: u64| {
        let look = Look { beside: beside.iter().map(|state| file(*state)).collect(), ..look(file(1)) };
        settling.look(look, start + ms(after), REST)
    };
    at(&[], 0);
    for (beside, after) in [(&[1][..], 1900), (&[2], 3800), (&[2, 3], 5700), (&[3], 7600)] {
        assert_eq!(waits(at(beside, after), start).0, Some(ms(after + 2000)));
    }
    assert_eq!(at(&[3], 9600), Verdict::Ready);
}

/// Times that lie in the future, or go back, are times like others.
#[test]
fn times_of_files_are_no_clock() {
    for modified_ns in [i128::MIN, -1, 0, i128::MAX] {
        let seen = Seen { modified_ns, changed_ns: modified_ns, ..file(1) };
        assert_eq!(at_rest(place(None, "m.bin"), &seen), Verdict::Ready);
    }
}

/// Hostile things rest like others, and then it is for whoever takes them to say so.
#[test]
fn what_is_no_file_rests() {
    let link = Seen { kind: Kind::Other("symbolic link"), ..file(1) };
    assert_eq!(at_rest(place(None, "m.bin"), &link), Verdict::Ready);
}

/// Temporary names wait for a rename, folders too, and nothing is due until then.
#[test]
fn temporary_names_wait() {
    for (name, seen) in [("m.bin.part", file(1)), (".bert.tmp", folder(Tree { marked: true, ..tree() }))] {
        let reason = format!("`{name}` has the name of something unfinished: rename it when it is complete");
        assert_eq!(at_rest(place(None, name), &seen), Verdict::Ask { until: None, reason });
    }
}

/// What tells that a folder is one version; without it, the sentence that says what to do.
#[test]
fn folders_are_closed() {
    for (closed, is_sure) in [(Tree { marked: true, ..tree() }, true), (Tree { sealed: true, ..tree() }, false)] {
        for place in [place(None, "bert"), place(Some("team"), "bert")] {
            assert_eq!(at_rest(place.clone(), &folder(closed.clone())) == Verdict::Ready, is_sure);
            assert_eq!(at_long_rest(place, &folder(closed.clone())), Verdict::Ready);
        }
        let unfinished = Tree { unfinished: Some("x/.m.bin.Xy12Zz".into()), ..closed };
        assert_eq!(
            waits(at_rest(place(None, "bert"), &folder(unfinished)), Instant::now()).1,
            "`x/.m.bin.Xy12Zz` in `bert` has the name of something unfinished: rename it when it is complete, or remove it"
        );
    }
    let open = "`bert` is not known to be complete: put an empty file `.mreg-complete` in it to make it one version, or \
                `.mreg-namespace` to make each file in it a model of the namespace `bert`";
    assert_eq!(waits(at_rest(place(None, "bert"), &folder(tree())), Instant::now()).1, open);
    let hostile = Tree { hostile: Some("`a` is a symbolic link".into()), ..tree() };
    assert_eq!(
        waits(at_rest(place(None, "bert"), &folder(hostile)), Instant::now()).1,
        format!("{open}; as it is it will be refused: `a` is a symbolic link")
    );
    for place in [place(Some("team"), "bert"), place(None, "my bert")] {
        let name = place.shown();
        assert_eq!(
            waits(at_rest(place, &folder(tree())), Instant::now()).1,
            format!(
                "`{name}` is not known to be complete: put an empty file `.mreg-complete` in it to make it one version"
            )
        );
    }
}

/// Folders that are namespaces, those that stay empty, and those that can't be.
#[test]
fn folders_are_namespaces() {
    let marked = folder(Tree { namespace: true, ..tree() });
    let mut settling = Settling::new(place(None, "team"));
    assert_eq!(
        settling.look(look(marked.clone()), Instant::now(), REST),
        Verdict::Namespace { mark: false },
        "at once: what is in it is looked at in its turn"
    );
    let empty = folder(Tree { files: 0, ..tree() });
    assert_eq!(at_long_rest(place(None, "team"), &empty), Verdict::Namespace { mark: true });
    let (mut settling, start) = (Settling::new(place(None, "team")), Instant::now());
    settling.look(look(empty.clone()), start, REST);
    assert_eq!(
        waits(settling.look(look(empty.clone()), start + REST.sure, REST), start),
        (Some(REST.unsure), "empty; a namespace in 8 s".into()),
        "a program may be about to fill it"
    );
    let nested = folder(Tree { files: 0, folders: 1, ..tree() });
    assert!(
        matches!(at_long_rest(place(None, "team"), &nested), Verdict::Ask { .. }),
        "what has folders in it is not empty"
    );
    let sealed = folder(Tree { files: 0, sealed: true, ..tree() });
    assert_eq!(at_long_rest(place(None, "team"), &sealed), Verdict::Namespace { mark: true }, "nothing is no version");
    for (place, seen, said) in [
        (place(None, "my team"), &empty, "is empty"),
        (place(Some("a"), "b"), &empty, "is empty"),
        (place(None, "my team"), &marked, "can't be a namespace: rename it"),
        (place(Some("a"), "b"), &marked, "a namespace has no others in it"),
        (place(None, "team"), &folder(Tree { namespace: true, marked: true, ..tree() }), "marked both as"),
    ] {
        let (until, reason) = waits(at_rest(place, seen), Instant::now());
        assert!(until.is_some() && reason.contains(said), "{reason}");
    }
}

/// A rename that was seen closes the folder that it brought, also when that changes after it, and no other of the name.
#[test]
fn a_folder_that_was_moved_in() {
    let start = Instant::now();
    let mut settling = Settling::new(place(None, "bert"));
    settling.look(Look { moved_in: true, ..look(folder(tree())) }, start, REST);
    assert_eq!(settling.look(look(folder(tree())), start + ms(2000), REST), Verdict::Ready);
    let changed = folder(Tree { print: [2; 32], ..tree() });
    settling.look(look(changed.clone()), start + ms(3000), REST);
    assert_eq!(settling.look(look(changed), start + ms(5000), REST), Verdict::Ready);
    let other = Seen { inode: 8, ..folder(tree()) };
    settling.look(look(other.clone()), start + ms(6000), REST);
    assert!(waits(settling.look(look(other), start + ms(8000), REST), start).1.contains("not known to be complete"));
}

/// A folder that was known under a temporary name is complete under its own, if it is the same: an inode alone is given away
/// again at once.
#[test]
fn a_folder_that_was_renamed() {
    let temporary = folder(tree());
    let renamed = Seen { changed_ns: 99, ..temporary.clone() };
    let filled = Seen { tree: Some(Tree { print: [3; 32], ..tree() }), ..renamed.clone() };
    let touched = Seen { modified_ns: 99, ..renamed.clone() };
    let other = Seen { inode: 8, ..renamed.clone() };
    for (from, to, seen, is_closed) in [
        (".bert.tmp", "bert", renamed.clone(), true),
        (".bert.tmp", "bert", filled, false),
        (".bert.tmp", "bert", touched, false),
        (".bert.tmp", "bert", other, false),
        ("old", "bert", renamed, false),
    ] {
        let (mut settling, start) = (Settling::new(place(None, from)), Instant::now());
        settling.look(look(temporary.clone()), start, REST);
        settling.renamed(place(None, to));
        let verdict = settling.look(look(seen.clone()), start + ms(5000), REST);
        assert_eq!(waits(verdict, start).0, Some(ms(7000)), "a rename is a change");
        let verdict = settling.look(look(seen), start + ms(7000), REST);
        assert_eq!(verdict == Verdict::Ready, is_closed, "{verdict:?}");
    }
}

/// What was taken rests again where it is; what closed it is decided.
#[test]
fn what_was_taken_rests_again() {
    for (name, seen) in
        [("bert", folder(tree())), ("m.bin", file(1)), ("team", folder(Tree { namespace: true, ..tree() }))]
    {
        let (mut settling, start) = (Settling::taken(place(None, name)), Instant::now());
        waits(settling.look(look(seen.clone()), start, REST), start);
        assert_eq!(settling.look(look(seen), start + ms(2000), REST), Verdict::Ready);
    }
}

/// A folder that waits for a marker is looked at ever less often, but once a minute.
#[test]
fn folders_that_wait_are_looked_at() {
    let (mut settling, start) = (Settling::new(place(None, "bert")), Instant::now());
    let (mut now, mut looks, mut longest) = (start, 0, Duration::ZERO);
    while now < start + Duration::from_secs(3600) {
        let (Verdict::Wait { until, .. } | Verdict::Ask { until: Some(until), .. }) =
            settling.look(look(folder(tree())), now, REST)
        else {
            panic!()
        };
        longest = longest.max(until - now);
        (now, looks) = (until, looks + 1);
    }
    assert_eq!(longest, Duration::from_secs(60));
    assert!((60..100).contains(&looks), "{looks}");
}

/// Rests that no setting should have end nothing.
#[test]
fn odd_rests() {
    for rest in [
        Rest { sure: Duration::ZERO, unsure: Duration::ZERO },
        Rest { sure: Duration::MAX, unsure: Duration::MAX },
        Rest { sure: ms(9), unsure: ms(1) },
    ] {
        for writer in [None, Some(Writer::None), Some(Writer::Some), Some(Writer::Unknown)] {
            for seen in [file(1), folder(tree())] {
                let (mut settling, start) = (Settling::new(place(None, "bert")), Instant::now());
                for after in [0, 1, 100, 0] {
                    settling.look(Look { writer, ..look(seen.clone()) }, start + ms(after), rest);
                }
            }
        }
    }
}

/// 10 000 things are looked at in the time of a blink; the bound is 100 times what it takes.
#[test]
fn many_things_are_cheap() {
    let (start, began) = (Instant::now(), Instant::now());
    let mut things: Vec<Settling> = (0..10_000).map(|n| Settling::new(place(None, &format!("m{n}.bin")))).collect();
    for round in 0..3 {
        let ready = things
            .iter_mut()
            .filter_map(|thing| {
                (thing.look(look(file(1)), start + round * REST.sure, REST) == Verdict::Ready).then_some(())
            })
            .count();
        assert_eq!(ready, if round == 0 { 0 } else { 10_000 });
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// What a simulated writer does, and after how long.
#[derive(Debug, Clone)]
enum Step {
    Write,
    Open,
    Close,
    Sidecar,
    /// An event, or a walk: a look out of turn.
    Hint,
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        Just(Step::Write),
        Just(Step::Open),
        Just(Step::Close),
        Just(Step::Sidecar),
        Just(Step::Hint),
        Just(Step::Hint),
    ];
    prop::collection::vec((0..4000_u64, step), 0..24)
}

#[derive(Debug, Default)]
struct World {
    state: u64,
    sidecar: u64,
    is_open: bool,
    /// When something last changed; while it is open, that is now.
    changed: Duration,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// However a writer pauses, and whenever it is looked at: never ready before the rest is over since the last change or
    /// writer, and ready at the first due look after it. The times of the file are any.
    #[test]
    fn ready_neither_early_nor_late(
        steps in steps(),
        times in prop::collection::vec(any::<i64>(), 25),
        has_leases in any::<bool>(),
        tells_close in any::<bool>(),
        lazy in any::<bool>(),
    ) {
        let start = Instant::now();
        let rest = if has_leases { REST.sure } else { REST.unsure };
        let mut settling = Settling::new(place(None, "m.bin"));
        let mut world = World::default();
        let (mut now, mut due) = (Duration::ZERO, Duration::ZERO);
        // The first look since the last change, or the last that showed a writer: from there the rest counts.
        let mut first_look: Option<Duration> = None;
        let mut look_at = |world: &World, at: Duration, first_look: &mut Option<Duration>| {
            let modified_ns = i128::from(times[usize::try_from(world.state).unwrap()]);
            let seen = Seen { modified_ns, ..file(world.state) };
            let asks = !lazy || settling.asks_writer(start + at, REST);
            let writer = asks.then_some(match (has_leases, world.is_open) {
                (false, _) => Writer::Unknown,
                (true, true) => Writer::Some,
                (true, false) => Writer::None,
            });
            if writer == Some(Writer::Some) {
                *first_look = Some(at);
            }
            let first = *first_look.get_or_insert(at);
            let beside = vec![file(world.sidecar)];
            let verdict = settling.look(Look { seen, beside, writer, moved_in: false }, start + at, REST);
            if verdict == Verdict::Ready {
                assert!(!has_leases || !world.is_open, "ready while it is open");
                assert!(at >= world.changed + rest, "early: {at:?}, changed at {:?}", world.changed);
                assert!(at >= first + rest, "early: {at:?}, first seen as it is at {first:?}");
            }
            match verdict {
                Verdict::Ready => None,
                Verdict::Wait { until, .. } => Some((until - start).max(at)),
                Verdict::Ask { .. } => panic!("a file is always due"),
                Verdict::Namespace { .. } => panic!("a file is no namespace"),
            }
        };
        let mut is_ready = false;
        for (after, step) in steps {
            let then = now + ms(after);
            // What comes due in between.
            while !is_ready && due <= then {
                match look_at(&world, due, &mut first_look) {
                    Some(until) => due = until,
                    None => is_ready = true,
                }
            }
            if is_ready {
                break;
            }
            now = then;
            let mut told = false;
            match step {
                Step::Write if world.is_open => {
                    world.state += 1;
                    (world.changed, first_look) = (now, None);
                }
                Step::Write | Step::Open => world.is_open = true,
                Step::Close if world.is_open => {
                    world.is_open = false;
                    told = tells_close;
                }
                Step::Close => {}
                Step::Sidecar => {
                    world.sidecar += 1;
                    (world.changed, first_look) = (now, None);
                }
                Step::Hint => told = true,
            }
            if told {
                match look_at(&world, now, &mut first_look) {
                    Some(until) => due = until,
                    None => is_ready = true,
                }
            }
        }
        if !is_ready {
            // Nobody writes any more. The look that is due finds that out, and the next one, a rest later, is the last; where
            // a writer is found gone, or the file system can't tell, there is one more.
            world.is_open = false;
            let end = due.max(now);
            let mut looks = 0;
            while let Some(until) = look_at(&world, due, &mut first_look) {
                due = until;
                looks += 1;
                assert!(looks <= 4, "late: {due:?} after {end:?}");
            }
            assert!(due <= end + rest + REST.sure, "late: {due:?} after {end:?}");
        }
    }

    /// Whatever is known of a folder: it is taken only if something closed it, and never while something in it is unfinished.
    #[test]
    fn folders_are_never_guessed(
        [files, folders] in [0..3_u64, 0..2_u64],
        [marked, namespace, sealed, unfinished, hostile] in any::<[bool; 5]>(),
        [moved_in, long] in any::<[bool; 2]>(),
        place in prop_oneof![
            Just(place(None, "bert")),
            Just(place(Some("team"), "bert")),
            Just(place(None, "my bert")),
            Just(place(None, "bert.tmp")),
        ],
    ) {
        let seen = folder(Tree {
            files,
            folders,
            print: [1; 32],
            marked,
            namespace,
            sealed,
            unfinished: unfinished.then(|| "a.part".into()),
            hostile: hostile.then(|| "`b` is a FIFO".into()),
        });
        let (mut settling, start) = (Settling::new(place.clone()), Instant::now());
        let first = settling.look(Look { moved_in, ..look(seen.clone()) }, start, REST);
        prop_assert!(first != Verdict::Ready);
        let after = if long { REST.unsure } else { REST.sure };
        match settling.look(look(seen), start + after, REST) {
            Verdict::Ready => {
                prop_assert!(marked || moved_in || (sealed && long));
                prop_assert!(!namespace && !unfinished && place.name != "bert.tmp");
                prop_assert!(marked || files > 0 || folders > 0 || hostile);
            }
            Verdict::Namespace { mark } => {
                prop_assert_eq!(&place.name, "bert");
                prop_assert!(place.namespace.is_none() && !marked);
                prop_assert_eq!(mark, !namespace);
                prop_assert!(namespace || (long && files == 0 && folders == 0 && !hostile && !unfinished));
            }
            Verdict::Ask { reason, .. } => prop_assert!(reason.contains('`') && reason.contains(&place.shown()), "{reason}"),
            Verdict::Wait { .. } => prop_assert!(!long && !marked && ((sealed && !moved_in) || files == 0)),
        }
    }
}
