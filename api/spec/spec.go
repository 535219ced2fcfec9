// Package spec holds the OpenAPI description of what api serves. It describes; whether it is true
// is for the tests of this package, of api and of internal/app to say.
package spec

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
)

//go:embed openapi.yaml
var source []byte

// JSON returns the description as one JSON document, with the version of baton filled in.
func JSON(version string) ([]byte, error) {
	var document map[string]any
	if err := yaml.Unmarshal(source, &document); err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	info, ok := document["info"].(map[string]any)
	if !ok {
		return nil, errors.New("read openapi.yaml: info is missing")
	}
	info["version"] = version
	text, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("convert openapi.yaml: %w", err)
	}
	return text, nil
}
