/**
 * The demo arena. Everybody moves, everybody collects coins.
 *
 * It uses nothing but the client under /sdk/, as a game of your own would. This file gets in and stays in; `steering`
 * sends where to go, `scene` shows what there is (`paint` and `map` are its brushes), `panels` are around it.
 * `?name=` says what you are called.
 */
import { Client, mayReconnect, RefusedError } from "/sdk/index.js";
import { follow, hideBanner, lamp, note, say, showBanner } from "./panels.js";
import { show } from "./scene.js";
import { steersman } from "./steering.js";

const params = new URLSearchParams(location.search);
const client = new Client(location);

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
  show(room);
  follow(room);
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
  const pressed = new Promise((resolve) => (document.getElementById("retry").onclick = () => resolve(true)));
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

play();
