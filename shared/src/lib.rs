//! What every function of Punctual shares: the schema of its events, and what makes them take effect exactly once.
//!
//! A **function** is a small crate under `functions/`. An **event** is a row of `task_events` first (the **outbox**),
//! published on a topic after the commit; the **inbox** lets its one function handle it once, however often it comes.
//! The modules are these words:
//!
//! - [`catalogue`], [`schema`], [`cloud_event`]: the event types, their payloads, and the format in which they travel
//! - [`outbox`]: writes an event in the transaction of its change, publishes it after the commit
//! - [`inbox`]: receives an event, claims it, tells an outage from a fault, rejects what can never succeed
//! - [`from_daprd`]: the check that a call comes from daprd
//! - [`reminder`], [`recurrence`]: when to remind, and when a task comes again
//! - [`delivery`]: the states of a delivery, and the job that attempts it again
//! - [`sidecar`]: the Dapr API, through the generated client of the `dapr` crate
//! - [`audit`]: the story of a task and of a reminder
//! - [`auth`], [`problem`]: who asks, and what went wrong (HTTP)
//! - [`db`]: which errors of the database are outages
//! - [`faults`]: what tests break on purpose
//! - [`serve`], [`config`], [`telemetry`]: one process, under axum or AWS Lambda

pub mod audit;
pub mod auth;
pub mod cloud_event;
pub mod config;
pub mod db;
pub mod delivery;
pub mod faults;
pub mod from_daprd;
pub mod inbox;
pub mod outbox;
pub mod problem;
pub mod recurrence;
pub mod reminder;
pub mod schema;
pub mod serve;
pub mod sidecar;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text_enum;

mod app;

pub use app::App;
pub use catalogue;
pub use config::Config;
