// API keys: a deployment that wants one.
'use strict'
const assert = require('node:assert/strict')
const { test } = require('node:test')
const OpenAI = require('openai')
const { chat, client, text } = require('./support')

/** What a chat with the key answers, and the status of each try. */
async function ask(apiKey, headers) {
  const tries = []
  const sdk = client('guarded', { apiKey, maxRetries: 2, onAnswer: (answer) => tries.push(answer.status) })
  const answer = await sdk.chat.completions.create(chat('hello'), { headers }).catch((err) => err)
  return { answer, tries }
}

test('a good key', async () => {
  const { answer } = await ask(process.env.CLIENTS_KEY)
  assert.ok(text(answer))
})

test('401 is not tried again', async () => {
  const { answer, tries } = await ask('not-a-key-of-this-server')
  assert.equal(answer.constructor, OpenAI.AuthenticationError)
  assert.ok(answer.requestID)
  assert.deepEqual(tries, [401])
})

test('403 is not tried again', async () => {
  const { answer, tries } = await ask(process.env.CLIENTS_BATCH_KEY, { 'X-Baton-Class': 'interactive' })
  assert.equal(answer.constructor, OpenAI.PermissionDeniedError)
  assert.deepEqual(tries, [403])
})
