//! The status of an HTTP request to a local process, blocking and without dependencies: `cargo xtask up` polls readiness before
//! any HTTP client is compiled. Tests use `lab::api` or reqwest for everything else.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// Long enough for a machine whose disk stalls for seconds, as virtual disks do.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The status of `GET http://127.0.0.1:<port><path>`. Fails after 15 seconds without an answer.
pub fn status(port: u16, path: &str) -> io::Result<u16> {
    send(port, "GET", path, "")
}

/// The status of a request with a JSON body to 127.0.0.1. Fails after 15 seconds without an answer.
pub fn send(port: u16, method: &str, path: &str, body: &str) -> io::Result<u16> {
    let mut stream = connect(port)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // In one piece: a server that answers the first piece and closes would reset the connection when the next piece arrives.
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut head = [0; 12]; // "HTTP/1.1 200"
    stream.read_exact(&mut head)?;
    str::from_utf8(&head)
        .ok()
        .and_then(|head| head.strip_prefix("HTTP/1."))
        .and_then(|rest| rest[2..].parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer"))
}

/// A connection to `port` on 127.0.0.1.
pub fn connect(port: u16) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn answer(reply: &'static str) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 512]);
            stream.write_all(reply.as_bytes()).unwrap();
        });
        port
    }

    #[test]
    fn the_status_is_read_from_the_answer() {
        assert_eq!(status(answer("HTTP/1.1 204 No Content\r\n\r\n"), "/").unwrap(), 204);
    }

    /// The server reads once, answers and closes. If more of the request arrives then, the connection is reset and the answer is lost.
    #[test]
    fn a_request_is_sent_in_one_piece() {
        for _ in 0..500 {
            let answered = send(answer("HTTP/1.1 201 Created\r\n\r\n"), "POST", "/links", "{}");
            assert_eq!(answered.unwrap(), 201);
        }
    }

    #[test]
    fn an_answer_that_is_not_http_is_an_error() {
        assert!(status(answer("220 mail.example ESMTP\r\n"), "/").is_err());
    }
}
