-- The second wall between users. `tasks` works as `punctual_api`, which sees the rows of the user it names in
-- `punctual.user_id` and nothing without one; the other functions work as the owner of the tables.
do $$
begin
    create role punctual_api nologin;
exception when duplicate_object or unique_violation then null; -- roles belong to the server, not to this database
end $$;

do $$
begin
    execute format('grant punctual_api to %I', current_user);
exception when others then
    if not pg_has_role(current_user, 'punctual_api', 'member') then raise; end if;
end $$;

create function punctual_user() returns uuid language sql stable as $$
    select nullif(current_setting('punctual.user_id', true), '')::uuid
$$;

grant select, insert, update on users to punctual_api;
grant select, insert, update, delete on tasks, task_tags, task_tag_associations, task_reminders to punctual_api;
grant select, insert, update on idempotency_keys to punctual_api;
grant select, insert on task_occurrences, task_events to punctual_api;
grant select on audit_logs, notification_deliveries, feed to punctual_api;

alter table users enable row level security;
alter table tasks enable row level security;
alter table task_tags enable row level security;
alter table task_tag_associations enable row level security;
alter table task_reminders enable row level security;
alter table task_events enable row level security;
alter table idempotency_keys enable row level security;
alter table audit_logs enable row level security;
alter table notification_deliveries enable row level security;
alter table feed enable row level security;

create policy own_users on users to punctual_api using (id = punctual_user());
create policy own_tasks on tasks to punctual_api using (user_id = punctual_user());
create policy own_tags on task_tags to punctual_api using (user_id = punctual_user());
create policy own_associations on task_tag_associations to punctual_api
    using (exists (select from tasks where tasks.id = task_id));
create policy own_reminders on task_reminders to punctual_api using (user_id = punctual_user());
create policy own_events on task_events to punctual_api using (user_id = punctual_user());
create policy own_idempotency_keys on idempotency_keys to punctual_api using (user_id = punctual_user());
create policy own_audit on audit_logs to punctual_api using (user_id = punctual_user());
create policy own_deliveries on notification_deliveries to punctual_api using (user_id = punctual_user());
create policy own_feed on feed to punctual_api using (user_id = punctual_user());
