-- What views come to: how many, bytes, earliest and latest time of store in us, first and last deadline in ms.
-- @include format

local function sums_begun()
  return { 0, 0, math.huge, 0, FOREVER, 0 }
end

-- Adds a view; returns its bytes and its deadline. Raises where it makes no sense.
local function sums_add(sums, header, lease)
  check_header(header)
  if is_damaged(lease) then
    error(DAMAGED)
  end
  local size, created, deadline = tonumber(string.sub(header, 34)), lease_created(lease), lease_deadline(lease)
  sums[1], sums[2] = sums[1] + 1, sums[2] + size
  sums[3], sums[4] = math.min(sums[3], created), math.max(sums[4], created)
  sums[5], sums[6] = math.min(sums[5], deadline), math.max(sums[6], deadline)
  return size, deadline
end

local function sums_ended(sums)
  sums[3] = sums[1] > 0 and sums[3] or 0
  return sums
end
