//! Resumable uploads, by the tus protocol 1.0.0: created, filled part by part, and published. What was told to be there is
//! there, whatever happens to the line or to the daemon. When to try again is for the caller.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::upload::{Pieces, UPLOAD_ANSWER_TIMEOUT};
use super::{Client, ClientError, JSON, Reply, Target, WHOLE_TIMEOUT, fitting, text};
use crate::api::{Page, Published, UploadInfo};
use crate::name::UploadId;

/// The version of the protocol.
const TUS_VERSION: &str = "1.0.0";
/// The media type of octets of an upload.
const OCTETS: &str = "application/offset+octet-stream";

/// What is said of an upload when it is created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewUpload {
    /// Octets of the whole.
    pub length: u64,
    /// The artifact's path.
    pub filename: String,
    /// The model it is for; empty: not said.
    pub model: String,
}

/// What a version is to be that is made of uploads. Empty fields are not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publishing {
    /// The model's name.
    pub name: String,
    /// The number the version must get.
    pub version: Option<u32>,
    /// What it is.
    pub description: String,
    /// Tags of the model, as `key:value`.
    pub tags: Vec<String>,
    /// A JSON object of claims.
    pub metadata: String,
    /// An alias to point at it.
    pub alias: String,
    /// The digest that its one file must have, 64 hex digits.
    pub sha256: String,
    /// A version even if the latest has the same bytes.
    pub force_new_version: bool,
}

impl Client {
    /// `POST /uploads`.
    ///
    /// # Errors
    /// [`crate::problem::ProblemType::Invalid`], [`crate::problem::ProblemType::ContentTooLarge`],
    /// [`crate::problem::ProblemType::StorageFull`], [`crate::problem::ProblemType::TooManyRequests`] where the user has as
    /// much open as one may; those of every call.
    pub async fn create_upload(&self, new: &NewUpload) -> Result<Reply<UploadInfo>, ClientError> {
        let said = [("filename", &new.filename), ("model", &new.model)];
        let pairs = said.iter().filter(|(_, value)| !value.is_empty());
        let metadata: Vec<String> = pairs.map(|(key, value)| format!("{key} {}", base64(value.as_bytes()))).collect();
        let fields = [
            ("tus-resumable", TUS_VERSION.to_owned()),
            ("upload-length", new.length.to_string()),
            ("upload-metadata", metadata.join(",")),
        ];
        self.tus(Method::POST, Target::new(&["uploads"]), &fields).await.and_then(fitting)
    }

    /// `GET /uploads/{upload}`: how many octets are durable.
    ///
    /// # Errors
    /// [`crate::problem::ProblemType::NotFound`], [`crate::problem::ProblemType::UploadGone`]; those of every call.
    pub async fn upload_info(&self, id: UploadId) -> Result<Reply<UploadInfo>, ClientError> {
        self.read(Target::new(&["uploads", &id.to_string()])).await
    }

    /// `GET /uploads`: one's own that are not over.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn uploads(&self) -> Result<Reply<Page<UploadInfo>>, ClientError> {
        self.read(Target::new(&["uploads"])).await
    }

    /// `PATCH /uploads/{upload}`: `octets` octets from `offset` on, taken from `pieces` as they are wanted. How many octets
    /// of the upload are durable then. Dropping the future ends it: what came is kept.
    ///
    /// # Errors
    /// [`crate::problem::ProblemType::Conflict`]: it goes on elsewhere, [`crate::problem::ProblemType::UploadBusy`],
    /// [`crate::problem::ProblemType::UploadGone`], [`crate::problem::ProblemType::StorageFull`]; those of every call.
    pub async fn append_upload(
        &self,
        id: UploadId,
        offset: u64,
        octets: u64,
        pieces: Receiver<Bytes>,
    ) -> Result<u64, ClientError> {
        let target = Target::new(&["uploads", &id.to_string()]);
        self.check_read_only(&Method::PATCH, &target)?;
        let (mut parts, _empty) =
            self.request(Method::PATCH, &target.0, None, true, JSON, &self.fresh_id())?.into_parts();
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(OCTETS));
        parts.headers.insert("tus-resumable", HeaderValue::from_static(TUS_VERSION));
        parts.headers.insert("upload-offset", offset.into());
        let (headers, _body) = self.send_pieces(Request::from_parts(parts, Pieces::new(octets, pieces))).await?;
        let offset = text(&headers, "upload-offset").and_then(|offset| offset.parse().ok());
        offset.ok_or_else(|| ClientError::Protocol("an answer to octets without Upload-Offset".to_owned()))
    }

    /// `DELETE /uploads/{upload}`: what came of it goes.
    ///
    /// # Errors
    /// [`crate::problem::ProblemType::NotFound`], [`crate::problem::ProblemType::UploadGone`]; those of every call.
    pub async fn end_upload(&self, id: UploadId) -> Result<(), ClientError> {
        let fields = [("tus-resumable", TUS_VERSION.to_owned())];
        self.tus(Method::DELETE, Target::new(&["uploads", &id.to_string()]), &fields).await.map(drop)
    }

    /// `POST /models` with `upload_id`s: a version of complete uploads, in that order. The answer comes when the daemon has
    /// inspected all of them.
    ///
    /// # Errors
    /// [`crate::problem::ProblemType::NotFound`], [`crate::problem::ProblemType::UploadGone`] for an upload, which then may
    /// be published already; [`crate::problem::ProblemType::Conflict`], [`crate::problem::ProblemType::Invalid`],
    /// [`crate::problem::ProblemType::DigestMismatch`], [`crate::problem::ProblemType::MaliciousContent`]; those of every
    /// call.
    pub async fn publish_uploads(
        &self,
        uploads: &[UploadId],
        publishing: &Publishing,
    ) -> Result<Reply<Published>, ClientError> {
        let id = self.fresh_id();
        let boundary = format!("mreg-{id}");
        let mut form = String::new();
        let mut part = |name: &str, value: &str| {
            if !value.is_empty() {
                let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
                form.push_str(&head);
                form.push_str(value);
                form.push_str("\r\n");
            }
        };
        for upload in uploads {
            part("upload_id", &upload.to_string());
        }
        part("name", &publishing.name);
        part("version", &publishing.version.map_or(String::new(), |version| version.to_string()));
        part("description", &publishing.description);
        for tag in &publishing.tags {
            part("tags", tag);
        }
        part("metadata", &publishing.metadata);
        part("alias", &publishing.alias);
        part("sha256", &publishing.sha256);
        part("force_new_version", if publishing.force_new_version { "true" } else { "" });
        form.push_str(&format!("--{boundary}--\r\n"));
        if publishing.description.contains(&boundary) || publishing.metadata.contains(&boundary) {
            return Err(ClientError::Address("a text has the form's own boundary in it; try again".to_owned()));
        }
        let target = Target::new(&["models"]);
        self.check_read_only(&Method::POST, &target)?;
        let (mut parts, _empty) = self.request(Method::POST, &target.0, None, true, JSON, &id)?.into_parts();
        let kind = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"));
        parts.headers.insert(
            header::CONTENT_TYPE,
            kind.map_err(|cause| ClientError::Address(format!("the form can't be sent: {cause}")))?,
        );
        let (sender, pieces) = tokio::sync::mpsc::channel(1);
        let octets = form.len() as u64;
        drop(sender.try_send(Bytes::from(form)));
        let sending = self.send_pieces(Request::from_parts(parts, Pieces::new(octets, pieces)));
        let (headers, body) =
            timeout(UPLOAD_ANSWER_TIMEOUT, sending).await.map_err(|_elapsed| self.late(UPLOAD_ANSWER_TIMEOUT))??;
        fitting(Reply {
            body,
            request_id: text(&headers, "x-request-id").unwrap_or(&id).to_owned(),
            log_index: text(&headers, "mregd-log-index").and_then(|value| value.parse().ok()),
            etag: text(&headers, header::ETAG.as_str()).map(str::to_owned),
        })
    }

    async fn tus(
        &self,
        method: Method,
        target: Target,
        fields: &[(&'static str, String)],
    ) -> Result<Reply<Bytes>, ClientError> {
        let work = async {
            let (connection, reply) = self.send_with(method, target, Some(Bytes::new()), true, JSON, fields).await?;
            let Reply { body, request_id, log_index, etag } = reply;
            let body = self.collect(body.into_body()).await?;
            self.put_back(connection).await;
            Ok(Reply { body, request_id, log_index, etag })
        };
        timeout(WHOLE_TIMEOUT, work).await.unwrap_or_else(|_elapsed| Err(self.late(WHOLE_TIMEOUT)))
    }
}

/// Standard base64, of the little that goes into a header field.
fn base64(octets: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, octets)
}
