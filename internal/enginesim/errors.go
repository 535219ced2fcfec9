package enginesim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// apiError is an error as the client sees it, in vLLM's form.
type apiError struct {
	Status  int
	Type    string
	Param   string
	Message string
}

func (e *apiError) Error() string { return e.Message }

// badRequest is what vLLM's own checks say.
func badRequest(param, format string, args ...any) *apiError {
	return &apiError{Status: http.StatusBadRequest, Type: "BadRequestError", Param: param, Message: fmt.Sprintf(format, args...)}
}

// invalid is what vLLM's models say of a body that does not fit them.
func invalid(param, format string, args ...any) *apiError {
	return &apiError{
		Status: http.StatusBadRequest, Type: http.StatusText(http.StatusBadRequest), Param: param,
		Message: "1 validation error:\n  " + fmt.Sprintf(format, args...),
	}
}

func notFound(kind, param, format string, args ...any) *apiError {
	return &apiError{Status: http.StatusNotFound, Type: kind, Param: param, Message: fmt.Sprintf(format, args...)}
}

func internalError(err error) *apiError {
	var known *apiError
	if errors.As(err, &known) {
		return known
	}
	return &apiError{Status: http.StatusInternalServerError, Type: "InternalServerError", Message: err.Error()}
}

// unmarshal reads a body or a member of it; a misfit is the client's error.
func unmarshal(param string, raw []byte, into any) error {
	err := json.Unmarshal(raw, into)
	if err == nil {
		return nil
	}
	var misfit *json.UnmarshalTypeError
	if param == "" && errors.As(err, &misfit) && misfit.Field != "" {
		param = "body." + misfit.Field
	}
	return invalid(param, "%v", err)
}

// body is {"error":{…}}.
func (e *apiError) body() []byte {
	var out struct {
		Error struct {
			Message string  `json:"message"`
			Type    string  `json:"type"`
			Param   *string `json:"param"`
			Code    int     `json:"code"`
		} `json:"error"`
	}
	out.Error.Message, out.Error.Type, out.Error.Code = e.Message, e.Type, e.Status
	if e.Param != "" {
		out.Error.Param = &e.Param
	}
	return mustJSON(out)
}

func writeError(w http.ResponseWriter, e *apiError) {
	writeStatus(w, e.Status, e.body())
}

func writeStatus(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
