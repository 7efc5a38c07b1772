//! The deadlines of a process. Every wait has a deadline that is longer than the deadlines inside it. So the innermost wait ends first, and its error
//! is the most specific one.

use std::time::Duration;

/// Deadlines on our side; tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// An idle or returned connection must answer a ping within this.
    pub ping: Duration,
    /// Acquiring a connection. Longer than a ping, so that a request survives a silent connection of the pool.
    pub acquire: Duration,
    /// A statement. Longer than the database's `statement_timeout`, which stops the statement as well.
    pub answer: Duration,
    /// A request of the HTTP API: as long as one statement.
    pub request: Duration,
    /// A step of the relay: reading what to publish, or a call. A call waits for daprd for 3 s of it.
    pub relay: Duration,
    /// The handler of an event.
    pub handler: Duration,
    /// A call of daprd, for an event or a job. Shorter than the door's attempt and daprd's own timeout.
    pub call: Duration,
    /// The interval at which a connection to daprd is pinged while calls are in flight.
    pub keep_alive: Duration,
    /// A connection to daprd that does not answer a ping within this is replaced.
    pub keep_alive_answer: Duration,
    /// A process whose pool gave no connection for this long is restarted, if the database itself answers.
    pub useless: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(2),
            acquire: Duration::from_secs(5),
            answer: Duration::from_secs(35),
            request: Duration::from_secs(35),
            relay: Duration::from_secs(10),
            handler: Duration::from_secs(60),
            call: Duration::from_secs(80),
            keep_alive: Duration::from_secs(10),
            keep_alive_answer: Duration::from_secs(5),
            useless: Duration::from_secs(180),
        }
    }
}
