-- Places in an index: a score and a member, which may be gone.
-- @include time

-- Whether one text comes before another, byte by byte: `<` would ask the server's locale.
local function is_before(one, other)
  for i = 1, math.min(#one, #other) do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then
      return a < b
    end
  end
  return #one < #other
end

-- How many members of an index come before a place, and whether there is one at it.
local function place_rank(key, score, member)
  local first = call('ZCOUNT', key, '-inf', '(' .. score)
  local last = first + call('ZCOUNT', key, score, score)
  while first < last do -- members of one score are in the order of their bytes
    local middle = math.floor((first + last) / 2)
    local found = call('ZRANGE', key, middle, middle)[1]
    if found == member then
      return middle, true
    elseif is_before(found, member) then
      first = middle + 1
    else
      last = middle
    end
  end
  return first, false
end

local HIGHEST = string.rep('\255', 256) -- behind all members of one score, as '' is before them

-- Some members of an index, each with its score: behind a place in order ('>') or backwards ('<'), or where a cursor of
-- ZSCAN says ('*'). Score or cursor '': from the beginning; 'now': behind all that end just now. Also returns the next
-- cursor, '0' at the end.
local function members_page(key, way, from, member, count)
  if way == '*' then
    local page = call('ZSCAN', key, from == '' and '0' or from, 'COUNT', count)
    return page[2], page[1]
  elseif from == 'now' then
    from, member = integer(math.floor(now_in_microseconds() / 1000)), HIGHEST
  end
  if from ~= '' and (member == '' or member == HIGHEST) then -- scores alone tell
    from = (way == '>') == (member == '') and from or '(' .. from
    if way == '>' then
      return call('ZRANGE', key, from, '+inf', 'BYSCORE', 'LIMIT', 0, count, 'WITHSCORES')
    end
    return call('ZRANGE', key, from, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, count, 'WITHSCORES')
  end
  local rank, found = 0, false
  if from ~= '' then
    rank, found = place_rank(key, from, member)
  end
  if way == '>' then
    rank = found and rank + 1 or rank
    return call('ZRANGE', key, rank, rank + count - 1, 'WITHSCORES')
  end
  if from ~= '' then
    rank = call('ZCOUNT', key, '-inf', '+inf') - rank
  end
  return call('ZRANGE', key, rank, rank + count - 1, 'REV', 'WITHSCORES')
end
