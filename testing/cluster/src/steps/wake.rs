//! From zero: how long it takes beside a hello world, and that everything that wakes a function does so with one effect.

use std::time::{Duration, Instant};

use anyhow::ensure;
use chrono::Utc;
use clap::Parser as _;
use reqwest::Method;
use rskafka::{
    client::{
        ClientBuilder,
        partition::{Compression, UnknownTopicHandling},
    },
    record::Record,
};
use serde_json::json;
use shared::{App, Config, catalogue::EventType, sidecar::Sidecar};
use uuid::Uuid;

use super::reminders::{remind, sent};
use crate::{facts, user::id, world::World};

const SOON: Duration = Duration::from_secs(90);

/// Cold starts in pairs: a hello world's first answer, and an event's effect.
pub(super) async fn cold(world: &World) -> anyhow::Result<()> {
    let image = format!("{}/hello:{}", world.images.registry, world.images.first);
    world.kube.apply(&hello(&image)).await?;
    world.kube.kubectl(&["wait", "--for=condition=Ready", "ksvc/hello", "--timeout=120s"]).await?;
    let (mut hellos, mut answers, mut effects) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..world.arguments.rounds {
        let mut zero = world.zero().await?;
        for half in 0..2 {
            // In turn, so that neither always comes first.
            if (round + half) % 2 == 0 {
                let began = Instant::now();
                let (status, answer) = world.user.call("hello", Method::GET, "/", None, None).await;
                ensure!(status == 200, "hello answered {status} {answer}");
                hellos.push(milliseconds(began));
            } else {
                let began = Instant::now();
                let task = world.user.create("from zero").await?;
                answers.push(milliseconds(began));
                let seen = facts::once(&world.db, &[task], &["task.created", "task.changed"], SOON).await?;
                effects
                    .extend(seen.events.iter().find(|event| event.kind == "task.created").and_then(|event| event.ms));
            }
            if half == 0 {
                zero += world.zero().await?;
            }
        }
        let (hello, answer, effect) = (last(&hellos), last(&answers), last(&effects));
        world.say(format!(
            "cold: hello world {hello:.0} ms; POST /v1/tasks {answer:.0} ms; event to its effect {effect:.0} ms, {:.2} of hello \
             world (at zero after {} s)",
            effect / hello,
            zero.as_secs()
        ));
    }
    world.kube.kubectl(&["delete", "ksvc", "hello"]).await?;
    let (hello, answer, effect) = (median(hellos), median(answers), median(effects));
    world.say(format!(
        "cold: medians of {} pairs: hello world {hello:.0} ms, POST /v1/tasks {answer:.0} ms ({:.2}), event to its effect \
         {effect:.0} ms ({:.2})",
        world.arguments.rounds,
        answer / hello,
        effect / hello
    ));
    Ok(())
}

/// A request, each type of event, a reminder's job, what daprd sets aside, and the daily job: each wakes its function.
pub(super) async fn wake(world: &World) -> anyhow::Result<()> {
    world.zero().await?;
    let reminder = remind(world, "wakes all", Duration::from_secs(15)).await?;
    ensure!(facts::titled(&world.db, &reminder.title).await? == 1, "not one task");
    let other = world.user.create("changes").await?;
    let path = format!("/v1/tasks/{other}");
    world.user.command(Method::PATCH, &path, Some(json!({ "title": "changed" }))).await?;
    let completed = world.user.command(Method::POST, &format!("{path}/complete"), None).await?;
    ensure!(id(&completed)? == other, "another task was completed");
    world.user.command(Method::DELETE, &path, None).await?;
    let told = sent(world, &reminder, SOON).await?;
    let late = world.arguments.late_ms as f64;
    ensure!(told.fired <= late, "a job woke alarm {:.0} ms late", told.fired);

    let kinds = ["task.created", "task.updated", "task.completed", "task.deleted"];
    let mut events = facts::once(&world.db, &[other], &kinds, SOON).await?.events;
    let kinds = ["task.created", "reminder.due", "reminder.sent"];
    events.extend(facts::once(&world.db, &[reminder.task], &kinds, SOON).await?.events);
    let first =
        |kind: &str| events.iter().filter(|event| event.kind == kind).find_map(|event| event.ms).unwrap_or(-1.0);
    let firsts: Vec<String> =
        ["task.created", "task.updated", "task.completed", "task.deleted", "task.changed", "reminder.sent"]
            .map(|kind| format!("{kind} {:.0} ms", first(kind)))
            .to_vec();
    world.say(format!(
        "wake: from zero a request made its task once; each event woke its function and took effect once: {}; a job woke \
         alarm {:.0} ms after its time",
        firsts.join(", "),
        told.fired
    ));
    dead_letters(world).await?;
    upkeep(world).await
}

/// What is no event at all: the daprds of a topic set it aside, each once, and wake `dead-letters` for it.
async fn dead_letters(world: &World) -> anyhow::Result<()> {
    world.zero().await?;
    let marker = format!("no event {}", Uuid::now_v7());
    let brokers = world.parts.brokers.split(',').map(str::to_owned).collect();
    let topic = ClientBuilder::new(brokers).build().await?;
    let partition = topic.partition_client(EventType::TaskCreated.topic(), 0, UnknownTopicHandling::Error).await?;
    let record = Record { key: None, value: Some(marker.clone().into()), headers: [].into(), timestamp: Utc::now() };
    let began = Instant::now();
    partition.produce(vec![record], Compression::NoCompression).await?;
    let on_topic = EventType::ALL.into_iter().filter(|kind| kind.topic() == EventType::TaskCreated.topic());
    let mut wanted: Vec<&str> = on_topic.map(EventType::consumer).collect();
    wanted.sort_unstable();
    loop {
        let letters: Vec<String> = sqlx::query_scalar(
            "select consumer from dead_letters where payload like '%' || $1 || '%' order by consumer",
        )
        .bind(&marker)
        .fetch_all(&world.db)
        .await?;
        if letters == wanted {
            break;
        }
        ensure!(began.elapsed() < SOON, "set aside for {letters:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let took = milliseconds(began);
    let awake = world.kube.awake().await?;
    ensure!(awake.keys().all(|function| function == "dead-letters"), "woke: {awake:?}");
    world.say(format!(
        "wake: what is no event was set aside by {} daprds, and woke dead-letters alone: a letter each after {took:.0} ms",
        wanted.len()
    ));
    Ok(())
}

/// The daily job, moved to now: it wakes upkeep, which removes what is old and makes the partition that is missing.
async fn upkeep(world: &World) -> anyhow::Result<()> {
    let way = world.kube.way(&world.kube.namespace, "upkeep-daprd", 50001).await?;
    let sidecar = sidecar(world, &format!("http://{}", way.address))?;
    let old = Uuid::now_v7().to_string();
    sqlx::query(
        "insert into idempotency_keys (user_id, key, fingerprint, created_at)
         values ($1, $2, '', now() - interval '2 days')",
    )
    .bind(Uuid::now_v7())
    .bind(&old)
    .execute(&world.db)
    .await?;
    let (partition, partitions): (String, i64) = sqlx::query_as(
        "select max(inhrelid::regclass::text), count(*) from pg_inherits
         where inhparent = 'processed_events'::regclass and inhrelid::regclass::text <> 'processed_events_default'",
    )
    .fetch_one(&world.db)
    .await?;
    sqlx::query(sqlx::AssertSqlSafe(format!("drop table {partition}"))).execute(&world.db).await?;
    world.kube.repair("repair-schedules").await?; // sees to it that the job is there
    world.zero().await?;

    sidecar.own_jobs.disarm("retention").await?;
    let due = Utc::now() + Duration::from_secs(3);
    ensure!(sidecar.own_jobs.arm_if_missing("retention", due, &json!({})).await?, "the daily job cannot be moved");
    tokio::time::sleep((due - Utc::now()).to_std().unwrap_or_default()).await;
    let began = Instant::now();
    let there = "select (select count(*) from idempotency_keys where key = $1), to_regclass($2) is not null";
    loop {
        let (keys, made): (i64, bool) = sqlx::query_as(there).bind(&old).bind(&partition).fetch_one(&world.db).await?;
        if keys == 0 && made {
            break;
        }
        ensure!(began.elapsed() < SOON, "the daily job had no effect");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = milliseconds(began);
    // Its job would be called again after five seconds.
    let mut runs = 0;
    while began.elapsed() < Duration::from_secs(8) {
        let logs = ["logs", "--selector", "serving.knative.dev/service=upkeep", "--container", "function", "--tail=-1"];
        let lines = world.kube.kubectl(&logs).await.unwrap_or_default(); // a pod that is about to end
        runs = runs.max(lines.matches("upkeep: retention made").count());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    ensure!(runs > 0, "upkeep says nothing of retention");
    world.kube.repair("repair-schedules").await?;
    let far = Utc::now() + Duration::from_secs(86_400);
    ensure!(
        !sidecar.own_jobs.arm_if_missing("retention", far, &json!({})).await?,
        "repair did not bring the daily job back"
    );
    world.say(format!(
        "wake: the daily job woke upkeep, whose work was done {took:.0} ms after its time, in {runs} run (1 of {partitions} \
         partitions made again, an old key gone); repair brought the job back"
    ));
    Ok(())
}

/// The Dapr API of a daprd, as its function has it.
fn sidecar(world: &World, address: &str) -> anyhow::Result<Sidecar> {
    let config = Config::try_parse_from([
        "cluster-test".to_owned(),
        format!("--database-url={}", world.parts.database_url),
        format!("--dapr-grpc-endpoint={address}"),
        format!("--dapr-api-token={}", world.deployment.dapr_api_token),
        "--app-api-token=unused".to_owned(),
    ])?;
    Ok(App::new(config, world.db.clone())?.sidecar)
}

/// A Knative Service of nothing but an answer, under the same rules as the functions.
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

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
