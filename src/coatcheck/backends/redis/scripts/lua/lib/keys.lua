-- Names of the keys that only a script can know. All others are declared; layout/keys.py builds them.
--
-- A key that is derived here may lie on another node already, while its slot is moved: it looks absent then. So derived
-- keys are only cleaned up: their absence decides nothing.

local function run_key(prefix, run)
  return prefix
    .. 'run:'
    .. string.gsub(run, '[^A-Za-z0-9_.~-]', function(c)
      return string.format('%%%02X', string.byte(c))
    end)
end
