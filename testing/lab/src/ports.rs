//! Free ports on 127.0.0.1.
//!
//! They are below the range of the kernel's ephemeral ports, so that a restarted process finds its port still free.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A free port that this function has not returned before.
///
/// # Panics
/// When none of the 10,000 ports is free.
#[must_use]
pub fn free() -> u16 {
    // Each process starts its search at another port, so that two rarely collide.
    let start = (std::process::id() as u16).wrapping_mul(211) % COUNT;
    (0..COUNT)
        .map(|_| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT)
        .find(|port| is_free(*port))
        .expect("no free port between 20000 and 29999")
}

/// Whether nothing listens on `port`.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_returned_once_and_never_if_it_is_taken() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, free())).unwrap();
        let taken_port = taken.local_addr().unwrap().port();
        let ports: Vec<u16> = (0..200).map(|_| free()).collect();
        let mut distinct = ports.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), ports.len());
        assert!(!ports.contains(&taken_port));
        assert!(!is_free(taken_port));
    }
}
