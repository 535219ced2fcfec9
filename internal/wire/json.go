package wire

import "github.com/baton-llm/baton/internal/rawjson"

// ReadJSON reads a message, or a part of one, that one of baton's processes has written as JSON. Members that this version
// does not know are skipped.
func ReadJSON(data []byte, v any) error { return rawjson.ReadOwn(data, v) }
