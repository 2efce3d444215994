-- Whether a claim stands for a lease. One that doesn't may be of a store on its way to its commit: before it is
-- removed, a fence makes sure that this commit will not come.
--
-- KEYS[1] artifact   KEYS[2] fence
-- ARGV[1] lease field   ARGV[2] token   ARGV[3] deadline   ARGV[4] grace in seconds   ARGV[5] '1': it will be removed
-- Returns 1 if it stands for nothing, else 0

local us, token = now_in_microseconds(), tonumber(ARGV[2])
local kind = call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then
  return 0
end
local lease = kind == 'hash' and call('HGET', KEYS[1], ARGV[1])
if lease and (#lease < 13 or lease_created(lease) == token) then
  return 0
end
-- What has ended is no problem: writers prune it, and its key ends with its last member.
local grace = tonumber(ARGV[4]) * 1000000
if tonumber(ARGV[3]) <= us / 1000 or (grace > 0 and us - token < grace) then
  return 0
end
if ARGV[5] == '1' and us - token <= 2 * COMMIT_WITHIN then
  local fence = tonumber(call('GET', KEYS[2]) or 0)
  call('SET', KEYS[2], integer(math.max(fence, token)), 'PX', integer(2 * COMMIT_WITHIN / 1000))
end
return 1
