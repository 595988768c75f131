//! `mreg export`: what the registry has, to a new file. The work is the console's own.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use common::audit::Verifier;
use common::client::{AuditQuery, Client};

use super::verify::{Picture, keys_of};
use super::{CliError, talk};
use crate::action::{Entries, Report};
use crate::config::EntryForm;
use crate::export::{Form, Format};
use crate::worker::entries::{self, Asked as Wanted};
use crate::worker::jobs::Teller;

/// What was asked for.
pub(super) struct Asked {
    /// Which entries.
    pub(super) query: AuditQuery,
    /// The lowest index.
    pub(super) from: Option<u64>,
    /// One behind the highest.
    pub(super) to: Option<u64>,
    /// In which form.
    pub(super) format: EntryForm,
    /// Cells are left as they are.
    pub(super) raw: bool,
    /// The file.
    pub(super) path: PathBuf,
    /// The log's keys, where they are given.
    pub(super) keys: Vec<Verifier>,
}

pub(super) async fn entries(client: &Client, asked: Asked, folder: Option<&Path>) -> Result<(), CliError> {
    let Asked { mut query, from, to, format, raw, path, keys } = asked;
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Err(CliError::Usage("--from is not below --to: there is nothing between".to_owned()));
    }
    let total = match (from.unwrap_or(0), to) {
        (from, Some(to)) if query == AuditQuery::default() => Some(to - from),
        _ => None,
    };
    query.after = query.after.max(from.and_then(|from| from.checked_sub(1)));
    query.before = query.before.into_iter().chain(to).min();
    let form = match format {
        EntryForm::Proofs => Form::Proofs,
        EntryForm::Jsonl => Form::Rows(Format::JsonLines),
        EntryForm::Csv => Form::Rows(Format::Csv { raw }),
    };
    let keys = match form {
        Form::Proofs => keys_of(keys, folder, client.address())?,
        Form::Rows(_) => Vec::new(),
    };
    let path =
        path.into_os_string().into_string().map_err(|_odd| CliError::Usage("--out: it is no text".to_owned()))?;
    let picture = RefCell::new(Picture::new("entries"));
    let mut teller = Teller::new(|report| {
        if let Report::Going { done, total } = report {
            picture.borrow_mut().step(done, total);
        }
    });
    let entries = Entries::Matching { query: Box::new(query), total };
    let told = entries::to_file(client, Wanted { entries, form, keys, path }, &mut teller).await;
    drop(picture);
    talk(&told?);
    Ok(())
}
