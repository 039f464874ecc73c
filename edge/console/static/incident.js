// One incident as a sheet that can be printed and filed: who, what, when. Refreshes itself while it lasts.

import { $, ask, el, note, text } from "./dom.js";
import { Failure, get, listen, post, setToken, storage } from "./http.js";
import { steps } from "./incidents.js";
import { exactTime, incidentState, lang, priority, say, t } from "./words.js";

const API = "/api/v1";
const WHO = "courtyard.who";
const id = decodeURIComponent(location.pathname.split("/").pop());
let zone = undefined, row = null;

function show() {
  document.title = `${row.id} ${say(row.title)}`;
  text($("title"), `${row.id} · ${say(row.title)}`);
  const facts = [
    [t("where"), [say(row.root_name), row.location].filter(Boolean).join(" · ")],
    [t("level"), `${priority(row.priority)} · ${incidentState(row.state)}`],
    [t("firstOut"), alarmName(row.first_out)],
    [t("opened2"), exactTime(row.opened, zone)],
    [t("acked"), row.acknowledged ? `${exactTime(row.acknowledged, zone)} ${row.acked_by || ""}` : ""],
    [t("onsite"), row.onsite ? `${exactTime(row.onsite, zone)} ${row.onsite_by}` : ""],
    [t("released"), row.released ? `${exactTime(row.released, zone)} ${row.released_by || t("byItself")}` : ""],
    [t("closed"), row.closed ? exactTime(row.closed, zone) : ""],
    [t("causedBy"), row.caused_by || ""],
    [t("partOf"), row.merged_into || ""],
    [t("affects"), row.affected_count ? `${row.affected_count}: ${row.affected.join(lang === "zh" ? "、" : ", ")}` : ""],
  ].filter(([, words]) => words);
  $("facts").replaceChildren(...facts.flatMap(([head, words]) => [el("dt", {}, head), el("dd", {}, words)]));
  $("lines").replaceChildren(...(row.timeline || []).map((line) => el("tr", {}, el("td", {}, exactTime(line.time, zone)), el("td", {}, say(line.text)))));
  if (row.more) $("lines").append(el("tr", {}, el("td"), el("td", {}, `+ ${row.more}`)));
  $("alarms").replaceChildren(...(row.alarm_rows || []).map((alarm, n) => el(
    "tr", {}, el("td", {}, String(n + 1)), el("td", {}, `${say(alarm.name)} ${alarm.code || ""}`), el("td", {}, [say(alarm.equipment_name), alarm.location].filter(Boolean).join(" · ")),
    el("td", {}, exactTime(alarm.raised, zone)), el("td", {}, exactTime(alarm.cleared, zone)), el("td", {}, alarm.acknowledged ? `${exactTime(alarm.acknowledged, zone)} ${alarm.acked_by || ""}` : ""))));
  const wanted = [...steps(row), ...(row.state === "closed" && !row.rescue ? [] : ["note"])];
  $("steps").replaceChildren(...wanted.map((step) => el(step === "ack" ? "button" : "button.quiet", { type: "button", onclick: () => act(step) }, t(step === "note" ? "addNote" : step))));
  text($("now"), exactTime(new Date().toISOString(), zone));
  $("wait").hidden = true;
  $("sheet").hidden = false;
}

function alarmName(alarm) {
  const found = (row.alarm_rows || []).find((each) => each.id === alarm);
  return found ? `${say(found.name)} (${alarm})` : alarm;
}

async function act(step) {
  const who = storage(WHO) || (await ask(t("askName"), t("askNameWhy")));
  if (!who) return;
  storage(WHO, who);
  const words = step === "note" ? await ask(t("addNote"), t("askNoteWhy")) : undefined;
  if (words === null) return;
  await guarded(async () => { row = await post(`${API}/incidents/${encodeURIComponent(id)}/${step}`, words ? { who, note: words } : { who }); });
}

async function guarded(work) {
  try {
    await work();
    show();
  } catch (error) {
    if (error instanceof Failure && error.status === 401) {
      const given = await ask(t("askToken"), t("askTokenWhy"), "", true);
      if (given) { setToken(given); location.reload(); }
    } else {
      note(`${t("failed")}: ${error.message}${error.hint ? ` (${error.hint})` : ""}`);
    }
  }
}

const fetchIncident = () => guarded(async () => { row = await get(`${API}/incidents/${encodeURIComponent(id)}`); });

async function start() {
  for (const node of document.querySelectorAll("[data-t]")) text(node, t(node.dataset.t));
  const other = lang === "zh" ? "en" : "zh";
  Object.assign($("lang"), { href: `?lang=${other}`, lang: other, hreflang: other, textContent: other === "zh" ? "中文" : "English" });
  $("print").addEventListener("click", () => window.print());
  await guarded(async () => {
    const site = await get(`${API}/site`);
    zone = site.timezone;
    text($("site"), say(site.name));
    row = await get(`${API}/incidents/${encodeURIComponent(id)}`);
  });
  listen(`${API}/events?kind=incident`, (kind, data) => kind === "incident" && data.body.id === id && fetchIncident(), () => {});
}

start();
