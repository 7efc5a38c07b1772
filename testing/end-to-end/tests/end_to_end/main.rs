//! The product from end to end, on nothing but its real parts: a process and a daprd per function, the scheduler, Kafka,
//! PostgreSQL, an SMTP server. One such run serves all tests here; each test has a user of its own.
//!
//! Ordinary tests run beside each other. A test that kills, pauses or deletes a part runs alone, and whatever it did is put
//! right after it, also when it failed. What is waited for is looked for until a deadline; that something does *not* happen
//! is known when something else has, which must come later (a witness).
//!
//! The binaries must be built: `cargo xtask test` does that first.

mod alarm;
mod core;
mod crowds;
mod deaths;
mod documented;
mod events;
mod guarded;
mod hosts;
mod mailbox;
mod once;
mod outages;
mod poison;
mod privacy;
mod provider;
mod races;
mod repair;
mod restore;
mod routes;
mod topics;
mod user;
mod wait;
mod world;
