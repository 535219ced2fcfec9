// Package deploytest checks what deploy/ says against what baton and Kubernetes know. It is a module of its own, so that
// nobody who builds baton needs Helm's dependencies.
package deploytest
