#!lua flags=allow-oom
-- Gives up one run's leases on some artifacts; the last lease of an artifact takes it along.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4] run
-- KEYS[5..] for each artifact six keys: artifact, leases, stores, content, needs, default artifact of the content
-- KEYS[..] a key that is never written, see lib/keys.lua
-- ARGV[1] key prefix   ARGV[2] run, '' for anonymous
-- ARGV[3..] for each artifact: member, content id (16 bytes), token of the content's chunks, as far as it is known, and
--   what its lease has to say behind its deadline, or ''
-- Derived keys, only cleaned up: indexes of runs whose leases have ended. Indexes by label are written.
-- Returns for each: {'ok'}
--                   {'absent'}                   there was no live lease
--                   {'changed'}                  nothing written: the lease says something else
--                   {'other', content id}        nothing written: the id stands for this content
--                   {'chunked', token, count}    nothing written: these chunks have to follow then, see follow.lua
--                   {'later'}                    nothing written: enough was done in this call, or another one asks for
--                     one that knows more, see lib/postponed.lua

-- @include artifact
-- @include postponed

local now = math.floor(now_in_microseconds() / 1000)
local run, field = ARGV[2], lease_field(ARGV[2])
check_partition()

-- What nobody else leases goes together. Everything is read before anything is written.
local replies, ids, sole, shared, gone, labelled = {}, {}, {}, {}, {}, {}
for i = 1, (#ARGV - 2) / 4 do
  local a = artifact_at(6 * i - 1, ARGV[4 * i - 1])
  local content_id, token, seen = ARGV[4 * i], ARGV[4 * i + 1], ARGV[4 * i + 2]
  local pair = call('HMGET', a.key, 'h', field)
  local header, lease = pair[1], pair[2]
  if header then
    check_header(header)
  end
  local chunks = header and lease and unknown_chunks(a, token)
  if #shared == 10 then
    replies[i] = { 'later' }
  elseif seen ~= '' and lease and string.sub(lease, 7) ~= seen then
    replies[i] = { 'changed' }
  elseif header and lease and content_id_of(header) ~= content_id then
    replies[i] = { 'other', content_id_of(header) }
  elseif chunks then
    replies[i] = chunks
  else
    ids[#ids + 1] = a.id
    replies[i] = { lease and lease_deadline(lease) > now and 'ok' or 'absent' }
    if header and lease then
      local needs = call('ZCARD', a.needs)
      if call('HLEN', a.key) > 2 or needs > 0 or is_explicit(a) then
        local many = has_many(a, now)
        check_artifact(a, many and {} or call('HKEYS', a.key))
        shared[#shared + 1] = { a = a, many = many }
      else
        sole[#sole + 1] = a.id
        labelled[#sole] = at.labels and at.labels.held(a)
        gone[#gone + 1] = a.key
        gone[#gone + 1] = a.content
      end
    end
  end
end

if postponed(replies) then
  return replies
end
for i = 1, #gone, 1000 do
  call('UNLINK', unpack(gone, i, math.min(i + 999, #gone)))
end
for i, id in ipairs(sole) do
  if labelled[i] then
    at.labels.drop(id, labelled[i])
  end
end
if #sole > 0 then
  catalog_drop(sole)
end
if run ~= '' and #ids > 0 and call('ZREM', at.run_index, unpack(ids)) > 0 then
  run_settle(at.runs, run, at.run_index)
end
for _, one in ipairs(shared) do
  leases_drop(one.a, one.many, { field })
  artifact_settle(one.a, one.many and call('HLEN', one.a.key) > MANY, now)
end
return replies
