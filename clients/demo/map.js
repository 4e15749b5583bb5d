/**
 * The map in the corner: the whole world, the window on it, and who is near. A server tells of what is around you and
 * nothing else, so the rest of the map is memory: coins that you passed fade away, for somebody may have taken them.
 */
import { camera, colourOf, paint, WORLD } from "./paint.js";

export class WorldMap {
  /** Coins by id; those out of view have a time at which that happened. */
  #coins = new Map();

  saw(id, { x, y }) {
    this.#coins.set(id, { x, y, lostAt: undefined });
  }

  lost(id, now) {
    const coin = this.#coins.get(id);
    if (coin) coin.lostAt = now;
  }

  forget(id) {
    this.#coins.delete(id);
  }

  draw(players, me, [x, y], now) {
    if (camera.width < 720 || camera.height < 520) return;
    paint.save();
    paint.translate(camera.width - SIZE - MARGIN, camera.height - SIZE - MARGIN);
    drawSheet();
    drawWindow(x, y);
    this.#drawCoins(x, y, now);
    for (const player of players) if (player !== me) dot(player.x, player.y, 2, colourOf(player.name));
    dot(x, y, 5.5, "rgb(9 12 18 / 80%)");
    dot(x, y, 3.5, "#fff");
    paint.restore();
  }

  #drawCoins(x, y, now) {
    for (const [id, coin] of this.#coins) {
      const age = coin.lostAt === undefined ? 0 : (now - coin.lostAt) / MEMORY_MS;
      // Gone by now, or here and not there any more.
      const isNear = Math.hypot(coin.x - x, coin.y - y) < NEAR;
      if (age >= 1 || (age > 0.02 && isNear)) this.#coins.delete(id);
      else dot(coin.x, coin.y, 1.2, `rgb(251 191 36 / ${Math.round(age === 0 ? 85 : 50 * (1 - age))}%)`);
    }
  }
}

function drawSheet() {
  paint.beginPath();
  paint.roundRect(0, 0, SIZE, SIZE, 12);
  paint.fillStyle = "rgb(16 21 31 / 78%)";
  paint.fill();
  paint.strokeStyle = "rgb(148 163 184 / 22%)";
  paint.lineWidth = 1;
  paint.stroke();
  paint.clip();
  paint.strokeStyle = "rgb(148 163 184 / 9%)";
  paint.beginPath();
  for (let at = SIZE / 4; at < SIZE; at += SIZE / 4) {
    paint.moveTo(at, 0);
    paint.lineTo(at, SIZE);
    paint.moveTo(0, at);
    paint.lineTo(SIZE, at);
  }
  paint.stroke();
}

function drawWindow(x, y) {
  const [width, height] = [onMap(camera.width / camera.zoom), onMap(camera.height / camera.zoom)];
  paint.beginPath();
  paint.roundRect(onMap(x) - width / 2, onMap(y) - height / 2, width, height, 3);
  paint.fillStyle = "rgb(94 234 212 / 9%)";
  paint.fill();
  paint.strokeStyle = "rgb(94 234 212 / 55%)";
  paint.stroke();
}

function dot(x, y, radius, colour) {
  paint.fillStyle = colour;
  paint.beginPath();
  paint.arc(onMap(x), onMap(y), radius, 0, 2 * Math.PI);
  paint.fill();
}

const SIZE = 168;
const MARGIN = 14;
const MEMORY_MS = 60_000;
/** What is nearer than this is always in view. */
const NEAR = 200;

const onMap = (units) => (units / WORLD) * SIZE;
