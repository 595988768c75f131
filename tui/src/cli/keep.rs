//! `mreg get quota|quotas|rules|rule|preview`: what is kept, how much may be, and what rules would take. Knows words and
//! lines; refuses to know who may see it.

use std::io::Write;

use common::api::quota::{NO_NAMESPACE, QuotaInfo, QuotaKind};
use common::api::retention::{RetentionHit, RetentionRuleInfo};
use common::client::{Client, ClientError, Paging, Reply};

use super::columns::within;
use super::get::What;
use super::{CliError, document, facts};
use crate::clean::clean;
use crate::config::ListOptions;
use crate::terminal::output_columns;
use crate::time::counted;

/// Rows asked for at once.
const PAGE: u32 = 500;

/// Whether something to get is of here.
pub(super) fn is_here(what: What) -> bool {
    matches!(what, What::Quota | What::Quotas | What::Rules | What::Rule | What::Preview)
}

/// What is wrong with what was asked for.
pub(super) fn check(what: What, id: Option<&str>, list: &ListOptions) -> Result<(), CliError> {
    let usage = |why: &str| Err(CliError::Usage(why.to_owned()));
    if list.narrowed().is_some() || list.sort.is_some() || list.csv {
        return usage("quotas and rules have no --filter, --sort and --csv");
    }
    match (what, id) {
        (What::Quota, Some(id)) => account(id).map(drop),
        (What::Rule | What::Preview, None) => usage("which rule?"),
        (What::Quotas | What::Rules, Some(id)) => usage(&format!("{id}: all of them are listed")),
        _ => Ok(()),
    }
}

/// `user:NAME` or `namespace:NAME`.
fn account(id: &str) -> Result<(QuotaKind, &str), CliError> {
    let parts = id.split_once(':').and_then(|(kind, name)| Some((kind.parse().ok()?, name)));
    parts.filter(|(_kind, name)| !name.is_empty()).ok_or_else(|| {
        CliError::Usage(format!("{id}: say user:NAME or namespace:NAME; namespace:- is that of names without a slash"))
    })
}

/// A call, once more where the token had run out.
async fn ask<T>(client: &Client, call: impl AsyncFn() -> Result<Reply<T>, ClientError>) -> Result<T, CliError> {
    let answer = match call().await {
        Err(error) if error.wants_sign_in() && client.refresh().await.is_ok() => call().await?,
        other => other?,
    };
    Ok(answer.body)
}

/// Gets it.
pub(super) async fn get(
    client: &Client,
    what: What,
    id: Option<&str>,
    list: &ListOptions,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let rows = if list.all { u64::MAX } else { list.limit };
    match what {
        What::Quotas => quotas(client, rows, list.json, out).await,
        What::Preview => preview(client, id.unwrap_or_default(), rows, list.json, out).await,
        What::Rules => {
            let page = ask(client, async || client.retention_rules().await).await?;
            if !list.json {
                let head = format!("{:24} {:6} {:24} NEXT RUN", "RULE", "ACTION", "MODELS");
                writeln!(out, "{}", within(&head, output_columns()))?;
            }
            for rule in page.items {
                let line = if list.json { document(&rule)? } else { within(&rule_line(&rule), output_columns()) };
                writeln!(out, "{line}")?;
            }
            Ok(())
        }
        What::Rule => {
            let rule = ask(client, async || client.retention_rule(id.unwrap_or_default()).await).await?;
            if list.json {
                writeln!(out, "{}", document(&rule)?)?
            } else {
                write!(out, "{}", rule_text(&rule))?
            }
            Ok(())
        }
        _ => {
            let quota = match id {
                Some(id) => {
                    let (kind, name) = account(id)?;
                    ask(client, async || client.quota(kind, name).await).await?
                }
                None => ask(client, async || client.own_quota().await).await?,
            };
            if list.json {
                writeln!(out, "{}", document(&quota)?)?
            } else {
                write!(out, "{}", quota_text(&quota))?
            }
            Ok(())
        }
    }
}

async fn quotas(client: &Client, rows: u64, json: bool, out: &mut impl Write) -> Result<(), CliError> {
    let mut page = Paging { limit: Some(PAGE), ..Paging::default() };
    let mut left = rows;
    loop {
        let found = ask(client, async || client.quotas(&page).await).await?;
        if !json && page.cursor.is_none() {
            let head = format!("{:32} {:>30} {:>16} {:>16}", "QUOTA", "OCTETS", "VERSIONS", "MODELS");
            writeln!(out, "{}", within(&head, output_columns()))?;
        }
        for quota in found.items {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            let line = if json { document(&quota)? } else { within(&quota_line(&quota), output_columns()) };
            writeln!(out, "{line}")?;
        }
        page.cursor = found.next_cursor;
        if page.cursor.is_none() {
            return Ok(());
        }
    }
}

async fn preview(client: &Client, rule: &str, rows: u64, json: bool, out: &mut impl Write) -> Result<(), CliError> {
    let mut page = Paging { limit: Some(PAGE), ..Paging::default() };
    let (mut left, mut versions, mut octets) = (rows, 0_u64, 0_u64);
    loop {
        let found = ask(client, async || client.preview_retention(rule, &page).await).await?;
        for hit in found.items {
            (versions, octets) = (versions + 1, octets.saturating_add(hit.bytes));
            if left > 0 {
                left -= 1;
                let line = if json { document(&hit)? } else { within(&hit_line(&hit), output_columns()) };
                writeln!(out, "{line}")?;
            }
        }
        page.cursor = found.next_cursor;
        if page.cursor.is_none() {
            break;
        }
    }
    if !json {
        writeln!(out, "{}, {}", counted(versions, "version"), counted(octets, "octet"))?;
    }
    Ok(())
}

fn named(quota: &QuotaInfo) -> String {
    let name = if quota.name.is_empty() { NO_NAMESPACE } else { &quota.name };
    clean(&format!("{}:{name}", quota.kind))
}

fn of(used: u64, limit: Option<u64>) -> String {
    limit.map_or_else(|| used.to_string(), |limit| format!("{used} of {limit}"))
}

fn quota_line(quota: &QuotaInfo) -> String {
    let (used, limits) = (&quota.used, &quota.limits);
    let models = match quota.kind.known() {
        Some(QuotaKind::Namespace) | None => of(used.models, limits.models),
        Some(QuotaKind::User) => "-".to_owned(),
    };
    format!(
        "{:32} {:>30} {:>16} {models:>16}",
        named(quota),
        of(used.bytes, limits.bytes),
        of(used.versions, limits.versions)
    )
}

fn quota_text(quota: &QuotaInfo) -> String {
    let (used, limits) = (&quota.used, &quota.limits);
    let set = match (&quota.set_by, &quota.set_at) {
        (Some(by), Some(at)) => format!("by {by} at {at}"),
        _ => "nobody: it is the default".to_owned(),
    };
    let mut all = vec![
        ("quota", named(quota)),
        ("octets", of(used.bytes, limits.bytes)),
        ("reserved", quota.reserved_bytes.to_string()),
        ("versions", of(used.versions, limits.versions)),
    ];
    if quota.kind != QuotaKind::User {
        all.push(("models", of(used.models, limits.models)));
    }
    all.push(("set", set));
    facts(&all)
}

fn rule_line(rule: &RetentionRuleInfo) -> String {
    let next = rule.next_run_at.as_deref().unwrap_or("not enabled");
    let line = format!("{:24} {:6} {:24} {next}", rule.name, rule.rule.action.as_str(), rule.rule.pattern.as_str());
    clean(&line)
}

fn rule_text(rule: &RetentionRuleInfo) -> String {
    let spec = &rule.rule;
    let mut all = vec![
        ("rule", rule.name.clone()),
        ("action", spec.action.as_str().to_owned()),
        ("models", spec.pattern.to_string()),
    ];
    all.extend(spec.keep_newest.map(|count| ("keeps", format!("the newest {count}"))));
    all.extend(spec.older_than_days.map(|days| ("older than", counted(days.into(), "day"))));
    all.extend(spec.states.iter().map(|state| ("state", state.as_str().to_owned())));
    all.extend(spec.protect_tags.iter().map(|tag| ("not with", tag.clone())));
    all.push(("enabled", if spec.enabled { "yes" } else { "no" }.to_owned()));
    all.push(("set", format!("by {} at {}", rule.set_by, rule.set_at)));
    all.push(("next run", rule.next_run_at.clone().unwrap_or_else(|| "on demand only".to_owned())));
    all.extend(rule.last_run.as_ref().map(|run| {
        ("last run", {
            let (versions, octets) = (counted(run.versions, "version"), counted(run.bytes, "octet"));
            format!("{}: {versions}, {octets}", run.ended_at)
        })
    }));
    facts(&all)
}

fn hit_line(hit: &RetentionHit) -> String {
    let (name, version, state, bytes) = (&hit.name, hit.version, hit.state.as_str(), hit.bytes);
    clean(&format!("{name}:{version}  {state}  {bytes} octets  {}", hit.created_at))
}

#[cfg(test)]
mod tests {
    use common::api::quota::QuotaKind;

    use super::{account, check};
    use crate::cli::get::What;
    use crate::config::ListOptions;

    /// Half a question is refused before anybody is asked.
    #[test]
    fn questions() {
        let list = ListOptions::default();
        assert!(check(What::Quota, None, &list).is_ok());
        assert!(check(What::Quota, Some("user:ana"), &list).is_ok());
        assert!(check(What::Quota, Some("ana"), &list).is_err());
        assert!(check(What::Rule, None, &list).is_err());
        assert!(check(What::Rules, Some("x"), &list).is_err());
        assert_eq!(account("namespace:-").unwrap(), (QuotaKind::Namespace, "-"));
    }
}
