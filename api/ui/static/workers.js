// One row a worker, with all that is known of it.
import { h } from "./dom.js";
import { lamp, name, tags } from "./flow.js";
import { ago, count, none, percent, seconds, short } from "./format.js";

const cell = (label, cls, ...children) => h("td", { class: cls, "data-label": label }, ...children);

function row(w) {
  const kv = w.kv_capacity_tokens > 0 ? `${percent(w.kv_share)} of ${short(w.kv_capacity_tokens)}` : `${short(w.kv_used_tokens)} tokens`;
  const marks = tags(w).filter(Boolean);
  return h("tr", { key: w.id },
    h("th", { scope: "row" }, h("span", { class: "worker-name" }, lamp(w.state), h("b", {}, name(w)))),
    cell("state", w.state === "ready" ? "" : "warn", h("span", { title: w.reason || null }, w.state)),
    cell("role", "", w.role, w.able !== w.role && h("small", {}, ` of ${w.able}`)),
    cell("running", "n", count(w.running_requests), w.max_requests > 0 && h("small", {}, ` / ${count(w.max_requests)}`)),
    cell("to prefill", "n", w.waiting_prompt_tokens > 0 ? `${short(w.waiting_prompt_tokens)} tokens` : none),
    cell("KV cache", "n", kv),
    cell("TPOT", "n", seconds(w.tpot_seconds, none)),
    cell("lending", "", marks.length > 0 ? h("span", { class: "tags" }, marks) : none),
    cell("engine", "url", w.engine_url),
    cell("heard", "n", `${ago(w.last_heard_seconds)} ago`));
}

export function workers(state) {
  if (state.workers.length === 0) {
    return h("p", { class: "empty" }, "No worker has announced itself. Start one beside its engine: ", h("code", {}, "baton prefill --engine http://HOST:8100"), " and ", h("code", {}, "baton decode --engine http://HOST:8200"), ".");
  }
  const heads = [["worker", ""], ["state", ""], ["role", ""], ["running", "n"], ["to prefill", "n"], ["KV cache", "n"], ["TPOT", "n"], ["lending", ""], ["engine", ""], ["heard", "n"]];
  return h("table", { class: "cards" },
    h("thead", {}, h("tr", {}, heads.map(([t, cls]) => h("th", { scope: "col", class: cls }, t)))),
    h("tbody", {}, state.workers.map(row)));
}
