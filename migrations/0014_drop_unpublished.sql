-- no-transaction
-- The index before it: a second index of the same rows costs every event two writes.
drop index concurrently if exists task_events_unpublished;
