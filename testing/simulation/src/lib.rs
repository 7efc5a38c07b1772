//! Simulates the functions in virtual time: commands of users, events, jobs, mail, and faults between any two steps.
//!
//! The product's own code decides: `tasks::liveness` for commands, `shared::reminder::Alignment` for a reminder's jobs, `alarm::fire`
//! for a job's callback, and `reminder_due::attempt` for the steps of a delivery. The product drives them over PostgreSQL, and this crate
//! over a `world` in memory.
//!
//! Two things are copies, because the product has them in SQL and in its driver. `functions` has the order of statements and calls.
//! `world` has the effect of each statement, and names it. The tests of the product hold each statement to its effect on a real database:
//! `functions/upkeep/tests/boundaries.rs` tests which rows each query of repair finds, `functions/upkeep/tests/arming.rs` tests
//! `reminder::record`, and `functions/upkeep/tests/repair.rs` tests that a failed step of repair stops no other.
//!
//! Each `await` of a function is a place where its process may die, its connection may break, or another function or a command may
//! come in between. What was committed stays; everything else is lost. `properties` runs random sequences of `action`s, and
//! `stories` runs fixed ones. `invariants` checks every message that a provider accepts, every attempt that reports success, and
//! the state at the end, when nothing fails any more and everything has settled.
//!
//! `mistakes` shows that the checks bite: it drives the attempt with one step left out or out of order, and expects a failure.
//!
//! Run it with `cargo test -p simulation`; `PROPTEST_CASES=100000` makes it thorough.

#[cfg(test)]
mod action;
#[cfg(test)]
mod attempt;
#[cfg(test)]
mod functions;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod run;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod world;
