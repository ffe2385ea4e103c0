// Start the page: unpack the data, then draw whatever the view says, again after every change.
import { drawCharts, moveCursors } from "./charts.js";
import { drawControls, startControls } from "./controls.js";
import { unpackData } from "./data.js";
import { byId } from "./dom.js";
import { drawExports, startExports } from "./export.js";
import { drawGraph, startGraph } from "./graph.js";
import { startPalette } from "./palette.js";
import { drawPanel } from "./panel.js";
import { drawSlider, moveThumb, startSlider } from "./slider.js";
import { onChange, startView, view } from "./view.js";

async function start() {
  const data = await unpackData(byId("data").textContent);
  byId("data").remove();
  document.title = `${data.title} · Circuitlapse`;
  byId("run").textContent = data.title;
  byId("software").textContent = data.software;
  startPalette(data);
  startControls(data);
  startSlider();
  startGraph(data);
  startExports(data);
  startView(data);
  document.body.classList.remove("loading");
  let drawn = "";
  const draw = () => {
    drawControls();
    // what stays the same over all steps is drawn once
    const whole = JSON.stringify([view.model, view.task, innerWidth]);
    if (whole !== drawn) {
      drawSlider(data.words);
      drawCharts(data);
      drawn = whole;
    }
    drawGraph(data.words);
    drawPanel(data);
    drawExports();
    moveThumb();
    moveCursors();
  };
  onChange(draw);
  draw();
  let waiting = null;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(draw, 120);
  });
  document.body.dataset.ready = "1";
}

start().catch((error) => {
  byId("undefined").hidden = false;
  byId("undefined").textContent = `This page cannot read its data: ${error.message}`;
  throw error;
});
