// Small charts over training, under the slider and with its axis. One cursor runs through all.
import { bestOver, cell, circuitAt, hasCircuit, rowAt, rowsOf } from "./data.js";
import { byId, el, number, placesOf, roundTicks, short, svg } from "./dom.js";
import { lineColour } from "./palette.js";
import { change, currentModel, stepOf, view } from "./view.js";

const LEFT = 34;
const RIGHT = 10;
const TOP = 8;
const BOTTOM = 20;
const DASHES = ["none", "5 3", "1.5 2.5"];

// Return a chart over the steps of a model.
// `series`: {name, colour, dash, values, low, high}, one value per step or null.
// `levels`: {value, name} of horizontal lines. `missing`: a sentence per step, or null.
export function chart(model, { title, unit, series, levels = [], missing = [], from, to, width, height = 132 }) {
  const x = placesOf(model).map((place) => LEFT + place * (width - LEFT - RIGHT));
  const all = series.flatMap((one) => [...one.values, ...(one.low ?? []), ...(one.high ?? [])]);
  const seen = [...all, ...levels.map((one) => one.value)].filter((value) => value !== null);
  let [low, high] = [Math.min(from ?? Infinity, ...seen), Math.max(to ?? -Infinity, ...seen)];
  if (!(high > low)) [low, high] = seen.length ? [low - 0.5, low + 0.5] : [0, 1];
  const y = (value) => TOP + (1 - (value - low) / (high - low)) * (height - TOP - BOTTOM);
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said(title, model, series) });
  for (const tick of roundTicks(low, high)) {
    picture.append(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }));
    picture.append(svg("text", { class: "axis", x: LEFT - 4, y: y(tick) + 3.5, "text-anchor": "end" }, short3(tick)));
  }
  for (const { value } of levels) {
    picture.append(svg("line", { class: "level", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
  }
  axis(picture, model, { x, width, height });
  missing.forEach((reason, place) => {
    if (!reason) return;
    const mark = svg("text", { class: "missing", x: x[place], y: height - BOTTOM - 2 }, "×", svg("title", {}, reason));
    picture.append(mark);
  });
  for (const one of series) line(picture, one, x, y);
  picture.append(svg("line", { class: "cursor", x1: 0, x2: 0, y1: TOP, y2: height - BOTTOM }));
  picture.placesOfSteps = x;
  picture.addEventListener("click", (event) => jump(picture, model, event));
  const legend = [...series, ...levels.map((one) => ({ ...one, level: true }))].filter((one) => one.name);
  const keys = legend.map((one) => key(one));
  const head = el("figcaption", {}, el("strong", {}, title), unit ? ` (${unit})` : "");
  return el("figure", { class: "chart" }, head, picture, el("div", { class: "keys" }, keys));
}

const short3 = (value) => (Math.abs(value) >= 1000 ? short(value) : String(+value.toPrecision(3)));

function said(title, model, series) {
  const last = series.map((one) => `${one.name || title} ${number(one.values.at(-1))}`);
  return `${title} over training; at the last step ${last.join(", ")}`;
}

function axis(picture, model, { x, width, height }) {
  let free = -Infinity;
  model.tokens.forEach((tokens, place) => {
    const label = short(tokens);
    const half = 3.2 * label.length;
    const at = Math.min(width - half, x[place]);
    if (at - half <= free + 14) return;
    picture.append(svg("text", { class: "axis", x: at, y: height - 6, "text-anchor": "middle" }, label));
    free = at + half;
  });
}

function line(picture, { values, low, high, colour, dash = "none" }, x, y) {
  const known = values.map((value, place) => (value === null ? null : place));
  if (low) {
    for (const part of runs(low.map((value, place) => (value === null || high[place] === null ? null : place)))) {
      const there = part.map((place) => `${x[place]},${y(high[place])}`);
      const back = [...part].reverse().map((place) => `${x[place]},${y(low[place])}`);
      const one = part.length === 1;
      const bar = { class: "bar", x1: x[part[0]], x2: x[part[0]], y1: y(high[part[0]]), y2: y(low[part[0]]) };
      const shape = one ? svg("line", bar) : svg("polygon", { class: "band", points: [...there, ...back].join(" ") });
      shape.style[one ? "stroke" : "fill"] = colour;
      picture.append(shape);
    }
  }
  for (const part of runs(known)) {
    const points = part.map((place) => `${x[place]},${y(values[place])}`).join(" ");
    const drawn = svg("polyline", { class: "curve", points, "stroke-dasharray": dash });
    drawn.style.stroke = colour;
    picture.append(drawn);
    for (const place of part) {
      const dot = svg("circle", { class: "dot", cx: x[place], cy: y(values[place]), r: part.length > 25 ? 1.2 : 2 });
      dot.style.fill = colour;
      picture.append(dot);
    }
  }
}

// Return the runs of places without null between them, so that a line has gaps where nothing is known.
function runs(places) {
  const found = [[]];
  for (const place of places) place === null ? found.push([]) : found.at(-1).push(place);
  return found.filter((part) => part.length);
}

function key({ name, colour, dash = "none", level }) {
  const picture = svg("svg", { width: 18, height: 8, "aria-hidden": "true" });
  const sample = svg("line", { class: level ? "level" : "curve", x1: 0, x2: 18, y1: 4, y2: 4 });
  if (!level) {
    sample.style.stroke = colour;
    sample.setAttribute("stroke-dasharray", dash);
  }
  picture.append(sample);
  return el("span", { class: "key" }, picture, name);
}

function jump(picture, model, event) {
  const at = event.clientX - picture.getBoundingClientRect().left;
  const far = picture.placesOfSteps.map((x) => Math.abs(x - at));
  change({ step: String(model.steps[far.indexOf(Math.min(...far))]) });
}

// Draw the five charts of a model and task.
export function drawCharts(data) {
  const model = currentModel();
  const host = byId("charts");
  const columns = host.clientWidth > 900 ? 5 : host.clientWidth > 600 ? 3 : host.clientWidth > 330 ? 2 : 1;
  // the last chart has the longest legend
  const parts = columns === 5 ? 5.5 : columns;
  const width = Math.floor((host.clientWidth - 12 * (columns - 1)) / parts) - 2;
  const last = { 5: Math.floor(width * 1.5), 3: 2 * width + 12, 2: host.clientWidth - 2, 1: width }[columns];
  host.style.gridTemplateColumns = columns === 5 ? "repeat(4, minmax(0, 1fr)) minmax(0, 1.5fr)" : `repeat(${columns}, minmax(0, 1fr))`;
  const { behaviour, summary, overlap } = model.tasks[view.task];
  const over = (table, name) => model.steps.map((step) => cell(table, name, rowAt(table, step)));
  const missing = model.steps.map((step) => {
    const circuit = circuitAt(model, view.task, step);
    return hasCircuit(circuit) ? null : data.words[circuit.status] ?? circuit.status;
  });
  const measured = { colour: lineColour(0), low: over(behaviour, "ci_low"), high: over(behaviour, "ci_high") };
  const changes = rowsOf(overlap, (row) => row.comparison === "consecutive" && row.level === "edge");
  const change_ = (name) => model.steps.map((step) => changes.find((row) => row.step_next === step)?.[name] ?? null);
  const scores = Object.keys(data.scores).filter((name) => model.scores[name] && data.scores[name].range[1] !== null);
  const part = (name) => bestOver(model, name).map((v) => (v === null ? null : v / data.scores[name].range[1]));
  host.replaceChildren(
    chart(model, {
      title: "Task metric",
      unit: cell(behaviour, "unit", 0),
      width,
      series: [
        { name: "clean", values: over(behaviour, "value"), ...measured },
        { name: "corrupted", colour: lineColour(1), dash: "5 3", values: over(behaviour, "value_corrupted") },
      ],
      levels: [{ value: 0 }],
    }),
    chart(model, {
      title: "Circuit size",
      unit: "edges",
      width,
      from: 0,
      missing,
      series: [
        {
          colour: lineColour(0),
          values: over(summary, "n_edges"),
          low: over(summary, "n_edges_low"),
          high: over(summary, "n_edges_high"),
        },
      ],
    }),
    chart(model, {
      title: "Faithfulness",
      unit: "ratio",
      width,
      from: 0,
      to: 1,
      missing,
      series: [
        {
          name: "held-out",
          colour: lineColour(0),
          values: over(summary, "f_raw_held_out"),
          low: over(summary, "f_raw_held_out_low"),
          high: over(summary, "f_raw_held_out_high"),
        },
        { name: "same prompts", colour: lineColour(4), dash: "5 3", values: over(summary, "f_raw") },
      ],
      levels: [{ value: data.threshold, name: "threshold" }],
    }),
    chart(model, {
      title: "Overlap, step before",
      unit: "Jaccard",
      width,
      from: 0,
      to: 1,
      missing: change_("jaccard_matched").map((value, place) => (value === null ? missing[place] ?? "not compared" : null)),
      series: [
        { name: "same size", colour: lineColour(0), values: change_("jaccard_matched") },
        { name: "noise floor", colour: lineColour(1), dash: "5 3", values: change_("floor_low") },
        { name: "chance", colour: lineColour(2), dash: "1.5 2.5", values: change_("jaccard_chance") },
      ],
    }),
    chart(model, {
      title: "Best head per score",
      unit: "share of its range",
      width: last,
      from: 0,
      to: 1,
      series: scores.map((name, place) => ({
        name: data.scores[name].title,
        colour: lineColour(place),
        dash: DASHES[Math.floor(place / 7)],
        values: part(name),
      })),
    }),
  );
  host.lastChild.style.gridColumn = { 3: "span 2", 2: "1 / -1" }[columns] ?? "";
  moveCursors();
}

// Put the cursor of every chart on the page at the step that is shown.
export function moveCursors() {
  const place = currentModel().steps.indexOf(stepOf());
  for (const cursor of document.querySelectorAll(".cursor")) {
    const x = cursor.parentNode.placesOfSteps[place];
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
  }
}
