// The page: which view is shown, whether the service is there, who looks.

import { addStream, changeStream, removeStream } from "./dialogs.js";
import { say } from "./dom.js";
import { Feed } from "./feed.js";
import { Grid } from "./grid.js";
import { Everything } from "./happened.js";
import { Series } from "./series.js";
import { login, role } from "./session.js";
import { StreamView } from "./view.js";
import { toneOf } from "./words.js";
import { Workers } from "./workers.js";

const main = document.getElementById("main");
const link = document.getElementById("link");
const add = document.getElementById("add");
const root = document.documentElement;
const series = new Series();
let feed = null;
let view = null;
let who = null;

function go(address) {
  if (location.hash === address) route();
  else location.hash = address;
}

function made(name, id) {
  if (name === "workers") return new Workers(feed);
  if (name === "events") return new Everything(feed);
  if (name !== "stream") return new Grid(feed, series, { add: asked, mayChange });
  return new StreamView(id, {
    feed, series, mayChange, change: changeStream, remove: (one) => removeStream(one, () => go("#/")),
  });
}

const mayChange = () => who === "admin";
const asked = () => addStream(({ id }) => go(`#/stream/${encodeURIComponent(id)}`));

function route() {
  const [, name = "", id = "", track = ""] = location.hash.slice(1).split("/");
  view?.close();
  view = made(name, decodeURIComponent(id));
  main.replaceChildren(view.element);
  window.scrollTo(0, 0); // where one was in the view before says nothing of this one
  view.update();
  view.open?.(track);
  const shown = name === "workers" || name === "events" ? name : "streams";
  for (const tab of document.querySelectorAll(".tabs a")) {
    if (tab.dataset.view === shown) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
}

function updated() {
  series.add(feed.overview);
  view?.update();
  const troubled = feed.overview.streams.filter((stream) => toneOf(stream) === "bad").length;
  document.title = troubled ? `(${troubled}) maskstream` : "maskstream";
}

function linked() {
  say(link, feed.linked ? "connected" : "connection to the service lost");
  root.dataset.link = feed.linked ? "there" : "lost";
  if (!feed.linked) check();
}

/** Whether the service still knows who looks; it was started anew, say. */
async function check() {
  try {
    if ((await role()) === null) location.reload();
  } catch {
    // it is away, which the page says already
  }
}

function theme(next) {
  if (next) localStorage.setItem("theme", next);
  const chosen = localStorage.getItem("theme");
  if (chosen) root.dataset.theme = chosen;
}

document.getElementById("theme").addEventListener("click", () => {
  const dark = getComputedStyle(root).colorScheme === "dark" ||
    (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  theme(dark ? "light" : "dark");
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
add.addEventListener("click", asked);
theme();

async function begin() {
  try {
    who = await role();
  } catch {
    say(link, "connection to the service lost");
    root.dataset.link = "lost";
    setTimeout(begin, 2000);
    return;
  }
  if (who === null) {
    say(link, "nobody");
    main.replaceChildren(login(begin));
    document.getElementById("token").focus();
    return;
  }
  add.hidden = !mayChange();
  feed = new Feed();
  feed.addEventListener("overview", updated);
  feed.addEventListener("link", linked);
  window.addEventListener("hashchange", () => {
    route();
    main.focus({ preventScroll: true });
  });
  route();
}

begin();
