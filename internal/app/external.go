package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/wire"
)

// urls is where the engines of each role are that others run.
func (u *Up) urls() map[wire.Role][]string {
	return map[wire.Role][]string{wire.RolePrefill: u.PrefillURLs, wire.RoleDecode: u.DecodeURLs, wire.RoleBoth: u.BothURLs}
}

func (u *Up) validateURLs() (err error) {
	for role, urls := range u.urls() {
		for _, text := range urls {
			if parsed, e := url.Parse(text); e != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
				err = errors.Join(err, fmt.Errorf("up.%s_urls has %q, want URLs such as http://127.0.0.1:8100", role, text))
			}
		}
	}
	switch some := len(u.PrefillURLs)+len(u.DecodeURLs)+len(u.BothURLs) > 0; {
	case some && u.Engine != engineExternal:
		return errors.Join(err, fmt.Errorf("up.engine is %q, want external where up.prefill_urls, up.decode_urls or up.both_urls name engines", u.Engine))
	case u.Engine == engineExternal && len(u.BothURLs) == 0 && (len(u.PrefillURLs) == 0 || len(u.DecodeURLs) == 0):
		return errors.Join(err, errors.New("up.prefill_urls and up.decode_urls: want the URL of one engine or more in each, or in up.both_urls"))
	}
	return err
}

// addExternal puts a worker in front of each engine that others run; they are looked at as those of worker processes.
func (d *deployment) addExternal() {
	for role, urls := range d.proc.cfg.Up.urls() {
		for _, u := range urls {
			d.external = append(d.external, front{worker: newID("", role), role: role, engine: u, url: u, check: checkEngine})
		}
	}
}

// askModel asks the first engine that others run for the model's name, which nobody has said here.
func (d *deployment) askModel(ctx context.Context) string {
	const patience = 5 * time.Second // it has just said that it is ready
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := engine.New(d.fronts()[0].url, d.proc.cfg.Engine, d.network.dial, nil, d.proc.log)
	defer client.Close()
	models, err := client.Models(ctx)
	if err != nil || len(models) == 0 {
		return "MODEL"
	}
	return models[0].ID
}
