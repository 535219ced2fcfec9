// Chat and text completions: what an answer holds, streamed and not.
'use strict'
const assert = require('node:assert/strict')
const { test } = require('node:test')
const { chat, client, events, model, streamedText, text } = require('./support')

const sdk = client('main')
const create = sdk.chat.completions.create.bind(sdk.chat.completions)
const complete = sdk.completions.create.bind(sdk.completions)
const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0].text).join('')

test('streamed and whole answers agree', async () => {
  const answer = await create(chat('hello'))
  const chunks = await events(create, chat('hello'))
  assert.equal(text(answer).trim().split(' ').length, 20)
  assert.equal(streamedText(chunks), text(answer))
  assert.equal(chunks[0].choices[0].delta.role, 'assistant')
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'length')
  assert.equal(answer.choices[0].finish_reason, 'length')
  assert.notEqual(text(await create(chat('hallo'))), text(answer))
})

test('the streaming helper puts the answer together', async () => {
  const stream = sdk.chat.completions.stream(chat('hello'))
  assert.equal(await stream.finalContent(), text(await create(chat('hello'))))
})

test('two choices', async () => {
  const answer = await create(chat('hello', { n: 2 }))
  const chunks = await events(create, chat('hello', { n: 2 }))
  assert.notEqual(text(answer, 0), text(answer, 1))
  for (const i of [0, 1]) assert.equal(streamedText(chunks, i), text(answer, i))
})

test('logprobs', async () => {
  const asked = chat('hello', { logprobs: true, top_logprobs: 3 })
  const answer = await create(asked)
  const tokens = answer.choices[0].logprobs.content
  assert.equal(tokens.map((t) => t.token).join(''), text(answer))
  assert.equal(Buffer.from(tokens.flatMap((t) => t.bytes)).toString(), text(answer))
  assert.ok(tokens.every((t) => t.top_logprobs.length === 3))
  const chunks = await events(create, asked)
  assert.deepEqual(chunks.flatMap((c) => c.choices[0].logprobs?.content ?? []), tokens)
})

test('stop', async () => {
  const whole = text(await create(chat('hello')))
  const word = whole.trim().split(' ')[7]
  const answer = await create(chat('hello', { stop: [word, 'never said'] }))
  assert.equal(text(answer), whole.slice(0, whole.indexOf(word)))
  assert.equal(answer.choices[0].finish_reason, 'stop')
  assert.equal(streamedText(await events(create, chat('hello', { stop: word }))), text(answer))
})

test('usage, and none that nobody asked for', async () => {
  const { usage } = await create(chat('hello'))
  assert.equal(usage.completion_tokens, 20)
  assert.equal(usage.total_tokens, usage.prompt_tokens + 20)
  const chunks = await events(create, chat('hello', { stream_options: { include_usage: true } }))
  const last = chunks.pop()
  assert.deepEqual(last.choices, [])
  assert.equal(last.usage.completion_tokens, 20)
  assert.equal(last.usage.prompt_tokens, usage.prompt_tokens)
  const unasked = [...(await events(create, chat('hello'))), ...(await events(complete, { model, prompt: 'hello' }))]
  assert.ok(unasked.length > 2)
  for (const chunk of [...chunks, ...unasked]) assert.ok(chunk.choices.length === 1 && chunk.usage == null)
})

test('unicode arrives as it is', async () => {
  const prompt = 'Grüße, 世界! 🏳️‍🌈 e\u0301 \u202e \x7f \\u00e9 "quoted" \t\r\n'
  const asked = { model, prompt, echo: true, max_tokens: 5 }
  const answer = await complete(asked)
  assert.ok(answer.choices[0].text.startsWith(prompt))
  assert.equal(textOf(await events(complete, asked)), answer.choices[0].text)
})

test('a megabyte of prompt', async () => {
  const prompt = '0123456789abcdé'.repeat(2 ** 16)
  const answer = await complete({ model, prompt, max_tokens: 5 })
  assert.equal(answer.usage.prompt_tokens, Buffer.byteLength(prompt) / 4)
  assert.equal(textOf(await events(complete, { model, prompt, max_tokens: 5 })), answer.choices[0].text)
  const other = await complete({ model, prompt: `${prompt.slice(0, -1)}e`, max_tokens: 5 })
  assert.notEqual(other.choices[0].text, answer.choices[0].text)
})

test('models and embeddings', async () => {
  assert.deepEqual((await sdk.models.list()).data.map((m) => m.id), [model])
  assert.equal((await sdk.models.retrieve(model)).id, model) // it has a slash
  const { data } = await sdk.embeddings.create({ model, input: ['one', 'two'] })
  assert.deepEqual(data.map((d) => d.index), [0, 1])
  assert.ok(data[0].embedding.length > 0)
  assert.notDeepEqual(data[0].embedding, data[1].embedding)
})
