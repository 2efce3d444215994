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
if #ids == 0 then
  return { 0, 0 }
end

-- Artifacts that nobody else leases, under their default ids and in one string: most often that is all of them, and
-- they go together. Everything is read before anything is written.
local sole, others, needs, gone = {}, {}, {}, {}
local given_up = 0
for i = 1, #ids do
  local id = ids[i]
  local key, content = at.prefix .. 'artifact:{' .. id .. '}', at.prefix .. 'content:{' .. id .. '}'
  local few = call('HRANDFIELD', key, 3, 'WITHVALUES')
  local first = few[1] == 'h'
  local head, mine, value = few[first and 2 or 4], few[first and 3 or 1], few[first and 4 or 2]
  if
    #few == 4
    and (first or few[3] == 'h')
    and mine == field
    and is_known(head)
    and is_named(head)
    and call('GETRANGE', content, 1, 1) ~= '\2' -- a manifest
  then
    sole[#sole + 1] = id
    needs[#needs + 1] = at.prefix .. 'leases:{' .. id .. '}'
    gone[#gone + 1] = key
    gone[#gone + 1] = content
    if lease_deadline(value) > now then
      given_up = given_up + 1
    end
  else
    others[#others + 1] = id
  end
end
if over('EXISTS', needs) > 0 then -- explicit ids need some of these contents
  sole, others, gone, given_up = {}, ids, {}, 0
end

local heads, values = {}, {}
for i = 1, #others do
  local key = at.prefix .. 'artifact:{' .. others[i] .. '}'
  local pair = call('HMGET', key, 'h', field)
  heads[i], values[i] = pair[1], pair[2]
  if pair[1] and not is_known(pair[1]) then
    return redis.error_reply(FUTURE)
  end
  if pair[1] and pair[2] then
    check_types(at, pair[1], others[i], {})
  end
end
call('ZCARD', at.created)
call('ZCARD', at.deadlines)
call('ZCARD', at.runs)

call('ZREM', KEYS[1], unpack(ids))
if #sole > 0 then
  over('UNLINK', gone)
  catalog_drop(at, sole)
end
for i = 1, #others do
  if heads[i] and values[i] then
    local key = at.prefix .. 'artifact:{' .. others[i] .. '}'
    call('HDEL', key, field)
    settle(at, key, others[i], heads[i], now)
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
