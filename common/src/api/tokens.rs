//! Request and response bodies of `/tokens` (rest-api.md §2). What a token may be made for is the registry's to say.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit::Receipt;
use crate::known::Known;
use crate::name::UserName;
use crate::pattern::NamePattern;
use crate::role::Permission;

/// An API token, without its secret, which is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiToken {
    /// Its id: what stands behind `mreg_` in its text.
    pub id: String,
    /// What it is for; unique among its user's.
    pub label: String,
    /// Whose it is.
    pub user: UserName,
    /// Whether it can be used now.
    #[schema(value_type = ApiTokenState)]
    pub state: Known<ApiTokenState>,
    /// What it may do at most; null: all that its user may, but for `user.manage`.
    #[schema(value_type = Option<Vec<Permission>>)]
    pub permissions: Option<Vec<Known<Permission>>>,
    /// On models of these names only; null: on all.
    #[schema(value_type = Option<Vec<String>>)]
    pub names: Option<Vec<NamePattern>>,
    /// When it was made.
    pub created_at: String,
    /// By whom.
    pub created_by: String,
    /// When it got the secret it has now, if not when it was made.
    pub rotated_at: Option<String>,
    /// Until when the secret before that is accepted as well.
    pub old_secret_until: Option<String>,
    /// When it ends; null: never.
    pub expires_at: Option<String>,
    /// When it was last used. Other daemons on the same log tell it up to an hour late, and after a crash it may be that much
    /// older.
    pub last_used_at: Option<String>,
}

/// Whether a token can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApiTokenState {
    /// It can.
    Live,
    /// It is over.
    Expired,
    /// Its user is disabled; enabled again, it can.
    Disabled,
}

impl ApiTokenState {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expired => "expired",
            Self::Disabled => "disabled",
        }
    }
}

/// Body of `POST /tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiToken {
    /// What it is for, 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64)]
    pub label: String,
    /// The service account it is for; without it, oneself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it may do at most: some of what its user may. Without it all of that, but for `user.manage`, also where the role
    /// changes later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<Permission>>,
    /// On models whose names fit one of these only, such as `team/*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub names: Option<Vec<NamePattern>>,
    /// Seconds until it ends; without it 90 days, or less where the registry allows only less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub expires_in: Option<u64>,
    /// It never ends; where the registry allows that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never_expires: bool,
}

/// Body of `POST /tokens/{token}/rotate`. Empty: the old secret ends at once, and the token lives as long again as it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateApiToken {
    /// For so many seconds the old secret is accepted as well, at most a week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 604_800)]
    pub overlap: Option<u64>,
    /// Seconds until the token ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub expires_in: Option<u64>,
    /// It never ends; where the registry allows that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never_expires: bool,
}

/// Answer of `POST /tokens` and `POST /tokens/{token}/rotate`: the one time that the secret is told.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ApiTokenMade {
    /// The token to send as `Authorization: Bearer`: `mreg_<id>_<secret>`. It can't be told again.
    #[schema(format = Password)]
    pub token: String,
    /// What it is.
    #[serde(flatten)]
    pub info: ApiToken,
    /// Proof that the change is in the audit log.
    pub receipt: Receipt,
}

/// What `GET /me` says of the API token that it was asked with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MyApiToken {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub label: String,
    /// On models of these names only; null: on all.
    #[schema(value_type = Option<Vec<String>>)]
    pub names: Option<Vec<NamePattern>>,
}
