//! What the signed-in user may do, and the words for what not. Truth is the daemon's answer to "who am I"; names of roles
//! are only ever shown.

use common::role::{Permission, Role};

use crate::state::Who;

/// Why this user may not; none if they may, or if nobody is signed in yet.
pub fn refusal(who: Option<&Who>, permission: Option<Permission>) -> Option<String> {
    let (who, permission) = (who?, permission?);
    if who.permissions.contains(&permission) {
        return None;
    }
    let roles: Vec<&str> = Role::ALL.into_iter().filter(|role| role.allows(permission)).map(Role::as_str).collect();
    Some(format!("needs {permission} ({}); you are {}", roles.join(" or "), who.role))
}
