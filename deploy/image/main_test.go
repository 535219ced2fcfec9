package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// The image is that of the Dockerfile, and the same files make the same bytes.
func TestImageIsTheDockerfiles(t *testing.T) {
	dir := t.TempDir()
	binary, authorities := filepath.Join(dir, "baton"), filepath.Join(dir, "ca.crt")
	for _, file := range []string{binary, authorities} {
		if err := os.WriteFile(file, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var texts [][]byte
	for _, out := range []string{filepath.Join(dir, "1.tar"), filepath.Join(dir, "2.tar")} {
		if err := write(binary, authorities, "baton:devel", out, "amd64", time.Unix(1_700_000_000, 0).UTC()); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
	}
	if !bytes.Equal(texts[0], texts[1]) {
		t.Error("two runs give two images")
	}
	image, err := tarball.ImageFromPath(filepath.Join(dir, "1.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := file.Config
	docker, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, last, _ := strings.Cut(string(docker), "\nFROM scratch\n")
	for _, want := range []string{
		"USER " + c.User, "WORKDIR " + c.WorkingDir, "ENV " + c.Env[0], "EXPOSE 8000",
		fmt.Sprintf("ENTRYPOINT [%q]", c.Entrypoint[0]), fmt.Sprintf("CMD [%q]", c.Cmd[0]),
	} {
		if !strings.Contains(last, want+"\n") {
			t.Errorf("the Dockerfile has no %q", want)
		}
	}
	if _, ok := c.ExposedPorts["8000/tcp"]; !ok || len(c.Env) != 1 {
		t.Errorf("config %+v", c)
	}
}
