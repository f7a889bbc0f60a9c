-- Groups of a FIFO queue. `order` has every living message of a group in order, the ones in flight too; a receive takes
-- its visible prefix, up to the first message that is hidden or delayed. There is no other lock, and a message that times
-- out is back in its place by doing nothing. Whatever may have changed a group's first message ends with refresh(), which
-- gives the group its turn, or takes it while that message is hidden.

local function is_hidden(q, sequence, t)
  local until_ms = redis.call('ZSCORE', q.inflight, sequence)
  return until_ms and until_ms - t > 0 -- a subtraction reads the text once, tonumber twice
end

-- Of each message whether it is in flight. One command for all takes a twentieth off a delete of four.
local function are_hidden(q, sequences, t)
  if #sequences == 0 then return {} end
  local until_ms = redis.call('ZMSCORE', q.inflight, unpack(sequences))
  for i = 1, #sequences do until_ms[i] = until_ms[i] and until_ms[i] - t > 0 end
  return until_ms
end

-- FIFO: a delay ends where the queue's DelaySeconds of now says, so `delayed` holds when messages were sent.
local function is_delayed(q, sequence, t)
  if q.delay_ms == 0 then return false end
  local sent_ms = redis.call('ZSCORE', q.delayed, sequence)
  return sent_ms and tonumber(sent_ms) + q.delay_ms > t
end

-- Gives groups, whose first messages can be received, the turns behind all others, in this order.
local function queue_up(q, group_ids)
  local turn, turns = redis.call('HINCRBY', q.key, 'turn', #group_ids) - #group_ids, slots(2 * #group_ids)
  for i = 1, #group_ids do turns[2 * i - 1], turns[2 * i] = turn + i, group_ids[i] end
  redis.call('ZADD', q.groups, unpack(turns))
end

-- Looks at the first message of a group and gives the group its turn. `place` is 'back' when the group was served, so
-- that it waits behind the others; 'front' when a receive of it was undone. A group released goes to the back.
local function refresh(q, t, group, place, first)
  local groups = q.groups
  first = first or first_of(q, group)
  if not first or is_hidden(q, first, t) or is_delayed(q, first, t) then
    redis.call('ZREM', groups, group)
    return
  end
  if place == 'front' then
    redis.call('ZADD', groups, (redis.call('ZRANGE', groups, 0, 0, 'WITHSCORES')[2] or 0) - 1, group)
    wake(q)
  elseif place == 'back' then
    queue_up(q, {group})
  elseif not redis.call('ZSCORE', groups, group) then
    queue_up(q, {group})
    wake(q)
  end
  if not q.target then return end
  local delivery = redis.call('HGET', q.deliveries, first)
  if delivery and is_exhausted(q, (parts_of_delivery(delivery))) then note_poison(q, t, {first}) end
end

-- Refreshes each of `groups` (group -> its first sequence, or true).
local function refresh_all(q, t, groups)
  for group, first in pairs(groups) do refresh(q, t, group, nil, first ~= true and first) end
end

-- Adds messages at the back of their groups: `group_ids` in order, `members` (group -> sequences).
local function join(q, t, group_ids, members)
  local orders = redis.call('HMGET', q.order, unpack(group_ids))
  local changed, size, first_ones = slots(2 * #group_ids), 0, {}
  for i = 1, #group_ids do
    local group, order = group_ids[i], orders[i]
    if not order then first_ones[#first_ones + 1] = group end
    order = lengthened(q, group, order, members[group])
    if order then changed[size + 1], changed[size + 2], size = group, order, size + 2 end
  end
  if size > 0 then redis.call('HSET', q.order, unpack(changed, 1, size)) end
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
    if delivery then groups[group_of_delivery(delivery)] = true end
  end
  return groups
end

-- Of each group the messages that leave it, with their deliveries: groups in order, group -> sequences.
local function by_group(q, sequences, deliveries)
  local group_ids, leaving = {}, {}
  for i = 1, #sequences do
    local delivery = deliveries[i]
    local record = not delivery and redis.call('HGET', q.messages, sequences[i])
    local group = delivery and group_of_delivery(delivery) or record and head_of(record).MessageGroupId
    local others = group and leaving[group]
    if others then
      others[#others + 1] = sequences[i]
    elseif group then
      group_ids[#group_ids + 1], leaving[group] = group, {sequences[i]}
    end
  end
  return group_ids, leaving
end

-- Takes messages, with their deliveries, out of the orders of their groups; returns the groups that are to be refreshed
-- (group -> first sequence). `in_flight`: all of them are, so those that leave nothing behind have no turn to be taken.
local function leave(q, sequences, deliveries, in_flight)
  local group_ids, leaving = by_group(q, sequences, deliveries)
  if #group_ids == 0 then return leaving end
  local orders, gone, changed, rest = redis.call('HMGET', q.order, unpack(group_ids)), 0, {}, {}
  for i = 1, #group_ids do
    local group, order = group_ids[i], orders[i]
    if order and order ~= leaving[group][1] then order = shortened(q, group, order, leaving[group]) else order = '' end
    if order == '' then -- so many of the groups are gone, which move to the front of them
      gone = gone + 1
      group_ids[gone] = group
    else
      changed[#changed + 1] = group
      changed[#changed + 1] = order
      rest[group] = string.match(order, '^%d+')
    end
  end
  if #changed > 0 then redis.call('HSET', q.order, unpack(changed)) end
  if gone > 0 then
    redis.call('HDEL', q.order, unpack(group_ids, 1, gone))
    if not in_flight then redis.call('ZREM', q.groups, unpack(group_ids, 1, gone)) end
  end
  return rest
end

-- Leaves every group at once: their lists may be many, and the background task unlinks them.
local function abandon(q, t)
  local registry = q.fifo and q.long or q.groups
  if redis.call('EXISTS', registry) == 1 then
    redis.call('RENAME', registry, q.key .. ':groups:' .. q.epoch)
    redis.call('RPUSH', q.key .. ':purged', q.epoch)
    lower_alarm(q, t, t)
  end
  redis.call('UNLINK', q.groups, q.order)
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
