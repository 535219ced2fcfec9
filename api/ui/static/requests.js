// The requests in flight and those that ended last, each with where its time went.
import { h } from "./dom.js";
import { count, none, plural, seconds } from "./format.js";

const shown = () => (innerWidth < 860 ? 15 : 40); // rows at a time
const open = new Set(); // ids whose details are shown

const texts = (r) => [r.id, r.model, r.tenant, r.class, r.state, r.path, r.why, r.worker, r.prefill_worker, r.decode_worker, r.reason].join(" ").toLowerCase();
const ended = (r) => ["done", "failed", "cancelled"].includes(r.state);
const shows = {
  all: () => true, active: (r) => !ended(r), done: (r) => r.state === "done", failed: (r) => r.state === "failed" || r.state === "cancelled",
  split: (r) => r.path === "split", whole: (r) => r.path === "whole",
};

/** spans are the states that last. */
const spans = (r) => r.steps.filter((s) => !["done", "failed", "cancelled"].includes(s.state))
  .map((s, i) => ({ ...s, lasts: Math.max(0, (r.steps[i + 1]?.after_seconds ?? r.total_seconds) - s.after_seconds) }));

const words = { queued: "queued", prefilling: "prefill", handed: "handover", decoding: "decode" };

function waterfall(r, longest) {
  const parts = spans(r);
  return h("div", { class: "waterfall", role: "img", "aria-label": parts.map((s) => `${words[s.state]} ${seconds(s.lasts)}`).join(", ") },
    parts.map((s) => h("i", { class: s.state, title: `${words[s.state]} ${seconds(s.lasts)}`, style: { left: `${(s.after_seconds / longest) * 100}%`, width: `${(s.lasts / longest) * 100}%` } })));
}

function details(r, cancel) {
  const facts = [
    ["Request", r.id], ["Model", r.model], ["Tenant", r.tenant || none], ["Attempt", String(r.attempt)],
    ["Prompt", r.prompt_tokens > 0 ? `${plural(r.prompt_tokens, "token")}${r.cached_tokens > 0 ? `, ${count(r.cached_tokens)} cached` : ""}` : none],
    ["Answer", r.sent_tokens > 0 ? `${plural(r.sent_tokens, "token")}${ended(r) ? "" : " so far"}` : none], ["TTFT", seconds(r.ttft_seconds, none)], ["TPOT", seconds(r.tpot_seconds, none)],
    r.reason && ["Ended by", `${r.reason}${r.status ? `, HTTP ${r.status}` : ""}`],
  ];
  return h("tr", { key: `${r.id} details`, class: "details" }, h("td", { colspan: "7" },
    h("dl", { class: "facts-grid" }, facts.filter(Boolean).map(([k, v]) => h("div", { key: k }, h("dt", {}, k), h("dd", {}, v)))),
    h("ol", { class: "steps" }, spans(r).map((s) => h("li", {}, h("i", { class: s.state }), h("b", {}, words[s.state]), ` ${seconds(s.lasts)}`, s.worker && h("span", {}, ` at ${s.worker}`), s.attempt > 1 && h("small", {}, ` attempt ${s.attempt}`)))),
    !ended(r) && h("button", { class: "quiet bad", type: "button", onclick: () => cancel(r.id) }, "Cancel this request")));
}

function row(r, longest, act) {
  const isOpen = open.has(r.id);
  const cell = (label, cls, ...children) => h("td", { class: cls, "data-label": label }, ...children);
  return [
    h("tr", { key: r.id, class: isOpen ? "open" : "" },
      h("th", { scope: "row" }, h("button", { class: "disclose", type: "button", "aria-expanded": String(isOpen), "aria-label": `Details of request ${r.id}`, onclick: () => { if (!open.delete(r.id)) open.add(r.id); act.again(); } }, h("code", {}, r.id.slice(0, 8)))),
      cell("state", "", h("span", { class: `state ${r.state}` }, r.state)),
      cell("path", "", r.path || none, r.why && r.why !== r.path && h("small", {}, ` ${r.why}`)),
      cell("class", "", r.class),
      cell("TTFT", "n", seconds(r.ttft_seconds, none)),
      cell("total", "n", seconds(r.total_seconds)),
      cell("", "grow", waterfall(r, longest))),
    isOpen && details(r, act.cancel),
  ];
}

export function requests(state, filter, show, act) {
  const { active, finished, in_flight, active_left_off } = state.requests;
  const all = [...active, ...finished];
  const terms = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const found = all.filter((r) => shows[show](r) && (terms.length === 0 || terms.every((t) => texts(r).includes(t))));
  if (all.length === 0) {
    return h("p", { class: "empty" }, "No request has come to this frontend yet. Send one from the playground below, or point a client at this frontend’s OpenAI endpoint.");
  }
  if (found.length === 0) return h("p", { class: "empty" }, `None of ${plural(all.length, "request")} fits the filter.`);
  const rows = found.slice(0, shown());
  const longest = Math.max(0.001, ...rows.map((r) => r.total_seconds));
  const heads = [["request", ""], ["state", ""], ["path", ""], ["class", ""], ["TTFT", "n"], ["total", "n"], [`where the time went, up to ${seconds(longest)}`, ""]];
  return [
    h("table", { key: "table", class: "cards requests" },
      h("thead", {}, h("tr", {}, heads.map(([t, cls]) => h("th", { scope: "col", class: cls }, t)))),
      h("tbody", {}, rows.map((r) => row(r, longest, act)))),
    h("p", { key: "note", class: "facts" }, `${plural(rows.length, "row")} of ${count(found.length)}; ${count(in_flight)} in flight`,
      active_left_off > 0 ? `, of which the ${count(active.length)} oldest are listed` : "", `; the last ${count(finished.length)} that ended.`),
  ];
}
