-- The indexes that all artifacts of a partition share.
-- @include index
-- @include keys
-- @include labels
-- @include member
-- @include runs

-- What most scripts are called with first.
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4] run   ARGV[1] prefix   ARGV[2] run
local at = { created = KEYS[1], deadlines = KEYS[2], runs = KEYS[3], run_index = KEYS[4] }
at.prefix, at.run = ARGV[1], ARGV[2]

-- What outlives its latest lease is seen as an earlier one has it once that has ended, and no script runs then. So
-- `catalog:outlived` holds it by its time of store in `catalog:created`, for lists of what was stored before a time. It
-- may hold more than that: readers compare. It ends with the catalog, or before.
local outlived = outlived_key(at.prefix)
local none_outlived = false

-- Raises where one of them is a key of another type: called before anything is written. Also sets `at.labels`, the
-- functions of lib/labels.lua where something is indexed by label.
local function check_partition(wish)
  if is_marked(at.created) or wish then
    at.labels = labels_at(at, wish)
  end
  call('ZCARD', at.deadlines)
  call('ZCARD', at.runs)
  call('ZCARD', at.run_index)
  none_outlived = call('ZCARD', outlived) == 0
end

-- Whether a score of `created` can be one: from 2^53 on the next number would be the same, and markers stand there.
local function is_created(score)
  return score and tonumber(score) < 9007199254740992
end

-- The time of a store: the clock's, but later than that of any store before it, so that the order of stores is their
-- order in time even where the clock goes back.
local function next_created(us)
  local last = call('ZRANGE', at.created, '(' .. MARKED, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')[2]
  return last and math.max(us, tonumber(last) + 1) or us
end

local function outlived_settle(last)
  if last and not none_outlived and call('EXISTS', outlived) == 1 then
    expire(outlived, index_end(last))
  end
end

-- `ends`: the deadline of the latest lease; `deadline`: of the one that ends last.
local function outlived_note(id, created, ends, deadline)
  if ends < deadline then
    call('ZADD', outlived, integer(created), id)
    none_outlived = false
    outlived_settle(index_last(at.deadlines))
  elseif not none_outlived then
    call('ZREM', outlived, id)
  end
end

-- With the last artifact the markers go, too.
local function catalog_settle()
  local last = pair_settle(at)
  outlived_settle(last)
  if not last and at.labels and call('ZCOUNT', at.created, '-inf', '(' .. MARKED) == 0 then
    call('UNLINK', at.created)
  end
end

-- Frees what artifacts that have expired, and contents of their ids, still take: servers free it by themselves, but may
-- take minutes where much ends at once. Asking is enough.
local function keys_free(members)
  local keys = {}
  for _, member in ipairs(members) do
    local id = id_of(member)
    if id then
      keys[#keys + 1], keys[#keys + 2] = artifact_key(at.prefix, id), content_key(at.prefix, id)
    end
  end
  if #keys > 0 then
    redis.pcall('EXISTS', unpack(keys))
  end
end

-- Drops expired members of the shared indexes and frees what they stood for. Gives the catalog its end where that has
-- got lost: on a server that evicts, or where keys were moved one by one.
local function partition_prune(now, count)
  local dead = pair_prune(at, now, count)
  if #dead > 0 and not none_outlived then
    call('ZREM', outlived, unpack(dead))
  end
  keys_free(dead)
  index_prune(at.runs, now)
  local ends = expiry(at.deadlines)
  if at.run ~= '' then
    index_prune(at.run_index, now, count)
  end
  if ends and (ends == FOREVER or ends ~= expiry(at.created) or ends < (expiry(at.run_index) or 0)) then
    catalog_settle()
  end
end

local function run_extend(id, deadline)
  if at.run ~= '' then
    local ends = index_extend(at.run_index, id, deadline)
    if ends then
      index_extend(at.runs, at.run, ends)
    end
  end
end

-- Another run's index, which is not declared: only cleaned up, and left alone where it is none.
local function run_drop(run, id)
  local key = run_key(at.prefix, run)
  if redis.pcall('ZREM', key, id) == 1 then
    run_settle(at.runs, run, key)
  end
end

-- `ends`: see `outlived_note`.
local function catalog_extend(id, created, deadline, ends)
  pair_extend(at, id, created, deadline)
  outlived_note(id, created, ends, deadline)
end

-- The latest deadline among an artifact's leases; more exact than the expiry of its hash, see `ends_at`.
local function catalog_deadline(a)
  local known = call('ZSCORE', at.deadlines, a.id)
  return known and math.min(FOREVER, tonumber(known) or FOREVER) or expiry(a.key)
end

local function catalog_set(id, created, deadline, ends)
  local last = pair_set(at, id, created, deadline)
  outlived_note(id, created, ends, deadline)
  outlived_settle(last)
end

-- The same for artifacts that one run leases.
local function catalog_set_sole(ids, by_created, by_deadline)
  call('ZADD', at.created, unpack(by_created))
  call('ZADD', at.deadlines, unpack(by_deadline))
  if not none_outlived then
    call('ZREM', outlived, unpack(ids))
  end
  catalog_settle()
end

local function catalog_drop(ids)
  for i = 1, #ids, 1000 do
    call('ZREM', at.created, unpack(ids, i, math.min(i + 999, #ids)))
    call('ZREM', at.deadlines, unpack(ids, i, math.min(i + 999, #ids)))
    if not none_outlived then
      call('ZREM', outlived, unpack(ids, i, math.min(i + 999, #ids)))
    end
  end
  catalog_settle()
end
