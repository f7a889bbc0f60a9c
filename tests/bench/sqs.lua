-- A load for wrk in AWS JSON 1.0 on one queue; see tests/bench/__main__.py.
-- QUEUE_URL, BODY (bytes of a message, or several sizes with commas, in turn), GROUPS (of a FIFO queue, 0 for none) and MODE:
--   cycle  send, receive, delete in equal parts        send   sends alone
--   batch  the same, ten messages a request            drain  receive and delete
local queue, mode = os.getenv('QUEUE_URL'), os.getenv('MODE') or 'cycle'
local group_count = tonumber(os.getenv('GROUPS') or '0')
local at_once = mode == 'batch' and 10 or 1
local messages, workers = {}, {}
local held, turn = {}, 0 -- receipt handles to be deleted; number of the next message
asked, sent, received, deleted, refused = 0, 0, 0, 0, 0

for size in string.gmatch(os.getenv('BODY') or '100', '%d+') do messages[#messages + 1] = string.rep('m', tonumber(size)) end

local function ask(action, members)
  local headers = {['Content-Type'] = 'application/x-amz-json-1.0', ['X-Amz-Target'] = 'AmazonSQS.' .. action}
  return wrk.format('POST', '/', headers, string.format('{"QueueUrl":"%s",%s}', queue, members))
end

-- The members of one message, or of as many as a batch has.
local function entries(member)
  if at_once == 1 then return member() end
  local list = {}
  for i = 1, at_once do list[i] = string.format('{"Id":"e%d",%s}', i, member()) end
  return '"Entries":[' .. table.concat(list, ',') .. ']'
end

local function message()
  turn = turn + 1
  local members = '"MessageBody":"' .. messages[turn % #messages + 1] .. '"'
  if group_count == 0 then return members end
  return string.format('%s,"MessageGroupId":"g%d","MessageDeduplicationId":"%d-%d"', members, turn % group_count, seed, turn)
end

local function handle() return '"ReceiptHandle":"' .. table.remove(held) .. '"' end

function setup(thread) workers[#workers + 1] = thread end

function init()
  seed = os.time()
  suffix = at_once == 1 and '' or 'Batch'
end

function request()
  if mode ~= 'send' and #held >= at_once then
    deleted = deleted + at_once
    return ask('DeleteMessage' .. suffix, entries(handle))
  end
  if mode == 'drain' or mode ~= 'send' and asked < sent then
    asked = asked + at_once
    return ask('ReceiveMessage', '"MaxNumberOfMessages":' .. at_once)
  end
  sent = sent + at_once
  return ask('SendMessage' .. suffix, entries(message))
end

function response(status, _, body)
  if status ~= 200 then refused = refused + 1 end
  for found in string.gmatch(body, '"ReceiptHandle": ?"([^"]*)"') do
    received = received + 1
    held[#held + 1] = found
  end
end

-- One line of JSON for the harness.
function done(summary, latency)
  local sum = {sent = 0, received = 0, deleted = 0, refused = 0}
  for _, thread in ipairs(workers) do
    for name, so_far in pairs(sum) do sum[name] = so_far + thread:get(name) end
  end
  local lost = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    '{"requests":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"sent":%d,"received":%d,"deleted":%d,"refused":%d,"lost":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000, sum.sent,
    sum.received, sum.deleted, sum.refused, lost))
end
