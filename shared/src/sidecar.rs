//! The Dapr API as this product uses it, through the generated client of the `dapr` crate.
//!
//! Not through `dapr::client::Client`: at 0.20 it connects eagerly (a cold start fails while the sidecar boots), hides the
//! gRPC status, and has neither a deadline nor bulk publish. Here the channel connects on first use and every call has a
//! deadline: without one a call waits as long as the scheduler is away (`WaitForReady` in dapr `pkg/api/universal/jobs.go`).
//!
//! A job calls the app-id whose daprd scheduled it. So every function schedules reminder jobs through `alarm`'s daprd, and the retry of a
//! delivery through `reminder-due`'s.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
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

use crate::{Config, faults::crash, recurrence::end_of_calendar, reminder::ReminderJobName};

/// A job call that takes longer failed.
const JOB_DEADLINE: Duration = Duration::from_secs(2);
/// Deadline for deleting many jobs at once. daprd itself gives up after this (`rpcTimeout` in dapr `pkg/api/universal/jobs.go`).
const MASS_DEADLINE: Duration = Duration::from_secs(30);
/// A publication that takes longer failed, and is repeated: a broker that comes back forgets what was asked of it before.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(3);
/// Any other call that takes longer failed.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often the scheduler calls a job again that was not answered 2xx; without limit, because the default gives up after
/// three tries and deletes the job.
const JOB_RETRY: Duration = Duration::from_secs(5);

/// The sidecar, or what stands behind it, did not do it.
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

/// What the broker took.
#[derive(Debug)]
pub struct Published {
    /// The events it acknowledged.
    pub ids: Vec<Uuid>,
    /// Why it refused the first of the others.
    pub refused: Option<String>,
}

impl Published {
    /// What an answer that names the entries which failed says of the events that were sent.
    pub(crate) fn of(mut ids: Vec<Uuid>, failed: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut refused = None;
        for (entry_id, reason) in failed {
            ids.retain(|id| id.to_string() != entry_id);
            refused.get_or_insert(reason);
        }
        Self { ids, refused }
    }
}

/// The daprd of this function, and those whose app-ids own jobs.
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
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let token = ApiToken(config.dapr_api_token.as_ref().map(|token| token.expose_secret().parse()).transpose()?);
        let client = |address: &str| -> anyhow::Result<Client> {
            let channel = Endpoint::from_shared(address.to_owned())?
                .connect_timeout(JOB_DEADLINE)
                .keep_alive_while_idle(false)
                .connect_lazy();
            Ok(DaprClient::with_interceptor(channel, token.clone()))
        };
        let own = client(&config.dapr_grpc_endpoint)?;
        Ok(Self {
            reminder_jobs: Jobs(client(config.alarm_endpoint())?),
            delivery_jobs: Jobs(client(config.reminder_due_endpoint())?),
            own_jobs: Jobs(own.clone()),
            own,
            pubsub: config.pubsub_name.clone(),
            state_store: config.state_store.clone(),
            secret_store: config.secret_store.clone(),
            alarm: config.alarm_app_id.clone(),
        })
    }

    /// Publishes CloudEvents, and says which the broker acknowledged.
    ///
    /// # Errors
    /// When nothing is known of any of them.
    pub async fn publish(&self, topic: &str, events: Vec<Publication>) -> Result<Published, SidecarError> {
        let ids = events.iter().map(|event| event.id).collect();
        let request = BulkPublishRequest {
            pubsub_name: self.pubsub.clone(),
            topic: topic.to_owned(),
            entries: events
                .into_iter()
                .map(|event| BulkPublishRequestEntry {
                    entry_id: event.id.to_string(),
                    event: event.event,
                    content_type: "application/cloudevents+json".to_owned(),
                    // In the entry: metadata of the whole request would override it for all (components-contrib, Kafka producer).
                    metadata: HashMap::from([("partitionKey".to_owned(), event.key)]),
                })
                .collect(),
            metadata: HashMap::new(),
        };
        let mut client = self.own.clone();
        let answer = within(PUBLISH_DEADLINE, "publish", client.bulk_publish_event(request)).await?;
        Ok(Published::of(ids, answer.failed_entries.into_iter().map(|failed| (failed.entry_id, failed.error))))
    }

    /// A secret of the secret store.
    ///
    /// # Errors
    /// When the store has none of that name, or cannot be asked.
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

    /// A value of the state store.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn state(&self, key: &str) -> Result<Option<String>, SidecarError> {
        let request =
            GetStateRequest { store_name: self.state_store.clone(), key: key.to_owned(), ..GetStateRequest::default() };
        let mut client = self.own.clone();
        let answer = within(DEADLINE, "get state", client.get_state(request)).await?;
        Ok(String::from_utf8(answer.data).ok().filter(|value| !value.is_empty()))
    }

    /// Writes a value of the state store that may be forgotten after `ttl`.
    ///
    /// # Errors
    /// When it is not known to be written.
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

    /// Has `alarm` fire a version of a reminder, by service invocation. Also wakes it from zero.
    ///
    /// # Errors
    /// Nothing is known of the reminder: it may have fired.
    pub async fn fire(&self, reminder: ReminderJobName) -> Result<(), SidecarError> {
        let body = serde_json::json!({"reminder_id": reminder.reminder_id, "version": reminder.version});
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
    /// Schedules a job: daprd calls `/job/<name>` with `data` at `due`, or at once if that has passed. It replaces a job of that name.
    ///
    /// # Errors
    /// The job may be scheduled or not.
    pub async fn arm(&self, name: &str, due: DateTime<Utc>, data: &serde_json::Value) -> Result<(), SidecarError> {
        self.schedule(at(due, job(name, data)), true).await?;
        crash("job-armed");
        Ok(())
    }

    /// Schedules a job unless there is one of that name. Returns whether it was missing.
    ///
    /// # Errors
    /// The job may be scheduled or not.
    pub async fn arm_if_missing(
        &self,
        name: &str,
        due: DateTime<Utc>,
        data: &serde_json::Value,
    ) -> Result<bool, SidecarError> {
        self.schedule_if_missing(at(due, job(name, data))).await
    }

    /// Schedules a recurring job (cron with seconds, UTC) unless there is one of that name.
    ///
    /// # Errors
    /// The job may be scheduled or not.
    pub async fn repeat(&self, name: &str, schedule: &str) -> Result<(), SidecarError> {
        let job = Job { schedule: Some(schedule.to_owned()), ..job(name, &serde_json::json!({})) };
        self.schedule_if_missing(job).await.map(drop)
    }

    /// Deletes a job. A job that does not exist is no error.
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
    /// Some of the jobs may be left.
    pub async fn disarm_all(&self, prefix: &str) -> Result<(), SidecarError> {
        let request = DeleteJobsByPrefixRequest { name_prefix: Some(prefix.to_owned()) };
        let mut client = self.0.clone();
        within(MASS_DEADLINE, "delete jobs", client.delete_jobs_by_prefix(request)).await.map(drop)
    }

    /// Asks first, because daprd and the scheduler log an existing job as an error.
    async fn schedule_if_missing(&self, job: Job) -> Result<bool, SidecarError> {
        let request = GetJobRequest { name: job.name.clone() };
        if within(JOB_DEADLINE, "get job", self.0.clone().get_job(request)).await.is_ok() {
            return Ok(false);
        }
        match self.schedule(job, false).await {
            Ok(()) => Ok(true),
            Err(error) if error.status.code() == Code::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn schedule(&self, job: Job, overwrite: bool) -> Result<(), SidecarError> {
        let request = ScheduleJobRequest { job: Some(job), overwrite };
        within(JOB_DEADLINE, "schedule job", self.0.clone().schedule_job(request)).await.map(drop)
    }
}

fn job(name: &str, data: &serde_json::Value) -> Job {
    Job {
        name: name.to_owned(),
        // Any type but google.protobuf.Value reaches the application as the bytes it is (dapr pkg/channel/http).
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

/// Absolute: a relative time would be relative to the scheduler's clock. The scheduler reads no year after 9999 (go-etcd-cron
/// `internal/scheduler/builder.go`) and refuses it each time, which would hold up every event behind this one; a job that comes
/// early is armed again by its function.
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
    fn no_job_is_due_in_a_year_that_the_scheduler_cannot_read() {
        let due = |at: DateTime<Utc>| super::at(at, Job::default()).due_time;
        assert_eq!(due(DateTime::<Utc>::MAX_UTC).as_deref(), Some("9999-12-31T23:59:59.000000Z"));
        assert_eq!(due(DateTime::UNIX_EPOCH).as_deref(), Some("1970-01-01T00:00:00.000000Z"));
    }
}
