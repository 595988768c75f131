//! Resumable uploads, `/uploads`: the tus protocol's own sentences by raw requests, what survives, other people's client, and
//! the console's.

mod clients;
mod protocol;
mod survival;

use tests::http::{Client, Request, Response};

/// The media type of octets.
const OCTETS: &str = "application/offset+octet-stream";

/// A request that names the protocol's version.
fn request(client: &Client, method: &str, target: &str) -> Request {
    client.request(method, target).header("Tus-Resumable", "1.0.0")
}

/// `key base64,…`
fn metadata(pairs: &[(&str, &str)]) -> String {
    let encode = |value: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, value);
    pairs.iter().map(|(key, value)| format!("{key} {}", encode(value))).collect::<Vec<_>>().join(",")
}

/// Creates an upload; its path.
fn create(client: &Client, length: usize, pairs: &[(&str, &str)]) -> String {
    let created = request(client, "POST", "/uploads")
        .header("Upload-Length", &length.to_string())
        .header("Upload-Metadata", &metadata(pairs))
        .send();
    created.expect(201).need("location").to_owned()
}

/// A request that appends octets.
fn patch(client: &Client, path: &str, offset: usize, octets: &[u8]) -> Request {
    request(client, "PATCH", path).header("Upload-Offset", &offset.to_string()).body(OCTETS, octets)
}

/// How many octets are durable.
fn offset(client: &Client, path: &str) -> usize {
    let head = request(client, "HEAD", path).send().expect(200);
    head.need("upload-offset").parse().unwrap()
}

/// The id in a path.
fn id(path: &str) -> &str {
    path.strip_prefix("/uploads/").unwrap()
}

/// Publishes complete uploads as a version of a model.
fn publish(client: &Client, paths: &[&str], name: &str) -> Response {
    let form = tests::multipart::Form::new().text("name", name);
    client.publish(paths.iter().fold(form, |form, path| form.text("upload_id", id(path))))
}

/// Octets in which each place is different, and that are no format.
fn sample(octets: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    (0..octets)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[1]
        })
        .collect()
}

/// The same as a model that anybody may have.
fn model(octets: usize, seed: u32) -> Vec<u8> {
    let header = format!(r#"{{"t":{{"dtype":"U8","shape":[{octets}],"data_offsets":[0,{octets}]}}}}"#);
    let header = format!("{header:width$}", width = header.len().next_multiple_of(8));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &sample(octets, seed)].concat()
}
