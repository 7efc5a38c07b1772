//! Keeps the places of a request until its client has read the answer.
//!
//! A large answer waits in memory while its client does not read. If the request freed its places before that, one user could let any
//! number of answers wait. An answer that is made while it is read keeps them as well.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    response::{IntoResponse as _, Response},
};
use http_body::{Frame, SizeHint};
use shared::problem::Problem;
use tokio::sync::mpsc;

/// The size of the pieces in which an answer is handed to the connection. An answer of one piece fits into the buffers of a socket.
const PIECE: usize = 64 * 1024;
/// How long a client may take to read an answer. The places are freed then, and the connection is broken.
const DEADLINE: Duration = Duration::from_secs(30);

/// Keeps `places` until the answer is read.
pub(crate) async fn keep(places: impl Send + Unpin + 'static, response: Response) -> Response {
    let (head, body) = response.into_parts();
    if body.size_hint().exact().is_some_and(|size| size <= PIECE as u64) {
        return Response::from_parts(head, body);
    }
    if body.size_hint().exact().is_none() {
        return Response::from_parts(head, Body::new(Streamed { body, _places: places }));
    }
    // The other handlers answer with bytes in memory, so this neither waits nor copies.
    let mut rest = match to_bytes(body, usize::MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return Problem::Internal(error.into()).into_response(),
    };
    let (sender, pieces) = mpsc::channel(1);
    let left = rest.len() as u64;
    tokio::spawn(async move {
        let _places = places;
        let hand_over = async {
            while !rest.is_empty() && sender.send(rest.split_to(PIECE.min(rest.len()))).await.is_ok() {}
            // The connection drops the body when it has taken the last piece, or is gone.
            sender.closed().await;
        };
        let _ = tokio::time::timeout(DEADLINE, hand_over).await;
    });
    Response::from_parts(head, Body::new(Unread { pieces, left }))
}

/// An answer that is made while it is read.
struct Streamed<Places> {
    body: Body,
    _places: Places,
}

impl<Places: Unpin> HttpBody for Streamed<Places> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }
}

/// The part of an answer that the connection has not taken yet.
struct Unread {
    pieces: mpsc::Receiver<Bytes>,
    left: u64,
}

impl HttpBody for Unread {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.pieces.poll_recv(context).map(|piece| {
            Some(match piece {
                Some(piece) => {
                    self.left -= piece.len() as u64;
                    Ok(Frame::data(piece))
                }
                None => Err(io::ErrorKind::TimedOut.into()),
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
