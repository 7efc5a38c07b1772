-- no-transaction
-- A user's live reminders, which the quotas count: all of them, and those of an hour.
create index concurrently if not exists task_reminders_live_by_user on task_reminders (user_id, remind_at)
    where reminder_is_live(state, version, fired_version);
