package web

import (
	"embed"
	"fmt"
	"hash/fnv"
	"mime"
	"net/http"
	"path"
)

//go:embed assets
var assetFiles embed.FS

// serveAsset answers for a file of ours. Its URL holds a hash of its contents, so that it may be kept for good.
func serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	b, err := assetFiles.ReadFile(path.Join("assets", path.Base(name)))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	if r.URL.Query().Has("v") {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	_, _ = w.Write(b) // the client has gone: nobody to tell
}

// assetURL is where the page finds a file of ours.
func assetURL(name string) (string, error) {
	b, err := assetFiles.ReadFile("assets/" + name)
	if err != nil {
		return "", err
	}
	h := fnv.New64a()
	_, _ = h.Write(b) // never fails
	return fmt.Sprintf("/assets/%s?v=%x", name, h.Sum64()), nil
}
