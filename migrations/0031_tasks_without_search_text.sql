-- no-transaction
-- The rows that `upkeep` fills.
create index concurrently if not exists tasks_without_search_text on tasks (id) where search_text is null;
