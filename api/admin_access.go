package api

import (
	"errors"
	"net"
	"net/http"
	"net/netip"

	"github.com/baton-llm/baton/api/auth"
)

// errNotLocal is for who needs an admin key where there is none.
var errNotLocal = failure(http.StatusUnauthorized, "",
	"Only programs on the frontend's own machine that call it localhost may do this without a key; for others set api.admin_keys_file.")

// operatorsOnly lets on who may operate the deployment, and no request that another site's page makes.
func (s *Server) operatorsOnly(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := origins.Check(r); err != nil {
			s.writeError(w, r, failure(http.StatusForbidden, "", "Pages of other origins may not do this."))
			return
		}
		if err := s.mayOperate(r); err != nil {
			s.deny(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// mayOperate says why a request may not operate the deployment: it needs an admin key unless it is local.
func (s *Server) mayOperate(r *http.Request) error {
	presented, err := auth.Presented(r.Header, false)
	switch {
	case errors.Is(err, auth.ErrNoKey) && local(r):
		return nil
	case s.deps.AdminKeys == nil && local(r):
		return nil // a key that nobody asked for
	case s.deps.AdminKeys == nil:
		return errNotLocal
	case err != nil:
		return err
	}
	key, err := s.deps.AdminKeys.Find(presented)
	if err != nil {
		return err
	}
	recordOf(r.Context()).key = key // for the log
	return nil
}

// local tells whether a program of this machine calls on its own account. A browser that was lied to about
// an address (DNS rebinding) names the liar in Host; a proxy says for whom it calls, or names its own site.
func local(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback() && loopbackName(r.Host)
}

// loopbackName takes a Host, with or without a port.
func loopbackName(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if name == "localhost" {
		return true
	}
	if n := len(name); n > 1 && name[0] == '[' && name[n-1] == ']' {
		name = name[1 : n-1]
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}
