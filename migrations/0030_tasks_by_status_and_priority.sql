-- no-transaction
-- The rank of a priority as `list.rs` writes it: an expression of leakproof operators, which alone become index conditions under the policy.
create index concurrently if not exists tasks_by_status_and_priority on tasks
    (user_id, completed, (case priority when 'low' then 1 when 'high' then 3 when 'urgent' then 4 else 2 end), id);
