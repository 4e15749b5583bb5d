/**
 * The brushes: how the ground, coins, players and what happens to them look on the canvas, and from where the camera
 * sees them.
 */
import { stick, STICK_RADIUS } from "./steering.js";

export const WORLD = 4096;
/** The arena's rule: a coin this near to the middle of a player is collected. So the two just touch on the screen. */
export const REACH = 24;
const PLAYER_RADIUS = 15;
const COIN_RADIUS = REACH - PLAYER_RADIUS;
/** World units along the shorter side of the window, and the most along the longer one: beyond is little to see. */
const VIEW_SHORT = 600;
const VIEW_LONG = 1000;

const canvas = document.getElementById("arena");
export const paint = canvas.getContext("2d");
export const camera = { x: WORLD / 2, y: WORLD / 2, zoom: 1, width: 0, height: 0, ratio: 1 };

/** Crisp on every screen, and after every turn of it. Tells whether the canvas is blank now. */
export function fitCanvas() {
  const ratio = Math.min(3, devicePixelRatio || 1);
  const { innerWidth: width, innerHeight: height } = window;
  if (camera.width === width && camera.height === height && camera.ratio === ratio) return false;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const zoom = Math.max(Math.min(width, height) / VIEW_SHORT, Math.max(width, height) / VIEW_LONG);
  Object.assign(camera, { width, height, ratio, zoom });
  sprites.clear();
  return true;
}

const toX = (x) => (x - camera.x) * camera.zoom + camera.width / 2;
const toY = (y) => (y - camera.y) * camera.zoom + camera.height / 2;

export function isVisible(x, y) {
  const margin = 60;
  const [left, top] = [toX(x), toY(y)];
  return left > -margin && top > -margin && left < camera.width + margin && top < camera.height + margin;
}

export function drawGround() {
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

export function drawCoin(x, y, phase) {
  const pulse = 1 + 0.07 * Math.sin(phase / 260);
  drawSprite("coin", toX(x), toY(y), pulse);
}

export function drawPlayer(name, [x, y], score, isMe) {
  const [left, top] = [toX(x), toY(y)];
  const radius = PLAYER_RADIUS * camera.zoom;
  drawSprite(`player ${hueOf(name)}`, left, top, 1);
  if (isMe) {
    paint.strokeStyle = "#fff";
    paint.lineWidth = 2.5;
    paint.beginPath();
    paint.arc(left, top, radius - 1.25, 0, 2 * Math.PI);
    paint.stroke();
  }
  const size = Math.max(8, radius * (score > 999 ? 0.62 : 0.8));
  paint.font = `700 ${size}px system-ui, sans-serif`;
  paint.textAlign = "center";
  paint.textBaseline = "middle";
  paint.fillStyle = "rgb(6 10 16 / 85%)";
  paint.fillText(String(score), left, top + size * 0.06);
}

/** Where it came from in the last few ticks. */
export function drawTail(name, [x, y, vx, vy], ticks) {
  const speed = Math.hypot(vx, vy);
  if (speed * ticks < PLAYER_RADIUS) return;
  const [left, top] = [toX(x), toY(y)];
  const [endX, endY] = [toX(x - vx * ticks), toY(y - vy * ticks)];
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

export function drawName(name, [x, y], isMe) {
  paint.font = `${isMe ? 700 : 600} 12.5px system-ui, sans-serif`;
  paint.textAlign = "center";
  paint.textBaseline = "alphabetic";
  const [left, top] = [toX(x), toY(y) - PLAYER_RADIUS * camera.zoom - 7];
  paint.lineJoin = "round";
  paint.lineWidth = 3.5;
  paint.strokeStyle = "rgb(9 12 18 / 85%)";
  paint.strokeText(name, left, top);
  paint.fillStyle = isMe ? "#fff" : "rgb(230 235 244 / 88%)";
  paint.fillText(name, left, top);
}

export function drawRing({ x, y }, done) {
  paint.strokeStyle = "#fbbf24";
  paint.lineWidth = 3 * (1 - done);
  paint.beginPath();
  paint.arc(toX(x), toY(y), (COIN_RADIUS + 22 * done) * camera.zoom, 0, 2 * Math.PI);
  paint.stroke();
}

export function drawPoints({ x, y, text }, done) {
  paint.font = "700 14px system-ui, sans-serif";
  paint.textAlign = "left";
  paint.fillStyle = "#fbbf24";
  paint.fillText(text, toX(x) + 16 * camera.zoom, toY(y) - (10 + 26 * done) * camera.zoom);
}

export function drawStick() {
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

export function colourOf(name) {
  return `hsl(${hueOf(name)} 85% 68%)`;
}
