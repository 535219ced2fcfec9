package bus

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/nats-io/nats.go"
)

// ErrDenied is returned when the NATS server lets the process in but refuses what it needs.
var ErrDenied = errors.New("NATS denies what this process needs")

const wantsCertificate = "the server wants a client certificate that its authority has signed: set nats.tls_cert and nats.tls_key"

// remedies says what to do about a connection that is refused; a final one is refused however often it is
// tried.
var remedies = []struct {
	is     func(error) bool
	remedy string
	final  bool
}{
	{
		func(err error) bool {
			return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked)
		},
		"the server does not know this process: check nats.creds, nats.nkey, nats.user and nats.password, or nats.token", true,
	},
	{
		func(err error) bool {
			_, is := errors.AsType[x509.UnknownAuthorityError](err)
			return is
		},
		"nats.tls_ca is not the authority that signed the server's certificate", true,
	},
	{
		func(err error) bool {
			_, is := errors.AsType[x509.HostnameError](err)
			return is
		},
		"the server's certificate is for another host than the one in nats.url", true,
	},
	{
		func(err error) bool {
			_, is := errors.AsType[*tls.CertificateVerificationError](err)
			return is
		},
		"the server's certificate does not hold; check its dates and nats.tls_ca", true,
	},
	{
		// The alert reaches the client as text; crypto/tls keeps its type to itself.
		func(err error) bool {
			said := err.Error()
			return strings.Contains(said, "certificate required") || strings.Contains(said, "bad certificate") || strings.Contains(said, "unknown certificate authority")
		},
		wantsCertificate, true,
	},
	{
		// Or not at all, if the client was still writing. A server that is going away looks the same.
		func(err error) bool { return strings.Contains(err.Error(), "closed by remote after TLS handshake") },
		wantsCertificate, false,
	},
	{
		func(err error) bool {
			return errors.Is(err, nats.ErrSecureConnWanted) || errors.Is(err, nats.ErrSecureConnRequired)
		},
		"one side wants TLS and the other does not: check nats.tls_ca, and whether nats.url begins with tls://", true,
	},
	{func(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) }, "check the files that nats.creds, nats.nkey and nats.tls_* name", true},
}

// refused tells whether trying again is of no use.
func refused(err error) bool {
	for _, r := range remedies {
		if r.is(err) {
			return r.final
		}
	}
	return false
}

// advise adds to a refusal what to do about it.
func advise(err error) error {
	for _, r := range remedies {
		if r.is(err) {
			return fmt.Errorf("%w (%s)", err, r.remedy)
		}
	}
	return err
}

// permitted turns an error that comes of missing permissions into one that names them: the server says
// so beside the request, which then has no answer.
func (b *Bus) permitted(err error) error {
	said := b.denied.Load()
	if err == nil || said == nil {
		return err
	}
	return fmt.Errorf("%w: %w; give its user what `baton nats permissions` prints for its role", ErrDenied, *said)
}
