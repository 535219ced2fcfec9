// Package supervise starts programs that serve, such as inference engines, shows how far they are, starts
// them again when they end, and sees to it that nothing of them outlives this process, however it ends.
// It knows processes and their log lines, and nothing of what the programs do.
package supervise
