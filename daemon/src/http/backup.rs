//! `/backup/…`, at the control socket only: a hold that lasts as long as its answer, and the reports of whoever copies. What
//! is held and recorded is the registry's; what is copied is not seen here.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use common::api::{BackupHeld, BackupReport};
use futures_util::stream;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use crate::http::server::raised;
use crate::http::{Answer, Call, body, respond};

/// How often an empty line says that the hold is still there; writing it also tells that whoever asked has gone.
const PULSE: Duration = Duration::from_secs(1);

/// `POST /backup/hold`
pub(crate) async fn hold(call: Call) -> Answer {
    let held = call.shared.registry.hold_for_backup(&call.caller).await?;
    let identity = call.shared.registry.identity();
    let first = BackupHeld {
        checkpoint: held.checkpoint.note.clone(),
        size: held.checkpoint.size,
        node: identity.node,
        vkeys: identity.vkeys,
    };
    let mut line = serde_json::to_vec(&first).unwrap_or_default();
    line.push(b'\n');
    let stopping = call.shared.stopping.clone();
    // The hold is dropped with the answer: at its end, or when whoever asked has gone.
    let lines = stream::unfold((Some(line), held, stopping), |(line, held, mut stopping)| async move {
        let line = match line {
            Some(line) => Bytes::from(line),
            None => tokio::select! {
                () = tokio::time::sleep(PULSE) => Bytes::from_static(b"\n"),
                () = raised(&mut stopping) => return None,
            },
        };
        Some((Ok::<_, io::Error>(line), (None, held, stopping)))
    });
    let mut response = Response::new(respond::stream(lines));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// `POST /backup/report`
pub(crate) async fn report(mut call: Call) -> Answer {
    let report: BackupReport = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let done = call.shared.registry.report_backup(&call.caller, report).await?;
    Ok(respond::logged(respond::no_content(), done.logged.as_ref()))
}
