"""Small senders of frames, each in a thread with a socket of its own."""

import threading

import zmq


class Sender(threading.Thread):
    """Base: `serve` runs until the frames are out or the test ends."""

    def __init__(self, kind, names, *, endpoint="tcp://127.0.0.1:*", n_bytes=64):
        super().__init__(daemon=True)
        self.names = list(names)
        self.sent = []
        self.n_bytes = n_bytes
        self.context = zmq.Context()
        self.socket = self.context.socket(kind)
        self.socket.linger = 0
        self.socket.bind(endpoint)
        self.endpoint = self.socket.last_endpoint.decode()
        self.is_ending = threading.Event()
        self.error = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.is_ending.set()
        self.join(60)
        self.socket.close()
        self.context.term()
        assert self.error is None, self.error

    def run(self):
        try:
            self.serve()
        except Exception as error:
            self.error = error

    def payload(self, name):
        return name.encode().ljust(self.n_bytes, b"\0")


class Replier(Sender):
    """Answers requests one by one, with REP or, as OM does, with ROUTER.

    `lose` are the numbers of requests that get no reply although they were understood.
    """

    def __init__(self, names, *, kind=zmq.ROUTER, lose=(), **more):
        super().__init__(kind, names, **more)
        self.lose = set(lose)
        self.requests = []

    def serve(self):
        left = list(self.names)
        while not self.is_ending.is_set():
            if not self.socket.poll(50):
                continue
            *envelope, request = self.socket.recv_multipart()
            self.requests.append(request)
            if len(self.requests) in self.lose or not left:
                continue
            name = left.pop(0)
            self.socket.send_multipart([*envelope, *self.reply(name)])
            self.sent.append(name)

    def reply(self, name):
        return [self.payload(name)]


class Publisher(Sender):
    """Broadcasts once somebody has subscribed; `glue` puts tag and frame into one part."""

    def __init__(self, names, *, tag="omframedata", glue=False, pause_s=0.002, **more):
        super().__init__(zmq.XPUB, names, **more)
        self.tag, self.glue, self.pause_s = tag.encode(), glue, pause_s
        self.subscriptions = []

    def serve(self):
        while not self.subscriptions and not self.is_ending.is_set():
            if self.socket.poll(50):
                self.subscriptions.append(self.socket.recv())
        for name in self.names:
            parts = [self.tag, self.payload(name)]
            self.socket.send_multipart([b"".join(parts)] if self.glue else parts)
            self.sent.append(name)
            if self.is_ending.wait(self.pause_s):
                return
        self.is_ending.wait()


class Pusher(Sender):
    """Hands frames out to whoever takes them."""

    def __init__(self, names, **more):
        super().__init__(zmq.PUSH, names, **more)

    def serve(self):
        for name in self.names:
            while not self.is_ending.is_set() and not self.socket.poll(50, zmq.POLLOUT):
                pass
            if self.is_ending.is_set():
                return
            self.socket.send(self.payload(name))
            self.sent.append(name)
        self.is_ending.wait()
