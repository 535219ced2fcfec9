package rawjson

import "errors"

// Reparse is Parse of what Parse has taken before, here or in another process, or of what Edit has made of that. It looks
// for where members begin and end and takes the rest as checked, which for a long prompt is a tenth of the work. What
// cannot be an object is a *SyntaxError all the same.
func Reparse(body []byte) (*Object, error) {
	o := &Object{body: body, members: make([]member, 0, usual)}
	at, ok := o.scan()
	if !ok {
		return nil, &SyntaxError{Offset: int64(at), Msg: "the body is not the object that it was"}
	}
	o.indexMembers()
	return o, nil
}

// scan finds the members. Without ok, at is where it found something else.
func (o *Object) scan() (at int, ok bool) {
	body := o.body
	at = blanks(body, 0)
	if !isAt(body, at, '{') {
		return at, false
	}
	o.open = at + 1
	if at = blanks(body, o.open); isAt(body, at, '}') {
		at = blanks(body, at+1)
		return at, at == len(body)
	}
	for {
		start := at
		if !isAt(body, start, '"') {
			return at, false
		}
		if at = stringEnd(body, start+1) + 1; at > len(body) {
			return len(body), false
		}
		name, err := unquoted(body[start:at])
		if err != nil {
			return start, false
		}
		if at = blanks(body, at); !isAt(body, at, ':') {
			return at, false
		}
		value := blanks(body, at+1)
		if at, ok = valueEnd(body, value); !ok {
			return at, false
		}
		o.members = append(o.members, member{name, start, value, at})
		at = blanks(body, at)
		switch {
		case isAt(body, at, ','):
			at = blanks(body, at+1)
		case isAt(body, at, '}'):
			at = blanks(body, at+1)
			return at, at == len(body)
		default:
			return at, false
		}
	}
}

func isAt(text []byte, i int, c byte) bool { return i < len(text) && text[i] == c }

// blanks is where the white space that begins at i ends.
func blanks(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r') {
		i++
	}
	return i
}

// valueEnd is where the value that begins at i ends.
func valueEnd(text []byte, i int) (end int, ok bool) {
	begin, depth := i, 0
	for i < len(text) {
		switch text[i] {
		case '"':
			if i = stringEnd(text, i+1); i == len(text) {
				return i, false
			}
			if depth == 0 {
				return i + 1, true
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i, i > begin
			}
			if depth--; depth == 0 {
				return i + 1, true
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i, i > begin
			}
		}
		i++
	}
	return i, depth == 0 && i > begin
}

// elements yields the elements of an array that Parse has taken as part of a body.
func elements(array []byte, yield func(Value, error) bool) {
	fault := func() { yield(nil, errors.New("read an array: it is not the array that it was")) }
	at := blanks(array, 1)
	if isAt(array, at, ']') {
		return
	}
	for {
		end, ok := valueEnd(array, at)
		if !ok {
			fault()
			return
		}
		if !yield(Value(array[at:end:end]), nil) {
			return
		}
		at = blanks(array, end)
		switch {
		case isAt(array, at, ']'):
			return
		case isAt(array, at, ','):
			at = blanks(array, at+1)
		default:
			fault()
			return
		}
	}
}
