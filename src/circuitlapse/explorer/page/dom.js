// Elements, numbers as text, and the shared scale of training. Text is always set as text.

const SVG = "http://www.w3.org/2000/svg";

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

// Return an HTML element; children are elements or text.
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

// Return an SVG element.
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

export const byId = (id) => document.getElementById(id);

// Return a number with three significant digits, and a dash for one that is undefined.
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1000 || size < 0.001 ? value.toExponential(1) : String(+value.toPrecision(3));
}

// Return for instance "0.82 [0.75, 0.9]".
export function interval(value, low, high) {
  const text = number(value);
  return low === null || high === null || value === null ? text : `${text} [${number(low)}, ${number(high)}]`;
}

// Return for instance "20k" or "300B".
export function short(count) {
  for (const [size, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (count >= size) return `${+(count / size).toPrecision(3)}${letter}`;
  }
  return String(count);
}

// Return for instance "step 300 (254k tokens)".
export function stepWords(model, step) {
  return `step ${number(step)} (${short(model.tokens[model.steps.indexOf(step)] ?? 0)} tokens)`;
}

// Return the place of every checkpoint on a logarithmic axis of tokens, from 0 to 1. Step 0 has no
// logarithm; it stands at the left, a little apart.
export function placesOf(model) {
  const seen = model.tokens.filter((tokens) => tokens > 0).map(Math.log);
  const [low, high] = [Math.min(...seen), Math.max(...seen)];
  const start = seen.length < model.tokens.length && seen.length ? 0.08 : 0;
  const spread = (tokens) => (high > low ? (Math.log(tokens) - low) / (high - low) : 0.5);
  return model.tokens.map((tokens) => (tokens > 0 ? start + (1 - start) * spread(tokens) : 0));
}

// Return two to five round numbers between two others.
export function roundTicks(low, high) {
  const step = 10 ** Math.floor(Math.log10((high - low) / 4 || 1));
  const size = [1, 2, 5, 10].map((times) => times * step).find((each) => (high - low) / each <= 4.5);
  const ticks = [];
  for (let at = Math.ceil(low / size); at * size <= high + size * 1e-9; at++) ticks.push(+(at * size).toPrecision(6));
  return ticks;
}

// Let the browser save a file.
export function save(name, parts, type) {
  const link = el("a", { download: name, href: URL.createObjectURL(new Blob(parts, { type })) });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
