// Package config fills a struct from four sources, the first that speaks wins: command line flags,
// BATON_* environment variables, a YAML file, and the defaults that the struct already holds.
// It is strict: what it does not know is an error that says what is allowed.
//
// A field takes part when it has a yaml tag; its help tag is one line for people, and
// secret:"true" keeps its value out of Print. Structs nest, or join their parent with
// yaml:",inline". The leaf prefill.slots is the flag --prefill.slots and the variable
// BATON_PREFILL_SLOTS. Which settings exist is no business of this package.
package config
