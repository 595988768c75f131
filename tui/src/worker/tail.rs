//! The stream of the log as events: what has come is handed over in batches, and waits here where the loop is busy. When to
//! open it again is decided elsewhere.

use std::sync::Arc;
use std::time::Duration;

use common::client::{AuditStream, Client, ClientError, LogEvent};

use super::hand_over;
use crate::event::{EventKind, TailEvent};
use crate::lanes::Sender;

/// Events of one batch.
const BATCH_MAX: usize = 64;
/// The daemon tells its newest checkpoint as soon as a stream is open. One that tells nothing for so long is held up on its
/// way.
const FIRST_EVENT: Duration = Duration::from_secs(20);

/// With so many events that wait already, more of the stream is left where it is: a thousand entries are enough to draw
/// from, and what waits in the daemon's buffers takes no memory here.
const WAITING_MAX: usize = 16;
/// How often it is looked whether the loop has come after.
const WAITING_LOOK: Duration = Duration::from_millis(5);

/// Follows the log until the stream ends.
pub(super) async fn follow(client: Arc<Client>, epoch: u64, after: Option<u64>, events: Sender) {
    let tell = |event| hand_over(&events, EventKind::Tail { epoch, event });
    let mut stream = match client.audit_stream_as_it_comes(after).await {
        Ok(stream) => stream,
        Err(error) => return tell(TailEvent::Ended(Some(Box::new(error)))).await,
    };
    tell(TailEvent::Opened(stream.log_index())).await;
    let mut first = true;
    loop {
        while events.waiting() >= WAITING_MAX {
            tokio::time::sleep(WAITING_LOOK).await;
        }
        let next = match first {
            true => tokio::time::timeout(FIRST_EVENT, batch(&mut stream)).await.unwrap_or_else(|_elapsed| {
                let (address, seconds) = (client.address().to_owned(), FIRST_EVENT.as_secs());
                Err(ClientError::Timeout { address, seconds })
            }),
            false => batch(&mut stream).await,
        };
        first = false;
        match next {
            Ok(batch) if batch.is_empty() => return tell(TailEvent::Ended(None)).await,
            Ok(batch) => tell(TailEvent::News(batch)).await,
            Err(error) => return tell(TailEvent::Ended(Some(Box::new(error)))).await,
        }
    }
}

/// What has come, waiting for the first of it; nothing at the end.
async fn batch(stream: &mut AuditStream) -> Result<Vec<LogEvent>, ClientError> {
    let Some(first) = stream.next().await? else { return Ok(Vec::new()) };
    let mut batch = vec![first];
    while batch.len() < BATCH_MAX {
        match stream.next_of_those_here() {
            Ok(Some(event)) => batch.push(event),
            // An error is told again by the next reading.
            Ok(None) | Err(_) => break,
        }
    }
    Ok(batch)
}
