package alert

import "testing"

func TestAuthority(t *testing.T) {
	for organisation, want := range map[string]string{
		"Let's Encrypt": "letsencrypt", "letsencrypt": "letsencrypt", "DigiCert Inc": "digicert", "GlobalSign nv-sa": "globalsign",
		"Google Trust Services": "google-trust-services", "Google Trust Services LLC": "google-trust-services", "google-trust-services": "google-trust-services",
		"GoDaddy.com, Inc.": "godaddy", "Sectigo Limited": "sectigo", "ZeroSSL": "zerossl", "Sociedad Española": "sociedad-española", "Inc.": "inc.", "…": "…", "": "",
	} {
		if got := Authority(organisation); got != want {
			t.Errorf("%q is %q, want %q", organisation, got, want)
		}
	}
}
