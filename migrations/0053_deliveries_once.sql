-- A version of a reminder has one delivery per channel and target. The index exists, so nothing is scanned. The constraint keeps its name, because
-- older code names it in `on conflict`: its rows have the nil target, so to that code it says what it said before.
alter table notification_deliveries drop constraint notification_deliveries_once;
alter table notification_deliveries
    add constraint notification_deliveries_once unique using index notification_deliveries_once_per_target;
