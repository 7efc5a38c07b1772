-- no-transaction
-- All reminders of a user, for erasure; those of deleted tasks as well.
create index concurrently if not exists task_reminders_by_user on task_reminders (user_id);
