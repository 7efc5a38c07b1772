//! The functions on AWS Lambda: the real binaries under a Lambda Runtime API of our own, which speaks the documented protocol
//! and invokes them with what API Gateway, a load balancer, MSK, SQS and EventBridge send. PostgreSQL, Kafka, the scheduler and
//! daprd are real; Lambda and its event sources are not here.
//!
//! One world serves all tests here, one after another, for some of them break it. The binaries must be built:
//! `cargo xtask test` does that first.

mod events;
mod forgetful;
mod freeze;
mod requests;
mod runtime_api;
mod sources;
mod start;
mod template;
mod world;
