//! Signing in.

use common::api::{Me, Token};

use crate::config::secret::Secret;
use crate::registry::Registry;
use crate::registry::access::{Actor, Caller};
use crate::registry::error::{Outcome, RegistryError};

impl Registry {
    /// Password to token. The caller is anonymous; the entry names the user.
    pub async fn login(&self, caller: &Caller, username: &str, password: Secret) -> Outcome<Token> { todo!() }
    /// Token to actor: signature, session, user, on every request. No entry for success; refusals are the face's to
    /// hand to `record_failure` on audited routes.
    pub async fn authenticate(&self, bearer: &str) -> Result<Actor, RegistryError> { todo!() }
    /// A fresh token for the caller's session.
    pub async fn refresh(&self, caller: &Caller) -> Outcome<Token> { todo!() }
    /// Ends the caller's session.
    pub async fn logout(&self, caller: &Caller) -> Outcome<()> { todo!() }
    /// Who the caller is. Allowed while the password must be changed.
    pub async fn me(&self, caller: &Caller) -> Outcome<Me> { todo!() }
    /// Changes the caller's password; ends all their other sessions, and not this one.
    pub async fn change_own_password(&self, caller: &Caller, old: Secret, new: Secret) -> Outcome<()> { todo!() }
}
