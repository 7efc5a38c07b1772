-- no-transaction
-- This and the next two serve every order of a list, of open or of completed tasks. A list of both merges two scans.
create index concurrently if not exists tasks_by_status_and_creation on tasks (user_id, completed, created_at, id);
