package openai

import "fmt"

// Fault is what is wrong with a body: always the client's to mend, status 400.
type Fault struct {
	Param   string // the member at fault; "" when the body as a whole is
	Message string // for the client; quotes no text of a prompt
}

func (f *Fault) Error() string { return f.Message }

func faultf(param, format string, args ...any) error {
	return &Fault{Param: param, Message: fmt.Sprintf(format, args...)}
}
