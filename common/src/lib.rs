//! mreg.
pub mod digest;
