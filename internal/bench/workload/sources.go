package workload

import "github.com/baton-llm/baton/internal/bench"

// random is request i of the workload of the same name.
func (m *maker) random(i int) bench.Request {
	rng := m.rng(lengths, i)
	in, out := m.around(rng, m.InputLen), m.around(rng, m.OutputLen)
	return bench.Request{Stream: m.stream, InputLen: in, OutputLen: out, Prompt: func([]string) bench.Prompt {
		var c content
		m.addMessage(&c, bodies, i, in)
		return c.prompt()
	}}
}

// prefixed is request i of shared-prefix: one of the prefixes, and a text of its own.
func (m *maker) prefixed(i int) bench.Request {
	rng := m.rng(lengths, i)
	in, out := m.around(rng, m.InputLen), m.around(rng, m.OutputLen)
	prefix := m.prefix(i)
	return bench.Request{Stream: m.stream, InputLen: m.PrefixLen + in, OutputLen: out, Prompt: func([]string) bench.Prompt {
		var c content
		m.add(&c, prefixes, prefix, m.PrefixLen)
		m.addMessage(&c, bodies, i, in)
		return c.prompt()
	}}
}

func (m *maker) prefix(i int) int { return m.rng(picks, i).IntN(m.Prefixes) }

// turn is request i of multi-turn: conversations follow each other, each with all its turns.
func (m *maker) turn(i int) bench.Request {
	first := i - i%m.Turns
	r := bench.Request{Stream: m.stream, Conversation: 1 + i/m.Turns, InputLen: m.PrefixLen}
	lens := make([][2]int, 0, m.Turns) // of the messages and answers up to this turn
	for k := first; k <= i; k++ {
		rng := m.rng(lengths, k)
		lens = append(lens, [2]int{m.around(rng, m.InputLen), m.around(rng, m.OutputLen)})
		r.InputLen += r.OutputLen + lens[k-first][0]
		r.OutputLen = lens[k-first][1]
	}
	if i > first {
		r.At = m.Think
	}
	r.Prompt = func(answers []string) bench.Prompt {
		if m.chat {
			return m.chatHistory(first, lens, answers)
		}
		return m.textHistory(first, lens, answers)
	}
	return r
}

// chatHistory is a conversation up to its next user message.
func (m *maker) chatHistory(first int, lens [][2]int, answers []string) (p bench.Prompt) {
	say := func(role string, d domain, index, n int) {
		var c content
		m.addMessage(&c, d, index, n)
		p.Messages = append(p.Messages, bench.Message{Role: role, Content: c.text.String()})
	}
	if m.PrefixLen > 0 {
		say("system", prefixes, m.prefix(first), m.PrefixLen)
	}
	for k, n := range lens {
		say("user", bodies, first+k, n[0])
		if k < len(answers) {
			p.Messages = append(p.Messages, bench.Message{Role: "assistant", Content: answers[k]})
		}
	}
	return p
}

// textHistory joins a conversation without any marks. Token ids cannot hold the answers' texts:
// other ids of the same length stand for them.
func (m *maker) textHistory(first int, lens [][2]int, answers []string) bench.Prompt {
	var c content
	m.add(&c, prefixes, m.prefix(first), m.PrefixLen)
	for k, n := range lens {
		m.add(&c, bodies, first+k, n[0])
		switch {
		case k == len(lens)-1:
		case m.Prompt == "tokens":
			m.add(&c, replies, first+k, n[1])
		case k < len(answers):
			c.text.WriteString(answers[k])
		}
	}
	return c.prompt()
}

// traced is request i of a trace. Prompts with the same hash ids at their beginning begin alike.
func (m *maker) traced(i int, row traceRow) bench.Request {
	r := bench.Request{Stream: m.stream, InputLen: row.input, OutputLen: row.output}
	if m.arrival() == Recorded {
		r.At = row.scaled(m.TraceSpeed)
	}
	r.Prompt = func([]string) bench.Prompt {
		var c content
		left := row.input
		if m.chat {
			left = max(1, left-m.TemplateTokens)
		}
		for _, id := range row.blocks {
			n := min(left, m.TraceBlock)
			m.add(&c, blocks, int(id), n)
			left -= n
		}
		m.add(&c, bodies, i, left)
		return c.prompt()
	}
	return r
}
