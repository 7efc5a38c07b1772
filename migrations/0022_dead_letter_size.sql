-- A letter keeps the first 16 KiB of a message, which shows any event of ours whole. Nullable and without a default: older code writes none, and
-- stores the message whole.
alter table dead_letters add column payload_bytes integer;
comment on column dead_letters.payload is 'the beginning of the message; it is only read by people, since a replay publishes the row of the outbox';
comment on column dead_letters.payload_bytes is 'the size of the whole message; null in a letter of older code, whose payload is the whole message';
comment on column dead_letters.event_id is
    'the event of the outbox that was given up; null when the message names none. A letter of origin `function` with an event holds its claim';
