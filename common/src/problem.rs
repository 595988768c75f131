//! Problem documents (RFC 9457) and the closed list of problem types. Each type is documented here once; the daemon
//! serves the text at `/problems/<slug>`. Which error of the registry becomes which problem is not known here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Finding;
use crate::api::quota::QuotaExcess;

/// The media type of a problem document.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// An `application/problem+json` body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// URI reference of the problem type: `/problems/<slug>`. `GET` on it answers with its documentation.
    #[serde(rename = "type")]
    pub kind: String,
    /// The type's title; the same for every occurrence.
    pub title: String,
    /// The HTTP status code, repeated.
    pub status: u16,
    /// What happened this time and what to do; safe to show.
    pub detail: String,
    /// `urn:uuid:<request id>` or `urn:mreg:request:<request id>` where the caller chose an id that is no UUID.
    pub instance: String,
    /// On 422: each value that was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Where inspection is the reason: what was found, the gravest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Where a quota is the reason: which, and by how much it would be exceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaExcess>,
}

/// One refused value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Where it is: `query.limit`, `body.username`, `part.file` …
    pub loc: String,
    /// What is wrong and what is accepted.
    pub msg: String,
}

macro_rules! problem_types {
    ($($variant:ident $slug:literal $status:literal $title:literal $text:literal)*) => {
        /// Every problem type there is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemType {
            $(#[doc = $text] $variant,)*
        }

        impl ProblemType {
            /// All of them, in the order of their status.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The last segment of the type's URI reference.
            pub fn slug(self) -> &'static str {
                match self { $(Self::$variant => $slug),* }
            }
            /// The HTTP status code it is answered with.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status),* }
            }
            /// A short title, the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
            /// The documentation: when it occurs and what to do.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

problem_types! {
    BadRequest "bad-request" 400 "The request can't be understood"
        "The request is malformed as HTTP: a bad path encoding, a bad header value, a body that is cut short. Correct the request; sending it again unchanged will fail again."
    Unauthenticated "unauthenticated" 401 "Sign in first"
        "No valid token came with the request: it is missing, malformed, expired, or its session has ended (logout, password or role change, revocation, disabled user). Sign in at POST /login and send `Authorization: Bearer <access_token>`."
    BadCredentials "bad-credentials" 401 "Wrong user name or password"
        "User name and password don't belong together. Which of the two is wrong is not said, and a disabled user is answered the same."
    SecondFactorRequired "second-factor-required" 401 "A second factor is needed"
        "The password is right, and the user has a second factor: send the present code of the authenticator, or a recovery code, as `otp` along with it. A code is good for a minute or so, and once; missing and wrong ones count as failed sign-ins. Who has lost authenticator and recovery codes asks an admin for a reset."
    Forbidden "forbidden" 403 "Not allowed"
        "The token is valid, but its role lacks the permission that is named in the detail. Ask an admin."
    PasswordChangeRequired "password-change-required" 403 "Change the password first"
        "The password was set by somebody else and must be changed before anything else: POST /me/password."
    SecondFactorEnrolment "second-factor-enrolment" 403 "Set up a second factor first"
        "The registry demands a second factor of this user (MREG_REQUIRE_TOTP), and there is none yet. Nothing else is allowed before: POST /me/totp, then POST /me/totp/confirm."
    ModelQuarantined "model-quarantined" 403 "The version is held in quarantine"
        "Inspection found something in the version's files, or an admin put it in quarantine. Its bytes are not handed out until an admin releases it; GET on the version lists the findings."
    QuotaExceeded "quota-exceeded" 403 "The quota is used up"
        "What would be kept is more than a user or a namespace may keep. `quota` tells whose quota it is, its limit, what is used, what uploads under way have reserved, and what this would have needed. Each version counts in full, also one that is deleted and can still be restored, or whose files are stored already. Nothing was kept, but for a resumable upload, which goes on from its offset. Purge versions, or ask an admin for more. It is no 413, for the request is not too large in itself, and no 507, for the disk is not full and nothing is to be done by the operator."
    NotFound "not-found" 404 "Nothing here"
        "No such resource, or one that is not yours to see."
    MethodNotAllowed "method-not-allowed" 405 "The resource doesn't know this method"
        "The path exists, but not with this method. The Allow header names those it has."
    NotAcceptable "not-acceptable" 406 "No such format"
        "The resource can't be had in the format that was asked for. The detail names those there are."
    RequestTimeout "request-timeout" 408 "The request took too long to arrive"
        "No octet of the body arrived within the idle limit (MREG_BODY_IDLE_SECONDS). Nothing was kept, but for a resumable upload, whose offset says how much. Send it again."
    Conflict "conflict" 409 "Conflicts with what is there"
        "The request is well formed, but the state of the registry forbids it: the name or version is taken, the last admin would be lost, the model is deleted. The detail says which."
    UploadGone "upload-gone" 410 "The upload is over"
        "The resumable upload has expired, was ended by DELETE, or became a file of a version, which the detail names. Nothing can be added to it. Create another with POST /uploads."
    LengthRequired "length-required" 411 "Say the length"
        "The request needs a Content-Length or chunked encoding."
    PreconditionFailed "precondition-failed" 412 "It has changed in the meantime"
        "The If-Match header names another state than the current one: somebody else changed the resource. Read it again and decide anew."
    TusVersion "tus-version" 412 "Another version of the tus protocol"
        "Requests below /uploads follow the tus resumable upload protocol and name its version: `Tus-Resumable: 1.0.0`. Tus-Version lists the versions there are."
    ContentTooLarge "content-too-large" 413 "Too large"
        "The body is over the limit that the detail states (MREG_MAX_UPLOAD_BYTES for uploads). Nothing was kept."
    UnsupportedMediaType "unsupported-media-type" 415 "Content type not understood"
        "The body's Content-Type is not one the resource takes. The detail names those it takes."
    RangeNotSatisfiable "range-not-satisfiable" 416 "No such range"
        "The Range header asks for octets behind the end. Content-Range tells the size."
    ExpectationFailed "expectation-failed" 417 "Expectation not understood"
        "The only expectation that can be met is `Expect: 100-continue`."
    Invalid "invalid" 422 "Values were refused"
        "The request was understood, but values in it break a rule. `errors` lists each with its place."
    DigestMismatch "digest-mismatch" 422 "The bytes are not those that were promised"
        "The SHA-256 of the received bytes differs from the one the request gave. Nothing was kept. Something between the sender and the registry changed the file, or it was the wrong file."
    MaliciousContent "malicious-content" 422 "Evidence of an attack in the files"
        "Inspection found evidence of an attack in a file, and the policy for this model (MREG_SCAN_POLICY, refuse-malicious) takes no such file in. `findings` lists what was found and where. Nothing was kept but the entry in the audit log."
    WeakPassword "weak-password" 422 "The password is too weak"
        "Passwords have 12 to 1024 octets, are not among the common ones, and don't equal the user name."
    IdempotencyKeyReused "idempotency-key-reused" 422 "The idempotency key belongs to another request"
        "The same Idempotency-Key came from the same user within 24 hours with another body. Use a fresh key for each new request."
    UploadBusy "upload-busy" 423 "Another request is at this upload"
        "One request at a time appends to a resumable upload, ends it or publishes it. A newer request to append takes over from an older one; this one could not within its time. Ask for the offset with HEAD and try again."
    TooManyRequests "too-many-requests" 429 "Too many attempts"
        "Too many attempts in a short time, or as many requests or connections of one client at once as there may be; the detail says which. Retry-After says when to try again. Sign-in is blocked per user and network after 5 failures in 15 minutes."
    HeadersTooLarge "headers-too-large" 431 "Header fields too large"
        "The request's header fields are larger than 64 KiB or more than 100."
    ChecksumMismatch "checksum-mismatch" 460 "The octets differ from their checksum"
        "The octets of this request differ from what Upload-Checksum said of them. They were discarded; the upload and its offset are what they were. Send them again."
    Internal "internal" 500 "A fault in the registry"
        "Something failed that should not. The daemon's log has the cause under the request id in `instance`."
    AuditUnavailable "audit-unavailable" 503 "The audit log can't be written"
        "Nothing is done that can't be recorded first. The request changed nothing. Try again after Retry-After; the operator finds the cause in /readyz and in the daemon's log."
    StorageUnavailable "storage-unavailable" 503 "The artifacts' store can't be used now"
        "The object store that keeps the artifacts can't be reached, is busy, or refuses; the detail says why. The request changed nothing, and nothing of an upload was kept. Try again after Retry-After; what needs no artifact goes on meanwhile. The operator finds the state in /readyz and the cause in the daemon's log."
    Overloaded "overloaded" 503 "Too much is asked at once"
        "More is asked of the daemon than it can do in good time, so this request was turned away before anything was done for it; the detail says of what there is too much. It changed nothing and is not in the audit log. Try again after Retry-After, and more slowly each time it comes again. The operator finds the counts in /status and /metrics, and the limits in the manual."
    Unavailable "unavailable" 503 "Not ready"
        "The daemon is starting, stopping or out of connections. Try again after Retry-After."
    StorageFull "storage-full" 507 "Not enough storage"
        "Free space is below the watermark (MREG_MIN_FREE_BYTES), or the upload would take it below. Nothing was kept, but for a resumable upload, which goes on from its offset when there is room. Tell the operator."
}

impl ProblemType {
    /// The type's URI reference.
    pub fn uri(self) -> String {
        format!("/problems/{}", self.slug())
    }

    /// The type whose slug this is.
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.slug() == slug)
    }

    /// A document of this type.
    pub fn problem(self, detail: impl Into<String>, instance: impl Into<String>) -> Problem {
        Problem {
            kind: self.uri(),
            title: self.title().to_owned(),
            status: self.status(),
            detail: detail.into(),
            instance: instance.into(),
            errors: Vec::new(),
            findings: Vec::new(),
            quota: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ProblemType;

    /// Slugs are unique and lead back to their type; statuses are errors.
    #[test]
    fn slugs() {
        for kind in ProblemType::ALL {
            assert_eq!(ProblemType::from_slug(kind.slug()), Some(*kind));
            assert!((400..600).contains(&kind.status()));
        }
    }
}
