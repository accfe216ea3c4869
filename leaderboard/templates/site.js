// The board's filter, its rows that open, and the plot that follows both.
"use strict";

const filter = document.querySelector(".filter");
const choices = [...document.querySelectorAll(".scope, template")].map((node) => {
  const section = node.matches("template") ? node.content.querySelector(".scope") : node;
  return { section, ...section.dataset };
});
let current = choices[0];

function fill(select, values) {
  const before = select.value;
  select.replaceChildren(...values.map((value) => new Option(value || "all", value)));
  if (values.includes(before)) select.value = before;
}

const unique = (values) => [...new Set(values)];

// World narrows the base models, and both narrow the families.
function offer() {
  const { world, base, family } = filter.elements;
  const ofWorld = choices.filter((choice) => choice.world === world.value);
  fill(base, unique(ofWorld.map((choice) => choice.base)));
  fill(family, unique(ofWorld.filter((choice) => choice.base === base.value).map((choice) => choice.family)));
  // on a board in bands, a choice of one is no choice
  if (document.querySelector(".banded"))
    for (const select of [world, base, family]) select.closest("label").hidden = select.options.length < 2;
}

function show() {
  const { world, base, family } = filter.elements;
  const wanted = choices.find(
    (c) => c.world === world.value && c.base === base.value && c.family === family.value,
  );
  if (wanted !== current) {
    closeRows(current.section);
    const shown = new Set([...current.section.querySelectorAll(".columns input:checked")].map((box) => box.className));
    current.section.replaceWith(wanted.section);
    check(wanted.section, shown);
    current = wanted;
    prepare(wanted.section);
  }
  narrow();
}

// Checks the boxes of these classes and no others; a kind that is not there becomes `all`.
function check(section, classes) {
  section.querySelectorAll(".columns input").forEach((box) => (box.checked = classes.has(box.className)));
  if (!section.querySelector(".kinds input:checked")) section.querySelector(".kind-all")?.click();
}

function chosenKind() {
  return current.section.querySelector(".kinds input:checked")?.className.slice("kind-".length) ?? "all";
}

// Shows the rows, marks and lines of the methods whose name holds the text and whose kind is chosen.
// References and controls have no kind, and stay as yardsticks.
function narrow() {
  const text = filter.elements.method.value.trim().toLowerCase();
  const kind = chosenKind();
  const rows = [...current.section.querySelectorAll("tr[data-row]")];
  const kept = rows.filter(
    (row) =>
      row.dataset.row.toLowerCase().includes(text) && (kind === "all" || (row.dataset.kind ?? kind) === kind),
  );
  const names = new Set(kept.map((row) => row.dataset.row));
  closeRows(current.section, names);
  rows.forEach((row) => (row.hidden = !names.has(row.dataset.row)));
  for (const mark of current.section.querySelectorAll("[data-series]"))
    mark.toggleAttribute("hidden", !names.has(mark.dataset.series));
  current.section.querySelector(".empty").hidden = kept.length > 0;
  current.section.querySelectorAll(".pareto svg").forEach(drawFront);
  filter.querySelector("output").textContent = `${kept.length} of ${rows.length} rows`;
}

// Draws the front of the visible methods, with the rules of `pareto_front` and `write_steps`.
function drawFront(plot) {
  const line = plot.querySelector(".front");
  if (!line) return;
  line.dataset.whole ??= line.getAttribute("points");
  const marks = [...plot.querySelectorAll(".series:not([hidden]) [data-at]")].map((mark) => ({
    ua: Number(mark.dataset.ua),
    y: Number(mark.dataset.y),
    at: mark.dataset.at.split(","),
  }));
  marks.sort((a, b) => b.ua - a.ua || b.y - a.y);
  let best = -Infinity;
  const front = marks.filter((mark) => mark.y > best && ((best = mark.y), true)).reverse();
  const [left, bottom] = [line.dataset.whole.split(",")[0], line.dataset.whole.split(",").at(-1)];
  let x = left;
  const corners = [];
  for (const { at } of front) {
    corners.push(`${x},${at[1]}`, `${at[0]},${at[1]}`);
    x = at[0];
  }
  line.setAttribute("points", front.length ? [...corners, `${x},${bottom}`].join(" ") : "");
}

function closeRows(section, keep = new Set()) {
  for (const button of section.querySelectorAll(".open[aria-expanded=true]"))
    if (!keep.has(button.closest("tr").dataset.row)) button.click();
}

// A row opens below itself; until then its content is at the end of the page.
function openRow(button, details) {
  const row = button.closest("tr");
  const isOpen = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!isOpen));
  if (isOpen) {
    const below = row.nextElementSibling;
    details.append(below.querySelector(".body"));
    details.hidden = false;
    below.remove();
    return;
  }
  const below = document.createElement("tr");
  below.className = "opened";
  const cell = below.appendChild(document.createElement("td"));
  cell.colSpan = row.cells.length;
  cell.append(details.querySelector(".body"));
  details.hidden = true;
  row.after(below);
}

function prepare(section) {
  if (section.dataset.ready) return;
  section.dataset.ready = "yes";
  if (section !== choices[0].section) section.querySelectorAll(".board table").forEach(makeSortable);
  for (const link of section.querySelectorAll("a.open")) {
    const details = document.getElementById(link.hash.slice(1));
    const button = document.createElement("button");
    button.type = "button";
    button.className = "open";
    button.textContent = link.textContent;
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => openRow(button, details));
    link.replaceWith(button);
  }
  for (const row of section.querySelectorAll("tr[data-row]")) {
    for (const event of ["pointerenter", "focusin"]) row.addEventListener(event, () => light(section, row.dataset.row));
    for (const event of ["pointerleave", "focusout"]) row.addEventListener(event, () => light(section, null));
  }
}

function light(section, name) {
  for (const plot of section.querySelectorAll(".pareto svg")) {
    plot.classList.toggle("lit", name !== null && plot.querySelector(`.series[data-series="${CSS.escape(name)}"]`) !== null);
    for (const mark of plot.querySelectorAll("[data-series]"))
      mark.classList.toggle("on", mark.dataset.series === name);
  }
}

// The address holds every choice that is not the first one, so that a link shows what its sender saw.
const NAMES = ["world", "base", "family", "method"];

function remember() {
  const query = new URLSearchParams();
  for (const name of NAMES) {
    const field = filter.elements[name];
    const first = field instanceof HTMLSelectElement ? field.options[0]?.value : "";
    if (field.value !== first) query.set(name, field.value);
  }
  if (chosenKind() !== "all") query.set("kind", chosenKind());
  const boxes = [...current.section.querySelectorAll(".columns input[type=checkbox]:checked")];
  if (boxes.length) query.set("columns", boxes.map((box) => box.className.slice("show-".length)).join(","));
  const text = String(query);
  try {
    history.replaceState(null, "", (text ? `?${text}` : location.pathname) + location.hash);
  } catch {
    // some browsers keep the address of a page that was opened from a folder
  }
}

function recall() {
  const query = new URLSearchParams(location.search);
  for (const name of NAMES) {
    if (query.has(name)) filter.elements[name].value = query.get(name);
    offer();
  }
  show();
  const classes = new Set((query.get("columns") ?? "").split(",").map((name) => `show-${name}`));
  if (query.has("kind")) classes.add(`kind-${query.get("kind")}`);
  if (query.has("columns") || query.has("kind")) {
    check(current.section, classes);
    const more = current.section.querySelector(".more");
    if (more && query.has("columns")) more.open = true;
  }
  narrow();
}

offer();
prepare(current.section);
filter.hidden = false;
filter.addEventListener("submit", (event) => event.preventDefault());
filter.addEventListener("input", () => (offer(), show(), remember()));
document.addEventListener("change", (event) => {
  if (event.target.matches(".columns input")) {
    narrow();
    remember();
  }
});
recall();
