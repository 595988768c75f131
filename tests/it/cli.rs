//! The console without a screen, against the real daemon: what is got, what is done and under which rules, and how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::sync::Arc;

use common::role::Role;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::daemon::{ADMIN, Daemon};
use tests::http::Client;
use tests::pty::Setup;
use tests::samples;
use tests::tamper::{Proxy, Tamper};
use tests::wait::until;
use tests::witness::Witness;

/// A home with the token of somebody, and the address of a daemon.
pub(super) struct Shell {
    home: Arc<TempDir>,
    url: String,
}

impl Shell {
    pub(super) fn new(daemon: &Daemon, client: &Client) -> Self {
        Self::at(&format!("http://{}", daemon.address()), client)
    }

    fn at(url: &str, client: &Client) -> Self {
        let home = Setup::new().home();
        let token = home.path().join("token");
        fs::write(&token, client.token()).unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
        Self { home, url: url.to_owned() }
    }

    fn setup(&self) -> Setup {
        let token = self.home.path().join("token").display().to_string();
        Setup::at(Arc::clone(&self.home)).env("MREG_URL", &self.url).env("MREG_TOKEN_FILE", &token)
    }

    pub(super) fn run(&self, line: &str) -> Output {
        self.setup().output(&line.split(' ').collect::<Vec<_>>(), "")
    }

    /// Runs it to a success; what it wrote.
    pub(super) fn out(&self, line: &str) -> String {
        let output = self.run(line);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{line}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it to a failure with this status; what it said on stderr.
    pub(super) fn fails(&self, line: &str, status: i32) -> String {
        let output = self.run(line);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{line}: {told}");
        assert!(!told.contains('\u{1b}'), "{told:?}");
        told
    }
}

pub(super) fn documents(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Lists come whole, by pages, filtered and ordered, as text, JSON and CSV; cells that a spreadsheet would run are guarded.
#[test]
fn lists() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    for name in ["team/a", "team/b", "other/c"] {
        admin.upload(name, "config.json", format!("{{\"name\": \"{name}\"}}").as_bytes());
    }
    admin.patch("/models/team%2Fa", &json!({"description": "=1+2,\"x\""})).expect(200);
    daemon.user("eve", Role::Viewer);
    let shell = Shell::new(&daemon, &admin);
    let names = |line: &str| -> Vec<String> {
        documents(&shell.out(line)).iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("get models --json"), ["other/c", "team/a", "team/b"]);
    assert_eq!(names("get models --json --sort -name --limit 2"), ["team/b", "team/a"]);
    assert_eq!(names("get models --json --filter team"), ["team/a", "team/b"]);
    let text = shell.out("get models");
    assert!(text.starts_with("NAME ") && text.lines().count() == 4, "{text}");
    let csv = shell.out("get models --csv --filter team/a");
    assert!(csv.starts_with("name,id,state,") && csv.contains("\"'=1+2,\"\"x\"\"\""), "{csv}");
    assert!(shell.out("get models --csv --raw --filter team/a").contains("\"=1+2,\"\"x\"\"\""));
    let versions = documents(&shell.out("get versions team/a --json"));
    assert_eq!((versions.len(), &versions[0]["version"]), (1, &json!(1)));
    assert_eq!(documents(&shell.out("get version team/a:1 --json"))[0]["name"], "team/a");
    assert!(shell.out("get model team/a").contains("=1+2"));
    let users = shell.out("get users --csv");
    assert!(users.contains("\r\neve,") && users.starts_with("username,id,role,"), "{users}");
    assert_eq!(documents(&shell.out("get user eve --json"))[0]["role"], "viewer");
    assert!(shell.out("get health").contains("audit log"));
    let health = documents(&shell.out("get health --json"));
    assert_eq!(
        (&health[0]["ready"]["ready"], health[0]["status"]["store"]["models"].as_u64()),
        (&json!(true), Some(3))
    );
    assert_eq!(shell.out("get quarantine --json"), "");
    assert_eq!(shell.out("get queue --csv").lines().count(), 1);

    // More than a page, each once and newest first.
    for _ in 0..230 {
        admin.patch("/models/nothing", &json!({"description": "x"})).problem("not-found");
    }
    let entries = documents(&shell.out("get entries --all --json"));
    let indices: Vec<u64> = entries.iter().map(|row| row["index"].as_u64().unwrap()).collect();
    assert!(indices.len() > 230 && indices.windows(2).all(|pair| pair[0] == pair[1] + 1), "{indices:?}");
    assert_eq!(indices.last(), Some(&0));
    let denied = shell.out("get entries --csv --filter action:model.upload --limit 2");
    assert_eq!(denied.lines().count(), 3, "{denied}");
    let entry = documents(&shell.out("get entry 0 --json"));
    assert_eq!(entry[0]["index"], 0);

    for (line, status, why) in [
        ("get models --filter alais:x", 2, "did you mean alias?"),
        ("get users --filter rloe:viewer", 2, "did you mean role?"),
        ("get quarantine --sort name", 2, "one order only"),
        ("get queue --sort name", 2, "is one of work"),
        ("get versions", 2, "which model?"),
        ("get model nothing/here", 1, "Nothing here"),
        ("get entry 99999999", 1, "there is no entry"),
        ("get version team/a:9", 1, ""),
    ] {
        let told = shell.fails(line, status);
        assert!(told.contains(why) && told.lines().count() == 1, "{line}: {told}");
    }
    // Errors as one document, those of the command line too.
    for line in ["get model nothing/here --json", "get nonsense --json", "do nonsense --json"] {
        let output = shell.run(line);
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error["status"].as_i64(), output.status.code().map(i64::from), "{line}: {error}");
    }
}

/// A reader that has seen enough is no failure, and says nothing.
#[test]
fn a_pipe_that_closes() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    for _ in 0..450 {
        admin.patch("/models/nothing", &json!({"description": "x"})).problem("not-found");
    }
    let shell = Shell::new(&daemon, &admin);
    let script = "\"$MREG\" get entries --all --json 2> err | head -n 1 > one; echo \"${PIPESTATUS[0]}\" > status";
    let mut bash = shell.setup().program(&["bash", "-c", script]).start();
    assert_eq!(bash.wait_end().0, 0);
    let read = |name: &str| fs::read_to_string(shell.home.path().join(name)).unwrap();
    assert_eq!((read("status").trim(), read("err").as_str()), ("0", ""));
    assert!(serde_json::from_str::<Value>(read("one").trim()).is_ok());
}

/// What can be repaired and what can't is done with its exact name only, carries its reason, is logged, and says where;
/// what is so already or was somebody else's is a conflict.
#[test]
fn changes() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("team/router", "config.json", b"{\"labels\": 1}");
    admin.upload("team/router", "config.json", b"{\"labels\": 2}");
    admin.upload("team/other", "config.json", b"{}");
    daemon.user("eve", Role::Viewer);
    let shell = Shell::new(&daemon, &admin);
    let model = || admin.get("/models/team%2Frouter").expect(200).json();

    // Without yes nothing happens, and what would is said.
    let told = shell.fails("do delete team/router", 2);
    assert!(told.contains("2 versions are no longer") && told.contains("--yes team/router"), "{told}");
    assert!(shell.fails("do delete team/router --yes team/other", 2).contains("nothing was done"));
    assert_eq!(model()["state"], "available");
    let line = shell.out("do delete team/router --yes team/router");
    assert!(line.starts_with("deleted team/router, logged as ") && line.contains(", request "), "{line}");
    assert_eq!(model()["state"], "deleted");
    let index: u64 = line.split("logged as ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    let entry = documents(&shell.out(&format!("get entry {index} --json")));
    assert_eq!(entry[0]["entry"]["action"], "model.delete");
    let told = shell.fails("do delete team/router --yes team/router", 7);
    assert!(told.contains("deleted"), "{told}");
    shell.out("do restore team/router --yes team/router");
    assert_eq!(model()["state"], "available");

    // An alias, to a version, elsewhere, and to none; a description with tags; both at once by number.
    shell.out("do alias team/router v1 prod --yes team/router");
    shell.out("do alias team/router 2 prod --yes team/router");
    assert_eq!(model()["aliases"][0]["version"], 2);
    assert!(shell.fails("do alias team/router v2 prod --yes team/router", 7).contains("already prod = v2"));
    let by_alias = documents(&shell.out("do deprecate team/router@prod --reason old --yes team/router:2 --json"));
    assert_eq!((&by_alias[0]["outcome"], &by_alias[0]["kind"]), (&json!("done"), &json!("version")));
    assert!(by_alias[0]["receipt"]["index"].is_u64() && by_alias[0]["request_id"].is_string(), "{by_alias:?}");
    shell.out("do alias team/router none prod --yes team/router");
    assert_eq!(model()["aliases"], json!([]));
    shell.out("do edit team/router --description routes --tags lang=de,a=b");
    assert_eq!((&model()["description"], &model()["tags"]), (&json!("routes"), &json!({"lang": "de", "a": "b"})));
    let both = shell.out("do delete team/router team/other --yes 2");
    assert_eq!(both.lines().count(), 2, "{both}");
    // One of two is done; the other says why not, and the whole did not succeed.
    admin.post_empty("/models/team%2Fother/restore").expect(200);
    let some = shell.run("do delete team/router team/other --yes 1 --json");
    let rows = documents(std::str::from_utf8(&some.stdout).unwrap());
    assert_eq!((&rows[0]["outcome"], &rows[1]["outcome"]), (&json!("failed"), &json!("done")), "{rows:?}");
    assert_eq!(some.status.code(), Some(7));

    // Users.
    shell.out("do role eve auditor --yes eve");
    shell.out("do lock eve --yes eve");
    let eve = || admin.get("/users/eve").expect(200).json();
    assert_eq!((&eve()["role"], &eve()["disabled"]), (&json!("auditor"), &json!(true)));
    assert!(shell.fails("do lock eve --yes eve", 7).contains("locked"));
    shell.out("do unlock eve --yes eve");
    let told = shell.out("do grants eve team/*:contributor *:none --yes eve");
    assert!(told.contains("eve has team/*:contributor, *:none, logged as"), "{told}");
    let granted = json!([{"pattern": "team/*", "role": "contributor"}, {"pattern": "*", "role": "none"}]);
    assert_eq!(eve()["grants"], granted);
    assert!(shell.out("get user eve").contains("team/*:contributor, *:none"));
    assert!(shell.fails("do grants eve team/*:contributor *:none --yes eve", 7).contains("already"));
    assert!(shell.fails("do grants eve team/*:king --yes eve", 2).contains("king"));
    // What a grant gives is offered where it holds, and refused elsewhere before anything is sent.
    let vic = daemon.user("vic", common::role::Role::Viewer);
    shell.out("do grants vic team/o*:admin --yes vic");
    let of_vic = Shell::new(&daemon, &vic);
    assert!(of_vic.fails("do delete team/router --yes team/router", 4).contains("model.delete for team/router"));
    of_vic.out("do restore team/other --yes team/other");
    of_vic.out("do delete team/other --yes team/other");
    assert!(of_vic.out("whoami").contains("team/o*:admin"));
    shell.out("do grants eve none --yes eve");
    let added = documents(&shell.out("do add-user carol viewer --json"));
    let password = added[0]["password"].as_str().unwrap();
    daemon.ledger().add_secret(password);
    daemon.client().post("/login", &json!({"username": "carol", "password": password})).expect(200);
    shell.out("do revoke carol --yes carol");
    shell.out("do delete-user carol --yes carol");
    admin.get("/users/carol").expect(404);

    for (line, status, why) in [
        ("do delte team/x", 2, "did you mean delete?"),
        ("do delete", 2, "it is written: delete MODEL"),
        ("do deprecate team/other:1 --yes team/other:1", 2, "a reason is needed"),
        ("do delete nothing/here --yes nothing/here", 1, "Nothing here"),
        ("do lock nobody --yes nobody", 1, ""),
        ("do pause --reason x --yes intake", 2, "no drop folder"),
        ("--readonly do delete team/other --yes team/other", 1, "read-only"),
    ] {
        let told = shell.fails(line, status);
        assert!(told.contains(why), "{line}: {told}");
    }
}

/// A file goes up; what inspection holds back is rescanned, released and rejected with a reason that the log keeps.
#[test]
fn files_and_reviews() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let shell = Shell::new(&daemon, &admin);
    fs::write(shell.home.path().join("m.safetensors"), samples::safetensors(1)).unwrap();
    let line = shell.out("do upload m.safetensors team/up");
    assert!(line.starts_with("team/up v1: available"), "{line}");
    admin.upload("team/bad", "model.pkl", &samples::hostile_pickle());
    let held = documents(&shell.out("get quarantine --json"));
    assert_eq!((held.len(), &held[0]["name"]), (1, &json!("team/bad")));
    let noted = shell.out("do note team/bad:1 asked dave, he waits");
    assert!(noted.starts_with("noted of team/bad:1, logged as "), "{noted}");
    assert!(shell.fails("do note team/bad:1", 2).contains("MODEL:VERSION TEXT"));
    shell.out("do rescan team/bad:1 --yes team/bad:1");
    assert!(
        shell
            .setup()
            .output(&["do", "reject", "team/bad:1", "--reason", "no way", "--yes", "team/bad:1"], "")
            .status
            .success()
    );
    assert_eq!(documents(&shell.out("get quarantine --filter state:blocked --json")).len(), 1);
    let refused = shell.run("do release team/bad:1 --reason x --yes team/bad:1");
    assert_ne!(refused.status.code(), Some(0), "a block is not gone over by accident");
    shell.out("do release team/bad:1 --override --reason x --yes team/bad:1");
    assert_eq!(admin.get("/models/team%2Fbad/versions/1").expect(200).json()["state"], "available");
    let entries = documents(&shell.out("get entries --filter action:model.* --limit 9 --json"));
    for said in ["no way", "asked dave, he waits"] {
        assert!(entries.iter().any(|row| row["entry"].to_string().contains(said)), "{said}: {entries:?}");
    }
}

/// Items of the drop folder, by path and by id; the intake as a whole.
#[test]
fn drop_folder() {
    let folder = tests::drop::DropFolder::start();
    folder.copy("notes.safetensors", b"");
    let refused = folder.reaches("notes.safetensors", common::api::IngestState::Rejected);
    let admin = folder.admin();
    let shell = Shell::at(&format!("http://{}", admin.address()), &admin);
    let rows = documents(&shell.out("get queue --filter state:rejected --json"));
    assert_eq!(rows[0]["path"], "notes.safetensors");
    folder.copy("a.safetensors", b"");
    folder.reaches("a.safetensors", common::api::IngestState::Rejected);
    for (sort, first) in [("path", "a.safetensors"), ("-path", "notes.safetensors"), ("-state_since", "a.safetensors")]
    {
        assert_eq!(documents(&shell.out(&format!("get queue --sort {sort} --json")))[0]["path"], first, "{sort}");
    }
    assert!(shell.out(&format!("get item {}", refused.id)).contains("notes.safetensors"));
    let line = shell.out("do discard notes.safetensors --reason gone --yes notes.safetensors");
    assert!(line.starts_with("discarded notes.safetensors, logged as "), "{line}");
    shell.out("do pause --reason work --yes intake");
    assert!(shell.out("get health").contains("PAUSED by admin"));
    assert!(shell.fails("do pause --reason work --yes intake", 7).contains("paused"));
    shell.out("do resume --reason done --yes intake");
    assert!(shell.fails("do retry nothing.bin --yes nothing.bin", 1).contains("no item"));
}

/// Webhooks, quotas and rules by which versions go, of which there is no screen: the same rules, names and statuses.
#[test]
fn what_has_no_screen() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    daemon.user("eve", Role::Viewer);
    let shell = Shell::new(&daemon, &admin);
    let told = shell.fails("do set-quota user:eve bytes=1GiB versions=9", 2);
    assert!(told.contains("octets: no limit -> 1.0 GiB") && told.contains("--yes user:eve does it"), "{told}");
    assert!(shell.fails("do set-quota user:eve bytes=1GiB --yes eve", 2).contains("nothing was done"));
    let line = shell.out("do set-quota user:eve bytes=1GiB versions=9 --yes user:eve");
    assert!(line.starts_with("set the quota of user:eve, logged as "), "{line}");
    assert_eq!(admin.get("/quotas/users/eve").expect(200).json()["limits"]["versions"], 9);
    assert!(shell.fails("do set-quota user:eve bytes=1GiB versions=9 --yes user:eve", 7).contains("already so"));
    let quotas = shell.out("get quotas");
    assert!(quotas.starts_with("QUOTA ") && quotas.contains("user:eve"), "{quotas}");
    shell.out("do clear-quota user:eve --yes user:eve");
    assert!(shell.fails("do clear-quota user:eve --yes user:eve", 7).contains("it is the default"));

    let line = shell.out("do set-rule old team/* delete keep=2 days=30 --yes old");
    assert!(line.contains("set the rule old") && line.contains("it does nothing before"), "{line}");
    assert_eq!(admin.get("/retention/old").expect(200).json()["rule"]["keep_newest"], 2);
    assert!(shell.out("get rules").starts_with("RULE "));
    assert!(shell.out("get rule old").lines().any(|line| line.starts_with("enabled") && line.ends_with("yes")));
    let line = shell.out("do set-rule old team/* delete keep=2 days=30 off --yes old");
    assert!(line.contains("it is not enabled") && !line.contains("before"), "{line}");
    assert!(shell.out("get rule old").lines().any(|line| line.starts_with("enabled") && line.ends_with("no")));
    assert!(shell.fails("do run-rule old", 2).contains("Versions in team/* are deleted"));
    assert!(shell.out("do run-rule old --yes old").contains("carried out soon"));
    shell.out("do delete-rule old --yes old");
    shell.fails("do delete-rule old --yes old", 1);

    let address = "https://hooks.example/x";
    let output = shell.run(&format!("do add-webhook {address} model.* --names team/* --yes {address}"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("whsec_"), "the secret is all of standard output");
    let hook = told.split("its id is ").nth(1).unwrap().split(',').next().unwrap().trim().to_owned();
    shell.out(&format!("do pause-webhook {hook} --yes {hook}"));
    let state = || admin.get(&format!("/webhooks/{hook}")).expect(200).json();
    assert_eq!(state()["enabled"], false);
    assert!(shell.fails(&format!("do pause-webhook {hook} --yes {hook}"), 7).contains("already paused"));
    let next = state()["next_index"].as_u64().unwrap() + 1;
    let told = shell.fails(&format!("do pass-over {hook} {next}"), 2);
    assert!(told.contains("are not delivered any more"), "{told}");
    shell.out(&format!("do pass-over {hook} {next} --yes {hook}"));
    shell.out(&format!("do resume-webhook {hook} --yes {hook}"));
    // Nobody is there: the test was made, and it says so.
    let told = shell.fails(&format!("do test-webhook {hook} --yes {hook}"), 1);
    assert!(told.contains("it was not delivered"), "{told}");
    shell.out(&format!("do delete-webhook {hook} --yes {hook}"));
    admin.get(&format!("/webhooks/{hook}")).expect(404);
}

/// A version that was blocked is released over that only by the option that says so, which the refusal names; times are typed as
/// people say them.
#[test]
fn over_a_block_and_since() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("team/m", "m.pkl", &samples::hostile_pickle());
    let shell = Shell::new(&daemon, &admin);
    shell.out("do reject team/m:1 --reason bad --yes team/m:1");
    let told = shell.fails("do release team/m:1 --reason good --yes team/m:1", 7);
    assert!(told.contains("do release --override") && !told.contains("override_block"), "{told}");
    shell.out("do release team/m:1 --override --reason good --yes team/m:1");
    let entries = documents(&shell.out("get audit --since 2h --filter action:model.* --json"));
    assert!(entries.iter().any(|row| row["entry"]["action"] == "model.override"), "{entries:?}");
    assert!(documents(&shell.out("get entries --until 2h --json")).is_empty());
    let why = shell.fails("get entries --since lately", 2);
    assert_eq!(why.matches("a time is one of 90m, 12h, 7d").count(), 1, "{why}");
    assert_eq!(documents(&shell.out("get models --filter rule:pickle.* --json")).len(), 1);
}

/// Who may not is told so before anything is sent; the list says what there is, its tier, and why not.
#[test]
fn permissions() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("team/m", "config.json", b"{}");
    let eve = daemon.user("eve", Role::Viewer);
    let shell = Shell::new(&daemon, &eve);
    let size = || admin.get("/log/checkpoint").expect(200).text().lines().nth(1).unwrap().parse::<u64>().unwrap();
    let before = size();
    assert!(shell.fails("do delete team/m --yes team/m", 4).contains("needs model.delete (admin); you are viewer"));
    assert_eq!(size(), before, "nothing was asked of the log");
    shell.fails("get users", 4);
    let file = shell.home.path().join("model.json");
    fs::write(&file, "{}").unwrap();
    let file = file.display();
    assert!(shell.fails(&format!("do upload {file} team/n"), 4).contains("needs model.write"));
    shell.fails(&format!("export entries --format jsonl --out {file}.jsonl"), 4);
    shell.fails("tail --from 0", 4);
    assert!(Shell::new(&daemon, &admin).out(&format!("do upload {file} team/n")).starts_with("team/n v1: available, "));
    let rows = documents(&shell.out("do --list --json"));
    let row = |word: &str| rows.iter().find(|row| row["command"] == word).unwrap().clone();
    assert_eq!((&row("delete")["allowed"], &row("delete")["tier"]), (&json!(false), &json!(2)));
    assert_eq!((&row("alias")["tier"], &row("upload")["tier"]), (&json!(1), &json!(0)));
    let listed = Shell::new(&daemon, &admin).out("do");
    assert!(listed.lines().all(|line| !line.contains("needs")), "{listed}");
    assert!(
        listed.lines().last().is_some_and(|legend| legend.starts_with("0: done at once; 1: --yes NAME")),
        "{listed}"
    );
    assert!(listed.lines().any(|line| line.starts_with("reject MODEL:VERSION... --reason TEXT")), "{listed}");

    let url = format!("http://{}", daemon.address());
    Shell::new(&daemon, &admin.with_token("of.nobody.here")).fails("do delete team/m --yes team/m", 3);
    let wrong =
        Setup::new().args(&["--url", &url, "--user", ADMIN, "--password-stdin"]).output(&["do"], "wrong-password-7\n");
    assert_eq!(wrong.status.code(), Some(3));
    let gone = Shell::at("http://127.0.0.1:9", &admin);
    assert!(gone.fails("do delete team/m --yes team/m", 5).contains("can't reach"));
}

/// The answer is lost on the way: the same request is sent again with the same key, and it is known that it happened, once.
#[test]
fn a_lost_answer() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("team/m", "config.json", b"{}");
    let proxy = Proxy::start(daemon.address());
    let shell = Shell::at(&proxy.url(), &admin);
    proxy.set(Tamper::LostAnswer);
    let output = shell.run("do delete team/m --yes team/m");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("not known whether it happened"), "{told}");
    let entries = documents(&shell.out("get entries --filter action:model.delete --json"));
    assert_eq!(entries.len(), 1, "{entries:?}");
}

/// A check of the configuration names the profile and the line of a key that is none, wherever it stands.
#[test]
fn configuration() {
    let key = Daemon::start().ledger().vkey().to_string();
    let check = |text: &str| {
        let setup = Setup::new().config(text);
        let output = setup.output(&["config", "check"], "");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let profile = |line: &str| {
        format!(
            "[profiles.good]\nurl = \"http://127.0.0.1:1\"\n\n[profiles.bad]\nurl = \"http://127.0.0.1:1\"\n{line}\n"
        )
    };
    assert_eq!(check(&profile(&format!("log_key = \"{key}\""))).0, Some(0));
    assert_eq!(check(&profile(&format!("witnesses = [\"{key}\"]\nquorum = 1"))).0, Some(0));
    let broken = key.replace('+', "+0");
    for (line, number) in [
        (format!("log_key = \"{broken}\""), 6),
        ("log_key = \"/nowhere/log.vkey\"".to_owned(), 6),
        (format!("witnesses = [\n  \"{key}\",\n  \"w1+x\",\n]"), 8),
    ] {
        let (status, text) = check(&profile(&line));
        assert_eq!(status, Some(2), "{line}: {text}");
        assert!(text.contains(&format!("line {number}: ")) && text.contains("profile bad"), "{line}: {text}");
    }
}

/// A profile that can't be used keeps nobody signed in with the others.
#[test]
fn logged_out_everywhere() {
    let config = "[profiles.a]\nurl = \"nonsense://x\"\n\n[profiles.b]\nurl = \"http://127.0.0.1:1\"\n";
    let output = Setup::new().config(config).output(&["logout", "--all"], "");
    let (out, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{out}{told}");
    assert!(out.contains("b: no session was kept") && told.contains("a: "), "{out}{told}");
}

/// A tail that can't be had ends: nothing is asked for ever that is refused for good. Who can't reach the daemon is told so by
/// the status, whatever was to be done.
#[test]
fn what_cannot_be() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let proxy = Proxy::start(daemon.address());
    let shell = Shell::at(&proxy.url(), &admin);
    for line in ["tail --from 99999999", "tail --from 99999999 --verify", "tail --from 99999999 --json"] {
        assert!(shell.fails(line, 2).contains("99999999"), "{line}");
    }
    let size: u64 = admin.get("/log/checkpoint").expect(200).text().lines().nth(1).unwrap().parse().unwrap();
    for (status, code) in [(404, 1), (409, 7), (410, 1)] {
        proxy.set(Tamper::NoStream(status));
        let line = format!("tail --from 1 --until {}", size - 1);
        let output = shell.run(&line);
        let (out, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if status == 404 {
            assert_eq!((output.status.code(), out.lines().count()), (Some(code), 0), "{status}: {told}");
        } else {
            // Where the stream can't go on from there, pages bring what is missing.
            assert_eq!((output.status.code(), out.lines().count() as u64), (Some(0), size - 1), "{status}: {told}");
            shell.fails(&format!("tail --from 1 --until {}", size + 100_000), code);
        }
    }
    proxy.set(Tamper::Cut);
    let file = shell.home.path().join("model.json");
    fs::write(&file, "{}").unwrap();
    let file = file.display();
    let lines = [
        format!("do upload {file} team/n"),
        format!("export entries --format jsonl --out {file}.jsonl"),
        format!("export entries --format csv --out {file}.csv"),
    ];
    for line in lines {
        shell.fails(&line, 5);
    }
}

/// The tail holds the log against the witnesses of the profile: a checkpoint of theirs that is no part of it is the end,
/// status 6; without witnesses in the profile nobody looks.
#[test]
fn tail_with_witnesses() {
    let mut daemon = Daemon::start();
    let log_key = daemon.ledger().vkey();
    let witness = Witness::start("witness.example/w1", std::slice::from_ref(&log_key));
    daemon.stop();
    let policy = format!("log {log_key}\n{}quorum w1\n", witness.policy_line("w1"));
    fs::write(daemon.work_dir().join("policy"), policy).unwrap();
    daemon.expect_line("a witness did not cosign");
    daemon.set("MREG_WITNESS_MODE", "background");
    daemon.set("MREG_WITNESS_POLICY", "policy");
    daemon.restart();
    let admin = daemon.admin();
    let entry = || admin.patch("/models/nothing", &json!({"description": "x"})).problem("not-found");
    drop(entry());
    let size = until("a cosigned checkpoint", || {
        let note = daemon.client().get("/log/checkpoint.witnessed");
        (note.status == 200).then(|| note.text().lines().nth(1).unwrap().parse::<u64>().unwrap())
    });
    let proxy = Proxy::start(daemon.address());
    let shell = Shell::at(&proxy.url(), &admin);
    let config = format!(
        "[profiles.here]\nurl = \"{}\"\nlog_key = \"{log_key}\"\nwitnesses = [\"{}\"]\nquorum = 1\n",
        proxy.url(),
        witness.vkey()
    );
    let line = format!("--profile here tail --verify --from 0 --until {} --json", size - 1);
    let tail = || shell.setup().config(&config).output(&line.split(' ').collect::<Vec<_>>(), "");
    let good = tail();
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
    assert_eq!(documents(std::str::from_utf8(&good.stdout).unwrap()).len() as u64, size);
    // What only the witnesses' checkpoint shows, is looked at where the profile asks for witnesses.
    proxy.set(Tamper::Witnessed);
    let far = format!("--profile here tail --verify --until {} --json", size + 1_000_000);
    let forked = shell.setup().config(&config).output(&far.split(' ').collect::<Vec<_>>(), "");
    let told = String::from_utf8_lossy(&forked.stderr).into_owned();
    assert_eq!(forked.status.code(), Some(6), "{told}");
    assert!(told.contains("the evidence is in"), "{told}");
    fs::remove_dir_all(shell.home.path().join("state")).unwrap();
    let without = config.replace("quorum = 1", "quorum = 0");
    let passed = shell.setup().config(&without).output(&line.split(' ').collect::<Vec<_>>(), "");
    assert_eq!(passed.status.code(), Some(0), "{}", String::from_utf8_lossy(&passed.stderr));
}

/// All that match a filter, by their number and no other; what may not be touched is told, and the rest is done.
#[test]
fn all_that_match() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    for name in ["old/a", "old/b", "old/c", "new/d"] {
        admin.upload(name, "config.json", format!("{{\"name\": \"{name}\"}}").as_bytes());
    }
    let shell = Shell::new(&daemon, &admin);
    let told = shell.fails("do delete --filter old/", 2);
    assert!(told.contains("3 models match") && told.contains("--yes 3 does it"), "{told}");
    assert!(shell.fails("do delete --filter old/ --yes 4", 2).contains("3 models match; nothing was done"));
    assert!(shell.fails("do delete new/d --filter old/ --yes 3", 2).contains("not both"));
    assert!(shell.fails("do role --filter old/ --yes 3", 2).contains("goes with delete and restore"));
    assert!(shell.fails("do delete --filter colour:red --yes 3", 2).contains("no field colour"));
    let told = shell.fails("do delete --filter state:deleted", 1);
    assert!(told.contains("deleted already"), "{told}");
    assert_eq!(shell.out("get models").lines().count(), 5);
    let line = shell.out("do delete --filter old/ --yes 3");
    assert!(line.starts_with("3 of 3 deleted; can be restored until 20"), "{line}");
    assert_eq!(shell.out("get models").lines().count(), 2);
    let back = documents(&shell.out("do restore --filter old/ --yes 3 --json"));
    assert_eq!((&back[0]["matched"], &back[0]["done"], &back[0]["outcome"]), (&json!(3), &json!(3), &json!("done")));
    assert!(back[0]["request_id"].is_string(), "{back:?}");
    // What some may not be touched of.
    let vera = daemon.user("vera", Role::Viewer);
    admin.patch("/users/vera", &json!({"grants": [{"pattern": "old/a", "role": "admin"}]})).expect(200);
    let told = Shell::new(&daemon, &vera).fails("do delete --filter old/ --yes 3", 1);
    assert!(told.contains("old/b: ") && told.contains("old/c: ") && told.contains("2 changes refused"), "{told}");
    assert_eq!(shell.out("get models").lines().count(), 4);
}
