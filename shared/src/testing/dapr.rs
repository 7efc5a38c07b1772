//! An in-memory daprd of one app-id: the jobs API, publishing, service invocation, state and secrets, over real gRPC, without daprd, scheduler and broker.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, Request, Response},
};
use chrono::{DateTime, TimeDelta, Utc};
use dapr::dapr::proto::runtime::v1::{
    BulkPublishRequest, DeleteJobRequest, DeleteJobsByPrefixRequest, GetJobRequest, GetJobResponse, GetSecretRequest,
    GetSecretResponse, GetStateRequest, GetStateResponse, InvokeServiceRequest, Job as Scheduled, SaveStateRequest,
    ScheduleJobRequest,
};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::Value;
use tokio::net::TcpListener;
use tonic::Code;

/// A scheduled job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// When the job is due, unless it recurs.
    pub due: Option<DateTime<Utc>>,
    /// The cron expression of a recurring job.
    pub schedule: Option<String>,
    /// The payload.
    pub data: Value,
}

/// An event that the broker took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The topic.
    pub topic: String,
    /// The partition key.
    pub key: String,
    /// The event's id.
    pub id: String,
    /// The number of the call that brought it, from 1.
    pub call: usize,
}

/// An in-memory daprd of one app-id.
#[derive(Clone, Debug)]
pub struct Dapr {
    /// The gRPC address.
    pub endpoint: String,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    jobs: Mutex<BTreeMap<String, Job>>,
    invoked: Mutex<Vec<(String, String, Value)>>,
    calls: AtomicUsize,
    scheduled: AtomicUsize,
    published: Mutex<Vec<Published>>,
    refused: Mutex<BTreeSet<String>>,
    publish_calls: AtomicUsize,
    secrets: Mutex<BTreeMap<String, String>>,
    values: Mutex<BTreeMap<String, Vec<u8>>>,
    away: AtomicBool,
}

impl Dapr {
    /// Starts the daprd, without jobs.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<State>::default();
        tokio::spawn({
            let state = Arc::clone(&state);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let state = Arc::clone(&state);
                    let service = service_fn(move |request| {
                        let state = Arc::clone(&state);
                        async move { Ok::<_, Infallible>(state.answer(request).await) }
                    });
                    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
                }
            }
        });
        Self { endpoint, state }
    }

    /// The jobs, by name.
    #[must_use]
    pub fn jobs(&self) -> BTreeMap<String, Job> {
        self.state.jobs.lock().unwrap().clone()
    }

    /// The names of the jobs.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.jobs().into_keys().collect()
    }

    /// How many calls arrived, of every kind.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// How many times a job was scheduled, including one that replaced an existing job.
    #[must_use]
    pub fn scheduled(&self) -> usize {
        self.state.scheduled.load(Ordering::SeqCst)
    }

    /// The service invocations: app-id, method and body.
    #[must_use]
    pub fn invoked(&self) -> Vec<(String, String, Value)> {
        self.state.invoked.lock().unwrap().clone()
    }

    /// The events that the broker took, in their order.
    #[must_use]
    pub fn published(&self) -> Vec<Published> {
        self.state.published.lock().unwrap().clone()
    }

    /// How many calls wanted to publish something.
    #[must_use]
    pub fn publish_calls(&self) -> usize {
        self.state.publish_calls.load(Ordering::SeqCst)
    }

    /// Makes the broker refuse a topic or a partition key, or the scheduler a job's name. The broker takes the other entries of a call, and
    /// daprd answers with an error and no entries, as daprd 1.18 does.
    pub fn refuse(&self, topic_key_or_job: impl ToString) {
        self.state.refused.lock().unwrap().insert(topic_key_or_job.to_string());
    }

    /// Makes the broker and the scheduler take everything again.
    pub fn refuse_nothing(&self) {
        self.state.refused.lock().unwrap().clear();
    }

    /// Deletes every job, like a scheduler whose data was wiped.
    pub fn wipe(&self) {
        self.state.jobs.lock().unwrap().clear();
    }

    /// Moves the due time of every job by `by`.
    pub fn shift(&self, by: TimeDelta) {
        for job in self.state.jobs.lock().unwrap().values_mut() {
            job.due = job.due.map(|due| due + by);
        }
    }

    /// Puts a secret into the secret store.
    pub fn set_secret(&self, key: &str, value: &str) {
        self.state.secrets.lock().unwrap().insert(key.to_owned(), value.to_owned());
    }

    /// Makes every later call fail, or succeed again.
    pub fn set_away(&self, away: bool) {
        self.state.away.store(away, Ordering::SeqCst);
    }
}

impl State {
    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Response<http_body_util::combinators::BoxBody<Bytes, Infallible>> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        // A gRPC message is a compression flag, four bytes of length, and the payload.
        let message = body.get(5..).unwrap_or_default();
        let answer = if self.away.load(Ordering::SeqCst) {
            Err(Code::Unavailable)
        } else {
            self.call(path.rsplit('/').next().unwrap(), message)
        };
        let response = Response::builder().header("content-type", "application/grpc");
        match answer {
            Ok(message) => {
                let mut framed = vec![0];
                framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
                framed.extend(message);
                let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
                let body = Full::from(framed).with_trailers(async { Some(Ok(trailers)) });
                response.body(body.boxed())
            }
            Err(code) => response.header("grpc-status", i32::from(code)).body(Full::default().boxed()),
        }
        .unwrap()
    }

    fn call(&self, method: &str, message: &[u8]) -> Result<Vec<u8>, Code> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut jobs = self.jobs.lock().unwrap();
        match method {
            "ScheduleJob" => {
                let request = ScheduleJobRequest::decode(message).unwrap();
                let job = request.job.unwrap();
                if self.refused.lock().unwrap().contains(&job.name) {
                    return Err(Code::Internal);
                }
                if jobs.contains_key(&job.name) && !request.overwrite {
                    return Err(Code::AlreadyExists);
                }
                self.scheduled.fetch_add(1, Ordering::SeqCst);
                let data = serde_json::from_slice(&job.data.unwrap().value).unwrap();
                let due = job.due_time.map(|due| match due.strip_suffix("ms") {
                    Some(pause) => Utc::now() + TimeDelta::milliseconds(pause.parse().unwrap()),
                    None => due.parse().unwrap(),
                });
                jobs.insert(job.name, Job { due, schedule: job.schedule, data });
                Ok(Vec::new())
            }
            "GetJob" => {
                let name = GetJobRequest::decode(message).unwrap().name;
                let job = jobs.get(&name).map(|job| Scheduled {
                    name,
                    schedule: job.schedule.clone(),
                    ..Scheduled::default()
                });
                job.map(|job| GetJobResponse { job: Some(job) }.encode_to_vec()).ok_or(Code::NotFound)
            }
            "DeleteJob" => {
                jobs.remove(&DeleteJobRequest::decode(message).unwrap().name).map(|_| Vec::new()).ok_or(Code::NotFound)
            }
            "DeleteJobsByPrefix" => {
                let prefix = DeleteJobsByPrefixRequest::decode(message).unwrap().name_prefix.unwrap();
                jobs.retain(|name, _| !name.starts_with(&prefix));
                Ok(Vec::new())
            }
            "BulkPublishEvent" => {
                let request = BulkPublishRequest::decode(message).unwrap();
                let call = self.publish_calls.fetch_add(1, Ordering::SeqCst) + 1;
                let refused = self.refused.lock().unwrap();
                let mut answer = Ok(Vec::new());
                for mut entry in request.entries {
                    let key = entry.metadata.remove("partitionKey").unwrap();
                    if refused.contains(&request.topic) || refused.contains(&key) {
                        answer = Err(Code::Internal);
                        continue;
                    }
                    let event = Published { topic: request.topic.clone(), key, id: entry.entry_id, call };
                    self.published.lock().unwrap().push(event);
                }
                answer
            }
            "InvokeService" => {
                let request = InvokeServiceRequest::decode(message).unwrap();
                let message = request.message.unwrap();
                let body = serde_json::from_slice(&message.data.unwrap().value).unwrap();
                self.invoked.lock().unwrap().push((request.id, message.method, body));
                Ok(Vec::new())
            }
            "GetSecret" => {
                let key = GetSecretRequest::decode(message).unwrap().key;
                let value = self.secrets.lock().unwrap().get(&key).cloned().ok_or(Code::Internal)?;
                Ok(GetSecretResponse { data: [(key, value)].into() }.encode_to_vec())
            }
            "GetState" => {
                let key = GetStateRequest::decode(message).unwrap().key;
                let data = self.values.lock().unwrap().get(&key).cloned().unwrap_or_default();
                Ok(GetStateResponse { data, ..GetStateResponse::default() }.encode_to_vec())
            }
            "SaveState" => {
                let items = SaveStateRequest::decode(message).unwrap().states;
                self.values.lock().unwrap().extend(items.into_iter().map(|item| (item.key, item.value)));
                Ok(Vec::new())
            }
            _ => Err(Code::Unimplemented),
        }
    }
}
