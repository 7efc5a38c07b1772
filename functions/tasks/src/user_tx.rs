//! A transaction that sees only one user's rows: the second wall, behind the `user_id` in every statement.

use std::ops::{Deref, DerefMut};

use chrono::{DateTime, Utc};
use shared::{
    auth::User,
    db::{Db, Tx},
};
use sqlx::PgConnection;
use uuid::Uuid;

/// In whose name a request is handled, as a token or a capability proves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// The user.
    pub(crate) id: Uuid,
    /// When the proof was issued. One from before the user was erased opens nothing.
    pub(crate) issued_at: Option<DateTime<Utc>>,
}

impl From<&User> for Caller {
    fn from(user: &User) -> Self {
        Self { id: user.id, issued_at: user.issued_at }
    }
}

/// A transaction as the role `punctual_api`, under row-level security. Dropping it rolls it back.
pub(crate) struct UserTx(Tx);

impl UserTx {
    /// A transaction for a command. Until it ends, the user is not erased.
    pub(crate) async fn begin(db: &Db, caller: impl Into<Caller>) -> sqlx::Result<Self> {
        Self::start(db, caller.into(), None).await
    }

    /// A transaction for a read request. PostgreSQL ends a statement that takes longer than a person waits.
    pub(crate) async fn read(db: &Db, user: &User) -> sqlx::Result<Self> {
        Self::start(db, user.into(), Some("3s")).await
    }

    /// A transaction for a search. The words decide how long PostgreSQL compares, so it ends a statement earlier than another read.
    pub(crate) async fn search(db: &Db, user: &User) -> sqlx::Result<Self> {
        Self::start(db, user.into(), Some("1s")).await
    }

    /// Fails for a token from before its user was erased, as [`admit`] does.
    async fn start(db: &Db, caller: Caller, statement_timeout: Option<&str>) -> sqlx::Result<Self> {
        let mut tx = db.begin().await?;
        // `true` limits the settings to this transaction, so the connection returns to the pool unchanged.
        sqlx::query!(
            "select set_config('role', 'punctual_api', true) as role, set_config('punctual.user_id', $1, true) as user_id,
                    set_config('statement_timeout', coalesce($2, current_setting('statement_timeout')), true) as timeout,
                    admit_token($3, $4, $2::text is null)::text as admitted",
            caller.id.to_string(),
            statement_timeout,
            caller.id,
            caller.issued_at
        )
        .fetch_one(&mut *tx)
        .await?;
        Ok(Self(tx))
    }

    pub(crate) async fn commit(self) -> sqlx::Result<()> {
        self.0.commit().await
    }
}

/// Fails for a token from before its user was erased, in a transaction without row-level security. Until it ends, the user is not erased.
pub(crate) async fn admit(conn: &mut PgConnection, user: &User) -> sqlx::Result<()> {
    sqlx::query!("select admit_token($1, $2, true)::text as admitted", user.id, user.issued_at).fetch_one(conn).await?;
    Ok(())
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

/// A user with this id.
#[cfg(test)]
pub(crate) fn user_with(id: Uuid) -> User {
    let email = shared::address::Address::parse("ada@example.org").unwrap();
    User { id, email, issued_at: None, operator: false }
}
