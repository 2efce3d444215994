-- A claim that the lease of an explicit id has on its content; brings the content along if it is not there.
--
-- KEYS[1] content   KEYS[2] leases of the content   KEYS[3] default artifact   KEYS[4] staging, where ARGV[6] is 's'
-- ARGV[1] key prefix   ARGV[2] tag   ARGV[3] digest   ARGV[4] claim   ARGV[5] deadline
-- ARGV[6] where the content is: 'c' in ARGV[7], 's' under the staging key, 'k' where it belongs, '' does not matter
-- Returns {score of the claim}; {'need'}: nothing written, the content is not there; {'taken'}: other content is there

local now = math.floor(now_in_microseconds() / 1000)
local content, leases, digest, where = KEYS[1], KEYS[2], ARGV[3], ARGV[6]
local stored = call('GETRANGE', content, 0, 41)
if stored == '' then
  if where == 'k' or (where == 's' and call('EXISTS', KEYS[4]) == 0) then
    return { 'need' }
  end
elseif string.byte(stored, 1) ~= 1 then
  return redis.error_reply(FUTURE)
elseif string.sub(stored, 11, 42) ~= digest then
  return { 'taken' }
end
call('ZCARD', leases)
call('HGET', KEYS[3], 'h')

if stored == '' and where == 'c' then
  call('SET', content, ARGV[7])
end
local result = { claim(leases, ARGV[4], tonumber(ARGV[5])) }
index_forget(leases, index_dead(leases, now))
if where == 's' and stored == '' then
  call('RENAME', KEYS[4], content)
elseif where == 's' then
  call('UNLINK', KEYS[4])
end
content_settle({ prefix = ARGV[1] }, ARGV[2], digest, now)
return result
