// Which edges are drawn: ports, sign, role, |score|, how many, and heads folded by layer.
import { nodeOf } from "./data.js";
import { view } from "./view.js";

// Return the edges that pass the filters, and of these the strongest, which are drawn.
export function chosen(edges, roles) {
  const largest = Math.max(...edges.map((edge) => Math.abs(edge.score)), 0);
  const least = (Number(view.least) / 100) * largest;
  const hasRole = (name) => (roles.get(name) ?? []).some((row) => row.role === view.role);
  const passing = edges.filter(
    (edge) =>
      view.ports.includes(edge.port || "o") &&
      (view.sign === "both" || edge.score < 0 === (view.sign === "negative")) &&
      (!view.role || hasRole(edge.source) || hasRole(edge.target)) &&
      Math.abs(edge.score) >= least,
  );
  const strongest = [...passing].sort((a, b) => Math.abs(b.score) - Math.abs(a.score));
  return { passing, drawn: strongest.slice(0, Number(view.most) || strongest.length) };
}

// Return the edges with all heads of a layer as one node, in the place of its middle head. Scores of
// edges that become one are added.
export function folded(edges, model) {
  const middle = Math.floor(model.heads / 2);
  const fold = (name) => {
    const { kind, layer } = nodeOf(name);
    return kind === "head" ? `a${layer}.h${middle}` : name;
  };
  const sums = new Map();
  for (const edge of edges) {
    const [source, target] = [fold(edge.source), fold(edge.target)];
    const name = `${source}->${target}${edge.port ? `<${edge.port}>` : ""}`;
    const known = sums.get(name);
    if (known) known.score += edge.score;
    else sums.set(name, { ...edge, name, source, target });
  }
  return [...sums.values()];
}
