-- A load for wrk on one queue, in AWS JSON 1.0 or in the Query protocol; see tests/bench/loads.py.
-- QUEUE_URL, PROTOCOL (json or query), BODY (bytes of a message, or several sizes with commas, in turn), GROUPS (of a FIFO
-- queue, 0 for none) and MODE:
--   cycle  send, receive, delete in equal parts        send   sends alone
--   batch  the same, ten messages a request            drain  receive and delete
local queue, mode, query = os.getenv('QUEUE_URL'), os.getenv('MODE') or 'cycle', os.getenv('PROTOCOL') == 'query'
local group_count = tonumber(os.getenv('GROUPS') or '0')
local at_once = mode == 'batch' and 10 or 1
local suffix = at_once == 1 and '' or 'Batch'
local messages, workers = {}, {}
local held, turn = {}, 0 -- receipt handles to be deleted; number of the next message
asked, sent, received, deleted, refused = 0, 0, 0, 0, 0

for size in string.gmatch(os.getenv('BODY') or '100', '%d+') do messages[#messages + 1] = string.rep('m', tonumber(size)) end

local function escaped(text)
  return (string.gsub(text, '[^%w._~-]', function(byte) return string.format('%%%02X', string.byte(byte)) end))
end

-- How a protocol writes one member (of the entry that `prefix` names), an entry of a batch, all entries, and a request.
local json = {joint = ',', receipts = '"ReceiptHandle": ?"([^"]*)"'}
local form = {joint = '&', receipts = '<ReceiptHandle>([^<]*)<'}

function json.member(_, name, value) return '"' .. name .. '":"' .. value .. '"' end
function form.member(prefix, name, value) return prefix .. name .. '=' .. value end

function json.entry(_, i, members) return '{"Id":"e' .. i .. '",' .. members .. '}' end
function form.entry(prefix, i, members) return prefix .. 'Id=e' .. i .. '&' .. members end

function json.entries(list) return '"Entries":[' .. table.concat(list, ',') .. ']' end
function form.entries(list) return table.concat(list, '&') end

function json.at_most(count) return '"MaxNumberOfMessages":' .. count end
function form.at_most(count) return 'MaxNumberOfMessages=' .. count end

function json.request(action, members)
  local headers = {['Content-Type'] = 'application/x-amz-json-1.0', ['X-Amz-Target'] = 'AmazonSQS.' .. action}
  return wrk.format('POST', '/', headers, string.format('{"QueueUrl":"%s",%s}', queue, members))
end
function form.request(action, members)
  local headers = {['Content-Type'] = 'application/x-www-form-urlencoded'}
  return wrk.format('POST', '/', headers, string.format('Action=%s&Version=2012-11-05&QueueUrl=%s&%s', action, queue, members))
end

local protocol = query and form or json

-- The members of one message, or of as many as a batch has.
local function entries(kind, members)
  if at_once == 1 then return members('') end
  local list = {}
  for i = 1, at_once do
    local prefix = kind .. 'BatchRequestEntry.' .. i .. '.'
    list[i] = protocol.entry(prefix, i, members(prefix))
  end
  return protocol.entries(list)
end

local function message(prefix)
  turn = turn + 1
  local body = protocol.member(prefix, 'MessageBody', messages[turn % #messages + 1])
  if group_count == 0 then return body end
  local group = protocol.member(prefix, 'MessageGroupId', 'g' .. turn % group_count)
  return table.concat({body, group, protocol.member(prefix, 'MessageDeduplicationId', seed .. '-' .. turn)}, protocol.joint)
end

local function handle(prefix) return protocol.member(prefix, 'ReceiptHandle', table.remove(held)) end

function setup(thread) workers[#workers + 1] = thread end

function init()
  seed = os.time()
  if query then queue = escaped(queue) end
end

function request()
  if mode ~= 'send' and #held >= at_once then
    deleted = deleted + at_once
    return protocol.request('DeleteMessage' .. suffix, entries('DeleteMessage', handle))
  end
  if mode == 'drain' or mode ~= 'send' and asked < sent then
    asked = asked + at_once
    return protocol.request('ReceiveMessage', protocol.at_most(at_once))
  end
  sent = sent + at_once
  return protocol.request('SendMessage' .. suffix, entries('SendMessage', message))
end

function response(status, _, body)
  if status ~= 200 then refused = refused + 1 end
  for found in string.gmatch(body, protocol.receipts) do
    received = received + 1
    held[#held + 1] = query and escaped(found) or found
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
