-- Ten kilobytes with Content-Length.
wrk.method = "POST"
wrk.body = string.rep("u", 10240)
wrk.headers["Content-Type"] = "application/octet-stream"
