//! The harness of the black-box suite: the real `mregd` as a child process, a raw HTTP client that checks every answer,
//! the real `mreg` in a terminal, an oracle that reads a data directory with no code of the daemon's, and files to publish. Nothing here knows what a
//! feature should do; the tests in `it/` do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a harness fails by panicking: the test that uses it fails with the message"
)]

pub mod cutter;
pub mod daemon;
pub mod drop;
pub mod faults;
pub mod fill;
pub mod fuzz;
pub mod hooks;
pub mod http;
pub mod http2;
pub mod multipart;
pub mod nginx;
pub mod oracle;
pub mod otlp;
pub mod postgres;
pub mod pty;
pub mod relay;
pub mod s3;
pub mod samples;
pub mod small_disk;
pub mod show;
pub mod tail;
pub mod tamper;
pub mod tar;
pub mod tls;
pub mod wait;
pub mod witness;
