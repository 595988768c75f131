//! What was measured in a version: shown, searched for, and its model card as text (scanning.md §7).

use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::http::Client;
use tests::multipart::Form;

/// A safetensors file of one tensor.
fn tensor(dtype: &str, octets_each: usize, elements: usize) -> Vec<u8> {
    let header = json!({"w": {"dtype": dtype, "shape": [elements], "data_offsets": [0, octets_each * elements]}});
    let header = header.to_string();
    let mut file = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + octets_each * elements, 0);
    file
}

fn listed(client: &Client, query: &str) -> Vec<String> {
    let page = client.value(&format!("/models?{query}"));
    page["items"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

/// Parameters and element types are read from the bytes, shown as measured, and models are found by them.
#[test]
fn parameters_and_element_types() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    for (name, dtype, octets, elements) in
        [("tiny", "F32", 4, 100), ("small", "BF16", 2, 5000), ("large", "BF16", 2, 9000)]
    {
        let form = Form::new().file("model.safetensors", &tensor(dtype, octets, elements)).text("name", name);
        let form = form.text("metadata", r#"{"parameters": 7, "accuracy": 0.5}"#);
        let published = carl.publish(form).expect(201).json();
        let warnings = published["warnings"].to_string();
        assert!(warnings.contains("parameters"), "a claim against what is measured is told: {warnings}");
        assert_eq!(published["metadata"]["parameters"], json!({"value": elements, "origin": "measured"}));
        assert_eq!(published["metadata"]["accuracy"]["origin"], "claimed");
    }
    carl.publish(Form::new().file("notes.txt", b"no tensors here\n")).expect(201);

    let row = carl.value("/models/small");
    assert_eq!(
        (&row["parameters"], &row["dtypes"], &row["verdict"]),
        (&json!(5000), &json!(["BF16"]), &json!("clean"))
    );
    for (query, found) in [
        ("params%3E1e3", vec!["large", "small"]),
        ("params%3E=9e3", vec!["large"]),
        ("params=%3E9e3", vec![]),
        ("params%3C5K", vec!["tiny"]),
        ("params=100..5000", vec!["small", "tiny"]),
        ("params%3E100&params%3C9000", vec!["small"]),
        ("params=9k", vec!["large"]),
        ("dtype=bf16", vec!["large", "small"]),
        ("dtype=F32&format=safetensors", vec!["tiny"]),
        ("dtype=BF16&dtype=F32", vec![]),
        ("verdict=clean&format=text", vec!["notes"]),
        ("verdict=malicious", vec![]),
    ] {
        assert_eq!(listed(&carl, query), found, "{query}");
    }
    for (bad, place) in [
        ("params=many", "query.params"),
        ("params%3Emany", "query.params"),
        ("dtype=", "query.dtype"),
        ("verdict=good", "query.verdict"),
    ] {
        let problem = carl.get(&format!("/models?{bad}")).problem("invalid");
        assert_eq!(problem.errors[0].loc, place, "{bad}");
    }
}

/// The model card is shown as text that steers no terminal; it goes through the gate, and its reading is an entry.
#[test]
fn card() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let readme = "---\nlicense: apache-2.0\ntags: [speech, de]\n---\n# Hello\r\n\u{1b}[2Jdangerous\n";
    let form = Form::new().file("README.md", readme.as_bytes()).file("model.safetensors", &tensor("F32", 4, 10));
    let published = carl.publish(form.text("name", "team/speech")).expect(201).json();
    assert_eq!(published["state"], "available", "{published}");
    assert_eq!(published["metadata"]["format"]["value"], "safetensors", "the card doesn't count");
    let license = &published["metadata"]["card.license"];
    assert_eq!(license, &json!({"value": "apache-2.0", "origin": "measured"}), "{published}");

    let answer = carl.get("/models/team%2Fspeech/versions/1/card").expect(200);
    let index: u64 = answer.need("mregd-log-index").parse().unwrap();
    let card = answer.json();
    assert_eq!(card["path"], "README.md");
    assert_eq!(card["truncated"], false);
    let text = card["text"].as_str().unwrap();
    assert!(text.contains("# Hello\n\\u{1b}[2Jdangerous"), "{text}");
    let admin = daemon.admin();
    let entry = admin.value(&format!("/audit-logs/{index}"));
    assert_eq!(entry["entry"]["action"], "model.download", "{entry}");

    let nothing: Value = carl.publish(Form::new().file("a.txt", b"a text\n")).expect(201).json();
    let name = nothing["name"].as_str().unwrap();
    carl.get(&format!("/models/{name}/versions/1/card")).expect(404);
    admin.post("/models/team%2Fspeech/versions/1/quarantine", &json!({"reason": "to be looked at"})).expect(200);
    carl.get("/models/team%2Fspeech/versions/1/card").problem("model-quarantined");
}
