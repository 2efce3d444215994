#!lua flags=no-writes
-- What the server does when it reaches maxmemory.
--
-- KEYS[1] any key: it only says which node of a cluster is asked
-- Returns the name of its maxmemory-policy; '' where INFO is not permitted or does not tell

-- Asked first: a refusal would stand in the server's log of them.
if not redis.acl_check_cmd('INFO', 'memory') then
  return ''
end
local memory = redis.pcall('INFO', 'memory')
return type(memory) == 'string' and string.match(memory, 'maxmemory_policy:([%w-]+)') or ''
