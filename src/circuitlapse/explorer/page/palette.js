// Colours: those of the figures, lighter on a dark page, so that both keep their contrast.

let data = null;

// Return a colour such as "#0072B2" mixed with white; black becomes nearly white.
function lighter(colour, part) {
  const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const share = parts.every((each) => each < 40) ? 0.9 : part;
  return `rgb(${parts.map((part) => Math.round(part + (255 - part) * share)).join(" ")})`;
}

const isDark = () =>
  (document.documentElement.dataset.theme ?? "") === "dark" ||
  (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);

// Set the custom properties --port-q, --role-NM, --line-0 ... from the colours of the run.
function paint(dark) {
  const set = (name, colour) => document.documentElement.style.setProperty(name, dark ? lighter(colour, 0.35) : colour);
  for (const [port, { colour }] of Object.entries(data.ports)) set(`--port-${port || "o"}`, colour);
  for (const [role, { colour }] of Object.entries(data.roles)) {
    document.documentElement.style.setProperty(`--role-${role}`, colour);
  }
  data.lines.forEach((colour, place) => set(`--line-${place}`, colour));
  document.documentElement.dataset.shade = dark ? "dark" : "light";
}

export function startPalette(document_) {
  data = document_;
  paint(isDark());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint(isDark()));
  addEventListener("beforeprint", () => paint(false));
  addEventListener("afterprint", () => paint(isDark()));
}

export function toggleTheme() {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  paint(isDark());
}

export const portColour = (port) => `var(--port-${port || "o"})`;
export const lineColour = (place) => `var(--line-${place % data.lines.length})`;
export const roleColour = (role) => `var(--role-${role})`;
