-- Runs that hold a live lease.
--
-- KEYS[1] runs   ARGV[1] key prefix
-- Derived keys: the runs that end within a tenth of a second.
-- Returns run ids

local now = math.floor(now_in_microseconds() / 1000)
local at = { prefix = ARGV[1] }
local runs = call('ZRANGE', KEYS[1], '(' .. integer(now + 100), '+inf', 'BYSCORE')
-- Indexes end up to a tenth of a second late: whether the last lease of one is still live is for that index to say.
local ending = call('ZRANGE', KEYS[1], '(' .. integer(now), integer(now + 100), 'BYSCORE')
for i = 1, #ending do
  if (index_last(run_key(at, ending[i])) or 0) > now then
    runs[#runs + 1] = ending[i]
  end
end
return runs
