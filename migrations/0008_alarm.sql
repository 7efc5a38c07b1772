-- The one definition of a live reminder: scheduled, and not yet fired in this version. PostgreSQL inlines it, so a statement that calls it
-- also uses the index `task_reminders_live`, whose predicate has the same words.
create function reminder_is_live(state text, version integer, fired_version integer) returns boolean
    language sql immutable parallel safe as $$ select state = 'scheduled' and (fired_version is null or fired_version < version) $$;

-- Nullable and without a default: the table is not rewritten, and the lock lasts for a change of the catalog. A row that older code armed has
-- none and is armed again at `alarm`.
alter table task_reminders add column armed_version integer;
comment on column task_reminders.armed_version is
    'the version whose job was armed last; a live reminder due within the arming window and armed in another version is armed by repair';
comment on column task_reminders.job_id is 'the Dapr job that was armed last; null while the reminder is further ahead than the arming window';
