// Package spectest holds answers to an OpenAPI description, for tests.
package spectest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// Description is a description that was read. It is safe for concurrent use.
type Description struct{ document *openapi3.T }

// Read parses and checks a description.
func Read(text []byte) (*Description, error) {
	loader := openapi3.NewLoader()
	document, err := loader.LoadFromData(text)
	if err != nil {
		return nil, err
	}
	if err := document.Validate(loader.Context); err != nil {
		return nil, err
	}
	return &Description{document}, nil
}

// Version is the version of what is described.
func (d *Description) Version() string { return d.document.Info.Version }

// Operations lists the described operations, such as "GET /v1/models/{model}".
func (d *Description) Operations() (list []string) {
	for path, item := range d.document.Paths.Map() {
		for method := range item.Operations() {
			list = append(list, method+" "+path)
		}
	}
	return list
}

// Statuses lists the statuses that an operation may answer with.
func (d *Description) Statuses(method, path string) (list []string) {
	if op := d.operation(method, path); op != nil {
		for status := range op.Responses.Map() {
			list = append(list, status)
		}
	}
	return list
}

func (d *Description) operation(method, path string) *openapi3.Operation {
	item := d.document.Paths.Value(path)
	if item == nil {
		return nil
	}
	return item.GetOperation(method)
}

// Check tells in what way an answer to method on the described path is not what the description
// promises: its status, headers, content type, or text, which is the whole body.
func (d *Description) Check(method, path string, resp *http.Response, text string) error {
	op := d.operation(method, path)
	if op == nil {
		return fmt.Errorf("%s %s is not described", method, path)
	}
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: &http.Request{Method: method}, Route: &routers.Route{Spec: d.document, Method: method, Path: path, Operation: op},
		},
		Status: resp.StatusCode, Header: resp.Header, Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	answer.SetBodyBytes([]byte(text))
	const stream = "text/event-stream"
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), stream) {
		return openapi3filter.ValidateResponse(resp.Request.Context(), answer)
	}
	answer.Options.ExcludeResponseBody = true
	if err := openapi3filter.ValidateResponse(resp.Request.Context(), answer); err != nil {
		return err
	}
	media := op.Responses.Status(resp.StatusCode).Value.Content.Get(stream)
	if media == nil {
		return fmt.Errorf("%s %s is not described as a stream", method, path)
	}
	return checkEvents(media.Schema.Value, text)
}

// checkEvents checks each event by schema and, where it has alternatives, the data by one of them.
func checkEvents(schema *openapi3.Schema, text string) error {
	blocks, ended := strings.CutSuffix(text, "\n\n")
	if !ended {
		return errors.New("the stream breaks off in the middle of an event")
	}
	for block := range strings.SplitSeq(blocks, "\n\n") {
		event := map[string]any{}
		for line := range strings.SplitSeq(block, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			if _, again := event[name]; again || name != "data" && name != "event" {
				return fmt.Errorf("event %q has more than a name and a line of data", block)
			}
			event[name] = value
		}
		if err := checkEvent(schema, event); err != nil {
			return fmt.Errorf("event %q: %w", block, err)
		}
	}
	return nil
}

func checkEvent(schema *openapi3.Schema, event map[string]any) error {
	if err := schema.VisitJSON(event, openapi3.EnableJSONSchema2020()); err != nil {
		return err
	}
	data, _ := event["data"].(string)
	alternatives := schema.AnyOf
	if len(alternatives) == 0 {
		return checkData(schema.Properties["data"].Value, data)
	}
	var faults []error
	for _, alternative := range alternatives {
		err := checkData(alternative.Value.Properties["data"].Value, data)
		if err == nil {
			return nil
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

func checkData(schema *openapi3.Schema, data string) error {
	if schema.ContentMediaType == "" {
		return schema.VisitJSON(data, openapi3.EnableJSONSchema2020())
	}
	var value any
	if err := json.Unmarshal([]byte(data), &value); err != nil || schema.ContentSchema == nil {
		return err
	}
	return schema.ContentSchema.Value.VisitJSON(value, openapi3.EnableJSONSchema2020())
}
