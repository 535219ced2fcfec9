// Package archtest holds, as a test, the rules about who may import whom. ARCHITECTURE.md says why.
package archtest
