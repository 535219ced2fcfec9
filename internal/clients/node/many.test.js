// Many clients at once, clients that leave, and clients that are about to.
'use strict'
const assert = require('node:assert/strict')
const { test } = require('node:test')
const OpenAI = require('openai')
const { chat, client, events, streamedText, text, untilInFlight } = require('./support')

test('two hundred streams', async () => {
  const sdk = client('main')
  const create = sdk.chat.completions.create.bind(sdk.chat.completions)
  const prompts = Array.from({ length: 200 }, (_, i) => `question ${i}: ${'why? '.repeat(i % 50)}`)
  const streamed = await Promise.all(prompts.map(async (p) => streamedText(await events(create, chat(p)))))
  const whole = await Promise.all(prompts.map(async (p) => text(await create(chat(p)))))
  assert.deepEqual(streamed, whole)
  assert.equal(new Set(whole).size, prompts.length)
})

const long = chat('hello', { max_completion_tokens: 10_000 }) // two minutes of tokens

test('a client that leaves a stream ends its request', async () => {
  await untilInFlight('narrow', 0)
  let seen = 0
  for await (const _ of await client('narrow').chat.completions.create({ ...long, stream: true })) {
    if (++seen === 3) break
  }
  assert.equal(seen, 3)
  await untilInFlight('narrow', 0)
})

test('a client that gives up ends its request', async () => {
  await untilInFlight('narrow', 0)
  await assert.rejects(client('narrow', { timeout: 500 }).chat.completions.create(long), OpenAI.APIConnectionTimeoutError)
  await untilInFlight('narrow', 0)
})

test('keep-alives hold a client that is impatient', async () => {
  const sdk = client('sleepy', { timeout: 2500 }) // less than a token takes
  const word = chat('hello', { max_completion_tokens: 1 })
  await assert.rejects(sdk.chat.completions.create(word), OpenAI.APIConnectionTimeoutError)
  assert.ok(streamedText(await events(sdk.chat.completions.create.bind(sdk.chat.completions), word)))
})
