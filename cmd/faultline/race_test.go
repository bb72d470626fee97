//go:build race

package main

// drillSpeed is slower here: the race detector makes a handshake some five times as dear.
const drillSpeed = "10"
