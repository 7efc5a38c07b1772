-- Nullable and without a default: the table is not rewritten. A row that older code aligned has none and is aligned once more.
alter table task_reminders add column aligned_version integer;
comment on column task_reminders.aligned_version is
    'the version whose jobs a handler last brought in line with the row; null or another version: the next event of the task does it';
