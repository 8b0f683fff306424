"""A line between a client and the server that can be slow, thin, and cut, and whose links can break one by one.

`Line` listens on the client's side of ports *p* … *p*+3 and forwards to the server's. All lines
of a runner share one thread. Delay and rate work per direction; the rate is shared fairly between
the connections of the line, as a home connection does it. Called by `harness.Stage.line`.
"""

import asyncio
import collections
import socket
import struct
import threading

# A packet's worth: the unit in which connections take turns.
_PIECE = 1400
# What a connection may have under way inside the line before its sender is held back.
_WINDOW = 256 * 1024


class _Loop:
    """The one thread in which all lines live."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True, name="lines").start()

    def call(self, coroutine):
        """Runs a coroutine in the thread and gives its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)


_LOOP = None
_LOOP_LOCK = threading.Lock()


def _loop():
    global _LOOP
    with _LOOP_LOCK:
        if _LOOP is None:
            _LOOP = _Loop()
        return _LOOP


class Line:
    """One client's line. `delay` in seconds each way, `rate` in bytes per second each way."""

    def __init__(self, server_port, port, delay=0.0, rate=None, count=4):
        self.port = port
        self.server_port = server_port
        self.delay = delay
        self.rate = rate
        self.count = count
        self.cut_mode = None
        self.moved = [0, 0]
        self._listeners = []
        # Open connections with the distance of their port, those whose way down leads nowhere, and the ports
        # that are closed for a moment.
        self._pairs = {}
        self._lost = set()
        self._refused = set()
        self._tasks = set()
        self._flow = None
        self._turns = None
        self._free = [0.0, 0.0]
        _loop().call(self._open())

    async def _open(self):
        self._flow = asyncio.Event()
        self._flow.set()
        self._turns = [asyncio.Lock(), asyncio.Lock()]
        for offset in range(self.count):
            listener = await asyncio.start_server(
                lambda r, w, offset=offset: self._accept(r, w, offset), "127.0.0.1", self.port + offset
            )
            self._listeners.append(listener)

    async def _accept(self, reader, writer, offset):
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await self._serve(reader, writer, offset)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _serve(self, reader, writer, offset):
        if self.cut_mode == "blackhole":
            # Nobody answers: hold the connection, as a router that lost its line would.
            await self._flow.wait()
        if self.cut_mode is not None or offset in self._refused:
            _reset(writer)
            return
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.server_port + offset)
        except OSError:
            _reset(writer)
            return
        pair = (writer, upstream[1])
        self._pairs[pair] = offset
        try:
            await asyncio.gather(
                self._pump(reader, upstream[1], 0), self._pump(upstream[0], writer, 1, pair), return_exceptions=True
            )
        finally:
            del self._pairs[pair]
            self._lost.discard(pair)
            for side in pair:
                side.close()

    async def _pump(self, reader, writer, way, pair=None):
        """Forwards one direction of one connection until it ends."""
        loop = asyncio.get_running_loop()
        queue = collections.deque()
        held = 0
        arrived = asyncio.Event()
        left = asyncio.Event()

        async def take():
            nonlocal held
            while True:
                piece = await reader.read(_PIECE if self.rate else 65536)
                queue.append((loop.time() + self.delay, piece))
                held += len(piece)
                arrived.set()
                if not piece:
                    return
                while held > _WINDOW:
                    left.clear()
                    await left.wait()

        taker = asyncio.ensure_future(take())
        try:
            while True:
                while not queue:
                    arrived.clear()
                    await arrived.wait()
                due, piece = queue.popleft()
                held -= len(piece)
                left.set()
                if self.rate and piece:
                    await self._turn(way, len(piece))
                wait = due - loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                await self._flow.wait()
                if writer.transport.is_closing():
                    return
                if not piece:
                    if writer.can_write_eof():
                        writer.write_eof()
                    return
                if pair in self._lost:
                    continue
                writer.write(piece)
                self.moved[way] += len(piece)
                await writer.drain()
        except (ConnectionError, OSError):
            writer.transport.abort()
        finally:
            taker.cancel()
            # Awaited so that nothing is left when the loop ends; its own failure is the reader's end.
            await asyncio.gather(taker, return_exceptions=True)

    async def _turn(self, way, size):
        """Waits for this connection's turn on the thin line. The lock hands turns out in order."""
        loop = asyncio.get_running_loop()
        async with self._turns[way]:
            now = loop.time()
            self._free[way] = max(self._free[way], now) + size / self.rate
            if self._free[way] > now:
                await asyncio.sleep(self._free[way] - now)

    def cut(self, mode):
        """Cuts the line: `fin`, `rst`, or `blackhole` (silence, connections stay open)."""

        async def do():
            self.cut_mode = mode
            if mode == "blackhole":
                self._flow.clear()
                return
            for pair in list(self._pairs):
                for writer in pair:
                    if mode == "rst":
                        _reset(writer)
                    else:
                        writer.close()

        _loop().call(do())

    def lose(self, offset):
        """What goes to the client over the present connections to one port is lost from now on."""

        async def do():
            self._lost |= {pair for pair, at in self._pairs.items() if at == offset}

        _loop().call(do())

    def break_link(self, offset, seconds):
        """Ends the connections to one port. New ones get through after so many seconds."""

        async def do():
            self._refused.add(offset)
            for pair, at in list(self._pairs.items()):
                if at == offset:
                    for writer in pair:
                        _reset(writer)
            asyncio.get_running_loop().call_later(seconds, self._refused.discard, offset)

        _loop().call(do())

    def resume(self):
        """Mends the line. Connections that were ended stay so; new ones are let through."""

        async def do():
            self.cut_mode = None
            self._flow.set()

        _loop().call(do())

    def slow(self, delay=None, rate=None):
        """Changes delay and rate from now on."""

        async def do():
            self.delay = self.delay if delay is None else delay
            self.rate = rate

        _loop().call(do())

    def close(self):
        """Ends the line for good."""

        async def do():
            self._flow.set()
            for listener in self._listeners:
                listener.close()
            for pair in list(self._pairs):
                for writer in pair:
                    writer.transport.abort()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        _loop().call(do())


def _reset(writer):
    """Closes a connection with RST."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
    writer.transport.abort()
