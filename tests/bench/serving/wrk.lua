-- POSTs the lines of a file in turn, and prints what was measured as one line of JSON.
-- wrk … -s wrk.lua <url> -- <file> <path>

local requests = {}
local turn = 0

function init(args)
   local headers = {["Host"] = wrk.headers["Host"], ["Content-Type"] = "application/json"}
   for body in io.lines(args[1]) do
      requests[#requests + 1] = wrk.format("POST", args[2], headers, body)
   end
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "max": %d, ' ..
      '"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
      errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
