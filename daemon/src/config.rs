//! Config.
pub mod dotenv;
pub mod secret;
