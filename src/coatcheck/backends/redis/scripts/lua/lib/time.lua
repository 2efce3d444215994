-- The server's clock, and when keys end.
-- @include format

local function now_in_microseconds()
  local time = call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function integer(value)
  return string.format('%.0f', value)
end

-- When a lease of this TTL ends; '' is for ever.
local function deadline_after(now, ttl)
  if ttl == '' then
    return FOREVER
  end
  return now + tonumber(ttl)
end

-- When a key ends: milliseconds, FOREVER, or nil where there is no key.
local function expiry(key)
  local at = call('PEXPIRETIME', key)
  if at == -2 then
    return nil
  end
  return at == -1 and FOREVER or at
end

-- How much later, in ms, a key may end than it should: moved to another node (MIGRATE), by as long as that took.
local DRIFT = 10000

-- Whether a key ends when it should.
local function ends_at(key, deadline)
  local at = expiry(key)
  return at == deadline or (at and at < FOREVER and at > deadline and at - deadline < DRIFT)
end

local function expire(key, deadline)
  if deadline == FOREVER then
    call('PERSIST', key)
  else
    call('PEXPIREAT', key, integer(deadline))
  end
end
