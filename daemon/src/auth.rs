//! Proofs of identity: passwords and tokens. Knows how they are made and checked; refuses to know users, roles and
//! sessions.

pub mod password;
pub mod token;
