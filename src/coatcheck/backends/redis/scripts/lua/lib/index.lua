-- Indexes: sorted sets scored by deadline. The key ends with its last member, so that nothing has to be swept.
-- @include time

local function is_index(key)
  local kind = call('TYPE', key).ok
  return kind == 'zset' or kind == 'none'
end

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

-- Adds members (score, member ...), or moves their deadlines later, to `last` at most. Returns the new end of the index
-- if that moved it.
local function index_add(key, last, ...)
  local before, ends = expiry(key), index_end(last)
  call('ZADD', key, ...)
  if before and before >= ends then
    return nil
  end
  expire(key, ends)
  return ends
end

-- The same for one.
local function index_extend(key, member, deadline)
  return index_add(key, deadline, score(deadline), member)
end

-- Moves a member's deadline either way.
local function index_set(key, member, deadline)
  call('ZADD', key, score(deadline), member)
  return index_settle(key)
end

-- Drops members whose deadline has passed, more of them than the `count` to be added: no index keeps growing with them.
-- Returns them.
local function index_prune(key, now, count)
  local dead = call('ZRANGE', key, '-inf', integer(now), 'BYSCORE', 'LIMIT', 0, 499 + (count or 1))
  if #dead > 0 then
    call('ZREM', key, unpack(dead))
  end
  return dead
end

-- A pair is two indexes of the same members, {created, deadlines}: by time of store, and by deadline. The first cannot
-- know when to end, and ends with the second.

local function pair_settle(pair)
  local last = index_settle(pair.deadlines)
  if last then
    expire(pair.created, index_end(last))
  end
  return last
end

-- As `index_add`: what goes into one and into the other.
local function pair_add(pair, last, by_created, by_deadline)
  call('ZADD', pair.created, unpack(by_created))
  local ends = index_add(pair.deadlines, last, unpack(by_deadline))
  if ends then
    expire(pair.created, ends)
  end
  return ends
end

-- As `index_extend`.
local function pair_extend(pair, member, created, deadline)
  return pair_add(pair, deadline, { integer(created), member }, { score(deadline), member })
end

local function pair_set(pair, member, created, deadline)
  call('ZADD', pair.created, integer(created), member)
  call('ZADD', pair.deadlines, score(deadline), member)
  return pair_settle(pair)
end

-- As `index_prune`.
local function pair_prune(pair, now, count)
  local dead = index_prune(pair.deadlines, now, count)
  if #dead > 0 then
    call('ZREM', pair.created, unpack(dead))
  end
  return dead
end
