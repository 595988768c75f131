//! Rows as CSV or JSON lines. Values are true, not as they are shown; but a CSV cell that a spreadsheet would take for a
//! formula gets an apostrophe, unless it is asked for raw. Where rows come from and go to is not known here.

use common::api::AuditRow;
use serde_json::Value;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values, RFC 4180.
    Csv {
        /// Cells are left as they are.
        raw: bool,
    },
    /// One JSON document a line.
    JsonLines,
}

/// In which form entries of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As rows.
    Rows(Format),
    /// One JSON document a line, as `GET /audit-logs/{index}` answers: the entry with its receipt, which proves it to anybody
    /// who has the log's key.
    Proofs,
}

/// What the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Models.
    Models,
    /// Versions of a model.
    Versions,
    /// Users.
    Users,
    /// Items of the drop folder.
    Queue,
    /// Versions that are held.
    Quarantine,
    /// Entries of the log; see [`flat_entry`].
    Entries,
    /// API tokens, without their secrets.
    Tokens,
}

impl Kind {
    /// The columns of the CSV: keys of the documents, with points where they lie deeper.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Models => &[
                "name",
                "id",
                "state",
                "latest_version",
                "versions",
                "owner",
                "uploader",
                "format",
                "size",
                "verdict",
                "aliases",
                "tags",
                "description",
                "created_at",
                "updated_at",
            ],
            Self::Versions => &[
                "name",
                "version",
                "state",
                "state_reason",
                "aliases",
                "artifacts",
                "metadata",
                "description",
                "source",
                "created_at",
                "created_by",
                "log_index",
            ],
            Self::Users => &[
                "username",
                "id",
                "role",
                "disabled",
                "must_change_password",
                "totp",
                "sessions",
                "created_at",
                "updated_at",
                "last_login_at",
            ],
            Self::Queue => &[
                "path",
                "id",
                "kind",
                "state",
                "reason",
                "size",
                "files",
                "by",
                "attempts",
                "name",
                "version",
                "seen_at",
                "state_since",
                "next_try_at",
                "log_index",
            ],
            Self::Quarantine => &[
                "name",
                "id",
                "version",
                "state_reason",
                "verdict",
                "cleared",
                "findings_total",
                "findings",
                "format",
                "size",
                "held_at",
                "created_at",
                "created_by",
            ],
            Self::Tokens => &[
                "id",
                "label",
                "user",
                "state",
                "permissions",
                "names",
                "created_at",
                "created_by",
                "rotated_at",
                "expires_at",
                "last_used_at",
            ],
            Self::Entries => &[
                "index",
                "ts",
                "action",
                "outcome",
                "actor_id",
                "actor_name",
                "actor_kind",
                "actor_role",
                "target_kind",
                "target_id",
                "target_version",
                "target_digest",
                "req_id",
                "req_method",
                "req_route",
                "req_status",
                "req_ip",
                "req_ua",
                "data",
                "leaf_hash",
            ],
        }
    }

    /// A word for file names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Versions => "versions",
            Self::Users => "users",
            Self::Queue => "queue",
            Self::Quarantine => "quarantine",
            Self::Entries => "entries",
            Self::Tokens => "tokens",
        }
    }
}

/// An entry as a document that [`row`] takes: for CSV with the columns that the daemon's own CSV has, for JSON lines as it is.
pub fn flat_entry(row: &AuditRow, format: Format) -> Value {
    if format == Format::JsonLines {
        return serde_json::to_value(row).unwrap_or_default();
    }
    let mut flat = serde_json::Map::new();
    flat.insert("index".to_owned(), row.index.into());
    flat.insert("leaf_hash".to_owned(), row.leaf_hash.clone().into());
    for column in Kind::Entries.columns() {
        let path = match column.split_once('_') {
            Some((object @ ("actor" | "target" | "req"), member)) => format!("/{object}/{member}"),
            _ => format!("/{column}"),
        };
        if let Some(value) = row.entry.pointer(&path) {
            flat.insert((*column).to_owned(), value.clone());
        }
    }
    Value::Object(flat)
}

/// The line before the rows; empty for JSON lines.
pub fn head(kind: Kind, format: Format) -> String {
    match format {
        Format::Csv { .. } => kind.columns().join(",") + "\r\n",
        Format::JsonLines => String::new(),
    }
}

/// One row.
pub fn row(kind: Kind, format: Format, value: &Value) -> String {
    match format {
        Format::JsonLines => format!("{value}\n"),
        Format::Csv { raw } => {
            // A hash in base64 may begin with a plus, and nobody writes one.
            let is_raw = |column: &str| raw || column == "leaf_hash";
            let cells = kind.columns().iter().map(|column| cell(value.get(column), is_raw(column)));
            let cells: Vec<String> = cells.collect();
            cells.join(",") + "\r\n"
        }
    }
}

/// A cell: text as it is, anything else as JSON; quoted where it must be.
fn cell(value: Option<&Value>, raw: bool) -> String {
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let is_text = !matches!(value, Some(Value::Number(_)));
    let guarded =
        if !raw && is_text && text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text };
    if guarded.contains([',', '"', '\n', '\r']) || guarded.trim() != guarded {
        format!("\"{}\"", guarded.replace('"', "\"\""))
    } else {
        guarded
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Format, Kind, cell, flat_entry, head, row};

    /// What a spreadsheet would run is not run; numbers stay numbers; raw is raw.
    #[test]
    fn cells() {
        for (value, guarded, raw) in [
            (json!("=1+2"), "'=1+2", "=1+2"),
            (json!("+49"), "'+49", "+49"),
            (json!("-x"), "'-x", "-x"),
            (json!("@SUM(A1)"), "'@SUM(A1)", "@SUM(A1)"),
            (json!("\tx"), "'\tx", "\"\tx\""),
            (json!("\rx"), "\"'\rx\"", "\"\rx\""),
            (json!("=a,\"b\""), "\"'=a,\"\"b\"\"\"", "\"=a,\"\"b\"\"\""),
            (json!(-5), "-5", "-5"),
            (json!("a\nb"), "\"a\nb\"", "\"a\nb\""),
            (json!(null), "", ""),
            (json!(["x", "y"]), "\"[\"\"x\"\",\"\"y\"\"]\"", "\"[\"\"x\"\",\"\"y\"\"]\""),
        ] {
            assert_eq!(
                (cell(Some(&value), false).as_str(), cell(Some(&value), true).as_str()),
                (guarded, raw),
                "{value}"
            );
        }
    }

    #[test]
    fn rows() {
        let user = json!({"username": "eve", "id": "usr_1", "role": "viewer", "disabled": true, "sessions": 2});
        let csv = Format::Csv { raw: false };
        assert_eq!(row(Kind::Users, csv, &user), "eve,usr_1,viewer,true,,,2,,,\r\n");
        assert_eq!(head(Kind::Users, csv).matches(',').count(), row(Kind::Users, csv, &user).matches(',').count());
        assert!(row(Kind::Users, Format::JsonLines, &user).ends_with("}\n"));
        assert_eq!(head(Kind::Users, Format::JsonLines), "");
        let entry = json!({
            "v": 1, "ts": "2026-07-22T12:02:25.114Z", "action": "model.delete", "outcome": "denied",
            "actor": {"id": "usr_1", "name": "=eve", "kind": "user", "role": "viewer"},
            "target": {"kind": "model", "id": "m", "version": "3"}, "data": {"versions": 7},
            "req": {"id": "r", "method": "DELETE", "route": "/models/{id}", "status": 403, "ip": "10.2.0.31"}
        });
        let of = common::api::AuditRow { index: 7, entry, leaf_hash: "h=".into() };
        assert_eq!(
            row(Kind::Entries, csv, &flat_entry(&of, csv)),
            "7,2026-07-22T12:02:25.114Z,model.delete,denied,usr_1,'=eve,user,viewer,model,m,3,,r,DELETE,/models/{id},403,\
             10.2.0.31,,\"{\"\"versions\"\":7}\",h=\r\n"
        );
        assert!(row(Kind::Entries, Format::JsonLines, &flat_entry(&of, Format::JsonLines)).starts_with("{\"entry\":{"));
    }
}
