// Package sitelist reads lists of sites that other programs keep.
package sitelist

import _ "go.yaml.in/yaml/v3"
