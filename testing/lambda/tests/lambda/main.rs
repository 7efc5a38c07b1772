//! The functions on AWS Lambda: the real binaries under a Runtime API of our own, which speaks the documented protocol and
//! invokes them with the events of API Gateway, a load balancer, MSK, SQS and EventBridge. PostgreSQL, Kafka, the scheduler and
//! daprd are real; Lambda and its event sources are not.
//!
//! All tests share one host and run one after another, because some inject faults. The binaries must be built:
//! `cargo xtask test` does that first.

mod events;
mod forgetful;
mod freeze;
mod host;
mod requests;
mod runtime_api;
mod sources;
mod start;
mod template;
