//! What went wrong between us and the object store, sorted by what can be done about it. Knows the protocol's codes; refuses
//! to know what was asked for. The words are for people, and name no bucket, host or key; the causes are for the log.

use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use common::digest::Digest;

use crate::blobs::BlobError;

/// What it means for the one who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no such object, or no such upload in parts.
    Missing,
    /// The object is there already, and that was not wanted.
    Exists,
    /// Somebody else was at the same object at the same time; the same request may succeed at once.
    Contended,
    /// The store does not know what was asked of it.
    Unsupported,
    /// What was asked for begins behind the end.
    NoRange,
    /// The credentials don't allow it; or, where they may not list, the object is missing.
    Denied,
    /// The store can't be reached, is busy, or refuses for a reason that has nothing to do with the object.
    Unreachable,
}

/// An answer that is no success, or none.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    /// Safe to show to anyone.
    pub(super) why: String,
    cause: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// Sorts an error of the SDK.
    pub(super) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        let code = error.as_service_error().and_then(|error| error.code()).unwrap_or_default().to_owned();
        let (kind, why) = match &error {
            SdkError::ServiceError(_) | SdkError::ResponseError(_) => sort(status, &code),
            SdkError::TimeoutError(_) => (Kind::Unreachable, "it does not answer in time".to_owned()),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                (Kind::Unreachable, "it does not answer in time".to_owned())
            }
            _ if names_credentials(&error) => {
                (Kind::Unreachable, "there are no credentials for it, or they can't be had".to_owned())
            }
            SdkError::DispatchFailure(_) => (Kind::Unreachable, "the connection to it fails".to_owned()),
            _ => (Kind::Unreachable, "it can't be reached".to_owned()),
        };
        Self { kind, why, cause: error.into() }
    }

    /// Something that the SDK takes for a success, and is none.
    pub(super) fn odd(why: &str) -> Self {
        Self { kind: Kind::Unreachable, why: why.to_owned(), cause: why.into() }
    }

    /// A failure of a body on its way.
    pub(super) fn of_body(cause: impl Error + Send + Sync + 'static) -> Self {
        Self { kind: Kind::Unreachable, why: "the connection to it fails".to_owned(), cause: cause.into() }
    }

    /// The error that callers know. Of the kinds that are about an object only "missing" has a meaning to them.
    pub(super) fn of_blob(self, digest: &Digest) -> BlobError {
        match self.kind {
            Kind::Missing => BlobError::NotFound(*digest),
            _ => self.into(),
        }
    }
}

impl From<Failure> for BlobError {
    fn from(failure: Failure) -> Self {
        Self::Unreachable { why: failure.why, source: failure.cause }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

/// By the code where there is one (a HEAD has none), else by the status.
fn sort(status: u16, code: &str) -> (Kind, String) {
    let unreachable = |why: &str| (Kind::Unreachable, why.to_owned());
    match (status, code) {
        (_, "NoSuchBucket") => unreachable("the bucket is not there"),
        (_, "InvalidAccessKeyId") => unreachable("it does not know the access key"),
        (_, "SignatureDoesNotMatch") => unreachable("the secret of the access key is wrong"),
        (_, "ExpiredToken" | "InvalidToken") => unreachable("the credentials' session token has expired or is wrong"),
        (_, "RequestTimeTooSkewed") => unreachable("its clock and this machine's differ too much"),
        (_, "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")
        | (301 | 307, _) => unreachable("the bucket is in another region, or at another address"),
        (_, "QuotaExceeded" | "XMinioStorageFull") | (507, _) => unreachable("it is full"),
        (404, _) | (_, "NoSuchKey" | "NoSuchUpload" | "NotFound") => {
            (Kind::Missing, "there is no such object".to_owned())
        }
        (412, _) => (Kind::Exists, "the object is there already".to_owned()),
        (409, _) => (Kind::Contended, "somebody else is at the same object".to_owned()),
        (416, _) => (Kind::NoRange, "there is no such range".to_owned()),
        (501, _) | (_, "NotImplemented") => (Kind::Unsupported, "it does not know what was asked of it".to_owned()),
        (401 | 403, _) => (Kind::Denied, "it does not allow the request".to_owned()),
        (503, _) | (429, _) => unreachable("it is busy, and asks to slow down"),
        (500..=599, _) => unreachable("it has a fault of its own"),
        _ => unreachable(&format!("it refuses the request with status {status}")),
    }
}

/// Whether what is missing are the credentials.
fn names_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<CredentialsError>() {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{Kind, sort};

    /// Codes win over statuses, so that what a person can mend is said as such.
    #[test]
    fn kinds() {
        for (status, code, kind) in [
            (404, "NoSuchKey", Kind::Missing),
            (404, "", Kind::Missing),
            (404, "NoSuchBucket", Kind::Unreachable),
            (404, "NoSuchUpload", Kind::Missing),
            (412, "PreconditionFailed", Kind::Exists),
            (409, "ConditionalRequestConflict", Kind::Contended),
            (416, "InvalidRange", Kind::NoRange),
            (501, "NotImplemented", Kind::Unsupported),
            (403, "AccessDenied", Kind::Denied),
            (403, "", Kind::Denied),
            (403, "SignatureDoesNotMatch", Kind::Unreachable),
            (503, "SlowDown", Kind::Unreachable),
            (500, "InternalError", Kind::Unreachable),
            (400, "ExpiredToken", Kind::Unreachable),
        ] {
            assert_eq!(sort(status, code).0, kind, "{status} {code}");
        }
        assert!(sort(503, "SlowDown").1.contains("slow down"));
        assert!(sort(418, "Odd").1.contains("418"));
    }
}
