// Files of what is shown: pictures, rows of tables, and circuits for other tools.
import { cell, entry, hasCircuit, nodeOf, rolesAt, scoreOver } from "./data.js";
import { compared, shown } from "./compare.js";
import { byId, save, svg } from "./dom.js";
import { cytoscape, eapIg, mibFiles, neuronpedia } from "./formats.js";
import { currentModel, stepOf, view } from "./view.js";
import { zipped } from "./zip.js";

const STYLES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "opacity", "font-size", "font-family", "font-weight", "text-anchor", "paint-order", "visibility", "display"];

// Return lines of CSV as the tables have them: missing values are NaN.
function csv(columns, rows) {
  const text = (value) => {
    if (value === null || value === undefined) return "NaN";
    if (typeof value === "boolean") return value ? "True" : "False";
    const plain = String(value);
    return /[",\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
  };
  const lines = rows.map((row) => columns.map((name) => text(row[name])).join(","));
  return `${[columns.join(","), ...lines].join("\n")}\n`;
}

// Return the rows of `circuit_edges` of a circuit.
function edgeRows({ model, task, step, edges }) {
  const { constant } = model.tasks[task].circuits;
  const tokens = model.tokens[model.steps.indexOf(step)];
  return edges.map((edge) => {
    const same = Object.keys(constant).map((name) => [name, entry(constant[name], edge.at)]);
    return { model: model.name, task, step, tokens, ...Object.fromEntries(same), ...edge };
  });
}

// Return the rows of `circuit_summary` of a model and task, and its columns.
function summaryRows(model, task) {
  const { summary } = model.tasks[task];
  const [first, ...rest] = ["variant", "step", "tokens"];
  const columns = ["model", first, ...rest, "task", ...Object.keys(summary.columns).filter((name) => ![first, ...rest].includes(name))];
  const rows = Array.from({ length: summary.n }, (_, row) => ({
    model: model.name,
    task,
    ...Object.fromEntries(Object.keys(summary.columns).map((name) => [name, cell(summary, name, row)])),
  }));
  return { columns, rows };
}

// Return the rows of `components` of a head.
function headRows(model, { layer, head }) {
  const found = Object.keys(model.scores).flatMap((score) => {
    const { task, unit } = model.scores[score];
    const rows = scoreOver(model, score, layer, head).filter((row) => row.status !== null);
    const where = { model: model.name, variant: model.variant, task, score, layer, head, unit };
    return rows.map((row) => ({ ...where, tokens: model.tokens[model.steps.indexOf(row.step)], ...row }));
  });
  return found.sort((one, other) => one.step - other.step);
}

// Return the picture as a file of its own, with its styles in it.
function standalone() {
  const picture = byId("picture");
  const copy = picture.cloneNode(true);
  const [from, to] = [picture, copy].map((one) => [...one.querySelectorAll("*")]);
  from.forEach((one, place) => {
    const style = getComputedStyle(one);
    to[place].removeAttribute("style");
    for (const name of STYLES) to[place].setAttribute(name, style.getPropertyValue(name));
  });
  for (const unseen of copy.querySelectorAll('[display="none"], .gone')) unseen.remove();
  const fill = getComputedStyle(document.body).backgroundColor;
  copy.prepend(svg("rect", { width: "100%", height: "100%", fill }));
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return new XMLSerializer().serializeToString(copy);
}

// Return the picture as PNG, at twice its size.
async function png() {
  const text = standalone();
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [2 * image.width, 2 * image.height];
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

// Let the buttons save files. Names say what is in them.
export function startExports(data) {
  const name = (what) => {
    const picked = view.pick && what === "head" ? `-${view.pick}` : "";
    return `${view.model}-${view.task}-step${view.step}${picked}`.replace(/[^\w.-]+/g, "_");
  };
  const circuits = () => [shown(), compared()].filter((one) => one && hasCircuit(one));
  const json = (suffix, make) => () => save(`${name()}-${suffix}.json`, [make(currentModel(), shown())], "application/json");
  const actions = {
    svg: () => save(`${name()}.svg`, [standalone()], "image/svg+xml"),
    png: async () => save(`${name()}.png`, [await png()], "image/png"),
    edges: () => save(`${name()}-edges.csv`, [csv(data.columns.edges, circuits().flatMap(edgeRows))], "text/csv"),
    summary: () => {
      const { columns, rows } = summaryRows(currentModel(), view.task);
      save(`${view.model}-${view.task}-summary.csv`.replace(/[^\w.-]+/g, "_"), [csv(columns, rows)], "text/csv");
    },
    head: () => save(`${name("head")}-scores.csv`, [csv(data.columns.heads, headRows(currentModel(), nodeOf(view.pick)))], "text/csv"),
    "eap-ig": json("eap-ig", (model, circuit) => eapIg(model, circuit.edges, true)),
    mib: () => save(`${name()}-mib.zip`, zipped(mibFiles(currentModel(), view.task, shown().edges)), "application/zip"),
    cytoscape: json("cytoscape", (model, circuit) => cytoscape(model, circuit, rolesAt(model, view.task, stepOf()))),
    neuronpedia: json("neuronpedia", (model, circuit) => neuronpedia(model, circuit)),
  };
  for (const button of document.querySelectorAll("[data-export]")) {
    button.addEventListener("click", () => actions[button.dataset.export]());
  }
}

// Enable what this view can give: a circuit that is whole, or a head.
export function drawExports() {
  const circuit = shown();
  const there = hasCircuit(circuit);
  const whole = there && circuit.hidden === 0 && circuit.model.parallel !== null;
  const allowed = { edges: there, head: nodeOf(view.pick).kind === "head", "eap-ig": whole, mib: whole, cytoscape: there, neuronpedia: there };
  for (const button of document.querySelectorAll("[data-export]")) {
    button.disabled = allowed[button.dataset.export] === false;
  }
}
