-- Messages of a standard queue: stored among the visible ones, taken off their head. Entries of messages that are gone or
-- hidden are dropped on the way.

local TOGETHER = 10 -- entries that a receive takes at once
local UNGROUPED = {''} -- the groups of a queue that is not fair

-- Drops the dead entries at the head of the visible messages of a group, at most `limit`; without messages it drops them
-- all at once, which is no work. Returns how many.
local function drop_dead(q, group, limit)
  local list = visible_list(q, group)
  if redis.call('HLEN', q.messages) == 0 then
    redis.call('UNLINK', list)
    return 0
  end
  local dead = 0
  for _, sequence in ipairs(redis.call('LRANGE', list, 0, limit - 1)) do
    if redis.call('HEXISTS', q.messages, sequence) == 1 then break end
    dead = dead + 1
  end
  if dead > 0 then redis.call('LTRIM', list, dead, -1) end
  return dead
end

-- Drops dead entries at the head of every list that an expired message may have stood in, at most `limit` of each: those
-- of the groups that come first.
local function drop_dead_heads(q, limit)
  if q.fifo then return end
  drop_dead(q, '', limit)
  if not q.fair then return end
  for _, group in ipairs(redis.call('ZRANGE', q.groups, 0, TOGETHER - 1)) do
    drop_dead(q, group, math.floor(limit / TOGETHER))
    give_place(q, group)
  end
end

-- Stores new messages: see quest_send for `entries` and `most`. Returns the sequence of the last one.
local function standard_send(q, t, entries, first, most)
  local queue = q.key
  local count = (#entries - first + 1) / ENTRY
  if count == 0 then return last_sequence(queue) end
  check_room(q, count, most)
  local last = redis.call('HINCRBY', queue, 'sequence', count)
  local records, delayed, waiting, due = slots(2 * count), nil, nil, t + q.retention_ms
  local visible, group_ids, visible_count = slots(count), nil, 0 -- the groups: from the first message with one on
  local sequence, size, sent = last - count, 0, bytes_of_ms(t)
  for place = first, #entries, ENTRY do
    local delay_ms, group = entries[place + 1], entries[place + 4]
    sequence, size = sequence + 1, size + 2
    records[size - 1], records[size] = sequence, record_of(sent, entries[place], entries[place + 2], entries[place + 3])
    local ready_ms = t + (delay_ms == '' and q.delay_ms or tonumber(delay_ms))
    if ready_ms > t then
      delayed, waiting = delayed or {}, waiting or {}
      delayed[#delayed + 1] = ready_ms
      delayed[#delayed + 1] = sequence
      if group ~= '' then
        waiting[#waiting + 1] = sequence
        waiting[#waiting + 1] = delivery_of(0, 0, 0, 0, group)
      end
      due = math.min(due, ready_ms)
    else
      visible_count = visible_count + 1
      visible[visible_count] = sequence
      if group ~= '' or group_ids then
        group_ids = group_ids or {}
        for i = #group_ids + 1, visible_count - 1 do group_ids[i] = '' end
        group_ids[visible_count] = group
      end
    end
  end
  redis.call('HSET', q.messages, unpack(records))
  if delayed then
    redis.call('ZADD', q.delayed, unpack(delayed))
    if #waiting > 0 then
      redis.call('HSET', q.deliveries, unpack(waiting))
      become_fair(q)
    end
  end
  lower_alarm(q, t, due)
  if visible_count > 0 then
    for i = visible_count + 1, count do visible[i] = nil end
    enlist(q, visible, group_ids)
    if q.waits then wake(q) end
  end
  return last
end

-- Looks at messages taken off the list of a group, and adds those to be handed out to `taken`: {sequence, record, receive
-- count so far, first ms or nil, group}. Returns what was done in vain.
local function sort_out(q, t, group, sequences, taken)
  local work, dead, expired_ms = 0, 0, t - q.retention_ms
  local records = redis.call('HMGET', q.messages, unpack(sequences))
  local deliveries = redis.call('HMGET', q.deliveries, unpack(sequences))
  for i = 1, #sequences do
    local sequence, record, delivery, count, first_ms, received_ms = sequences[i], records[i], deliveries[i], 0, nil, nil
    if delivery then count, first_ms, received_ms = parts_of_delivery(delivery) end
    if not record then
      dead = dead + 1
    elseif delivery and is_hidden(q, sequence, t) then
      redis.call('HSET', q.deliveries, sequence, delivery_of(count, first_ms, received_ms, 0, group))
      work = work + 10
    elseif struct.unpack('>I6', record) <= expired_ms then
      remove(q, t, {sequence})
      work = work + 10
    elseif q.target and is_exhausted(q, count) and dead_letter(q, t, sequence, record, delivery) then
      work = work + 40 + #record * WORK_LIMIT / BYTES_LIMIT
    else
      taken[#taken + 1] = {sequence, record, count, first_ms, group}
    end
  end
  if dead == #sequences then work = work + drop_dead(q, group, WORK_LIMIT) end
  return work + dead
end

-- Takes visible messages off their lists until it has found `max` to hand out. Returns them, and whether it stopped for
-- its work limit with entries left to look at.
local function take(q, t, max)
  local taken, work = {}, 0
  local order, place = q.fair and next_groups(q) or UNGROUPED, 1
  while #taken < max and work < WORK_LIMIT do
    local group = order[place]
    if not group then return taken, false end
    local sequences = redis.call('LPOP', visible_list(q, group), math.min(max - #taken, TOGETHER))
    if sequences then
      work = work + sort_out(q, t, group, sequences, taken)
      if q.fair then give_place(q, group) end
    else
      place = place + 1
      if q.fair and not order[place] then order, place = next_groups(q), 1 end
    end
  end
  return taken, #taken < max
end

-- Hands out up to `max` visible messages, hidden for `visibility_ms`. Returns what it gave, and whether there may be more
-- although it gave fewer.
local function standard_receive(q, t, max, visibility_ms)
  local given, more = take(q, t, max)
  if #given == 0 then return given, more end
  local group_ids = hand_out(q, t, given, visibility_ms, visibility_ms == 0 and 1 or 0, 1)
  if visibility_ms == 0 then -- pushed back only now, or one call would give a message twice
    local again, exhausted = {}, {}
    for i, message in ipairs(given) do
      again[i] = message[1]
      if is_exhausted(q, message[3]) then exhausted[#exhausted + 1] = message[1] end
    end
    enlist(q, again, group_ids)
    note_poison(q, t, exhausted)
  end
  return given, more
end
