//! The Dapr API, through the generated client of the `dapr` crate.
//!
//! `dapr::client::Client` (0.20) is not used. It connects eagerly, so a cold start fails while the sidecar boots. It hides the gRPC status,
//! and has neither deadlines nor bulk publish. Here the channel connects on first use and every call has a deadline. Without one, a call
//! waits as long as the scheduler is away (`WaitForReady` in dapr `pkg/api/universal/jobs.go`).
//!
//! A job calls the app-id whose daprd scheduled it. So every function schedules reminder jobs through `alarm`'s daprd, and the retry of a
//! delivery through `reminder-due`'s.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use dapr::dapr::proto::{
    common::v1::{
        HttpExtension, InvokeRequest, JobFailurePolicy, JobFailurePolicyConstant, StateItem, http_extension::Verb,
        job_failure_policy::Policy,
    },
    runtime::v1::{
        BulkPublishRequest, BulkPublishRequestEntry, DeleteJobRequest, DeleteJobsByPrefixRequest, GetJobRequest,
        GetSecretRequest, GetStateRequest, InvokeServiceRequest, Job, SaveStateRequest, ScheduleJobRequest,
        dapr_client::DaprClient,
    },
};
use prost_types::Any;
use secrecy::{ExposeSecret as _, SecretString};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use crate::{Config, deadlines::Deadlines, faults::crash, recurrence::end_of_calendar};

/// Deadline for a call to the jobs API.
const JOB_DEADLINE: Duration = Duration::from_secs(2);
/// Deadline for deleting many jobs at once. daprd itself gives up after this (`rpcTimeout` in dapr `pkg/api/universal/jobs.go`).
const MASS_DEADLINE: Duration = Duration::from_secs(30);
/// Deadline for a publication. A failed one is repeated, because a broker that comes back has forgotten earlier requests.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(3);
/// Deadline for every other call.
const DEADLINE: Duration = Duration::from_secs(5);
/// Interval at which the scheduler retries a job that was not answered 2xx. The number of retries is unlimited: by default the scheduler
/// gives up after three tries and deletes the job.
const JOB_RETRY: Duration = Duration::from_secs(5);
/// Shortest pause until a job that came early calls again, unless its instant is nearer.
const CALL_AGAIN: TimeDelta = TimeDelta::seconds(30);

/// A Dapr call failed.
#[derive(Debug, thiserror::Error)]
#[error("dapr {call}: {status}")]
pub struct SidecarError {
    call: &'static str,
    status: Status,
}

/// An event on its way to a topic.
#[derive(Debug)]
pub struct Publication {
    /// The event's id.
    pub id: Uuid,
    /// The partition key.
    pub key: String,
    /// The CloudEvent in JSON.
    pub event: Vec<u8>,
}

/// Clients of this function's daprd, and of the daprds whose app-ids own jobs.
#[derive(Clone)]
pub struct Sidecar {
    /// The reminder jobs, which call `alarm`.
    pub reminder_jobs: Jobs,
    /// The retry jobs of deliveries, which call `reminder-due`.
    pub delivery_jobs: Jobs,
    /// The jobs that call this function.
    pub own_jobs: Jobs,
    own: Client,
    pubsub: String,
    state_store: String,
    secret_store: String,
    alarm: String,
}

/// The jobs of one app-id.
#[derive(Clone)]
pub struct Jobs(Client);

type Client = DaprClient<InterceptedService<Channel, ApiToken>>;

#[derive(Clone)]
struct ApiToken(Option<MetadataValue<Ascii>>);

impl Interceptor for ApiToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("dapr-api-token", token.clone());
        }
        Ok(request)
    }
}

impl Sidecar {
    pub(crate) fn new(config: &Config, deadlines: Deadlines) -> anyhow::Result<Self> {
        let token = config.dapr_api_token.as_ref();
        let client = |address: &str, token: Option<&SecretString>| -> anyhow::Result<Client> {
            let token = ApiToken(token.map(|token| token.expose_secret().parse()).transpose()?);
            let channel = Endpoint::from_shared(address.to_owned())?
                .connect_timeout(JOB_DEADLINE)
                // Without these, a connection to a daprd whose node died is used until the kernel gives it up, after about 15 minutes.
                // Each call would fail at its deadline although another daprd is there. Idle connections are not asked, so that nothing
                // wakes at rest.
                .http2_keep_alive_interval(deadlines.keep_alive)
                .keep_alive_timeout(deadlines.keep_alive_answer)
                .tcp_keepalive(Some(deadlines.keep_alive))
                .connect_lazy();
            Ok(DaprClient::with_interceptor(channel, token))
        };
        let own = client(&config.dapr_grpc_endpoint, token)?;
        let of_reminder_due = config.reminder_due_dapr_api_token.as_ref().or(token);
        Ok(Self {
            reminder_jobs: Jobs(client(config.alarm_endpoint(), token)?),
            delivery_jobs: Jobs(client(config.reminder_due_endpoint(), of_reminder_due)?),
            own_jobs: Jobs(own.clone()),
            own,
            pubsub: config.pubsub_name.clone(),
            state_store: config.state_store.clone(),
            secret_store: config.secret_store.clone(),
            alarm: config.alarm_app_id.clone(),
        })
    }

    /// Publishes CloudEvents. The broker has acknowledged every one.
    ///
    /// # Errors
    /// The outcome of every event is unknown: daprd 1.18 answers a partial failure with an error and no entries (dapr `pkg/api/grpc/grpc.go`).
    pub async fn publish(&self, topic: &str, events: Vec<Publication>) -> Result<(), SidecarError> {
        let request = BulkPublishRequest {
            pubsub_name: self.pubsub.clone(),
            topic: topic.to_owned(),
            entries: events
                .into_iter()
                .map(|event| BulkPublishRequestEntry {
                    entry_id: event.id.to_string(),
                    event: event.event,
                    content_type: "application/cloudevents+json".to_owned(),
                    // Per entry, because metadata of the whole request would override it for all (components-contrib, Kafka producer).
                    metadata: HashMap::from([("partitionKey".to_owned(), event.key)]),
                })
                .collect(),
            metadata: HashMap::new(),
        };
        let mut client = self.own.clone();
        let answer = within(PUBLISH_DEADLINE, "publish", client.bulk_publish_event(request)).await?;
        match answer.failed_entries.into_iter().next() {
            None => Ok(()),
            Some(failed) => Err(SidecarError { call: "publish", status: Status::aborted(failed.error) }),
        }
    }

    /// Reads a secret from the secret store. A missing secret is an error.
    pub async fn secret(&self, key: &str) -> Result<SecretString, SidecarError> {
        let request =
            GetSecretRequest { store_name: self.secret_store.clone(), key: key.to_owned(), metadata: HashMap::new() };
        let mut client = self.own.clone();
        let mut answer = within(DEADLINE, "get secret", client.get_secret(request)).await?;
        let value = answer.data.remove(key).or_else(|| answer.data.into_values().next());
        value.map(SecretString::from).ok_or_else(|| SidecarError {
            call: "get secret",
            status: Status::not_found(format!("the secret store has no {key}")),
        })
    }

    /// Reads a value from the state store.
    pub async fn state(&self, key: &str) -> Result<Option<String>, SidecarError> {
        let request =
            GetStateRequest { store_name: self.state_store.clone(), key: key.to_owned(), ..GetStateRequest::default() };
        let mut client = self.own.clone();
        let answer = within(DEADLINE, "get state", client.get_state(request)).await?;
        Ok(String::from_utf8(answer.data).ok().filter(|value| !value.is_empty()))
    }

    /// Writes a value to the state store, which may delete it after `ttl`.
    ///
    /// # Errors
    /// The value may be written or not.
    pub async fn save_state(&self, key: &str, value: &str, ttl: Duration) -> Result<(), SidecarError> {
        let item = StateItem {
            key: key.to_owned(),
            value: value.as_bytes().to_vec(),
            metadata: HashMap::from([("ttlInSeconds".to_owned(), ttl.as_secs().max(1).to_string())]),
            ..StateItem::default()
        };
        let request = SaveStateRequest { store_name: self.state_store.clone(), states: vec![item] };
        let mut client = self.own.clone();
        within(DEADLINE, "save state", client.save_state(request)).await.map(drop)
    }

    /// Asks `alarm` to fire a version of a reminder, by service invocation. This also wakes it from zero.
    ///
    /// # Errors
    /// The reminder may have fired or not.
    pub async fn fire(&self, reminder_id: Uuid, version: i32) -> Result<(), SidecarError> {
        let body = serde_json::json!({"reminder_id": reminder_id, "version": version});
        let message = InvokeRequest {
            method: "send-now".to_owned(),
            data: Some(Any { type_url: String::new(), value: body.to_string().into_bytes() }),
            content_type: "application/json".to_owned(),
            http_extension: Some(HttpExtension { verb: Verb::Post.into(), querystring: String::new() }),
        };
        let request = InvokeServiceRequest { id: self.alarm.clone(), message: Some(message) };
        let mut client = self.own.clone();
        within(DEADLINE, "invoke", client.invoke_service(request)).await.map(drop)
    }
}

impl Jobs {
    /// Schedules a job, replacing any job of that name. daprd calls `/job/<name>` with `data` at `due`, or at once if that has passed.
    ///
    /// # Errors
    /// The job may be scheduled or not.
    pub async fn arm(&self, name: &str, due: DateTime<Utc>, data: &serde_json::Value) -> Result<(), SidecarError> {
        self.schedule(at(due, job(name, data)), true).await?;
        crash("job-armed");
        Ok(())
    }

    /// Has the job that is calling `early` call again, after [`pause_of_early`] by the scheduler's clock.
    ///
    /// A call comes early if the scheduler's clock is ahead. By that clock the instant has passed, so a job armed for the instant would call at
    /// once, again and again. The retries of a failed call would come at once too: go-etcd-cron counts their pauses from the job's instant
    /// (`internal/counter`). A job that is replaced while it calls stays, whatever the call answers.
    ///
    /// # Errors
    /// The job may be scheduled or not.
    pub async fn call_again(&self, name: &str, early: TimeDelta, data: &serde_json::Value) -> Result<(), SidecarError> {
        let due_time = Some(format!("{}ms", pause_of_early(early).num_milliseconds()));
        self.schedule(Job { due_time, ..job(name, data) }, true).await.map(drop)
    }

    /// Schedules a job unless one of that name exists. Returns whether it was missing. Checks first, because daprd and the scheduler log an
    /// existing job as an error.
    ///
    /// # Errors
    /// The job may be scheduled or not.
    pub async fn arm_if_missing(
        &self,
        name: &str,
        due: DateTime<Utc>,
        data: &serde_json::Value,
    ) -> Result<bool, SidecarError> {
        if self.scheduled(name).await.is_some() {
            return Ok(false);
        }
        self.schedule(at(due, job(name, data)), false).await
    }

    /// Schedules a recurring job (cron with seconds, UTC) unless it exists with that schedule.
    ///
    /// # Errors
    /// The job may be scheduled or not.
    pub async fn repeat(&self, name: &str, schedule: &str) -> Result<(), SidecarError> {
        let schedule = Some(schedule.to_owned());
        let found = self.scheduled(name).await;
        if found.as_ref().is_some_and(|job| job.schedule == schedule) {
            return Ok(());
        }
        self.schedule(Job { schedule, ..job(name, &serde_json::json!({})) }, found.is_some()).await.map(drop)
    }

    /// Deletes a job. Succeeds if the job does not exist.
    ///
    /// # Errors
    /// The job may exist or not.
    pub async fn disarm(&self, name: &str) -> Result<(), SidecarError> {
        crash("job-disarmed");
        let mut client = self.0.clone();
        match within(JOB_DEADLINE, "delete job", client.delete_job(DeleteJobRequest { name: name.to_owned() })).await {
            Err(error) if error.status.code() == Code::NotFound => Ok(()),
            other => other.map(drop),
        }
    }

    /// Deletes every job of this app-id whose name begins with `prefix`.
    ///
    /// # Errors
    /// Some of the jobs may remain.
    pub async fn disarm_all(&self, prefix: &str) -> Result<(), SidecarError> {
        let request = DeleteJobsByPrefixRequest { name_prefix: Some(prefix.to_owned()) };
        let mut client = self.0.clone();
        within(MASS_DEADLINE, "delete jobs", client.delete_jobs_by_prefix(request)).await.map(drop)
    }

    /// The job of that name. `None` also if the scheduler is unavailable: daprd answers both alike.
    async fn scheduled(&self, name: &str) -> Option<Job> {
        let request = GetJobRequest { name: name.to_owned() };
        within(JOB_DEADLINE, "get job", self.0.clone().get_job(request)).await.ok()?.job
    }

    /// Schedules a job. Without `overwrite`, returns false if one of its name exists.
    async fn schedule(&self, job: Job, overwrite: bool) -> Result<bool, SidecarError> {
        let request = ScheduleJobRequest { job: Some(job), overwrite };
        match within(JOB_DEADLINE, "schedule job", self.0.clone().schedule_job(request)).await {
            Err(error) if error.status.code() == Code::AlreadyExists && !overwrite => Ok(false),
            scheduled => scheduled.map(|_| true),
        }
    }
}

/// The pause of a job that came `early`: a tenth of that, at least 30 s, and never beyond its instant.
///
/// A scheduler that is a day ahead then calls a job about sixty times. The pause ends before the instant, because the scheduler's clock may be put
/// right at any time.
#[must_use]
pub fn pause_of_early(early: TimeDelta) -> TimeDelta {
    (early / 10).max(CALL_AGAIN).min(early).max(TimeDelta::zero())
}

fn job(name: &str, data: &serde_json::Value) -> Job {
    Job {
        name: name.to_owned(),
        // Any type except google.protobuf.Value reaches the application as unchanged bytes (dapr pkg/channel/http).
        data: Some(Any { type_url: "application/json".to_owned(), value: data.to_string().into_bytes() }),
        failure_policy: Some(JobFailurePolicy {
            policy: Some(Policy::Constant(JobFailurePolicyConstant {
                interval: Some(prost_types::Duration { seconds: JOB_RETRY.as_secs().cast_signed(), nanos: 0 }),
                max_retries: None,
            })),
        }),
        ..Job::default()
    }
}

/// Sets an absolute due time. A relative one would depend on the scheduler's clock.
///
/// The scheduler cannot read a year after 9999 (go-etcd-cron `internal/scheduler/builder.go`). It would refuse such a job each time, which
/// would block every event behind this one. A job that comes early is armed again by its function.
fn at(due: DateTime<Utc>, job: Job) -> Job {
    let due = due.min(end_of_calendar());
    Job { due_time: Some(due.to_rfc3339_opts(SecondsFormat::Micros, true)), ..job }
}

async fn within<T>(
    limit: Duration,
    call: &'static str,
    answer: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, SidecarError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(SidecarError { call, status }),
        Err(_) => Err(SidecarError { call, status: Status::deadline_exceeded(format!("no answer in {limit:?}")) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_job_is_due_after_the_year_9999() {
        let due = |at: DateTime<Utc>| super::at(at, Job::default()).due_time;
        assert_eq!(due(DateTime::<Utc>::MAX_UTC).as_deref(), Some("9999-12-31T23:59:59.000000Z"));
        assert_eq!(due(DateTime::UNIX_EPOCH).as_deref(), Some("1970-01-01T00:00:00.000000Z"));
    }
}
