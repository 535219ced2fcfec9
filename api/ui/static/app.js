import { Chart } from "./chart.js";
import { chat } from "./chat.js";
import { h, render } from "./dom.js";
import { flow, queues } from "./flow.js";
import { ago, count, none, percent, rate, seconds, short, tick } from "./format.js";
import { requests } from "./requests.js";
import { problem, watch } from "./stream.js";
import { workers } from "./workers.js";

const $ = (id) => document.getElementById(id);
let state = null;
let key = ""; // of the operator, in this page's memory alone
const headers = () => (key ? { Authorization: `Bearer ${key}` } : {});
const announce = (text) => { $("news").textContent = text; };

// Appearance: as the system says, until somebody chooses.
const themes = ["system", "light", "dark"];
function theme(chosen) {
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  $("theme").textContent = `Theme: ${chosen}`;
  localStorage.setItem("baton-theme", chosen);
}
let appearance = themes.includes(localStorage.getItem("baton-theme")) ? localStorage.getItem("baton-theme") : "system";
theme(appearance);
$("theme").onclick = () => theme(appearance = themes[(themes.indexOf(appearance) + 1) % themes.length]);

const charts = [
  { title: "Time to first token", format: (x) => seconds(x), limit: (s) => s.policy.slo_ttft_seconds, note: (s) => (s.policy.slo_ttft_seconds ? "Requests that ended, every two seconds." : "No SLO is set for it (schedule.slo.ttft)."),
    lines: [{ name: "p50", cls: "a", of: (s) => s.ttft_p50_seconds }, { name: "p99", cls: "b", of: (s) => s.ttft_p99_seconds }] },
  { title: "Time per output token", format: (x) => seconds(x), limit: (s) => s.policy.slo_tpot_seconds, note: () => "Streamed requests that ended, every two seconds.",
    lines: [{ name: "p50", cls: "a", of: (s) => s.tpot_p50_seconds }, { name: "p99", cls: "b", of: (s) => s.tpot_p99_seconds }] },
  { title: "Requests", format: rate, note: (s) => `Goodput: done within the SLO. Failed in the last minute: ${count(s.last_minute.failed)}.`,
    lines: [{ name: "arrived", cls: "b", of: (s) => s.arrived_per_second }, { name: "done", cls: "a", of: (s) => s.done_per_second }, { name: "goodput", cls: "good", of: (s) => s.good_per_second }] },
  { title: "Output tokens", format: rate, note: () => "Counted when an answer ends.",
    lines: [{ name: "tokens", cls: "a", of: (s) => s.completion_tokens_per_second }] },
].map((c) => new Chart($("charts"), c));

function tiles({ requests: r, last_minute: m, policy: p }) {
  const over = (value, slo) => (slo > 0 && value > slo ? "over" : "");
  const tile = (label, value, note, cls = "") => h("div", { key: label }, h("dt", {}, label), h("dd", { class: cls }, value), h("dd", { class: "note" }, note));
  return [
    tile("In flight", count(r.in_flight), r.max_in_flight ? `of ${short(r.max_in_flight)} admitted` : "no bound"),
    tile("Requests done", rate(m.requests_per_second), "mean of the last minute"),
    tile("TTFT, median", seconds(m.ttft_p50_seconds), `p99 ${seconds(m.ttft_p99_seconds)}`, over(m.ttft_p50_seconds, p.slo_ttft_seconds)),
    tile("TPOT, median", seconds(m.tpot_p50_seconds), `p99 ${seconds(m.tpot_p99_seconds)}, SLO ${tick(seconds(p.slo_tpot_seconds, none))}`, over(m.tpot_p50_seconds, p.slo_tpot_seconds)),
    tile("Goodput", percent(m.goodput), "of requests within the SLO", m.goodput !== null && m.goodput < 0.9 ? "over" : ""),
    tile("Output", `${short(Math.round(m.completion_tokens_per_second))} tok/s`, `input ${short(Math.round(m.prompt_tokens_per_second))} tok/s`),
  ];
}

const dismissed = new Set();
function banners() {
  const died = state.departed.filter((d) => d.why === "silent" && d.ago_seconds < 120 && !dismissed.has(d.id));
  return [
    state.missing.length > 0 && h("p", { key: "missing", class: "banner", "data-kind": "bad" }, h("b", {}, "Requests cannot be served: "), `${state.missing.join("; ")}.`),
    died.map((d) => h("p", { key: d.id, class: "banner", "data-kind": "bad" }, h("span", {}, h("b", {}, `${d.role === "frontend" ? "Frontend" : "Worker"} ${d.id} died`), ` ${ago(d.ago_seconds)} ago. What it had is tried again by others.`),
      h("button", { class: "quiet", type: "button", "aria-label": `Dismiss the news of ${d.id}`, onclick: () => { dismissed.add(d.id); draw(); } }, "Dismiss"))),
  ];
}

const told = new Set();
function news(s) {
  for (const d of s.departed) {
    if (told.has(d.id)) continue;
    told.add(d.id);
    if (state !== null && d.why === "silent") announce(`Worker ${d.id} died.`);
  }
}

function list() {
  if (state) render($("requests"), requests(state, $("filter").value, $("show").value, { again: list, cancel }));
}
$("filter").oninput = list;
$("show").onchange = list;

async function cancel(id) {
  const response = await fetch(`/admin/v1/requests/${encodeURIComponent(id)}/cancel`, { method: "POST", headers: headers() });
  announce(response.ok ? `Request ${id} is cancelled.` : await problem(response));
}

function draw() {
  render($("banners"), banners());
  render($("tiles"), tiles(state));
  render($("flow"), flow(state));
  render($("queues"), queues(state));
  render($("workers"), workers(state));
  render($("model"), state.models.map((m) => h("option", { key: m, value: m }, m)));
  $("send").disabled = state.models.length === 0;
  list();
  for (const c of charts) c.show(state);
  $("who").textContent = `${state.frontend.id} · ${state.policy.mode} · up ${ago(state.frontend.uptime_seconds)}`;
}

let status = "";
function connection(is, pause) {
  document.body.dataset.connection = is;
  $("status").dataset.state = is;
  const age = state ? `, figures of ${new Date(state.now).toLocaleTimeString()}` : "";
  const text = is === "live" ? "Live" : `Connection lost${age}. Trying again every ${seconds(pause / 1000)}.`;
  if (text !== status) $("status-text").textContent = status = text;
}

// locked asks for the operator's key and returns when there is one to try.
function locked(why) {
  connection("locked", 0);
  $("status-text").textContent = status = "Locked";
  $("unlock").hidden = false;
  $("unlock-error").textContent = key ? why : "";
  $("key").focus();
  return new Promise((done) => {
    $("unlock").onsubmit = (e) => {
      e.preventDefault();
      key = $("key").value.trim();
      done();
    };
  });
}

chat(headers);
watch(headers, {
  locked,
  status: connection,
  state(s) {
    news(s);
    state = s;
    $("unlock").hidden = true;
    draw();
  },
});
