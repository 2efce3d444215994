#!lua
-- Brings the indexes of an artifact's many leases in line with them, a page at a time; its hash says what is true.
--
-- KEYS[1] artifact   KEYS[2] leases   KEYS[3] stores
-- ARGV[1] key prefix   ARGV[2] what to look at: 'hash', 'leases', 'stores', then 'dead'   ARGV[3] cursor, '0' at first
-- ARGV[4] member of indexes, to look at the runs' indexes too, or ''   ARGV[5] '1': repair
-- Derived keys, only read for hints: indexes of the runs.
-- Returns {cursor to go on from, entries that were wrong, run whose index may be wrong, ...}; {'0', 0} for few leases

-- @include leases
-- @include keys

local a = { key = KEYS[1], leases = KEYS[2], stores = KEYS[3] }
local repair, cursor, wrong, runs = ARGV[5] == '1', '0', 0, {}
if call('HLEN', a.key) <= MANY then
  if repair then
    call('UNLINK', a.leases, a.stores)
  end
  return { '0', 0 }
end

if ARGV[2] == 'hash' then
  local page = call('HSCAN', a.key, ARGV[3], 'COUNT', 200)
  local lines, changed = page[2], {}
  cursor = page[1]
  for i = 1, #lines, 2 do
    local field, lease = lines[i], lines[i + 1]
    if is_lease(field) then
      local ends = lease_deadline(lease)
      if
        call('ZSCORE', a.leases, field) ~= score_read(ends)
        or tonumber(call('ZSCORE', a.stores, field) or -1) ~= lease_created(lease)
      then
        wrong = wrong + 1
        changed[#changed + 1], changed[#changed + 2] = field, lease
      end
      if ARGV[4] ~= '' and string.sub(field, 1, 1) == '=' then
        local run = string.sub(field, 2)
        local known = redis.pcall('ZSCORE', run_key(ARGV[1], run), ARGV[4])
        if known ~= score_read(ends) and ends > math.floor(now_in_microseconds() / 1000) then
          runs[#runs + 1] = run
        end
      end
    end
  end
  if repair and #changed > 0 then
    leases_index(a, changed)
  end
elseif ARGV[2] == 'dead' then
  local dead = call('ZRANGE', a.leases, '-inf', integer(now_in_microseconds() / 1000), 'BYSCORE', 'LIMIT', 0, 500)
  if repair then
    leases_drop(a, true, dead)
    if #dead == 500 then
      cursor = '1'
    elseif call('HLEN', a.key) > MANY then
      call('HSET', a.key, 't', call('ZRANGE', a.stores, -1, -1)[1])
      local ends = expiry(a.key)
      expire(a.leases, ends)
      expire(a.stores, ends)
    end
  end
else
  local key = ARGV[2] == 'leases' and a.leases or a.stores
  local page = call('ZSCAN', key, ARGV[3], 'COUNT', 200)
  cursor = page[1]
  for i = 1, #page[2], 2 do
    if call('HEXISTS', a.key, page[2][i]) == 0 then
      wrong = wrong + 1
      if repair then
        call('ZREM', key, page[2][i])
      end
    end
  end
end
return { cursor, wrong, unpack(runs) }
