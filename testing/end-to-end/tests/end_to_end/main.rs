//! The product from end to end on its real parts: a process and a daprd per function, the scheduler, Kafka, PostgreSQL and
//! an SMTP server. All tests share one running product; each test has its own user.
//!
//! Ordinary tests run concurrently. A test that kills, pauses or deletes a part runs alone, and every part is restored after
//! it, even if it failed. Tests poll until a deadline. To show that something does *not* happen, a test waits for a witness:
//! an event that must come later.
//!
//! The binaries must be built: `cargo xtask test` does that first.

mod alarm;
mod core;
mod crowds;
mod deaths;
mod documented;
mod erasure;
mod events;
mod guarded;
mod hosts;
mod live;
mod mailbox;
mod once;
mod outages;
mod poison;
mod privacy;
mod product;
mod provider;
mod push;
mod races;
mod repair;
mod restore;
mod rights;
mod routes;
mod topics;
mod user;
