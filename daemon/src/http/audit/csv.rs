//! Entries as CSV (RFC 4180: CRLF, quotes doubled). Every column is there for every entry; what an entry lacks is empty.
//! Cells are safe to open in a spreadsheet: what it would take for a formula begins with an apostrophe.
//! Which entries there are is not known here.

use common::api::AuditRow;
use serde_json::Value;

/// A column: its name, and where in the entry it is found.
type Column = (&'static str, &'static [&'static str]);

/// The columns between `index` and `leaf_hash`, in their order.
const COLUMNS: [Column; 18] = [
    ("ts", &["ts"]),
    ("action", &["action"]),
    ("outcome", &["outcome"]),
    ("actor_id", &["actor", "id"]),
    ("actor_name", &["actor", "name"]),
    ("actor_kind", &["actor", "kind"]),
    ("actor_role", &["actor", "role"]),
    ("target_kind", &["target", "kind"]),
    ("target_id", &["target", "id"]),
    ("target_version", &["target", "version"]),
    ("target_digest", &["target", "digest"]),
    ("req_id", &["req", "id"]),
    ("req_method", &["req", "method"]),
    ("req_route", &["req", "route"]),
    ("req_status", &["req", "status"]),
    ("req_ip", &["req", "ip"]),
    ("req_ua", &["req", "ua"]),
    ("data", &["data"]),
];

/// The names of the columns, as the first line.
pub(super) fn head() -> String {
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    format!("index,{},leaf_hash\r\n", names.join(","))
}

/// Appends a row.
pub(super) fn push_row(text: &mut String, row: &AuditRow) {
    text.push_str(&row.index.to_string());
    for (_, path) in COLUMNS {
        text.push(',');
        let found = path.iter().try_fold(&row.entry, |value, key| value.get(key));
        push_cell(
            text,
            &match found {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            },
        );
    }
    text.push(',');
    // Base64 of ours: it must compare equal to what a receipt says, and no formula hides in it.
    text.push_str(&row.leaf_hash);
    text.push_str("\r\n");
}

fn push_cell(text: &mut String, cell: &str) {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let is_quoted = cell.contains(['"', ',', '\r', '\n']);
    if is_quoted {
        text.push('"');
    }
    if is_formula {
        text.push('\'');
    }
    if is_quoted {
        text.push_str(&cell.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(cell);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::api::AuditRow;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
    use serde_json::json;

    use super::{head, push_cell, push_row};

    fn cell(value: &str) -> String {
        let mut text = String::new();
        push_cell(&mut text, value);
        text
    }

    #[test]
    fn cells() {
        for (value, wanted) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\""),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("\tx", "'\tx"),
            ("\rx", "\"'\rx\""),
            ("{\"a\":1}", "\"{\"\"a\"\":1}\""),
        ] {
            assert_eq!(cell(value), wanted);
        }
    }

    #[test]
    fn a_row_has_the_columns_of_the_head() {
        let row = AuditRow {
            index: 7,
            entry: json!({"ts": "2026-01-31T12:00:00.000Z", "action": "model.delete", "outcome": "ok",
                "actor": {"id": "usr_1", "name": "=cmd", "kind": "user"}, "req": {"status": 200}, "data": {"n": 1}}),
            leaf_hash: "+abc=".into(),
        };
        let mut text = String::new();
        push_row(&mut text, &row);
        assert_eq!(
            text,
            "7,2026-01-31T12:00:00.000Z,model.delete,ok,usr_1,'=cmd,user,,,,,,,,,200,,,\"{\"\"n\"\":1}\",+abc=\r\n"
        );
        // The one cell with a comma would be quoted, so counting commas counts columns.
        assert_eq!(head().matches(',').count(), text.matches(',').count());
    }

    proptest! {
        /// A reader gets the cell back, but for the apostrophe; and no cell begins as a formula does.
        #[test]
        fn any_cell(value in "[=+@,\"\r\n\t a-]{0,12}") {
            let text = cell(&value);
            let read = match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
                Some(quoted) => quoted.replace("\"\"", "\""),
                None => {
                    prop_assert!(!text.contains([',', '\n', '\r', '"']));
                    text
                }
            };
            prop_assert!(!read.starts_with(['=', '+', '-', '@', '\t', '\r']));
            prop_assert_eq!(read.strip_prefix('\'').unwrap_or(&read), value);
        }
    }
}
