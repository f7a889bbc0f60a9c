-- Durability: WAIT and WAITAOF speak of what their own connection has written, and only of what a call really changed.
-- A repeated send, or a delete of what is gone, changes nothing, and its answer rests on what another connection wrote.

-- quest_mark: write something that leaves nothing, so that the WAIT behind it is for all that was written before.
-- KEYS  a queue
-- Reply 1
register('quest_mark', {'allow-oom'}, {}, function(keys)
  local mark = keys[1] .. ':mark'
  redis.call('SET', mark, 1)
  return redis.call('DEL', mark)
end)
