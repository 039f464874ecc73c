// Connections and uplinks: how full each line is beside what was planned of it, who fills it, and what is behind.

import { el } from "./dom.js";
import { deviceState, linkState, number, say, span, t } from "./words.js";

const opened = new Set();
const known = (value) => value !== null && value !== undefined;

export function connectionRow(row) {
  const counts = [["messages", "messages"], ["timeouts", "timeouts"], ["bad_frames", "badFrames"], ["exceptions", "exceptions"], ["overruns", "overruns"], ["unknown", "unknown"]];
  const facts = counts.filter(([key]) => row[key] || key === "messages").map(([key, word]) => `${t(word)} ${number(row[key] ?? 0)}`);
  if (known(row.load) && known(row.utilisation)) facts.unshift(`${t("load")} ${percent(row.load)}`);
  if (known(row.worst_age_s)) facts.push(`${t("worstAge")} ${span(row.worst_age_s)}`);
  return el("li", { class: `card link s-${row.state}` }, linkHead(row), use(row), el("p.facts", {}, facts.join(" · ")), row.reason ? el("p.why", {}, say(row.reason)) : null, devices(row));
}

const percent = (share) => `${share < 0.0995 ? (share * 100).toFixed(1) : Math.round(share * 100)} %`;

// Measured where there is a measurement, else as planned.
function use(row) {
  const measured = known(row.utilisation), share = measured ? row.utilisation : row.load;
  if (!known(share)) return null;
  const label = measured ? t("use") : t("load");
  const bar = el("meter", { min: 0, max: 1, low: 0.7, high: 0.9, optimum: 0, value: Math.min(1, share), "aria-label": `${label} ${percent(share)}` });
  return el("p.use", {}, `${share > 0.7 ? "⚠ " : ""}${label} `, bar, ` ${percent(share)}`);
}

// The devices of a polled line, the dearest first: who costs how much of it.
function devices(row) {
  const rows = [...(row.devices ?? [])].sort((a, b) => (b.utilisation ?? b.load) - (a.utilisation ?? a.load));
  if (!rows.length) return null;
  const troubled = rows.filter(ails).length;
  const words = `${number(rows.length)} ${t("devices")}${troubled ? ` · ✕ ${number(troubled)} ${t("troubled")}` : ""}`;
  const box = el("details", { open: opened.has(row.name) }, el("summary", {}, words), table(rows));
  box.addEventListener("toggle", () => (box.open ? opened.add(row.name) : opened.delete(row.name)));
  return box;
}

// Whether it is silent, or what it answers cannot be used: then it says why.
function ails(row) {
  return row.state === "silent" || row.state === "doubtful" || Boolean(row.reason);
}

function table(rows) {
  const head = ["device", "share", "load", "response", "timeouts"].map((word) => el("th", { scope: "col" }, t(word)));
  return el("div.scroll", {}, el("table.devices", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows.map(device))));
}

function device(row) {
  const bad = ails(row);
  const who = el("th", { scope: "row" }, bad ? `✕ ${row.equipment}` : row.equipment, bad ? el("small", {}, ` ${deviceState(row.state)}`) : null);
  const cells = [
    known(row.utilisation) ? percent(row.utilisation) : "–",
    percent(row.load),
    known(row.response_s) ? `${Math.round(row.response_s * 1000)} (${Math.round(row.planned_s * 1000)}) ms` : "–",
    number(row.timeouts ?? 0),
  ];
  return el("tr", { class: bad ? "bad" : null, title: row.reason ? say(row.reason) : null }, who, cells.map((cell) => el("td", {}, cell)));
}

export function uplinkRow(row) {
  const facts = [
    typeof row.lag_s === "number" ? `${t("lag")} ${span(row.lag_s)}` : "",
    typeof row.backlog === "number" ? `${t("backlog")} ${number(row.backlog)}` : "",
    typeof row.rate === "number" ? `${number(row.rate)} ${t("rowsPerS")}` : "",
    typeof row.rejected === "number" ? `${row.rejected ? "⚠ " : ""}${t("rejected")} ${number(row.rejected)}` : "",
  ];
  const whys = [row.reason ? say(row.reason) : "", row.reject_reason ? `${t("rejected")}: ${row.reject_reason}` : ""].filter(Boolean);
  return el("li", { class: `card link s-${row.state}` }, linkHead(row), el("p.facts", {}, facts.filter(Boolean).join(" · ")), whys.map((why) => el("p.why", {}, why)));
}

function linkHead(row) {
  return el("div.marks", {}, el("b", {}, row.name), el("span.type", {}, row.type), el("span.state", {}, linkState(row.state)));
}
