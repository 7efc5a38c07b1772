//! The listener of a process: it hears of changes by `NOTIFY`, and reads the feeds that moved in one statement for all users.
//!
//! A notification can be lost: its sender died after the commit, the connection was away, or the peer vanished without a word. So every 10 s, and
//! whenever the listener has connected, it compares all feeds of its users with the database by primary key. Every 30 s it notifies itself, through
//! the pool. If it does not hear that within 5 s, it connects again.

use std::convert::Infallible;

use anyhow::{Context as _, bail};
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::hub::Hub;

/// Keeps the tails of the hub's users up to date. Never returns.
pub(crate) async fn run(hub: Hub) {
    tokio::join!(hear(&hub), look(&hub), read(&hub));
}

/// Reads the feeds that are marked.
async fn read(hub: &Hub) {
    loop {
        hub.marked().await;
        let outcome = timeout(hub.settings.answer, hub.refresh()).await;
        let outcome = outcome.context("the database did not answer").and_then(|read| Ok(read?));
        if let Err(error) = outcome {
            tracing::warn!(error = format!("{error:#}"), "updates: the feeds cannot be read, will look again");
            sleep(hub.settings.pause).await;
        }
    }
}

/// Marks every feed, all the time.
async fn look(hub: &Hub) {
    loop {
        sleep(hub.settings.look).await;
        hub.mark_all();
    }
}

/// Marks the feeds of notifications.
async fn hear(hub: &Hub) {
    loop {
        let Err(error) = listen(hub).await;
        tracing::warn!(error = format!("{error:#}"), "updates: lost the connection that listens, will connect again");
        sleep(hub.settings.pause).await;
    }
}

/// Listens on one connection until it fails.
async fn listen(hub: &Hub) -> anyhow::Result<Infallible> {
    let limit = hub.settings.answer;
    // A pool of its own, because a listener takes its connection from one. Where a connection fell silent, dropping the listener leaves a task
    // behind that waits until TCP gives up.
    let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None).acquire_timeout(limit);
    let pool = pool.connect_lazy_with(hub.listen.clone());
    let mut listener = PgListener::connect_with(&pool).await.context("connecting")?;
    listener.eager_reconnect(false);
    timeout(limit, listener.listen("feed")).await.context("LISTEN was not answered")??;
    // What was committed until now was not heard.
    hub.mark_all();
    let (id, heard) = (Uuid::new_v4(), Notify::new());
    tokio::select! {
        failure = receive(hub, &mut listener, id, &heard) => failure,
        failure = check(hub, id, &heard) => failure,
    }
}

/// Receives notifications: the ids of users, separated by commas, or the id of a listener.
async fn receive(hub: &Hub, listener: &mut PgListener, own: Uuid, heard: &Notify) -> anyhow::Result<Infallible> {
    loop {
        let Some(notification) = listener.try_recv().await? else { bail!("the server closed it") };
        let ids = notification.payload().split(',').filter_map(|id| Uuid::try_parse(id).ok());
        hub.mark(ids.inspect(|id| {
            if *id == own {
                heard.notify_one();
            }
        }));
    }
}

/// Checks that the listener hears what is sent through the pool.
async fn check(hub: &Hub, own: Uuid, heard: &Notify) -> anyhow::Result<Infallible> {
    loop {
        sqlx::query_scalar!("select pg_notify('feed', $1)::text", own.to_string()).fetch_one(&hub.db).await?;
        timeout(hub.settings.answer, heard.notified()).await.context("it does not hear its own notification")?;
        sleep(hub.settings.echo).await;
    }
}
