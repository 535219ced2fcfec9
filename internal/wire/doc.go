// Package wire is the one contract between baton's processes: every subject, header, job,
// frame, control message and announcement that crosses NATS is defined here and nowhere else.
// It knows no NATS client, no HTTP and no policy.
//
//	baton.prefill.MODEL.CLASS   stream BATON_PREFILL   PrefillJob   frontend → the one dispatcher of the model
//	baton.decode.MODEL.WORKER   stream BATON_DECODE    DecodeJob    prefill worker → the decode worker whose room is reserved
//	baton.assign.WORKER         core NATS              PrefillJob   dispatcher → worker: the job with an Assignment and,
//	                                                                in a header, the subject of its acknowledgement
//	baton.abandon.MODEL         core NATS              [key]        frontend → all dispatchers: queued jobs that nobody wants
//	baton.fleet.report          core NATS              Report       worker → all dispatchers: which jobs it has, how far they are
//	baton.frames.FRONTEND       core NATS              []Frame      worker → the frontend that owns the client
//	baton.control.WORKER        core NATS              []Control    frontend → worker: ack, resend, cancel;
//	                                                                decode worker → prefill worker: handle ended
//	baton.body.FRONTEND         core request           BodyRequest  worker asks for a request's body
//	baton.queue.FRONTEND        core request           QueueAsk     operator → frontend: its requests that wait, shown or ended
//	baton.role.WORKER           core request           Role         operator → worker: act in another role
//	baton.drain.WORKER          core request           DrainAsk     operator → worker: take no more work, or again
//	baton.fleet.announce        core NATS              Announcement any process → all, every interval
//	baton.fleet.hello           core NATS              (empty)      a newcomer asks all to announce, and workers to report all
//
// FRONTEND and WORKER are NAME.SERIAL of a process called NAME-SERIAL, and replies come on
// baton.inbox.NAME.>: permissions are given by name.
//
// Both streams are work queues: a message leaves the stream when whoever has the job acknowledges it,
// and a worker does so only after the next stage has it or the answer is complete.
package wire
