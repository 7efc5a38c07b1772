-- Nullable and without a default: the table is not rewritten, and the lock lasts for a change of the catalog.
alter table notification_deliveries add column lease_until timestamptz;
comment on column notification_deliveries.lease_until is
    'in state sending: until when the attempt belongs to the process that began it; null where older code began it, for which next_attempt_at says it';
comment on column notification_deliveries.attempts is 'the attempts that have begun; the number of an attempt fences its writes';

-- Whether a process may begin the next attempt of a delivery, or end it. Volatile: it asks the clock when the row is locked, not when the
-- statement began.
create function delivery_is_free(state text, lease_until timestamptz, next_attempt_at timestamptz) returns boolean language sql volatile as $$
    select state in ('pending', 'retrying') or (state = 'sending' and coalesce(lease_until, next_attempt_at) <= clock_timestamp())
$$;
