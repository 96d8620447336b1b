"""Sends a chat request many times on one connection: PORT PATH BODY COUNT. Prints the events of the last answer."""
import http.client
import sys

port, path, source, count = sys.argv[1:]
with open(source, "rb") as file:
    body = file.read()
connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
answer = b""
for _ in range(int(count)):
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    first = connection.sock
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        sys.exit(f"{path}: status {response.status}: {answer[:500]!r}")
    if connection.sock is not first:
        sys.exit(f"{path}: the gateway closed the connection")
print(answer.count(b"data:"))
