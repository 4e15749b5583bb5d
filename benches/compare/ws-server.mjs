// What users of `ws` write: the work of src/lib.rs, in one process of Node.

import { WebSocketServer } from "ws";

const ROOM_PLAYERS = 50;
const PERIOD = 1000 / 20;
const INPUT_BYTES = 16;
const STATE_HEADER_BYTES = 8;
const ROW_BYTES = 12;
const SIDE = 4096 * 16;
const SPEED = (200 * 16) / 20;
const DIRECTION_MAX = 127;

class Room {
  players = [];
  tick = 0;
  rows = Buffer.alloc(ROOM_PLAYERS * ROW_BYTES);
  changed = 0;

  join(socket) {
    const at = () => Math.floor(Math.random() * SIDE);
    const player = { socket, x: at(), y: at(), vx: 0, vy: 0, number: 0, dx: 0, dy: 0 };
    this.players.push(player);
    return player;
  }

  step() {
    this.tick += 1;
    this.changed = 0;
    this.players.forEach((player, seat) => {
      const { x, y, vx, vy } = player;
      advance(player);
      if (player.x === x && player.y === y && player.vx === vx && player.vy === vy) return;
      const start = ROW_BYTES * this.changed++;
      this.rows.writeUInt16LE(seat, start);
      this.rows.writeUInt16LE(player.x, start + 2);
      this.rows.writeUInt16LE(player.y, start + 4);
      this.rows.writeInt16LE(player.vx, start + 6);
      this.rows.writeInt16LE(player.vy, start + 8);
      this.rows.writeUInt16LE(0, start + 10);
    });
  }

  message(player) {
    const length = this.changed * ROW_BYTES;
    const message = Buffer.allocUnsafe(STATE_HEADER_BYTES + length);
    message.writeUInt32LE(this.tick, 0);
    message.writeUInt32LE(player.number, 4);
    this.rows.copy(message, STATE_HEADER_BYTES, 0, length);
    return message;
  }
}

function advance(player) {
  const length = Math.max(Math.ceil(Math.hypot(player.dx, player.dy)), DIRECTION_MAX);
  [player.x, player.vx] = moved(player.x, Math.trunc((SPEED * player.dx) / length));
  [player.y, player.vy] = moved(player.y, Math.trunc((SPEED * player.dy) / length));
}

function moved(at, velocity) {
  const there = Math.min(Math.max(at + velocity, 0), SIDE - 1);
  return [there, there === at + velocity ? velocity : 0];
}

const rooms = [];
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 4096, perMessageDeflate: false });
server.on("listening", () => console.log(`listening 127.0.0.1:${server.address().port}`));
server.on("connection", (socket) => {
  if ((rooms.at(-1)?.players.length ?? ROOM_PLAYERS) === ROOM_PLAYERS) rooms.push(new Room());
  const player = rooms.at(-1).join(socket);
  socket.on("message", (bytes) => {
    if (bytes.length !== INPUT_BYTES) return;
    player.number = bytes.readUInt32LE(0);
    player.dx = bytes.readInt16LE(12);
    player.dy = bytes.readInt16LE(14);
  });
  socket.on("error", () => {});
});

// Not setInterval, which loses a millisecond now and then. Who is late by a whole period skips what is late.
const begin = performance.now();
let ticks = 0;
function tick() {
  for (const room of rooms) {
    room.step();
    for (const player of room.players) player.socket.send(room.message(player));
  }
  ticks = Math.max(ticks + 1, Math.floor((performance.now() - begin) / PERIOD));
  setTimeout(tick, begin + ticks * PERIOD - performance.now());
}
tick();
