-- Long polls: which processes wait on a queue, and how they are woken. A process registers when its receive got
-- nothing and will wait; it listens on the channel quest:wake:<process>, where it is told the queue's key. One wake
-- for one process: it asks again, and when it leaves messages behind, its receive wakes the next. A new queue does not
-- know who waited on the one before it: it is told to all processes on quest:made. Times are the server's own: a test
-- that moves the clock does not end anybody's wait.

local function wait(q, process, wait_ms)
  redis.call('ZADD', q.key .. ':waiting', server_time() + wait_ms, process)
  if q.waits then return end
  q.waits = true
  redis.call('HSET', q.key, 'waits', 1)
end

-- Wakes one process, if any waits: there is something for it. Nobody listening any more: the next one.
local function wake(q)
  while q.waits and not q.paused do
    local process, until_ms = unpack(redis.call('ZPOPMIN', q.key .. ':waiting'))
    if not process then
      q.waits = false
      redis.call('HSET', q.key, 'waits', '')
    elseif tonumber(until_ms) >= server_time() then
      local listeners = redis.pcall('PUBLISH', 'quest:wake:' .. process, q.key)
      if listeners ~= 0 then return end
    end
  end
end

-- Wakes every process: what they know of the queue has changed.
local function wake_all(q)
  for _, process in ipairs(redis.call('ZRANGE', q.key .. ':waiting', 0, -1)) do
    redis.pcall('PUBLISH', 'quest:wake:' .. process, q.key)
  end
  redis.call('UNLINK', q.key .. ':waiting')
  redis.call('HSET', q.key, 'waits', '')
end
