// Two circuits beside each other: which edges they share, and what the tables say of the pair.
import { circuitAt, hasCircuit, rowsOf } from "./data.js";
import { number } from "./dom.js";
import { comparable, currentModel, modelNamed, stepOf, view } from "./view.js";

// Return the circuit that is shown.
export const shown = () => circuitAt(currentModel(), view.task, stepOf());

// Return the circuit it is compared with, or null.
export function compared() {
  const model = currentModel();
  if (view.compare === "step") return circuitAt(model, view.task, Number(view.other));
  if (view.compare === "task") return circuitAt(model, view.other, stepOf());
  if (view.compare === "model") return circuitAt(modelNamed(view.other), view.task, stepOf());
  return null;
}

// Return the kinds of comparison that this run allows.
export function kinds() {
  const model = currentModel();
  return {
    step: model.steps.length > 1,
    task: Object.keys(model.tasks).length > 1,
    model: comparable(model).length > 0,
  };
}

// Return what belongs to a circuit and not to the other, in words.
export function namesOf(one, other) {
  if (view.compare === "step") {
    const later = one.step > other.step;
    const words = (circuit, late) => `${late ? "gained by" : "lost after"} step ${number(circuit.step)}`;
    return [words(one, later), words(other, !later)];
  }
  const of = (circuit) => (view.compare === "task" ? circuit.task : circuit.model.label);
  return [`only in ${of(one)}`, `only in ${of(other)}`];
}

// Return the edges of two circuits: `both`, `one` (only the first has them) and `other`. Without two
// circuits nothing is compared, and this is null.
export function difference(one, other) {
  if (!other || !hasCircuit(one) || !hasCircuit(other)) return null;
  const [here, there] = [one, other].map((circuit) => new Map(circuit.edges.map((edge) => [edge.name, edge])));
  const both = one.edges.filter((edge) => there.has(edge.name));
  const parts = {
    both,
    one: one.edges.filter((edge) => !there.has(edge.name)),
    other: other.edges.filter((edge) => !here.has(edge.name)),
  };
  const union = both.length + parts.one.length + parts.other.length;
  // an edge that the file leaves out may be in both circuits
  const exact = one.hidden + other.hidden === 0;
  return { ...parts, exact, jaccard: union ? both.length / union : null };
}

// Return the row of the table of overlaps about two steps, if it has one.
export function overlapRow(one, other) {
  if (view.compare !== "step") return null;
  const [low, high] = [one.step, other.step].sort((a, b) => a - b);
  const table = one.model.tasks[one.task].overlap;
  const about = (row) => row.level === "edge" && row.comparison !== "halves";
  const pair = (row) => [row.step, row.step_next].sort((a, b) => a - b).join() === `${low},${high}`;
  return rowsOf(table, (row) => about(row) && pair(row))[0] ?? null;
}

// Return how faithful the circuit of one place is at another of the same model, if it was measured.
export function transferRow(circuit, place) {
  if (circuit.model !== place.model || !place.model.tasks[place.task]) return null;
  const table = place.model.tasks[place.task].transfer;
  const same = (row) =>
    row.circuit_task === circuit.task && row.circuit_step === circuit.step && row.step === place.step;
  return rowsOf(table, same)[0] ?? null;
}
