-- Messages of a FIFO queue: sent once in five minutes, received group by group in order.

local fifo_send

do
  -- Which of `count` entries are to be stored: their places, how many these are, and for each entry what is remembered of
  -- it, or which of those that are stored it is or repeats.
  local function tell_new(q, t, entries, first, count)
    local digests, new, new_count, by_digest = slots(count), slots(count), 0, {}
    for i = 1, count do digests[i] = entries[first + ENTRY * i - 1] end
    local origin = remembered(q, t, digests)
    if count == 1 and not origin[1] then return {first}, 1, {1} end
    for i = 1, count do
      if not origin[i] then
        local digest = digests[i]
        local n = by_digest[digest]
        if not n then
          new_count = new_count + 1
          n, new[new_count], by_digest[digest] = new_count, first + ENTRY * (i - 1), new_count
        end
        origin[i] = n
      end
    end
    return new, new_count, origin
  end

  -- Notes that new messages, at these places among the entries, are delayed: since when, and of which group each is.
  local function delay(q, t, entries, new, new_count, before)
    local delayed, deliveries = {}, {}
    for n = 1, new_count do
      delayed[#delayed + 1] = t
      delayed[#delayed + 1] = before + n
      deliveries[#deliveries + 1] = before + n
      deliveries[#deliveries + 1] = delivery_of(0, 0, 0, 0, entries[new[n] + 4])
    end
    redis.call('ZADD', q.delayed, unpack(delayed))
    redis.call('HSET', q.deliveries, unpack(deliveries))
  end

  -- Stores those entries that are new; their sequences are those after `before`.
  local function store(q, t, entries, new, new_count, before)
    local sent, until_ms, size = bytes_of_ms(t), window_end(t), 0
    local records, memories, group_ids, members = slots(2 * new_count), slots(2 * new_count), {}, {}
    for n = 1, new_count do
      local place, sequence = new[n], before + n
      local id, group = entries[place], entries[place + 4]
      local others = members[group]
      size = size + 2
      records[size - 1], records[size] = sequence, record_of(sent, id, entries[place + 2], entries[place + 3])
      memories[size - 1], memories[size] = entries[place + 5], until_ms .. struct.pack('>I6', sequence) .. id
      if others then others[#others + 1] = sequence else group_ids[#group_ids + 1], members[group] = group, {sequence} end
    end
    redis.call('HSET', q.messages, unpack(records))
    if q.delay_ms > 0 then delay(q, t, entries, new, new_count, before) end
    lower_alarm(q, t, t + (q.delay_ms > 0 and math.min(q.delay_ms, q.retention_ms) or q.retention_ms))
    remember(q, t, memories)
    join(q, t, group_ids, members)
  end

  -- Stores new messages, but for those that the last five minutes have seen: see quest_send for `entries` and `most`. A
  -- delay is the queue's. Returns sequence and MessageId of each, of the original for a repeated one, which needs no room.
  fifo_send = function(q, t, entries, first, most)
    local count, before = (#entries - first + 1) / ENTRY, 0
    if count == 0 then return {} end
    local new, new_count, origin = tell_new(q, t, entries, first, count)
    if new_count > 0 then
      check_room(q, new_count, most)
      before = redis.call('HINCRBY', q.key, 'sequence', new_count) - new_count
      store(q, t, entries, new, new_count, before)
    end
    local reply = slots(2 * count)
    for i = 1, count do
      local from = origin[i]
      local place = new[from]
      if place then
        reply[2 * i - 1], reply[2 * i] = before + from, entries[place]
      else
        reply[2 * i - 1], reply[2 * i] = struct.unpack('>I6c16', from)
      end
    end
    return reply
  end
end

local prefix, fifo_receive

do
  -- The records and deliveries of messages.
  local function contents_of(q, sequences)
    if #sequences == 0 then return sequences, sequences end
    return redis.call('HMGET', q.messages, unpack(sequences)), redis.call('HMGET', q.deliveries, unpack(sequences))
  end

  -- What is to be looked at of groups for `max` messages, `each` for one receive, of which the first has `share` already:
  -- sequences of all, where among them each group's end, and whether each has no more. Groups that are not needed have none.
  local function choose(q, group_ids, max, each, share)
    local orders = redis.call('HMGET', q.order, unpack(group_ids))
    local sequences, ends, complete, length = slots(math.min(max, #group_ids)), {}, {}, 0
    for i = 1, #group_ids do
      if length == max then break end
      local order, before = orders[i] or '', length
      if order ~= '' and not string.find(order, ' ', 1, true) then -- mostly it is one message
        length = length + 1
        sequences[length], complete[i] = order, true
      else
        local some
        some, complete[i] = members_of(q, group_ids[i], order, 0, math.min(each - share, max - length))
        for j = 1, #some do sequences[length + j] = some[j] end
        length = length + #some
      end
      ends[i], share = length, (share + length - before) % each
    end
    for i = length + 1, #sequences do sequences[i] = nil end
    return sequences, ends, complete
  end

  -- Adds the visible prefix of a group, at most `max` messages, to `taken`: {sequence, record, receive count so far, first ms
  -- or nil, group}. Expired and exhausted ones leave it on the way. Returns `work`, with what was done in vain. What has been
  -- read of the group is given, if anything was: its first messages, in the places `from` to `to`, and whether these are all.
  prefix = function(q, t, group, max, work, taken, from, to, complete, sequences, records, deliveries)
    local before = #taken
    local enough = before + max
    while #taken < enough and work < WORK_LIMIT do
      local start = #taken - before
      if not sequences then
        local order = redis.call('HGET', q.order, group) or ''
        sequences, complete = members_of(q, group, order, start, max - start)
        records, deliveries = contents_of(q, sequences)
        from, to = 1, #sequences
      end
      for i = from, math.min(to, from + max - 1) do
        local sequence, record, delivery, count, first_ms = sequences[i], records[i], deliveries[i], 0, nil
        if delivery then
          count, first_ms = struct.unpack('>I4I6', delivery)
          if is_hidden(q, sequence, t) or is_delayed(q, sequence, t) then return work end
        end
        if not record then -- its head did not say the group that it was in
          leave(q, {sequence}, {delivery_of(0, 0, 0, 0, group)})
          work = work + 1
        elseif sent_ms_of(record) + q.retention_ms <= t then
          remove(q, t, {sequence}, {delivery})
          work = work + 10
        elseif q.target and is_exhausted(q, count) and dead_letter(q, t, sequence, record, delivery) then
          work = work + 40 + #record * WORK_LIMIT / BYTES_LIMIT
        else
          taken[#taken + 1] = {sequence, record, count, count > 0 and first_ms or nil, group}
        end
      end
      if complete and #taken - before - start == to - from + 1 then break end -- all of it was taken
      sequences = nil
    end
    return work
  end

  -- Hands out what was taken of the groups `served`, those of `given` from `start` on. They have no turn while that is hidden,
  -- and the turns behind all others when it is not, as `passed` have, of which nothing was taken.
  local function give_out(q, t, given, start, served, passed, visibility_ms)
    if #given >= start then
      hand_out(q, t, given, visibility_ms, 0, start)
      if visibility_ms > 0 then redis.call('ZREM', q.groups, unpack(served)) end
    end
    if visibility_ms == 0 then
      for i = 1, #served do refresh(q, t, served[i], 'back') end
    end
    for i = 1, #passed do refresh(q, t, passed[i], 'back') end
  end

  -- The groups whose turn it is, at most `count`, up to the first of those that were `seen`.
  local function groups_in_turn(q, count, seen)
    local group_ids = redis.call('ZRANGE', q.groups, 0, count - 1)
    for i = 1, seen and #group_ids or 0 do
      if seen[group_ids[i]] then return {unpack(group_ids, 1, i - 1)} end
    end
    return group_ids
  end

  -- Hands out up to `max` messages of the groups whose turn it is, to one receive after the other, up to `each` to one, and
  -- no two of them have messages of one group; each group waits behind the others then. Returns as receive does. What
  -- several receives get is read and written together: four of them take half of the instructions.
  fifo_receive = function(q, t, max, visibility_ms, each)
    local given, shares, share, work, seen = {}, {}, 0, 0, nil
    while true do
      local wanted, start, from, served, passed = max - #given, #given + 1, 1, {}, {}
      local group_ids = groups_in_turn(q, wanted, seen)
      if #group_ids == 0 then break end
      local sequences, ends, complete = choose(q, group_ids, wanted, each, share)
      local records, deliveries = contents_of(q, sequences)
      for i = 1, #ends do
        local group, before = group_ids[i], #given
        if before == max or work >= WORK_LIMIT then break end
        local record = complete[i] and from == ends[i] and not deliveries[from] and records[from]
        if record and sent_ms_of(record) + q.retention_ms > t then -- mostly one message, new: 4 % less than prefix()
          given[before + 1] = {sequences[from], record, 0, nil, group}
        else
          local most = math.min(each - share, max - before)
          work = prefix(q, t, group, most, work, given, from, ends[i], complete[i], sequences, records, deliveries)
        end
        if #given > before then served[#served + 1] = group else passed[#passed + 1] = group end
        share, from = share + #given - before, ends[i] + 1
        if share == each then shares[#shares + 1], share = each, 0 end
      end
      give_out(q, t, given, start, served, passed, visibility_ms)
      if #given == max or work >= WORK_LIMIT or #group_ids < wanted and #ends == #group_ids then break end
      seen = seen or {}
      for i = 1, #ends do seen[group_ids[i]] = true end
    end
    if share > 0 then shares[#shares + 1] = share end
    return given, #given < max and work >= WORK_LIMIT, shares
  end
end

local function digest_of(attempt) return redis.sha1hex(attempt) end

-- What an earlier receive under the same ReceiveRequestAttemptId gave, hidden for another `visibility_ms`: a list as
-- receive gives it, with the ms of that receive; nil when there was none, or when its messages are visible again.
local function receive_again(q, t, attempt, visibility_ms)
  local memory = remembered(q, t, {digest_of(attempt)})[1]
  if not memory then return nil end
  local again, hidden, running = {}, {}, true
  for start = 1, #memory, 16 do
    local sequence, count, received_ms = struct.unpack('>I6I4I6', memory, start)
    local record = redis.call('HGET', q.messages, sequence)
    if not record then fail('AttemptNotRetryable', attempt) end
    local delivery = redis.call('HGET', q.deliveries, sequence)
    local latest_count, first_ms, latest_ms, changed = 0, 0, 0, 0
    if delivery then latest_count, first_ms, latest_ms, changed = parts_of_delivery(delivery) end
    if latest_count ~= count or latest_ms ~= received_ms then
      running = false
    elseif changed == 1 then
      fail('AttemptNotRetryable', attempt)
    end
    running = running and is_hidden(q, sequence, t)
    again[#again + 1] = {string.format('%d', sequence), record, count, first_ms, received_ms}
    hidden[#hidden + 1] = t + visibility_ms
    hidden[#hidden + 1] = sequence
  end
  if not running then -- that attempt is over; what becomes of its messages from now on is nothing to the next
    redis.call('HDEL', q.windows, digest_of(attempt))
    redis.call('HDEL', q.windows_before, digest_of(attempt))
    return nil
  end
  redis.call('ZADD', q.inflight, unpack(hidden))
  lower_alarm(q, t, t + visibility_ms)
  if visibility_ms == 0 then promote(q, t, #again) end
  return again
end

-- Remembers what a receive gave under a ReceiveRequestAttemptId.
local function remember_attempt(q, t, attempt, given)
  local memory = {}
  for i, message in ipairs(given) do memory[i] = struct.pack('>I6I4I6', message[1], message[3], t) end
  remember(q, t, {digest_of(attempt), window_end(t) .. table.concat(memory)})
end
