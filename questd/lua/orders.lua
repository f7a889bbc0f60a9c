-- Orders: which messages a group of a FIFO queue has, the first one first. An order is a text, the sequences with spaces
-- between them, so that one command reads or writes those of many groups: with a list for each, a send, a receive and a
-- delete of ten groups took 27 commands more, an eighth of their instructions, and each group 65 bytes more. One that is
-- LONG ends with ' +': what follows is in the group's list, however long that is, and `long` has the group.

local function list_of(q, group) return q.group_lists .. group end

local members_of, first_of, lengthened, put_first, shortened

do
  local LONG = 48 -- bytes of an order to which nothing is added

  local function is_long(order) return string.byte(order, -1) == 43 end -- '+'

  -- Up to `count` sequences of a group, from the place `start` on, and whether these are all from there.
  members_of = function(q, group, order, start, count)
    local found, place = {}, 0
    for sequence in string.gmatch(order, '%d+') do
      place = place + 1
      if place > start + count then return found, false end
      if place > start then found[#found + 1] = sequence end
    end
    if not is_long(order) then return found, true end
    local after, missing = math.max(start - place, 0), count - #found
    if missing == 0 then return found, false end
    local rest = redis.call('LRANGE', list_of(q, group), after, after + missing) -- one more, to know whether these are all
    for i = 1, math.min(#rest, missing) do found[#found + 1] = rest[i] end
    return found, #rest <= missing
  end

  -- The first sequence of a group, nil when it has none.
  first_of = function(q, group)
    local order = redis.call('HGET', q.order, group)
    return order and string.match(order, '^%d+')
  end

  -- Puts sequences (numbers) behind an order, false for none. Returns it, false when it stays as it was.
  lengthened = function(q, group, order, sequences)
    if not order and #sequences == 1 then return sequences[1] end
    local was_long = order and is_long(order)
    local next_one = 1
    while not was_long and next_one <= #sequences and #(order or '') < LONG do
      order = (order and order .. ' ' or '') .. string.format('%d', sequences[next_one])
      next_one = next_one + 1
    end
    if next_one > #sequences then return order end
    redis.call('RPUSH', list_of(q, group), unpack(sequences, next_one))
    if was_long then return false end
    redis.call('ZADD', q.long, 0, group)
    return order .. ' +'
  end

  -- Puts a message before all others of its group.
  put_first = function(q, group, sequence)
    local order = redis.call('HGET', q.order, group)
    if order and #order >= LONG then
      local followers = {}
      for follower in string.gmatch(order, '%d+') do table.insert(followers, 1, follower) end
      redis.call('LPUSH', list_of(q, group), unpack(followers))
      redis.call('ZADD', q.long, 0, group)
      order = '+'
    end
    redis.call('HSET', q.order, group, sequence .. (order and ' ' .. order or ''))
  end

  -- Takes sequences (texts) out of an order. Returns it, '' when nothing is left.
  shortened = function(q, group, order, sequences)
    local text = ' ' .. order .. ' '
    for i = 1, #sequences do
      local from, to = string.find(text, ' ' .. sequences[i] .. ' ', 1, true)
      if from then
        text = string.sub(text, 1, from) .. string.sub(text, to + 1)
      elseif is_long(order) then
        redis.call('LREM', list_of(q, group), 1, sequences[i])
      end
    end
    text = string.sub(text, 2, -2)
    if text ~= '+' then return text end
    local count = math.floor(LONG / 8)
    local refill = redis.call('LPOP', list_of(q, group), count) or {}
    if #refill == count and redis.call('EXISTS', list_of(q, group)) == 1 then refill[count + 1] = '+' end
    if refill[count + 1] == nil then redis.call('ZREM', q.long, group) end
    return table.concat(refill, ' ')
  end
end
