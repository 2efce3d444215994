-- Removes some artifacts for every run.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4..] artifacts
-- ARGV[1] key prefix   ARGV[2..] ids, in the same order
-- Derived keys: the runs that lease them, their contents and these contents' leases.
-- Returns for each: 1, or 0 where there was none

local now = math.floor(now_in_microseconds() / 1000)
local at = { prefix = ARGV[1], runs = KEYS[3], created = KEYS[1], deadlines = KEYS[2] }
local deleted, heads, fields = {}, {}, {}
for i = 1, #ARGV - 1 do
  local key, id = KEYS[i + 3], ARGV[i + 1]
  heads[i] = call('HGET', key, 'h')
  deleted[i] = heads[i] and 1 or 0
  if heads[i] then
    if not is_known(heads[i]) then
      return redis.error_reply(FUTURE)
    end
    fields[i] = call('HKEYS', key)
    check_types(at, heads[i], id, fields[i])
  end
end

for i = 1, #deleted do
  if heads[i] then
    remove(at, KEYS[i + 3], ARGV[i + 1], heads[i], fields[i], now)
  end
end
return deleted
