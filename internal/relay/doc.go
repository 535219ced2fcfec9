// Package relay makes reliable, ordered frame streams from workers to frontends out of a publish
// that may lose, repeat and reorder.
//
// A worker has one Sender and opens a Run on it for each job it executes; a frontend has one
// Receiver that hands each run's frames to a Sink in order and once. The Sender keeps a frame
// until the Receiver says that it came, sends again what it is asked for or hears nothing of
// (go-back-N), and stops a run whose client reads too slowly, and only that one, when a window of
// unconsumed bytes is full. Both halves gather what they have for one destination while the last
// publish is under way, and up to half a millisecond longer unless something is urgent, and send it
// as one batch.
//
// Package relay knows no NATS, no engine and no policy: which run of a request counts, and when a
// request is over, is the router's business.
package relay
