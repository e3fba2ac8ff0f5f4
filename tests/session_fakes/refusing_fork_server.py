"""The process that forks workers on a system that lets nobody start processes: a stand-in for `ulimit -u`.

Root is not bound by that limit, and the tests may run as root.
"""

import errno
import os
import sys

from braggstream.run import fork_server


def refuse():
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


if __name__ == "__main__":
    os.fork = refuse
    sys.exit(fork_server.main(sys.argv[1:]))
