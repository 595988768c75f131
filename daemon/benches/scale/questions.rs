//! What is asked of a registry of any size: the same questions, with the names, places and times that are its own.

use std::fmt::Write as _;

use serde_json::Value;

use crate::registry::Registry;

/// Pages that are walked to come to the middle of a long list.
const PAGES_MAX: usize = 30;

/// One question.
pub(crate) struct Question {
    /// What it is.
    pub(crate) name: String,
    /// Path and query.
    pub(crate) target: String,
}

/// The questions of a part, asked of a registry.
type Part = (&'static str, fn(&Registry) -> Vec<Question>);

/// All of them.
pub(crate) const PARTS: [Part; 3] = [("models", models), ("audit", audit), ("others", others)];

fn question(name: &str, target: impl Into<String>) -> Question {
    Question { name: name.to_owned(), target: target.into() }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// As part of a query or path.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, octet| {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            escaped.push(char::from(octet));
        } else {
            let _infallible = write!(escaped, "%{octet:02X}");
        }
        escaped
    })
}

fn models(registry: &Registry) -> Vec<Question> {
    let newest = registry.json("/models?sort=-created_at&limit=1")["items"][0].clone();
    let (id, name) = (text(&newest["id"]), text(&newest["name"]));
    // The part of a made-up name that no other has.
    let own = name.rsplit('-').next().unwrap_or_default().to_owned();
    let mut asked = vec![
        question("model by id", format!("/models/{id}")),
        question("model by name", format!("/models/{}", escaped(&name))),
        question("versions of a model", format!("/models/{id}/versions")),
        question("version of a model", format!("/models/{id}/versions/1")),
    ];
    for sort in ["name", "-name", "updated_at", "-updated_at", "created_at", "-created_at"] {
        asked.push(question(&format!("models by {sort}"), format!("/models?sort={sort}")));
        asked.push(question(&format!("models by {sort}, last page"), format!("/models?sort={sort}&before=end")));
        if let Some(cursor) = middle(registry, sort) {
            asked.push(question(&format!("models by {sort}, inside"), format!("/models?sort={sort}&cursor={cursor}")));
            asked.push(question(
                &format!("models by {sort}, inside, back"),
                format!("/models?sort={sort}&before={cursor}"),
            ));
        }
    }
    for filter in [
        "tag=stage%3Aprod",
        "tag=project%3Ap7",
        "tag=stage%3Anone",
        "uploader=carol",
        "uploader=nobody",
        "state=available",
        "state=quarantined",
        "state=deprecated",
        "state=deleted",
        "format=safetensors",
        "format=onnx",
        "verdict=clean",
        "verdict=malicious",
        "alias=prod",
        "alias=none",
        "rule=pickle.global.denied",
        "license=mit",
        "dtype=f32",
        "dtype=bf16",
        "params=%3E%3D1",
        "params=%3E1e15",
        "not=format%3Asafetensors",
        "not=uploader%3Acarol",
        "tag=stage%3Aprod&uploader=carol",
        "tag=project%3Ap7&alias=prod",
        "q=base",
        "q=sentence",
        "q=team-nlp%2Ftts-xl",
        "q=zqxjkv",
        "q=zq",
    ] {
        for sort in ["name", "-updated_at"] {
            asked.push(question(&format!("models, {filter}, by {sort}"), format!("/models?{filter}&sort={sort}")));
        }
    }
    asked.push(question("models, q of one", format!("/models?q={}", escaped(&format!("-{own}")))));
    asked
}

/// A cursor well inside a list.
fn middle(registry: &Registry, sort: &str) -> Option<String> {
    let first = registry.json(&format!("/models?sort={sort}&limit=100"));
    let mut cursor = first["next_cursor"].as_str()?.to_owned();
    for _ in 0..PAGES_MAX {
        let page = registry.json(&format!("/models?sort={sort}&limit=100&cursor={cursor}"));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    Some(cursor)
}

fn audit(registry: &Registry) -> Vec<Question> {
    let size = registry.entries();
    let half = size / 2;
    let time_of = |index: u64| text(&registry.json(&format!("/audit-logs/{index}"))["entry"]["ts"]);
    let time = |index: u64| match registry.json(&format!("/audit-logs/{index}"))["entry"]["ts"].as_i64() {
        Some(ms) => ms.to_string(),
        None => time_of(index),
    };
    let (early, middle, late) = (escaped(&time(size / 4)), escaped(&time(half)), escaped(&time(size - size / 4)));
    let model = text(&registry.json("/models?sort=-created_at&limit=1")["items"][0]["id"]);
    let mut asked = vec![
        question("newest entries", "/audit-logs"),
        question("entries before the middle", format!("/audit-logs?before={half}")),
        question("oldest entries", "/audit-logs?before=60"),
        question("until a time", format!("/audit-logs?until={middle}")),
        question("since a time", format!("/audit-logs?since={middle}")),
        question("between times", format!("/audit-logs?since={early}&until={late}")),
        question("where a time is", format!("/audit-logs/position?time={middle}")),
        question("one entry with its proof", format!("/audit-logs/{half}")),
        question("of a model", format!("/audit-logs?target={model}")),
        question("of a model, until a time", format!("/audit-logs?target={model}&until={middle}")),
    ];
    for filter in [
        "actor=alice",
        "actor=system",
        "actor=nobody",
        "action=model.upload",
        "action=model.delete",
        "action=user.create",
        "action=model.*",
        "action=auth.*",
        "action=user.*",
        "action=webhook.*",
        "outcome=denied",
        "outcome=error",
        "ip=10.0.1.7",
        "ip=192.0.2.1",
        "not=outcome%3Aok",
        "not=actor%3Aalice",
        "not=action%3Amodel.%2A&not=action%3Aauth.%2A",
        "actor=alice&outcome=denied",
        "actor=alice&action=model.delete",
        "actor=alice&action=user.create",
        "actor=mallory&outcome=denied",
        "ip=10.0.1.7&outcome=error",
        "ip=10.0.1.7&actor=alice&action=model.upload",
        "action=model.upload&outcome=denied",
        "target=mallory",
        "target=none",
        "actor=usr_none",
    ] {
        asked.push(question(&format!("entries, {filter}"), format!("/audit-logs?{filter}")));
        asked.push(question(&format!("entries, {filter}, until"), format!("/audit-logs?{filter}&until={middle}")));
    }
    asked
}

fn others(registry: &Registry) -> Vec<Question> {
    let half = registry.entries() / 2;
    let (level_0, old) = (half / 256, half.max(1));
    vec![
        question("checkpoint", "/log/checkpoint"),
        question("tile of hashes", format!("/log/tile/0/{}", tile(level_0))),
        question("tile of entries", format!("/log/tile/entries/{}", tile(level_0))),
        question("inclusion proof", format!("/log/proof/{half}")),
        question("consistency proof", format!("/log/consistency/{old}/{}", old * 2)),
        question("users", "/users"),
        question("quarantine", "/quarantine"),
        question("quotas", "/quotas"),
        question("own quota", "/me/quota"),
        question("status", "/status"),
        question("metrics", "/metrics"),
        question("tokens", "/tokens"),
    ]
}

/// A tile's number as its path has it (c2sp.org/tlog-tiles).
fn tile(number: u64) -> String {
    if number < 1000 { format!("{number:03}") } else { format!("x{:03}/{:03}", number / 1000, number % 1000) }
}
