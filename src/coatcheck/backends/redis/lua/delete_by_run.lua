-- Gives up a page of a run's leases, those that end first; the last lease of an artifact takes it along.
--
-- KEYS[1] run   KEYS[2] catalog:created   KEYS[3] catalog:deadlines   KEYS[4] runs
-- ARGV[1] key prefix   ARGV[2] run   ARGV[3] page size
-- Derived keys: the artifacts, their contents and these contents' leases.
-- Returns {live leases given up, members left}

local now = math.floor(now_in_microseconds() / 1000)
local at = { prefix = ARGV[1], runs = KEYS[4], created = KEYS[2], deadlines = KEYS[3] }
local field = '=' .. ARGV[2]
local ids = call('ZRANGE', KEYS[1], 0, tonumber(ARGV[3]) - 1)

local heads, values = {}, {}
for i = 1, #ids do
  local key = at.prefix .. 'artifact:{' .. ids[i] .. '}'
  local pair = call('HMGET', key, 'h', field)
  heads[i], values[i] = pair[1], pair[2]
  if pair[1] and not is_known(pair[1]) then
    return redis.error_reply(FUTURE)
  end
  if pair[1] and pair[2] then
    check_types(at, pair[1], ids[i], {})
  end
end

local given_up = 0
for i = 1, #ids do
  local key = at.prefix .. 'artifact:{' .. ids[i] .. '}'
  call('ZREM', KEYS[1], ids[i])
  if heads[i] and values[i] then
    call('HDEL', key, field)
    settle(at, key, ids[i], heads[i], now)
    if lease_deadline(values[i]) > now then
      given_up = given_up + 1
    end
  end
end

local last = index_settle(KEYS[1])
if last then
  index_set(at.runs, ARGV[2], index_end(last))
else
  call('ZREM', at.runs, ARGV[2])
  index_settle(at.runs)
end
return { given_up, call('ZCARD', KEYS[1]) }
