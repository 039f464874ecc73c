// The status page: fetches the daemon's lists, lays them out, keeps them fresh.
// Alarms, orders and connections are fetched anew when the event stream says that something happened; values every
// few seconds. Without the stream everything is polled.

import { $, ask, el, lay, name, note, text } from "./dom.js";
import { layIncidents } from "./incidents.js";
import { layEquipment, total, updatePoints, visible } from "./equipment.js";
import { Failure, get, listen, post, setToken, skew, storage } from "./http.js";
import { connectionRow, uplinkRow } from "./links.js";
import { ackable, alarmState, clockTime, lang, orderState, priorities, priority, say, span, t } from "./words.js";

const API = "/api/v1";
const WHO = "courtyard.who";
const VALUES_MS = 3000, LISTS_MS = 15000, POLL_MS = 5000;
const QUIET = new Set(["shelved", "suppressed", "out_of_service"]);
const NEXT = { open: ["accept", "cancel"], accepted: ["start", "cancel"], started: ["done"], done: ["verify"] };
let who = storage(WHO), alarms = [], zone = undefined, streaming = false, updated = 0, trouble = "";

// --- Incidents and alarms ---

async function incidentStep(row, step) {
  if (await known()) await act(() => post(`${API}/incidents/${encodeURIComponent(row.id)}/${step}`, { who }), fetchAlarms);
}

function layAlarms(rows) {
  alarms = rows;
  const rank = (row) => (priorities.indexOf(row.priority) + 1 || 9) * 2 + (ackable(row.state) ? 0 : 1);
  const loud = rows.filter((row) => !QUIET.has(row.state)).sort((a, b) => rank(a) - rank(b) || String(b.raised).localeCompare(String(a.raised)));
  const quiet = rows.filter((row) => QUIET.has(row.state));
  text($("alarm-count"), loud.length ? String(loud.length) : "");
  lay($("alarm-list"), loud, alarmCard, `✓ ${t("noAlarms")}`);
  $("quiet-box").hidden = !quiet.length;
  text($("quiet-title"), `${t("quiet")} (${quiet.length})`);
  lay($("quiet-list"), quiet, alarmCard);
  const open = loud.filter((row) => ackable(row.state)).length;
  document.title = (open ? `(${open}) ` : "") + $("site").textContent;
}

function alarmCard(row) {
  const again = row.repeats;
  const steps = ackable(row.state) ? ["ack"] : row.state === "latched_acknowledged" ? ["reset"] : row.state === "shelved" ? ["unshelve"] : [];
  const buttons = steps.map((step) => button(t(step), row.id, () => alarmStep(row.id, step), step === "unshelve"));
  const marks = [
    el("span.badge", { class: `badge p-${row.priority}` }, priority(row.priority)),
    el("span.state", {}, alarmState(row.state)),
    row.acked_by && !ackable(row.state) ? el("span", {}, `${t("by")} ${row.acked_by}`) : null,
    row.state === "shelved" && row.shelved_until ? el("span", {}, `${t("until")} ${clockTime(row.shelved_until, zone)}`) : null,
  ];
  return el(
    "li", { class: `card alarm edge-${row.priority} ${row.active ? "is-active" : ""} ${ackable(row.state) ? "is-open" : ""}` },
    el("div.marks", {}, marks),
    el("h3", {}, say(row.name), row.code ? el("small", {}, ` ${row.code}`) : null),
    el("p.where", {}, [place(row), row.location].filter(Boolean).join(" · ")),
    say(row.advice) ? el("p.advice", {}, el("b", {}, `${t("todo")}: `), say(row.advice)) : null,
    el("p.facts", {}, row.raised ? [`${t("since")} ${clockTime(row.raised, zone)} (`, el("span", { "data-time": row.raised, "data-ago": "" }), ")"] : null, say(row.seen) ? ` · ${say(row.seen)}` : null),
    again ? el("p.again", {}, `↻ ${t(again.kind)}: ${again.raises} ${t("timesAnHour")}。${say(again.suggestion.text)}`.replace("。", lang === "zh" ? "。" : ". ")) : null,
    buttons.length ? el("div.row", {}, buttons) : null,
  );
}

// The gateway's own alarms are about a connection or an uplink, not about an equipment.
function place(row) {
  const [kind, name] = String(row.equipment).split(":");
  return name ? `${t(kind)} ${name}` : say(row.equipment_name);
}

async function alarmStep(id, step) {
  if (await known()) await act(() => post(`${API}/alarms/${encodeURIComponent(id)}/${step}`, { who }), fetchAlarms);
}

// --- Work orders ---

function layOrders(rows) {
  const open = rows.filter((row) => NEXT[row.state]);
  const rank = (row) => priorities.indexOf(row.priority) + 1 || 9;
  open.sort((a, b) => rank(a) - rank(b) || String(a.id).localeCompare(String(b.id)));
  text($("order-count"), open.length ? String(open.length) : "");
  lay($("order-list"), open, orderCard, `✓ ${t("noOrders")}`);
}

function orderCard(row) {
  const buttons = NEXT[row.state].map((step) => button(t(step), `${row.id} ${step}`, () => orderStep(row.id, step), step === "cancel"));
  const late = row.due && new Date(row.due) < Date.now() + skew;
  const facts = [
    row.cause ? `${t("cause")}: ${say(row.cause)}` : "",
    row.due ? `${late ? `⚠ ${t("overdue")}` : t("due")}: ${clockTime(row.due, zone)}` : "",
    doer(row),
  ];
  return el(
    "li", { class: `card order edge-${row.priority}` },
    el("div.marks", {}, el("span", { class: `badge p-${row.priority}` }, priority(row.priority)), el("span.state", {}, orderState(row.state)), el("span", {}, row.id)),
    el("h3", {}, say(row.title ?? row.name ?? row.task)),
    el("p.where", {}, [say(row.equipment_name), row.location].filter(Boolean).join(" · ")),
    row.title && say(row.task) ? el("p.advice", {}, say(row.task)) : null,
    el("p.facts", {}, facts.filter(Boolean).join(" · ")),
    el("div.row", {}, buttons),
  );
}

// Who moved it last; empty where the plan did.
function doer(row) {
  const last = (row.history || []).at(-1);
  return last && last.who ? `${t("by")} ${last.who}` : "";
}

async function orderStep(id, step) {
  if (!(await known())) return;
  const words = step === "cancel" ? await ask(t("askNote"), t("askNoteWhy")) : undefined;
  if (words !== null) await act(() => post(`${API}/orders/${encodeURIComponent(id)}/${step}`, words ? { who, note: words } : { who }), fetchOrders);
}

// --- Acting ---

function button(words, key, act, quiet) {
  const made = el(quiet ? "button.quiet" : "button", { type: "button", "data-key": key }, words);
  made.addEventListener("click", async () => {
    made.disabled = true;
    await act();
    made.disabled = false;
  });
  return made;
}

async function known() {
  if (!who) await rename();
  return who;
}

async function rename() {
  const given = await ask(t("askName"), t("askNameWhy"), who);
  if (given) who = storage(WHO, given);
  text($("who"), who ? `${t("who")}: ${who}` : t("whoUnknown"));
}

async function act(send, refresh) {
  try {
    await send();
  } catch (error) {
    note(`${t("failed")}: ${error.message}${error.hint ? ` (${error.hint})` : ""}`);
  }
  await guarded(refresh);
}

// --- Keeping fresh ---

async function fetchAlarms() {
  layAlarms(await get(`${API}/alarms`));
  layIncidents(await get(`${API}/incidents`), alarms, zone, button, incidentStep);
}
const fetchOrders = async () => layOrders(await get(`${API}/orders`));
const fetchEquipment = async () => layEquipment(await get(`${API}/equipment`));
async function fetchLinks() {
  lay($("connection-list"), await get(`${API}/connections`), connectionRow, t("none"));
  lay($("uplink-list"), await get(`${API}/uplinks`), uplinkRow, t("none"));
}
async function fetchValues() {
  const ids = visible();
  if (!ids.length) return;
  // One address has room for some two hundred ids; beyond that the whole list is the shorter way.
  const some = ids.length < total() && ids.length <= 200;
  updatePoints(await get(some ? `${API}/points?${ids.map((id) => `equipment=${encodeURIComponent(id)}`).join("&")}` : `${API}/points`));
}
async function fetchHealth() {
  const health = await get("/healthz", [503]);
  const well = health.status === "ok";
  const reasons = (health.reasons || []).map(say).join("; ");
  trouble = "";
  text($("health"), well ? `✓ ${t("well")}` : `✕ ${t("unwell")}${reasons ? `: ${reasons}` : ""}`);
  name($("health"), `health ${well ? "good" : "bad"}`);
}

async function guarded(fetchSome) {
  try {
    await fetchSome();
    updated = Date.now();
  } catch (error) {
    if (error instanceof Failure && error.status === 401) await askToken();
    else if (error instanceof Failure) note(`${error.message}${error.hint ? ` (${error.hint})` : ""}`);
    else lost(error);
  }
}

function lost(error) {
  trouble = String(error);
  text($("health"), `✕ ${t("unreachable")}`);
  name($("health"), "health bad");
}

async function askToken() {
  const given = await ask(t("askToken"), t("askTokenWhy"), "", true);
  if (given) {
    setToken(given);
    location.reload();
  }
}

const everything = [fetchHealth, fetchAlarms, fetchOrders, fetchEquipment, fetchValues, fetchLinks];

// One thing after another, and never two of the same at once.
let running = false;
const wanted = new Set();
async function fetchSoon(...which) {
  for (const each of which) wanted.add(each);
  if (running) return;
  running = true;
  while (wanted.size) {
    const each = wanted.values().next().value;
    wanted.delete(each);
    await guarded(each);
  }
  running = false;
}

function tick() {
  const now = Date.now() + skew;
  for (const node of document.querySelectorAll("[data-time]")) {
    const age = span((now - Date.parse(node.dataset.time)) / 1000);
    text(node, "ago" in node.dataset ? (lang === "zh" ? `${age}${t("ago")}` : `${age} ${t("ago")}`) : age);
  }
  const state = trouble ? "lost" : streaming ? "live" : "polling";
  text($("live"), `${state === "live" ? "●" : state === "lost" ? "✕" : "○"} ${t(state)}`);
  name($("live"), `pill ${state}`);
  $("live").title = updated ? `${t("updated")} ${new Date(updated).toLocaleTimeString()}` : "";
  document.body.classList.toggle("old", Boolean(trouble));
}

function heard(kind) {
  if (kind === "alarm" || kind === "incident") fetchSoon(fetchAlarms, fetchEquipment);
  else if (kind === "order") fetchSoon(fetchOrders);
  else if (kind === "connection") fetchSoon(fetchLinks);
  else if (kind === "command") fetchSoon(fetchValues);
  else if (kind === "missed") fetchSoon(...everything);
}

async function start() {
  for (const node of document.querySelectorAll("[data-t]")) text(node, t(node.dataset.t));
  const other = lang === "zh" ? "en" : "zh";
  Object.assign($("lang"), { href: `?lang=${other}`, lang: other, hreflang: other, textContent: other === "zh" ? "中文" : "English" });
  text($("who"), who ? `${t("who")}: ${who}` : t("whoUnknown"));
  $("who").addEventListener("click", rename);
  text($("health"), t("loading"));
  $("alarm-box").open = matchMedia("(min-width: 60rem)").matches;
  tick();
  await guarded(async () => {
    const site = await get(`${API}/site`);
    zone = site.timezone;
    text($("site"), say(site.name));
    document.title = $("site").textContent;
  });
  await fetchSoon(...everything);
  tick();
  setInterval(tick, 1000);
  setInterval(() => document.hidden || fetchSoon(fetchValues), VALUES_MS);
  setInterval(() => document.hidden || (!streaming && fetchSoon(...everything)), POLL_MS);
  setInterval(() => document.hidden || fetchSoon(...everything), LISTS_MS);
  document.addEventListener("visibilitychange", () => document.hidden || fetchSoon(...everything));
  document.addEventListener("toggle", () => fetchSoon(fetchValues), true);
  listen(`${API}/events?kind=alarm&kind=incident&kind=order&kind=connection&kind=command`, heard, (open) => {
    streaming = open;
    tick();
    if (open) fetchSoon(...everything);
  });
}

start();
