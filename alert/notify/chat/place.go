package chat

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/matrix"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
	"github.com/rs/zerolog"

	"faultline/alert/notify"
)

// place is a service with what its URL says.
type place struct {
	url    *url.URL
	scheme string
	limits limits
	log    zerolog.Logger
}

var errURL = errors.New("it is no URL of a service; write one as in \"ntfy://ntfy.sh/TOPIC\" or \"slack://hook:TOKEN@webhook\" (https://shoutrrr.nickfedor.com/latest/services/overview)")

// parse looks at a URL. Its errors repeat nothing of it but the scheme.
func parse(rawURL string) (p *place, err error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme == "" {
		return nil, errURL
	}
	scheme, _, _ := strings.Cut(u.Scheme, "+")
	if scheme == "logger" {
		return nil, errors.New("a logger reaches nobody; use a channel with kind = \"log\"")
	}
	p = &place{u, scheme, limitsOf(scheme), zerolog.Nop()}
	defer func() {
		if recover() != nil { // some services do not expect every URL
			p, err = nil, fmt.Errorf("it is no URL for %s", scheme)
		}
	}()
	if err := p.try(); err != nil {
		return nil, err
	}
	return p, nil
}

// try has the library read the URL. It does not go out to the service.
func (p *place) try() error {
	service, u, err := p.service()
	if err != nil {
		return err
	}
	if _, ok := service.(*matrix.Service); ok { // would log in
		err = (&matrix.Config{}).SetURL(u)
	} else {
		err = service.Initialize(u, nil)
	}
	if err != nil {
		return p.wrong(err)
	}
	return nil
}

// service gives the library's service, and the URL in the form that it wants.
func (p *place) service() (types.Service, *url.URL, error) {
	service, err := new(router.ServiceRouter).NewService(p.scheme)
	if err != nil {
		return nil, nil, fmt.Errorf("no service has the scheme %q; the first part of the URL is one of %s", p.scheme, strings.Join(services(), ", "))
	}
	if p.url.Scheme == p.scheme {
		return service, p.url, nil
	}
	custom, ok := service.(types.CustomURLService) // generic+https://…
	if !ok {
		return nil, nil, fmt.Errorf("%s takes no URL that begins with %s+", p.scheme, p.scheme)
	}
	u, err := custom.GetConfigURLFromCustom(p.url)
	if err != nil {
		return nil, nil, p.wrong(err)
	}
	return service, u, nil
}

func (p *place) wrong(err error) error {
	return fmt.Errorf("it is no URL for %s (%s); see https://shoutrrr.nickfedor.com/latest/services/overview", p.scheme, p.hide(err))
}

func services() []string {
	all := new(router.ServiceRouter).ListServices()
	all = slices.DeleteFunc(all, func(s string) bool { return s == "logger" })
	slices.Sort(all)
	return all
}

// sendByLibrary begins anew each time: services note the last title in their settings, and some log in.
func sendByLibrary(_ context.Context, p *place, title, text string) error {
	service, u, err := p.service()
	if err != nil {
		return err
	}
	if err := service.Initialize(u, nil); err != nil {
		return err
	}
	params := types.Params{}
	if title != "" {
		params.SetTitle(title)
	}
	return service.Send(text, &params)
}

var (
	anyURL   = regexp.MustCompile(`\w+://[^\s"]+`)
	anyPiece = regexp.MustCompile(`[\pL\pN]{4,}`)
)

// hide is an error without what must not be seen. The URLs in it hold the secrets in forms of the service's own.
func (p *place) hide(err error) string {
	return notify.Hide(anyURL.ReplaceAllString(err.Error(), "…"), secrets(p.url))
}

// secrets are the parts of a URL, and the pieces of these, as services put them together anew.
func secrets(u *url.URL) []string {
	password, _ := u.User.Password()
	parts := []string{u.User.Username(), password, u.Host, u.Hostname(), u.Path, strings.Trim(u.Path, "/"), u.EscapedPath(), u.RawQuery, u.Fragment}
	for _, values := range u.Query() {
		parts = append(parts, values...)
	}
	var out []string
	for _, p := range parts {
		out = append(append(out, p, url.QueryEscape(p), url.PathEscape(p)), anyPiece.FindAllString(p, -1)...)
	}
	return out
}
