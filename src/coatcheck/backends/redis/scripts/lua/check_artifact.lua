-- Whether one artifact fits together with its content and indexes; repairs what follows from its leases.
--
-- KEYS[1] artifact   KEYS[2] catalog:created   KEYS[3] catalog:deadlines   KEYS[4] runs
-- ARGV[1] key prefix   ARGV[2] id   ARGV[3] '1': repair, 'e': only if it has expired
-- Derived keys: the runs that lease it, its content and that content's chunks and leases.
-- Returns {tag of its content or '' where that cannot be read, problem, ...}; see maintenance.py for their names

local now = math.floor(now_in_microseconds() / 1000)
local at = { prefix = ARGV[1], runs = KEYS[4], created = KEYS[2], deadlines = KEYS[3] }
local key, id = KEYS[1], ARGV[2]
if call('TYPE', key).ok ~= 'hash' then
  return { '', expiry(key) and 'wrong-type' or nil }
end
local fields = call('HGETALL', key)
local head
for i = 1, #fields, 2 do
  if fields[i] == 'h' then
    head = fields[i + 1]
  end
end
if not head or #head < 35 then
  return { '', 'damaged-metadata' }
end
if not is_known(head) then
  return { '', 'future-version' }
end

local tag = tag_of(head, id)
local problems, seen = { tag }, {}
local function found(problem)
  if not seen[problem] then
    seen[problem] = true
    problems[#problems + 1] = problem
  end
end

local function is_index(name)
  local kind = call('TYPE', name).ok
  return kind == 'zset' or kind == 'none'
end

local leases = at.prefix .. 'leases:{' .. tag .. '}'
if not (is_index(at.created) and is_index(at.deadlines) and is_index(at.runs) and is_index(leases)) then
  return { tag, 'wrong-type' }
end

local deadline, live = 0, {}
for i = 1, #fields, 2 do
  if is_lease(fields[i]) then
    if #fields[i + 1] < 13 then
      return { tag, 'damaged-metadata' }
    end
    local ends = lease_deadline(fields[i + 1])
    if ends > now then
      deadline = math.max(deadline, ends)
      if string.sub(fields[i], 1, 1) == '=' then
        local run = string.sub(fields[i], 2)
        if not is_index(run_key(at, run)) then
          return { tag, 'wrong-type' }
        end
        live[run] = ends
        if call('ZSCORE', run_key(at, run), id) ~= score_read(ends) then
          found('unindexed-lease')
        end
      end
    end
  end
end

local content = at.prefix .. 'content:{' .. tag .. '}'
local stored, chunks, astray = expiry(content), {}, false
if stored and call('TYPE', content).ok == 'string' then
  local first = content_head(content)
  chunks = chunk_names(content, first, content)
  if not is_complete(first, chunks) then
    stored = nil
  end
  for i = 1, stored and #chunks or 0 do
    astray = astray or expiry(chunks[i]) ~= stored
  end
end
if deadline == 0 then
  if expiry(key) > now then -- else it ends by itself, this very millisecond
    found('expired-artifact')
  end
else
  if not stored then
    found('lost-content')
  elseif stored < deadline or astray then
    found('wrong-expiry')
  end
  if expiry(key) ~= deadline then
    found('wrong-expiry')
  end
  if call('ZSCORE', at.deadlines, id) ~= score_read(deadline) or not call('ZSCORE', at.created, id) then
    found('unindexed-artifact')
  end
  if not is_named(head) and call('ZSCORE', leases, id) ~= score_read(deadline) then
    found('unindexed-artifact')
  end
  local needed, named = math.max(deadline, index_last(leases) or 0), at.prefix .. 'artifact:{' .. tag .. '}'
  if call('TYPE', named).ok == 'hash' then
    needed = math.max(needed, expiry(named))
  end
  if stored and stored > needed then
    found('wrong-expiry') -- content that nobody needs for so long
  end
end

local repair = ARGV[3] == '1' or (ARGV[3] == 'e' and seen['expired-artifact'])
if repair and #problems > 1 and not (#problems == 2 and seen['lost-content']) then
  for run, ends in pairs(live) do
    index_set(run_key(at, run), id, ends)
    index_set(at.runs, run, index_end(index_last(run_key(at, run))))
  end
  settle(at, key, id, head, now)
  if astray then
    content_expire(content, chunks, expiry(content))
  end
end
return problems
