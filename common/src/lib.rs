//! What crosses a boundary of mreg: names, digests, roles, wire types, problem types, the audit log's hashing and
//! verification, and (feature `client`) the typed HTTP client; (feature `manual`) manuals from a command line's description.
//! Pure: no files, no clock, no runtime, the client excepted. Nothing here knows the daemon or the console.

pub mod api;
pub mod audit;
pub mod certificate;
#[cfg(feature = "client")]
pub mod client;
pub mod digest;
pub mod grant;
pub mod known;
#[cfg(feature = "manual")]
pub mod manual;
pub mod name;
pub mod pattern;
pub mod problem;
pub mod role;
pub mod shown;
#[cfg(feature = "client")]
pub mod tls;
pub mod token;
