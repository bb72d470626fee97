//go:build !race

package main

const drillSpeed = "25"
