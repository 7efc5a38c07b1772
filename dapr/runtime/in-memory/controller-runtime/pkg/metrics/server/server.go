// Package server has the options of a manager's metrics.
package server

// Options of the metrics.
type Options struct{ BindAddress string }
