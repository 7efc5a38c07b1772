-- no-transaction
create index concurrently if not exists tasks_by_status_and_due on tasks (user_id, completed, due_at, id);
