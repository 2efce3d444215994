#!lua
-- Whether one artifact fits together with its content and indexes; repairs what follows from its leases.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4] run, of nobody
-- KEYS[5..10] artifact, leases, stores, content, needs, default artifact of the content
-- KEYS[..] a key that is never written, see lib/keys.lua
-- ARGV[1] key prefix   ARGV[2] ''   ARGV[3] member   ARGV[4] content id (16 bytes), or '' where that cannot be read
-- ARGV[5] '1': repair, 'e': only if it has expired
-- Derived keys, only read for hints: indexes of the runs that lease it. Indexes by label are read and written.
-- Returns {state, problems, runs whose indexes may be wrong, chunks, bytes of its content or -1}
--   state: '' nothing can be said of its content, 'few' or 'many' leases, 'other' it stands for another content now

-- @include artifact

local function only(state, problem)
  return { state, { problem }, {}, {}, -1 }
end

local now = math.floor(now_in_microseconds() / 1000)
local a = artifact_at(5, ARGV[3])
if call('TYPE', a.key).ok ~= 'hash' then
  return only('', expiry(a.key) and 'wrong-type' or nil)
end
local header = call('HGET', a.key, 'h')
if not header or #header < 34 then
  return only('', 'damaged-metadata')
elseif not is_known(header) then
  return only('', 'future-version')
elseif content_id_of(header) ~= ARGV[4] then
  return only('other')
end
local many = call('HLEN', a.key) > MANY
local state = many and 'many' or 'few'

local problems, seen = {}, {}
local function found(problem)
  if not seen[problem] then
    seen[problem] = true
    problems[#problems + 1] = problem
  end
end

for _, key in ipairs({ at.created, at.deadlines, outlived, at.runs, a.leases, a.stores, a.needs }) do
  if not is_index(key) then
    return only(state, 'wrong-type')
  end
end

local labels = is_marked(at.created) and labels_at(at)
local deadline, latest, runs = 0, 0, {} -- `latest`: the time of the latest store that is known to hold
if many then
  deadline = index_last(a.leases) or 0
  local top = call('ZRANGE', a.stores, -1, -1)[1]
  local lease = top and call('HGET', a.key, top)
  if lease and not is_damaged(lease) and lease_deadline(lease) > now then
    latest = lease_created(lease)
  end
  if call('ZCARD', a.leases) ~= call('HLEN', a.key) - 2 or call('ZCARD', a.stores) ~= call('HLEN', a.key) - 2 then
    found('unindexed-lease')
  elseif not (ends_at(a.leases, deadline) and ends_at(a.stores, deadline)) then
    found('wrong-expiry')
  end
else
  local fields = call('HGETALL', a.key)
  for i = 1, #fields, 2 do
    if is_lease(fields[i]) then
      if is_damaged(fields[i + 1]) then
        return only(state, 'damaged-metadata')
      end
      local ends = lease_deadline(fields[i + 1])
      if ends > now then
        deadline, latest = math.max(deadline, ends), math.max(latest, lease_created(fields[i + 1]))
        if string.sub(fields[i], 1, 1) == '=' then
          local run = string.sub(fields[i], 2)
          local known = redis.pcall('ZSCORE', run_key(at.prefix, run), a.id)
          if type(known) == 'table' then
            return only(state, 'wrong-type')
          elseif known ~= score_read(ends) then
            runs[#runs + 1] = run
          end
        end
      end
    end
  end
end

local stored = call('TYPE', a.content).ok == 'string' and expiry(a.content)
local chunks = stored and chunks_of(a.content, content_start(a.content)) or {}
local bytes = stored and call('STRLEN', a.content) or -1
if deadline <= now then
  if expiry(a.key) > now then -- else it ends by itself, this very millisecond
    found('expired-artifact')
  end
else
  if not stored then
    found('lost-content')
  elseif stored < deadline or not ends_agree(stored, math.max(deadline, content_needed(a))) then
    found('wrong-expiry') -- too early, or kept although nobody needs it for so long
  end
  if not ends_at(a.key, deadline) then
    found('wrong-expiry')
  end
  local created = call('ZSCORE', at.created, a.id)
  if
    call('ZSCORE', at.deadlines, a.id) ~= score_read(deadline)
    or not is_created(created)
    or tonumber(created) < latest
  then
    found('unindexed-artifact')
  end
  if not many and call('HLEN', a.key) > 2 then
    local _, _, lease = latest_lease(a, now)
    local is_outlived = lease_deadline(lease) < deadline or tonumber(created or 0) > lease_created(lease)
    if is_outlived and call('ZSCORE', outlived, a.id) ~= created then
      found('unindexed-artifact')
    end
  end
  if labels then
    local looked, wrong = pcall(labels.mend, a, tonumber(created or 0), deadline, false)
    if not looked then
      return only(state, 'wrong-type')
    elseif wrong then
      found('unindexed-artifact')
    end
  end
  if is_explicit(a) and call('ZSCORE', a.needs, a.id) ~= score_read(deadline) then
    found('unindexed-artifact')
  end
end

local mendable = #problems > (seen['lost-content'] and 1 or 0) and not seen['unindexed-lease']
if mendable and (ARGV[5] == '1' or (ARGV[5] == 'e' and seen['expired-artifact'])) then
  if not many or call('ZCOUNT', a.leases, '-inf', integer(now)) <= 64 then
    a.labels = labels and labels.held(a)
    content_extend(a, deadline)
    artifact_settle(a, many, now)
    if labels and call('EXISTS', a.key) == 1 then
      labels.mend(a, tonumber(call('ZSCORE', at.created, a.id)), deadline, true)
    end
  end
end
return { state, problems, runs, chunks, bytes }
