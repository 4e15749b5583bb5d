"""What the judges that use the library websockets have in common."""

from __future__ import annotations

from websockets.asyncio.client import ClientConnection

import tickyard_wire as wire


async def see_all(socket: ClientConnection) -> None:
    """Says hello on a connection to `/play`, and reads until the world is complete."""
    await socket.send(wire.encode_hello("arena", "judge"))
    control = wire.decode_control(bytes(await socket.recv(decode=False)))
    if not isinstance(control, wire.Welcome):
        raise AssertionError(f"not welcomed: {control}")
    world = wire.World(control.schema)
    while not world.complete:
        message = bytes(await socket.recv(decode=False))
        if message[0] == wire.TICK:
            world.apply(message)
    expect((world.violations, world.desyncs), (0, 0))


def expect(got: object, wanted: object) -> None:
    """They are the same, or the check has failed."""
    if got != wanted:
        raise AssertionError(f"got {str(got)[:200]}, not {str(wanted)[:200]}")
