//! `mregd quota …` and `mregd retention …`, at the running daemon. Knows what is asked and told; refuses to know rules.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use common::api::quota::{NO_NAMESPACE, QuotaChanged, QuotaInfo, QuotaKind, QuotaLimits};
use common::api::retention::{RetentionPreview, RetentionRule, RetentionRuleChanged, RetentionRuleInfo};
use common::api::{Deleted, Page};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::way::{ask, with_daemon};
use super::{Failed, say};
use crate::cli::{Exit, QuotaCommand, QuotaOf, RetentionCommand};
use crate::config::Config;
use crate::http::control::Operator;

/// Rows asked for at once.
const PAGE: usize = 500;
/// Octets of the largest file that can be a rule.
const RULE_OCTETS_MAX: u64 = 64 * 1024;
/// What is to be done where it isn't known whether a change was made.
const UNANSWERED: &str = "look whether it was done, and try again";

pub(super) fn quota(config: &Config, command: QuotaCommand) -> Result<(), Failed> {
    let text = with_daemon(config, async |operator| match command {
        QuotaCommand::List { json } => {
            let all: Vec<QuotaInfo> = pages(operator, "/quotas").await?;
            if json { Ok(document(&all)) } else { Ok(all.iter().map(quota_line).collect()) }
        }
        QuotaCommand::Show { of, json } => {
            let quota: QuotaInfo = ask(operator, Method::GET, &account(&of), None, "try again").await?;
            Ok(if json { document(&quota) } else { quota_line(&quota) })
        }
        QuotaCommand::Set { of, bytes, versions, models } => {
            let body = json!(QuotaLimits { bytes, versions, models });
            let done: QuotaChanged = ask(operator, Method::PUT, &account(&of), Some(&body), UNANSWERED).await?;
            Ok(quota_line(&done.quota))
        }
        QuotaCommand::Clear { of } => {
            let done: QuotaChanged = ask(operator, Method::DELETE, &account(&of), None, UNANSWERED).await?;
            Ok(quota_line(&done.quota))
        }
    })?;
    say(&text)
}

pub(super) fn retention(config: &Config, command: RetentionCommand) -> Result<(), Failed> {
    // Read before anything is asked: it may wait for a person.
    let rule = match &command {
        RetentionCommand::Set { file, .. } | RetentionCommand::Preview { file: Some(file), .. } => {
            Some(read_rule(file)?)
        }
        _ => None,
    };
    let text = with_daemon(config, async |operator| match command {
        RetentionCommand::List { json } => {
            let page: Page<RetentionRuleInfo> = ask(operator, Method::GET, "/retention", None, "try again").await?;
            if json { Ok(document(&page.items)) } else { Ok(page.items.iter().map(rule_line).collect()) }
        }
        RetentionCommand::Show { rule } => {
            let found: RetentionRuleInfo = ask(operator, Method::GET, &of_rule(&rule, ""), None, "try again").await?;
            Ok(document(&found))
        }
        RetentionCommand::Set { rule: name, file: _ } => {
            let body = rule.map(|rule| json!(rule));
            let done: RetentionRuleChanged =
                ask(operator, Method::PUT, &of_rule(&name, ""), body.as_ref(), UNANSWERED).await?;
            Ok(rule_line(&done.rule))
        }
        RetentionCommand::Delete { rule } => {
            let done: Deleted = ask(operator, Method::DELETE, &of_rule(&rule, ""), None, UNANSWERED).await?;
            Ok(format!("removed the rule {}\n", done.id))
        }
        RetentionCommand::Run { rule } => {
            let done: RetentionRuleChanged =
                ask(operator, Method::POST, &of_rule(&rule, "/run"), None, UNANSWERED).await?;
            Ok(rule_line(&done.rule))
        }
        RetentionCommand::Preview { rule: name, file: _, json } => {
            let place = name.map_or_else(|| "/retention/preview".to_owned(), |name| of_rule(&name, "/preview"));
            preview(operator, &place, rule.map(|rule| json!(rule)), json).await
        }
    })?;
    say(&text)
}

async fn pages<T: DeserializeOwned>(operator: &mut Operator, place: &str) -> Result<Vec<T>, Failed> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page: Page<T> =
            ask(operator, Method::GET, &format!("{place}?limit={PAGE}{cursor}"), None, "try again").await?;
        all.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(all),
        }
    }
}

/// All that a rule would take, and at the end how much that is.
async fn preview(operator: &mut Operator, place: &str, rule: Option<Value>, json: bool) -> Result<String, Failed> {
    let method = if rule.is_some() { Method::POST } else { Method::GET };
    let (mut text, mut cursor, mut versions, mut octets) = (String::new(), String::new(), 0_u64, 0_u64);
    loop {
        let target = format!("{place}?limit={PAGE}{cursor}");
        let page: RetentionPreview = ask(operator, method.clone(), &target, rule.as_ref(), "try again").await?;
        octets = octets.saturating_add(page.bytes);
        for hit in &page.items {
            versions += 1;
            let _written = if json {
                writeln!(text, "{}", json!(hit))
            } else {
                let (name, version, state, bytes) = (&hit.name, hit.version, hit.state.as_str(), hit.bytes);
                writeln!(text, "{name}:{version}  {state}  {bytes} octets  {}", hit.created_at)
            };
        }
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    if !json {
        let _written = writeln!(text, "{versions} versions, {octets} octets");
    }
    Ok(text)
}

fn account(of: &QuotaOf) -> String {
    let name = if of.name.is_empty() { NO_NAMESPACE } else { &of.name };
    format!("/quotas/{}/{}", of.kind.segment(), encoded(name))
}

fn of_rule(name: &str, rest: &str) -> String {
    format!("/retention/{}{rest}", encoded(name))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn document(value: &impl Serialize) -> String {
    format!("{:#}\n", json!(value))
}

fn quota_line(quota: &QuotaInfo) -> String {
    let QuotaInfo { kind, name, limits, is_own, used, reserved_bytes, .. } = quota;
    let name = if name.is_empty() && *kind == QuotaKind::Namespace { NO_NAMESPACE } else { name };
    let of =
        |used: u64, limit: Option<u64>| limit.map_or_else(|| used.to_string(), |limit| format!("{used} of {limit}"));
    let reserved = if *reserved_bytes > 0 { format!(" and {reserved_bytes} reserved") } else { String::new() };
    let models = if *kind == QuotaKind::Namespace {
        format!(", {} models", of(used.models, limits.models))
    } else {
        String::new()
    };
    let own = if *is_own { "" } else { " (default)" };
    format!(
        "{kind} {name}: {} octets{reserved}, {} versions{models}{own}\n",
        of(used.bytes, limits.bytes),
        of(used.versions, limits.versions)
    )
}

fn rule_line(rule: &RetentionRuleInfo) -> String {
    let next = match (&rule.requested_at, &rule.next_run_at) {
        (Some(_), _) => "is asked for now".to_owned(),
        (None, Some(at)) => format!("next at {at}"),
        (None, None) => "is not enabled".to_owned(),
    };
    let last = rule.last_run.as_ref().map_or_else(String::new, |run| {
        format!("; last at {}: {} versions, {} octets", run.ended_at, run.versions, run.bytes)
    });
    format!("{}: {} {}, {next}{last}\n", rule.name, rule.rule.action.as_str(), rule.rule.pattern)
}

/// A rule from a file; `-` is standard input.
fn read_rule(file: &Path) -> Result<RetentionRule, Failed> {
    let shown = file.display();
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(RULE_OCTETS_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(RULE_OCTETS_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| Failed::new(Exit::NoInput, format_args!("{shown}: {error}")))?;
    serde_json::from_str(&text).map_err(|error| Failed::new(Exit::Usage, format_args!("{shown} is no rule: {error}")))
}

#[cfg(test)]
mod tests {
    use common::api::quota::{QuotaInfo, QuotaKind, QuotaLimits, QuotaUsage};

    use super::quota_line;

    /// A line tells what is used, of how much, and whether that is the default.
    #[test]
    fn lines() {
        let quota = QuotaInfo {
            kind: QuotaKind::Namespace.into(),
            name: String::new(),
            limits: QuotaLimits { bytes: Some(10), ..QuotaLimits::default() },
            is_own: false,
            set_by: None,
            set_at: None,
            used: QuotaUsage { bytes: 3, versions: 2, models: 1 },
            reserved_bytes: 4,
        };
        let line = "namespace -: 3 of 10 octets and 4 reserved, 2 versions, 1 models (default)\n";
        assert_eq!(quota_line(&quota), line);
        let quota =
            QuotaInfo { kind: QuotaKind::User.into(), name: "ana".into(), is_own: true, reserved_bytes: 0, ..quota };
        assert_eq!(quota_line(&quota), "user ana: 3 of 10 octets, 2 versions\n");
    }
}
