#!lua flags=no-writes
-- What the server does when it reaches maxmemory.
--
-- KEYS some keys, which are not read. On a cluster one: it says which node is asked. Else they lie in different slots:
--   a server that is a node of a cluster after all refuses them
-- Returns the name of its maxmemory-policy; '' where INFO is not permitted or does not tell

-- Asked first: a refusal would stand in the server's log of them.
if not redis.acl_check_cmd('INFO', 'memory') then
  return ''
end
local memory = redis.pcall('INFO', 'memory')
return type(memory) == 'string' and string.match(memory, 'maxmemory_policy:([%w-]+)') or ''
