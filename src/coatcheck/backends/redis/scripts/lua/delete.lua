#!lua flags=allow-oom
-- Removes some artifacts for every run.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4] a key for leases to be forgotten, or run
-- KEYS[5..] for each artifact six keys: artifact, leases, stores, content, needs, default artifact of the content
-- KEYS[..] a key that is never written, see lib/keys.lua
-- ARGV[1] key prefix   ARGV[2] '1': one artifact, whose leases go to KEYS[4] where they are many; else ''
-- ARGV[3..] for each artifact: member, content id (16 bytes), token of the content's chunks, as far as it is known, and
--   what its latest live lease has to say behind its deadline, or ''
-- Derived keys, only cleaned up: indexes of the runs that lease them. Indexes by label are written.
-- Returns for each: {'ok'}                       where ARGV[2] is '1', see forget.lua
--                   {'absent'}                   there was none
--                   {'changed'}                  nothing written: the lease says something else
--                   {'other', content id}        nothing written: the id stands for this content
--                   {'chunked', token, count}    nothing written: these chunks have to follow then, see follow.lua
--                   {'crowded'}                  nothing written: too many lease it, see ARGV[2]
--                   {'later'}                    nothing written: enough was done in this call, or another one asks for
--                     one that knows more, see lib/postponed.lua

-- @include artifact
-- @include postponed

local now = math.floor(now_in_microseconds() / 1000)
check_partition()

-- Whether the latest live lease of an artifact still says what was seen.
local function says(a, seen)
  local _, _, lease = latest_lease(a, now)
  return lease and string.sub(lease, 7) == seen
end

local replies, wanted, leases = {}, {}, 0
for i = 1, (#ARGV - 2) / 4 do
  local a = artifact_at(6 * i - 1, ARGV[4 * i - 1])
  local content_id, token, seen = ARGV[4 * i], ARGV[4 * i + 1], ARGV[4 * i + 2]
  local header = call('HGET', a.key, 'h')
  if header and not is_known(header) then
    error(FUTURE)
  end
  if not header and call('EXISTS', a.key) == 0 then
    replies[i] = { 'absent' }
  elseif header and #header >= 34 and content_id_of(header) ~= content_id then
    replies[i] = { 'other', content_id_of(header) }
  elseif seen ~= '' and not says(a, seen) then
    replies[i] = { 'changed' }
  else
    local fields, chunks = call('HLEN', a.key), unknown_chunks(a, token)
    local many = fields > MANY
    if chunks then
      replies[i] = chunks
    elseif many and ARGV[2] ~= '1' then
      replies[i] = { 'crowded' }
    elseif leases > 500 then
      replies[i] = { 'later' }
    else
      local names = many and {} or call('HKEYS', a.key)
      check_artifact(a, names)
      leases = leases + fields
      wanted[#wanted + 1] = { a = a, many = many, fields = names }
      replies[i] = { 'ok' }
    end
  end
end

if postponed(replies) then
  return replies
end
for _, one in ipairs(wanted) do
  if one.many then
    leases_bury(one.a, KEYS[4])
  end
  artifact_remove(one.a, one.fields, now)
end
return replies
