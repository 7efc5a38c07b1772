//! A TCP forwarder whose connections can fall silent: they stay open and carry nothing, while new ones work.
//!
//! That is what a process sees when a peer's host dies, or when a NAT or load balancer forgets a connection. Stopping a peer (SIGSTOP) is
//! different, because the stop ends. So is a proxy that drops data for a while (toxiproxy), because it then closes the connection. Here
//! every byte is acknowledged, so TCP itself never gives up.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// A port of 127.0.0.1 that forwards to another one until it is dropped.
#[derive(Debug)]
pub struct Forwarder {
    /// Where it listens.
    pub port: u16,
    links: Arc<Links>,
}

#[derive(Debug, Default)]
struct Links {
    open: Mutex<Vec<Weak<Link>>>,
    /// They stay open until the forwarder is dropped.
    silent: Mutex<Vec<Arc<Link>>>,
    accepted: AtomicUsize,
    dropped: AtomicBool,
}

/// A connection and the one it is forwarded to.
#[derive(Debug)]
struct Link {
    near: TcpStream,
    far: TcpStream,
    silent: AtomicBool,
}

impl Forwarder {
    /// Starts forwarding to `port` of `host`.
    pub fn to(host: &str, port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let forwarder = Self { port: listener.local_addr()?.port(), links: Arc::default() };
        let (host, links) = (host.to_owned(), Arc::clone(&forwarder.links));
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if links.dropped.load(Ordering::SeqCst) {
                    return;
                }
                // A refused connection is refused to the client as well: `near` is dropped.
                if let Ok(far) = TcpStream::connect((&*host, port)) {
                    let _ = links.carry(near, far);
                }
            }
        });
        Ok(forwarder)
    }

    /// Silences the open connections. They stay open and carry nothing anymore.
    pub fn silence(&self) {
        let mut silent = lock(&self.links.silent);
        for link in lock(&self.links.open).drain(..).filter_map(|link| link.upgrade()) {
            link.silent.store(true, Ordering::SeqCst);
            silent.push(link);
        }
    }

    /// Closes the open connections that are not silent.
    pub fn cut(&self) {
        for link in lock(&self.links.open).drain(..).filter_map(|link| link.upgrade()) {
            link.close();
        }
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.links.accepted.load(Ordering::SeqCst)
    }
}

/// Closes every connection: a server that has sessions refuses to drop their database.
impl Drop for Forwarder {
    fn drop(&mut self) {
        self.links.dropped.store(true, Ordering::SeqCst);
        self.cut();
        lock(&self.links.silent).drain(..).for_each(|link| link.close());
    }
}

impl Links {
    fn carry(&self, near: TcpStream, far: TcpStream) -> std::io::Result<()> {
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let there = (near.try_clone()?, far.try_clone()?);
        let back = (far.try_clone()?, near.try_clone()?);
        let link = Arc::new(Link { near, far, silent: AtomicBool::new(false) });
        let mut open = lock(&self.open);
        open.retain(|link| link.strong_count() > 0);
        open.push(Arc::downgrade(&link));
        self.accepted.fetch_add(1, Ordering::SeqCst);
        for (from, to) in [there, back] {
            let link = Arc::clone(&link);
            thread::spawn(move || link.pump(from, to));
        }
        Ok(())
    }
}

impl Link {
    /// Forwards in one direction. Once silent it reads and drops, so that the sender gets its acknowledgements.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        loop {
            match from.read(&mut buffer) {
                Ok(1..) if self.is_silent() => {}
                Ok(count @ 1..) if to.write_all(&buffer[..count]).is_ok() => {}
                _ if self.is_silent() => return,
                Ok(0) => {
                    let _ = to.shutdown(Shutdown::Write);
                    return;
                }
                _ => return self.close(),
            }
        }
    }

    fn is_silent(&self) -> bool {
        self.silent.load(Ordering::SeqCst)
    }

    fn close(&self) {
        let _ = self.near.shutdown(Shutdown::Both);
        let _ = self.far.shutdown(Shutdown::Both);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, time::Duration};

    use super::*;

    /// A server that repeats what it reads.
    fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                thread::spawn(move || std::io::copy(&mut client.try_clone().unwrap(), &mut client));
            }
        });
        port
    }

    fn client(forwarder: &Forwarder) -> TcpStream {
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, forwarder.port)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client
    }

    fn ask(client: &mut TcpStream) -> std::io::Result<u8> {
        client.write_all(b"x")?;
        let mut answer = [0];
        client.read_exact(&mut answer).map(|()| answer[0])
    }

    #[test]
    fn silent_connections_stay_open_and_new_ones_work() {
        let forwarder = Forwarder::to("127.0.0.1", echo()).unwrap();
        let mut old = client(&forwarder);
        assert_eq!(ask(&mut old).unwrap(), b'x');
        forwarder.silence();
        old.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        for _ in 0..2 {
            assert_eq!(ask(&mut old).unwrap_err().kind(), ErrorKind::WouldBlock, "neither an answer nor an end");
        }
        let mut new = client(&forwarder);
        assert_eq!(ask(&mut new).unwrap(), b'x');
        forwarder.cut();
        assert!(ask(&mut new).and_then(|_| ask(&mut new)).is_err_and(|error| error.kind() != ErrorKind::WouldBlock));
        assert_eq!(ask(&mut old).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(forwarder.accepted(), 2);
    }
}
