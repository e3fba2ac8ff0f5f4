"""A worker process: takes a task, processes it, sends what became of it, until the parent hangs up."""

import os
import socket
import sys

from braggstream.formats.wire import AdjustOrder, FileTask, Hello, Setup, Task, decode_task, encode, last
from braggstream.model.frame import FileSlot, Message, SeriesStart
from braggstream.run.links import LinkBroken, receive_message, send_message
from braggstream.run.memory_limits import MemoryLimits
from braggstream.run.processor import Processor, Work, outcome_of
from braggstream.run.slots import SlotMemory
from braggstream.run.ties import die_with_parent, name_process
from braggstream.steps.indexing.external.descendants import adopt_orphans


def run_worker(
    number: int, link: socket.socket, *, setup: Setup, memory: SlotMemory, processor: Processor, parent: int
) -> None:
    """Serve one end of `link` until the other is closed."""
    die_with_parent(parent)
    name_process(f"braggstream-w{number}")
    if setup.processors:
        _bind_to(setup.processors[number % len(setup.processors)])
    if setup.settings.indexing.scratch is not None:
        adopt_orphans()
    processor.begin_work(number)
    limits = MemoryLimits()
    if setup.limits_memory:
        limits.limit_allocation()
    try:
        send_message(link, encode(Hello(pid=os.getpid())))
        while True:
            task = decode_task(receive_message(link))
            if isinstance(task, AdjustOrder):
                processor.adjust(task.adjustments)
                continue
            outcome = outcome_of(processor, _work(task, memory))
            send_message(link, encode(last(outcome) if limits.is_overgrown() else outcome))
    except LinkBroken:
        return


def _bind_to(processor: int) -> None:
    """Bind this process to a processor; where that is not possible the system chooses, as it does otherwise."""
    try:
        os.sched_setaffinity(0, {processor})
    except OSError as error:
        sys.stderr.write(f"--cpu-pin: cannot be bound to processor {processor}: {error.strerror}\n")


def _work(task: Task, memory: SlotMemory) -> Work:
    if isinstance(task, FileTask):
        return FileSlot(filename=task.filename, event=task.event, serial=task.serial, fault=task.fault)
    payload = memory.view(task.slot, task.n_bytes)
    start = None
    if task.start_slot >= 0:
        begun = memory.view(task.start_slot, task.start_bytes)
        start = SeriesStart(payload=begun, number=task.start_number)
    return Message(payload=payload, serial=task.serial, origin=task.origin, start=start, refusal=task.refusal)
