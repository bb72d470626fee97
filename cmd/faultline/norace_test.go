//go:build !race

package main

// racing: the race detector is on, and everything takes ten times as long.
const racing = false
