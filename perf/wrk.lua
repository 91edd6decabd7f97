-- Sends the complete requests of a plan by turns. The plan, written by wrk.py, is two lines with the number of heads
-- and of bodies, then each of them as its length, a newline and its bytes. A head that begins with "+" is sent with
-- the next body. With several threads each takes its own share of the heads, in order, and statuses are counted.

local threads = {}

function setup(thread)
   thread:set("number", #threads)
   table.insert(threads, thread)
end

local heads, bodies = {}, {}
local at, turn = 0, 0
local body = ""
local is_rehearsal = false

local function read(file, count)
   local found = {}
   for i = 1, count do
      local length = file:read("*n")
      file:read(1)
      found[i] = file:read(length)
   end
   return found
end

function init(args)
   local file = assert(io.open(args[1], "rb"))
   local head_count, body_count = file:read("*n"), file:read("*n")
   local all = read(file, head_count)
   bodies = read(file, body_count)
   file:close()
   local share = head_count / args[2]
   for i = 1, share do
      heads[i] = all[number * share + i]
   end
   is_rehearsal = number == 0 -- wrk asks its first thread once before it starts, and sends nothing
   if tonumber(args[2]) > 1 then
      counts = {}
      response = count
   end
end

function request()
   at = at % #heads + 1
   local sent = heads[at]
   if sent:byte(1) == 43 then
      turn = turn % #bodies + 1
      body = bodies[turn]
      sent = sent:sub(2) .. body
   end
   if is_rehearsal then
      at, turn, is_rehearsal = 0, 0, false
   end
   return sent
end

-- A thread with one connection knows which request an answer belongs to: the one it sent last.
function count(status, headers, found)
   local method = heads[at]:match("%u+")
   local key = method .. " " .. status
   if method == "GET" and found ~= body then
      key = key .. " with other bytes"
   end
   counts[key] = (counts[key] or 0) + 1
end

function done(summary, latency, requests)
   local statuses = {}
   for _, thread in ipairs(threads) do
      for key, times in pairs(thread:get("counts") or {}) do
         statuses[key] = (statuses[key] or 0) + times
      end
   end
   local parts = {}
   for key, times in pairs(statuses) do
      table.insert(parts, string.format('"%s": %d', key, times))
   end
   local errors = summary.errors
   io.write(string.format(
      '\nFIGURES {"requests": %d, "microseconds": %d, "bytes": %d, "p99": %d, "statuses": {%s}, ' ..
      '"failed": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}\n',
      summary.requests, summary.duration, summary.bytes, latency:percentile(99), table.concat(parts, ", "),
      errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
