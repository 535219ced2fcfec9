// Package fleet knows which processes live and what they serve: every process announces itself at
// an interval, and whoever needs the picture listens.
//
// It holds no truth about load: announced load is for people and for corrections. It decides
// nothing; dispatch is the router's business.
package fleet
