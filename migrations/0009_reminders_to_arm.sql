-- no-transaction
-- The reminders that enter the arming window, by instant. Built without blocking writers, so it stands alone in its file: PostgreSQL builds an
-- index concurrently only outside a transaction, and several statements sent together are one. `migrations::apply` drops what an interrupted
-- build leaves behind.
create index concurrently task_reminders_to_arm on task_reminders (remind_at)
    where reminder_is_live(state, version, fired_version) and armed_version is distinct from version;
