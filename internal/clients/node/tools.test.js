// Tools and structured output. A simulated engine calls the functions that the user's message names.
'use strict'
const assert = require('node:assert/strict')
const { test } = require('node:test')
const { z } = require('zod')
const { zodResponseFormat } = require('openai/helpers/zod')
const { client, events, model, streamedText, text } = require('./support')

const sdk = client('main')
const create = sdk.chat.completions.create.bind(sdk.chat.completions)

const tool = (name, properties) => ({
  type: 'function',
  function: { name, parameters: { type: 'object', properties, required: Object.keys(properties) } },
})
const tools = [tool('get_weather', { city: { type: 'string' } }), tool('get_time', { zone: { enum: ['UTC', 'CET'] } })]
const ask = (content, more = {}) => ({ model, messages: [{ role: 'user', content }], tools, ...more })
const parsed = (calls) => calls.map((c) => [c.function.name, JSON.parse(c.function.arguments)])

/** The calls of a streamed answer, put together as the API's documents say. */
function streamedCalls(chunks) {
  const calls = []
  for (const delta of chunks.flatMap((c) => c.choices).flatMap((c) => c.delta.tool_calls ?? [])) {
    if (calls[delta.index]) calls[delta.index].function.arguments += delta.function.arguments ?? ''
    else calls[delta.index] = { ...delta, function: { arguments: '', ...delta.function } }
  }
  return parsed(calls)
}

for (const [name, prompt, more, names, finish] of [
  ['auto', 'call get_time', {}, ['get_time'], 'tool_calls'],
  ['parallel', 'get_time and get_weather', { tool_choice: 'auto' }, ['get_weather', 'get_time'], 'tool_calls'],
  ['not parallel', 'get_time and get_weather', { parallel_tool_calls: false }, ['get_weather'], 'tool_calls'],
  ['required', 'hello', { tool_choice: 'required' }, ['get_weather'], 'tool_calls'],
  ['named', 'hello', { tool_choice: { type: 'function', function: { name: 'get_time' } } }, ['get_time'], 'stop'],
  ['none mentioned', 'hello', {}, [], 'stop'],
]) {
  test(`tool choice: ${name}`, async () => {
    const { choices } = await create(ask(prompt, more))
    const calls = parsed(choices[0].message.tool_calls ?? [])
    assert.deepEqual(calls.map((c) => c[0]), names)
    assert.equal(choices[0].finish_reason, finish)
    for (const [name, given] of calls) assert.equal(typeof (name === 'get_time' ? given.zone : given.city), 'string')
    const chunks = await events(create, ask(prompt, more))
    assert.deepEqual(streamedCalls(chunks), calls)
    assert.equal(streamedText(chunks), choices[0].message.content ?? '')
  })
}

test('the tool runner calls the function and sends its answer', async () => {
  const zones = []
  const runner = sdk.chat.completions.runTools({
    ...ask('call get_time'),
    tools: [{ ...tools[1], function: { ...tools[1].function, parse: JSON.parse, function: ({ zone }) => zones.push(zone) && 'noon' } }],
  })
  assert.ok(await runner.finalContent())
  assert.equal(zones.length, 1)
  assert.ok(['UTC', 'CET'].includes(zones[0]))
})

test('a parsed answer', async () => {
  const Person = z.object({ name: z.string(), age: z.number().int(), tags: z.array(z.string()) })
  const asked = { model, messages: [{ role: 'user', content: 'who?' }], response_format: zodResponseFormat(Person, 'person') }
  const answer = await sdk.chat.completions.parse(asked)
  Person.parse(answer.choices[0].message.parsed)
  assert.deepEqual(JSON.parse(text(answer)), answer.choices[0].message.parsed)
  assert.equal(streamedText(await events(create, asked)), text(answer))
})

test('the responses API', async () => {
  const asked = { model, input: 'hello', max_output_tokens: 20 }
  const answer = await sdk.responses.create(asked)
  assert.ok(answer.output_text)
  const all = await events(sdk.responses.create.bind(sdk.responses), asked)
  assert.equal(all[0].type, 'response.created')
  const deltas = all.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta)
  assert.equal(deltas.join(''), answer.output_text)
  const final = await sdk.responses.stream(asked).finalResponse()
  assert.equal(final.output_text, answer.output_text)
})
