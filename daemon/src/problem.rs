//! From an error of the registry to the problem type that stands for it outside: over HTTP, and in what the drop folder
//! leaves beside a refused file. The only place that relates the two. Knows every error by name; refuses to know what they
//! mean to the domain.

use common::problem::ProblemType;

use crate::registry::error::RegistryError;

/// The problem type of a registry's error. Without a wildcard: a new error does not build until its answer is decided.
pub fn kind_of(error: &RegistryError) -> ProblemType {
    match error {
        RegistryError::Unauthenticated => ProblemType::Unauthenticated,
        RegistryError::BadCredentials => ProblemType::BadCredentials,
        RegistryError::SecondFactorRequired => ProblemType::SecondFactorRequired,
        RegistryError::Forbidden { .. }
        | RegistryError::ForbiddenOn { .. }
        | RegistryError::ForbiddenForAll { .. }
        | RegistryError::OutOfScope { .. }
        | RegistryError::OutOfNames { .. }
        | RegistryError::OperatorOnly
        | RegistryError::SessionOnly
        | RegistryError::NoDropper(_) => ProblemType::Forbidden,
        RegistryError::PasswordChangeRequired => ProblemType::PasswordChangeRequired,
        RegistryError::EnrolmentRequired => ProblemType::SecondFactorEnrolment,
        RegistryError::Quarantined { .. } => ProblemType::ModelQuarantined,
        RegistryError::Malicious { .. } => ProblemType::MaliciousContent,
        RegistryError::QuotaExceeded(_) => ProblemType::QuotaExceeded,
        RegistryError::NotFound { .. } => ProblemType::NotFound,
        RegistryError::TimedOut => ProblemType::RequestTimeout,
        RegistryError::Interrupted => ProblemType::BadRequest,
        RegistryError::Conflict(_) => ProblemType::Conflict,
        RegistryError::PreconditionFailed => ProblemType::PreconditionFailed,
        RegistryError::UploadGone(_) => ProblemType::UploadGone,
        RegistryError::UploadBusy => ProblemType::UploadBusy,
        RegistryError::ChecksumMismatch => ProblemType::ChecksumMismatch,
        RegistryError::TooLarge { .. } => ProblemType::ContentTooLarge,
        RegistryError::Invalid(_) => ProblemType::Invalid,
        RegistryError::DigestMismatch { .. } => ProblemType::DigestMismatch,
        RegistryError::WeakPassword(_) => ProblemType::WeakPassword,
        RegistryError::IdempotencyKeyReused => ProblemType::IdempotencyKeyReused,
        RegistryError::TooManyRequests { .. } | RegistryError::Busy { is_callers: true, .. } => {
            ProblemType::TooManyRequests
        }
        RegistryError::Busy { is_callers: false, .. } => ProblemType::Unavailable,
        RegistryError::Overloaded(_) => ProblemType::Overloaded,
        RegistryError::AuditUnavailable | RegistryError::AuditFull(_) | RegistryError::AuditUnknown(_) => {
            ProblemType::AuditUnavailable
        }
        RegistryError::StorageFull => ProblemType::StorageFull,
        RegistryError::BlobsUnreachable { .. } => ProblemType::StorageUnavailable,
        RegistryError::Corrupt(_) | RegistryError::Internal(_) => ProblemType::Internal,
    }
}

/// The status a registry's error is answered with; handed to the registry so that an entry can carry it.
pub fn status_of(error: &RegistryError) -> u16 {
    kind_of(error).status()
}
