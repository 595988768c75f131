//! Quotas: never exceeded whatever comes at once, refused before the first octet, kept over restarts, and counted right.

use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::drop::DropFolder;
use tests::http::Client;
use tests::multipart::Form;
use tests::{samples, wait};

fn put(client: &Client, name: &str, octets: &[u8]) -> tests::http::Request {
    let target = format!("/models/{}/artifact?filename=m.safetensors", name.replace('/', "%2F"));
    client.request("PUT", &target).body("application/octet-stream", octets)
}

fn own(client: &Client) -> Value {
    client.value("/me/quota")
}

fn excess(response: tests::http::Response) -> common::api::quota::QuotaExcess {
    response.problem("quota-exceeded").quota.expect("the problem tells by how much")
}

/// Ten uploads at once of which five fit: with a length exactly five are let in, without one no more than fit, and what is
/// reserved ends with them.
#[test]
fn many_at_once() {
    let daemon = Daemon::start();
    let (carl, admin) = (daemon.user("carl", Role::Contributor), daemon.admin());
    let files: Vec<Vec<u8>> = (0..10).map(|seed| samples::large_safetensors(400_000, seed)).collect();
    let size = files[0].len() as u64;
    admin.put("/quotas/users/carl", &json!({"bytes": 5 * size})).expect(200);
    for (round, chunked) in [false, true].into_iter().enumerate() {
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let sent: Vec<_> = files
                .iter()
                .enumerate()
                .map(|(at, octets)| {
                    let request = put(&carl, &format!("r{round}-{at}"), octets);
                    let request = if chunked { request.chunked(10_000) } else { request };
                    scope.spawn(move || {
                        let response = request.send();
                        if response.status != 201 {
                            let excess = excess(response.clone());
                            assert_eq!((excess.name.as_str(), excess.limit), ("carl", 5 * size));
                            let kept = excess.used.unwrap() + excess.reserved.unwrap();
                            assert!(kept + excess.needed > excess.limit, "{excess:?}");
                        }
                        response.status
                    })
                })
                .collect();
            sent.into_iter().map(|sent| sent.join().unwrap()).collect()
        });
        let let_in = statuses.iter().filter(|status| **status == 201).count() as u64;
        let quota = own(&carl);
        assert_eq!(quota["used"]["bytes"], let_in * size, "{statuses:?}");
        assert_eq!(quota["used"]["versions"], let_in);
        assert_eq!(quota["reserved_bytes"], 0);
        if chunked {
            assert!(let_in <= 5, "{statuses:?}");
        } else {
            assert_eq!(let_in, 5, "{statuses:?}");
        }
        for at in (0..10).filter(|at| statuses.get(*at) == Some(&201)) {
            admin.delete(&format!("/models/r{round}-{at}?purge=true&reason=x")).expect(200);
        }
        assert_eq!(own(&carl)["used"]["bytes"], 0);
    }
    // Alone, all of it fits.
    put(&carl, "alone", &files[0]).chunked(10_000).send().expect(201);
}

/// Where the length shows it, the answer comes before any octet; what is deleted counts until it is purged.
#[test]
fn refused_before_the_first_octet() {
    let daemon = Daemon::with(&[("MREG_QUOTA_BYTES_PER_USER", "10 KiB"), ("MREG_QUOTA_BYTES_PER_NAMESPACE", "20 KiB")]);
    let (carl, admin) = (daemon.user("carl", Role::Contributor), daemon.admin());
    let mut line = carl.connect();
    let head = format!(
        "PUT /models/big/artifact HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 10241\r\n\r\n",
        carl.token()
    );
    line.write(head.as_bytes()).unwrap();
    let told = excess(line.read_response("PUT").unwrap());
    assert_eq!((told.of.as_str(), told.limit, told.used, told.needed), ("bytes", 10_240, Some(0), 10_241));

    let octets = samples::large_safetensors(6000, 1);
    let size = octets.len() as u64;
    put(&carl, "team/m", &octets).send().expect(201);
    assert_eq!(own(&carl)["used"], json!({"bytes": size, "versions": 1, "models": 0}));
    let other = samples::large_safetensors(6000, 2);
    assert_eq!(excess(put(&carl, "team/m", &other).send()).used, Some(size));
    // In a form, whose texts nobody knows beforehand, it is found out at the end at the latest.
    excess(carl.publish(Form::new().file("m.safetensors", &other).text("name", "team/m")));
    assert_eq!(own(&carl)["reserved_bytes"], 0);

    // Deleted it counts still, and restored it counts once.
    admin.delete("/models/team%2Fm").expect(200);
    assert_eq!(own(&carl)["used"]["bytes"], size);
    admin.post_empty("/models/team%2Fm/restore").expect(200);
    assert_eq!(own(&carl)["used"]["bytes"], size);
    let team = admin.value("/quotas/namespaces/TEAM");
    assert_eq!((&team["name"], &team["is_own"]), (&json!("team"), &json!(false)));
    assert_eq!((&team["used"]["bytes"], &team["used"]["models"]), (&json!(size), &json!(1)));
    assert_eq!(team["limits"]["bytes"], 20_480);
    admin.delete("/models/team%2Fm?purge=true&reason=x").expect(200);
    assert_eq!(own(&carl)["used"]["bytes"], 0);
    assert_eq!(admin.value("/quotas/namespaces/team")["used"], json!({"bytes": 0, "versions": 0, "models": 0}));

    let checked = daemon.run(&["check"], "");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

/// Quotas are set, changed, listed and taken back, each with its entry; of namespaces models and versions are limited, too.
#[test]
fn set_and_cleared() {
    let mut daemon = Daemon::start();
    let (carl, admin) = (daemon.user("carl", Role::Contributor), daemon.admin());
    let set = admin.put("/quotas/namespaces/team", &json!({"models": 1, "versions": 2})).expect(200).json();
    assert_eq!(set["quota"]["limits"], json!({"bytes": null, "versions": 2, "models": 1}));
    assert_eq!((&set["quota"]["is_own"], &set["quota"]["set_by"]), (&json!(true), &json!("admin")));
    put(&carl, "team/a", &samples::safetensors(1)).send().expect(201);
    let told = excess(put(&carl, "Team/b", &samples::safetensors(2)).send());
    assert_eq!((told.of.as_str(), told.name.as_str(), told.limit), ("models", "team", 1));
    put(&carl, "team/a", &samples::safetensors(3)).send().expect(201);
    assert_eq!(excess(put(&carl, "team/a", &samples::safetensors(4)).send()).of, "versions");
    put(&carl, "b", &samples::safetensors(2)).send().expect(201);

    let all = admin.value("/quotas?limit=2");
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&all), ["", "team"]);
    let next = admin.value(&format!("/quotas?limit=2&cursor={}", all["next_cursor"].as_str().unwrap()));
    assert_eq!((names(&next), &next["next_cursor"]), (vec!["carl".to_owned()], &Value::Null));
    assert_eq!(admin.value("/quotas/namespaces/-")["used"]["models"], 1);

    admin.delete("/quotas/namespaces/team").expect(200);
    put(&carl, "team/b", &samples::safetensors(5)).send().expect(201);
    admin.put("/quotas/users/carl", &json!({"models": 1})).invalid("body.models");
    admin.put("/quotas/users/carl", &json!({"bytes": 9_007_199_254_740_992_u64})).invalid("body.bytes");
    admin.put("/quotas/users/nobody", &json!({})).problem("not-found");
    admin.put("/quotas/pets/carl", &json!({})).problem("not-found");
    admin.put("/quotas/namespaces/a%20b", &json!({})).problem("not-found");
    carl.get("/quotas").problem("forbidden");

    admin.put("/quotas/users/carl", &json!({"bytes": 0})).expect(200);
    excess(put(&carl, "c", &samples::safetensors(6)).send());
    let log = daemon.log();
    let entries = log.of("quota.set");
    assert_eq!(entries.iter().filter(|entry| entry["outcome"] == "ok").count(), 3);
    assert_eq!(entries[0]["target"]["id"], "team");
}

fn create(client: &Client, length: u64, model: Option<&str>) -> tests::http::Response {
    use base64::Engine as _;
    let mut request = client.request("POST", "/uploads").header("Tus-Resumable", "1.0.0");
    if let Some(model) = model {
        let model = base64::engine::general_purpose::STANDARD.encode(model);
        request = request.header("Upload-Metadata", &format!("model {model}"));
    }
    request.header("Upload-Length", &length.to_string()).send()
}

/// A resumable upload keeps what it has reserved over a restart and a kill, and gives it back when it ends; published, it is
/// counted once.
#[test]
fn resumable_uploads_reserve() {
    let mut daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let octets = samples::large_safetensors(100_000, 1);
    let size = octets.len() as u64;
    daemon.admin().put("/quotas/users/carl", &json!({"bytes": size + 1000})).expect(200);
    let place = create(&carl, size, Some("team/m")).expect(201).need("location").to_owned();
    assert_eq!(own(&carl)["reserved_bytes"], size);
    excess(create(&carl, 1001, None));
    daemon.kill();
    daemon.restart();
    let (carl, admin) = (carl.at(daemon.address()), daemon.admin().at(daemon.address()));
    assert_eq!(own(&carl)["reserved_bytes"], size);
    assert_eq!(admin.value("/quotas/namespaces/team")["reserved_bytes"], size);
    assert_eq!(excess(put(&carl, "x", &samples::large_safetensors(2000, 2)).send()).reserved, Some(size));

    let of = |method: &str| carl.request(method, &place).header("Tus-Resumable", "1.0.0");
    let sent = of("PATCH").header("Upload-Offset", "0").body("application/offset+octet-stream", octets.clone());
    sent.send().expect(204);
    let id = place.strip_prefix("/uploads/").unwrap();
    carl.publish(Form::new().text("name", "team/m").text("upload_id", id)).expect(201);
    let quota = own(&carl);
    assert_eq!((&quota["used"]["bytes"], &quota["reserved_bytes"]), (&json!(size), &json!(0)));
    assert_eq!(admin.value("/quotas/namespaces/team")["reserved_bytes"], 0);

    let ended = create(&carl, 900, None).expect(201).need("location").to_owned();
    assert_eq!(own(&carl)["reserved_bytes"], 900);
    carl.request("DELETE", &ended).header("Tus-Resumable", "1.0.0").send().expect(204);
    assert_eq!(own(&carl)["reserved_bytes"], 0);
}

/// Whoever announces nearly all the room there is, and sends nothing, keeps nobody else from announcing a part of it.
#[test]
fn announcing_is_no_blockade() {
    let mut daemon = Daemon::with(&[("MREG_MAX_UPLOAD_BYTES", "64 TiB"), ("MREG_UPLOAD_BYTES_PER_USER", "64 TiB")]);
    daemon.expect_line("there is not enough free space for an upload");
    let (carl, dora) = (daemon.user("carl", Role::Contributor), daemon.user("dora", Role::Contributor));
    let free = carl.value("/status")["storage"]["free_bytes"].as_u64().unwrap();
    create(&carl, free / 10 * 8, None).expect(201);
    create(&dora, free / 10 * 4, None).expect(201);
    // Of one's own all counts, and more than there is nobody gets.
    create(&carl, free / 10 * 4, None).problem("storage-full");
    create(&daemon.admin(), free / 10 * 12, None).problem("storage-full");
}

/// What is dropped goes by the quotas of whoever acts for it and of its namespace.
#[test]
fn dropped_files() {
    let folder = DropFolder::start();
    let admin = folder.admin();
    admin.put("/quotas/namespaces/-", &json!({"bytes": 100})).expect(200);
    folder.copy("large.safetensors", &samples::large_safetensors(5000, 1));
    let refused = folder.is_refused("large.safetensors");
    assert_eq!(refused.problem(), "quota-exceeded");
    assert!(refused.detail().contains("100 octets"), "{}", refused.detail());
    wait::until_true("what was reserved to go", || admin.value("/quotas/namespaces/-")["reserved_bytes"] == 0);
    admin.delete("/quotas/namespaces/-").expect(200);
}

/// What is kept in a namespace is told to who sees all models, and not to who would learn of hidden ones by it.
#[test]
fn hidden_models_are_not_counted_out() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let hidden = samples::large_safetensors(5000, 1);
    put(&admin, "team/hidden", &hidden).send().expect(201);
    admin.put("/quotas/namespaces/team", &json!({"bytes": hidden.len() + 100})).expect(200);
    let (carl, dora) = (daemon.user("carl", Role::Contributor), daemon.user("dora", Role::Contributor));
    let grants = json!([{"pattern": "team/open*", "role": "contributor"}, {"pattern": "*", "role": "none"}]);
    admin.patch("/users/carl", &json!({"grants": grants})).expect(200);
    let file = samples::large_safetensors(2000, 2);
    let told = excess(put(&dora, "team/open", &file).send());
    assert_eq!((told.used, told.reserved), (Some(hidden.len() as u64), Some(0)));
    for chunked in [false, true] {
        let request = put(&carl, "team/open", &file);
        let answer = if chunked { request.chunked(500) } else { request }.send();
        let text = answer.text();
        let told = excess(answer);
        assert_eq!((told.used, told.reserved, told.limit), (None, None, hidden.len() as u64 + 100));
        assert!(text.contains("less than that is left") && !text.contains(&format!("{}", hidden.len())), "{text}");
    }
    // Of their own all are told.
    admin.delete("/quotas/namespaces/team").expect(200);
    admin.put("/quotas/users/carl", &json!({"bytes": 100})).expect(200);
    assert_eq!(excess(put(&carl, "team/open", &file).send()).used, Some(0));
}
