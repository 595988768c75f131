//! Witnesses: real processes that cosign a registry's log, are killed, come back, and never sign a second history.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::audit::{
    Checkpoint, Ed25519Signer, Frontier, Hash, Nodes, Policy, Signer, Verifier, consistency_proof, format_hashes,
    leaf_hash, root_at,
};
use serde_json::Value;
use tests::daemon::Daemon;
use tests::samples;
use tests::tls::{Authority, Fault, HERE, Pair, curl};
use tests::wait;
use tests::witness::{Witness, request};

const MODE: &str = "MREG_WITNESS_MODE";
const POLICY: &str = "MREG_WITNESS_POLICY";

/// Stops the daemon, and starts it with this policy.
fn ask(daemon: &mut Daemon, policy: &str) {
    daemon.stop();
    give(daemon, policy);
    daemon.restart();
}

/// Gives a daemon that is not running a policy.
fn give(daemon: &mut Daemon, policy: &str) {
    fs::write(daemon.work_dir().join("policy"), policy).unwrap();
    daemon.set(MODE, "background");
    daemon.set(POLICY, "policy");
}

fn note(daemon: &Daemon, target: &str) -> Option<String> {
    let response = daemon.client().get(target);
    match response.status {
        200 => Some(String::from_utf8(response.body).unwrap()),
        404 => None,
        other => panic!("{target} answers {other}"),
    }
}

/// The size that a note states.
fn size_of(note: &str) -> u64 {
    note.lines().nth(1).unwrap().parse().unwrap()
}

/// The size of the log.
fn log_size(daemon: &Daemon) -> u64 {
    size_of(&note(daemon, "/log/checkpoint").unwrap())
}

/// Waits until all of the log so far is witnessed; the note.
fn witnessed(daemon: &Daemon) -> String {
    let size = log_size(daemon);
    wait::until("the checkpoint to be witnessed", || {
        note(daemon, "/log/checkpoint.witnessed").filter(|note| size_of(note) >= size)
    })
}

fn status(daemon: &Daemon) -> Value {
    daemon.admin().value("/status")["witnesses"].clone()
}

/// Checks a cosignature with nothing but Ed25519 and the text of C2SP tlog-cosignature.
fn check_independently(note: &str, vkey: &Verifier) -> u64 {
    let vkey = vkey.to_string();
    let mut parts = vkey.splitn(3, '+');
    let (name, id, key) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let key = STANDARD.decode(key).unwrap();
    assert_eq!(key[0], 4);
    let key = ed25519_dalek::VerifyingKey::from_bytes(key[1..].try_into().unwrap()).unwrap();
    let (text, lines) = note.split_once("\n\n").unwrap();
    let line = lines.lines().find_map(|line| line.strip_prefix(&format!("— {name} "))).expect("the witness's line");
    let octets = STANDARD.decode(line).unwrap();
    assert_eq!(hex::encode(&octets[..4]), id);
    assert_eq!(octets.len(), 4 + 8 + 64);
    let time = u64::from_be_bytes(octets[4..12].try_into().unwrap());
    let signature = ed25519_dalek::Signature::from_slice(&octets[12..]).unwrap();
    let message = format!("cosignature/v1\ntime {time}\n{text}\n");
    ed25519_dalek::Verifier::verify(&key, message.as_bytes(), &signature).expect("the cosignature is valid");
    time
}

/// From an upload to a cosigned checkpoint that anyone can check, that says so in status, metrics and readiness, and is
/// still there after a restart, whether the witness is or not.
#[test]
fn a_registry_is_witnessed() {
    let mut daemon = Daemon::start();
    assert_eq!(note(&daemon, "/log/checkpoint.witnessed"), None, "nobody is asked");
    assert_eq!(status(&daemon), Value::Null);
    let log_key = daemon.ledger().vkey();
    let mut witness = Witness::start("witness.example/w1", std::slice::from_ref(&log_key));
    let lines = witness.stdout();
    assert_eq!(lines[0], format!("http://{}", witness.address()));
    let policy = format!("log {log_key}\n{}quorum w1\n", witness.policy_line("w1"));
    ask(&mut daemon, &policy);
    daemon.admin().upload("m", "m.safetensors", &samples::safetensors(1));

    let cosigned = witnessed(&daemon);
    let signed = Checkpoint::open(cosigned.as_bytes(), &[log_key.clone(), witness.vkey().clone()]).unwrap();
    assert_eq!(signed.signatures.len(), 2);
    let time = check_independently(&cosigned, witness.vkey());
    assert_eq!(signed.signatures[1].cosigned_at, Some(time));
    let met = Policy::parse(policy.as_bytes()).unwrap().satisfied_by(cosigned.as_bytes(), &[]).unwrap();
    assert_eq!(met.cosigned, [(0, time)]);

    let response = daemon.client().get("/log/checkpoint.witnessed").expect(200);
    assert_eq!(response.need("content-type"), "text/plain; charset=utf-8");
    assert_eq!(response.need("cache-control"), "no-cache");
    let state = status(&daemon);
    assert_eq!(state["witnesses"][0]["name"], "w1");
    assert_eq!(state["witnesses"][0]["error"], Value::Null);
    assert!(state["witnessed_size"].as_u64().unwrap() >= met.signed.checkpoint.size);
    assert_eq!(state["contradictions"], serde_json::json!([]));
    let ready = daemon.client().value("/readyz");
    assert_eq!(ready["checks"]["witnesses"]["ok"], true);
    let metrics = String::from_utf8(daemon.client().get("/metrics").expect(200).body).unwrap();
    for metric in [
        "mreg_log_witnessed_entries ",
        "mreg_log_witnessed_age_seconds ",
        "mreg_log_witness_failures_total ",
        "mreg_log_witness_contradictions 0",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(metric)), "{metric} is not in\n{metrics}");
    }
    let page = String::from_utf8(witness.request("GET", "/", b"").body).unwrap();
    assert!(page.contains(&format!("log {} size ", log_key.name())), "{page}");

    // The witness goes, and the registry goes on; what was cosigned stays, also over a restart.
    let before = witnessed(&daemon);
    witness.stop();
    daemon.expect_line("a witness did not cosign");
    daemon.stop();
    daemon.restart();
    let after = note(&daemon, "/log/checkpoint.witnessed").expect("it survives");
    assert!(size_of(&after) >= size_of(&before));
    daemon.admin().upload("m", "m.safetensors", &samples::safetensors(2));
    wait::until_true("the witness's failure to show", || status(&daemon)["witnesses"][0]["error"].is_string());
    assert_eq!(daemon.client().value("/readyz")["ready"], true, "a witness that is away is no reason to stop");
    // It comes back, and is asked again.
    witness.restart();
    witnessed(&daemon);
    wait::until_true("the failure to be over", || status(&daemon)["witnesses"][0]["error"].is_null());
}

/// A witness with a certificate speaks TLS alone; the daemon asks it where it trusts the authority, and nobody else; another
/// certificate is taken into use while it runs, one that can't be used is not.
#[test]
fn in_tls() {
    let (authority, other) = (Authority::new("ours"), Authority::new("theirs"));
    let mut daemon = Daemon::start();
    daemon.expect_line("a witness did not cosign");
    let log_key = daemon.ledger().vkey();
    let mut witness = Witness::prepared("witness.example/w1", std::slice::from_ref(&log_key));
    let first = authority.pair(&HERE, Fault::None);
    witness.certify(&first);
    witness.restart();
    daemon.stop();
    daemon.set("MREG_WITNESS_CA_FILE", &other.path());
    give(&mut daemon, &format!("log {log_key}\n{}quorum w1\n", witness.policy_line("w1")));
    daemon.restart();
    wait::until_true("the witness to be refused", || {
        status(&daemon)["witnesses"][0]["error"].as_str().is_some_and(|error| error.contains("certificate"))
    });
    assert_eq!(note(&daemon, "/log/checkpoint.witnessed"), None);
    daemon.stop();
    daemon.set("MREG_WITNESS_CA_FILE", &authority.path());
    daemon.restart();
    check_independently(&witnessed(&daemon), witness.vkey());
    assert!(witness.try_request("GET", "/", b"").is_err(), "it speaks in clear as well");
    let page = curl(&["--cacert", &authority.path(), "--http2", &format!("https://{}/", witness.address())]);
    assert!(String::from_utf8_lossy(&page.stdout).contains(&format!("log {} size", log_key.name())));

    // One that nobody would accept is refused, and the one before stays; a good one is used from then on.
    let said = |witness: &Witness, part: &str| witness.stderr().iter().any(|line| line.contains(part));
    witness.expect_line("the new certificate is not used");
    witness.certify(&authority.pair(&HERE, Fault::Expired));
    wait::until_true("the expired certificate to be refused", || said(&witness, "the new certificate is not used"));
    let second = authority.pair(&HERE, Fault::None);
    witness.certify(&second);
    wait::until_true("the new certificate to be used", || said(&witness, "the certificate was read again"));
    daemon.stop();
    daemon.restart();
    daemon.admin().upload("m", "m.safetensors", &samples::safetensors(1));
    witnessed(&daemon);
    let shown = Command::new("openssl")
        .args(["s_client", "-showcerts", "-connect", &witness.address().to_string(), "-CAfile", &authority.path()])
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed by tests/run");
    let shown = String::from_utf8_lossy(&shown.stdout).replace(char::is_whitespace, "");
    let leaf = |pair: &Pair| pair.cert.split("-----END").next().unwrap().replace(char::is_whitespace, "");
    assert!(shown.contains(&leaf(&second)), "it shows another certificate: {shown}");
    assert!(!shown.contains(&leaf(&first)));

    // A pair that is none, and half of one.
    witness.stop();
    let usual = ["witness", "--state", "state", "--key", "key", "--log", &log_key.to_string()].map(str::to_owned);
    for (more, status, part) in [
        (vec!["--tls-cert", "cert.pem"], 64, "--tls-key"),
        (vec!["--tls-cert", "cert.pem", "--tls-key", "none.pem"], 78, "none.pem"),
        (vec!["--tls-cert", "key.pem", "--tls-key", "key.pem"], 78, "certificate"),
    ] {
        let arguments: Vec<&str> = usual.iter().map(String::as_str).chain(more).collect();
        let output = witness.run(&arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{told}");
        assert!(told.contains(part), "{told}");
    }
}

/// Two of three are enough, and the dead one is named.
#[test]
fn a_quorum_without_the_dead() {
    let mut daemon = Daemon::start();
    let log_key = daemon.ledger().vkey();
    let mut witnesses: Vec<Witness> =
        (1..4).map(|n| Witness::start(&format!("witness.example/w{n}"), std::slice::from_ref(&log_key))).collect();
    let lines: String = witnesses.iter().zip(1..).map(|(witness, n)| witness.policy_line(&format!("w{n}"))).collect();
    witnesses[1].kill();
    daemon.expect_line("a witness did not cosign");
    ask(&mut daemon, &format!("{lines}group two-of-three 2 w1 w2 w3\nquorum two-of-three\n"));
    let cosigned = witnessed(&daemon);
    check_independently(&cosigned, witnesses[0].vkey());
    check_independently(&cosigned, witnesses[2].vkey());
    assert!(!cosigned.contains("witness.example/w2"));
    let state = status(&daemon);
    assert!(state["witnesses"][1]["error"].as_str().unwrap().starts_with("can't be reached"), "{state}");
    assert!(state["failures"].as_u64().unwrap() >= 1);

    // Whoever verifies may ask for a quorum of their own.
    let url = format!("http://{}", daemon.address());
    let vkey = log_key.to_string();
    let verify = |quorum: &str| {
        fs::write(daemon.work_dir().join("auditors-policy"), format!("{lines}{quorum}")).unwrap();
        let asked = ["log", "verify", "--url", &url, "--vkey", &vkey, "--policy", "auditors-policy", "--json"];
        let output = daemon.run(&asked, "");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().unwrap(), told)
    };
    let (code, told) = verify("group two-of-three 2 w1 w2 w3\nquorum two-of-three\n");
    let by_both = "entries cosigned by witness.example/w1, witness.example/w3, at last ";
    assert!(code == 0 && told["witnessed"].as_str().unwrap().contains(by_both), "{told}");
    let (code, told) = verify("quorum w2\n");
    assert_eq!((code, &told["faults"][0]["kind"]), (65, &"policy".into()), "{told}");
    assert_eq!(verify("quorum nobody-there\n").0, 64);

    // One more gone, and there is no quorum: what is kept stays as it was.
    witnesses[2].kill();
    let kept = size_of(&note(&daemon, "/log/checkpoint.witnessed").unwrap());
    daemon.admin().upload("m", "m.safetensors", &samples::safetensors(1));
    wait::until_true("the second one's failure to show", || status(&daemon)["witnesses"][2]["error"].is_string());
    let size = size_of(&note(&daemon, "/log/checkpoint.witnessed").unwrap());
    assert!(size >= kept && size <= log_size(&daemon));
    // It comes back, and things go on.
    witnesses[2].restart();
    witnessed(&daemon);
}

/// A witness that was restored from a backup says where it is, and is brought up from there; so is one that the registry
/// has forgotten about.
#[test]
fn sizes_are_repaired() {
    let mut daemon = Daemon::start();
    let log_key = daemon.ledger().vkey();
    let mut witness = Witness::start("witness.example/w1", std::slice::from_ref(&log_key));
    ask(&mut daemon, &format!("{}quorum w1\n", witness.policy_line("w1")));
    witnessed(&daemon);
    let file = witness.state_dir().join(format!("{}.checkpoint", log_key.name().replace('/', "%2F")));
    let backup = fs::read(&file).unwrap();
    daemon.admin().upload("m", "m.safetensors", &samples::safetensors(1));
    let newer = size_of(&witnessed(&daemon));

    daemon.expect_line("a witness did not cosign");
    witness.stop();
    assert!(size_of(&fs::read_to_string(&file).unwrap()) >= newer);
    fs::write(&file, &backup).unwrap();
    witness.restart();
    daemon.admin().upload("m", "m.safetensors", &samples::safetensors(2));
    witnessed(&daemon);

    daemon.stop();
    fs::remove_file(daemon.data_dir().join("log/checkpoint.witnessed")).unwrap();
    daemon.restart();
    witnessed(&daemon);
    assert!(witness.evidence().is_empty());
    assert_eq!(status(&daemon)["contradictions"], serde_json::json!([]));
}

/// A registry with the same key and origin, and no entries yet: all of the keys but the mark, which whoever does this would
/// remove as well.
fn forger(of: &Daemon) -> Daemon {
    let forger = Daemon::prepared(&[]);
    fs::create_dir(forger.key_dir()).unwrap();
    fs::set_permissions(forger.key_dir(), fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(of.key_dir()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "log.mark" {
            fs::copy(entry.path(), forger.key_dir().join(entry.file_name())).unwrap();
        }
    }
    forger
}

/// Whoever has the log's key can write another history, but not have it witnessed: the witness refuses, keeps both notes,
/// and the registry that serves the other history says so where nobody can overlook it.
#[test]
fn a_rewritten_history_is_refused() {
    let mut daemon = Daemon::start();
    let log_key = daemon.ledger().vkey();
    let mut witness = Witness::start("witness.example/w1", std::slice::from_ref(&log_key));
    let policy = format!("{}quorum w1\n", witness.policy_line("w1"));
    ask(&mut daemon, &policy);
    daemon.admin().upload("m", "m.safetensors", &samples::safetensors(1));
    let cosigned = witnessed(&daemon);
    daemon.stop();

    let mut forger = forger(&daemon);
    give(&mut forger, &policy);
    forger.expect_line("CONTRADICTION");
    witness.expect_line("was not proved to extend the last one");
    forger.restart();
    assert_eq!(forger.ledger().vkey(), log_key);
    // Shorter than what was cosigned, as after a rollback; readiness tells it, without names, and does not fail on what
    // nobody signed.
    let told = || status(&forger)["contradictions"][0].as_str().map(str::to_owned);
    let first = wait::until("the contradiction to show", told);
    let beyond = size_of(&cosigned) > log_size(&forger);
    assert!(first.contains(if beyond { "entries of this log, which has" } else { "w1" }), "{first}");
    let ready = forger.client().get("/readyz").expect(200).json();
    assert_eq!(ready["checks"]["witnesses"]["ok"], true);
    assert!(ready["checks"]["witnesses"]["detail"].as_str().unwrap().starts_with("CONTRADICTED"));
    // Longer, as if nothing had happened.
    let mut seed = 10;
    while log_size(&forger) <= size_of(&cosigned) {
        seed += 1;
        forger.admin().upload("m", "m.safetensors", &samples::safetensors(seed));
    }
    wait::until("the other contradiction to show", || told().filter(|told| told.contains("is not the beginning")));
    let kept = witness.evidence();
    assert_eq!(kept.len() % 2, 0);
    assert!(kept.len() >= 2 && kept[0].ends_with(".cosigned") && kept[1].ends_with(".offered"), "{kept:?}");
    let read = |name: &str| fs::read(witness.state_dir().join("evidence").join(name)).unwrap();
    for name in &kept[..2] {
        Checkpoint::open(&read(name), std::slice::from_ref(&log_key)).expect("both are signed by the log");
    }
    assert_ne!(read(&kept[0]), read(&kept[1]));
    assert_eq!(note(&forger, "/log/checkpoint.witnessed"), None);
    let metrics = String::from_utf8(forger.client().get("/metrics").expect(200).body).unwrap();
    assert!(metrics.lines().any(|line| line == "mreg_log_witness_contradictions 1"));
    forger.stop();

    // The true one goes on, and the witness with it.
    daemon.restart();
    witnessed(&daemon);
    drop(daemon);
    drop(forger);
}

/// A checkpoint witnessed in an earlier run speaks against a log that does not extend it, whatever the witnesses say now.
#[test]
fn the_kept_note_speaks_against_other_data() {
    let mut daemon = Daemon::start();
    let log_key = daemon.ledger().vkey();
    let mut witness = Witness::start("witness.example/w1", std::slice::from_ref(&log_key));
    let policy = format!("{}quorum w1\n", witness.policy_line("w1"));
    ask(&mut daemon, &policy);
    let cosigned = witnessed(&daemon);
    daemon.stop();

    // The same key, other data, and the note of before.
    let mut rewritten = forger(&daemon);
    rewritten.restart();
    rewritten.stop();
    let file = |daemon: &Daemon| daemon.data_dir().join("log/checkpoint.witnessed");
    fs::write(file(&rewritten), &cosigned).unwrap();
    witness.stop();
    rewritten.expect_line("CONTRADICTION");
    rewritten.expect_line("a witness did not cosign");
    give(&mut rewritten, &policy);
    rewritten.restart();
    let told = status(&rewritten)["contradictions"][0].as_str().unwrap().to_owned();
    assert!(told.contains("kept from an earlier run"), "{told}");
    assert_eq!(rewritten.client().get("/readyz").expect(503).json()["checks"]["witnesses"]["ok"], false);
    assert_eq!(note(&rewritten, "/log/checkpoint.witnessed"), None);
    assert_eq!(fs::read_to_string(file(&rewritten)).unwrap(), cosigned, "evidence stays");
    // Moved away, as the message says, it stops nothing any more.
    rewritten.expect_line("was moved away");
    fs::rename(file(&rewritten), rewritten.data_dir().join("evidence")).unwrap();
    wait::until_true("the file to be missed", || {
        !status(&rewritten)["contradictions"].to_string().contains("kept from an earlier run")
    });
    rewritten.client().get("/readyz").expect(200);
    rewritten.stop();
    witness.restart();

    let mut other = Daemon::start();
    other.stop();
    // Another log's note does not meet the policy for this one.
    fs::write(file(&other), &cosigned).unwrap();
    other.expect_line("does not meet the policy of now");
    other.expect_line("a witness did not cosign");
    give(&mut other, &policy);
    other.restart();
    assert_eq!(note(&other, "/log/checkpoint.witnessed"), None);
    other.stop();
    // A policy that lists logs must list this one.
    give(&mut other, &format!("log {log_key}\n{policy}"));
    let output = other.run(&[] as &[&str], "");
    assert_eq!(output.status.code(), Some(78));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("add the line `log "), "{told}");
}

/// A change of the log's key, from the rotation to the end of the overlap and beyond: once the witness knows the new key,
/// things go on by themselves, and a policy that still names the old key alone says so in time.
#[test]
fn a_rotated_key_is_witnessed() {
    let mut daemon = Daemon::start();
    let old = daemon.ledger().vkey();
    let mut witness = Witness::start("witness.example/w1", std::slice::from_ref(&old));
    let line = format!("{}quorum w1\n", witness.policy_line("w1"));
    ask(&mut daemon, &line);
    witnessed(&daemon);

    // The witness refuses what is signed by the new key alone, until it is told of it.
    daemon.expect_line("a witness did not cosign");
    let output = daemon.run(&["log", "rotate-key", "--overlap", "1s"], "");
    assert!(output.status.success());
    let one_new =
        || vkeys_of(&daemon).try_into().ok().map(|[vkey]: [String; 1]| vkey).filter(|vkey| *vkey != old.to_string());
    let new: Verifier = wait::until("one key", one_new).parse().unwrap();
    daemon.ledger().set_vkey(new.clone());
    witness.stop();
    witness.watch(&new);
    witness.restart();
    daemon.admin().upload("m", "m.safetensors", &samples::safetensors(1));
    let cosigned = witnessed(&daemon);
    Checkpoint::open(cosigned.as_bytes(), &[new.clone(), witness.vkey().clone()]).expect("the new key signed it");
    wait::until_true("the policy to be met", || status(&daemon)["unmet"].is_null());

    // A policy with the old key alone is of no use after the overlap, and one with both is.
    daemon.stop();
    give(&mut daemon, &format!("log {old}\n{line}"));
    let output = daemon.run(&[] as &[&str], "");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(78) && told.contains(&format!("add the line `log {new}`")), "{told}");
    give(&mut daemon, &format!("log {old}\nlog {new}\n{line}"));
    daemon.restart();
    witnessed(&daemon);

    // Another change: the policy lacks the third key, which is told while there is time, and shown when there is none.
    daemon.expect_line("lack the log's new key");
    daemon.expect_line("do not meet the policy");
    assert!(daemon.run(&["log", "rotate-key", "--overlap", "1s"], "").status.success());
    let state = wait::until("the policy to be unmet", || {
        Some(status(&daemon)).filter(|state| state["unmet"].to_string().contains("not a checkpoint of a log"))
    });
    assert!(state["witnessed_size"].is_u64(), "{state}");
    daemon.ledger().set_vkey(vkeys_of(&daemon)[0].parse().unwrap());
}

fn vkeys_of(daemon: &Daemon) -> Vec<String> {
    serde_json::from_value(daemon.admin().value("/status")["log"]["vkeys"].clone()).unwrap()
}

/// Registries that witness each other: each has a witness run by the other's people.
#[test]
fn registries_witness_each_other() {
    let (mut a, mut b) = (Daemon::start(), Daemon::with(&[("MREG_LOG_ORIGIN", "b.example/log")]));
    let of_a = Witness::start("b.example/witness", &[a.ledger().vkey()]);
    let of_b = Witness::start("a.example/witness", &[b.ledger().vkey()]);
    ask(&mut a, &format!("{}quorum b\n", of_a.policy_line("b")));
    ask(&mut b, &format!("{}quorum a\n", of_b.policy_line("a")));
    for (daemon, witness) in [(&a, &of_a), (&b, &of_b)] {
        daemon.admin().upload("m", "m.safetensors", &samples::safetensors(1));
        check_independently(&witnessed(daemon), witness.vkey());
    }
    // One witness may watch several logs, and does not mix them up.
    let both = Witness::start("c.example/witness", &[a.ledger().vkey(), b.ledger().vkey()]);
    for daemon in [&mut a, &mut b] {
        daemon.expect_line("does not meet the policy of now");
        ask(daemon, &format!("{}quorum c\n", both.policy_line("c")));
        check_independently(&witnessed(daemon), both.vkey());
    }
    let page = String::from_utf8(both.request("GET", "/", b"").body).unwrap();
    assert_eq!(page.lines().filter(|line| line.starts_with("log ") && line.contains(" size ")).count(), 2, "{page}");
}

/// A tree in memory.
struct History(BTreeMap<(u8, u64), Hash>);

impl Nodes for History {
    type Error = ();

    fn node(&self, level: u8, index: u64) -> Result<Hash, ()> {
        self.0.get(&(level, index)).copied().ok_or(())
    }
}

impl History {
    fn new(name: &str, leaves: u64) -> Self {
        let (mut nodes, mut frontier) = (BTreeMap::new(), Frontier::new());
        for index in 0..leaves {
            frontier.append(leaf_hash(format!("{name} {index}").as_bytes()), |level, index, hash| {
                nodes.insert((level, index), hash);
            });
        }
        Self(nodes)
    }

    fn offer(&self, signer: &Ed25519Signer, old: u64, size: u64) -> String {
        let proof = format_hashes(&consistency_proof(old, size, self).unwrap());
        let origin = signer.verifier().name().to_owned();
        let checkpoint = Checkpoint { origin, size, root: root_at(size, self).unwrap() };
        format!("old {old}\n{proof}\n{}", checkpoint.sign(&[signer]).unwrap())
    }
}

/// Killed again and again while two histories are pressed upon it, a witness signs one of them only, and never goes back
/// behind what it signed.
#[test]
fn kills_never_make_it_sign_two_histories() {
    const LEAVES: u64 = 3000;
    const KILLS: usize = 12;
    let signer = Ed25519Signer::from_seed("registry.example/log", &[7; 32]).unwrap();
    let witness = RwLock::new(Witness::start("witness.example/w1", &[signer.verifier().clone()]));
    let address = witness.read().unwrap().address();
    let vkey = witness.read().unwrap().vkey().clone();
    let histories = [History::new("a", LEAVES), History::new("b", LEAVES)];
    let done = AtomicBool::new(false);
    let cosigned: Mutex<Vec<(usize, u64)>> = Mutex::new(Vec::new());
    let count = || cosigned.lock().unwrap().len();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (signer, histories, done, cosigned, vkey) = (&signer, &histories, &done, &cosigned, &vkey);
            scope.spawn(move || {
                let which = thread % 2;
                let mut old = 0;
                while !done.load(Ordering::Relaxed) && old + 1 < LEAVES {
                    let offer = histories[which].offer(signer, old, old + 1);
                    let Ok(response) = request(address, "POST", "/add-checkpoint", offer.as_bytes()) else {
                        // It was killed. What it had kept is asked for from the start.
                        old = 0;
                        std::thread::sleep(std::time::Duration::from_millis(2));
                        continue;
                    };
                    let body = String::from_utf8(response.body).unwrap();
                    match response.status {
                        200 => {
                            let note = format!("{}{body}", offer.split_once("\n\n").unwrap().1);
                            check_independently(&note, vkey);
                            cosigned.lock().unwrap().push((which, old + 1));
                            old += 1;
                        }
                        409 => old = body.trim_end().parse().unwrap(),
                        422 => old = 0,
                        other => panic!("it answers {other}: {body}"),
                    }
                }
            });
        }
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..KILLS {
                let before = count();
                wait::until_true("more cosignatures", || count() >= before + 5);
                let mut witness = witness.write().unwrap();
                witness.kill();
                let file = witness.state_dir().join("registry.example%2Flog.checkpoint");
                let kept = size_of(&fs::read_to_string(file).unwrap());
                let highest = cosigned.lock().unwrap().iter().map(|(_, size)| *size).max().unwrap();
                // An answer may still be on its way to the thread that counts it, so it may be more, and never less.
                assert!(kept >= highest, "it kept {kept} and had cosigned {highest}");
                witness.restart();
            }
        }));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = failed {
            std::panic::resume_unwind(panic);
        }
    });
    let cosigned = cosigned.into_inner().unwrap();
    assert!(cosigned.len() >= 5 * KILLS);
    let winner = cosigned[0].0;
    assert!(cosigned.iter().all(|(which, _)| *which == winner), "two histories were signed: {cosigned:?}");
    let mut witness = witness.into_inner().unwrap();
    // The other history was offered, refused, and kept.
    witness.expect_line("it was not cosigned");
    witness.expect_line("the second was not cosigned");
    witness.stop();
    assert!(!witness.evidence().is_empty());
}

/// What is not a checkpoint is refused with a status that says why, and upsets nothing.
#[test]
fn hostile_requests() {
    let signer = Ed25519Signer::from_seed("registry.example/log", &[7; 32]).unwrap();
    let witness = Witness::start("witness.example/w1", &[signer.verifier().clone()]);
    let history = History::new("a", 20);
    let good = history.offer(&signer, 0, 8);
    for body in
        ["", "\n", "old 0\n", "old x\n\n", "\u{0}", &good[..good.len() - 3], &good.replacen("old 0", "old 9", 1)]
    {
        assert_eq!(witness.add_checkpoint(body).0, 400, "{body:?}");
    }
    assert_eq!(witness.request("POST", "/add-checkpoint", &[0xff; 1000]).status, 400);
    let padding = format!("{good}{}", "— x AAAAAAAA\n".repeat(6000));
    assert_eq!(witness.add_checkpoint(&padding).0, 413);
    let other = Ed25519Signer::from_seed("registry.example/log", &[8; 32]).unwrap();
    assert_eq!(witness.add_checkpoint(&history.offer(&other, 0, 8)).0, 403);
    let elsewhere = Ed25519Signer::from_seed("other.example/log", &[7; 32]).unwrap();
    assert_eq!(witness.add_checkpoint(&history.offer(&elsewhere, 0, 8)).0, 404);
    for (method, target, status) in [
        ("GET", "/add-checkpoint", 405),
        ("PUT", "/add-checkpoint", 405),
        ("POST", "/", 405),
        ("GET", "/nothing", 404),
        ("POST", "/x/add-checkpoint", 404),
        ("GET", "/add-checkpoint/", 404),
    ] {
        assert_eq!(witness.request(method, target, b"").status, status, "{method} {target}");
    }
    assert_eq!(witness.add_checkpoint(&good).0, 200);
    let conflict = witness.request("POST", "/add-checkpoint", history.offer(&signer, 4, 9).as_bytes());
    assert_eq!(conflict.status, 409);
    assert_eq!(conflict.header("content-type"), Some("text/x.tlog.size"));
    assert_eq!(conflict.body, b"8\n");
    assert_eq!(witness.add_checkpoint(&history.offer(&signer, 8, 9)).0, 200);
    assert!(witness.evidence().is_empty());
}

/// A body that does not end, a head that does not end: the connections are closed, and others are served meanwhile.
#[test]
fn slow_requests() {
    let signer = Ed25519Signer::from_seed("registry.example/log", &[7; 32]).unwrap();
    let witness = Witness::start("witness.example/w1", &[signer.verifier().clone()]);
    let open = || tests::http::Connection::open(witness.address(), Default::default()).unwrap();
    let mut body = open();
    body.write(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 500\r\n\r\nold 0\n").unwrap();
    // One address alone gets some of the places, and those beyond are closed without an answer.
    wait::until_true("one too many to be closed", || {
        let _idle: Vec<_> = (0..16).map(|_| open()).collect();
        witness.try_request("GET", "/", b"").is_err()
    });
    wait::until_true("the places to be free again", || witness.try_request("GET", "/", b"").is_ok());
    let mut head = open();
    head.write(b"POST /add-checkpoint HTTP/1.1\r\nHost:").unwrap();
    assert_eq!(witness.add_checkpoint(&History::new("a", 9).offer(&signer, 0, 8)).0, 200);
    assert_eq!(body.read_unchecked("POST").unwrap().status, 408);
}

/// The key's file must be its owner's alone, is never replaced, and is a witness's; a state belongs to one key and one
/// process; each refusal has its exit code and says what to do.
#[test]
fn keys_and_states() {
    let signer = Ed25519Signer::from_seed("registry.example/log", &[7; 32]).unwrap();
    let log = signer.verifier().to_string();
    let mut witness = Witness::start("witness.example/w1", &[signer.verifier().clone()]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&witness.key_file()), 0o600);
    assert_eq!(mode(&witness.state_dir()), 0o700);
    let start = |key: &str, state: &str, log: &str| {
        let output = witness.run(&["witness", "--state", state, "--key", key, "--log", log, "--bind", "127.0.0.1:0"]);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let refused = |(code, told): (i32, String), expected: i32, part: &str| {
        assert!(code == expected && told.contains(part), "{code}: {told}");
    };
    // One process for a key, whatever its state; and one for a state, whatever its key.
    refused(start("key", "another", &log), 75, "A key has one state");
    refused(start("key", "new", &witness.vkey().to_string()), 64, "not the key of a log");
    refused(start("nothing", "new", &log), 73, "nothing");
    let before = fs::read(witness.key_file()).unwrap();
    let again = witness.run(&["witness", "--new-key", "key", "another"]);
    refused((again.status.code().unwrap(), String::from_utf8(again.stderr).unwrap()), 73, "never replaced");
    assert_eq!(fs::read(witness.key_file()).unwrap(), before);
    let named = witness.run(&["witness", "--new-key", "new-key", "a name"]);
    assert_eq!(named.status.code(), Some(64));
    let stray = witness.run(&["witness", "--state", "new", "--key", "key", "--log", &log, "--data-dir", "x"]);
    assert_eq!(stray.status.code(), Some(64));

    let other = witness.run(&["witness", "--new-key", "other", "witness.example/w2"]);
    assert!(other.status.success());
    refused(start("other", "state", &log), 75, "state is in use by another witness");
    let file = |name: &str| witness.key_file().with_file_name(name);
    fs::write(file("log-key"), format!("{}\n", *signer.to_secret())).unwrap();
    fs::set_permissions(file("log-key"), fs::Permissions::from_mode(0o600)).unwrap();
    refused(start("log-key", "new", &log), 78, "it is a log's key");
    fs::set_permissions(file("other"), fs::Permissions::from_mode(0o644)).unwrap();
    refused(start("other", "new", &log), 78, "has mode 0644");
    fs::set_permissions(file("other"), fs::Permissions::from_mode(0o600)).unwrap();

    assert_eq!(witness.add_checkpoint(&History::new("a", 9).offer(&signer, 0, 8)).0, 200);
    witness.stop();
    let start = |key: &str, state: &str| {
        let output = witness.run(&["witness", "--state", state, "--key", key, "--log", &log, "--bind", "127.0.0.1:0"]);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    refused(start("other", "state"), 65, "a state belongs to one key for ever");
    refused(start("key", "."), 65, "not the state of a witness");
    let checkpoint = witness.state_dir().join("registry.example%2Flog.checkpoint");
    let whole = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, &whole[..20]).unwrap();
    refused(start("key", "state"), 65, "nor put an older copy in its place");
    fs::write(&checkpoint, &whole).unwrap();
    witness.restart();
    assert_eq!(witness.add_checkpoint(&History::new("a", 9).offer(&signer, 8, 9)).0, 200);
}

/// Settings that can't be kept are refused at the start, all at once.
#[test]
fn settings_are_refused() {
    let mut daemon = Daemon::prepared(&[]);
    let key = common::audit::Cosigner::from_seed("w", &[1; 32]).unwrap().verifier().to_string();
    give(&mut daemon, &format!("witness w {key} ftp://witness.example\nquorum w\n"));
    daemon.set("MREG_MAX_CONNECTIONS", "none");
    let output = daemon.run(&[] as &[&str], "");
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(told.contains("must begin with https:// or http://") && told.contains("MREG_MAX_CONNECTIONS"), "{told}");
    daemon.set(MODE, "required");
    daemon.set("MREG_MAX_CONNECTIONS", "");
    let told = String::from_utf8(daemon.run(&[] as &[&str], "").stderr).unwrap();
    assert!(told.contains("required is not offered"), "{told}");
}
