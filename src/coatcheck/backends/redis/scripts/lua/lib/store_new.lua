-- Part of store.lua: the straight way, for one artifact of which nothing is there, into indexes that last as long.
-- Most stores are that. Nothing is asked that the commands tell anyway; where they tell that something was there, what
-- was written is undone, and the rest of the script goes on. It makes nothing that it does not use, and no numbers
-- into text but one.
if where == 'inline' and #ARGV == 8 and KEYS[5] == KEYS[10] and us % 32 ~= 0 then
  local created, deadlines, artifact, content, id = KEYS[1], KEYS[2], KEYS[5], KEYS[8], ARGV[5]
  local run_index = run ~= '' and KEYS[4]
  local deadline, score = 281474976710655, '+inf'
  if ARGV[3] ~= '' then
    deadline = now + ARGV[3]
    score = string.format('%.0f', deadline) -- else it may become text like 1.8e+12: fine for a score, not for an expiry
  end
  local ends = call('PEXPIRETIME', run_index or deadlines) -- no run's index ends after the catalog
  if
    (ends == -1 or ends >= deadline)
    and call('ZCOUNT', created, us, '+inf') == 0 -- else the clock went back
    and (
      score == '+inf' and call('SET', content, ARGV[8], 'NX')
      or score ~= '+inf' and call('SET', content, ARGV[8], 'NX', 'PXAT', score)
    )
  then
    local times = struct.pack('>I6I7', deadline, us)
    local field = run == '' and '-' or '=' .. run
    local added = call('ZADD', created, 'NX', us, id)
    local made = added == 1 and redis.pcall('HSET', artifact, 'h', ARGV[6], field, times .. ARGV[7])
    local listed = made == 2 and redis.pcall('ZADD', deadlines, score, id)
    if type(listed) == 'number' and run_index then
      listed = redis.pcall('ZADD', run_index, score, id)
    end
    if type(listed) == 'number' then
      if score ~= '+inf' then
        call('PEXPIREAT', artifact, score)
      end
      return { times }
    end

    call('UNLINK', content)
    if added == 1 then
      call('ZREM', created, id)
    end
    if made == 2 then -- an index is of another type
      call('UNLINK', artifact)
      redis.pcall('ZREM', deadlines, id)
      return listed
    elseif made == 1 then -- the artifact was there, without a lease of this run
      call('HDEL', artifact, field)
    end
  end
end
