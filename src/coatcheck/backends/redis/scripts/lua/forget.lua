#!lua flags=allow-oom
-- Drops an artifact that was deleted from the indexes of some of the many runs that leased it.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4] fields of its leases
-- KEYS[5] artifact, which may be there again
-- KEYS[..] a key that is never written, see lib/keys.lua
-- ARGV[1] key prefix   ARGV[2] ''   ARGV[3] member   ARGV[4] how many runs
-- Derived keys, only cleaned up: indexes of the runs.
-- Returns how many are left

-- @include partition
-- @include leases

local fields = call('ZRANGE', KEYS[4], 0, tonumber(ARGV[4]) - 1)
for _, field in ipairs(fields) do
  if string.sub(field, 1, 1) == '=' and call('HEXISTS', KEYS[5], field) == 0 then
    run_drop(string.sub(field, 2), ARGV[3])
  end
end
if #fields > 0 then
  call('ZREM', KEYS[4], unpack(fields))
end
return call('ZCARD', KEYS[4])
