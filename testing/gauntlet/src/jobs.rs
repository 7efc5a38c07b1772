//! Finds orphaned jobs in the scheduler: jobs that belong to no pending reminder.

use std::time::Duration;

use anyhow::Context as _;
use dapr::dapr::proto::runtime::v1::{ListJobsRequest, dapr_client::DaprClient};
use lab::topology::Topology;
use tonic::{Request, transport::Endpoint};

use crate::facts::Facts;

/// The reminder jobs that belong to no pending reminder.
///
/// # Errors
/// When the daprd of `alarm` does not answer.
pub(crate) async fn orphans(topology: &Topology, facts: &Facts) -> anyhow::Result<Vec<String>> {
    let daprd = format!("http://127.0.0.1:{}", topology.daprd("alarm").grpc_port);
    let mut client = DaprClient::new(Endpoint::from_shared(daprd)?.timeout(Duration::from_secs(30)).connect_lazy());
    let mut request = Request::new(ListJobsRequest {});
    request.metadata_mut().insert("dapr-api-token", topology.dapr_api_token("alarm").parse()?);
    let jobs = client.list_jobs(request).await.context("the jobs of alarm")?.into_inner().jobs;
    let is_needed = |name: &str| {
        facts.reminders.iter().any(|reminder| {
            reminder.state == "scheduled"
                && reminder.task_exists
                && reminder.fired_version != Some(reminder.version)
                && name == format!("reminder-{}-{}", reminder.id, reminder.version)
        })
    };
    let names = jobs.into_iter().map(|job| job.name);
    Ok(names.filter(|name| name.starts_with("reminder-") && !is_needed(name)).collect())
}
