-- What views come to: how many, bytes, earliest and latest time of store in us, first and last deadline in ms.
-- @include format

local function sums_begun()
  return { 0, 0, math.huge, 0, FOREVER, 0 }
end

-- Adds a view of which only the header matters; returns its bytes. Raises where that makes no sense.
local function sums_add_size(sums, header)
  check_header(header)
  local size = size_of(header) or error(DAMAGED)
  sums[1], sums[2] = sums[1] + 1, sums[2] + size
  return size
end

-- Adds a view; returns its bytes and its deadline. Raises where it makes no sense.
local function sums_add(sums, header, lease)
  local size = sums_add_size(sums, header)
  if is_damaged(lease) then
    error(DAMAGED)
  end
  local created, deadline = lease_created(lease), lease_deadline(lease)
  sums[3], sums[4] = math.min(sums[3], created), math.max(sums[4], created)
  sums[5], sums[6] = math.min(sums[5], deadline), math.max(sums[6], deadline)
  return size, deadline
end

local function sums_ended(sums)
  sums[3] = sums[3] < math.huge and sums[3] or 0
  return sums
end
