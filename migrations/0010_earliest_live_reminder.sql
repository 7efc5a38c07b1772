-- What every command that changes reminders writes into `tasks.remind_at`.
create function earliest_live_reminder(task uuid) returns timestamptz language sql stable parallel safe as $$
    select min(remind_at) from task_reminders where task_id = task and reminder_is_live(state, version, fired_version)
$$;
