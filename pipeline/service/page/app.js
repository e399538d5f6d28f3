// The page: which view is shown, and whether the service is there.

import { Feed } from "./feed.js";
import { Grid } from "./grid.js";
import { h, say } from "./dom.js";

const feed = new Feed();
const main = document.getElementById("main");
const link = document.getElementById("link");
let view = null;

function route() {
  view?.close();
  view = new Grid(feed, () => {});
  main.replaceChildren(view.element);
  view.update();
}

feed.addEventListener("overview", () => view.update());
feed.addEventListener("link", () => {
  say(link, feed.linked ? "connected" : "connection to the service lost");
  document.documentElement.dataset.link = feed.linked ? "there" : "lost";
});
window.addEventListener("hashchange", route);
route();
