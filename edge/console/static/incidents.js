// Incidents: alarms with one cause as one card, to be acknowledged by one tap; their alarms fold out below.

import { $, el, lay, text } from "./dom.js";
import { ackable, clockTime, eventTime, incidentState, lang, priority, say, t } from "./words.js";

const SHOWN = 12; // children that a card names

// What can be done to an incident now.
export function steps(row) {
  const found = row.unacknowledged ? ["ack"] : [];
  if (row.rescue && row.state !== "closed") {
    if (!row.onsite) found.push("onsite");
    if (!row.released) found.push("released");
  }
  return found;
}

// `act(row, step)` carries a step out; `button` makes the button of one.
export function layIncidents(rows, alarms, zone, button, act) {
  const byId = new Map(alarms.map((alarm) => [alarm.id, alarm]));
  const shown = rows.map((row) => ({ ...row, rows: row.alarms.map((id) => byId.get(id)).filter(Boolean) }));
  text($("incident-count"), rows.length ? String(rows.length) : "");
  lay($("incident-list"), shown, (row) => incidentCard(row, zone, button, act), `✓ ${t("noIncidents")}`);
}

function incidentCard(row, zone, button, act) {
  const lead = row.rows.find((alarm) => alarm.id === row.lead) || row.rows[0];
  const others = row.rows.filter((alarm) => alarm !== lead);
  const hidden = row.alarm_count - row.rows.length;
  const open = row.unacknowledged > 0;
  const buttons = steps(row).map((step) => button(t(step), `${row.id} ${step}`, () => act(row, step), step !== "ack"));
  return el(
    "li", { class: `card alarm edge-${row.priority} ${row.active ? "is-active" : ""} ${open ? "is-open" : ""}` },
    el("div.marks", {},
      el("span", { class: `badge p-${row.priority}` }, priority(row.priority)),
      el("span.state", {}, incidentState(row.state)),
      row.acked_by && !open ? el("span", {}, `${t("by")} ${row.acked_by}`) : null,
      el("a.id", { href: `/incidents/${encodeURIComponent(row.id)}?lang=${lang}` }, `${row.id} ›`)),
    el("h3", {}, say(row.title)),
    el("p.where", {}, [row.root.startsWith("connection:") ? `${t("connection")} ${row.root_name}` : say(row.root_name), row.location].filter(Boolean).join(" · ")),
    lead && say(lead.advice) ? el("p.advice", {}, el("b", {}, `${t("todo")}: `), say(lead.advice)) : null,
    el("p.facts", {}, `${t("since")} ${clockTime(row.opened, zone)} (`, el("span", { "data-time": row.opened, "data-ago": "" }), ")"),
    row.onsite ? el("p.facts", {}, `✓ ${t("onsite")}: ${row.onsite_by} ${eventTime(row.onsite, zone)}`) : null,
    row.released ? el("p.facts", {}, `✓ ${t("released")}: ${row.released_by || t("byItself")} ${eventTime(row.released, zone)}`) : null,
    row.affected_count ? el("p.facts", {}, `${t("affects")} ${row.affected_count}: ${row.affected.slice(0, SHOWN).join(lang === "zh" ? "、" : ", ")}${row.affected_count > SHOWN ? " …" : ""}`) : null,
    row.alarm_count > 1 ? children(row, others, hidden, zone) : null,
    buttons.length ? el("div.row", {}, buttons) : null,
  );
}

function children(row, others, hidden, zone) {
  const list = el("ol.children", {}, others.slice(0, SHOWN).map((alarm) => el(
    "li", { class: ackable(alarm.state) ? "is-open" : "" },
    el("span", { class: `badge p-${alarm.priority}` }, priority(alarm.priority)), " ",
    alarm.id === row.first_out ? `⚑ ${t("firstOut")} · ` : "",
    `${say(alarm.name)} · ${say(alarm.equipment_name)} `, el("small", {}, eventTime(alarm.raised, zone)),
  )));
  const more = others.length - SHOWN + hidden;
  if (more > 0) list.append(el("li", {}, `+ ${more}`));
  return el("details", { open: row.alarm_count <= 4 }, el("summary", {}, `${t("together")} ${row.alarm_count - 1}`), list);
}
