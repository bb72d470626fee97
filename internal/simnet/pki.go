package simnet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// certificates are a root, an issuer for each CA of a world in a good and an expired edition, and a leaf for each site.
type certificates struct {
	rootPEM []byte
	good    []tls.Certificate // by site
	expired []tls.Certificate // the same leaves through the expired edition of their issuer
}

// issuer signs leaves. Both editions have one name and one key, so a leaf fits either.
type issuer struct {
	cert          *x509.Certificate
	key           *ecdsa.PrivateKey
	good, expired []byte
}

type mint struct {
	now    time.Time
	serial int64
	root   *x509.Certificate
	key    *ecdsa.PrivateKey
}

// organisations are the names that well-known CAs put into their certificates.
var organisations = map[string]string{
	"letsencrypt": "Let's Encrypt", "digicert": "DigiCert Inc", "globalsign": "GlobalSign nv-sa", "sectigo": "Sectigo Limited",
	"google-trust-services": "Google Trust Services", "amazon": "Amazon", "zerossl": "ZeroSSL",
}

func newCertificates(w *World, now time.Time) (*certificates, error) {
	m := &mint{now: now}
	var err error
	if m.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	rootDER, err := m.makeRoot()
	if err != nil {
		return nil, err
	}
	c := &certificates{rootPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER})}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	issuers := map[string]*issuer{}
	for i := range w.Sites {
		s := &w.Sites[i]
		is := issuers[s.CA]
		if is == nil {
			if is, err = m.makeIssuer(s.CA); err != nil {
				return nil, fmt.Errorf("making the issuer %q: %w", s.CA, err)
			}
			issuers[s.CA] = is
		}
		leaf, err := m.sign(&x509.Certificate{
			Subject: pkix.Name{CommonName: s.Host}, DNSNames: []string{s.Host}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotAfter: now.AddDate(0, 3, 0),
		}, is.cert, &leafKey.PublicKey, is.key)
		if err != nil {
			return nil, fmt.Errorf("making the certificate of %s: %w", s.Host, err)
		}
		c.good = append(c.good, tls.Certificate{Certificate: [][]byte{leaf, is.good}, PrivateKey: leafKey})
		c.expired = append(c.expired, tls.Certificate{Certificate: [][]byte{leaf, is.expired}, PrivateKey: leafKey})
	}
	return c, nil
}

func (m *mint) makeRoot() ([]byte, error) {
	t := caTemplate("Faultline Drill", "Faultline Drill Root", m.now.AddDate(1, 0, 0))
	der, err := m.sign(t, t, &m.key.PublicKey, m.key)
	if err != nil {
		return nil, fmt.Errorf("making the root: %w", err)
	}
	m.root, err = x509.ParseCertificate(der)
	return der, err
}

func (m *mint) makeIssuer(name string) (*issuer, error) {
	org := name
	if known, ok := organisations[name]; ok {
		org = known
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	is := &issuer{key: key}
	if is.good, err = m.sign(caTemplate(org, "E1", m.now.AddDate(0, 6, 0)), m.root, &key.PublicKey, m.key); err != nil {
		return nil, err
	}
	if is.expired, err = m.sign(caTemplate(org, "E1", m.now.Add(-time.Hour)), m.root, &key.PublicKey, m.key); err != nil {
		return nil, err
	}
	is.cert, err = x509.ParseCertificate(is.good)
	return is, err
}

func caTemplate(org, name string, notAfter time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{Organization: []string{org}, CommonName: name}, NotAfter: notAfter,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func (m *mint) sign(t, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) ([]byte, error) {
	m.serial++
	t.SerialNumber = big.NewInt(m.serial)
	t.NotBefore = m.now.AddDate(0, -3, 0)
	return x509.CreateCertificate(rand.Reader, t, parent, pub, key)
}
