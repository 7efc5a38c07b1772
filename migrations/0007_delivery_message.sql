-- A provider that knows our key refuses it with other words, and the address, the due time, the zone or our template may change
-- between two attempts of a delivery. Code before this shows each attempt what is true then, and keeps working.
alter table notification_deliveries add column message jsonb;
comment on column notification_deliveries.message is
    'what a provider with a key was shown first, and is shown at every attempt; gone once the delivery is over';
comment on column notification_deliveries.repeated is
    'the outcome of an earlier attempt is unknown, and it was repeated (once, without a key): it ends sent or unknown, nothing else';
