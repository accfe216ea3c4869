// Optional: sorts tables by column, picks lines of plots, and opens a row's details when a link leads to it.
"use strict";

// Missing values stay last in both orders.
function key(row, place) {
  const text = row.cells[place]?.dataset.sort;
  if (text === undefined) return null;
  const number = Number(text);
  return text === "" || Number.isNaN(number) ? text : number;
}

function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (a < b ? -1 : a > b ? 1 : 0);
}

// First press: the better way up; second: the other way; third: the order of the page.
function nextOrder(head) {
  const first = head.dataset.better === "up" ? "descending" : "ascending";
  const second = first === "descending" ? "ascending" : "descending";
  const orders = ["none", first, second];
  return orders[(orders.indexOf(head.getAttribute("aria-sort")) + 1) % 3];
}

// Each band of rows is sorted by itself, below its heading (class `band`). Rows that were opened below another
// (class `opened`) stay below it.
function makeSortable(table) {
  const bodies = [...table.tBodies].map((body) => ({ body, original: [...body.rows] }));
  const heads = [...table.querySelectorAll(".names th")];
  heads.forEach((head, place) => {
    head.querySelector("button")?.addEventListener("click", () => {
      const order = nextOrder(head);
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      for (const { body, original } of bodies) {
        const titles = original.filter((row) => row.classList.contains("band"));
        const sorted = original.filter((row) => !titles.includes(row));
        if (order !== "none") sorted.sort((a, b) => compare(key(a, place), key(b, place), sign));
        const below = new Map([...body.querySelectorAll("tr.opened")].map((row) => [row.previousElementSibling, row]));
        body.append(...titles, ...sorted.flatMap((row) => (below.has(row) ? [row, below.get(row)] : [row])));
      }
    });
  });
}
document.querySelectorAll(".board table").forEach(makeSortable);

// Images that are blurred at first: a button shows them, another press blurs them again.
for (const button of document.querySelectorAll(".unveil[data-of]")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    button.textContent = shown ? "Blur these images" : "Show these images";
    document.getElementById(button.dataset.of).classList.toggle("blurred", !shown);
  });
}

// A legend of many names: those that are pressed are drawn strongly, the others faintly.
for (const legend of document.querySelectorAll(".legend.pickable")) {
  const marks = [...legend.parentElement.querySelectorAll(".plot [data-series]")];
  const buttons = [...legend.children].map((item) => {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.append(...item.childNodes);
    button.setAttribute("aria-pressed", String(item.classList.contains("picked")));
    item.append(button);
    return button;
  });
  const draw = () => {
    const pressed = buttons.filter((button) => button.getAttribute("aria-pressed") === "true");
    const names = new Set(pressed.map((button) => button.parentElement.dataset.series));
    for (const mark of marks) mark.classList.toggle("faint", names.size > 0 && !names.has(mark.dataset.series));
  };
  for (const button of buttons)
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      draw();
    });
  const said = "A press on a name draws it strongly or faintly; with none pressed, all are drawn strongly.";
  legend.after(Object.assign(document.createElement("p"), { className: "note", textContent: said }));
  draw();
}

function openLinked() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
window.addEventListener("hashchange", openLinked);
openLinked();
