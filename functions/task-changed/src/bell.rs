//! Notifies the listeners of `updates` of committed changes.
//!
//! Never inside the transaction of a change: PostgreSQL commits the transactions with a notification one after the other. A notification that is lost
//! delays a change by ten seconds, because `updates` also looks.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use shared::db::Db;
use tokio::time::timeout;
use uuid::Uuid;

/// The users of one notification: 37 bytes each, of the 8,000 that PostgreSQL takes.
const USERS: usize = 200;

/// Notifies of the users whose feed has changed. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Bell {
    db: Db,
    users: Arc<Mutex<BTreeSet<Uuid>>>,
}

impl Bell {
    pub(crate) fn new(db: Db) -> Self {
        Self { db, users: Arc::default() }
    }

    /// Notifies of a user soon. Users who are added while a connection is awaited share the notification.
    pub(crate) fn ring(&self, user: Uuid) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let is_awaited = !users.is_empty();
        users.insert(user);
        if !is_awaited {
            let bell = self.clone();
            tokio::spawn(async move {
                let told = timeout(bell.db.deadlines.answer, bell.notify()).await;
                if let Err(error) = told.map_err(anyhow::Error::from).and_then(|told| Ok(told?)) {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "task-changed: no notification of changes, which are seen later"
                    );
                }
            });
        }
    }

    async fn notify(&self) -> sqlx::Result<()> {
        let conn = self.db.acquire().await;
        let users = mem::take(&mut *self.users.lock().unwrap_or_else(PoisonError::into_inner));
        let users: Vec<String> = users.iter().map(Uuid::to_string).collect();
        let payloads: Vec<String> = users.chunks(USERS).map(|users| users.join(",")).collect();
        let mut tx = conn?.begin_single().await?;
        sqlx::query!("select pg_notify('feed', payload)::text as told from unnest($1::text[]) as payload", &payloads)
            .fetch_all(&mut *tx)
            .await?;
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use shared::{deadlines::Deadlines, testing::at_port};
    use sqlx::{PgPool, postgres::PgListener};

    use super::*;

    #[sqlx::test]
    async fn users_who_wait_for_a_connection_share_few_notifications(db: PgPool) {
        let mut listener = PgListener::connect_with(&db).await.unwrap();
        listener.listen("feed").await.unwrap();
        let bell = Bell::new(at_port(&db, db.connect_options().get_port(), Deadlines::default()));
        let busy =
            [bell.db.acquire().await.unwrap(), bell.db.acquire().await.unwrap(), bell.db.acquire().await.unwrap()];
        let users: BTreeSet<Uuid> = (0..500).map(Uuid::from_u128).collect();
        users.iter().chain(&users).for_each(|user| bell.ring(*user));
        drop(busy);
        let mut told = BTreeSet::new();
        for count in [200, 200, 100] {
            let notification = listener.recv().await.unwrap();
            let ids: Vec<Uuid> = notification.payload().split(',').map(|id| id.parse().unwrap()).collect();
            assert_eq!(ids.len(), count);
            told.extend(ids);
        }
        assert_eq!(told, users);
        bell.ring(Uuid::max());
        assert_eq!(listener.recv().await.unwrap().payload(), Uuid::max().to_string());
    }

    #[test]
    fn a_full_notification_is_below_the_limit_of_postgresql() {
        let payload = vec![Uuid::nil().to_string(); USERS].join(",");
        assert!(payload.len() < 8_000, "{}", payload.len());
    }
}
