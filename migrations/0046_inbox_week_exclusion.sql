-- PostgreSQL makes a partition under a lock that stops the inbox, and under it reads the whole default partition for rows of the new one. It skips
-- that if a valid constraint of the default partition excludes those rows. Validating the constraint reads the same rows, but stops nobody.
--
-- Until the partition exists, such a constraint refuses the claims of its week. So `upkeep` excludes only a week that begins later, and
-- `admit_inbox_weeks` drops the constraint that a process has left behind.

-- Adds the constraint of the week that begins then, unless it exists.
create function exclude_inbox_week(week timestamptz) returns void language plpgsql as $$
declare
    name text := 'processed_events_not_in_' || to_char(week at time zone 'UTC', 'IYYY"w"IW');
begin
    if not exists (select from pg_constraint where conrelid = 'processed_events_default'::regclass and conname = name) then
        execute format('alter table processed_events_default add constraint %I check (event_id < %L or event_id >= %L) not valid',
            name, uuid_v7_floor(week), uuid_v7_floor(week + interval '7 days'));
    end if;
end $$;

-- Validates that constraint. Call it in a transaction of its own: adding the constraint takes a lock until the transaction ends.
create function validate_inbox_week(week timestamptz) returns void language plpgsql as $$
begin
    execute format('alter table processed_events_default validate constraint %I',
        'processed_events_not_in_' || to_char(week at time zone 'UTC', 'IYYY"w"IW'));
end $$;

-- Drops the constraints of the weeks that begin before an instant. Returns how many there were.
create function admit_inbox_weeks(before timestamptz) returns integer language plpgsql as $$
declare
    name text;
    dropped integer := 0;
begin
    for name in
        select conname from pg_constraint
        where conrelid = 'processed_events_default'::regclass and conname like 'processed\_events\_not\_in\_%'
          and to_date(right(conname, 7), 'IYYY"w"IW')::timestamp at time zone 'UTC' < before
    loop
        execute format('alter table processed_events_default drop constraint %I', name);
        dropped := dropped + 1;
    end loop;
    return dropped;
end $$;
