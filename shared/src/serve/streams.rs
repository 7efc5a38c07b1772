//! Answers without a known end: sends them without hyper's buffers.
//!
//! hyper keeps two buffers of 8 KiB for each connection until it ends (hyper 1.12, `proto/h1/io.rs`), which is most of the memory of an idle
//! stream. So hyper writes the head of such an answer. Then the body is sent from here, in chunks (RFC 9112, section 7.1), and the connection is
//! closed after it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderValue, Version, header},
    response::Response,
};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};
use tokio_io_timeout::TimeoutWriter;

/// Takes the body of a stream from hyper to [`Stream::send`].
#[derive(Clone, Default)]
pub(super) struct Handover(Arc<Shared>);

#[derive(Default)]
struct Shared {
    stream: Mutex<Option<Stream>>,
    /// The socket has not taken all that it was given.
    blocked: AtomicBool,
}

/// A body to send.
pub(super) struct Stream {
    body: Body,
    is_chunked: bool,
    /// Dropped when the body has ended.
    _while_it_lasts: Box<dyn Send>,
}

impl Handover {
    /// The answer for hyper to begin: its head, and a body that is handed over when hyper asks for it.
    pub(super) fn begin(&self, version: Version, answer: Response, while_it_lasts: impl Send + 'static) -> Response {
        let (mut head, body) = answer.into_parts();
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        // Before HTTP/1.1 there are no chunks: the end of the connection is that of the body.
        let is_chunked = version == Version::HTTP_11;
        let stream = Some(Stream { body, is_chunked, _while_it_lasts: Box::new(while_it_lasts) });
        Response::from_parts(head, Body::new(Waiting { stream, handover: self.clone() }))
    }

    /// The stream to send, once hyper has written everything before it.
    pub(super) fn take(&self) -> Option<Stream> {
        if self.0.blocked.load(Ordering::Relaxed) { None } else { self.stream().take() }
    }

    fn stream(&self) -> MutexGuard<'_, Option<Stream>> {
        self.0.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stands for a body in hyper, which asks for it when the head is in its buffer.
struct Waiting {
    stream: Option<Stream>,
    handover: Handover,
}

impl HttpBody for Waiting {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(stream) = self.stream.take() {
            *self.handover.stream() = Some(stream);
        }
        Poll::Pending
    }
}

/// A socket that breaks when its client takes nothing for a while. It tells when it has taken everything.
pub(super) struct Socket {
    inner: Pin<Box<TimeoutWriter<TcpStream>>>,
    handover: Handover,
}

impl Socket {
    pub(super) fn new(socket: TcpStream, unread: Duration, handover: Handover) -> Self {
        let mut inner = TimeoutWriter::new(socket);
        inner.set_timeout(Some(unread));
        Self { inner: Box::pin(inner), handover }
    }

    fn note(&self, written: Poll<io::Result<usize>>, of: usize) -> Poll<io::Result<usize>> {
        let is_whole = matches!(&written, Poll::Ready(Ok(written)) if *written == of);
        self.handover.0.blocked.store(!is_whole, Ordering::Relaxed);
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_read(cx, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.inner.as_mut().poll_write(cx, bytes);
        self.note(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.inner.as_mut().poll_write_vectored(cx, slices);
        self.note(written, slices.iter().map(|slice| slice.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_shutdown(cx)
    }
}

impl Stream {
    /// Sends the body until it ends or the client has gone. A body that fails is cut off.
    pub(super) async fn send(mut self, mut socket: Socket) -> io::Result<()> {
        // A client may have sent its next request before it saw that there will be no answer. It is not read.
        let (mut ignored, mut may_send) = ([0], true);
        loop {
            let frame = tokio::select! {
                frame = self.body.frame() => frame,
                read = socket.read(&mut ignored), if may_send => {
                    if read? == 0 {
                        return Ok(());
                    }
                    may_send = false;
                    continue;
                }
            };
            let Some(frame) = frame else { break };
            let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
            if !self.is_chunked {
                socket.write_all(&data).await?;
            } else if !data.is_empty() {
                // An empty chunk would be the last one.
                let chunk = [format!("{:x}\r\n", data.len()).as_bytes(), &data, b"\r\n"].concat();
                socket.write_all(&chunk).await?;
            }
        }
        if self.is_chunked {
            socket.write_all(b"0\r\n\r\n").await?;
        }
        socket.shutdown().await
    }
}
