-- The list of runs: it holds the end of each run's index.
-- @include index

-- Whether it holds that of one. `last`: the latest deadline in that index.
local function is_listed(runs, run, last)
  local ends = call('ZSCORE', runs, run)
  return ends and ends_agree(math.min(FOREVER, tonumber(ends) or FOREVER), index_end(last))
end

local function run_settle(runs, run, key)
  local last = index_settle(key)
  if last then
    index_set(runs, run, index_end(last))
  elseif call('ZREM', runs, run) == 1 then
    index_settle(runs)
  end
end
