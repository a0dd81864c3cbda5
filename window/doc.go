// Package window is the failure detector. It looks at what really happened to a database's commands in the last
// few seconds, and says whether that database must be considered failing.
//
// A health check asks "does it answer PING". A detector sees what a PING cannot: a database that answers
// every probe and fails every tenth command.
//
// # Getting started
//
// [NewFailureRate] makes the built-in detector. It trips at a number of failures and a share of failures
// within a sliding window, both needed:
//
//	window.NewFailureRate(window.Config{})                   // 5 failures and 10 % within 5 s
//	window.NewFailureRate(window.Config{FailureRate: 0.5})   // half of all commands
//	window.NewFailureRate(window.Peers())                    // 1000 failures and 10 % within 2 s
//
// [NewSlow] makes a second one that trips on commands answered too slowly; nothing uses it unless asked.
// Anything else is a type of your own with the three methods of [Detector].
//
// # How often and how fast
//
// DETECTION.md beside this file tells how long the default and the peers' preset take. It does so
// for traffic from 1 to 100,000 commands a second and failure rates from 0.1 % to 100 %. It also
// tells where they stay silent, and how often pure chance trips them below their threshold. A test
// compares it with the code; this makes it anew:
//
//	go test ./window -run TestDetectionTable -update
//
// With steady traffic and failures that begin at once, the default takes the longer of
//
//	MinFailures / (traffic x failure rate)       enough failures
//	Window x FailureRate / failure rate          enough of a window that is still full of successes
//
// That is half a second when everything fails at 10 commands a second or more. At one command a
// second it is four seconds, which is as fast as five commands can fail.
//
// # Time
//
// Nothing here reads a clock or starts a goroutine: every method takes the time. Only differences
// between readings count, so values of [time.Now], which carry a monotonic reading, are not disturbed by
// changes of the wall clock. A reading from before the latest one counts as the latest. Old outcomes leave the
// window when it is read as well as when it is written. So an idle database is never judged by stale failures.
//
// The window moves in steps of Window / Buckets: nothing older than Window is ever counted, and
// everything younger than Window less one step always is.
package window
