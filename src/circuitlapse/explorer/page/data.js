// The data of a run, and questions about it. docs/explorer.md describes the document.

// Return the document from its text in the page: base64 of gzipped JSON.
export async function unpackData(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// Return one entry of a packed column: a list has one value per row, anything else stands for all.
export function entry(values, row) {
  return (Array.isArray(values) ? values[row] : values) ?? null;
}

// Return a value of a packed table.
export function cell(table, name, row) {
  return row < 0 || row >= table.n ? null : entry(table.columns[name], row);
}

// Return the first row of a packed table at a step, or -1.
export function rowAt(table, step) {
  for (let row = 0; row < table.n; row++) if (cell(table, "step", row) === step) return row;
  return -1;
}

// Return all rows of a packed table that pass a test, as objects.
export function rowsOf(table, test = () => true) {
  const names = Object.keys(table.columns);
  const found = [];
  for (let row = 0; row < table.n; row++) {
    const one = Object.fromEntries(names.map((name) => [name, cell(table, name, row)]));
    if (test(one)) found.push(one);
  }
  return found;
}

// Return what a node's name says: its kind ("input", "head", "mlp" or "logits"), layer and head.
export function nodeOf(name) {
  const head = /^a(\d+)\.h(\d+)$/.exec(name);
  if (head) return { name, kind: "head", layer: +head[1], head: +head[2], short: `${head[1]}.${head[2]}` };
  const mlp = /^m(\d+)$/.exec(name);
  if (mlp) return { name, kind: "mlp", layer: +mlp[1], head: -1, short: name };
  return { name, kind: name, layer: name === "input" ? -1 : Infinity, head: -1, short: name };
}

// Return whether a model has a node, or an edge of this name in a circuit.
export function exists(model, name) {
  if (name === "input" || name === "logits") return true;
  const { kind, layer, head } = nodeOf(name);
  if (kind === "head" || kind === "mlp") return layer < model.layers && head < model.heads;
  return Object.values(model.tasks).some((part) => part.circuits.edges.includes(name));
}

// Return source, target and port of an edge's name, such as "a0.h1->a2.h0<q>".
export function edgeOf(name) {
  const [source, target] = name.split("->");
  const found = /^(.*)<([qkv])>$/.exec(target);
  return { name, source, target: found ? found[1] : target, port: found ? found[2] : "" };
}

// The circuit of a model and task at a step. `status` and `say(column)` are those of the summary,
// `count` edges are in the file and `hidden` more are not. Edges, in the order of the table, and nodes
// are made when they are first asked for.
class Circuit {
  #edges = null;
  #nodes = null;

  constructor(model, task, step) {
    Object.assign(this, { model, task, step, status: "not_analysed", count: 0, hidden: 0 });
    const part = model.tasks[task];
    const row = part ? rowAt(part.summary, step) : -1;
    this.say = (name) => (part ? cell(part.summary, name, row) : null);
    if (row >= 0) this.status = this.say("status");
    this.place = part ? part.circuits.steps.indexOf(step) : -1;
    if (this.place < 0) return;
    const { first, hidden } = part.circuits;
    this.count = first[this.place + 1] - first[this.place];
    this.hidden = hidden[this.place];
  }

  get edges() {
    this.#edges ??= this.count ? this.#read(this.model.tasks[this.task].circuits) : [];
    return this.#edges;
  }

  get nodes() {
    this.#nodes ??= new Set(this.edges.flatMap((one) => [one.source, one.target]));
    return this.#nodes;
  }

  #read({ edges, first, edge, score, order }) {
    let rank = 0;
    return Array.from({ length: this.count }, (_, place) => {
      const at = first[this.place] + place;
      rank += order[at];
      return { ...edgeOf(edges[edge[at]]), score: score[at], order: rank, at };
    });
  }
}

const known = new Map();

// Return the circuit of a model and task at a step; the same one whenever it is asked for.
export function circuitAt(model, task, step) {
  const key = JSON.stringify([model.name, task, step]);
  if (!known.has(key)) known.set(key, new Circuit(model, task, step));
  return known.get(key);
}

// Return whether a status says that there is a circuit to draw.
export function hasCircuit(circuit) {
  return ["ok", "overshoot", "not_reached"].includes(circuit.status) && circuit.count > 0;
}

// Return one score of a head at every step: value, low, high, in_circuit, n and status per step.
export function scoreOver(model, name, layer, head) {
  const score = model.scores[name];
  return model.steps.map((step, place) => {
    const at = (place * model.layers + layer) * model.heads + head;
    const names = ["value", "low", "high", "in_circuit", "n", "status"];
    return { step, ...Object.fromEntries(names.map((key) => [key, entry(score[key], at)])) };
  });
}

// Return the largest value of a score over the heads of a model, per step; null if none is defined.
export function bestOver(model, name) {
  const many = model.layers * model.heads;
  const values = model.scores[name].value;
  return model.steps.map((_, place) => {
    let best = null;
    for (let at = place * many; at < (place + 1) * many; at++) {
      const value = entry(values, at);
      if (value !== null && (best === null || value > best)) best = value;
    }
    return best;
  });
}

// Return the roles of heads at a step: node name -> rows of the table, the largest |effect| first.
export function rolesAt(model, task, step) {
  const found = new Map();
  // only IOI has roles, but the same heads are there on every task
  const parts = model.tasks[task]?.roles.n ? [model.tasks[task]] : Object.values(model.tasks);
  for (const part of parts) {
    for (const row of rowsOf(part.roles, (one) => one.step === step)) {
      const name = `a${row.layer}.h${row.head}`;
      found.set(name, [...(found.get(name) ?? []), row]);
    }
  }
  for (const rows of found.values()) rows.sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
  return found;
}

// Return when the circuit of a task forms: its first step, and the first step after the last gap.
export function formsAt(model, task) {
  const there = model.steps.map((step) => hasCircuit(circuitAt(model, task, step)));
  const gap = there.lastIndexOf(false);
  return {
    first: there.includes(true) ? model.steps[there.indexOf(true)] : null,
    lasting: gap + 1 < there.length ? model.steps[gap + 1] : null,
  };
}
