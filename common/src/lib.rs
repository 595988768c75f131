//! mreg.
