#!lua flags=allow-oom
-- Whether members of an index stand for something; drops those that don't.
--
-- KEYS[1] index   KEYS[2] the index that knows their deadlines, most often the same   KEYS[3] runs
-- KEYS[4..] for each member the key that it stands for: its artifact, for 'runs' the run's index
-- ARGV[1] 'run', 'needs', 'catalog', 'runs' or 'labelled'   ARGV[2] 'run': lease field, 'needs': content id (16 bytes),
--   'labelled': what its artifacts are known under, see lib/labels.lua; else ''
-- ARGV[3] '1': drop stale members   ARGV[4] '1': drop expired ones, too   ARGV[5] '1': repair the key's expiry,
--   and that the list of runs lacks it
-- ARGV[6] how old a hold may be, in us   ARGV[7..] members
-- Derived keys, only read: 'labelled': the catalog, and what is mixed.
-- Returns {problem or '' for the key, members that were dropped, expired members, stale members ...}

-- @include marker
-- @include labels
-- @include runs

local us = now_in_microseconds()
local now, kind, name = math.floor(us / 1000), ARGV[1], ARGV[2]
if call('TYPE', KEYS[1]).ok ~= 'zset' then
  return { expiry(KEYS[1]) and 'wrong-type' or '', 0, 0 }
elseif not is_index(KEYS[2]) then
  return { '', 0, 0 }
end

-- Whether an artifact belongs into the index by label that is looked at.
local labels
if kind == 'labelled' then
  local at = { prefix = prefix_of_labelled(KEYS[1]) }
  at.created = created_key(at.prefix)
  labels = is_index(at.created) and labels_at(at)
end
local function is_known_under(member, key)
  if not labels then
    return false
  end
  local looked, names = pcall(labels.held, { id = member, key = key })
  for _, one in ipairs(looked and names or {}) do
    if one == name then
      return true
    end
  end
  return not looked -- what cannot be looked at stays
end

-- A key of another type is no reason to drop what names it.
local function stands(member, key)
  if kind == 'runs' then
    return expiry(key)
  elseif kind == 'run' then
    return redis.pcall('HEXISTS', key, name) ~= 0
  elseif kind == 'needs' and string.sub(member, 1, 1) == '!' then
    return us - (tonumber(string.sub(member, 2, 15), 16) or 0) < tonumber(ARGV[6])
  end
  if kind == 'labelled' then
    return is_known_under(member, key)
  elseif kind == 'catalog' and marked_field(member) then
    return true
  end
  local header = redis.pcall('HGET', key, 'h')
  return type(header) == 'table' or (header and (kind ~= 'needs' or content_id_of(header) == name))
end

local run, lists = string.sub(name, 2), kind == 'run' and is_index(KEYS[3])
local result, expired = { '', 0, 0 }, {}
for i = 7, #ARGV do
  local ends = call('ZSCORE', KEYS[2], ARGV[i])
  if ends and ends ~= 'inf' and tonumber(ends) <= now then
    expired[#expired + 1] = ARGV[i]
  elseif call('ZSCORE', KEYS[1], ARGV[i]) and not stands(ARGV[i], KEYS[i - 3]) then
    result[#result + 1] = ARGV[i]
  end
end
result[3] = #expired
-- What is scored by time of store ends with its twin.
local paired = kind == 'catalog' or kind == 'labelled'
if not paired then
  local last = index_last(KEYS[1])
  if last and last > now and not ends_at(KEYS[1], index_end(last)) then
    result[1] = 'wrong-expiry'
  elseif last and last > now and lists and not is_listed(KEYS[3], run, last) then
    result[1] = 'unlisted-run'
  end
end
if ARGV[3] == '1' and #result > 3 then
  result[2] = call('ZREM', KEYS[1], unpack(result, 4))
end
-- The twin of catalog:created forgets them last, since it knows that they have expired.
if ARGV[4] == '1' and #expired > 0 then
  result[2] = result[2] + call('ZREM', KEYS[1], unpack(expired))
end
if paired then
  local last = result[2] > 0 and index_settle(KEYS[2])
  if last then
    expire(KEYS[1], index_end(last))
  elseif result[2] > 0 and call('ZCOUNT', KEYS[1], '-inf', '(' .. MARKED) == 0 then
    call('UNLINK', KEYS[1]) -- markers of nothing
  end
elseif result[2] > 0 or (ARGV[5] == '1' and result[1] ~= '') then
  if lists then
    run_settle(KEYS[3], run, KEYS[1])
  else
    index_settle(KEYS[1])
  end
end
return result
