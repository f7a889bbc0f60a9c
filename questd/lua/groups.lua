-- Groups of a FIFO queue. A group's list holds every living message of it in order, the ones in flight too; a receive
-- takes its visible prefix, up to the first message that is hidden or delayed. There is no other lock, and a message
-- that times out is back in its place by doing nothing. Whatever may have changed a group's first message ends with
-- refresh(), which gives the group its turn.

local HIDDEN = 2 ^ 52 -- the turn of a group whose first message is hidden: above every other

local function list_of(q, group) return q.key .. ':group:' .. q.epoch .. ':' .. group end

local function is_hidden(queue, sequence, t)
  local until_ms = redis.call('ZSCORE', queue .. ':inflight', sequence)
  return until_ms and tonumber(until_ms) > t
end

-- FIFO: a delay ends where the queue's DelaySeconds of now says, so `delayed` holds when messages were sent.
local function is_delayed(q, sequence, t)
  if q.delay_ms == 0 then return false end
  local sent_ms = redis.call('ZSCORE', q.key .. ':delayed', sequence)
  return sent_ms and tonumber(sent_ms) + q.delay_ms > t
end

-- Gives groups, whose first messages can be received, the turns behind all others, in this order.
local function queue_up(q, group_ids)
  local turn, turns = redis.call('HINCRBY', q.key, 'turn', #group_ids) - #group_ids, {}
  for i, group in ipairs(group_ids) do turns[2 * i - 1], turns[2 * i] = turn + i, group end
  redis.call('ZADD', q.key .. ':groups', unpack(turns))
end

-- Looks at the first message of a group and gives the group its turn. `place` is 'back' when the group was served, so
-- that it waits behind the others; 'front' when a receive of it was undone. A group released goes to the back.
local function refresh(q, t, group, place)
  local groups = q.key .. ':groups'
  local first = redis.call('LINDEX', list_of(q, group), 0)
  if not first then
    redis.call('ZREM', groups, group)
    return
  end
  local turn = tonumber(redis.call('ZSCORE', groups, group) or HIDDEN)
  if is_hidden(q.key, first, t) or is_delayed(q, first, t) then
    redis.call('ZADD', groups, HIDDEN, group)
    return
  end
  if place == 'front' then
    turn = tonumber(redis.call('ZRANGE', groups, 0, 0, 'WITHSCORES')[2] or 0)
    redis.call('ZADD', groups, turn == HIDDEN and 0 or turn - 1, group)
    wake(q)
  elseif place == 'back' or turn == HIDDEN then
    queue_up(q, {group})
    if place ~= 'back' then wake(q) end
  end
  if not q.target then return end
  local delivery = redis.call('HGET', q.key .. ':deliveries', first)
  if delivery and is_exhausted(q, (parts_of_delivery(delivery))) then note_poison(q, t, {first}) end
end

-- Refreshes each of `groups` (group -> true).
local function refresh_all(q, t, groups)
  for group in pairs(groups) do refresh(q, t, group) end
end

-- Adds messages at the back of their groups: `group_ids` in order, `members` (group -> sequences).
local function join(q, t, group_ids, members)
  local first_ones = {}
  for _, group in ipairs(group_ids) do
    local length = redis.call('RPUSH', list_of(q, group), unpack(members[group]))
    if length == #members[group] then first_ones[#first_ones + 1] = group end
  end
  if #first_ones == 0 then return end
  if q.delay_ms > 0 then
    for _, group in ipairs(first_ones) do refresh(q, t, group) end
  else -- new messages are not hidden
    queue_up(q, first_ones)
    wake(q)
  end
end

-- The groups of deliveries, as a set.
local function groups_of(deliveries)
  local groups = {}
  for _, delivery in ipairs(deliveries) do
    if delivery then
      local _, _, _, _, group = parts_of_delivery(delivery)
      groups[group] = true
    end
  end
  return groups
end

-- Takes messages, with their deliveries, off the lists of their groups; returns these groups, to be refreshed.
local function leave(q, sequences, deliveries)
  local groups = {}
  for i, delivery in ipairs(deliveries) do
    local record = not delivery and redis.call('HGET', q.key .. ':messages', sequences[i])
    local group = nil
    if delivery then
      group = select(5, parts_of_delivery(delivery))
    elseif record then
      group = head_of(record).MessageGroupId
    end
    if group then
      redis.call('LREM', list_of(q, group), 1, sequences[i])
      groups[group] = true
    end
  end
  return groups
end

-- Leaves every group at once: their lists are many, and the background task unlinks them.
local function abandon(q, t)
  if redis.call('EXISTS', q.key .. ':groups') == 0 then return end
  redis.call('RENAME', q.key .. ':groups', q.key .. ':groups:' .. q.epoch)
  redis.call('RPUSH', q.key .. ':purged', q.epoch)
  lower_alarm(q, t, t)
end

-- Unlinks up to `limit` lists of groups that a purge or DeleteQueue left. Returns whether there are more, nil
-- when there was nothing.
local function unlink_abandoned(queue, limit)
  local epoch = redis.call('LINDEX', queue .. ':purged', 0)
  if not epoch then return nil end
  local names = redis.call('ZPOPMIN', queue .. ':groups:' .. epoch, limit)
  local lists = {}
  for i = 1, #names, 2 do lists[#lists + 1] = queue .. ':group:' .. epoch .. ':' .. names[i] end
  if #lists > 0 then redis.call('UNLINK', unpack(lists)) end
  if #lists < limit then redis.call('LPOP', queue .. ':purged') end
  return redis.call('EXISTS', queue .. ':purged') == 1
end
