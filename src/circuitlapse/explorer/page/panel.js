// The text beside the graph: the circuit, a comparison, or the head or edge that was picked.
import { circuitAt, edgeOf, formsAt, hasCircuit, nodeOf, rolesAt, scoreOver } from "./data.js";
import { chart } from "./charts.js";
import { compared, difference, namesOf, overlapRow, shown, transferRow } from "./compare.js";
import { byId, el, interval, number, stepWords } from "./dom.js";
import { lineColour, roleColour } from "./palette.js";
import { change, currentModel, stepOf, view } from "./view.js";

const LISTED = 14;
let data = null;

const word = (status) => data.words[status] ?? status;
const short = (name) => nodeOf(name).short;
const edgeWords = (edge) => `${short(edge.source)} → ${short(edge.target)}${edge.port ? ` (${edge.port})` : ""}`;

// Fill the panel for the view.
export function drawPanel(document_) {
  data = document_;
  const host = byId("panel");
  const parts = [];
  const circuit = shown();
  if (view.pick) parts.push(view.pick.includes("->") ? edgePanel(edgeOf(view.pick)) : headPanel(nodeOf(view.pick)));
  if (view.compare) parts.push(comparison(circuit, compared()));
  if (!view.compare && !view.pick) parts.push(...circuitPanel(circuit));
  host.replaceChildren(...parts);
}

function facts(rows) {
  return el("dl", {}, rows.filter(Boolean).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function chip(name, text, colour) {
  const outside = !shown().nodes.has(name);
  const about = { class: `chip ${outside ? "outside" : ""}`, title: outside ? "not in the circuit at this step" : null };
  const button = el("button", { ...about, type: "button", onclick: () => change({ pick: name }) }, text);
  if (colour) button.style.borderLeftColor = colour;
  return button;
}

function edgeList(title, edges, kind = "", hidden = 0) {
  const strongest = [...edges].sort((a, b) => Math.abs(b.score) - Math.abs(a.score));
  const rows = strongest.slice(0, LISTED).map((edge) => {
    const pick = el("button", { class: "link", type: "button", onclick: () => change({ pick: edge.name }) }, edgeWords(edge));
    return el("tr", {}, el("td", {}, pick), el("td", { class: "number" }, number(edge.score)));
  });
  const more = edges.length > LISTED ? el("p", { class: "note" }, `and ${number(edges.length + hidden - LISTED)} weaker ones`) : null;
  const caption = el("caption", { class: kind }, `${title}: ${number(edges.length + hidden)}`);
  return el("div", {}, el("table", {}, caption, el("tbody", {}, rows)), more);
}

function circuitPanel(circuit) {
  const { model, task, say } = circuit;
  const at = (name) => say(name);
  const there = hasCircuit(circuit);
  const forms = formsAt(model, task);
  const formed =
    forms.first === null
      ? "No step has a circuit."
      : `First circuit: ${stepWords(model, forms.first)}. ` +
        (forms.lasting === null ? "The last step has none." : `At every step from ${number(forms.lasting)} on.`);
  const head = [el("h2", {}, "Circuit"), el("p", { class: there ? "" : "warning" }, word(circuit.status)), el("p", { id: "forms" }, formed)];
  const rows = [
    ["edges", there ? `${interval(at("n_edges"), at("n_edges_low"), at("n_edges_high"))} of ${number(at("n_edges_total"))}` : null],
    ["nodes", there ? number(at("n_nodes")) : null],
    ["faithfulness", there ? interval(at("f_raw"), at("f_raw_low"), at("f_raw_high")) : null],
    ["held-out", heldOut(at)],
    ["metric of the model", interval(at("m_model"), at("m_model_low"), at("m_model_high"))],
    ["on corrupted prompts", number(at("m_corrupted"))],
  ].filter(([, value]) => value !== null);
  const previous = model.steps[model.steps.indexOf(circuit.step) - 1];
  const button = el(
    "button",
    { id: "what-changed", type: "button", onclick: () => change({ compare: "step", other: String(previous), pick: "" }) },
    `What changed since step ${number(previous ?? 0)}?`,
  );
  const parts = [...head, facts(rows), previous === undefined ? null : button, roleList(model, task), there ? edgeList("Strongest edges", circuit.edges, "", circuit.hidden) : null];
  return parts.filter(Boolean);
}

function heldOut(at) {
  const value = at("f_raw_held_out");
  if (value === null) return at("held_out_status") ? word(at("held_out_status")) : null;
  return interval(value, at("f_raw_held_out_low"), at("f_raw_held_out_high"));
}

// Return the heads with a role at this step, role by role, the role with the largest effect first.
function roleList(model, task) {
  const roles = rolesAt(model, task, stepOf());
  if (!Object.values(model.tasks).some((part) => part.roles.n)) return null;
  const found = Object.entries(data.roles).map(([role, { title }]) => {
    const heads = [...roles].flatMap(([name, rows]) => rows.filter((row) => row.role === role).map(({ effect }) => ({ name, effect })));
    heads.sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
    const chips = heads.map(({ name, effect }) => chip(name, `${short(name)}: ${number(effect)}`, roleColour(role)));
    return { title, chips, most: Math.abs(heads[0]?.effect ?? 0) };
  });
  // a name mover with hardly an effect must not stand before the head that does the job
  const rows = found.filter(({ chips }) => chips.length).sort((a, b) => b.most - a.most);
  const any = rows.length > 0;
  const [row] = [...roles.values()].flat();
  const title = el("h3", {}, "Roles of heads in the IOI algorithm");
  const note = any
    ? `Behind each head its effect (${row.unit}; negative: it helps), largest first. Dotted: not in the circuit.`
    : "No head has a role at this step.";
  return el("div", { id: "roles" }, title, any ? facts(rows.map(({ title, chips }) => [title, chips])) : null, el("p", { class: "note" }, note));
}

function comparison(one, other) {
  const parts = difference(one, other);
  const title = el("h2", {}, "Comparison");
  const leave = el("button", { type: "button", onclick: () => change({ compare: "", other: "" }) }, "Stop comparing");
  if (!parts) {
    const without = [one, other].filter((circuit) => !hasCircuit(circuit));
    const lines = without.map((c) => el("p", { class: "warning" }, `${c.model.label}, ${c.task}, step ${number(c.step)}: ${word(c.status)}`));
    return el("section", { id: "comparison" }, title, lines, el("p", {}, "So there is nothing to compare."), leave);
  }
  const [mine, theirs] = namesOf(one, other);
  const row = overlapRow(one, other);
  const [there, back] = [transferRow(one, other), transferRow(other, one)];
  const ratio = (found) => (found.f_raw === null ? word(found.status) : `${number(found.f_raw)} (random circuits ${number(found.f_random)})`);
  const name = (circuit) => (view.compare === "task" ? circuit.task : `step ${number(circuit.step)}`);
  const rows = [
    ["edges", `${number(one.count + one.hidden)} and ${number(other.count + other.hidden)}`],
    ["Jaccard, as found", `${number(parts.jaccard)}${parts.exact ? "" : ", of the edges in this file"}`],
    row && ["Jaccard, same size", number(row.jaccard_matched)],
    row && ["noise floor (5 %)", number(row.floor_low)],
    row && ["by chance", number(row.jaccard_chance)],
    row && ["changed beyond noise", row.changed === null ? "unknown: there is no floor" : row.changed ? "yes" : "no"],
    there && [`circuit of ${name(one)} at ${name(other)}`, `faithfulness ${ratio(there)}`],
    back && [`circuit of ${name(other)} at ${name(one)}`, `faithfulness ${ratio(back)}`],
  ];
  const lists = [edgeList(mine, parts.one, "one"), edgeList(theirs, parts.other, "other"), edgeList("in both", parts.both, "both")];
  return el("section", { id: "comparison" }, title, facts(rows), lists, leave);
}

// Return a row of marks, one per step: whether a test holds there.
function strip(task, test) {
  const model = currentModel();
  const marks = model.steps.map((step) => {
    const circuit = circuitAt(model, task, step);
    const kind = !hasCircuit(circuit) ? "absent" : test(circuit) ? "there" : "without";
    const words = { absent: word(circuit.status), there: "in the circuit", without: "not in the circuit" }[kind];
    return el("span", { class: `mark ${kind}`, title: `step ${step}: ${words}` });
  });
  const steps = model.steps.filter((step) => test(circuitAt(model, task, step)));
  const said = steps.length ? `in the circuit at ${steps.length} steps` : "never in the circuit";
  return el("div", { class: "strip" }, el("span", {}, data.tasks[task] ?? task), el("span", { class: "marks", role: "img", "aria-label": said }, marks));
}

function strips(test) {
  return [el("h3", {}, "In the circuit, per task and step"), Object.keys(currentModel().tasks).map((task) => strip(task, test))];
}

function closing(title) {
  const leave = el("button", { class: "close", type: "button", "aria-label": "Close", onclick: () => change({ pick: "" }) }, "×");
  return el("div", { class: "row" }, el("h2", {}, title), leave);
}

function headPanel(node) {
  const model = currentModel();
  const circuit = shown();
  const titles = { head: `Head ${node.short}`, mlp: `MLP ${node.layer}`, input: "Input (embedding)", logits: "Logits" };
  const into = circuit.edges.filter((edge) => edge.target === node.name);
  const out = circuit.edges.filter((edge) => edge.source === node.name);
  const roles = (rolesAt(model, view.task, stepOf()).get(node.name) ?? []).map((row) => [
    data.roles[row.role]?.title ?? row.role,
    `effect ${number(row.effect)} (${row.unit})`,
  ]);
  const there = circuit.nodes.has(node.name);
  const state = hasCircuit(circuit) ? (there ? "in the circuit" : "not in the circuit at this step") : word(circuit.status);
  return el(
    "section",
    { id: "picked" },
    closing(titles[node.kind]),
    el("p", {}, state),
    roles.length ? facts(roles) : null,
    into.length ? edgeList("Edges into it", into) : null,
    out.length ? edgeList("Edges out of it", out) : null,
    strips((one) => one.nodes.has(node.name)),
    node.kind === "head" ? scoreCharts(model, node) : null,
  );
}

function scoreCharts(model, { layer, head }) {
  if (layer >= model.layers || head >= model.heads) return null;
  const room = byId("panel").clientWidth;
  const columns = Math.max(1, Math.floor(room / 165));
  const width = Math.floor((room - 8 * (columns - 1)) / columns) - 2;
  const found = Object.keys(data.scores).filter((name) => model.scores[name]);
  const charts = found.map((name) => {
    const rows = scoreOver(model, name, layer, head);
    const { title, unit: whole, range } = data.scores[name];
    const unit = { probability: "prob.", share: "", [whole]: whole }[whole];
    const values = rows.map((row) => row.value);
    const reasons = rows.map((row) => (row.value === null ? row.status ?? "not measured" : null));
    if (values.every((value) => value === null)) return el("p", { class: "note" }, `${title}: undefined (${reasons[0]})`);
    const series = [{ name: "", colour: lineColour(0), values, low: rows.map((row) => row.low), high: rows.map((row) => row.high) }];
    const [from, to] = range[1] === null ? [undefined, undefined] : [range[0] ?? undefined, range[1]];
    return chart(model, { title, unit: unit.length > 20 ? "" : unit, series, missing: reasons, from, to, width, height: 96 });
  });
  const grid = el("div", { class: "scores" }, charts);
  grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
  return [el("h3", {}, "Scores over training"), grid];
}

function edgePanel(edge) {
  const model = currentModel();
  const at = (step) => circuitAt(model, view.task, step).edges.find((one) => one.name === edge.name);
  const values = model.steps.map((step) => at(step)?.score ?? null);
  const missing = model.steps.map((step, place) => {
    const circuit = circuitAt(model, view.task, step);
    return values[place] !== null ? null : hasCircuit(circuit) ? "not in the circuit" : word(circuit.status);
  });
  const now = at(stepOf());
  const width = Math.max(220, Math.min(330, byId("panel").clientWidth - 20));
  const unit = model.tasks[view.task].circuits.constant.unit;
  return el(
    "section",
    { id: "picked" },
    closing(`Edge ${edgeWords(edge)}`),
    el("p", {}, now ? `score ${number(now.score)}, rank ${now.order}` : "not in the circuit at this step"),
    el("div", { class: "row" }, chip(edge.source, short(edge.source)), "→", chip(edge.target, short(edge.target))),
    el("h3", {}, "Score over training"),
    chart(model, { title: "Score", unit, series: [{ colour: lineColour(0), values }], missing, width, levels: [{ value: 0 }] }),
    el("p", { class: "note" }, "× marks steps at which the edge is not in the circuit; tables have no score there."),
    strips((one) => one.edges.some((each) => each.name === edge.name)),
  );
}
