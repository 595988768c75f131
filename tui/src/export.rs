//! Rows as CSV or JSON lines. Values are true, not as they are shown; but a CSV cell that a spreadsheet would take for a
//! formula gets an apostrophe, unless it is asked for raw. Where rows come from and go to is not known here.

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
    /// Entries of the audit log.
    Entries,
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
            Self::Entries => &[
                "index",
                "entry.ts",
                "entry.actor.name",
                "entry.actor.id",
                "entry.action",
                "entry.target.kind",
                "entry.target.id",
                "entry.outcome",
                "entry.req.ip",
                "entry.data",
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
        }
    }
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
            let at = |column: &str| column.split('.').try_fold(value, |value, key| value.get(key));
            let cells: Vec<String> = kind.columns().iter().map(|column| cell(at(column), raw)).collect();
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

    use super::{Format, Kind, cell, head, row};

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
        assert_eq!(row(Kind::Users, csv, &user), "eve,usr_1,viewer,true,,2,,,\r\n");
        assert_eq!(head(Kind::Users, csv).matches(',').count(), row(Kind::Users, csv, &user).matches(',').count());
        assert!(row(Kind::Users, Format::JsonLines, &user).ends_with("}\n"));
        assert_eq!(head(Kind::Users, Format::JsonLines), "");
        let entry = json!({"index": 7, "entry": {"actor": {"name": "=eve"}, "action": "model.read"}, "leaf_hash": "x"});
        assert_eq!(row(Kind::Entries, csv, &entry), "7,,'=eve,,model.read,,,,,,x\r\n");
    }
}
