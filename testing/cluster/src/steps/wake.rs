//! Everything that calls a function: one effect each. On Knative it wakes from zero, which is compared with a hello world.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use chrono::Utc;
use clap::Parser as _;
use lab::{
    api::{Method, id},
    kafka::topics,
};
use serde_json::json;
use shared::{App, Config, catalogue::EventType, sidecar::Sidecar};
use uuid::Uuid;

use super::reminders::{remind, sent};
use crate::{facts, kube::ServiceRoute, run::ClusterTest};

const SOON: Duration = Duration::from_secs(90);

/// Measures pairs of cold starts: the first answer of a hello world, and the effect of an event.
pub(super) async fn cold(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    let image = format!("{}/hello:{}", test.images.registry, test.images.first);
    test.kube.apply(&hello(&image)).await?;
    test.kube.kubectl(&["wait", "--for=condition=Ready", "ksvc/hello", "--timeout=120s"]).await?;
    let (mut hellos, mut answers, mut effects) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..test.arguments.rounds {
        let mut zero = test.zero().await?;
        for half in 0..2 {
            // Alternate the order.
            if (round + half) % 2 == 0 {
                let began = Instant::now();
                test.function("hello").user().command(Method::GET, "/", None).await?;
                hellos.push(milliseconds(began));
            } else {
                let began = Instant::now();
                let task = test.create("from zero").await?;
                answers.push(milliseconds(began));
                let seen = facts::once(&test.db, &[task], &["task.created", "task.changed"], SOON).await?;
                effects
                    .extend(seen.events.iter().find(|event| event.kind == "task.created").and_then(|event| event.ms));
            }
            if half == 0 {
                zero += test.zero().await?;
            }
        }
        let (hello, answer, effect) = (last(&hellos), last(&answers), last(&effects));
        test.say(format!(
            "cold: hello world {hello:.0} ms; POST /v1/tasks {answer:.0} ms; event to its effect {effect:.0} ms, {:.2} of hello \
             test (at zero after {} s)",
            effect / hello,
            zero.as_secs()
        ));
    }
    test.kube.kubectl(&["delete", "ksvc", "hello"]).await?;
    let (hello, answer, effect) = (median(hellos), median(answers), median(effects));
    test.say(format!(
        "cold: medians of {} pairs: hello world {hello:.0} ms, POST /v1/tasks {answer:.0} ms ({:.2}), event to its effect \
         {effect:.0} ms ({:.2})",
        test.arguments.rounds,
        answer / hello,
        effect / hello
    ));
    Ok(())
}

/// Each of these reaches its function, which wakes from zero on Knative: a request, each type of event, a reminder's job, a dead letter, the
/// daily job, and an invocation.
pub(super) async fn wake(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    test.zero().await?;
    let reminder = remind(test, "wakes all", Duration::from_secs(15)).await?;
    ensure!(facts::titled(&test.db, &reminder.title).await? == 1, "there is not exactly one task");
    let other = test.create("changes").await?;
    let path = format!("/v1/tasks/{other}");
    test.command(Method::PATCH, &path, Some(json!({ "title": "changed" }))).await?;
    let completed = test.command(Method::POST, &format!("{path}/complete"), None).await?;
    ensure!(id(&completed["id"]) == other, "another task was completed");
    test.command(Method::DELETE, &path, None).await?;
    let told = sent(test, &reminder, SOON).await?;
    let late = test.arguments.late_ms as f64;
    ensure!(told.fired <= late, "a job reached alarm {:.0} ms late", told.fired);

    let kinds = ["task.created", "task.updated", "task.completed", "task.deleted"];
    let mut events = facts::once(&test.db, &[other], &kinds, SOON).await?.events;
    let kinds = ["task.created", "reminder.due", "reminder.sent"];
    events.extend(facts::once(&test.db, &[reminder.task], &kinds, SOON).await?.events);
    let first =
        |kind: &str| events.iter().filter(|event| event.kind == kind).find_map(|event| event.ms).unwrap_or(-1.0);
    let firsts: Vec<String> =
        ["task.created", "task.updated", "task.completed", "task.deleted", "task.changed", "reminder.sent"]
            .map(|kind| format!("{kind} {:.0} ms", first(kind)))
            .to_vec();
    test.say(format!(
        "wake: {}a request made its task once; each event reached its function and took effect once: {}; a job reached alarm {:.0} ms after \
         its time",
        from_zero(test),
        firsts.join(", "),
        told.fired
    ));
    dead_letters(test).await?;
    upkeep(test).await?;
    invocation(test).await
}

/// Where the functions start from, for the lines of this step.
const fn from_zero(test: &ClusterTest<'_>) -> &'static str {
    if test.arguments.plain { "" } else { "from zero " }
}

/// A record that is not an event: each daprd of the topic dead-letters it once, which wakes `dead-letters`.
async fn dead_letters(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    test.zero().await?;
    let marker = format!("no event {}", Uuid::now_v7());
    let kafka = topics::connect(&test.parts.brokers).await?;
    let partitions = topics::partitions(&kafka, EventType::TaskCreated.topic()).await?;
    let began = Instant::now();
    topics::append(&partitions[0], vec![topics::record(None, marker.clone().into())]).await?;
    let on_topic = EventType::ALL.into_iter().filter(|kind| kind.topic() == EventType::TaskCreated.topic());
    let mut wanted: Vec<&str> = on_topic.map(EventType::consumer).collect();
    wanted.sort_unstable();
    loop {
        let letters: Vec<String> = sqlx::query_scalar(
            "select consumer from dead_letters where payload like '%' || $1 || '%' order by consumer",
        )
        .bind(&marker)
        .fetch_all(&test.db)
        .await?;
        if letters == wanted {
            break;
        }
        ensure!(began.elapsed() < SOON, "dead-lettered only by {letters:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let took = milliseconds(began);
    let awake = test.kube.awake().await?;
    ensure!(awake.keys().all(|function| function == "dead-letters"), "woke: {awake:?}");
    let woke = if test.arguments.plain { "" } else { ", which woke only dead-letters" };
    test.say(format!(
        "wake: {} daprds dead-lettered a record that is not an event{woke}: a letter each after {took:.0} ms",
        wanted.len()
    ));
    Ok(())
}

/// The daily job, moved to now, reaches upkeep, which removes old rows and creates the missing partition.
async fn upkeep(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    let route = test.kube.route_to(&test.kube.namespace, "upkeep-daprd", 50001).await?;
    let sidecar = sidecar(test, &route)?;
    let old = Uuid::now_v7().to_string();
    sqlx::query(
        "insert into idempotency_keys (user_id, key, fingerprint, created_at)
         values ($1, $2, '', now() - interval '2 days')",
    )
    .bind(Uuid::now_v7())
    .bind(&old)
    .execute(&test.db)
    .await?;
    let (partition, partitions): (String, i64) = sqlx::query_as(
        "select max(inhrelid::regclass::text), count(*) from pg_inherits
         where inhparent = 'processed_events'::regclass and inhrelid::regclass::text <> 'processed_events_default'",
    )
    .fetch_one(&test.db)
    .await?;
    sqlx::query(sqlx::AssertSqlSafe(format!("drop table {partition}"))).execute(&test.db).await?;
    test.kube.repair("repair-schedules").await?; // schedules the job if it is missing
    test.zero().await?;

    sidecar.own_jobs.disarm("retention").await?;
    let due = Utc::now() + Duration::from_secs(3);
    ensure!(sidecar.own_jobs.arm_if_missing("retention", due, &json!({})).await?, "the daily job cannot be moved");
    tokio::time::sleep((due - Utc::now()).to_std().unwrap_or_default()).await;
    let began = Instant::now();
    let there = "select (select count(*) from idempotency_keys where key = $1), to_regclass($2) is not null";
    loop {
        let (keys, made): (i64, bool) = sqlx::query_as(there).bind(&old).bind(&partition).fetch_one(&test.db).await?;
        if keys == 0 && made {
            break;
        }
        ensure!(began.elapsed() < SOON, "the daily job had no effect");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = milliseconds(began);
    // A failed job would be retried after five seconds.
    let mut runs = 0;
    while began.elapsed() < Duration::from_secs(8) {
        let logs = ["logs", "--selector", "punctual/function=upkeep", "--container", "function", "--tail=-1"];
        let lines = test.kube.kubectl(&logs).await.unwrap_or_default(); // the pod may be terminating
        runs = runs.max(lines.matches("upkeep: retention made").count());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    ensure!(runs > 0, "upkeep has not logged retention");
    test.kube.repair("repair-schedules").await?;
    let far = Utc::now() + Duration::from_secs(86_400);
    ensure!(
        !sidecar.own_jobs.arm_if_missing("retention", far, &json!({})).await?,
        "repair did not schedule the daily job again"
    );
    test.say(format!(
        "wake: {}the daily job reached upkeep, which finished {took:.0} ms after its time, in {runs} run (1 of {partitions} partitions \
         created again, an old key removed); repair scheduled the job again",
        from_zero(test)
    ));
    Ok(())
}

/// Only the daprd of `tasks` may invoke `alarm`: they know each other by the certificates of Dapr's control plane.
async fn invocation(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    test.zero().await?;
    let through = async |daprd: &str| -> anyhow::Result<_> {
        let route = test.kube.route_to(&test.kube.namespace, daprd, 50001).await?;
        let began = Instant::now();
        // No reminder has this id: alarm answers that there is nothing to do.
        let answer = sidecar(test, &route)?.fire(Uuid::now_v7(), 1).await;
        Ok((answer, milliseconds(began)))
    };
    let (answer, took) = through("tasks-daprd").await?;
    answer.context("tasks cannot invoke alarm")?;
    let (answer, _) = through("upkeep-daprd").await?;
    let Err(refusal) = answer else { bail!("upkeep can invoke alarm") };
    test.say(format!("wake: {}tasks invoked alarm in {took:.0} ms; upkeep may not: {refusal}", from_zero(test)));
    Ok(())
}

/// The Dapr API of a daprd.
fn sidecar(test: &ClusterTest<'_>, route: &ServiceRoute) -> anyhow::Result<Sidecar> {
    let config = Config::try_parse_from([
        "cluster-test".to_owned(),
        format!("--database-url={}", test.parts.database_url),
        format!("--dapr-grpc-endpoint=http://{}", route.address),
        format!("--dapr-api-token={}", test.deployment.dapr_api_token),
        "--app-api-token=unused".to_owned(),
    ])?;
    Ok(App::new(config, &test.db)?.sidecar)
}

/// A minimal Knative Service, under the same restrictions as the functions.
fn hello(image: &str) -> serde_json::Value {
    json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service",
        "metadata": { "name": "hello", "labels": { "networking.knative.dev/visibility": "cluster-local" } },
        "spec": { "template": {
            "metadata": { "annotations": { "autoscaling.knative.dev/scale-to-zero-pod-retention-period": "2s" } },
            "spec": { "containers": [{
                "image": image, "imagePullPolicy": "IfNotPresent",
                "readinessProbe": { "httpGet": { "path": "/" } },
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "runAsNonRoot": true,
                    "readOnlyRootFilesystem": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" },
                },
                "resources": { "requests": { "cpu": "20m", "memory": "16Mi" }, "limits": { "memory": "128Mi" } },
            }] },
        } },
    })
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn last(figures: &[f64]) -> f64 {
    figures.last().copied().unwrap_or(f64::NAN)
}

pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
