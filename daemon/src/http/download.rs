//! Downloads: one file as it is, several as a tar stream. Conditions and ranges first, then the registry's gate, which
//! writes the entry, then the octets; or, where a proxy is to send them, the place where it finds them; or, where the operator
//! wants it so, an address from which one file can be fetched for a short time. Who can't follow to another host says
//! `Prefer: no-redirect`.
//!
//! Knows representations and their header fields; refuses to know who may have them. Several ranges at once are not
//! served: such a request gets the whole, as RFC 9110 §14.2 allows.

mod conditions;
mod tar;
mod transfer;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use common::api::VersionInfo;
use common::name::{ModelKey, ModelRef, Select};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use self::conditions::{Validators, Verdict};
use self::transfer::{Piece, Transfer};
use crate::blobs::HandOut;
use crate::clock::parse_rfc3339;
use crate::http::params;
use crate::http::problem::Protocol;
use crate::http::{Answer, Body, Call, respond};
use crate::registry::access::Caller;
use crate::registry::download::{Download, DownloadFile, FileInfo};
use crate::registry::error::RegistryError;

/// Digest of the whole representation (RFC 9530).
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// Tells nginx which file to send. Only ever in answers, and only to a proxy that is believed.
const ACCEL_REDIRECT: HeaderName = HeaderName::from_static("x-accel-redirect");
/// What a client would like (RFC 7240).
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// A cache may keep what it must ask about each time: the gate decides anew.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, no-cache");
/// What stands as itself in `filename*` (RFC 8187 §3.2.1).
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// `GET …/download` and `GET …/files/{path}`: of the version the reference selects, or of that number; the one file, or
/// all.
pub(crate) async fn download(call: &Call, model: &str, version: Option<&str>, path: Option<&str>) -> Answer {
    let mut model = params::model(model)?;
    let mut version = version.map(params::version).transpose()?;
    let path = path.map(params::artifact).transpose()?;
    let registry = &call.shared.registry;
    let headers = &call.head.headers;
    let is_get = call.head.method == Method::GET;

    let mut verdict = Verdict::Whole;
    let may_redirect = is_get && registry.hands_out() && !prefers_no_redirect(headers);
    let mut redirects = false;
    if !is_get || may_redirect || conditions::any(headers) {
        // Nothing is handed out yet, and may never be: no entry but of a refusal.
        let offer = registry.offer_download(&call.caller, &model, version, path.as_ref()).await?.value;
        let shown = Representation::of(&offer.version, &offer.files);
        verdict = conditions::judge(headers, is_get, &shown.validators());
        match verdict {
            Verdict::PreconditionFailed => return Err(RegistryError::PreconditionFailed.into()),
            Verdict::RangeNotSatisfiable => return Err(Protocol::RangeNotSatisfiable { size: shown.size }.into()),
            Verdict::NotModified => return Ok(shown.answer(StatusCode::NOT_MODIFIED, respond::empty())),
            Verdict::Whole if !is_get => {
                let mut response = shown.answer(StatusCode::OK, respond::empty());
                response.headers_mut().insert(header::CONTENT_LENGTH, shown.size.into());
                return Ok(response);
            }
            Verdict::Whole | Verdict::Part(_) => {}
        }
        // Of several files nobody else has the archive; of none there is nothing to fetch.
        redirects = may_redirect && shown.is_one_file && shown.size > 0;
        // What was judged is what is sent, even if the reference selects another version by now.
        model = ModelRef { model: ModelKey::Id(offer.version.id), select: Select::Latest };
        version = Some(offer.version.version);
    }

    let mut caller = Caller::clone(&call.caller);
    if let Some(request) = &mut caller.request {
        if redirects {
            request.ok_status = StatusCode::TEMPORARY_REDIRECT.as_u16();
        } else if matches!(verdict, Verdict::Part(_)) {
            request.ok_status = StatusCode::PARTIAL_CONTENT.as_u16();
        }
    }
    let mut done = registry.open_download(&caller, &model, version, path.as_ref()).await?;
    if redirects && let Some(response) = redirect(&mut done.value).await? {
        return Ok(respond::logged(response, done.logged.as_ref()));
    }
    let prefix = call.shared.send_file.as_deref().filter(|_| is_for_proxy(call, &verdict));
    let response = match prefix.and_then(|prefix| place(prefix, &done.value)) {
        Some(place) => hand_over(done.value, place),
        None => send(done.value, verdict),
    };
    Ok(respond::logged(response, done.logged.as_ref()))
}

/// Whether a proxy may send it: one that is believed, and no condition that it would judge by the file instead of by what we
/// say of it. A range that we would serve it cuts as we would; of others it may think otherwise.
fn is_for_proxy(call: &Call, verdict: &Verdict) -> bool {
    let headers = &call.head.headers;
    let by_us = [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
    ];
    let is_one_range = matches!(verdict, Verdict::Part(_)) || !headers.contains_key(header::RANGE);
    call.by_proxy && is_one_range && !by_us.iter().any(|name| headers.contains_key(name))
}

/// Where the proxy finds what is handed out: one file, whole, on this machine.
fn place(prefix: &str, download: &Download) -> Option<HeaderValue> {
    let [file] = download.files.as_slice() else { return None };
    HeaderValue::from_str(&format!("{prefix}{}", file.place()?)).ok()
}

/// The answer that has the proxy send. It takes the fields from here, and the octets and their length from the file.
fn hand_over(download: Download, place: HeaderValue) -> Response<Body> {
    let Download { version, files, mut ticket } = download;
    ticket.hand_over();
    let infos: Vec<FileInfo> = files.iter().map(|file| file.info.clone()).collect();
    let mut response = Representation::of(&version, &infos).answer(StatusCode::OK, respond::empty());
    response.headers_mut().insert(ACCEL_REDIRECT, place);
    response
}

/// Whether the client says that it can't follow (RFC 7240; the preference is ours).
fn prefers_no_redirect(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|preference| preference.trim().eq_ignore_ascii_case("no-redirect"))
}

/// The answer that says where the one file is; none where it is nowhere but here. A range is asked for there again, by the
/// same field. The address is a secret for as long as it is valid, so no cache may keep it.
async fn redirect(download: &mut Download) -> Result<Option<Response<Body>>, RegistryError> {
    let infos: Vec<FileInfo> = download.files.iter().map(|file| file.info.clone()).collect();
    let shown = Representation::of(&download.version, &infos);
    let [file] = download.files.as_slice() else { return Ok(None) };
    let said = HandOut {
        content_type: "application/octet-stream".to_owned(),
        content_disposition: attachment(&shown.file_name),
    };
    let Some(address) = file.address(said).await? else { return Ok(None) };
    let mut location =
        HeaderValue::from_str(address.expose()).map_err(|error| RegistryError::Internal(error.into()))?;
    location.set_sensitive(true);
    download.ticket.redirected();
    let mut response = Response::new(respond::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The address must not leave with whoever follows a link from there.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(Some(response))
}

/// The answer that hands out.
fn send(download: Download, verdict: Verdict) -> Response<Body> {
    let Download { version, files, mut ticket } = download;
    let infos: Vec<FileInfo> = files.iter().map(|file| file.info.clone()).collect();
    let shown = Representation::of(&version, &infos);
    let told = move |octets, is_last| {
        ticket.sent(octets);
        if is_last {
            ticket.complete();
        }
    };
    if !shown.is_one_file {
        let length = shown.size;
        let body = Transfer::new(archive(files, shown.modified), length, told);
        return shown.answer(StatusCode::OK, body.boxed_unsync());
    }
    let (status, range) = match verdict {
        Verdict::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        _ => (StatusCode::OK, 0..shown.size),
    };
    let pieces: Vec<Piece> = files.into_iter().map(|file| piece(file, range.clone())).collect();
    let length = range.end - range.start;
    let mut told = told;
    if length == 0 {
        // An empty file has no frame that could be the last one.
        told(0, true);
    }
    let body = Transfer::new(pieces.into_iter(), length, told);
    let mut response = shown.answer(status, body.boxed_unsync());
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = HeaderValue::from_str(&format!("bytes {}-{}/{}", range.start, range.end - 1, shown.size))
    {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    response
}

/// The pieces of a tar stream.
fn archive(files: Vec<DownloadFile>, modified: SystemTime) -> impl Iterator<Item = Piece> + Send + 'static {
    let mtime_s = modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let octets = |octets: Vec<u8>| Piece::Octets(octets.into());
    files
        .into_iter()
        .flat_map(move |file| {
            let size = file.info.size;
            let head = octets(tar::header(file.info.path.as_str(), size, mtime_s));
            [head, piece(file, 0..size), octets(vec![0; tar::padding(size)])]
        })
        .chain([Piece::Octets(Bytes::from_static(&tar::TRAILER))])
}

fn piece(mut file: DownloadFile, range: std::ops::Range<u64>) -> Piece {
    let open = async move {
        let reader = file.open().await.map_err(std::io::Error::other)?;
        Ok(Arc::from(reader))
    };
    Piece::Blob { open: Box::pin(open), range }
}

/// What is sent, as its header fields say.
struct Representation {
    is_one_file: bool,
    /// Octets of all of it.
    size: u64,
    etag: HeaderValue,
    modified: SystemTime,
    /// SHA-256 of its octets, where that is known before they are read.
    digest: Option<[u8; 32]>,
    file_name: String,
}

impl Representation {
    fn of(version: &VersionInfo, files: &[FileInfo]) -> Self {
        let created_s = parse_rfc3339(&version.created_at).map_or(0, |ms| u64::try_from(ms / 1000).unwrap_or(0));
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(created_s);
        if let [file] = files {
            return Self {
                is_one_file: true,
                size: file.size,
                etag: respond::etag(file.digest),
                modified,
                digest: Some(*file.digest.as_bytes()),
                file_name: file.path.file_name().to_owned(),
            };
        }
        // The octets follow from this list alone, so its digest is a strong tag of them.
        let mut manifest = Sha256::new();
        for file in files {
            manifest.update(format!("{}\0{}\0{}\n", file.path, file.size, file.digest));
        }
        manifest.update(created_s.to_string());
        Self {
            is_one_file: false,
            size: tar::total(files.iter().map(|file| (file.path.as_str(), file.size))),
            etag: respond::etag(format_args!("tar:sha256:{}", hex::encode(manifest.finalize()))),
            modified,
            digest: None,
            file_name: format!("{}-{}.tar", version.name.as_str().replace('/', "-"), version.version),
        }
    }

    fn validators(&self) -> Validators<'_> {
        let ranges_of = self.is_one_file.then_some(self.size);
        Validators { etag: &self.etag, modified: self.modified, ranges_of }
    }

    /// An answer with this body and the fields that say what it is.
    fn answer(&self, status: StatusCode, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
        insert(headers, header::LAST_MODIFIED, &httpdate::fmt_http_date(self.modified));
        if status == StatusCode::NOT_MODIFIED {
            return response;
        }
        let (kind, ranges) =
            if self.is_one_file { ("application/octet-stream", "bytes") } else { ("application/x-tar", "none") };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static(ranges));
        insert(headers, header::CONTENT_DISPOSITION, &attachment(&self.file_name));
        if let Some(digest) = self.digest {
            insert(headers, REPR_DIGEST, &format!("sha-256=:{}:", STANDARD.encode(digest)));
        }
        response
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // All that is put together above is visible ASCII; should that ever fail, the field is left out.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// `Content-Disposition` (RFC 6266): the name in ASCII, and beside it as it is where that is another one.
fn attachment(file_name: &str) -> String {
    let plain: String = file_name
        .chars()
        .map(|character| match character {
            '"' | '\\' | '%' => '_',
            ascii if ascii.is_ascii_graphic() || ascii == ' ' => ascii,
            _ => '_',
        })
        .collect();
    if plain == file_name {
        return format!("attachment; filename=\"{plain}\"");
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(file_name, ATTR_CHAR))
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderValue};

    use super::{attachment, prefers_no_redirect};

    #[test]
    fn preferences() {
        for (value, wanted) in [
            ("no-redirect", true),
            ("respond-async, No-Redirect", true),
            ("", false),
            ("redirect", false),
            ("no-redirect2", false),
        ] {
            let fields = HeaderMap::from_iter([(super::PREFER, HeaderValue::from_static(value))]);
            assert_eq!(prefers_no_redirect(&fields), wanted, "{value}");
        }
        assert!(!prefers_no_redirect(&HeaderMap::new()));
    }

    #[test]
    fn file_names() {
        for (name, wanted) in [
            ("model.gguf", "attachment; filename=\"model.gguf\""),
            ("a b.bin", "attachment; filename=\"a b.bin\""),
            ("né.pt", "attachment; filename=\"n_.pt\"; filename*=UTF-8''n%C3%A9.pt"),
            ("a\"b\\c%41.x", "attachment; filename=\"a_b_c_41.x\"; filename*=UTF-8''a%22b%5Cc%2541.x"),
            ("x;y='z'.bin", "attachment; filename=\"x;y='z'.bin\""),
        ] {
            assert_eq!(attachment(name), wanted);
        }
    }

    proptest::proptest! {
        /// Whatever the name, the field is one and can be sent.
        #[test]
        fn any_name(name in "\\PC{0,80}") {
            proptest::prop_assert!(http::HeaderValue::from_str(&attachment(&name)).is_ok());
        }
    }
}
