-- The id of a new event: a UUIDv7 (RFC 9562, section 5.7) by the clock of the database, always after the mark `handled`.
--
-- Repair looks for unclaimed events after that mark, which follows this clock as well. An id of a process whose clock is behind could lie before
-- it. A standby whose clock is behind that of the former primary is the same case: its ids lie in the millisecond after the mark, ordered by
-- the low 40 bits of its clock. Otherwise they are ordered by the microsecond. `clock_timestamp()`, because `now()` is the same for all
-- events of a transaction.
--
-- `security definer`, because the role `punctual_api` inserts events and must not read the marks.
create function uuid_v7() returns uuid language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    clock bigint := round(extract(epoch from clock_timestamp()) * 1000000);
    mark bigint := (select ('x0000' || left(replace(event_id::text, '-', ''), 12))::bit(64)::bigint from public.marks where name = 'handled');
    random bytea := uuid_send(gen_random_uuid());
begin
    if clock / 1000 <= mark then
        return encode(substring(int8send(mark + 1) from 3) || '\x700080' || substring(int8send(clock) from 4) || substring(random from 15), 'hex')::uuid;
    end if;
    return encode(substring(int8send(clock / 1000) from 3) || int2send((28672 + clock % 1000 * 4096 / 1000)::smallint) || substring(random from 9), 'hex')::uuid;
end $$;

alter table task_events alter column id set default uuid_v7();
