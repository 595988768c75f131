//! All that is on the screen or decides it, as plain data. Changed by `update` alone, read by `view`.

pub mod audit;
pub mod changes;
pub mod deeds;
pub mod dialog;
pub mod diff;
pub mod forms;
pub mod fresh;
pub mod health;
pub mod log;
pub mod marks;
pub mod models;
pub mod quarantine;
pub mod queue;
pub mod tokens;
pub mod users;

use std::collections::{BTreeMap, VecDeque};

use common::api::Me;
use common::certificate::Certificate;
use common::grant::GrantTold;
use common::known::Known;
use common::name::Alias;
use common::role::{Permission, Role};
use jiff::tz::TimeZone;

use crate::action::{Call, RequestId};
use crate::edit::Line;
use crate::event::{Moment, Size};
use crate::keymap::{Command, Context, Keys};
use crate::state::audit::AuditScreen;
use crate::state::changes::Changes;
use crate::state::dialog::{Dialog, History};
use crate::state::forms::{Enrol, Login, NewPassword};
use crate::state::fresh::Fresh;
use crate::state::health::HealthScreen;
use crate::state::log::{Feed, LogSettings};
use crate::state::models::ModelsScreen;
use crate::state::quarantine::QuarantineScreen;
use crate::state::queue::QueueScreen;
use crate::state::users::UsersScreen;
use crate::time::{Now, Way};
use crate::trust::Kept;
use crate::view::theme::{Accent, Theme};

/// A selection that is not moved for so many milliseconds rests: what belongs to it may be read.
pub const REST_MS: u64 = 120;
/// Notes that are kept for the message list.
pub const NOTES_MAX: usize = 2_000;

/// The screens, by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "a screen says its name")]
pub enum Screen {
    Models,
    Audit,
    Queue,
    Quarantine,
    Users,
    Health,
}

impl Screen {
    /// All of them, in the order of their keys.
    pub const ALL: [Self; 6] = [Self::Models, Self::Audit, Self::Queue, Self::Quarantine, Self::Users, Self::Health];

    /// The name in the header.
    pub fn title(self) -> &'static str {
        match self {
            Self::Models => "Models",
            Self::Audit => "Audit",
            Self::Queue => "Queue",
            Self::Quarantine => "Quarantine",
            Self::Users => "Users",
            Self::Health => "Health",
        }
    }

    /// The name in the header while another screen is on show: as it is where there is room, and in three letters.
    pub fn short(self) -> (&'static str, &'static str) {
        match self {
            Self::Models => ("Models", "Mod"),
            Self::Audit => ("Audit", "Aud"),
            Self::Queue => ("Queue", "Que"),
            Self::Quarantine => ("Quar", "Qua"),
            Self::Users => ("Users", "Usr"),
            Self::Health => ("Health", "Hea"),
        }
    }

    /// What it is, for those who may not see more of it: a sentence.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Models => "Models lists what the registry has, its versions and their files",
            Self::Audit => "Audit is the log of all that was done and read, as it grows and with proofs",
            Self::Queue => "Queue lists what lies in the drop folder and how it fares",
            Self::Quarantine => "Quarantine lists versions that inspection distrusts, for those who decide",
            Self::Users => "Users lists who may sign in, with which role, and their sessions",
            Self::Health => "Health says how the daemon fares",
        }
    }

    /// What it takes to see it.
    pub fn permission(self) -> Option<Permission> {
        match self {
            Self::Models => Some(Permission::ModelRead),
            Self::Audit => Some(Permission::AuditRead),
            Self::Queue => Some(Permission::ModelRead),
            Self::Quarantine => Some(Permission::QuarantineRead),
            Self::Users => Some(Permission::UserManage),
            Self::Health => None,
        }
    }
}

/// What was decided before the first frame and never changes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of the profile; empty where an address was given.
    pub profile: String,
    /// The colour it is known by.
    pub accent: Option<Accent>,
    /// The daemon's host and port; empty before one is chosen.
    pub address: String,
    /// Passwords and tokens may cross a network in clear: the header says so.
    pub plain: bool,
    /// The daemon is spoken to in TLS.
    pub tls: bool,
    /// Only ASCII is drawn.
    pub ascii: bool,
    /// Which colours.
    pub theme: Theme,
    /// How the selected row is shown.
    pub highlight: Highlight,
    /// The cursor stays on the selected row, for those who hear or feel the screen.
    pub cursor_on_selection: bool,
    /// The mouse is reported.
    pub mouse: bool,
    /// How times are shown.
    pub time: Way,
    /// The zone of the terminal.
    pub zone: TimeZone,
    /// The terminal's title says which daemon this is.
    pub title: bool,
    /// The terminal rings when something needs a person.
    pub bell: bool,
    /// Text may be sent to the terminal's clipboard.
    pub can_copy: bool,
    /// The keys.
    pub keys: Keys,
    /// Nothing that changes anything is sent.
    pub readonly: bool,
    /// Every action is confirmed by typing a name.
    pub strict: bool,
    /// The session is kept between two runs, unless the box at the login dialog says otherwise.
    pub remember: bool,
    /// Whether it can be.
    pub can_remember: bool,
    /// Whose session is kept at start, if one is.
    pub kept_of: Option<String>,
    /// Milliseconds without a key after which the console locks itself.
    pub lock_after_ms: Option<u64>,
    /// The profiles there are.
    pub profiles: Vec<ProfileRow>,
    /// How the logs of their daemons were left, by the name of the profile.
    pub left: BTreeMap<String, Left>,
    /// The name the login dialog begins with.
    pub user: String,
    /// Version of the console.
    pub version: &'static str,
    /// How the log is followed.
    pub log: LogSettings,
    /// There is no screen: nothing is asked for to fill one.
    pub bare: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            profile: String::new(),
            accent: None,
            address: String::new(),
            plain: false,
            tls: false,
            ascii: false,
            theme: Theme::default(),
            highlight: Highlight::default(),
            cursor_on_selection: false,
            mouse: false,
            time: Way::default(),
            zone: TimeZone::UTC,
            title: false,
            bell: false,
            can_copy: true,
            keys: Keys::default(),
            readonly: false,
            strict: false,
            remember: false,
            can_remember: false,
            kept_of: None,
            lock_after_ms: None,
            profiles: Vec::new(),
            left: BTreeMap::new(),
            user: String::new(),
            version: "",
            log: LogSettings::default(),
            bare: false,
        }
    }
}

/// How the selected row is shown, beside its marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Highlight {
    /// Its identity is reversed.
    #[default]
    Key,
    /// All of it is.
    Row,
    /// Nothing is.
    None,
}

impl Highlight {
    /// All of them, by their names.
    pub const ALL: [(&'static str, Self); 3] = [("key", Self::Key), ("row", Self::Row), ("none", Self::None)];
}

/// A profile, as the list of daemons shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileRow {
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Who signs in.
    pub user: String,
    /// Its colour.
    pub accent: Option<Accent>,
    /// What is particular about it: `strict`, `read-only`.
    pub notes: String,
}

/// How the log of a daemon was left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// Its badge; empty where nothing was verified.
    pub badge: String,
    /// When its newest checkpoint was seen, in seconds since the epoch.
    pub seen_at: Option<i64>,
}

impl From<&Kept> for Left {
    fn from(kept: &Kept) -> Self {
        Self { badge: kept.badge(), seen_at: Some(kept.seen_at).filter(|at| *at > 0) }
    }
}

/// The signed-in user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The stable id; empty until the daemon has said it.
    pub id: String,
    /// The name.
    pub username: String,
    /// The role, to be shown.
    pub role: Known<Role>,
    /// What they may do. What of it is not known here is shown, and allows nothing here.
    pub permissions: Vec<Known<Permission>>,
    /// The label of the API token they came with, which can't be made fresh; none in a session.
    pub api_token: Option<String>,
    /// What they may do with models by their names.
    pub grants: Vec<GrantTold>,
    /// The aliases that take a permission of their own.
    pub protected_aliases: Vec<Alias>,
}

impl Who {
    /// Whether they may do it, as far as grants don't say otherwise.
    pub fn has(&self, permission: Permission) -> bool {
        self.permissions.iter().any(|one| *one == permission)
    }
}

impl From<&Me> for Who {
    fn from(me: &Me) -> Self {
        Self {
            id: me.id.clone(),
            username: me.username.to_string(),
            role: me.role.clone(),
            permissions: me.permissions.clone(),
            api_token: me.api_token.as_ref().map(|token| token.label.clone()),
            grants: me.grants.clone(),
            protected_aliases: me.protected_aliases.clone(),
        }
    }
}

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "a level says its name")]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// One line of the message list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: Moment,
    /// How much it matters.
    pub level: Level,
    /// A sentence.
    pub text: String,
}

/// What a message is about, where that is known: with it the message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A key that did not do what it is for. It is over once that works, or something else is done; moving in a list is nothing.
    Key(Command),
    /// A request that failed. It is over once the same is answered, or anything, where nobody was reached: what was asked
    /// afterwards.
    Request {
        /// Its name.
        name: &'static str,
        /// Nobody was reached, and all that was asked then is asked again.
        is_away: bool,
        /// The first request that was made afterwards.
        since: RequestId,
    },
}

/// What lies over the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlay {
    /// The keys; scrolled by so many lines.
    Help(usize),
    /// The message list.
    Messages(usize),
    /// The daemons there are, and which of them is selected.
    Daemons(usize),
    /// How the log is verified.
    Verification(usize),
    /// What is wrong with the log.
    Alarm(usize),
    /// What runs in the background, and what failed.
    Jobs(usize),
}

impl Overlay {
    /// The same, not scrolled.
    pub fn from_top(self) -> Self {
        match self {
            Self::Help(_) => Self::Help(0),
            Self::Messages(_) => Self::Messages(0),
            other => other,
        }
    }
}

/// The filter that is being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterInput {
    /// What is typed.
    pub line: Line,
    /// What was set before; Esc brings it back.
    pub before: String,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// What a line is typed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptKind {
    /// Why the log's alarm is acknowledged.
    Acknowledge,
    /// The time to go to in the log.
    Time,
    /// Which entries are to be checked.
    Check,
    /// What is noted of the selected version that is held.
    Note,
    /// The version to go to in the model that is open.
    Version,
    /// The id of the log's key, as it is known by another way.
    Trust,
}

/// A question that a line answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// What for.
    pub kind: PromptKind,
    /// What is typed.
    pub line: Line,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// A request that is under way.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What was asked.
    pub call: Call,
    /// When.
    pub at: Moment,
    /// Whether it was sent again after a fresh token.
    pub again: bool,
    /// Which of this session's tokens it was sent with.
    pub token: u64,
}

/// Everything.
#[derive(Debug, Clone)]
pub struct State {
    /// Decided at start.
    pub settings: Settings,
    /// When the last event happened, by the daemon's clock where that is known to differ.
    pub now: Moment,
    /// Seconds that the daemon's clock is ahead of the terminal's; none before an answer told.
    pub skew_seconds: Option<i64>,
    /// The terminal.
    pub size: Size,

    /// The signed-in user; none before the first sign-in.
    pub who: Option<Who>,
    /// The daemon's certificate, or why there is no connection in TLS; none before that is known, and without TLS.
    pub certificate: Option<Result<Certificate, String>>,
    /// The dialog over everything.
    pub login: Option<Login>,
    /// The form that must be filled in before anything else.
    pub new_password: Option<NewPassword>,
    /// The form for a second factor, where it is open.
    pub enrol: Option<Enrol>,
    /// Whether a refresh or a check of the token is under way: everything else waits.
    pub renewing: bool,
    /// How many tokens there were so far.
    pub tokens: u64,
    /// What this user may do is read again once something is answered: they asked for what there is now.
    pub rights_due: bool,
    /// Whether the last request found nobody.
    pub offline: bool,
    /// Screens that were not on show since the daemon was away: what failed there is not read again yet.
    pub missed: Vec<Screen>,
    /// Whether the session is kept between two runs.
    pub remember: bool,
    /// Whose session is kept, as far as this console knows.
    pub kept_of: Option<String>,
    /// Whether the terminal has the focus, as far as it tells.
    pub focused: bool,
    /// The last frame that was written.
    pub drawn: u64,
    /// When the selection of a list was last moved, in milliseconds since the start.
    pub moved_ms: Option<u64>,
    /// When the clock's timer runs out, in milliseconds since the start.
    pub clock_due_ms: Option<u64>,

    /// The screen.
    pub screen: Screen,
    /// The one before.
    pub last_screen: Screen,
    /// Columns that a list is moved sideways by, where not all have room; over either end it begins again.
    pub sideways: i32,
    /// Over the screen.
    pub overlay: Option<Overlay>,
    /// Over all of that: a question, a form, the palette.
    pub dialog: Option<Dialog>,
    /// Lines that were run in the palette.
    pub history: History,
    /// Changes under way and just done.
    pub changes: Changes,
    /// What others changed since it was read.
    pub fresh: Fresh,
    /// Only lines of the help or the messages with this in them.
    pub overlay_filter: String,
    /// Screens that can be gone back to, the last one last, and forward to.
    pub behind: Vec<Screen>,
    /// Forward.
    pub forward: Vec<Screen>,
    /// The title that the terminal was given.
    pub title: Option<String>,
    /// Being typed.
    pub filter: Option<FilterInput>,
    /// A question that a line answers.
    pub prompt: Option<Prompt>,
    /// Keys that wait for more: a count, a prefix.
    pub typed: String,
    /// The message line.
    pub message: Option<Note>,
    /// What it is about.
    pub cause: Option<Cause>,
    /// Whether it tells what came of what somebody did.
    pub tells_result: bool,
    /// How many messages there were.
    pub said: u64,
    /// The message list, oldest first.
    pub notes: VecDeque<Note>,
    /// How many there ever were.
    pub noted: u64,
    /// Only those are listed that there were then: the list is held still.
    pub notes_held: Option<u64>,
    /// The text with hidden characters that `y` asked about, and the last frame before that was asked.
    pub copy_asked: Option<(u64, String)>,
    /// Errors not looked at.
    pub unread: u32,

    /// Requests under way.
    pub asked: BTreeMap<RequestId, Asked>,
    /// Requests that wait for a fresh token.
    pub parked: BTreeMap<RequestId, Asked>,
    /// The next request's id.
    pub next_id: u64,

    /// Screen 1.
    pub models: ModelsScreen,
    /// The log: its tail, and what is believed of it.
    pub log: Feed,
    /// Screen 2.
    pub audit: AuditScreen,
    /// Screen 3.
    pub queue: QueueScreen,
    /// Screen 4.
    pub quarantine: QuarantineScreen,
    /// Screen 5.
    pub users: UsersScreen,
    /// Screen 6.
    pub health: HealthScreen,
}

impl State {
    /// Now, for whatever shows a time or an age.
    pub fn times(&self) -> Now {
        match self.settings.time {
            Way::Utc | Way::Age => Now::utc(self.now.wall_seconds),
            Way::Local => Now::within(self.now.wall_seconds, &self.settings.zone),
        }
    }

    /// How a sentence names a way to do something: its key, or where there are no keys, its command.
    pub fn key_or(&self, key: &'static str, word: &'static str) -> &'static str {
        if self.settings.bare { word } else { key }
    }

    /// Whether the selection is not being moved right now.
    pub fn rests(&self) -> bool {
        self.moved_ms.is_none_or(|moved| self.now.ms.saturating_sub(moved) >= REST_MS)
    }

    /// Which keys mean something now.
    pub fn context(&self) -> Context {
        match (self.screen, &self.models.open) {
            (Screen::Models, None) => Context::Models,
            (Screen::Models, Some(open)) if open.compared.is_some() => Context::Compared,
            (Screen::Models, Some(_)) => Context::Model,
            (Screen::Audit, _) => Context::Audit,
            (Screen::Queue, _) => Context::Queue,
            (Screen::Quarantine, _) => Context::Quarantine,
            (Screen::Users, _) => Context::Users,
            (Screen::Health, _) => Context::Health,
        }
    }

    /// The state before the first event.
    pub fn new(mut settings: Settings, size: Size) -> Self {
        let log = Feed::new(&settings.address, &mut settings.log);
        let audit = AuditScreen { alarm_unseen: log.trust.alarm().is_some(), ..AuditScreen::default() };
        Self {
            remember: settings.remember,
            kept_of: settings.kept_of.clone(),
            focused: true,
            drawn: 0,
            moved_ms: None,
            clock_due_ms: None,
            log,
            settings,
            now: Moment::default(),
            skew_seconds: None,
            size,
            who: None,
            certificate: None,
            login: None,
            new_password: None,
            enrol: None,
            renewing: false,
            tokens: 0,
            rights_due: false,
            offline: false,
            missed: Vec::new(),
            screen: Screen::Models,
            last_screen: Screen::Models,
            sideways: 0,
            overlay: None,
            dialog: None,
            history: History::new(),
            changes: Changes::default(),
            fresh: Fresh::default(),
            overlay_filter: String::new(),
            behind: Vec::new(),
            forward: Vec::new(),
            title: None,
            filter: None,
            prompt: None,
            typed: String::new(),
            message: None,
            cause: None,
            tells_result: false,
            said: 0,
            notes: VecDeque::new(),
            noted: 0,
            notes_held: None,
            copy_asked: None,
            unread: 0,
            asked: BTreeMap::new(),
            parked: BTreeMap::new(),
            next_id: 0,
            models: ModelsScreen::default(),
            audit,
            queue: QueueScreen::default(),
            quarantine: QuarantineScreen::default(),
            users: UsersScreen::default(),
            health: HealthScreen::default(),
        }
    }
}
