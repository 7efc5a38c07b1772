-- The distance that an absolute reminder keeps to the due time in later occurrences, whatever one-off commands move in this one.
alter table task_reminders
    add column series_remind_at timestamptz,
    add column series_due_at timestamptz;
comment on column task_reminders.series_remind_at is
    'the instant that later occurrences count from, after a snooze or a send-now; null = remind_at';
comment on column task_reminders.series_due_at is
    'the due time that it belongs to, after the due time of this occurrence alone was moved; null = that of the task';
