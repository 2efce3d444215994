#!lua
-- Stores one content under its default id, for one run: most stores. It comes along, or was put in place just before,
-- with the TTL of an upload. Few commands, and nothing of the library but where expired members go. What takes more, it
-- leaves to store.lua.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4] run   KEYS[5] artifact   KEYS[6] content
-- KEYS[7] needs of the content, where it was put in place
-- KEYS[..] a key that is never written, where the keys have a tag and KEYS[4] is another, see lib/keys.lua
-- ARGV[1] key prefix   ARGV[2] run, '' for anonymous   ARGV[3] TTL in ms, '' for ever
-- ARGV[4] header   ARGV[5] msgpack of the lease   ARGV[6] sealed content; its envelope, where it was put in place
-- ARGV[7] '1', or '' or nothing: whether something is to be indexed by label where the partition is empty
-- ARGV[8] bytes of the sealed content, where it was put in place
-- Derived keys, only cleaned up: other artifacts and contents that have expired. Indexes by label are written, and
--   catalog:outlived.
--
-- Returns deadline and created, as they begin the lease; or nothing, and nothing was written, where
--   the clock went back
--   something is indexed by label, and the artifact is there, and known under something else, or an index is being
--     built; or something is to be indexed, and the partition is empty
--   only one of artifact and content is there, or the artifact is in no catalog; of what was put in place: the artifact
--     is not there and something else needs the content, or the content had been lost
--   many lease it, or its header or the run's own lease is not as it should be
--   the content lies there otherwise than it was sent: compressed in another way, in chunks, cut off

-- @include labelled

local call = redis.call
local created, deadlines, artifact, content = KEYS[1], KEYS[2], KEYS[5], KEYS[6]
local run, header, sealed = ARGV[2], ARGV[4], ARGV[6]
local run_index, field, id = run ~= '' and KEYS[4], run == '' and '-' or '=' .. run, string.sub(header, 2, 17)
local time = call('TIME')
local us = time[1] * 1000000 + time[2]
local now = math.floor(us / 1000)
local deadline = ARGV[3] == '' and 281474976710655 or now + ARGV[3]
local known, labels = call('EXISTS', artifact, content), nil
local length = ARGV[8] -- nil where it came along
if
  known > 0
  and (
    call('STRLEN', content) ~= (length and tonumber(length) or #sealed)
    or call('GETRANGE', content, 0, 49) ~= string.sub(sealed, 1, 50)
  )
then
  return false
end
if length and known < 2 then
  if known == 0 or call('EXISTS', KEYS[7]) == 1 then
    return false
  end
  known = 0 -- nothing but what was put in place
end
if call('ZCOUNT', created, us, '+inf') > 0 then -- the clock went back, or something is indexed by label
  -- @include labels_small
  labels = labels_small(ARGV[1], created, us, ARGV[5])
  if not labels then
    return false
  end
elseif ARGV[7] == '1' and call('EXISTS', created) == 0 then
  return false
end

-- `longest`: the latest deadline of all leases. `before`: that of those that are there. `noted`: the hash says which of
-- them is the latest.
local longest, before, noted = deadline, nil, false
if known > 0 then
  local lease = known == 2 and call('HMGET', artifact, 'h', field)
  local mine = lease and lease[2]
  local fields = lease and lease[1] == header and not (mine and #mine < 13) and call('HLEN', artifact)
  before = fields and fields < 65 and call('ZSCORE', deadlines, id)
  if not before or labels and not labels.stay(artifact, id, mine, now) then
    return false
  end
  deadline = mine and math.max(deadline, (struct.unpack('>I6', mine))) or deadline
  before = math.min(281474976710655, tonumber(before))
  if length then -- it lasts as long as it is needed, or it had been lost: others may need it for longer
    local ends = call('PEXPIRETIME', content)
    if ends ~= -1 and ends < before then
      return false
    end
  end
  longest, noted = math.max(deadline, before), fields > (mine and 2 or 1)
end

-- A number may become text like 1.8e+12 on its way to a command: fine for a score, not for an expiry.
local deadline_score = deadline == 281474976710655 and '+inf' or string.format('%.0f', deadline)
-- Asked before an index is written: a new one would have no end either. No run's index ends after the catalog.
local ends = call('PEXPIRETIME', run_index or deadlines)
local moves, catalog_moves, runs_move, next_end = ends ~= -1 and ends < deadline, true, nil, deadline_score
-- Expired members go with one store in thirty-two. The clock says which: the same content may come again and again.
local pruning = us % 32 == 0
if moves and not pruning then
  local latest = deadline
  if next_end ~= '+inf' then
    latest = math.ceil(deadline / 100) * 100 -- see `index_end`
    next_end = string.format('%.0f', latest)
  end
  if run_index then
    call('ZCARD', KEYS[3]) -- raises where it is of another type, before anything is written
    ends = call('PEXPIRETIME', deadlines)
    catalog_moves = ends ~= -1 and ends < latest
    ends = call('PEXPIRETIME', KEYS[3])
    runs_move = ends ~= -1 and ends < latest
  end
end
if pruning then
  -- @include partition
  check_partition()
  if labels then
    at.labels.check(labels.names)
    at.labels.extend(id, labels.names, us, longest, true)
  end
  partition_prune(now)
  run_extend(id, deadline)
  catalog_extend(id, us, longest, deadline)
else
  if labels then
    call('ZCARD', KEYS[4]) -- raises where it is of another type, before anything is written
    call('ZCARD', deadlines)
  end
  if longest > deadline then -- as `outlived_note` does
    local outlived = string.sub(created, 1, -8) .. 'outlived'
    call('ZADD', outlived, us, id)
    ends = call('PEXPIRETIME', deadlines)
    if ends == -1 then
      call('PERSIST', outlived)
    else
      call('PEXPIREAT', outlived, string.format('%.0f', ends))
    end
  end
  if labels then
    labels.note(id, longest)
  end
  if run_index then
    call('ZADD', run_index, deadline_score, id)
  end
  if longest ~= before then
    local listed = redis.pcall('ZADD', deadlines, deadline_score, id)
    if type(listed) ~= 'number' then -- it is of another type, and nothing else was written
      if run_index then
        call('ZREM', run_index, id)
      end
      return listed
    end
  end
  call('ZADD', created, us, id)
  if moves then
    local function end_at(key)
      if next_end == '+inf' then
        call('PERSIST', key)
      else
        call('PEXPIREAT', key, next_end)
      end
    end
    if catalog_moves then
      end_at(created)
      end_at(deadlines)
    end
    if run_index then
      end_at(run_index)
      call('ZADD', KEYS[3], next_end, run)
    end
    if runs_move then
      end_at(KEYS[3])
    end
  end
end

local times = struct.pack('>I6I7', deadline, us)
if not before then
  call('HSET', artifact, 'h', header, field, times .. ARGV[5])
  if deadline_score == '+inf' then
    if length then
      call('PERSIST', content)
    else
      call('SET', content, sealed)
    end
  else
    if length then
      call('PEXPIREAT', content, deadline_score)
    else
      call('SET', content, sealed, 'PXAT', deadline_score)
    end
    call('PEXPIREAT', artifact, deadline_score)
  end
  return times
end
call('HSET', artifact, field, times .. ARGV[5])
if noted then
  call('HSET', artifact, 't', field)
end
if longest == 281474976710655 then
  call('PERSIST', artifact)
  call('PERSIST', content)
else
  local last = string.format('%.0f', longest)
  call('PEXPIREAT', artifact, last, 'GT')
  call('PEXPIREAT', content, last, 'GT')
end
return times
