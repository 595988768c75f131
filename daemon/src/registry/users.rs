//! Users.

use common::api::{Page, User, UserPatch};
use common::name::UserName;
use common::role::Role;

use crate::config::secret::Secret;
use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::delete::Gone;
use crate::registry::error::Outcome;
use crate::registry::fetch::Tagged;

impl Registry {
    /// Creates a user. `username` and `password` are refused as `body.username`, `WeakPassword`.
    pub async fn register(&self, caller: &Caller, username: &str, password: Secret, role: Option<Role>) -> Outcome<Tagged<User>> { todo!() }
    /// Users by name. `limit` 1..1000.
    pub async fn list_users(&self, caller: &Caller, limit: usize, cursor: Option<&str>) -> Outcome<Page<User>> { todo!() }
    /// A user.
    pub async fn user(&self, caller: &Caller, name: &UserName) -> Outcome<Tagged<User>> { todo!() }
    /// Changes role or state.
    pub async fn patch_user(&self, caller: &Caller, name: &UserName, patch: UserPatch) -> Outcome<Tagged<User>> { todo!() }
    /// Removes a user.
    pub async fn delete_user(&self, caller: &Caller, name: &UserName) -> Outcome<Gone> { todo!() }
    /// Ends all sessions of a user.
    pub async fn revoke_sessions(&self, caller: &Caller, name: &UserName) -> Outcome<Tagged<User>> { todo!() }
    /// Sets another user's password; it must be changed at the next sign-in.
    pub async fn set_password(&self, caller: &Caller, name: &UserName, new: Secret) -> Outcome<Tagged<User>> { todo!() }
}
