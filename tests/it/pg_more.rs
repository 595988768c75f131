//! Several daemons on one log in PostgreSQL and one directory of artifacts: what is one daemon's work is another's when that
//! one is gone, what is bounded is bounded for all of them together, and what is taken from somebody at one is gone at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::hooks::{Receiver, Reply};
use tests::http::{Client, Request};
use tests::multipart::Form;
use tests::postgres::Postgres;
use tests::{samples, wait};

use crate::pg;

/// The key of webhooks, which all daemons must share.
const WEBHOOK_KEY: &str = "one-key-of-webhooks-for-all-the-daemons-of-a-test";

/// Two daemons, behind their server: they end before it.
fn two(more: &[(&str, &str)]) -> (Postgres, [Daemon; 2]) {
    let server = Postgres::start();
    let address = server.address();
    let blobs = server.dir().join("blobs");
    let start = |keys_of: Option<&Daemon>| {
        let mut daemon = Daemon::prepared(&pg::settings(&address, more));
        if let Some(first) = keys_of {
            pg::copy_keys(first, &daemon);
        }
        pg::share_blobs(&daemon, &blobs);
        daemon.restart();
        daemon
    };
    let first = start(None);
    let second = start(Some(&first));
    (server, [first, second])
}

fn admin(daemon: &Daemon) -> Client {
    daemon.client().signed_in(ADMIN, ADMIN_PASSWORD)
}

/// Whether this daemon does the work that one does for all.
fn upkeeps(admin: &Client) -> bool {
    admin.value("/status")["webhooks"]["delivers_here"] == true
}

/// Waits until one of them does the upkeep; its place, and that of the other.
fn upkeeper(daemons: &[Daemon; 2]) -> (usize, usize) {
    let clients = daemons.each_ref().map(admin);
    wait::until("one to do the upkeep", || match clients.each_ref().map(upkeeps) {
        [true, false] => Some((0, 1)),
        [false, true] => Some((1, 0)),
        _ => None,
    })
}

fn publish(client: &Client, name: &str, seed: u32) -> tests::http::Response {
    client.publish(Form::new().file("m.safetensors", &samples::safetensors(seed)).text("name", name))
}

/// The daemon that delivers is killed, again and again, and the other goes on: no entry is missing, new ones come in order, and
/// what comes twice has the same id and the same octets.
#[test]
fn webhooks_go_on_elsewhere() {
    let settings = [("MREG_WEBHOOK_ALLOW", "127.0.0.0/8"), ("MREG_WEBHOOK_KEY", WEBHOOK_KEY)];
    let (_server, mut daemons) = two(&settings);
    let receiver = Receiver::answering(|_message, _before| Reply::Late(200, Duration::from_millis(20)));
    let (_delivers, other) = upkeeper(&daemons);
    let made = admin(&daemons[other]).post("/webhooks", &json!({"url": receiver.url(), "actions": ["model.upload"]}));
    let made = made.expect(201).json();
    let (id, secret) = (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned());
    daemons.iter().for_each(|daemon| {
        daemon.ledger().add_secret(&secret);
        daemon.ledger().add_secret(WEBHOOK_KEY);
    });

    let (mut published, mut killed) = (0_u32, BTreeSet::new());
    for _round in 0..3 {
        let (delivers, survivor) = upkeeper(&daemons);
        let clients = [admin(&daemons[delivers]), admin(&daemons[survivor])];
        let before = receiver.seen().len();
        for n in 0..8 {
            published += 1;
            publish(&clients[n % 2], "m", published).expect(201);
        }
        // In the middle of it.
        receiver.wait_for(before + 3);
        daemons[delivers].kill();
        killed.insert(delivers);
        for _ in 0..4 {
            published += 1;
            publish(&clients[1], "m", published).expect(201);
        }
        wait::until_true("the other to deliver", || upkeeps(&clients[1]));
        wait::until_true("it to deliver all", || clients[1].value(&format!("/webhooks/{id}"))["behind"] == 0);
        daemons[delivers].restart();
    }
    assert_eq!(killed.len(), 2, "each was killed while it delivered");

    let page = admin(&daemons[0]).value("/audit-logs?action=model.upload&limit=100");
    let wanted: BTreeSet<u64> =
        page["items"].as_array().unwrap().iter().map(|row| row["index"].as_u64().unwrap()).collect();
    assert_eq!(wanted.len(), 36);
    let mut bodies: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let (mut newest, mut told) = (0, BTreeSet::new());
    for message in receiver.seen() {
        assert!(message.signed(&secret).1);
        let index = message.index();
        if let Some(before) = bodies.insert(message.id().to_owned(), message.body.clone()) {
            assert_eq!(before, message.body, "{}", message.id());
        } else {
            assert!(index > newest, "entry {index} came first after {newest}");
        }
        newest = newest.max(index);
        told.insert(index);
    }
    assert_eq!((told.len(), bodies.len()), (36, 36), "an entry has one id");
    assert_eq!(told, wanted);
}

/// Uploads at two daemons at once, of which some fit by themselves at each: together no more get in than may, whether their
/// lengths are known or not, in octets and in versions, and both daemons count the same.
#[test]
fn quotas_are_of_all_daemons() {
    const FIT: u64 = 5;
    let (_server, daemons) = two(&[]);
    let carl = daemons[0].user("carl", Role::Contributor);
    let clients = [carl.clone(), carl.at(daemons[1].address())];
    let admin = daemons[1].admin();
    let files: Vec<Vec<u8>> = (0..12).map(|seed| samples::large_safetensors(200_000, seed)).collect();
    let size = files[0].len() as u64;
    assert!(files.iter().all(|file| file.len() as u64 == size));
    let limits = [json!({"bytes": FIT * size}), json!({"versions": FIT})];
    for (round, (limit, chunked)) in limits.iter().flat_map(|limit| [(limit, false), (limit, true)]).enumerate() {
        admin.put("/quotas/users/carl", limit).expect(200);
        let put = |at: usize| -> Request {
            let target = format!("/models/r{round}-{at}/artifact?filename=m.safetensors");
            let request = clients[at % 2].request("PUT", &target).body("application/octet-stream", files[at].clone());
            if chunked { request.chunked(10_000) } else { request }
        };
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let sent: Vec<_> = (0..files.len())
                .map(|at| {
                    scope.spawn(move || {
                        let response = put(at).send();
                        if response.status != 201 {
                            let excess = response.problem("quota-exceeded").quota.expect("it says by how much");
                            assert_eq!(excess.name, "carl");
                        }
                        response.status
                    })
                })
                .collect();
            sent.into_iter().map(|sent| sent.join().unwrap()).collect()
        });
        let let_in = statuses.iter().filter(|status| **status == 201).count() as u64;
        assert!(let_in <= FIT, "round {round}: {statuses:?}");
        if !chunked {
            assert_eq!(let_in, FIT, "round {round}: {statuses:?}");
        }
        for client in &clients {
            let quota = client.value("/me/quota");
            assert_eq!(quota["used"]["bytes"], let_in * size, "{quota}");
            assert_eq!((&quota["used"]["versions"], &quota["reserved_bytes"]), (&json!(let_in), &json!(0)), "{quota}");
        }
        for at in (0..files.len()).filter(|at| statuses[*at] == 201) {
            admin.delete(&format!("/models/r{round}-{at}?purge=true&reason=x")).expect(200);
        }
    }
    // What one daemon let in fills it up at the other.
    admin.put("/quotas/users/carl", &json!({"versions": 1})).expect(200);
    publish(&clients[0], "a", 1).expect(201);
    publish(&clients[1], "b", 2).problem("quota-exceeded");
}

/// A token that is revoked and grants that are changed at one daemon are so at the other, on the very next request.
#[test]
fn taken_at_one_gone_at_all() {
    let (_server, daemons) = two(&[]);
    let admins = [daemons[0].admin(), daemons[0].admin().at(daemons[1].address())];
    publish(&admins[0], "team/m", 1).expect(201);
    let carl = daemons[0].user("carl", Role::Contributor);
    let carls = [carl.clone(), carl.at(daemons[1].address())];
    for n in 0..10_u32 {
        let (here, there) = (n as usize % 2, (n as usize + 1) % 2);
        let made = carls[here].post("/tokens", &json!({"label": format!("t{n}")})).expect(201).json();
        let text = made["token"].as_str().unwrap();
        daemons.iter().for_each(|daemon| daemon.ledger().add_secret(text));
        let token = carls[there].with_token(text);
        token.get("/models/team%2Fm").expect(200);
        token.at(daemons[here].address()).get("/models/team%2Fm").expect(200);
        admins[here].delete(&format!("/tokens/{}", made["id"].as_str().unwrap())).expect(200);
        token.get("/models/team%2Fm").problem("unauthenticated");

        // What is closed at one daemon is opened again at the other.
        let grants = |grants: Value| json!({ "grants": grants });
        let (closed, open) = (json!([{"pattern": "team/*", "deny": true}]), json!([]));
        admins[here].patch("/users/carl", &grants(closed)).expect(200);
        carls[there].get("/models/team%2Fm").problem("not-found");
        publish(&carls[there], "team/m", 100 + n).problem("forbidden");
        admins[there].patch("/users/carl", &grants(open)).expect(200);
        carls[here].get("/models/team%2Fm").expect(200);
        publish(&carls[here], "team/m", 200 + n).expect(201);
    }
    let read_only = json!({"grants": [{"pattern": "team/*", "role": "viewer"}, {"pattern": "*", "role": "none"}]});
    admins[0].patch("/users/carl", &read_only).expect(200);
    publish(&carls[1], "team/m", 999).problem("forbidden");
}

/// A rule that somebody asks for at one daemon is carried out by the one that does the upkeep, once; when that one is killed,
/// by the other.
#[test]
fn retention_by_whoever_upkeeps() {
    let (_server, mut daemons) = two(&[]);
    let (upkeeps_first, other) = upkeeper(&daemons);
    let client = admin(&daemons[other]);
    for seed in 1..=4 {
        publish(&client, "m", seed).expect(201);
    }
    let rule = json!({"pattern": "m", "action": "delete", "keep_newest": 2});
    client.put("/retention/newest", &rule).expect(200);
    let run = |client: &Client| {
        let before = client.value("/retention/newest")["last_run"].clone();
        client.post_empty("/retention/newest/run").expect(202);
        wait::until("the run to end", || {
            let shown = client.value("/retention/newest");
            (shown["requested_at"].is_null() && shown["last_run"] != before).then(|| shown["last_run"].clone())
        })
    };
    assert_eq!(run(&client)["versions"], 2);
    let state = |client: &Client, version: u32| client.value(&format!("/models/m/versions/{version}"))["state"].clone();
    for (version, expected) in [(1, "deleted"), (2, "deleted"), (3, "available"), (4, "available")] {
        assert_eq!(state(&admin(&daemons[upkeeps_first]), version), expected);
    }
    daemons[upkeeps_first].kill();
    publish(&client, "m", 5).expect(201);
    assert_eq!(run(&client)["versions"], 1);
    assert_eq!(state(&client, 3), "deleted");

    let page = client.value("/audit-logs?action=retention.run&limit=10");
    let node = |row: &Value| row["entry"]["node"].as_str().unwrap().to_owned();
    let nodes: Vec<String> = page["items"].as_array().unwrap().iter().map(node).collect();
    assert_eq!(nodes.len(), 2, "each was carried out once");
    assert_ne!(nodes[0], nodes[1], "each by the one that did the upkeep then");
    daemons[upkeeps_first].restart();
    assert_eq!(state(&admin(&daemons[upkeeps_first]), 3), "deleted");
}
