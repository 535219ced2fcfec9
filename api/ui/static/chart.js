// Lines over the last minutes, in SVG of the size that there is.
import { h, render } from "./dom.js";
import { none, tick } from "./format.js";

const height = 150;
const pad = { left: 52, right: 10, top: 10, bottom: 22 };

/** nice is the least of 1, 2, 5 times a power of ten that is not below x. */
function nice(x) {
  const power = 10 ** Math.floor(Math.log10(x));
  return [1, 2, 5, 10].find((n) => n * power >= x * 0.999) * power;
}

const last = (values) => values.findLast((v) => v !== null);

export class Chart {
  /** lines are {name, cls, of(series)}; limit(state) is a line to stay below, 0: none. */
  constructor(parent, { title, format, lines, limit, note }) {
    Object.assign(this, { title, format, lines, limit, note, hover: null });
    this.root = document.createElement("div");
    this.root.className = "card chart";
    parent.append(this.root);
    new ResizeObserver(() => this.draw()).observe(this.root);
    this.root.addEventListener("pointermove", (e) => this.point(e));
    this.root.addEventListener("pointerleave", () => { this.hover = null; this.draw(); });
  }

  show(state) {
    this.state = state;
    this.draw();
  }

  point(event) {
    const svg = this.root.querySelector("svg");
    if (!svg || !this.state) return;
    const box = svg.getBoundingClientRect();
    const at = (event.clientX - box.left - pad.left) / (box.width - pad.left - pad.right);
    const n = this.state.series.done_per_second.length;
    this.hover = at < 0 || at > 1 ? null : Math.round(at * (n - 1));
    this.draw();
  }

  draw() {
    if (!this.state) return;
    const { series } = this.state;
    const lines = this.lines.map((l) => ({ ...l, values: l.of(series) }));
    const limit = this.limit?.(this.state) || 0;
    const n = lines[0].values.length;
    const width = Math.max(240, this.root.clientWidth - 32);
    const most = Math.max(limit * 1.15, ...lines.flatMap((l) => l.values.map((v) => v ?? 0)));
    const top = nice(most || 1);
    const x = (i) => pad.left + (i / (n - 1)) * (width - pad.left - pad.right);
    const y = (v) => height - pad.bottom - (v / top) * (height - pad.top - pad.bottom);
    const minutes = (series.step_seconds * n) / 60;
    const at = this.hover;
    const value = (l) => { const v = at === null ? last(l.values) : l.values[at]; return v === null || v === undefined ? none : this.format(v); };
    const quiet = lines.every((l) => l.values.every((v) => !v));
    const words = lines.map((l) => `${l.name} ${value(l)}`).join(", ");
    render(this.root, [
      h("div", { class: "chart-head" },
        h("h3", {}, this.title),
        h("p", { class: "keys" }, lines.map((l) => h("span", { key: l.name }, h("i", { class: l.cls }), l.name, " ", h("b", {}, value(l)))),
          limit > 0 && h("span", { key: "limit" }, h("i", { class: "limit" }), "SLO ", h("b", {}, tick(this.format(limit)))))),
      h("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${this.title}, ${quiet ? "nothing yet" : `now ${words}`}${limit > 0 ? `, SLO ${this.format(limit)}` : ""}` },
        [0, 0.5, 1].map((part) => [
          h("line", { class: "grid", x1: pad.left, x2: width - pad.right, y1: y(part * top), y2: y(part * top) }),
          h("text", { class: "tick", x: pad.left - 8, y: y(part * top) + 4, "text-anchor": "end" }, quiet && part > 0 ? "" : tick(this.format(part * top))),
        ]),
        [0, 0.2, 0.4, 0.6, 0.8, 1].map((part) => h("text", { class: "tick", x: pad.left + part * (width - pad.left - pad.right), y: height - 4, "text-anchor": part === 1 ? "end" : part === 0 ? "start" : "middle" },
          part === 1 ? "now" : `−${Math.round(minutes * (1 - part))} min`)),
        limit > 0 && h("line", { class: "limit", x1: pad.left, x2: width - pad.right, y1: y(limit), y2: y(limit) }),
        lines.map((l) => [h("path", { class: `line ${l.cls}`, d: this.path(l.values, x, y) }), h("path", { class: `dots ${l.cls}`, d: this.dots(l.values, x, y) })]),
        at !== null && h("line", { class: "cursor", x1: x(at), x2: x(at), y1: pad.top, y2: height - pad.bottom }),
        quiet && h("text", { class: "tick", x: (pad.left + width) / 2, y: y(top * 0.75) + 4, "text-anchor": "middle" }, "No request ended in the last five minutes")),
      h("p", { class: "facts" }, at === null ? this.note(this.state) : `${Math.round((n - 1 - at) * series.step_seconds)}\u00a0s ago`),
    ]);
  }

  /** path breaks off where there is no value. */
  path(values, x, y) {
    return values.map((v, i) => (v === null ? "" : `${(values[i - 1] ?? null) === null ? "M" : "L"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`)).join("");
  }

  /** dots are the values that stand alone. */
  dots(values, x, y) {
    return values.map((v, i) => (v === null || (values[i - 1] ?? values[i + 1] ?? null) !== null ? "" : `M${x(i).toFixed(1)} ${y(v).toFixed(1)}h0.01`)).join("");
  }
}
