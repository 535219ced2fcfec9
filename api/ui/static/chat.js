// A client of this frontend, in the page.
import { plural, seconds } from "./format.js";
import { events, problem } from "./stream.js";

const $ = (id) => document.getElementById(id);

export function chat(headers) {
  let running = null;
  $("stop").onclick = () => running?.abort();
  $("chat").onsubmit = async (e) => {
    e.preventDefault();
    running?.abort();
    const mine = running = new AbortController();
    const begun = performance.now();
    const since = () => (performance.now() - begun) / 1000;
    let first = 0;
    let tokens = 0;
    let path = "";
    const facts = (end) => {
      $("answer-facts").textContent = [end, first > 0 && `first token ${seconds(first)}`, tokens > 0 && plural(tokens, "token"), path].filter(Boolean).join(" · ");
    };
    $("answer").textContent = "";
    $("answer").classList.remove("error");
    $("stop").disabled = false;
    facts("Waiting for the first token…");
    try {
      const send = { ...headers(), "Content-Type": "application/json", "X-Baton-Timing": "1" };
      if ($("client-key").value) send["X-Baton-Api-Key"] = $("client-key").value;
      if ($("class").value) send["X-Baton-Class"] = $("class").value;
      const response = await fetch("/admin/v1/chat/completions", {
        method: "POST", headers: send, signal: mine.signal,
        body: JSON.stringify({
          model: $("model").value, max_tokens: Number($("most").value) || 200, stream: true, stream_options: { include_usage: true },
          messages: [{ role: "user", content: $("prompt").value }],
        }),
      });
      if (!response.ok) throw new Error(await problem(response));
      const [way, why] = [response.headers.get("X-Baton-Path"), response.headers.get("X-Baton-Why")];
      path = [way, why !== way && why].filter(Boolean).join(", ");
      for await (const event of events(response)) {
        if (event.data === "[DONE]") break;
        const chunk = JSON.parse(event.data);
        if (chunk.error) throw new Error(chunk.error.message);
        const text = chunk.choices?.[0]?.delta?.content;
        if (text) {
          first ||= since();
          $("answer").append(text);
          $("answer").scrollTop = $("answer").scrollHeight;
        }
        tokens = chunk.usage?.completion_tokens ?? tokens;
      }
      facts(`Done in ${seconds(since())}`);
    } catch (err) {
      if (running !== mine) return;
      if (mine.signal.aborted) return facts("Stopped");
      $("answer").classList.add("error");
      $("answer").append(`${$("answer").textContent ? "\n\n" : ""}${err.message}`);
      facts("Failed");
    } finally {
      if (running === mine) $("stop").disabled = true;
    }
  };
}
