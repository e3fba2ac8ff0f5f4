"""The receiver's data server: hands out data that are still in memory."""

from braggstream.simulate.asapo import versions
from braggstream.simulate.asapo.cache import DataCache
from braggstream.simulate.asapo.packets import Code, Op, read_header, refuse, respond
from braggstream.simulate.asapo.tcp import Connection


def serve_data(connection: Connection, cache: DataCache) -> None:
    """Answer one request after the other; anything but a request for data ends the connection."""
    while True:
        header = read_header(connection)
        if header.op != Op.GET_BUFFER:
            refuse(connection, header.op, Code.WRONG_REQUEST, "only data are handed out here")
        version = versions.minor(header.version or "")
        if version is None or version > versions.DATA_SERVER:
            refuse(connection, header.op, Code.NOT_SUPPORTED, f"this is v0.{versions.DATA_SERVER}")
        with cache.reading(header.data_id, header.data_size) as data:
            if data is None:
                respond(connection, header.op, Code.NO_DATA, "not in memory")
            else:
                respond(connection, header.op, Code.OK, data=data)
