//! Many models changed by one request: `DELETE /models` and `POST /models:restore`, told line by line as they are done.

use bytes::BytesMut;
use http::{Method, StatusCode};

use super::{Client, ClientError, Download, ModelQuery, NDJSON, Target};
use crate::api::bulk::{BulkLine, BulkTotal};

/// Longest line, in octets: a name and a sentence.
const LINE_OCTETS_MAX: usize = 64 * 1024;

/// What is done to all that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// They are deleted, restorably.
    Delete,
    /// Their deletion is taken back.
    Restore,
}

impl Client {
    /// Which models match, of those that a sweep would be about; nothing is done.
    ///
    /// # Errors
    /// [`crate::problem::ProblemType::Forbidden`] without `model.delete`; [`crate::problem::ProblemType::Invalid`] for values
    /// the daemon doesn't take, or where more match than one request changes; those of every call.
    pub async fn count_models(&self, sweep: Sweep, query: &ModelQuery) -> Result<BulkTotal, ClientError> {
        let mut told = self.sweep(sweep, query, None).await?;
        while let Some(line) = told.next().await? {
            if let BulkLine::Total(total) = line {
                return Ok(total);
            }
        }
        Err(ClientError::Protocol("how many match was not said".to_owned()))
    }

    /// Changes all models that match, if they are those of `expected`. What it tells ends with the total; dropped before, what
    /// is not under way yet is not done.
    ///
    /// # Errors
    /// As of [`Client::count_models`], where [`ClientError::Offline`] and [`ClientError::Timeout`] say that it may have begun;
    /// [`crate::problem::ProblemType::Conflict`] where others match by now.
    pub async fn change_models(
        &self,
        sweep: Sweep,
        query: &ModelQuery,
        expected: &BulkTotal,
    ) -> Result<BulkLines, ClientError> {
        self.sweep(sweep, query, Some(expected)).await
    }

    async fn sweep(
        &self,
        sweep: Sweep,
        query: &ModelQuery,
        expected: Option<&BulkTotal>,
    ) -> Result<BulkLines, ClientError> {
        let (method, target) = match sweep {
            Sweep::Delete => (Method::DELETE, Target::new(&["models"])),
            Sweep::Restore => (Method::POST, Target::new(&["models:restore"])),
        };
        let dry_run = if expected.is_none() { "true" } else { "" };
        let target = query
            .wanted(target)
            .number("expected", expected.map(|expected| expected.matched))
            .param("set", expected.map_or("", |expected| &expected.set))
            .param("dry_run", dry_run);
        let reply = self.open(method, target, NDJSON, &[]).await?;
        if reply.body.status() != StatusCode::OK {
            return Err(ClientError::Protocol(format!("status {} to a change of many models", reply.body.status())));
        }
        let download = Download { body: reply.body.into_body(), address: self.way.address.clone() };
        Ok(BulkLines { download, held: BytesMut::new(), request_id: reply.request_id })
    }
}

/// The lines of an answer, as they come.
#[derive(Debug)]
pub struct BulkLines {
    download: Download,
    held: BytesMut,
    /// By which the daemon's log knows the request.
    pub request_id: String,
}

impl BulkLines {
    /// The next line; none at the end, which may come before the total where the answer was cut.
    ///
    /// # Errors
    /// As of [`Download::chunk`]; [`ClientError::Protocol`] for what is no such line.
    pub async fn next(&mut self) -> Result<Option<BulkLine>, ClientError> {
        loop {
            if let Some(end) = self.held.iter().position(|octet| *octet == b'\n') {
                let line = self.held.split_to(end + 1);
                // It goes on.
                if line.trim_ascii().is_empty() {
                    continue;
                }
                let line = serde_json::from_slice(&line)
                    .map_err(|cause| ClientError::Protocol(format!("a line doesn't fit: {cause}")))?;
                return Ok(Some(line));
            }
            if self.held.len() > LINE_OCTETS_MAX {
                return Err(ClientError::Protocol(format!("a line is over {LINE_OCTETS_MAX} octets")));
            }
            match self.download.chunk().await? {
                Some(octets) => self.held.extend_from_slice(&octets),
                None => return Ok(None),
            }
        }
    }
}
