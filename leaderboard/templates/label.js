// Shows one image at a time and sends each answer as it is given; the server holds the state.
"use strict";

const KEYS = { y: "yes", n: "no", u: "unsure" };
const element = (id) => document.getElementById(id);
let state = null;
let busy = false;

// What pressed the key: a script's events are not trusted, and a driven browser says so.
function origin(event) {
  return { trusted: event.isTrusted === true, driven: navigator.webdriver === true };
}

async function send(path, body) {
  if (busy) return;
  busy = true;
  try {
    const answer = await fetch(path, { method: "POST", body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(await answer.text());
    show(await answer.json());
  } catch (error) {
    element("note").textContent = `Not kept: ${error.message || "the server does not answer"}`;
    await load().catch(() => {});
  } finally {
    busy = false;
  }
}

// Another window may have answered meanwhile.
async function load() {
  show(await (await fetch("state")).json());
}

function show(next) {
  state = next;
  element("count").textContent = `${state.done} of ${state.total} answered`;
  element("progress").max = state.total;
  element("progress").value = state.done;
  const open = state.image !== null;
  element("image").hidden = element("replies").hidden = !open;
  element("undo").hidden = state.done === 0 || state.finished;
  element("finish").hidden = open || state.finished;
  if (open) {
    element("question").textContent = `Does this image show: ${state.target}?`;
    element("image").src = `image/${state.image}`;
  } else if (state.finished) {
    element("question").textContent = "The labels are written. You can close this page.";
    element("note").textContent = "";
  } else {
    element("question").textContent = "All answered. Finish, or undo the last answer.";
  }
}

function reply(word, event) {
  if (state && state.image !== null) send("answer", { image: state.image, reply: word, ...origin(event) });
}

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || !state || state.finished) return;
  const word = KEYS[event.key.toLowerCase()];
  if (word) reply(word, event);
  else if (event.key === "Backspace") send("undo", {});
  else if (event.key === "Enter" && state.image === null) send("finish", {});
  else return;
  event.preventDefault();
});
for (const button of document.querySelectorAll("[data-reply]")) {
  button.addEventListener("click", (event) => { reply(button.dataset.reply, event); button.blur(); });
}
element("undo").addEventListener("click", (event) => { send("undo", {}); event.currentTarget.blur(); });
element("finish").addEventListener("click", () => send("finish", {}));
load();
