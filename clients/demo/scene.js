/** What is on the canvas: the room that is being played, each frame anew. */
import { Interpolator } from "/sdk/index.js";
import { WorldMap } from "./map.js";
import {
  camera, drawCoin, drawGround, drawName, drawPlayer, drawPoints, drawRing, drawStick, drawTail, fitCanvas, isVisible,
  paint, REACH,
} from "./paint.js";

/** What is being shown; none before the first connection. */
let scene;

/** From now on the canvas shows this room. When the room ends, its last picture stays. */
export function show(room) {
  scene = new Scene(room);
}

function frame(now) {
  requestAnimationFrame(frame);
  const isBlank = fitCanvas();
  if (scene?.room.connected) scene.draw(now);
  else if (isBlank) drawGround();
}

class Scene {
  constructor(room) {
    this.room = room;
    this.players = room.players;
    this.coins = room.kind("coin");
    this.map = new WorldMap();
    this.since = new Map();
    this.scores = new Map();
    this.effects = [];
    for (const collection of [this.players, this.coins]) {
      collection.onAdd((_, id) => this.since.set(id, performance.now()));
    }
    this.players.onAdd((player, id) => this.scores.set(id, player.score));
    this.players.onChange((player, id) => this.#scored(player, id));
    // Before the interpolator forgets where they were.
    this.players.onRemove((player, id) => this.#gone(player, id));
    this.coins.onAdd((coin, id) => this.map.saw(id, coin));
    this.coins.onRemove((coin, id) => this.#lost(coin, id));
    this.smooth = new Interpolator(room, this.players, ["x", "y", "vx", "vy"]);
  }

  draw(now) {
    const mine = this.room.me && this.#place(this.room.me, now);
    if (mine) [camera.x, camera.y] = mine;
    drawGround();
    for (const coin of this.#coinsAt(now)) {
      if (!isVisible(coin.x, coin.y)) continue;
      paint.globalAlpha = this.#presence(coin.id, now);
      drawCoin(coin.x, coin.y, now + coin.id * 40);
    }
    const places = [];
    for (const player of this.players) {
      if (player === this.room.me) continue;
      const place = this.#place(player, now);
      if (place && isVisible(place[0], place[1])) places.push([player, place]);
    }
    // You are on top of everybody.
    if (mine) places.push([this.room.me, mine]);
    for (const [player, place] of places) {
      paint.globalAlpha = this.#presence(player.id, now);
      drawTail(player.name, place, TAIL_MS / this.room.stepMs);
      drawPlayer(player.name, place, player.score, player === this.room.me);
    }
    paint.globalAlpha = 1;
    for (const [player, place] of places) drawName(player.name, place, player === this.room.me);
    this.effects = this.effects.filter((effect) => drawEffect(effect, now));
    if (mine) this.map.draw(this.players, this.room.me, mine, now);
    drawStick();
  }

  #place(player, now) {
    return this.smooth.at(player.id, now, this.#delayMs(player));
  }

  /** Your own entity is shown as new as can be smooth, so that it answers at once. */
  #delayMs(player) {
    return player === this.room.me ? this.room.stepMs * 1.3 : this.smooth.delayMs;
  }

  /** Those that are there, and those that will be taken once the picture of whoever took them arrives. */
  *#coinsAt(now) {
    yield* this.coins;
    for (const effect of this.effects) if (effect.kind === "taken" && now < effect.at) yield effect;
  }

  #presence(id, now) {
    return Math.min(1, (now - (this.since.get(id) ?? 0)) / FADE_MS);
  }

  #scored(player, id) {
    const more = player.score - this.scores.get(id);
    this.scores.set(id, player.score);
    if (more <= 0) return;
    this.#effect({ kind: "points", x: player.x, y: player.y, text: `+${more}` }, this.#delayMs(player));
  }

  #gone(player, id) {
    const place = this.smooth.at(id) ?? [player.x, player.y, 0, 0];
    const { name, score } = player;
    this.#effect({ kind: "gone", name, score, place });
    this.scores.delete(id);
    this.since.delete(id);
  }

  /** A coin with somebody on it was taken; any other only left the view. */
  #lost(coin, id) {
    this.since.delete(id);
    const { x, y } = coin;
    const taker = [...this.players].find((p) => Math.hypot(p.x - x, p.y - y) < REACH + STRIDE);
    if (taker) this.#effect({ kind: "taken", id, x, y }, this.#delayMs(taker));
    else this.#effect({ kind: "away", x, y });
    if (taker || document.hidden) this.map.forget(id);
    else this.map.lost(id, performance.now());
  }

  /** A hidden page draws nothing, so nothing would ever end there. */
  #effect(effect, delayMs = 0) {
    if (!document.hidden) this.effects.push({ ...effect, at: performance.now() + delayMs });
  }
}

/** Tells whether it goes on. */
function drawEffect(effect, now) {
  const done = (now - effect.at) / EFFECT_MS[effect.kind];
  if (done >= 1) return false;
  const isFading = effect.kind === "gone" || effect.kind === "away";
  if (done < 0 && !isFading) return true;
  paint.globalAlpha = 1 - Math.max(0, done);
  if (effect.kind === "gone") drawPlayer(effect.name, effect.place, effect.score, false);
  else if (effect.kind === "away") drawCoin(effect.x, effect.y, 0);
  else if (effect.kind === "taken") drawRing(effect, done);
  else drawPoints(effect, done);
  paint.globalAlpha = 1;
  return true;
}

const FADE_MS = 220;
const TAIL_MS = 320;
const EFFECT_MS = { points: 900, gone: FADE_MS, taken: 360, away: FADE_MS };
/** A player may have run this much further by the time the coin is missed, in units. */
const STRIDE = 12;

requestAnimationFrame(frame);
