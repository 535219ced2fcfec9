// Package live makes the picture of a deployment that operators look at: a State, of what one frontend
// knows anyway. It owns the form of that document and when it is made anew; it must not know HTTP, and
// it keeps nothing: each figure comes from whoever owns it.
//
// The requests, their rates and their figures are those of this frontend. Workers, their books and what
// the queues hold are those of the whole deployment. No prompt, answer or key is in it.
package live
