-- Runs of one shard that hold a live lease.
--
-- KEYS[1] runs
-- Returns run ids

return call('ZRANGE', KEYS[1], '(' .. integer(math.floor(now_in_microseconds() / 1000)), '+inf', 'BYSCORE')
