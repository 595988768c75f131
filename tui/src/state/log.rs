//! The log as the console follows it: its tail, what is believed of it, and what of it is asked for.

use common::audit::Verifier;

use crate::action::{LogCall, RequestId};
use crate::event::Moment;
use crate::state::Who;
use crate::tail::{Link, Tail};
use crate::trust::{Checked, Kept, Signed, Trust};

/// How the log is followed, as it was set.
#[derive(Debug, Clone, Default)]
pub struct LogSettings {
    /// Whether it is followed at all.
    pub live: bool,
    /// The log's verifier key, where it is set.
    pub key: Option<Verifier>,
    /// Witness keys.
    pub witnesses: Vec<Verifier>,
    /// How many of them must have cosigned.
    pub quorum: usize,
    /// What the last session kept.
    pub kept: Option<Kept>,
    /// Why nothing could be read of it; nothing is then written over it.
    pub unreadable: Option<String>,
}

/// Pages instead of the stream, which can't be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotLive {
    /// Why.
    pub why: String,
    /// When the last page was asked for, in milliseconds of the console's clock.
    pub paged_ms: Option<u64>,
}

/// The log, followed.
#[derive(Debug, Clone, Default)]
pub struct Feed {
    /// What came.
    pub tail: Tail,
    /// What is believed.
    pub trust: Trust,
    /// Which stream is the present one.
    pub epoch: u64,
    /// What is under way, each at most once.
    pub asked: Vec<LogCall>,
    /// What the network failed at, to be asked again.
    pub again: Vec<LogCall>,
    /// Something is to be kept.
    pub dirty: bool,
    /// The newest entry and checkpoint are known: lists begin with what is here.
    pub begun: bool,
    /// When the alarm was raised that was shown or is to be.
    pub alarm_of: Option<i64>,
    /// Which of the session's tokens the stream was opened with.
    pub token: u64,
    /// The stream said goodbye because of the token.
    pub expired: bool,
    /// Since when the stream is cut; none while it is there, and before it was for the first time.
    pub cut_at: Option<Moment>,
    /// The stream has told something since it was opened.
    pub told: bool,
    /// The daemon could not go on where the stream was cut, and pages fill what is missing.
    pub refills: bool,
    /// The stream can't be had.
    pub not_live: Option<NotLive>,
    /// The acknowledgement that is being sent.
    pub sending: Option<String>,
    /// When the next try to send one is due, in milliseconds of the console's clock.
    pub send_ms: u64,
    /// The job that checks the log, or did.
    pub checking: Option<RequestId>,
    /// The last check of this session.
    pub last_check: Option<Checked>,
    /// What the verification panel shows as pinned while it is open, and when that was seen: people read it out to each other, so it
    /// stands still.
    pub held: Option<(Signed, i64)>,
    /// Whom the daemon refused the log, and with which rights: to them it is not asked again by itself.
    pub refused_to: Option<Who>,
}

impl Feed {
    /// As it is before the first event.
    pub fn new(address: &str, settings: &mut LogSettings) -> Self {
        let trust = Trust::new(
            address,
            settings.key.clone(),
            settings.witnesses.clone(),
            settings.quorum,
            settings.kept.take(),
        );
        Self { trust, ..Self::default() }
    }

    /// Whether the stream has begun in this session: the newest entries are here.
    pub fn is_known(&self) -> bool {
        self.begun
    }

    /// Another user: nothing that the last one saw is kept but what was pinned.
    pub fn forget(&mut self) {
        self.epoch += 1;
        self.tail = Tail::default();
        self.trust.restart();
        self.asked.clear();
        self.again.clear();
        self.begun = false;
        (self.told, self.refills, self.not_live) = (false, false, None);
        (self.sending, self.send_ms) = (None, 0);
        (self.checking, self.last_check) = (None, None);
        self.held = None;
    }

    /// The panel is opened, or is to show what is pinned by now.
    pub fn hold(&mut self) {
        self.held = self.trust.pin().map(|pin| (pin.clone(), self.trust.pin_seen_at()));
    }

    /// Whether entries come as they are made.
    pub fn is_live(&self) -> bool {
        matches!(self.tail.link, Link::Live { .. }) && self.not_live.is_none()
    }
}
