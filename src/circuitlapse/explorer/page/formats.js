// Circuits in the formats of other tools. Names of nodes and edges are those of EAP-IG everywhere.
import { edgeOf, nodeOf } from "./data.js";

const PORTS = ["q", "k", "v"];
// Of all edges: the most that each of the nine circuits of a submission to MIB may have.
export const MIB_SHARES = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

// Return the names of all edges of a model.
export function allEdges(model) {
  const names = [];
  const senders = ["input"];
  for (let layer = 0; layer < model.layers; layer++) {
    const heads = Array.from({ length: model.heads }, (_, head) => `a${layer}.h${head}`);
    for (const source of senders) {
      for (const port of PORTS) for (const head of heads) names.push(`${source}->${head}<${port}>`);
      names.push(`${source}->m${layer}`);
    }
    // in a sequential block the MLP reads the heads of its own layer
    if (model.parallel === false) for (const head of heads) names.push(`${head}->m${layer}`);
    senders.push(...heads, `m${layer}`);
  }
  for (const source of senders) names.push(`${source}->logits`);
  return names;
}

// Return the edges that lie on a path from the input to the logits within these edges.
export function pruned(edges) {
  let kept = edges;
  for (;;) {
    const from = new Set(kept.map((edge) => edge.source));
    const to = new Set(kept.map((edge) => edge.target)).add("input");
    const next = kept.filter((edge) => to.has(edge.source) && (edge.target === "logits" || from.has(edge.target)));
    if (next.length === kept.length) return kept;
    kept = next;
  }
}

// Return the graph of EAP-IG as JSON. Tables have no scores of the edges outside a circuit, and a file
// has scores of all edges or of none, so it has none: `score` is NaN where that library asks for it.
export function eapIg(model, edges, scored) {
  const inside = new Set(edges.map((edge) => edge.name));
  const sends = new Set(edges.map((edge) => edge.source));
  const gets = new Set(edges.map((edge) => edge.target)).add("input");
  const nodes = { input: { in_graph: sends.has("input") } };
  for (let layer = 0; layer < model.layers; layer++) {
    const heads = Array.from({ length: model.heads }, (_, head) => `a${layer}.h${head}`);
    for (const name of [...heads, `m${layer}`]) nodes[name] = { in_graph: sends.has(name) && gets.has(name) };
  }
  nodes.logits = { in_graph: true };
  const cfg = { n_layers: model.layers, n_heads: model.heads, parallel_attn_mlp: model.parallel, d_model: model.width };
  const line = (name) => `${JSON.stringify(name)}:{${scored ? '"score":NaN,' : ""}"in_graph":${inside.has(name)}}`;
  const all = allEdges(model).map(line).join(",");
  return `{"cfg":${JSON.stringify(cfg)},"nodes":${JSON.stringify(nodes)},"edges":{${all}}}`;
}

// Return the nine files of a submission to MIB: name -> text. Each has the first edges of the circuit,
// as many as it may, without those that lie on no path.
export function mibFiles(model, task, edges) {
  const many = allEdges(model).length;
  const folder = [task, model.name].map((name) => name.replaceAll("_", "-")).join("_");
  const ranked = [...edges].sort((a, b) => a.order - b.order);
  return Object.fromEntries(
    MIB_SHARES.map((share) => {
      const most = Math.floor(share * many + 1e-9);
      const name = `${(100 * share).toFixed(1).padStart(4, "0")}-percent.json`;
      return [`${folder}/${name}`, eapIg(model, pruned(ranked.slice(0, most)), false)];
    }),
  );
}

// Return the elements that Cytoscape and Cytoscape.js read. `roles`: node name -> rows of the table.
export function cytoscape(model, circuit, roles) {
  const place = (name) => {
    const { kind, layer, head } = nodeOf(name);
    const row = kind === "input" ? -1 : kind === "logits" ? model.layers : layer;
    const column = kind === "head" ? head : kind === "mlp" ? model.heads : (model.heads - 1) / 2;
    return { x: 80 * column, y: -80 * row };
  };
  const nodes = [...circuit.nodes].map((name) => {
    const { kind, short } = nodeOf(name);
    const data = { id: name, label: short, kind, roles: (roles.get(name) ?? []).map((row) => row.role) };
    return { data, position: place(name) };
  });
  const edges = circuit.edges.map(({ name, source, target, port, score, order }) => ({
    data: { id: name, source, target, port, score, order },
  }));
  const about = { model: model.name, task: circuit.task, step: circuit.step, status: circuit.status };
  return JSON.stringify({ data: { name: `${model.name} ${circuit.task} step ${circuit.step}`, ...about }, elements: { nodes, edges } });
}

// Return the circuit as an attribution graph, in the JSON that Neuronpedia documents. That format is
// about features at the positions of one prompt; a circuit has heads, and is about all prompts of a
// task. So every node is at position 0 of a prompt that names the task, and edges into q, k and v of
// a head become one link, whose weight is the sum of their scores.
export function neuronpedia(model, circuit) {
  const types = { input: "embedding", head: "attention head", mlp: "mlp", logits: "logit" };
  const nodes = [...circuit.nodes].map((name) => {
    const { kind, layer, head } = nodeOf(name);
    const at = kind === "input" ? "E" : kind === "logits" ? model.layers : layer;
    const feature = kind === "head" ? head : null;
    return { node_id: name, feature, layer: String(at), ctx_idx: 0, feature_type: types[kind], jsNodeId: name, clerp: name };
  });
  const weights = new Map();
  for (const { source, target, score } of circuit.edges) {
    const key = `${source}->${target}`;
    weights.set(key, (weights.get(key) ?? 0) + score);
  }
  const links = [...weights].map(([key, weight]) => {
    const { source, target } = edgeOf(key);
    return { source, target, weight };
  });
  const prompt = `all prompts of ${circuit.task}`;
  const slug = `${model.name}-${circuit.task}-step${circuit.step}`.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  const metadata = { slug, scan: model.name, prompt_tokens: [prompt], prompt };
  return JSON.stringify({ metadata, qParams: { pinnedIds: [], supernodes: [], linkType: "both", clickedId: "", sg_pos: "" }, nodes, links });
}
