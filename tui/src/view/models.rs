//! Screen 1: models, a model with its versions, a version.

use common::api::{ModelInfo, ModelRow, State as VersionState, VersionInfo};
use common::known::Known;

use super::{filter_words, freshness, of_total, say_empty, why_empty};
use crate::clean::cut;
use crate::filter::shown;
use crate::layout::{Areas, Class, facts_height};
use crate::state::State;
use crate::state::models::{OpenModel, SORTS, decision_word, is_suspect, state_word};
use crate::time::{Now, age, bytes, bytes_exactly, counted, dated, grouped};
use crate::view::pen::{Line, Pen, Text, Tone};
use crate::view::table::{Column, fixed, flexible, number, stars, table, touched};
use crate::window::Row;

pub(super) const MODELS: [Column; 7] = [
    flexible("NAME", 21, 0),
    number("VERS", 4, 5),
    fixed("STATE", 11, 1),
    fixed("ALIAS", 8, 3),
    fixed("OWNER", 10, 4),
    number("SIZE", 8, 6),
    number("UPDATED", 10, 2),
];

/// Columns of the aliases of each of them.
const ALIASES_SHOWN: usize = 8;
/// Versions that the pane beside the list names.
const VERSIONS_SHOWN: usize = 5;

/// The least columns for a name on a narrow screen.
const NARROW_NAME_COLUMNS: u16 = 14;

const VERSIONS: [Column; 7] = [
    fixed("VERSION", 8, 0),
    fixed("STATE", 11, 1),
    flexible("ALIAS", 10, 3),
    fixed("BY", 12, 4),
    number("FILES", 5, 6),
    number("SIZE", 8, 5),
    number("PUBLISHED", 10, 2),
];

pub(super) fn status(state: &State) -> (String, Option<(String, Tone)>) {
    match &state.models.open {
        None => {
            let list = &state.models.list;
            let direction = if state.models.descending { "v" } else { "^" };
            let marked = match (state.models.marks.len(), state.models.marking) {
                (0, None) => match state.models.all {
                    Some(Some(total)) => format!("   all {} marked", grouped(total)),
                    Some(None) => "   all marked".to_owned(),
                    None => String::new(),
                },
                (count, None) => format!("   {} marked", grouped(count as u64)),
                (count, Some(_)) => format!("   marking, {}", grouped(count as u64)),
            };
            let left = format!(
                "Models {}{marked}   {}   sort: {} {direction}",
                of_total(list),
                filter_words(&shown(&state.models.filter)),
                SORTS[state.models.sort].1
            );
            (left, freshness(state, list))
        }
        Some(open) if open.compared.is_some() => {
            let words = open.compared.as_ref().map(|compared| super::diff::headline(compared)).unwrap_or_default();
            (format!("{}   {words}", title(open)), None)
        }
        Some(open) => {
            let reading = open.reading.and_then(|_| open.versions.selected());
            let what = match reading {
                Some(version) => format!("version {}", version.version),
                None => of_versions(open),
            };
            (format!("Models   {}   {what}", title(open)), freshness(state, &open.versions))
        }
    }
}

/// `3 of 52 versions`: where one is in the list.
fn of_versions(open: &OpenModel) -> String {
    let total = open.versions.total().map(|total| counted(total, "version"));
    match (open.versions.ordinal().filter(|_| !open.versions.is_empty()), total) {
        (Some(place), Some(total)) => format!("{} of {total}", grouped(place)),
        (None, Some(total)) => total,
        (_, None) => String::new(),
    }
}

fn title(open: &OpenModel) -> &str {
    let read = open.info.as_ref().map(|info| info.model.name.as_str());
    read.or(open.name.as_deref()).unwrap_or(&open.reference)
}

pub(super) fn paint(state: &State, areas: &Areas, pen: &mut Pen<'_>) {
    if areas.rows.height == 0 {
        return;
    }
    let now = state.times();
    match &state.models.open {
        None => {
            // A narrow screen has room for the state and the time if names are cut further.
            let mut columns = MODELS;
            if areas.class == Class::Narrow {
                columns[0].columns = NARROW_NAME_COLUMNS;
            }
            table(pen, areas, &columns, &state.models.list, |row| model_cells(row, now));
            stars(pen, areas, &state.models.list, |row| state.models.is_marked(row));
            let marked = |row: &ModelRow| state.models.is_marked(row);
            touched(pen, areas, &state.models.list, Some(&state.fresh.models), marked);
            let filtered = !state.models.filter.is_empty();
            if let Some(words) =
                why_empty(state, &state.models.list, filtered, "no model yet: an upload makes the first one")
            {
                say_empty(areas, pen, &words);
            }
        }
        Some(open) => {
            facts(open, areas, pen);
            table(pen, areas, &VERSIONS, &open.versions, |version| version_cells(version, now));
            let height = areas.rows.height.into();
            for (y, (version, selected)) in (areas.rows.top()..areas.rows.bottom()).zip(open.versions.visible(height)) {
                if open.marked == Some(version.version) {
                    pen.put(areas.rows.x + u16::from(selected), y, 1, "*", Tone::Bold);
                }
            }
            let marked = |version: &VersionInfo| open.marked == Some(version.version);
            touched(pen, areas, &open.versions, Some(&state.fresh.open), marked);
            if let Some(words) = why_empty(state, &open.versions, false, "no version is left") {
                say_empty(areas, pen, &words);
            }
        }
    }
}

fn model_cells(row: &ModelRow, now: Now) -> Vec<(String, Tone)> {
    let dash = || "-".to_owned();
    let aliases: Vec<&str> = row.aliases.iter().map(|alias| alias.alias.as_str()).collect();
    let aliases = if aliases.is_empty() { dash() } else { aliases.join(",") };
    vec![
        (row.name.to_string(), Tone::Plain),
        (row.versions.to_string(), Tone::Plain),
        state_cell(&row.state, row.verdict.as_deref()),
        (aliases, Tone::Plain),
        (row.owner.clone(), Tone::Plain),
        (row.size.map_or_else(dash, bytes), Tone::Plain),
        (age(&row.updated_at, now), Tone::Plain),
    ]
}

fn version_cells(version: &VersionInfo, now: Now) -> Vec<(String, Tone)> {
    let aliases: Vec<&str> = version.aliases.iter().map(common::name::Alias::as_str).collect();
    let size = version.artifacts.iter().map(|artifact| artifact.size).fold(0u64, u64::saturating_add);
    vec![
        (format!("v{}", version.version), Tone::Plain),
        state_cell(&version.state, verdict_of(version)),
        (if aliases.is_empty() { "-".to_owned() } else { aliases.join(",") }, Tone::Plain),
        (version.created_by.clone(), Tone::Plain),
        (version.artifacts.len().to_string(), Tone::Plain),
        (bytes(size), Tone::Plain),
        (age(&version.created_at, now), Tone::Plain),
    ]
}

fn state_cell(state: &Known<VersionState>, verdict: Option<&str>) -> (String, Tone) {
    let tone = match state.known() {
        _ if is_suspect(state, verdict) && verdict == Some("malicious") => Tone::Bad,
        _ if is_suspect(state, verdict) => Tone::Warn,
        Some(VersionState::Available) => Tone::Plain,
        Some(VersionState::Quarantined) => Tone::Bad,
        Some(VersionState::Deprecated) | None => Tone::Warn,
        Some(VersionState::Deleted) => Tone::Dim,
    };
    (state_word(state, verdict), tone)
}

/// What inspection of a version came to.
fn verdict_of(version: &VersionInfo) -> Option<&str> {
    version.inspection.as_ref().map(|inspection| inspection.verdict.as_str())
}

/// What is to be known of a model, above its versions.
fn facts(open: &OpenModel, areas: &Areas, pen: &mut Pen<'_>) {
    let area = ratatui::layout::Rect { height: facts_height(areas.class).min(areas.body.height), ..areas.body };
    let area = ratatui::layout::Rect { width: areas.rows.width, ..area };
    let mut text = Text::new(area.width);
    match (&open.info, &open.failed) {
        (Some(info), _) if areas.class == Class::Narrow => text.pieces(vec![(info.model.name.to_string(), Tone::Bold)]),
        (Some(info), _) => model_facts(info, &mut text),
        (None, Some(why)) => text.words(0, why, Tone::Bad),
        (None, None) => text.pieces(vec![("loading".to_owned(), Tone::Plain)]),
    }
    let mut lines = text.lines();
    let room = usize::from(area.height).saturating_sub(usize::from(areas.class > Class::Narrow));
    if lines.len() > room {
        lines.truncate(room);
        if let Some(last) = lines.last_mut() {
            last.0.push(("~".to_owned(), Tone::Plain));
        }
    }
    pen.lines(area, &lines, 0);
}

fn model_facts(info: &ModelInfo, text: &mut Text) {
    let model = &info.model;
    let aliases: Vec<String> = model
        .aliases
        .iter()
        .map(|alias| {
            format!("{} = v{}{}", alias.alias, alias.version, if alias.protected { " (protected)" } else { "" })
        })
        .collect();
    let tags: Vec<String> = model.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    text.fact("owner", &format!("{}   id {}", model.owner, model.id), Tone::Plain);
    text.fact("aliases", &if aliases.is_empty() { "none".to_owned() } else { aliases.join(", ") }, Tone::Plain);
    text.fact("tags", &if tags.is_empty() { "none".to_owned() } else { tags.join(", ") }, Tone::Plain);
    if let Some(until) = &info.restorable_until {
        text.fact("deleted", &format!("can be restored until {until}"), Tone::Warn);
    }
    let said = if model.description.is_empty() { "no description" } else { model.description.as_str() };
    text.fact("about", said, Tone::Plain);
}

/// The pane beside the list, or the page of a version.
pub(super) fn lines(state: &State, areas: &Areas) -> Vec<Line> {
    let mut text = Text::new(areas.pane.width);
    let now = state.times();
    match &state.models.open {
        Some(open) => {
            if let Some(version) = open.versions.selected() {
                version_page(version, &mut text, now, open.reading.is_some());
            }
        }
        None => {
            let list = &state.models.list;
            let shown = state.models.pane.as_ref().and_then(|pane| list.rows().find(|row| row.key() == *pane));
            if let Some(row) = shown.or(list.selected()) {
                let peek = &state.models.peek;
                let info = peek.info.as_ref().filter(|_| peek.id == row.id.to_string());
                row_page(row, info.map(|info| &**info), &mut text, now);
            }
        }
    }
    text.lines()
}

/// What a row of the list says, and, once the selection has rested, its versions and the newest of them.
fn row_page(row: &ModelRow, info: Option<&ModelInfo>, text: &mut Text, now: Now) {
    text.pieces(vec![(row.name.to_string(), Tone::Bold)]);
    text.blank();
    let aliases: Vec<String> = row.aliases.iter().map(|held| format!("{} = v{}", held.alias, held.version)).collect();
    if !aliases.is_empty() {
        text.fact("aliases", &aliases.join(", "), Tone::Plain);
    }
    let tags: Vec<String> = row.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    text.fact("owner", &row.owner, Tone::Plain);
    if !tags.is_empty() {
        text.fact("tags", &tags.join(", "), Tone::Plain);
    }
    let (word, tone) = state_cell(&row.state, row.verdict.as_deref());
    let until = info.and_then(|info| info.restorable_until.as_deref());
    let until = until.map_or(String::new(), |until| format!(", can be restored until {until}"));
    text.fact("state", &format!("{word}{until}"), tone);
    text.fact("created", &row.created_at, Tone::Plain);
    text.fact("updated", &dated(&row.updated_at, now), Tone::Plain);
    text.fact("id", &row.id.to_string(), Tone::Plain);
    match info {
        None => {
            let latest = row.latest_version.map_or("none".to_owned(), |version| format!("v{version}"));
            text.fact("latest", &latest, Tone::Plain);
            text.fact("format", row.format.as_deref().unwrap_or("-"), Tone::Plain);
            let size = row.size.map_or("-".to_owned(), bytes_exactly);
            text.fact("size", &size, Tone::Plain);
        }
        Some(info) => {
            text.head("VERSIONS");
            for version in info.newest_versions.iter().take(VERSIONS_SHOWN) {
                let aliases: Vec<&str> = version.aliases.iter().map(common::name::Alias::as_str).collect();
                // Columns stay columns, whoever has many: the version itself has all of them.
                let aliases = if aliases.is_empty() { "-".to_owned() } else { cut(&aliases.join(","), ALIASES_SHOWN) };
                let size = version.artifacts.iter().map(|artifact| artifact.size).fold(0u64, u64::saturating_add);
                let day: String = version.created_at.chars().take(10).collect();
                let (word, tone) = state_cell(&version.state, verdict_of(version));
                let is_plain = word == VersionState::Available.as_str();
                let word = if is_plain { String::new() } else { format!(" {word}") };
                text.pieces(vec![
                    (
                        format!(
                            "v{:<5}{aliases:<ALIASES_SHOWN$} {day}{:>9}  {}",
                            version.version,
                            bytes(size),
                            version.created_by
                        ),
                        Tone::Plain,
                    ),
                    (word, tone),
                ]);
            }
            let more = usize::try_from(row.versions)
                .unwrap_or(0)
                .saturating_sub(info.newest_versions.len().min(VERSIONS_SHOWN));
            if more > 0 {
                text.words(0, &format!("{more} more (Enter)"), Tone::Dim);
            }
            if let Some(version) = info.selected.as_ref().or(info.newest_versions.first()) {
                text.blank();
                newest(version, text);
            }
        }
    }
    if !row.description.is_empty() {
        text.blank();
        text.words(0, &row.description, Tone::Plain);
    }
}

/// The facts of a version that fit into a few lines.
fn newest(version: &VersionInfo, text: &mut Text) {
    text.pieces(vec![(format!("v{}", version.version), Tone::Bold)]);
    if let [only] = version.artifacts.as_slice() {
        text.fact("digest", &only.digest.to_string(), Tone::Plain);
    }
    let formats: std::collections::BTreeSet<&str> =
        version.artifacts.iter().map(|artifact| artifact.format.as_str()).collect();
    text.fact("format", &formats.into_iter().collect::<Vec<_>>().join(", "), Tone::Plain);
    if let Some(inspection) = &version.inspection {
        let tone = if inspection.verdict == "clean" { Tone::Plain } else { Tone::Warn };
        text.fact("scan", &format!("{}, {}", inspection.verdict, counted(inspection.findings_total, "finding")), tone);
    }
    text.fact("logged", &format!("entry {}", version.log_index), Tone::Plain);
}

/// All that is known of a version. `whole` has digests in full and all metadata.
fn version_page(version: &VersionInfo, text: &mut Text, now: Now, whole: bool) {
    text.pieces(vec![(format!("{} v{}", version.name, version.version), Tone::Bold)]);
    text.blank();
    let verdict = verdict_of(version);
    let (word, tone) = state_cell(&version.state, verdict);
    let reason = version.state_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    text.fact("state", &format!("{word}{reason}"), tone);
    if let Some(verdict) = verdict.filter(|verdict| is_suspect(&version.state, Some(verdict))) {
        text.fact("verdict", &format!("{verdict}: it is handed out all the same"), tone);
    }
    text.fact(
        "published",
        &format!("{} by {} ({})", version.created_at, version.created_by, version.source),
        Tone::Plain,
    );
    text.fact(
        "entry",
        &format!("{} of the audit log, {}", version.log_index, age(&version.created_at, now)),
        Tone::Plain,
    );
    if !version.aliases.is_empty() {
        let aliases: Vec<&str> = version.aliases.iter().map(common::name::Alias::as_str).collect();
        text.fact("aliases", &aliases.join(", "), Tone::Plain);
    }
    if !version.description.is_empty() {
        text.blank();
        text.words(0, &version.description, Tone::Plain);
    }
    if let Some(inspection) = &version.inspection {
        let stale = if inspection.stale { "; other rules are used now" } else { "" };
        text.fact(
            "inspected",
            &format!("{} {}, policy {}{stale}", inspection.verdict, inspection.at, inspection.policy),
            Tone::Plain,
        );
    }
    if let Some(review) = &version.review {
        let word = decision_word(&review.decision);
        let text_of = format!("{word} by {} {} (entry {}): {}", review.by, review.at, review.log_index, review.reason);
        text.fact("review", &text_of, Tone::Plain);
    }
    if version.cleared {
        text.fact("cleared", "nothing is found any more: it may be released", Tone::Warn);
    }
    if !version.findings.is_empty() {
        let total = version.inspection.as_ref().map_or(0, |inspection| inspection.findings_total);
        text.head(&format!("FINDINGS {}", total.max(version.findings.len() as u64)));
        for finding in &version.findings {
            let tone = match finding.level.as_str() {
                "malicious" => Tone::Bad,
                "note" => Tone::Plain,
                _ => Tone::Warn,
            };
            text.pieces(vec![(finding.level.clone(), tone), (format!("  {}", finding.rule), Tone::Plain)]);
            text.words(2, &finding.place, Tone::Dim);
            text.words(2, &finding.detail, Tone::Plain);
        }
    }
    text.head(&format!("FILES {}", version.artifacts.len()));
    for artifact in &version.artifacts {
        text.words(0, artifact.path.as_str(), Tone::Plain);
        text.words(2, &format!("{}  {}", artifact.format, bytes_exactly(artifact.size)), Tone::Dim);
        text.words(2, &artifact.digest.to_string(), Tone::Dim);
    }
    if whole && !version.metadata.is_empty() {
        text.head("METADATA");
        for (key, datum) in &version.metadata {
            let origin = &datum.origin;
            let value = match &datum.value {
                serde_json::Value::String(value) => value.clone(),
                other => other.to_string(),
            };
            text.words(0, &format!("{key} = {value}  ({origin})"), Tone::Plain);
        }
    }
}
