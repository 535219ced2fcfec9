package app

// fate is what becomes of a member of a request, in the words of docs/openai.md.
type fate string

const (
	absent  fate = "–" // no member of this endpoint
	passes  fate = "passes"
	whole   fate = "runs whole"
	refused fate = "400"
	missing fate = "404"
	one     fate = "prefill leg: `1`"
	removed fate = "prefill leg: none"
	counted fate = "prefill leg: `false`, decode leg: counts asked for"
	turned  fate = "prefill leg: none, decode leg: counts asked for"
)

// member is a member of a request, as TestOpenAIDocMembers sends it.
type member struct {
	name, value       string
	chat, completions fate
	why               string // where it does not just pass
	with              string // other members, which it needs
	param             string // of the refusal, where it is not name
}

// acted are the members that baton acts on, with at least one value for each thing it does.
var acted = []member{
	{name: "model", value: `"none"`, chat: missing, completions: missing, why: "no worker serves it; a name that is served passes"},
	{name: "stream", value: `true`, chat: counted, completions: counted, why: "a streamed prefill answer holds no handle; the counts are for baton's books, and to continue the answer elsewhere; they are taken out again"},
	{name: "stream", value: `7`, chat: refused, completions: refused, why: "no boolean"},
	{name: "stream_options", value: `{"include_usage":true}`, chat: turned, completions: turned, with: `"stream":true`, why: "goes with `stream`; the client gets what it asked for"},
	{name: "stream_options", value: `{"include_usage":false}`, chat: turned, completions: turned, with: `"stream":true`, why: "as without them"},
	{name: "stream_options", value: `{"continuous_usage_stats":true}`, chat: removed, completions: removed, with: `"stream":true`, why: "what the engine makes of it"},
	{name: "stream_options", value: `{"include_usage":true}`, chat: refused, completions: refused, why: "without `stream`"},
	{name: "max_tokens", value: `5`, chat: one, completions: one, why: "prefill computes the KV cache and no text"},
	{name: "max_tokens", value: `1`, chat: whole, completions: whole, why: "the prefill is the answer"},
	{name: "max_tokens", value: `0`, chat: refused, completions: refused, why: "0 only with `echo`"},
	{name: "max_tokens", value: `0`, chat: absent, completions: whole, with: `"echo":true`, why: "scores the prompt"},
	{name: "max_completion_tokens", value: `5`, chat: one, completions: absent, why: "as `max_tokens`, over which it wins"},
	{name: "max_completion_tokens", value: `1`, chat: whole, completions: absent, why: "as `max_tokens`"},
	{name: "max_completion_tokens", value: `0`, chat: refused, completions: absent, param: "max_tokens", why: "below 1"},
	{name: "min_tokens", value: `3`, chat: one, completions: one, why: "an engine refuses more than its `max_tokens`"},
	{name: "min_tokens", value: `0`, chat: passes, completions: passes, why: "no more than 1"},
	{name: "min_tokens", value: `9`, chat: refused, completions: refused, with: `"max_tokens":8`, param: "null", why: "more than `max_tokens`"},
	{name: "n", value: `1`, chat: passes, completions: passes, why: "one choice splits"},
	{name: "n", value: `2`, chat: whole, completions: whole, why: "a handle covers one sequence"},
	{name: "n", value: `0`, chat: refused, completions: refused, param: "null", why: "below 1"},
	{name: "best_of", value: `2`, chat: absent, completions: whole, why: "several sequences; vLLM ignores it today"},
	{name: "use_beam_search", value: `true`, chat: whole, completions: whole, why: "several sequences"},
	{name: "echo", value: `true`, chat: whole, completions: whole, why: "the decode engine would compute the prompt again"},
	{name: "prompt_logprobs", value: `1`, chat: whole, completions: whole, why: "as `echo`"},
	{name: "prompt_logprobs", value: `1`, chat: refused, completions: refused, with: `"stream":true`, why: "not in streams"},
	{name: "truncate_prompt_tokens", value: `64`, chat: passes, completions: passes, why: "the same prompt on both legs"},
	{name: "truncate_prompt_tokens", value: `-1`, chat: whole, completions: whole, why: "to what `max_tokens` leaves room for, which is another on the prefill leg"},
	{name: "prompt", value: `["hello"]`, chat: absent, completions: passes, why: "one prompt splits, in each of its forms"},
	{name: "prompt", value: `[1,2,3]`, chat: absent, completions: passes, why: "token ids"},
	{name: "prompt", value: `[[1,2,3]]`, chat: absent, completions: passes, why: "token ids"},
	{name: "prompt", value: `["a","b"]`, chat: absent, completions: whole, why: "a handle covers one prompt"},
	{name: "prompt", value: `[[1],[2]]`, chat: absent, completions: whole, why: "a handle covers one prompt"},
	{name: "prompt", value: `""`, chat: absent, completions: refused, why: "empty"},
	{name: "prompt_embeds", value: `"AAAA"`, chat: absent, completions: whole, why: "may hold several prompts"},
	{name: "messages", value: `[{"role":"user","content":[{"type":"text","text":"hi"}]}]`, chat: passes, completions: absent, why: "string or parts"},
	{name: "messages", value: `[{"content":"hi"}]`, chat: refused, completions: absent, why: "a message without role"},
	{name: "temperature", value: `0.7`, chat: passes, completions: passes, why: "not negative; how hot is too hot is the engine's"},
	{name: "temperature", value: `-1`, chat: refused, completions: refused, why: "negative"},
	{name: "top_p", value: `0.9`, chat: passes, completions: passes, why: "above 0, to 1"},
	{name: "top_p", value: `0`, chat: refused, completions: refused, why: "not above 0"},
	{name: "stop", value: `["a","b"]`, chat: passes, completions: passes, why: "a string or several"},
	{name: "stop", value: `[1]`, chat: refused, completions: refused, why: "no string"},
	{name: "tools", value: `[]`, chat: refused, completions: absent, why: "empty"},
	{name: "top_logprobs", value: `2`, chat: passes, completions: absent, with: `"logprobs":true`, why: "goes with `logprobs`"},
	{name: "top_logprobs", value: `2`, chat: refused, completions: absent, why: "without `logprobs`"},
	{name: "kv_transfer_params", value: `{"do_remote_prefill":true}`, chat: refused, completions: refused, why: "the server's; from a client it could crash an engine or make it dial any host"},
	{name: "ec_transfer_params", value: `{}`, chat: refused, completions: refused, why: "the server's"},
	{name: "vllm_xargs", value: `{"kv_transfer_params":"x"}`, chat: refused, completions: refused, why: "vLLM merges it into `kv_transfer_params`"},
	{name: "vllm_xargs", value: `{"x":1}`, chat: passes, completions: passes, why: "anything else in it"},
	{name: "any", value: `1,"any":2`, chat: refused, completions: refused, param: "null", why: "the same name twice, at any depth: parsers differ in which one counts"},
}

// passed are the members that only the engine reads.
var passed = []member{
	{name: "allowed_token_ids", value: `[1,2]`, chat: passes, completions: passes},
	{name: "add_special_tokens", value: `false`, chat: passes, completions: passes},
	{name: "bad_words", value: `["x"]`, chat: passes, completions: passes},
	{name: "cache_salt", value: `"salt"`, chat: passes, completions: passes},
	{name: "frequency_penalty", value: `-0.5`, chat: passes, completions: passes},
	{name: "guided_json", value: `{"type":"object"}`, chat: passes, completions: passes},
	{name: "ignore_eos", value: `false`, chat: passes, completions: passes},
	{name: "include_stop_str_in_output", value: `true`, chat: passes, completions: passes},
	{name: "length_penalty", value: `1.0`, chat: passes, completions: passes},
	{name: "logit_bias", value: `{"50256":-100}`, chat: passes, completions: passes},
	{name: "logprob_token_ids", value: `[1]`, chat: passes, completions: passes},
	{name: "min_p", value: `0.05`, chat: passes, completions: passes},
	{name: "presence_penalty", value: `0.5`, chat: passes, completions: passes},
	{name: "priority", value: `0`, chat: passes, completions: passes},
	{name: "repetition_detection", value: `{"max_pattern_size":4}`, chat: passes, completions: passes},
	{name: "repetition_penalty", value: `1.1`, chat: passes, completions: passes},
	{name: "request_id", value: `"mine"`, chat: passes, completions: passes},
	{name: "response_format", value: `{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object"}}}`, chat: passes, completions: passes},
	{name: "return_prompt_text", value: `true`, chat: passes, completions: passes},
	{name: "return_token_ids", value: `true`, chat: passes, completions: passes},
	{name: "return_tokens_as_token_ids", value: `true`, chat: passes, completions: passes},
	{name: "return_weight_versions", value: `true`, chat: passes, completions: passes},
	{name: "seed", value: `9223372036854775807`, chat: passes, completions: passes},
	{name: "session_id", value: `"s"`, chat: passes, completions: passes},
	{name: "skip_special_tokens", value: `false`, chat: passes, completions: passes},
	{name: "spaces_between_special_tokens", value: `false`, chat: passes, completions: passes},
	{name: "stop_token_ids", value: `[2]`, chat: passes, completions: passes},
	{name: "stream_interval", value: `4`, chat: passes, completions: passes},
	{name: "structured_outputs", value: `{"regex":"[a-z]+"}`, chat: passes, completions: passes},
	{name: "thinking_token_budget", value: `64`, chat: passes, completions: passes},
	{name: "top_k", value: `40`, chat: passes, completions: passes},
	{name: "truncation_side", value: `"left"`, chat: passes, completions: passes},
	{name: "user", value: `"u"`, chat: passes, completions: passes},
	{name: "watermarking", value: `{}`, chat: passes, completions: passes},

	{name: "logprobs", value: `true`, chat: passes, completions: absent},
	{name: "logprobs", value: `2`, chat: absent, completions: passes},
	{name: "suffix", value: `"end"`, chat: absent, completions: passes},
	{name: "add_generation_prompt", value: `true`, chat: passes, completions: absent},
	{name: "audio", value: `{"voice":"alloy","format":"wav"}`, chat: passes, completions: absent},
	{name: "chat_template", value: `"{{ messages }}"`, chat: passes, completions: absent},
	{name: "chat_template_kwargs", value: `{"enable_thinking":false}`, chat: passes, completions: absent},
	{name: "continue_final_message", value: `false`, chat: passes, completions: absent},
	{name: "documents", value: `[{"title":"t","text":"x"}]`, chat: passes, completions: absent},
	{name: "include_reasoning", value: `false`, chat: passes, completions: absent},
	{name: "media_io_kwargs", value: `{"video":{"num_frames":4}}`, chat: passes, completions: absent},
	{name: "metadata", value: `{"k":"v"}`, chat: passes, completions: absent},
	{name: "mm_processor_kwargs", value: `{"num_crops":4}`, chat: passes, completions: absent},
	{name: "modalities", value: `["text"]`, chat: passes, completions: absent},
	{name: "moderation", value: `{}`, chat: passes, completions: absent},
	{name: "parallel_tool_calls", value: `false`, chat: passes, completions: absent},
	{name: "prediction", value: `{"type":"content","content":"x"}`, chat: passes, completions: absent},
	{name: "prompt_cache_key", value: `"k"`, chat: passes, completions: absent},
	{name: "prompt_cache_options", value: `{}`, chat: passes, completions: absent},
	{name: "prompt_cache_retention", value: `"24h"`, chat: passes, completions: absent},
	{name: "reasoning_effort", value: `"low"`, chat: passes, completions: absent},
	{name: "safety_identifier", value: `"u"`, chat: passes, completions: absent},
	{name: "service_tier", value: `"auto"`, chat: passes, completions: absent},
	{name: "store", value: `false`, chat: passes, completions: absent},
	{name: "tool_choice", value: `{"type":"function","function":{"name":"f"}}`, chat: passes, completions: absent, with: `"tools":[{"type":"function","function":{"name":"f"}}]`},
	{name: "tools", value: `[{"type":"function","function":{"name":"f","parameters":{}}}]`, chat: passes, completions: absent},
	{name: "verbosity", value: `"low"`, chat: passes, completions: absent},
	{name: "web_search_options", value: `{}`, chat: passes, completions: absent},

	{name: "brand_new", value: `[{}, null]`, chat: passes, completions: passes},
	{name: "brand_new", value: `9007199254740993`, chat: passes, completions: passes},
	{name: "brand_new", value: `1.50E+01`, chat: passes, completions: passes},
	{name: "brand_new", value: `"caf\u00e9 \ud83d\ude00 \/ é"`, chat: passes, completions: passes},
}
