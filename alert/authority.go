package alert

import (
	"slices"
	"strings"
	"unicode"
)

// Authority is a certificate authority's name as that of a failure domain: the words of its organisation in lower case,
// without what says what kind of company it is, as in "digicert" and "google-trust-services". What is such a name stays as
// it is.
func Authority(organisation string) string {
	name := strings.Join(slices.DeleteFunc(strings.FieldsFunc(strings.ToLower(organisation), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '\''
	}), func(word string) bool { return companies[word] }), "-")
	name = strings.ReplaceAll(name, "'", "")
	switch name {
	case "":
		return strings.ToLower(organisation)
	case "lets-encrypt":
		return "letsencrypt" // as everybody writes it
	}
	return name
}

// companies are the words in an organisation's name that say what kind of company it is.
var companies = map[string]bool{
	"inc": true, "incorporated": true, "ltd": true, "limited": true, "llc": true, "co": true, "corp": true, "corporation": true, "company": true, "com": true,
	"gmbh": true, "ag": true, "sa": true, "nv": true, "bv": true, "as": true, "ab": true, "oy": true, "srl": true, "spa": true, "plc": true, "pte": true, "kg": true,
}

// maxAuthorities bounds the names that are remembered.
const maxAuthorities = 10000

// authorityOf is Authority, remembered: an answer of every look has one.
func (e *Engine) authorityOf(organisation string) string {
	if organisation == "" {
		return ""
	}
	name, known := e.authorities[organisation]
	if !known {
		if len(e.authorities) >= maxAuthorities {
			clear(e.authorities)
		}
		name = Authority(organisation)
		e.authorities[organisation] = name
	}
	return name
}
