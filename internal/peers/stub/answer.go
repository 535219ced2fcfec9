package stub

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Token is the text of every token as it stands in an answer's JSON.
const Token = `" tok"`

// writeTimeout bounds one write to a client that does not read.
const writeTimeout = 30 * time.Second

const defaultTokens = 16

// answer writes the answer to r; an error ends the connection.
func (e *Engine) answer(ctx context.Context, conn net.Conn, r *request) error {
	path, _, _ := strings.Cut(r.path, "?")
	chat := path == "/v1/chat/completions"
	if r.method != "POST" || !chat && path != "/v1/completions" {
		return e.aside(conn, r.method, path)
	}
	id := r.id
	if id == "" {
		id = "0"
	}
	tokens := r.count("max_tokens", r.count("max_completion_tokens", defaultTokens))
	if e.Prefill && r.member("bootstrap_room", 1) != nil {
		tokens = 1
	}
	prompt := max(1, len(r.body)/4)
	if r.has("do_remote_decode", "true") || !r.has("stream", "true") {
		return write(conn, plain("200 OK", "application/json", e.whole(id, chat, prompt, tokens, r.has("do_remote_decode", "true"))))
	}
	s := newStream(conn, id, chat, prompt, tokens, r, e.Model)
	if pace := r.pace(); pace > 0 {
		s.done = make(chan struct{})
		if err := s.begin(); err != nil {
			return err
		}
		e.join(ctx, pace, s)
		<-s.done
		return s.err
	}
	if err := s.begin(); err != nil {
		return err
	}
	for s.step() {
	}
	return s.err
}

// aside answers what routers ask besides generation.
func (e *Engine) aside(conn net.Conn, method, path string) error {
	json := func(text string) error { return write(conn, plain("200 OK", "application/json", []byte(text))) }
	switch path {
	case "/health", "/health_generate", "/ping", "/flush_cache":
		return json("")
	case "/v1/models":
		return json(`{"object":"list","data":[{"id":"` + e.Model + `","object":"model","created":1700000000,"owned_by":"vllm","root":"` + e.Model + `","max_model_len":1048576}]}`)
	case "/version":
		return json(`{"version":"0.32.0"}`)
	case "/metrics":
		return write(conn, plain("200 OK", "text/plain", []byte("vllm:nixl_num_failed_transfers_total 0\n"+
			`vllm:cache_config_info{block_size="16",num_gpu_blocks="8388608"} 1`+"\n")))
	case "/get_server_info", "/server_info", "/get_model_info", "/model_info":
		return json(`{"model_path":"` + e.Model + `","served_model_name":"` + e.Model + `","tp_size":1,"dp_size":1,"disaggregation_bootstrap_port":null}`)
	default:
		return write(conn, plain("404 Not Found", "application/json", []byte(`{"error":{"message":"no `+method+` here","type":"NotFoundError","param":null,"code":404}}`)))
	}
}

func write(conn net.Conn, data []byte) error {
	if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := conn.Write(data)
	return err
}

// plain is a whole answer of known length.
func plain(status, kind string, body []byte) []byte {
	head := "HTTP/1.1 " + status + "\r\nContent-Type: " + kind + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	return append([]byte(head), body...)
}

// whole is an answer that is not streamed; with handle it says where the KV cache of its prompt is.
func (e *Engine) whole(id string, chat bool, prompt, tokens int, handle bool) []byte {
	params := "null"
	if handle {
		params = fmt.Sprintf(`{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[[1,2,3,4,5,6,7,8]],"remote_engine_id":"stub-%d","remote_request_id":%q,`+
			`"remote_host":%q,"remote_port":%d,"tp_size":1,"remote_num_tokens":%d}`, e.Port, id, e.Host, e.Port, prompt)
	}
	text := strings.Repeat(" tok", tokens)
	object, prefix, choice := "text_completion", "cmpl-", `"text":"`+text+`"`
	if chat {
		object, prefix, choice = "chat.completion", "chatcmpl-", `"message":{"role":"assistant","content":"`+text+`"}`
	}
	return fmt.Appendf(nil, `{"id":%q,"object":%q,"created":1700000000,"model":%q,"choices":[{"index":0,%s,"logprobs":null,"finish_reason":"length","stop_reason":null}],`+
		`"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d,"prompt_tokens_details":null},"kv_transfer_params":%s}`,
		prefix+id, object, e.Model, choice, prompt, prompt+tokens, tokens, params)
}
