// API keys: a deployment that wants one, if this baton knows them.
'use strict'
const assert = require('node:assert/strict')
const { test } = require('node:test')
const OpenAI = require('openai')
const { chat, client, text } = require('./support')

const skip = process.env.CLIENTS_GUARDED ? false : 'this baton has no setting api.keys'

/** What a chat with the key answers, and the status of each try. */
async function ask(apiKey, headers) {
  const tries = []
  const sdk = client('guarded', { apiKey, maxRetries: 2, onAnswer: (answer) => tries.push(answer.status) })
  const answer = await sdk.chat.completions.create(chat('hello'), { headers }).catch((err) => err)
  return { answer, tries }
}

test('a good key', { skip }, async () => {
  const { answer } = await ask(process.env.CLIENTS_KEY)
  assert.ok(text(answer))
})

test('401 is not tried again', { skip }, async () => {
  const { answer, tries } = await ask('not-a-key-of-this-server')
  assert.equal(answer.constructor, OpenAI.AuthenticationError)
  assert.ok(answer.requestID)
  assert.deepEqual(tries, [401])
})

test('403 is not tried again', { skip }, async () => {
  const { answer, tries } = await ask(process.env.CLIENTS_BATCH_KEY, { 'X-Baton-Class': 'interactive' })
  assert.equal(answer.constructor, OpenAI.PermissionDeniedError)
  assert.deepEqual(tries, [403])
})
