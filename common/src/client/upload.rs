//! Uploads: the octets of a file go out as they come, on a connection of their own; the answer comes when the daemon has
//! inspected and recorded them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::{Client, ClientError, JSON, Reply, Target, fitting, refusal, text};
use crate::api::Published;

/// Longest wait for the answer once the last octet was handed over: the daemon inspects the whole file first.
pub const UPLOAD_ANSWER_TIMEOUT: Duration = Duration::from_secs(3_600);

/// A body of pieces that come from elsewhere, of a length that is known before.
pub(super) struct Pieces {
    left: u64,
    pieces: Receiver<Bytes>,
}

impl Pieces {
    /// So many octets.
    pub(super) fn new(octets: u64, pieces: Receiver<Bytes>) -> Self {
        Self { left: octets, pieces }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        match self.pieces.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(piece)) => {
                let Some(left) = self.left.checked_sub(piece.len() as u64) else {
                    return Poll::Ready(Some(Err(io::Error::other("the file is longer than it was"))));
                };
                self.left = left;
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Poll::Ready(None) => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Client {
    /// `PUT /models/{name}/artifact`: a file of `octets` octets, taken from `pieces` as they are wanted. Dropping the
    /// future ends the upload; nothing is kept of it then.
    ///
    /// # Errors
    /// [`crate::problem::ProblemType::Invalid`], [`crate::problem::ProblemType::ContentTooLarge`],
    /// [`crate::problem::ProblemType::StorageFull`], [`crate::problem::ProblemType::MaliciousContent`]; those of every call.
    pub async fn upload(
        &self,
        name: &str,
        file_name: &str,
        octets: u64,
        pieces: Receiver<Bytes>,
    ) -> Result<Reply<Published>, ClientError> {
        let target = Target::new(&["models", name, "artifact"]).param("filename", file_name);
        self.check_read_only(&Method::PUT, &target)?;
        let id = self.fresh_id();
        let (mut parts, _empty) = self.request(Method::PUT, &target.0, None, true, JSON, &id)?.into_parts();
        parts.headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/octet-stream"));
        let sending = self.send_pieces(Request::from_parts(parts, Pieces::new(octets, pieces)));
        let (headers, body) =
            timeout(UPLOAD_ANSWER_TIMEOUT, sending).await.map_err(|_elapsed| self.late(UPLOAD_ANSWER_TIMEOUT))??;
        let request_id = text(&headers, "x-request-id").unwrap_or(&id).to_owned();
        let log_index = text(&headers, "mregd-log-index").and_then(|value| value.parse().ok());
        let etag = text(&headers, header::ETAG.as_str()).map(str::to_owned);
        fitting(Reply { body, request_id, log_index, etag })
    }

    /// Sends a request whose body comes in pieces, over a connection of its own, and reads its answer.
    pub(super) async fn send_pieces(&self, request: Request<Pieces>) -> Result<(HeaderMap, Bytes), ClientError> {
        let mut connection = self.connect::<Pieces>().await?;
        let response = connection.send_request(request).await.map_err(|cause| self.offline(&cause))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.collect(response.into_body()).await?;
        if !status.is_success() {
            return Err(refusal(status, &headers, &body));
        }
        Ok((headers, body))
    }
}
