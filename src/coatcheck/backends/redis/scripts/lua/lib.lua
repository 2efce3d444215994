-- Shared by the scripts: scripts.py links each with what it names. Top-level locals only; keys.py has the key layout.
--
-- artifact hash:  h -> version:1 named:1 digest:32 size      named: 1 when the id is the content's default id
--                 t -> field of the latest lease             only where there are several leases
--                 = .. run, or - for the anonymous lease -> deadline:6 created:7 msgpack
-- Deadlines are Unix milliseconds, created is Unix microseconds, both big-endian.

local call = redis.call
local FOREVER = 281474976710655 -- a deadline that never comes: the largest 48-bit number
local FUTURE = 'COATCHECKFUTURE a newer coatcheck wrote this artifact'
local DAMAGED = 'COATCHECKDAMAGED the metadata of this artifact make no sense'

local function number_at(bytes, first, width)
  local value = 0
  for i = first, first + width - 1 do
    value = value * 256 + string.byte(bytes, i)
  end
  return value
end

local function bytes_of(value, width)
  local bytes = {}
  for i = width, 1, -1 do
    bytes[i] = string.char(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(bytes)
end

local function integer(value)
  return string.format('%.0f', value)
end

local function now_in_microseconds()
  local time = call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function deadline_after(now, ttl)
  if ttl == '' then
    return FOREVER
  end
  return now + tonumber(ttl)
end

-- Key expiry ------------------------------------------------------------------------------------------------------

-- When a key ends: milliseconds, FOREVER, or nil where there is no key.
local function expiry(key)
  local at = call('PEXPIRETIME', key)
  if at == -2 then
    return nil
  end
  return at == -1 and FOREVER or at
end

local function expire(key, deadline)
  if deadline == FOREVER then
    call('PERSIST', key)
  else
    call('PEXPIREAT', key, integer(deadline))
  end
end

-- Indexes: sorted sets scored by deadline; the key ends with its last member ----------------------------------------

local function score(deadline)
  return deadline == FOREVER and '+inf' or integer(deadline)
end

-- A score as ZSCORE returns it.
local function score_read(deadline)
  return deadline == FOREVER and 'inf' or integer(deadline)
end

-- The latest deadline in an index, or nil where it is empty.
local function index_last(key)
  local last = call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
  if not last then
    return nil
  end
  return math.max(0, math.min(FOREVER, tonumber(last) or FOREVER)) -- whatever the score, an expiry that can be set
end

-- When an index with this last deadline ends: on a full tenth of a second, so that most stores leave it as it is.
local function index_end(last)
  return last == FOREVER and FOREVER or math.ceil(last / 100) * 100
end

local function index_settle(key)
  local last = index_last(key)
  if last then
    expire(key, index_end(last))
  end
  return last
end

-- Adds a member, or moves its deadline later. Returns the new end of the index if that moved it.
local function index_extend(key, member, deadline)
  local before, ends = expiry(key), index_end(deadline)
  call('ZADD', key, score(deadline), member)
  if before and before >= ends then
    return nil
  end
  expire(key, ends)
  return ends
end

-- Moves a member's deadline either way.
local function index_set(key, member, deadline)
  call('ZADD', key, score(deadline), member)
  return index_settle(key)
end

-- Some members whose deadline has passed, more than the `count` to be added. Whoever adds looks for them before it writes
-- (so that a key of another type raises in time) and drops them first (so that a renewed member stays): no index keeps
-- growing with them.
local function index_dead(key, now, count)
  return call('ZRANGE', key, '-inf', integer(now), 'BYSCORE', 'LIMIT', 0, 63 + (count or 1))
end

local function index_forget(key, dead)
  if #dead > 0 then
    call('ZREM', key, unpack(dead))
  end
end

-- at: {prefix, runs, created, deadlines}, the keys that every artifact shares -----------------------------------------

local function run_key(at, run)
  local quoted = string.gsub(run, '[^A-Za-z0-9_.~-]', function(c)
    return string.format('%%%02X', string.byte(c))
  end)
  return at.prefix .. 'run:{' .. quoted .. '}'
end

-- `runs` holds the end of each run's index.
local function run_extend(at, key, run, id, deadline)
  local ends = index_extend(key, id, deadline)
  if ends then
    index_extend(at.runs, run, ends)
  end
end

local function run_drop(at, run, id)
  local key = run_key(at, run)
  if call('ZREM', key, id) == 0 then
    return
  end
  local last = index_settle(key)
  if last then
    index_set(at.runs, run, index_end(last))
  else
    call('ZREM', at.runs, run)
    index_settle(at.runs)
  end
end

local function catalog_extend(at, id, created, deadline)
  call('ZADD', at.created, integer(created), id)
  local ends = index_extend(at.deadlines, id, deadline)
  if ends then
    expire(at.created, ends)
  end
end

local function catalog_set(at, id, created, deadline)
  call('ZADD', at.created, integer(created), id)
  expire(at.created, index_end(index_set(at.deadlines, id, deadline)))
end

local function catalog_drop(at, ids)
  call('ZREM', at.created, unpack(ids))
  call('ZREM', at.deadlines, unpack(ids))
  local last = index_settle(at.deadlines)
  if last then
    expire(at.created, index_end(last))
  end
end

-- Artifact hashes ---------------------------------------------------------------------------------------------------

local function is_known(head)
  return string.byte(head, 1) == 1
end

local function is_named(head)
  return string.byte(head, 2) == 1
end

local function digest_of(head)
  return string.sub(head, 3, 34)
end

local function hex(bytes)
  return (string.gsub(bytes, '.', function(c)
    return string.format('%02x', string.byte(c))
  end))
end

-- The name of an artifact's content in keys: the first 32 hex digits of its digest.
local function tag_of(head, id)
  if is_named(head) then
    return id
  end
  return hex(string.sub(head, 3, 18))
end

local function is_lease(field)
  return field ~= 'h' and field ~= 't'
end

local function is_damaged(lease)
  return #lease < 13
end

-- A damaged lease counts as one for ever: nothing is deleted because of it, and whoever reads it raises.
local function lease_deadline(value)
  return is_damaged(value) and FOREVER or number_at(value, 1, 6)
end

local function lease_created(value)
  return is_damaged(value) and 0 or number_at(value, 7, 7)
end

-- The latest live lease of an artifact: head, field, value; nil where there is none.
local function latest_lease(key, now)
  local top = call('HMGET', key, 'h', 't')
  if not top[1] then
    return nil
  end
  if top[2] then
    local value = call('HGET', key, top[2])
    if value and lease_deadline(value) > now then
      return top[1], top[2], value
    end
  end
  local fields = call('HGETALL', key)
  local field, value
  for i = 1, #fields, 2 do
    if is_lease(fields[i]) and lease_deadline(fields[i + 1]) > now then
      if not value or lease_created(fields[i + 1]) > lease_created(value) then
        field, value = fields[i], fields[i + 1]
      end
    end
  end
  if not field then
    return nil
  end
  return top[1], field, value
end

-- Drops expired leases of an artifact that got one more: a sample each time, more while it finds many.
local function leases_prune(key, now)
  for _ = 1, 16 do
    local sample, dead = call('HRANDFIELD', key, 8, 'WITHVALUES'), 0
    for i = 1, #sample, 2 do
      if is_lease(sample[i]) and lease_deadline(sample[i + 1]) <= now then
        dead = dead + call('HDEL', key, sample[i])
      end
    end
    if dead < 4 then
      return
    end
  end
end

-- Chunks: a content key may hold a manifest instead (codec 2); the content then lies in <content>:<token>:<n>.
--   manifest: version:1 codec:1 size:8 digest:32 checksum:8 chunk size:4 token:8, then 13 bytes a chunk
-- All functions take the first bytes of a content, as `content_head` reads them, and do nothing for a single string.

local function content_head(key)
  return call('GETRANGE', key, 0, 61)
end

local function is_manifest(head)
  return string.byte(head, 2) == 2 and string.byte(head, 1) == 1
end

local function chunk_token(head)
  return hex(string.sub(head, 55, 62))
end

local function chunk_names_of(content, token, count)
  local names, stem = {}, content .. ':' .. token .. ':'
  for n = 1, count do
    names[n] = stem .. (n - 1)
  end
  return names
end

-- `holder`: where the manifest lies, the content or a staging key.
local function chunk_names(content, head, holder)
  if #head < 62 or not is_manifest(head) then
    return {}
  end
  return chunk_names_of(content, chunk_token(head), math.floor((call('STRLEN', holder) - 62) / 13))
end

-- A variadic command over many keys; the sum of its replies.
local function over(command, keys)
  local sum = 0
  for i = 1, #keys, 1000 do
    sum = sum + call(command, unpack(keys, i, math.min(i + 999, #keys)))
  end
  return sum
end

-- Whether everything that a content consists of is there.
local function is_complete(head, chunks)
  if head == '' or (is_manifest(head) and #chunks == 0) then
    return false
  end
  return over('EXISTS', chunks) == #chunks
end

-- Length of a content as it is stored, its chunks included.
local function stored_bytes(content)
  local sum = call('STRLEN', content)
  local chunks = chunk_names(content, content_head(content), content)
  for i = 1, #chunks do
    sum = sum + call('STRLEN', chunks[i])
  end
  return sum
end

local function content_expire(content, chunks, deadline)
  expire(content, deadline)
  for i = 1, #chunks do
    expire(chunks[i], deadline)
  end
end

-- Content lives until the latest deadline of what needs it: its default artifact and the explicit ids in `leases`.
local function content_settle(at, tag, digest, now)
  local content, leases = at.prefix .. 'content:{' .. tag .. '}', at.prefix .. 'leases:{' .. tag .. '}'
  local named = at.prefix .. 'artifact:{' .. tag .. '}'
  local needed = index_last(leases) or 0
  local head = call('HGET', named, 'h')
  if head and digest_of(head) == digest then
    needed = math.max(needed, expiry(named))
  end
  if needed <= now then
    over('UNLINK', chunk_names(content, content_head(content), content))
    call('UNLINK', content, leases)
  elseif expiry(content) ~= needed then
    content_expire(content, chunk_names(content, content_head(content), content), needed)
  end
end

local function content_drop(at, head, id, now)
  local tag = tag_of(head, id)
  if not is_named(head) then
    local leases = at.prefix .. 'leases:{' .. tag .. '}'
    call('ZREM', leases, id)
    index_settle(leases)
  end
  content_settle(at, tag, digest_of(head), now)
end

-- Raises before anything is written when a key that `remove` or `settle` would write has another type.
local function check_types(at, head, id, fields)
  call('ZCARD', at.created)
  call('ZCARD', at.deadlines)
  call('ZCARD', at.runs)
  call('ZCARD', at.prefix .. 'leases:{' .. tag_of(head, id) .. '}')
  for i = 1, #fields do
    if string.sub(fields[i], 1, 1) == '=' then
      call('ZCARD', run_key(at, string.sub(fields[i], 2)))
    end
  end
end

-- Removes an artifact for every run. `fields`: the names in its hash.
local function remove(at, key, id, head, fields, now)
  call('UNLINK', key)
  for i = 1, #fields do
    if string.sub(fields[i], 1, 1) == '=' then
      run_drop(at, string.sub(fields[i], 2), id)
    end
  end
  catalog_drop(at, { id })
  content_drop(at, head, id, now)
end

-- Brings everything in line with the leases that an artifact has left, after one was changed or taken away.
local function settle(at, key, id, head, now)
  local fields = call('HGETALL', key)
  local latest, created, deadline, live, dead = nil, -1, 0, 0, {}
  for i = 1, #fields, 2 do
    local field, value = fields[i], fields[i + 1]
    if is_lease(field) then
      local ends = lease_deadline(value)
      if ends <= now then
        dead[#dead + 1] = field
      else
        live = live + 1
        deadline = math.max(deadline, ends)
        if lease_created(value) > created then
          latest, created = field, lease_created(value)
        end
      end
    end
  end
  if live == 0 then
    remove(at, key, id, head, dead, now)
    return
  end
  for i = 1, #dead do
    call('HDEL', key, dead[i])
  end
  if live > 1 then
    call('HSET', key, 't', latest)
  else
    call('HDEL', key, 't')
  end
  expire(key, deadline)
  catalog_set(at, id, created, deadline)
  if not is_named(head) then
    index_set(at.prefix .. 'leases:{' .. tag_of(head, id) .. '}', id, deadline)
  end
  content_settle(at, tag_of(head, id), digest_of(head), now)
end
