#!lua flags=no-writes
-- Which commands the user of this connection may send. Asking so leaves nothing in the server's log of refusals.
--
-- ARGV   one command each, its words joined by newlines
-- Returns for each 1 or 0; 0 for commands that the server does not have

local answers = {}
for i, command in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(command, '[^\n]+') do
    words[#words + 1] = word
  end
  local known, allowed = pcall(redis.acl_check_cmd, unpack(words))
  answers[i] = known and allowed and 1 or 0
end
return answers
