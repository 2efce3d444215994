-- The server's clock, and when keys end.
-- @include format

local moment -- of the whole script: Redis 7.0's clock goes on within one, and what ends meanwhile would be there twice

local function now_in_microseconds()
  if not moment then
    local time = call('TIME')
    moment = tonumber(time[1]) * 1000000 + tonumber(time[2])
  end
  return moment
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

-- Whether two ends are the same. A key that was moved to another node (MIGRATE) ends as much later as that took, which
-- may be seconds.
local function ends_agree(one, other)
  return one == other or (math.max(one, other) < FOREVER and math.abs(one - other) < 10000)
end

-- Whether a key ends when it should.
local function ends_at(key, deadline)
  local at = expiry(key)
  return at and at >= deadline and ends_agree(at, deadline)
end

local function expire(key, deadline)
  if deadline == FOREVER then
    call('PERSIST', key)
  else
    call('PEXPIREAT', key, integer(deadline))
  end
end
