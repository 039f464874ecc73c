// Asking the daemon: JSON in and out, the token where one is needed, the event stream.
// The stream is read by fetch, not EventSource: a token belongs in a header, never in an address.

const TOKEN = "courtyard.token";

export class Failure extends Error {
  constructor(status, body) {
    super(body && body.error ? body.error : `HTTP ${status}`);
    this.status = status;
    this.hint = (body && body.hint) || "";
  }
}

export function storage(key, value) {
  // A browser may forbid storage; then it is asked again on the next visit.
  try {
    if (value === undefined) return localStorage.getItem(key) || "";
    localStorage.setItem(key, value);
  } catch { /* remembered for this page only */ }
  return value || "";
}

let token = storage(TOKEN);
export let skew = 0; // ms to add to this box's clock to get the daemon's

export function setToken(text) {
  token = storage(TOKEN, text.trim());
}

function headers(more) {
  return token ? { ...more, authorization: `Bearer ${token}` } : { ...more };
}

async function taken(answer, also = []) {
  const date = Date.parse(answer.headers.get("date") || "");
  if (date) {
    const found = date - Date.now();
    skew = Math.abs(found) > 3000 ? found : 0;
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok && !also.includes(answer.status)) throw new Failure(answer.status, body);
  return body;
}

// `also`: statuses that are answers too.
export async function get(path, also = []) {
  return taken(await fetch(path, { headers: headers(), cache: "no-store", signal: AbortSignal.timeout(10000) }), also);
}

export async function post(path, body) {
  const options = { method: "POST", headers: headers({ "content-type": "application/json" }), body: JSON.stringify(body) };
  return taken(await fetch(path, { ...options, signal: AbortSignal.timeout(20000) }));
}

// Calls `heard(kind, data)` for each event and `state(open)` when the stream opens or ends; never returns.
export async function listen(path, heard, state) {
  for (let pause = 1000; ; pause = Math.min(pause * 2, 30000)) {
    try {
      await follow(path, heard, () => { pause = 1000; state(true); });
    } catch { /* tried again below */ }
    state(false);
    await new Promise((wake) => setTimeout(wake, pause * (0.7 + 0.6 * Math.random())));
  }
}

async function follow(path, heard, opened) {
  const stop = new AbortController();
  const answer = await fetch(path, { headers: headers({ accept: "text/event-stream" }), cache: "no-store", signal: stop.signal });
  if (!answer.ok || !answer.body) throw new Failure(answer.status);
  opened();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  // The daemon says something at least every 15 s; a stream silent for longer is dead though nobody closed it.
  let watch = 0;
  const alive = () => { clearTimeout(watch); watch = setTimeout(() => stop.abort(), 40000); };
  try {
    for (alive(); ; alive()) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) dispatch(part, heard);
    }
  } finally {
    clearTimeout(watch);
  }
}

function dispatch(part, heard) {
  let kind = "message", data = "";
  for (const line of part.split("\n")) {
    if (line.startsWith("event: ")) kind = line.slice(7);
    if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (data) heard(kind, JSON.parse(data));
}
