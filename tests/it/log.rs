//! The log's public routes (audit-log.md §4, §5, §7), against hashing that is not ours: every width of a growing log, all
//! proofs of small sizes, hostile paths, who may have what, and how long it may be kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::audit::{TlogProof, leaf_hash, parse_hashes, read_bundle};
use common::role::Role;
use proptest::prelude::{Strategy, any, prop_assert, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use tests::daemon::Daemon;
use tests::http::{Client, Response};
use tests::oracle::{self, Hash, Log};

/// Hashes of a tile.
const WIDTH: usize = 256;

/// `x001/x234/067`, by the definition in audit-log.md §4.
fn number(mut n: usize) -> String {
    let mut text = format!("{:03}", n % 1000);
    while n >= 1000 {
        n /= 1000;
        text = format!("x{:03}/{text}", n % 1000);
    }
    text
}

fn tile(level: &str, n: usize, width: usize) -> String {
    match width {
        WIDTH => format!("/log/tile/{level}/{}", number(n)),
        _ => format!("/log/tile/{level}/{}.p/{width}", number(n)),
    }
}

/// The hashes of every tile level, from leaf hashes alone.
fn levels(log: &Log) -> Vec<Vec<Hash>> {
    let mut levels = vec![log.hashes.clone()];
    while let Some(below) = levels.last().filter(|below| below.len() >= WIDTH) {
        levels.push(below.chunks_exact(WIDTH).map(oracle::root).collect());
    }
    levels
}

/// Adds entries: refusals, one each.
fn grow(viewer: &Client, entries: usize) {
    for _ in 0..entries {
        viewer.get("/audit-logs").problem("forbidden");
    }
}

fn checkpoint(client: &Client) -> (usize, Hash) {
    let answer = client.get("/log/checkpoint").expect(200);
    assert_eq!(answer.header("mregd-log-index"), None, "fetching a checkpoint is not recorded");
    oracle::open_note(&answer.text(), &client.ledger().vkey().to_string())
}

fn theirs(hash: &Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(*hash)
}

fn proof(text: &str) -> Vec<tlog_tiles::Hash> {
    parse_hashes(text).unwrap().iter().map(|hash| tlog_tiles::Hash(hash.0)).collect()
}

/// While the log grows past two full tiles and the daemon restarts, each checkpoint is the root of what is there, each
/// widest tile is there and no wider one; afterwards every width of every tile and bundle is, octet for octet.
#[test]
fn every_width_of_a_growing_log() {
    let mut daemon = Daemon::start();
    let mut viewer = daemon.user("vera", Role::Viewer);
    let mut seen = Vec::new();
    let mut latest = Vec::new();
    for round in 0..2 {
        loop {
            let anyone = daemon.client();
            let (size, root) = checkpoint(&anyone);
            seen.push((size, root));
            let (n, width) = (size / WIDTH, size % WIDTH);
            if width > 0 {
                latest.push((n, width, anyone.get(&tile("0", n, width)).expect(200).body));
                anyone.get(&tile("0", n, width + 1)).problem("not-found");
            }
            anyone.get(&tile("0", n, WIDTH)).problem("not-found");
            if size >= 180 + round * 360 {
                break;
            }
            grow(&viewer, 1 + size % 23);
        }
        daemon.stop();
        daemon.restart();
        viewer = viewer.at(daemon.address());
    }
    let (published, _) = checkpoint(&daemon.client());
    assert!(published > 2 * WIDTH);
    let log = daemon.log();
    daemon.restart();

    for (size, root) in &seen {
        assert_eq!(oracle::root(&log.hashes[..*size]), *root, "the checkpoint of {size}");
    }
    for (n, width, octets) in &latest {
        assert_eq!(log.hashes[n * WIDTH..n * WIDTH + width].concat(), *octets, "tile {n} when it had {width}");
    }
    let anyone = daemon.client();
    for (level, hashes) in levels(&log).iter().enumerate() {
        for (n, tile_hashes) in hashes.chunks(WIDTH).enumerate() {
            for width in 1..=tile_hashes.len() {
                let answer = anyone.get(&tile(&level.to_string(), n, width)).expect(200);
                assert_eq!(answer.body, tile_hashes[..width].concat(), "level {level}, tile {n}, width {width}");
            }
        }
    }
    anyone.get(&tile("2", 0, 1)).problem("not-found");
    let admin = daemon.admin();
    for (n, width) in [(0, 1), (0, 2), (0, 100), (0, 255), (0, 256), (1, 1), (1, 256), (2, 7)] {
        let answer = admin.get(&tile("entries", n, width)).expect(200);
        let leaves = read_bundle(&answer.body, u16::try_from(width).unwrap()).unwrap();
        assert_eq!(leaves, log.leaves[n * WIDTH..n * WIDTH + width], "bundle {n}, width {width}");
    }
}

/// Consistency of all pairs of sizes, and inclusion of every entry at every size, hold by another's arithmetic; so does the
/// signature under the checkpoint of a size that is long past. No proof makes the log longer.
#[test]
fn proofs_of_all_small_sizes() {
    let mut daemon = Daemon::start();
    let auditor = daemon.user("audrey", Role::Auditor);
    let viewer = daemon.user("vera", Role::Viewer);
    grow(&viewer, 12);
    let anyone = daemon.client();
    let vkey = daemon.ledger().vkey();
    let (size, newest) = checkpoint(&anyone);
    assert!((16..60).contains(&size), "{size}");
    let hashes: Vec<Hash> = anyone.get(&tile("0", 0, size)).expect(200).body.as_chunks::<32>().0.to_vec();
    let root = |size: usize| theirs(&oracle::root(&hashes[..size]));
    assert_eq!(root(size), theirs(&newest));
    let wide = |size: usize| u64::try_from(size).unwrap();
    for new in 1..=size {
        for old in 1..=new {
            let answer = anyone.get(&format!("/log/consistency/{old}/{new}")).expect(200);
            let proof = proof(&answer.text());
            assert_eq!(proof.is_empty(), old == new);
            tlog_tiles::check_tree(&proof, wide(new), root(new), wide(old), root(old)).unwrap();
        }
    }
    for at in 1..=size {
        for (index, hash) in hashes[..at].iter().enumerate() {
            let answer = auditor.get(&format!("/log/proof/{index}?size={at}")).expect(200);
            assert_eq!(answer.header("mregd-log-index"), None, "a proof shows hashes alone");
            let text = answer.text();
            let (told, signed) = oracle::open_note(text.split_once("\n\n").unwrap().1, &vkey.to_string());
            assert_eq!((told, theirs(&signed)), (at, root(at)), "the checkpoint of {at}");
            let parsed = TlogProof::parse(&text).unwrap();
            let path: Vec<tlog_tiles::Hash> = parsed.path.iter().map(|hash| tlog_tiles::Hash(hash.0)).collect();
            tlog_tiles::check_record(&path, wide(at), root(at), wide(index), theirs(hash)).unwrap();
            parsed.verify(&common::audit::Hash(*hash), std::slice::from_ref(&vkey)).unwrap();
        }
    }
    assert_eq!(checkpoint(&anyone), (size, newest), "nothing was recorded");
    let newest_proof = auditor.get("/log/proof/0").expect(200).text();
    assert_eq!(newest_proof, auditor.get(&format!("/log/proof/0?size={size}")).expect(200).text());

    for pair in ["0/1", "0/0", "2/1", &format!("1/{}", size + 1), "01/2", "1/02", "1/+2", "-1/2", "1/2x", "1/", "1"] {
        anyone.get(&format!("/log/consistency/{pair}")).problem("not-found");
    }
    anyone.get("/log/consistency/18446744073709551616/18446744073709551616").problem("not-found");
    for path in [format!("{size}"), format!("0?size={}", size + 1), "0?size=0".into(), "3?size=3".into(), "00".into()] {
        auditor.get(&format!("/log/proof/{path}")).problem("not-found");
    }
    auditor.get("/log/proof/0?size=-1").invalid("query.size");
    auditor.get("/log/proof/0?size=1&colour=red").invalid("query.colour");

    // The old note is what it would have been, so a daemon that starts again signs the same.
    let past = auditor.get("/log/proof/0?size=7").expect(200).text();
    daemon.stop();
    daemon.restart();
    assert_eq!(auditor.at(daemon.address()).get("/log/proof/0?size=7").expect(200).text(), past);
}

/// A tree file that was edited on disk is never signed: not as the past, and not as anything else.
#[test]
fn an_edited_past_is_not_signed() {
    let mut daemon = Daemon::start();
    let auditor = daemon.user("audrey", Role::Auditor);
    let (size, _) = checkpoint(&daemon.client());
    auditor.get("/log/proof/0?size=3").expect(200);
    let file = std::fs::OpenOptions::new().write(true).open(daemon.data_dir().join("log/hash.0")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; 32], 32 * 2).unwrap();
    daemon.expect_line("a request failed");
    auditor.get("/log/proof/0?size=3").problem("internal");
    // The newest checkpoint comes from memory, and is the true one.
    assert_eq!(checkpoint(&daemon.client()).0, size);
    let log = daemon.log();
    assert!(log.hashes.len() >= size);
}

/// The paths that broke others (audit-log.md §4), and more: each is a 404, with any method that reads.
#[test]
fn hostile_paths() {
    let daemon = Daemon::start();
    let viewer = daemon.user("vera", Role::Viewer);
    let size = checkpoint(&daemon.client()).0;
    grow(&viewer, 260 - size);
    let admin = daemon.admin();
    admin.get("/log/tile/0/000").expect(200);
    admin.get("/log/tile/0/001.p/1").expect(200);
    let below = [
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/00/",
        "tile/+0/000",
        "tile/0/000/",
        "tile/0//000",
        "tile//0/000",
        "tile/0/x000/000",
        "tile/0/x000/x000/001",
        "tile/0/x000",
        "tile/0/X001/000",
        "tile/0/001/000",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/0/000.p/-1",
        "tile/0/000.p/+1",
        "tile/0/000.p/65537",
        "tile/0/.p/1",
        "tile/0/001",
        "tile/0/001.p/255",
        "tile/0/002.p/1",
        "tile/1/000",
        "tile/1/000.p/2",
        "tile/2/000.p/1",
        "tile/7/000.p/1",
        "tile/8/000",
        "tile/8/0/000",
        "tile/63/000",
        "tile/64/000",
        "tile/70/000",
        "tile/256/000",
        "tile/8/0/000.p/0",
        "tile/18446744073709551616/000",
        "tile/-1/000",
        "tile/%30/000",
        "tile/0/%30%30%30",
        "tile/0/00%30",
        "tile/0%2F000",
        "tile/0/000%2F",
        "tile/0/000%",
        "tile/0/000%zz",
        "tile/0/000%00",
        "tile/0/..%2f000",
        "tile/0/../0/000",
        "tile/./0/000",
        "tile/0/000;x",
        "tile/0/000.p/1;x",
        "tile/data/000",
        "tile/entries",
        "tile/entries/",
        "tile/entries/0",
        "tile/entries/000/",
        "tile/entries/0/000",
        "tile/entries/000.p/0",
        "tile/entries/000.p/256",
        "tile/entries/002.p/1",
        "tile/Entries/000",
        "tile/entrie%73/000",
        "tile/entries/x000/000",
        "Tile/0/000",
        "TILE/0/000",
        "til%65/0/000",
        "%74ile/0/000",
        "tile/0/x009/x999/x999/x999/x999/x999/999",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/x/000",
        "tiles/0/000",
        "checkpoint/x",
        "checkpoint.",
        "Checkpoint",
        "checkpoints",
        "vkeys/1",
        "",
        "/",
        "proof",
        "proof/",
        "proof/x",
        "proof/0/1",
        "proof/01",
        "proof/-1",
        "proof/1e3",
        "proof/18446744073709551616",
        "proof/٣",
        "consistency/1",
        "consistency/1/1/1",
    ];
    let long = format!("tile/0/{}000", "x001/".repeat(2_000));
    for path in below.into_iter().chain([long.as_str()]) {
        let path: String =
            path.chars().map(|c| if c.is_ascii() { c.to_string() } else { "%D9%A3".to_owned() }).collect();
        for client in [&admin, &daemon.client()] {
            let answer = client.get(&format!("/log/{path}"));
            let malformed = answer.status == 400 && !path.starts_with("tile/");
            let hidden = answer.status == 401 && path.starts_with("proof/");
            // A tile that could be but isn't is told so to those who may have it.
            let guarded = answer.status == 401 && path.starts_with("tile/entries/");
            assert!(
                answer.status == 404 || malformed || hidden || guarded,
                "{path}: {} {}",
                answer.status,
                answer.text()
            );
        }
        assert_eq!(admin.head(&format!("/log/{path}")).status, 404, "HEAD {path}");
    }
    for path in ["/lo%67/tile/0/000", "//log/tile/0/000", "/log%2Ftile/0/000", "/./log/tile/0/000", "/LOG/tile/0/000"] {
        admin.get(path).problem("not-found");
    }
    for index in
        ["00", "01", "-1", "x", "9007199254740992", "18446744073709551615", "18446744073709551616", "1e3", "%20"]
    {
        admin.get(&format!("/audit-logs/{index}")).problem("not-found");
    }
    admin.get("/audit-logs/9007199254740991").problem("not-found");
    for (method, path) in [("POST", "/log/tile/0/000"), ("DELETE", "/log/tile/entries/000"), ("PUT", "/log/checkpoint")]
    {
        let answer = admin.request(method, path).send();
        answer.problem("method-not-allowed");
        assert_eq!(answer.need("allow"), "GET, HEAD");
    }
    admin.request("POST", "/log/tile/0/0").send().problem("not-found");
}

/// Whatever is asked for below `/log`, the answer is a tile, a bad request or nothing there; never a fault.
#[test]
fn any_path_is_answered() {
    let daemon = Daemon::start();
    let viewer = daemon.user("vera", Role::Viewer);
    grow(&viewer, 260 - checkpoint(&daemon.client()).0);
    let admin = daemon.admin();
    let word = "(tile|entries|checkpoint|proof|consistency|vkeys|[0-9]{1,4}|x[0-9]{3}|[0-9]{3}|[0-9]{3}\\.p|%[0-9a-fA-F]{2}|%|\\.\\.?|[!-~&&[^?#%]]{0,5})";
    let near = (
        prop_oneof!["[0-9]{1,3}", "entries"],
        proptest::collection::vec("x[0-9]{3}", 0..4),
        "[0-9]{2,4}",
        any::<u16>(),
    )
        .prop_map(|(level, groups, last, width)| {
            let groups: String = groups.iter().map(|group| format!("{group}/")).collect();
            let width = if width % 2 == 0 { String::new() } else { format!(".p/{}", width % 300) };
            format!("/log/tile/{level}/{groups}{last}{width}")
        });
    let anything = proptest::collection::vec(word, 0..6).prop_map(|words| format!("/log/{}", words.join("/")));
    let mut runner = TestRunner::new(Config { cases: 600, failure_persistence: None, ..Config::default() });
    runner
        .run(&prop_oneof![near, anything], |path| {
            let answer = admin.get(&path);
            prop_assert!(matches!(answer.status, 200 | 400 | 404), "{path}: {} {}", answer.status, answer.text());
            Ok(())
        })
        .unwrap();
}

/// Each row of the table of audit-log.md §7, for each role, in both modes; HEAD says what GET says; what is refused of
/// entries is recorded, what is handed out of hashes is not.
#[test]
fn access() {
    for mode in ["public", "authenticated"] {
        let daemon = Daemon::with(&[("MREG_LOG_HASH_ACCESS", mode)]);
        let clients: Vec<(Option<Role>, Client)> = std::iter::once((None, daemon.client()))
            .chain(Role::ALL.map(|role| (Some(role), daemon.user(&format!("a-{role}"), role))))
            .collect();
        let shared = if mode == "public" { "public" } else { "private" };
        let forever = format!("{shared}, max-age=31536000, immutable");
        let hashes = [
            ("/log/checkpoint", "no-cache", "text/plain; charset=utf-8"),
            ("/log/vkeys", "no-cache", "text/plain; charset=utf-8"),
            ("/log/tile/0/000.p/3", forever.as_str(), "application/octet-stream"),
            ("/log/consistency/2/5", forever.as_str(), "text/plain; charset=utf-8"),
        ];
        let entries = [
            ("/log/tile/entries/000.p/3", Some("private"), "application/octet-stream"),
            ("/audit-logs/3", None, "application/json"),
        ];
        for (role, client) in &clients {
            for (path, cached, kind) in &hashes {
                let answer = client.get(path);
                if role.is_none() && mode == "authenticated" {
                    answer.problem("unauthenticated");
                    client.head(path);
                    continue;
                }
                let answer = answer.expect(200);
                assert_eq!((answer.need("cache-control"), answer.need("content-type")), (*cached, *kind), "{path}");
                assert_eq!(answer.header("mregd-log-index"), None, "{path} is not recorded");
                same_by_head(client, path, &answer);
                let held = client.request("GET", path).header("If-None-Match", answer.need("etag")).send().expect(304);
                assert!(held.body.is_empty());
                assert_eq!(held.need("cache-control"), *cached, "{path}");
            }
            for (path, cached, kind) in &entries {
                let answer = client.get(path);
                match role {
                    None => drop(answer.problem("unauthenticated")),
                    Some(Role::Admin | Role::Auditor) => {
                        let answer = answer.expect(200);
                        assert_eq!(answer.need("content-type"), *kind);
                        assert_eq!(answer.need("cache-control"), cached.unwrap_or("no-store"));
                        same_by_head(client, path, &answer);
                        // What is recorded as read is sent, whatever the caller holds.
                        assert_eq!(answer.header("etag"), None, "{path}");
                        let held = client.request("GET", path).header("If-None-Match", "*").send().expect(200);
                        assert!(!held.body.is_empty());
                        held.log_index();
                    }
                    Some(_) => drop(answer.problem("forbidden")),
                }
                if mode == "public" || role.is_some() {
                    client.get(path).log_index();
                }
            }
        }
        // A token that is no good keeps nobody from what needs none.
        let stale = daemon.client().with_token("not-a-token-of-this-registry");
        let answer = stale.get("/log/checkpoint");
        if mode == "public" {
            answer.expect(200);
        } else {
            answer.problem("unauthenticated");
            assert_eq!(answer.need("www-authenticate"), "Bearer realm=\"mreg\", error=\"invalid_token\"");
        }
        assert_eq!(daemon.client().get("/me").need("www-authenticate"), "Bearer realm=\"mreg\"");
    }
}

/// What HEAD says is what GET said, but for what differs from request to request.
fn same_by_head(client: &Client, path: &str, answer: &Response) {
    let varies = ["x-request-id", "date", "mregd-log-index", "mregd-log-leaf"];
    // The receipt of an entry gets longer with the log, and with it the answer.
    let varies: Vec<&str> =
        varies.into_iter().chain(path.starts_with("/audit-logs/").then_some("content-length")).collect();
    let told = |response: &Response| -> Vec<(String, String)> {
        let mut kept: Vec<(String, String)> =
            response.headers.iter().filter(|(name, _)| !varies.contains(&name.as_str())).cloned().collect();
        kept.sort();
        kept
    };
    let head = client.head(path);
    assert_eq!((head.status, told(&head)), (answer.status, told(answer)), "HEAD {path}");
    assert!(head.body.is_empty());
}

/// A proof is for auditors, admins, and whoever did what the entry says; nobody else, and a refusal is recorded.
#[test]
fn proofs_of_ones_own() {
    let daemon = Daemon::start();
    let (carl, vera) = (daemon.user("carl", Role::Contributor), daemon.user("vera", Role::Viewer));
    let upload = carl.upload("m", "m.safetensors", &tests::samples::safetensors(1));
    let index = upload["receipt"]["index"].as_u64().unwrap();
    let leaf = STANDARD.decode(upload["receipt"]["leaf"].as_str().unwrap()).unwrap();
    let path = format!("/log/proof/{index}");
    for client in [&carl, &daemon.user("audrey", Role::Auditor), &daemon.admin()] {
        let answer = client.get(&path).expect(200);
        assert_eq!(answer.need("cache-control"), "private, no-cache");
        same_by_head(client, &path, &answer);
        TlogProof::parse(&answer.text()).unwrap().verify(&leaf_hash(&leaf), &[daemon.ledger().vkey()]).unwrap();
    }
    let refused = vera.get(&path);
    refused.problem("forbidden");
    refused.log_index();
    daemon.client().get(&path).problem("unauthenticated");
    carl.get("/log/proof/0").problem("forbidden");
    // Of a sign-in the actor is nobody yet, or whoever signed in: then it is one's own.
    let own = daemon.client().login("vera", &Daemon::password_of("vera")).expect(200).log_index();
    vera.get(&format!("/log/proof/{own}")).expect(200);
    let failed = daemon.client().login("vera", "not-the-password-at-all");
    failed.problem("bad-credentials");
    vera.get(&format!("/log/proof/{}", failed.log_index())).problem("forbidden");
}

/// A bundle is recorded with its range before it leaves, found or not; the entry shows what was read.
#[test]
fn reading_entries_is_an_entry() {
    let daemon = Daemon::start();
    let auditor = daemon.user("audrey", Role::Auditor);
    let answer = auditor.get("/log/tile/entries/000.p/3").expect(200);
    let entry = |index: u64| auditor.value(&format!("/audit-logs/{index}"))["entry"].clone();
    let reading = entry(answer.log_index());
    assert_eq!((&reading["action"], &reading["outcome"]), (&Value::from("audit.read"), &Value::from("ok")));
    assert_eq!(reading["data"], serde_json::json!({"first": 0, "last": 2, "count": 3}));
    assert_eq!(reading["req"]["route"], "/log/tile/entries/{tile}");
    let missing = auditor.get("/log/tile/entries/000.p/250");
    missing.problem("not-found");
    assert_eq!(entry(missing.log_index())["outcome"], "error");
    let shown = auditor.get("/audit-logs/2").expect(200);
    let body = shown.json();
    let leaves = read_bundle(&answer.body, 3).unwrap();
    assert_eq!(body["receipt"]["leaf"], STANDARD.encode(leaves[2]));
    assert_eq!(serde_json::from_slice::<Value>(leaves[2]).unwrap(), body["entry"]);
    assert_eq!(entry(shown.log_index())["data"], serde_json::json!({"first": 2, "last": 2, "count": 1}));
}

/// A bundle that is read in more than one piece comes whole.
#[test]
fn long_entries() {
    let daemon = Daemon::start();
    let auditor = daemon.user("audrey", Role::Auditor);
    let from = checkpoint(&daemon.client()).0;
    // Filters are kept in the entry, each cut; the agent too. What an entry can grow to from outside is a few KiB.
    let word = "ä".repeat(90);
    for _ in from..WIDTH {
        let target = format!("/audit-logs?limit=1&actor={}&target={}", "%C3%A4".repeat(90), "%C3%A4".repeat(90));
        auditor.request("GET", &target).header("User-Agent", &"u".repeat(400)).send().expect(200);
    }
    let answer = auditor.get("/log/tile/entries/000").expect(200);
    let leaves = read_bundle(&answer.body, 256).unwrap();
    assert!(String::from_utf8_lossy(leaves[255]).contains(&word));
    assert!(answer.body.len() > 256 * 1024, "it is more than one piece: {}", answer.body.len());
    let tile = daemon.client().get("/log/tile/0/000").expect(200).body;
    let hashes: Vec<u8> = leaves.iter().flat_map(|leaf| oracle::leaf_hash(leaf)).collect();
    assert_eq!(tile, hashes);
}
