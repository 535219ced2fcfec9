// The way of requests through the deployment, and what waits in its queues.
import { h } from "./dom.js";
import { ago, bytes, count, percent, plural, rate, seconds, short } from "./format.js";

const sum = (list, of) => list.reduce((n, x) => n + of(x), 0);
const dense = 16; // workers of a role, from which on they are shown small

/** lamp is a process's health, in form and colour; its word stands beside it unless all is well. */
export const lamp = (state) => h("span", { class: `lamp ${state}`, "aria-hidden": "true" });

export const name = (p) => [p.name, p.serial ? h("span", { class: "serial" }, `-${p.serial}`) : null];

function meter(label, share, text) {
  const per = Math.min(100, Math.round(share * 100));
  return h("div", { class: "meter", role: "meter", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(per), "aria-valuetext": text },
    h("i", { class: share > 0.9 ? "full" : "", style: { width: `${per}%` } }));
}

/** tags say what is special about a worker. */
export function tags(w) {
  const whole = w.whole_requests;
  return [
    whole.lend && h("span", { class: "tag", title: "Long prompts that run whole on this decode worker, which has time for them" }, `${whole.lend} lent`),
    whole.keep && h("span", { class: "tag", title: "Requests that run whole on this prefill worker: no decode worker could take them in time" }, `${whole.keep} kept`),
    w.held && h("span", { class: "tag warn", title: "Gets no long prompt: its answers are slower than promised" }, "held"),
    w.draining && h("span", { class: "tag warn" }, "draining"),
  ];
}

function worker(w) {
  const kv = w.kv_capacity_tokens > 0 ? percent(w.kv_share) : short(w.kv_used_tokens);
  return h("li", { key: w.id, class: `worker ${w.state}` },
    h("div", { class: "worker-name", title: w.id }, lamp(w.state), h("b", {}, name(w)), w.state === "ready" ? h("span", { class: "hidden" }, " ready") : h("em", {}, w.state)),
    h("div", { class: "worker-facts" },
      h("span", {}, `${count(w.running_requests)} running`),
      w.waiting_requests > 0 && h("span", { title: `${plural(w.waiting_prompt_tokens, "prompt token")} to compute` }, `${count(w.waiting_requests)} before first token`)),
    h("div", { class: "kv" }, h("span", {}, "KV"), meter(`KV cache of ${w.id}`, w.kv_share, kv), h("span", {}, kv)),
    h("div", { class: "tags" }, tags(w)),
    w.reason && h("p", { class: "why" }, w.reason));
}

const ghost = (d) => h("li", { key: d.id, class: `worker gone ${d.why}` },
  h("div", { class: "worker-name", title: d.id }, lamp(d.why), h("b", {}, d.id)),
  h("p", { class: "why" }, h("b", { class: d.why === "silent" ? "bad" : "" }, d.why === "silent" ? "died" : "left"), ` ${ago(d.ago_seconds)} ago`));

/** recent are those that went a short while ago: the last minute, or two for a death. */
const recent = (d) => d.ago_seconds < (d.why === "silent" ? 120 : 60) && d.why !== "replaced";

function column(state, role, title, empty) {
  const here = state.workers.filter((w) => w.role === role);
  const gone = state.departed.filter((d) => d.role === role && recent(d));
  if (empty === null && here.length + gone.length === 0) return null;
  const ready = here.filter((w) => w.ready && !w.draining).length;
  return h("div", { key: role, class: `stop ${role}` },
    h("h3", {}, title, " ", h("small", {}, here.length === 0 ? "none" : `${ready} of ${here.length} ready`)),
    here.length + gone.length === 0
      ? h("p", { class: "empty" }, empty)
      : h("ul", { class: here.length >= dense ? "workers dense" : "workers" }, here.map(worker), gone.map(ghost)));
}

const link = (key, label, per) => h("div", { key, class: per > 0 ? "link moving" : "link", role: "img", "aria-label": `${label}: ${rate(per)}` }, h("span", {}, rate(per)));

function queue(key, title, q) {
  const waits = sum(q.classes, (c) => c.requests);
  const oldest = Math.max(0, ...q.classes.map((c) => c.oldest_seconds));
  return h("div", { key, class: `stop queue ${key}` },
    h("h3", {}, title),
    h("p", { class: waits > 0 ? "depth" : "depth zero" }, h("b", {}, count(waits)), " waiting"),
    h("p", { class: "facts" }, waits > 0 ? `oldest ${seconds(oldest)}` : "nothing waits"));
}

/** flow is the topology. */
export function flow(state) {
  const { prefill, decode } = state.queues;
  const flows = (q, of) => sum(q.classes, (c) => c[of]);
  const both = column(state, "both", "Both stages", null);
  const pure = state.workers.some((w) => w.role !== "both") || !both;
  return [
    h("div", { key: "lane", class: pure ? "lane" : "lane short" },
      h("div", { key: "front", class: "stop front" }, h("h3", {}, state.frontends.length > 1 ? "Frontends" : "Frontend"),
        h("ul", { class: "workers" }, state.frontends.map((f) => h("li", { key: f.id, class: `worker ${f.state}` },
          h("div", { class: "worker-name", title: f.id }, lamp(f.state), h("b", {}, name(f)), f.state === "ready" ? h("span", { class: "hidden" }, " ready") : h("em", {}, f.state)),
          f.id === state.frontend.id ? h("div", { class: "worker-facts" }, h("span", {}, `${count(state.requests.in_flight)} in flight`)) : null,
          f.reason && h("p", { class: "why" }, f.reason))))),
      link("l1", "Into the prefill queue", flows(prefill, "in_per_second")),
      queue("prefill-queue", "Prefill queue", prefill),
      link("l2", "From the prefill queue to workers", flows(prefill, "out_per_second")),
      pure && column(state, "prefill", "Prefill", "Start one with baton prefill --engine URL."),
      pure && link("l3", "Into the decode queue", flows(decode, "in_per_second")),
      pure && queue("decode-queue", "Decode queue", decode),
      pure && link("l4", "From the decode queue to decode workers", flows(decode, "out_per_second")),
      pure && column(state, "decode", "Decode", "Start one with baton decode --engine URL."),
      !pure && both),
    pure && both && h("div", { key: "both", class: "under" }, both),
  ];
}

const reasons = {
  kv_full: "room in a KV cache", link: "a link that moves KV caches", no_worker: "a worker", slo_hold: "answers to be in time again", window: "a prefill engine to be free",
};

function table(title, key, q, note) {
  const waiting = Object.entries(q.waiting_for).filter(([, n]) => n > 0);
  return h("div", { key, class: "card" },
    h("h3", {}, title, " ", h("small", {}, note)),
    h("div", { class: "scroll" }, h("table", { class: "plain" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "class"), ["waiting", "oldest", "in", "out"].map((t) => h("th", { scope: "col", class: "n" }, t)))),
      h("tbody", {}, q.classes.map((c) => h("tr", { key: c.class, class: c.requests > 0 || c.in_per_second > 0 ? "" : "still" },
        h("th", { scope: "row" }, c.class), h("td", { class: "n" }, count(c.requests)), h("td", { class: "n" }, seconds(c.oldest_seconds, "–")),
        h("td", { class: "n" }, rate(c.in_per_second)), h("td", { class: "n" }, rate(c.out_per_second))))))),
    h("p", { class: "facts" }, q.error || `${plural(q.jobs, "job")} stored of ${short(q.max_jobs)}, ${bytes(q.bytes)} of ${bytes(q.max_bytes)}.`),
    waiting.length > 0 && h("p", { class: "facts" }, "The first wait for ", waiting.map(([why, n]) => `${reasons[why] ?? why} (${count(n)})`).join(", "), "."));
}

export const queues = (state) => [
  table("Prefill queue", "prefill", state.queues.prefill, "every request passes it"),
  table("Decode queue", "decode", state.queues.decode, "KV handles that wait for their reader"),
];
