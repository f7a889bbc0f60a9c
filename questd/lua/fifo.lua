-- Messages of a FIFO queue: sent once in five minutes, received group by group in order.

local FORGET = 4 -- expired windows that a send forgets: more than it adds

-- Which of `entries` are to be stored: their places among them, and for each entry what is remembered of it, or which of
-- those that are stored it is or repeats.
local function tell_new(q, t, entries, first)
  local digests, new, by_digest = {''}, {}, {}
  for place = first, #entries, ENTRY do digests[(place - first) / ENTRY + 1] = entries[place + 5] end
  local origin = remembered(q, t, digests)
  if #digests == 1 and not origin[1] then return {1}, {1} end
  for i = 1, #digests do
    local digest = digests[i]
    if not origin[i] then
      if not by_digest[digest] then
        new[#new + 1] = i
        by_digest[digest] = #new
      end
      origin[i] = by_digest[digest]
    end
  end
  return new, origin
end

-- Notes that new messages (`members`: group -> sequences) are delayed: since when, and of which group each is.
local function delay(q, t, members)
  local delayed, deliveries = {}, {}
  for group, sequences in pairs(members) do
    for _, sequence in ipairs(sequences) do
      delayed[#delayed + 1] = t
      delayed[#delayed + 1] = sequence
      deliveries[#deliveries + 1] = sequence
      deliveries[#deliveries + 1] = delivery_of(0, 0, 0, 0, group)
    end
  end
  redis.call('ZADD', q.key .. ':delayed', unpack(delayed))
  redis.call('HSET', q.deliveries, unpack(deliveries))
end

-- Stores new messages, but for those that the last five minutes have seen: see quest_send for `entries` and `most`. A
-- delay is the queue's. Returns sequence and MessageId of each, of the original for a repeated one, which needs no room.
local function fifo_send(q, t, entries, first, most)
  if first > #entries then return {} end
  local new, origin = tell_new(q, t, entries, first)
  if #new > 0 then check_room(q, #new, most) end
  forget_expired(q, t, FORGET)
  local before = #new > 0 and redis.call('HINCRBY', q.key, 'sequence', #new) - #new or 0
  local records, memories, group_ids, members, reply = slots(2 * #new), slots(2 * #new), {}, {}, slots(2 * #origin)
  for n = 1, #new do
    local place, sequence = first + ENTRY * (new[n] - 1), before + n
    local id, group = entries[place], entries[place + 4]
    records[2 * n - 1], records[2 * n] = sequence, record_of(t, id, entries[place + 2], entries[place + 3])
    memories[2 * n - 1], memories[2 * n] = entries[place + 5], struct.pack('>I6', sequence) .. id
    local others = members[group]
    if others then others[#others + 1] = sequence else group_ids[#group_ids + 1], members[group] = group, {sequence} end
  end
  if #new > 0 then
    redis.call('HSET', q.messages, unpack(records))
    if q.delay_ms > 0 then delay(q, t, members) end
    lower_alarm(q, t, t + (q.delay_ms > 0 and math.min(q.delay_ms, q.retention_ms) or q.retention_ms))
    remember(q, t, memories)
    join(q, t, group_ids, members)
  end
  for i = 1, #origin do
    local from = origin[i]
    if new[from] then
      reply[2 * i - 1], reply[2 * i] = before + from, entries[first + ENTRY * (new[from] - 1)]
    else
      reply[2 * i - 1], reply[2 * i] = struct.unpack('>I6c16', from)
    end
  end
  return reply
end

-- What the lists of groups have from the place `start` on, up to `count` messages of each, read together: sequences,
-- records and deliveries of all, where among them each group's end, and whether each has no more. With `beyond` 1 that is
-- known of one that has just so many, too.
local function look_at(q, group_ids, start, count, beyond)
  local sequences, ends, complete, length = nil, {}, {}, 0
  for i = 1, #group_ids do
    local some = redis.call('LRANGE', list_of(q, group_ids[i]), start, start + count + beyond - 1)
    complete[i] = #some < count + beyond
    if #some > count then some[count + 1] = nil end
    if not sequences then
      sequences = some
    else
      for j = 1, #some do sequences[length + j] = some[j] end
    end
    length = length + #some
    ends[i] = length
  end
  if length == 0 then return sequences, sequences, sequences, ends, complete end
  local records = redis.call('HMGET', q.messages, unpack(sequences))
  return sequences, records, redis.call('HMGET', q.deliveries, unpack(sequences)), ends, complete
end

-- Adds the visible prefix of a group, at most `max` messages, to `taken`: {sequence, record, receive count so far, first ms
-- or nil, group}. Expired and exhausted ones leave it on the way. Returns `work`, with what was done in vain. What has been
-- read of the group is given, if anything was: its first messages, in the places `from` to `to`, and whether these are all.
local function prefix(q, t, group, max, work, taken, from, to, complete, sequences, records, deliveries)
  local before = #taken
  local enough = before + max
  while #taken < enough and work < WORK_LIMIT do
    local start = #taken - before
    if not sequences then
      local ends, completes
      sequences, records, deliveries, ends, completes = look_at(q, {group}, start, max - start, 0)
      from, to, complete = 1, ends[1], completes[1]
    end
    for i = from, math.min(to, from + max - 1) do
      local sequence, record, delivery, count, first_ms = sequences[i], records[i], deliveries[i], 0, nil
      if delivery then
        count, first_ms = struct.unpack('>I4I6', delivery)
        if is_hidden(q, sequence, t) or is_delayed(q, sequence, t) then return work end
      end
      if not record then -- its head did not say the group that it was in
        redis.call('LREM', list_of(q, group), 1, sequence)
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

-- Hands out what was taken of groups, those of `given` from `start` on. The groups get the turns behind all others:
-- `turns` has HIDDEN and the name of each of which some were taken, the first of the group among them; `passed` those of
-- which none was, nil for no group.
local function give_out(q, t, given, start, turns, passed, visibility_ms)
  if #given >= start then
    hand_out(q, t, given, visibility_ms, 0, start)
    if visibility_ms > 0 then redis.call('ZADD', q.groups, unpack(turns)) end
  end
  if visibility_ms == 0 then
    for i = 2, #turns, 2 do refresh(q, t, turns[i], 'back') end
  end
  for i = 1, passed and #passed or 0 do refresh(q, t, passed[i], 'back') end
end

-- The groups whose turn it is, at most `count`, up to the first of those that were `seen`.
local function groups_in_turn(q, count, seen)
  local group_ids = redis.call('ZRANGE', q.groups, '-inf', BELOW_HIDDEN, 'BYSCORE', 'LIMIT', 0, count)
  if not seen then return group_ids end
  for i = 1, #group_ids do
    if seen[group_ids[i]] then return {unpack(group_ids, 1, i - 1)} end
  end
  return group_ids
end

-- Hands out up to `max` messages of the groups whose turn it is, to one receive after the other, up to `each` to one, and
-- no two of them have messages of one group; each group waits behind the others then. Returns as receive does. What
-- several receives get is read and written together: four of them take half of the instructions.
local function fifo_receive(q, t, max, visibility_ms, each)
  local given, shares, share, work, seen = {}, {}, 0, 0, nil
  local wanted = math.ceil(max / each) -- groups to look at: one for each receive, and more when these have too little
  while true do
    local group_ids = groups_in_turn(q, wanted, seen)
    if #group_ids == 0 then break end
    local turns, passed, from, start = {}, nil, 1, #given + 1
    local most = math.min(each, max - #given)
    local asked = math.min(each, math.ceil((max - #given) / #group_ids))
    local sequences, records, deliveries, ends, complete = look_at(q, group_ids, 0, asked, asked < most and 1 or 0)
    for i = 1, #group_ids do
      local group, before = group_ids[i], #given
      if before == max or work >= WORK_LIMIT then break end
      most = math.min(each - share, max - before)
      work = prefix(q, t, group, most, work, given, from, ends[i], complete[i], sequences, records, deliveries)
      if #given > before then
        turns[#turns + 1] = HIDDEN
        turns[#turns + 1] = group
      else
        passed = passed or {}
        passed[#passed + 1] = group
      end
      share, from = share + #given - before, ends[i] + 1
      if share == each then shares[#shares + 1], share = each, 0 end
    end
    give_out(q, t, given, start, turns, passed, visibility_ms)
    if #given == max or work >= WORK_LIMIT then break end
    wanted, seen = max - #given, seen or {}
    for i = 1, #group_ids do seen[group_ids[i]] = true end
  end
  if share > 0 then shares[#shares + 1] = share end
  return given, #given < max and work >= WORK_LIMIT, shares
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
    local record = redis.call('HGET', q.key .. ':messages', sequence)
    if not record then fail('AttemptNotRetryable', attempt) end
    local delivery = redis.call('HGET', q.key .. ':deliveries', sequence)
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
    redis.call('HDEL', q.key .. ':windows', digest_of(attempt))
    return nil
  end
  redis.call('ZADD', q.key .. ':inflight', unpack(hidden))
  lower_alarm(q, t, t + visibility_ms)
  if visibility_ms == 0 then promote(q, t, #again) end
  return again
end

-- Remembers what a receive gave under a ReceiveRequestAttemptId.
local function remember_attempt(q, t, attempt, given)
  local memory = {}
  for i, message in ipairs(given) do memory[i] = struct.pack('>I6I4I6', message[1], message[3], t) end
  remember(q, t, {digest_of(attempt), table.concat(memory)})
end
