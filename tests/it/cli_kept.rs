//! Webhooks, quotas and rules without a screen: what `mreg get` tells of them, to whom, and what `mregd` does with quotas and
//! rules at the control socket.

use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::hooks::Receiver;
use tests::{samples, wait};

use crate::cli::{Shell, documents};

/// Webhooks and what was tried, as lines and as documents; no secret is among it, and half a question is refused before
/// anybody is asked.
#[test]
fn webhooks() {
    let daemon = Daemon::with(&[("MREG_WEBHOOK_ALLOW", "127.0.0.0/8")]);
    let (admin, receiver) = (daemon.admin(), Receiver::start());
    let shell = Shell::new(&daemon, &admin);
    assert_eq!(shell.out("get webhooks").lines().count(), 1);
    let body = json!({"url": receiver.url(), "actions": ["model.upload"], "description": "for the\nboard"});
    let made = admin.post("/webhooks", &body).expect(201).json();
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    daemon.ledger().add_secret(secret);
    admin.upload("m", "m.safetensors", &samples::safetensors(1));
    let message = receiver.wait_for(1)[0].clone();
    wait::until_true("all is told", || admin.value(&format!("/webhooks/{id}"))["behind"] == 0);

    let list = shell.out("get webhooks");
    let row = list.lines().nth(1).unwrap();
    assert!(list.starts_with("WEBHOOK ") && row.starts_with(id) && row.contains("working"), "{list}");
    assert_eq!(documents(&shell.out("get webhooks --json"))[0]["id"], made["id"]);
    let text = shell.out(&format!("get webhook {id}"));
    for part in ["working", "model.upload", "by admin", &receiver.url()] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("whsec_"), "{text}");
    assert_eq!(documents(&shell.out(&format!("get webhook {id} --json")))[0]["url"], receiver.url());
    let tried = shell.out(&format!("get deliveries {id}"));
    let row = tried.lines().nth(1).unwrap();
    assert!(row.contains("event") && row.contains("204") && row.ends_with(message.id()), "{tried}");
    let tried = documents(&shell.out(&format!("get deliveries {id} --json")));
    assert_eq!((tried.len(), &tried[0]["id"], &tried[0]["delivered"]), (1, &json!(message.id()), &json!(true)));

    assert!(shell.fails("get webhook nonsense", 2).contains("no id of a webhook"));
    assert!(shell.fails("get webhook", 2).contains("which"));
    shell.fails("get deliveries 01ARZ3NDEKTSV4RRFFQ69G5FAV", 1);
    let carl = daemon.user("carl", Role::Contributor);
    shell.out("get webhooks --json");
    let told = Shell::new(&daemon, &carl).fails("get webhooks", 4);
    assert!(told.contains("user.manage"), "{told}");
}

/// Quotas of oneself, of others and of all; rules and what they would take. Somebody else's quota is for those who may see it.
#[test]
fn quotas_and_rules() {
    let daemon = Daemon::start();
    let (admin, carl) = (daemon.admin(), daemon.user("carl", Role::Contributor));
    for seed in 1..=3_u32 {
        carl.upload("team/m", "m.safetensors", &samples::safetensors(seed));
    }
    let size = samples::safetensors(1).len();
    admin.put("/quotas/users/carl", &json!({"bytes": 1 << 20, "versions": 9})).expect(200);
    let (of_admin, of_carl) = (Shell::new(&daemon, &admin), Shell::new(&daemon, &carl));
    let own = of_carl.out("get quota");
    for part in ["user:carl", &format!("{} of {}", 3 * size, 1 << 20), "3 of 9", "by admin"] {
        assert!(own.contains(part), "{part}: {own}");
    }
    let found = documents(&of_admin.out("get quota user:carl --json"));
    assert_eq!((&found[0]["name"], &found[0]["used"]["versions"]), (&json!("carl"), &json!(3)));
    let space = of_admin.out("get quota namespace:team");
    assert!(space.contains("namespace:team") && space.contains("nobody: it is the default"), "{space}");
    let all = of_admin.out("get quotas");
    assert!(all.contains("namespace:team ") && all.contains("user:carl "), "{all}");
    let (head, rows) = all.split_once('\n').unwrap();
    assert!(head.starts_with("QUOTA ") && head.ends_with(" MODELS"), "{head}");
    assert_eq!(documents(&of_admin.out("get quotas --json")).len(), rows.lines().count());
    assert_eq!(of_admin.out("get quotas --limit 1").lines().count(), 2);

    assert_eq!(of_admin.out("get rules").lines().count(), 1, "their heads");
    let rule = json!({"pattern": "team/*", "action": "delete", "keep_newest": 1, "enabled": false});
    admin.put("/retention/newest", &rule).expect(200);
    let rules = of_admin.out("get rules");
    assert!(
        rules.starts_with("RULE ") && rules.lines().nth(1).is_some_and(|rule| rule.starts_with("newest ")),
        "{rules}"
    );
    assert!(rules.contains("team/*") && rules.contains("not enabled"), "{rules}");
    assert_eq!(documents(&of_admin.out("get rules --json"))[0]["name"], "newest");
    let shown = of_admin.out("get rule newest");
    assert!(shown.contains("the newest 1") && shown.contains("by admin"), "{shown}");
    assert_eq!(documents(&of_admin.out("get rule newest --json"))[0]["name"], "newest");
    let preview = of_admin.out("get preview newest");
    let lines: Vec<&str> = preview.lines().collect();
    assert!(lines[0].starts_with("team/m:2 ") && lines[1].starts_with("team/m:1 "), "{preview}");
    assert_eq!(lines[2..], [format!("2 versions, {} octets", 2 * size)]);
    assert_eq!(documents(&of_admin.out("get preview newest --json")).len(), 2);
    let bounded = of_admin.out("get preview newest --limit 1");
    assert!(bounded.lines().count() == 2 && bounded.contains("2 versions, "), "all is counted: {bounded}");

    for (line, why) in [
        ("get quota carl", "user:NAME"),
        ("get quotas user:carl", "all of them"),
        ("get rule", "which rule?"),
        ("get preview", "which rule?"),
        ("get quotas --csv", "no --filter"),
    ] {
        assert!(of_admin.fails(line, 2).contains(why), "{line}");
    }
    of_admin.fails("get rule nothing", 1);
    of_admin.fails("get quota user:nobody", 1);
    of_carl.fails("get quotas", 4);
}

/// The operator sets, shows and clears quotas, and sets, tries, runs and removes rules.
#[test]
fn by_the_operator() {
    let daemon = Daemon::start();
    let (admin, carl) = (daemon.admin(), daemon.user("carl", Role::Contributor));
    for seed in 1..=3_u32 {
        carl.upload("team/m", "m.safetensors", &samples::safetensors(seed));
    }
    let run = |line: &str, input: &str| daemon.run(&line.split(' ').collect::<Vec<_>>(), input);
    let done = |line: &str, input: &str| -> String {
        let output = run(line, input);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let fails = |line: &str, input: &str, status: i32, part: &str| {
        let output = run(line, input);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{line}: {told}");
        assert!(told.contains(part), "{line}: {told}");
    };
    let set = done("quota set user carl --bytes 1MiB --versions 3", "");
    assert!(set.starts_with("user carl: ") && set.contains(" of 1048576 octets, 3 of 3 versions"), "{set}");
    carl.publish(tests::multipart::Form::new().file("m.safetensors", &samples::safetensors(9)).text("name", "team/m"))
        .problem("quota-exceeded");
    assert_eq!(done("quota show user carl", ""), set);
    let one: Value = serde_json::from_str(&done("quota show namespace team --json", "")).unwrap();
    assert_eq!((&one["used"]["versions"], &one["is_own"]), (&json!(3), &json!(false)));
    done("quota set namespace - --models 7", "");
    assert_eq!(admin.value("/quotas/namespaces/-")["limits"]["models"], 7);
    let all = done("quota list", "");
    assert!(all.contains("namespace -: ") && all.contains("user carl: "), "{all}");
    assert!(done("quota clear user carl", "").contains("(default)"));
    fails("quota set user carl --models 1", "", 64, "models");
    fails("quota show user nobody", "", 64, "no such user");

    let rule = r#"{"pattern": "team/*", "action": "delete", "keep_newest": 1}"#;
    let preview = done("retention preview --file -", rule);
    assert!(preview.starts_with("team/m:2 ") && preview.lines().count() == 3, "{preview}");
    let set = done("retention set newest --file -", rule);
    assert!(set.starts_with("newest: delete team/*, next at "), "{set}");
    assert_eq!(done("retention preview newest", ""), preview);
    assert_eq!(done("retention list", ""), set);
    let shown: Value = serde_json::from_str(&done("retention show newest", "")).unwrap();
    assert_eq!(shown["rule"]["keep_newest"], 1, "{shown}");
    done("retention run newest", "");
    wait::until_true("the run to end", || admin.value("/retention/newest")["last_run"]["versions"] == 2);
    assert!(done("retention list", "").contains("2 versions, "));
    assert_eq!(done("retention delete newest", ""), "removed the rule newest\n");
    fails("retention run newest", "", 64, "no such retention rule");
    fails("retention set odd --file -", "{", 64, "is no rule");
    fails("retention set odd --file /nothing/here", "", 66, "/nothing/here");
}
