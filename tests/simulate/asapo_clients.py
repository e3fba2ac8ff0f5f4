"""The official clients of ASAP::O, connected to the stand-in."""

import threading
import warnings

import asapo_consumer
import asapo_producer

BEAMTIME, SOURCE = "11001234", "eiger"
CACHE_ONLY, WITH_FILE = 9, 13
"""Ingest modes."""


def consumer(service, *, token=None, timeout_ms=60, beamtime=BEAMTIME, source=SOURCE):
    token = service.token(beamtime) if token is None else token
    return asapo_consumer.create_consumer(
        service.endpoint, "auto", False, beamtime, source, token, timeout_ms, "here", "step"
    )


class Sender:
    """The official producer; collects what its callback tells."""

    def __init__(self, service, *, token=None, timeout_ms=5000, source=SOURCE, threads=1):
        token = service.token(BEAMTIME) if token is None else token
        self.producer = asapo_producer.create_producer(
            service.endpoint, "processed", BEAMTIME, "auto", source, token, threads, timeout_ms, "here", "step"
        )
        self.producer.set_log_level("none")
        self.told = []
        self._sent = 0
        self._answered = threading.Semaphore(0)

    def send(self, stream, *numbers, mode=CACHE_ONLY, content=None, **options):
        """Send messages with these ids and wait; gives the errors (None where there is none)."""
        first = len(self.told)
        for number in numbers:
            data = f"data {number}".encode() if content is None else content
            name = options.get("name", f"processed/{stream}/{number}.raw")
            self._sent += 1
            self.producer.send(
                number,
                name,
                data,
                options.get("meta", {"n": number}),
                dataset=options.get("dataset"),
                ingest_mode=mode,
                stream=stream,
                auto_id=number == 0,
                callback=self._note,
            )
        self.wait()
        return [error for _, error in self.told[first:]]

    def finish(self, stream, last, next_stream=None):
        self.note(self.producer.send_stream_finished_flag, stream, last, next_stream)

    def note(self, call, *words, **options):
        """Have the producer send something else, and wait; gives the error."""
        self._sent += 1
        call(*words, **options, callback=self._note)
        self.wait()
        return self.told[-1][1]

    def wait(self):
        """Wait for all answers."""
        while self._sent:
            assert self._answered.acquire(timeout=60)
            self._sent -= 1

    def _note(self, header, error):
        self.told.append((header, error))
        self._answered.release()


def quietly(call, *words, **options):
    """Call what the official clients call deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return call(*words, **options)


def read_all(client, group, stream, **options):
    """Ids of all messages that `next` gives, and the error that ends it."""
    ids = []
    while True:
        try:
            _, message = quietly(client.get_next, group, stream=stream, **options)
        except asapo_consumer.AsapoConsumerError as error:
            return ids, error
        ids.append(message["_id"])
