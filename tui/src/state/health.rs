//! What the daemon says of itself.

use common::api::Status;

use crate::action::RequestId;
use crate::event::Moment;

/// Milliseconds between two readings while the screen is open. The route is not audited.
pub const POLL_MS: u64 = 5_000;

/// Screen 4.
#[derive(Debug, Clone, Default)]
pub struct HealthScreen {
    /// The newest answer.
    pub status: Option<Box<Status>>,
    /// When it came.
    pub as_of: Option<Moment>,
    /// The request under way.
    pub pending: Option<RequestId>,
    /// Why the newest reading failed.
    pub failed: Option<String>,
    /// Scrolled by so many lines.
    pub scroll: usize,
}
