// The slider of training: one tick per checkpoint, on logarithmic tokens.
import { circuitAt, hasCircuit } from "./data.js";
import { byId, el, placesOf, short, stepWords, svg } from "./dom.js";
import { change, currentModel, moveStep, stepOf, view, writeAddress } from "./view.js";

const MARGIN = 14;
const PLAY_MS = 900;
let playing = null;

// Draw the ticks of a model and task. A filled tick has a circuit, a hollow one has none.
export function drawSlider(words) {
  const host = byId("slider");
  const model = currentModel();
  const width = Math.max(200, host.clientWidth);
  const x = placesOf(model).map((place) => MARGIN + place * (width - 2 * MARGIN));
  const picture = svg("svg", { width, height: 46, viewBox: `0 0 ${width} 46`, "aria-hidden": "true" });
  picture.append(svg("line", { class: "track", x1: MARGIN, x2: width - MARGIN, y1: 16, y2: 16 }));
  let free = -Infinity;
  model.steps.forEach((step, place) => {
    const circuit = circuitAt(model, view.task, step);
    const there = hasCircuit(circuit);
    const title = svg("title", {}, `${stepWords(model, step)}: ${words[circuit.status] ?? circuit.status}`);
    const kind = `tick ${there ? "there" : "absent"} ${circuit.status}`;
    picture.append(svg("circle", { class: kind, cx: x[place], cy: 16, r: there ? 4.5 : 3.5 }, title));
    const label = step === 0 ? "0" : short(step);
    const half = 3.5 * label.length;
    if (x[place] - half > free) {
      const at = Math.min(width - half, Math.max(half, x[place]));
      picture.append(svg("text", { class: "axis", x: at, y: 40, "text-anchor": "middle" }, label));
      free = at + half + 6;
    }
  });
  picture.append(svg("circle", { id: "thumb", class: "thumb", cx: 0, cy: 16, r: 9 }));
  host.replaceChildren(picture);
  host.placesOfSteps = x;
  moveThumb();
}

// Put the thumb at the step that is shown.
export function moveThumb() {
  const host = byId("slider");
  const model = currentModel();
  const place = model.steps.indexOf(stepOf());
  byId("thumb")?.setAttribute("cx", host.placesOfSteps[place]);
  host.setAttribute("aria-valuemin", 0);
  host.setAttribute("aria-valuemax", model.steps.length - 1);
  host.setAttribute("aria-valuenow", place);
  host.setAttribute("aria-valuetext", stepWords(model, stepOf()));
  byId("step-words").textContent = stepWords(model, stepOf());
}

// Return the step whose tick is nearest to a place in pixels.
function nearest(pixels) {
  const x = byId("slider").placesOfSteps;
  const far = x.map((each) => Math.abs(each - pixels));
  return currentModel().steps[far.indexOf(Math.min(...far))];
}

// Let pointer and keys move the slider.
export function startSlider() {
  const host = byId("slider");
  const follow = (event) => {
    const step = String(nearest(event.clientX - host.getBoundingClientRect().left));
    if (step !== view.step) change({ step }, false);
  };
  host.addEventListener("pointerdown", (event) => {
    stop();
    host.setPointerCapture(event.pointerId);
    follow(event);
  });
  host.addEventListener("pointermove", (event) => host.hasPointerCapture(event.pointerId) && follow(event));
  host.addEventListener("pointerup", writeAddress);
  const ends = { Home: -Infinity, End: Infinity };
  host.addEventListener("keydown", (event) => {
    if (!(event.key in ends)) return;
    event.preventDefault();
    moveStep(ends[event.key]);
  });
  byId("play").addEventListener("click", togglePlay);
}

// Play all steps from here, or from the first if this is the last; or stop.
export function togglePlay() {
  if (playing) return stop();
  const { steps } = currentModel();
  if (stepOf() === steps.at(-1)) change({ step: String(steps[0]) }, false);
  playing = setInterval(() => {
    moveStep(1, false);
    if (stepOf() === currentModel().steps.at(-1)) stop();
  }, PLAY_MS);
  label();
}

function stop() {
  if (!playing) return;
  clearInterval(playing);
  playing = null;
  writeAddress();
  label();
}

function label() {
  const sign = playing ? "❚❚" : "▶";
  byId("play").replaceChildren(el("span", { "aria-hidden": "true" }, sign), playing ? " Pause" : " Play");
  // while a film plays, a screen reader would only be interrupted
  byId("step-words").setAttribute("aria-live", playing ? "off" : "polite");
}
