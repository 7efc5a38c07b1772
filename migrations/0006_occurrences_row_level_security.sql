-- Occurrences of a series are those of its task: the API's role had them without the second wall. Code before this inserts
-- only for a task that it has just read as its user, so it keeps working.
alter table task_occurrences enable row level security;
create policy own_occurrences on task_occurrences to punctual_api
    using (exists (select from tasks where tasks.id = task_id));
