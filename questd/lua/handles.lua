-- Receipt handles: made, read, and what they speak of.

-- A receipt handle: incarnation, sequence, receive count, received ms, and a MAC that proves it: any handle ever given
-- is known again, and nothing is stored for it.
-- The secret on both sides and half of the digest kept: neither can a text be made longer nor the MAC's state be known.
local function mac_of(q, text) return string.sub(redis.sha1hex(q.secret .. text .. q.secret), 1, 20) end

local function handle_of(q, sequence, count, received_ms)
  local text = string.format('%s-%d-%d-%d', q.incarnation, sequence, count, received_ms)
  return text .. '-' .. mac_of(q, text)
end

-- The reverse: sequence, count, received_ms; or nil and the name of what is wrong with the handle.
local function parts_of_handle(q, handle)
  local text, incarnation, sequence, count, received_ms, mac =
    string.match(handle, '^((%x+)%-(%d+)%-(%d+)%-(%d+))%-(%x+)$')
  if not text then return nil, 'ReceiptHandleIsInvalid' end
  if incarnation ~= q.incarnation then return nil, 'ReceiptHandleOfAnotherQueue' end
  if mac ~= mac_of(q, text) then return nil, 'ReceiptHandleIsInvalid' end
  return sequence, tonumber(count), tonumber(received_ms)
end

-- What `handles` speak of: a list of {sequence, latest, delivery}, or {error = name}. `latest` says that nobody
-- received the message later; `delivery` is false when the message is gone.
local function spoken_of(q, handles)
  local entries, sequences = {}, {}
  for i, handle in ipairs(handles) do
    local sequence, count, received_ms = parts_of_handle(q, handle)
    entries[i] = sequence and {sequence = sequence, count = count, received_ms = received_ms} or {error = count}
    sequences[i] = sequence or 0
  end
  if #entries == 0 then return entries end
  local deliveries = redis.call('HMGET', q.deliveries, unpack(sequences))
  for i, entry in ipairs(entries) do
    entry.delivery = deliveries[i]
    if entry.delivery and not entry.error then
      local count, _, received_ms = parts_of_delivery(entry.delivery)
      entry.latest = count == entry.count and received_ms == entry.received_ms
    end
  end
  return entries
end
