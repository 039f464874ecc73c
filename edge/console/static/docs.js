// The API, laid out from its OpenAPI document. Nothing is loaded from elsewhere.

import { $, ask, el, note } from "./dom.js";
import { Failure, get, setToken } from "./http.js";

let schemas = {};

function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop().replace(/View$|Asked$/, "");
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.anyOf) return [...new Set(schema.anyOf.map(kind))].join(" | ");
  if (schema.type === "array") return `[${kind(schema.items)}]`;
  return schema.type || "any";
}

function fields(schema) {
  const model = schema && schema.$ref ? schemas[schema.$ref.split("/").pop()] : schema;
  if (!model || !model.properties) return null;
  const needed = new Set(model.required || []);
  return table(["field", "type", ""], Object.entries(model.properties).map(([name, each]) => [name, kind(each), [needed.has(name) ? "" : "optional. ", each.description || ""].join("")]));
}

function table(head, rows) {
  return el("table", {}, el("thead", {}, el("tr", {}, head.map((each) => el("th", {}, each)))), el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, n) => el("td", {}, n < 2 ? el("code", {}, cell) : cell))))));
}

function operation(verb, path, facts) {
  const parts = (facts.description || "").split("\n\n").slice(1).map((words) => el("p", {}, words));
  if (facts.parameters && facts.parameters.length) {
    parts.push(table(["parameter", "type", ""], facts.parameters.map((each) => [each.name, kind(each.schema), `${each.required ? "" : "optional. "}${each.description || each.schema.description || ""}`])));
  }
  const body = facts.requestBody && facts.requestBody.content["application/json"].schema;
  if (body) parts.push(el("h3", {}, "Body"), fields(body));
  const answer = facts.responses["200"] && facts.responses["200"].content && facts.responses["200"].content["application/json"];
  const schema = answer && answer.schema;
  if (schema && (schema.$ref || schema.items)) parts.push(el("h3", {}, `Answer: ${kind(schema)}`), fields(schema.items || schema));
  parts.push(el("pre", {}, example(verb, path, body)));
  return el("details.group", {}, el("summary", {}, el("span", { class: `verb ${verb}` }, verb.toUpperCase()), el("code", {}, path), el("span.where", {}, (facts.description || "").split("\n")[0])), el("div", {}, parts));
}

function example(verb, path, body) {
  const model = body && schemas[body.$ref.split("/").pop()];
  const sample = model ? Object.fromEntries((model.required || []).map((name) => [name, name === "value" ? true : "…"])) : null;
  return `curl ${sample ? `-X POST -H 'Content-Type: application/json' -d '${JSON.stringify(sample)}' ` : ""}${location.origin}${path}`;
}

function show(api) {
  schemas = api.components.schemas;
  const groups = new Map();
  for (const [path, verbs] of Object.entries(api.paths)) {
    for (const [verb, facts] of Object.entries(verbs)) {
      const tag = (facts.tags || ["other"])[0];
      groups.set(tag, [...(groups.get(tag) || []), operation(verb, path, facts)]);
    }
  }
  const intro = el("p", {}, "JSON in and out. What goes wrong is answered as {\"error\", \"hint\"}. Where console.token is set, send Authorization: Bearer TOKEN. A POST needs Content-Type: application/json.");
  $("api").replaceChildren(intro, ...[...groups].flatMap(([tag, parts]) => [el("h2", {}, tag), ...parts]));
}

async function start() {
  try {
    show(await get("/api/openapi.json"));
  } catch (error) {
    if (!(error instanceof Failure) || error.status !== 401) return note(String(error.message));
    const given = await ask("Access token", "The console.token of the site file.", "", true);
    if (given) {
      setToken(given);
      start();
    }
  }
}

start();
