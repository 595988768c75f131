//! `mreg get`: lists page by page in constant memory, and single things; as text, JSON or CSV.

use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use common::api::{AuditRow, Finding, IngestItem, ModelInfo, Ready, Status, User, VersionInfo};
use common::client::{AuditQuery, Client};
use serde_json::json;

use super::listing::{Listing, PAGE_ROWS, Row, entry_line};
use super::{CliError, document, facts, keep, webhooks, wrong_answer};
use crate::action::{Answer, Call};
use crate::clean::clean;
use crate::config::ListOptions;
use crate::export::{Format, Kind, head};
use crate::state::deeds::{Base, Object, grants_in_words};
use crate::state::health::checks;
use crate::state::models::{decision_word, is_suspect, state_word};
use crate::terminal::output_columns;
use crate::time::{Now, counted, duration};
use crate::worker::read;

/// What there is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Models. Filter: words, alias: format: state: tag: uploader: verdict: rule: licence: dtype: since:
    Models,
    /// A model and the version a reference selects: id, name, name:3, name@alias or sha256:...
    Model,
    /// The versions of a model.
    Versions,
    /// A version: name:3, name@alias, sha256:... or a name, whose newest it is.
    Version,
    /// Users.
    Users,
    /// A user.
    User,
    /// API tokens: your own, or those of a user; filter: all.
    Tokens,
    /// The drop folder. Filter: words of the path, state:
    Queue,
    /// An item of the drop folder, by id.
    Item,
    /// Versions that are held. Filter: state:waiting or state:blocked
    Quarantine,
    /// Entries of the audit log, newest first; each page read is an entry itself.
    /// Filter: actor: action: outcome: target: ip: since: until:
    #[value(alias = "audit")]
    Entries,
    /// An entry of the audit log, by index.
    Entry,
    /// Webhooks and how they are doing.
    Webhooks,
    /// A webhook, by id.
    Webhook,
    /// The newest attempts to deliver to a webhook, by its id.
    Deliveries,
    /// What the daemon says of itself.
    Health,
    /// How much may be kept, and is: your own, or that of user:NAME or namespace:NAME.
    Quota,
    /// All quotas, and what is used of them.
    Quotas,
    /// The rules by which versions go.
    Rules,
    /// A rule by which versions go.
    Rule,
    /// What a rule would take now.
    Preview,
}

impl What {
    fn list(self) -> Option<Kind> {
        match self {
            Self::Models => Some(Kind::Models),
            Self::Versions => Some(Kind::Versions),
            Self::Users => Some(Kind::Users),
            Self::Queue => Some(Kind::Queue),
            Self::Quarantine => Some(Kind::Quarantine),
            Self::Entries => Some(Kind::Entries),
            Self::Tokens => Some(Kind::Tokens),
            Self::Model
            | Self::Version
            | Self::User
            | Self::Item
            | Self::Entry
            | Self::Webhooks
            | Self::Webhook
            | Self::Deliveries
            | Self::Health => None,
            Self::Quota | Self::Quotas | Self::Rules | Self::Rule | Self::Preview => None,
        }
    }
}

/// What is wrong with what was asked for is said before anybody is asked.
pub(super) fn check(what: What, id: Option<&str>, list: &ListOptions) -> Result<(), CliError> {
    let usage = |why: String| Err(CliError::Usage(why));
    if keep::is_here(what) {
        return keep::check(what, id, list);
    }
    if let Some(kind) = what.list() {
        untimed(kind, list).map_err(CliError::Usage)?;
        return Listing::new(kind, id, &list.narrowed().unwrap_or_default(), list.sort.as_deref())
            .map(drop)
            .map_err(CliError::Usage);
    }
    let name = format!("{what:?}").to_lowercase();
    if list.narrowed().is_some() || list.sort.is_some() || list.csv || list.all {
        if matches!(what, What::Webhooks | What::Deliveries) {
            return usage(format!(
                "{name} are few and shown whole: --filter, --sort, --all and --csv are for longer lists"
            ));
        }
        return usage(format!("{name} is one thing: --filter, --sort, --all and --csv are for lists"));
    }
    match (what, id) {
        (What::Health, Some(id)) => usage(format!("{id}: the health is that of the daemon")),
        (What::Webhooks, Some(_)) => usage("all webhooks are shown; `mreg get webhook ID` shows one".to_owned()),
        (What::Webhook | What::Deliveries, Some(id)) => webhooks::hook(id).map(drop).map_err(CliError::Usage),
        (What::Health | What::Webhooks, None) | (_, Some(_)) => Ok(()),
        (_, None) => usage(format!("which {name}?")),
    }
}

/// Times that a list can't be narrowed by are refused in the words of the command line, in which they were asked for.
fn untimed(kind: Kind, list: &ListOptions) -> Result<(), String> {
    let (since, until) = (list.since.is_some(), list.until.is_some());
    match kind {
        Kind::Entries => Ok(()),
        Kind::Models if until => Err("models have no --until".to_owned()),
        Kind::Models => Ok(()),
        _ if since || until => Err(format!("{} have no --since and --until", kind.word())),
        _ => Ok(()),
    }
}

/// Gets it.
pub(super) async fn get(
    client: &Client,
    what: What,
    id: Option<&str>,
    list: &ListOptions,
    out: &mut impl Write,
) -> Result<(), CliError> {
    if keep::is_here(what) {
        return keep::get(client, what, id, list, out).await;
    }
    if let Some(kind) = what.list() {
        let filter = list.narrowed().unwrap_or_default();
        let listing = Listing::new(kind, id, &filter, list.sort.as_deref()).map_err(CliError::Usage)?;
        return rows(client, listing, list, out).await;
    }
    let id = id.unwrap_or_default();
    let (text, json) = match what {
        What::Health => health(client, list.json).await?,
        What::Webhooks | What::Webhook | What::Deliveries => webhooks::get(client, what, id).await?,
        _ => one(client, what, id).await?,
    };
    if list.json {
        writeln!(out, "{json}")?;
    } else {
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// A call that reads, once more where the token had run out.
async fn ask(client: &Client, call: Call) -> Result<Answer, CliError> {
    match read(client, call.clone()).await {
        Err(error) if error.wants_sign_in() && client.refresh().await.is_ok() => Ok(read(client, call).await?),
        other => Ok(other?),
    }
}

// ---- lists ----------------------------------------------------------------------------------------------------------

/// How many rows to ask for next; none when there are enough.
fn next_limit(list: &ListOptions, had: u64) -> Option<u32> {
    let left = if list.all { u64::from(PAGE_ROWS) } else { list.limit.saturating_sub(had).min(PAGE_ROWS.into()) };
    u32::try_from(left).ok().filter(|left| *left > 0)
}

async fn rows(client: &Client, mut listing: Listing, list: &ListOptions, out: &mut impl Write) -> Result<(), CliError> {
    let kind = listing.kind();
    // True text is for programs: where it would reach a screen it is cleaned.
    let on_screen = io::stdout().is_terminal();
    let room = output_columns();
    let csv = |line: String| if on_screen { clean(line.trim_end_matches("\r\n")) + "\n" } else { line };
    let mut had = 0;
    while let Some(limit) = next_limit(list, had) {
        let answer = ask(client, listing.call(limit)).await?;
        let rows = listing.take(answer);
        if had == 0 && list.csv {
            out.write_all(csv(head(kind, Format::Csv { raw: list.raw })).as_bytes())?;
        } else if had == 0 && !list.json {
            writeln!(out, "{}", listing.head(room, false))?;
        }
        had += u64::try_from(rows.len()).unwrap_or(u64::MAX);
        for row in &rows {
            match (list.json, list.csv) {
                (true, _) => writeln!(out, "{}", row.document()?)?,
                (_, true) => out.write_all(csv(row.csv(kind, list.raw)?).as_bytes())?,
                (false, false) => writeln!(out, "{}", row.line(room, false))?,
            }
        }
        // Whoever reads along sees each page as it comes.
        out.flush()?;
        if listing.is_over || rows.is_empty() {
            break;
        }
    }
    Ok(())
}

// ---- single things --------------------------------------------------------------------------------------------------

async fn one(client: &Client, what: What, id: &str) -> Result<(String, String), CliError> {
    let call = call_for(what, id).map_err(CliError::Usage)?;
    described(what, id, ask(client, call).await?)
}

/// The call for a single thing.
///
/// # Errors
/// A sentence on a name that is none.
pub(super) fn call_for(what: What, id: &str) -> Result<Call, String> {
    Ok(match what {
        What::User => {
            let name: common::name::UserName = id.parse().map_err(|why| format!("{why}"))?;
            Call::Look(Object::User(name.to_string()))
        }
        What::Item => {
            id.parse::<common::name::ItemId>().map_err(|_none| format!("{id} is no id of an item"))?;
            Call::Look(Object::Item { id: id.to_owned(), path: String::new() })
        }
        What::Entry => {
            let index: u64 = id.parse().map_err(|_none| format!("{id} is no index of an entry"))?;
            let (before, after) = (index.checked_add(1), index.checked_sub(1));
            Call::Audit(Box::new(AuditQuery { before, after, limit: Some(1), ..AuditQuery::default() }))
        }
        _ => Call::Model(id.to_owned()),
    })
}

/// A single thing as text and as JSON.
///
/// # Errors
/// Where there is none, or the answer is another.
pub(super) fn described(what: What, id: &str, answer: Answer) -> Result<(String, String), CliError> {
    match (what, answer) {
        (What::Version, Answer::Model(reply)) => {
            let version = reply.body.selected.ok_or_else(|| CliError::Refused(format!("{id} has no version")))?;
            Ok((version_text(&version), document(&version)?))
        }
        (_, Answer::Model(reply)) => Ok((model_text(&reply.body), document(&reply.body)?)),
        (_, Answer::Look(reply)) => match reply.body {
            Base::User(user) => Ok((user_text(&user), document(&user)?)),
            Base::Item(item) => Ok((item_text(&item), document(&item)?)),
            Base::Model(_)
            | Base::Version(_)
            | Base::Intake(_)
            | Base::Token(_)
            | Base::Webhook(_)
            | Base::Quota(_)
            | Base::Rule(_) => Err(wrong_answer()),
        },
        (_, Answer::Audit(reply)) => {
            let line = reply.body.items.first().filter(|line| line.index.to_string() == id);
            let row = line.ok_or_else(|| CliError::Refused(format!("there is no entry {id}")))?.row();
            Ok((entry_text(&row), document(&row)?))
        }
        _ => Err(wrong_answer()),
    }
}

async fn health(client: &Client, json: bool) -> Result<(String, String), CliError> {
    // Readiness first: it is there for whoever may not see the numbers.
    let Answer::Ready(ready) = ask(client, Call::Ready).await? else { return Err(wrong_answer()) };
    let Answer::Status(status) = ask(client, Call::Status).await? else { return Err(wrong_answer()) };
    let document = if json { document(&json!({"ready": ready, "status": status.body}))? } else { String::new() };
    Ok((health_text(&status.body, &ready, skew(client)), document))
}

/// Seconds that the daemon's clock is ahead of this machine's.
pub(super) fn skew(client: &Client) -> Option<i64> {
    client.date().map(|date| date.saturating_sub(super::wall_seconds()))
}

/// The checks of the health screen, one a line.
pub(super) fn health_text(status: &Status, ready: &Ready, skew_seconds: Option<i64>) -> String {
    let build = &status.build;
    let mut text = format!(
        "{} {}, up {}, {}\n",
        clean(&build.name),
        clean(&build.version),
        duration(status.uptime_seconds),
        if ready.ready { "ready" } else { "NOT READY" }
    );
    for check in checks(status, Some(ready), Now::utc(super::wall_seconds()), skew_seconds) {
        let line = format!("{:14} {:5} {}", check.name, check.verdict.as_str(), clean(&check.value));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn model_text(info: &ModelInfo) -> String {
    let model = &info.model;
    let mut all = vec![
        ("model", model.name.to_string()),
        ("id", model.id.to_string()),
        ("state", model.state.as_str().to_owned()),
        ("owner", model.owner.clone()),
        ("created", model.created_at.clone()),
        ("updated", model.updated_at.clone()),
        ("versions", model.versions.to_string()),
    ];
    for alias in &model.aliases {
        all.push(("alias", format!("{} = v{} by {} {}", alias.alias, alias.version, alias.set_by, alias.set_at)));
    }
    all.extend(model.tags.iter().map(|(key, value)| ("tag", format!("{key}={value}"))));
    if !model.description.is_empty() {
        all.push(("about", model.description.clone()));
    }
    if let Some(until) = &info.restorable_until {
        all.push(("deleted", format!("can be restored until {until}")));
    }
    let mut text = facts(&all);
    if let Some(version) = &info.selected {
        text.push('\n');
        text.push_str(&version_text(version));
    }
    text
}

fn version_text(version: &VersionInfo) -> String {
    let reason = version.state_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let verdict = version.inspection.as_ref().map(|inspection| inspection.verdict.as_str());
    let mut all = vec![
        ("version", format!("{} v{}", version.name, version.version)),
        ("state", format!("{}{reason}", state_word(&version.state, verdict))),
    ];
    if let Some(inspection) = &version.inspection {
        let (verdict, found) = (&inspection.verdict, counted(inspection.findings_total, "finding"));
        let all_the_same = if is_suspect(&version.state, Some(verdict)) { ", handed out all the same" } else { "" };
        all.push(("verdict", format!("{verdict}{all_the_same}: {found}, {}", inspection.at)));
    }
    if let Some(review) = &version.review {
        let label = decision_word(&review.decision);
        let over: Vec<String> = review.over.iter().map(|(rule, level)| format!("{rule} ({level})")).collect();
        let over = if over.is_empty() { String::new() } else { format!("; over {}", over.join(", ")) };
        let (by, at, entry, why) = (&review.by, &review.at, review.log_index, &review.reason);
        all.push((label, format!("by {by} {at} (entry {entry}): {why}{over}")));
    }
    all.extend([
        ("published", format!("{} by {} ({})", version.created_at, version.created_by, version.source)),
        ("log entry", version.log_index.to_string()),
    ]);
    if !version.aliases.is_empty() {
        let aliases: Vec<String> = version.aliases.iter().map(ToString::to_string).collect();
        all.push(("aliases", aliases.join(", ")));
    }
    if !version.description.is_empty() {
        all.push(("about", version.description.clone()));
    }
    all.extend(version.findings.iter().map(|finding| ("finding", finding_words(finding))));
    for artifact in &version.artifacts {
        let (path, format, size) = (&artifact.path, &artifact.format, artifact.size);
        all.push(("file", format!("{path}  {format}  {size} octets  {}", artifact.digest)));
    }
    facts(&all)
}

/// A finding; what it doesn't say is left out.
fn finding_words(finding: &Finding) -> String {
    let place = if finding.place.is_empty() { String::new() } else { format!(" at {}", finding.place) };
    let detail = if finding.detail.is_empty() { String::new() } else { format!(": {}", finding.detail) };
    format!("{} {}{place}{detail}", finding.level, finding.rule)
}

fn user_text(user: &User) -> String {
    let may = user.role.known().map(|role| role.permissions().iter().map(ToString::to_string).collect::<Vec<_>>());
    facts(&[
        ("user", user.username.to_string()),
        ("id", user.id.clone()),
        ("kind", user.kind.as_str().to_owned()),
        ("role", user.role.to_string()),
        ("may", may.map_or_else(|| "what this role may isn't known to this mreg".to_owned(), |may| may.join(", "))),
        ("grants", grants_in_words(&user.grants)),
        ("locked", if user.disabled { "yes" } else { "no" }.to_owned()),
        ("password", if user.must_change_password { "must be changed" } else { "ok" }.to_owned()),
        ("second factor", if user.totp { "on" } else { "none" }.to_owned()),
        ("sessions", user.sessions.to_string()),
        ("API tokens", user.tokens.to_string()),
        ("last sign-in", user.last_login_at.clone().unwrap_or_else(|| "never".to_owned())),
        ("created", user.created_at.clone()),
    ])
}

fn item_text(item: &IngestItem) -> String {
    let mut all = vec![
        ("file", item.path.clone()),
        ("id", item.id.clone()),
        ("state", format!("{} since {}", item.state.as_str(), item.state_since)),
        ("size", format!("{} octets in {}", item.size, counted(item.files, "file"))),
        ("tries", format!("{} of {}", item.attempts, item.attempts_max)),
        ("by", item.by.clone().unwrap_or_else(|| format!("uid {}", item.owner_uid))),
        ("lies in", item.place.clone()),
    ];
    if let Some(reason) = &item.reason {
        all.push(("reason", reason.clone()));
    }
    if let (Some(name), Some(version)) = (&item.name, item.version) {
        all.push(("became", format!("{name} v{version}")));
    }
    if let Some(at) = &item.next_try_at {
        all.push(("next try", at.clone()));
    }
    all.extend(item.history.iter().map(|step| ("step", format!("{} {} {}", step.at, step.state.as_str(), step.text))));
    facts(&all)
}

fn entry_text(row: &AuditRow) -> String {
    let entry = serde_json::to_string(&row.entry).unwrap_or_default();
    format!("{}\n{}", entry_line(row, None), facts(&[("leaf", row.leaf_hash.clone()), ("entry", entry)]))
}

/// A thing that a row of a list stands for, to be looked at closer.
pub(super) fn closer(row: &Row) -> (What, String) {
    let what = match row {
        Row::Model(_) => What::Model,
        Row::Version(_) | Row::Held(_) => What::Version,
        Row::User(_) => What::User,
        Row::Item(_) => What::Item,
        Row::Entry(_) => What::Entry,
        // There is nothing closer than its row.
        Row::Token(token) => return (What::User, token.user.to_string()),
    };
    (what, row.reference())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::{What, check, next_limit, version_text};
    use crate::config::ListOptions;

    fn list(limit: u64, all: bool) -> ListOptions {
        ListOptions { limit, all, ..ListOptions::default() }
    }

    #[test]
    fn limits() {
        assert_eq!(next_limit(&list(50, false), 0), Some(50));
        assert_eq!(next_limit(&list(250, false), 200), Some(50));
        assert_eq!(next_limit(&list(50, false), 50), None);
        assert_eq!(next_limit(&list(50, true), 1_000_000), Some(200));
    }

    /// Half a question is refused before anybody is asked.
    #[test]
    fn questions() {
        let filtered = ListOptions { filter: Some("x".into()), ..list(50, false) };
        assert!(check(What::Models, None, &filtered).is_ok());
        assert!(check(What::Model, Some("team/x"), &list(50, false)).is_ok());
        assert!(check(What::Health, None, &list(50, false)).is_ok());
        assert!(check(What::Model, None, &list(50, false)).is_err());
        assert!(check(What::Model, Some("x"), &filtered).is_err());
        assert!(check(What::Health, Some("x"), &list(50, false)).is_err());
        assert!(check(What::Versions, None, &list(50, false)).is_err());
        let since = ListOptions { since: Some("7d".into()), ..list(50, false) };
        let until = ListOptions { until: Some("7d".into()), ..list(50, false) };
        assert!(check(What::Entries, None, &since).is_ok() && check(What::Entries, None, &until).is_ok());
        assert!(check(What::Models, None, &since).is_ok() && check(What::Models, None, &until).is_err());
        let why = check(What::Users, None, &since).unwrap_err().to_string();
        assert_eq!(why, "users have no --since and --until");
    }

    /// A version that was released in spite of what was found says so, and who answers for it; what is empty is left out.
    #[test]
    fn released_in_spite_of_it() {
        let version = serde_json::from_value(serde_json::json!({
            "id": "01J3Z800000000000000000001", "name": "team/x", "version": 3, "state": "available", "state_reason": null,
            "description": "", "artifacts": [], "metadata": {}, "source": "api", "aliases": [],
            "findings": [
                {"rule": "pickle.call", "level": "malicious", "where": "m.pkl@21", "detail": "calls os.system"},
                {"rule": "pickle.present", "level": "note", "where": "", "detail": ""}],
            "inspection": {"verdict": "malicious", "ruleset": "r", "at": "2026-07-20T08:00:01.000Z", "stale": false,
                "findings_total": 2, "policy": "default"},
            "review": {"decision": "released", "by": "alice", "at": "2026-07-21T08:00:00.000Z", "log_index": 9_001,
                "reason": "a test model", "over": {"pickle.call": "malicious"}},
            "created_at": "2026-07-20T08:00:00.000Z", "created_by": "bob", "log_index": 9_000
        }))
        .unwrap();
        let text = version_text(&version);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "state        available!",
                "verdict      malicious, handed out all the same: 2 findings, 2026-07-20T08:00:01.000Z",
                "released     by alice 2026-07-21T08:00:00.000Z (entry 9001): a test model; over pickle.call (malicious)",
                "published    2026-07-20T08:00:00.000Z by bob (api)",
                "log entry    9000",
                "finding      malicious pickle.call at m.pkl@21: calls os.system",
                "finding      note pickle.present",
            ]
        );
    }
}
