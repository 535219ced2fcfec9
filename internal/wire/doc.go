// Package wire is the one contract between baton's processes: every subject, header, job,
// frame, control message and announcement that crosses NATS is defined here and nowhere else.
// It knows no NATS client, no HTTP and no policy.
//
//	baton.prefill.MODEL.CLASS   stream BATON_PREFILL   PrefillJob   frontend → one prefill worker
//	baton.decode.MODEL.any      stream BATON_DECODE    DecodeJob    prefill worker → one decode worker
//	                                                   (or frontend → decode worker: a whole request)
//	baton.frames.FRONTEND       core NATS              []Frame      worker → the frontend that owns the client
//	baton.control.WORKER        core NATS              []Control    frontend → worker: ack, resend, cancel;
//	                                                                decode worker → prefill worker: handle ended
//	baton.body.FRONTEND         core request           BodyRequest  worker asks for a request's body
//	baton.fleet.announce        core NATS              Announcement any process → all, every interval
//	baton.fleet.hello           core NATS              (empty)      a newcomer asks all to announce at once
//
// Both streams are work queues: a message leaves the stream when its consumer acknowledges it,
// and a consumer does so only after the next stage has the job.
package wire
