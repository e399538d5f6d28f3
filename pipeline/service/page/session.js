// Who looks: with a service that asks for a token, it is shown once and a cookie kept.

import { Refused, ask } from "./api.js";
import { h, say } from "./dom.js";

/** The role of who looks: "admin", "read", or null when a token is needed. */
export async function role() {
  try {
    return (await ask("GET", "session")).role;
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return "admin"; // it asks nobody
    throw error;
  }
}

/** A form that asks for a token; `done` is called when it was taken. */
export function login(done) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const input = h("input", {
    id: "token", name: "token", type: "password", autocomplete: "current-password", required: true,
  });
  const form = h(
    "form",
    { class: "login" },
    h("h1", {}, "A token is needed"),
    h("div", { class: "field" }, h("label", { for: "token" }, "Token"), input),
    problem,
    h("button", { type: "submit", class: "main" }, "Come in"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await ask("POST", "session", { token: input.value.trim() });
      done();
    } catch (error) {
      problem.hidden = false;
      say(problem, error.message);
      input.select();
    }
  });
  return form;
}
