//! A transaction that sees one user's rows and nothing else: the second wall, behind the `user_id` of every statement.

use std::ops::{Deref, DerefMut};

use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

/// A transaction as `punctual_api`, under row-level security. Dropped, it leaves nothing behind.
pub(crate) struct UserTx(Transaction<'static, Postgres>);

impl UserTx {
    pub(crate) async fn begin(db: &PgPool, user_id: Uuid) -> sqlx::Result<Self> {
        let mut tx = db.begin().await?;
        // `true`: until the end of the transaction, so the connection goes back to the pool as it was.
        sqlx::query!(
            "select set_config('role', 'punctual_api', true) as role, set_config('punctual.user_id', $1, true) as user_id",
            user_id.to_string()
        )
        .fetch_one(&mut *tx)
        .await?;
        Ok(Self(tx))
    }

    pub(crate) async fn commit(self) -> sqlx::Result<()> {
        self.0.commit().await
    }
}

impl Deref for UserTx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for UserTx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}
