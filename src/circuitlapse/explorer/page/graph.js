// The circuit as a graph. A node keeps its place over all steps and tasks of a model: layers from
// bottom to top, heads in their order, the MLP at the right.
import { hasCircuit, nodeOf, rolesAt } from "./data.js";
import { byId, el, number, svg } from "./dom.js";
import { compared, difference, namesOf, shown } from "./compare.js";
import { chosen, folded } from "./filter.js";
import { portColour, roleColour } from "./palette.js";
import { change, currentModel, stepOf, view } from "./view.js";

const SIDE = 12;
const FADE_MS = 260;
let laid = null; // places of the nodes, for one model and width
let data = null;
const lines = new Map(); // name of a drawn edge -> its path

// Return where every node of the model stands.
function layOut(model, width) {
  const rows = model.layers + 2;
  const row = Math.max(19, Math.min(84, 600 / rows));
  const slots = model.heads + 1;
  const slot = (width - 2 * SIDE - 26) / slots;
  const places = new Map();
  const y = (layer) => (model.layers - layer + 0.5) * row;
  const put = (name, at, layer, w, lift = 0) => places.set(name, { ...nodeOf(name), x: at, y: y(layer) - lift, w });
  const w = Math.min(54, slot - 4);
  put("input", width / 2, -1, 54);
  put("logits", width / 2, model.layers, 54);
  for (let layer = 0; layer < model.layers; layer++) {
    for (let head = 0; head < model.heads; head++) {
      put(`a${layer}.h${head}`, SIDE + 26 + (head + 0.5) * slot, layer, w);
    }
    // a little higher: in a sequential block the MLP reads the heads of its own layer
    put(`m${layer}`, SIDE + 26 + (slots - 0.5) * slot, layer, Math.max(w, 14), row * 0.16);
  }
  return { key: `${model.name} ${width}`, width, height: rows * row, row, slot, places, small: slot < 30 };
}

// Draw the empty places of a model.
function drawPlaces(model) {
  const host = byId("graph");
  const width = Math.max(320, Math.round(host.clientWidth));
  if (laid?.key === `${model.name} ${width}`) return;
  laid = layOut(model, width);
  lines.clear();
  const picture = svg("svg", { id: "picture", width, height: laid.height, viewBox: `0 0 ${width} ${laid.height}` });
  const named = Math.ceil(14 / laid.row);
  for (let layer = 0; layer < model.layers; layer += named) {
    const at = { class: "axis", x: 2, y: (model.layers - layer + 0.5) * laid.row + 4 };
    picture.append(svg("text", at, `L${layer}`));
  }
  picture.append(svg("g", { id: "edges" }), svg("g", { id: "nodes" }));
  host.replaceChildren(picture);
  const nodes = byId("nodes");
  for (const [name, place] of laid.places) nodes.append(nodeShape(name, place));
}

function nodeShape(name, { x, y, w, kind, short }) {
  const high = Math.min(22, laid.row - 4);
  const group = svg("g", { class: `node ${kind}`, "data-node": name, transform: `translate(${x} ${y})` });
  group.append(svg("circle", { class: "ghost", r: 2 }));
  if (laid.small && kind !== "input" && kind !== "logits") {
    group.append(svg("circle", { class: "body", r: Math.max(3, Math.min(6, laid.slot / 2 - 1, high / 2)) }));
    group.append(svg("text", { class: "name halo", y: -7 }, short));
  } else {
    group.append(svg("rect", { class: "body", x: -w / 2, y: -high / 2, width: w, height: high, rx: 5 }));
    group.append(svg("text", { class: "name", y: 4 }, short));
  }
  group.append(svg("title"));
  return group;
}

// Draw the view: edges appear and vanish, nodes stay where they are.
export function drawGraph(words) {
  const model = currentModel();
  drawPlaces(model);
  const [one, other] = [shown(), compared()];
  const parts = difference(one, other);
  const state = new Map();
  for (const kind of ["both", "one", "other"]) for (const edge of parts?.[kind] ?? []) state.set(edge.name, kind);
  const edges = parts ? [...one.edges, ...parts.other] : hasCircuit(one) ? one.edges : [];
  const { drawn, passing } = chosen(edges, rolesAt(model, view.task, stepOf()));
  const visible = view.fold ? folded(drawn, model) : drawn;
  drawEdges(visible, parts ? state : null);
  drawNodes(visible, model);
  drawLegend(one, other, parts);
  explain(one, other, { words, parts, all: edges.length, passing: passing.length, drawn: drawn.length });
}

function drawEdges(edges, state) {
  const most = Math.max(...edges.map((edge) => Math.abs(edge.score)), 1e-12);
  // a pick dims all else, unless it has no edge here
  const dims = edges.some(close) ? (edge) => !close(edge) : () => false;
  const group = byId("edges");
  const gone = new Set(lines.keys());
  for (const edge of edges) {
    const strength = Math.sqrt(Math.abs(edge.score) / most);
    let path = lines.get(edge.name);
    if (!path) {
      path = svg("path", { class: "edge new", "data-edge": edge.name, d: curve(edge) }, svg("title"));
      lines.set(edge.name, path);
      group.append(path);
    }
    gone.delete(edge.name);
    const kind = state?.get(edge.name);
    path.setAttribute("class", `edge ${kind ?? ""} ${picksEdge(edge) ? "picked" : ""} ${dims(edge) ? "dim" : ""}`);
    const changed = kind === "one" || kind === "other";
    path.setAttribute("stroke-width", (changed ? 1.6 + 2.4 * strength : 0.6 + 3.4 * strength).toFixed(2));
    path.setAttribute("stroke-opacity", (changed ? 0.95 : 0.3 + 0.6 * strength).toFixed(2));
    path.setAttribute("stroke-dasharray", edge.score < 0 ? "5 4" : kind === "other" ? "1.5 3" : "none");
    path.style.stroke = kind ? "" : portColour(edge.port);
    path.firstChild.textContent = `${edge.name}: ${number(edge.score)}`;
  }
  for (const name of gone) {
    const path = lines.get(name);
    lines.delete(name);
    path.classList.add("gone");
    setTimeout(() => path.remove(), FADE_MS);
  }
}

const touches = (edge) => edge.source === view.pick || edge.target === view.pick;
const picksEdge = (edge) => edge.name === view.pick;
const close = (edge) => touches(edge) || picksEdge(edge);

// Return the path of an edge: queries enter at the left of a head, values at the right.
function curve(edge) {
  const [from, to] = [laid.places.get(edge.source), laid.places.get(edge.target)];
  const half = laid.small ? 3 : Math.min(22, laid.row - 4) / 2;
  const shift = (laid.small ? 3 : to.w * 0.3) * ({ q: -1, v: 1 }[edge.port] ?? 0);
  const [x0, y0, x1, y1] = [from.x, from.y - half, to.x + shift, to.y + half];
  const far = Math.abs(y1 - y0);
  // an edge straight up would run through the nodes between, so it bows outwards
  const straight = Math.abs(x1 - x0) < laid.slot * 0.4 && far > laid.row * 1.2;
  const bow = straight ? (x0 > laid.width / 2 ? 1 : -1) * Math.min(laid.slot, 10 + far * 0.12) : 0;
  return `M${x0} ${y0}C${x0 + bow} ${y0 - far * 0.45} ${x1 + bow} ${y1 + far * 0.45} ${x1} ${y1}`;
}

function drawNodes(edges, model) {
  const roles = rolesAt(model, view.task, stepOf());
  const strength = new Map();
  for (const edge of edges) {
    for (const name of [edge.source, edge.target]) strength.set(name, (strength.get(name) ?? 0) + Math.abs(edge.score));
  }
  // where nodes are small, only the strongest are named
  const ranked = [...strength].sort((a, b) => b[1] - a[1]).slice(0, 14);
  const named = new Set(ranked.map(([name]) => name));
  const near = new Set(edges.filter(close).flatMap((edge) => [edge.source, edge.target]));
  for (const group of byId("nodes").children) {
    const name = group.dataset.node;
    const [role] = roles.get(name) ?? [];
    const there = strength.has(name);
    group.classList.toggle("there", there);
    group.classList.toggle("picked", name === view.pick);
    group.classList.toggle("dim", there && near.size > 0 && !near.has(name));
    group.classList.toggle("named", !laid.small || named.has(name) || name === view.pick);
    group.classList.toggle("roled", Boolean(role));
    group.querySelector(".body").style.fill = role ? roleColour(role.role) : "";
    const { kind, layer, short } = laid.places.get(name);
    group.querySelector(".name").textContent = view.fold && kind === "head" ? `L${layer} heads` : short;
    const said = `${name}${role ? `, ${role.role}` : ""}${there ? "" : ", not in the circuit"}`;
    group.querySelector("title").textContent = said;
    group.setAttribute("aria-label", said);
    for (const [key, value] of [["tabindex", "0"], ["role", "button"]]) {
      if (there) group.setAttribute(key, value);
      else group.removeAttribute(key);
    }
  }
}

// Say above the graph what is drawn, what is hidden, and why there is nothing.
function explain(one, other, { words, parts, all, passing, drawn }) {
  const say = byId("undefined");
  const missing = [one, other].filter((circuit) => circuit && !hasCircuit(circuit));
  const reason = (circuit) => {
    const nothing = ["ok", "overshoot", "not_reached"].includes(circuit.status);
    return nothing ? "the circuit has no edge" : words[circuit.status] ?? circuit.status;
  };
  const where = (circuit) => `${circuit.model.label}, ${circuit.task}, step ${number(circuit.step)}: ${reason(circuit)}`;
  say.textContent = missing.map(where).join(" · ");
  say.hidden = missing.length === 0;
  const notes = [];
  if (all > passing) notes.push(`${number(all - passing)} edges do not pass the filters`);
  if (passing > drawn) notes.push(`${number(passing - drawn)} weaker edges are hidden`);
  const cut = one.hidden + (parts ? other.hidden : 0);
  if (cut) notes.push(`${number(cut)} of the weakest are not in this file`);
  byId("hidden").textContent = notes.join("; ");
  const what = hasCircuit(one) ? `${one.count + one.hidden} edges, ${drawn} drawn` : reason(one);
  const pair = parts ? `, compared: ${namesOf(one, other).join(" and ")}` : "";
  const picture = byId("picture");
  picture.setAttribute("role", "group");
  picture.setAttribute("aria-label", `Circuit of ${one.model.label} for ${one.task} at step ${one.step}: ${what}${pair}`);
}

// Say what the colours of edges and heads stand for.
function drawLegend(one, other, parts) {
  const line = (colour, text, kind = "") => {
    const sample = el("span", { class: `sample ${kind}` });
    sample.style.color = colour;
    return el("span", { class: "key" }, sample, text);
  };
  const ports = Object.entries(data.ports).map(([port, { title }]) => line(portColour(port), title));
  const [mine, theirs] = parts ? namesOf(one, other) : [];
  const pair = parts && [line("var(--both)", "in both"), line("var(--line-0)", mine), line("var(--line-1)", theirs, "dotted")];
  // heads without edges are drawn only if they are picked
  const seen = [...byId("nodes").querySelectorAll(".there, .picked")].map((group) => group.dataset.node);
  const known = rolesAt(one.model, one.task, one.step);
  const there = new Set(seen.flatMap((name) => known.get(name)?.[0].role ?? []));
  const roles = Object.entries(data.roles).filter(([role]) => there.has(role));
  const boxes = roles.map(([role, { title }]) => line(roleColour(role), title, "box"));
  byId("legend").replaceChildren(...(pair ?? ports), line("var(--soft)", "works against the answer", "dashed"), ...boxes);
}

// Return the edge whose curve is nearest to a point of the page, if it is near.
function nearestEdge(event) {
  const box = byId("picture").getBoundingClientRect();
  const point = [event.clientX - box.left, event.clientY - box.top];
  let [best, found] = [9, null];
  for (const [name, path] of lines) {
    const length = path.getTotalLength();
    for (let at = 0; at <= length; at += 6) {
      const { x, y } = path.getPointAtLength(at);
      const far = Math.hypot(x - point[0], y - point[1]);
      if (far < best) [best, found] = [far, name];
    }
  }
  return found;
}

// Let clicks and keys pick nodes and edges.
export function startGraph(document_) {
  data = document_;
  const host = byId("graph");
  const pick = (name) => change({ pick: name === view.pick ? "" : name ?? "" });
  host.addEventListener("click", (event) => {
    const node = event.target.closest("[data-node]");
    const edge = event.target.closest("[data-edge]");
    pick(node ? node.dataset.node : edge?.dataset.edge ?? nearestEdge(event));
  });
  host.addEventListener("keydown", (event) => {
    const node = event.target.closest?.("[data-node]");
    if (!node || !["Enter", " "].includes(event.key)) return;
    event.preventDefault();
    pick(node.dataset.node);
  });
}
