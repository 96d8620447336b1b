"""An upstream in three dialects that counts the tokens it has sent, and says so when it is stopped.

    counting_upstream.py PORT LEDGER DELAY_MS [STREAM_SECONDS]

A request for a stream is answered by OpenAI's events, four a second for that long. On SIGTERM it drops every connection at once, as a crash would: what has not been answered is lost, and
not counted. An answer is counted in the same step in which it is handed to the kernel.
"""

import asyncio
import json
import random
import signal
import sys
import os

port, ledger, delay = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]) / 1000
stream_seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 1
counted = {"requests": 0, "prompt": 0, "completion": 0}


def reply(path, prompt, completion):
    if path.endswith("/v1/messages"):
        return {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
                "content": [{"type": "text", "text": "Hello."}],
                "usage": {"input_tokens": prompt, "output_tokens": completion}}
    if path.endswith("/api/chat"):
        return {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop",
                "message": {"role": "assistant", "content": "Hello."},
                "prompt_eval_count": prompt, "eval_count": completion}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": completion,
                      "total_tokens": prompt + completion}}


class Upstream(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        head, blank, rest = self.buffer.partition(b"\r\n\r\n")
        if not blank:
            return
        lines = head.split(b"\r\n")
        length = next((int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")), 0)
        if len(rest) >= length:
            body, self.buffer = rest[:length], rest[length:]
            loop = asyncio.get_running_loop()
            if b'"stream":true' in body:
                loop.call_later(delay, self.begin)
            else:
                loop.call_later(delay, self.answer, lines[0].split(b" ")[1].decode())

    def answer(self, path):
        if self.transport.is_closing():
            return
        prompt, completion = random.randint(5, 500), random.randint(1, 300)
        body = json.dumps(reply(path, prompt, completion)).encode()
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                             % (len(body), body))
        count(prompt, completion)

    def begin(self):
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        self.go_on(int(stream_seconds * 4))

    def go_on(self, left):
        if self.transport.is_closing():
            return
        if left > 0:
            self.event({"choices": [{"index": 0, "delta": {"content": f"{left} "}, "finish_reason": None}]})
            asyncio.get_running_loop().call_later(0.25, self.go_on, left - 1)
            return
        prompt, completion = random.randint(5, 500), random.randint(1, 300)
        self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.event({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion,
                                             "total_tokens": prompt + completion}})
        self.chunk(b"data: [DONE]\n\n")
        self.transport.write(b"0\r\n\r\n")
        count(prompt, completion)

    def event(self, data):
        self.chunk(b"data: %b\n\n" % json.dumps({"id": "c", "object": "chat.completion.chunk", **data}).encode())

    def chunk(self, data):
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))


def count(prompt, completion):
    counted["requests"] += 1
    counted["prompt"] += prompt
    counted["completion"] += completion


def crash():
    with open(ledger, "a") as out:
        out.write(json.dumps(counted) + "\n")
    os._exit(0)


async def main():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, crash)
    server = await loop.create_server(Upstream, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


asyncio.run(main())
