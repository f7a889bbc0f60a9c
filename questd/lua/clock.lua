-- A clock for tests: loaded with --test-mode only. It moves every rule's time; long polls, leases and the time after
-- which nobody wants a receive any more stay on the server's own clock.

local offset_ms, frozen_ms = nil, nil

-- The clock outlives a restart of the server in quest:clock (not in a Cluster, where that key is in a slot of its own).
local function recall()
  local kept = redis.pcall('HMGET', 'quest:clock', 'offset_ms', 'frozen_ms')
  offset_ms, frozen_ms = tonumber(kept[1]) or 0, tonumber(kept[2])
end

at = function(server_ms)
  if not offset_ms then recall() end
  return frozen_ms or server_ms + offset_ms
end

-- quest_clock: move the clock, or read it.
-- KEYS  none
-- ARGV  'advance' and ms; 'freeze' and the ms it stands at from now on; 'release'; nothing to read it
-- Reply the clock in ms
register('quest_clock', {}, {keys = 0, optional = 2}, function(_, args)
  local what, ms = args[1], MS.read(args[2] or '')
  local moves = what == 'advance' and ms and now() + ms <= LATEST_MS or what == 'freeze' and ms
  if what and what ~= 'release' and not moves then fail("ERR 'advance' or 'freeze', and ms before the year 5138") end
  now()
  if what == 'advance' then
    if frozen_ms then frozen_ms = frozen_ms + ms else offset_ms = offset_ms + ms end
  elseif what == 'freeze' then
    frozen_ms = ms
  elseif what == 'release' then
    offset_ms, frozen_ms = 0, nil
  end
  if what then
    redis.pcall('DEL', 'quest:clock')
    redis.pcall('HSET', 'quest:clock', 'offset_ms', offset_ms, unpack(frozen_ms and {'frozen_ms', frozen_ms} or {}))
    redis.pcall('PUBLISH', 'quest:alarm', '0 *') -- every alarm is to be read again
  end
  return now()
end)
