// Everything the reader sets: model, task, comparison, filters, search, keys.
import { exists } from "./data.js";
import { kinds } from "./compare.js";
import { byId, el, number, stepWords } from "./dom.js";
import { portColour, toggleTheme } from "./palette.js";
import { togglePlay } from "./slider.js";
import { change, comparable, currentModel, moveStep, view } from "./view.js";

let data = null;

function options(host, pairs, value) {
  host.replaceChildren(...pairs.map(([key, text]) => el("option", { value: key, selected: key === value }, text)));
  host.value = value;
}

// Make all controls, once.
export function startControls(document_) {
  data = document_;
  const on = (id, key) => byId(id).addEventListener("change", (event) => change({ [key]: event.target.value }));
  for (const key of ["model", "task", "compare", "other", "sign", "role", "most"]) on(key, key);
  byId("least").addEventListener("input", (event) => change({ least: event.target.value }));
  byId("fold").addEventListener("change", (event) => change({ fold: event.target.checked ? "1" : "" }));
  byId("theme").addEventListener("click", toggleTheme);
  byId("find").addEventListener("change", (event) => find(event.target.value));
  const ports = Object.entries(data.ports).map(([port, { title }]) => {
    const box = el("input", { type: "checkbox", value: port || "o", name: "port", onchange: setPorts });
    const sample = el("span", { class: "swatch" });
    sample.style.background = portColour(port);
    return el("label", {}, box, sample, title);
  });
  byId("ports").append(...ports);
  options(byId("role"), [["", "any"], ...Object.entries(data.roles).map(([key, { title }]) => [key, title])], "");
  addEventListener("keydown", keys);
}

function setPorts() {
  const boxes = [...document.querySelectorAll("input[name=port]")];
  change({ ports: boxes.filter((box) => box.checked).map((box) => box.value).join("") || "-" });
}

// Show the view in the controls.
export function drawControls() {
  const model = currentModel();
  options(byId("model"), data.models.map((one) => [one.name, one.label]), view.model);
  options(byId("task"), Object.keys(model.tasks).map((task) => [task, data.tasks[task] ?? task]), view.task);
  const possible = kinds();
  const names = { step: "another step", task: "another task", model: "another model" };
  const listed = Object.keys(names).filter((kind) => possible[kind]);
  options(byId("compare"), [["", "nothing"], ...listed.map((kind) => [kind, names[kind]])], view.compare);
  const others = {
    step: () => model.steps.map((step) => [String(step), stepWords(model, step)]),
    task: () => Object.keys(model.tasks).filter((task) => task !== view.task).map((task) => [task, data.tasks[task] ?? task]),
    model: () => comparable(model).map((one) => [one.name, one.label]),
  }[view.compare];
  byId("other").hidden = !others;
  options(byId("other"), others?.() ?? [], view.other);
  for (const key of ["sign", "role", "most", "least"]) byId(key).value = view[key];
  byId("fold").checked = Boolean(view.fold);
  byId("least-words").textContent = `${view.least} % of the largest`;
  for (const box of document.querySelectorAll("input[name=port]")) box.checked = view.ports.includes(box.value);
}

// Pick the node that the reader named, such as 9.6, a9.h6, m3 or logits.
function find(text) {
  const wanted = text.trim();
  const model = currentModel();
  const pair = /^(\d+)\.(\d+)$/.exec(wanted);
  const name = pair ? `a${pair[1]}.h${pair[2]}` : wanted;
  const found = wanted === "" || exists(model, name);
  byId("find").setAttribute("aria-invalid", String(!found));
  const shape = `${model.label} has ${number(model.layers)} layers of ${number(model.heads)} heads`;
  byId("found").textContent = found ? "" : `There is no ${wanted}: ${shape}. Write for instance 1.0 or m1.`;
  if (found) change({ pick: wanted === "" ? "" : name });
}

function keys(event) {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox";
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    event.target.blur();
    change({ pick: "" });
    return;
  }
  if (typing) return;
  const onButton = event.target.closest?.("button, summary, input, [role=button]");
  const actions = {
    ArrowLeft: () => moveStep(-1),
    ArrowRight: () => moveStep(1),
    " ": onButton ? null : togglePlay,
    "/": () => byId("find").focus(),
  };
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}
