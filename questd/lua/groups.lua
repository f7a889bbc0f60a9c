-- Groups of a FIFO queue. A group's list holds every living message of it in order, the ones in flight too; a receive
-- takes its visible prefix, up to the first message that is hidden or delayed. There is no other lock, and a message
-- that times out is back in its place by doing nothing. Whatever may have changed a group's first message ends with
-- refresh(), which gives the group its turn.

local HIDDEN = 2 ^ 52 -- the turn of a group whose first message is hidden: above every other
local BELOW_HIDDEN = '(4503599627370496' -- the same, as ZRANGE BYSCORE takes it

local function list_of(q, group) return q.group_lists .. group end

local function is_hidden(q, sequence, t)
  local until_ms = redis.call('ZSCORE', q.inflight, sequence)
  return until_ms and until_ms - t > 0 -- a subtraction reads the text once, tonumber twice
end

-- FIFO: a delay ends where the queue's DelaySeconds of now says, so `delayed` holds when messages were sent.
local function is_delayed(q, sequence, t)
  if q.delay_ms == 0 then return false end
  local sent_ms = redis.call('ZSCORE', q.key .. ':delayed', sequence)
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
local function refresh(q, t, group, place)
  local groups = q.groups
  local first = redis.call('LINDEX', list_of(q, group), 0)
  if not first then
    redis.call('ZREM', groups, group)
    return
  end
  if is_hidden(q, first, t) or is_delayed(q, first, t) then
    redis.call('ZADD', groups, HIDDEN, group)
    return
  end
  if place == 'front' then
    local turn = tonumber(redis.call('ZRANGE', groups, 0, 0, 'WITHSCORES')[2] or 0)
    redis.call('ZADD', groups, turn == HIDDEN and 0 or turn - 1, group)
    wake(q)
  elseif place == 'back' then
    queue_up(q, {group})
  elseif tonumber(redis.call('ZSCORE', groups, group) or HIDDEN) == HIDDEN then
    queue_up(q, {group})
    wake(q)
  end
  if not q.target then return end
  local delivery = redis.call('HGET', q.key .. ':deliveries', first)
  if delivery and is_exhausted(q, (parts_of_delivery(delivery))) then note_poison(q, t, {first}) end
end

-- Refreshes each of `groups` (group -> true).
local function refresh_all(q, t, groups)
  local only = next(groups)
  if not only then return end
  if not next(groups, only) then return refresh(q, t, only) end
  local group_ids, lists = {}, {}
  for group in pairs(groups) do
    group_ids[#group_ids + 1], lists[#lists + 1] = group, list_of(q, group)
  end
  if redis.call('EXISTS', unpack(lists)) == 0 then -- after a delete of ten: 2 commands for 20
    redis.call('ZREM', q.groups, unpack(group_ids))
    return
  end
  for _, group in ipairs(group_ids) do refresh(q, t, group) end
end

-- Adds messages at the back of their groups: `group_ids` in order, `members` (group -> sequences).
local function join(q, t, group_ids, members)
  local first_ones = {}
  for i = 1, #group_ids do
    local group = group_ids[i]
    local sequences = members[group]
    if redis.call('RPUSH', list_of(q, group), unpack(sequences)) == #sequences then first_ones[#first_ones + 1] = group end
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
    if delivery then groups[group_of_delivery(delivery)] = true end
  end
  return groups
end

-- Takes messages, with their deliveries, off the lists of their groups; returns these groups, to be refreshed.
local function leave(q, sequences, deliveries)
  local groups = {}
  for i = 1, #sequences do
    local delivery = deliveries[i]
    local record = not delivery and redis.call('HGET', q.messages, sequences[i])
    local group = nil
    if delivery then
      group = group_of_delivery(delivery)
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
