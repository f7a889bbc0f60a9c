-- Messages of a FIFO queue: sent once in five minutes, received group by group in order.

local FORGET = 4 -- expired windows that a send forgets: more than it adds

-- Which of `entries` are to be stored: their places, and for each entry what is remembered of it, or the number of the
-- entry that is stored in its stead.
local function tell_new(q, t, entries, first)
  local digests, new, by_digest, origin = {}, {}, {}, {}
  for i = first, #entries, ENTRY do digests[#digests + 1] = entries[i + 5] end
  for i, memory in ipairs(remembered(q.key, t, digests)) do
    local digest = digests[i]
    if not memory and not by_digest[digest] then
      new[#new + 1] = i
      by_digest[digest] = #new
    end
    origin[i] = memory or by_digest[digest]
  end
  return new, origin
end

-- Stores new messages, but for those that the last five minutes have seen: see quest_send for `entries` and `most`. A
-- delay is the queue's. Returns sequence and MessageId of each, of the original for a repeated one, which needs no room.
local function fifo_send(q, t, entries, first, most)
  local queue = q.key
  if first > #entries then return {} end
  local new, origin = tell_new(q, t, entries, first)
  if #new > 0 then check_room(q, #new, most) end
  forget_expired(queue, t, FORGET)
  local last = #new > 0 and redis.call('HINCRBY', queue, 'sequence', #new) or 0
  local stored, records, memories, delayed, deliveries, group_ids, members = {}, {}, {}, {}, {}, {}, {}
  for n, i in ipairs(new) do
    local id, _, head, body, group, digest = unpack(entries, first + ENTRY * (i - 1), first + ENTRY * i - 1)
    local sequence = last - #new + n
    stored[n] = struct.pack('>I6', sequence) .. id
    records[2 * n - 1], records[2 * n] = sequence, record_of(t, id, head, body)
    memories[2 * n - 1], memories[2 * n] = digest, stored[n]
    delayed[2 * n - 1], delayed[2 * n] = t, sequence
    deliveries[2 * n - 1], deliveries[2 * n] = sequence, delivery_of(0, 0, 0, 0, group)
    if not members[group] then group_ids[#group_ids + 1], members[group] = group, {} end
    table.insert(members[group], sequence)
  end
  if #new > 0 then
    redis.call('HSET', queue .. ':messages', unpack(records))
    if q.delay_ms > 0 then
      redis.call('ZADD', queue .. ':delayed', unpack(delayed))
      redis.call('HSET', queue .. ':deliveries', unpack(deliveries))
    end
    lower_alarm(q, t, t + (q.delay_ms > 0 and math.min(q.delay_ms, q.retention_ms) or q.retention_ms))
    remember(q, t, memories)
    join(q, t, group_ids, members)
  end
  local reply = {}
  for i, from in ipairs(origin) do
    local sequence, id = struct.unpack('>I6c16', type(from) == 'number' and stored[from] or from)
    reply[2 * i - 1], reply[2 * i] = sequence, id
  end
  return reply
end

-- The visible prefix of a group, at most `max` messages: a list of {sequence, record, receive count so far, first ms or
-- nil}. Expired and exhausted ones leave it on the way. `work` counts what is done in vain.
local function prefix(q, t, group, max, work)
  local queue, taken = q.key, {}
  while #taken < max and work.done < WORK_LIMIT do
    local sequences = redis.call('LRANGE', list_of(q, group), #taken, max - 1)
    if #sequences == 0 then break end
    local records = redis.call('HMGET', queue .. ':messages', unpack(sequences))
    local deliveries = redis.call('HMGET', queue .. ':deliveries', unpack(sequences))
    for i, sequence in ipairs(sequences) do
      local record, delivery, count, first_ms = records[i], deliveries[i], 0, nil
      if delivery then
        count, first_ms = parts_of_delivery(delivery)
        if is_hidden(queue, sequence, t) or is_delayed(q, sequence, t) then return taken end
      end
      if not record then -- its head did not say the group that it was in
        redis.call('LREM', list_of(q, group), 1, sequence)
        work.done = work.done + 1
      elseif sent_ms_of(record) + q.retention_ms <= t then
        remove(q, t, {sequence}, {delivery})
        work.done = work.done + 10
      elseif is_exhausted(q, count) and dead_letter(q, t, sequence, record, delivery) then
        work.done = work.done + 40 + #record * WORK_LIMIT / BYTES_LIMIT
      else
        taken[#taken + 1] = {sequence, record, count, count > 0 and first_ms or nil, group}
      end
    end
  end
  return taken
end

-- Hands out messages taken of groups, which get the turns behind all others: `hidden` are those of which some were taken,
-- the first of the group among them; `passed` those of which none was.
local function give_out(q, t, taken, hidden, passed, visibility_ms)
  if #taken > 0 then hand_out(q, t, taken, visibility_ms, 0) end
  if #hidden > 0 and visibility_ms > 0 then
    local turns = {}
    for i, group in ipairs(hidden) do turns[2 * i - 1], turns[2 * i] = HIDDEN, group end
    redis.call('ZADD', q.key .. ':groups', unpack(turns))
  else
    for _, group in ipairs(hidden) do refresh(q, t, group, 'back') end
  end
  for _, group in ipairs(passed) do refresh(q, t, group, 'back') end
end

-- Hands out up to `max` messages of the groups whose turn it is, to one receive after the other, up to `each` to one, and
-- no two of them have messages of one group; each group waits behind the others then. Returns as receive does. What
-- several receives get is written together: four of them take two thirds of the instructions.
local function fifo_receive(q, t, max, visibility_ms, each)
  local given, shares, share, seen, work = {}, {}, 0, {}, {done = 0}
  local wanted = math.ceil(max / each) -- groups to look at: one for each receive, and more when these have too little
  repeat
    local found = redis.call('ZRANGE', q.key .. ':groups', 0, wanted - 1, 'WITHSCORES')
    local taken, hidden, passed = {}, {}, {}
    for i = 1, #found, 2 do
      local group = found[i]
      if tonumber(found[i + 1]) >= HIDDEN or seen[group] or #given == max or work.done >= WORK_LIMIT then break end
      seen[group] = true
      local messages = prefix(q, t, group, math.min(each - share, max - #given), work)
      for _, message in ipairs(messages) do
        taken[#taken + 1], given[#given + 1] = message, message
      end
      if #messages > 0 then hidden[#hidden + 1] = group else passed[#passed + 1] = group end
      share = share + #messages
      if share == each then shares[#shares + 1], share = each, 0 end
    end
    give_out(q, t, taken, hidden, passed, visibility_ms)
    wanted = max - #given
  until #hidden + #passed == 0 or #given == max or work.done >= WORK_LIMIT
  if share > 0 then shares[#shares + 1] = share end
  return given, #given < max and work.done >= WORK_LIMIT, shares
end

local function digest_of(attempt) return redis.sha1hex(attempt) end

-- What an earlier receive under the same ReceiveRequestAttemptId gave, hidden for another `visibility_ms`: a list as
-- receive gives it, with the ms of that receive; nil when there was none, or when its messages are visible again.
local function receive_again(q, t, attempt, visibility_ms)
  local memory = remembered(q.key, t, {digest_of(attempt)})[1]
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
    running = running and is_hidden(q.key, sequence, t)
    again[#again + 1] = {sequence, record, count, first_ms, received_ms}
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
