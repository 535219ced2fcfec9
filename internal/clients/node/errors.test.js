// Each kind of failure as the SDK shows it: which class, what is in it, and what is tried again.
'use strict'
const assert = require('node:assert/strict')
const { test } = require('node:test')
const OpenAI = require('openai')
const { chat, client, streamedText, text, untilInFlight } = require('./support')

/** The error of a chat that must fail so, whole and streamed. */
async function failure(sdk, kind, status, body) {
  for (const stream of [false, true]) {
    await assert.rejects(sdk.chat.completions.create({ ...body, stream }), (err) => {
      assert.equal(err.constructor, kind)
      assert.equal(err.status, status)
      assert.ok(err.requestID)
      assert.equal(err.requestID, err.headers.get('x-request-id'))
      assert.ok(err.type && err.error.message)
      return true
    })
  }
}

test('400 names the member', async () => {
  const sdk = client('main')
  await failure(sdk, OpenAI.BadRequestError, 400, chat('hello', { temperature: -1 }))
  await assert.rejects(sdk.chat.completions.create(chat('hello', { temperature: -1 })), { param: 'temperature' })
})

test('400 of the engine', () => failure(client('main'), OpenAI.BadRequestError, 400, chat('x'.repeat(4 * 524288))))

test('404', async () => {
  const sdk = client('main')
  await failure(sdk, OpenAI.NotFoundError, 404, chat('hello', { model: 'other/model' }))
  await assert.rejects(sdk.models.retrieve('other/model'), OpenAI.NotFoundError)
  await assert.rejects(sdk.files.list(), OpenAI.NotFoundError)
})

test('413', () => failure(client('narrow'), OpenAI.APIError, 413, chat('x'.repeat(70_000))))

test('422 of the engine', () => failure(client('refusing'), OpenAI.UnprocessableEntityError, 422, chat('hello')))

for (const [name, status, tokens] of [['failing', 500, 20], ['garbling', 502, 20], ['late', 504, 1000]]) {
  test(`${status} is not tried again`, async () => {
    const answers = []
    const sdk = client(name, { maxRetries: 2, onAnswer: (answer) => answers.push(answer.status) })
    await assert.rejects(sdk.chat.completions.create(chat('hello', { max_completion_tokens: tokens })), (err) => {
      assert.equal(err.constructor, OpenAI.InternalServerError)
      assert.equal(err.status, status)
      return true
    })
    assert.deepEqual(answers, [status])
  })
}

test('503 is tried again', async () => {
  const tries = []
  const onAnswer = (answer, init) => tries.push([answer.status, new Headers(init.headers).get('x-stainless-retry-count')])
  const sdk = client('empty', { maxRetries: 1, onAnswer })
  await assert.rejects(sdk.chat.completions.create(chat('hello')), OpenAI.InternalServerError)
  assert.deepEqual(tries, [[503, '0'], [503, '1']])
})

test('429 is tried again when the server says', { timeout: 90_000 }, async () => {
  const narrow = client('narrow')
  await untilInFlight('narrow', 0)
  for (let i = 0; i < 20; i++) await narrow.chat.completions.create(chat(`warm up ${i}`, { max_completion_tokens: 1 }))
  const want = text(await narrow.chat.completions.create(chat('hello')))
  const full = () =>
    Promise.all([0, 1].map((i) => narrow.chat.completions.create(chat(`${i}`, { max_completion_tokens: 10_000, stream: true }))))

  let streams = await full()
  await failure(narrow, OpenAI.RateLimitError, 429, chat('hello'))
  streams.forEach((stream) => stream.controller.abort())
  await untilInFlight('narrow', 0)

  streams = await full()
  const answers = []
  const onAnswer = (answer) => {
    answers.push(answer)
    streams.forEach((stream) => stream.controller.abort())
  }
  const answer = await client('narrow', { maxRetries: 5, onAnswer }).chat.completions.create(chat('hello'))
  assert.equal(text(answer), want)
  assert.deepEqual(answers.map((a) => a.status), [429, 200])
  const after = Number(answers[0].headers.get('retry-after'))
  assert.ok(after >= 1 && after <= 60)
  assert.equal(Number(answers[0].headers.get('retry-after-ms')), 1000 * after)
})

for (const [name, code] of [['late', 504], ['cutting', 502]]) {
  test(`a stream that breaks off is an error (${code})`, async () => {
    const seen = []
    const stream = await client(name).chat.completions.create(chat('hello', { max_completion_tokens: 1000, stream: true }))
    await assert.rejects(
      async () => {
        for await (const chunk of stream) seen.push(chunk)
      },
      (err) => err instanceof OpenAI.APIError && err.error.code === code,
    )
    assert.ok(streamedText(seen))
  })
}

test('a request id of the client comes back', async () => {
  const headers = { 'X-Request-Id': 'mine-1' }
  const answer = await client('main').chat.completions.create(chat('hello'), { headers })
  assert.equal(answer._request_id, 'mine-1')
  const failed = client('main').chat.completions.create(chat('hello', { model: 'other' }), { headers })
  await assert.rejects(failed, { requestID: 'mine-1' })
})
