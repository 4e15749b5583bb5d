/** What stands around the arena: the lamp and figures, the banner, the board and the chat. */
import { colourOf } from "./paint.js";

const $ = (id) => document.getElementById(id);
/** What the panels tell of; none before the first connection. */
let room;

export function lamp(state) {
  $("lamp").className = `lamp ${state}`;
}

export function showBanner({ title, text = "", when = "", busy = false, retry = false }) {
  $("banner").hidden = false;
  $("spinner").hidden = !busy;
  $("retry").hidden = !retry;
  setText($("banner-title"), title);
  setText($("banner-text"), text);
  setText($("banner-when"), when);
}

export function hideBanner() {
  $("banner").hidden = true;
}

/** From now on the panels tell of this room. */
export function follow(entered) {
  room = entered;
}

function refresh() {
  if (!room?.connected) return;
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

export function say(name, text) {
  const who = element("b", "", name);
  who.style.color = colourOf(name);
  addLine("", who, ` ${text}`);
}

export function note(text) {
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
  if (!room?.connected) return;
  showChat(true);
  $("text").focus();
}

function closeChat() {
  $("text").value = "";
  showChat(false);
  $("arena").focus({ preventScroll: true });
}

function showChat(open) {
  $("say").hidden = !open;
  $("open-chat").hidden = open;
  document.querySelector(".chat").classList.toggle("open", open);
}

$("open-chat").addEventListener("click", openChat);
addEventListener("keydown", (event) => {
  // On a button Enter presses it, and in the text it sends that.
  if (event.code !== "Enter" || event.target.closest?.("button, input")) return;
  event.preventDefault();
  openChat();
});
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
  if (text === "" || !room?.connected) return;
  try {
    room.chat(text);
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
