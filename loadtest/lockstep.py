"""One client and one upstream that keep step: a piece of an answer leaves only when the client has the one before.

So the gateway's reads and writes are the same in every run, however slow it is and whatever else the machine does.
"""
import select
import socket

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PATIENCE = 30  # seconds


def reply(body):
    """A whole answer, as the one piece that it is."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body.encode())}\r\n\r\n"
    return [(head + body).encode()]


def stream(pieces):
    """An answer in chunks, each a piece of its own."""
    chunks = [f"{len(piece.encode()):x}\r\n{piece}\r\n".encode() for piece in pieces]
    return [STREAM_HEAD + chunks[0], *chunks[1:-1], chunks[-1] + b"0\r\n\r\n"]


class Lockstep:
    def __init__(self, upstream_port):
        self.listener = socket.create_server(("127.0.0.1", upstream_port))
        self.listener.settimeout(PATIENCE)
        self.upstream = self.client = None

    def connect(self, proxy_port):
        self.client = socket.create_connection(("127.0.0.1", proxy_port), timeout=PATIENCE)
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self, path, headers, body, pieces, marks):
        """Sends the request, answers it piece by piece, and waits for each mark in turn before the next piece leaves."""
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.client.sendall(f"POST {path} HTTP/1.1\r\nHost: loadtest\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body)
        self.take_request()
        answer = b""
        for piece, mark in zip(pieces, [*marks, None], strict=True):
            self.upstream.sendall(piece)
            while not (complete(answer) if mark is None else mark in answer):
                answer += receive(self.client, answer)
        return answer

    def take_request(self):
        """Reads a request whole, on the connection that is there or on the next one."""
        asked = b""
        while not complete(asked):
            ready = select.select([one for one in (self.upstream, self.listener, self.client) if one], [], [], PATIENCE)[0]
            if not ready or self.client in ready:
                said = receive(self.client, asked) if ready else asked
                raise ConnectionError(f"the proxy does not ask the upstream: {said[:500]!r}")
            if self.upstream in ready and (some := self.upstream.recv(1 << 20)):
                asked += some
                continue
            self.upstream = self.listener.accept()[0]
            self.upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def receive(connection, so_far):
    some = connection.recv(1 << 20)
    if not some:
        raise ConnectionError(f"closed after {so_far[-500:]!r}")
    return some


def complete(message):
    """Whether a message is there to its end."""
    head, blank, body = message.partition(b"\r\n\r\n")
    if not blank:
        return False
    lines = head.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), None)
    return body.endswith(b"0\r\n\r\n") if length is None else len(body) >= length
