//! Roles, permissions, and the one table relating them (rest-api.md §3). Who holds a role is not known here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a user is, as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads models and downloads what is available.
    Viewer,
    /// Also uploads and edits.
    Contributor,
    /// Reads models, the quarantine and the audit log.
    Auditor,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role, weakest first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Contributor, Self::Auditor, Self::Admin];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Contributor => "contributor",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    /// What the role allows. This is the table of rest-api.md §3; there is no other.
    pub fn permissions(self) -> &'static [Permission] {
        use Permission::{
            AuditRead, IngestManage, ModelDelete, ModelModerate, ModelRead, ModelWrite, ProtectedAlias, QuarantineRead,
            UserManage,
        };
        match self {
            Self::Viewer => &[ModelRead],
            Self::Contributor => &[ModelRead, ModelWrite],
            Self::Auditor => &[ModelRead, QuarantineRead, AuditRead],
            Self::Admin => &[
                ModelRead,
                ModelWrite,
                ModelDelete,
                ModelModerate,
                QuarantineRead,
                ProtectedAlias,
                UserManage,
                IngestManage,
                AuditRead,
            ],
        }
    }

    /// Whether the role allows it.
    pub fn allows(self, permission: Permission) -> bool {
        self.permissions().contains(&permission)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(value: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == value)
            .ok_or_else(|| format!("{value:?} is not a role: use viewer, contributor, auditor or admin"))
    }
}

/// One thing that can be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum Permission {
    /// List and read models, download what is available.
    #[serde(rename = "model.read")]
    ModelRead,
    /// Upload, edit descriptions and tags, move unprotected aliases.
    #[serde(rename = "model.write")]
    ModelWrite,
    /// Delete, restore, purge.
    #[serde(rename = "model.delete")]
    ModelDelete,
    /// Quarantine, release, deprecate.
    #[serde(rename = "model.moderate")]
    ModelModerate,
    /// List what is held in quarantine, and what people said of it.
    #[serde(rename = "quarantine.read")]
    QuarantineRead,
    /// Move protected aliases.
    #[serde(rename = "alias.protected")]
    ProtectedAlias,
    /// Users, roles, sessions and tokens of others, settings.
    #[serde(rename = "user.manage")]
    UserManage,
    /// Retry and discard items of the drop folder.
    #[serde(rename = "ingest.manage")]
    IngestManage,
    /// Read and export the audit log.
    #[serde(rename = "audit.read")]
    AuditRead,
}

impl Permission {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ModelRead => "model.read",
            Self::ModelWrite => "model.write",
            Self::ModelDelete => "model.delete",
            Self::ModelModerate => "model.moderate",
            Self::QuarantineRead => "quarantine.read",
            Self::ProtectedAlias => "alias.protected",
            Self::UserManage => "user.manage",
            Self::IngestManage => "ingest.manage",
            Self::AuditRead => "audit.read",
        }
    }

    /// Whether it is about models, so that grants can give and take it by their names. The others are the role's alone.
    pub fn is_of_models(self) -> bool {
        match self {
            Self::ModelRead
            | Self::ModelWrite
            | Self::ModelDelete
            | Self::ModelModerate
            | Self::QuarantineRead
            | Self::ProtectedAlias => true,
            Self::UserManage | Self::IngestManage | Self::AuditRead => false,
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Permission, Role};

    /// The table of rest-api.md §3, cell by cell.
    #[test]
    fn table() {
        let allowed = |permission| Role::ALL.map(|role| role.allows(permission));
        assert_eq!(allowed(Permission::ModelRead), [true, true, true, true]);
        assert_eq!(allowed(Permission::ModelWrite), [false, true, false, true]);
        assert_eq!(allowed(Permission::ModelDelete), [false, false, false, true]);
        assert_eq!(allowed(Permission::ModelModerate), [false, false, false, true]);
        assert_eq!(allowed(Permission::QuarantineRead), [false, false, true, true]);
        assert_eq!(allowed(Permission::UserManage), [false, false, false, true]);
        assert_eq!(allowed(Permission::AuditRead), [false, false, true, true]);
    }
}
