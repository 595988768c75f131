//! Lists of the daemon, page by page: which there are, how each is asked for, and how a row is written. Used by `get` and
//! by the plain console. Text of others is cleaned here.

use common::api::{
    ApiToken, AuditRow, Decision, IngestItem, ModelRow, QuarantineItem, State, User, UserKind, VersionInfo,
};
use common::client::{AuditQuery, HeldQuery, IngestQuery, ModelQuery, Paging, TokenQuery, UserQuery};
use serde_json::Value;

use super::columns::{self, Column, number, words};
use super::{CliError, document};
use crate::action::{Answer, Call, Rows};
use crate::clean::clean;
use crate::export::{Format, Kind, flat_entry, row};
use crate::filter::{audit_query, held_query, ingest_query, model_query, user_query};
use crate::state::audit::{field, name_then};
use crate::state::models::{is_suspect, state_word};
use crate::state::tokens::standing;
use crate::time::bytes;

/// Rows asked for at once.
pub(super) const PAGE_ROWS: u32 = 200;
/// Versions asked for at once: each has its files with it.
const VERSION_ROWS: u32 = 100;
/// The orders of models.
pub(super) const SORTS: [&str; 6] = ["name", "-name", "updated_at", "-updated_at", "created_at", "-created_at"];

/// The orders of users.
const USER_SORTS: [&str; 8] =
    ["name", "-name", "role", "-role", "last_login_at", "-last_login_at", "created_at", "-created_at"];

/// The orders of the queue.
const QUEUE_SORTS: [&str; 6] = ["work", "-work", "path", "-path", "state_since", "-state_since"];

/// The last column of a list: it takes what it needs, or the room that is left, and of that not less than this.
const fn rest(title: &'static str, least: usize, rank: u8) -> Column {
    Column { least, ..words(title, 0, 2, rank) }
}

const MODELS: [Column; 6] = [
    words("NAME", 40, 0, 0).least(20),
    number("VERS", 4, 1, 3),
    words("STATE", 11, 2, 1),
    number("SIZE", 8, 1, 5),
    words("UPDATED", 24, 2, 2),
    rest("ALIASES", 8, 4),
];
const VERSIONS: [Column; 8] = [
    number("VERSION", 7, 0, 0),
    words("STATE", 11, 2, 1),
    number("SIZE", 8, 1, 5),
    number("FILES", 5, 1, 6),
    words("PUBLISHED", 24, 2, 2),
    words("BY", 14, 2, 4).least(8),
    words("ALIASES", 16, 2, 3).least(8),
    rest("WHY", 12, 3),
];
const USERS: [Column; 6] = [
    words("USER", 20, 0, 0).least(12),
    words("ROLE", 12, 1, 2),
    words("STATE", 11, 1, 1),
    number("SESSIONS", 8, 1, 4),
    number("TOKENS", 6, 1, 5),
    rest("LAST SIGN-IN", 24, 3),
];
const TOKENS: [Column; 7] = [
    words("ID", 16, 0, 0),
    words("USER", 16, 1, 4).least(8),
    words("LABEL", 24, 1, 1).least(8),
    words("STATE", 8, 1, 2),
    words("ENDS", 24, 1, 3),
    words("LAST USED", 24, 2, 5),
    rest("MAY", 8, 6),
];
const QUEUE: [Column; 6] = [
    words("FILE", 44, 0, 0).least(20),
    words("STATE", 11, 1, 1),
    number("SIZE", 8, 1, 4),
    number("TRIES", 5, 1, 5),
    words("ID", 26, 2, 6),
    rest("REASON", 27, 2),
];
const QUARANTINE: [Column; 5] = [
    words("VERSION", 44, 0, 0).least(20),
    words("VERDICT", 12, 1, 1),
    number("FINDINGS", 8, 1, 4),
    words("HELD SINCE", 24, 2, 3),
    rest("WHY", 16, 2),
];
/// Who did what, to what, and whether it was allowed stay longest; when it was can be told by the index.
const ENTRIES: [Column; 6] = [
    number("INDEX", 9, 0, 0),
    words("TIME", 24, 2, 5),
    words("ACTOR", 12, 2, 4).least(8),
    words("ACTION", 18, 2, 1).least(14),
    words("RESULT", 6, 2, 3),
    Column { columns: 24, least: 16, names: true, ..words("TARGET", 0, 2, 1) },
];
/// A terminal of fewer columns has the time of an entry by the second and without its year: what it is about needs the room.
const ENTRY_COLUMNS: usize = 110;

/// The columns of entries. Where rows are numbered, the number stands for the entry: its index goes before anything else.
fn entries(room: Option<usize>, is_numbered: bool) -> [Column; 6] {
    let mut columns = ENTRIES;
    if is_short(room) {
        columns[1] = words("TIME", 14, 2, 5);
    }
    if is_numbered {
        columns[0].rank = 6;
    }
    columns
}

fn is_short(room: Option<usize>) -> bool {
    room.is_some_and(|room| room < ENTRY_COLUMNS)
}

/// `11-29 19:54:25` of `2026-11-29T19:54:25.182Z`; what has another form stays as it is.
fn short_time(time: &str) -> String {
    match (time.get(5..10), time.get(10..11), time.get(11..19)) {
        (Some(day), Some("T"), Some(time)) => format!("{day} {time}"),
        _ => time.to_owned(),
    }
}

fn one_of(sort: &str, sorts: &[&str]) -> Result<String, String> {
    if sorts.contains(&sort) {
        Ok(sort.to_owned())
    } else {
        Err(format!("--sort {sort}: is one of {}", sorts.join(", ")))
    }
}

/// A list and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    what: What,
    cursor: Option<String>,
    /// How many there are, as far as the daemon says.
    pub(super) total: Option<u64>,
    /// There are no more.
    pub(super) is_over: bool,
}

#[derive(Debug, Clone)]
enum What {
    Models(Box<ModelQuery>),
    Versions(String),
    Users(Box<UserQuery>),
    Queue(Box<IngestQuery>),
    Quarantine(Box<HeldQuery>),
    Entries(Box<AuditQuery>),
    Tokens(Box<TokenQuery>),
}

/// A row of a list.
#[derive(Debug, Clone)]
pub(super) enum Row {
    Model(Box<ModelRow>),
    Version(Box<VersionInfo>),
    User(User),
    Item(Box<IngestItem>),
    Held(Box<QuarantineItem>),
    Entry(AuditRow),
    Token(Box<ApiToken>),
}

impl Listing {
    /// A list of models, versions (`id` is the model), users, queue, quarantine or entries.
    ///
    /// # Errors
    /// A sentence on a filter or an order that there is not.
    pub(super) fn new(kind: Kind, id: Option<&str>, filter: &str, sort: Option<&str>) -> Result<Self, String> {
        let word = kind.word();
        let settled = super::settled(filter)?;
        let filter = settled.as_str();
        if let (Some(sort), true) = (sort, !matches!(kind, Kind::Models | Kind::Users | Kind::Queue)) {
            return Err(format!("--sort {sort}: {word} come in one order only"));
        }
        let what = match (kind, id) {
            (Kind::Versions, None) => return Err("versions of which model?".to_owned()),
            (Kind::Versions, Some(_)) if !filter.is_empty() => return Err(format!("there is no filter for {word}")),
            (Kind::Versions, Some(model)) => What::Versions(model.to_owned()),
            (Kind::Tokens, user) => {
                let all = match filter {
                    "" => false,
                    "all" if user.is_none() => true,
                    _ => return Err(format!("{filter}: {word} are those of one user, or all")),
                };
                What::Tokens(Box::new(TokenQuery {
                    user: user.unwrap_or_default().to_owned(),
                    all,
                    ..TokenQuery::default()
                }))
            }
            (_, Some(id)) => return Err(format!("{id}: {word} are a list; a filter narrows it")),
            (Kind::Models, None) => {
                let sort = one_of(sort.unwrap_or("name"), &SORTS)?;
                What::Models(Box::new(ModelQuery { sort, ..model_query(filter)? }))
            }
            (Kind::Users, None) => {
                let sort = one_of(sort.unwrap_or("name"), &USER_SORTS)?;
                What::Users(Box::new(UserQuery { sort, ..user_query(filter)? }))
            }
            (Kind::Queue, None) => {
                let sort = sort.map(|sort| one_of(sort, &QUEUE_SORTS)).transpose()?.unwrap_or_default();
                What::Queue(Box::new(IngestQuery { sort, ..ingest_query(filter)? }))
            }
            (Kind::Quarantine, None) => What::Quarantine(Box::new(held_query(filter)?)),
            (Kind::Entries, None) => What::Entries(Box::new(audit_query(filter)?)),
        };
        Ok(Self { what, cursor: None, total: None, is_over: false })
    }

    /// The same list from its beginning.
    pub(super) fn anew(&self) -> Self {
        Self { what: self.what.clone(), cursor: None, total: None, is_over: false }
    }

    /// What its rows are.
    pub(super) fn kind(&self) -> Kind {
        match self.what {
            What::Models(_) => Kind::Models,
            What::Versions(_) => Kind::Versions,
            What::Users(_) => Kind::Users,
            What::Queue(_) => Kind::Queue,
            What::Quarantine(_) => Kind::Quarantine,
            What::Entries(_) => Kind::Entries,
            What::Tokens(_) => Kind::Tokens,
        }
    }

    /// All of it, for an export in the background; none where that is not offered.
    pub(super) fn rows(&self) -> Option<Rows> {
        match &self.what {
            What::Models(query) => Some(Rows::Models(query.clone())),
            What::Versions(model) => Some(Rows::Versions(model.clone())),
            What::Users(query) => Some(Rows::Users(query.clone())),
            What::Queue(query) => Some(Rows::Items(query.clone())),
            What::Quarantine(query) => Some(Rows::Quarantined(query.clone())),
            What::Entries(_) | What::Tokens(_) => None,
        }
    }

    /// The call for the next page, of at most so many rows.
    pub(super) fn call(&self, limit: u32) -> Call {
        let (cursor, limit) = (self.cursor.clone(), limit.min(PAGE_ROWS));
        match &self.what {
            What::Models(query) => Call::Models(Box::new(ModelQuery { cursor, limit: Some(limit), ..*query.clone() })),
            What::Versions(reference) => {
                let page = Paging { cursor, limit: Some(limit.min(VERSION_ROWS)), ..Paging::default() };
                Call::Versions { reference: reference.clone(), page }
            }
            What::Users(query) => {
                let page = Paging { cursor, limit: Some(limit), ..Paging::default() };
                Call::Users(Box::new(UserQuery { page, ..*query.clone() }))
            }
            What::Tokens(query) => {
                let page = Paging { cursor, limit: Some(limit), ..Paging::default() };
                Call::Tokens(Box::new(TokenQuery { page, ..*query.clone() }))
            }
            What::Queue(query) => Call::Ingest(Box::new(IngestQuery { cursor, limit: Some(limit), ..*query.clone() })),
            What::Quarantine(query) => {
                let page = Paging { cursor, limit: Some(limit), ..Paging::default() };
                Call::Quarantine(Box::new(HeldQuery { page, ..*query.clone() }))
            }
            What::Entries(query) => Call::Audit(Box::new(AuditQuery { cursor, limit: Some(limit), ..*query.clone() })),
        }
    }

    /// Takes the answer to that call; its rows.
    pub(super) fn take(&mut self, answer: Answer) -> Vec<Row> {
        let (rows, total, next) = match answer {
            Answer::Models(reply) => {
                let rows = reply.body.items.into_iter().map(|row| Row::Model(Box::new(row))).collect();
                (rows, reply.body.total, reply.body.next_cursor)
            }
            Answer::Versions(reply) => {
                let rows = reply.body.items.into_iter().map(|row| Row::Version(Box::new(row))).collect();
                (rows, reply.body.total, reply.body.next_cursor)
            }
            Answer::Users(reply) => {
                let rows = reply.body.items.into_iter().map(Row::User).collect();
                (rows, reply.body.total, reply.body.next_cursor)
            }
            Answer::Tokens(reply) => {
                let rows = reply.body.items.into_iter().map(|token| Row::Token(Box::new(token))).collect();
                (rows, reply.body.total, reply.body.next_cursor)
            }
            Answer::Ingest(reply) => {
                let rows = reply.body.items.into_iter().map(|row| Row::Item(Box::new(row))).collect();
                (rows, reply.body.total, reply.body.next_cursor)
            }
            Answer::Quarantine(reply) => {
                let rows = reply.body.items.into_iter().map(|row| Row::Held(Box::new(row))).collect();
                (rows, reply.body.total, reply.body.next_cursor)
            }
            Answer::Audit(reply) => {
                let rows = reply.body.items.iter().map(|line| Row::Entry(line.row())).collect();
                (rows, reply.body.total, reply.body.next_cursor)
            }
            _ => (Vec::new(), None, None),
        };
        self.total = total.or(self.total);
        self.is_over = next.is_none();
        self.cursor = next;
        rows
    }

    /// The line above the rows, within so many columns where there is a terminal; rows have numbers or not.
    pub(super) fn head(&self, room: Option<usize>, is_numbered: bool) -> String {
        match self.kind() {
            Kind::Models => columns::head(&MODELS, room),
            Kind::Versions => columns::head(&VERSIONS, room),
            Kind::Users => columns::head(&USERS, room),
            Kind::Tokens => columns::head(&TOKENS, room),
            Kind::Queue => columns::head(&QUEUE, room),
            Kind::Quarantine => columns::head(&QUARANTINE, room),
            Kind::Entries => columns::head(&entries(room, is_numbered), room),
        }
    }
}

impl Row {
    /// By which the daemon is asked for it.
    pub(super) fn reference(&self) -> String {
        match self {
            Self::Model(row) => row.name.to_string(),
            Self::Version(row) => format!("{}:{}", row.name, row.version),
            Self::User(user) => user.username.to_string(),
            Self::Item(item) => item.id.clone(),
            Self::Held(item) => format!("{}:{}", item.name, item.version),
            Self::Entry(row) => row.index.to_string(),
            Self::Token(token) => token.id.clone(),
        }
    }

    /// One line, cleaned, within so many columns where there is a terminal; what stands behind its number, or by itself.
    pub(super) fn line(&self, room: Option<usize>, is_numbered: bool) -> String {
        match self {
            Self::Model(row) => columns::row(&MODELS, &model_cells(row), room),
            Self::Version(row) => columns::row(&VERSIONS, &version_cells(row), room),
            Self::User(user) => columns::row(&USERS, &user_cells(user), room),
            Self::Item(item) => columns::row(&QUEUE, &item_cells(item), room),
            Self::Held(item) => columns::row(&QUARANTINE, &held_cells(item), room),
            Self::Entry(row) => entry_row(row, room, is_numbered),
            Self::Token(token) => columns::row(&TOKENS, &token_cells(token), room),
        }
    }

    /// One JSON document.
    ///
    /// # Errors
    /// What the serializer says.
    pub(super) fn document(&self) -> Result<String, CliError> {
        document(&self.value()?)
    }

    /// One line of CSV, with its end.
    ///
    /// # Errors
    /// What the serializer says.
    pub(super) fn csv(&self, kind: Kind, raw: bool) -> Result<String, CliError> {
        let format = Format::Csv { raw };
        match self {
            Self::Entry(entry) => Ok(row(kind, format, &flat_entry(entry, format))),
            _ => Ok(row(kind, format, &self.value()?)),
        }
    }

    fn value(&self) -> Result<Value, CliError> {
        let value = match self {
            Self::Model(row) => serde_json::to_value(row),
            Self::Version(row) => serde_json::to_value(row),
            Self::User(row) => serde_json::to_value(row),
            Self::Item(row) => serde_json::to_value(row),
            Self::Held(row) => serde_json::to_value(row),
            Self::Entry(row) => serde_json::to_value(row),
            Self::Token(row) => serde_json::to_value(row),
        };
        value.map_err(|cause| CliError::Io(cause.into()))
    }
}

fn model_cells(row: &ModelRow) -> [String; 6] {
    let aliases: Vec<String> = row.aliases.iter().map(|alias| format!("{}=v{}", alias.alias, alias.version)).collect();
    [
        row.name.to_string(),
        row.versions.to_string(),
        clean(&state_word(&row.state, row.verdict.as_deref())),
        row.size.map_or("-".to_owned(), bytes),
        clean(&row.updated_at),
        aliases.join(","),
    ]
}

fn version_cells(row: &VersionInfo) -> [String; 8] {
    let size = row.artifacts.iter().fold(0u64, |sum, file| sum.saturating_add(file.size));
    let aliases: Vec<String> = row.aliases.iter().map(ToString::to_string).collect();
    let verdict = row.inspection.as_ref().map(|inspection| inspection.verdict.as_str());
    let reason = match (&row.state_reason, verdict) {
        (_, Some(verdict)) if is_suspect(&row.state, Some(verdict)) => {
            let by = row.review.as_ref().filter(|review| review.decision == Decision::Released);
            by.map_or(verdict.to_owned(), |review| format!("{verdict}, released by {}", review.by))
        }
        (Some(reason), _) if row.state != State::Available => reason.clone(),
        _ => String::new(),
    };
    [
        format!("v{}", row.version),
        clean(&state_word(&row.state, verdict)),
        bytes(size),
        row.artifacts.len().to_string(),
        clean(&row.created_at),
        clean(&row.created_by),
        aliases.join(","),
        clean(&reason),
    ]
}

fn user_cells(user: &User) -> [String; 6] {
    let state = match (user.disabled, &user.locked_until) {
        (true, _) => "locked",
        // Not by anybody, and not for long.
        (false, Some(_)) => "held off",
        (false, None) if user.kind != UserKind::Person => user.kind.as_str(),
        (false, None) if user.must_change_password => "must change",
        (false, None) => "active",
    };
    [
        user.username.to_string(),
        clean(user.role.as_str()),
        clean(state),
        user.sessions.to_string(),
        user.tokens.to_string(),
        clean(user.last_login_at.as_deref().unwrap_or("-")),
    ]
}

fn token_cells(token: &ApiToken) -> [String; 7] {
    let may = token.permissions.as_ref().map(|list| list.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(","));
    let names = token.names.as_ref().map(|names| names.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(","));
    [
        clean(&token.id),
        token.user.to_string(),
        clean(&token.label),
        clean(standing(token)),
        clean(token.expires_at.as_deref().unwrap_or("never")),
        clean(token.last_used_at.as_deref().unwrap_or("never")),
        format!(
            "{}{}",
            may.map_or_else(|| "all but user.manage".to_owned(), |may| clean(&may)),
            names.map(|names| format!(" on {names}")).unwrap_or_default()
        ),
    ]
}

fn item_cells(item: &IngestItem) -> [String; 6] {
    let result = match (&item.name, item.version) {
        (Some(name), Some(version)) => format!("-> {name} v{version}  "),
        _ => String::new(),
    };
    [
        clean(&item.path),
        clean(item.state.as_str()),
        bytes(item.size),
        format!("{}/{}", item.attempts, item.attempts_max),
        clean(&item.id),
        format!("{}{}", clean(&result), clean(item.reason.as_deref().unwrap_or_default())),
    ]
}

fn held_cells(item: &QuarantineItem) -> [String; 5] {
    let finding = item.findings.first().map(|finding| match finding.place.as_str() {
        "" => finding.rule.clone(),
        place => format!("{} at {place}", finding.rule),
    });
    let why = item.state_reason.clone().or(finding).unwrap_or_default();
    let verdict = if item.cleared { "cleared" } else { item.verdict.as_deref().unwrap_or("-") };
    [
        format!("{}:{}", item.name, item.version),
        clean(verdict),
        item.findings_total.to_string(),
        clean(&item.held_at),
        clean(&why),
    ]
}

/// One line an entry, as `tail` writes it.
pub(super) fn entry_line(row: &AuditRow, room: Option<usize>) -> String {
    entry_row(row, room, false)
}

fn entry_row(row: &AuditRow, room: Option<usize>, is_numbered: bool) -> String {
    let entry = &row.entry;
    let name = field(entry, &["actor", "name"]);
    let actor = if name.is_empty() { field(entry, &["actor", "id"]) } else { name };
    let named = name_then(entry).unwrap_or(field(entry, &["target", "id"]));
    let version = field(entry, &["target", "version"]);
    let version = if version.is_empty() { String::new() } else { format!(" v{version}") };
    let target = format!("{} {named}{version}", field(entry, &["target", "kind"]));
    let time = field(entry, &["ts"]);
    let time = if is_short(room) { short_time(time) } else { time.to_owned() };
    let cells = [
        row.index.to_string(),
        clean(&time),
        clean(actor),
        clean(field(entry, &["action"])),
        clean(field(entry, &["outcome"])),
        clean(&target),
    ];
    columns::row(&entries(room, is_numbered), &cells, room)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::api::{AuditRow, IngestItem, VersionInfo};
    use serde_json::json;

    use super::{Listing, QUEUE, Row, VERSIONS, entry_line, item_cells, user_cells, version_cells};
    use crate::cli::columns::{head, row};
    use crate::export::Kind;

    /// Whether somebody can sign in now, in a word.
    #[test]
    fn states_of_users() {
        for (disabled, locked_until, must_change, kind, state) in [
            (false, None, false, "person", "active"),
            (false, None, true, "person", "must change"),
            (false, Some("2026-07-22T12:18:11.000Z"), false, "person", "held off"),
            (false, Some("2026-07-22T12:18:11.000Z"), true, "person", "held off"),
            (true, Some("2026-07-22T12:18:11.000Z"), false, "person", "locked"),
            (false, None, false, "service", "service"),
        ] {
            let user = json!({
                "id": "01J3Z800000000000000000001", "username": "carol", "kind": kind, "role": "viewer", "grants": [],
                "disabled": disabled, "must_change_password": must_change, "totp": false, "sessions": 0, "tokens": 0,
                "created_at": "", "updated_at": "", "last_login_at": null, "failed_logins": 0,
                "locked_until": locked_until,
            });
            assert_eq!(user_cells(&serde_json::from_value(user).unwrap())[2], state);
        }
    }

    /// On a terminal of 80 columns there is room for who did it, what it is about and what came of it; in a pipe all is written
    /// in full.
    #[test]
    fn entries_by_width() {
        let entry = json!({
            "ts": "2026-11-29T19:54:25.182Z", "action": "model.download_end", "outcome": "denied",
            "actor": {"name": "somebody-with-a-name"}, "target": {"kind": "version", "id": "01J3Z8", "version": "3"},
            "data": {"name": "team-nlp/sentiment-of-reviews"},
        });
        let entry = AuditRow { index: 12_345, entry, leaf_hash: String::new() };
        let list = Listing::new(Kind::Entries, None, "", None).unwrap();
        let row = Row::Entry(entry.clone());
        assert_eq!(
            entry_line(&entry, None),
            "    12345  2026-11-29T19:54:25.182Z  somebody-with-a-name  model.download_end  denied  version \
             team-nlp/sentiment-of-reviews v3"
        );
        assert_eq!(
            list.head(None, true),
            "    INDEX  TIME                      ACTOR         ACTION              RESULT  TARGET"
        );
        for (room, is_numbered, title, line) in [
            (
                80,
                false,
                "    INDEX  TIME            ACTOR     ACTION          RESULT  TARGET",
                "    12345  11-29 19:54:25  somebod~  model.downloa~  denied  team-nlp/se~iews v3",
            ),
            // A terminal of 80 columns, less the row's number.
            (
                74,
                true,
                "TIME            ACTOR     ACTION          RESULT  TARGET",
                "11-29 19:54:25  somebod~  model.downloa~  denied  team-nlp/senti~eviews v3",
            ),
            (
                74,
                false,
                "    INDEX  ACTOR         ACTION           RESULT  TARGET",
                "    12345  somebody-wi~  model.download~  denied  team-nlp/senti~eviews v3",
            ),
            (
                60,
                false,
                "    INDEX  ACTION           RESULT  TARGET",
                "    12345  model.download~  denied  team-nlp/senti~eviews v3",
            ),
            (44, false, "    INDEX  ACTION          TARGET", "    12345  model.downloa~  team~/sen~iews v3"),
        ] {
            assert_eq!(
                (list.head(Some(room), is_numbered).as_str(), row.line(Some(room), is_numbered).as_str()),
                (title, line),
                "{room}"
            );
        }
    }

    /// Why an item is where it is has more room than its id, which is left out first.
    #[test]
    fn items_by_width() {
        let item: IngestItem = serde_json::from_value(json!({
            "id": "01J3Z800000000000000000001", "path": "lang-id-3.onnx", "kind": "file", "state": "failed",
            "size": 12_000_000, "files": 1, "bytes_done": 0, "attempts": 2, "attempts_max": 5, "owner_uid": 1000,
            "place": "processing/01J3Z8", "seen_at": "2026-07-22T12:00:00.000Z",
            "state_since": "2026-07-22T12:02:58.000Z", "history": [],
            "reason": "the blob store timed out after 30 s",
        }))
        .unwrap();
        let cells = item_cells(&item);
        assert!(row(&QUEUE, &cells, None).contains("01J3Z800000000000000000001  the blob store timed out after 30 s"));
        assert_eq!(head(&QUEUE, Some(80)), "FILE                     STATE           SIZE TRIES  REASON");
        assert!(row(&QUEUE, &cells, Some(80)).ends_with("2/5  the blob store timed out a~"));
    }

    /// The remark on a version has a heading of its own, below which it begins.
    #[test]
    fn remarks_have_a_heading() {
        let version: VersionInfo = serde_json::from_value(json!({
            "id": "01J3Z800000000000000000001", "name": "team/x", "version": 3, "state": "available", "state_reason": null,
            "description": "", "artifacts": [], "metadata": {}, "source": "api", "aliases": ["prod"], "findings": [],
            "inspection": {"verdict": "malicious", "ruleset": "r", "at": "2026-07-20T08:00:01.000Z", "stale": false,
                "findings_total": 2, "policy": "default"},
            "review": {"decision": "released", "by": "alice", "at": "2026-07-21T08:00:00.000Z", "log_index": 9_001,
                "reason": "a test model", "over": {}},
            "created_at": "2026-07-20T08:00:00.000Z", "created_by": "bob", "log_index": 9_000
        }))
        .unwrap();
        for room in [None, Some(140)] {
            let (head, line) = (head(&VERSIONS, room), row(&VERSIONS, &version_cells(&version), room));
            let at = head.find("WHY").unwrap();
            assert_eq!(line.get(at..), Some("malicious, released by alice"), "{head}\n{line}");
        }
    }

    /// Words that are not known here stand where the others would, cleaned; JSON has them as they came.
    #[test]
    fn words_of_newer_daemons() {
        let item = json!({
            "id": "01J3Z800000000000000000001", "path": "a.onnx", "kind": "link", "state": "tha\u{1b}wing", "reason": null,
            "size": 1, "files": 1, "bytes_done": 0, "bytes_per_second": null, "by": null, "attempts": 2, "attempts_max": 5,
            "owner_uid": 1000, "next_try_at": null, "name": null, "model": null, "version": null, "digest": null,
            "log_index": null, "place": "", "problem": null, "seen_at": "", "state_since": "",
            "history": [{"at": "", "state": "thawed", "text": ""}],
        });
        let read: IngestItem = serde_json::from_value(item.clone()).unwrap();
        assert_eq!(item_cells(&read)[1], "tha␛wing");
        assert_eq!(serde_json::to_value(&read).unwrap(), item);
    }

    /// Filters and orders are taken where the daemon has them, and refused in words where it has not.
    #[test]
    fn what_there_is() {
        let new = |kind, id, filter, sort| Listing::new(kind, id, filter, sort);
        assert!(new(Kind::Models, None, "router alias:prod", Some("-updated_at")).is_ok());
        assert!(new(Kind::Versions, Some("team/x"), "", None).is_ok());
        assert!(new(Kind::Quarantine, None, "state:blocked", None).is_ok());
        for (kind, id, filter, sort, why) in [
            (Kind::Models, None, "alais:prod", None, "did you mean alias?"),
            (Kind::Models, None, "", Some("size"), "is one of name"),
            (Kind::Models, Some("x"), "", None, "a filter narrows it"),
            (Kind::Users, None, "eve -rol:x", None, "did you mean -role?"),
            (Kind::Users, None, "", Some("size"), "is one of name"),
            (Kind::Queue, None, "", Some("name"), "is one of work"),
            (Kind::Quarantine, None, "", Some("name"), "one order only"),
            (Kind::Versions, None, "", None, "which model?"),
            (Kind::Versions, Some("x"), "y", None, "no filter for versions"),
            (Kind::Queue, None, "sate:failed", None, "did you mean state?"),
            (Kind::Quarantine, None, "state:x", None, "waiting, blocked"),
            (Kind::Entries, None, "outcome:maybe", None, "ok, denied, error"),
        ] {
            let refused = new(kind, id, filter, sort).unwrap_err();
            assert!(refused.contains(why), "{kind:?} {filter}: {refused}");
        }
    }
}
