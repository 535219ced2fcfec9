// What the suites share: where the deployments are, and what is asked and read again and again.
'use strict'
const assert = require('node:assert/strict')
const { setTimeout: pause } = require('node:timers/promises')
const OpenAI = require('openai')

const model = process.env.CLIENTS_MODEL
const timeout = 30_000 // no request may take so long

/** The base URL of a deployment that the runner has started. */
function url(name) {
  const value = process.env[`CLIENTS_${name.toUpperCase()}`]
  assert.ok(value, `no deployment is named ${name}`)
  return value
}

/** A client of a deployment. Each HTTP answer that it gets goes to onAnswer, with what was asked. */
function client(name, { onAnswer = () => {}, ...options } = {}) {
  return new OpenAI({
    baseURL: `${url(name)}/v1`,
    apiKey: 'none',
    maxRetries: 0,
    timeout,
    fetch: async (address, init) => {
      const answer = await fetch(address, init)
      onAnswer(answer, init)
      return answer
    },
    ...options,
  })
}

/** A chat whose answer has 20 tokens, unless more says otherwise. */
function chat(prompt, more = {}) {
  return { model, messages: [{ role: 'user', content: prompt }], max_completion_tokens: 20, ignore_eos: true, ...more }
}

/** All events of a stream that is begun with stream: true. */
async function events(create, body, options) {
  const all = []
  for await (const event of await create({ ...body, stream: true }, options)) all.push(event)
  return all
}

const text = (answer, index = 0) => answer.choices[index].message.content

/** The text of one choice of a streamed chat. */
function streamedText(chunks, index = 0) {
  const choices = chunks.flatMap((chunk) => chunk.choices).filter((choice) => choice.index === index)
  return choices.map((choice) => choice.delta.content ?? '').join('')
}

/** Waits until so many requests are in flight. */
async function untilInFlight(name, want, seconds = 10) {
  for (const end = Date.now() + 1000 * seconds; ; await pause(20)) {
    const page = await (await fetch(`${url(name)}/metrics`)).text()
    const now = Number(/^baton_requests_in_flight (\S+)$/m.exec(page)[1])
    if (now === want) return
    assert.ok(Date.now() < end, `${now} requests are in flight after ${seconds} s, want ${want}`)
  }
}

module.exports = { chat, client, events, model, streamedText, text, untilInFlight }
