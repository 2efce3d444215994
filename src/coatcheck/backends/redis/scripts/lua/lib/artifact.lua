-- One artifact with everything that hangs on it. Chunks are not among that: clients bring them in line, page by page,
-- see follow.lua. So a script that may let a chunked content end earlier is told its token, or refuses.
-- @include partition
-- @include leases
-- @include content

-- KEYS from `first` on: artifact, leases, stores, content, needs, default artifact of the content.
local function artifact_at(first, id)
  return {
    id = id,
    key = KEYS[first],
    leases = KEYS[first + 1],
    stores = KEYS[first + 2],
    content = KEYS[first + 3],
    needs = KEYS[first + 4],
    named = KEYS[first + 5],
  }
end

local function is_explicit(a)
  return a.key ~= a.named
end

-- Raises where a key that a change writes is of another type: called before anything is written. Also notes what the
-- indexes by label know the artifact under.
local function check_artifact(a, fields)
  a.labels = at.labels and at.labels.held(a)
  if a.labels then
    at.labels.check(a.labels)
  end
  call('ZCARD', a.leases)
  call('ZCARD', a.stores)
  call('ZCARD', a.needs)
  call('STRLEN', a.content)
  for _, field in ipairs(fields) do
    if string.sub(field, 1, 1) == '=' then
      call('ZCARD', run_key(at.prefix, string.sub(field, 2)))
    end
  end
end

local function need_drop(a, member)
  if call('ZREM', a.needs, member) == 1 then
    index_settle(a.needs)
  end
end

-- Removes an artifact for every run. `fields`: its leases.
local function artifact_remove(a, fields, now)
  call('UNLINK', a.key, a.leases, a.stores)
  for _, field in ipairs(fields) do
    if string.sub(field, 1, 1) == '=' then
      run_drop(string.sub(field, 2), a.id)
    end
  end
  if a.labels then
    at.labels.drop(a.id, a.labels)
  end
  catalog_drop({ a.id })
  if is_explicit(a) then
    need_drop(a, a.id)
  end
  content_settle(a, now)
end

-- Brings everything in line with the leases that are left.
local function artifact_settle(a, many, now)
  local latest, created, deadline, ends = leases_settle(a, many, now)
  if not latest then
    artifact_remove(a, call('HKEYS', a.key), now)
    return
  end
  leases_expire(a, deadline)
  catalog_set(a.id, created, deadline, ends)
  if a.labels then
    at.labels.set(a.id, a.labels, created, deadline)
  end
  if is_explicit(a) then
    index_set(a.needs, a.id, deadline)
  end
  content_settle(a, now)
end

-- {'chunked', token, count} where the caller does not know the chunks of this content yet.
local function unknown_chunks(a, token)
  local chunks = chunks_of(a.content, content_start(a.content))
  return chunks and chunks[1] ~= token and { 'chunked', chunks[1], chunks[2] } or nil
end
