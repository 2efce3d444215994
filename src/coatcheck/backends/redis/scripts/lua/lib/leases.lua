-- The leases of one artifact. Up to 64 are told by its hash alone; with more, two indexes know which end and which are
-- the latest, so that no script reads them all. An artifact here is {key, leases, stores, ...}.
-- @include index

local MANY = 66 -- fields of a hash with 64 leases
local MEND = 'COATCHECKMEND ' -- and the artifact whose indexes have to be brought in line with its leases

-- Whether an artifact has many leases. Raises where their indexes don't know them all, or know more dead ones than a
-- change drops: called before anything is written.
local function has_many(a, now)
  local fields = call('HLEN', a.key)
  if fields <= MANY then
    return false
  end
  local count = fields - 2
  if
    call('ZCARD', a.leases) ~= count
    or call('ZCARD', a.stores) ~= count
    or call('ZCOUNT', a.leases, '-inf', integer(now)) > 64
  then
    error(MEND .. a.key)
  end
  return true
end

local function leases_drop(a, many, fields)
  if #fields == 0 then
    return
  end
  call('HDEL', a.key, unpack(fields))
  if many then
    call('ZREM', a.leases, unpack(fields))
    call('ZREM', a.stores, unpack(fields))
    if call('HLEN', a.key) <= MANY then
      call('UNLINK', a.leases, a.stores)
    end
  end
end

-- Notes one lease, or all of the hash, in the indexes.
local function leases_index(a, fields)
  local by_deadline, by_store = {}, {}
  for i = 1, #fields, 2 do
    local field, lease = fields[i], fields[i + 1]
    if is_lease(field) then
      local n = #by_deadline
      by_deadline[n + 1], by_deadline[n + 2] = score(lease_deadline(lease)), field
      by_store[n + 1], by_store[n + 2] = integer(lease_created(lease)), field
    end
  end
  call('ZADD', a.leases, unpack(by_deadline))
  call('ZADD', a.stores, unpack(by_store))
end

-- Writes a lease that is the latest now, and the header. `many`: whether there were many before. Returns whether there
-- are many only now.
local function lease_put_latest(a, many, header, field, lease, now)
  call('HSET', a.key, 'h', header, field, lease)
  if call('HLEN', a.key) <= 2 then
    return false
  end
  call('HSET', a.key, 't', field)
  if many then
    leases_index(a, { field, lease })
    leases_drop(a, true, call('ZRANGE', a.leases, '-inf', integer(now), 'BYSCORE'))
    return false
  elseif call('HLEN', a.key) <= MANY then
    return false
  end
  local live, dead = {}, {}
  local fields = call('HGETALL', a.key)
  for i = 1, #fields, 2 do
    if is_lease(fields[i]) and lease_deadline(fields[i + 1]) <= now then
      dead[#dead + 1] = fields[i]
    else
      live[#live + 1], live[#live + 2] = fields[i], fields[i + 1]
    end
  end
  leases_drop(a, false, dead)
  if call('HLEN', a.key) <= MANY then
    return false
  end
  leases_index(a, live)
  return true
end

-- Writes a lease whose deadline has changed.
local function lease_put(a, many, field, lease)
  call('HSET', a.key, field, lease)
  if many then
    leases_index(a, { field, lease })
  end
end

local function leases_expire(a, deadline)
  expire(a.key, deadline)
  if call('HLEN', a.key) > MANY then
    expire(a.leases, deadline)
    expire(a.stores, deadline)
  end
end

-- Drops leases that have ended; returns the field of the latest one that is left, its time, the latest deadline of all,
-- and its own.
local function leases_settle(a, many, now)
  if many then
    leases_drop(a, true, call('ZRANGE', a.leases, '-inf', integer(now), 'BYSCORE'))
    if call('HLEN', a.key) > MANY then
      local latest = call('ZRANGE', a.stores, -1, -1, 'WITHSCORES')
      call('HSET', a.key, 't', latest[1])
      return latest[1], tonumber(latest[2]), index_last(a.leases), lease_deadline(call('HGET', a.key, latest[1]))
    end
  end
  local fields = call('HGETALL', a.key)
  local latest, created, deadline, last, live, dead = nil, -1, 0, 0, 0, {}
  for i = 1, #fields, 2 do
    local field, lease = fields[i], fields[i + 1]
    if is_lease(field) then
      local ends = lease_deadline(lease)
      if ends <= now then
        dead[#dead + 1] = field
      else
        live = live + 1
        deadline = math.max(deadline, ends)
        if lease_created(lease) > created then
          latest, created, last = field, lease_created(lease), ends
        end
      end
    end
  end
  if live > 0 then
    leases_drop(a, false, dead)
    if live > 1 then
      call('HSET', a.key, 't', latest)
    else
      call('HDEL', a.key, 't')
    end
  end
  return latest, created, deadline, last
end

-- Keeps the fields of many leases that end with their artifact, for forget.lua to tell their runs.
local function leases_bury(a, buried)
  if call('EXISTS', a.leases) == 1 then
    call('RENAME', a.leases, buried)
    call('PEXPIRE', buried, 3600000)
  end
end

-- The lease of an artifact that has a single one which has not ended: header, field, lease. Where it has several, or
-- where its lease has ended, only whether there is anything.
local function single_lease(key, now)
  local some = call('HRANDFIELD', key, 3, 'WITHVALUES')
  if #some == 4 then -- before or behind the header
    local header, lease = 1, 3
    if some[3] == 'h' then
      header, lease = 3, 1
    end
    if some[header] == 'h' and lease_deadline(some[lease + 1]) > now then
      return some[header + 1], some[lease], some[lease + 1]
    end
  end
  return #some > 0
end

-- The latest of several leases that has not ended; nil where there is none.
local function latest_of_many(a, now)
  local top = call('HMGET', a.key, 'h', 't')
  if not top[1] then
    return nil
  end
  if top[2] then
    local lease = call('HGET', a.key, top[2])
    if lease and lease_deadline(lease) > now then
      return top[1], top[2], lease
    end
  end
  if call('HLEN', a.key) > MANY then
    for _, field in ipairs(call('ZRANGE', a.stores, 0, 63, 'REV')) do
      local lease = call('HGET', a.key, field)
      if lease and lease_deadline(lease) > now then
        return top[1], field, lease
      end
    end
    error(MEND .. a.key)
  end
  local fields = call('HGETALL', a.key)
  local latest, found
  for i = 1, #fields, 2 do
    local field, lease = fields[i], fields[i + 1]
    if is_lease(field) and lease_deadline(lease) > now then
      if not found or lease_created(lease) > lease_created(found) then
        latest, found = field, lease
      end
    end
  end
  if not found then
    return nil
  end
  return top[1], latest, found
end

-- The latest lease that has not ended: header, field, lease; nil where there is none. Changes nothing.
local function latest_lease(a, now)
  local header, field, lease = single_lease(a.key, now)
  if header == true then
    return latest_of_many(a, now)
  end
  return header or nil, field, lease
end

-- The same for one lease.
local function lease_of(key, field, now)
  local pair = call('HMGET', key, 'h', field)
  if pair[1] and pair[2] and lease_deadline(pair[2]) > now then
    return pair[1], field, pair[2]
  end
end
