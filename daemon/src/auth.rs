//! Proofs of identity: passwords, second factors, tokens and signatures of webhooks. Knows how they are made and checked;
//! refuses to know users, roles and sessions.

pub mod password;
pub mod token;
pub mod totp;
pub mod webhook;
