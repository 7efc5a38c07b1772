-- A letter that both daprd and the function gave up on has the origin of the last: only a letter of `function` holds the claim of its event. Older
-- code kept the first origin beside the last reason. Only open letters matter, and they have an index.
set local enable_seqscan = off;
update dead_letters set origin = case reason when 'daprd could not deliver it' then 'daprd' else 'function' end
    where state = 'open' and (reason = 'daprd could not deliver it') <> (origin = 'daprd');
