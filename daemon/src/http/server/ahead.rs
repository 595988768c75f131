//! Larger reads. rustls asks its socket for a record, 16 KiB, and less, and hands out one at a time; HTTP/2 asks for a frame,
//! and its head before it. Each would be a system call. Below them [`Ahead`] takes what has come in one; above TLS [`Whole`] hands
//! out all that has been opened, so that a frame of a body is larger. Knows octets; refuses to know what they are.

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// Octets that are taken from the socket at once. They are held while something comes: a connection that is quiet has none.
const AHEAD_OCTETS: usize = 64 * 1024;

/// A stream of which more is read than is asked for. Writes go through.
pub(super) struct Ahead<S> {
    stream: S,
    is_through: bool,
    /// What was read; what is before `given` was handed on.
    octets: Vec<u8>,
    given: usize,
}

impl<S> Ahead<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, is_through: false, octets: Vec::new(), given: 0 }
    }

    /// The same type for a stream whose reads cost nothing: it reads what it is asked for.
    pub(super) fn through(stream: S) -> Self {
        Self { is_through: true, ..Self::new(stream) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ahead<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.is_through {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        if this.given == this.octets.len() {
            this.given = 0;
            this.octets.clear();
            this.octets.reserve_exact(AHEAD_OCTETS);
            let read = pin!(this.stream.read_buf(&mut this.octets)).poll(cx);
            if !matches!(read, Poll::Ready(Ok(1..))) {
                this.octets = Vec::new();
            }
            ready!(read)?;
        }
        let ready = &this.octets[this.given..];
        let count = ready.len().min(buffer.remaining());
        buffer.put_slice(&ready[..count]);
        this.given += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ahead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, octets)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A stream that is read until it has nothing more at the moment, or no more is asked for. Writes go through.
pub(super) struct Whole<S> {
    stream: S,
    /// An error that came after octets: it is told when more is asked for.
    failed: Option<io::Error>,
}

impl<S> Whole<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, failed: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Whole<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Err(error));
        }
        let before = buffer.filled().len();
        while buffer.remaining() > 0 {
            let had = buffer.filled().len();
            let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
            if matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() > had {
                continue;
            }
            if had == before {
                return read;
            }
            // Nothing more at the moment. The end is found again by whoever asks again; an error might not be.
            if let Poll::Ready(Err(error)) = read {
                this.failed = Some(error);
            }
            break;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Whole<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, octets)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::VecDeque;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures_util::FutureExt as _;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

    use super::{AHEAD_OCTETS, Ahead, Whole};

    /// What a stream gives, call by call: octets, nothing yet, or an error. Then it has ended.
    #[derive(Default)]
    struct Script(VecDeque<Option<io::Result<Vec<u8>>>>, usize);

    impl AsyncRead for Script {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.1 += 1;
            match self.0.pop_front() {
                None => Poll::Ready(Ok(())),
                Some(None) => Poll::Pending,
                Some(Some(Err(error))) => Poll::Ready(Err(error)),
                Some(Some(Ok(mut octets))) => {
                    let rest = octets.split_off(octets.len().min(buffer.remaining()));
                    buffer.put_slice(&octets);
                    if !rest.is_empty() {
                        self.0.push_front(Some(Ok(rest)));
                    }
                    Poll::Ready(Ok(()))
                }
            }
        }
    }

    /// Reads in pieces of so many octets until the end, over what is not there yet.
    fn read_all(mut stream: impl AsyncRead + Unpin, piece: usize) -> (Vec<u8>, Option<io::Error>) {
        let (mut all, mut buffer) = (Vec::new(), vec![0; piece]);
        loop {
            match stream.read(&mut buffer).now_or_never() {
                None => {}
                Some(Ok(0)) => return (all, None),
                Some(Ok(count)) => all.extend_from_slice(&buffer[..count]),
                Some(Err(error)) => return (all, Some(error)),
            }
        }
    }

    proptest! {
        /// Whatever comes in whichever pieces is what is read, in order, and an error comes after all that came before it.
        #[test]
        fn octets_stay_the_same(
            parts in proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 1..300)), 0..20),
            piece in 1_usize..500,
            fails: bool,
        ) {
            let wanted: Vec<u8> = parts.iter().flatten().flatten().copied().collect();
            let script = || {
                let mut script: VecDeque<_> = parts.iter().map(|part| part.clone().map(Ok)).collect();
                script.extend(fails.then(|| Some(Err(io::ErrorKind::ConnectionReset.into()))));
                Script(script, 0)
            };
            for (read, error) in [
                read_all(Ahead::new(script()), piece),
                read_all(Whole::new(script()), piece),
                read_all(Whole::new(Ahead::new(script())), piece),
            ] {
                prop_assert_eq!(&read, &wanted);
                prop_assert!(error.is_some() == fails);
            }
        }
    }

    /// Many small reads are one of the stream, and one large read is many of it; what is quiet holds nothing.
    #[test]
    fn calls() {
        let mut ahead = Ahead::new(Script([Some(Ok(vec![7; AHEAD_OCTETS])), None].into(), 0));
        let mut piece = [0; 4096];
        for _ in 0..AHEAD_OCTETS / piece.len() {
            ahead.read_exact(&mut piece).now_or_never().unwrap().unwrap();
        }
        assert_eq!(ahead.stream.1, 1);
        assert!(ahead.read(&mut piece).now_or_never().is_none());
        assert_eq!(ahead.octets.capacity(), 0);

        let records = [Some(Ok(vec![1; 16_384])), Some(Ok(vec![2; 16_384])), None];
        let mut whole = Whole::new(Script(records.into(), 0));
        let mut large = vec![0; 100_000];
        assert_eq!(whole.read(&mut large).now_or_never().unwrap().unwrap(), 32_768);
    }
}
