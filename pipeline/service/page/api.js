// Asking the service; what it refuses is an error with its one line.

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** The answer of `v1/…`, null where there is none. */
export async function ask(method, path, body) {
  let answer;
  try {
    answer = await fetch(`v1/${path}`, {
      method,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Refused(0, "the service cannot be reached");
  }
  const text = await answer.text();
  let found = null;
  try {
    found = text ? JSON.parse(text) : null;
  } catch {
    // a proxy's page: its status is all there is to say
  }
  if (!answer.ok) throw new Refused(answer.status, found?.detail ?? `the answer was ${answer.status}`);
  return found;
}

export const streamPath = (id, more = "") => `streams/${encodeURIComponent(id)}${more}`;
