//! A console and a daemon in one process: keys as text go in, requests are answered from a made-up registry, time moves
//! only when it is told to.

use std::cell::RefCell;
use std::collections::BTreeMap;

use common::api::bulk::BulkTotal;
use common::api::{
    ApiToken, AuditRow, Excerpt, IngestItem, IngestPage, Me, ModelInfo, ModelRow, Page, QuarantineItem, Ready,
    ReviewInfo, Status, User, UserInfo, VersionInfo,
};
use common::audit::{canonical_json, leaf_hash};
use common::certificate::{Certificate, KeyPin};
use common::client::{AuditQuery, ClientError, IngestQuery, ModelQuery, Reply, Session};
use common::grant::Grant;
use common::problem::ProblemType;
use common::role::Role;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Position;
use serde_json::{Value, json};
use tui::action::{Action, Answer, Call, LogAnswer, LogCall, Outcome, RequestId, TimerId};
use tui::config::Credential;
use tui::event::{Event, EventKind, Moment, Size, keys};
use tui::secret::Secret;
use tui::state::audit::Line;
use tui::state::deeds::{Base, Deed, Object};
use tui::state::{Settings, State};
use tui::update::{start, update};
use tui::view::draw;

use crate::made_log::MadeLog;
use crate::newer_words::newer;

/// Answers of which each asks for the next, at most.
const DEPTH_MAX: usize = 100;
/// 2026-07-22T12:03:11Z.
pub(crate) const NOW: i64 = 1_784_721_791;

/// The made-up registry.
#[derive(Clone)]
pub(crate) struct Registry {
    pub(crate) role: Role,
    pub(crate) models: u64,
    pub(crate) entries: u64,
    pub(crate) must_change_password: bool,
    /// A second factor is demanded of everybody.
    pub(crate) must_enrol_totp: bool,
    /// Answers requests with this instead.
    pub(crate) failure: Option<ClientError>,
    /// Which of them.
    pub(crate) fails: fn(&Call) -> bool,
    pub(crate) hostile: bool,
    /// The log can be read and followed below `/log`.
    pub(crate) has_log: bool,
    /// No filter finds anything.
    pub(crate) finds_nothing: bool,
    /// All closed lists have this word, which the console doesn't know.
    pub(crate) newer: Option<&'static str>,
    /// Nothing lies in the drop folder, and nothing is held.
    pub(crate) quiet: bool,
    /// The drop folder is paused, and several checks fail.
    pub(crate) troubled: bool,
    /// Since when items of the drop folder are in their states.
    pub(crate) items_since: &'static str,
    /// Reading the drop folder is an entry of the log.
    pub(crate) audited: bool,
    /// Entries are not those their hashes are of.
    pub(crate) tampered: bool,
    /// What the answers to changes are, one after the other; then success.
    pub(crate) changes: std::collections::VecDeque<ClientError>,
    /// Tags that every model has besides.
    pub(crate) tags: std::collections::BTreeMap<String, String>,
    /// Changed models and users: what `GET` shows of them.
    pub(crate) deleted: std::collections::BTreeSet<String>,
    /// Where prod of every model points.
    pub(crate) prod: u64,
    /// The roles that were given.
    pub(crate) roles: BTreeMap<String, Role>,
    /// What was granted to the signed-in user.
    pub(crate) grants: Vec<Grant>,
    /// What was granted to users.
    pub(crate) granted: BTreeMap<String, Vec<Grant>>,
    /// The next index of the log.
    pub(crate) revision: u64,
    /// A release takes another one besides.
    pub(crate) only_approves: bool,
    /// Versions that were held and are decided.
    pub(crate) decided: std::collections::BTreeSet<String>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            role: Role::Admin,
            models: 1_000,
            entries: 10_000,
            must_change_password: false,
            must_enrol_totp: false,
            failure: None,
            fails: |_| true,
            hostile: false,
            has_log: false,
            finds_nothing: false,
            newer: None,
            quiet: false,
            troubled: false,
            items_since: "2026-07-22T12:02:58.000Z",
            audited: false,
            tampered: false,
            changes: std::collections::VecDeque::new(),
            tags: std::collections::BTreeMap::new(),
            deleted: std::collections::BTreeSet::new(),
            prod: 52,
            roles: BTreeMap::new(),
            grants: Vec::new(),
            granted: BTreeMap::new(),
            revision: 9_000,
            only_approves: false,
            decided: std::collections::BTreeSet::new(),
        }
    }
}

pub(crate) fn refused(kind: ProblemType) -> ClientError {
    let problem = kind.problem("said so", "urn:uuid:0190f5f7-0000-4000-8000-000000000000");
    ClientError::Problem { problem: Box::new(problem), retry_after_seconds: None }
}

pub(crate) struct Console {
    pub(crate) state: State,
    pub(crate) registry: Registry,
    pub(crate) ms: u64,
    /// Everything asked of the daemon.
    pub(crate) calls: Vec<Call>,
    /// Requests that are not answered yet; see [`Console::hold`].
    pub(crate) held: Vec<(RequestId, Call)>,
    /// Whether requests wait in `held`.
    pub(crate) hold: bool,
    pub(crate) timers: BTreeMap<TimerId, u64>,
    pub(crate) others: Vec<Action>,
    /// Answers that are being taken, each asking for the next.
    depth: usize,
    refreshing: Refreshing,
}

/// What is known of the session's token, for what must never happen: two refreshes at once, or one after a refused one.
#[derive(Default)]
struct Refreshing {
    /// The request that is under way.
    waits: Option<RequestId>,
    /// It was refused, and nobody has signed in since.
    is_refused: bool,
}

impl Refreshing {
    /// A request is sent.
    fn asked(&mut self, id: RequestId, call: &Call) {
        if *call == Call::Refresh {
            assert!(self.waits.replace(id).is_none(), "two refreshes at once");
            assert!(!self.is_refused, "a refresh after a refused one, and nobody has signed in");
        }
    }

    /// It is answered.
    fn answered(&mut self, id: RequestId, call: &Call, result: &Result<Answer, ClientError>) {
        if self.waits.take_if(|waits| *waits == id).is_some() {
            self.is_refused = matches!(result, Err(error) if error.status().is_some_and(|status| status < 500));
        }
        if matches!(call, Call::Login { .. }) && result.is_ok() {
            self.is_refused = false;
        }
    }
}

impl Console {
    /// Before the first event.
    pub(crate) fn new(size: Size, registry: Registry) -> Self {
        let settings = Settings {
            address: "127.0.0.1:8000".into(),
            user: "alice".into(),
            version: "0.1.0",
            ..Settings::default()
        };
        let mut state = State::new(settings, size);
        state.now = Moment { ms: 0, wall_seconds: NOW };
        Self {
            state,
            registry,
            ms: 0,
            calls: Vec::new(),
            held: Vec::new(),
            hold: false,
            timers: BTreeMap::new(),
            others: Vec::new(),
            depth: 0,
            refreshing: Refreshing::default(),
        }
    }

    /// Signed in with a token, the first page read.
    pub(crate) fn signed_in(width: u16, height: u16, registry: Registry) -> Self {
        let mut console = Self::new(Size { width, height }, registry);
        console.begin(Credential::Token);
        console.feed(EventKind::Date(NOW));
        console
    }

    pub(crate) fn begin(&mut self, credential: Credential) {
        let actions = start(&mut self.state, credential);
        self.act(actions);
    }

    pub(crate) fn feed(&mut self, kind: EventKind) {
        let wall_seconds = NOW + i64::try_from(self.ms / 1000).unwrap();
        let actions = update(&mut self.state, Event { at: Moment { ms: self.ms, wall_seconds }, kind });
        self.act(actions);
    }

    /// Presses keys, such as `jj/denied<Enter>`, each when the frame after the one before was seen.
    pub(crate) fn press(&mut self, text: &str) -> &mut Self {
        for key in keys(text).unwrap_or_else(|| panic!("{text} has a name that is no key")) {
            self.feed(EventKind::Key(key));
            self.see();
        }
        self
    }

    /// Presses keys faster than frames are drawn.
    pub(crate) fn ahead(&mut self, text: &str) -> &mut Self {
        for key in keys(text).unwrap_or_else(|| panic!("{text} has a name that is no key")) {
            self.feed(EventKind::Key(key));
        }
        self
    }

    /// A frame was written.
    pub(crate) fn see(&mut self) -> &mut Self {
        self.feed(EventKind::Drawn(self.state.drawn + 1));
        self
    }

    /// Lets time pass; timers that are due run out.
    pub(crate) fn wait(&mut self, ms: u64) -> &mut Self {
        let until = self.ms + ms;
        while let Some((id, at)) =
            self.timers.iter().map(|(id, at)| (*id, *at)).filter(|(_, at)| *at <= until).min_by_key(|(_, at)| *at)
        {
            self.ms = at;
            self.timers.remove(&id);
            self.feed(EventKind::Timer(id));
        }
        self.ms = until;
        self
    }

    /// Answers what is held.
    pub(crate) fn release(&mut self) -> &mut Self {
        self.hold = false;
        for (id, call) in std::mem::take(&mut self.held) {
            self.answer(id, call);
        }
        self
    }

    fn act(&mut self, actions: Vec<Action>) {
        self.depth += 1;
        let newest = self.calls.len().saturating_sub(8);
        assert!(self.depth < DEPTH_MAX, "one answer asks for the next, without an end: {:?}", &self.calls[newest..]);
        for action in actions {
            match action {
                Action::Request { id, call } => {
                    self.calls.push(call.clone());
                    self.refreshing.asked(id, &call);
                    if self.hold {
                        self.held.push((id, call));
                    } else {
                        self.answer(id, call);
                    }
                }
                Action::Cancel(id) => {
                    self.refreshing.waits.take_if(|waits| *waits == id);
                    self.held.retain(|(held, _)| *held != id);
                }
                Action::TimerSet { id, after_ms } => drop(self.timers.insert(id, self.ms + after_ms)),
                Action::TimerDrop(id) => drop(self.timers.remove(&id)),
                Action::TailOpen { epoch, after: Some(after) } if self.registry.has_log && !self.hold => {
                    for event in MadeLog::of(&self.registry).stream(after) {
                        self.feed(EventKind::Tail { epoch, event });
                    }
                }
                other => self.others.push(other),
            }
        }
        self.depth -= 1;
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, id: RequestId, call: Call) {
        let asked = call.clone();
        let result = match &self.registry.failure {
            Some(error) if (self.registry.fails)(&call) => Err(error.clone()),
            Some(_) | None => match &call {
                Call::Change { .. } => match self.registry.changes.pop_front() {
                    Some(error) => Err(error),
                    None => Ok(self.registry.answer(call)),
                },
                _ => Ok(self.registry.answer(call)),
            },
        };
        let result = result.map(|answer| match self.registry.newer {
            Some(word) => newer(answer, word),
            None => answer,
        });
        self.refreshing.answered(id, &asked, &result);
        self.feed(EventKind::Reply { id, result: Box::new(result) });
    }

    /// What is on the screen.
    pub(crate) fn buffer(&self) -> Buffer {
        let Size { width, height } = self.state.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(&self.state, frame)).unwrap();
        terminal.backend().buffer().clone()
    }

    /// What is painted where there is room beyond the screen, so that nothing is clipped; and whether anything is there.
    pub(crate) fn unclipped(&self) -> (Buffer, bool) {
        let Size { width, height } = self.state.size;
        let mut terminal = Terminal::new(TestBackend::new(width + 9, height + 7)).unwrap();
        terminal.draw(|frame| draw(&self.state, frame)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let blank = Cell::default();
        let is_beyond = |position: &Position| position.x >= width || position.y >= height;
        let is_painted = buffer.area.positions().filter(is_beyond).any(|position| buffer[position] != blank);
        (buffer, is_painted)
    }

    /// What is on the screen, as lines.
    pub(crate) fn screen(&self) -> String {
        let buffer = self.buffer();
        let mut text = String::new();
        for y in 0..buffer.area.height {
            let mut line = String::new();
            let mut skip = 0;
            for x in 0..buffer.area.width {
                let symbol = buffer[(x, y)].symbol();
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                skip = unicode_width::UnicodeWidthStr::width(symbol).saturating_sub(1);
                line.push_str(symbol);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    pub(crate) fn shows(&self, text: &str) -> bool {
        self.screen().contains(text)
    }

    /// How many calls have this name.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.calls.iter().filter(|call| call.name() == name).count()
    }
}

fn reply<T>(body: T) -> Reply<T> {
    Reply { body, request_id: "r".into(), log_index: None, etag: None }
}

/// Wire values are made from JSON, as the daemon would send them.
fn made<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn page<T>(items: Vec<T>, from: u64, total: u64) -> Page<T> {
    let end = from + u64::try_from(items.len()).unwrap();
    let next_cursor = (end < total).then(|| end.to_string());
    let prev_cursor = (from > 0).then(|| from.to_string());
    Page { items, total: (from == 0 || end == total).then_some(total), next_cursor, prev_cursor }
}

/// The places of a page in a list of so many rows.
fn places(cursor: Option<&str>, before: Option<&str>, limit: Option<u32>, total: u64) -> std::ops::Range<u64> {
    let limit = u64::from(limit.unwrap());
    match (cursor, before) {
        (Some(cursor), _) => {
            let from: u64 = cursor.parse().unwrap();
            from..total.min(from + limit)
        }
        (None, Some(before)) => {
            let end = if before == common::client::END { total } else { before.parse().unwrap() };
            end.saturating_sub(limit)..end
        }
        (None, None) => 0..total.min(limit),
    }
}

impl Registry {
    fn answer(&mut self, call: Call) -> Answer {
        match call {
            Call::Reach => Answer::Reached(Some(Certificate {
                names: vec!["registry.example".to_owned()],
                not_before_s: 0,
                not_after_s: NOW + 81 * 86_400 + 5,
                key: KeyPin::of(b"key"),
            })),
            Call::Login { .. } | Call::Refresh => Answer::Session(reply(Session {
                expires_in_seconds: 1800,
                username: "alice".parse().unwrap(),
                role: self.role.into(),
                must_change_password: self.must_change_password,
                must_enrol_totp: self.must_enrol_totp,
            })),
            Call::ChangePassword { .. } => Answer::PasswordChanged,
            Call::EnrolTotp { .. } => Answer::TotpSecret(
                Secret::new("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP".to_owned()),
                Secret::new("otpauth://totp/mreg:alice?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=mreg".to_owned()),
            ),
            Call::ConfirmTotp { .. } => {
                Answer::RecoveryCodes(vec![Secret::new("abcd-efgh-ijkl-mnop".to_owned()), Secret::new("qrst-uvwx-yz23-4567".to_owned())])
            }
            Call::Me => Answer::Me(reply(made::<Me>(json!({
                "id": "usr_1", "username": "alice", "role": self.role, "permissions": self.role.permissions(),
                "grants": self.grants, "protected_aliases": ["prod"],
                "must_change_password": false, "token_expires_at": "2026-07-22T12:33:11.000Z",
                "session_expires_at": "2026-07-23T00:03:11.000Z"
            })))),
            Call::Models(query) => Answer::Models(reply(self.models(&query))),
            Call::Count { query, .. } => {
                let query = ModelQuery { limit: Some(1), ..*query };
                let matched = self.models(&query).total.unwrap_or(0);
                Answer::Counted(BulkTotal { matched, set: "5e7".into(), ..BulkTotal::default() })
            }
            Call::Model(reference) => {
                let number = reference.rsplit('-').next().and_then(|number| number.parse().ok());
                let named = number.filter(|number| self.row(*number).name.as_str() == reference);
                Answer::Model(reply(Box::new(self.model(named.unwrap_or(0)))))
            }
            Call::Versions { page: paging, .. } => {
                let found = places(paging.cursor.as_deref(), paging.before.as_deref(), paging.limit, 52);
                let items = found.clone().map(|place| self.version(52 - place)).collect();
                Answer::Versions(reply(page(items, found.start, 52)))
            }
            Call::Users(query) => {
                let mut users = self.users();
                users.retain(|user| user.username.as_str().contains(&query.q));
                users.retain(|user| query.role.is_none_or(|role| user.role == role));
                if query.sort.starts_with('-') {
                    users.reverse();
                }
                let total = users.len() as u64;
                Answer::Users(reply(page(users, 0, total)))
            }
            Call::Tokens(query) => {
                let has_one = query.user == "bob" || (query.user == "alice" && self.role == Role::Admin);
                let rows = if has_one { vec![self.token(&query.user)] } else { Vec::new() };
                let total = rows.len() as u64;
                Answer::Tokens(reply(page(rows, 0, total)))
            }
            Call::User(name) => Answer::User(reply(Box::new(self.user_info(&name)))),
            Call::Audit(query) => Answer::Audit(reply(self.audit(&query))),
            Call::Status => Answer::Status(reply(Box::new(self.status()))),
            Call::Ready => Answer::Ready(self.ready()),
            Call::Ingest(query) => {
                let mut reply = reply(Box::new(self.ingest(&query)));
                reply.log_index = self.audited.then_some(7);
                Answer::Ingest(reply)
            }
            Call::Quarantine(query) => {
                let mut items = self.held(query.blocked);
                items.retain(|item| item.name.as_str().contains(&query.q));
                items.retain(|item| query.verdict.is_empty() || item.verdict.as_ref() == Some(&query.verdict));
                let total = items.len() as u64;
                Answer::Quarantine(reply(page(items, 0, total)))
            }
            Call::Version { version, .. } => {
                Answer::Version(reply(Box::new(self.version(u64::from(version.number())))))
            }
            Call::Review { .. } => Answer::Review(reply(Box::new(self.review()))),
            Call::Excerpt { place, .. } => Answer::Excerpt(Reply { log_index: Some(9_100), ..reply(Box::new(self.excerpt(&place))) }),
            Call::Log(call) if self.has_log => Answer::Log(MadeLog::of(self).answer(call)),
            Call::Log(LogCall::Receipt(index)) => Answer::Log(LogAnswer::Receipt(index, String::new())),
            Call::Log(call) => panic!("the log is not followed here: {call:?}"),
            Call::Position(time) => {
                // One entry a second from noon on, as far as times are told apart here.
                let index = if time.as_str() < "2026-07-22T12:03" { 5_000 } else { self.entries };
                Answer::Position(reply(made(json!({"index": index, "size": self.entries}))))
            }
            Call::Acknowledge(said) => panic!("no alarm was acknowledged: {said:?}"),
            Call::Look(object) => {
                let base = self.look(&object);
                Answer::Look(Reply { etag: Some(format!("\"{}\"", self.revision)), ..reply(base) })
            }
            Call::Change { change, .. } => {
                self.revision += 1;
                let index = self.revision;
                let outcome = Outcome {
                    only_approved: self.only_approves && matches!(change.deed, Deed::Release { .. }),
                    is_in_vain: false,
                    said: None,
                    receipt: None,
                    restorable_until: (change.deed == Deed::Delete).then(|| "2026-08-21T12:03:11.000Z".to_owned()),
                    password: matches!(change.deed, Deed::OneTimePassword | Deed::Register(_))
                        .then(|| Secret::new("abcde-fghjk-mnpqr-stuvw".to_owned())),
                };
                match &change.deed {
                    Deed::Release { .. } | Deed::Block { .. } if !self.only_approves => {
                        self.decided.insert(change.object.name());
                    }
                    Deed::Delete => drop(self.deleted.insert(change.object.id())),
                    Deed::Restore => drop(self.deleted.remove(&change.object.id())),
                    Deed::Alias { to: Some(to), .. } => self.prod = to.number().into(),
                    Deed::Pause { .. } => self.troubled = true,
                    Deed::Resume { .. } => self.troubled = false,
                    Deed::Grants(grants) => drop(self.granted.insert(change.object.name(), grants.clone())),
                    Deed::Role(role) => drop(self.roles.insert(change.object.name(), *role)),
                    _ => {}
                }
                let request_id = "0190f5f7-0000-4000-8000-000000000000".to_owned();
                Answer::Changed(Reply { log_index: Some(index), request_id, ..reply(Box::new(outcome)) })
            }
            Call::Text { version, .. } => {
                let labels = if version.number() == 52 { 40 } else { 39 };
                Answer::Text(format!("{{\n  \"hidden_size\": 768,\n  \"num_labels\": {labels},\n  \"dropout\": 0.1\n}}\n").into())
            }
            Call::History { .. } => Answer::History(reply(page(
                [52, 51, 50]
                    .map(|version| {
                        made(json!({"version": version, "at": "2026-07-20T08:00:00.000Z", "by": "alice", "log_index": version}))
                    })
                    .into(),
                0,
                3,
            ))),
        }
    }

    fn models(&self, query: &ModelQuery) -> Page<ModelRow> {
        let found = match query.q.is_empty() {
            true => self.models,
            false if self.finds_nothing => 0,
            false => self.models / 10,
        };
        let asked = places(query.cursor.as_deref(), query.before.as_deref(), query.limit, found);
        let down = query.sort.starts_with('-');
        let items = asked.clone().map(|place| self.row(if down { found - 1 - place } else { place })).collect();
        page(items, asked.start, found)
    }

    fn look(&self, object: &Object) -> Base {
        match object {
            Object::Model { id, .. } => {
                let number = id[6..].parse().unwrap();
                let mut value = serde_json::to_value(self.row(number)).unwrap();
                value["restorable_until"] = Value::Null;
                value["newest_versions"] = self.newest();
                value["selected"] = Value::Null;
                if self.deleted.contains(id) {
                    value["state"] = json!("deleted");
                }
                Base::Model(Box::new(made(value)))
            }
            Object::Version { version, .. } => {
                let mut info = self.version(version.number().into());
                if self.deleted.contains(&object.id()) {
                    info.state = common::api::State::Deleted.into();
                }
                Base::Version(Box::new(info))
            }
            Object::User(name) => {
                let user = self.users().into_iter().find(|user| user.username.as_str() == name);
                Base::User(Box::new(user.unwrap()))
            }
            Object::Item { id, .. } => {
                let item = (0..8).map(|place| self.item(place)).find(|item| item.id == *id);
                Base::Item(Box::new(item.unwrap()))
            }
            Object::Intake => Base::Intake(Box::new(made(self.intake()))),
            Object::Token { user, .. } => Base::Token(Box::new(self.token(user))),
            Object::Webhook(_) | Object::Quota { .. } | Object::Rule(_) => panic!("the screen has none of it"),
        }
    }

    pub(crate) fn token(&self, user: &str) -> ApiToken {
        let evil = self.evil();
        made(json!({
            "id": "06cfb8938p4tqkff", "label": format!("{evil}nightly"), "user": user, "state": "live",
            "permissions": ["model.read"], "names": ["team-nlp/*"], "created_at": "2026-07-01T08:00:00.000Z",
            "created_by": user, "rotated_at": null, "old_secret_until": null,
            "expires_at": "2026-09-29T08:00:00.000Z", "last_used_at": "2026-07-22T12:01:11.000Z"
        }))
    }

    /// A row: made once, for lists have many.
    fn row(&self, number: u64) -> ModelRow {
        thread_local! {
            static ROWS: RefCell<BTreeMap<(u64, bool, u64), ModelRow>> = const { RefCell::new(BTreeMap::new()) };
        }
        let key = (number, self.hostile, self.prod);
        let mut row = ROWS.with_borrow_mut(|rows| rows.entry(key).or_insert_with(|| self.new_row(number)).clone());
        row.tags.extend(self.tags.clone());
        row
    }

    fn new_row(&self, number: u64) -> ModelRow {
        let kinds = ["summariser", "intent-router", "ner-multi", "toxicity", "asr-small", "translate-de-en"];
        let kind = kinds[usize::try_from(number % 6).unwrap()];
        let description = if self.hostile && number.is_multiple_of(2) {
            "\u{202e}evil\u{1b}]0;owned\u{7} text\nand a second line 日本語 e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}"
        } else {
            "Routes user requests to one of 40 intents. Trained on tickets of the last year."
        };
        made(json!({
            "id": ulid(number), "name": format!("team-nlp/{kind}-{number}"), "description": description,
            "tags": {"stage": "prod", "lang": if self.hostile { "d\u{200b}e" } else { "de" }},
            "owner": if self.hostile { "m\u{9b}31mallory" } else { "svc-ci" },
            "aliases": if number.is_multiple_of(3) { json!([alias("prod", self.prod), alias("stage", 51)]) } else { json!([]) },
            "state": if number % 7 == 3 { "quarantined" } else { "available" }, "latest_version": 52,
            "format": "safetensors", "size": 24_118_904u64 * (number + 1), "uploader": "svc-ci", "versions": 52,
            "created_at": "2025-11-02T08:00:00.000Z", "updated_at": format!("2026-07-{:02}T09:20:00.000Z", number % 22 + 1)
        }))
    }

    fn model(&self, number: u64) -> ModelInfo {
        let mut value = serde_json::to_value(self.row(number)).unwrap();
        value["restorable_until"] = Value::Null;
        value["newest_versions"] = self.newest();
        value["selected"] = Value::Null;
        made(value)
    }

    /// The versions that come with a model.
    fn newest(&self) -> Value {
        json!([52, 51, 50, 49, 48].map(|number| self.version(number)))
    }

    /// What somebody who is not trusted writes before what they write.
    fn evil(&self) -> &'static str {
        if self.hostile { "\u{202e}evil\u{1b}]0;owned\u{7}\n日本語 " } else { "" }
    }

    fn version(&self, number: u64) -> VersionInfo {
        let evil = self.evil();
        let findings = if number.is_multiple_of(2) {
            json!([{"rule": "pickle.present", "level": "suspicious", "where": format!("{evil}model.pkl@0"),
                "detail": format!("{evil}a pickle can run code when it is loaded")}])
        } else {
            json!([])
        };
        made(json!({
            "id": ulid(0), "name": "team-nlp/summariser-0", "version": number,
            "state": if number == 50 { "quarantined" } else { "available" },
            "state_reason": if number == 50 { json!(format!("{evil}looks wrong")) } else { Value::Null },
            "description": format!("{evil}nightly"), "artifacts": [
                {"path": "weights/model.safetensors", "size": 24_110_700, "digest": digest(), "format": "safetensors"},
                {"path": "config.json", "size": 1204, "digest": if number == 52 { digest().replace('9', "8") } else { digest() }, "format": "json"}],
            "metadata": {"metric": {"value": {"f1": 0.860 + f64::from(u32::try_from(number).unwrap()) / 1000.0}, "origin": "claimed"}, "parameters": {"value": 125_000_000, "origin": "measured"}, "licence": {"value": format!("{evil}apache-2.0"), "origin": "claimed"}},
            "findings": findings, "source": "api", "aliases": if number == 52 { json!(["prod"]) } else { json!([]) },
            "created_at": "2026-07-20T08:00:00.000Z", "created_by": "svc-ci", "log_index": 9000 + number
        }))
    }

    fn intake(&self) -> Value {
        let states = if self.quiet {
            json!({})
        } else {
            json!({"waiting": 2, "hashing": 1, "scanning": 1, "done": 1, "quarantined": 1, "rejected": 1, "failed": 1})
        };
        json!({
            "paused": self.troubled, "paused_by": self.troubled.then_some("bob"),
            "paused_at": self.troubled.then_some("2026-07-22T11:58:11.000Z"),
            "pause_reason": self.troubled.then(|| format!("{}the disk is being moved", self.evil())), "problem": null, "events": true,
            "poll_seconds": 30, "settle_seconds": 10, "states": states, "active": 2, "done_last_hour": if self.quiet { 0 } else { 118 },
            "done_total": 4012, "rejected_total": 17, "bytes_total": 9_000_000_000_000u64,
            "oldest_seen_at": if self.quiet { Value::Null } else { json!("2026-07-22T12:02:58.000Z") },
            "walked_at": "2026-07-22T12:03:01.000Z", "overflows": 0
        })
    }

    fn ingest(&self, query: &IngestQuery) -> IngestPage {
        let mut items: Vec<IngestItem> =
            if self.quiet { Vec::new() } else { (0..8).map(|place| self.item(place)).collect() };
        items.retain(|item| query.states.is_empty() || query.states.iter().any(|state| item.state == *state));
        items.retain(|item| item.path.contains(&query.q));
        match query.sort.as_str() {
            "" => {}
            "-work" => items.reverse(),
            "path" => items.sort_by(|one, other| one.path.cmp(&other.path)),
            "-path" => items.sort_by(|one, other| other.path.cmp(&one.path)),
            "-state_since" => items.sort_by(|one, other| other.state_since.cmp(&one.state_since)),
            other => panic!("{other}"),
        }
        made(json!({"items": items, "total": items.len(), "next_cursor": null, "intake": self.intake()}))
    }

    fn item(&self, place: usize) -> IngestItem {
        let gib = 1_073_741_824u64;
        let (path, state, reason, size) = [
            ("asr-large-9.safetensors", "hashing", None, 9 * gib),
            ("nlp/team/a-rather-deep-folder/intent-router-53.tar", "scanning", None, 24_118_904),
            ("rerank-6.onnx", "waiting", Some("it was written to 2 s ago; 10 s of rest are needed"), gib),
            ("embed-base-12.safetensors", "waiting", Some("2 before it"), 438_000_000),
            ("asr-large-8.tar", "quarantined", Some("malicious: pickle.dangerous_global"), 9 * gib),
            ("notes.docx", "rejected", Some("not the content of a model"), 88_000),
            ("lang-id-3.onnx", "failed", Some("the blob store timed out after 30 s"), 12_000_000),
            ("embed-base-11.safetensors", "done", None, 438_000_000),
        ][place];
        let read = matches!(state, "hashing" | "scanning");
        let ended = matches!(state, "quarantined" | "done");
        let path = if self.hostile { format!("\u{202e}gpj\u{1b}[2J\n{path}") } else { path.to_owned() };
        made(json!({
            "id": ulid(place as u64), "path": path, "kind": "file", "state": state, "reason": reason, "size": size, "files": 1,
            "bytes_done": if read { size / 100 * 61 } else { 0 }, "bytes_per_second": read.then_some(91_000_000),
            "owner_uid": 1000, "by": if place == 5 { Value::Null } else { json!("dave") },
            "seen_at": format!("2026-07-22T{}:10.000Z", ["12:01", "12:02", "12:02", "12:03", "11:54", "11:49", "11:45", "11:01"][place]),
            "state_since": self.items_since, "attempts": if state == "failed" { 2 } else { 0 }, "attempts_max": 5,
            "next_try_at": (state == "failed").then_some("2026-07-22T12:04:23.000Z"), "name": (place != 5).then_some("team-nlp/lang-id"),
            "model": ended.then(|| ulid(0)), "version": ended.then_some(50), "digest": (place > 3).then(digest),
            "log_index": ended.then_some(10_000_101), "place": format!("processing/{}", ulid(place as u64)),
            "problem": (state == "rejected").then_some("/problems/unsupported-format"),
            "history": [
                {"at": "2026-07-22T12:01:10.000Z", "state": "seen", "text": "seen in incoming/"},
                {"at": "2026-07-22T12:01:18.000Z", "state": "waiting", "text": "it was written to"},
                {"at": "2026-07-22T12:02:58.000Z", "state": state, "text": reason.unwrap_or("went on")}]
        }))
    }

    fn held(&self, blocked: bool) -> Vec<QuarantineItem> {
        if self.quiet {
            return Vec::new();
        }
        let evil = if self.hostile { "\u{202e}\u{1b}[31mposix system\n" } else { "posix.system" };
        let finding = |rule: &str, level: &str, place: &str, detail: &str| {
            json!({"rule": rule, "level": level, "where": place, "detail": detail,
                "meaning": "The pickle names a function that runs commands. Loading it runs them."})
        };
        let all = [
            ("team-nlp/ner-multi", "archive.bomb", "unscannable", "2026-07-19T12:00:00.000Z", "bob"),
            ("team-nlp/asr-large", "pickle.dangerous_global", "malicious", "2026-07-22T11:54:02.000Z", "dave"),
            ("team-nlp/tts-anna", "pickle.unknown_global", "suspicious", "2026-07-22T10:03:02.000Z", "dave"),
            ("team-nlp/a-model-with-a-very-long-name-indeed", "", "clean", "2026-07-22T12:02:50.000Z", "svc-ci"),
        ];
        let rows = if blocked { &all[..1] } else { &all[..] };
        let rows = rows.iter().filter(|row| !self.decided.contains(&format!("{}:50", row.0)));
        let row = |(place, (name, rule, verdict, at, by)): (usize, &(&str, &str, &str, &str, &str))| {
            let findings = if rule.is_empty() {
                json!([])
            } else {
                json!([
                    finding(rule, verdict, "weights/opt.pkl@452", &format!("GLOBAL {evil}")),
                    finding("pickle.reduce", "note", "weights/opt.pkl@480", "REDUCE calls it at load time")
                ])
            };
            made(json!({
                "id": ulid(place as u64), "name": name, "version": 50, "state_reason": "held by inspection", "held_at": at,
                "held_seconds": 1, "verdict": verdict, "cleared": rule.is_empty(), "findings": findings,
                "findings_total": if rule.is_empty() { 0 } else { 7 },
                "review": blocked.then(|| json!({"decision": "blocked", "by": "alice", "at": "2026-07-20T08:00:00.000Z",
                    "log_index": 9001, "reason": "it runs a shell", "over": {"archive.bomb": "unscannable"}})),
                "format": "pickle", "size": 9_663_676_416u64, "created_at": at, "created_by": by
            }))
        };
        rows.enumerate().map(row).collect()
    }

    fn ready(&self) -> Ready {
        let ok = !self.troubled;
        made(json!({"ready": ok, "checks": {
            "log": {"ok": true, "detail": "writable"}, "store": {"ok": true, "detail": "sled"},
            "blobs": {"ok": ok, "detail": if ok { "disk" } else { "blobs can't be reached" }}}}))
    }

    fn users(&self) -> Vec<User> {
        [("alice", "admin"), ("bob", "contributor"), ("carol", "auditor"), ("eve", "viewer")]
            .iter()
            .zip(1..)
            .map(|((name, role), number)| {
                made(json!({
                    "id": format!("usr_{number}"), "username": name,
                    "role": self.roles.get(*name).map_or(*role, |role| role.as_str()), "disabled": *name == "eve",
                    "grants": self.granted.get(*name).cloned().unwrap_or_default(),
                    "must_change_password": *name == "bob", "totp": *name == "alice", "sessions": number, "created_at": "2026-01-10T08:00:00.000Z",
                    "updated_at": "2026-01-10T08:00:00.000Z",
                    "failed_logins": if *name == "carol" { 5 } else { 0 },
                    "locked_until": if *name == "carol" { json!("2026-07-22T12:18:11.000Z") } else { Value::Null },
                    "last_login_at": if *name == "eve" { Value::Null } else { json!("2026-07-22T11:46:11.000Z") }
                }))
            })
            .collect()
    }

    fn user_info(&self, name: &str) -> UserInfo {
        let user = self.users().into_iter().find(|user| user.username.as_str() == name).unwrap();
        let mut value = serde_json::to_value(&user).unwrap();
        value["live_sessions"] = json!([
            {"since": "2026-07-22T11:58:00.000Z", "expires_at": "2026-07-22T23:58:00.000Z"},
            {"since": "2026-07-21T08:00:00.000Z", "expires_at": "2026-07-22T20:00:00.000Z"}]);
        value["role_given"] =
            json!({"by": format!("{}alice", self.evil()), "at": "2026-01-10T08:00:00.000Z", "log_index": 8_812_004});
        made(value)
    }

    fn review(&self) -> ReviewInfo {
        let evil = self.evil();
        made(json!({
            "notes": [
                {"text": format!("{evil}asked dave, waiting"), "by": "carol", "at": "2026-07-22T12:00:31.000Z", "log_index": 9_050},
                {"text": "same file as in v7", "by": "alice", "at": "2026-07-22T11:56:00.000Z", "log_index": 9_049}],
            "approvals": [{"by": "carol", "at": "2026-07-22T12:01:00.000Z", "log_index": 9_051, "reason": "a test model"}],
            "approvals_needed": 2, "sender": {"name": "dave", "available": 14, "held": 2, "blocked": 1}
        }))
    }

    fn excerpt(&self, place: &str) -> Excerpt {
        let offset: u64 = place.rsplit('@').next().unwrap().parse().unwrap();
        let octets: Vec<u8> = b"\x80\x02cposix\nsystem\nq\x00X\x1b]0;x\x07".iter().copied().cycle().take(700).collect();
        let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        made(json!({"path": "weights/opt.pkl", "inside": "", "offset": offset, "from": 0, "size": 700, "octets": hex}))
    }

    fn audit(&self, query: &AuditQuery) -> Page<Line> {
        let below = query.cursor.as_deref().map(|cursor| cursor.parse().unwrap()).or(query.before);
        let below = below.unwrap_or(self.entries).min(self.entries);
        let above = query.after.map_or(0, |after| after + 1);
        let lowest = below.saturating_sub(query.limit.unwrap().into()).max(above).min(below);
        let lines = (lowest..below).rev().map(|index| self.line(index));
        let items = lines.filter(|line| query.actor.is_empty() || line.actor() == query.actor).collect();
        Page { items, total: None, next_cursor: (lowest > above).then(|| lowest.to_string()), prev_cursor: None }
    }

    /// An entry as a row of the list: made once, for there are many.
    fn line(&self, index: u64) -> Line {
        thread_local! {
            static LINES: RefCell<BTreeMap<(u64, bool, bool), Line>> = const { RefCell::new(BTreeMap::new()) };
        }
        let key = (index, self.hostile, self.tampered);
        let new = || Line::try_from(self.entry(index)).unwrap();
        LINES.with_borrow_mut(|lines| lines.entry(key).or_insert_with(new).clone())
    }

    fn entry(&self, index: u64) -> AuditRow {
        let actors = ["alice", "watcher", "bob", "svc-ci", "eve"];
        let actions = ["model.update", "model.scan", "auth.login", "model.upload", "model.delete"];
        let place = usize::try_from(index % 5).unwrap();
        let name = if self.hostile { "m\u{9b}31mal\u{202e}" } else { actors[place] };
        let action = actions[place];
        let entry = json!({
                "v": 1, "seq": index, "salt": "07".repeat(32), "id": format!("0190f5f7-{index:012}"), "ts": format!("2026-07-22T12:02:{:02}.114Z", index % 60),
                "node": "4c1f", "action": action, "outcome": if place == 4 { "denied" } else { "ok" },
                "actor": {"id": format!("usr_{place}"), "name": name, "kind": "user", "role": "viewer", "cred": "t-7c1e"},
                "target": if place == 2 { json!({"kind": "user", "id": "usr_2"}) } else { json!({"kind": "model", "id": ulid(0), "version": "52"}) },
                "req": {"id": "01J3Z8", "method": "DELETE", "route": "/models/{id}", "status": 403, "ip": "10.2.0.31", "ua": "curl/8.1"},
                "data": {"versions": 7}
        });
        let leaf = canonical_json(&entry).unwrap();
        let logged: &[u8] = if self.tampered { b"another" } else { &leaf };
        let leaf_hash = leaf_hash(logged).to_string();
        AuditRow { index, entry, leaf_hash }
    }

    /// An entry as it is logged.
    pub(crate) fn leaf(&self, index: u64) -> Vec<u8> {
        canonical_json(&self.entry(index).entry).unwrap()
    }

    fn status(&self) -> Status {
        let held = self.held(false);
        let quarantine =
            json!({"waiting": held.len(), "blocked": 1, "oldest_held_at": held.first().map(|item| &item.held_at)});
        let witness = |name: &str, error: Option<&str>| json!({"name": format!("{}{name}", self.evil()), "size": 9_990, "cosigned_at": "2026-07-22T12:03:01.000Z", "error": error});
        let witnesses = json!({
            "witnessed_size": 9_990, "witnessed_at": "2026-07-22T12:02:59.000Z", "witnessed_age_seconds": 12, "contradictions": [],
            "unmet": self.troubled.then_some("2 of 2 are needed, w2 has not signed"), "failures": 3,
            "witnesses": [witness("w1", None), witness("w2", self.troubled.then_some("timed out"))]
        });
        let scrub = json!({
            "state": "reading", "blobs_done": 100, "blobs": 9001, "bytes_done": 3_249_382_703u64, "bytes": 8_123_456_789u64,
            "bytes_per_second": 20_971_520, "bytes_per_second_max": 20_971_520, "started_at": "2026-07-22T11:03:01.000Z",
            "next_pass_at": null, "damaged": u64::from(self.troubled),
            "last_full_pass": {"started_at": "2026-07-15T11:00:00.000Z", "finished_at": "2026-07-15T14:00:00.000Z", "blobs": 9000,
                "bytes": 8_000_000_000u64, "damaged": 0, "missing": 0, "unreadable": 0}
        });
        let rescan = json!({"ruleset": "r-12", "stale": 12, "total": 40, "done": 28, "failed": 0, "current": "team-nlp/asr-small:4",
            "started_at": "2026-07-22T11:03:01.000Z"});
        made(json!({
            "quarantine": quarantine, "witnesses": witnesses, "scrub": scrub, "rescan": rescan, "ingest": self.intake(),
            "diagnostics": [
                {"at": "2026-07-22T11:58:40.000Z", "level": "info", "text": "login eve from 10.2.0.31"},
                {"at": "2026-07-22T12:01:21.000Z", "level": "warn", "text": "the blob store timed out after 30 s (lang-id-3.onnx)"},
                {"at": "2026-07-22T12:02:00.000Z", "level": "error", "text": if self.hostile { "\u{1b}[2J\u{202e}x" } else { "witness w2 did not answer" }}],
            "build": {"name": "mregd", "version": "0.1.0", "journal_format": 1}, "started_at": "2026-07-10T08:00:00.000Z",
            "uptime_seconds": 1_051_391, "scan_policy": format!("{}default", self.evil()), "open_uploads": 2,
            "store": {"backend": "sled", "state": "ok", "models": self.models, "versions": 8123, "users": 4, "blobs": 9001, "blob_bytes": 8_123_456_789u64},
            "log": {"state": "ok", "origin": "registry.example/log", "size": self.entries, "root": "l3sW1wKlH8jVd0hH1u1Zp0S5mYbJvZg8cV7mC1m1yq7=",
                "checkpoint": "registry.example/log\n10000\nroot\n", "vkey": "registry.example/log+2f6a90c1+AeTl", "journal_bytes": 12_345_678, "commits": 500, "batches": 120},
            "storage": {"backend": "disk", "total_bytes": 8_796_093_022_208u64, "free_bytes": 3_430_476_278_661u64, "min_free_bytes": 1_073_741_824, "below_watermark": false},
            "requests": {"total": 123_456, "per_1000_seconds": 212_000, "connections": 7, "connections_max": 1024, "tails": 3, "kinds": [
                {"kind": "read", "count": 59_400, "per_1000_seconds": 198_000, "now_per_1000_seconds": 212_000, "minute_per_1000_seconds": 198_000, "p50_us": 1_500, "p99_us": 10_000, "errors": 0},
                {"kind": "write", "count": 1_740, "per_1000_seconds": 5_800, "now_per_1000_seconds": 6_100, "minute_per_1000_seconds": 5_800, "p50_us": 7_500, "p99_us": 50_000, "errors": 2},
                {"kind": "transfer", "count": 0, "per_1000_seconds": 0, "p50_us": null, "p99_us": null, "errors": 0}]}
        }))
    }
}

fn alias(name: &str, version: u64) -> Value {
    json!({"alias": name, "version": version, "set_at": "2026-07-20T08:00:00.000Z", "set_by": "alice", "log_index": 5, "protected": name == "prod"})
}

fn digest() -> String {
    format!("sha256:{}", "9f2c61d0a77e10c4".repeat(4))
}

fn ulid(number: u64) -> String {
    format!("01J3Z8{number:020}")
}
