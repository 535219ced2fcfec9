package natsdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// NKey makes a user's key: its public half for the server's configuration, and a file with its seed.
func NKey(t testing.TB) (public, seedFile string) {
	t.Helper()
	key, err := nkeys.CreateUser()
	check(t, err)
	public, seed := keys(t, key)
	return public, write(t, "user.nk", seed)
}

// Creds makes an operator with one account that has JetStream, and one user in it: the lines for the
// server's configuration, and the user's credentials file.
func Creds(t testing.TB) (conf, credsFile string) {
	t.Helper()
	operator, err := nkeys.CreateOperator()
	check(t, err)
	account, err := nkeys.CreateAccount()
	check(t, err)
	system, err := nkeys.CreateAccount()
	check(t, err)
	user, err := nkeys.CreateUser()
	check(t, err)
	operatorID, _ := keys(t, operator)
	accountID, _ := keys(t, account)
	systemID, _ := keys(t, system)
	userID, seed := keys(t, user)

	claims := jwt.NewAccountClaims(accountID)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	accountJWT, err := claims.Encode(operator)
	check(t, err)
	systemJWT, err := jwt.NewAccountClaims(systemID).Encode(operator)
	check(t, err)
	root := jwt.NewOperatorClaims(operatorID)
	root.SystemAccount = systemID
	operatorJWT, err := root.Encode(operator)
	check(t, err)
	userJWT, err := jwt.NewUserClaims(userID).Encode(account)
	check(t, err)
	creds, err := jwt.FormatUserConfig(userJWT, seed)
	check(t, err)
	conf = fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload { %s: %s, %s: %s }\n", operatorJWT, systemID, accountID, accountJWT, systemID, systemJWT)
	return conf, write(t, "user.creds", creds)
}

func keys(t testing.TB, pair nkeys.KeyPair) (public string, seed []byte) {
	t.Helper()
	public, err := pair.PublicKey()
	check(t, err)
	seed, err = pair.Seed()
	check(t, err)
	return public, seed
}

// Authority signs certificates of servers and clients.
type Authority struct {
	File string // its own certificate

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes one that nobody else knows.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	a.key, der = sign(t, template, template, nil)
	var err error
	a.cert, err = x509.ParseCertificate(der)
	check(t, err)
	a.File = write(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a
}

// Issue makes a certificate for host (an address or a name), good for servers and clients.
func (a *Authority) Issue(t testing.TB, host string) (certFile, keyFile string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	key, der := sign(t, template, a.cert, a.key)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	return write(t, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		write(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

// sign makes a key and its certificate; without a signer the key signs itself.
func sign(t testing.TB, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (key *ecdsa.PrivateKey, der []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	if signer == nil {
		signer = key
	}
	der, err = x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	check(t, err)
	return key, der
}

func write(t testing.TB, name string, data []byte) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	check(t, os.WriteFile(file, data, 0o600))
	return file
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
