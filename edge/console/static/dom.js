// Making and keeping page elements. Whatever comes from the daemon is set as text, never as markup.

export const $ = (id) => document.getElementById(id);

// el("p.note", {title: "x"}, "text", child, null): a tag with classes, attributes and children.
export function el(kind, attributes = {}, ...children) {
  const [tag, ...names] = kind.split(".");
  const node = document.createElement(tag);
  if (names.length) node.className = names.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat()) if (child !== null && child !== undefined && child !== "") node.append(child);
  return node;
}

export function text(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

export function name(node, classes) {
  if (node.className !== classes) node.className = classes;
}

// Lays `rows` into a list: one child for each `row.id`, made anew only where its row has changed.
// The child in which somebody is typing or about to tap keeps its focus.
export function lay(list, rows, make, empty) {
  const old = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const focused = document.activeElement && list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const next = rows.map((row) => {
    const print = JSON.stringify(row);
    const known = old.get(row.id ?? row.name);
    if (known && known.print === print) return known;
    const made = make(row);
    made.dataset.key = row.id ?? row.name;
    made.print = print;
    return made;
  });
  if (!next.length && empty) next.push(el("li.empty", { "data-key": "" }, empty));
  if (next.length === list.children.length && next.every((child, n) => list.children[n] === child)) return;
  list.replaceChildren(...next);
  if (focused) {
    const again = [...list.querySelectorAll("button")].find((button) => button.dataset.key === focused);
    if (again) again.focus();
  }
}

// One question at a time; null where the answer is no.
export function ask(title, why, initial = "", secret = false) {
  const dialog = $("ask"), input = $("ask-input");
  if (dialog.open) return Promise.resolve(null);
  text($("ask-title"), title);
  text($("ask-label"), why);
  input.type = secret ? "password" : "text";
  input.maxLength = secret ? 512 : 80;
  input.value = initial;
  return new Promise((done) => {
    dialog.returnValue = "";
    $("ask-no").onclick = () => dialog.close();
    dialog.onclose = () => done(dialog.returnValue === "yes" && input.value.trim() ? input.value.trim() : null);
    dialog.showModal();
    input.focus();
  });
}

let noteTimer = 0;
export function note(words) {
  const box = $("note");
  text(box, words);
  box.hidden = false;
  clearTimeout(noteTimer);
  noteTimer = setTimeout(() => { box.hidden = true; }, 8000);
}
