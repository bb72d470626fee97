// Faultline watches whether web sites can be reached, and tells one page when what they share has failed.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
