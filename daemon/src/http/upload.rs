//! Uploads: `POST /models` (a form of files and texts, in any order) and `PUT /models/{name}/artifact` (a file as it is).
//! Octets go to the registry as they come; the texts are read when all is there, or when they are wrong.
//!
//! Knows forms and bodies. Refuses to know what becomes of the octets: hashing, limits, inspection and names are the
//! registry's. It is asked before the body is polled, so whoever is refused with `Expect: 100-continue` sends nothing.

mod said;

use common::api::{Published, VersionInfo};
use common::name::{ModelName, NameError, UploadId};
use futures_util::StreamExt;
use http::{StatusCode, Version, header};

use self::said::{FIELDS, Said};
use crate::http::body::Payload;
use crate::http::body::multipart::{Multipart, Part};
use crate::http::problem::{Protocol, Refused};
use crate::http::{Answer, Call, body, changed, params};
use crate::registry::error::{Done, RegistryError};
use crate::registry::fetch::Tagged;
use crate::registry::publish::PublishedVersion;
use crate::registry::upload::{FILES_MAX, Upload};

/// Parts of one form: as many files as a version can have, and what is said of them; tags may come in pieces.
const PARTS_MAX: usize = FILES_MAX + 100;
/// Octets of a form besides its files: boundaries, headers of parts, texts.
const FORM_OCTETS_MAX: u64 = 16 * 1024 * 1024;
/// Octets of the text of an upload's id, with what forms put around it.
const UPLOAD_ID_OCTETS_MAX: usize = 64;
/// Octets around the file in a form of one, more or less: what `Content-Length` says beyond the file.
const FRAMING_OCTETS: u64 = 4 * 1024;

/// `POST /models`
pub(crate) async fn form(call: Call) -> Answer {
    let Call { shared, caller, head, body, .. } = call;
    let declared = body::declared_bytes(&head);
    let parts =
        Multipart::new(&head, body, shared.registry.settings().upload_bytes_max.saturating_add(FORM_OCTETS_MAX))?;
    let files_declared = declared.map(|octets| octets.saturating_sub(FRAMING_OCTETS).max(1));
    let mut upload = shared.registry.begin_upload(&caller, None, files_declared).await?;
    let form = match receive_form(&mut upload, parts).await.and_then(|said| said.read("part", None)) {
        Ok(form) => form,
        Err(refused) => return Err(failed(upload, refused).await),
    };
    published(shared.registry.publish(&caller, upload, form).await?)
}

/// Takes all parts, files to the registry and texts together.
async fn receive_form(upload: &mut Upload, mut parts: Multipart) -> Result<Said, Refused> {
    let mut said = Said::default();
    let mut has_file = false;
    let mut ids = Vec::new();
    for count in 0.. {
        let Some(mut part) = parts.next().await? else { break };
        if count == PARTS_MAX {
            return Err(invalid("body", &format!("has more than {PARTS_MAX} parts")));
        }
        let name = part.name().unwrap_or_default().to_owned();
        if name == "file" {
            has_file = true;
            receive_part(upload, &mut part).await?;
        } else if name == "upload_id" {
            has_file = true;
            let text = part.text(UPLOAD_ID_OCTETS_MAX).await?;
            let id: UploadId =
                text.trim().parse().map_err(|error: NameError| invalid("part.upload_id", &error.to_string()))?;
            if ids.len() == FILES_MAX || ids.contains(&id) {
                return Err(invalid("part.upload_id", "comes twice, or too often"));
            }
            ids.push(id);
        } else if let Some(octets_max) = Said::octets_max(&name) {
            let text = part.text(octets_max).await?;
            if name == "name"
                && let Ok(model) = text.parse()
            {
                upload.about(model)?;
            }
            said.take(&name, text)?;
        } else if name.is_empty() {
            return Err(invalid("part", "has no name: a part is a field, as curl -F name=value sends it"));
        } else {
            let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
            let known = FIELDS.join("`, `");
            return Err(invalid(
                &format!("part.{shown}"),
                &format!("is not known here; there are `file`, `upload_id`, `{known}`"),
            ));
        }
    }
    if !has_file {
        return Err(invalid("part.file", "is missing: send at least one file, as curl -F file=@model.pkl does"));
    }
    // Held last, and so for as long as it takes to publish them.
    let unnamed = said.name().and_then(|name| name.parse().ok()).map(|name| last_segment(&name));
    for id in ids {
        upload.resumed(id, unnamed.as_deref()).await?;
    }
    Ok(said)
}

async fn receive_part(upload: &mut Upload, part: &mut Part) -> Result<(), Refused> {
    let file_name = part
        .file_name()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| invalid("part.file", "has no file name: send it as a file, as curl -F file=@model.pkl does"))?;
    let mut sink = upload.file(&file_name).await?;
    while let Some(octets) = part.chunk().await? {
        sink.write(octets).await?;
    }
    upload.add(sink.finish().await?);
    Ok(())
}

/// `PUT /models/{name}/artifact`
pub(crate) async fn file(call: Call, name: &str) -> Answer {
    let mut said: Said = body::query(&call)?;
    let name: ModelName = params::wanted("path.name", name)?;
    let file_name = said.filename.take().unwrap_or_else(|| last_segment(&name));
    let form = said.read("query", Some(name.clone()))?;
    let Call { shared, caller, head, body, .. } = call;
    let kind = head.headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if kind.get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case(b"multipart/")) {
        let hint = "the body is stored as it is; send the file itself (curl -T), or a form to POST /models";
        return Err(Protocol::UnsupportedMediaType(hint.into()).into());
    }
    let declared = body::declared_bytes(&head);
    if declared.is_none() && body.is_empty() && head.version < Version::HTTP_2 {
        return Err(Protocol::LengthRequired.into());
    }
    let mut upload = shared.registry.begin_upload(&caller, Some(&name), declared).await?;
    let body = body.limit(shared.registry.settings().upload_bytes_max);
    match receive_body(&mut upload, &file_name, body).await {
        Ok(()) => published(shared.registry.publish(&caller, upload, form).await?),
        Err(refused) => Err(failed(upload, refused).await),
    }
}

async fn receive_body(upload: &mut Upload, file_name: &str, mut body: Payload) -> Result<(), Refused> {
    let mut sink = upload.file(file_name).await?;
    while let Some(octets) = body.next().await {
        sink.write(octets?).await?;
    }
    upload.add(sink.finish().await?);
    Ok(())
}

fn last_segment(name: &ModelName) -> String {
    name.as_str().rsplit('/').next().unwrap_or_default().to_owned()
}

fn invalid(place: &str, msg: &str) -> Refused {
    Refused::invalid(vec![(place.to_owned(), msg.to_owned())])
}

/// Ends an upload that went wrong. The registry records the attempt; the answer stays what it was.
async fn failed(upload: Upload, refused: Refused) -> Refused {
    match refused {
        Refused::Registry(failure) => upload.fail(failure.error).await.into(),
        Refused::Protocol(protocol, _) => {
            let recorded = match &protocol {
                // Of the registry's errors the one that is answered with the same status.
                Protocol::BadRequest(_) => RegistryError::Interrupted,
                other => other.as_registry_error(),
            };
            let failure = upload.fail(recorded).await;
            match failure.error {
                RegistryError::AuditUnavailable | RegistryError::AuditFull(_) | RegistryError::AuditUnknown(_) => {
                    failure.into()
                }
                _same => Refused::Protocol(protocol, failure.logged),
            }
        }
    }
}

/// The answer to an upload that is done.
fn published(done: Done<PublishedVersion>) -> Answer {
    let is_new = !done.value.already_present;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/models/{}/versions/{}", done.value.version.id, done.value.version.version);
    let done = done.map(|published| Tagged { revision: published.revision, value: published });
    let mut response = changed::tagged(status, done, |published, receipt| {
        let PublishedVersion { version, already_present, warnings, revision: _ } = published;
        let mut published = Published {
            version,
            filename: None,
            size: None,
            sha256: None,
            format: None,
            already_present,
            warnings,
            receipt,
        };
        if let VersionInfo { artifacts, .. } = &published.version
            && let [artifact] = artifacts.as_slice()
        {
            published.filename = Some(artifact.path.clone());
            published.size = Some(artifact.size);
            published.sha256 = Some(artifact.digest.to_hex());
            published.format = Some(artifact.format.clone());
        }
        published
    })?;
    changed::location(&mut response, &location);
    Ok(response)
}
