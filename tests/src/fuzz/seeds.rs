//! The inputs that fuzzing begins with, made from real things: the published vectors, a journal that a released version
//! wrote, streams and paths as the daemon has them. Always the same octets, so that `fuzz/corpus` can be compared with
//! them; what a fuzzer found is kept there beside them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::api::{Origin, State};
use common::audit::{
    Checkpoint, Cosigner, Hash, Signer as _, TlogProof, consistency_proof, format_hashes, inclusion_proof, leaf_hash,
    push_leaf,
};
use common::digest::Digest;
use common::grant::Grant;
use common::name::{HookId, ItemId, ModelId, Version};
use common::token::TokenId;
use daemon::store::codec::{decode_change, encode_change};
use daemon::store::records::{
    Account, ApiTokenRecord, ArtifactRecord, FindingRecord, GrantRecord, IngestOutcome, IngestRecord, InspectionRecord,
    IntakeRecord, LogKeyRecord, LogKeysRecord, MetadatumRecord, QuotaRecord, RetentionRuleRecord, ReviewDecision,
    ReviewRecord, RuleRecord, RuleSpec, RulesetRecord, RunRecord, SecondFactorRecord, TokenSecretRecord, VersionRecord,
    WebhookDisabledRecord, WebhookProgressRecord, WebhookRecord, WebhookSecretRecord, Write,
};

use super::inspect::NAMES;
use super::journal::{REPAIRED, TWO_FILES, file};
use super::{VECTORS, WITNESSED};
use crate::daemon::workspace;
use crate::oracle;

/// A seed: its target, its file's name, its octets.
pub type Seed = (&'static str, String, Vec<u8>);

/// All seeds.
pub fn all() -> Vec<Seed> {
    [
        certificates(),
        checksums(),
        consistency(),
        drop_names(),
        forwarded(),
        inspect(),
        journal(),
        leaves(),
        notes(),
        policies(),
        proofs(),
        records(),
        routes(),
        sidecars(),
        sse(),
        tiles(),
        witness(),
        tus(),
    ]
    .concat()
}

fn named(target: &'static str, seeds: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> Vec<Seed> {
    seeds.into_iter().map(|(name, octets)| (target, name.to_owned(), octets)).collect()
}

fn certificates() -> Vec<Seed> {
    let whole = super::network::sample();
    let cut = whole[..whole.len() / 2].to_vec();
    named("certificate", [("whole", whole), ("cut", cut)])
}

/// Networks first, then lines of headers.
fn forwarded() -> Vec<Seed> {
    let seeds = [
        ("one", "10.0.0.0/8,unix\nx192.0.2.7\nphttps"),
        ("several", "10.0.0.1,::ffff:10.1.0.0/112\nx6.6.6.6, 192.0.2.7:80, 10.1.2.3\nx[2001:db8::7]:443"),
        ("standard", "10.0.0.0/8\nffor=6.6.6.6;proto=http, for=\"[2001:db8::7]:80\";proto=https;by=_x"),
        ("quotes", "10.0.0.0/8\nffor=\"6.6.6.6, for=192.0.2.7\nffor=\"\\\", for=10.0.0.2"),
        ("stranger", "192.0.2.0/24\nx6.6.6.6\nffor=6.6.6.6;proto=https\nphttps"),
        ("unknown", "fd00::/8,10.0.0.1/32\nxunknown, \nffor=_hidden, for=unknown"),
    ];
    named("forwarded", seeds.map(|(name, text)| (name, text.as_bytes().to_vec())))
}

/// The name comes first, and ends with a zero.
fn checksums() -> Vec<Seed> {
    let (mine, other) = ("ab".repeat(32), "CD".repeat(32));
    let texts = [
        ("text", format!("{mine}  m.bin\n")),
        ("binary", format!("{other}  other\r\n{mine} *m.bin\r\n")),
        ("path", format!("# two\n{mine}  ./models/m.bin\n{other} am.bin\n")),
        ("tagged", format!("SHA256 (m.bin) = {mine}\nSHA2-256(other)= {other}\n")),
        ("bare", format!("sha256:{mine}\n")),
        ("twice", format!("{mine}  m.bin\n{other}  m.bin\n")),
    ];
    let escaped = format!("m\\\nn\0\\{mine}  m\\\\\\nn\n").into_bytes();
    let texts = texts.map(|(name, text)| (name, format!("m.bin\0{text}").into_bytes()));
    named("checksum", texts.into_iter().chain([("escaped", escaped)]))
}

fn consistency() -> Vec<Seed> {
    let of = |old: u8, new: u8| {
        let proof = consistency_proof(old.into(), new.into(), &VECTORS.tree).unwrap();
        [&[old, new], format_hashes(&proof).as_bytes()].concat()
    };
    named("consistency", [("empty", vec![0, 5]), ("1-2", of(1, 2)), ("3-5", of(3, 5)), ("4-5", of(4, 5))])
}

/// The first octet chooses where it lies.
fn drop_names() -> Vec<Seed> {
    let names = [
        ("file", "\0model v2.tar.gz"),
        ("folder", "\x01bert-base.v2"),
        ("sidecar", "\0model.bin.mreg.json"),
        ("checksum", "\x02model.bin.MREG.json.sha256"),
        ("rsync", "\0.model.bin.Xy12Zz"),
        ("part", "\0größe.filepart.sha256"),
        ("emacs", "\0#model#"),
        ("nfs", "\0.nfs0123456789abcdef00000001"),
        ("lane", "\x02processing"),
        ("marker", "\0_SUCCESS"),
        ("id", "\x0101ARZ3NDEKTSV4RRFFQ69G5FAV"),
    ];
    named("drop_name", names.map(|(name, octets)| (name, octets.as_bytes().to_vec())))
}

/// Inputs of readers, which are kept as they are, each under a name that brings it to its reader.
fn inspect() -> Vec<Seed> {
    let inputs = [
        ("config.json", "inspect_json/config-auto-map-remote.json"),
        ("model.gguf", "inspect_gguf/sound"),
        ("model.pkl", "inspect_pickle/joblib"),
        ("model.onnx", "inspect_onnx/external-function"),
        ("saved_model.pb", "inspect_saved_model/computing"),
        ("variables/variables.index", "inspect_saved_model/index"),
        ("model.h5", "inspect_hdf5/user-block-pickle.h5"),
        ("model.keras", "inspect_zip/keras-lambda.keras"),
        ("model.msgpack", "inspect_msgpack/flax"),
        ("model.pt", "inspect_zip/torch.pt"),
        ("params.yaml", "inspect_yaml/hydra.yaml"),
        ("archive.tar.gz", "inspect_compressed/slip.tar.gz"),
    ];
    let seed = |(name, input): (&str, &str)| {
        let chosen = NAMES.iter().position(|one| *one == name).expect("one of the names");
        let octets = fs::read(workspace().join("fuzz/corpus").join(input)).unwrap();
        let chosen = u8::try_from(chosen).expect("few names");
        ("inspect", name.replace('/', "-"), [&[chosen], octets.as_slice()].concat())
    };
    inputs.into_iter().map(seed).collect()
}

fn released_log() -> PathBuf {
    workspace().join("tests/data/0.1.0/data/log")
}

/// A journal that a released version wrote, without the zeros at its end.
fn released() -> Vec<u8> {
    let mut file = fs::read(released_log().join(format!("journal-{:020}.log", 0))).unwrap();
    let end = file.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
    file.truncate(end);
    file
}

fn journal() -> Vec<Seed> {
    let small = file(0, &[&[(b"a leaf", b"")], &[(b"another", b"and its change"), (b"", b"")]]);
    let second = file(3, &[&[(b"fourth", b"x")]]);
    let octets = u32::try_from(small.len()).unwrap().to_le_bytes();
    // Headers that are whole and that no batch has: no records, more than fit, entries that no log reaches.
    let without_records = file(0, &[&[], &[(b"a leaf", b"")]]);
    let mut too_many = small.clone();
    too_many[64 + 12..64 + 16].fill(0xff);
    let far = file(u64::MAX - 1, &[&[(b"one", b""), (b"two", b"")]]);
    named(
        "journal",
        [
            ("released", [&[0], released().as_slice()].concat()),
            ("small", [&[REPAIRED], small.as_slice()].concat()),
            ("torn", [&[REPAIRED], &small[..small.len() - 3], &[0; 40]].concat()),
            ("without-records", [&[REPAIRED], without_records.as_slice()].concat()),
            ("too-many", [&[REPAIRED], too_many.as_slice()].concat()),
            ("far", [&[REPAIRED | TWO_FILES], octets.as_slice(), &small, &far].concat()),
            ("empty", [&[REPAIRED], file(0, &[]).as_slice()].concat()),
            ("two", [&[REPAIRED | TWO_FILES], octets.as_slice(), &small, &second].concat()),
            ("gap", [&[REPAIRED | TWO_FILES], octets.as_slice(), &small, &file(9, &[&[(b"tenth", b"")]])].concat()),
        ],
    )
}

fn leaves() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = (0..)
        .zip(&VECTORS.leaves)
        .map(|(index, leaf): (u32, _)| ("leaf", format!("vector-{index}"), leaf.clone()))
        .collect();
    let first = str::from_utf8(&VECTORS.leaves[0]).unwrap();
    let data = r#""data":{" ":[-9007199254740991,0,{"a\"b":null}],"a":"\u0000\b\u001f\u0022é","b":true}"#;
    seeds.push(("leaf", "data".to_owned(), first.replacen(r#""data":{}"#, data, 1).into_bytes()));
    seeds
}

fn notes() -> Vec<Seed> {
    let text = VECTORS.checkpoint(VECTORS.size()).to_text();
    let cosignature = VECTORS.witness.cosign(&text, 1_790_000_000);
    let note = VECTORS.note(VECTORS.size());
    let bytes = |text: &str| text.as_bytes().to_vec();
    named(
        "note",
        [
            ("checkpoint", bytes(&note)),
            ("cosigned", bytes(&format!("{note}{cosignature}"))),
            ("twice", bytes(&format!("{note}{cosignature}{cosignature}— stranger AAAAAAAA\n"))),
            ("text", bytes("a text\n\nof two parts\n\n— stranger AAAAAAAA\n")),
            ("vkey", bytes(&VECTORS.pinned()[0].to_string())),
            ("witness-vkey", bytes(&VECTORS.pinned()[1].to_string())),
            ("secret", bytes(&VECTORS.log.to_secret())),
            ("witness-secret", bytes(&VECTORS.witness.to_secret())),
        ],
    )
}

fn policies() -> Vec<Seed> {
    let [log, witness] = VECTORS.pinned();
    let other = Cosigner::from_seed("witness.example/w2", &[2; 32]).unwrap();
    let other = other.verifier();
    let texts = [
        ("none", format!("log {log}\nquorum none\n")),
        ("one", format!("# ours\nlog {log} https://registry.example/log\nwitness w1 {witness}\nquorum w1\n")),
        (
            "groups",
            format!(
                "log {log}\n\nwitness w1\t{witness} https://witness.example/\nwitness w2 {other}\n\
                 group any2 1 w1 w2\ngroup top all any2\nquorum top\n"
            ),
        ),
        ("wrong", "log x\nwitness\ngroup g 2 a b\nquorum g\nquorum g\nfoo".to_owned()),
    ];
    named("policy", texts.map(|(name, text)| (name, text.into_bytes())))
}

fn proofs() -> Vec<Seed> {
    let size = VECTORS.size();
    let of = |index: u64, size: u64| TlogProof {
        index,
        path: inclusion_proof(index, size, &VECTORS.tree).unwrap(),
        checkpoint: VECTORS.note(size),
    };
    let receipt = serde_json::to_vec(&VECTORS.json["receipt_index2_size5"]).unwrap();
    named(
        "proof",
        [
            ("only", of(0, 1).to_text().into_bytes()),
            ("first", of(0, size).to_text().into_bytes()),
            ("last", of(size - 1, size).to_text().into_bytes()),
            ("receipt", receipt),
        ],
    )
}

fn records() -> Vec<Seed> {
    let keys = LogKeysRecord {
        origin: VECTORS.log.verifier().name().to_owned(),
        generation: 1,
        current: LogKeyRecord { vkey: VECTORS.pinned()[0].to_string(), from: 0 },
        leaving: None,
        retired: Vec::new(),
        ended: Vec::new(),
    };
    let digest = Digest::from_bytes([7; 32]);
    let made = encode_change(&[
        Write::PutLogKeys(keys),
        Write::SetBlob { digest, size: 77, refs: 2 },
        Write::DeleteSession { sid: "s1".to_owned() },
        Write::PutRuleset(RulesetRecord {
            id: "mreg-1-0123456789abcdef".to_owned(),
            policies: "default".to_owned(),
            at_ms: 1,
        }),
        Write::RenewInspections {
            ruleset: "mreg-1-0123456789abcdef".to_owned(),
            versions: vec![(ModelId::from_u128(1), Version::FIRST)],
        },
        Write::PutVersion(version(digest)),
        Write::PutApiToken(api_token()),
        Write::UseApiTokens(vec![(TokenId::new(1, 2), 7)]),
        Write::DeleteApiToken { id: TokenId::new(1, 2) },
    ]);
    let dropped = encode_change(&[
        Write::PutIngest(ingest(
            1,
            IngestOutcome::Published { model: ModelId::from_u128(1), version: Version::FIRST, already_present: true },
        )),
        Write::PutIngest(IngestRecord {
            digest: None,
            ..ingest(2, IngestOutcome::Rejected { problem: "conflict".to_owned(), detail: "it is a link".to_owned() })
        }),
        Write::PutIngest(ingest(3, IngestOutcome::Discarded { by: "ana".to_owned(), reason: "not ours".to_owned() })),
        Write::DeleteIngest { item: ItemId::from_u128(4) },
        Write::PutIntake(IntakeRecord {
            paused: true,
            by: "ana".to_owned(),
            reason: "the disk is changed".to_owned(),
            at_ms: 1,
            index: 9,
        }),
    ]);
    let granted = encode_change(&[
        Write::PutGrants {
            user: "usr_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
            grants: ["team/*:contributor", "*:none", "s/*:deny"]
                .into_iter()
                .filter_map(|text| text.parse::<Grant>().ok())
                .map(GrantRecord::from)
                .collect(),
        },
        Write::PutGrants { user: "usr_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(), grants: Vec::new() },
    ]);
    let hooked = encode_change(&[
        Write::PutWebhook(webhook()),
        Write::PutWebhookProgress(vec![WebhookProgressRecord { hook: HookId::from_u128(1), course: 2, next: 9 }]),
        Write::DeleteWebhook { hook: HookId::from_u128(1) },
    ]);
    let kept = encode_change(&[
        Write::PutQuota(QuotaRecord {
            account: Account::Namespace("team".to_owned()),
            bytes: Some(1 << 40),
            versions: None,
            models: Some(2),
            by: "ana".to_owned(),
            at_ms: 1,
            index: 9,
        }),
        Write::DeleteQuota(Account::User("usr_1".to_owned())),
        Write::PutRetentionRule(retention_rule()),
        Write::DeleteRetentionRule { name: "old".to_owned() },
    ]);
    let factored = encode_change(&[
        Write::PutSecondFactor(SecondFactorRecord {
            user: "usr_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
            generation: 9,
            key: [7; 8],
            confirmed: true,
            last_step: 59_000_000,
            recovery: vec![[1; 32], [2; 32]],
            made_at_ms: 1,
            revision: 10,
        }),
        Write::DeleteSecondFactor { user: "usr_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned() },
    ]);
    // The first of each kind in the released journal: users, sessions, models, versions.
    let changes = [
        ("made", made),
        ("dropped", dropped),
        ("granted", granted),
        ("hooked", hooked),
        ("kept", kept),
        ("factored", factored),
    ];
    let mut seeds = named("record", changes.map(|(name, change)| (name, change.unwrap())));
    let mut kinds = BTreeSet::new();
    for (index, (_leaf, change)) in oracle::journal(&released_log()).into_iter().enumerate() {
        let of = |write: &Write| std::mem::discriminant(write);
        let kind: Vec<_> = decode_change(&change).unwrap().iter().map(of).collect();
        if !kind.is_empty() && kinds.insert(format!("{kind:?}")) {
            seeds.push(("record", format!("released-{index}"), change));
        }
    }
    seeds
}

/// A token with all that one can have.
fn api_token() -> ApiTokenRecord {
    let secret = |index, until_ms| TokenSecretRecord { hash: [9; 32], index, made_at_ms: 1, until_ms };
    ApiTokenRecord {
        id: TokenId::new(1, 2),
        user_id: "usr_1".to_owned(),
        label: "ci".to_owned(),
        secrets: vec![secret(8, None), secret(7, Some(9))],
        permissions: Some(vec!["model.read".to_owned()]),
        names: Some(vec!["team/*".parse().unwrap()]),
        created_at_ms: 1,
        created_by: "ana".to_owned(),
        expires_at_ms: Some(9),
        last_used_at_ms: Some(7),
        revision: 8,
    }
}

/// A webhook with all that one can have.
fn webhook() -> WebhookRecord {
    WebhookRecord {
        id: HookId::from_u128(1),
        url: "https://receiver.example/hook?key=1".to_owned(),
        description: "for the dashboard".to_owned(),
        actions: vec!["model.*".to_owned(), "alias.set".to_owned()],
        models: vec!["team/*".parse().unwrap()],
        outcomes: vec!["ok".to_owned(), "denied".to_owned()],
        disabled: Some(WebhookDisabledRecord { because: Some("410".to_owned()), at_ms: 5 }),
        secret: WebhookSecretRecord { generation: 2, key: [3; 8] },
        previous: Some((WebhookSecretRecord { generation: 1, key: [2; 8] }, 9)),
        course: 2,
        from: 5,
        created_at_ms: 1,
        created_by: "ana".to_owned(),
        updated_at_ms: 2,
        revision: 6,
    }
}

/// A rule with all that one can have.
fn retention_rule() -> RetentionRuleRecord {
    let run = RunRecord { began_at_ms: 1, ended_at_ms: 2, versions: 3, bytes: 4, complete: false, on_demand: true };
    RetentionRuleRecord {
        name: "old".to_owned(),
        rule: RuleSpec {
            pattern: "team/*".parse().unwrap(),
            purges: true,
            keep_newest: Some(3),
            older_than_days: Some(30),
            states: vec![State::Deleted],
            protect_tags: vec![("stage".to_owned(), "prod".to_owned())],
            enabled: true,
        },
        set_by: "ana".to_owned(),
        set_at_ms: 1,
        first_run_at_ms: 2,
        requested_at_ms: Some(3),
        last_run: Some(run),
        revision: 5,
    }
}

/// What an item of the drop folder came to.
fn ingest(item: u128, outcome: IngestOutcome) -> IngestRecord {
    IngestRecord {
        item: ItemId::from_u128(item),
        path: "incoming/nlp/m.onnx".to_owned(),
        device: 42,
        inode: u64::MAX,
        owner_uid: 1000,
        digest: Some(Digest::from_bytes([8; 32])),
        size: 77,
        outcome,
        at_ms: 1,
        index: 8,
    }
}

/// A version with all that one can have.
fn version(digest: Digest) -> VersionRecord {
    let text = str::to_owned;
    VersionRecord {
        model: ModelId::from_u128(1),
        version: Version::FIRST,
        state: State::Available,
        state_reason: Some(text("read it")),
        state_at_ms: 2,
        held_by_inspection: false,
        description: String::new(),
        artifacts: vec![ArtifactRecord {
            path: "m.py".parse().unwrap(),
            size: 77,
            digest,
            format: text("source"),
            verdict: Some(text("suspicious")),
        }],
        metadata: [(text("files"), MetadatumRecord { json: text("1"), origin: Origin::Measured })].into(),
        findings: vec![FindingRecord {
            rule: text("code.source"),
            level: text("suspicious"),
            place: String::new(),
            detail: text("source code"),
        }],
        inspection: Some(InspectionRecord {
            ruleset: text("mreg-1-0123456789abcdef"),
            verdict: text("suspicious"),
            at_ms: 1,
            findings_total: 1,
            policy: text("default"),
        }),
        review: Some(ReviewRecord {
            decision: ReviewDecision::Released,
            by: text("ana"),
            at_ms: 2,
            index: 7,
            reason: text("read it"),
            over: vec![RuleRecord { rule: text("code.source"), level: text("suspicious") }],
        }),
        source: text("api"),
        created_at_ms: 1,
        created_by: text("ana"),
        created_by_id: text("usr_ana"),
        index: 6,
        deleted: None,
        revision: 7,
    }
}

fn routes() -> Vec<Seed> {
    let paths = [
        ("index", "/"),
        ("file", "/models/team%2Fnlp/versions/3/files/a/b%20c"),
        ("alias", "/models/m/aliases/prod/history"),
        ("user", "/users/%C3%A9/sessions/revoke"),
        ("tile", "/log/tile/1/x001/067.p/3"),
        ("bundle", "/log/tile/entries/000"),
        ("consistency", "/log/consistency/3/5"),
        ("stream", "/audit-logs/stream"),
        ("malformed", "/models/%zz"),
    ];
    let mut seeds = named("route", paths.map(|(name, path)| (name, [&[0], path.as_bytes()].concat())));
    seeds.extend(named(
        "route",
        [("post", b"\x02/models/m/versions/1/release".to_vec()), ("put", b"\x03/models".to_vec())],
    ));
    seeds
}

fn sidecars() -> Vec<Seed> {
    let all = format!(
        r#"{{"name": "team/bert", "description": "two\nlines", "tags": {{"task": "nlp"}}, "alias": "Prod",
            "sha256": "sha256:{}", "metadata": {{"f1": 0.9, "layers": [1, -2, null, true, {{"deep": "é"}}]}}}}"#,
        "ab".repeat(32)
    );
    let texts = [
        ("all", all.as_str()),
        ("nothing", "\u{feff}{\"name\": null, \"alias\": null}\n"),
        ("wrong", r#"{"name": "../x", "version": 3, "nome": 1, "tags": {"a=": 1}, "alias": "7", "sha256": ""}"#),
        ("twice", r#"{"metadata": {"a": {"k": 1, "k": 2}}}"#),
        ("deep", r#"{"metadata": {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}"#),
    ];
    named("sidecar", texts.map(|(name, text)| (name, text.as_bytes().to_vec())))
}

fn sse() -> Vec<Seed> {
    let leaf = STANDARD.encode(&VECTORS.leaves[0]);
    let note = VECTORS.note(VECTORS.size());
    let note: String = note.lines().map(|line| format!("data: {line}\n")).collect();
    let tail = format!(
        ": 0\nretry: 2000\n\nevent: entry\nid: 0\ndata: {leaf}\n\nevent: checkpoint\n{note}\n: beat\n\nevent: bye\ndata: stopping\n\n"
    );
    let standard =
        "\u{feff}data: first event\r\nid: 1\r\rdata:second event\nid\n\ndata\ndata\n\n: comment\nfoo: x\ndata:  x";
    named(
        "sse",
        [
            ("tail", tail.clone().into_bytes()),
            ("returns", tail.replace('\n', "\r").into_bytes()),
            ("standard", standard.as_bytes().to_vec()),
            ("odd", b"id: 1\0\nretry: x\ndata: \xff\xfe\n\n".to_vec()),
        ],
    )
}

fn tiles() -> Vec<Seed> {
    let mut bundle = u16::try_from(VECTORS.leaves.len()).unwrap().to_le_bytes().to_vec();
    for leaf in &VECTORS.leaves {
        push_leaf(&mut bundle, leaf).unwrap();
    }
    let path = |path: &str| path.as_bytes().to_vec();
    named(
        "tile",
        [
            ("hashes", path("tile/0/x001/x234/067")),
            ("partial", path("tile/7/000.p/255")),
            ("entries", path("tile/entries/x035/184")),
            ("bundle", bundle),
            ("empty-leaves", vec![3, 0, 0, 0, 0, 0, 0, 0]),
        ],
    )
}

fn witness() -> Vec<Seed> {
    let size = VECTORS.size();
    let of = |mode: u8, old: u64, proof: &[Hash], note: &str| {
        [&[mode], format!("old {old}\n{}\n{note}", format_hashes(proof)).as_bytes()].concat()
    };
    let proof = |old, new| consistency_proof(old, new, &VECTORS.tree).unwrap();
    let origin = VECTORS.checkpoint(size).origin;
    let forked = Checkpoint { origin: origin.clone(), size: WITNESSED, root: leaf_hash(b"fork") };
    let elsewhere = Checkpoint { origin: "other.example/log".to_owned(), ..forked.clone() };
    let unsigned = |checkpoint: &Checkpoint| format!("{}\n— {} AAAAAAAA\n", checkpoint.to_text(), checkpoint.origin);
    named(
        "witness",
        [
            ("next", of(0, WITNESSED, &proof(WITNESSED, size), &VECTORS.note(size))),
            ("same", of(0, WITNESSED, &[], &VECTORS.note(WITNESSED))),
            ("behind", of(0, 0, &[], &VECTORS.note(size))),
            ("unproved", of(0, WITNESSED, &proof(2, size), &VECTORS.note(size))),
            ("fork", of(1, WITNESSED, &[], &unsigned(&forked))),
            ("unknown-key", of(0, WITNESSED, &[], &unsigned(&forked))),
            ("unknown-log", of(0, WITNESSED, &[], &unsigned(&elsewhere))),
        ],
    )
}

/// Fields of the tus protocol, as its text and clients have them.
fn tus() -> Vec<Seed> {
    let seeds = [
        ("metadata", "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential"),
        ("blanks", "filename YS9iLmJpbg== , model dGVhbS9t,sha256 ,"),
        ("twice", "a YQ==,a YQ=="),
        ("sha1", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="),
        ("sha256", "sha256 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    ];
    seeds.map(|(name, text)| ("tus", name.to_owned(), text.as_bytes().to_vec())).into()
}
