// Package enginesim is a simulated inference engine: it speaks vLLM's HTTP surface and hands KV
// caches over between engines, on top of an iteration-level model of scheduling, KV memory and
// time. Its text proves the path of a request: token i is a function of the prompt's digest and
// i, and a decode engine learns the digest only by reading it from the prefill engine with the
// handle. It knows nothing of baton's router, workers or bus.
//
// # Surface
//
// POST /v1/chat/completions, /v1/completions, /v1/responses, /v1/messages,
// /v1/messages/count_tokens, /v1/embeddings, /tokenize, /detokenize; GET /v1/models, /version,
// /health, /ping, /metrics. Shapes and words are those of vLLM 0.32, which serves a model with a
// tool parser. What vLLM takes and the engine has no use for (seed, temperature, penalties …) is
// checked where vLLM checks it, and changes nothing: the text depends on the prompt alone. With
// sim.api_key, /v1 wants the key as a bearer token, else 401 {"error":"Unauthorized"}.
//
// # What is answered
//
// The rules are the same for every endpoint that chats: /v1/responses and /v1/messages are read
// as the chat request that vLLM makes of them, so a string as input has the digest of a chat with
// that one user message. [Answers] tells what a body is answered.
//
//   - Without tools and formats, words: Token(digest, i) until the natural length or max_tokens.
//     Choice k has ChoiceDigest(digest, k) in place of the digest, here and below.
//   - A prompt that ends in the first n tokens of its own answer is answered from token n on: a
//     completion whose prompt has the text so far behind it, or a chat whose last message is the
//     assistant's, with continue_final_message. Its digest is ContinuedDigest(digest, n), in which the
//     answer's words have one token each.
//   - tool_choice "required" always calls: the functions whose names the last user message
//     mentions, or else the first of tools. A named function is always called.
//   - tool_choice "auto", the default where tools are given, calls the functions that are
//     mentioned, if the last message is the user's; after a tool's answer it is text again.
//     A name is mentioned where it stands as a whole word (of letters, digits, _ and -), in
//     either case. "none" never calls.
//   - Several calls come in the order of tools; with parallel_tool_calls false only the first does.
//     The arguments of call k are Document(CallDigest(digest, k), parameters).
//   - response_format json_schema, structured_outputs.json, text.format and output_config.format
//     answer Document(digest, schema); json_object answers {"answer": "…"} with eight words.
//     A call comes first: a format is for answers that call nothing.
//   - structured_outputs.choice answers one of the list, regex a text that matches; of a grammar
//     it answers one of the quoted literals, if there are any, and words otherwise, as it does
//     for a structural_tag.
//   - With sim.reasoning, so many words of a chat's answer come first as its reasoning. Words that
//     follow go on counting: token i is still Token(digest, i).
//
// [Document] is valid for its schema: objects with all their properties in order, values derived
// from the digest and their place, so that they prove the path as words do. It knows type, enum,
// const, properties, required, items, prefixItems, anyOf, oneOf, allOf, $ref within the schema,
// bounds of numbers, lengths, pattern and the common formats.
//
// # Tokens
//
// A word is one token; other text has a token for each four bytes, and costs a decode step for
// each. A call also has tokens for its markup, <tool_call>{"name": "f", "arguments": …}</tool_call>,
// which clients do not see. Calls and documents end by themselves, with finish_reason
// "tool_calls" and "stop"; a call to a named function ends with "stop", as vLLM's does. Where max_tokens
// cuts them the finish_reason is "length", and an answer that is not streamed leaves out the call
// that was cut.
//
// # Streams
//
// Chat: for each choice a chunk with delta {"role":"assistant","content":""}, together with the
// first token; then delta {"reasoning":…}, {"content":…} or {"tool_calls":[…]}. A call begins with
// {"index","id","type":"function","function":{"name"}} and goes on with
// {"index","function":{"arguments"}}. The chunk that ends a call has the delta {}. Not streamed, an
// answer that calls has content null, or "" where tool_choice is "required" or names a function.
//
// Responses: response.created, response.in_progress, then for each item response.output_item.added,
// its events and response.output_item.done, then response.completed; no [DONE]. A message has
// response.content_part.added, response.output_text.delta and .done, response.content_part.done;
// a function call response.function_call_arguments.delta and .done; reasoning
// response.reasoning_text.delta and .done between content parts. Nothing is stored, as in a vLLM without
// VLLM_ENABLE_RESPONSES_API_STORE: any previous_response_id is unknown, 404.
//
// Messages: message_start with the first token, content_block_start, content_block_delta
// (text_delta, input_json_delta, thinking_delta, signature_delta), content_block_stop,
// message_delta, message_stop. What a body's members have wrong is told in OpenAI's form, as vLLM
// does; later errors are {"type":"error","error":{"type","message"}}.
package enginesim
