// Package app is the composition root: it turns one Config into running processes and owns the
// order in which their parts start and stop. It holds no logic of the request path.
package app
