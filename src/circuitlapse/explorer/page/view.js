// What the reader looks at, kept in the fragment of the address so that a view can be linked to.

import { exists } from "./data.js";

// Key -> value when the address does not say. `compare` is "", "step", "task" or "model", `other` what
// to compare with; `pick` names a node or an edge; `least` is in percent of the largest |score|; no
// port at all is "-".
const DEFAULTS = {
  model: "",
  task: "",
  step: "",
  compare: "",
  other: "",
  pick: "",
  ports: "qkvo",
  sign: "both",
  role: "",
  least: "0",
  most: "200",
  fold: "",
};

// Which values of the other keys make sense.
const POSSIBLE = {
  ports: (value) => /^(-|[qkvo]+)$/.test(value),
  sign: (value) => ["both", "positive", "negative"].includes(value),
  role: (value) => value === "" || Object.hasOwn(data.roles, value),
  least: (value) => Number(value) >= 0 && Number(value) <= 100,
  most: (value) => ["50", "100", "200", "500", "1000"].includes(value),
  pick: (value) => value === "" || exists(currentModel(), value),
};

export const view = { ...DEFAULTS };
const listeners = [];
let data = null;

// Call a function with the view whenever it changes.
export function onChange(listener) {
  listeners.push(listener);
}

export const modelNamed = (name) => data.models.find((model) => model.name === name);
export const currentModel = () => modelNamed(view.model);
export const stepOf = () => Number(view.step);

// Return the models that have the same nodes, so that their circuits can be compared.
export function comparable(model) {
  const same = (one) => one !== model && one.layers === model.layers && one.heads === model.heads;
  return data.models.filter((one) => same(one) && one.layers > 0);
}

// Start with a run: the address first, then the largest model that repeats no other, at its end.
export function startView(document_) {
  data = document_;
  addEventListener("hashchange", () => change(fromAddress(), false));
  Object.assign(view, fromAddress());
  settle();
}

function fromAddress() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const known = Object.keys(DEFAULTS).filter((key) => key in given);
  return { ...DEFAULTS, ...Object.fromEntries(known.map((key) => [key, given[key]])) };
}

// Replace what does not exist in this run by what does.
function settle() {
  if (!currentModel()) {
    const whole = data.models.filter((one) => !one.variant_of && one.layers > 0);
    view.model = (whole.at(-1) ?? data.models.at(-1)).name;
  }
  const model = currentModel();
  const tasks = Object.keys(model.tasks);
  if (!tasks.includes(view.task)) view.task = tasks[0];
  if (view.step === "" || Number.isNaN(Number(view.step))) view.step = String(model.steps.at(-1));
  const wanted = Number(view.step);
  const far = (step) => Math.abs(Math.log1p(step) - Math.log1p(Number.isFinite(wanted) ? wanted : 0));
  view.step = String(model.steps.reduce((best, step) => (far(step) < far(best) ? step : best)));
  const others = {
    step: model.steps.map(String),
    task: tasks.filter((task) => task !== view.task),
    model: comparable(model).map((one) => one.name),
  }[view.compare];
  if (!others?.length) Object.assign(view, { compare: "", other: "" });
  else if (!others.includes(view.other)) {
    const at = others.indexOf(view.step);
    // of steps the one before, or the second at the first; of tasks and models the last
    view.other = view.compare === "step" ? others[at > 0 ? at - 1 : Math.min(1, others.length - 1)] : others.at(-1);
  }
  for (const [key, possible] of Object.entries(POSSIBLE)) if (!possible(view[key])) view[key] = DEFAULTS[key];
}

// Change some keys, tell everyone, and write the address unless a film is playing.
export function change(changes, write = true) {
  Object.assign(view, changes);
  settle();
  if (write) writeAddress();
  for (const listener of listeners) listener(view);
}

export function writeAddress() {
  const always = ["model", "task", "step"];
  const keys = Object.keys(DEFAULTS).filter((key) => always.includes(key) || view[key] !== DEFAULTS[key]);
  const text = new URLSearchParams(keys.map((key) => [key, view[key]])).toString();
  history.replaceState(null, "", `#${text}`);
}

// Go a number of checkpoints on or back.
export function moveStep(by, write = true) {
  const { steps } = currentModel();
  const at = Math.min(steps.length - 1, Math.max(0, steps.indexOf(stepOf()) + by));
  change({ step: String(steps[at]) }, write);
}
