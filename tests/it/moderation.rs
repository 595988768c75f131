//! Deciding over what is held: notes, octets round a finding, approvals by several people, filters, and lists read from
//! either end.

use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::http::Client;
use tests::multipart::Form;
use tests::samples;

/// A pickle that runs a command when it is loaded.
const MALICIOUS: &[u8] = b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00idq\x00\x85R.";

fn hold(client: &Client, name: &str) -> Value {
    let form = Form::new().text("name", name).file("opt.pkl", MALICIOUS);
    let published = client.publish(form).expect(201).json();
    assert_eq!(published["state"], "quarantined", "{published}");
    published
}

fn names(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

/// The octets of a finding, by its place.
fn excerpt(client: &Client, model: &str, place: &str) -> tests::http::Response {
    let place: String = place.bytes().map(|octet| format!("%{octet:02X}")).collect();
    client.get(&format!("/models/{model}/versions/1/excerpt?where={place}"))
}

/// Notes are kept with the version and in the log, are shown newest first to those who review, and to nobody else; the
/// version stays as it was.
#[test]
fn notes() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let (viewer, auditor) = (daemon.user("vera", Role::Viewer), daemon.user("otto", Role::Auditor));
    hold(&admin, "m");
    let etag = admin.get("/models/m/versions/1").expect(200).need("etag").to_owned();
    let notes = "/models/m/versions/1/notes";
    admin.post(notes, &json!({"text": "asked dave"})).expect(201);
    let once = || {
        let request = admin.request("POST", notes).header("idempotency-key", "n-1");
        request.json(&json!({"text": "  he says it is his  "})).send().expect(201)
    };
    let first = once().json();
    assert_eq!(once().json()["log_index"], first["log_index"], "a repetition is no second note");
    assert_eq!((&first["text"], &first["by"]), (&json!("he says it is his"), &json!("admin")));
    let review = auditor.value("/models/m/versions/1/review");
    let texts: Vec<&Value> = review["notes"].as_array().unwrap().iter().map(|note| &note["text"]).collect();
    assert_eq!(texts, ["he says it is his", "asked dave"]);
    assert_eq!(review["sender"], json!({"name": "admin", "available": 0, "held": 1, "blocked": 0}));
    assert_eq!(auditor.value("/quarantine")["items"][0]["notes"], 2);
    assert_eq!(admin.get("/models/m/versions/1").expect(200).need("etag"), etag, "the version is as it was");
    assert!(!viewer.get("/models/m/versions/1").text().contains("asked dave"));
    viewer.get("/models/m/versions/1/review").problem("forbidden");
    auditor.post(notes, &json!({"text": "x"})).problem("forbidden");
    admin.post(notes, &json!({"text": " "})).invalid("body.text");
    admin.post(notes, &json!({"text": "a\u{7}b"})).invalid("body.text");
    admin.post("/models/m/versions/1/release", &json!({"reason": "fine"})).expect(200);
    admin.post(notes, &json!({"text": "late"})).problem("conflict");
    // They outlive a restart, and go with the version.
    daemon.stop();
    daemon.restart();
    let admin = daemon.admin();
    assert_eq!(admin.value("/models/m/versions/1/review")["notes"].as_array().unwrap().len(), 2);
    assert_eq!(admin.value("/models/m/versions/1/review")["sender"]["available"], 1);
    let log = daemon.log();
    let entries = log.of("model.note");
    assert_eq!(entries[0]["data"]["text"], "asked dave", "{}", entries[0]);
}

/// Octets of what is held are told round a finding only, as digits in JSON, to those who may moderate, with an entry before
/// them; those of a member of an archive as they are unpacked.
#[test]
fn octets() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let auditor = daemon.user("otto", Role::Auditor);
    let published = hold(&admin, "m");
    let place = published["findings"][0]["where"].as_str().unwrap().to_owned();
    let answer = excerpt(&admin, "m", &place).expect(200);
    assert_eq!(answer.need("content-type"), "application/json");
    let told = answer.json();
    let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    assert_eq!((&told["path"], &told["from"]), (&json!("opt.pkl"), &json!(0)));
    assert_eq!(told["octets"], hex(MALICIOUS));
    assert_eq!(told["size"], MALICIOUS.len());
    auditor.get("/models/m/versions/1/excerpt?where=x").problem("forbidden");
    for nowhere in ["opt.pkl@9999", "", "../../etc/passwd", "opt.pkl"] {
        let answer = excerpt(&admin, "m", nowhere);
        assert!(
            answer.status == 404 || published["findings"].to_string().contains(&format!("\"where\":\"{nowhere}\""))
        );
    }
    // A far finding: 4 KiB with it in the middle, and not an octet more.
    let mut far = samples::harmless_pickle(1);
    far.truncate(2);
    far.extend_from_slice(b"\x58\x00\x20\x00\x00");
    far.extend_from_slice(&[b'a'; 0x2000]);
    far.extend_from_slice(b"0cposix\nsystem\nX\x02\x00\x00\x00idq\x00\x85R.");
    let form = Form::new().text("name", "far").file("opt.pkl", &far);
    let published = admin.publish(form).expect(201).json();
    let findings = published["findings"].as_array().unwrap();
    let place = findings.iter().filter_map(|one| one["where"].as_str()).find(|place| place.contains("@82"));
    let told = excerpt(&admin, "far", place.unwrap_or_else(|| panic!("{published}"))).expect(200).json();
    let from = usize::try_from(told["from"].as_u64().unwrap()).unwrap();
    let shown = told["octets"].as_str().unwrap();
    assert!(from > 4096 && shown.len() <= 2 * 4096, "{told}");
    assert_eq!(shown, hex(&far[from..(from + 4096).min(far.len())]));
    admin.post("/models/m/versions/1/release", &json!({"reason": "fine"})).expect(200);
    excerpt(&admin, "m", "opt.pkl@2").problem("conflict");
    let log = daemon.log();
    let entries = log.of("model.examine");
    let shown: Vec<&Value> = entries.iter().copied().filter(|entry| entry["outcome"] == "ok").collect();
    assert!(shown.len() >= 2, "{entries:?}");
    assert_eq!((&shown[0]["data"]["path"], &shown[0]["actor"]["name"]), (&json!("opt.pkl"), &json!("admin")));
}

/// Where a release takes two, the first is an approval that releases nothing, the same person's second is refused, another's
/// releases; and what was approved of another state is void.
#[test]
fn approvals() {
    let mut daemon = Daemon::with(&[("MREG_RELEASE_APPROVALS", "2")]);
    let admin = daemon.admin();
    let (bea, viewer) = (daemon.user("bea", Role::Admin), daemon.user("vera", Role::Viewer));
    let una = daemon.user("una", Role::Admin);
    hold(&una, "m");
    let release = "/models/m/versions/1/release";
    let answer = admin.post(release, &json!({"reason": "looks fine"})).expect(200).json();
    assert_eq!(answer["state"], "quarantined");
    viewer.get("/models/m/versions/1/download").problem("model-quarantined");
    let own = una.post(release, &json!({"reason": "it is mine"})).problem("conflict");
    assert!(own.detail.contains("must be others"), "{own:?}");
    let review = admin.value("/models/m/versions/1/review");
    assert_eq!((&review["approvals"][0]["by"], &review["approvals_needed"]), (&json!("admin"), &json!(2)));
    let item = &admin.value("/quarantine")["items"][0];
    assert_eq!((&item["approvals"], &item["approvals_needed"]), (&json!(1), &json!(2)));
    admin.post(release, &json!({"reason": "again"})).problem("conflict");
    assert_eq!(bea.post(release, &json!({"reason": "I too"})).expect(200).json()["state"], "available");
    viewer.get("/models/m/versions/1/download").expect(200);
    assert_eq!(admin.value("/models/m/versions/1/review")["approvals"], json!([]));
    // Held again: what was approved before counts no more.
    admin.post("/models/m/versions/1/quarantine", &json!({"reason": "no"})).expect(200);
    assert_eq!(bea.post(release, &json!({"reason": "x"})).expect(200).json()["state"], "quarantined");
    bea.post("/models/m/versions/1/block", &json!({"reason": "never"})).expect(200);
    assert_eq!(admin.value("/models/m/versions/1/review")["approvals"], json!([]), "decided is decided");
    // Nor does what somebody approved who may not decide any more.
    let dora = daemon.user("dora", Role::Admin);
    hold(&una, "n");
    let release = "/models/n/versions/1/release";
    dora.post(release, &json!({"reason": "trust me"})).expect(200);
    admin.patch("/users/dora", &json!({"role": "contributor"})).expect(200);
    assert_eq!(admin.value("/models/n/versions/1/review")["approvals"], json!([]));
    assert_eq!(admin.post(release, &json!({"reason": "fine"})).expect(200).json()["state"], "quarantined");
    assert_eq!(bea.post(release, &json!({"reason": "fine"})).expect(200).json()["state"], "available");
    let log = daemon.log();
    let entry = log.of("model.approve").remove(0);
    assert_eq!((&entry["data"]["approvals"], &entry["data"]["approvals_needed"]), (&json!(1), &json!(2)));
    let entry = log.of("model.override").remove(0);
    assert_eq!(entry["data"]["approved_by"], json!(["admin"]));
}

/// Where a release takes two people, a service account is none of them: one person with its token would be both.
#[test]
fn programs_are_no_people() {
    let daemon = Daemon::with(&[("MREG_RELEASE_APPROVALS", "2")]);
    let (admin, una) = (daemon.admin(), daemon.user("una", Role::Admin));
    admin.post("/register", &json!({"username": "bot", "kind": "service", "role": "admin"})).expect(201);
    let token = admin.post("/tokens", &json!({"label": "ci", "user": "bot"})).expect(201).json()["token"].clone();
    let token = token.as_str().unwrap();
    daemon.ledger().add_secret(token);
    let bot = admin.with_token(token);
    hold(&una, "m");
    let release = "/models/m/versions/1/release";
    let first = bot.post(release, &json!({"reason": "fine"})).problem("conflict");
    assert!(first.detail.contains("service account"), "{first:?}");
    assert_eq!(admin.post(release, &json!({"reason": "fine"})).expect(200).json()["state"], "quarantined");
    bot.post(release, &json!({"reason": "fine, too"})).problem("conflict");
    assert_eq!(admin.value("/models/m/versions/1/review")["approvals"].as_array().unwrap().len(), 1);
    let bea = daemon.user("bea", Role::Admin);
    assert_eq!(bea.post(release, &json!({"reason": "fine"})).expect(200).json()["state"], "available");
}

/// What is held is found by rule, family of rules, verdict, sender and name.
#[test]
fn found() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let carl = daemon.user("carl", Role::Contributor);
    let rule = hold(&admin, "asr/large")["findings"][0]["rule"].as_str().unwrap().to_owned();
    let form = Form::new().text("name", "asr/script").file("model.py", b"print(1)\n");
    carl.publish(form).expect(201);
    let listed = |query: &str| names(&admin.value(&format!("/quarantine?{query}")));
    assert_eq!(listed(""), ["asr/large", "asr/script"]);
    assert_eq!(listed(&format!("rule={rule}")), ["asr/large"]);
    assert_eq!(listed("rule=pickle.*"), ["asr/large"]);
    assert_eq!(listed("rule=pick.*"), [""; 0]);
    assert_eq!(listed("sender=carl"), ["asr/script"]);
    assert_eq!(listed("verdict=malicious"), ["asr/large"]);
    assert_eq!(listed("q=SCRIPT"), ["asr/script"]);
    assert_eq!(listed("q=script%20asr"), ["asr/script"], "words, in any order");
    assert_eq!(listed("q=%22r/s%22%20sc"), ["asr/script"]);
    assert_eq!(listed("q=%22asr%20script%22"), [""; 0], "a phrase as it stands");
    assert_eq!(listed("not=sender:carl"), ["asr/large"]);
    assert_eq!(listed("not=verdict:malicious"), ["asr/script"]);
    assert_eq!(listed("not=rule:pickle.*&q=asr"), ["asr/script"]);
    assert_eq!(listed("not=sender:carl&not=verdict:malicious"), [""; 0]);
    for bad in ["not=sender:", "not=verdict:bad", "not=rule:*", "not=colour:red", "not=x"] {
        admin.get(&format!("/quarantine?{bad}")).invalid("query.not");
    }
    assert_eq!(listed("q=asr&verdict=malicious&sender=carl"), [""; 0]);
    for (bad, loc) in [("rule=%20", "query.rule"), ("verdict=bad", "query.verdict"), ("colour=red", "query.colour")] {
        admin.get(&format!("/quarantine?{bad}")).invalid(loc);
    }
    assert_eq!(admin.value("/quarantine?q=asr")["total"], 2);
}

/// Lists that can be read from their end say the same from either: models in every order, versions, users, what is held.
#[test]
fn from_either_end() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    for number in 0..5 {
        hold(&admin, &format!("h{number}"));
        admin.upload("many", "m.safetensors", &samples::safetensors(number));
        daemon.user(&format!("user{number}"), Role::Viewer);
    }
    let walk = |list: &str, from: &str, on: &str, with: &str| -> Vec<Value> {
        let (mut all, mut query) = (Vec::new(), from.to_owned());
        for _page in 0..20 {
            let page = admin.value(&format!("{list}limit=2{query}"));
            let items = page["items"].as_array().unwrap().clone();
            if with == "before" {
                all.splice(0..0, items)
            } else {
                all.splice(all.len().., items)
            };
            match page[on].as_str() {
                Some(cursor) => query = format!("&{with}={cursor}"),
                None => return all,
            }
        }
        panic!("{list} never ends");
    };
    let key = |row: &Value| format!("{}{}{}{}", row["id"], row["name"], row["version"], row["username"]);
    let keys = |rows: Vec<Value>| rows.iter().map(key).collect::<Vec<_>>();
    let mut lists: Vec<String> = ["name", "-name", "updated_at", "-updated_at", "created_at", "-created_at"]
        .map(|sort| format!("/models?sort={sort}&"))
        .into();
    lists.extend(["/models?q=h&", "/models/many/versions?", "/quarantine?", "/quarantine?q=h&"].map(String::from));
    lists.extend(
        ["name", "-name", "role", "-role", "last_login_at", "-last_login_at", "created_at", "-created_at"]
            .map(|sort| format!("/users?sort={sort}&")),
    );
    lists.extend(["/users?q=user&", "/users?role=viewer&sort=-name&", "/users?state=active&"].map(str::to_owned));
    for list in lists {
        let onward = keys(walk(&list, "", "next_cursor", "cursor"));
        assert!(onward.len() >= 5, "{list}: {onward:?}");
        assert_eq!(keys(walk(&list, "&before=end", "prev_cursor", "before")), onward, "{list}");
        // From the middle back and on again.
        let first = admin.value(&format!("{list}limit=2"));
        let next = first["next_cursor"].as_str().unwrap();
        let second = admin.value(&format!("{list}limit=2&cursor={next}"));
        let before = second["prev_cursor"].as_str().unwrap_or_else(|| panic!("{list}: {second}"));
        let back = admin.value(&format!("{list}limit=2&before={before}"));
        assert_eq!(keys(back["items"].as_array().unwrap().clone()), onward[..2], "{list}");
        assert_eq!(back["prev_cursor"], Value::Null, "{list}");
        assert_eq!(first["prev_cursor"], Value::Null, "{list}");
        admin.get(&format!("{list}limit=2&cursor={next}&before={before}")).invalid("query.before");
    }
}

/// Users by role, state and name; failed sign-ins are told with them; one of them with sessions and who gave the role.
#[test]
fn users() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    daemon.user("carl", Role::Contributor);
    daemon.user("vera", Role::Viewer);
    let listed = |query: &str| -> Vec<String> {
        let page = admin.value(&format!("/users?{query}"));
        page["items"].as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed("role=viewer"), ["vera"]);
    assert_eq!(listed("q=AR"), ["carl"]);
    assert_eq!(listed("q=rl%20ca"), ["carl"], "words, in any order");
    assert_eq!(listed("q=%22rl%20ca%22"), [""; 0]);
    assert_eq!(listed("not=role:viewer"), ["admin", "carl"]);
    assert_eq!(listed("not=role:viewer&not=role:admin"), ["carl"]);
    for bad in ["not=role:king", "not=state:active", "not=viewer"] {
        admin.get(&format!("/users?{bad}")).invalid("query.not");
    }
    assert_eq!(listed("sort=-role"), ["admin", "carl", "vera"]);
    admin.patch("/users/vera", &json!({"disabled": true})).expect(200);
    assert_eq!(
        (listed("state=disabled"), listed("state=active")),
        (vec!["vera".into()], vec!["admin".into(), "carl".into()])
    );
    for _try in 0..3 {
        daemon.client().post("/login", &json!({"username": "carl", "password": "not-the-password-1"})).expect(401);
    }
    let carl = admin.value("/users/carl");
    assert_eq!((&carl["failed_logins"], &carl["locked_until"]), (&json!(3), &Value::Null));
    assert_eq!(carl["live_sessions"].as_array().unwrap().len(), 1);
    let given = &carl["role_given"];
    assert_eq!(given["by"], "admin", "{carl}");
    let changed = admin.patch("/users/carl", &json!({"role": "auditor"})).expect(200);
    let given = admin.value("/users/carl")["role_given"].clone();
    assert_eq!(given["log_index"], changed.log_index());
    for bad in ["role=king", "state=x", "sort=size", "colour=red", "q="] {
        assert_eq!(admin.get(&format!("/users?{bad}")).status, 422, "{bad}");
    }
}

/// What the daemon told of itself is told to those who may read the log, and to nobody else.
#[test]
fn diagnostics() {
    let daemon = Daemon::start();
    let (viewer, auditor) = (daemon.user("vera", Role::Viewer), daemon.user("otto", Role::Auditor));
    let lines = auditor.value("/status")["diagnostics"].clone();
    assert!(lines.as_array().unwrap().iter().any(|line| line["level"] == "info" && line["at"].is_string()), "{lines}");
    assert_eq!(viewer.value("/status")["diagnostics"], json!([]));
    let kinds = viewer.value("/status")["requests"]["kinds"].clone();
    assert!(kinds[0]["now_per_1000_seconds"].is_u64() && kinds[0]["minute_per_1000_seconds"].is_u64(), "{kinds}");
}
