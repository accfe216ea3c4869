// Two models on one prompt and one noise: tiles cut from contact sheets, one laid over the other.
"use strict";

const data = document.getElementById("sheets");
if (data) startComparison(JSON.parse(data.textContent));

function startComparison(tasks) {
  const form = document.querySelector(".compare-pick");
  const fields = form.elements;
  const stage = document.querySelector(".stage");
  const prompts = document.querySelector(".prompts");
  const cut = document.querySelector(".cut");
  const unveil = document.querySelector(".unveil");
  let task = null;
  let prompt = 0;

  const options = (names, chosen) => names.map((name, i) => new Option(name, i, false, i === chosen));
  const model = (side) => task.models[fields[side].value];

  function paint(tile, one, point, place) {
    const x = one.columns > 1 ? (100 * place) / (one.columns - 1) : 0;
    const y = one.points.length > 1 ? (100 * point) / (one.points.length - 1) : 0;
    const drawn = place !== null && place !== undefined;
    tile.style.backgroundImage = drawn ? `url("${one.file}")` : "none";
    tile.style.backgroundSize = `${100 * one.columns}% ${100 * one.points.length}%`;
    tile.style.backgroundPosition = `${x}% ${y}%`;
    tile.classList.toggle("absent", !drawn);
  }

  function draw() {
    for (const side of ["left", "right"]) {
      const one = model(side);
      const point = Number(fields[`${side}-point`].value);
      const tile = stage.querySelector(`.${side}`);
      paint(tile, one, point, one.places[prompt]);
      const name = one.role === "reference" ? one.name : `${one.name}, ${one.points[point]}`;
      tile.setAttribute("aria-label", `${name}: ${task.prompts[prompt].text}`);
      document.querySelector(`.${side}-name`).textContent = name;
    }
    const right = model("right");
    [...prompts.querySelectorAll(".tile")].forEach((tile, i) =>
      paint(tile, right, Number(fields["right-point"].value), right.places[i]),
    );
  }

  function slide() {
    stage.style.setProperty("--cut", `${cut.value}%`);
    cut.setAttribute("aria-valuetext", `${cut.value} % left image`);
  }

  function choosePoints(side) {
    const one = model(side);
    fields[`${side}-point`].replaceChildren(...options(one.points, one.shown));
    fields[`${side}-point`].disabled = one.points.length < 2;
  }

  function listPrompts() {
    const labels = task.prompts.map(({ text, split }, i) => {
      const label = document.createElement("label");
      const radio = Object.assign(document.createElement("input"), { type: "radio", name: "prompt", value: i, checked: i === prompt });
      radio.addEventListener("change", () => ((prompt = i), draw()));
      const tile = Object.assign(document.createElement("span"), { className: "tile" });
      const words = Object.assign(document.createElement("span"), { className: "caption" });
      const kind = Object.assign(document.createElement("b"), { textContent: split });
      words.append(kind, ` ${text}`);
      label.append(radio, tile, words);
      return label;
    });
    prompts.replaceChildren(prompts.querySelector("legend"), ...labels);
  }

  function veil(hidden) {
    unveil.hidden = !task.blurred;
    unveil.setAttribute("aria-pressed", String(!hidden));
    unveil.textContent = hidden ? "Show these images" : "Blur these images";
    document.querySelector(".compare").classList.toggle("blurred", task.blurred && hidden);
  }

  function chooseTask() {
    const names = { left: task?.models[fields.left.value]?.name, right: task?.models[fields.right.value]?.name };
    task = tasks[fields.task.value];
    prompt = Math.min(prompt, task.prompts.length - 1);
    const find = (name, role) => {
      const same = task.models.findIndex((one) => one.name === name);
      return same >= 0 ? same : Math.max(0, task.models.findIndex((one) => one.role === role));
    };
    for (const [side, role] of [["left", "reference"], ["right", "method"]]) {
      fields[side].replaceChildren(...options(task.models.map((one) => one.name), find(names[side], role)));
      choosePoints(side);
    }
    document.querySelector(".task-page").href = task.page;
    listPrompts();
    veil(true);
    draw();
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => {
    if (event.target === fields.task) return chooseTask();
    if (event.target === fields.left || event.target === fields.right) choosePoints(event.target.name);
    draw();
  });
  cut.addEventListener("input", slide);
  unveil.addEventListener("click", () => veil(unveil.getAttribute("aria-pressed") === "true"));
  stage.addEventListener("pointermove", (event) => {
    if (!event.buttons && event.pointerType === "mouse") return;
    const box = stage.getBoundingClientRect();
    cut.value = Math.round((100 * (event.clientX - box.left)) / box.width);
    slide();
  });
  slide();
  chooseTask();
}
