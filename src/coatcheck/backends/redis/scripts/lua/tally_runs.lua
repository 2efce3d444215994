#!lua flags=no-writes
-- Adds up what each of several runs leases in a partition, where that is little.
--
-- KEYS[1..n] what the runs lease
-- ARGV[1] key prefix   ARGV[2] members to look at
-- ARGV[3] '1' where keys may lie on another node: what looks absent may be there
-- ARGV[4..] the runs' lease fields
-- Derived keys, only read: artifacts. What looks absent of these is nothing.
-- Returns for each of the first of them, one at least: its sums, see lib/sums.lua, and members whose keys have to be
--   declared, or nothing for one that leases more than that many

-- @include keys
-- @include leases
-- @include member
-- @include sums

local now = math.floor(now_in_microseconds() / 1000)
local artifacts, room, movable = artifact_key(ARGV[1], ''), tonumber(ARGV[2]), ARGV[3] == '1'
local most, reply = room, {}
for i = 1, #KEYS do
  local count, field = call('ZCOUNT', KEYS[i], '-inf', '+inf'), ARGV[3 + i]
  if count > most then
    reply[i] = {}
  elseif count > room then
    break
  else
    local sums, unknown = sums_begun(), {}
    for _, member in ipairs(count > 0 and call('ZRANGE', KEYS[i], 0, -1) or {}) do
      local id = id_of(member)
      if not id then
        error(DAMAGED)
      end
      local header, _, lease = lease_of(artifacts .. id, field, now)
      if header then
        sums_add(sums, header, lease)
      elseif movable and call('EXISTS', artifacts .. id) == 0 then
        unknown[#unknown + 1] = member
      end
    end
    room = room - count
    reply[i] = { sums_ended(sums), unknown }
  end
end
return reply
