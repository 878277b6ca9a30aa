// Package ext has the types with which a build of Traefik extends its dynamic configuration; the usual build, like this
// one, adds nothing. In Traefik's repository it is a module of its own, which cannot be downloaded.
package ext

// HTTP adds no fields.
type HTTP struct{}

// Router adds no fields.
type Router struct{}
