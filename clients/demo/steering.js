/** Where the player wants to go: keys, and a stick that appears under the finger. */

const canvas = document.getElementById("arena");
const hint = document.getElementById("hint");
const keys = new Set();
/** Where a finger pulls to, from where it touched first. */
export const stick = { id: undefined, fromX: 0, fromY: 0, x: 0, y: 0 };
const KEYS = {
  ArrowLeft: [-1, 0], KeyA: [-1, 0], ArrowRight: [1, 0], KeyD: [1, 0],
  ArrowUp: [0, -1], KeyW: [0, -1], ArrowDown: [0, 1], KeyS: [0, 1],
};
export const STICK_RADIUS = 56;

/** Sends where to go, once: an input stays in force until the next one. */
export function steersman(input) {
  let sent;
  return () => {
    const { dx, dy } = direction();
    const wish = `${dx} ${dy}`;
    if (wish === sent) return;
    Object.assign(input.data, { dx, dy });
    if (input.send() !== 0) sent = wish;
    if (dx !== 0 || dy !== 0) hint.classList.add("done");
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
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
  if (!(event.code in KEYS)) return;
  event.preventDefault();
  keys.add(event.code);
});
addEventListener("keyup", (event) => keys.delete(event.code));
addEventListener("focusin", (event) => isTyping(event) && letGo());
addEventListener("blur", letGo);
document.addEventListener("visibilitychange", letGo);

function isTyping(event) {
  return event.target instanceof HTMLInputElement;
}

/** Whoever looks elsewhere does not keep running. */
function letGo() {
  keys.clear();
  Object.assign(stick, { id: undefined, x: 0, y: 0 });
}

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
