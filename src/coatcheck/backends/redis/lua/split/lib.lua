-- Shared by the scripts of the split form, which Redis Cluster needs: every script keeps to one slot and touches the
-- keys that it declares, nothing else. docs/design.md has the protocol.
--
-- A lease is known outside its artifact's slot by its claim: id:token:field, where the token is the lease's time of
-- store (14 hex digits) and no two leases of an artifact ever have the same. Claims are scored by deadline; FOREVER and
-- more is for ever. As long as a lease is there all its claims are, scored at least as late as it ends.

-- In place of the one in lib.lua: claims move the ends of their indexes one by one anyway.
local function index_end(last)
  return last
end

local COMMIT_WITHIN = 60000000 -- us between reading an artifact and committing; what is older never will be

-- Adds a claim or moves it later, in either case to a score that it never had: whoever saw an older one and means to
-- lower it, finds that it has changed. Returns the score.
local function claim(key, name, deadline)
  local ends, before = expiry(key), call('ZSCORE', key, name)
  local wanted = math.max(deadline, before and tonumber(before) + 1 or 0)
  call('ZADD', key, integer(wanted), name)
  if not ends or ends < wanted then
    expire(key, math.min(wanted, FOREVER))
  end
  return wanted
end

-- Takes a claim back, or lowers it, where its score is still the one that was seen ('': whatever it is).
-- `deadline`: '' to take it back. Returns whether the claim is gone.
local function unclaim(key, name, seen, deadline)
  local score_now = call('ZSCORE', key, name)
  if not score_now or (seen ~= '' and tonumber(score_now) ~= tonumber(seen)) then
    return false
  end
  if deadline ~= '' then
    call('ZADD', key, deadline, name)
    return false
  end
  return call('ZREM', key, name) == 1
end

-- Notes the latest of several leases in `t`, after one was stored.
local function note_latest(key)
  local latest, created, leases = nil, -1, 0
  local fields = call('HGETALL', key)
  for i = 1, #fields, 2 do
    if is_lease(fields[i]) then
      leases = leases + 1
      if lease_created(fields[i + 1]) > created then
        latest, created = fields[i], lease_created(fields[i + 1])
      end
    end
  end
  if leases > 1 then
    call('HSET', key, 't', latest)
  end
end

-- Brings an artifact's hash in line with the live leases that are left, after one was changed or taken away; and, where
-- the artifact is the content's default one, the content.
local function artifact_settle(at, key, id, head, now)
  local fields = call('HGETALL', key)
  local deadline = 0
  for i = 1, #fields, 2 do
    if is_lease(fields[i]) then
      local ends = lease_deadline(fields[i + 1])
      deadline = math.max(deadline, ends)
      if ends <= now then
        call('HDEL', key, fields[i])
      end
    end
  end
  if deadline <= now then
    call('UNLINK', key)
  else
    call('HDEL', key, 't')
    note_latest(key)
    expire(key, deadline)
  end
  if is_named(head) then
    content_settle(at, id, digest_of(head), now)
  end
end
