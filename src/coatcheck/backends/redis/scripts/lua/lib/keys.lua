-- Names of the keys that only a script can know. All others are declared; layout/keys.py builds them. Those of indexes
-- by label are in lib/labelled.lua.
--
-- A key that is derived here may lie on another node already, while its slot is moved key by key. A server then ends a
-- script that asks for it, as it does where a key is gone that the script itself has removed. So scripts that change an
-- artifact declare one key that is never written, the index of the anonymous run: the server refuses them before they
-- begin (TRYAGAIN) as long as any other of their keys exists, and they wait until the slot has moved. Readers are sent
-- again.

local function run_key(prefix, run)
  return prefix .. 'run:' .. run
end

local function artifact_key(prefix, id)
  return prefix .. 'artifact:' .. id
end

-- The keys that tell who leases an artifact.
local function artifact_keys(prefix, id)
  return { key = prefix .. 'artifact:' .. id, leases = prefix .. 'leases:' .. id, stores = prefix .. 'stores:' .. id }
end

local function content_key(prefix, name)
  return prefix .. 'content:' .. name
end

local function created_key(prefix)
  return prefix .. 'catalog:created'
end

local function outlived_key(prefix)
  return prefix .. 'catalog:outlived'
end

-- The prefix of an index by label; nil where it is none.
local function prefix_of_labelled(key)
  return string.match(key, '^(.*)labelled:')
end
