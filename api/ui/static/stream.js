// Server-sent events over fetch: EventSource can send no key.

/** events yields {name, data} of a response until it ends. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      let name = "message";
      const data = [];
      for (const line of block.split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) data.push(line.slice(6));
      }
      if (data.length > 0) yield { name, data: data.join("\n") };
    }
  }
}

/** problem is what a response that is not ok says. */
export async function problem(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

const silence = 5000; // ms without an event: the connection is lost
const pauses = [500, 1000, 2000, 5000]; // ms between tries

/** watch calls on.state with each state and on.status with what the connection does, for ever. */
export async function watch(headers, on) {
  for (let failed = 0; ; failed++) {
    const abort = new AbortController();
    let timer = setTimeout(() => abort.abort(), silence);
    try {
      const response = await fetch("/admin/v1/events", { headers: headers(), signal: abort.signal, cache: "no-store" });
      if (response.status === 401) {
        clearTimeout(timer);
        await on.locked(await problem(response));
        failed = -1;
        continue;
      }
      if (!response.ok) throw new Error(await problem(response));
      for await (const event of events(response)) {
        clearTimeout(timer);
        timer = setTimeout(() => abort.abort(), silence);
        failed = 0;
        on.status("live");
        on.state(JSON.parse(event.data));
      }
    } catch {
      // Whatever it was, it is tried again.
    }
    clearTimeout(timer);
    const pause = pauses[Math.min(failed, pauses.length - 1)];
    on.status("lost", pause);
    await new Promise((done) => setTimeout(done, pause));
  }
}
