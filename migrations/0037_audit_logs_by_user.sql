-- no-transaction
-- For erasure, and for the history of a task, whose statements name its user. Migration 39 drops the index that served the history before.
create index concurrently if not exists audit_logs_by_user on audit_logs (user_id, task_id, id);
