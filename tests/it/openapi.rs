//! The interface's description and the pages made from it: true, complete, and loading nothing from elsewhere.

use std::collections::BTreeSet;

use common::problem::ProblemType;
use daemon::http::route::Route;
use serde_json::Value;
use tests::daemon::Daemon;

/// Every `$ref` of a document.
fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == "$ref" {
                    found.insert(member.as_str().unwrap());
                }
                references(member, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// The document is OpenAPI 3.1, has every endpoint and no other, and every reference in it leads somewhere.
#[test]
fn document() {
    let daemon = Daemon::start();
    let response = daemon.client().get("/openapi.json").expect(200);
    let etag = response.need("etag").to_owned();
    let fresh = daemon.client().request("GET", "/openapi.json").header("If-None-Match", &etag).send();
    fresh.expect(304);
    let document = response.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert!(!document["info"]["title"].as_str().unwrap().is_empty());
    assert!(!document["info"]["version"].as_str().unwrap().is_empty());

    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            described.insert((method.to_uppercase(), path.clone()));
            let told = format!("{method} {path}");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{told}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{told}");
            for status in responses.keys().filter(|status| status.starts_with(['4', '5'])) {
                let status: u16 = status.parse().unwrap();
                assert!(ProblemType::ALL.iter().any(|kind| kind.status() == status), "{told}: {status}");
            }
            let declared = [&item["parameters"], &operation["parameters"]];
            let named: BTreeSet<&str> = declared
                .iter()
                .filter_map(|parameters| parameters.as_array())
                .flatten()
                .map(|parameter| match parameter["$ref"].as_str() {
                    Some(reference) => document.pointer(&reference[1..]).unwrap(),
                    None => parameter,
                })
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let braces: BTreeSet<&str> = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
            assert_eq!(named, braces, "{told}: parameters of the path");
        }
    }
    let routes: BTreeSet<_> =
        Route::ALL.iter().map(|endpoint| (endpoint.method.to_owned(), endpoint.template.to_owned())).collect();
    assert_eq!(described, routes);
    let ids: BTreeSet<&str> = Route::ALL.iter().map(|endpoint| endpoint.id).collect();
    assert_eq!(ids.len(), Route::ALL.len(), "operation ids are unique");

    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 10);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads elsewhere"));
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

/// What the program prints is what the daemon serves.
#[test]
fn command() {
    let daemon = Daemon::start();
    let output = daemon.run(&["openapi"], "");
    assert!(output.status.success());
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, daemon.client().get("/openapi.json").expect(200).json());
}

/// Answers have the fields their schemas require.
#[test]
fn answers_keep_to_their_schemas() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("m", "m.safetensors", &tests::samples::safetensors(1));
    let document = admin.get("/openapi.json").expect(200).json();
    for (target, schema) in [
        ("/me", "Me"),
        ("/users/admin", "User"),
        ("/models/m", "ModelInfo"),
        ("/models/m/versions/1", "VersionInfo"),
        ("/status", "Status"),
        ("/version", "BuildInfo"),
        ("/readyz", "Ready"),
    ] {
        let answer = admin.value(target);
        let required = required(&document, &document["components"]["schemas"][schema]);
        assert!(!required.is_empty(), "{schema}");
        for field in required {
            assert!(answer.get(&field).is_some(), "{target} has no {field}: {answer}");
        }
    }
}

fn required(document: &Value, schema: &Value) -> Vec<String> {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => schema,
    };
    let own = schema["required"].as_array().into_iter().flatten().map(|field| field.as_str().unwrap().to_owned());
    let parts = schema["allOf"].as_array().into_iter().flatten().flat_map(|part| required(document, part));
    own.chain(parts).collect()
}

/// The pages and every file they name are there, compressed or not, under a policy that lets nothing else in.
#[test]
fn pages() {
    let daemon = Daemon::start();
    let client = daemon.client();
    for page in ["/docs", "/redoc"] {
        let html = client.get(page).expect(200);
        assert_eq!(html.need("content-type"), "text/html; charset=utf-8");
        let text = html.text();
        let mut assets = 0;
        for attribute in ["src=\"", "href=\""] {
            for rest in text.split(attribute).skip(1) {
                let target = rest.split('"').next().unwrap();
                assert!(!target.contains("//") && !target.starts_with("data:"), "{page} names {target}");
                let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
                let plain = client.get(&target).expect(200);
                assert!(!plain.body.is_empty());
                if target != "/openapi.json" {
                    let policy = plain.need("content-security-policy");
                    assert!(policy.contains("default-src 'none'") && !policy.contains("http"), "{policy}");
                }
                let packed = client.request("GET", &target).header("Accept-Encoding", "gzip").send().expect(200);
                if packed.header("content-encoding") == Some("gzip") {
                    assert!(packed.body.len() < plain.body.len());
                    assert_ne!(packed.need("etag"), plain.need("etag"));
                }
                let etag = plain.need("etag").to_owned();
                client.request("GET", &target).header("If-None-Match", &etag).send().expect(304);
                assets += 1;
            }
        }
        assert!(assets >= 2, "{page} has {assets} files");
        for attribute in ["<script>", "onload=", "style=\""] {
            assert!(!text.contains(attribute), "{page} has {attribute} inline, which its policy forbids");
        }
        client.get(&format!("{page}/nothing.js")).problem("not-found");
        client.get(&format!("{page}/..%2f..%2fetc%2fpasswd")).problem("not-found");
    }
    let index = client.value("/");
    assert_eq!((index["docs"].as_str(), index["openapi"].as_str()), (Some("/docs"), Some("/openapi.json")));
}
