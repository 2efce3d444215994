-- How long a content lasts. A content here is {content, needs, named}: its key, its needs, its default artifact.
-- @include index

-- How long a content is needed: by its default artifact and by the explicit ids and holds in `needs`.
local function content_needed(a)
  return math.max(index_last(a.needs) or 0, expiry(a.named) or 0)
end

-- Lets a content end when nothing needs it any more; never later than it would.
local function content_settle(a, now)
  local needed, ends = content_needed(a), expiry(a.content)
  if needed <= now then
    call('UNLINK', a.content, a.needs)
  elseif ends and needed < ends then
    expire(a.content, needed)
  end
end

-- Lets a content last as long as a lease. Its chunks do already.
local function content_extend(a, deadline)
  local ends = expiry(a.content)
  if ends and ends < deadline then
    expire(a.content, deadline)
  end
end
