"""A worker process: takes a task, processes it, sends what became of it, until the parent hangs up."""

import os
import socket

from braggstream.formats.wire import AdjustOrder, FileTask, Hello, Setup, Task, decode_task, encode
from braggstream.model.frame import FileSlot, Message
from braggstream.run.links import LinkBroken, receive_message, send_message
from braggstream.run.processor import Processor, Work, outcome_of
from braggstream.run.slots import SlotMemory
from braggstream.run.ties import die_with_parent, name_process


def run_worker(
    number: int, link: socket.socket, *, setup: Setup, memory: SlotMemory, processor: Processor, parent: int
) -> None:
    """Serve one end of `link` until the other is closed."""
    die_with_parent(parent)
    name_process(f"braggstream-w{number}")
    if setup.processors:
        os.sched_setaffinity(0, {setup.processors[number % len(setup.processors)]})
    processor.begin_work(number)
    try:
        send_message(link, encode(Hello(pid=os.getpid())))
        while True:
            task = decode_task(receive_message(link))
            if isinstance(task, AdjustOrder):
                processor.adjust(task.adjustments)
                continue
            send_message(link, encode(outcome_of(processor, _work(task, memory))))
    except LinkBroken:
        return


def _work(task: Task, memory: SlotMemory) -> Work:
    if isinstance(task, FileTask):
        return FileSlot(filename=task.filename, event=task.event, serial=task.serial)
    payload = memory.view(task.slot, task.n_bytes)
    return Message(payload=payload, serial=task.serial, origin=task.origin)
