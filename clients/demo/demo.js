/**
 * The demo arena. Everybody moves, everybody collects coins.
 *
 * It uses nothing but the client under /sdk/, as a game of your own would. From top to bottom: getting in and staying
 * in, steering, the picture, the panels around it. `?name=` says what you are called, `?server=` plays on another one.
 */
import { Client, Interpolator, mayReconnect, RefusedError } from "/sdk/index.js";

const WORLD = 4096;
const PLAYER_RADIUS = 14;
const COIN_RADIUS = 8;
/** World units along the shorter side of the window. */
const VIEW = 600;

const params = new URLSearchParams(location.search);
const client = new Client(params.get("server") ?? location);
const $ = (id) => document.getElementById(id);

// Getting in and staying in

async function play() {
  for (let failures = 0; ; failures++) {
    showBanner({ title: "Connecting…", busy: true });
    const started = performance.now();
    let end;
    try {
      const room = await client.joinOrCreate("arena", { name: params.get("name") ?? "" });
      end = await playUntilTheEnd(room);
    } catch (error) {
      end = describe(error);
    }
    // A connection that lasted was not a failed try.
    if (performance.now() - started > 10_000) failures = 0;
    lamp("down");
    await pause(end, failures);
  }
}

/** Resolves to what to tell the player once it is over. */
function playUntilTheEnd(room) {
  window.tickyard = { room };
  scene = new Scene(room);
  hideBanner();
  lamp("up");
  room.onMessage("chat", ({ name, text }) => say(name, text));
  room.onMessage("chat-refused", (message) => note(message.text));
  const steering = setInterval(steersman(room.input()), room.stepMs);
  return new Promise((resolve) => {
    room.onLeave((code, reason) => {
      clearInterval(steering);
      resolve({ title: "Connection lost", text: reason || reasons[code], again: mayReconnect(code) });
    });
  });
}

function describe(error) {
  if (error instanceof RefusedError) {
    return { title: "Not let in", text: error.text, again: error.mayRetry, afterMs: error.retryAfterMs };
  }
  return { title: "No connection", text: reasons[error.code] ?? error.message, again: mayReconnect(error.code ?? 1006) };
}

/** Waits for the next try, if there is to be one without a hand: longer each time, and by chance, so that not everybody comes back at the same moment. */
async function pause(end, failures) {
  const backOffMs = Math.min(15_000, 500 * 2 ** failures) * (0.5 + Math.random());
  const until = performance.now() + Math.max(end.afterMs ?? 0, backOffMs);
  const pressed = new Promise((resolve) => ($("retry").onclick = () => resolve(true)));
  for (;;) {
    const seconds = Math.max(1, Math.ceil((until - performance.now()) / 1000));
    const when = end.again ? `Trying again in ${seconds} s` : "";
    showBanner({ title: end.title, text: end.text, when, retry: true, busy: end.again });
    const tick = new Promise((resolve) => setTimeout(resolve, 250, false));
    if ((await Promise.race([pressed, tick])) || (end.again && performance.now() >= until)) return;
  }
}

const reasons = {
  1000: "You left.",
  1001: "The server is restarting.",
  1002: "The page and the server do not understand each other. Reload the page.",
  1006: "The server cannot be reached.",
  1008: "The server has ended the connection.",
  1011: "The server has failed.",
  1013: "The server has too much to do.",
  4002: "The room has ended.",
};

// Steering

const keys = new Set();
const stick = { id: undefined, fromX: 0, fromY: 0, x: 0, y: 0 };
const KEYS = {
  ArrowLeft: [-1, 0], KeyA: [-1, 0], ArrowRight: [1, 0], KeyD: [1, 0],
  ArrowUp: [0, -1], KeyW: [0, -1], ArrowDown: [0, 1], KeyS: [0, 1],
};
const STICK_RADIUS = 56;

/** Sends where to go, once: an input stays in force until the next one. */
function steersman(input) {
  let sent;
  return () => {
    const { dx, dy } = direction();
    const wish = `${dx} ${dy}`;
    if (wish === sent) return;
    Object.assign(input.data, { dx, dy });
    if (input.send() !== 0) sent = wish;
    if (dx !== 0 || dy !== 0) $("hint").classList.add("done");
  };
}

function direction() {
  let [dx, dy] = [stick.x, stick.y];
  for (const key of keys) {
    dx += KEYS[key][0];
    dy += KEYS[key][1];
  }
  const length = Math.max(1, Math.hypot(dx, dy));
  return { dx: dx / length, dy: dy / length };
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target === $("text")) return;
  if (event.code === "Enter" && event.target !== $("retry")) {
    event.preventDefault();
    openChat();
  }
  if (!(event.code in KEYS)) return;
  event.preventDefault();
  keys.add(event.code);
});
addEventListener("keyup", (event) => keys.delete(event.code));
addEventListener("blur", letGo);
document.addEventListener("visibilitychange", letGo);

/** Whoever looks elsewhere does not keep running. */
function letGo() {
  keys.clear();
  Object.assign(stick, { id: undefined, x: 0, y: 0 });
}

const canvas = $("arena");
canvas.addEventListener("pointerdown", (event) => {
  if (stick.id !== undefined || event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  canvas.focus({ preventScroll: true });
  Object.assign(stick, { id: event.pointerId, fromX: event.clientX, fromY: event.clientY, x: 0, y: 0 });
});
canvas.addEventListener("pointermove", (event) => {
  if (event.pointerId !== stick.id) return;
  const [x, y] = [(event.clientX - stick.fromX) / STICK_RADIUS, (event.clientY - stick.fromY) / STICK_RADIUS];
  const length = Math.hypot(x, y);
  const dead = length < 0.15 ? 0 : 1;
  Object.assign(stick, { x: (dead * x) / Math.max(1, length), y: (dead * y) / Math.max(1, length) });
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, (event) => {
    if (event.pointerId === stick.id) Object.assign(stick, { id: undefined, x: 0, y: 0 });
  });
}

// The picture

const paint = canvas.getContext("2d");
const camera = { x: WORLD / 2, y: WORLD / 2, zoom: 1, width: 0, height: 0, ratio: 1 };
/** What is being shown; none before the first connection. */
let scene;

/** One room as a picture. It ends with the room, and its last picture stays. */
class Scene {
  constructor(room) {
    this.room = room;
    this.players = room.players;
    this.coins = room.kind("coin");
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
    this.coins.onRemove((coin, id) => this.#taken(coin, id));
    this.smooth = new Interpolator(room, this.players, ["x", "y", "vx", "vy"]);
  }

  draw(now) {
    const mine = this.room.me && this.#place(this.room.me, now);
    if (mine) [camera.x, camera.y] = mine;
    drawGround();
    for (const coin of this.coins) {
      if (!isVisible(coin.x, coin.y)) continue;
      paint.globalAlpha = this.#presence(coin.id, now);
      drawCoin(coin.x, coin.y, now + coin.id * 40);
    }
    const places = [];
    for (const player of this.players) {
      const place = player === this.room.me ? mine : this.#place(player, now);
      if (place && isVisible(place[0], place[1])) places.push([player, place]);
    }
    for (const [player, place] of places) {
      paint.globalAlpha = this.#presence(player.id, now);
      drawTail(player.name, place);
      drawPlayer(player.name, place, player.score, player === this.room.me);
    }
    paint.globalAlpha = 1;
    for (const [player, place] of places) drawName(player.name, place, player === this.room.me);
    this.effects = this.effects.filter((effect) => drawEffect(effect, now));
    drawMap(this, mine);
    drawStick();
  }

  /** Your own entity is shown as new as can be smooth, so that it answers at once. */
  #place(player, now) {
    const delayMs = player === this.room.me ? this.room.stepMs * 1.3 : undefined;
    return this.smooth.at(player.id, now, delayMs);
  }

  #presence(id, now) {
    return Math.min(1, (now - this.since.get(id)) / FADE_MS);
  }

  #scored(player, id) {
    const more = player.score - this.scores.get(id);
    this.scores.set(id, player.score);
    if (more <= 0) return;
    this.#effect({ kind: "points", x: player.x, y: player.y, text: `+${more}` });
  }

  #gone(player, id) {
    const place = this.smooth.at(id) ?? [player.x, player.y, 0, 0];
    const { name, score } = player;
    this.#effect({ kind: "gone", name, score, place });
    this.scores.delete(id);
    this.since.delete(id);
  }

  /** A coin with somebody on it was taken; any other only left the view. */
  #taken(coin, id) {
    this.since.delete(id);
    const taken = [...this.players].some((p) => Math.hypot(p.x - coin.x, p.y - coin.y) < 64);
    this.#effect({ kind: taken ? "taken" : "away", x: coin.x, y: coin.y });
  }

  /** A hidden page draws nothing, so nothing would ever end there. */
  #effect(effect) {
    if (!document.hidden) this.effects.push({ ...effect, at: performance.now() });
  }
}

const FADE_MS = 220;
const EFFECT_MS = { points: 900, gone: FADE_MS, taken: 360, away: FADE_MS };

function frame(now) {
  requestAnimationFrame(frame);
  fitCanvas();
  if (scene?.room.connected) scene.draw(now);
  else if (!scene) drawGround();
}

/** Crisp on every screen, and after every turn of it. */
function fitCanvas() {
  const ratio = Math.min(3, devicePixelRatio || 1);
  const { innerWidth: width, innerHeight: height } = window;
  if (camera.width === width && camera.height === height && camera.ratio === ratio) return;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  Object.assign(camera, { width, height, ratio, zoom: Math.max(0.65, Math.min(width, height) / VIEW) });
  sprites.clear();
}

const toX = (x) => (x - camera.x) * camera.zoom + camera.width / 2;
const toY = (y) => (y - camera.y) * camera.zoom + camera.height / 2;

function isVisible(x, y) {
  const margin = 60;
  const [left, top] = [toX(x), toY(y)];
  return left > -margin && top > -margin && left < camera.width + margin && top < camera.height + margin;
}

function drawGround() {
  paint.setTransform(camera.ratio, 0, 0, camera.ratio, 0, 0);
  paint.clearRect(0, 0, camera.width, camera.height);
  drawLines(64, "rgb(148 163 184 / 7%)");
  drawLines(256, "rgb(148 163 184 / 13%)");
  const [left, top, size] = [toX(0), toY(0), WORLD * camera.zoom];
  paint.fillStyle = "rgb(4 6 10 / 72%)";
  paint.beginPath();
  paint.rect(0, 0, camera.width, camera.height);
  paint.rect(left, top, size, size);
  paint.fill("evenodd");
  paint.strokeStyle = "rgb(94 234 212 / 45%)";
  paint.lineWidth = 2;
  paint.strokeRect(left, top, size, size);
}

function drawLines(step, colour) {
  const clamp = (n) => Math.max(0, Math.min(WORLD, n));
  const [halfX, halfY] = [camera.width / 2 / camera.zoom, camera.height / 2 / camera.zoom];
  const [left, right] = [clamp(camera.x - halfX), clamp(camera.x + halfX)];
  const [top, bottom] = [clamp(camera.y - halfY), clamp(camera.y + halfY)];
  const crisp = (n) => (Math.round(n * camera.ratio) + 0.5) / camera.ratio;
  paint.strokeStyle = colour;
  paint.lineWidth = 1 / camera.ratio;
  paint.beginPath();
  for (let x = Math.ceil(left / step) * step; x <= right; x += step) {
    paint.moveTo(crisp(toX(x)), toY(top));
    paint.lineTo(crisp(toX(x)), toY(bottom));
  }
  for (let y = Math.ceil(top / step) * step; y <= bottom; y += step) {
    paint.moveTo(toX(left), crisp(toY(y)));
    paint.lineTo(toX(right), crisp(toY(y)));
  }
  paint.stroke();
}

function drawCoin(x, y, phase) {
  const pulse = 1 + 0.07 * Math.sin(phase / 260);
  drawSprite("coin", toX(x), toY(y), pulse);
}

function drawPlayer(name, [x, y], score, isMe) {
  const [left, top] = [toX(x), toY(y)];
  const radius = PLAYER_RADIUS * camera.zoom;
  drawSprite(`player ${hueOf(name)}`, left, top, 1);
  if (isMe) {
    paint.strokeStyle = "#fff";
    paint.lineWidth = 2.5;
    paint.beginPath();
    paint.arc(left, top, radius + 4, 0, 2 * Math.PI);
    paint.stroke();
  }
  const size = Math.max(8, radius * (score > 999 ? 0.62 : 0.8));
  paint.font = `700 ${size}px system-ui, sans-serif`;
  paint.textAlign = "center";
  paint.textBaseline = "middle";
  paint.fillStyle = "rgb(6 10 16 / 85%)";
  paint.fillText(String(score), left, top + size * 0.06);
}

/** Where it came from in the last moment. */
function drawTail(name, [x, y, vx, vy]) {
  const speed = Math.hypot(vx, vy);
  if (speed < 5) return;
  const [left, top] = [toX(x), toY(y)];
  const [endX, endY] = [toX(x - vx * 0.26), toY(y - vy * 0.26)];
  const radius = PLAYER_RADIUS * camera.zoom * 0.86;
  const [acrossX, acrossY] = [(-vy / speed) * radius, (vx / speed) * radius];
  const fade = paint.createLinearGradient(left, top, endX, endY);
  fade.addColorStop(0, `hsl(${hueOf(name)} 85% 66% / 42%)`);
  fade.addColorStop(1, `hsl(${hueOf(name)} 85% 66% / 0%)`);
  paint.fillStyle = fade;
  paint.beginPath();
  paint.moveTo(left + acrossX, top + acrossY);
  paint.lineTo(endX, endY);
  paint.lineTo(left - acrossX, top - acrossY);
  paint.fill();
}

function drawName(name, [x, y], isMe) {
  paint.font = `${isMe ? 700 : 600} 12.5px system-ui, sans-serif`;
  paint.textAlign = "center";
  paint.textBaseline = "alphabetic";
  const [left, top] = [toX(x), toY(y) - PLAYER_RADIUS * camera.zoom - (isMe ? 11 : 7)];
  paint.lineJoin = "round";
  paint.lineWidth = 3.5;
  paint.strokeStyle = "rgb(9 12 18 / 85%)";
  paint.strokeText(name, left, top);
  paint.fillStyle = isMe ? "#fff" : "rgb(230 235 244 / 88%)";
  paint.fillText(name, left, top);
}

/** Tells whether it goes on. */
function drawEffect(effect, now) {
  const done = (now - effect.at) / EFFECT_MS[effect.kind];
  if (done >= 1) return false;
  const left = 1 - Math.max(0, done);
  paint.globalAlpha = left;
  if (effect.kind === "gone") drawPlayer(effect.name, effect.place, effect.score, false);
  else if (effect.kind === "away") drawCoin(effect.x, effect.y, 0);
  else if (effect.kind === "taken") drawRing(effect, 1 - left);
  else drawPoints(effect, 1 - left);
  paint.globalAlpha = 1;
  return true;
}

function drawRing({ x, y }, done) {
  paint.strokeStyle = "#fbbf24";
  paint.lineWidth = 3 * (1 - done);
  paint.beginPath();
  paint.arc(toX(x), toY(y), (COIN_RADIUS + 22 * done) * camera.zoom, 0, 2 * Math.PI);
  paint.stroke();
}

function drawPoints({ x, y, text }, done) {
  paint.font = "700 14px system-ui, sans-serif";
  paint.textAlign = "left";
  paint.fillStyle = "#fbbf24";
  paint.fillText(text, toX(x) + 16 * camera.zoom, toY(y) - (10 + 26 * done) * camera.zoom);
}

/** The whole world, and where you are in it. */
function drawMap({ players, coins, room }, mine) {
  if (camera.width < 720 || !mine) return;
  const size = 116;
  const [left, top] = [camera.width - size - 14, camera.height - size - 14];
  const dot = (x, y, radius, colour) => {
    paint.fillStyle = colour;
    paint.beginPath();
    paint.arc(left + (x / WORLD) * size, top + (y / WORLD) * size, radius, 0, 2 * Math.PI);
    paint.fill();
  };
  paint.fillStyle = "rgb(16 21 31 / 78%)";
  paint.strokeStyle = "rgb(148 163 184 / 16%)";
  paint.lineWidth = 1;
  paint.beginPath();
  paint.roundRect(left - 0.5, top - 0.5, size + 1, size + 1, 10);
  paint.fill();
  paint.stroke();
  const [seenX, seenY] = [(camera.width / camera.zoom / WORLD) * size, (camera.height / camera.zoom / WORLD) * size];
  paint.save();
  paint.clip();
  const [atX, atY] = [left + (mine[0] / WORLD) * size, top + (mine[1] / WORLD) * size];
  paint.strokeStyle = "rgb(148 163 184 / 45%)";
  paint.strokeRect(atX - seenX / 2, atY - seenY / 2, seenX, seenY);
  paint.restore();
  for (const coin of coins) dot(coin.x, coin.y, 0.8, "rgb(251 191 36 / 70%)");
  for (const player of players) if (player !== room.me) dot(player.x, player.y, 1.4, colourOf(player.name));
  dot(mine[0], mine[1], 3, "#fff");
}

function drawStick() {
  if (stick.id === undefined || (stick.x === 0 && stick.y === 0)) return;
  paint.fillStyle = "rgb(230 235 244 / 8%)";
  paint.beginPath();
  paint.arc(stick.fromX, stick.fromY, STICK_RADIUS, 0, 2 * Math.PI);
  paint.fill();
  paint.fillStyle = "rgb(230 235 244 / 35%)";
  paint.beginPath();
  paint.arc(stick.fromX + stick.x * STICK_RADIUS, stick.fromY + stick.y * STICK_RADIUS, 22, 0, 2 * Math.PI);
  paint.fill();
}

/** Discs with their glow, drawn once for each colour and size of the window. */
const sprites = new Map();

function drawSprite(name, left, top, scale) {
  let sprite = sprites.get(name);
  if (!sprite) sprites.set(name, (sprite = name === "coin" ? coinSprite() : playerSprite(name.split(" ")[1])));
  const size = (sprite.width / camera.ratio) * scale;
  paint.drawImage(sprite, left - size / 2, top - size / 2, size, size);
}

function playerSprite(hue) {
  return disc(PLAYER_RADIUS, 2.1, `hsl(${hue} 90% 74%)`, `hsl(${hue} 75% 55%)`, `hsl(${hue} 90% 60% / 34%)`);
}

function coinSprite() {
  return disc(COIN_RADIUS, 2.2, "#fde68a", "#f59e0b", "rgb(251 191 36 / 30%)", (brush, radius) => {
    brush.strokeStyle = "rgb(120 53 15 / 55%)";
    brush.lineWidth = radius * 0.16;
    brush.beginPath();
    brush.arc(0, 0, radius * 0.62, 0, 2 * Math.PI);
    brush.stroke();
  });
}

function disc(units, reach, light, dark, glow, more) {
  const radius = units * camera.zoom * camera.ratio;
  const sprite = document.createElement("canvas");
  sprite.width = sprite.height = Math.ceil(radius * reach * 2);
  const brush = sprite.getContext("2d");
  brush.translate(sprite.width / 2, sprite.height / 2);
  const halo = brush.createRadialGradient(0, 0, radius * 0.9, 0, 0, radius * reach);
  halo.addColorStop(0, glow);
  halo.addColorStop(1, "transparent");
  brush.fillStyle = halo;
  brush.fillRect(-sprite.width / 2, -sprite.height / 2, sprite.width, sprite.height);
  const body = brush.createRadialGradient(-radius * 0.35, -radius * 0.4, 0, 0, 0, radius * 1.1);
  body.addColorStop(0, light);
  body.addColorStop(1, dark);
  brush.fillStyle = body;
  brush.beginPath();
  brush.arc(0, 0, radius, 0, 2 * Math.PI);
  brush.fill();
  more?.(brush, radius);
  return sprite;
}

/** Everybody has a colour by name: the same in the arena, on the board and in the chat. */
function hueOf(name) {
  let hash = 0;
  for (let i = 0; i < name.length; i++) hash = (Math.imul(hash, 31) + name.charCodeAt(i)) | 0;
  return HUES[(Math.imul(hash, 0x9e3779b1) >>> 16) % HUES.length];
}

// Spaced by eye, since degrees are not: greens look alike over a wide range, and gold is for coins.
const HUES = [2, 18, 64, 92, 140, 164, 182, 198, 214, 236, 256, 274, 292, 314, 338];

function colourOf(name) {
  return `hsl(${hueOf(name)} 85% 68%)`;
}

// The panels

function lamp(state) {
  $("lamp").className = `lamp ${state}`;
}

function showBanner({ title, text = "", when = "", busy = false, retry = false }) {
  $("banner").hidden = false;
  $("spinner").hidden = !busy;
  $("retry").hidden = !retry;
  setText($("banner-title"), title);
  setText($("banner-text"), text);
  setText($("banner-when"), when);
}

function hideBanner() {
  $("banner").hidden = true;
}

function refresh() {
  if (!scene?.room.connected) return;
  const { room } = scene;
  setText($("in-view"), String(room.players.size));
  setText($("ping"), room.rtt === 0 ? "–" : room.rtt < 10 ? room.rtt.toFixed(1) : String(Math.round(room.rtt)));
  setText($("tick"), String(room.tick));
  const best = [...room.kind("score")].sort((a, b) => b.points - a.points || a.player - b.player).slice(0, 10);
  const lines = best.map((score, i) => boardLine(score, i + 1, score.player === room.player));
  if (lines.length === 0) lines.push(element("li", "nobody", "Nobody has scored yet."));
  $("board").replaceChildren(...lines);
}

function boardLine({ name, points }, rank, isMe) {
  const line = element("li", isMe ? "me" : "");
  const dot = element("span", "dot");
  dot.style.background = colourOf(name);
  line.append(element("span", "rank", rank), dot, element("span", "who", name), element("span", "points", points));
  return line;
}

const LINES_MAX = 30;
const LINE_FADES_MS = 12_000;

function say(name, text) {
  const who = element("b", "", name);
  who.style.color = colourOf(name);
  addLine("", who, ` ${text}`);
}

function note(text) {
  addLine("note", text);
}

function addLine(className, ...parts) {
  const line = element("li", className);
  line.append(...parts);
  $("log").append(line);
  while ($("log").childElementCount > LINES_MAX) $("log").firstElementChild.remove();
  setTimeout(() => line.classList.add("old"), LINE_FADES_MS);
}

function openChat() {
  if (!scene?.room.connected) return;
  keys.clear();
  showChat(true);
  $("text").focus();
}

function closeChat() {
  $("text").value = "";
  showChat(false);
  canvas.focus({ preventScroll: true });
}

function showChat(open) {
  $("say").hidden = !open;
  $("open-chat").hidden = open;
  document.querySelector(".chat").classList.toggle("open", open);
}

$("open-chat").addEventListener("click", openChat);
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeChat();
});
$("text").addEventListener("blur", () => {
  if ($("text").value === "") showChat(false);
});
$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  closeChat();
  if (text === "" || !scene?.room.connected) return;
  try {
    scene.room.chat(text);
  } catch (error) {
    note(error.message);
  }
});

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = String(text);
  return made;
}

/** Leaves what is right as it is: screen readers would say it again. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

setInterval(refresh, 250);
requestAnimationFrame(frame);
play();
