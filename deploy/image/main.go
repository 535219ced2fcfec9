// Command image writes baton's container image as a file, from scratch: it needs no Docker and no registry. The
// content is that of the Dockerfile; the same binary gives the same bytes.
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// user is whom the image's process runs as.
const user = 65532

func main() {
	binary := flag.String("binary", "bin/baton", "baton, built for Linux without cgo")
	authorities := flag.String("ca", "/etc/ssl/certs/ca-certificates.crt", "certificates of authorities that baton trusts")
	tag := flag.String("tag", "baton:devel", "name of the image")
	out := flag.String("o", "bin/baton-image.tar", "file to write, for docker load, podman load, ctr images import")
	epoch := flag.Int64("epoch", 0, "time of all files, in seconds since 1970")
	arch := flag.String("arch", runtime.GOARCH, "architecture of the binary")
	flag.Parse()
	if err := write(*binary, *authorities, *tag, *out, *arch, time.Unix(*epoch, 0).UTC()); err != nil {
		fmt.Fprintf(os.Stderr, "image: %v\n", err)
		os.Exit(1)
	}
}

func write(binary, authorities, tag, out, arch string, at time.Time) error {
	files, err := layer(binary, authorities, at)
	if err != nil {
		return err
	}
	blob, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil })
	if err != nil {
		return fmt.Errorf("make the image's layer: %w", err)
	}
	image, err := mutate.Append(empty.Image, mutate.Addendum{Layer: blob, History: v1.History{Created: v1.Time{Time: at}, CreatedBy: "deploy/image"}})
	if err != nil {
		return fmt.Errorf("make the image: %w", err)
	}
	image, err = mutate.ConfigFile(image, config(image, arch, at))
	if err != nil {
		return fmt.Errorf("configure the image: %w", err)
	}
	ref, err := name.NewTag(tag)
	if err != nil {
		return fmt.Errorf("-tag %s: %w", tag, err)
	}
	if err := tarball.WriteToFile(out, ref, image); err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s, %s\n", out, tag, digest)
	return nil
}

// config says what the Dockerfile's last stage does.
func config(image v1.Image, arch string, at time.Time) *v1.ConfigFile {
	have, err := image.ConfigFile()
	if err != nil {
		panic(err) // of an image in memory
	}
	file := have.DeepCopy()
	file.Created, file.OS, file.Architecture = v1.Time{Time: at}, "linux", arch
	file.Config = v1.Config{
		User: fmt.Sprintf("%d:%d", user, user), WorkingDir: "/data", Env: []string{"BATON_API_LISTEN=:8000"},
		ExposedPorts: map[string]struct{}{"8000/tcp": {}}, Entrypoint: []string{"/baton"}, Cmd: []string{"up"},
	}
	return file
}

// layer is the tar of all files.
func layer(binary, authorities string, at time.Time) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	folder := func(name string, mode int64, owner int) error {
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Uid: owner, Gid: owner, ModTime: at})
	}
	file := func(name, from string, mode int64) error {
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data)), ModTime: at}); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}
	err := errors.Join(
		folder("data", 0o755, user), folder("tmp", 0o1777, 0), folder("etc", 0o755, 0), folder("etc/ssl", 0o755, 0), folder("etc/ssl/certs", 0o755, 0),
		file("etc/ssl/certs/ca-certificates.crt", authorities, 0o644),
		file("baton", binary, 0o755),
		w.Close(),
	)
	if err != nil {
		return nil, fmt.Errorf("put the image's files together: %w", err)
	}
	return buf.Bytes(), nil
}
