// Equipment by class, each with its live values. A value that is not good never looks as if it were.

import { $, el, name, text } from "./dom.js";
import { className, classes, priority, reason, say, shown, t } from "./words.js";

const MANY = 24; // a class with more equipment starts closed, and costs nothing until it is opened
const groups = new Map();
const cards = new Map();

export function layEquipment(rows) {
  const kinds = [...new Set([...classes, ...rows.map((row) => row.class)])].filter((kind) => rows.some((row) => row.class === kind));
  text($("equipment-count"), String(rows.length));
  for (const kind of kinds) {
    const members = rows.filter((row) => row.class === kind);
    const group = groups.get(kind) || addGroup(kind, members.length);
    summarise(group, kind, members);
    for (const row of members) updateCard(cards.get(row.id) || addCard(row, group), row);
  }
}

// Ids of the equipment whose values can be seen now.
export function visible() {
  return [...cards.values()].filter((card) => card.group.box.open).map((card) => card.id);
}

export function total() {
  return cards.size;
}

function addGroup(kind, count) {
  const summary = el("summary", {}, el("span.class", {}, className(kind)));
  const tally = summary.appendChild(el("span.count"));
  const alarms = summary.appendChild(el("span.badge.loud", { hidden: true }));
  const bad = summary.appendChild(el("span.badge.bad", { hidden: true }));
  const grid = el("div.grid");
  const box = el("details.group", { open: count <= MANY }, summary, grid);
  $("equipment-list").append(box);
  const group = { box, grid, tally, alarms, bad };
  groups.set(kind, group);
  return group;
}

function summarise(group, kind, rows) {
  const alarms = rows.filter((row) => row.alarm).length, bad = rows.filter((row) => row.quality !== "good").length;
  text(group.tally, String(rows.length));
  text(group.alarms, `! ${alarms} ${t("withAlarm")}`);
  text(group.bad, `⚠ ${bad} ${t("withBad")}`);
  group.alarms.hidden = !alarms;
  group.bad.hidden = !bad;
}

function addCard(row, group) {
  const table = el("dl.points");
  const alarm = el("span.badge", { hidden: true });
  const trust = el("span.badge.bad", { hidden: true });
  const more = el("button.quiet.more", { type: "button", hidden: true, "aria-expanded": "false", onclick: () => toggle(row.id) });
  const title = say(row.name) || row.id;
  const where = [row.location, row.id, row.synthetic ? t("synthetic") : ""].filter(Boolean).join(" · ");
  const node = el("article.card.equipment", { "aria-label": title }, el("h3", {}, title, " ", alarm, " ", trust), el("p.where", {}, where), table, more);
  group.grid.append(node);
  const card = { id: row.id, node, group, table, alarm, trust, more, few: new Set(row.shown), points: new Map(), open: false };
  cards.set(row.id, card);
  return card;
}

function updateCard(card, row) {
  card.alarm.hidden = !row.alarm;
  text(card.alarm, row.alarm ? priority(row.alarm) : "");
  name(card.alarm, `badge p-${row.alarm || "none"}`);
  card.trust.hidden = row.quality === "good";
  text(card.trust, row.quality === "good" ? "" : `⚠ ${t(row.quality === "bad" ? "allBad" : "notAllGood")}`);
  name(card.node, `card equipment q-${row.quality}`);
}

export function updatePoints(rows) {
  const touched = new Set();
  for (const row of rows) {
    const card = cards.get(row.equipment);
    if (!card) continue;
    updatePoint(card.points.get(row.id) || addPoint(card, row), row);
    touched.add(card);
  }
  for (const card of touched) fold(card);
}

function addPoint(card, row) {
  const value = el("span.value"), mark = el("span.mark"), age = el("span.age");
  const line = card.table.appendChild(el("div.point", {}, el("dt", {}, say(row.title) || row.name), el("dd", {}, mark, value, age)));
  const point = { line, value, mark, age, good: true, few: card.few.has(row.name) };
  card.points.set(row.id, point);
  return point;
}

function updatePoint(point, row) {
  point.good = row.quality === "good";
  text(point.value, shown(row));
  text(point.mark, point.good ? "" : `⚠ ${reason(row.reason) || t("untrusted")}`);
  name(point.line, `point q-${row.quality}`);
  if (row.time) point.age.dataset.time = row.time;
  else text(point.age, t("never"));
}

function toggle(id) {
  const card = cards.get(id);
  card.open = !card.open;
  fold(card);
}

function fold(card) {
  // A value that is not good is shown in any case.
  let hidden = 0;
  for (const point of card.points.values()) {
    point.line.hidden = !(card.open || point.few || !point.good);
    hidden += point.line.hidden ? 1 : 0;
  }
  card.more.hidden = !card.open && !hidden;
  text(card.more, card.open ? t("less") : `${t("more")} ${card.points.size} ${t("points")}`);
  card.more.setAttribute("aria-expanded", String(card.open));
}
