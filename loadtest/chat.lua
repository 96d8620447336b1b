-- One chat request over and over. The last line of the output is the result:
-- requests, duration, p50 and p99 (all in microseconds), failures.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = assert(io.open(os.getenv("BODY"))):read("*a")

function done(summary, latency)
  local e = summary.errors
  print(string.format("%d %d %d %d %d", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
