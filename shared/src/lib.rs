//! The code that all functions of Punctual share: the event schemas, and the outbox and inbox that make an event take effect exactly once.
//!
//! A **function** is a small crate under `functions/`. An **event** starts as a row of `task_events` (the **outbox**) and is published to a
//! topic after the commit. The **inbox** lets the event's one function handle it once, however often it is delivered. The modules:
//!
//! - [`catalogue`], [`schema`], [`cloud_event`]: the event types, their payloads, and the format in which they travel
//! - [`outbox`]: writes an event in the transaction of its change, publishes it after the commit
//! - [`inbox`]: receives and claims an event, tells an outage from a failing handler, rejects an event that can never succeed
//! - [`from_daprd`]: the check that a call comes from daprd
//! - [`reminder`], [`recurrence`]: when to remind, and when a task is due again
//! - [`delivery`]: the states of a delivery, and the job that retries it
//! - [`sidecar`]: the Dapr API, through the generated client of the `dapr` crate
//! - [`audit`]: the history of a task and of a reminder
//! - [`address`]: which email addresses are accepted, at the edge and when sending
//! - [`auth`], [`problem`]: authentication and problem details (HTTP)
//! - [`capability`]: what a link or a button of a message may do without a session
//! - [`push`]: which push services may be called
//! - [`cors`]: which web pages may call a function from a browser
//! - [`encoding`]: which compressed forms of an answer a client accepts
//! - [`search_text`]: the text of a task that searches look at
//! - [`tag`]: the form of a tag's name, and its id
//! - [`db`], [`deadlines`]: the pool, the deadline of every wait, and which database errors are outages
//! - [`erasure`]: erases a user in batches
//! - [`text_enum`]: enums that are stored as text
//! - [`faults`]: crash points for tests
//! - [`serve`], [`config`], [`telemetry`]: one process, under axum or AWS Lambda

pub mod address;
pub mod audit;
pub mod auth;
pub mod capability;
pub mod cloud_event;
pub mod config;
pub mod cors;
pub mod db;
pub mod deadlines;
pub mod delivery;
pub mod encoding;
pub mod erasure;
pub mod faults;
pub mod from_daprd;
pub mod inbox;
pub mod outbox;
pub mod problem;
pub mod push;
pub mod recurrence;
pub mod reminder;
pub mod schema;
pub mod search_text;
pub mod serve;
pub mod sidecar;
pub mod tag;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text_enum;

mod app;

pub use app::App;
pub use catalogue;
pub use config::Config;
